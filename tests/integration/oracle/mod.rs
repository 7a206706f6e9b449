//! The oracle is PostgreSQL: every case runs on one database that holds all rows and on shards that
//! hold parts of them, and the answers must be equal.
//!
//! The cases are the files of `testdata/oracle/`, see [`case`], and statements made at random, see
//! [`random`]; the shards are the [`layout`]s. All
//! failures of a layout are reported, not the first alone. To run few cases, and print their plans:
//!
//! ```text
//! MERGANSER_CASE=joins:12,windows MERGANSER_LAYOUT=three,gather cargo test oracle -- --nocapture
//! ```

mod around;
mod calls;
mod case;
mod cases;
mod compare;
mod layout;
mod planned;
mod random;
mod refusals;
mod server;
mod tpch;

use std::env;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use merganser::{Cluster, MergeMode};

use crate::support;
use case::{Case, Expect};
use compare::Answer;
use layout::{Databases, Finishing, Layout};
use planned::Running;

/// How many cases run at once on one layout; tests of other layouts run beside.
const AT_ONCE: usize = 3;

/// How long one case may take on one layout.
const CASE_TIMEOUT: Duration = Duration::from_secs(60);

/// How many connections read a shard where several do.
const READERS: usize = 3;

macro_rules! layouts {
    ($($test:ident: $name:literal, $merge:ident, $finishing:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                run($name, MergeMode::$merge, Finishing::$finishing).await;
            }
        )*
    };
}

layouts! {
    one_shard_equals_the_oracle: "one", Auto, Texts;
    two_shards_equal_the_oracle: "two", Auto, Texts;
    three_shards_equal_the_oracle: "three", Auto, Texts;
    four_shards_that_hand_over_tables_equal_the_oracle: "four", Auto, Tables;
    sixteen_shards_equal_the_oracle: "sixteen", Auto, Texts;
    skewed_shards_with_another_server_equal_the_oracle: "skewed", Auto, Apart;
    empty_shards_equal_the_oracle: "empty", Auto, Texts;
    three_shards_with_three_readers_each_equal_the_oracle: "three", Auto, Readers;
    gathered_from_three_shards_equals_the_oracle: "three", Gather, Texts;
    gathered_from_empty_shards_in_tables_equals_the_oracle: "empty", Gather, Tables;
    gathered_from_four_shards_by_another_server_equals_the_oracle: "four", Gather, Apart;
}

/// A case whose answer one PostgreSQL may give in several ways says nothing about ours: each is
/// asked of a database that has the same rows in another order, and to be planned differently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracle_itself_is_sure() {
    let Some(databases) = Databases::get() else {
        return;
    };
    let oracle = databases.oracle();
    let other = databases.reversed();
    let mut failures = Failures::default();
    for case in selected() {
        let (expected, found) = tokio::join!(
            Answer::of(oracle.fan_out(&case.sql)),
            Answer::of(other.fan_out(&case.sql))
        );
        let verdict = match (&case.expect, &expected) {
            (Expect::Error(code), Err(error)) if error.sql_state() == Some(code) => Ok(()),
            (Expect::Error(code), expected) => Err(format!(
                "PostgreSQL should answer with SQLSTATE {code}, but: {}",
                outcome(expected)
            )),
            // What is refused may well be what has no certain answer, or none at all.
            (Expect::Refused(_), _) => Ok(()),
            (_, Err(error)) => Err(format!("not SQL that PostgreSQL runs: {error}")),
            (_, Ok(expected)) => found
                .map_err(|error| error.to_string())
                .and_then(|found| compare::compare(&case, expected, &found)),
        };
        if let Err(difference) = verdict {
            failures.add(&case, difference);
        }
        if let (Some(sql), Ok(expected)) = (&case.superset, &expected) {
            let superset = Answer::of(oracle.fan_out(sql)).await.expect(sql);
            if let Err(difference) = compare::subset(&superset, expected) {
                failures.add(&case, difference);
            }
        }
    }
    failures.report("the oracle");
    oracle.close().await;
    other.close().await;
}

/// Otherwise a case could be right by what a layout lacks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_layout_has_each_row_once() {
    let Some(databases) = Databases::get() else {
        return;
    };
    let oracle = databases.oracle();
    for layout in databases.layouts() {
        let cluster = layout.cluster();
        for (table, copies) in layout::tables(layout.size) {
            let sql = format!("select * from {table}");
            let mut all = Answer::of(oracle.fan_out(&sql)).await.unwrap();
            all.rows = vec![all.rows; copies].concat();
            let found = Answer::of(cluster.fan_out(&sql)).await.unwrap();
            assert_eq!(
                all.rows.len(),
                found.rows.len(),
                "{table} on {}",
                layout.name
            );
            if let Err(difference) = compare::subset(&all, &found) {
                panic!("{table} on {}: {difference}", layout.name);
            }
        }
        cluster.close().await;
    }
    oracle.close().await;
}

#[test]
fn there_are_enough_cases_and_every_trap_has_one() {
    let cases = case::load();
    assert!(cases.len() >= 350, "{} cases", cases.len());
    for (word, last) in [("trap", 30), ("shipped", 15)] {
        let missing: Vec<_> = (1..=last)
            .filter(|&number| !cases.iter().any(|case| case.names(word, number)))
            .collect();
        assert!(missing.is_empty(), "no case for {word} {missing:?}");
    }
    let list =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/traps.md")).unwrap();
    let rows = list.lines().filter(|line| line.starts_with("| "));
    let listed = rows.filter_map(|row| row.split('|').nth(1)?.trim().parse::<usize>().ok());
    assert!(listed.eq(1..=30), "traps.md lists other traps");
}

/// Runs the selected cases on a layout.
async fn run(name: &str, merge: MergeMode, finishing: Finishing) {
    if !layout::is_selected(name, merge) {
        return;
    }
    let Some(databases) = Databases::get() else {
        return;
    };
    let layout = databases.layout(name);
    let oracle = databases.oracle();
    let cluster = layout.cluster_finishing(finishing, databases);
    let cases = selected();
    let verdicts = futures::stream::iter(cases).map(|case| {
        let (oracle, cluster) = (oracle.clone(), cluster.clone());
        async move {
            let work = check(&case, &oracle, &cluster, layout, (merge, finishing));
            let verdict = tokio::time::timeout(CASE_TIMEOUT, work)
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {CASE_TIMEOUT:?}")));
            (case, verdict)
        }
    });
    let mut failures = Failures::default();
    let mut verdicts = verdicts.buffered(AT_ONCE);
    while let Some((case, verdict)) = verdicts.next().await {
        if let Err(difference) = verdict {
            failures.add(&case, difference);
        }
    }
    drop(verdicts);
    if finishing == Finishing::Readers && env::var_os("MERGANSER_CASE").is_none() {
        let shared = READ_BY_SEVERAL.load(Ordering::Relaxed);
        assert!(shared > 30, "only {shared} cases were read by several");
    }
    oracle.close().await;
    cluster.close().await;
    failures.report(&format!("{name} ({merge:?}, {finishing:?})"));
}

/// Tells, and makes sure, that so many statements were handed over in tables, and read by several connections.
fn many_are_seen(what: &str, seen: [usize; Running::ALL.len()], [tables, readers]: [usize; 2]) {
    let [_, in_tables, by_several] = seen;
    support::tell(&format!(
        "{what}: {in_tables} statements by way of temporary tables, {by_several} read by {READERS} connections"
    ));
    assert!(in_tables >= tables && by_several >= readers, "{seen:?}");
}

/// Cases that have a step which several connections read.
static READ_BY_SEVERAL: AtomicUsize = AtomicUsize::new(0);

/// One case on one layout.
async fn check(
    case: &Case,
    oracle: &Cluster,
    cluster: &Cluster,
    layout: &Layout,
    (merge, finishing): (MergeMode, Finishing),
) -> Result<(), String> {
    let query = || {
        let query = planned::query(cluster, &case.sql, merge);
        match finishing {
            Finishing::Readers => Running::Readers.of(query),
            _ => query,
        }
    };
    if env::var_os("MERGANSER_CASE").is_some() {
        let plan = planned::explain(query()).await;
        support::tell(&format!("{} on {}:\n{plan}\n", case.name(), layout.name));
    }
    let found = Answer::of(query()).await;
    if finishing == Finishing::Readers && Running::Readers.is_seen(query()).await {
        READ_BY_SEVERAL.fetch_add(1, Ordering::Relaxed);
    }
    let expected = match (&case.expect, &found) {
        (Expect::Error(code), Err(error)) if error.sql_state() == Some(code) => return Ok(()),
        (Expect::Error(code), found) => {
            return Err(format!("expected SQLSTATE {code}, but: {}", outcome(found)));
        }
        (Expect::Refused(fragment) | Expect::MayBeRefused(fragment), Err(error))
            if compare::is_refusal(error, fragment) =>
        {
            return Ok(());
        }
        (Expect::Refused(fragment), found) => {
            return Err(format!(
                "expected a refusal with {fragment:?}, but: {}",
                outcome(found)
            ));
        }
        // What tells of the session would tell of another one.
        (_, Err(error))
            if finishing == Finishing::Apart
                && compare::is_refusal(error, "the server that finishes") =>
        {
            return Ok(());
        }
        _ => Answer::of(oracle.fan_out(&case.sql)).await,
    };
    let found = found.map_err(|error| match error.hint() {
        Some(hint) => format!("{:?}: {error}; hint: {hint}", error.kind()),
        None => format!("{:?}: {error}", error.kind()),
    })?;
    let expected = expected.map_err(|error| format!("the oracle: {error}"))?;
    compare::compare(case, &expected, &found)?;
    if let Some(sql) = &case.superset {
        let superset = Answer::of(oracle.fan_out(sql)).await;
        compare::subset(&superset.map_err(|error| error.to_string())?, &found)?;
    }
    if layout.checks_defaults && merge == MergeMode::Auto {
        defaults(case, oracle, query()).await?;
    }
    if let (Some(arm), MergeMode::Auto) = (&case.arm, merge) {
        let found = planned::arm(query()).await?;
        if layout.size > 1 && !arm.split('|').any(|arm| arm.trim() == found) {
            return Err(format!("right, but by the arm {found} instead of {arm}"));
        }
    }
    Ok(())
}

/// The answer with the usual types instead of text for what Arrow cannot hold.
async fn defaults(case: &Case, oracle: &Cluster, query: merganser::Query) -> Result<(), String> {
    let expected = Answer::with_defaults(oracle.fan_out(&case.sql)).await;
    let found = Answer::with_defaults(query).await;
    match (expected, found) {
        (Ok(expected), Ok(found)) => compare::compare(case, &expected, &found)
            .map_err(|difference| format!("with the usual types: {difference}")),
        (Err(expected), Err(found)) if expected.kind() == found.kind() => Ok(()),
        (expected, found) => Err(format!(
            "with the usual types: expected {}, found {}",
            outcome(&expected),
            outcome(&found)
        )),
    }
}

fn outcome(answer: &Result<Answer, merganser::Error>) -> String {
    match answer {
        Ok(answer) => format!("{} rows", answer.rows.len()),
        Err(error) => format!("{:?}: {error}", error.kind()),
    }
}

/// The cases that `MERGANSER_CASE` names, or all.
fn selected() -> Vec<Case> {
    let wanted = env::var("MERGANSER_CASE").unwrap_or_default();
    let wanted: Vec<_> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    let is_wanted = |case: &Case| {
        wanted
            .iter()
            .any(|&name| name == case.file || name == case.name())
    };
    case::load()
        .into_iter()
        .filter(|case| wanted.is_empty() || is_wanted(case))
        .collect()
}

/// What went wrong, in the order of the cases.
#[derive(Default)]
struct Failures(Vec<(String, String)>);

impl Failures {
    fn add(&mut self, case: &Case, difference: String) {
        let text = format!(
            "{} ({}.sql, line {})\n    {}\n    {}",
            case.name(),
            case.file,
            case.line,
            case.sql.replace('\n', "\n    "),
            difference.replace('\n', "\n    ")
        );
        self.0.push((case.file.clone(), text));
    }

    /// Fails with all of them, if there are any.
    fn report(self, place: &str) {
        if self.0.is_empty() {
            return;
        }
        let mut text = String::new();
        for (_, failure) in &self.0 {
            let _ = writeln!(text, "{place}: {failure}\n");
        }
        let mut files: Vec<_> = self.0.iter().map(|(file, _)| file.as_str()).collect();
        let mut counts = Vec::new();
        while let Some(&file) = files.first() {
            let before = files.len();
            files.retain(|&other| other != file);
            counts.push(format!("{file} {}", before - files.len()));
        }
        panic!(
            "{text}{place}: {} cases failed: {}",
            self.0.len(),
            counts.join(", ")
        );
    }
}
