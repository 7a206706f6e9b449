//! What is not answered: errors that say what is wrong, where, and what to do.

use merganser::config::{Shard, TableKind};
use merganser::{Cluster, Error, ErrorKind, Topology};

use super::layout::{Databases, REPLICATED};
use super::planned::{self, Merge};
use crate::support;

/// A statement, the kind of its error, its SQLSTATE if it is PostgreSQL's own, and what message and
/// hint have to say.
struct Bad(
    &'static str,
    ErrorKind,
    Option<&'static str>,
    &'static [&'static str],
    &'static [&'static str],
);

use ErrorKind::{Server, Syntax, Unsupported};

const BAD: &[Bad] = &[
    // PostgreSQL's own errors, with the place in the user's text.
    Bad(
        "select id\nfrom nowhere",
        Server,
        Some("42P01"),
        &["relation \"nowhere\" does not exist", "line 2", "column 6"],
        &[],
    ),
    Bad(
        "select id, pirce from sale",
        Server,
        Some("42703"),
        &["column \"pirce\" does not exist", "line 1", "column 12"],
        &[],
    ),
    Bad(
        "select s.nope from sale s",
        Server,
        Some("42703"),
        &["column s.nope does not exist", "column 8"],
        &[],
    ),
    Bad(
        "select status, count(*) from sale",
        Server,
        Some("42803"),
        &["must appear in the GROUP BY clause"],
        &[],
    ),
    Bad(
        "select id from sale s join item i on s.id = i.sale_id where line = line2",
        Server,
        Some("42703"),
        &["line2"],
        &[],
    ),
    Bad(
        "select frobnicate(id) from sale",
        Server,
        Some("42883"),
        &["function frobnicate(bigint) does not exist"],
        &[],
    ),
    Bad(
        "select id from sale where note = 1",
        Server,
        Some("42883"),
        &["operator does not exist: text = integer"],
        &[],
    ),
    Bad(
        "select count(*) from sale where id = 'x'",
        Server,
        Some("22P02"),
        &["invalid input syntax for type bigint"],
        &[],
    ),
    Bad(
        "select * from sale order by 99",
        Server,
        Some("42P10"),
        &["ORDER BY position 99"],
        &[],
    ),
    Bad(
        "select id from sale union select name from region",
        Server,
        Some("42804"),
        &["UNION types bigint and text cannot be matched"],
        &[],
    ),
    Bad(
        "select sale.id from sale, sale",
        Server,
        Some("42712"),
        &["table name \"sale\" specified more than once"],
        &[],
    ),
    Bad(
        "select id from sale, customer",
        Server,
        Some("42702"),
        &["column reference \"id\" is ambiguous"],
        &[],
    ),
    Bad("selekt 1", Unsupported, None, &["not a query"], &[]),
    Bad(
        "select from where",
        Server,
        Some("42601"),
        &["syntax error"],
        &[],
    ),
    Bad(
        "select id from sale where",
        Server,
        Some("42601"),
        &["syntax error"],
        &[],
    ),
    // The text itself.
    Bad("", Syntax, None, &["no statement"], &[]),
    Bad("-- nothing", Syntax, None, &["no statement"], &[]),
    Bad(
        "select 1; select 2",
        Syntax,
        None,
        &["more than one statement"],
        &["one SELECT"],
    ),
    Bad("select 'a", Syntax, None, &["end"], &[]),
    // Statements that change something.
    Bad(
        "delete from sale",
        Unsupported,
        None,
        &["not a query", "delete"],
        &["SELECT"],
    ),
    Bad(
        "update sale set qty = 1",
        Unsupported,
        None,
        &["not a query"],
        &["SELECT"],
    ),
    Bad(
        "insert into sale (id, day) values (1, now())",
        Unsupported,
        None,
        &["not a query"],
        &["SELECT"],
    ),
    Bad(
        "create table t (a int)",
        Unsupported,
        None,
        &["not a query"],
        &["SELECT"],
    ),
    Bad(
        "drop table sale",
        Unsupported,
        None,
        &["not a query"],
        &["SELECT"],
    ),
    Bad(
        "truncate sale",
        Unsupported,
        None,
        &["not a query"],
        &["SELECT"],
    ),
    Bad(
        "copy sale to stdout",
        Unsupported,
        None,
        &["not a query"],
        &["SELECT"],
    ),
    Bad(
        "explain select 1",
        Unsupported,
        None,
        &["not a query"],
        &["SELECT"],
    ),
    Bad("begin", Unsupported, None, &["not a query"], &["SELECT"]),
    Bad(
        "set timezone = 'UTC'",
        Unsupported,
        None,
        &["not a query"],
        &["SELECT"],
    ),
    Bad("vacuum", Unsupported, None, &["not a query"], &["SELECT"]),
    Bad(
        "call noisy(1)",
        Unsupported,
        None,
        &["not a query"],
        &["SELECT"],
    ),
    Bad(
        "select * into t from sale",
        Unsupported,
        None,
        &["INTO"],
        &[],
    ),
    Bad(
        "with d as (delete from sale returning id) select count(*) from d",
        Unsupported,
        None,
        &["delete"],
        &[],
    ),
    Bad(
        "with i as (insert into ledger values (9, 9) returning id) select * from i",
        Unsupported,
        None,
        &["insert"],
        &[],
    ),
    Bad(
        "with u as (update sale set qty = 0 returning id) select count(*) from u",
        Unsupported,
        None,
        &["update"],
        &[],
    ),
    // Rows are read, not locked.
    Bad(
        "select id from sale for update",
        Unsupported,
        None,
        &["FOR UPDATE"],
        &[],
    ),
    Bad(
        "select id from sale where id < 3 for share",
        Unsupported,
        None,
        &["FOR SHARE"],
        &[],
    ),
    Bad(
        "select id from region for update",
        Unsupported,
        None,
        &["FOR UPDATE"],
        &[],
    ),
    // Relations that the topology does not name.
    Bad(
        "select * from ledger",
        Unsupported,
        None,
        &["ledger", "topology"],
        &["inspect"],
    ),
    Bad(
        "select count(*) from sale s join ledger l on l.id = s.qty",
        Unsupported,
        None,
        &["ledger", "topology"],
        &["inspect"],
    ),
    Bad(
        "select (select max(amount) from ledger)",
        Unsupported,
        None,
        &["ledger", "topology"],
        &["inspect"],
    ),
    Bad(
        "select id from sale where exists (select from public.ledger)",
        Unsupported,
        None,
        &["ledger", "topology"],
        &["inspect"],
    ),
    Bad(
        "select * from sale_days",
        Unsupported,
        None,
        &["sale_days"],
        &[],
    ),
    Bad(
        "select last_value from ticket",
        Unsupported,
        None,
        &["ticket"],
        &[],
    ),
    // What differs from server to server by nature.
    Bad(
        "select count(*) from pg_class",
        Unsupported,
        None,
        &["pg_class"],
        &["fan-out"],
    ),
    Bad(
        "select count(*) from pg_catalog.pg_stat_activity",
        Unsupported,
        None,
        &["pg_stat_activity"],
        &["fan-out"],
    ),
    Bad(
        "select table_name from information_schema.tables",
        Unsupported,
        None,
        &["tables"],
        &["fan-out"],
    ),
    Bad("select ctid from sale", Unsupported, None, &["ctid"], &[]),
    Bad(
        "select s.xmin, count(*) from sale s group by 1",
        Unsupported,
        None,
        &["xmin"],
        &[],
    ),
    Bad(
        "select id from sale order by ctid",
        Unsupported,
        None,
        &["ctid"],
        &[],
    ),
    Bad(
        "select tableoid from sale",
        Unsupported,
        None,
        &["tableoid"],
        &[],
    ),
    Bad(
        "select count(*) from sale where ctid = '(0,1)'",
        Unsupported,
        None,
        &["ctid"],
        &[],
    ),
    Bad(
        "select count(*) from sale tablesample bernoulli (50)",
        Unsupported,
        None,
        &["TABLESAMPLE"],
        &[],
    ),
    Bad(
        "select count(*) from region tablesample system (50) repeatable (1), sale",
        Unsupported,
        None,
        &["TABLESAMPLE"],
        &[],
    ),
    // Functions that may see one shard only, or give another value on each.
    Bad(
        "select sale_count()",
        Unsupported,
        None,
        &["sale_count"],
        &[],
    ),
    Bad(
        "select id from sale where id < sale_count()",
        Unsupported,
        None,
        &["sale_count"],
        &[],
    ),
    Bad(
        "select sum(noisy(qty)) from sale",
        Unsupported,
        None,
        &["noisy"],
        &[],
    ),
    Bad(
        "select nextval('ticket')",
        Unsupported,
        None,
        &["nextval"],
        &[],
    ),
    Bad(
        "select id, nextval('ticket') from sale",
        Unsupported,
        None,
        &["nextval"],
        &[],
    ),
    Bad(
        Unsupported,
        None,
        &["random"],
        &[],
    ),
    Bad(
        Unsupported,
        None,
        &[],
    ),
    Bad(
        "select pg_backend_pid(), id from sale",
        Unsupported,
        None,
        &["pg_backend_pid"],
        &[],
    ),
    Bad(
        "select txid_current()",
        Unsupported,
        None,
        &["txid_current"],
        &[],
    ),
    Bad(
        "select pg_relation_size('sale')",
        Unsupported,
        None,
        &["pg_relation_size"],
        &[],
    ),
    Bad(
        "select set_config('timezone', 'UTC', false) from sale",
        Unsupported,
        None,
        &["set_config"],
        &[],
    ),
    Bad(
        "select query_to_xml('select count(*) from sale', true, true, '')",
        Unsupported,
        None,
        &["query_to_xml"],
        &[],
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_an_error_that_says_why_and_what_to_do() {
    let Some(databases) = Databases::get() else {
        return;
    };
    let cluster = databases.layout("three").cluster();
    let mut failures = Vec::new();
    for Bad(sql, kind, state, message, hint) in BAD {
        let Some(error) = error_of(&cluster, sql).await else {
            return;
        };
        let wrong = match error {
            Err(answer) => Some(answer),
            Ok(error) => {
                let text = error.to_string().to_lowercase();
                let cure = error.hint().unwrap_or_default().to_lowercase();
                let missing = message
                    .iter()
                    .find(|part| !text.contains(&part.to_lowercase()))
                    .or_else(|| {
                        hint.iter()
                            .find(|part| !cure.contains(&part.to_lowercase()))
                    });
                let right = error.kind() == *kind
                    && error.sql_state() == *state
                    && missing.is_none()
                    // Whoever is refused is told a way out.
                    && (*kind != Unsupported || error.hint().is_some());
                (!right).then(|| {
                    format!(
                        "{:?}: {error}; hint: {:?} (expected {kind:?} {state:?}, missing {missing:?})",
                        error.kind(),
                        error.hint()
                    )
                })
            }
        };
        failures.extend(wrong.map(|wrong| format!("{sql}\n    {wrong}")));
    }
    cluster.close().await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
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
            let Some(query) = planned::query(&cluster, &sql, Merge::Auto) else {
                return;
            };
            if let Err(error) = query.collect().await {
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
    if let Some(query) = planned::query(&cluster, &sql, Merge::Auto) {
        assert_eq!(query.collect().await.unwrap()[0].num_rows(), 1);
    }
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
        let cluster = two(&urls, &["t", "u"], &[]);
        let Some(found) = error_of(&cluster, sql).await else {
            return;
        };
        let error = found.unwrap_or_else(|answer| panic!("{one} / {other}: {answer}"));
        assert!(
            matches!(error.kind(), Unsupported | Server),
            "{one} / {other}: {error:?}"
        );
        for part in *parts {
            assert!(error.to_string().contains(part), "{one} / {other}: {error}");
        }
        let count = planned::query(&cluster, "select count(*) from u", Merge::Auto).unwrap();
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
    let cluster = two(&urls, &["t"], &["r"]);
    for (sql, name) in [
        ("select sum(f(v)) from t", "f"),
        ("select k from t where f(v) = 1", "f"),
        ("select v from w", "w"),
    ] {
        let Some(found) = error_of(&cluster, sql).await else {
            return;
        };
        let error = found.expect_err_or(sql);
        assert_eq!(error.kind(), Unsupported, "{sql}: {error}");
        assert!(error.message().contains(name), "{sql}: {error}");
    }
    cluster.close().await;
}

/// With row security, a shard shows the rows of the role, not of the table: as PostgreSQL does.
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
    let cluster = two(&urls, &["t"], &[]);
    for sql in [
        "select 1 / v from t",
        "select sum(1 / v) from t",
        "select k from t where 1 / v > 0 order by k",
        "select k, count(*) over () from t where 1 / v > 0",
    ] {
        let Some(found) = error_of(&cluster, sql).await else {
            return;
        };
        let error = found.expect_err_or(sql);
        assert_eq!(error.sql_state(), Some("22012"), "{sql}: {error}");
        assert_eq!(error.shard(), Some("s2"), "{sql}: {error}");
    }
    cluster.close().await;
}

fn two(urls: &[String], sharded: &[&str], replicated: &[&str]) -> Cluster {
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

/// The error, or `Err` with what was answered instead; `None` where planned queries are not built
/// in.
async fn error_of(cluster: &Cluster, sql: &str) -> Option<Result<Error, String>> {
    let query = planned::query(cluster, sql, Merge::Auto)?;
    Some(match query.collect().await {
        Ok(batches) => {
            let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
            Err(format!("answered, with {rows} rows"))
        }
        Err(error) => Ok(error),
    })
}

trait ExpectErrOr {
    /// The error; fails with the statement that was answered.
    fn expect_err_or(self, sql: &str) -> Error;
}

impl ExpectErrOr for Result<Error, String> {
    fn expect_err_or(self, sql: &str) -> Error {
        self.unwrap_or_else(|answer| panic!("{sql}: {answer}"))
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
