//! Columns of one name: PostgreSQL allows them, and most readers of files do not.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::StreamExt;

use super::{DuplicateColumns, ExportOptions, Format};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::QueryStream;

/// The schema with the names that the format will have.
///
/// # Errors
/// [`ErrorKind::Export`] for a name that two columns have, where that is an error.
pub(super) fn resolve(
    schema: &SchemaRef,
    format: Format,
    options: &ExportOptions,
) -> Result<SchemaRef> {
    let by_format = match format {
        Format::Json | Format::Ndjson | Format::Parquet => Some(DuplicateColumns::Error),
        Format::Table | Format::Csv | Format::Arrow | Format::ArrowStream | Format::None => None,
    };
    match options.duplicate_columns.or(by_format) {
        None => Ok(Arc::clone(schema)),
        Some(DuplicateColumns::Rename) => Ok(renamed(schema)),
        Some(DuplicateColumns::Error) => check(schema, format).map(|()| Arc::clone(schema)),
    }
}

/// Makes sure that no two columns have one name.
pub(super) fn check(schema: &Schema, format: Format) -> Result<()> {
    let mut names = HashSet::new();
    let mut fields = schema.fields().iter().map(|field| field.name());
    match fields.find(|name| !names.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(refused(name, format)),
    }
}

/// The stream under the names of this schema.
pub(super) fn rename(stream: QueryStream, schema: SchemaRef) -> QueryStream {
    if stream.schema() == schema {
        return stream;
    }
    let names = Arc::clone(&schema);
    stream.transform(schema, |stream| {
        stream.map(move |batch| {
            let batch = batch?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().to_vec();
            let renamed = RecordBatch::try_new_with_options(Arc::clone(&names), columns, &options);
            renamed.map_err(|source| {
                Error::new(ErrorKind::Export, "cannot rename the columns").with_source(source)
            })
        })
    })
}

fn refused(name: &str, format: Format) -> Error {
    Error::new(
        ErrorKind::Export,
        format!("two columns have the name {name:?}, which readers of {format} cannot keep apart"),
    )
    .with_hint(
        "give each column a name of its own, SELECT a.id AS a_id, b.id AS b_id, or rename them with \
         --duplicate-columns rename",
    )
}

/// The second `id` becomes `id_2`, or the first after it that no column has.
fn renamed(schema: &Schema) -> SchemaRef {
    let all = schema.fields().iter();
    let mut taken: HashSet<String> = all.map(|field| field.name().clone()).collect();
    let mut seen = HashSet::new();
    let fields = schema.fields().iter().map(|field| {
        if seen.insert(field.name()) {
            return Arc::clone(field);
        }
        let mut candidates = (2_u64..).map(|n| format!("{}_{n}", field.name()));
        match candidates.find(|name| taken.insert(name.clone())) {
            Some(name) => Arc::new(Field::clone(field).with_name(name)),
            None => Arc::clone(field),
        }
    });
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    fn schema(names: &[&str]) -> SchemaRef {
        let field = |name: &&str| Field::new(*name, DataType::Int32, true);
        Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
    }

    fn names(schema: &Schema) -> Vec<&str> {
        schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect()
    }

    #[test]
    fn a_name_twice_is_an_error_where_readers_need_names() {
        let twice = schema(&["a", "b", "a"]);
        let options = ExportOptions::new();
        for format in [Format::Json, Format::Ndjson, Format::Parquet] {
            let error = resolve(&twice, format, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Export, "{format}");
            assert!(error.message().contains("\"a\""), "{error}");
            assert!(error.hint().unwrap().contains("--duplicate-columns rename"));
            assert!(resolve(&schema(&["a", "A"]), format, &options).is_ok());
        }
        for format in [
            Format::Table,
            Format::Csv,
            Format::Arrow,
            Format::ArrowStream,
        ] {
            assert_eq!(
                resolve(&twice, format, &options).unwrap(),
                twice,
                "{format}"
            );
        }
    }

    #[test]
    fn what_is_asked_for_holds_in_every_format() {
        let twice = schema(&["a", "a", "a_2", "a", "b"]);
        let rename = ExportOptions::new().with_duplicate_columns(DuplicateColumns::Rename);
        let error = ExportOptions::new().with_duplicate_columns(DuplicateColumns::Error);
        for format in [Format::Csv, Format::Arrow, Format::Json, Format::Parquet] {
            let renamed = resolve(&twice, format, &rename).unwrap();
            assert_eq!(names(&renamed), ["a", "a_3", "a_2", "a_4", "b"], "{format}");
            assert!(resolve(&twice, format, &error).is_err(), "{format}");
        }
    }
}
