use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::error::{ErrorKind, Result};
use crate::plan::bind::tests::{bound, catalog, topology};
use crate::plan::thread::with_deep_stack;
use crate::plan::{Answer, MergeMode, Need, Plan, Question, plan};
use crate::types::{Column, TypeOptions};

/// The statement with types written out, the need, or the reason of the refusal.
fn written(sql: &str, described: &[(&str, &str)]) -> String {
    let described = described.iter().map(|(sql, data_type)| {
        let column = Column::new("x", data_type.parse().unwrap());
        ((*sql).to_owned(), vec![column])
    });
    let known: HashMap<_, _> = described.collect();
    let result = bound(sql, |mut bound, catalog| {
        let answers = Answers::knowing(Arc::new(known), []);
        Ok(match write_types(&mut bound, catalog, &answers) {
            Ok(()) => bound.query.to_string(),
            Err(Stop::Need(Need::Describe(sql))) => format!("describe {sql}"),
            Err(Stop::Need(other)) => format!("{other:?}"),
            Err(Stop::Refused(error)) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.hint().is_some());
                format!("refused {}", error.message())
            }
        })
    });
    result.unwrap()
}

/// What becomes of a condition on the table `t`.
fn condition(sql: &str, described: &[(&str, &str)]) -> String {
    let whole = written(&format!("select k from t where {sql}"), described);
    match whole.strip_prefix("SELECT t.k FROM t WHERE ") {
        Some(condition) => condition.to_owned(),
        None => whole,
    }
}

#[test]
fn literals_take_the_type_of_the_column_beside_them() {
    for (sql, expected) in [
        ("d = 'today'", "t.d = 'today'::DATE"),
        ("'now' > ts", "'now'::TIMESTAMP WITHOUT TIME ZONE > t.ts"),
        (
            "tz <= (' NOW ')",
            "t.tz <= (' NOW ')::TIMESTAMP WITH TIME ZONE",
        ),
        ("d - 'yesterday' < 3", "t.d - 'yesterday'::DATE < 3"),
        (
            "d is distinct from 'tomorrow'",
            "t.d IS DISTINCT FROM 'tomorrow'::DATE",
        ),
        (
            "d between 'yesterday' and '2020-01-01'",
            "t.d BETWEEN 'yesterday'::DATE AND '2020-01-01'",
        ),
        (
            "d not in ('today', '2020-01-01', date '2020-01-02')",
            "t.d NOT IN ('today'::DATE, '2020-01-01', DATE '2020-01-02')",
        ),
        ("(k, d) = (1, 'today')", "(t.k, t.d) = (1, 'today'::DATE)"),
        ("d = any ('{today}')", "t.d = ANY('{today}'::DATE[])"),
        ("'today' = any (dates)", "'today'::DATE = ANY(t.dates)"),
        ("dates = '{now}'", "t.dates = '{now}'::DATE[]"),
        (
            "case d when 'today' then true end",
            "CASE t.d WHEN 'today'::DATE THEN true END",
        ),
        (
            "k in (select k from r where r.d = 'today')",
            "t.k IN (SELECT r.k FROM r WHERE r.d = 'today'::DATE)",
        ),
    ] {
        assert_eq!(condition(sql, &[]), expected);
    }
}

#[test]
fn text_stays_text() {
    for sql in [
        "t.note = 'now'",
        "'today' < t.note",
        "t.note IN ('now', 'today')",
        "t.note LIKE '%now%'",
        "t.note || ' now' = t.note",
        "'now' = 'today'",
        "t.d = '2020-01-01'",
        "t.d = 'today'::DATE",
    ] {
        assert_eq!(condition(sql, &[]), sql);
    }
}

#[test]
fn a_server_tells_other_types() {
    for (sql, question, date) in [
        (
            "t.born = 'today'",
            "SELECT t.born FROM t",
            "t.born = 'today'::DATE",
        ),
        (
            "t.d + 1 > 'today'",
            "SELECT t.d + 1 FROM t",
            "t.d + 1 > 'today'::DATE",
        ),
        (
            "'today' IN (SELECT r.d FROM r)",
            "SELECT (SELECT r.d FROM r)",
            "'today'::DATE IN (SELECT r.d FROM r)",
        ),
    ] {
        assert_eq!(condition(sql, &[]), format!("describe {question}"));
        assert_eq!(condition(sql, &[(question, "date")]), date);
        assert_eq!(condition(sql, &[(question, "text")]), sql);
        // A decision: a type of which nothing is known holds no instant.
        assert_eq!(condition(sql, &[(question, "int4range")]), sql);
    }
    assert_eq!(
        written("select k from t group by k having max(d) - k = 'now'", &[]),
        "describe SELECT max(t.d) - t.k FROM t GROUP BY t.k"
    );
    assert_eq!(
        written(
            "select 1 from (select d from t union select d from r) u where d = 'now'",
            &[]
        ),
        "describe SELECT u.d FROM (SELECT t.d FROM t UNION SELECT r.d FROM r) u"
    );
}

#[test]
fn columns_keep_their_names() {
    for (sql, expected) in [
        (
            "select 'today' union all select d from t",
            "SELECT 'today'::DATE AS \"?column?\" UNION ALL SELECT t.d FROM t",
        ),
        (
            "select coalesce(d, 'today'), d = 'now' from t",
            "SELECT coalesce(t.d, 'today'::DATE), t.d = 'now'::DATE FROM t",
        ),
        (
            "select * from (values ('today'), (date '2020-01-01')) v (x)",
            "SELECT v.x FROM (VALUES ('today'::DATE), (DATE '2020-01-01')) v (x)",
        ),
    ] {
        assert_eq!(written(sql, &[]), expected);
    }
}

#[test]
fn what_may_or_may_not_be_a_time_is_refused() {
    for sql in [
        "d in (ts, 'today')",
        "date_trunc('day', 'now') > tz",
        "extract(year from 'now') = 2020",
        "(d, d) overlaps ('today', 'tomorrow')",
        "dates && '{today}'",
        "daterange('today', null) @> d",
    ] {
        let found = condition(sql, &[]);
        assert!(found.starts_with("refused"), "{sql}: {found}");
    }
}

/// What the planner makes of a statement when servers have answered so much.
fn planned(sql: &str, answered: &[(Need, Answer)]) -> Result<Plan> {
    with_deep_stack(|| {
        plan(&Question {
            sql,
            topology: &topology(),
            catalog: &catalog(),
            merge: MergeMode::Auto,
            system_catalogs: false,
            decimals: false,
            types: &TypeOptions::default(),
            columns: &[Column::new("k", "int8".parse()?)],
            answers: &Answers::knowing(Arc::default(), answered.iter().cloned()),
        })
    })
}

#[test]
fn views_and_literals_work_with_one_instant() {
    const NOW: &str = "SELECT pg_catalog.now()";
    for sql in ["select k from v", "select k from t where d = 'today'"] {
        let error = planned(sql, &[]).unwrap_err();
        assert!(error.message().contains(NOW), "{sql}: {error}");
    }
    let now = vec![vec![Some("2020-01-02 03:04:05+00".to_owned())]];
    let answers = [(Need::Evaluate(NOW.to_owned()), Answer::Rows(now))];
    let found = planned("select k from r where d = 'today'", &answers).unwrap();
    assert_eq!(
        found.steps[0].sql.to_string(),
        "SELECT r.k FROM r WHERE r.d = '2020-01-02 03:04:05+00'::TIMESTAMP WITH TIME ZONE::DATE"
    );
    let error = planned("select k from r where ts = 'today 12:00'", &answers).unwrap_err();
    assert!(error.message().contains("same time"), "{error}");
}

#[test]
fn texts_that_are_made_of_instants_are_refused_where_they_are_cast() {
    for sql in [
        "select coalesce(note, 'now')::date from t",
        "select (note || ' now')::timestamptz from t",
        "select cast(case when k > 1 then lower('TODAY') else note end as date) from t",
        "select (select 'now')::timestamp from t",
        "select jsonb_to_record('{\"d\": \"now\"}')",
        "select 1 from t, json_populate_record(null::t, '{\"d\": \"today\"}') x",
    ] {
        assert!(written(sql, &[]).starts_with("refused"), "{sql}");
    }
    for sql in [
        "SELECT nullif(t.note, 'now')::DATE FROM t",
        "SELECT replace(t.note, 'now', '')::DATE FROM t",
        "SELECT coalesce(t.note, 'now')::TEXT FROM t",
        "SELECT (CASE WHEN t.note = 'now' THEN t.note END)::DATE FROM t",
    ] {
        assert_eq!(written(sql, &[]), sql);
    }
}
