//! What is not answered: errors that say what is wrong, where, and what to do.

use merganser::config::{Shard, TableKind};
use merganser::{Cluster, Error, ErrorKind, MergeMode, Query, Topology};

use super::compare::Answer;
use super::layout::{Databases, REPLICATED};
use crate::support;
use crate::texts::texts_of;

use ErrorKind::{Server, Syntax, Unsupported};

/// PostgreSQL's own errors: statement, SQLSTATE, and what the message has to say, which is the
/// place in the user's text too where PostgreSQL tells one.
const INVALID: &[(&str, &str, &[&str])] = &[
    (
        "select id\nfrom nowhere",
        "42P01",
        &["relation \"nowhere\" does not exist", "line 2, column 6"],
    ),
    (
        "select id, pirce from sale",
        "42703",
        &["column \"pirce\" does not exist", "line 1, column 12"],
    ),
    (
        "select s.nope from sale s",
        "42703",
        &["column s.nope does not exist", "column 8"],
    ),
    (
        "select status, count(*) from sale",
        "42803",
        &["must appear in the GROUP BY clause"],
    ),
    (
        "select 1 from sale s join item i on s.id = i.sal_id",
        "42703",
        &["sal_id", "column"],
    ),
    (
        "select frobnicate(id) from sale",
        "42883",
        &["function frobnicate(bigint) does not exist"],
    ),
    (
        "select id from sale where note = 1",
        "42883",
        &["operator does not exist: text = integer"],
    ),
    (
        "select id from sale where id = 'x'",
        "22P02",
        &["invalid input syntax for type bigint"],
    ),
    (
        "select * from sale order by 99",
        "42P10",
        &["ORDER BY position 99"],
    ),
    (
        "select id from sale union select name from region",
        "42804",
        &["types bigint and text"],
    ),
    (
        "select sale.id from sale, sale",
        "42712",
        &["\"sale\" specified more than once"],
    ),
    (
        "select id from sale, customer",
        "42702",
        &["column reference \"id\" is ambiguous"],
    ),
    ("select from where", "42601", &["syntax error", "line 1"]),
    ("select id from sale where", "42601", &["syntax error"]),
];

/// What is no single query: statement, kind, and a part of the message.
const NO_QUERY: &[(&str, ErrorKind, &str)] = &[
    ("", Syntax, "no statement"),
    ("-- nothing", Syntax, "no statement"),
    ("select 1; select 2", Syntax, "more than one statement"),
    ("select 'a", Syntax, "unterminated"),
    ("selekt 1", Syntax, "not a query"),
    ("delete from sale", Unsupported, "not a query"),
    ("update sale set qty = 1", Unsupported, "not a query"),
    (
        "insert into ledger values (7, 7)",
        Unsupported,
        "not a query",
    ),
    (
        "merge into sale using item on id = sale_id when matched then delete",
        Unsupported,
        "not a query",
    ),
    ("create table t (a int)", Unsupported, "not a query"),
    (
        "create table t as select * from sale",
        Unsupported,
        "not a query",
    ),
    ("drop table sale", Unsupported, "not a query"),
    ("truncate sale", Unsupported, "not a query"),
    ("copy sale to stdout", Unsupported, "not a query"),
    ("explain select 1", Unsupported, "not a query"),
    ("begin", Unsupported, "not a query"),
    ("set timezone = 'UTC'", Unsupported, "not a query"),
    ("show timezone", Unsupported, "not a query"),
    ("vacuum", Unsupported, "not a query"),
    ("call noisy(1)", Unsupported, "not a query"),
    ("do 'begin end'", Unsupported, "not a query"),
];

/// What is refused: statement, the construct that the message names, and a word of the hint.
const REFUSED: &[(&str, &str, &str)] = &[
    // Statements that write or lock behind a SELECT.
    ("select * into t from sale", "INTO", ""),
    (
        "with d as (delete from sale returning id) select count(*) from d",
        "delete",
        "",
    ),
    (
        "with i as (insert into ledger values (9, 9) returning id) select * from i",
        "insert",
        "",
    ),
    (
        "with u as (update sale set qty = 0 returning id) select count(*) from u",
        "update",
        "",
    ),
    ("select id from sale for update", "FOR UPDATE", ""),
    (
        "select id from sale where id < 3 for share",
        "FOR SHARE",
        "",
    ),
    ("select id from region for no key update", "row locks", ""),
    (
        "select count(*) from (select id from sale for update) s",
        "FOR UPDATE",
        "",
    ),
    // Relations that the topology does not name.
    ("select * from ledger", "ledger", "inspect"),
    (
        "select count(*) from sale s join ledger l on l.id = s.qty",
        "ledger",
        "inspect",
    ),
    (
        "select (select max(amount) from ledger)",
        "ledger",
        "inspect",
    ),
    (
        "select id from sale where exists (select from public.ledger)",
        "ledger",
        "inspect",
    ),
    (
        "with l as (select * from ledger) select count(*) from l",
        "ledger",
        "inspect",
    ),
    ("select * from sale_days", "sale_days", ""),
    ("select last_value from ticket", "ticket", ""),
    // What differs from server to server by nature.
    ("select count(*) from pg_class", "pg_class", "fan-out"),
    (
        "select count(*) from pg_catalog.pg_stat_activity",
        "pg_stat_activity",
        "fan-out",
    ),
    (
        "select table_name from information_schema.tables",
        "tables",
        "fan-out",
    ),
    ("select ctid from sale", "ctid", ""),
    ("select s.xmin, count(*) from sale s group by 1", "xmin", ""),
    ("select id from sale order by ctid", "ctid", ""),
    ("select tableoid from sale", "tableoid", ""),
    ("select count(*) from sale where ctid = '(0,1)'", "ctid", ""),
    (
        "select count(*) from sale tablesample bernoulli (50)",
        "TABLESAMPLE",
        "",
    ),
    (
        "select 1 from region tablesample system (50), sale",
        "TABLESAMPLE",
        "",
    ),
    // Functions that see one shard only, or the server that they run on.
    ("select sale_count()", "sale_count", ""),
    (
        "select id from sale where id < sale_count()",
        "sale_count",
        "",
    ),
    ("select sum(noisy(qty)) from sale", "noisy", ""),
    ("select nextval('ticket')", "nextval", ""),
    ("select id, nextval('ticket') from sale", "nextval", ""),
    (
        "select pg_backend_pid(), id from sale",
        "pg_backend_pid",
        "",
    ),
    ("select txid_current()", "txid_current", ""),
    ("select pg_relation_size('sale')", "pg_relation_size", ""),
    (
        "select set_config('timezone', 'UTC', false) from sale",
        "set_config",
        "",
    ),
    (
        "select query_to_xml('select 1 from sale', true, true, '')",
        "query_to_xml",
        "",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_an_error_that_says_why_and_what_to_do() {
    let Some(databases) = Databases::get() else {
        return;
    };
    let cluster = databases.layout("three").cluster();
    let invalid = INVALID
        .iter()
        .map(|&(sql, state, parts)| (sql, Server, Some(state), parts, ""));
    let no_query = NO_QUERY
        .iter()
        .map(|(sql, kind, part)| (*sql, *kind, None, std::slice::from_ref(part), ""));
    let refused = REFUSED
        .iter()
        .map(|(sql, part, hint)| (*sql, Unsupported, None, std::slice::from_ref(part), *hint));
    let mut failures = Vec::new();
    for (sql, kind, state, parts, hint) in invalid.chain(no_query).chain(refused) {
        let wrong = match cluster.query(sql).collect().await {
            Ok(_) => "answered".to_owned(),
            Err(error) => {
                let says =
                    |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
                let cure = error.hint().unwrap_or_default();
                let missing = parts.iter().find(|part| !says(&error.to_string(), part));
                // Whoever is refused is told a way out.
                let helps = says(cure, hint) && (kind != Unsupported || !cure.is_empty());
                if error.kind() == kind && error.sql_state() == state && missing.is_none() && helps
                {
                    continue;
                }
                format!("{:?}: {error}; hint: {cure:?}", error.kind())
            }
        };
        failures.push(format!(
            "{sql}\n    {wrong}\n    expected {kind:?} {state:?} {parts:?} {hint:?}"
        ));
    }
    cluster.close().await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Infinity and NaN have no place in Arrow, but may well be what a query groups by and does not show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_arrow_cannot_hold_are_no_error_where_they_are_not_shown() {
    let Some(databases) = Databases::get() else {
        return;
    };
    let cluster = databases.layout("three").cluster();
    for key in [
        "ts",
        "d",
        "tt",
        "(case when k % 3 = 0 then 'NaN' else '1' end)::numeric(10,2)",
    ] {
        let sql = format!("select count(*) as n from zoo group by {key}");
        let batches = cluster.query(&sql).collect().await;
        let batches = batches.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let counts = batches.iter().flat_map(texts_of).flatten();
        let rows: u64 = counts.map(|n| n.unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(rows, 260, "{sql}");
        let shown = format!("select {key} as key, count(*) as n from zoo group by 1");
        let error = cluster.query(&shown).collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{shown}: {error}");
    }
    cluster.close().await;
}

/// A tree as deep as the text is long must not become a stack as deep.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_nesting_is_an_error_or_an_answer_but_never_a_crash() {
    let Some(databases) = Databases::get() else {
        return;
    };
    let cluster = databases.layout("two").cluster();
    for depth in [50, 1_000, 20_000] {
        for sql in [
            format!("select {}1{}", "(".repeat(depth), ")".repeat(depth)),
            format!("select 1{}", " + 1".repeat(depth)),
            format!(
                "select count(*) from sale where id = 1{}",
                " or id = 2".repeat(depth)
            ),
            format!("select{} true", " not".repeat(depth)),
            format!(
                "select {}qty{} from sale",
                "abs(".repeat(depth),
                ")".repeat(depth)
            ),
            format!(
                "select * from {}select 1{}",
                "(".repeat(depth),
                ") t".repeat(depth)
            ),
            format!("select 1{}", " union all select 1".repeat(depth)),
            format!(
                "select {}1{}",
                "case when true then ".repeat(depth),
                " end".repeat(depth)
            ),
            format!(
                "select {}'{{}}'{}",
                "array[".repeat(depth),
                "]".repeat(depth)
            ),
            format!("select {}", "- ".repeat(depth) + "1"),
        ] {
            if let Err(error) = cluster.query(&sql).collect().await {
                let expected = [Unsupported, Syntax, Server];
                assert!(expected.contains(&error.kind()), "{error:?}");
                assert!(
                    error.to_string().len() < 2_000,
                    "{}",
                    error.to_string().len()
                );
            }
        }
    }
    // Long, but not deep.
    let ids: Vec<_> = (0..10_000).map(|id| id.to_string()).collect();
    let sql = format!("select count(*) from sale where id in ({})", ids.join(", "));
    let batches = cluster.query(sql).collect().await.unwrap();
    assert_eq!(batches[0].num_rows(), 1);
    cluster.close().await;
}

/// PostgreSQL answers these, deep as they are, and so does every layout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_of_what_postgresql_nests_are_answered() {
    const MANY: usize = 5_000;
    let Some(databases) = Databases::get() else {
        return;
    };
    let oracle = databases.oracle();
    let cluster = databases.layout("two").cluster();
    let ors: String = (0..MANY).map(|id| format!(" or id = {id}")).collect();
    let mixed: String = (0..MANY)
        .map(|id| format!(" or id = {id} and not qty > {}", id % 7))
        .collect();
    for sql in [
        format!("select count(*), sum(qty) from sale where id = 1{ors}"),
        format!("select id from sale where qty > 3 and (false{ors}) order by id"),
        format!("select count(*) from sale where id = 1{mixed}"),
        format!(
            "select count(*) from sale where{} id > 10",
            " not".repeat(MANY)
        ),
        format!(
            "select count(*) from sale where{} id > 10",
            " not".repeat(MANY + 1)
        ),
        format!("select{} true", " not".repeat(MANY)),
        format!(
            "select id, qty{} from sale order by id",
            "::int4".repeat(MANY)
        ),
        format!("select sum(qty{}) from sale", "::int4".repeat(MANY)),
        // As deep as its stack lets PostgreSQL go where a cast computes something.
        format!("select sum(qty{}) from sale", "::int8::int4".repeat(500)),
        format!("select '7'{}", "::int4::text".repeat(500)),
    ] {
        let start = &sql[..60];
        let expected = Answer::of(oracle.fan_out(&sql)).await;
        let expected = expected.unwrap_or_else(|error| panic!("{start}: {error}"));
        let found = Answer::of(cluster.query(&sql)).await;
        let found = found.unwrap_or_else(|error| panic!("{start}: {error}"));
        assert_eq!(found.rows, expected.rows, "{start}");
        assert!(!found.rows.is_empty(), "{start}");
    }
    oracle.close().await;
    cluster.close().await;
}

/// Each pair of databases differs in one thing; what does not touch it is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_disagree_are_an_error_that_names_the_thing() {
    let different: &[(&str, &str, &str, &[&str])] = &[
        ("v int4", "v int8", "select sum(v) from t", &["v", "int"]),
        (
            "v numeric(5,2)",
            "v numeric(6,2)",
            "select v from t",
            &["v", "numeric"],
        ),
        (
            "v text collate \"C\"",
            "v text collate \"en-x-icu\"",
            "select v from t order by v",
            &["v", "collation"],
        ),
        ("v text", "w text", "select v from t", &["v"]),
        (
            "v int4, w int4",
            "w int4, v int4",
            "select * from t",
            &["t"],
        ),
        ("v mood_a", "v mood_b", "select max(v) from t", &["v"]),
        (
            "v int4 not null, primary key (k)",
            "v int4 not null",
            "select k, v, count(*) from t group by k",
            &["t"],
        ),
    ];
    for (one, other, sql, parts) in different {
        let Some(urls) = support::shards(2) else {
            return;
        };
        for (number, (url, columns)) in urls.iter().zip([one, other]).enumerate() {
            // The same name for types whose labels are in another order.
            let labels = ["'a', 'b'", "'b', 'a'"][number];
            let columns = columns.replace("mood_a", "mood").replace("mood_b", "mood");
            support::execute(
                url,
                &format!(
                    "create type mood as enum ({labels}); create table t (k int4, {columns}); \
                     create table u (k int4); insert into u values ({number})"
                ),
            );
        }
        let cluster = of(&urls, &["t", "u"], &[]);
        let found = cluster.query(*sql).collect().await;
        let error = found.expect_err(&format!("{one} / {other}"));
        assert!(
            matches!(error.kind(), Unsupported | Server),
            "{one} / {other}: {error:?}"
        );
        for part in *parts {
            assert!(error.to_string().contains(part), "{one} / {other}: {error}");
        }
        let count = cluster.query("select count(*) from u");
        let batches = count.collect().await.unwrap();
        assert_eq!(batches[0].num_rows(), 1, "{one} / {other}");
        cluster.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_and_views_that_differ_are_not_sent_to_shards() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    for (number, url) in urls.iter().enumerate() {
        support::execute(
            url,
            &format!(
                "create table t (k int4 primary key, v int4); insert into t values ({number}, 1);
                 create function f(n int4) returns int4 language sql immutable as 'select n + {number}';
                 create view w as select k, v + {number} as v from t;
                 create table r (id int4, name text); insert into r values (1, 'a')"
            ),
        );
    }
    let cluster = of(&urls, &["t"], &["r"]);
    for (sql, name) in [
        ("select sum(f(v)) from t", "f"),
        ("select k from t where f(v) = 1", "f"),
        ("select v from w", "w"),
    ] {
        let error = refused(cluster.query(sql)).await;
        assert_eq!(error.kind(), Unsupported, "{sql}: {error}");
        assert!(error.message().contains(name), "{sql}: {error}");
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_shard_is_an_error_and_not_the_others_rows() {
    let Some(urls) = support::shards(3) else {
        return;
    };
    for (number, url) in urls.iter().enumerate() {
        // Only the last shard has the row that cannot be divided.
        support::execute(
            url,
            &format!(
                "create table t as select {number} as k, {} as v",
                2 - number
            ),
        );
    }
    let cluster = of(&urls, &["t"], &[]);
    for sql in [
        "select 1 / v from t",
        "select sum(1 / v) from t",
        "select k from t where 1 / v > 0 order by k",
        "select k, count(*) over () from t where 1 / v > 0",
    ] {
        let error = refused(cluster.query(sql)).await;
        assert_eq!(error.sql_state(), Some("22012"), "{sql}: {error}");
        assert_eq!(error.shard(), Some("s2"), "{sql}: {error}");
    }
    cluster.close().await;
}

/// What a query may carry to another server has bounds, which the user can raise, and can be
/// forbidden.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_over_a_bound_or_against_the_topology_are_not_carried_to_another_server() {
    let Some(databases) = Databases::get() else {
        return;
    };
    let layout = databases.layout("three");
    let cluster = layout.cluster();
    let sql = "select id, note, count(*) over () from sale";
    let gathered = || cluster.query(sql).with_merge(MergeMode::Gather);
    for query in [
        cluster.query(sql).with_finish_rows(100),
        gathered().with_finish_rows(100),
        gathered().with_finish_bytes(500),
    ] {
        let error = refused(query).await;
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("finish"), "{error}; hint: {hint}");
    }
    // What carries no rows is within any bound.
    for sql in [
        "select id from sale",
        "select id from sale order by id limit 3",
        "select count(*) from region",
    ] {
        let query = cluster.query(sql).with_finish_rows(0).with_finish_bytes(0);
        query.collect().await.unwrap();
    }
    cluster.close().await;

    let text = layout.topology().to_toml();
    let off = Topology::from_toml(&format!("[finish]\nmode = \"off\"\n\n{text}")).unwrap();
    let cluster = Cluster::new(off).unwrap();
    for sql in [
        sql,
        "select avg(price) from sale",
        "select 1 from sale having max(id) > 0",
    ] {
        let error = refused(cluster.query(sql)).await;
        assert_eq!(error.kind(), Unsupported, "{error}");
        let said = format!("{error}; {}", error.hint().unwrap_or_default());
        assert!(said.contains("finish"), "{said}");
    }
    cluster
        .query("select id from sale")
        .collect()
        .await
        .unwrap();
    cluster.close().await;
}

/// A cluster of these databases, whose sharded tables have the key `k`.
pub(super) fn of(urls: &[String], sharded: &[&str], replicated: &[&str]) -> Cluster {
    let mut builder = Topology::builder();
    for (number, url) in urls.iter().enumerate() {
        builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
    }
    for table in sharded {
        builder = builder.with_table(table, TableKind::sharded("k"));
    }
    for table in replicated {
        builder = builder.with_table(table, TableKind::Replicated);
    }
    Cluster::new(builder.build().unwrap()).unwrap()
}

/// The error of a query that must have one.
async fn refused(query: Query) -> Error {
    let text = format!("{query:?}");
    match query.collect().await {
        Ok(_) => panic!("answered: {text}"),
        Err(error) => error,
    }
}

#[test]
fn replicated_tables_are_those_of_the_schema() {
    let schema = include_str!("../../../testdata/oracle/schema.sql");
    for table in REPLICATED {
        assert!(
            schema.contains(&format!("create table {table} (")),
            "{table}"
        );
    }
}
