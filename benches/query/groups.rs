//! Five million groups, most of them on one server and many on several, put together in less memory
//! than they take; next to DataFusion, which groups the same rows from Parquet files.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::sum;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Int64Type, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt, stream};
use merganser::export::{self, Destination, ExportOptions, Format, Progress};
use merganser::{Cluster, Order};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::runtime::Runtime;

use super::cost::{self, Cost, Result};
use super::{ask, connect, report, shards};

/// What the groups may take, on either side.
const MEMORY: usize = 256 << 20;
/// What is measured, and in `BASE` what it is compared with.
const MODES: [&str; 5] = [
    "planned",
    "planned, shard order",
    "fan-out alone",
    "DataFusion, parts",
    "DataFusion, lineitem",
];
const BASE: usize = 3;

/// Where a row goes: numbers in no order, so that a group has rows on several servers, and the
/// planner cannot know of one that has not.
fn key() -> Result<String> {
    // About five million values at scale 1.
    let modulus = (10e6 * shards::scale()?).round().max(1.0);
    Ok(format!(
        "((l_orderkey * 7 + l_linenumber) * 2654435761) % 4294967291 % {modulus}"
    ))
}

fn grouped(sums: &str) -> Result<String> {
    let key = key()?;
    Ok(format!(
        "select {key} as g, {sums} from lineitem group by 1"
    ))
}

/// What a user would write.
const SUMS: &str = "count(*) as n, sum(l_quantity) as q";
/// With the type that a planned query gives the parts of a sum.
const PARTS: &str = "count(*) as n, sum(l_quantity)::numeric(25,2) as q";

/// Measures all modes in turns, and prints.
pub(crate) fn compare(urls: &[String], whole: &str, runtime: &Runtime) -> Result<()> {
    let runs = if report::is_smoke() { 1 } else { 3 };
    let folder = tempfile::tempdir()?;
    let (parts, table) = runtime.block_on(write_files(urls, folder.path()))?;
    let expected = runtime.block_on(expected(whole))?;
    let plan = runtime.block_on(async {
        let cluster = Cluster::new(shards::topology(urls)?)?;
        let plan = cluster.query(grouped(SUMS)?).plan().await?;
        cluster.close().await;
        Result::Ok(plan)
    })?;
    let mut rounds: Vec<Vec<Cost>> = Vec::new();
    for _ in 0..runs {
        let mut round = Vec::new();
        for mode in MODES {
            let inputs: &[String] = match mode {
                "DataFusion, parts" => &parts,
                "DataFusion, lineitem" => &table,
                _ => urls,
            };
            round.push(cost::measure_child(&[mode, &expected], inputs)?);
        }
        rounds.push(round);
    }
    print(&plan.to_string(), &expected, &rounds);
    Ok(())
}

/// What the measured process does; it fails unless its groups are as many as they should be, with
/// the sums that they should have.
pub(crate) async fn child(arguments: &[String]) -> Result<()> {
    let [mode, expected, inputs @ ..] = arguments else {
        return Err("no mode".into());
    };
    let mut totals = Totals::default();
    match mode.as_str() {
        "planned" | "planned, shard order" | "fan-out alone" => {
            let cluster = Cluster::new(shards::topology(inputs)?)?;
            let planned = || -> Result<_> { Ok(cluster.query(grouped(SUMS)?).with_memory(MEMORY)) };
            let mut rows = match mode.as_str() {
                "fan-out alone" => {
                    let query = cluster.fan_out(grouped(PARTS)?).with_memory(MEMORY);
                    query.stream().await?
                }
                "planned" => planned()?.stream().await?,
                _ => planned()?.with_order(Order::Shard).stream().await?,
            };
            while let Some(batch) = rows.try_next().await? {
                totals.add(&batch)?;
            }
        }
        _ => {
            let sql = match mode.as_str() {
                "DataFusion, parts" => "select g, sum(n), sum(q) from files group by g".to_owned(),
                _ => grouped(SUMS)?.replace("from lineitem", "from files"),
            };
            let mut rows = datafusion_over(inputs, &sql).await?;
            while let Some(batch) = rows.try_next().await? {
                totals.add(&batch)?;
            }
        }
    }
    let found = totals.to_string();
    if mode != "fan-out alone" && found != *expected {
        return Err(format!("{mode}: expected {expected}, found {found}").into());
    }
    cost::report_work(totals.groups, written_bytes()?)
}

/// What the groups come to.
#[derive(Debug, Default)]
struct Totals {
    groups: u64,
    keys: i128,
    rows: i128,
    hundredths: i128,
}

impl Totals {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let [keys, counts, sums] = batch.columns() else {
            return Err("not three columns".into());
        };
        self.groups += batch.num_rows() as u64;
        for (total, column) in [(&mut self.keys, keys), (&mut self.rows, counts)] {
            let column = column.as_primitive_opt::<Int64Type>().ok_or("not bigint")?;
            *total += i128::from(sum(column).unwrap_or_default());
        }
        match sums.data_type() {
            DataType::Decimal128(_, 2) => {
                let sums = sums.as_primitive::<Decimal128Type>();
                self.hundredths += sum(sums).unwrap_or_default();
            }
            // As a sum without a bound comes to the user: with more digits behind the point.
            DataType::Decimal128(_, scale @ 3..) => {
                let sums = sums.as_primitive::<Decimal128Type>();
                let unit = 10_i128.pow(u32::from(scale.unsigned_abs()) - 2);
                self.hundredths += sum(sums).unwrap_or_default() / unit;
            }
            other => return Err(format!("a sum is {other}").into()),
        }
        Ok(())
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            groups,
            keys,
            rows,
            hundredths,
        } = self;
        write!(
            f,
            "{groups} groups {keys} keys {rows} rows {hundredths} hundredths"
        )
    }
}

/// The totals, by the one PostgreSQL.
async fn expected(whole: &str) -> Result<String> {
    let groups = grouped(SUMS)?;
    let sql = format!("select count(*), sum(g), sum(n), sum(q) * 100 from ({groups}) as groups");
    let rows = ask(&connect(whole).await?, &sql).await?;
    let number = |column: usize| -> Result<i128> {
        let text = rows.first().and_then(|row| row.get(column)?.as_deref());
        let text = text.ok_or("no totals")?;
        let integer = text.split_once('.').map_or(text, |(integer, _)| integer);
        Ok(integer.parse()?)
    };
    let totals = Totals {
        groups: number(0)?.try_into()?,
        keys: number(1)?,
        rows: number(2)?,
        hundredths: number(3)?,
    };
    Ok(totals.to_string())
}

/// A Parquet file of each server's groups, and one of its rows, with what the groups are made of.
async fn write_files(urls: &[String], folder: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let queries = [
        grouped(PARTS)?,
        "select l_orderkey, l_linenumber, l_quantity from lineitem".to_owned(),
    ];
    let mut files = [Vec::new(), Vec::new()];
    for (number, url) in urls.iter().enumerate() {
        let cluster = shards::cluster(std::slice::from_ref(url))?;
        for (index, (sql, files)) in queries.iter().zip(&mut files).enumerate() {
            let path = folder.join(format!("{number}-{index}.parquet"));
            let output = Destination::from(path.clone()).open()?;
            let rows = cluster.fan_out(sql).stream().await?;
            let (options, progress) = (ExportOptions::new(), Progress::default());
            export::write(rows, output, Format::Parquet, &options, &progress).await?;
            files.push(path.to_str().ok_or("a path that is not UTF-8")?.to_owned());
        }
        cluster.close().await;
    }
    let [parts, table] = files;
    Ok((parts, table))
}

/// DataFusion as it comes, but for the memory; a partition for each file.
async fn datafusion_over(paths: &[String], sql: &str) -> Result<SendableRecordBatchStream> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY)))
        .build_arc()?;
    let context = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
    let files: Vec<_> = paths
        .iter()
        .map(|path| FileRows::open(path))
        .collect::<Result<_>>()?;
    let schema = files.first().ok_or("no file")?.schema.clone();
    let files = files.into_iter().map(|file| Arc::new(file) as _).collect();
    context.register_table("files", Arc::new(StreamingTable::try_new(schema, files)?))?;
    Ok(context.sql(sql).await?.execute_stream().await?)
}

/// The rows of a Parquet file, read where they are polled.
#[derive(Debug)]
struct FileRows {
    path: String,
    schema: SchemaRef,
}

impl FileRows {
    fn open(path: &str) -> Result<Self> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        Ok(Self {
            path: path.to_owned(),
            schema: builder.schema().clone(),
        })
    }

    fn rows(&self) -> datafusion::error::Result<SendableRecordBatchStream> {
        let failed = |error| DataFusionError::External(Box::new(error));
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&self.path)?);
        let reader = builder.and_then(|builder| builder.with_batch_size(8192).build());
        let rows = stream::iter(reader.map_err(failed)?).map(|batch| Ok(batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema.clone(),
            rows,
        )))
    }
}

impl PartitionStream for FileRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.rows().unwrap_or_else(|error| {
            let failed = stream::once(async { Err(error) });
            Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), failed))
        })
    }
}

/// What this process has written: what it spilled, and a little to sockets.
fn written_bytes() -> Result<u64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar:"));
    Ok(line.ok_or("no wchar in /proc/self/io")?.trim().parse()?)
}

fn print(plan: &str, expected: &str, rounds: &[Vec<Cost>]) {
    let rows: Vec<_> = MODES
        .iter()
        .enumerate()
        .map(|(index, mode)| {
            let median = |value: fn(&Cost) -> f64| {
                report::median(rounds.iter().map(|round| value(&round[index])))
            };
            // Of the runs of one round, which were made one after the other.
            let ratios = rounds
                .iter()
                .map(|round| round[index].cpu_seconds / round[BASE].cpu_seconds);
            vec![
                (*mode).to_owned(),
                format!("{:.2}", rounds[0][index].work.rows as f64 / 1e6),
                format!("{:.2}", median(|cost| cost.wall_seconds)),
                format!("{:.2}", median(|cost| cost.cpu_seconds)),
                format!("{:.2}", report::median(ratios)),
                format!("{:.0}", median(|cost| cost.work.bytes as f64 / 1e6)),
                format!(
                    "{:.0}",
                    median(|cost| cost.work.peak_memory_kib as f64 / 1024.0)
                ),
            ]
        })
        .collect();
    println!(
        "groups: {expected}, with {} MiB, {} runs, medians\n\n{plan}",
        MEMORY >> 20,
        rounds.len()
    );
    let header = [
        "",
        "M rows",
        "wall s",
        "CPU s",
        "/ parts",
        "MB written",
        "peak MiB",
    ];
    report::print_table(&header, &rows);
}
