//! A case: a query over scripted servers and what reads its rows, and what has to become of it.

use std::fmt;
use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use merganser::{Cluster, Error, ErrorKind, Order, Phase, Topology};
use tokio::time::timeout;

use super::sink::{FILE, OLD, Sink, Speed, Way, left_in};
use super::{DEADLINE, GRACE};
use crate::wire::all_zero;
use crate::wire::server::{Fault, Lie, PASSWORD, Point, Script, Scripted, message, notice};

/// What is waited for at all, also on a machine that does much else.
const BOUND: Duration = Duration::from_secs(40);

/// A query over scripted servers, and what reads its rows.
#[derive(Clone)]
pub(super) struct Case {
    /// Of a case made of chance.
    pub(super) seed: Option<u64>,
    pub(super) scripts: Vec<Script>,
    pub(super) sink: Sink,
    pub(super) way: Way,
    pub(super) speed: Speed,
    pub(super) order: Order,
    pub(super) batch_rows: usize,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(seed) = self.seed {
            write!(f, "seed {seed}: ")?;
        }
        let sink = (self.sink, self.way, self.speed);
        write!(f, "{sink:?} {:?} {}", self.order, self.batch_rows)?;
        for (shard, script) in self.scripts.iter().enumerate() {
            let what = (&script.fault, script.rows, script.step);
            write!(f, "\n    s{shard}: {what:?}")?;
        }
        Ok(())
    }
}

/// What became of one.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) is_answer: bool,
    pub(super) cancels: usize,
    pub(super) lost: usize,
    pub(super) duplicated: usize,
    pub(super) is_short: bool,
    pub(super) fault: Option<String>,
    pub(super) elapsed: Duration,
    /// Whether only the deadline ends it.
    pub(super) is_patient: bool,
    /// Whether its fault is that something took too long.
    pub(super) is_late: bool,
}

impl Judged {
    fn late(what: String) -> Self {
        Self {
            is_late: true,
            ..Self::fault(what)
        }
    }

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
    pub(super) fn has_answer(&self) -> bool {
        let ends = |script: &Script| script.rows.is_some() && !script.is_faulty();
        self.scripts.iter().all(ends)
    }

    /// The same with a sink in which an answer comes to its end, if there is one.
    pub(super) fn readable(self) -> Self {
        let is_never_read =
            self.has_answer() && self.speed == Speed::Stuck && self.sink != Sink::Collect;
        Self {
            speed: match is_never_read {
                true => Speed::Slow,
                false => self.speed,
            },
            ..self
        }
    }

    /// The sink, its speed, and the shard that is at fault; of several, their number.
    pub(super) fn circumstances(&self) -> (Sink, Speed, usize) {
        let is_at_fault = |script: &Script| script.fault.is_some();
        let mut at_fault = self.scripts.iter().map(is_at_fault);
        let place = match at_fault.clone().filter(|it| *it).count() {
            1 => at_fault.position(|it| it).unwrap_or_default(),
            several => several,
        };
        (self.sink, self.speed, place)
    }

    pub(super) fn is_patient(&self) -> bool {
        self.scripts.iter().any(Script::is_patient)
    }

    /// Whether what stands behind the first rows may never be seen: those of a single shard are read as they are
    /// asked for, and this sink asks no more.
    fn is_left_unread(&self) -> bool {
        let is_stuck = self.speed == Speed::Stuck && self.sink != Sink::Collect;
        self.scripts.len() == 1 && is_stuck
    }

    fn expected(&self) -> Vec<i32> {
        let rows = |script: &Script| {
            let first = script.first as i32;
            first..first + script.rows.unwrap_or(0) as i32
        };
        self.scripts.iter().flat_map(rows).collect()
    }

    pub(super) async fn run(self) -> Judged {
        let mut servers = Vec::new();
        for script in &self.scripts {
            servers.push(Scripted::start(script.clone()).await);
        }
        let urls = servers.iter().map(Scripted::url);
        let cluster = Cluster::builder(Topology::from_urls(urls).unwrap())
            .with_connections_per_shard(1)
            .with_environment(merganser::config::Environment::default())
            .build()
            .unwrap();
        let query = cluster
            .fan_out("select n from t")
            .with_order(self.order)
            .with_batch_rows(self.batch_rows)
            .with_timeout(DEADLINE);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), OLD).unwrap();
        let Ok((outcome, elapsed)) = timeout(BOUND, self.read(query, folder.path())).await else {
            return Judged::late(format!("{self:?}: no end in time"));
        };
        let is_error = outcome.is_err();
        let mut judged = self.judge(outcome, &servers);
        if judged.fault.is_some() {
            return judged;
        }
        (judged.elapsed, judged.is_patient) = (elapsed, self.is_patient());
        if elapsed > DEADLINE + GRACE {
            return Judged::late(format!("{self:?}: it took {elapsed:.1?}"));
        }
        let is_replaced = !is_error && self.sink != Sink::Collect && self.way == Way::File;
        if let Some(what) = left_in(folder.path(), is_replaced) {
            return Judged::fault(format!("{self:?}: {what}"));
        }
        let copying: Vec<_> = servers.iter().map(|it| &it.counts.copying).collect();
        if !all_zero(&copying).await {
            return Judged::late(format!("{self:?}: a COPY goes on"));
        }
        if timeout(BOUND, cluster.close()).await.is_err() {
            return Judged::late(format!("{self:?}: no close in time"));
        }
        let open: Vec<_> = servers.iter().map(|it| &it.counts.open).collect();
        if !all_zero(&open).await {
            return Judged::late(format!("{self:?}: sockets left"));
        }
        let cancels = servers
            .iter()
            .map(|it| it.counts.cancels.load(Ordering::SeqCst));
        judged.cancels = cancels.sum();
        judged
    }

    fn judge(&self, outcome: Result<Vec<i32>, Error>, servers: &[Scripted]) -> Judged {
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
        if told.contains(PASSWORD) {
            return Judged::fault(format!("{self:?}: a secret in {error}"));
        }
        let name = |shard: usize| format!("s{shard}");
        let shards = self.scripts.iter().enumerate();
        let mut faulty = shards.filter(|(_, script)| script.is_faulty());
        if error.kind() == ErrorKind::Timeout && error.sql_state().is_none() {
            let message = error.message();
            if !self.is_patient() && !self.is_left_unread() {
                return Judged::late(format!("{self:?}: {error:?}"));
            }
            let names_it = faulty.any(|(shard, _)| message.contains(&format!("{:?}", name(shard))));
            return match names_it && message.contains("did not end within 2 s") {
                true => Judged::default(),
                false => Judged::fault(format!("{self:?}: {error:?}")),
            };
        }
        if self.has_answer() {
            return Judged::fault(format!("{self:?}: no answer, but {error:?}"));
        }
        let at_fault = faulty.find(|(shard, _)| error.shard() == Some(&*name(*shard)));
        let Some((shard, script)) = at_fault else {
            return Judged::fault(format!("{self:?}: another shard, {error:?}"));
        };
        let server = format!("127.0.0.1:{}", servers[shard].port);
        if !error.to_string().contains(&server) {
            return Judged::fault(format!("{self:?}: {server} is not named: {error}"));
        }
        match script.judge(&error) {
            Ok(()) => Judged::default(),
            Err(what) => Judged::fault(format!("{self:?}: {what}: {error:?}")),
        }
    }
}

impl Script {
    /// Whether its rows do not come to their end, or not as they were promised.
    pub(super) fn is_faulty(&self) -> bool {
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
            // Where TLS is to come, whatever comes is not that.
            let waits =
                !point.is_of_tls() && matches!(fault, Fault::Endless(_) | Fault::BytesAndHang(_));
            *fault == Fault::Hang || waits || is_in_row
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
            // Before TLS, nothing that is said is believed.
            Fault::Error(code) | Fault::Fatal(code) if !point.is_of_tls() => Some(*code),
            _ => None,
        };
        if error.sql_state() != code {
            return Err(format!("SQLSTATE {code:?}"));
        }
        if code == Some("57P01") && !error.is_retryable() {
            return Err("it may be asked again".to_owned());
        }
        let phase = match point {
            Point::Tls | Point::Handshake => Phase::Tls,
            Point::Startup
            | Point::ScramFirst
            | Point::ScramFinal
            | Point::ScramDone
            | Point::Login => match (fault, code) {
                (Fault::Lie(lie), _) if *lie != Lie::NoSignature => Phase::Auth,
                (_, None | Some("53300")) => Phase::Connect,
                (_, Some(_)) => Phase::Auth,
            },
            Point::Begin => Phase::Session,
            Point::Describe => Phase::Describe,
            _ => Phase::Stream,
        };
        if error.phase() != Some(phase) {
            return Err(format!("phase {phase:?}"));
        }
        // The program's exit code follows from it.
        let kind = match (fault, phase) {
            (_, Phase::Tls) | (Fault::Close | Fault::Reset, _) => ErrorKind::Connect,
            (Fault::Bytes(_) | Fault::Lie(Lie::NoSignature), _) => ErrorKind::Decode,
            (_, Phase::Connect | Phase::Auth) => ErrorKind::Connect,
            (Fault::Error("57014"), _) => ErrorKind::Timeout,
            _ => ErrorKind::Server,
        };
        match error.kind() == kind {
            true => Ok(()),
            false => Err(format!("kind {kind:?}")),
        }
    }
}

/// What may stand between any two messages.
pub(super) fn harmless() -> Vec<u8> {
    [notice(), message(b'S', b"TimeZone\0UTC\0"), notice()].concat()
}
