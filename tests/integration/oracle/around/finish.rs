//! The server of `[finish] url` computes what is left of a query, so it has to be as the shards are for
//! all that the text for it names.

use merganser::config::{ConnectionString, Finish};

use super::{Databases, error_of};
use crate::support;

/// What every database has, that of the finish too.
const OBJECTS: &str = "
    create function f(int) returns int immutable language sql as 'select $1 + 1';
    create function g(int) returns int immutable language sql as 'select f($1) * 2';
    create function h(int) returns int immutable language plpgsql as 'begin return f($1) * 3; end';
    create function near(int, int) returns bool immutable language sql as 'select abs($1 - $2) < 3';
    create operator ~~~ (leftarg = int, rightarg = int, function = near);
    create type mood as enum ('low', 'fair', 'high');
    create domain small as int check (f(value) < 100);
    create collation \"mine\" from \"C\";
";

const ROWS: &str = "
    create table t as select i as id, i % 5 as n, (array['low', 'fair', 'high'])[1 + i % 3]::mood as m,
        chr(97 + i % 26) collate \"mine\" as c, i::small as s from generate_series(1, 60) i;
";

/// What is computed at the finish, each with what it names of users.
const NAMING: [(&str, &str); 9] = [
    ("select f(count(*)::int) from t", "f"),
    ("select g(count(*)::int) from t", "f g"),
    ("select h(count(*)::int) from t", "f h"),
    (
        "select n, count(*) from t group by n having count(*)::int ~~~ 12",
        "near",
    ),
    ("select max(m) from t", "mood"),
    ("select count(distinct m) from t", "mood"),
    (
        "select n, string_agg(m::text, ',' order by id) from t group by n",
        "mood",
    ),
    ("select count(distinct s) from t", "f small"),
    ("select string_agg(c, '' order by c, id) from t", "mine"),
];

/// What names nothing of users at the finish, or does not finish.
const PLAIN: [&str; 4] = [
    "select avg(n) from t",
    "select n, count(*), stddev(id) from t group by n",
    "select id, f(n), m, s, c from t where m = 'low'",
    "select sum(f(n)), min(g(n)) from t",
];

fn databases(finish: &str) -> Option<Databases> {
    let mut databases = Databases::new(&format!("{OBJECTS} {ROWS}"), &[("t", "id")], &[])?;
    let url = support::database()?;
    support::execute(&url, finish);
    databases.finish = Finish::Server(ConnectionString::new(url));
    Some(databases)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_alike_finishes() {
    let Some(databases) = databases(OBJECTS) else {
        return;
    };
    let naming = NAMING.map(|(sql, _)| (sql, ""));
    databases.check("postgres", &naming).await;
    databases
        .check("postgres", &PLAIN.map(|sql| (sql, "")))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_finish_names_has_to_be_the_same_there() {
    for (change, differs) in [
        (
            "create or replace function f(int) returns int immutable language sql as 'select $1 + 2'",
            "f",
        ),
        ("drop domain small; drop function f(int)", "f"),
        (
            "drop operator ~~~ (int, int); create or replace function near(int, int) returns bool \
          immutable language sql as 'select true'",
            "near",
        ),
        ("alter type mood rename value 'low' to 'deep'", "mood"),
        ("alter type mood add value 'lowest' before 'low'", "mood"),
        ("drop type mood", "mood"),
        ("alter domain small drop constraint small_check", "small"),
        (
            "drop collation \"mine\"; create collation \"mine\" (provider = icu, locale = 'de')",
            "mine",
        ),
    ] {
        let Some(databases) = databases(&format!("{OBJECTS} {change}")) else {
            return;
        };
        let statements: Vec<(&str, &str)> = NAMING
            .iter()
            .map(
                |(sql, names)| match names.split(' ').any(|it| it == differs) {
                    true => (*sql, "the server of [finish] url is not as the shards are"),
                    false => (*sql, ""),
                },
            )
            .chain(PLAIN.map(|sql| (sql, "")))
            .collect();
        databases.check("postgres", &statements).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_another_default_collation_does_not_finish() {
    let Some(mut databases) = databases(OBJECTS) else {
        return;
    };
    let Some(url) = support::database() else {
        return;
    };
    let (server, name) = url.rsplit_once('/').unwrap();
    let other = format!("{name}_utf8");
    let create = format!(
        "create database \"{other}\" template template0 lc_collate 'C.UTF-8' lc_ctype 'C.UTF-8'"
    );
    support::execute(&url, &create);
    let url = format!("{server}/{other}");
    databases.finish = Finish::Server(ConnectionString::new(url));
    let error = error_of(databases.topology("postgres"), "select avg(n) from t").await;
    let said = format!("{error}; {}", error.hint().unwrap_or_default());
    assert!(
        said.contains("collation of the databases differs"),
        "{said}"
    );
    assert!(said.contains("[finish]"), "{said}");
    databases
        .check(
            "postgres",
            &[("select id from t", ""), ("select count(*) from t", "")],
        )
        .await;
}
