//! The same SQL on every shard.

use std::sync::Arc;

use futures::stream::StreamExt;

use super::{Query, settle};
use crate::connect::Session;
use crate::error::{Result, SqlOrigin};
use crate::progress::{Counters, ShardState};
use crate::scan::{self, BatchOptions, Description, Reading};
use crate::statement::Statement;
use crate::stream::QueryStream;
use crate::types::Column;

impl Query {
    /// The rows of each shard, ready to be read.
    pub(super) async fn scan(self) -> Result<Vec<QueryStream>> {
        let prepared = self.prepare().await?;
        let options = BatchOptions {
            rows: self.batch_rows,
            bytes: self.batch_bytes,
            unrepresentable: self.types.unrepresentable,
        };
        let statement = &prepared.statement;
        prepared
            .shards
            .into_iter()
            .zip(prepared.descriptions)
            .map(|((session, counters), description)| {
                let sql = scan::copy_sql(statement, &description, &self.parameters)?;
                let columns = prepared.columns.clone();
                let rows = scan::rows(session, sql, columns, &options, counters, None);
                let schema = rows.schema();
                let rows =
                    rows.map(|batch| batch.map_err(|error| error.with_sql_origin(SqlOrigin::User)));
                Ok(QueryStream::new(schema, rows))
            })
            .collect()
    }

    /// Connects to all shards, describes the statement on each, and compares.
    pub(super) async fn prepare(&self) -> Result<Prepared> {
        let statement = Statement::parse(&self.sql)?;
        let pools = self.cluster.pools();
        let names: Vec<_> = (0..pools.len())
            .map(|shard| pools.name(shard).clone())
            .collect();
        let counters = self.progress.begin(names.iter().map(|name| &**name));
        let permits = pools.permits(0..pools.len()).await?;
        let described = permits
            .into_iter()
            .zip(&counters)
            .map(|(permit, counters)| {
                let statement = &statement;
                let reading = Reading::Options(self.types);
                async move {
                    counters.set(ShardState::Connecting);
                    let described = async {
                        let mut session = pools.session(permit).await?;
                        let description =
                            scan::describe(&mut session, statement, SqlOrigin::User, reading)
                                .await?;
                        Ok((session, description))
                    };
                    let result = described.await;
                    if result.is_err() {
                        counters.set(ShardState::Failed);
                    }
                    result
                }
            });
        let (sessions, descriptions): (Vec<_>, Vec<_>) =
            settle(described).await?.into_iter().unzip();
        let named: Vec<_> = names
            .iter()
            .map(|name| name.to_string())
            .zip(descriptions)
            .collect();
        let columns = scan::agree(&named)?;
        Ok(Prepared {
            statement,
            columns,
            shards: sessions.into_iter().zip(counters).collect(),
            descriptions: named
                .into_iter()
                .map(|(_, description)| description)
                .collect(),
        })
    }
}

/// A query that every shard has described.
pub(super) struct Prepared {
    pub(super) statement: Statement,
    pub(super) columns: Vec<Column>,
    pub(super) shards: Vec<(Session, Arc<Counters>)>,
    descriptions: Vec<Description>,
}
