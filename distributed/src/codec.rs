//! How the operators, and the library's aggregates, travel.
//!
//! Ballista has one place for a codec, and its own has to stay: ours stands around it. What is ours begins
//! with a mark; an engine without this codec takes it for damaged and fails, as it should.

use std::path::PathBuf;
use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf::Schema;
use merganser::PartialMerge;
use prost::Message;

use crate::part_file::PartFileExec;
use crate::read::{Reader, ShardReadExec};

/// Stands before all that is ours. The number is that of the form.
const MARK: &[u8] = b"\0merganser1";

/// Encodes and decodes plans of ours, and Ballista's.
#[derive(Debug, Default)]
pub struct Codec {
    engine: BallistaPhysicalExtensionCodec,
    reader: Option<Arc<Reader>>,
}

impl Codec {
    /// For clients and schedulers, which read nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// For an executor.
    pub fn reading(reader: Arc<Reader>) -> Self {
        Self {
            reader: Some(reader),
            ..Self::default()
        }
    }
}

/// What travels of an operator; its input does so by itself.
#[derive(Clone, PartialEq, Message)]
struct Operator {
    #[prost(oneof = "Kind", tags = "1, 2")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    /// The schema of the rows that are read.
    #[prost(message, tag = "1")]
    ShardRead(Schema),
    /// The folder in which files are written.
    #[prost(string, tag = "2")]
    PartFile(String),
}

impl PhysicalExtensionCodec for Codec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let kind = if let Some(read) = node.downcast_ref::<ShardReadExec>() {
            Kind::ShardRead(Schema::try_from(read.schema().as_ref())?)
        } else if let Some(files) = node.downcast_ref::<PartFileExec>() {
            let folder = files.folder().to_str();
            let folder = folder.ok_or_else(|| {
                DataFusionError::Plan("the name of a folder has to be UTF-8".to_owned())
            })?;
            Kind::PartFile(folder.to_owned())
        } else {
            return self.engine.try_encode(node, buf, converter);
        };
        buf.extend_from_slice(MARK);
        let operator = Operator { kind: Some(kind) };
        operator.encode(buf).map_err(external)
    }

    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(ours) = buf.strip_prefix(MARK) else {
            return self.engine.try_decode(buf, inputs, context, converter);
        };
        let [input] = inputs else {
            return internal_err!("an operator of ours has one input, not {}", inputs.len());
        };
        let (input, reader) = (Arc::clone(input), self.reader.clone());
        match Operator::decode(ours).map_err(external)?.kind {
            Some(Kind::ShardRead(schema)) => {
                let schema = arrow::datatypes::Schema::try_from(&schema)?;
                let read = ShardReadExec::try_new(input, Arc::new(schema), reader)?;
                Ok(Arc::new(read))
            }
            Some(Kind::PartFile(folder)) => {
                let files = PartFileExec::try_new(input, PathBuf::from(folder), reader)?;
                Ok(Arc::new(files))
            }
            None => internal_err!("an operator of another version of merganser-ballista"),
        }
    }

    /// An aggregate without a payload is found by its name, and DataFusion has one of the same name that
    /// wraps around.
    fn try_encode_udaf(&self, node: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        match PartialMerge::payload(node) {
            Some(name) => {
                buf.extend_from_slice(MARK);
                buf.extend_from_slice(name.as_bytes());
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        let payload = buf.strip_prefix(MARK);
        let payload = payload.and_then(|payload| std::str::from_utf8(payload).ok());
        match payload.and_then(PartialMerge::aggregate) {
            Some(aggregate) => Ok(Arc::new(aggregate)),
            None => internal_err!("an aggregate {name} that merganser-ballista does not know"),
        }
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_expr::aggregate::AggregateExprBuilder;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;
    use datafusion_proto::physical_plan::AsExecutionPlan;
    use datafusion_proto::protobuf::PhysicalPlanNode;

    use super::*;
    use crate::descriptors;

    fn sent(plan: Arc<dyn ExecutionPlan>, codec: &dyn PhysicalExtensionCodec) -> PhysicalPlanNode {
        PhysicalPlanNode::try_from_physical_plan(plan, codec).unwrap()
    }

    fn received(
        node: &PhysicalPlanNode,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        node.try_into_physical_plan(&SessionContext::new().task_ctx(), codec)
    }

    /// The sum of two values that their type holds, while it does not hold their sum.
    fn overflowing() -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let values = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
        let rows = RecordBatch::try_new(schema.clone(), vec![values]).unwrap();
        let input = MemorySourceConfig::try_new_exec(&[vec![rows]], schema.clone(), None).unwrap();
        let sum = Arc::new(PartialMerge::aggregate("checked_sum").unwrap());
        let call = AggregateExprBuilder::new(sum, vec![Arc::new(Column::new("n", 0))])
            .schema(schema.clone())
            .alias("sum")
            .build();
        let calls = vec![Arc::new(call.unwrap())];
        let keys = PhysicalGroupBy::default();
        let mode = AggregateMode::Single;
        let sum = AggregateExec::try_new(mode, keys, calls, vec![None], input, schema);
        Arc::new(sum.unwrap())
    }

    #[tokio::test]
    async fn a_checked_sum_arrives_as_one_or_not_at_all() {
        let node = sent(overflowing(), &Codec::new());
        let context = SessionContext::new().task_ctx();
        let arrived = received(&node, &Codec::new()).unwrap();
        let error = collect(arrived, context.clone()).await.unwrap_err();
        assert!(error.to_string().contains("out of the range"), "{error}");
        let stock = BallistaPhysicalExtensionCodec::default();
        assert!(received(&node, &stock).is_err());

        // Without a payload DataFusion's own sum would take its place, and answer.
        let bare = sent(overflowing(), &stock);
        let arrived = received(&bare, &Codec::new()).unwrap();
        let wrapped = collect(arrived, context).await.unwrap();
        let wrapped = wrapped[0].column(0).as_primitive::<Int64Type>().value(0);
        assert_eq!(wrapped, i64::MIN);
    }

    #[test]
    fn operators_arrive_as_they_were_sent() {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Decimal128(12, 2), true),
            Field::new("name", DataType::Utf8, false)
                .with_metadata([("key".to_owned(), "value".to_owned())].into()),
        ]);
        let schema = Arc::new(schema);
        let leaf = descriptors::plan(&[], b"").unwrap();
        let read = ShardReadExec::try_new(leaf.clone(), schema.clone(), None).unwrap();
        let node = sent(Arc::new(read), &Codec::new());
        let read = received(&node, &Codec::new()).unwrap();
        assert!(read.is::<ShardReadExec>());
        assert_eq!(read.schema(), schema);

        let files = PartFileExec::try_new(leaf, PathBuf::from("/a/b"), None).unwrap();
        let node = sent(Arc::new(files), &Codec::new());
        let files = received(&node, &Codec::new()).unwrap();
        let files = files.downcast_ref::<PartFileExec>().unwrap();
        assert_eq!(files.folder(), std::path::Path::new("/a/b"));

        // Whoever has not this codec fails.
        assert!(received(&node, &BallistaPhysicalExtensionCodec::default()).is_err());
    }
}
