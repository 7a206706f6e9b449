//! Statements bound over a catalog made by hand.

pub(in crate::plan) use super::fixture::{aggregate, catalog, topology};
use super::*;
use crate::error::ErrorKind;
use crate::plan::sql::parse;
use crate::plan::thread::with_deep_stack;

/// What `f` makes of a bound statement.
pub(in crate::plan) fn bound<T: Send>(
    sql: &str,
    f: impl FnOnce(Bound, &Catalog) -> Result<T> + Send,
) -> Result<T> {
    with_deep_stack(|| {
        let catalog = catalog();
        f(bind(parse(sql)?, &topology(), &catalog)?, &catalog)
    })
}

fn printed(sql: &str) -> Result<String> {
    bound(sql, |bound, _| Ok(bound.query.to_string()))
}

#[test]
fn only_means_something_where_a_table_has_children() {
    for (sql, expected) in [
        ("select k from only t", "SELECT t.k FROM t"),
        (
            "select x.k from ONLY (public.t) x",
            "SELECT x.k FROM public.t x",
        ),
        (
            "select 1 from r join only t on true",
            "SELECT 1 FROM r JOIN t ON true",
        ),
    ] {
        assert_eq!(printed(sql).unwrap(), expected, "{sql}");
    }
    for sql in [
        "select * from only parent",
        "select * from ONLY (parent)",
        "select * from only (public.parent)",
        "select 1 from r, only parent",
        "select count(*) from r join only parent on true",
        "select * from (select k from only parent) x",
        "with c as (select * from only parent) select * from c",
        "with t as (select 1) select * from only t",
        "select 1 where exists (select from only parent)",
        "select * from only v",
    ] {
        let error = printed(sql).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}");
        assert!(error.message().contains("FROM ONLY"), "{sql}: {error}");
        assert!(error.hint().is_some(), "{sql}");
    }
    let quoted = "with \"only\" as (select k from t) select k from \"only\" o";
    assert_eq!(
        printed(quoted).unwrap(),
        "SELECT o.k FROM (SELECT t.k FROM t) AS o"
    );
}

#[test]
fn expressions_that_stay_have_names_of_their_own() {
    for (sql, expected) in [
        (
            "with a as (select k from r), r as (select k from t limit 2) select a.k from a, r x, r y",
            "WITH r_2 AS (SELECT t.k FROM t LIMIT 2) \
             SELECT a.k FROM (SELECT r.k FROM r) AS a, r_2 x, r_2 y",
        ),
        (
            "with w as (select k from r limit 2) select x.k from w x, w y",
            "WITH w AS (SELECT r.k FROM r LIMIT 2) SELECT x.k FROM w x, w y",
        ),
    ] {
        assert_eq!(printed(sql).unwrap(), expected, "{sql}");
    }
}

#[test]
fn columns_of_one_name_are_told_apart() {
    for (sql, expected) in [
        (
            "select * from (select k, d, k from t) x",
            "SELECT x.k, x.d, x.k_2 AS k FROM (SELECT t.k, t.d, t.k FROM t) x (k, d, k_2)",
        ),
        (
            "select x.*, r.k from (select k, k, d as k_2 from t) as x (a), r",
            "SELECT x.a, x.k, x.k_2, r.k FROM (SELECT t.k, t.k, t.d AS k_2 FROM t) AS x (a), r",
        ),
        (
            "select * from r as x (a, a, b)",
            "SELECT x.a, x.a_2 AS a, x.b, x.tz, x.note, x.born, x.dates FROM r AS x (a, a_2, b, tz, note, born, dates)",
        ),
        (
            "select x.d from (select k, d, k from t) x",
            "SELECT x.d FROM (SELECT t.k, t.d, t.k FROM t) x",
        ),
        (
            "select count(x) from (select k, d, k from t) x",
            "SELECT count(x) FROM (SELECT t.k, t.d, t.k FROM t) x",
        ),
    ] {
        assert_eq!(printed(sql).unwrap(), expected, "{sql}");
    }
    let error = printed("select x, x.* from (select k, d, k from t) x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hint().is_some());
}

#[test]
fn names_before_subscripts_are_names_of_columns() {
    for (sql, expected) in [
        ("select dates[1] from t", "SELECT t.dates[1] FROM t"),
        ("select k.dates[1] from t k", "SELECT k.dates[1] FROM t k"),
        (
            "select public.t.dates[1], (k.d).x from t, r k",
            "SELECT t.dates[1], (k.d).x FROM t, r k",
        ),
    ] {
        assert_eq!(printed(sql).unwrap(), expected, "{sql}");
    }
}

#[test]
fn on_sees_its_own_join_only() {
    let sql = "select k from t where exists (select from r t, r a join r b on t.k = b.k)";
    assert_eq!(
        printed(sql).unwrap(),
        "SELECT t.k FROM t WHERE EXISTS (SELECT 1 FROM r t_2, r a JOIN r b ON t.k = b.k)"
    );
}

#[test]
fn subqueries_that_are_the_same_are_the_very_same() {
    for (sql, expected) in [
        (
            "select (select note from r where r.k = t.k), count(*) from t group by (select note from r where k = t.k)",
            "SELECT (SELECT r.note FROM r WHERE r.k = t.k), count(*) FROM t \
             GROUP BY (SELECT r.note FROM r WHERE r.k = t.k)",
        ),
        // What holds them differs.
        (
            "select k in (select k from r), (select k from r) from t order by k in (select r.k from r)",
            "SELECT t.k IN (SELECT r.k FROM r), (SELECT r_2.k FROM r AS r_2) FROM t \
             ORDER BY t.k IN (SELECT r.k FROM r)",
        ),
        // Another column, of the output and of FROM.
        (
            "select d as k, (select max(r.k) from r where r.d = t.d) from t order by (select max(r.k) from r where r.d = d), k",
            "SELECT t.d AS k, (SELECT max(r.k) FROM r WHERE r.d = t.d) FROM t \
             ORDER BY (SELECT max(r_2.k) FROM r AS r_2 WHERE r_2.d = r_2.d), k",
        ),
        // WHERE keeps its own.
        (
            "select exists (select 1 from r) from t where exists (select 1 from r) order by exists (select 1 from r)",
            "SELECT EXISTS (SELECT 1 FROM r) FROM t WHERE EXISTS (SELECT 1 FROM r AS r_2) \
             ORDER BY EXISTS (SELECT 1 FROM r)",
        ),
        // Each SELECT by itself, those of sets and of subqueries too.
        (
            "select (select max(k) from r) from t group by (select max(k) from r) \
             union all select (select max(k) from r) from t group by (select max(k) from r)",
            "SELECT (SELECT max(r.k) FROM r) FROM t GROUP BY (SELECT max(r.k) FROM r) \
             UNION ALL SELECT (SELECT max(r_3.k) FROM r AS r_3) FROM t AS t_2 \
             GROUP BY (SELECT max(r_3.k) FROM r AS r_3)",
        ),
    ] {
        assert_eq!(printed(sql).unwrap(), expected, "{sql}");
    }
}
