//! What the engine makes of plans: why ours have the leaf that they have, and why no other is sent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{CancelJobParams, GetJobStatusParams};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use merganser::{Cluster, Error, ErrorKind, PartitionOptions, Topology};
use merganser_ballista::client::Scheduler;
use merganser_ballista::codec::Codec;
use merganser_ballista::part_file::PartFileExec;
use merganser_ballista::read::ShardReadExec;
use merganser_ballista::{allowed, descriptors};
use merganser_local::fixture;
use tonic::transport::Channel;

use crate::local::{PATIENCE, answers, events, free_port};

const PARTITIONS: usize = 12;
const ROWS: usize = 100;

/// A leaf as anybody would write it: so many partitions, of as many rows.
#[derive(Debug)]
struct NaiveLeaf(Arc<PlanProperties>);

impl NaiveLeaf {
    fn new() -> Self {
        Self(Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema()),
            Partitioning::UnknownPartitioning(PARTITIONS),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )))
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn rows() -> RecordBatch {
    let numbers = Int64Array::from_iter_values(0..ROWS as i64);
    RecordBatch::try_new(schema(), vec![Arc::new(numbers)]).unwrap()
}

impl DisplayAs for NaiveLeaf {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NaiveLeaf")
    }
}

impl ExecutionPlan for NaiveLeaf {
    fn name(&self) -> &str {
        "NaiveLeaf"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.0
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let stream = MemoryStream::try_new(vec![rows()], schema(), None)?;
        Ok(Box::pin(stream))
    }
}

/// Ballista's codec, and one that knows the leaf above.
#[derive(Debug, Default)]
struct NaiveCodec(BallistaPhysicalExtensionCodec);

const NAIVE: &[u8] = b"\0naive";

impl PhysicalExtensionCodec for NaiveCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match buf == NAIVE {
            true => Ok(Arc::new(NaiveLeaf::new())),
            false => self.0.try_decode(buf, inputs, context, converter),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        match node.is::<NaiveLeaf>() {
            true => {
                buf.extend_from_slice(NAIVE);
                Ok(())
            }
            false => self.0.try_encode(node, buf, converter),
        }
    }
}

/// `SELECT count(n)` over the rows of a plan.
fn count(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("n", 0));
    let call = AggregateExprBuilder::new(count_udaf(), vec![column])
        .schema(schema())
        .alias("count")
        .build();
    let calls = vec![Arc::new(call.unwrap())];
    let aggregate = |mode, input| {
        let keys = PhysicalGroupBy::default();
        let plan = AggregateExec::try_new(mode, keys, calls.clone(), vec![None], input, schema());
        Arc::new(plan.unwrap()) as Arc<dyn ExecutionPlan>
    };
    let parts = aggregate(AggregateMode::Partial, input);
    aggregate(
        AggregateMode::Final,
        Arc::new(CoalescePartitionsExec::new(parts)),
    )
}

/// A scheduler in this process, with this codec; its port.
async fn scheduling(codec: Arc<dyn PhysicalExtensionCodec>, config: SchedulerConfig) -> u16 {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let config = Arc::new(SchedulerConfig {
        bind_port: port,
        external_host: "127.0.0.1".to_owned(),
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        override_physical_codec: Some(codec),
        ..config
    });
    let cluster = BallistaCluster::new_from_config(&config).await.unwrap();
    tokio::spawn(start_server(cluster, address.parse().unwrap(), config));
    wait(&address).await;
    port
}

/// A scheduler and two executors of one vcore in this process, with these codecs.
async fn engine(
    scheduler: Arc<dyn PhysicalExtensionCodec>,
    executing: Arc<dyn PhysicalExtensionCodec>,
    folder: &std::path::Path,
) -> Scheduler {
    let port = scheduling(scheduler, SchedulerConfig::default()).await;
    for number in 0..2 {
        let flight = free_port();
        let work_dir = folder.join(number.to_string());
        std::fs::create_dir(&work_dir).unwrap();
        let config = Arc::new(ExecutorProcessConfig {
            executor_id: format!("e{number}"),
            port: flight,
            grpc_port: free_port(),
            external_host: Some("127.0.0.1".to_owned()),
            scheduler_host: "127.0.0.1".to_owned(),
            scheduler_port: port,
            vcores: 1,
            work_dir: Some(work_dir.to_str().unwrap().to_owned()),
            override_physical_codec: Some(Arc::clone(&executing)),
            ..ExecutorProcessConfig::default()
        });
        tokio::spawn(start_executor_process(config));
        wait(&format!("127.0.0.1:{flight}")).await;
    }
    connected(port).await
}

async fn connected(port: u16) -> Scheduler {
    let address = format!("127.0.0.1:{port}");
    Scheduler::connect(&address).await.unwrap()
}

async fn wait(address: &str) {
    let address = address.to_owned();
    tokio::task::spawn_blocking(move || answers(&address))
        .await
        .unwrap();
}

async fn counted(scheduler: &Scheduler, plan: Arc<dyn ExecutionPlan>) -> i64 {
    let job = scheduler
        .submit_unchecked(plan, &NaiveCodec::default())
        .await;
    let answer = job.unwrap().run(std::future::pending()).await.unwrap();
    let batches = answer.rows().collect().await.unwrap();
    let counts = batches.iter().flat_map(|batch| {
        batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    });
    counts.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_the_engine_does_not_know_is_counted_often_and_one_that_it_knows_once() {
    let folder = tempfile::tempdir().unwrap();
    let codec: Arc<dyn PhysicalExtensionCodec> = Arc::new(NaiveCodec::default());
    let scheduler = engine(Arc::clone(&codec), codec, folder.path()).await;
    let all = i64::try_from(PARTITIONS * ROWS).unwrap();

    let partitions = vec![vec![rows()]; PARTITIONS];
    let known = MemorySourceConfig::try_new_exec(&partitions, schema(), None).unwrap();
    assert_eq!(counted(&scheduler, count(known)).await, all);

    // Should this ever hold `all`, the engine has learnt to cut such plans, and ours may become simpler.
    let naive = count(Arc::new(NaiveLeaf::new()));
    let found = counted(&scheduler, Arc::clone(&naive)).await;
    assert!(found > all && found % all == 0, "{found} of {all}");

    let refused = scheduler.submit(naive).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_our_codec_fails_and_does_not_answer() {
    let Some((_, topology)) = events(2, 10) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let topology = Topology::from_toml(&topology).unwrap();
    let cluster = Cluster::new(topology).unwrap();
    let query = cluster.query("SELECT id % 3 AS k, sum(id), count(*) FROM events GROUP BY 1");
    let cut = query
        .partial_partitions(&PartitionOptions::new())
        .await
        .unwrap();
    let parts = descriptors::plan(&cut.partitions.parts, b"").unwrap();
    let rows = ShardReadExec::try_new(parts, cut.partitions.schema.clone(), None);
    let plan = cut.merge.plan(Arc::new(rows.unwrap()), 4).await.unwrap();
    let stock = || Arc::new(BallistaPhysicalExtensionCodec::default());

    let without = folder.path().join("without");
    std::fs::create_dir(&without).unwrap();
    let scheduler = engine(stock(), stock(), &without).await;
    let refused = scheduler.submit(Arc::clone(&plan)).await;
    assert!(refused.is_err());

    // Nor do its executors.
    let half = folder.path().join("half");
    std::fs::create_dir(&half).unwrap();
    let scheduler = engine(Arc::new(Codec::new()), stock(), &half).await;
    let job = scheduler.submit(plan).await.unwrap();
    let failed = job.run(std::future::pending()).await;
    let error = failed.map(drop).unwrap_err();
    assert!(error.message().contains("rejected by executor"), "{error}");
}

/// What a scheduler says of a job.
async fn status(port: u16, job: &str) -> Option<Status> {
    let params = GetJobStatusParams {
        job_id: job.to_owned(),
    };
    let answer = client(port).await.get_job_status(params).await.unwrap();
    answer.into_inner().status?.status
}

async fn cancel(port: u16, job: &str) {
    let params = CancelJobParams {
        job_id: job.to_owned(),
    };
    client(port).await.cancel_job(params).await.unwrap();
}

async fn client(port: u16) -> SchedulerGrpcClient<Channel> {
    let address = format!("http://127.0.0.1:{port}");
    SchedulerGrpcClient::connect(address).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_the_scheduler_has_forgotten_is_an_error_and_no_wait() {
    let codec: Arc<dyn PhysicalExtensionCodec> = Arc::new(NaiveCodec::default());
    // There is nobody to run it, and what was cancelled is forgotten after a second.
    let config = SchedulerConfig {
        finished_job_state_clean_up_interval_seconds: 1,
        ..SchedulerConfig::default()
    };
    let port = scheduling(codec, config).await;
    let scheduler = connected(port).await;
    let partitions = vec![vec![rows()]; PARTITIONS];
    let known = MemorySourceConfig::try_new_exec(&partitions, schema(), None).unwrap();
    let codec = NaiveCodec::default();
    let job = scheduler.submit_unchecked(known, &codec).await.unwrap();

    let mut seen = false;
    let forgotten = async {
        loop {
            match status(port, job.id()).await {
                Some(_) => {
                    seen = true;
                    cancel(port, job.id()).await;
                }
                None if seen => break,
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.unwrap();

    let ended = tokio::time::timeout(PATIENCE, job.run(std::future::pending()));
    let error = ended.await.unwrap().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.message().contains("does not know the job"), "{error}");
    assert!(error.hint().unwrap().contains("ask again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_as_soon_as_it_is_submitted_does_not_run() {
    let codec: Arc<dyn PhysicalExtensionCodec> = Arc::new(NaiveCodec::default());
    let port = scheduling(codec, SchedulerConfig::default()).await;
    let scheduler = connected(port).await;
    for _ in 0..5 {
        let partitions = vec![vec![rows()]; PARTITIONS];
        let known = MemorySourceConfig::try_new_exec(&partitions, schema(), None).unwrap();
        let codec = NaiveCodec::default();
        let job = scheduler.submit_unchecked(known, &codec).await.unwrap();
        let id = job.id().to_owned();
        let interrupted = Error::new(ErrorKind::Cancelled, "interrupted");
        let ended = job.run(std::future::ready(interrupted)).await;
        assert_eq!(ended.map(drop).unwrap_err().kind(), ErrorKind::Cancelled);
        let found = status(port, &id).await;
        assert!(matches!(found, Some(Status::Failed(_))), "{found:?}");
    }
}

#[tokio::test]
async fn only_plans_of_ours_are_sent() {
    let Some(urls) = fixture::shards(1) else {
        return;
    };
    fixture::execute(&urls[0], "create table t as select 1::int8 as n");
    let topology = Topology::from_urls(urls.iter().cloned()).unwrap();
    let cluster = Cluster::new(topology).unwrap();
    let options = PartitionOptions::new();
    let cut = cluster.fan_out("TABLE t").partitions(&options).await;
    let parts = descriptors::plan(&cut.unwrap().parts, b"").unwrap();
    let files = PartFileExec::try_new(Arc::clone(&parts), "/tmp".into(), None).unwrap();
    allowed::check(&(Arc::new(files) as Arc<dyn ExecutionPlan>)).unwrap();

    let table = MemorySourceConfig::try_new_exec(&[vec![rows()]], schema(), None).unwrap();
    let read = || -> Arc<dyn ExecutionPlan> {
        let read = ShardReadExec::try_new(Arc::clone(&parts), schema(), None);
        Arc::new(read.unwrap())
    };
    allowed::check(&read()).unwrap();
    let spread = RepartitionExec::try_new(read(), Partitioning::RoundRobinBatch(3));
    let both = UnionExec::try_new(vec![read(), read()]).unwrap();
    let plans: [(&str, Arc<dyn ExecutionPlan>); 9] = [
        ("the leaf alone", Arc::clone(&parts)),
        ("another table", table.clone()),
        ("a leaf of ours", Arc::new(NaiveLeaf::new())),
        // DataFusion's sum and count are not PostgreSQL's, nor checked.
        ("an aggregate of DataFusion's", count(table)),
        ("the same over shards", count(read())),
        ("an exchange of rows", Arc::new(spread.unwrap())),
        (
            "rows in one place",
            Arc::new(CoalescePartitionsExec::new(read())),
        ),
        (
            "a limit",
            Arc::new(GlobalLimitExec::new(read(), 0, Some(1))),
        ),
        ("a union", both),
    ];
    for (what, plan) in plans {
        let error = allowed::check(&plan).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{what}");
        assert!(error.message().starts_with("refused: "), "{error}");
    }
    // Nothing that is no descriptor gets below our operators.
    assert!(PartFileExec::try_new(local_table(), "/tmp".into(), None).is_err());
}

fn local_table() -> Arc<dyn ExecutionPlan> {
    MemorySourceConfig::try_new_exec(&[vec![rows()]], schema(), None).unwrap()
}
