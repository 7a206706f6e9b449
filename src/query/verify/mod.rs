//! Holding an answer against that of one PostgreSQL which has all rows.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use futures::stream::{self, StreamExt};

use super::{FanOut, Query};
use crate::cluster::Cluster;
use crate::config::{Shard, Topology};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{self, OrderKeys};
use crate::stream::QueryStream;
use crate::text::TextFormatter;

/// Holds the answers of a query against that of one PostgreSQL which has all rows.
///
/// Made by [`Query::verifier`]. Clones share [`verified`](Self::verified).
#[derive(Debug, Clone)]
pub struct Verifier {
    /// The statement on the one PostgreSQL.
    reference: FanOut,
    sql: String,
    /// In bytes, for the rows of both answers.
    memory: usize,
    verified: Arc<Mutex<Option<Verified>>>,
}

/// Two answers that are equal.
///
/// [`Display`](fmt::Display) says so, and in what they might differ still.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// How many rows they have.
    pub rows: u64,
    /// Whether floating-point numbers differ in their last digits, as they do when they were added
    /// in another order.
    pub float_order: bool,
    /// How many keys the statement orders its rows by.
    pub order_keys: usize,
    /// By how many of them, from the first, the order was compared: by those that are columns of the
    /// answer, up to the first that is not.
    pub order_keys_compared: usize,
}

impl Query {
    /// A check of this query's answers against those of a PostgreSQL that holds all rows, with this
    /// connection string. The statement, its parameters, and the pinned settings are the same.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a connection string that is invalid.
    pub fn verifier(&self, url: &str) -> Result<Verifier> {
        let mut session = self.request.cluster.topology().session().clone();
        if let Some(own) = &self.request.options.session {
            session = own.over(&session);
        }
        let topology = Topology::builder()
            .with_session(session)
            .with_shard(Shard::new(NAME, url))
            .build()?;
        let mut reference = Cluster::new(topology)?
            .fan_out(self.request.sql.clone())
            .with_params(self.request.options.parameters.iter().cloned())
            .with_types(self.request.options.types)
            .with_memory(self.request.options.memory);
        if let Some(timeout) = self.request.options.timeout {
            reference = reference.with_timeout(timeout);
        }
        Ok(Verifier {
            reference,
            sql: self.request.sql.clone(),
            memory: self.request.options.memory,
            verified: Arc::default(),
        })
    }
}

impl Verifier {
    /// The same rows, and at their end the comparison: a stream of wrong rows ends in an error.
    ///
    /// Compared are the columns' names and types, the rows, each as often as it occurs, and their
    /// order where the statement has an `ORDER BY` of its own, in which rows with equal keys may
    /// stand in any order. Values are compared as the stream has them, after the type options;
    /// `real` and `double precision` may differ by their last digits.
    ///
    /// A statement that has several right answers may fail: `LIMIT` among rows with equal keys,
    /// `now()`, aggregates such as `array_agg` without an order.
    ///
    /// # Errors
    /// At once: the columns differ, or the other PostgreSQL cannot be asked for them. Behind the last
    /// row: [`ErrorKind::Mismatch`] with the first differences; those of the other
    /// PostgreSQL; [`ErrorKind::Unsupported`] when both answers do not fit into memory.
    ///
    /// # Memory
    /// Holds both answers as text, at most as much as [`Query::with_memory`] allows.
    pub async fn check(&self, rows: QueryStream) -> Result<QueryStream> {
        let schema = rows.schema();
        // Before a long query, not after it.
        same_columns(&*self.reference.clone().describe().await?, &schema)?;
        let found = Rows::new(schema.clone(), self.memory);
        let verifier = self.clone();
        let compared = |rows: QueryStream| {
            stream::try_unfold(Some((rows, found)), move |state| {
                let verifier = verifier.clone();
                async move {
                    let Some((mut rows, mut found)) = state else {
                        return Ok(None);
                    };
                    match rows.next().await.transpose()? {
                        Some(batch) => {
                            found.push(&batch)?;
                            Ok(Some((batch, Some((rows, found)))))
                        }
                        None => verifier.compare(found).await.map(|()| None),
                    }
                }
            })
        };
        Ok(rows.transform(schema, compared))
    }

    /// What came of it; `None` before a stream has ended, and if it ended in an error.
    pub fn verified(&self) -> Option<Verified> {
        let verified = self.verified.lock();
        verified.unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn compare(&self, found: Rows) -> Result<()> {
        let cluster = self.reference.cluster.clone();
        let expected = self.expected(&found).await;
        cluster.close().await;
        let expected = expected?;
        let names: Vec<_> = found
            .schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let keys = plan::order_keys(self.sql.clone(), names).await;
        let verified = compared(expected, found, &keys)?;
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(verified);
        Ok(())
    }

    /// The rows of the other PostgreSQL, whose columns are the same.
    async fn expected(&self, found: &Rows) -> Result<Rows> {
        let mut rows = self.reference.clone().stream().await?;
        same_columns(&rows.schema(), &found.schema)?;
        let memory = self.memory.saturating_sub(found.bytes);
        let mut expected = Rows::new(rows.schema(), memory);
        while let Some(batch) = rows.next().await {
            expected.push(&batch?)?;
        }
        Ok(expected)
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} equal", plan::rows(self.rows))?;
        if self.float_order {
            f.write_str(" up to float summation order")?;
        }
        let (compared, keys) = (self.order_keys_compared, self.order_keys);
        match (compared, keys) {
            (_, 0) => Ok(()),
            (all, keys) if all == keys => f.write_str(", in order"),
            (0, _) => f.write_str(", the order not compared: no column shows its keys"),
            (some, keys) => write!(f, ", in order by the first {some} of {keys} keys"),
        }
    }
}

/// The rows of an answer, as text.
struct Rows {
    schema: Arc<Schema>,
    /// The cells of each row, one behind the other: `\0n` is NULL, `\0v` begins a value. No text of
    /// PostgreSQL has a zero byte.
    rows: Vec<String>,
    bytes: usize,
    memory: usize,
}

impl Rows {
    fn new(schema: Arc<Schema>, memory: usize) -> Self {
        Self {
            schema,
            rows: Vec::new(),
            bytes: 0,
            memory,
        }
    }

    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = self
            .schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| TextFormatter::try_new(field, array.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let mut text = String::new();
            for cell in &cells {
                if cell.is_null(row) {
                    text.push_str("\0n");
                } else {
                    text.push_str("\0v");
                    cell.write(row, &mut text);
                }
            }
            text.shrink_to_fit();
            self.bytes += text.len() + size_of::<String>();
            self.rows.push(text);
        }
        if self.bytes > self.memory {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the two answers are too large to be compared in memory",
            )
            .with_hint("let the query give fewer rows, or allow more with --memory"));
        }
        Ok(())
    }

    fn cells(row: &str) -> impl Iterator<Item = &str> {
        row.split('\0').skip(1)
    }

    /// A row for a message.
    fn shown(row: &str) -> String {
        let cells: Vec<_> = Self::cells(row)
            .map(|cell| match cell.strip_prefix('v') {
                Some(value) => {
                    let cut: String = value.chars().take(MOST_SHOWN).collect();
                    let dots = if cut.len() < value.len() { "..." } else { "" };
                    format!("{cut:?}{dots}")
                }
                None => "NULL".to_owned(),
            })
            .collect();
        format!("({})", cells.join(", "))
    }
}

fn same_columns(expected: &Schema, found: &Schema) -> Result<()> {
    let (expected, found) = (expected.fields(), found.fields());
    if expected.len() != found.len() {
        return Err(differs(format!(
            "{} columns, not {}",
            found.len(),
            expected.len()
        )));
    }
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        if expected != found {
            return Err(differs(format!(
                "column {} is {found:?}, not {expected:?}",
                index + 1
            )));
        }
    }
    Ok(())
}

fn compared(mut expected: Rows, mut found: Rows, keys: &OrderKeys) -> Result<Verified> {
    let tolerances: Vec<_> = found
        .schema
        .fields()
        .iter()
        .map(|field| tolerance(field.data_type()))
        .collect();
    let verified = Verified {
        rows: found.rows.len() as u64,
        float_order: false,
        order_keys: keys.count,
        order_keys_compared: keys.columns.len(),
    };
    if expected.rows == found.rows {
        return Ok(verified);
    }
    // Before the rows are sorted. Where the rows are the same, both are in order if their keys are
    // the same row by row.
    let displaced = expected.rows.iter().zip(&found.rows).position(|rows| {
        keys.columns.iter().any(|column| {
            let (expected, found) = (
                Rows::cells(rows.0).nth(*column),
                Rows::cells(rows.1).nth(*column),
            );
            !is_same_key(expected, found, tolerances.get(*column).copied().flatten())
        })
    });
    let displaced = displaced.map(|index| {
        let row = |rows: &[String]| {
            rows.get(index)
                .map_or_else(String::new, |row| Rows::shown(row))
        };
        format!(
            "the order: row {} is {}, not {}",
            index + 1,
            row(&found.rows),
            row(&expected.rows)
        )
    });

    let order = |a: &String, b: &String| by_exact_cells_first(a, b, &tolerances);
    expected.rows.sort_unstable_by(order);
    found.rows.sort_unstable_by(order);
    let (missing, extra, float_order) = differences(&expected.rows, &found.rows, &tolerances);
    if !(missing.is_empty() && extra.is_empty()) {
        let mut text = format!("{} missing, {} too many", missing.len(), extra.len());
        for (what, rows) in [("missing", &missing), ("too many", &extra)] {
            for row in rows.iter().take(MOST_ROWS) {
                text.push_str(&format!("\n{what}: {}", Rows::shown(row)));
            }
        }
        return Err(differs(text));
    }
    match displaced {
        Some(text) => Err(differs(text)),
        None => Ok(Verified {
            float_order,
            ..verified
        }),
    }
}

/// The rows that only the first has, those that only the second has, and whether some are equal but
/// for the last digits of floating-point numbers. Both are sorted.
fn differences<'a>(
    expected: &'a [String],
    found: &'a [String],
    tolerances: &[Option<f64>],
) -> (Vec<&'a str>, Vec<&'a str>, bool) {
    let (mut missing, mut extra, mut float_order) = (Vec::new(), Vec::new(), false);
    let (mut expected, mut found) = (expected.iter().peekable(), found.iter().peekable());
    loop {
        let order = match (expected.peek(), found.peek()) {
            (None, None) => return (missing, extra, float_order),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) if is_near(a, b, tolerances) => {
                float_order |= a != b;
                Ordering::Equal
            }
            (Some(a), Some(b)) => by_exact_cells_first(a, b, tolerances),
        };
        if order.is_le()
            && let Some(row) = expected.next()
            && order.is_lt()
        {
            missing.push(row.as_str());
        }
        if order.is_ge()
            && let Some(row) = found.next()
            && order.is_gt()
        {
            extra.push(row.as_str());
        }
    }
}

/// Sorts by what has to be equal, then by what may differ a little.
fn by_exact_cells_first(a: &str, b: &str, tolerances: &[Option<f64>]) -> Ordering {
    if tolerances.iter().all(Option::is_none) {
        return a.cmp(b);
    }
    let cells = || Rows::cells(a).zip(Rows::cells(b)).zip(tolerances);
    let exact = cells().filter(|(_, tolerance)| tolerance.is_none());
    let near = cells().filter(|(_, tolerance)| tolerance.is_some());
    exact
        .map(|((a, b), _)| a.cmp(b))
        .chain(near.map(|((a, b), _)| by_numbers(a, b)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn by_numbers(a: &str, b: &str) -> Ordering {
    numbers(a)
        .zip(numbers(b))
        .map(|(a, b)| match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => a.total_cmp(&b),
            _ => a.cmp(b),
        })
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.cmp(b))
}

/// Whether two rows are equal but for the last digits of floating-point numbers.
fn is_near(a: &str, b: &str, tolerances: &[Option<f64>]) -> bool {
    a == b
        || Rows::cells(a)
            .zip(Rows::cells(b))
            .zip(tolerances)
            .all(|((a, b), tolerance)| is_near_cell(a, b, *tolerance))
}

fn is_near_cell(a: &str, b: &str, tolerance: Option<f64>) -> bool {
    let Some(tolerance) = tolerance.filter(|_| a != b) else {
        return a == b;
    };
    numbers(a).count() == numbers(b).count()
        && numbers(a).zip(numbers(b)).all(|(a, b)| {
            a == b
                || match (a.parse::<f64>(), b.parse::<f64>()) {
                    (Ok(a), Ok(b)) => (a - b).abs() <= tolerance * a.abs().max(b.abs()),
                    _ => false,
                }
        })
}

/// The numbers of a cell: one, or those of an array or composite with what is between them.
fn numbers(cell: &str) -> impl Iterator<Item = &str> {
    cell.strip_prefix('v')
        .unwrap_or(cell)
        .split(['{', '}', '(', ')', ','])
}

/// Whether two cells are one to `ORDER BY`: `1.0` and `1.00` are, and what differs only in floating
/// point digits.
fn is_same_key(a: Option<&str>, b: Option<&str>, tolerance: Option<f64>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return a == b;
    };
    let plain = |cell: &str| -> Option<String> {
        let number = cell.strip_prefix('v')?;
        let (_, fraction) = number.split_once('.')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        digits(fraction).then(|| {
            number
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
        })
    };
    let same_number = || match (plain(a), plain(b)) {
        (Some(a), Some(b)) => a == b,
        (Some(a), None) => b.strip_prefix('v') == Some(&a),
        (None, Some(b)) => a.strip_prefix('v') == Some(&b),
        (None, None) => false,
    };
    is_near_cell(a, b, tolerance) || same_number()
}

/// By how much of its size a value may differ; `None`: not at all.
fn tolerance(data_type: &DataType) -> Option<f64> {
    match data_type {
        DataType::Float64 => Some(1e-12),
        // Seven digits, the last of them in doubt.
        DataType::Float32 => Some(1e-6),
        DataType::List(field) | DataType::FixedSizeList(field, _) => tolerance(field.data_type()),
        _ => None,
    }
}

fn differs(what: String) -> Error {
    Error::new(
        ErrorKind::Mismatch,
        format!("the answer is not that of the PostgreSQL it is verified against: {what}"),
    )
    .with_hint(
        "are the rows there those of all shards? A query with LIMIT among rows that are equal in its \
         order, or with now(), has more than one right answer; else please report this with the query",
    )
}

/// What errors call the other PostgreSQL.
const NAME: &str = "verify";
/// The most rows of each kind that a message shows.
const MOST_ROWS: usize = 5;
/// The most characters of a value that a message shows.
const MOST_SHOWN: usize = 60;

#[cfg(test)]
mod tests;
