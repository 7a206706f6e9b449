//! Compares what a table holds on each shard, without carrying rows from one to another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::meet::meet;
use super::merged::Merged;
use super::report::{Rows, count_rows};
use super::shards::{EXAMPLES, Refusal, Shards, column, number, value};
use crate::catalog::{differences, name_list};
use crate::error::Result;
use crate::quote::identifier;

/// How many rows from each end of the primary key stand for a table that is too large to read.
const SAMPLED_ROWS: u32 = 10_000;

/// How many rows with the smallest hashes tell whether two contents are nearly the same.
const SIMILARITY_ROWS: usize = 256;

/// From this share of equal rows on, contents are meant to be the same.
const SIMILAR: f64 = 0.5;

/// How much is read, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// Tables with more rows than this, by the server's estimate, are sampled.
    pub(super) sample_above: u64,
    /// Nothing is sampled.
    pub(super) verify: bool,
    /// Not all databases have the same encoding, so equal texts may have other bytes.
    pub(super) transcode: bool,
}

impl Reading {
    /// Whether a table is too large to read all of it.
    pub(super) fn is_sampled(&self, table: &Merged) -> bool {
        !self.verify && table.estimate() > self.sample_above as f64
    }

    /// A 64-bit hash of a text in SQL. It only depends on the text.
    pub(super) fn hash(&self, text: &str) -> String {
        match self.transcode {
            true => format!(
                "pg_catalog.hashtextextended(pg_catalog.encode(pg_catalog.convert_to({text}, 'UTF8'), 'hex'), 0)"
            ),
            false => format!("pg_catalog.hashtextextended({text}, 0)"),
        }
    }

    /// A hash of a row `t` in SQL: of the columns that all shards have, by name, so that neither
    /// their order nor their place in the table counts.
    fn row_hash(&self, table: &Merged) -> String {
        let mut columns: Vec<String> = table
            .columns
            .iter()
            .map(|column| format!("t.{}", identifier(&column.name)))
            .collect();
        columns.sort();
        self.hash(&format!(
            "(ROW({})::text COLLATE \"C\")",
            columns.join(", ")
        ))
    }
}

/// What the shards hold of one table.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    pub(super) rows: Vec<Rows>,
    pub(super) verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// There is only one shard.
    OneShard,
    /// No shard has a row.
    Empty,
    /// All have the same rows, as far as was read.
    Equal { sampled: bool },
    /// They have other rows: how many where, and whether they are meant to be the same.
    Differ { shown: String, similar: bool },
    /// Some shard did not let us read them.
    Refused(Refusal),
}

/// Compares the rows of one table on all shards.
pub(super) async fn compare(shards: &Shards, table: &Merged, reading: Reading) -> Result<Contents> {
    let read = match shards.len() {
        1 => count_one(shards, table, reading).await?,
        _ if reading.is_sampled(table) && table.has_primary_key => {
            compare_ends(shards, table, reading).await?
        }
        _ => compare_all(shards, table, reading).await?,
    };
    Ok(read.unwrap_or_else(|refusal| Contents {
        rows: vec![Rows::Unknown; shards.len()],
        verdict: Verdict::Refused(refusal),
    }))
}

async fn count_one(
    shards: &Shards,
    table: &Merged,
    reading: Reading,
) -> Result<Result<Contents, Refusal>> {
    let rows = match reading.is_sampled(table) {
        true => Ok(estimates(table)),
        false => count(shards, table).await?,
    };
    Ok(rows.map(|rows| Contents {
        rows,
        verdict: Verdict::OneShard,
    }))
}

/// Counts rows and adds up their hashes: a sum does not depend on the order of rows, and counts a
/// row twice that is there twice.
async fn compare_all(
    shards: &Shards,
    table: &Merged,
    reading: Reading,
) -> Result<Result<Contents, Refusal>> {
    let sql = format!(
        "SELECT pg_catalog.count(*), pg_catalog.sum({}::numeric) FROM {} AS t",
        reading.row_hash(table),
        table.sql()
    );
    let answers = match shards.ask_all(&sql).await? {
        Ok(answers) => answers,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut rows = Vec::with_capacity(answers.len());
    let mut sums = Vec::with_capacity(answers.len());
    for answer in &answers {
        rows.push(Rows::Exact(number(answer, 0)?));
        sums.push(value(answer, 1).unwrap_or_default().to_owned());
    }
    let verdict = match same(&rows) && same(&sums) {
        true if rows.iter().all(|rows| *rows == Rows::Exact(0)) => Verdict::Empty,
        true => Verdict::Equal { sampled: false },
        false => {
            let source = format!("{} AS t", table.sql());
            match is_similar(shards, table, reading, &source).await? {
                Ok(similar) => Verdict::Differ {
                    shown: show(&shards.names(), &rows, &sums),
                    similar,
                },
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
    };
    Ok(Ok(Contents { rows, verdict }))
}

/// Compares the first and the last rows by primary key, which an index finds; only where these are
/// the same, the number of rows too.
async fn compare_ends(
    shards: &Shards,
    table: &Merged,
    reading: Reading,
) -> Result<Result<Contents, Refusal>> {
    let Some(key) = table.keys.first() else {
        return compare_all(shards, table, reading).await;
    };
    let end = |direction: &str| {
        let order: Vec<String> = key
            .iter()
            .map(|column| format!("t.{} {direction}", identifier(column)))
            .collect();
        format!(
            "(SELECT * FROM {} AS t ORDER BY {} LIMIT {SAMPLED_ROWS}) AS t",
            table.sql(),
            order.join(", ")
        )
    };
    let sum = |source: &str| {
        let hash = reading.row_hash(table);
        format!("(SELECT pg_catalog.sum({hash}::numeric) FROM {source})")
    };
    let (first, last) = (end("ASC"), end("DESC"));
    let sql = format!("SELECT {}, {}", sum(&first), sum(&last));
    let answers = match shards.ask_all(&sql).await? {
        Ok(answers) => answers,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let sums: Vec<String> = answers
        .iter()
        .map(|answer| format!("{:?} {:?}", value(answer, 0), value(answer, 1)))
        .collect();
    if !same(&sums) {
        let rows = estimates(table);
        let similar = match is_similar(shards, table, reading, &first).await? {
            Ok(similar) => similar,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let shown = show(&shards.names(), &rows, &sums);
        let verdict = Verdict::Differ { shown, similar };
        return Ok(Ok(Contents { rows, verdict }));
    }
    let rows = match count(shards, table).await? {
        Ok(rows) => rows,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let verdict = match same(&rows) {
        // An estimate may be of rows that were deleted since.
        true if rows.iter().all(|rows| *rows == Rows::Exact(0)) => Verdict::Empty,
        true => Verdict::Equal { sampled: true },
        // The ends are the same, so it is not by chance that keys are.
        false => Verdict::Differ {
            shown: show(&shards.names(), &rows, &sums),
            similar: true,
        },
    };
    Ok(Ok(Contents { rows, verdict }))
}

async fn count(shards: &Shards, table: &Merged) -> Result<Result<Vec<Rows>, Refusal>> {
    let sql = format!("SELECT pg_catalog.count(*) FROM {} AS t", table.sql());
    let answers = match shards.ask_all(&sql).await? {
        Ok(answers) => answers,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let rows = answers
        .iter()
        .map(|answer| number(answer, 0).map(Rows::Exact));
    rows.collect::<Result<_>>().map(Ok)
}

/// How many characters of a row without a key a message shows.
const SHOWN_CHARACTERS: u32 = 60;

/// A few rows that not all shards have, and which shards have them; for people. Empty where all
/// have the same rows, but not equally often.
pub(super) async fn examples(
    shards: &Shards,
    table: &Merged,
    reading: Reading,
) -> Result<Result<Vec<String>, Refusal>> {
    let hash = reading.row_hash(table);
    let sql = format!(
        "SELECT DISTINCT {hash} AS h FROM {} AS t ORDER BY h",
        table.sql()
    );
    let mut odd = Vec::new();
    let met = meet(shards, &vec![sql; shards.len()], |number, on| {
        if on.len() < shards.len() {
            odd.push(format!("({number}::bigint)"));
        }
        match odd.len() < 2 * EXAMPLES {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    })
    .await?;
    if let Err(refusal) = met {
        return Ok(Err(refusal));
    }
    if odd.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let shown = match table.keys.first() {
        Some(key) => {
            let values: Vec<String> = key
                .iter()
                .map(|column| format!("t.{}::text", identifier(column)))
                .collect();
            format!("pg_catalog.concat_ws(', ', {})", values.join(", "))
        }
        None => format!("pg_catalog.left((t.*)::text, {SHOWN_CHARACTERS})"),
    };
    let sql = format!(
        "SELECT DISTINCT {shown}, {hash} FROM {} AS t WHERE {hash} IN ({})",
        table.sql(),
        odd.join(", ")
    );
    let answers = match shards.ask_all(&sql).await? {
        Ok(answers) => answers,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // What is shown, with the versions of it: by hash, where each is.
    let mut found: BTreeMap<String, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
    for (shard, answer) in answers.into_iter().enumerate() {
        for row in answer {
            let mut values = row.into_iter();
            if let (Some(Some(shown)), Some(Some(hash))) = (values.next(), values.next()) {
                let versions = found.entry(shown).or_default();
                versions.entry(hash).or_default().push(shard);
            }
        }
    }
    let names = shards.names();
    let row = |shown: &str| match table.keys.first() {
        Some(key) => format!("({}) = ({shown})", key.join(", ")),
        None => format!("row {shown}"),
    };
    let shown = found.into_iter().take(EXAMPLES).map(|(shown, versions)| {
        let mut versions: Vec<Vec<usize>> = versions.into_values().collect();
        versions.sort();
        let on: Vec<String> = versions
            .iter()
            .map(|shards| name_list(&names, shards))
            .collect();
        match on.as_slice() {
            [on] => format!("{} only on {on}", row(&shown)),
            on => format!("{} other on {}", row(&shown), on.join(" than on ")),
        }
    });
    Ok(Ok(shown.collect()))
}

/// Whether most rows of the shards that have any are the same.
async fn is_similar(
    shards: &Shards,
    table: &Merged,
    reading: Reading,
    source: &str,
) -> Result<Result<bool, Refusal>> {
    let sql = format!(
        "SELECT DISTINCT {} AS h FROM {source} ORDER BY h LIMIT {SIMILARITY_ROWS}",
        reading.row_hash(table)
    );
    let answers = match shards.ask_all(&sql).await? {
        Ok(answers) => answers,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut samples = Vec::with_capacity(answers.len());
    for answer in answers {
        let hashes: Option<BTreeSet<i64>> = column(answer)
            .iter()
            .map(|hash| hash.parse().ok())
            .collect();
        samples.push(hashes.unwrap_or_default());
    }
    Ok(Ok(similarity(&samples) >= SIMILAR))
}

/// The share of rows that all shards have, of the rows that any has; estimated from the smallest
/// hashes of each, as bottom-k sketches do. Shards without rows have no say, and what only one
/// shard has is like nothing.
fn similarity(samples: &[BTreeSet<i64>]) -> f64 {
    let samples: Vec<&BTreeSet<i64>> = samples.iter().filter(|s| !s.is_empty()).collect();
    if samples.len() < 2 {
        return 0.0;
    }
    let union: BTreeSet<i64> = samples.iter().flat_map(|s| s.iter().copied()).collect();
    // Beyond its own largest hash, a full sample says nothing.
    let limit = samples
        .iter()
        .filter(|sample| sample.len() >= SIMILARITY_ROWS)
        .filter_map(|sample| sample.last().copied())
        .min()
        .unwrap_or(i64::MAX);
    let (mut all, mut common) = (0_u32, 0_u32);
    for hash in union.range(..=limit) {
        all += 1;
        common += u32::from(samples.iter().all(|sample| sample.contains(hash)));
    }
    f64::from(common) / f64::from(all.max(1))
}

/// The number of rows of each shard, and where numbers are equal, which shards have the same rows.
fn show(names: &[String], rows: &[Rows], sums: &[String]) -> String {
    let mut seen: Vec<(&Rows, &String)> = Vec::new();
    let values: Vec<Option<String>> = rows
        .iter()
        .zip(sums)
        .map(|content| {
            let version = seen.iter().position(|other| *other == content);
            let version = version.unwrap_or_else(|| {
                seen.push(content);
                seen.len() - 1
            });
            // Numbers of versions, from 1, keep contents apart that have equally many rows.
            let others = seen.iter().filter(|other| other.0 == content.0).count();
            let place = seen.iter().take(version + 1).filter(|o| o.0 == content.0);
            Some(match (others, place.count()) {
                (1, _) | (_, 1) => count_rows(content.0),
                (_, place) => format!("{} (version {place})", count_rows(content.0)),
            })
        })
        .collect();
    differences(names, &values).unwrap_or_default()
}

fn estimates(table: &Merged) -> Vec<Rows> {
    let rows = table.estimates.iter();
    rows.map(|rows| Rows::Estimate(rows.max(0.0) as u64))
        .collect()
}

fn same<T: PartialEq>(values: &[T]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarity_is_the_share_of_common_rows() {
        let set = |range: std::ops::Range<i64>| range.collect::<BTreeSet<i64>>();
        assert_eq!(similarity(&[set(0..4), set(0..4)]), 1.0);
        assert_eq!(similarity(&[set(0..3), set(1..4)]), 0.5);
        assert_eq!(similarity(&[set(0..4), set(4..8)]), 0.0);
        // An empty shard among equal ones was forgotten when the others were filled.
        assert_eq!(similarity(&[set(0..4), set(0..0), set(0..4)]), 1.0);
        assert_eq!(similarity(&[set(0..4), set(0..0)]), 0.0);
        assert_eq!(similarity(&[]), 0.0);
    }

    #[test]
    fn a_full_sample_says_nothing_beyond_its_end() {
        let short: BTreeSet<i64> = (0..SIMILARITY_ROWS as i64).collect();
        let long: BTreeSet<i64> = (0..SIMILARITY_ROWS as i64).map(|hash| hash * 2).collect();
        let similarity = similarity(&[short, long]);
        assert!((0.45..0.55).contains(&similarity), "{similarity}");
    }

    #[test]
    fn contents_with_equally_many_rows_are_told_apart() {
        let names: Vec<String> = ["s0", "s1", "s2"].map(str::to_owned).to_vec();
        let sums = ["7", "8", "7"].map(str::to_owned);
        assert_eq!(
            show(&names, &[Rows::Exact(2); 3], &sums),
            "2 rows on s0 and s2; 2 rows (version 2) on s1"
        );
        assert_eq!(
            show(
                &names,
                &[Rows::Exact(2), Rows::Exact(3), Rows::Exact(2)],
                &sums
            ),
            "2 rows on s0 and s2; 3 rows on s1"
        );
    }
}
