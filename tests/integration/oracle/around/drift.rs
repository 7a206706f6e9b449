//! Tables whose columns are not the same on all shards, as while a migration goes from one to the next:
//! what sees the difference is refused, and all else is answered as the one database answers it before
//! the migration and after it.

use merganser::config::{Shard, TableKind};
use merganser::{Cluster, Error, ErrorKind, MergeMode, Topology};

use super::super::compare::{Answer, is_refusal};
use super::super::planned::{self, Running};
use super::{as_role, roles};
use crate::support;

const SCHEMA: &str = "
    create type mood as enum ('sad', 'ok', 'happy');
    create table t (k int primary key, v int, s text, e mood, n numeric(8,2));
    insert into t select i, i % 5, 's' || i % 7, (enum_range(null::mood))[1 + i % 3], i * 1.25
        from generate_series(1, 40) i;
    create table r (like t including all);
    insert into r select * from t where k % 4 = 0;
    create table u (k int primary key, w int, x int);
    insert into u select i, i % 6, i % 4 from generate_series(3, 50) i;
    create table q (id int primary key, w int);
    insert into q select i, i % 3 from generate_series(1, 12) i;
    create view v_t as select k from t where k > 7;
    create view v_r as select k from r where k > 7;
";

fn schema() -> String {
    roles(READER) + SCHEMA
}

/// What one shard has done and the other has not.
struct Migration {
    name: &'static str,
    /// Of the table `{t}`.
    sql: &'static str,
    /// The columns that differ then.
    columns: &'static [&'static str],
    /// Whether the list of columns differs.
    list: bool,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "add",
        sql: "alter table {t} add column w int default 2",
        columns: &["w"],
        list: true,
    },
    Migration {
        name: "drop",
        sql: "alter table {t} drop column s",
        columns: &["s"],
        list: true,
    },
    Migration {
        name: "rename",
        sql: "alter table {t} rename column s to x",
        columns: &["s", "x"],
        list: true,
    },
    Migration {
        name: "order",
        sql: "alter table {t} rename column v to old; alter table {t} add column v int; \
              update {t} set v = old; alter table {t} drop column old",
        columns: &[],
        list: true,
    },
    Migration {
        name: "type",
        sql: "alter table {t} alter column v type bigint",
        columns: &["v"],
        list: false,
    },
    Migration {
        name: "modifier",
        sql: "alter table {t} alter column n type numeric(10,4)",
        columns: &["n"],
        list: false,
    },
    Migration {
        name: "collation",
        sql: "alter table {t} alter column s type text collate \"C\"",
        columns: &["s"],
        list: false,
    },
    Migration {
        name: "label",
        sql: "alter type mood add value if not exists 'fine' before 'ok'",
        columns: &["e"],
        list: false,
    },
];

/// Whatever differs is seen.
const ROW: &str = "row";
/// Which columns there are is seen, and their order.
const LIST: &str = "list";

/// Statements of the table `{t}`, and what they see of it beside its key: columns by name, also those
/// that a name could be, `LIST` or `ROW`.
const STATEMENTS: &[(&str, &[&str])] = &[
    ("select count(*) from {t}", &[]),
    ("select k from {t}", &[]),
    ("select public.{t}.k from public.{t}", &[]),
    ("select k, v from {t} where v > 3", &["v"]),
    ("select sum(v), count(s) from {t}", &["v", "s"]),
    ("select sum(n) from {t}", &["n"]),
    ("select max(s), min(k) from {t}", &["s"]),
    ("select string_agg(s, ',' order by k) from {t}", &["s"]),
    ("select e, count(*) from {t} group by e", &["e"]),
    ("select k, v from {t} group by k", &["v"]),
    ("select k from {t} where k in (1, 2, 30)", &[]),
    ("select k from {t} order by k desc limit 3", &[]),
    ("select count(distinct k % 3) from {t}", &[]),
    ("select k % 3, count(*), sum(k) from {t} group by 1", &[]),
    ("select k, row_number() over (order by k) from {t}", &[]),
    (
        "select k, row_number() over (order by w, k) from {t}",
        &["w"],
    ),
    (
        "select k, count(*) over p from {t} window p as (partition by x)",
        &["x"],
    ),
    ("select count(w) from {t}", &["w"]),
    // All columns.
    ("select * from {t}", &[ROW]),
    ("select a.* from {t} a", &[ROW]),
    ("select k, a.* from {t} a", &[ROW]),
    ("table {t}", &[ROW]),
    ("select count(*) from (select * from {t}) z", &[ROW]),
    ("select count(*) from (table {t}) z", &[ROW]),
    ("select * from {t} union all select * from {t}", &[ROW]),
    ("select * from {t} join u using (k)", &[ROW]),
    ("select u.* from {t} join u using (k)", &[]),
    ("select * from {t} natural join u", &[ROW]),
    ("select * from (select k from {t}) z", &[]),
    ("select z.k from ({t} join u using (k)) z", &[ROW]),
    ("with c as (select * from {t}) select k from c", &[ROW]),
    (
        "select k from u where (k, x) in (select * from {t})",
        &[ROW],
    ),
    // Rows.
    ("select a from {t} a", &[ROW]),
    ("select {t} from {t}", &[ROW]),
    ("select a::text from {t} a", &[ROW]),
    ("select count(a) from {t} a", &[ROW]),
    ("select count(a.*) from {t} a", &[ROW]),
    ("select row(a.*) from {t} a", &[ROW]),
    ("select to_json(a) from {t} a", &[ROW]),
    ("select row_to_json(a.*) from {t} a", &[ROW]),
    ("select (a).k from {t} a", &[ROW]),
    ("select (a).* from {t} a", &[ROW]),
    ("select k(a) from {t} a", &[ROW]),
    ("select w(a) from {t} a", &[ROW]),
    ("select k from {t} a where a = a", &[ROW]),
    ("select k from {t} a where a is not null", &[ROW]),
    ("select k from {t} a order by a", &[ROW]),
    ("select array_agg(a) from {t} a", &[ROW]),
    ("select k, (select a) from {t} a", &[ROW]),
    (
        "select k from u where exists (select from {t} a where a is not null)",
        &[ROW],
    ),
    ("select null::{t} is null from u", &[ROW]),
    (
        "select (json_populate_record(null::{t}, '{\"k\": 1}')).k from u",
        &[ROW],
    ),
    // Places in a list.
    ("select a from {t} z(a)", &[LIST]),
    ("select a, b from {t} z(a, b)", &[LIST, "v"]),
    ("select a, c from {t} as z(a, b, c)", &[LIST, "s"]),
    // Common columns.
    ("select count(*) from {t} natural join u", &["w", "x"]),
    (
        "select k from {t} natural join (select k, v from {t}) z",
        &["v"],
    ),
    ("select count(*) from u natural left join {t}", &["w", "x"]),
    ("select k from {t} join u using (k)", &[]),
    ("select k from u left join {t} using (k)", &[]),
    ("select k, u.x from {t} full join u using (k)", &[]),
    ("select count(*) from {t} join u using (k, w)", &["w"]),
    (
        "select count(*) from {t} join u using (k) join q using (w)",
        &["w"],
    ),
    (
        "select k from u join {t} using (k) join (select k, 1 as w from q, u where id = k) z using (k)",
        &[],
    ),
    // Names that another table has.
    ("select w from {t}, u where {t}.k = u.k", &["w"]),
    ("select u.w from {t}, u where {t}.k = u.k", &[]),
    ("select x from {t} join u on {t}.k = u.k", &["x"]),
    (
        "select {t}.k from {t} join u on {t}.k = u.k and w > 1",
        &["w"],
    ),
    (
        "select count(*) from {t} a, u join (select id from q) z on u.k = z.id and w > 1",
        &[],
    ),
    (
        "select k from u where exists (select 1 from {t} where {t}.k = u.k and w > 2)",
        &["w"],
    ),
    (
        "select k from u where exists (select 1 from {t} where {t}.k = u.k and u.w > 2)",
        &[],
    ),
    ("select k from u where w in (select w from {t})", &["w"]),
    (
        "select k from u where exists (select w from {t} where {t}.k = u.k)",
        &["w"],
    ),
    (
        "select k from u where exists (select w + 1 from {t} where {t}.k = u.k)",
        &["w"],
    ),
    (
        "select k from u where exists (select * from {t} where {t}.k = u.k)",
        &[],
    ),
    (
        "select k from u where not exists (select from {t} where {t}.k = u.k)",
        &[],
    ),
    ("select k from u where k in (select k from {t})", &[]),
    ("select (select w from u where u.k = a.k) from {t} a", &[]),
    (
        "select (select max(w) from (select 1) z) from {t} a",
        &["w"],
    ),
    (
        "select id, z.c from q, lateral (select w as c from {t} a where a.k = q.id) z",
        &["w"],
    ),
    (
        "select a.k, z.c from {t} a, lateral (select w as c from q where q.id = a.k) z",
        &[],
    ),
    (
        "select a.k, z.c from {t} a, lateral (select count(*) as c from u where u.k = a.k) z",
        &[],
    ),
    ("select a.k, g from {t} a, generate_series(1, w) g", &["w"]),
    ("select w from q as w, {t} where w.id = {t}.k", &["w"]),
    ("select x.w from q as x, {t} where x.id = {t}.k", &[]),
    // Names of the output.
    ("select k % 3 as w, count(*) from {t} group by w", &["w"]),
    ("select k % 3 as z, count(*) from {t} group by z", &[]),
    (
        "select k % 3 as w, count(*) from {t} group by rollup (w)",
        &["w"],
    ),
    ("select k as w from {t} order by w", &[]),
    ("select k as w from {t} order by w + 1", &["w"]),
    (
        "select distinct on (w) k % 3 as w, k from {t} order by w, k",
        &[],
    ),
    ("select k from {t} union select w from u", &[]),
    (
        "select k as w from {t} union select k from u order by w",
        &[],
    ),
    // Queries with a name.
    ("with c as (select k from {t}) select count(*) from c", &[]),
    ("with c as (select w from {t}) select k from u", &["w"]),
    (
        "with c as (select w from {t}), d as (select w from c) select k from u",
        &["w"],
    ),
    ("with c as (select k from {t}) select k from u", &[]),
    (
        "with recursive c as (select k from {t} where k = 8 union all select k + 1 from c where k < 11) \
         select * from c",
        &[],
    ),
    ("select k from v_{t}", &[]),
    ("select * from v_{t}", &[]),
    ("select z::text from v_{t} z", &[]),
];

/// A database before the migration, one after it, and a shard of either kind.
struct Half {
    before: Cluster,
    after: Cluster,
    shards: Cluster,
}

impl Half {
    /// `schema` everywhere, `migration` where it was made, and then `late` everywhere.
    fn new(schema: &str, migration: &str, late: &str) -> Option<Self> {
        let before = support::database()?;
        let after = support::database()?;
        let shards = support::shards(2)?;
        for url in [&before, &after].into_iter().chain(&shards) {
            support::execute(url, schema);
        }
        for (number, url) in shards.iter().enumerate() {
            for table in ["t", "u"] {
                support::execute(url, &format!("delete from {table} where k % 2 <> {number}"));
            }
        }
        for url in [&after, &shards[1]] {
            support::execute(url, migration);
        }
        for url in [&before, &after].into_iter().chain(&shards) {
            support::execute(url, late);
        }
        Some(Self {
            before: cluster(&[before], &[]),
            after: cluster(&[after], &[]),
            shards: cluster(&shards, TABLES),
        })
    }

    /// Whether a statement that sees the difference is an error, and any other is answered as before the
    /// migration and after it.
    async fn check(&self, sql: &str, merge: MergeMode, is_seen: bool) -> Result<(), String> {
        let running = Running::nth(sql.len());
        let found = Answer::of(running.of(planned::query(&self.shards, sql, merge))).await;
        if is_seen {
            return match found {
                Err(error) if is_told(&error) => Ok(()),
                Err(error) => Err(format!("{running:?}: refused for another reason: {error}")),
                Ok(answer) => Err(format!(
                    "{running:?}: answered by {} rows",
                    answer.rows.len()
                )),
            };
        }
        let found = outcome(found);
        for (database, when) in [(&self.before, "before"), (&self.after, "after")] {
            let expected = outcome(Answer::of(database.fan_out(sql)).await);
            if found != expected {
                return Err(format!(
                    "{running:?}, {when}: {expected:?}, found {found:?}"
                ));
            }
        }
        Ok(())
    }

    async fn close(self) {
        self.before.close().await;
        self.after.close().await;
        self.shards.close().await;
    }
}

/// The tables of the topology, and the keys of those that are sharded.
const TABLES: &[(&str, Option<&str>)] = &[
    ("t", Some("k")),
    ("u", Some("k")),
    ("r", None),
    ("q", None),
    ("declared", None),
    ("declared_rows", None),
    ("h", None),
];

/// As a role to which policies apply.
fn cluster(urls: &[String], tables: &[(&str, Option<&str>)]) -> Cluster {
    let mut builder = Topology::builder();
    for (number, url) in urls.iter().enumerate() {
        builder = builder.with_shard(Shard::new(&format!("s{number}"), &as_role(url, READER)));
    }
    for (table, key) in tables {
        let kind = key.map_or(TableKind::Replicated, TableKind::sharded);
        builder = builder.with_table(table, kind);
    }
    Cluster::new(builder.build().unwrap()).unwrap()
}

const READER: &str = "drift_reader";

const GRANT: &str = "grant usage on schema public to drift_reader; \
                     grant select on all tables in schema public to drift_reader";

/// A refusal that names table, shard and cure; or the error of a shard by whose columns the statement is
/// wrong.
fn is_told(error: &Error) -> bool {
    let message = error.message();
    let names_shard = message.contains(" s0") || message.contains(" s1");
    let is_refusal = is_refusal(error, "public.") && names_shard && error.hint().is_some();
    let code = error.sql_state().unwrap_or_default();
    is_refusal || error.kind() == ErrorKind::Server && code.starts_with("42")
}

/// The rows, or the code of PostgreSQL's error.
fn outcome(answer: Result<Answer, Error>) -> Result<Vec<String>, String> {
    let answer = answer.map_err(|error| match error.sql_state() {
        Some(code) => code.to_owned(),
        None => error.to_string(),
    })?;
    let mut rows: Vec<String> = answer.rows.iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    Ok(rows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_sees_a_difference_of_columns_is_refused() {
    let mut wrong = Vec::new();
    for migration in MIGRATIONS {
        let of = |table: &str| migration.sql.replace("{t}", table);
        let Some(half) = Half::new(&schema(), &format!("{}; {}", of("t"), of("r")), GRANT) else {
            return;
        };
        let sees = |seen: &&str| match *seen {
            ROW => true,
            LIST => migration.list,
            column => migration.columns.contains(&column),
        };
        for (table, merge) in [
            ("t", MergeMode::Auto),
            ("r", MergeMode::Auto),
            ("t", MergeMode::Gather),
        ] {
            for (sql, seen) in STATEMENTS {
                let sql = sql.replace("{t}", table);
                let is_seen = seen.iter().any(&sees);
                // What is seen does not depend on how a statement is planned.
                if merge == MergeMode::Gather && (is_seen || !migration.list) {
                    continue;
                }
                if let Err(what) = half.check(&sql, merge, is_seen).await {
                    wrong.push(format!("{}, {merge:?}: {sql}: {what}", migration.name));
                }
            }
        }
        half.close().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const ADD: &str = "alter table t add column w int; alter table r add column w int";
const ALTER: &str =
    "alter table t alter column v type bigint; alter table r alter column v type bigint";

/// What is made of tables: SQL before the migration, the migration, SQL after it; and statements, each
/// with whether it sees the difference.
type Made = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, bool)],
);

const MADE: &[Made] = &[
    // A shard key says where rows are.
    (
        "",
        "drop view v_t, v_r; alter table t alter column k type bigint; alter table r alter column k type bigint",
        "",
        &[
            ("select count(*) from t", true),
            ("select v from t", true),
            ("select count(*), sum(v) from r", false),
            ("select k from r", true),
        ],
    ),
    // Views of one text over columns that differ.
    (
        "",
        ALTER,
        "create view w_t as select k, v from t; create view w_r as select k, v + 1 as v1 from r; \
         create view z_t as select k, s from t where n > 3",
        &[
            ("select k from w_t", true),
            ("select k from w_r", true),
            ("select k, s from z_t", false),
            ("select * from z_t", false),
        ],
    ),
    // A view that stays one has its rows from where it is.
    (
        "create view declared as select k, s from r; create view declared_rows as select k, r::text as c from r",
        ADD,
        "",
        &[
            ("select k, s from declared", false),
            ("select count(*) from declared_rows", true),
        ],
    ),
    // Rows are a type, which functions and columns may have.
    (
        "create function of_row(t) returns int language sql immutable as 'select ($1).k';
         create function row_of(n int) returns t language sql immutable as $$select n, 1, 'a', 'ok'::mood, 2.0$$;
         create function declares(n int) returns int language plpgsql immutable as 'declare x t; begin x.k := n; return x.k; end';
         create function adds(n int) returns int language plpgsql immutable as 'begin return n + 1; end';
         create table h (k int primary key, x r, xs r[]);
         insert into h select 1, r from r limit 1",
        "alter table r add column w int; alter table t alter column n type numeric(10,4)",
        "",
        &[
            ("select of_row(null), k from u", true),
            ("select declares(k) from u", true),
            ("select adds(k) from u", false),
            ("select g.k from row_of(1) g", true),
            ("select (row(1, 2, 'a', 'ok', 3.0)::t).k from u", true),
            ("select '{}'::r[] is null from u", true),
            ("select k from h", false),
            ("select x from h", true),
            ("select xs from h", true),
        ],
    ),
    // Policies name columns of their own.
    (
        "alter table r enable row level security; create policy p on r using (k > 8)",
        ADD,
        "",
        &[
            ("select count(*) from r", true),
            ("select count(*), sum(v) from t", false),
        ],
    ),
    // What inherits has the columns of its table.
    (
        "create table heir (own text) inherits (r); insert into heir (k, v) values (100, 2)",
        ADD,
        "",
        &[
            ("select count(*), sum(v) from r", false),
            ("select w from r", true),
            ("select * from r", true),
        ],
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_of_a_table_that_differs_is_answered_or_refused() {
    let mut wrong = Vec::new();
    for (early, migration, late, statements) in MADE {
        let early = format!("{}{early}", schema());
        let Some(half) = Half::new(&early, migration, &format!("{late}; {GRANT}")) else {
            return;
        };
        for (sql, is_seen) in *statements {
            if let Err(what) = half.check(sql, MergeMode::Auto, *is_seen).await {
                wrong.push(format!("{sql}: {what}"));
            }
        }
        half.close().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What PostgreSQL does not find on the shard that was asked, another may have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_and_tables_tell_of_columns_that_differ() {
    let Some(half) = Half::new(&schema(), ADD, GRANT) else {
        return;
    };
    let cluster = &half.shards;
    // Either shard is asked first.
    for _ in 0..2 {
        let error = cluster.query("select w from r").plan().await.unwrap_err();
        let told = format!("{error} {}", error.hint().unwrap_or_default());
        assert!(
            told.contains("public.r: column w is missing on s0"),
            "{told}"
        );
    }
    let error = cluster.query("select * from r").plan().await.unwrap_err();
    let list = "list of columns differs: k, v, s, e, n on s0; k, v, s, e, n, w on s1";
    assert!(error.message().contains(list), "{error}");
    assert!(
        error.hint().unwrap().contains("name the columns"),
        "{error:?}"
    );
    half.close().await;
}
