//! The rows of a step for later ones: as SQL text.

use arrow::datatypes::Schema;
use futures::StreamExt;

use super::{Execution, Returns, Server, fault, schema_of};
use crate::connect::Session;
use crate::error::Result;
use crate::merge::Rest;
use crate::plan::{Merge, Step};
use crate::relation::{StepRelation, StepRelationBuilder, aggregated_types};
use crate::scan::{self, BatchOptions, Description, Reading, SqlType, SqlTypes};
use crate::stream::QueryStream;
use crate::types::{Column, Unrepresentable};

/// What is known of the columns of a step before it runs.
pub(super) struct Described {
    /// As they are read.
    pub(super) columns: Vec<Column>,
    /// What the first server says.
    pub(super) first: Description,
    /// What SQL calls their types.
    pub(super) types: Vec<SqlType>,
}

impl Execution<'_> {
    /// Runs a step, unless its rows are given, and holds them as SQL.
    pub(super) async fn text(
        &mut self,
        index: usize,
        step: &Step,
        given: Option<QueryStream>,
    ) -> Result<StepRelation> {
        let (columns, first) = self.describe_lossless(index, step).await?;
        let joins = match given.is_some() {
            true => Vec::new(),
            false => self.joins(step),
        };
        self.set_joins_along(index, &joins);
        let types = self.ask_types(index, &first, given.is_none()).await?;
        let sent = self.sent(step, &first, columns, &[])?;
        let shard_schema = schema_of(&sent.columns);
        let (mut rows, returns) = match given {
            Some(rows) => (rows, Returns::new()),
            None => {
                let servers = self.route.runs(index).to_vec();
                let options = self.lossless(step, servers.len());
                let scanned = self.scan(index, step, &servers, &sent, &options, true);
                let (shards, returns) = scanned.await?;
                (self.merge(step, shards, sent, Rest::Read).await?, returns)
            }
        };
        // Leaving this early drops the streams, which cancels the shards.
        let mut next = rows.next().await.transpose()?;
        let types = merged_types(step, &shard_schema, types.get()?, &rows.schema())?;
        let mut builder = StepRelationBuilder::try_new(&step.name, &step.columns, types)?;
        while let Some(batch) = next {
            let bytes = builder.push(&batch)?;
            let count = batch.num_rows() as u64;
            self.counters(index).add(count, bytes);
            self.budget.take(&step.name, count, bytes)?;
            next = rows.next().await.transpose()?;
        }
        drop(rows);
        self.take_back(returns).await?;
        // Steps behind it may run in the same session.
        self.set_joins(index, &joins, "DEFAULT").await?;
        Ok(builder.finish())
    }

    /// Asks the servers of a step for its columns, of which nothing is to be lost.
    async fn describe_lossless(
        &mut self,
        index: usize,
        step: &Step,
    ) -> Result<(Vec<Column>, Description)> {
        let reading = match step.merge {
            Merge::Aggregate { .. } => Reading::Aggregate(Reading::LOSSLESS),
            _ => Reading::Options(Reading::LOSSLESS),
        };
        self.describe(index, step, reading).await
    }

    /// The server that gave the first description.
    fn first_server(&self, index: usize) -> Result<Server> {
        let server = self.route.describes(index).first().copied();
        server.ok_or_else(|| fault("a step has no server"))
    }

    /// Asks for the names of the types of a step's columns: along with the rows if they are `read` now, and by
    /// one connection of that server. No row comes before its first shard has begun, in whose order rows
    /// for other steps are merged.
    async fn ask_types(
        &mut self,
        index: usize,
        first: &Description,
        read: bool,
    ) -> Result<SqlTypes> {
        let (question, types) = SqlTypes::of(first);
        let server = self.first_server(index)?;
        let is_alone = self.ranged.is_empty() && self.route.runs(index).first() == Some(&server);
        match (question, self.sites.get_mut(&server)) {
            (Some(question), Some(site)) if read && is_alone => site.before.push(question),
            (Some(question), _) => question.run(self.session(server)?).await?,
            (None, _) => {}
        }
        Ok(types)
    }

    /// Asks the servers of a step for its columns, and for the names of their types.
    pub(super) async fn described(&mut self, index: usize, step: &Step) -> Result<Described> {
        let (columns, first) = self.describe_lossless(index, step).await?;
        let server = self.first_server(index)?;
        let types = scan::sql_types(self.session(server)?, &first).await?;
        Ok(Described {
            columns,
            first,
            types,
        })
    }

    /// How rows become batches that other steps are handed.
    pub(super) fn lossless(&self, step: &Step, shards: usize) -> BatchOptions {
        let unrepresentable = match step.merge {
            Merge::Aggregate { .. } => Unrepresentable::Error,
            _ => Unrepresentable::Text,
        };
        self.query.options.batches(unrepresentable, shards)
    }

    /// The session of a server, while no step has it.
    pub(super) fn session(&mut self, server: Server) -> Result<&mut Session> {
        let site = self.sites.get_mut(&server);
        site.and_then(|site| site.session.as_mut())
            .ok_or_else(|| fault("a step has no session"))
    }

    /// Waits for the sessions of rows that are complete.
    pub(super) async fn take_back(&mut self, returns: Returns) -> Result<()> {
        for (server, session) in returns {
            let session = session.await.map_err(|_| fault("a session was lost"))?;
            if let Some(site) = self.sites.get_mut(&server) {
                site.session = Some(session);
            }
        }
        Ok(())
    }
}

/// What SQL calls the types of the rows that a merge gives.
pub(super) fn merged_types(
    step: &Step,
    shards: &Schema,
    mut types: Vec<SqlType>,
    merged: &Schema,
) -> Result<Vec<SqlType>> {
    match &step.merge {
        Merge::Aggregate { .. } => aggregated_types(shards, types, merged),
        Merge::Ordered { visible, .. } => {
            types.truncate(*visible);
            Ok(types)
        }
        Merge::Concatenate { .. } => Ok(types),
    }
}
