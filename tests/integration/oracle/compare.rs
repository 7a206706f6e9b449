//! Whether two answers are equal, and where they first differ.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use merganser::arrow::array::RecordBatch;
use merganser::arrow::datatypes::{DataType, SchemaRef};
use merganser::types::TypeOptions;
use merganser::{Error, ErrorKind, FanOut, Query, QueryStream};

use super::case::Case;
use crate::texts::{texts_of, without_trailing_zeros};

type Row = Vec<Option<String>>;

/// The columns and the rows, as the text that `psql` would print.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) schema: SchemaRef,
    pub(super) rows: Vec<Row>,
}

/// What gives an answer: a planned query, or the same SQL on the one database with all rows.
pub(super) trait Asked {
    fn with_types(self, options: TypeOptions) -> Self;
    async fn stream(self) -> Result<QueryStream, Error>;
}

impl Asked for Query {
    fn with_types(self, options: TypeOptions) -> Self {
        self.with_types(options)
    }

    async fn stream(self) -> Result<QueryStream, Error> {
        self.stream().await
    }
}

impl Asked for FanOut {
    fn with_types(self, options: TypeOptions) -> Self {
        self.with_types(options)
    }

    async fn stream(self) -> Result<QueryStream, Error> {
        self.stream().await
    }
}

impl Answer {
    /// With every value of every type, exactly: text for what Arrow cannot hold.
    pub(super) async fn of(query: impl Asked) -> Result<Self, Error> {
        let options = TypeOptions::LOSSLESS;
        Self::with_defaults(query.with_types(options)).await
    }

    /// With the types that a user gets without asking for others.
    pub(super) async fn with_defaults(query: impl Asked) -> Result<Self, Error> {
        use futures::StreamExt;
        let mut stream = query.stream().await?;
        let schema = stream.schema();
        let mut rows = Vec::new();
        while let Some(batch) = stream.next().await {
            let batch: RecordBatch = batch?;
            assert_eq!(batch.schema(), schema, "the schema of a batch");
            match schema.fields().is_empty() {
                true => rows.extend(vec![Vec::new(); batch.num_rows()]),
                false => rows.extend(texts_of(&batch)),
            }
        }
        Ok(Self { schema, rows })
    }
}

/// Whether an answer is refused with a reason that says `fragment`, and a way out.
pub(super) fn is_refusal(error: &Error, fragment: &str) -> bool {
    let says = |text: &str| text.to_lowercase().contains(&fragment.to_lowercase());
    error.kind() == ErrorKind::Unsupported
        && (says(error.message()) || error.hint().is_some_and(says))
}

/// The first difference of columns or rows, for people.
pub(super) fn compare(case: &Case, expected: &Answer, found: &Answer) -> Result<(), String> {
    same_columns(expected, found)?;
    if expected.rows.len() != found.rows.len() {
        let mut text = format!(
            "expected {} rows, found {}",
            expected.rows.len(),
            found.rows.len()
        );
        if let Some(row) = only_in(&expected.rows, &found.rows) {
            text += &format!("\nmissing: {}", show(row));
        }
        if let Some(row) = only_in(&found.rows, &expected.rows) {
            text += &format!("\ntoo many: {}", show(row));
        }
        return Err(text);
    }
    if case.superset.is_some() {
        return Ok(());
    }
    let floats: Vec<_> = expected
        .schema
        .fields()
        .iter()
        .map(|field| match innermost(field.data_type()) {
            DataType::Float64 => Some(case.tolerance),
            DataType::Float32 => Some(1e-5),
            _ => None,
        })
        .collect();
    let prepare = |rows: &[Row]| {
        let mut rows: Vec<Row> = match case.representative {
            true => rows.iter().map(normalize).collect(),
            false => rows.to_vec(),
        };
        if !case.ordered {
            rows.sort_by(|a, b| by_exact_values_first(&floats, a, b));
        }
        rows
    };
    let (expected, found) = (prepare(&expected.rows), prepare(&found.rows));
    let rows = expected.iter().zip(&found).enumerate();
    for (index, (expected, found)) in rows {
        let same =
            |((expected, found), tolerance): ((&_, &_), &_)| equal(expected, found, *tolerance);
        if !expected.iter().zip(found).zip(&floats).all(same) {
            let order = if case.ordered { "" } else { " (sorted)" };
            return Err(format!(
                "row {}{order}:\nexpected {}\nfound    {}",
                index + 1,
                show(expected),
                show(found)
            ));
        }
    }
    Ok(())
}

/// Whether all rows of `found` are rows of `superset`, each no more often than there.
pub(super) fn subset(superset: &Answer, found: &Answer) -> Result<(), String> {
    match only_in(&found.rows, &superset.rows) {
        Some(row) => Err(format!("a row that there is not: {}", show(row))),
        None => Ok(()),
    }
}

fn same_columns(expected: &Answer, found: &Answer) -> Result<(), String> {
    let (expected, found) = (expected.schema.fields(), found.schema.fields());
    if expected.len() != found.len() {
        return Err(format!(
            "expected {} columns, found {}",
            expected.len(),
            found.len()
        ));
    }
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        if expected != found {
            return Err(format!(
                "column {}:\nexpected {expected:?}\nfound    {found:?}",
                index + 1
            ));
        }
    }
    Ok(())
}

fn only_in<'a>(rows: &'a [Row], others: &[Row]) -> Option<&'a Row> {
    let mut counts: BTreeMap<&Row, usize> = BTreeMap::new();
    for row in others {
        *counts.entry(row).or_default() += 1;
    }
    rows.iter().find(|row| match counts.get_mut(row) {
        Some(0) | None => true,
        Some(count) => {
            *count -= 1;
            false
        }
    })
}

fn innermost(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(field) => innermost(field.data_type()),
        other => other,
    }
}

/// Sorts by what has to be equal, then by numbers that may differ a little.
fn by_exact_values_first(floats: &[Option<f64>], a: &Row, b: &Row) -> Ordering {
    let exact = |row: &Row| -> Vec<_> {
        let cells = row.iter().zip(floats);
        cells
            .filter(|(_, float)| float.is_none())
            .map(|(cell, _)| cell.clone())
            .collect()
    };
    exact(a).cmp(&exact(b)).then_with(|| {
        let cells = a.iter().zip(b).zip(floats);
        cells
            .filter(|(_, float)| float.is_some())
            .map(|((a, b), _)| by_number(a.as_deref(), b.as_deref()))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    })
}

fn by_number(a: Option<&str>, b: Option<&str>) -> Ordering {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.cmp(&b),
    }
}

fn equal(expected: &Option<String>, found: &Option<String>, tolerance: Option<f64>) -> bool {
    if expected == found {
        return true;
    }
    let (Some(expected), Some(found), Some(tolerance)) = (expected, found, tolerance) else {
        return false;
    };
    // An array's elements one by one; a number is an array of one.
    let parts =
        |text: &str| -> Vec<String> { text.split(['{', '}', ',']).map(str::to_owned).collect() };
    let (expected, found) = (parts(expected), parts(found));
    expected.len() == found.len()
        && expected.iter().zip(&found).all(|(expected, found)| {
            expected == found
                || match (expected.parse::<f64>(), found.parse::<f64>()) {
                    (Ok(expected), Ok(found)) => {
                        (expected - found).abs() <= tolerance * expected.abs().max(found.abs())
                    }
                    _ => false,
                }
        })
}

/// One text for all values that PostgreSQL holds equal: 1.0 and 1.00, 'a' and 'a  ' as `char(n)`,
/// -0 and 0, `Red` and `RED` under a collation that does not tell them apart.
fn normalize(row: &Row) -> Row {
    let normalize = |text: &String| {
        let text = without_trailing_zeros(text.trim_end()).to_lowercase();
        match text.as_str() {
            "-0" => "0".to_owned(),
            _ => text,
        }
    };
    row.iter()
        .map(|cell| cell.as_ref().map(normalize))
        .collect()
}

fn show(row: &Row) -> String {
    let cells: Vec<_> = row
        .iter()
        .map(|cell| match cell {
            Some(text) => format!("{text:?}"),
            None => "NULL".into(),
        })
        .collect();
    cells.join(" | ")
}

#[test]
fn doubles_differ_a_little_and_nothing_else() {
    let some = |text: &str| Some(text.to_owned());
    assert!(equal(
        &some("0.3"),
        &some("0.30000000000000004"),
        Some(1e-12)
    ));
    assert!(equal(
        &some("{1,NaN}"),
        &some("{1.0000000000000002,NaN}"),
        Some(1e-12)
    ));
    assert!(!equal(&some("0.3"), &some("0.30000000000000004"), None));
    assert!(!equal(&some("0.3"), &some("0.300001"), Some(1e-12)));
    assert!(!equal(&some("NaN"), &some("1"), Some(1e-12)));
    assert!(!equal(&some("0"), &None, Some(1e-12)));
}
