//! How the rows of one table are spread over the shards.

use super::invalid;
use crate::error::Result;

/// How the rows of a table are spread over the shards.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableKind {
    /// Each row is on exactly one shard, chosen by the value of one column.
    #[doc(alias = "distributed table")]
    Sharded {
        /// The column by which rows were assigned to shards; as SQL writes it, so `Key` means the
        /// column `key` and `"Key"` means `Key`.
        key: String,
        /// The colocation group. Rows of tables in one group that have equal keys are on the same
        /// shard, so their join is local. `None`: rows of no other table.
        colocation: Option<String>,
        /// An SQL expression over the key that yields the number of the shard, counted from 0 in
        /// the order of [`Topology::shards`](super::Topology::shards). `None`: no query can be
        /// narrowed down to fewer shards.
        ///
        /// A key that is compared with constants by `=`, `IN` or `= ANY` tells its shards by any such
        /// expression that PostgreSQL computes when it plans: all functions and operators that it calls
        /// are `IMMUTABLE`, and no literal of it is a `timestamptz`. What it gives is the same in every
        /// session then. A range of keys (`<`, `BETWEEN`, `date_trunc('month', key) = ..`) does if the
        /// expression never falls where the key grows, as far as the planner knows: of
        /// `width_bucket(key, '{..}')` with a sorted array, `CASE WHEN key < 10 THEN 0 WHEN key < 20 THEN 1
        /// ELSE 2 END`, `key / 1000`, and these with constants added, over whole numbers, dates and
        /// timestamps without a time zone. A key of type `timestamptz` tells no shard: what a rule makes of it may
        /// depend on the session's time zone.
        shard_index: Option<String>,
    },
    /// Every shard holds all rows.
    #[doc(alias = "reference table")]
    Replicated,
}

impl TableKind {
    /// A table sharded by this column, in no colocation group and without a shard index.
    pub fn sharded(key: impl Into<String>) -> Self {
        Self::Sharded {
            key: key.into(),
            colocation: None,
            shard_index: None,
        }
    }
}

/// A table that the topology knows.
///
/// Names are those of PostgreSQL's catalog: already folded to lower case where SQL would, and
/// without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    schema: Option<String>,
    name: String,
    kind: TableKind,
}

impl Table {
    /// Reads the name as SQL does: `Orders` is `orders`, `sales.orders` has a schema, and
    /// `"My Table"` keeps its letters.
    pub(super) fn new(name: &str, kind: TableKind) -> Result<Self> {
        let parts = identifiers(name).map_err(|error| {
            invalid(format!("invalid table name {name:?}: {}", error.message()))
        })?;
        let (schema, name) = match <[String; 2]>::try_from(parts) {
            Ok([schema, name]) => (Some(schema), name),
            Err(parts) => match <[String; 1]>::try_from(parts) {
                Ok([name]) => (None, name),
                Err(_) => {
                    return Err(invalid(format!(
                        "invalid table name {name:?}: expected table or schema.table"
                    )));
                }
            },
        };
        let kind = match kind {
            TableKind::Replicated => TableKind::Replicated,
            TableKind::Sharded {
                key,
                colocation,
                shard_index,
            } => TableKind::Sharded {
                key: column(&key).map_err(|error| {
                    invalid(format!("table {name:?}: shard_key: {}", error.message()))
                })?,
                colocation: not_blank(&name, "colocation", colocation)?,
                shard_index: not_blank(&name, "shard_index", shard_index)?,
            },
        };
        Ok(Self { schema, name, kind })
    }

    /// The schema; `None` where the topology leaves it to the search path.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The name without the schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its rows are spread.
    pub fn kind(&self) -> &TableKind {
        &self.kind
    }

    /// Schema and name as SQL that [`Table::new`] reads again.
    pub(super) fn to_sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(&self.name)),
            None => quote(&self.name),
        }
    }
}

/// Writes an identifier with quotes only where SQL would otherwise read another one.
pub(crate) fn quote(name: &str) -> String {
    match identifiers(name) {
        Ok(parts) if parts == [name] => name.to_owned(),
        _ => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn column(text: &str) -> Result<String> {
    match <[String; 1]>::try_from(identifiers(text)?) {
        Ok([name]) => Ok(name),
        Err(_) => Err(invalid("expected the name of one column")),
    }
}

fn not_blank(table: &str, key: &str, value: Option<String>) -> Result<Option<String>> {
    match value {
        Some(value) if value.trim().is_empty() => {
            Err(invalid(format!("table {table:?}: {key} is empty")))
        }
        value => Ok(value),
    }
}

/// Splits at dots outside quotes, and folds what is not quoted (ASCII only, as PostgreSQL does in
/// a multi-byte encoding; see `src/backend/parser/scansup.c`).
fn identifiers(text: &str) -> Result<Vec<String>> {
    let mut parts = Vec::new();
    let mut chars = text.trim().chars().peekable();
    loop {
        let mut part = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next() {
                    Some('"') if chars.next_if_eq(&'"').is_some() => part.push('"'),
                    Some('"') => break,
                    Some(other) => part.push(other),
                    None => return Err(invalid("unterminated quoted identifier")),
                }
            }
        } else {
            while let Some(next) = chars.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
            {
                part.push(next.to_ascii_lowercase());
            }
            if part.starts_with(|c: char| c.is_ascii_digit() || c == '$') {
                return Err(
                    invalid("an identifier starts with a letter or an underscore")
                        .with_hint("put the name in double quotes"),
                );
            }
        }
        if part.is_empty() {
            return Err(invalid("expected an identifier"));
        }
        if part.contains('\0') || part.len() > 63 {
            return Err(invalid(
                "an identifier has at most 63 bytes, none of them zero",
            ));
        }
        parts.push(part);
        match chars.next() {
            None => return Ok(parts),
            Some('.') => {}
            Some(_) => {
                return Err(invalid("expected letters, digits and underscores")
                    .with_hint("put other names in double quotes"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Table {
        Table::new(name, TableKind::sharded("K")).unwrap()
    }

    #[test]
    fn names_are_read_as_sql_reads_them() {
        for (text, schema, name) in [
            ("orders", None, "orders"),
            ("Orders", None, "orders"),
            ("\"Orders\"", None, "Orders"),
            ("Sales.\"a.\"\"b\"", Some("sales"), "a.\"b"),
        ] {
            let table = table(text);
            assert_eq!((table.schema(), table.name()), (schema, name), "{text}");
            assert_eq!(
                super::Table::new(&table.to_sql(), table.kind().clone()).unwrap(),
                table
            );
        }
        assert_eq!(table("t").kind(), &TableKind::sharded("k"));
    }

    #[test]
    fn bad_names_are_refused() {
        for (name, message) in [
            ("", "invalid table name \"\": expected an identifier"),
            (
                "a.b.c",
                "invalid table name \"a.b.c\": expected table or schema.table",
            ),
            (
                "a b",
                "invalid table name \"a b\": expected letters, digits and underscores",
            ),
            (
                "\"a",
                "invalid table name \"\\\"a\": unterminated quoted identifier",
            ),
            (
                "1a",
                "invalid table name \"1a\": an identifier starts with a letter or an underscore",
            ),
        ] {
            let error = Table::new(name, TableKind::Replicated).unwrap_err();
            assert_eq!(error.message(), message);
        }
    }

    #[test]
    fn the_key_is_one_column_and_nothing_is_blank() {
        let error = Table::new("t", TableKind::sharded("a.b")).unwrap_err();
        assert_eq!(
            error.message(),
            "table \"t\": shard_key: expected the name of one column"
        );
        let kind = TableKind::Sharded {
            key: "k".into(),
            colocation: Some(" ".into()),
            shard_index: None,
        };
        let error = Table::new("t", kind).unwrap_err();
        assert_eq!(error.message(), "table \"t\": colocation is empty");
    }
}
