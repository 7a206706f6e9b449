//! What the database does around a query: policies, rights, settings; which database it is; and what
//! the topology says of it.

mod drift;
mod finish;
mod keys;
mod policies;
mod ranges_of_keys;
mod views;

use merganser::config::{Finish, SessionSettings, Shard, TableKind};
use merganser::{Cluster, Error, ErrorKind, Topology};

use super::compare::{Answer, is_refusal};
use super::planned::Running;
use crate::support;

const SHARDS: usize = 3;

/// One database with all rows, and shards with their own.
struct Databases {
    oracle: String,
    shards: Vec<String>,
    sharded: Vec<(String, String)>,
    replicated: &'static [&'static str],
    session: SessionSettings,
    finish: Finish,
}

impl Databases {
    /// Runs SQL in all databases, where `{shard}` is 0 in the one with all rows and on the first
    /// shard, and leaves each shard its rows.
    fn new(
        sql: &str,
        sharded: &[(&str, &str)],
        replicated: &'static [&'static str],
    ) -> Option<Self> {
        let oracle = support::database()?;
        let shards = support::shards(SHARDS)?;
        support::execute(&oracle, &sql.replace("{shard}", "0"));
        for (number, url) in shards.iter().enumerate() {
            support::execute(url, &sql.replace("{shard}", &number.to_string()));
            for (table, key) in sharded {
                let keep = format!(
                    "delete from {table} where (hashtext({key}::text) & 65535) % {SHARDS} <> {number}"
                );
                support::execute(url, &keep);
            }
        }
        Some(Self {
            oracle,
            shards,
            sharded: sharded
                .iter()
                .map(|(table, key)| ((*table).to_owned(), (*key).to_owned()))
                .collect(),
            replicated,
            session: SessionSettings::default(),
            finish: Finish::default(),
        })
    }

    fn topology(&self, role: &str) -> Topology {
        let mut builder = Topology::builder()
            .with_session(self.session.clone())
            .with_finish(self.finish.clone());
        for (number, url) in self.shards.iter().enumerate() {
            builder = builder.with_shard(Shard::new(&format!("s{number}"), &as_role(url, role)));
        }
        for (table, key) in &self.sharded {
            builder = builder.with_table(table, TableKind::sharded(key.as_str()));
        }
        for table in self.replicated {
            builder = builder.with_table(table, TableKind::Replicated);
        }
        builder.build().unwrap()
    }

    /// Whether a role gets what it gets from the one database: rows, or PostgreSQL's error. A refusal
    /// has to say `refusal`, and is the only outcome if that is given.
    async fn check(&self, role: &str, statements: &[(&str, &str)]) {
        let oracle = Topology::builder()
            .with_session(self.session.clone())
            .with_shard(Shard::new("oracle", &as_role(&self.oracle, role)));
        let oracle = Cluster::new(oracle.build().unwrap()).unwrap();
        let cluster = Cluster::new(self.topology(role)).unwrap();
        let mut wrong = Vec::new();
        let ways = statements
            .iter()
            .flat_map(|it| Running::ALL.map(|running| (it, running)));
        for ((sql, refusal), running) in ways {
            let found = sorted(Answer::of(running.of(cluster.query(*sql))).await);
            let verdict = match (refusal.is_empty(), found) {
                (false, Err(error)) if is_refusal(&error, refusal) => continue,
                (false, found) => format!("not refused by {refusal:?}: {found:?}"),
                (true, found) => match (rows(&oracle, sql, false).await, found) {
                    (Ok(expected), Ok(found)) if expected == found => continue,
                    (Err(expected), Err(found))
                        if expected.sql_state().is_some()
                            && expected.sql_state() == found.sql_state() =>
                    {
                        continue;
                    }
                    (expected, found) => format!("expected {expected:?}, found {found:?}"),
                },
            };
            wrong.push(format!("{role}, {running:?}: {sql}: {verdict}"));
        }
        oracle.close().await;
        cluster.close().await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn as_role(url: &str, role: &str) -> String {
    url.replace("//postgres@", &format!("//{role}@"))
}

type Rows = Vec<Vec<Option<String>>>;

async fn rows(cluster: &Cluster, sql: &str, planned: bool) -> Result<Rows, Error> {
    sorted(match planned {
        true => Answer::of(cluster.query(sql)).await,
        false => Answer::of(cluster.fan_out(sql)).await,
    })
}

fn sorted(answer: Result<Answer, Error>) -> Result<Rows, Error> {
    let mut rows = answer?.rows;
    rows.sort();
    Ok(rows)
}

/// The error of a planned query.
async fn error_of(topology: Topology, sql: &str) -> Error {
    let cluster = Cluster::new(topology).unwrap();
    let answer = rows(&cluster, sql, true).await;
    cluster.close().await;
    answer.expect_err(sql)
}

/// Roles are of the server: they may be there already.
fn roles(names: &str) -> String {
    let mut sql = String::new();
    for name in names.split(' ') {
        sql += &format!(
            "do $$ begin create role {name} login; \
             exception when duplicate_object or unique_violation then null; end $$;"
        );
    }
    sql
}

const T: &str =
    "create table t as select i as id, 'running dogs' as body from generate_series(1, 20) i;";

/// A setting of one database, and whether a query of that table is refused, and by what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_can_change_answers_are_compared() {
    let one = "do $$ begin if {shard} = 1 then \
               execute format('alter database %I set {setting}', current_database()); \
               end if; end $$;";
    let text = "select count(*) from t where to_tsvector(body) @@ to_tsquery('run')";
    let count = "select count(*) from t";
    for (setting, sql, refusal) in [
        (
            "default_text_search_config = german",
            text,
            "default_text_search_config",
        ),
        ("lc_time = \"C\"", count, ""),
        ("row_security = off", count, ""),
        (
            "standard_conforming_strings = off",
            "select 'a\\b' as x, count(*) from t",
            "",
        ),
        (
            "datestyle = \"German, DMY\"",
            "select date '2024-03-01'::text as d, count(*) from t",
            "",
        ),
        ("default_transaction_isolation = serializable", count, ""),
        ("enable_hashagg = off", count, ""),
        ("idle_in_transaction_session_timeout = 1", count, ""),
        ("app.tenant = 7", count, ""),
        (
            "app.tenant = 7",
            "select count(*) from t where id > current_setting('app.tenant', true)::int",
            "app.tenant",
        ),
        (
            "app.tenant = 7",
            "select current_setting('app.tenant', true) as x, id from t",
            "app.tenant",
        ),
        (
            "plpgsql.variable_conflict = use_column",
            count,
            "plpgsql.variable_conflict",
        ),
        ("work_mem = \"2MB\"", count, ""),
        (
            "work_mem = \"2MB\"",
            "select current_setting('work_mem') as x, id from t",
            "work_mem",
        ),
        (
            "work_mem = \"2MB\"",
            "select x, id from t, current_setting('work_mem') x",
            "work_mem",
        ),
        (
            "work_mem = \"2MB\"",
            "select current_setting('lock_timeout') as x, id from t",
            "",
        ),
        (
            "work_mem = \"2MB\"",
            "select current_setting('work' || '_mem') as x, id from t",
            "literal",
        ),
    ] {
        let setup = T.to_owned() + &one.replace("{setting}", setting);
        let Some(databases) = Databases::new(&setup, &[("t", "id")], &[]) else {
            return;
        };
        databases.check("postgres", &[(sql, refusal)]).await;
    }
    // What the topology sets is the same on all shards.
    let setup = T.to_owned() + &one.replace("{setting}", "default_text_search_config = german");
    let Some(mut databases) = Databases::new(&setup, &[("t", "id")], &[]) else {
        return;
    };
    databases.session = SessionSettings::default()
        .with_setting("default_text_search_config", "english")
        .with_setting("app.tenant", "7");
    let own = "select count(*) from t where id > current_setting('app.tenant')::int";
    databases.check("postgres", &[(text, ""), (own, "")]).await;
    // Options of a connection string are a setting of the shard.
    let mut topology = Topology::builder();
    for (number, url) in databases.shards.iter().enumerate() {
        let url = format!("{url}?options=-c%20app.size%3D{number}");
        topology = topology.with_shard(Shard::new(&format!("s{number}"), &url));
    }
    let topology = topology.with_session(databases.session.clone());
    let topology = topology.with_table("t", TableKind::sharded("id")).build();
    let sql = "select count(*) from t where id > current_setting('app.size')::int";
    let error = error_of(topology.unwrap(), sql).await;
    assert!(is_refusal(&error, "app.size"), "{error}");
}

/// What makes words of a text has to be the same on all shards, where a query does that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_search_that_differs_is_refused() {
    let made = T.to_owned()
        + "create text search configuration own (copy = pg_catalog.english);
           create text search dictionary plain (template = simple, stopwords = 'english');";
    let changed = "do $$ begin if {shard} = 1 then \
                   alter text search configuration own alter mapping for asciiword with simple; \
                   alter text search dictionary plain (accept = false); \
                   end if; end $$;";
    let words =
        "select id from t where to_tsvector('own'::regconfig, body) @@ to_tsquery('own', 'run')";
    let lexemes = "select ts_lexize('plain', body) from t";
    for (setup, refusal) in [(made.clone(), ""), (made + changed, "text search")] {
        let Some(databases) = Databases::new(&setup, &[("t", "id")], &[]) else {
            return;
        };
        let cases = [
            (words, refusal),
            (lexemes, refusal),
            ("select count(*) from t", ""),
        ];
        databases.check("postgres", &cases).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_database_is_not_two_shards() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    for url in &urls {
        support::execute(
            url,
            "create table t as select i as id from generate_series(1, 9) i",
        );
    }
    let topology = |urls: &[String]| {
        let mut builder = Topology::builder();
        for (number, url) in urls.iter().enumerate() {
            builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
        }
        builder
            .with_table("t", TableKind::sharded("id"))
            .build()
            .unwrap()
    };
    let twice = topology(&[urls[0].clone(), urls[1].clone(), urls[1].clone()]);
    let error = Cluster::new(twice).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.message(), "the shards s1 and s2 have the same URL");
    assert!(error.hint().is_some());

    // By another name of the host, or with another search path.
    let socket = support::server()
        .unwrap()
        .socket_url(urls[1].rsplit('/').next().unwrap());
    let path = format!("{}?options=-c%20search_path%3Dpg_catalog", urls[1]);
    for (other, is_meant) in [(socket, false), (path, true)] {
        let shards = [urls[0].clone(), urls[1].clone(), other];
        for sql in [
            "select count(*) from t",
            "select count(distinct id) from t",
            "select 1",
        ] {
            let error = error_of(topology(&shards), sql).await;
            let expected = "the shards s1 and s2 are one database";
            assert!(is_refusal(&error, expected), "{sql}: {error}");
        }
        // A fan-out says what it does: every shard's own rows. Other options may show others.
        let cluster = Cluster::new(topology(&shards)).unwrap();
        match rows(&cluster, "select count(*) from public.t", false).await {
            Ok(found) => assert!(is_meant && found.len() == 3),
            Err(error) => assert!(!is_meant && error.kind() == ErrorKind::Config, "{error}"),
        }
        cluster.close().await;
    }
}

/// A shard that has given its rows waits for the others in its transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_waits_for_others_is_not_ended() {
    let sql = T.to_owned()
        + "create function slow(i int, body text) returns int language plpgsql immutable as $$
               begin if body = 'slow' then perform pg_sleep(0.2); end if; return i % 5; end $$;
           do $$ begin
               execute format('alter database %I set idle_in_transaction_session_timeout = 100', current_database());
               if current_setting('server_version_num')::int >= 170000 then
                   execute format('alter database %I set transaction_timeout = 500', current_database());
               end if;
           end $$;";
    let Some(databases) = Databases::new(&sql, &[("t", "id")], &[]) else {
        return;
    };
    support::execute(&databases.shards[1], "update t set body = 'slow'");
    let cluster = Cluster::new(databases.topology("postgres")).unwrap();
    for sql in [
        "select slow(id, body), count(*), avg(length(body)) from t group by 1 order by 1",
        "select id, slow(id, body), count(*) over () from t",
        "select id from t where slow(id, body) >= 0 order by id",
    ] {
        rows(&cluster, sql, true)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    cluster.close().await;
}

/// The counters of changes come a little later than the changes.
fn wait_for_counter(url: &str, table: &str, rows: usize) {
    let server = support::server().expect("a server");
    let database = url.rsplit('/').next().expect("a name");
    let sql = format!("select pg_stat_get_live_tuples('{table}'::regclass)");
    for _ in 0..200 {
        let found = server.query(database, &sql).expect("a counter");
        if found[0][0].as_deref() == Some(&*rows.to_string()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{table} of {database}: the counter does not come to {rows}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topology_that_cannot_be_is_refused() {
    let sql = "create table t (id int primary key, code text, at timestamptz);
        create table wide (id bigint);
        create table texts (id text);
        create table item (id int, t_id int not null references t);
        create table loose (id int, t_id int references t);
        create table big (id int);
        create table empty_item (t_id int not null references t);
        create table parted (id int, v int) partition by range (id);
        create table part partition of parted for values from (0) to (1000);
        insert into t select i, 'c' || i, now() from generate_series(1, 60) i;
        insert into item select i, i from generate_series(1, 60) i;
        insert into loose select i, null from generate_series(1, 60) i;
        insert into big select i from generate_series(1, 2000 + 3000 * {shard}) i;
        insert into parted select i, i from generate_series(1, 20) i;";
    let Some(urls) = support::shards(2) else {
        return;
    };
    for (number, url) in urls.iter().enumerate() {
        support::execute(url, &sql.replace("{shard}", &number.to_string()));
        wait_for_counter(url, "big", 2000 + 3000 * number);
        support::execute(url, "analyze");
    }
    let group = |key: &str| TableKind::Sharded {
        key: key.to_owned(),
        colocation: Some("g".to_owned()),
        shard_index: None,
    };
    type Declared = Vec<(&'static str, TableKind)>;
    let cases: Vec<(Declared, &str, &str)> = vec![
        (
            vec![("t", TableKind::sharded("nope"))],
            "t",
            "sharded by nope, which is none of its columns",
        ),
        (vec![("t", TableKind::sharded("code"))], "t", ""),
        (vec![("t", group("id")), ("wide", group("id"))], "t", ""),
        (
            vec![("t", group("id")), ("texts", group("id"))],
            "t",
            "types integer and text",
        ),
        (
            vec![("t", group("id")), ("texts", group("id"))],
            "texts",
            "types text and integer",
        ),
        (
            vec![
                ("t", TableKind::sharded("id")),
                ("item", TableKind::Replicated),
            ],
            "item",
            "refers to one of public.t",
        ),
        (
            vec![
                ("t", TableKind::Replicated),
                ("item", TableKind::Replicated),
            ],
            "item",
            "",
        ),
        (
            vec![
                ("t", TableKind::sharded("id")),
                ("loose", TableKind::Replicated),
            ],
            "loose",
            "",
        ),
        (
            vec![
                ("t", TableKind::sharded("id")),
                ("empty_item", TableKind::Replicated),
            ],
            "empty_item",
            "",
        ),
        (
            vec![
                ("parted", TableKind::sharded("id")),
                ("part", TableKind::Replicated),
            ],
            "part",
            "partition",
        ),
        (
            vec![
                ("parted", TableKind::sharded("id")),
                ("part", TableKind::Replicated),
            ],
            "parted",
            "partition",
        ),
        (
            vec![
                ("parted", TableKind::sharded("id")),
                ("part", TableKind::sharded("v")),
            ],
            "parted",
            "partition",
        ),
        (
            vec![
                ("parted", TableKind::sharded("id")),
                ("part", TableKind::sharded("id")),
            ],
            "parted",
            "",
        ),
        (vec![("big", TableKind::sharded("id"))], "big", ""),
        (
            vec![("big", TableKind::Replicated)],
            "big",
            "about 2000 rows on s0; about 5000 rows on s1",
        ),
    ];
    let mut wrong = Vec::new();
    for (tables, table, refusal) in cases {
        let mut builder = Topology::builder();
        for (number, url) in urls.iter().enumerate() {
            builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
        }
        for (name, kind) in &tables {
            builder = builder.with_table(name, kind.clone());
        }
        let cluster = Cluster::new(builder.build().unwrap()).unwrap();
        let found = rows(&cluster, &format!("select count(*) from {table}"), true).await;
        let is_right = match &found {
            Ok(_) => refusal.is_empty(),
            Err(error) => !refusal.is_empty() && is_refusal(error, refusal),
        };
        if !is_right {
            wrong.push(format!("{tables:?}: {table}: {found:?}"));
        }
        cluster.close().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Types, collations and casts that no table has, and a statement names: they may differ too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_statement_names_is_compared() {
    let table = "create table t as select i as id, chr(64 + i) as w, i % 2 = 0 as b \
                 from generate_series(1, 20) i;";
    for (usual, odd, sql, refusal) in [
        (
            "create domain dl as varchar(3)",
            "create domain dl as varchar(4)",
            "select id, (w || 'xyzuv')::dl from t",
            "type public.dl differs",
        ),
        (
            "create domain dc as text collate \"C\"",
            "create domain dc as text collate \"en-x-icu\"",
            "select id, w::dc < 'b' from t",
            "dc",
        ),
        (
            "create collation c (provider = icu, locale = 'und', deterministic = false)",
            "create collation c (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            "select id, w = 'a' collate c from t",
            "collation",
        ),
        (
            "create type r as range (subtype = text, collation = \"C\")",
            "create type r as range (subtype = text, collation = \"en-x-icu\")",
            "select id, ('[' || 'a,b)')::r @> w from t",
            "type",
        ),
        (
            "create type mood as enum ('a', 'b')",
            "create type mood as enum ('b', 'a')",
            "select id, 'a'::mood < 'b' from t",
            "mood",
        ),
        (
            "create cast (bool as \"char\") with inout",
            "create cast (bool as \"char\") without function",
            "select id, ascii(b::\"char\"::text) from t",
            "cast from boolean",
        ),
    ] {
        let sql_of_all = format!(
            "{table} do $$ begin if {{shard}} = 1 then execute '{}'; else execute '{}'; end if; \
             end $$;",
            odd.replace('\'', "''"),
            usual.replace('\'', "''"),
        );
        let Some(databases) = Databases::new(&sql_of_all, &[("t", "id")], &[]) else {
            return;
        };
        let statements = [(sql, refusal), ("select count(*) from t where w > 'b'", "")];
        databases.check("postgres", &statements).await;
    }
}
