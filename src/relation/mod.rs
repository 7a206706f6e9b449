//! Rows of one step as a relation in the SQL of another.
//!
//! What is left of a query after the merge runs as SQL in PostgreSQL. The rows that it reads are there
//! in one of two ways:
//!
//! - written into the text as array literals: `WITH m1(a, b) AS (SELECT ... unnest(E'{...}'::bigint[])
//!   ...)`. That works on a read-only server, but holds all rows in memory, so it is bounded.
//! - in a [`temporary`] table of the same session: as many as the disk of that server takes.

mod column;
mod sql;
mod temporary;

pub(crate) use sql::{StepRelation, StepRelationBuilder, aggregated_types};
pub(crate) use temporary::{Content, TemporaryRelation};

use crate::error::{Error, ErrorKind, Phase, Result};

/// The most rows that the relations of one query may have as SQL text, unless set otherwise.
pub const DEFAULT_FINISH_ROWS: u64 = 1_000_000;
/// The most bytes that the relations of one query may take as SQL text, unless set otherwise:
/// 256 MiB. PostgreSQL takes no text of more than 1 GiB.
pub const DEFAULT_FINISH_BYTES: u64 = 256 << 20;
/// The most bytes that the relations of one query may take as temporary tables, unless set otherwise:
/// 16 GiB.
pub const DEFAULT_TEMPORARY_BYTES: u64 = 16 << 30;

/// The rows of a step, where a later one reads them.
#[derive(Debug, Clone)]
pub(crate) enum Relation {
    /// In its text.
    Text(StepRelation),
    /// In a table.
    Temporary(TemporaryRelation),
}

impl Relation {
    /// How many there are.
    pub(crate) fn rows(&self) -> u64 {
        match self {
            Self::Text(relation) => relation.rows(),
            Self::Temporary(relation) => relation.rows(),
        }
    }

    /// Writes `name(columns) AS (query)`; without its rows it is a relation of the same columns, with
    /// the same types.
    pub(crate) fn write_sql(&self, with_rows: bool, sql: &mut String) {
        match self {
            Self::Text(relation) => relation.write_sql(with_rows, sql),
            Self::Temporary(relation) => relation.write_sql(sql),
        }
    }
}

/// What the relations of one query may still take, together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    most_rows: u64,
    most_bytes: u64,
    rows: u64,
    bytes: u64,
}

impl Budget {
    /// For relations in SQL text.
    pub(crate) fn of_text(most_rows: u64, most_bytes: u64) -> Self {
        Self {
            most_rows,
            most_bytes,
            rows: 0,
            bytes: 0,
        }
    }

    /// For temporary tables, of any number of rows.
    pub(crate) fn of_tables(most_bytes: u64) -> Self {
        Self::of_text(u64::MAX, most_bytes)
    }

    /// Counts rows and bytes that have come for this relation.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] once there are too many.
    pub(crate) fn take(&mut self, relation: &str, rows: u64, bytes: u64) -> Result<()> {
        self.rows += rows;
        self.bytes += bytes;
        let (found, allowed, option) = if self.rows > self.most_rows {
            let found = format!("{} rows", self.rows);
            (found, format!("{} rows", self.most_rows), "--finish-rows")
        } else if self.bytes > self.most_bytes {
            let found = format!("{} bytes", self.bytes);
            (
                found,
                format!("{} bytes", self.most_bytes),
                "--finish-bytes",
            )
        } else {
            return Ok(());
        };
        Err(Error::new(
            ErrorKind::Limit,
            format!(
                "the intermediate rows of the query are more than one server is handed: with \
                 relation {relation} at least {found} have come, {allowed} are allowed"
            ),
        )
        .with_phase(Phase::Merge)
        .with_hint(format!(
            "let the query select fewer rows, or allow more with {option}; `merganser explain` \
             shows what each relation holds"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_for_all_relations_together() {
        let mut budget = Budget::of_text(10, 1000);
        budget.take("m1", 6, 500).unwrap();
        budget.take("m2", 4, 500).unwrap();
        let rows = budget.clone().take("m2", 1, 0).unwrap_err();
        assert_eq!(rows.kind(), ErrorKind::Limit);
        assert!(rows.message().contains("relation m2 at least 11 rows"));
        assert!(
            rows.hint()
                .is_some_and(|hint| hint.contains("--finish-rows"))
        );
        let bytes = budget.take("m3", 0, 1).unwrap_err();
        assert!(
            bytes
                .message()
                .contains("1001 bytes have come, 1000 bytes are")
        );
        assert!(
            bytes
                .hint()
                .is_some_and(|hint| hint.contains("--finish-bytes"))
        );
    }
}
