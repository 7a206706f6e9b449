//! Every way in which PostgreSQL can call a function, with functions that may not be called: the
//! answer is that of one database, or a refusal.

use super::case::{self, Case};
use super::cases::{Databases, File, Outcome, check};
use super::compare;
use super::planned::Running;
use crate::support;

/// A sharded and a replicated table.
const TABLES: &str = "
    create table t (k int primary key, v int, note text);
    insert into t select n, n % 7, 'n' || n from generate_series(1, 60) n;
    create table r (id int primary key, name text);
    insert into r select n, 'r' || n from generate_series(1, 5) n;
";

/// Functions of an integer that read what one shard has a part of, or tell of the server; and one
/// that does neither.
const FUNCTIONS: &[(&str, &str)] = &[
    (
        "pure",
        "create function f(n int) returns int language sql immutable as 'select n * 2'",
    ),
    (
        "pure",
        "create function f(n int) returns int language plpgsql immutable as \
        'declare t int := n; begin if t in (1, 2) then return extract(year from date ''2000-01-01'')::int; end if; return t + n; end'",
    ),
    (
        "stable sql",
        "create function f(n int) returns int language sql stable as 'select count(*)::int + n from t'",
    ),
    (
        "volatile plpgsql",
        "create function f(n int) returns int language plpgsql as 'begin return (select count(*) + n from t); end'",
    ),
    (
        "immutable sql",
        "create function f(n int) returns int language sql immutable as 'select count(*)::int + n from t'",
    ),
    (
        "immutable plpgsql",
        "create function f(n int) returns int language plpgsql immutable as \
        'declare c int; begin select count(*) into c from public.t; return c + n; end'",
    ),
    (
        "quoted name",
        "create function f(n int) returns int language sql immutable as 'select count(*)::int + n from public.\"t\"'",
    ),
    (
        "list",
        "create function f(n int) returns int language sql immutable as 'select count(*)::int + n from r, t'",
    ),
    (
        "table",
        "create function f(n int) returns int language sql immutable as 'select count(*)::int + n from (table t) x'",
    ),
    (
        "standard body",
        "create function f(n int) returns int language sql immutable return (select count(*) from t)::int + n",
    ),
    (
        "dynamic",
        "create function f(n int) returns int language plpgsql immutable as \
        'declare c int; begin execute ''select count(*) from '' || chr(116) into c; return c + n; end'",
    ),
    (
        "by another",
        "create function g() returns int language sql stable as 'select count(*)::int from t'; \
        create function f(n int) returns int language sql immutable as 'select g() + n'",
    ),
    (
        "by another of another",
        "create function h(n int) returns int language plpgsql immutable as 'begin return (select count(*) + n from t); end'; \
        create function g(n int) returns int language sql immutable as 'select h(n)'; \
        create function f(n int) returns int language sql immutable as 'select g(n) + 1'",
    ),
    (
        "default",
        "create function g() returns int language sql immutable as 'select count(*)::int from t'; \
        create function f(n int, m int default g()) returns int language sql immutable as 'select n + m'",
    ),
    (
        "by an operator",
        "create function g(a int, b int) returns int language sql stable as 'select count(*)::int + a + b from t'; \
        create operator <+> (leftarg = int, rightarg = int, function = g); \
        create function f(n int) returns int language sql immutable as 'select n <+> 1'",
    ),
    (
        "by an attribute",
        "create function g(t) returns int language sql stable as 'select count(*)::int from t'; \
        create function f(n int) returns int language plpgsql immutable as 'declare x t; begin return x.g + n; end'",
    ),
    (
        "by a query's text",
        "create function f(n int) returns int language sql immutable as \
        $$select n + cardinality(xpath('//k', query_to_xml('select k from t', false, false, '')))$$",
    ),
    (
        "by a domain",
        "create function g(n int) returns bool language sql stable as 'select count(*) > 30 from t'; \
        create domain d as int check (g(value)); \
        create function f(n int) returns int language plpgsql immutable as 'declare x d; begin x := n; return x; exception when others then return -1; end'",
    ),
    (
        "tells of the database",
        "create function f(n int) returns int language sql immutable as 'select length(current_database()) + n'",
    ),
    (
        "reads the catalog",
        "create function f(n int) returns int language sql immutable as 'select count(*)::int + n from pg_class'",
    ),
    (
        "of another in pg_catalog",
        "create function pg_catalog.g() returns int language sql immutable as 'select count(*)::int from public.t'; \
        create function f(n int) returns int language sql immutable as 'select g() + n'",
    ),
    (
        "an internal name",
        "create function f(n int) returns int language internal immutable as 'pg_backend_pid'",
    ),
];

/// What is made of `f`.
const MADE_OF_F: &str = "
    create function f_rows(n int) returns table (a int, b int) language sql immutable as 'select f(n), n';
    create function f_set(n int) returns setof int language sql immutable as 'select f(n)';
    create function two(a int, b int) returns int language sql immutable as 'select a + f(b)';
    create function equal(a int, b int) returns bool language sql immutable as 'select f(a) = f(b)';
    create function given(n int default f(1)) returns int language sql immutable as 'select n';
    create operator ~+ (leftarg = int, rightarg = int, function = two);
    create function last(s int) returns int language sql immutable as 'select f(s)';
    create operator @@! (rightarg = int, function = last);
    create operator ~~~~ (leftarg = int, rightarg = int, function = equal);
    create aggregate total(int) (sfunc = two, stype = int, initcond = '0');
    create aggregate totalled(int) (sfunc = int4pl, stype = int, initcond = '0', finalfunc = last);
    create domain checked as int check (f(value) > 0);
    create domain over_checked as checked;
    create type pair as (a int, b checked);
    create type tin as (n int);
    create function tin_of(n int) returns tin language sql immutable as 'select row(f(n))::tin';
    create function of_tin(b tin) returns int language sql immutable as 'select f((b).n)';
    create function of_row(t) returns int language sql immutable as 'select f(($1).v)';
    create function row_of(n int) returns t language sql immutable as $$select n, f(n), 'x'$$;
    create cast (int as tin) with function tin_of(int);
    create cast (tin as int) with function of_tin(tin) as implicit;
    create function sooner(a tin, b tin) returns bool language sql immutable as 'select f(a.n) < f(b.n)';
    create function no_later(a tin, b tin) returns bool language sql immutable as 'select f(a.n) <= f(b.n)';
    create function same(a tin, b tin) returns bool language sql immutable as 'select f(a.n) = f(b.n)';
    create function sides(a tin, b tin) returns int language sql immutable as 'select sign(f(a.n) - f(b.n))::int';
    create function no_earlier(a tin, b tin) returns bool language sql immutable as 'select f(a.n) >= f(b.n)';
    create function later(a tin, b tin) returns bool language sql immutable as 'select f(a.n) > f(b.n)';
    create operator < (leftarg = tin, rightarg = tin, function = sooner, commutator = >, negator = >=);
    create operator <= (leftarg = tin, rightarg = tin, function = no_later, commutator = >=, negator = >);
    create operator = (leftarg = tin, rightarg = tin, function = same, commutator = =, merges);
    create operator >= (leftarg = tin, rightarg = tin, function = no_earlier, commutator = <=, negator = <);
    create operator > (leftarg = tin, rightarg = tin, function = later, commutator = <, negator = <=);
    create operator class tins default for type tin using btree as
        operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 sides(tin, tin);
    create table strict (k int primary key, c checked);
    create function t_as_int(t) returns int language sql immutable as 'select f(($1).v)';
    create cast (t as int) with function t_as_int(t) as implicit;
    create table held (k int primary key, b tin);
    insert into held select n, row(n % 3)::tin from generate_series(1, 9) n;
    create view viewed as select k, f(v) as x from t;
    create view from_viewed as select k, x from t, f(t.v) as x;
";

/// Each calls `f`, or what is made of it, in another way or place.
const WAYS: &[&str] = &[
    "select k, f(v) from t",
    "select f(1)",
    "select f(n => 1) from r",
    "select public.f(v) from t",
    "select k from t where f(v) > 20",
    "select k from t order by f(v), k",
    "select f(v), count(*) from t group by f(v)",
    "select v, count(*) from t group by v having f(v) > 20",
    "select count(*) filter (where f(v) > 20) from t",
    "select sum(f(v)) from t",
    "select k, sum(v) over (partition by f(v) order by k) from t",
    "select k, sum(f(v)) over (order by k) from t",
    "select k, row_number() over w from t window w as (order by f(v), k)",
    "select k from t order by k limit f(1)",
    "select k from t order by k offset f(1) - 2",
    "values (f(1)), (2)",
    "select * from (values (f(1)), (2)) x(n)",
    "select case when f(v) > 20 then 1 else 2 end from t",
    "select case f(v) when 20 then 1 else 2 end from t",
    "select array[f(v)] from t",
    "select (array[1, 2])[f(0) + 1] from t",
    "select row(f(v)) from t",
    "select distinct f(v) from t",
    "select distinct on (f(v)) v from t order by f(v), v",
    "select f(v) from t union select f(id) from r",
    "select k from t where exists (select from r where f(r.id) = t.v)",
    "select k from t where v in (select f(id) from r)",
    "select k from t where v = any (array[f(1)])",
    "select (select f(id) from r order by id limit 1), k from t",
    "with c as (select f(v) as x from t) select sum(x) from c",
    "with c as materialized (select f(1) as x) select sum(x + v) from c, t",
    "with recursive c(n) as (select f(0) union all select n + 1 from c where n < f(3)) select count(*) from c",
    // In FROM.
    "select * from f(1)",
    "select count(*) from t, f(2) as x where v < x",
    "select k, x from t, f(t.v) as x",
    "select k, x from t, lateral f(v) as x",
    "select k, x from t cross join lateral (select f(v) as x) y",
    "select k, x from t left join lateral f(v) as x on true",
    "select k, x from t join f(3) as x on v < x",
    "select * from f(1) with ordinality",
    "select * from rows from (f(1), f(2)) as x(a, b)",
    "select k, a from t, f_rows(v)",
    "select k, y.a from t, lateral f_rows(t.v) as y(a, b)",
    "select k, s from t, f_set(v) s",
    "select f_set(v) from t",
    "select (f_rows(v)).a from t",
    "select (f_rows(v)).* from t",
    "select * from generate_series(1, f(2)) g",
    "select count(*) from t, generate_series(1, f(v)) g",
    "select * from unnest(array[f(1), 2]) u",
    // Views.
    "select * from viewed",
    "select sum(x) from viewed",
    "select k, x from from_viewed",
    "select v.k from viewed v join t using (k)",
    // Defaults of arguments.
    "select given() from r",
    "select k, given() from t",
    "select * from given()",
    // Operators.
    "select v ~+ 1 from t",
    "select v operator(public.~+) 1 from t",
    "select @@! v from t",
    "select k from t where v ~~~~ 3",
    "select k from t where v ~~~~ any (array[1, 2])",
    "select count(*) from t join r on v ~~~~ id",
    // Aggregates, also over windows.
    "select total(v) from t",
    "select v, total(k) from t group by v",
    "select k, total(v) over (order by k) from t",
    "select totalled(v) from t",
    "select total(v) filter (where v > 1) from t",
    "select total(distinct v) from t",
    "select total(v order by k) from t",
    "select max(x) from (select total(v) as x from t group by k) y",
    // Domains.
    "select (v + 1)::checked from t",
    "select ('(1,' || v + 1 || ')')::strict from t",
    "select * from json_populate_record(null::strict, '{\"k\": 1, \"c\": 3}')",
    "select c, count(*) from strict group by c",
    "select cast(v + 1 as checked) from t",
    "select (v + 1)::over_checked from t",
    "select checked '5' from r",
    "select array[v + 1]::checked[] from t",
    "select row(1, v + 1)::pair from t",
    "select ('(1,' || v + 1 || ')')::pair from t",
    "select * from json_to_record('{\"a\": 1}') as x(a checked)",
    "select null::pair from t",
    // Casts.
    "select v::tin from t",
    "select tin(v) from t",
    "select row(v)::tin + 1 from t",
    "select 1 + row(1)::tin from r",
    "select abs(row(v)::tin) from t",
    "select (v::tin)::int from t",
    "select t::int from t",
    "select 1 + t from t",
    "select abs(t.*) from t",
    // Order and equality.
    "select b from held order by b",
    "select b, count(*) from held group by b",
    "select distinct b from held",
    "select b from held union select row(v)::tin from t",
    "select count(*) from held x join held y on x.b = y.b, t",
    "select k, rank() over (order by b) from held, (select max(v) from t) z",
    "select count(distinct row(v)::tin) from t",
    "select k from t where row(v)::tin in (select b from held)",
    "select held from held order by held, k",
    // Attributes.
    "select t.of_row from t",
    "select (t).of_row from t",
    "select of_row(t) from t",
    "select of_row(t.*) from t",
    "select x.of_row from t as x",
    "select (row_of(1)).v from r",
    "select (row_of(v)).of_row from t",
    "select z.of_row from row_of(1) as z",
    "select (row(v)::tin).of_tin from t",
];

/// What is refused whatever it calls, since it cannot be read.
const UNREAD: [&str; 7] = [
    "select * from rows from (f(1), f(2)) as x(a, b)",
    "select (f_rows(v)).* from t",
    "select @@! v from t",
    "select k from t where v ~~~~ any (array[1, 2])",
    "select checked '5' from r",
    "select t.of_row from t",
    "select x.of_row from t as x",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_reads_a_table_is_found_however_it_is_called() {
    if support::server().is_none() {
        return;
    }
    let mut failures = Vec::new();
    for (turn, (kind, function)) in FUNCTIONS.iter().enumerate() {
        let databases = of(&format!("{TABLES}; {function}; {MADE_OF_F}"));
        let (mut answered, mut refused) = (Vec::new(), Vec::new());
        for (number, sql) in WAYS.iter().enumerate() {
            let running = Running::nth(turn + number);
            match check(&query(sql), &databases, running).await {
                Ok(Outcome::Answered) => answered.push(*sql),
                Ok(Outcome::Refused) => refused.push(*sql),
                // What is no SQL, or fails, on the one database too.
                Ok(Outcome::Failed) => {}
                Err(difference) => failures.push(format!("{kind}: {sql}\n    {difference}")),
            }
        }
        match *kind == "pure" {
            true => refused.retain(|sql| !UNREAD.contains(sql)),
            false => refused.clear(),
        }
        if !refused.is_empty() {
            failures.push(format!("{kind}, but refused are {refused:#?}"));
        }
        if *kind != "pure" && !answered.is_empty() {
            failures.push(format!("{kind}, but answered are {answered:#?}"));
        }
        databases.close().await;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// An aggregate of users may be called as one of PostgreSQL's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregates_of_users_are_not_taken_for_postgresqls() {
    if support::server().is_none() {
        return;
    }
    let own = "
        create schema other;
        create function worse(text, text) returns text language sql immutable as
            'select case when $1 is null or $2 < $1 then $2 else $1 end';
        create aggregate other.max(text) (sfunc = worse, stype = text);
        create function yes(bigint, boolean) returns bigint language sql immutable as
            'select $1 + case when $2 then 1 else 0 end';
        create aggregate count(boolean) (sfunc = yes, stype = bigint, initcond = '0');
        create aggregate other.sum(int) (sfunc = int4larger, stype = int);
        create aggregate other.count(*) (sfunc = int8inc, stype = bigint, initcond = '1000');
        create function half(bigint) returns bigint language sql immutable as 'select $1 / 2';
        create aggregate other.avg(int) (sfunc = int4_sum, stype = bigint, initcond = '0', finalfunc = half);
        create view means as select v, count(k > 30) as c, max(note) as m from t group by v;
    ";
    let databases = of(&format!("{TABLES}; {own}"));
    let mut failures = Vec::new();
    for sql in [
        "select other.max(note) from t",
        "select v, other.max(note), max(note) from t group by v",
        "select other.sum(k), sum(k) from t",
        "select other.count(*), count(*) from t",
        "select other.avg(k) from t",
        "select v, other.avg(k) from t group by v",
        "select count(k > 30) from t",
        "select count(v > 3), count(v), count(*) from t",
        "select v, count(k > 30) from t group by v",
        "select avg(k), stddev(k), regr_slope(k, v) from t",
        "select count(distinct v), count(distinct v > 3) from t",
        "select other.sum(v) over (order by k) from t order by k",
        "select count(v > 3) over (order by k) from t order by k",
        "select * from means",
        "select other.max(name) from r",
        "select (select other.sum(k) from t x where x.v = r.id) from r",
        "select (select count(x.k > 30) from t x where x.v = r.id) from r",
    ] {
        for running in Running::ALL {
            match check(&query(sql), &databases, running).await {
                Ok(Outcome::Answered) => {}
                Ok(other) => failures.push(format!("{sql}, {running:?}\n    {other:?}")),
                Err(difference) => failures.push(format!("{sql}, {running:?}\n    {difference}")),
            }
        }
    }
    databases.close().await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Every function of PostgreSQL that is not IMMUTABLE, in the select list and in FROM.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_that_are_not_immutable_are_right_or_refused() {
    let Some(server) = support::server() else {
        return;
    };
    let databases = of(TABLES);
    let sql = "
        select p.proname, array_to_json(p.proargtypes::oid[]::regtype[])::text, 
            case when p.prokind = 'f' and p.proallargtypes is not null then 'row' else p.prokind::text end
        from pg_proc p
        where p.provolatile <> 'i' and p.pronamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
          and not exists (select from unnest(p.proargtypes) u where u = 'internal'::regtype)
          and p.proname !~ '^pg_sleep'
          and p.prorettype not in ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)
          and not (p.prorettype = 'record'::regtype and p.proallargtypes is null)
        order by 1, 2";
    let functions = server.query("postgres", sql).expect("functions");
    assert!(functions.len() > 600, "{} functions", functions.len());
    let (mut failures, mut answered, mut refused) = (Vec::new(), 0, 0);
    for (turn, row) in functions.iter().enumerate() {
        let [Some(name), Some(types), Some(kind)] = &row[..] else {
            panic!("{row:?}");
        };
        let types: Vec<String> = serde_json::from_str(types).expect("types");
        let args: Vec<_> = types.iter().map(|it| value(it)).collect();
        let call = format!("{name}({})", args.join(", "));
        let ways = match kind.as_str() {
            "f" => vec![
                format!("select k, ({call})::text as x from t"),
                format!("select count(*), min(x::text) from t, {call} as x"),
            ],
            "row" => vec![
                format!("select k, ({call})::text as x from t"),
                format!("select count(*) from t, {call} as x"),
            ],
            "a" => vec![format!("select ({call})::text is null from t")],
            _ => continue,
        };
        for sql in ways {
            // Each call of these gives something else.
            let outcome = match CHANCE.contains(&&**name) {
                true => match databases.shards.query(&sql).collect().await {
                    Ok(_) => Ok(Outcome::Answered),
                    Err(error) if compare::is_refusal(&error, "") => Ok(Outcome::Refused),
                    Err(error) => Err(error.to_string()),
                },
                false => check(&query(&sql), &databases, Running::nth(turn)).await,
            };
            match outcome {
                Ok(Outcome::Refused) => refused += 1,
                Ok(Outcome::Answered | Outcome::Failed) => answered += 1,
                Err(difference) => failures.push(format!("{sql}\n    {difference}")),
            }
        }
    }
    databases.close().await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(answered > 150 && refused > 600, "{answered}, {refused}");
}

/// Functions whose values are by chance, or of the moment.
const CHANCE: [&str; 8] = [
    "now",
    "statement_timestamp",
    "transaction_timestamp",
    "random",
    "gen_random_uuid",
    "clock_timestamp",
    "timeofday",
    "random_normal",
];

/// A value of a type, as an argument.
fn value(pg_type: &str) -> String {
    let text = match pg_type {
        "anyelement"
        | "anynonarray"
        | "any"
        | "\"any\""
        | "anycompatible"
        | "anycompatiblenonarray" => {
            return "7".to_owned();
        }
        "anyarray" | "anycompatiblearray" => return "array[1, 2]".to_owned(),
        "anyenum" => return "null".to_owned(),
        "anyrange" | "anycompatiblerange" => return "int4range(1, 5)".to_owned(),
        "anymultirange" | "anycompatiblemultirange" => return "int4multirange()".to_owned(),
        "record" => return "row(1, 'a')".to_owned(),
        "bigint" | "integer" | "smallint" | "numeric" | "real" | "double precision" | "money"
        | "oid" | "xid" | "xid8" => "1",
        "boolean" => "true",
        "date" => "2024-02-29",
        "timestamp without time zone" | "timestamp with time zone" => "2024-02-29 12:00",
        "time without time zone" | "time with time zone" => "12:00",
        "interval" => "1 hour",
        "regclass" => "pg_class",
        "regconfig" => "simple",
        "regtype" => "integer",
        "name" | "text" | "cstring" => "t",
        "jsonpath" => "$",
        "json" | "jsonb" => "{\"a\": 1}",
        "tsvector" | "tsquery" => "a",
        "xml" => "<a/>",
        "bytea" => "a",
        "integer[]" | "text[]" | "oid[]" | "name[]" => "{}",
        _ => return format!("null::{pg_type}"),
    };
    format!("'{text}'::{pg_type}")
}

fn query(sql: &str) -> Case {
    case::case(
        "calls",
        1,
        1,
        sql.to_owned(),
        vec!["may be refused:".to_owned()],
    )
}

fn of(setup: &str) -> Databases {
    let file = File {
        sharded: vec![("t".to_owned(), "k".to_owned())],
        setup: setup.to_owned(),
        ..File::default()
    };
    file.load()
}
