//! The operator that turns descriptors into rows, and whoever reads for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    PlanProperties, ReplaceChildrenOptions,
};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use merganser::{Cluster, Error, ErrorKind, Partition, QueryStream};

use crate::descriptors::{self, Sealed};
use crate::failure::{may_pass, to_engine};

/// Reads parts, with what this machine alone knows: where the shards are, who may read them, and the key
/// of the seals.
pub struct Reader {
    name: String,
    cluster: Cluster,
    key: Vec<u8>,
}

impl Reader {
    /// One that reads the shards of a cluster, under the name of an executor.
    ///
    /// With an empty key a seal only tells that nothing was damaged on the way: whoever reaches the
    /// scheduler can make one, and with it run SQL with the rights of the executors.
    pub fn new(name: impl Into<String>, cluster: Cluster, key: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            cluster,
            key,
        }
    }

    /// The name of the executor.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part that a descriptor is of.
    ///
    /// # Errors
    /// As [`Partition::unseal`].
    pub fn unseal(&self, sealed: &Sealed) -> Result<Partition, Error> {
        Partition::unseal(&sealed.bytes, &self.key)
    }

    /// Starts to read a part. A server that is not reached, or has no connection left, is asked again for some
    /// seconds.
    ///
    /// # Errors
    /// As [`PartitionRead::stream`](merganser::PartitionRead::stream).
    ///
    /// # Cancel safety
    /// Dropping the future or the stream cancels the query on the shard.
    pub async fn read(&self, part: &Partition) -> Result<QueryStream, Error> {
        for wait in WAITS {
            match self.cluster.read_partition(part).stream().await {
                Err(error) if may_pass(&error) => {
                    log::warn!("{error}: asking again in {wait:?}");
                    tokio::time::sleep(wait).await;
                }
                begun => return begun,
            }
        }
        self.cluster.read_partition(part).stream().await
    }
}

/// Between attempts.
const WAITS: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Gives the rows of the parts whose descriptors its input gives, partition by partition.
#[derive(Clone)]
pub struct ShardReadExec {
    input: Arc<dyn ExecutionPlan>,
    /// `None` everywhere but on an executor: there is nothing to read with.
    reader: Option<Arc<Reader>>,
    properties: Arc<PlanProperties>,
}

impl ShardReadExec {
    /// Rows of this schema, of the parts that the input describes.
    ///
    /// # Errors
    /// Where the input gives no descriptors.
    pub fn try_new(
        input: Arc<dyn ExecutionPlan>,
        schema: SchemaRef,
        reader: Option<Arc<Reader>>,
    ) -> Result<Self> {
        if !descriptors::are_given_by(input.as_ref()) {
            return internal_err!("{NAME} above {}, which gives no descriptors", input.name());
        }
        Ok(Self {
            properties: properties(&input, schema),
            input,
            reader,
        })
    }
}

const NAME: &str = "ShardReadExec";

/// Nothing is known of the order of rows, nor of where a row is; there are as many partitions as the
/// input has, which the scheduler changes.
pub(crate) fn properties(input: &Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

/// The one input of an operator.
pub(crate) fn only(
    name: &str,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    match <[_; 1]>::try_from(children) {
        Ok([child]) => Ok(child),
        Err(children) => internal_err!("{name} has one input, not {}", children.len()),
    }
}

/// Whoever reads, on an executor.
pub(crate) fn reader_of(name: &str, reader: Option<&Arc<Reader>>) -> Result<Arc<Reader>> {
    reader.cloned().ok_or_else(|| {
        DataFusionError::Internal(format!(
            "{name} runs on executors alone, which have a topology"
        ))
    })
}

/// The descriptors of a partition of the input.
pub(crate) fn sealed(
    input: &Arc<dyn ExecutionPlan>,
    partition: usize,
    context: Arc<TaskContext>,
) -> Result<impl Stream<Item = Result<Sealed>> + Send + 'static> {
    let batches = input.execute(partition, context)?;
    let parts = batches.map(|batch| {
        let parts = descriptors::of(&batch?)?;
        Ok::<_, DataFusionError>(stream::iter(parts).map(Ok))
    });
    Ok(parts.try_flatten())
}

impl DisplayAs for ShardReadExec {
    /// Neither the statement nor the shards: plans are in the logs of schedulers.
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}: columns={}", self.schema().fields().len())
    }
}

impl fmt::Debug for ShardReadExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for ShardReadExec {
    fn name(&self) -> &str {
        NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// Whoever spread descriptors evenly would take them out of the partitions that the scheduler knows.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = only(NAME, children)?;
        let read = Self::try_new(input, self.schema(), self.reader.clone())?;
        Ok(Arc::new(read))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mode = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, mode)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let reader = reader_of(NAME, self.reader.as_ref())?;
        let schema = self.schema();
        let rows = sealed(&self.input, partition, context)?
            .and_then(move |sealed| read(Arc::clone(&reader), sealed, Arc::clone(&schema)))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

async fn read(
    reader: Arc<Reader>,
    sealed: Sealed,
    schema: SchemaRef,
) -> Result<impl Stream<Item = Result<RecordBatch>>> {
    let rows = async {
        let part = reader.unseal(&sealed)?;
        let rows = reader.read(&part).await?;
        match rows.schema() == schema {
            true => Ok(rows),
            // Of the columns that PostgreSQL has, the descriptor has a digest.
            false => Err(Error::new(
                ErrorKind::Unsupported,
                "the executor reads the columns as other Arrow types than the plan has",
            )
            .with_shard(part.shard())
            .with_hint("run the same version of merganser-ballista everywhere")),
        }
    };
    Ok(rows.await.map_err(to_engine)?.map_err(to_engine))
}
