//! The rows of a step for later ones: as a temporary table of the server that finishes.
//!
//! ```text
//! shard 0: COPY TO --rows as bytes--.
//! shard 1: COPY TO --rows as bytes---+--> COPY FROM, in the session that finishes; then ANALYZE
//! the server itself: INSERT .. SELECT, without leaving it
//! ```
//! The table is part of the one transaction that this server has for the query, and goes with it: at its
//! end, when it is given up, and when the connection is lost. Rows go through here a batch at a time,
//! undecoded where the other server takes the same bytes, and wait in the shards when it is slower.

use arrow::array::RecordBatch;
use futures::future::try_join;
use futures::stream::{self, StreamExt};

use super::relations::{Described, merged_types};
use super::{Execution, Sent, Server, fault, in_place, schema_of};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::merge::{self, Order, Rest};
use crate::plan::{self, Merge, Step};
use crate::progress::ShardState;
use crate::relation::{Content, TemporaryRelation};
use crate::scan;
use crate::stream::QueryStream;

impl Execution<'_> {
    /// Runs a step, and puts its rows into a table.
    pub(super) async fn table(&mut self, index: usize, step: &Step) -> Result<TemporaryRelation> {
        let server = self.tables.ok_or_else(|| fault("no server has tables"))?;
        let described = self.described(index, step).await?;
        let joins = self.joins(step);
        self.set_joins(index, &joins, "off").await?;
        let relation = match step.merge.is_all() {
            true => self.append(index, step, server, described).await?,
            false => self.append_merged(index, step, server, described).await?,
        };
        self.set_joins(index, &joins, "DEFAULT").await?;
        let session = self.session(server)?;
        let analyzed = session.execute(&relation.analyze_sql()).await;
        analyzed.map_err(cured)?;
        Ok(relation)
    }

    /// The rows of all servers of a step, those of the server with the table among them.
    async fn append(
        &mut self,
        index: usize,
        step: &Step,
        server: Server,
        described: Described,
    ) -> Result<TemporaryRelation> {
        let Described {
            columns,
            first,
            types,
        } = described;
        let mut options = self.lossless(step, self.route.runs(index).len());
        options.decoded = !first.is_portable();
        let content = match options.decoded {
            true => Content::Text,
            false => Content::Undecoded,
        };
        let mut relation = TemporaryRelation::try_new(&step.name, &step.columns, types, content)?;
        self.create(server, &relation).await?;
        let sent = match content {
            Content::Text => self.sent(step, &first, columns, &[])?,
            Content::Undecoded => {
                let frame = scan::copy_frame(0, &[]);
                let mut copy = frame.0.clone();
                self.write_query(step, true, &mut copy)?;
                copy.push_str(&frame.1);
                Sent {
                    columns,
                    copy: copy.into(),
                    frame,
                    comparison: None,
                }
            }
        };
        let runs = self.route.runs(index).to_vec();
        let own = runs.iter().position(|runs| *runs == server);
        // In the order of the shards where sums of floating-point numbers depend on it.
        let (before, after): (Vec<_>, Vec<_>) = (0..)
            .zip(runs)
            .filter(|(number, _)| Some(*number) != own)
            .partition(|(number, _)| self.groups == Order::Shard && own > Some(*number));
        for (part, with_own) in [(before, false), (after, own.is_some())] {
            let servers: Vec<_> = part.into_iter().map(|(_, server)| server).collect();
            let scanned = self.scan(index, step, &servers, &sent, &options, true);
            let (shards, returns) = scanned.await?;
            let shards = shards.into_iter().map(|(_, rows)| rows).collect();
            let mut rows = merge::union(shards, self.groups, QUEUE_BYTES)?;
            let mut head = None;
            if with_own {
                // Meanwhile the shards begin.
                let begin = async { rows.next().await.transpose() };
                ((), head) =
                    try_join(self.insert(index, step, server, &mut relation), begin).await?;
            }
            if !servers.is_empty() {
                self.copy(index, server, &mut relation, head, rows).await?;
            }
            self.take_back(returns).await?;
        }
        Ok(relation)
    }

    /// The rows that a merge gives.
    async fn append_merged(
        &mut self,
        index: usize,
        step: &Step,
        server: Server,
        described: Described,
    ) -> Result<TemporaryRelation> {
        let sent = self.sent(step, &described.first, described.columns, &[])?;
        let shard_schema = schema_of(&sent.columns);
        let servers = self.route.runs(index).to_vec();
        let options = self.lossless(step, servers.len());
        let scanned = self.scan(index, step, &servers, &sent, &options, true);
        let (shards, mut returns) = scanned.await?;
        let mut rows = self.merge(step, shards, sent, Rest::Read).await?;
        let types = merged_types(step, &shard_schema, described.types, &rows.schema())?;
        let content = Content::Text;
        let mut relation = TemporaryRelation::try_new(&step.name, &step.columns, types, content)?;
        let mut head = None;
        if let Merge::Aggregate { .. } = step.merge {
            // It has read all rows before it gives the first, and the server's own session, which may be
            // one of theirs, is free.
            head = rows.next().await.transpose()?;
            self.take_back(std::mem::take(&mut returns)).await?;
        }
        self.create(server, &relation).await?;
        self.copy(index, server, &mut relation, head, rows).await?;
        self.take_back(returns).await?;
        Ok(relation)
    }

    async fn create(&mut self, server: Server, relation: &TemporaryRelation) -> Result<()> {
        let create = relation.create_sql();
        if let (Server::Finish, Some(both)) = (server, &self.finish) {
            plan::text_is_alike(&create, both)?;
        }
        let created = self.session(server)?.create_temporary(&create).await;
        created.map_err(without_table)
    }

    /// Sends rows to the table.
    async fn copy(
        &mut self,
        index: usize,
        server: Server,
        relation: &mut TemporaryRelation,
        head: Option<RecordBatch>,
        rows: QueryStream,
    ) -> Result<()> {
        let counters = self.counters(index);
        let mut budget = self.tables_budget;
        let mut sent = 0;
        let batches = stream::iter(head.map(Ok)).chain(rows);
        let rows = batches.map(|batch| {
            let batch = batch?;
            let bytes = relation.encode(&batch)?;
            let count = batch.num_rows() as u64;
            counters.add(count, bytes.len() as u64);
            budget.take(relation.name(), count, bytes.len() as u64)?;
            sent += count;
            Ok(bytes)
        });
        let frame = |bytes: &[u8]| stream::iter([Ok(bytes.to_vec())]);
        let data = frame(relation.head())
            .chain(rows)
            .chain(frame(relation.tail()));
        let session = self.session(server)?;
        let taken = session.copy_in(&relation.copy_sql(), data).await;
        let taken = taken.map_err(cured)?;
        self.tables_budget = budget;
        relation.count(taken);
        match taken == sent {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Decode,
                format!("the server says it took {taken} rows, but {sent} were sent"),
            )
            .with_phase(Phase::Finish)),
        }
    }

    /// Has the server put its own part of the rows into the table.
    async fn insert(
        &mut self,
        index: usize,
        step: &Step,
        server: Server,
        relation: &mut TemporaryRelation,
    ) -> Result<()> {
        let mut query = String::new();
        self.write_query(step, true, &mut query)?;
        let origin = self.origin(step);
        let step_counters = self.counters(index);
        let site = self.sites.get(&server);
        let site = site.ok_or_else(|| fault("a step has no session"))?;
        let counters = step_counters.shard(&site.counters);
        counters.set(ShardState::Executing);
        let session = self.session(server)?;
        let inserted = session.execute(&relation.insert_sql(&query)).await;
        let rows = inserted.map_err(|error| {
            counters.set(ShardState::Failed);
            cured(in_place(error, &step.place, origin))
        })?;
        let size = session.query(&relation.size_sql()?).await?;
        let size = size.first().and_then(|row| row.first()).cloned().flatten();
        let bytes = size.and_then(|size| size.parse().ok());
        let bytes = bytes.ok_or_else(|| fault("the size of a table is no number"))?;
        counters.add(rows, bytes);
        counters.set(ShardState::Done);
        step_counters.add(rows, bytes);
        relation.count(rows);
        self.tables_budget.take(relation.name(), rows, bytes)
    }
}

/// How many bytes of rows may wait for the server with the table.
const QUEUE_BYTES: usize = 16 << 20;

/// An error of beginning a transaction that is to have tables: PostgreSQL has this code for `READ WRITE` on a
/// standby, and for nothing else of what a session begins with.
pub(super) fn without_transaction(error: Error) -> Error {
    match (error.sql_state(), error.phase()) {
        (Some("0A000"), Some(Phase::Session)) => of_standby(error),
        _ => error,
    }
}

/// An error of making a table.
fn without_table(error: Error) -> Error {
    match error.sql_state() {
        // Where it is about a schema or a type, and in English, the right was named already.
        Some("42501") if !error.hint().is_some_and(|hint| hint.contains("GRANT")) => {
            error.replace_hint(NO_RIGHT.to_owned())
        }
        Some("25006") => of_standby(error),
        _ => cured(error),
    }
}

fn of_standby(error: Error) -> Error {
    error
        .with_context("a standby makes no temporary tables")
        .replace_hint(STANDBY.to_owned())
}

/// An error of the server with tables says what to do about these.
fn cured(error: Error) -> Error {
    let hint = match error.sql_state() {
        Some("42704" | "3F000") if error.phase() == Some(Phase::Finish) => NO_TYPE,
        Some("54000") => TOO_WIDE,
        _ => return error,
    };
    error.replace_hint(hint.to_owned())
}

const NO_RIGHT: &str = "rows are handed to this server in temporary tables, which its role may not \
     make: GRANT TEMPORARY ON DATABASE .. TO the role, or hand them over as SQL text, which is \
     bounded: relations = \"text\" in [finish] (--finish-relations text)";
const STANDBY: &str = "rows are handed to this server in temporary tables, which a standby cannot have: \
     name a primary in [finish] url, or hand them over as SQL text, which is bounded: \
     relations = \"text\" in [finish] (--finish-relations text)";
const NO_TYPE: &str = "the server that finishes needs the types of the shards' columns, under the same \
     names";
const TOO_WIDE: &str = "the rows of a step are too wide for a table of PostgreSQL: select fewer \
     columns, or hand the rows over as SQL text, which is bounded: relations = \"text\" in [finish] \
     (--finish-relations text)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_refuses_tables_for_has_a_cure() {
        let error = |code: &str, message: &str| {
            let error = Error::new(ErrorKind::Server, message).with_sql_state(code);
            cured(error.with_hint("another").with_phase(Phase::Finish))
        };
        for (code, message, cure) in [
            ("42704", "type \"sales.mood\" does not exist", NO_TYPE),
            (
                "54000",
                "row is too big: size 12016, maximum size 8160",
                TOO_WIDE,
            ),
            ("42501", "permission denied for table t", "another"),
            ("22012", "division by zero", "another"),
        ] {
            assert_eq!(error(code, message).hint(), Some(cure), "{code}");
        }
    }

    /// Whatever the language of the server.
    #[test]
    fn what_a_table_needs_is_told_by_the_code() {
        let error = |code: &str, phase, hint: &str| {
            let error = Error::new(ErrorKind::Server, "keine Berechtigung").with_sql_state(code);
            error.with_phase(phase).with_hint(hint)
        };
        let hint = |error: Error| error.hint().map(str::to_owned);
        let begun = without_transaction(error("0A000", Phase::Session, "another"));
        assert!(
            begun
                .message()
                .starts_with("a standby makes no temporary tables: "),
            "{begun}"
        );
        assert_eq!(hint(begun).as_deref(), Some(STANDBY));
        let other = without_transaction(error("42704", Phase::Session, "another"));
        assert_eq!(hint(other).as_deref(), Some("another"));
        for (code, said, cure) in [
            ("42501", "the role app lacks a right", NO_RIGHT),
            (
                "42501",
                "GRANT USAGE ON sales TO app",
                "GRANT USAGE ON sales TO app",
            ),
            ("25006", "another", STANDBY),
            ("42704", "another", NO_TYPE),
        ] {
            let made = without_table(error(code, Phase::Finish, said));
            assert_eq!(hint(made).as_deref(), Some(cure), "{code}");
        }
    }
}
