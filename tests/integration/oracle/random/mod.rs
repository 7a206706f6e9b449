//! Statements made at random: each runs on the oracle and on two of the layouts, in one of the ways in which
//! rows are read and handed over, and the answers must be equal.
//!
//! A seed makes one statement, always the same. Four of five seeds are of the `everyday` profile,
//! what analysts write: of those hardly any may be refused or gathered. The others are `nasty`: they
//! join off the shard key, number rows over all shards, and take what is left of two sets. What
//! fails is made smaller until nothing can be left out, and printed for `testdata/oracle/random.sql`.
//!
//! ```text
//! MERGANSER_SEEDS=100000 ./dev test random_statements                        more than CI runs
//! MERGANSER_SEEDS=1000 MERGANSER_SEED=501 ./dev test random_statements       others
//! MERGANSER_SEED=17 ./dev test random_statements                             one, with its plan
//! ```

mod aggregate;
mod choices;
mod expr;
mod generator;
mod select;
mod set;
mod tables;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use merganser::{Cluster, ErrorKind, MergeMode};

use super::case::{Case, Expect};
use super::compare::{self, Answer};
use super::layout::Databases;
use super::many_are_seen;
use super::planned::{self, Running};
use crate::support;
use choices::Choices;
use generator::Generator;

/// How many statements CI runs.
const SEEDS: u64 = 500;

/// How many statements run at once.
const AT_ONCE: usize = 4;

/// How many failures of one kind are made smaller and shown.
const SHOWN: usize = 4;

/// How many everyday statements that are gathered.
const SHOWN_GATHERED: usize = 12;

/// How long that may take for one.
const SHRINK_TIMEOUT: Duration = Duration::from_secs(15);

/// The arm that collects all rows.
const GATHER: &str = "gather";

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_statements_equal_the_oracle() {
    let Some(databases) = Databases::get() else {
        return;
    };
    let number = |name| {
        env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect(name))
    };
    let first = number("MERGANSER_SEED");
    let count = number("MERGANSER_SEEDS");
    let verbose = first.is_some() && count.is_none();
    let count = count.unwrap_or(if verbose { 1 } else { SEEDS });
    let first = first.unwrap_or(1);
    let field = Field {
        oracle: databases.oracle(),
        clusters: databases
            .layouts()
            .iter()
            .map(|layout| (layout.name, layout.cluster_of_readers()))
            .collect(),
        seen: Default::default(),
    };
    let started = Instant::now();
    let mut tally = Tally::default();
    let outcomes = futures::stream::iter(first..first + count)
        .map(|seed| field.run(seed))
        .buffered(AT_ONCE);
    let mut outcomes = Box::pin(outcomes);
    while let Some((statement, outcome)) = outcomes.next().await {
        if verbose {
            let plan = planned::explain(planned::query(
                field.cluster("three"),
                &statement.sql,
                MergeMode::Auto,
            ))
            .await;
            support::tell(&format!("{}\n{plan}\n{outcome:?}", statement.sql));
        }
        tally.add(statement, outcome);
        if tally.all % 1_000 == 0 {
            support::tell(&tally.summary(started.elapsed()));
        }
    }
    drop(outcomes);
    let summary = tally.summary(started.elapsed());
    support::tell(&summary);
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for (statement, place, reason) in &tally.failures {
        let shown = shown.entry(class(reason)).or_default();
        *shown += 1;
        if *shown <= SHOWN {
            support::tell(&field.smaller(statement, *place, reason).await);
        }
    }
    for statement in tally.gathered.iter().take(SHOWN_GATHERED) {
        let small = field.smallest_gathered(statement).await;
        support::tell(&format!(
            "gathered, though everyday: seed {}\n{small}\n",
            statement.seed
        ));
    }
    let seen = field.seen.each_ref().map(|it| it.load(Ordering::Relaxed));
    field.close().await;
    assert!(tally.failures.is_empty(), "{summary}");
    if count >= SEEDS {
        tally.check_shares(&summary);
        many_are_seen("random", seen, [50, 8]);
    }
}

/// The databases.
struct Field {
    oracle: Cluster,
    clusters: Vec<(&'static str, Cluster)>,
    /// Statements whose plan shows the way in which they run.
    seen: [AtomicUsize; Running::ALL.len()],
}

/// Where a statement runs, and how.
#[derive(Debug, Clone, Copy)]
struct Place {
    layout: usize,
    merge: MergeMode,
    running: Running,
}

/// A statement and how it was made.
#[derive(Debug, Clone)]
struct Statement {
    seed: u64,
    everyday: bool,
    sql: String,
    ordered: bool,
    open: bool,
    choices: Vec<usize>,
}

#[derive(Debug)]
enum Outcome {
    /// The arm that the plan takes.
    Equal(String),
    /// PostgreSQL's own error.
    Invalid(String),
    Refused(String),
    /// The place and the difference.
    Wrong(Place, String),
}

impl Statement {
    fn of_seed(seed: u64) -> Self {
        Self::of(seed, Choices::of_seed(seed))
    }

    fn of(seed: u64, choices: Choices) -> Self {
        let everyday = !seed.is_multiple_of(5);
        let mut generator = Generator::new(choices, everyday);
        let made = generator.statement();
        let (choices, _) = generator.choices.into_parts();
        Self {
            seed,
            everyday,
            sql: made.sql,
            ordered: made.ordered,
            open: made.open,
            choices,
        }
    }

    /// What these choices come to.
    fn parts_of(&self, given: &[usize]) -> (Vec<usize>, Vec<Range<usize>>) {
        let mut generator = Generator::new(Choices::given(given.to_vec()), self.everyday);
        generator.statement();
        generator.choices.into_parts()
    }

    fn case(&self) -> Case {
        Case {
            file: "random".into(),
            number: 1,
            line: 1,
            sql: self.sql.clone(),
            ordered: self.ordered,
            arm: None,
            expect: Expect::Answer,
            representative: self.open,
            superset: None,
            tolerance: 1e-9,
            comments: Vec::new(),
        }
    }
}

impl Field {
    async fn run(&self, seed: u64) -> (Statement, Outcome) {
        let statement = Statement::of_seed(seed);
        let expected = match self.expected(&statement).await {
            Ok(expected) => expected,
            Err(reason) => return (statement, Outcome::Invalid(reason)),
        };
        let pick = seed as usize % self.clusters.len();
        let other = (pick + 1 + seed as usize / self.clusters.len() % (self.clusters.len() - 1))
            % self.clusters.len();
        let mut places = vec![(pick, MergeMode::Auto), (other, MergeMode::Auto)];
        if seed % 5 == 1 {
            places.push((pick, MergeMode::Gather));
        }
        let places = places.into_iter().enumerate();
        let places = places.map(|(number, (layout, merge))| Place {
            layout,
            merge,
            running: Running::nth(seed as usize + number),
        });
        let mut refused = None;
        for place in places {
            match self.verdict(&statement, &expected, place).await {
                Ok(()) => {}
                Err(Verdict::Refused(reason)) => refused = Some(reason),
                Err(Verdict::Wrong(difference)) => {
                    return (statement, Outcome::Wrong(place, difference));
                }
            }
        }
        if let Some(reason) = refused {
            return (statement, Outcome::Refused(reason));
        }
        let running = Running::nth(seed as usize);
        let query = planned::query(&self.clusters[pick].1, &statement.sql, MergeMode::Auto);
        let is_seen = running.is_seen(query).await;
        self.seen[running as usize].fetch_add(usize::from(is_seen), Ordering::Relaxed);
        let arm = self.arm(&statement).await;
        (statement, Outcome::Equal(arm))
    }

    async fn arm(&self, statement: &Statement) -> String {
        let query = planned::query(self.cluster("three"), &statement.sql, MergeMode::Auto);
        planned::arm(query).await.unwrap_or_else(|error| error)
    }

    fn cluster(&self, name: &str) -> &Cluster {
        let found = self.clusters.iter().find(|(other, _)| *other == name);
        &found.expect("a layout").1
    }

    async fn expected(&self, statement: &Statement) -> Result<Answer, String> {
        let answer = Answer::of(self.oracle.fan_out(&statement.sql));
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
        }
    }

    async fn verdict(
        &self,
        statement: &Statement,
        expected: &Answer,
        place: Place,
    ) -> Result<(), Verdict> {
        let cluster = &self.clusters[place.layout].1;
        let query = place
            .running
            .of(planned::query(cluster, &statement.sql, place.merge));
        let answer =
            AssertUnwindSafe(tokio::time::timeout(TIMEOUT, Answer::of(query))).catch_unwind();
        match answer.await {
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text =
                    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
                Err(Verdict::Wrong(format!(
                    "panic: {}",
                    text.unwrap_or_default()
                )))
            }
            Ok(Err(_)) => Err(Verdict::Wrong(format!("no answer within {TIMEOUT:?}"))),
            Ok(Ok(Err(error))) if error.kind() == ErrorKind::Unsupported => {
                Err(Verdict::Refused(error.to_string()))
            }
            Ok(Ok(Err(error))) => Err(Verdict::Wrong(format!("{:?}: {error}", error.kind()))),
            Ok(Ok(Ok(found))) => {
                compare::compare(&statement.case(), expected, &found).map_err(Verdict::Wrong)
            }
        }
    }

    /// A smaller statement that fails in the same way, for people to read and to keep.
    async fn smaller(&self, statement: &Statement, place: Place, reason: &str) -> String {
        let (name, cluster) = &self.clusters[place.layout];
        let seed = statement.seed;
        let difference = async |choices: Vec<usize>| {
            let smaller = Statement::of(seed, Choices::given(choices));
            let expected = self.expected(&smaller).await.ok()?;
            match self.verdict(&smaller, &expected, place).await {
                Err(Verdict::Wrong(difference)) if class(&difference) == class(reason) => {
                    Some(difference)
                }
                _ => None,
            }
        };
        let difference = &difference;
        let fails = |choices| async move { difference(choices).await.is_some() };
        let deadline = Instant::now() + SHRINK_TIMEOUT;
        let small = choices::shrink(
            statement.choices.clone(),
            |given| statement.parts_of(given),
            deadline,
            fails,
        )
        .await;
        let found = difference(small.clone())
            .await
            .unwrap_or_else(|| reason.to_owned());
        let small = Statement::of(seed, Choices::given(small));
        let query = planned::query(cluster, &small.sql, place.merge);
        let plan = planned::explain(place.running.of(query)).await;
        let mut notes = String::new();
        if small.open {
            notes += "-- representative\n";
        }
        if !small.ordered {
            notes += "-- unordered\n";
        }
        format!(
            "## seed {seed} on {name}, {:?}, {:?} ({})\n{notes}{};\n\n{found}\n\nplan: {plan}\n\nas generated: {}\n",
            place.merge,
            place.running,
            if statement.everyday {
                "everyday"
            } else {
                "nasty"
            },
            small.sql,
            statement.sql
        )
    }

    /// A smaller statement that is gathered too.
    async fn smallest_gathered(&self, statement: &Statement) -> String {
        let made = |choices| Statement::of(statement.seed, Choices::given(choices));
        let gathers = |choices| async move { self.arm(&made(choices)).await == GATHER };
        let deadline = Instant::now() + SHRINK_TIMEOUT;
        let small = choices::shrink(
            statement.choices.clone(),
            |given| statement.parts_of(given),
            deadline,
            gathers,
        )
        .await;
        made(small).sql
    }

    async fn close(self) {
        self.oracle.close().await;
        for (_, cluster) in self.clusters {
            cluster.close().await;
        }
    }
}

enum Verdict {
    Refused(String),
    Wrong(String),
}

/// What is the same of the differences that one cause makes.
fn class(difference: &str) -> String {
    let line = difference.lines().next().unwrap_or_default();
    match line.split(' ').next() {
        Some("expected" | "row") => "other rows".into(),
        Some("column") => "other columns".into(),
        _ => {
            let unquoted: String = line.split('"').step_by(2).collect();
            unquoted
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .take(80)
                .collect()
        }
    }
}

/// What came of the statements.
#[derive(Default)]
struct Tally {
    /// By profile: all, refused, gathered.
    counts: BTreeMap<&'static str, [usize; 3]>,
    invalid: BTreeMap<String, (usize, String)>,
    refused: BTreeMap<String, (usize, String)>,
    arms: BTreeMap<String, usize>,
    gathered: Vec<Statement>,
    failures: Vec<(Statement, Place, String)>,
    all: usize,
}

impl Tally {
    fn add(&mut self, statement: Statement, outcome: Outcome) {
        let profile = if statement.everyday {
            "everyday"
        } else {
            "nasty"
        };
        self.all += 1;
        let example = format!("seed {}: {}", statement.seed, statement.sql);
        let bump = |map: &mut BTreeMap<String, (usize, String)>, reason: &str| {
            map.entry(class(reason))
                .or_insert_with(|| (0, format!("{reason}; {example}")))
                .0 += 1;
        };
        if let Outcome::Invalid(reason) = &outcome {
            bump(&mut self.invalid, reason);
            return;
        }
        let counts = self.counts.entry(profile).or_default();
        counts[0] += 1;
        match outcome {
            Outcome::Equal(arm) => {
                if arm == GATHER {
                    counts[2] += 1;
                    if statement.everyday {
                        self.gathered.push(statement.clone());
                    }
                }
                *self.arms.entry(format!("{profile} {arm}")).or_default() += 1;
            }
            Outcome::Refused(reason) => {
                counts[1] += 1;
                bump(&mut self.refused, &reason);
            }
            Outcome::Wrong(place, reason) => self.failures.push((statement, place, reason)),
            Outcome::Invalid(_) => {}
        }
    }

    fn summary(&self, elapsed: Duration) -> String {
        let mut text = format!(
            "{} random statements in {:.0} s, {} wrong\n",
            self.all,
            elapsed.as_secs_f64(),
            self.failures.len()
        );
        for (profile, [all, refused, gathered]) in &self.counts {
            let share = |n: &usize| *n as f64 * 100.0 / (*all).max(1) as f64;
            let _ = writeln!(
                text,
                "{profile}: {all}, refused {refused} ({:.1} %), gathered {gathered} ({:.1} %)",
                share(refused),
                share(gathered)
            );
        }
        let _ = writeln!(text, "arms: {:?}", self.arms);
        for (word, reasons) in [
            ("refused", &self.refused),
            ("not run by PostgreSQL itself", &self.invalid),
        ] {
            let all: usize = reasons.values().map(|(count, _)| count).sum();
            let _ = writeln!(text, "{word}: {all}");
            let mut reasons: Vec<_> = reasons.values().collect();
            reasons.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
            for (count, example) in reasons {
                let _ = writeln!(text, "  {count} x {example}");
            }
        }
        let mut classes: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (statement, _, reason) in &self.failures {
            classes
                .entry(class(reason))
                .or_default()
                .push(statement.seed);
        }
        for (class, seeds) in classes {
            let _ = writeln!(
                text,
                "failed: {} x {class}: seeds {:?}",
                seeds.len(),
                seeds.iter().take(12).collect::<Vec<_>>()
            );
        }
        text
    }

    fn check_shares(&self, summary: &str) {
        for (profile, [all, refused, gathered]) in &self.counts {
            assert!(
                refused * 100 <= *all,
                "too many refused, {profile}\n{summary}"
            );
            assert!(
                *profile == "nasty" || gathered * 100 <= *all,
                "too many gathered\n{summary}"
            );
        }
        let invalid: usize = self.invalid.values().map(|(count, _)| count).sum();
        assert!(
            invalid * 100 < self.all * 3,
            "too many that PostgreSQL does not run\n{summary}"
        );
    }
}

#[test]
fn a_seed_makes_one_statement_and_its_choices_the_same() {
    for seed in 1..200 {
        let statement = Statement::of_seed(seed);
        assert_eq!(statement.sql, Statement::of_seed(seed).sql);
        let again = Statement::of(seed, Choices::given(statement.choices.clone()));
        assert_eq!(statement.sql, again.sql);
    }
}
