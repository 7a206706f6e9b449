//! Partitions as Hive, Spark, DuckDB and pyarrow read them: folders called `column=value`.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema};

use crate::error::{Error, ErrorKind, Phase, Result};
use crate::text::TextFormatter;

/// The value that stands for NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns whose values name folders.
#[derive(Debug, Clone)]
pub(super) struct Partitioning {
    /// Names and places of the columns, the outermost folder first.
    columns: Vec<(String, usize)>,
    /// Places of the others, which the files have.
    kept: Vec<usize>,
}

/// The values of the columns of one partition, as text.
pub(super) type Key = Vec<Option<String>>;

impl Partitioning {
    /// # Errors
    /// [`ErrorKind::Config`] for a column that is not there or given twice, or when none is left for
    /// the files; [`ErrorKind::Export`] for one whose values are no names.
    pub(super) fn try_new(schema: &Schema, names: &[String]) -> Result<Self> {
        let mut columns: Vec<(String, usize)> = Vec::new();
        for name in names {
            let mut found = schema.fields().iter().enumerate();
            let found = found.find(|(_, field)| field.name() == name);
            let Some((index, field)) = found else {
                let all: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("there is no column {name:?} to partition by"),
                )
                .with_hint(format!("the columns of the result are {all:?}")));
            };
            if columns.iter().any(|(_, known)| *known == index) {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("the column {name:?} is given twice to partition by"),
                ));
            }
            check(field)?;
            columns.push((name.clone(), index));
        }
        let kept = 0..schema.fields().len();
        let kept: Vec<_> = kept
            .filter(|index| columns.iter().all(|(_, known)| known != index))
            .collect();
        if kept.is_empty() && !columns.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "all columns name partitions, so nothing is left for the files",
            )
            .with_hint("partition by fewer columns"));
        }
        Ok(Self { columns, kept })
    }

    pub(super) fn is_none(&self) -> bool {
        self.columns.is_empty()
    }

    /// The schema of the files.
    pub(super) fn file_schema(&self, schema: &Schema) -> Result<Schema> {
        schema.project(&self.kept).map_err(|error| {
            Error::fault("the columns of a file are not those of the rows").with_source(error)
        })
    }

    /// The rows of each partition, in their order; partitions in the order of their first rows.
    pub(super) fn split(&self, batch: &RecordBatch) -> Result<Vec<(Key, RecordBatch)>> {
        if self.is_none() {
            return Ok(vec![(Key::new(), batch.clone())]);
        }
        let wrong = |error| Error::fault("a batch cannot be split").with_source(error);
        let schema = batch.schema();
        let mut texts = Vec::new();
        for (_, index) in &self.columns {
            let field = schema.field(*index);
            texts.push(values(field, batch.column(*index).as_ref())?);
        }
        let mut places: HashMap<Key, usize> = HashMap::new();
        let mut partitions: Vec<(Key, Vec<u32>)> = Vec::new();
        let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        for row in 0..rows {
            let key: Key = texts
                .iter()
                .map(|texts| texts.get(row as usize).cloned().flatten())
                .collect();
            match places.get(&key) {
                Some(place) => {
                    if let Some((_, rows)) = partitions.get_mut(*place) {
                        rows.push(row);
                    }
                }
                None => {
                    places.insert(key.clone(), partitions.len());
                    partitions.push((key, vec![row]));
                }
            }
        }
        let batch = batch.project(&self.kept).map_err(wrong)?;
        let taken = partitions.into_iter().map(|(key, rows)| {
            let rows = UInt32Array::from(rows);
            Ok((key, take_record_batch(&batch, &rows).map_err(wrong)?))
        });
        taken.collect()
    }

    /// The folder of a partition: `country=DE/day=2024-01-02`.
    pub(super) fn folder(&self, key: &Key) -> String {
        let pairs = self.columns.iter().zip(key);
        let folders = pairs.map(|((name, _), value)| folder(name, value.as_deref()));
        folders.collect::<Vec<_>>().join("/")
    }

    /// The columns with their values.
    pub(super) fn named(&self, key: &Key) -> Vec<(String, Option<String>)> {
        let names = self.columns.iter().map(|(name, _)| name.clone());
        names.zip(key.iter().cloned()).collect()
    }
}

/// Whether equal values of a type have one text, which readers find a type for.
fn check(field: &Field) -> Result<()> {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, value) => value,
        data_type => data_type,
    };
    match data_type {
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Decimal128(_, _)
        | DataType::Date32
        | DataType::Timestamp(_, _)
        | DataType::Utf8
        | DataType::Utf8View
        | DataType::FixedSizeBinary(16) => Ok(()),
        other => Err(Error::new(
            ErrorKind::Export,
            format!(
                "column {:?}: values of type {other} do not name partitions",
                field.name()
            ),
        )
        .with_hint("partition by whole numbers, text, dates or the like, or cast it in the query")),
    }
}

/// The values as text: what PostgreSQL prints, but `true` and `false`, which is what readers expect.
fn values(field: &Field, array: &dyn Array) -> Result<Vec<Option<String>>> {
    if let Some(booleans) = array.as_boolean_opt() {
        let values = booleans
            .iter()
            .map(|value| value.map(|value| value.to_string()));
        return Ok(values.collect());
    }
    let formatter = TextFormatter::try_new(field, array)?;
    let value = |row| {
        (!formatter.is_null(row)).then(|| {
            let mut text = String::new();
            formatter.write(row, &mut text);
            text
        })
    };
    Ok((0..array.len()).map(value).collect())
}

fn folder(column: &str, value: Option<&str>) -> String {
    let value = match value {
        None => NULL.to_owned(),
        // The text, which is no NULL.
        Some(NULL) => format!("%5F{}", NULL.get(1..).unwrap_or_default()),
        Some(value) => escaped(value),
    };
    format!("{}={value}", escaped(column))
}

/// Percent-encoding of what Hive and Spark encode. Letters beyond ASCII stay, since Hive would decode
/// their bytes one by one.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        let is_special = c.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(c);
        match is_special {
            true => escaped.push_str(&format!("%{:02X}", c as u32)),
            false => escaped.push(c),
        }
    }
    escaped
}

/// How the name of a file begins that has a shard's rows: never with `_` or `.`, since readers pass over
/// such files, and the manifest is one.
pub(super) fn file_name(shard: &str) -> String {
    let name = escaped(shard);
    match name.chars().next() {
        Some(first @ ('_' | '.')) => format!("%{:02X}{}", first as u32, &name[1..]),
        _ => name,
    }
}

/// An error of making a folder or a file whose name is a value.
pub(super) fn too_long(path: &str) -> Error {
    Error::new(
        ErrorKind::Export,
        format!("a value is too long for the name of a folder: {path:?}"),
    )
    .with_phase(Phase::Write)
    .with_hint("partition by another column, or by a short part of it: left(column, 50)")
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Date32Array, Int32Array, StringArray};

    use super::*;

    #[test]
    fn no_file_of_a_shard_is_hidden_or_the_manifest() {
        for (shard, expected) in [
            ("s0", "s0"),
            ("_manifest", "%5Fmanifest"),
            (".h/x", "%2Eh%2Fx"),
            ("a_b.c", "a_b.c"),
            ("", ""),
        ] {
            assert_eq!(file_name(shard), expected);
        }
    }

    #[test]
    fn values_are_encoded_as_readers_decode_them() {
        for (value, expected) in [
            (Some("DE"), "c=DE"),
            (None, "c=__HIVE_DEFAULT_PARTITION__"),
            (
                Some("__HIVE_DEFAULT_PARTITION__"),
                "c=%5F_HIVE_DEFAULT_PARTITION__",
            ),
            (Some(""), "c="),
            (Some("a/b=c d%"), "c=a%2Fb%3Dc d%25"),
            (Some(".."), "c=.."),
            (Some("Köln\n"), "c=Köln%0A"),
            (Some("12:30"), "c=12%3A30"),
        ] {
            assert_eq!(folder("c", value), expected);
        }
        assert_eq!(folder("a=b", Some("x")), "a%3Db=x");
    }

    /// What a reader takes a name for.
    fn decoded(name: &str) -> String {
        let decoded = percent_encoding::percent_decode_str(name);
        decoded.decode_utf8().unwrap().into_owned()
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_name_is_it_stays_in_its_folder(
            column in names(), value in names(), shard in names(),
        ) {
            for name in [folder(&column, Some(&value)), file_name(&shard) + ".parquet"] {
                let parts: Vec<_> = Path::new(&name).components().collect();
                assert_eq!(parts, [Component::Normal(name.as_ref())], "{name:?}");
                assert!(!name.contains(['\0', '/', '\\']), "{name:?}");
            }
            // And can be told from any other.
            let named = folder(&column, Some(&value));
            let (left, right) = named.split_once('=').unwrap();
            assert_eq!((decoded(left), decoded(right)), (column, value));
            assert_ne!(right, NULL);
            let file = file_name(&shard);
            assert_eq!(decoded(&file), shard);
            assert!(!file.starts_with(['.', '_']), "{file:?}");
        }
    }

    fn names() -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::prelude::*;
        let nasty = [
            "",
            ".",
            "..",
            "../..",
            "/",
            "/etc/passwd",
            "\\",
            "a/../b",
            "%",
            "%2F",
            "%2e%2e",
            "=",
            "a=b",
            "\0",
            "a\0b",
            "\n",
            " ",
            "_",
            "_manifest.json",
            NULL,
            "%5F_HIVE_DEFAULT_PARTITION__",
            "CON",
            "c:",
            "~",
            "*",
            "ä/ö",
            "\u{202e}",
            "s0-00001",
        ];
        prop_oneof![
            proptest::sample::select(nasty.map(str::to_owned).to_vec()),
            any::<String>(),
            "[./%=_\\PC]{0,6}",
        ]
    }

    fn batch() -> RecordBatch {
        let columns: Vec<(&str, Arc<dyn Array>)> = vec![
            ("n", Arc::new(Int32Array::from(vec![1, 2, 3, 4]))),
            (
                "b",
                Arc::new(BooleanArray::from(vec![
                    Some(true),
                    None,
                    Some(true),
                    Some(false),
                ])),
            ),
            ("d", Arc::new(Date32Array::from(vec![0, 0, 0, 1]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn rows_go_to_the_partition_of_their_values() {
        let batch = batch();
        let names = ["b".to_owned(), "d".to_owned()];
        let partitioning = Partitioning::try_new(&batch.schema(), &names).unwrap();
        let split = partitioning.split(&batch).unwrap();
        let shown: Vec<_> = split
            .iter()
            .map(|(key, rows)| {
                assert_eq!(rows.num_columns(), 1);
                let numbers = rows.column(0).as_primitive::<arrow::datatypes::Int32Type>();
                (partitioning.folder(key), numbers.values().to_vec())
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("b=true/d=1970-01-01".to_owned(), vec![1, 3]),
                (
                    "b=__HIVE_DEFAULT_PARTITION__/d=1970-01-01".to_owned(),
                    vec![2]
                ),
                ("b=false/d=1970-01-02".to_owned(), vec![4]),
            ]
        );
    }

    #[test]
    fn columns_that_cannot_name_partitions_are_refused() {
        let error = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let error = Partitioning::try_new(&batch().schema(), &names).unwrap_err();
            error.to_string()
        };
        assert!(error(&["x"]).contains("no column \"x\""));
        assert!(error(&["n", "n"]).contains("twice"));
        assert!(error(&["n", "b", "d"]).contains("nothing is left"));
        let float = Field::new("f", DataType::Float64, true);
        assert!(check(&float).unwrap_err().to_string().contains("Float64"));
        let text = StringArray::from(vec!["a"]);
        let names = Field::new("t", DataType::Utf8, true);
        assert_eq!(values(&names, &text).unwrap(), [Some("a".to_owned())]);
    }
}
