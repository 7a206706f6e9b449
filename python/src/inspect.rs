//! What is known of tables, as plain Python dictionaries.

use merganser::TableInfo;
use merganser::config::TableKind;
use merganser::inspect::{Origin, Report, Rows};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::error::raised;

/// A table that planned queries can name.
pub(crate) fn table<'py>(py: Python<'py>, table: &TableInfo) -> PyResult<Bound<'py, PyDict>> {
    let columns = PyList::empty(py);
    for column in table.columns() {
        columns.append((
            column.name(),
            column.type_name(),
            column.is_nullable(),
            column.difference(),
        ))?;
    }
    let entry = PyDict::new(py);
    entry.set_item("schema", table.schema())?;
    entry.set_item("name", table.name())?;
    set_kind(&entry, table.kind(), "view")?;
    entry.set_item("columns", columns)?;
    entry.set_item("difference", table.difference())?;
    Ok(entry)
}

/// What an inspection has found.
pub(crate) fn report<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let tables = PyList::empty(py);
    for table in report.tables() {
        let entry = PyDict::new(py);
        entry.set_item("schema", &table.schema)?;
        entry.set_item("name", &table.name)?;
        entry.set_item("relation", table.relation.to_string())?;
        set_kind(&entry, table.kind.as_ref(), "unknown")?;
        let origin = match table.origin {
            Origin::Declared => "declared",
            Origin::Given => "given",
            _ => "guessed",
        };
        entry.set_item("origin", origin)?;
        entry.set_item("checked", table.is_checked)?;
        let rows = table.rows.iter().map(|rows| match rows {
            Rows::Exact(rows) | Rows::Estimate(rows) => Some(*rows),
            _ => None,
        });
        entry.set_item("rows", rows.collect::<Vec<_>>())?;
        entry.set_item("why", &table.why)?;
        entry.set_item("notes", &table.notes)?;
        tables.append(entry)?;
    }
    let drift = PyList::empty(py);
    for found in report.drift() {
        drift.append((found.table.as_deref(), &found.message))?;
    }
    let entry = PyDict::new(py);
    entry.set_item("text", report.to_string())?;
    let toml = report.to_toml().map_err(|error| raised(py, &error))?;
    entry.set_item("toml", toml)?;
    entry.set_item("tables", tables)?;
    entry.set_item("drift", drift)?;
    entry.set_item("warnings", report.warnings())?;
    Ok(entry)
}

fn set_kind(entry: &Bound<'_, PyDict>, kind: Option<&TableKind>, without: &str) -> PyResult<()> {
    let (name, key, colocation, shard_index) = match kind {
        Some(TableKind::Sharded {
            key,
            colocation,
            shard_index,
        }) => (
            "sharded",
            Some(key),
            colocation.as_deref(),
            shard_index.as_deref(),
        ),
        Some(_) => ("replicated", None, None, None),
        None => (without, None, None, None),
    };
    entry.set_item("kind", name)?;
    entry.set_item("key", key)?;
    entry.set_item("colocation", colocation)?;
    entry.set_item("shard_index", shard_index)
}
