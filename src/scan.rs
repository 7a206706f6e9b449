//! One shard's part of a query: describe it, then stream its rows.
//!
//! The only file that knows both sockets and the decoder.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use futures::StreamExt;
use futures::stream;
use tokio::sync::mpsc;
use tokio_postgres::types::{Kind, Type};

use crate::connect::{Connection, CopyEvent, Session, error_position};
use crate::decode::{Decoder, DecoderBuilder};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::progress::{Counters, ShardState};
use crate::quote;
use crate::statement::{self, Statement};
use crate::stream::QueryStream;
use crate::types::{Column, PgType, TypeModifiers, TypeOptions, Unrepresentable};

/// What a shard says of a statement before it runs.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    /// The columns of its result.
    pub(crate) columns: Vec<Column>,
    /// For each parameter, its type as SQL for a cast.
    parameters: Vec<String>,
}

/// Asks the shard for the columns and parameters of a statement (Parse and Describe).
///
/// # Errors
/// Those of the server, with the place in the text.
pub(crate) async fn describe(
    session: &mut Session,
    statement: &Statement,
    options: &TypeOptions,
) -> Result<Description> {
    let shard = session.shard().to_owned();
    let connection = session.begin_query()?;
    let client = &connection.client;
    // A type may have changed since an earlier query of this connection: a label more in an enum,
    // another type of a composite's field.
    client.clear_type_cache();
    let prepared = client
        .prepare(statement.text())
        .await
        .map_err(|error| statement_error(connection, error, statement).with_shard(&shard));
    session.done();
    let prepared = prepared?;
    let modifiers = type_modifiers(session, prepared.columns()).await?;
    let dimensions = array_dimensions(session, prepared.columns()).await?;
    let columns = prepared
        .columns()
        .iter()
        .map(|column| {
            let origin = (column.table_oid(), column.column_id());
            let dimensions = dimensions.get(&origin).copied().unwrap_or(0);
            let pg_type = PgType::from_catalog(
                column.type_(),
                column.type_modifier(),
                dimensions,
                &modifiers,
            );
            Column::new(column.name(), pg_type.with_options(options))
        })
        .collect();
    Ok(Description {
        columns,
        parameters: prepared.params().iter().map(cast_target).collect(),
    })
}

/// A type's name for a cast: schema and name as the catalog has them, both quoted, so that
/// `pg_catalog."bit"` is not read as `bit(1)` nor `"char"` as `char(1)`.
fn cast_target(oid_type: &Type) -> String {
    format!(
        "{}.{}",
        quote::identifier(oid_type.schema()),
        quote::identifier(oid_type.name())
    )
}

/// Adds the place in the user's text to an error about it.
fn statement_error(
    connection: &Connection,
    error: tokio_postgres::Error,
    statement: &Statement,
) -> Error {
    let position = error_position(&error);
    let ours = connection.error(error, Phase::Describe);
    match position.and_then(|position| statement::locate(statement.text(), position)) {
        Some((line, column, text)) => {
            let place = format!("line {line}, column {column}");
            let advice = ours.hint().unwrap_or("look at this place in the query");
            let hint = format!("{advice}\n{}", pointer(text, column));
            ours.with_context(&place).replace_hint(hint)
        }
        None => ours,
    }
}

/// The part of a line around a column (from 1), with a mark beneath it.
fn pointer(line: &str, column: usize) -> String {
    const BEFORE: usize = 60;
    const SHOWN: usize = 120;
    let skipped = column.saturating_sub(BEFORE);
    let shown: String = line.chars().skip(skipped).take(SHOWN).collect();
    // Tabs would be as wide as the terminal likes.
    let shown = shown.replace('\t', " ");
    format!("{shown}\n{:>1$}", "^", column - skipped)
}

/// Looks up the type modifiers of the fields of composites and of domains, which the client
/// library does not know.
async fn type_modifiers(
    session: &mut Session,
    columns: &[tokio_postgres::Column],
) -> Result<TypeModifiers> {
    let mut modifiers = TypeModifiers::default();
    for column in columns {
        collect_types(column.type_(), &mut modifiers);
    }
    if !modifiers.composites.is_empty() {
        let sql = format!(
            "SELECT t.oid, a.atttypmod, a.attndims FROM pg_catalog.pg_type t \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid \
             WHERE t.oid IN ({}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY t.oid, a.attnum",
            oid_list(modifiers.composites.keys())
        );
        for row in session.query(&sql).await? {
            let (oid, modifier, dimensions) = catalog_row(&row)?;
            modifiers
                .composites
                .entry(oid)
                .or_default()
                .push((modifier, dimensions));
        }
    }
    if !modifiers.domains.is_empty() {
        let sql = format!(
            "SELECT oid, typtypmod, typndims FROM pg_catalog.pg_type WHERE oid IN ({})",
            oid_list(modifiers.domains.keys())
        );
        for row in session.query(&sql).await? {
            let (oid, modifier, dimensions) = catalog_row(&row)?;
            modifiers.domains.insert(oid, (modifier, dimensions));
        }
    }
    Ok(modifiers)
}

/// Enters every composite and domain within a type.
fn collect_types(oid_type: &Type, found: &mut TypeModifiers) {
    match oid_type.kind() {
        Kind::Array(inner) | Kind::Range(inner) | Kind::Multirange(inner) => {
            collect_types(inner, found);
        }
        Kind::Domain(base) => {
            found.domains.insert(oid_type.oid(), (-1, 0));
            collect_types(base, found);
        }
        Kind::Composite(fields) => {
            found.composites.insert(oid_type.oid(), Vec::new());
            for field in fields {
                collect_types(field.type_(), found);
            }
        }
        _ => {}
    }
}

type Origin = (Option<u32>, Option<i16>);

/// How many dimensions the tables declare for the array columns.
async fn array_dimensions(
    session: &mut Session,
    columns: &[tokio_postgres::Column],
) -> Result<HashMap<Origin, i32>> {
    let mut origins = String::new();
    for column in columns {
        if let (Kind::Array(_), Some(table), Some(number)) = (
            column.type_().kind(),
            column.table_oid(),
            column.column_id(),
        ) {
            let comma = if origins.is_empty() { "" } else { ", " };
            // Writing to a String does not fail.
            let _ = write!(origins, "{comma}({table}, {number})");
        }
    }
    if origins.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT attrelid, attnum, attndims FROM pg_catalog.pg_attribute \
         WHERE (attrelid, attnum) IN ({origins})"
    );
    session
        .query(&sql)
        .await?
        .iter()
        .map(|row| {
            let (table, number, dimensions) = catalog_row(row)?;
            Ok(((Some(table), i16::try_from(number).ok()), dimensions))
        })
        .collect()
}

fn oid_list<'a>(oids: impl Iterator<Item = &'a u32>) -> String {
    oids.map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// An OID and two numbers.
fn catalog_row(row: &[Option<String>]) -> Result<(u32, i32, i32)> {
    let unexpected = || Error::new(ErrorKind::Decode, "unexpected answer of the catalog");
    let [Some(oid), Some(first), Some(second)] = row else {
        return Err(unexpected());
    };
    match (oid.parse(), first.parse(), second.parse()) {
        (Ok(oid), Ok(first), Ok(second)) => Ok((oid, first, second)),
        _ => Err(unexpected()),
    }
}

/// The statement with values in place of its parameters: literals, cast to the types that
/// PostgreSQL itself found for them.
pub(crate) fn with_values(
    statement: &Statement,
    description: &Description,
    values: &[Option<String>],
) -> Result<String> {
    let expected = description.parameters.len();
    if expected != values.len() {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "the query has {expected} parameters, but {} values are given",
                values.len()
            ),
        )
        .with_hint(
            "give one value for each of $1, $2, ... in their order (--param on the command line)",
        ));
    }
    let literals = description
        .parameters
        .iter()
        .zip(values)
        .enumerate()
        .map(|(index, (cast, value))| {
            let literal = match value {
                None => "NULL".to_owned(),
                Some(value) => quote::literal(value)
                    .map_err(|error| error.with_context(&format!("parameter ${}", index + 1)))?,
            };
            Ok(format!("{literal}::{cast}"))
        })
        .collect::<Result<Vec<_>>>()?;
    statement.with_parameters(&literals)
}

/// The COPY command for a statement of this description.
///
/// COPY takes no parameters, so the values are written into the text. Columns without a binary
/// form are cast to text.
pub(crate) fn copy_sql(
    statement: &Statement,
    description: &Description,
    values: &[Option<String>],
) -> Result<String> {
    let sql = with_values(statement, description, values)?;
    let columns = &description.columns;
    let names: Vec<_> = (1..=columns.len()).map(|n| format!("c{n}")).collect();
    let selected: Vec<_> = columns
        .iter()
        .zip(&names)
        .map(|(column, name)| column.select_expression(name))
        .collect();
    // The statement may end in a comment of one line, so the parenthesis is on a line of its own.
    let query = match selected == names {
        true => sql,
        false => format!(
            "SELECT {} FROM (\n{sql}\n) AS q({})",
            selected.join(", "),
            names.join(", ")
        ),
    };
    Ok(format!("COPY (\n{query}\n) TO STDOUT (FORMAT binary)"))
}

/// Checks that all shards give the same columns; returns them.
///
/// # Errors
/// [`ErrorKind::Unsupported`] with the differences: the rows would not fit one table.
pub(crate) fn agree(shards: &[(String, Description)]) -> Result<Vec<Column>> {
    let Some(((first_name, first), others)) = shards.split_first() else {
        return Err(Error::new(ErrorKind::Config, "the topology has no shard"));
    };
    for (name, other) in others {
        let mut differences = Vec::new();
        if first.columns.len() != other.columns.len() {
            differences.push(format!(
                "{first_name:?} has {} columns, {name:?} has {}",
                first.columns.len(),
                other.columns.len()
            ));
        }
        for (index, (left, right)) in first.columns.iter().zip(&other.columns).enumerate() {
            if left != right {
                differences.push(format!(
                    "column {}: {first_name:?} has {}, {name:?} has {}",
                    index + 1,
                    shown(left),
                    shown(right)
                ));
            }
        }
        if !differences.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the shards disagree on the columns: {}",
                    differences.join("; ")
                ),
            )
            .with_shard(name)
            .with_phase(Phase::Describe)
            .with_hint("make the tables alike, or cast and rename the columns in the query"));
        }
    }
    Ok(first.columns.clone())
}

/// A column for the message about a difference.
fn shown(column: &Column) -> String {
    format!("{:?} {}", column.name, column.pg_type.details())
}

/// How rows become batches.
#[derive(Debug, Clone)]
pub(crate) struct BatchOptions {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) unrepresentable: Unrepresentable,
}

/// Streams the rows of a COPY. Nothing runs before the stream is polled; dropping it cancels the
/// query.
///
/// The stream ends only when the trailer, CopyDone, CommandComplete with the right row count, and
/// ReadyForQuery have been seen; anything else is an error.
pub(crate) fn rows(
    session: Session,
    copy_sql: String,
    columns: Vec<Column>,
    options: &BatchOptions,
    counters: Arc<Counters>,
) -> QueryStream {
    let schema = Schema::new(columns.iter().map(Column::to_field).collect::<Vec<_>>());
    let decoder = DecoderBuilder::new(columns)
        .with_batch_rows(options.rows)
        .with_batch_bytes(options.bytes)
        .with_unrepresentable(options.unrepresentable)
        .build();
    let shard = session.shard().to_owned();
    let scan = Scan {
        session,
        decoder,
        counters: counters.clone(),
        chunk: Vec::new(),
        taken: 0,
        counted: 0,
    };
    let batches = stream::try_unfold(Step::Start(Box::new(scan), copy_sql), Step::next);
    let batches = batches.map(move |batch| {
        batch.map_err(|error| {
            counters.set(ShardState::Failed);
            error.with_shard(&shard).with_phase(Phase::Stream)
        })
    });
    QueryStream::new(Arc::new(schema), batches)
}

/// Where a scan is.
enum Step {
    Start(Box<Scan>, String),
    Running(Box<Scan>, Copy),
    /// The rows are complete; the last batch was handed out.
    End,
}

/// A COPY under way.
struct Copy {
    events: mpsc::Receiver<CopyEvent>,
    /// The client library's side, which has the error if there is one.
    driver: std::pin::Pin<Box<tokio_postgres::CopyOutStream>>,
}

struct Scan {
    session: Session,
    decoder: Decoder,
    counters: Arc<Counters>,
    /// Bytes received; `chunk[taken..]` are not decoded yet.
    chunk: Vec<u8>,
    taken: usize,
    /// Rows that the counters know of.
    counted: u64,
}

impl Step {
    async fn next(self) -> Result<Option<(RecordBatch, Self)>> {
        let (mut scan, mut copy) = match self {
            Self::Start(mut scan, sql) => {
                let copy = scan.start(&sql).await?;
                (scan, copy)
            }
            Self::Running(scan, copy) => (scan, copy),
            Self::End => return Ok(None),
        };
        match scan.next_batch(&mut copy).await? {
            Some(batch) => Ok(Some((batch, Self::Running(scan, copy)))),
            None => {
                // The library has messages of the COPY to hand over still, for which it may wait,
                // and with it every answer behind them.
                drop(copy);
                let Scan {
                    session,
                    decoder,
                    counters,
                    ..
                } = *scan;
                let last = decoder.finish()?;
                session.finish().await;
                counters.set(ShardState::Done);
                Ok(last.map(|batch| (batch, Self::End)))
            }
        }
    }
}

impl Scan {
    async fn start(&mut self, sql: &str) -> Result<Copy> {
        self.counters.set(ShardState::Executing);
        let connection = self.session.begin_query()?;
        let events = connection.tap.open();
        match connection.client.copy_out(sql).await {
            Ok(driver) => Ok(Copy {
                events,
                driver: Box::pin(driver),
            }),
            Err(error) => self.server_error(error),
        }
    }

    /// The next full batch; `None` when all data has come and is decoded.
    async fn next_batch(&mut self, copy: &mut Copy) -> Result<Option<RecordBatch>> {
        loop {
            while self.taken < self.chunk.len() {
                self.taken += self.decoder.decode(&self.chunk[self.taken..])?;
                let rows = self.decoder.rows();
                self.counters.add(rows - self.counted, 0);
                self.counted = rows;
                if self.taken < self.chunk.len()
                    && let Some(batch) = self.decoder.flush()?
                {
                    return Ok(Some(batch));
                }
            }
            match copy.events.recv().await {
                Some(CopyEvent::Data(chunk)) => {
                    if self.counted == 0 {
                        self.counters.set(ShardState::Streaming);
                    }
                    self.counters.add(0, chunk.len() as u64);
                    self.chunk = chunk;
                    self.taken = 0;
                }
                Some(CopyEvent::Complete { rows }) => {
                    self.session.done();
                    if rows != self.decoder.rows() {
                        return Err(Error::new(
                            ErrorKind::Decode,
                            format!(
                                "the server says it sent {rows} rows, but {} were received",
                                self.decoder.rows()
                            ),
                        ));
                    }
                    return Ok(None);
                }
                // The client library knows what happened.
                None => return self.failure(copy).await,
            }
        }
    }

    /// The reason why the data ended early.
    async fn failure<T>(&mut self, copy: &mut Copy) -> Result<T> {
        // The library's stream ends at CopyDone, behind which an error may still come; polled
        // again, it gives what came, and an error of its own for what it does not expect there.
        let mut unexpected = None;
        for _ in 0..LAST_MESSAGES {
            match copy.driver.next().await {
                Some(Err(error)) if error.as_db_error().is_some() => {
                    return self.server_error(error);
                }
                Some(Err(error)) if error.is_closed() => {
                    // Either the connection ended, or only the messages of this query.
                    let lost = self.session.begin_query()?.is_closed();
                    let error = unexpected.filter(|_| !lost).unwrap_or(error);
                    return self.server_error(error);
                }
                Some(Err(error)) => unexpected = Some(error),
                Some(Ok(_)) | None => {}
            }
        }
        Err(Error::new(
            ErrorKind::Decode,
            "the server did not confirm the rows",
        ))
    }

    /// The error that ended a query. One that the server sent needs no cancelling.
    fn server_error<T>(&mut self, error: tokio_postgres::Error) -> Result<T> {
        let answered = error.as_db_error().is_some();
        let ours = self.session.begin_query()?.error(error, Phase::Stream);
        if answered {
            self.session.done();
        }
        Err(ours)
    }
}

/// CopyDone, CommandComplete, ReadyForQuery, and the end of the messages.
const LAST_MESSAGES: usize = 4;
