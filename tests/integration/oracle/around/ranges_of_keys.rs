//! Which shards are asked for a range of keys, where tables are split by ranges.

use arrow::array::{AsArray, RecordBatch};
use merganser::config::{SessionSettings, Shard, TableKind};
use merganser::{Cluster, ErrorKind, Topology};

use crate::support;

const SHARDS: usize = 4;

/// A table that is split by ranges, and conditions on its key with the shards that are asked.
struct Split {
    key: &'static str,
    /// The number of a shard, of a key `k`.
    rule: &'static str,
    /// A query of all keys.
    keys: &'static str,
    conditions: &'static [(&'static str, &'static [usize])],
}

const ALL: &[usize] = &[0, 1, 2, 3];

const SPLITS: &[Split] = &[
    Split {
        key: "date",
        rule: "width_bucket(k, '{2024-02-01,2024-03-01,2024-04-01}'::date[])",
        keys: "select generate_series(date '2023-12-20', '2024-05-10', '1 day')::date",
        conditions: &[
            ("k = '2024-03-01'", &[2]),
            ("k = date '2024-02-29'", &[1]),
            ("k in ('2024-01-05', '2024-04-05')", &[0, 3]),
            ("k between '2024-02-01' and '2024-02-29'", &[1]),
            ("k >= '2024-02-01' and k < '2024-03-01'", &[1]),
            ("k < '2024-03-01' and k > '2024-01-31'", &[0, 1]),
            ("'2024-04-01' <= k", &[3]),
            ("k between symmetric '2024-04-05' and '2024-03-05'", ALL),
            ("k not between '2024-02-01' and '2024-02-29'", ALL),
            ("not k < '2024-03-01'", ALL),
            ("k <> '2024-03-01'", ALL),
            ("date_trunc('month', k) = '2024-03-01'", &[2]),
            ("date_trunc('MONTH', k) = date '2024-02-01'", &[1]),
            (
                "date_trunc('month', k) in ('2024-01-01', '2024-02-01')",
                &[0, 1],
            ),
            ("date_trunc('month', k) = timestamptz '2024-03-05'", &[2]),
            ("date_trunc('month', k) < '2024-03-01'", &[0, 1]),
            ("date_trunc('month', k) <= '2024-03-01'", &[0, 1, 2]),
            ("date_trunc('month', k) > '2024-03-01'", &[2, 3]),
            (
                "date_trunc('month', k) between '2024-02-01' and '2024-03-01'",
                &[1, 2],
            ),
            ("date_trunc('quarter', k) = '2024-04-01'", &[3]),
            ("date_trunc('week', k) = '2024-01-29'", &[0, 1]),
            ("date_trunc('day', k) = '2024-03-31'", &[2]),
            ("date_trunc('hour', k) = '2024-03-31'", &[2]),
            ("extract(year from k) = 2023", &[0]),
            ("date_part('year', k) >= 2024", ALL),
            ("extract(month from k) = 3", ALL),
            ("k >= timestamp '2024-03-01 12:00'", &[2, 3]),
            ("k < timestamp '2024-03-01 00:00'", &[0, 1]),
            ("k < timestamp '2024-03-01 00:00:01'", &[0, 1, 2]),
            ("k > date '2024-03-01' + 31", &[3]),
            ("k >= date '2024-05-01' - interval '1 month'", &[3]),
            ("k = any ('{2024-03-05,2024-04-05}')", &[2, 3]),
            ("k = null", &[]),
            ("k > null", &[]),
            ("k < '2024-02-01' or k >= '2024-04-01'", &[0, 3]),
            ("k < '2024-02-01' or k is null", ALL),
            (
                "(k < '2024-02-01' or k = '2024-03-07') and k > '2024-01-01'",
                &[0, 2],
            ),
            ("k >= 'infinity'", ALL),
            ("k < '2024-02-01'::text::date", ALL),
            ("k >= current_date - 10", &[3]),
            ("k = current_date", &[3]),
            ("k in (current_date, '2024-01-05')", &[0, 3]),
            ("k > now() - interval '1 day'", &[3]),
            ("date_trunc('month', k) >= date_trunc('month', now())", &[3]),
            ("k < now()", ALL),
        ],
    },
    Split {
        key: "timestamp",
        rule: "CASE WHEN k < '2024-02-01' THEN 0 WHEN k < '2024-03-01' THEN 1 WHEN k < '2024-04-01 12:00' THEN 2 ELSE 3 END",
        keys: "select generate_series(timestamp '2023-12-20', '2024-05-10', '30 minutes')",
        conditions: &[
            ("k = '2024-03-01'", &[2]),
            ("k < '2024-03-01'", &[0, 1]),
            ("k <= '2024-03-01'", &[0, 1, 2]),
            ("k::date = '2024-04-01'", &[2, 3]),
            (
                "cast(k as date) between '2024-02-01' and '2024-02-29'",
                &[1],
            ),
            ("date_trunc('month', k) = '2024-02-01'", &[1]),
            ("date_trunc('hour', k) = '2024-04-01 11:00'", &[2]),
            ("date_trunc('hour', k) = '2024-04-01 12:00'", &[3]),
            ("extract(year from k) = 2023", &[0]),
            ("k >= date '2024-03-01'", &[2, 3]),
            ("k > localtimestamp - interval '7 days'", &[3]),
            ("k > now()", &[3]),
        ],
    },
    Split {
        // What its rule means depends on the time zone.
        key: "timestamptz",
        rule: "width_bucket(k, ARRAY['2024-02-01', '2024-03-01', '2024-04-01']::timestamptz[])",
        keys: "select generate_series(timestamptz '2023-12-20', '2024-05-10', '30 minutes')",
        conditions: &[
            ("k >= '2024-02-01' and k < '2024-03-01'", ALL),
            (
                "k >= '2024-03-01' and k < timestamptz '2024-03-20 00:00+00'",
                ALL,
            ),
            ("date_trunc('month', k) = '2024-03-01'", ALL),
            ("date_trunc('month', k, 'UTC') = '2024-03-01'", ALL),
            ("k::date = '2024-02-29'", ALL),
            ("k >= current_timestamp - interval '1 hour'", ALL),
            ("k > current_date", ALL),
        ],
    },
    Split {
        key: "int",
        rule: "(k - 1) / 100",
        keys: "select generate_series(1, 400)",
        conditions: &[
            ("k < 101", &[0]),
            ("k <= 101", &[0, 1]),
            ("k > 100 and k <= 200", &[1]),
            ("k between 150 and 250", &[1, 2]),
            ("k between 250 and 150", &[]),
            ("k > 100.5", ALL),
            ("k >= 99999999999", &[]),
            ("k > -5000", ALL),
            ("k >= 1000000", &[3]),
            ("k <= 2147483647", ALL),
            ("k < '101'", &[0]),
            ("k + 1 < 101", ALL),
            ("100 >= k", &[0]),
        ],
    },
    Split {
        key: "bigint",
        rule: "width_bucket(k, '{100,200,300}'::int8[])",
        keys: "select generate_series(-50, 400)",
        conditions: &[
            ("k < 100", &[0]),
            ("k >= 300 or k = 5", &[0, 3]),
            ("k < -9223372036854775808", &[]),
        ],
    },
    // Rules that do not ascend, or of which that is not known: equality alone tells of shards.
    Split {
        key: "int",
        rule: "k % 4",
        keys: "select generate_series(0, 99)",
        conditions: &[("k < 2", ALL), ("k = 2", &[2]), ("k between 1 and 1", ALL)],
    },
    Split {
        key: "int",
        rule: "3 - k / 100",
        keys: "select generate_series(0, 399)",
        conditions: &[("k < 100", ALL), ("k = 99", &[3])],
    },
    Split {
        key: "int",
        rule: "CASE WHEN k < 10 THEN 2 WHEN k < 20 THEN 0 ELSE 1 END",
        keys: "select generate_series(0, 99)",
        conditions: &[("k < 10", ALL), ("k = 5", &[2])],
    },
    Split {
        key: "date",
        rule: "extract(month from k)::int % 4",
        keys: "select generate_series(date '2024-01-01', '2024-12-31', '1 day')::date",
        conditions: &[("k < '2024-02-01'", ALL), ("k = '2024-05-05'", &[1])],
    },
    // A key beyond the last range may be anywhere, as that of a negative remainder is somewhere.
    Split {
        key: "date",
        rule: "(k - date '2024-01-01') / 31",
        keys: "select generate_series(date '2024-01-01', '2024-05-03', '1 day')::date",
        conditions: &[
            ("k = '2024-02-05'", &[1]),
            ("k = '2030-01-01'", ALL),
            ("k in ('2024-01-05', '2030-01-01')", ALL),
            ("k >= '2030-01-01'", &[3]),
        ],
    },
    // Rules that mean other shards in another time zone, or that read their literals by it.
    Split {
        key: "date",
        rule: "extract(epoch from date_trunc('day', k))::int8 / 86400 % 4",
        keys: "select generate_series(date '2024-01-01', '2024-05-10', '1 day')::date",
        conditions: &[
            ("k = '2024-02-03'", ALL),
            ("k in ('2024-02-03', null)", ALL),
        ],
    },
    Split {
        key: "date",
        rule: "CASE WHEN k < '2024-02-01'::timestamptz THEN 0 ELSE 1 END",
        keys: "select generate_series(date '2024-01-01', '2024-05-10', '1 day')::date",
        conditions: &[("k < '2024-01-10'", ALL), ("k = '2024-02-01'", ALL)],
    },
    Split {
        key: "timestamp",
        rule: "(extract(epoch from k::timestamptz) / 86400)::int % 4",
        keys: "select generate_series(timestamp '2024-01-01', '2024-02-10', '6 hours')",
        conditions: &[("k = '2024-02-03 12:00'", ALL)],
    },
    Split {
        key: "int",
        rule: "CASE WHEN to_timestamp(k) < '2024-02-01' THEN 0 ELSE 1 END",
        keys: "select generate_series(1706500000, 1707000000, 3600)",
        conditions: &[("k = 1706540800", ALL), ("k < 1706700000", ALL)],
    },
    // Of functions in several schemas the search path decides which is meant.
    Split {
        key: "int",
        rule: "place_of(k)",
        keys: "select generate_series(0, 99)",
        conditions: &[("k = 7", ALL)],
    },
    Split {
        key: "int",
        rule: "public.place_of(k)",
        keys: "select generate_series(0, 99)",
        conditions: &[("k = 7", &[3])],
    },
    Split {
        key: "int",
        rule: "only_place_of(k)",
        keys: "select generate_series(0, 99)",
        conditions: &[("k = 7", &[3])],
    },
];

/// What rules call.
const FUNCTIONS: &str = "
    create function place_of(k int) returns int language sql immutable as 'select k % 4';
    create function only_place_of(k int) returns int language sql immutable as 'select k % 4';
    create schema other;
    create function other.place_of(k int) returns int language sql immutable as 'select 3 - k % 4'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_keys_is_asked_for_where_it_can_be() {
    // Midnight of a Sunday in October, and of one in February, was none, or came twice, in Brazil.
    for (zone, shift) in [
        ("UTC", "0 days"),
        ("Asia/Kolkata", "0 days"),
        ("America/Sao_Paulo", "-6 years"),
        ("America/Havana", "0 days"),
    ] {
        let (Some(whole), Some(urls)) = (support::database(), support::shards(SHARDS)) else {
            return;
        };
        let session = SessionSettings::default().with_timezone(zone);
        let shards = urls.iter().enumerate();
        let shards = shards.map(|(number, url)| Shard::new(&format!("s{number}"), url));
        let mut builder = shards.fold(
            Topology::builder().with_session(session.clone()),
            |builder, shard| builder.with_shard(shard),
        );
        for url in urls.iter().chain([&whole]) {
            support::execute(url, FUNCTIONS);
        }
        for (number, split) in SPLITS.iter().enumerate() {
            let Split {
                key, rule, keys, ..
            } = split;
            // Other days, in which the zone did something.
            let keys = match *key {
                "int" | "bigint" => (*keys).to_owned(),
                _ => format!(
                    "{keys} union all select (k + interval '{shift}')::{key} from ({keys}) moved (k)"
                ),
            };
            let table = format!("t{number}");
            let sql = format!(
                "set timezone = '{zone}'; create table {table} (k {key}); \
                 insert into {table} {keys}; insert into {table} values (null)"
            );
            support::execute(&whole, &sql);
            for (shard, url) in urls.iter().enumerate() {
                // Rows without a key may be anywhere.
                let delete =
                    format!("{sql}; delete from {table} where coalesce({rule}, 1) <> {shard}");
                support::execute(url, &delete);
            }
            let kind = TableKind::Sharded {
                key: "k".to_owned(),
                colocation: None,
                shard_index: Some((*rule).to_owned()),
            };
            builder = builder.with_table(&table, kind);
        }
        let cluster = Cluster::new(builder.build().unwrap()).unwrap();
        let alone = Topology::builder()
            .with_session(session)
            .with_shard(Shard::new("whole", &whole))
            .build()
            .unwrap();
        let alone = Cluster::new(alone).unwrap();
        let mut faults = Vec::new();
        for (number, split) in SPLITS.iter().enumerate() {
            for (condition, asked) in split.conditions {
                let sql = format!(
                    "select count(*)::text, min(k)::text, max(k)::text from t{number} where {condition}"
                );
                let expected = alone.fan_out(&sql).collect().await.unwrap();
                let plan = cluster.query(&sql).plan().await.unwrap().to_string();
                let found = cluster.query(&sql).collect().await.unwrap();
                if texts(&found) != texts(&expected) {
                    faults.push(format!("{zone}: {sql}: {:?}", texts(&found)));
                }
                let first = plan.lines().find(|line| line.starts_with("Step 1"));
                if asked_of(first.unwrap_or_default()) != *asked {
                    faults.push(format!("{zone}: {} {condition}: {first:?}", split.rule));
                }
            }
        }
        cluster.close().await;
        alone.close().await;
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

/// The shards that the first line of a step names.
fn asked_of(line: &str) -> Vec<usize> {
    let names = line.split([' ', ',', ';', ':']);
    let numbers = names.filter_map(|name| name.strip_prefix('s')?.parse().ok());
    numbers.collect()
}

/// The texts of the one row of an answer.
fn texts(batches: &[RecordBatch]) -> Vec<Option<String>> {
    let row = batches.iter().find(|batch| batch.num_rows() > 0);
    let columns = row.map(RecordBatch::columns).unwrap_or_default();
    let texts = columns.iter().map(|column| {
        let texts = column.as_string::<i32>();
        texts.iter().next().flatten().map(str::to_owned)
    });
    texts.collect()
}

/// Through joins by a key of one type, and through derived tables that pass the key on. A date that is joined
/// with a timestamp is gathered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_goes_through_joins_and_derived_tables() {
    let (Some(whole), Some(urls)) = (support::database(), support::shards(SHARDS)) else {
        return;
    };
    let rule = "width_bucket(day, '{2024-02-01,2024-03-01,2024-04-01}'::date[])";
    let sql = "create table sale (day date not null, n int); \
        insert into sale select d::date, extract(day from d)::int \
        from generate_series(date '2024-01-01', '2024-04-30', '1 day') d; \
        create table visit (day timestamp not null, n int); \
        insert into visit select d, extract(hour from d)::int \
        from generate_series(timestamp '2024-01-01', '2024-04-30', '6 hours') d";
    support::execute(&whole, sql);
    let mut builder = Topology::builder();
    for (number, url) in urls.iter().enumerate() {
        let keep = format!(
            "{sql}; delete from sale where {rule} <> {number}; \
             delete from visit where width_bucket(day, '{{2024-02-01,2024-03-01,2024-04-01}}'::timestamp[]) <> {number}"
        );
        support::execute(url, &keep);
        builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
    }
    for (table, rule) in [
        ("sale", rule.to_owned()),
        ("visit", rule.replace("::date[]", "::timestamp[]")),
    ] {
        let kind = TableKind::Sharded {
            key: "day".to_owned(),
            colocation: Some("by month".to_owned()),
            shard_index: Some(rule),
        };
        builder = builder.with_table(table, kind);
    }
    let cluster = Cluster::new(builder.build().unwrap()).unwrap();
    let alone = Topology::builder()
        .with_shard(Shard::new("whole", &whole))
        .build();
    let alone = Cluster::new(alone.unwrap()).unwrap();
    for (sql, asked) in [
        (
            "select count(*)::text from sale a join sale b using (day) where a.day >= '2024-04-01'",
            vec![3],
        ),
        (
            "select count(*)::text from (select day as d, n from sale) x where d < '2024-02-01'",
            vec![0],
        ),
        (
            "with x as (select * from sale) select count(*)::text from x where day between '2024-02-02' and '2024-02-10'",
            vec![1],
        ),
        (
            "select (select count(*) from sale s where s.day = v.day)::text from visit v where v.day = '2024-03-07'",
            vec![2],
        ),
        (
            "select count(*)::text from sale s join visit v on v.day = s.day where v.day >= '2024-04-01'",
            vec![0, 1, 2, 3],
        ),
        (
            "select count(*)::text from sale s join visit v on v.day = s.day where v.day > '2024-03-31 12:00'",
            vec![0, 1, 2, 3],
        ),
        (
            "select count(*)::text from sale s left join visit v on v.day = s.day where s.day >= '2024-04-01'",
            vec![3],
        ),
    ] {
        let expected = alone.fan_out(sql).collect().await.unwrap();
        let plan = cluster.query(sql).plan().await.unwrap().to_string();
        let found = cluster.query(sql).collect().await.unwrap();
        assert_eq!(texts(&found), texts(&expected), "{sql}\n{plan}");
        let first = plan
            .lines()
            .find(|line| line.starts_with("Step 1"))
            .unwrap();
        assert_eq!(asked_of(first), asked, "{sql}\n{plan}");
    }
    cluster.close().await;
    alone.close().await;
}

/// A rule compares and folds keys by the collation of their column, wherever they come from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_has_the_collation_of_its_column() {
    let Some(urls) = support::shards(3) else {
        return;
    };
    let keys = ["é", "Zz", "_a", "aa", "É", "m", "~"];
    let rule = "CASE WHEN k < 'h' THEN 0 WHEN k < 'p' THEN 1 ELSE 2 END";
    // One of them is not that of the database.
    let tables = [("by_bytes", "C"), ("by_language", "en-x-icu")];
    let mut builder = Topology::builder();
    for (number, url) in urls.iter().enumerate() {
        for (table, collation) in tables {
            let values: Vec<_> = keys.iter().map(|key| format!("('{key}')")).collect();
            support::execute(
                url,
                &format!(
                    "create table {table} (k text collate \"{collation}\"); \
                     insert into {table} values {}; delete from {table} where {rule} <> {number}",
                    values.join(", ")
                ),
            );
        }
        builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
    }
    for (table, _) in tables {
        let kind = TableKind::Sharded {
            key: "k".to_owned(),
            colocation: None,
            shard_index: Some(rule.to_owned()),
        };
        builder = builder.with_table(table, kind);
    }
    let cluster = Cluster::new(builder.build().unwrap()).unwrap();
    for (table, _) in tables {
        for key in keys {
            let sql = format!("select k from {table} where k = '{key}'");
            let plan = cluster.query(&sql).plan().await.unwrap().to_string();
            assert!(plan.contains("1 of 3 shards"), "{plan}");
            let found = cluster.query(&sql).collect().await.unwrap();
            assert_eq!(texts(&found), [Some(key.to_owned())], "{plan}");
        }
        let sql = format!("select count(*)::text from {table} where k = any ('{{é,Zz,_a,~}}')");
        let found = cluster.query(&sql).collect().await.unwrap();
        assert_eq!(texts(&found), [Some("4".to_owned())], "{table}");
    }
    cluster.close().await;
}

/// A rule that is none is the topology's fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_gives_no_shard_is_an_error_of_the_topology() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    for url in &urls {
        support::execute(url, "create table t (k int, v int)");
    }
    let shards = urls.iter().enumerate();
    let shards: Vec<_> = shards
        .map(|(number, url)| Shard::new(&format!("s{number}"), url))
        .collect();
    for (rule, why) in [
        ("nope(k)", "function nope(integer) does not exist"),
        ("v % 2", "column \"v\" does not exist"),
        ("k > 3", "cannot cast type boolean to bigint"),
        ("1 / (k - 7)", "division by zero"),
        ("k; select 1", "syntax error"),
        ("(random() * k)::int", "may be another each time"),
        ("extract(hour from now())::int % 2", "depends on the time"),
        ("(select count(*) from t)", "reads tables"),
        ("count(k)", "is of many rows"),
        ("row_number() over (order by k)", "is of many rows"),
    ] {
        let kind = TableKind::Sharded {
            key: "k".to_owned(),
            colocation: None,
            shard_index: Some(rule.to_owned()),
        };
        let builder = shards.iter().fold(Topology::builder(), |builder, shard| {
            builder.with_shard(shard.clone())
        });
        let topology = builder.with_table("t", kind).build().unwrap();
        let cluster = Cluster::new(topology).unwrap();
        let error = cluster.query("select * from t where k = 7").plan().await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{rule}: {error}");
        let message = error.to_string();
        assert!(message.contains(why), "{rule}: {message}");
        assert!(message.contains("shard_index"), "{rule}: {message}");
        cluster.close().await;
    }
    // Comments end where their line does.
    let kind = TableKind::Sharded {
        key: "k".to_owned(),
        colocation: None,
        shard_index: Some("k % 2 -- by number".to_owned()),
    };
    let builder = shards
        .into_iter()
        .fold(Topology::builder(), |builder, shard| {
            builder.with_shard(shard)
        });
    let cluster = Cluster::new(builder.with_table("t", kind).build().unwrap()).unwrap();
    let plan = cluster
        .query("select * from t where k = 7")
        .plan()
        .await
        .unwrap();
    assert_eq!(
        asked_of(
            plan.to_string()
                .lines()
                .find(|line| line.starts_with("Step 1"))
                .unwrap()
        ),
        [1]
    );
    cluster.close().await;
}
