//! A client of a scheduler: submits a plan, waits for it, cancels it, fetches its rows.
//!
//! Ballista's own client hides the job's name, with which alone a job can be cancelled, and does not cancel
//! what is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use ballista_core::JobId;
use ballista_core::client::BallistaClient;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::execute_query_result::Result as Submitted;
use ballista_core::serde::protobuf::get_job_status_result::FlightProxy;
use ballista_core::serde::protobuf::job_status::Status as State;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, CleanJobDataParams, ExecuteQueryParams, GetJobStatusParams, KeyValuePair,
    PartitionLocation, RemoveSessionParams,
};
use ballista_core::utils::create_grpc_client_endpoint;
use ballista_core::version;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::stream::{self, StreamExt, TryStreamExt};
use merganser::{Error, ErrorKind, QueryStream};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::address;
use crate::allowed;
use crate::codec::Codec;
use crate::failure::from_engine;

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long a request may take that others do not wait for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// So often a scheduler may say that it does not know a job. It does while it takes one up, or moves it from one
/// of its lists to another; if it goes on, it has been started anew, or has forgotten the job.
const UNKNOWN_LOOKS: u32 = 100;
const MESSAGE_BYTES: usize = crate::MESSAGE_BYTES as usize;
/// What holds besides Ballista's own settings. No setting is a secret: the scheduler keeps and passes on all.
const SETTINGS: [(&str, &str); 2] = [
    (
        "datafusion.optimizer.enable_round_robin_repartition",
        "false",
    ),
    (
        "datafusion.optimizer.enable_dynamic_filter_pushdown",
        "false",
    ),
];

/// A scheduler.
#[derive(Debug, Clone)]
pub struct Scheduler {
    address: String,
    client: SchedulerGrpcClient<Channel>,
}

impl Scheduler {
    /// Connects to the one at `host:port`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for what is no address, [`ErrorKind::Connect`] where nobody answers.
    pub async fn connect(address: &str) -> Result<Self, Error> {
        let endpoint = create_grpc_client_endpoint(format!("http://{address}"), None);
        let endpoint = endpoint.map_err(|error| {
            Error::new(
                ErrorKind::Config,
                format!("{address:?} is no address of a scheduler"),
            )
            .with_source(error)
            .with_hint("write HOST:PORT")
        })?;
        let channel = endpoint.connect_timeout(PATIENCE).connect().await;
        let channel = channel.map_err(|error| {
            Error::new(
                ErrorKind::Connect,
                format!("no scheduler answers at {address}"),
            )
            .with_source(error)
            .with_hint("start one: merganser-ballista scheduler --bind HOST:PORT")
        })?;
        Ok(Self {
            address: address.to_owned(),
            client: SchedulerGrpcClient::new(channel)
                .max_encoding_message_size(MESSAGE_BYTES)
                .max_decoding_message_size(MESSAGE_BYTES),
        })
    }

    /// Submits a plan. It runs until it is done, or whoever [waits](Job::run) for it has it cancelled.
    ///
    /// # Errors
    /// As [`allowed::check`]: nothing is sent then. Else those of the scheduler.
    pub async fn submit(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Job, Error> {
        allowed::check(&plan)?;
        self.submit_unchecked(plan, &Codec::new()).await
    }

    /// Submits a plan that may be any, however it is encoded. For tests: what the engine makes of it need
    /// not be right.
    #[doc(hidden)]
    pub async fn submit_unchecked(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        codec: &dyn datafusion_proto::physical_plan::PhysicalExtensionCodec,
    ) -> Result<Job, Error> {
        let schema = plan.schema();
        let partitions = plan.output_partitioning().partition_count();
        let mut bytes = Vec::new();
        PhysicalPlanNode::try_from_physical_plan(plan, codec)
            .and_then(|node| node.try_encode(&mut bytes))
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "the plan cannot be encoded").with_source(error)
            })?;
        let session = Uuid::new_v4().to_string();
        let settings = SETTINGS.iter().map(|(key, value)| KeyValuePair {
            key: (*key).to_owned(),
            value: Some((*value).to_owned()),
        });
        let mut request = Request::new(ExecuteQueryParams {
            query: Some(Query::PhysicalPlan(bytes)),
            settings: settings.collect(),
            session_id: session.clone(),
            operation_id: Uuid::new_v4().to_string(),
        });
        version::insert_version_header(request.metadata_mut());
        let mut client = self.client.clone();
        let answer = client.execute_query(request).await;
        let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
        match answer.result {
            Some(Submitted::Success(accepted)) => Ok(Job {
                scheduler: self.clone(),
                id: accepted.job_id,
                session,
                schema,
                partitions,
                done: false,
            }),
            Some(Submitted::Failure(failure)) => Err(from_engine(&format!("{failure:?}"))),
            None => Err(from_engine("the scheduler has not said what it does")),
        }
    }

    fn failed(&self, status: &Status) -> Error {
        if matches!(status.code(), Code::Unavailable) {
            return Error::new(
                ErrorKind::Connect,
                format!("the scheduler at {} is gone", self.address),
            )
            .with_source(status.message().to_owned())
            .with_hint("jobs end with their scheduler: start it, and ask again");
        }
        from_engine(status.message())
    }
}

/// A plan that the cluster runs.
///
/// Dropping it cancels nothing by itself, since that takes asking the scheduler: see [`run`](Self::run).
#[derive(Debug)]
pub struct Job {
    scheduler: Scheduler,
    id: String,
    session: String,
    schema: SchemaRef,
    /// How many partitions its rows have.
    partitions: usize,
    done: bool,
}

impl Job {
    /// What the scheduler calls it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the job, unless something else happens first: then it is cancelled, on all executors, and
    /// the error given.
    ///
    /// # Errors
    /// That of the job, or of what has happened.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the job to the cluster, which runs it to its end.
    pub async fn run(mut self, interruption: impl Future<Output = Error>) -> Result<Answer, Error> {
        let done = tokio::select! {
            biased;
            done = self.finished() => done,
            error = interruption => Err(error),
        };
        match done {
            Ok(partitions) => Ok(Answer {
                job: self,
                partitions,
            }),
            Err(error) => {
                if !self.done {
                    self.cancel().await;
                }
                self.forget().await;
                Err(error)
            }
        }
    }

    /// Waits for the job; where its rows are.
    async fn finished(&mut self) -> Result<Partitions, Error> {
        let mut unknown = 0;
        loop {
            let params = GetJobStatusParams {
                job_id: self.id.clone(),
            };
            let status = self.scheduler.client.get_job_status(params).await;
            let status = status.map_err(|status| self.scheduler.failed(&status))?;
            let status = status.into_inner();
            match status.status.and_then(|status| status.status) {
                Some(State::Successful(job)) => {
                    self.done = true;
                    let listed = job.partition_location;
                    return Partitions::each_once(listed, status.flight_proxy, self.partitions);
                }
                Some(State::Failed(job)) => {
                    self.done = true;
                    return Err(from_engine(&job.error));
                }
                Some(State::Queued(_) | State::Running(_)) => unknown = 0,
                None if unknown < UNKNOWN_LOOKS => unknown += 1,
                None => {
                    self.done = true;
                    return Err(Error::new(
                        ErrorKind::Connect,
                        format!(
                            "the scheduler at {} does not know the job any more",
                            self.scheduler.address
                        ),
                    )
                    .with_hint("was it started anew? Jobs end with their scheduler: ask again"));
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Has every executor drop what it does for the job, which cancels its queries on the shards.
    async fn cancel(&mut self) {
        let cancelled = async {
            let client = &mut self.scheduler.client;
            loop {
                let job_id = self.id.clone();
                client.cancel_job(CancelJobParams { job_id }).await?;
                let job_id = self.id.clone();
                let status = client.get_job_status(GetJobStatusParams { job_id }).await?;
                let status = status.into_inner().status;
                match status.and_then(|status| status.status) {
                    Some(State::Successful(_) | State::Failed(_)) => return Ok::<_, Status>(()),
                    // A job that is being taken up is not cancelled, and nobody says so.
                    Some(State::Queued(_) | State::Running(_)) | None => {}
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(PATIENCE, cancelled).await {
            Ok(Ok(())) => log::info!("job {} is cancelled", self.id),
            Ok(Err(status)) => log::warn!("job {} cannot be cancelled: {status}", self.id),
            Err(_) => log::warn!("job {}: nobody says whether it is cancelled", self.id),
        }
    }

    /// Has the cluster remove what it keeps of the job. It would do so by itself, later.
    async fn forget(&mut self) {
        let clean = CleanJobDataParams {
            job_id: self.id.clone(),
            ..CleanJobDataParams::default()
        };
        let remove = RemoveSessionParams {
            session_id: self.session.clone(),
        };
        let mut client = self.scheduler.client.clone();
        let forgotten = async {
            client.clean_job_data(clean).await?;
            client.remove_session(remove).await
        };
        if !matches!(tokio::time::timeout(PATIENCE, forgotten).await, Ok(Ok(_))) {
            log::debug!("the cluster keeps what it has of job {}", self.id);
        }
    }
}

/// Where the rows of each partition are.
#[derive(Debug, Clone)]
struct Partitions {
    /// By partition: the executors that have its rows, the one to ask first at the front.
    locations: BTreeMap<u32, Vec<PartitionLocation>>,
    proxy: Option<FlightProxy>,
}

impl Partitions {
    /// Each partition once.
    ///
    /// The scheduler notes where rows are as tasks of the last stage end, and keeps that when it takes an
    /// executor for lost and has its tasks run again. The rows of such a partition are in two places: all
    /// of them in each, since a task gives the same rows each time. Who took both would count them twice.
    fn each_once(
        listed: Vec<PartitionLocation>,
        proxy: Option<FlightProxy>,
        count: usize,
    ) -> Result<Self, Error> {
        let mut locations: BTreeMap<u32, Vec<PartitionLocation>> = BTreeMap::new();
        // The later ones are of executors that were there last.
        for location in listed.into_iter().rev() {
            let partition = location.partition_id.as_ref();
            let number = partition.map_or(u32::MAX, |partition| partition.partition_id);
            locations.entry(number).or_default().push(location);
        }
        let numbers = locations.keys().map(|number| *number as usize);
        match numbers.eq(0..count) {
            true => Ok(Self { locations, proxy }),
            false => Err(Error::new(
                ErrorKind::Internal,
                format!(
                    "the cluster has the partitions {:?} of an answer that has {count}",
                    locations.keys().collect::<Vec<_>>()
                ),
            )
            .with_hint("this is a fault: please report it, with the logs of the scheduler")),
        }
    }
}

/// The rows of a job that is done, which are still on the executors.
#[derive(Debug)]
pub struct Answer {
    job: Job,
    partitions: Partitions,
}

impl Answer {
    /// How many partitions of the rows each executor has.
    pub fn executors(&self) -> BTreeMap<String, usize> {
        let mut executors = BTreeMap::new();
        let locations = self.partitions.locations.values();
        for location in locations.filter_map(|locations| locations.first()) {
            let executor = location.executor_meta.as_ref();
            let name = executor.map_or("", |executor| executor.id.as_str());
            *executors.entry(name.to_owned()).or_default() += 1;
        }
        executors
    }

    /// Fetches the rows, one partition after the other. They stay where they are until the cluster is told
    /// to [forget](Self::forget) them.
    pub fn rows(&self) -> QueryStream {
        let Partitions { locations, proxy } = self.partitions.clone();
        let schema = self.job.schema.clone();
        let address = self.job.scheduler.address.clone();
        let (expected, promised) = (schema.clone(), schema.clone());
        let rows = stream::iter(locations.into_values())
            .then(move |locations| fetch_one(locations, proxy.clone(), address.clone()))
            .try_flatten()
            .map(move |batch| {
                let batch = batch?;
                match *batch.schema() == *expected {
                    true => Ok(batch),
                    // The engine may have lost what only describes the columns.
                    false => batch.with_schema(promised.clone()).map_err(|error| {
                        from_engine("rows have other columns than the plan").with_source(error)
                    }),
                }
            });
        QueryStream::new(schema, rows)
    }

    /// Has the cluster remove the rows, whether they were fetched or not. It would do so by itself, later.
    pub async fn forget(mut self) {
        self.job.forget().await;
    }
}

/// The rows of one partition, from the first that has them and answers.
async fn fetch_one(
    locations: Vec<PartitionLocation>,
    proxy: Option<FlightProxy>,
    scheduler: String,
) -> Result<impl futures::Stream<Item = Result<arrow::array::RecordBatch, Error>>, Error> {
    let mut lost = from_engine("the scheduler does not say where rows are");
    for location in locations {
        match fetch(location, proxy.clone(), &scheduler).await {
            Ok(rows) => return Ok(rows),
            Err(error) => lost = error,
        }
    }
    Err(lost)
}

/// The rows that one executor has of a partition, from it or through the scheduler.
async fn fetch(
    location: PartitionLocation,
    proxy: Option<FlightProxy>,
    scheduler: &str,
) -> Result<impl futures::Stream<Item = Result<arrow::array::RecordBatch, Error>> + use<>, Error> {
    let layout = location.layout();
    let (Some(executor), Some(partition)) = (location.executor_meta, location.partition_id) else {
        return Err(from_engine("the scheduler does not say where rows are"));
    };
    let port = u16::try_from(executor.port).unwrap_or_default();
    let (host, at) = match proxy {
        Some(FlightProxy::External(proxy)) => address(&proxy)?,
        Some(FlightProxy::Local(true)) => address(scheduler)?,
        Some(FlightProxy::Local(false)) | None => (executor.host.clone(), port),
    };
    let lost = |error: ballista_core::error::BallistaError| {
        Error::new(
            ErrorKind::Connect,
            format!("the rows that executor {:?} has cannot be fetched", executor.id),
        )
        .with_source(error)
        .with_hint(
            "is it still running, and is its address (--flight, --external-host) reachable from here? \
             If it was lost, ask again",
        )
    };
    let client = BallistaClient::try_new(&host, at, MESSAGE_BYTES, false, None, 3, 500, 0, 0);
    let mut client = client.await.map_err(lost)?;
    let partition = ballista_core::serde::scheduler::PartitionId {
        job_id: JobId::from(partition.job_id),
        stage_id: partition.stage_id as usize,
        partition_id: partition.partition_id as usize,
    };
    let rows = client
        .fetch_partition_proxied(
            &executor.id,
            &partition,
            location.file_id,
            layout,
            &executor.host,
            port,
            true,
        )
        .await
        .map_err(lost)?;
    Ok(rows.map_err(|error| from_engine(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::{ExecutorMetadata, PartitionId};

    use super::*;

    fn location(partition: u32, executor: &str) -> PartitionLocation {
        PartitionLocation {
            partition_id: Some(PartitionId {
                partition_id: partition,
                ..PartitionId::default()
            }),
            executor_meta: Some(ExecutorMetadata {
                id: executor.to_owned(),
                ..ExecutorMetadata::default()
            }),
            ..PartitionLocation::default()
        }
    }

    #[test]
    fn a_partition_in_two_places_is_taken_once_from_where_it_came_last() {
        // e1 was taken for lost, and its first partition computed again.
        let listed = vec![location(0, "e1"), location(1, "e2"), location(0, "e2")];
        let found = Partitions::each_once(listed, None, 2).unwrap();
        assert_eq!(found.locations.len(), 2);
        let first = &found.locations[&0];
        let executor = |at: usize| first[at].executor_meta.as_ref().unwrap().id.as_str();
        assert_eq!((first.len(), executor(0), executor(1)), (2, "e2", "e1"));
    }

    #[test]
    fn a_partition_that_is_missing_or_nobody_asked_for_is_a_fault() {
        for partitions in [&[0][..], &[1], &[0, 0], &[0, 1, 2], &[]] {
            let listed = partitions.iter().map(|number| location(*number, "e1"));
            let error = Partitions::each_once(listed.collect(), None, 2).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal, "{partitions:?}");
        }
    }
}
