//! Small databases of their own, each with what once went wrong over it: `testdata/cases/*.sql`.
//!
//! The setup is loaded into one database, the shards are copies of it that keep their own rows, those
//! of copied tables in an order of their own, and every query is equal to that of the one database or
//! refused. A file has these lines:
//!
//! | line | meaning |
//! |---|---|
//! | `-- shard: a=id b=user_name` | the sharded tables and their keys; all other tables are copies |
//! | `-- colocation: name` | the group that all of them are in; each by itself without it |
//! | `-- user: reader` | the role that asks, which the setup makes |
//! | `-- session: search_path = app, public` | a setting of `[session]`; as many lines as there are |
//! | `-- setup` | SQL that builds all rows |
//! | `-- query` | one statement |
//!
//! A comment below `-- query` says what has to come of it, as in [`case`](super::case): `-- refused:
//! text`, or `-- answered`. Without one, it is equal or refused.

use std::fs;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use merganser::config::{SessionSettings, Shard, TableKind};
use merganser::{Cluster, Topology};

use super::case::{self, Case, Expect};
use super::compare::{self, Answer};
use super::planned::Running;
use super::{READERS, many_are_seen};
use crate::support;

const SHARDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_is_equal_or_refused() {
    if support::server().is_none() {
        return;
    }
    let mut failures = Vec::new();
    let mut seen = [0; Running::ALL.len()];
    for path in files() {
        let file = File::read(&path);
        let databases = file.load();
        for case in &file.queries {
            let verdicts = Running::ALL.map(async |running| {
                let is_seen = running.is_seen(databases.shards.query(&case.sql)).await;
                (running, check(case, &databases, running).await, is_seen)
            });
            for (running, verdict, is_seen) in join_all(verdicts).await {
                seen[running as usize] += usize::from(is_seen);
                if let Err(difference) = verdict {
                    let (name, sql) = (case.name(), &case.sql);
                    failures.push(format!("{name}, {running:?}: {sql}\n    {difference}"));
                }
            }
        }
        databases.close().await;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    many_are_seen("small databases", seen, [200, 10]);
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/cases");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder of the cases")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    files
}

/// What has come of a case that is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The rows of the one database.
    Answered,
    Refused,
    /// The error of the one database.
    Failed,
}

/// A case on the one database and on its parts.
pub(super) async fn check(
    case: &Case,
    databases: &Databases,
    running: Running,
) -> Result<Outcome, String> {
    let found = Answer::of(running.of(databases.shards.query(&case.sql))).await;
    match (&case.expect, &found) {
        (Expect::Refused(fragment) | Expect::MayBeRefused(fragment), Err(error))
            if compare::is_refusal(error, fragment) && error.hint().is_some() =>
        {
            return Ok(Outcome::Refused);
        }
        (Expect::Refused(fragment), found) => {
            return Err(format!(
                "expected a refusal with {fragment:?}, but: {}",
                super::outcome(found)
            ));
        }
        _ => {}
    }
    let expected = Answer::of(databases.whole.fan_out(&case.sql)).await;
    match (expected, found) {
        (Err(expected), Err(found)) if expected.sql_state() == found.sql_state() => {
            Ok(Outcome::Failed)
        }
        (Ok(expected), Ok(found)) => {
            compare::compare(case, &expected, &found).map(|()| Outcome::Answered)
        }
        (expected, found) => Err(format!(
            "expected {}, found {}",
            super::outcome(&expected),
            super::outcome(&found)
        )),
    }
}

/// The one database, and the cluster of its parts.
pub(super) struct Databases {
    pub(super) whole: Cluster,
    pub(super) shards: Cluster,
}

impl Databases {
    pub(super) async fn close(self) {
        self.whole.close().await;
        self.shards.close().await;
    }
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Sharded tables and their keys.
    pub(super) sharded: Vec<(String, String)>,
    pub(super) colocation: Option<String>,
    pub(super) user: Option<String>,
    pub(super) session: Vec<(String, String)>,
    pub(super) setup: String,
    /// Whether copies lie in another order on each shard.
    pub(super) shuffled: bool,
    pub(super) queries: Vec<Case>,
}

impl File {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a name").to_string_lossy();
        let text = fs::read_to_string(path).expect("a case");
        let mut file = Self {
            shuffled: true,
            ..Self::default()
        };
        let mut in_setup = false;
        let mut query: Option<(usize, Vec<String>, String)> = None;
        let mut queries = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let comment = line.strip_prefix("-- ");
            if comment == Some("setup") {
                in_setup = true;
            } else if comment == Some("query") {
                in_setup = false;
                queries.extend(query.replace((index + 1, Vec::new(), String::new())));
            } else if in_setup {
                file.setup += &format!("{line}\n");
            } else if let Some((_, comments, sql)) = &mut query {
                match comment {
                    Some(comment) if sql.is_empty() => comments.push(comment.to_owned()),
                    _ => *sql += &format!("{line}\n"),
                }
            } else if let Some((word, value)) = comment.and_then(|comment| comment.split_once(':'))
            {
                file.header(word, value.trim());
            }
        }
        queries.extend(query);
        assert!(!queries.is_empty(), "{name}.sql has no query");
        for (number, (line, mut comments, sql)) in queries.into_iter().enumerate() {
            if comments.is_empty() {
                comments.push("may be refused:".to_owned());
            }
            let sql = sql.trim().trim_end_matches(';').to_owned();
            let case = case::case(&name, number + 1, line, sql, comments);
            file.queries.push(case);
        }
        file
    }

    fn header(&mut self, word: &str, value: &str) {
        let pair = |text: &str| {
            let (name, value) = text.split_once('=').expect("name=value");
            (name.trim().to_owned(), value.trim().to_owned())
        };
        match word {
            "colocation" => self.colocation = Some(value.to_owned()),
            "shard" => self.sharded = value.split_whitespace().map(pair).collect(),
            "user" => self.user = Some(value.to_owned()),
            "session" => self.session.push(pair(value)),
            _ => {}
        }
    }

    /// Makes the databases.
    pub(super) fn load(&self) -> Databases {
        let whole = support::database().expect("a server");
        support::execute(&whole, &self.setup);
        let (_, template) = whole.rsplit_once('/').expect("a URL of a database");
        let shards: Vec<String> = (0..SHARDS)
            .map(|shard| {
                let name = format!("{template}_{shard}");
                let server = support::server().expect("a server");
                let sql = format!("create database {name} template {template}");
                server.execute("postgres", &sql).expect("a copy");
                let url = server.url(&name);
                for (table, key) in &self.sharded {
                    let sql = format!(
                        "delete from {table} where coalesce(hashtext({key}::text) & 255, 0) % {SHARDS} <> {shard}"
                    );
                    support::execute(&url, &sql);
                }
                if self.shuffled {
                    support::execute(&url, &shuffled(shard));
                }
                url
            })
            .collect();
        Databases {
            whole: self.cluster(std::slice::from_ref(&whole), &[]),
            shards: self.cluster(&shards, &tables(&whole)),
        }
    }

    fn cluster(&self, urls: &[String], tables: &[String]) -> Cluster {
        let mut session = SessionSettings::default();
        for (name, value) in &self.session {
            session = match name.as_str() {
                "search_path" => session.with_search_path(value),
                "timezone" => session.with_timezone(value),
                _ => session.with_setting(name, value),
            };
        }
        let mut builder = Topology::builder().with_session(session);
        for (number, url) in urls.iter().enumerate() {
            let url = match &self.user {
                Some(user) => as_user(url, user),
                None => url.clone(),
            };
            builder = builder.with_shard(Shard::new(&format!("s{number}"), &url));
        }
        for table in tables {
            let key = self.sharded.iter().find(|(name, _)| name == table);
            let kind = match key {
                Some((_, key)) => TableKind::Sharded {
                    key: key.clone(),
                    colocation: self.colocation.clone(),
                    shard_index: None,
                },
                None => TableKind::Replicated,
            };
            builder = builder.with_table(table, kind);
        }
        Cluster::builder(builder.build().expect("a topology"))
            .with_connections_per_shard(READERS + 2)
            .build()
            .expect("a cluster")
    }
}

/// Puts some rows of every table behind the others, on each shard other ones: an update writes a row
/// anew. Half of them come to lie some blocks behind the others, so that several can read the table.
fn shuffled(shard: usize) -> String {
    format!(
        "set session_replication_role = replica;
        do $$
        declare t record;
        begin
            for t in select c.oid::regclass as name,
                            (select quote_ident(attname) from pg_attribute
                             where attrelid = c.oid and attnum > 0 and not attisdropped
                                   and attgenerated = '' and attidentity <> 'a'
                             order by attnum limit 1) as col
                     from pg_class c
                     where relkind = 'r' and relnamespace = 'public'::regnamespace
            loop
                if t.col is not null then
                    execute format('update %s set %s = %2$s where hashtext(ctid::text) & 3 = {shard}',
                                   t.name, t.col);
                    for round in 1 .. 60 loop
                        execute format('update %s set %s = %2$s where %3$s < 30 or hashtext(%2$s::text) & 1 = 0',
                                       t.name, t.col, round);
                    end loop;
                end if;
            end loop;
        end $$"
    )
}

/// The tables of the schema `public`.
fn tables(url: &str) -> Vec<String> {
    let (_, name) = url.rsplit_once('/').expect("a URL of a database");
    let sql = "select relname from pg_class where relkind in ('r', 'p', 'm') and not relispartition \
               and relnamespace = 'public'::regnamespace";
    let server = support::server().expect("a server");
    let rows = server.query(name, sql).expect("tables");
    rows.into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect()
}

/// The URL for another role, which needs no password.
fn as_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{user}@{host}")
}
