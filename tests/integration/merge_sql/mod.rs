//! The SQL of a merge next to PostgreSQL: the same statement over the same rows in both.
//!
//! An answer is equal, or refused, or its difference is told where users read it, in the
//! documentation of `reaggregate`. Any other is a silent difference, and fails.

use std::fmt;
use std::path::Path;

use merganser::types::TypeOptions;
use merganser::{Cluster, Error, FanOut, Topology};

use crate::support;
use crate::texts::{texts_of, without_trailing_zeros};

#[tokio::test(flavor = "multi_thread")]
async fn expressions_are_equal_refused_or_listed() {
    let Some(scene) = Scene::new() else { return };
    let mut faults = Vec::new();
    for (verdict, sql) in table() {
        let (expected, found) = scene.answers(&sql).await;
        let learnt = LEARNT.iter().find(|(learnt, _)| *learnt == sql);
        let is_right = match &verdict {
            _ if learnt.is_some_and(|(_, since)| scene.version >= *since) => {
                expected.is_equal(&found) || matches!(found, Answer::Error(_))
            }
            _ if learnt.is_some() => matches!(expected, Answer::Error(_)),
            Verdict::Equal => expected.is_equal(&found),
            Verdict::Refused => matches!((&expected, &found), (Answer::Rows(_), Answer::Error(_))),
            // What has come to be equal belongs to the others. PostgreSQL 13 has hours in a date, too.
            Verdict::Listed(_) => {
                matches!(found, Answer::Rows(_))
                    && (scene.version < 14 || !expected.is_equal(&found))
            }
        };
        if !is_right || found.shows_insides() {
            faults.push(format!(
                "not {verdict:?}: {sql}\n  PostgreSQL: {expected}\n  merge:      {found}"
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What PostgreSQL refuses before a version, and answers from it on.
const LEARNT: [(&str, u32); 7] = [
    ("SELECT bit_xor(i2) AS v FROM shards", 14),
    (
        "date_bin(interval '15 minutes', ts, timestamp '2001-01-01')",
        14,
    ),
    ("split_part('a,b,c', ',', -1)", 14),
    ("date_bin('15 minutes', ts, timestamp '2001-01-01')", 14),
    ("'0x10'::int", 16),
    ("'1_000'::int", 16),
    ("SELECT min(by) AS v FROM shards", 18),
];

#[test]
fn differences_are_documented() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/query");
    let mut documentation = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(path).unwrap();
            let lines = text.lines();
            let lines = lines.map(|line| line.trim().trim_start_matches("///").trim());
            documentation += &lines.collect::<Vec<_>>().join(" ");
        }
    }
    for (verdict, sql) in table() {
        if let Verdict::Listed(phrase) = verdict {
            assert!(documentation.contains(&phrase), "{phrase:?} of {sql}");
        }
    }
}

/// What is to become of a statement.
#[derive(Debug, Clone)]
enum Verdict {
    /// Both give the same rows, or both an error.
    Equal,
    /// PostgreSQL gives rows, the merge an error.
    Refused,
    /// They differ, and the documentation says so in these words.
    Listed(String),
}

/// The statements of `merge_sql/expressions.txt`: a line each, under a heading.
fn table() -> Vec<(Verdict, String)> {
    let path = "tests/integration/merge_sql/expressions.txt";
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let mut verdict = Verdict::Equal;
    let mut table = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("## ") {
            Some("equal") => verdict = Verdict::Equal,
            Some("refused") => verdict = Verdict::Refused,
            Some(phrase) => verdict = Verdict::Listed(phrase.to_owned()),
            None if line.is_empty() => {}
            None => table.push((verdict.clone(), line.to_owned())),
        }
    }
    assert!(table.len() > 70);
    table
}

struct Scene {
    cluster: Cluster,
    /// Of PostgreSQL.
    version: u32,
}

/// What one of the two gives for a statement.
enum Answer {
    Rows(Vec<Vec<Option<String>>>),
    Error(Error),
}

impl Answer {
    fn is_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rows(rows), Self::Rows(others)) => rows == others,
            (Self::Error(_), Self::Error(_)) => true,
            _ => false,
        }
    }

    /// Whether an error speaks of DataFusion as of a program with a fault.
    fn shows_insides(&self) -> bool {
        match self {
            Self::Rows(_) => false,
            Self::Error(error) => {
                let text = error.to_string().to_lowercase();
                text.contains("internal error") || text.contains("bug")
            }
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => {
                for row in rows {
                    for value in row {
                        write!(f, "{} ", value.as_deref().unwrap_or("NULL"))?;
                    }
                    f.write_str("| ")?;
                }
                Ok(())
            }
            Self::Error(error) => write!(f, "{:?}: {}", error.kind(), error.message()),
        }
    }
}

impl Scene {
    fn new() -> Option<Self> {
        let url = support::database()?;
        support::execute(&url, ROWS);
        let version = support::server()?.query("postgres", "show server_version_num");
        let version = version.unwrap()[0][0].as_deref().unwrap().parse::<u32>();
        let topology = Topology::from_urls([url]).unwrap();
        let cluster = Cluster::new(topology).unwrap();
        Some(Self {
            cluster,
            version: version.unwrap() / 10_000,
        })
    }

    /// PostgreSQL's, and the merge's.
    async fn answers(&self, sql: &str) -> (Answer, Answer) {
        let sql = match sql.starts_with("SELECT ") {
            true => sql.to_owned(),
            // An expression is one over all rows.
            false => format!("SELECT {sql} AS v FROM shards"),
        };
        let direct = self.cluster.fan_out(sql.as_str());
        let rows = self.cluster.fan_out("SELECT * FROM shards ORDER BY id");
        (
            answer(direct.with_types(TypeOptions::LOSSLESS)).await,
            answer(rows.reaggregate(sql)).await,
        )
    }
}

async fn answer(query: FanOut) -> Answer {
    match query.collect().await {
        Ok(batches) => {
            let rows = batches.iter().flat_map(texts_of);
            let values = rows.map(|row| row.into_iter().map(|value| value.map(comparable)));
            Answer::Rows(values.map(Iterator::collect).collect())
        }
        Err(error) => Answer::Error(error),
    }
}

/// The text of a value: without zeros that only a scale makes, and with the letters for true and
/// false.
fn comparable(text: String) -> String {
    match text.as_str() {
        "-0" => "0".to_owned(),
        _ => without_trailing_zeros(&text),
    }
}

/// Three rows: plain values, values at the edges, and NULL in every column but the first.
const ROWS: &str = "
    create type mood as enum ('sad', 'ok', 'happy');
    create table shards (
        id int4, i2 int2, i4 int4, i8 int8, n numeric, m numeric(10,2), w numeric(38,10),
        r real, f float8, t text, vc varchar(10), c char(5), b bool, d date, tm time,
        ts timestamp, tz timestamptz, iv interval, by bytea, u uuid, j jsonb, e mood, a int4[]
    );
    insert into shards values
        (1, 7, -7, 7, 2.5, 12.34, 1.5, 0.1, 2.5, 'Abc', 'x', 'ab', true, '2024-02-29',
         '12:34:56.789', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789+00', '1 mon 2 days 03:04:05',
         '\\xff', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"a\": 1}', 'sad', '{1,2,3}'),
        (2, 32767, 2147483647, 9223372036854775807, -3.5, -0.05, -2, 'nan', '-0', 'Äöü%_\\', 'été', '', false,
         '1969-12-31', '00:00', '1969-12-31 23:59:59.5', '1969-12-31 23:59:59.5+00', '-1 day', '',
         '00000000-0000-0000-0000-000000000000', '[1, 2]', 'happy', '{}'),
        (3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
         null, null, null, null, null, null);
";
