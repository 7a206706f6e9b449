//! The matrix: every fault at every point of a query, over sinks, ways into them, their speed, and the place
//! of the shard; and schedules at random.
//!
//! Of each case is asked: the answer or the error that it has to be, and in time; that an error names shard,
//! server and phase, is of the right kind, and holds no password; that an old file stays as it is unless a
//! complete one takes its place; that soon nothing runs on any server, and nothing is left open.
//!
//! `MERGANSER_FAULT_SEEDS=100000 ./dev test wire::matrix` runs so many random schedules.

mod case;
mod sink;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use merganser::Order;

use self::case::{Case, Judged, harmless};
use self::sink::{SINKS, SPEEDS, WAYS};
use super::server::{ENDLESS, Fault, HEALTHY, LIES, POINTS, Script, notice};
use crate::support;

/// The shards of a case.
const SHARDS: usize = 3;
/// As many cases run at once.
const AT_ONCE: usize = 48;
/// The deadline of every query.
const DEADLINE: Duration = Duration::from_secs(2);
/// A query that ends later than so long behind its deadline is late.
const GRACE: Duration = Duration::from_secs(1);

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
    /// How many were late among others, and ran once more alone.
    again: usize,
    /// The longest that one took, and the longest without those that only the deadline ends.
    slowest: Duration,
    slowest_prompt: (Duration, String),
}

impl Tally {
    /// Runs all cases. One that is late runs again, alone and once: the machine may have been busy.
    async fn of(cases: impl Iterator<Item = Case>) -> Self {
        let mut tally = Self::default();
        let mut late = Vec::new();
        let run = async |case: Case| (case.clone().run().await, case);
        let mut judged = stream::iter(cases).map(run).buffer_unordered(AT_ONCE);
        while let Some((judged, case)) = judged.next().await {
            match judged.is_late {
                true => late.push(case),
                false => tally.count(&case, judged),
            }
        }
        tally.again = late.len();
        for case in late {
            let judged = case.clone().run().await;
            tally.count(&case, judged);
        }
        tally
    }

    fn count(&mut self, case: &Case, judged: Judged) {
        self.slowest = self.slowest.max(judged.elapsed);
        if !judged.is_patient && judged.elapsed > self.slowest_prompt.0 {
            self.slowest_prompt = (judged.elapsed, format!("{case:?}"));
        }
        self.cases += 1;
        self.answers += usize::from(judged.is_answer);
        self.cancels += judged.cancels;
        self.lost += judged.lost;
        self.duplicated += judged.duplicated;
        self.short += usize::from(judged.is_short);
        self.faults.extend(judged.fault);
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
            again,
            slowest,
            slowest_prompt: (prompt, which),
        } = self;
        support::tell(&format!(
            "{what}: {} of {cases} cases hold ({answers} answers, {cancels} cancel requests); rows lost {lost}, duplicated \
             {duplicated}, short successes {short}; {again} ran again alone; slowest {slowest:.1?} of {:.0?}, {prompt:.1?} \
             without what hangs: {which:.200}",
            cases - faults.len(),
            DEADLINE + GRACE
        ));
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert_eq!((*lost, *duplicated, *short), (0, 0, 0));
    }
}

/// Every fault at every point, in each sink; ways, speeds, the shard, its neighbours and the order are drawn.
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
    let everywhere = POINTS.into_iter().flat_map(|point| {
        let faults = faults.iter().map(move |fault| (point, fault.clone()));
        faults.filter(|(point, fault)| point.takes_notices() || *fault != Fault::Bytes(harmless()))
    });
    let lies = LIES.map(|lie| (lie.point(), Fault::Lie(lie)));
    let mut chance = Chance(0);
    let mut cases = Vec::new();
    for fault in everywhere.chain(lies) {
        for sink in SINKS {
            let faulty = Script {
                fault: Some(fault.clone()),
                ..HEALTHY
            };
            // The first, the one between, the last, or all.
            let place = chance.below(SHARDS + 1);
            let neighbour = match faulty.is_faulty() && chance.below(2) == 0 {
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
            cases.push(Case {
                seed: None,
                scripts: scripts.collect(),
                sink,
                way: chance.of(&WAYS),
                speed: chance.of(&SPEEDS),
                order: chance.of(&[Order::FirstCome, Order::Shard]),
                batch_rows: 3,
            });
        }
    }
    cases.into_iter().map(Case::readable).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_at_every_point_is_an_error_in_time_or_the_answer() {
    let tasks = tokio::runtime::Handle::current().metrics();
    let before = tasks.num_alive_tasks();
    let cases = cases();
    assert!(cases.len() > 1200, "{}", cases.len());
    let met: BTreeSet<_> = cases.iter().map(Case::circumstances).collect();
    assert_eq!(met.len(), SINKS.len() * SPEEDS.len() * (SHARDS + 1));
    let started = Instant::now();
    let tally = Tally::of(cases.into_iter()).await;
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
        let lie = chance.of(&LIES);
        let fault = match chance.below(12) {
            0 => Some(Fault::Close),
            1 => Some(Fault::Reset),
            2 => Some(Fault::Fatal("57P01")),
            3 => Some(Fault::Error("XX000")),
            4 => Some(Fault::Pause(Duration::from_millis(chance.below(30) as u64))),
            5 if point.takes_notices() => Some(Fault::Bytes(harmless())),
            6 if chance.below(8) == 0 => Some(Fault::Hang),
            7 => Some(Fault::Bytes(
                (0..6 + chance.below(30))
                    .map(|_| 128 + chance.below(128) as u8)
                    .collect(),
            )),
            8 if chance.below(4) == 0 => Some(Fault::Lie(lie)),
            _ => None,
        };
        let point = match fault {
            Some(Fault::Lie(lie)) => lie.point(),
            _ => point,
        };
        scripts.push(Script {
            // A point within the rows needs one.
            rows: Some(usize::from(fault.is_some()) + chance.below(40)),
            fault: fault.map(|fault| (point, fault)),
            first: shard * 1000,
            step: match chance.below(6) {
                0 => Some(5 + chance.below(40)),
                _ => None,
            },
            ..HEALTHY
        });
    }
    let case = Case {
        seed: Some(seed),
        scripts,
        sink: chance.of(&SINKS),
        way: chance.of(&WAYS),
        speed: chance.of(&SPEEDS),
        order: chance.of(&[Order::FirstCome, Order::Shard]),
        batch_rows: 1 + chance.below(20),
    };
    case.readable()
}

/// Numbers that look like chance (SplitMix64).
struct Chance(u64);

impl Chance {
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

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
    let tally = Tally::of((0..seeds).map(random)).await;
    assert!(tally.answers > 0 && tally.answers < tally.cases);
    tally.tell(&format!(
        "random fault schedules, {:.0?}",
        started.elapsed()
    ));
}
