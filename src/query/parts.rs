//! A planned query of which the rows of each shard are final, to be read shard by shard.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use futures::FutureExt;
use futures::stream::{self, TryStreamExt};

use super::Query;
use super::fence::Fence;
use super::options::Options;
use crate::cluster::Cluster;
use crate::connect::{Opening, Pools};
use crate::error::{Error, Result, SqlOrigin};
use crate::plan::{Merge, Place};
use crate::progress::ScanProgress;
use crate::scan::{self, Reading};
use crate::statement::Statement;
use crate::stream::QueryStream;
use crate::types::Column;

/// What each shard that has rows of the answer is asked, and what it gives.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    sql: Arc<str>,
    shards: Vec<usize>,
    columns: Vec<Column>,
    opening: Opening,
    options: Options,
}

impl Query {
    /// The parts of the query; `None` where its answer is more than the rows of shards together.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub(crate) async fn parts(self) -> Result<Option<Parts>> {
        let opening = self.request.opening()?;
        let cluster = self.request.cluster.clone();
        let options = self.request.options.clone();
        let fence = Fence::new(&options, cluster.topology())?;
        Fence::refuse(fence.as_ref(), "tables of DataFusion's")?;
        let plan = self.plan().boxed().await?;
        let Ok([step]) = <[_; 1]>::try_from(plan.steps) else {
            return Ok(None);
        };
        let shards = match (step.place, &step.merge) {
            (Place::Shards(shards), Merge::Concatenate { skip: 0, .. }) => shards,
            (Place::AnyShard, Merge::Concatenate { skip: 0, .. }) => vec![cluster.next_shard()],
            _ => return Ok(None),
        };
        Ok(Some(Parts {
            sql: step.sql.to_string().into(),
            shards,
            columns: plan.columns,
            opening,
            options,
        }))
    }
}

impl Parts {
    /// The SQL that every shard runs.
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// The shards, by index; each is a part.
    pub(crate) fn shards(&self) -> &[usize] {
        &self.shards
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        let fields: Vec<_> = self.columns.iter().map(Column::to_field).collect();
        Arc::new(Schema::new(fields))
    }

    /// The rows of one part. Nothing happens before they are polled.
    pub(crate) fn read(&self, pools: &Arc<Pools>, part: usize) -> QueryStream {
        let (this, pools) = (self.clone(), pools.clone());
        let rows = async move {
            let shard = *this.shards.get(part).ok_or_else(no_such_part)?;
            this.open(&pools, shard).await
        };
        QueryStream::new(self.schema(), stream::once(rows.boxed()).try_flatten())
    }

    async fn open(self, pools: &Arc<Pools>, shard: usize) -> Result<QueryStream> {
        let permit = pools.permits([shard]).await?.pop();
        let permit = permit.ok_or_else(no_such_part)?;
        let mut session = pools.session(permit, &self.opening).await?;
        let statement = Statement::parse(&self.sql)?;
        let reading = Reading::Options(self.options.types);
        let described = scan::describe(&mut session, &statement, SqlOrigin::Made, reading).await?;
        let copy = scan::copy_sql(&statement, &described, &[])?;
        let planned = described.with_columns(&self.columns);
        let name = session.shard().to_owned();
        scan::agree(&[("the plan".to_owned(), planned), (name, described)])?;
        let batches = self.options.batches(self.options.types.unrepresentable, 1);
        let counters = ScanProgress::new().begin([session.shard()]).pop();
        let counters = counters.ok_or_else(no_such_part)?;
        Ok(scan::rows(
            session,
            copy,
            self.columns,
            &batches,
            counters,
            None,
            None,
        ))
    }
}

fn no_such_part() -> Error {
    Error::fault("a query has no such part")
}

impl Cluster {
    /// Pools of their own for those who read parts of many queries at the same time, in an order that
    /// nobody here knows: who waits for a connection would wait for others who wait for its rows.
    ///
    /// # Errors
    /// As making the cluster.
    pub(crate) fn pools_of_readers(&self) -> Result<Arc<Pools>> {
        Ok(Arc::new(self.pools().with_size(MOST_READERS)?))
    }
}

/// More connections than a server lets anybody have: it refuses the one that is too much, and nobody
/// waits.
const MOST_READERS: usize = 1000;
