//! The matrix: every fault at every point of a query, over sinks, their speed, and the place of the
//! shard; and schedules at random.
//!
//! `MERGANSER_FAULT_SEEDS=100000 ./dev test wire::matrix` runs so many random schedules.

use std::fmt;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use arrow::record_batch::RecordBatchWriter;
use futures::stream::{self, StreamExt};
use merganser::export::{self, CsvWriter, Destination, ExportOptions, Format, Progress};
use merganser::{Cluster, Error, ErrorKind, FanOut, Order, Phase, Topology, arrow};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::time::timeout;

use super::server::{ENDLESS, Fault, HEALTHY, POINTS, Point, Script, Scripted, message, notice};
use super::{all_zero, values};
use crate::support;

/// The shards of a case.
const SHARDS: usize = 3;
/// As many cases run at once.
const AT_ONCE: usize = 32;
/// What ends a query that hangs.
const DEADLINE: Duration = Duration::from_secs(2);
/// What no other comes near, also on a machine that does much else.
const BOUND: Duration = Duration::from_secs(40);
/// In every password; nothing that is said may hold it.
const CANARY: &str = "canary";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sink {
    Collect,
    Csv,
    Parquet,
    Arrow,
}

const SINKS: [Sink; 4] = [Sink::Collect, Sink::Csv, Sink::Parquet, Sink::Arrow];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speed {
    /// Into a file, or as fast as it comes.
    Fast,
    /// A pause behind each batch.
    Slow,
    /// It takes its first batch and does not come back.
    Stuck,
}

const SPEEDS: [Speed; 3] = [Speed::Fast, Speed::Slow, Speed::Stuck];

/// A query over scripted servers, and what reads its rows.
#[derive(Clone)]
struct Case {
    scripts: Vec<Script>,
    sink: Sink,
    speed: Speed,
    order: Order,
    batch_rows: usize,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sink = (self.sink, self.speed, self.order, self.batch_rows);
        write!(f, "{sink:?}")?;
        for (shard, script) in self.scripts.iter().enumerate() {
            let what = (&script.fault, script.rows, script.step);
            write!(f, "\n    s{shard}: {what:?}")?;
        }
        Ok(())
    }
}

/// What became of many cases.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    answers: usize,
    cancels: usize,
    lost: usize,
    duplicated: usize,
    short: usize,
    faults: Vec<String>,
}

impl Tally {
    fn count(mut self, judged: Judged) -> Self {
        self.cases += 1;
        self.answers += usize::from(judged.is_answer);
        self.cancels += judged.cancels;
        self.lost += judged.lost;
        self.duplicated += judged.duplicated;
        self.short += usize::from(judged.is_short);
        self.faults.extend(judged.fault);
        self
    }

    fn tell(&self, what: &str) {
        let Self {
            cases,
            answers,
            cancels,
            lost,
            duplicated,
            short,
            faults,
        } = self;
        support::tell(&format!(
            "{what}: {} of {cases} cases hold ({answers} answers, {cancels} cancel requests); rows lost {lost}, duplicated \
             {duplicated}, short successes {short}",
            cases - faults.len()
        ));
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert_eq!((*lost, *duplicated, *short), (0, 0, 0));
    }
}

/// What became of one.
#[derive(Debug, Default)]
struct Judged {
    is_answer: bool,
    cancels: usize,
    lost: usize,
    duplicated: usize,
    is_short: bool,
    fault: Option<String>,
}

impl Judged {
    fn fault(what: String) -> Self {
        Self {
            fault: Some(what),
            ..Self::default()
        }
    }

    /// An answer of these rows, where those were to come.
    fn answer(case: &impl fmt::Debug, mut rows: Vec<i32>, mut expected: Vec<i32>) -> Self {
        rows.sort_unstable();
        expected.sort_unstable();
        let without = |some: &[i32], others: &[i32]| {
            let mut left = others.to_vec();
            let is_more = |row: &&i32| match left.iter().position(|other| other == *row) {
                Some(at) => {
                    left.swap_remove(at);
                    false
                }
                None => true,
            };
            some.iter().filter(is_more).count()
        };
        let lost = without(&expected, &rows);
        let duplicated = without(&rows, &expected);
        let fault = (rows != expected).then(|| format!("{case:?}: {rows:?} for {expected:?}"));
        Self {
            is_answer: true,
            lost,
            duplicated,
            is_short: lost > 0,
            fault,
            ..Self::default()
        }
    }
}

impl Case {
    /// Whether the rows of all shards come to their end.
    fn has_answer(&self) -> bool {
        let ends = |script: &Script| script.rows.is_some() && !script.is_faulty();
        self.scripts.iter().all(ends)
    }

    fn is_patient(&self) -> bool {
        self.scripts.iter().any(Script::is_patient)
    }

    fn expected(&self) -> Vec<i32> {
        let rows = |script: &Script| {
            let first = script.first as i32;
            first..first + script.rows.unwrap_or(0) as i32
        };
        self.scripts.iter().flat_map(rows).collect()
    }

    async fn run(self) -> Judged {
        let mut servers = Vec::new();
        for script in &self.scripts {
            servers.push(Scripted::start(script.clone()).await);
        }
        let urls = servers.iter().map(|server| {
            let url = server.url();
            url.replace("u@", &format!("u:{CANARY}@"))
        });
        let cluster = Cluster::builder(Topology::from_urls(urls).unwrap())
            .with_connections_per_shard(1)
            .with_environment(merganser::config::Environment::default())
            .build()
            .unwrap();
        let query = cluster
            .fan_out("select n from t")
            .with_order(self.order)
            .with_batch_rows(self.batch_rows)
            .with_timeout(match self.is_patient() {
                true => DEADLINE,
                false => BOUND,
            });
        let folder = tempfile::tempdir().unwrap();
        let outcome = timeout(BOUND, read(query, self.sink, self.speed, folder.path())).await;
        let Ok(outcome) = outcome else {
            return Judged::fault(format!("{self:?}: no end in time"));
        };
        let is_error = outcome.is_err();
        let mut judged = self.judge(outcome);
        if judged.fault.is_some() {
            return judged;
        }
        let left = folder.path().read_dir().unwrap().count();
        if is_error && left > 0 {
            return Judged::fault(format!("{self:?}: {left} files left"));
        }
        let copying: Vec<_> = servers.iter().map(|it| &it.counts.copying).collect();
        if !all_zero(&copying).await {
            return Judged::fault(format!("{self:?}: a COPY goes on"));
        }
        if timeout(BOUND, cluster.close()).await.is_err() {
            return Judged::fault(format!("{self:?}: no close in time"));
        }
        let open: Vec<_> = servers.iter().map(|it| &it.counts.open).collect();
        if !all_zero(&open).await {
            return Judged::fault(format!("{self:?}: sockets left"));
        }
        let cancels = servers
            .iter()
            .map(|it| it.counts.cancels.load(Ordering::SeqCst));
        judged.cancels = cancels.sum();
        judged
    }

    fn judge(&self, outcome: Result<Vec<i32>, Error>) -> Judged {
        let error = match outcome {
            Ok(rows) if self.has_answer() => return Judged::answer(self, rows, self.expected()),
            Ok(rows) => {
                return Judged {
                    is_answer: true,
                    is_short: true,
                    ..Judged::fault(format!("{self:?}: success with {rows:?}"))
                };
            }
            Err(error) => error,
        };
        let told = format!("{error} {error:?} {:?}", error.hint());
        if told.contains(CANARY) {
            return Judged::fault(format!("{self:?}: a secret in {error}"));
        }
        if self.has_answer() {
            return Judged::fault(format!("{self:?}: no answer, but {error:?}"));
        }
        if error.kind() == ErrorKind::Timeout && error.sql_state().is_none() {
            let is_right = self.is_patient() && error.message().contains("did not end within 2 s");
            return match is_right {
                true => Judged::default(),
                false => Judged::fault(format!("{self:?}: {error:?}")),
            };
        }
        let name = |shard: usize| format!("s{shard}");
        let mut shards = self.scripts.iter().enumerate();
        let at_fault = shards
            .find(|(shard, script)| script.is_faulty() && error.shard() == Some(&*name(*shard)));
        let Some((_, script)) = at_fault else {
            return Judged::fault(format!("{self:?}: another shard, {error:?}"));
        };
        match script.judge(&error) {
            Ok(()) => Judged::default(),
            Err(what) => Judged::fault(format!("{self:?}: {what}: {error:?}")),
        }
    }
}

impl Script {
    /// Whether its rows do not come to their end, or not as they were promised.
    fn is_faulty(&self) -> bool {
        match &self.fault {
            None | Some((_, Fault::Pause(_))) => false,
            Some((_, Fault::Bytes(bytes))) => *bytes != harmless(),
            Some(_) => true,
        }
    }

    /// Whether only time tells.
    fn is_patient(&self) -> bool {
        self.fault.as_ref().is_some_and(|(point, fault)| {
            // In the middle of a row, whatever comes is the row.
            let is_in_row = *point == Point::WithinRow && self.is_faulty();
            let hangs = matches!(
                fault,
                Fault::Hang | Fault::Endless(_) | Fault::BytesAndHang(_)
            );
            hangs || is_in_row
        })
    }

    fn judge(&self, error: &Error) -> Result<(), String> {
        let Some((point, fault)) = &self.fault else {
            return Err("no fault".to_owned());
        };
        if self.is_patient() {
            return Ok(());
        }
        let code = match fault {
            Fault::Error(code) | Fault::Fatal(code) => Some(*code),
            _ => None,
        };
        if error.sql_state() != code {
            return Err(format!("SQLSTATE {code:?}"));
        }
        if code == Some("57P01") && !error.is_retryable() {
            return Err("it may be asked again".to_owned());
        }
        let phase = match point {
            Point::Startup | Point::Login if code == Some("53300") => Phase::Connect,
            Point::Startup | Point::Login if code.is_some() => Phase::Auth,
            Point::Startup | Point::Login => Phase::Connect,
            Point::Begin => Phase::Session,
            Point::Describe => Phase::Describe,
            _ => Phase::Stream,
        };
        match error.phase() == Some(phase) {
            true => Ok(()),
            false => Err(format!("phase {phase:?}")),
        }
    }
}

/// What may stand between any two messages.
fn harmless() -> Vec<u8> {
    [notice(), message(b'S', b"TimeZone\0UTC\0"), notice()].concat()
}

/// Reads all rows in this way; what they are, if there is an answer.
async fn read(
    query: FanOut,
    sink: Sink,
    speed: Speed,
    folder: &std::path::Path,
) -> Result<Vec<i32>, Error> {
    let format = match (sink, speed) {
        (Sink::Collect, Speed::Fast) => return Ok(values(&query.collect().await?)),
        (Sink::Collect, Speed::Slow | Speed::Stuck) => {
            let mut rows = query.stream().await?;
            let mut read = Vec::new();
            while let Some(batch) = rows.next().await {
                read.push(batch?);
                tokio::time::sleep(PAUSE).await;
            }
            return Ok(values(&read));
        }
        (Sink::Csv, _) => Format::Csv,
        (Sink::Parquet, _) => Format::Parquet,
        (Sink::Arrow, _) => Format::Arrow,
    };
    if speed == Speed::Fast {
        let path = folder.join("rows");
        let output = Destination::from(path.to_str().unwrap()).open()?;
        let rows = query.stream().await?;
        export::write(
            rows,
            output,
            format,
            &ExportOptions::new(),
            &Progress::default(),
        )
        .await?;
        return Ok(read_back(sink, std::fs::read(&path).unwrap()));
    }
    let written = Buffer::default();
    let (_release, stuck) = mpsc::channel();
    let to = written.clone();
    let open = move |schema: arrow::datatypes::SchemaRef| {
        let inner: Box<dyn Batches + Send> = match sink {
            Sink::Csv | Sink::Collect => Box::new(Some(CsvWriter::new(to, schema))),
            Sink::Parquet => Box::new(Some(ArrowWriter::try_new(to, schema, None).unwrap())),
            Sink::Arrow => Box::new(Some(FileWriter::try_new(to, &schema).unwrap())),
        };
        Ok(Reluctant {
            inner,
            stuck: (speed == Speed::Stuck).then_some(stuck),
        })
    };
    query.write(open).await?;
    let bytes = std::mem::take(&mut *written.0.lock().unwrap());
    Ok(read_back(sink, bytes))
}

/// Of a slow sink, behind each batch.
const PAUSE: Duration = Duration::from_millis(5);

fn read_back(sink: Sink, bytes: Vec<u8>) -> Vec<i32> {
    match sink {
        Sink::Csv | Sink::Collect => {
            let text = String::from_utf8(bytes).unwrap();
            let lines = text.lines().skip(1);
            lines.map(|line| line.parse().unwrap()).collect()
        }
        Sink::Parquet => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes));
            let batches: Result<Vec<_>, _> = reader.unwrap().build().unwrap().collect();
            values(&batches.unwrap())
        }
        Sink::Arrow => {
            let reader = FileReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
            values(&reader.collect::<Result<Vec<_>, _>>().unwrap())
        }
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Any writer of batches.
trait Batches {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError>;
    fn close(&mut self) -> Result<(), ArrowError>;
}

impl<W: RecordBatchWriter> Batches for Option<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.as_mut().unwrap().write(batch)
    }

    fn close(&mut self) -> Result<(), ArrowError> {
        self.take().unwrap().close()
    }
}

/// A sink that is in no hurry.
struct Reluctant {
    inner: Box<dyn Batches + Send>,
    stuck: Option<mpsc::Receiver<()>>,
}

impl RecordBatchWriter for Reluctant {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.inner.write(batch)?;
        match &self.stuck {
            // Until whoever waits for the answer has it.
            Some(stuck) => drop(stuck.recv()),
            None => std::thread::sleep(PAUSE),
        }
        Ok(())
    }

    fn close(mut self) -> Result<(), ArrowError> {
        self.inner.close()
    }
}

/// Every fault at every point, in each sink; their speed, the shard, its neighbours and the order take
/// turns.
fn cases() -> Vec<Case> {
    let faults = [
        Fault::Close,
        Fault::Reset,
        Fault::Hang,
        Fault::Pause(Duration::from_millis(50)),
        Fault::Bytes(harmless()),
        Fault::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Fault::Bytes(vec![0xff; 100]),
        Fault::BytesAndHang(vec![b'Z', 0x7f, 0xff, 0xff, 0xff]),
        Fault::BytesAndHang(vec![b'd', 0x80, 0, 0, 0]),
        Fault::BytesAndHang(vec![b'T', 0, 0, 0, 3]),
        // A message of a gigabyte that never comes.
        Fault::BytesAndHang(vec![b'd', 0x3f, 0xff, 0xff, 0xff, 0, 1]),
        Fault::Endless(notice()),
        Fault::Error("XX000"),
        Fault::Error("53100"),
        Fault::Error("53300"),
        Fault::Error("57014"),
        Fault::Error("40001"),
        Fault::Fatal("57P01"),
        Fault::Fatal("57P02"),
    ];
    let mut cases = Vec::new();
    let mut turn = 0;
    for point in POINTS {
        for fault in &faults {
            let is_harmless = matches!(fault, Fault::Bytes(bytes) if *bytes == harmless());
            // Before the login nothing may be said, and within a message nothing can stand.
            if is_harmless && matches!(point, Point::Startup | Point::WithinRow) {
                continue;
            }
            for sink in SINKS {
                turn += 1;
                let fault = Some((point, fault.clone()));
                let faulty = Script { fault, ..HEALTHY };
                let is_faulty = faulty.is_faulty();
                // The first, the one between, the last, or all.
                let place = turn % (SHARDS + 1);
                let neighbour = match is_faulty && turn % 2 == 0 {
                    true => ENDLESS,
                    false => HEALTHY,
                };
                let scripts = (0..SHARDS).map(|shard| Script {
                    first: shard * 1000,
                    ..match place == shard || place == SHARDS {
                        true => faulty.clone(),
                        false => neighbour.clone(),
                    }
                });
                let speed = SPEEDS[turn / 2 % SPEEDS.len()];
                cases.push(Case {
                    scripts: scripts.collect(),
                    sink,
                    speed: match (is_faulty, speed) {
                        // An answer needs somebody who reads it.
                        (false, Speed::Stuck) => Speed::Slow,
                        _ => speed,
                    },
                    order: match turn / 3 % 2 {
                        0 => Order::FirstCome,
                        _ => Order::Shard,
                    },
                    batch_rows: 3,
                });
            }
        }
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_at_every_point_is_an_error_in_time_or_the_answer() {
    let tasks = tokio::runtime::Handle::current().metrics();
    let before = tasks.num_alive_tasks();
    let cases = cases();
    assert!(cases.len() > 800, "{}", cases.len());
    let started = Instant::now();
    let tally = stream::iter(cases.into_iter().map(Case::run))
        .buffer_unordered(AT_ONCE)
        .fold(Tally::default(), async |tally, judged| tally.count(judged))
        .await;
    assert!(tally.cancels > 100, "{tally:?}");
    tally.tell(&format!("fault matrix, {:.0?}", started.elapsed()));
    for _ in 0..200 {
        if tasks.num_alive_tasks() <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} tasks, {before} before", tasks.num_alive_tasks());
}

/// A case made of chance alone: the same for the same seed.
fn random(seed: u64) -> Case {
    let mut chance = Chance(seed);
    let shards = 1 + chance.below(5);
    let mut scripts = Vec::new();
    for shard in 0..shards {
        let point = POINTS[chance.below(POINTS.len())];
        let fault = match chance.below(12) {
            0 => Some(Fault::Close),
            1 => Some(Fault::Reset),
            2 => Some(Fault::Fatal("57P01")),
            3 => Some(Fault::Error("XX000")),
            4 => Some(Fault::Pause(Duration::from_millis(chance.below(30) as u64))),
            5 if !matches!(point, Point::Startup | Point::WithinRow) => {
                Some(Fault::Bytes(harmless()))
            }
            6 if chance.below(8) == 0 => Some(Fault::Hang),
            7 => Some(Fault::Bytes(
                (0..6 + chance.below(30))
                    .map(|_| 128 + chance.below(128) as u8)
                    .collect(),
            )),
            _ => None,
        };
        scripts.push(Script {
            // A point within the rows needs one.
            rows: Some(usize::from(fault.is_some()) + chance.below(40)),
            fault: fault.map(|fault| (point, fault)),
            first: shard * 1000,
            step: match chance.below(6) {
                0 => Some(1 + chance.below(40)),
                _ => None,
            },
            ..HEALTHY
        });
    }
    let mut case = Case {
        scripts,
        sink: SINKS[chance.below(SINKS.len())],
        speed: SPEEDS[chance.below(SPEEDS.len())],
        order: match chance.below(2) {
            0 => Order::FirstCome,
            _ => Order::Shard,
        },
        batch_rows: 1 + chance.below(20),
    };
    if case.has_answer() && case.speed == Speed::Stuck {
        case.speed = Speed::Slow;
    }
    case
}

/// Numbers that look like chance (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % bound as u64) as usize
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_schedules_end_in_an_error_or_the_answer() {
    let seeds = std::env::var("MERGANSER_FAULT_SEEDS").ok();
    let seeds: u64 = seeds.map_or(300, |seeds| seeds.parse().unwrap());
    let started = Instant::now();
    let tally = stream::iter(0..seeds)
        .map(async |seed| {
            let judged = random(seed).run().await;
            Judged {
                fault: judged.fault.map(|fault| format!("seed {seed}: {fault}")),
                ..judged
            }
        })
        .buffer_unordered(AT_ONCE)
        .fold(Tally::default(), async |tally, judged| tally.count(judged))
        .await;
    assert!(tally.answers > 0 && tally.answers < tally.cases);
    tally.tell(&format!(
        "random fault schedules, {:.0?}",
        started.elapsed()
    ));
}
