use super::super::sql::parse;
use super::super::thread::with_deep_stack;
use super::*;

fn pinned(sql: &str, instant: &str) -> Result<Option<String>> {
    with_deep_stack(|| {
        let mut query = parse(sql)?;
        let reads = reads_clock(&query);
        let result = pin_instant(&mut query, instant);
        assert_eq!(reads, *result.as_ref().unwrap_or(&true), "{sql}");
        let changed = result?;
        assert!(!reads_clock(&query) || sql.contains("age"), "{sql}");
        Ok(changed.then(|| query.to_string()))
    })
}

#[test]
fn names_stay_and_nothing_else_changes() {
    for (sql, expected) in [
        (
            "select now(), current_date - 7 from t where d < localtimestamp(2)",
            "SELECT 'T'::TIMESTAMP WITH TIME ZONE AS \"now\", \
             'T'::TIMESTAMP WITH TIME ZONE::DATE - 7 FROM t \
             WHERE d < 'T'::TIMESTAMP WITH TIME ZONE::TIMESTAMP(2) WITHOUT TIME ZONE",
        ),
        (
            "select (select statement_timestamp()), now() as x, date 'tomorrow'",
            "SELECT (SELECT 'T'::TIMESTAMP WITH TIME ZONE AS \"statement_timestamp\"), \
             'T'::TIMESTAMP WITH TIME ZONE AS x, \
             ('T'::TIMESTAMP WITH TIME ZONE::DATE + 1) AS \"date\"",
        ),
    ] {
        assert_eq!(pinned(sql, "T").unwrap().as_deref(), Some(expected));
    }
    for sql in [
        "select 'now', 'today'::text, now from t",
        "select s.now(), \"Now\"(), clock_timestamp(), age(a, b), now(1)",
        "select date '2020-01-01', 'epoch'::timestamp, 'knowing'::date",
        "select \"current_date\" from \"current_date\"",
        "select date(d), timestamptz(d) from now",
    ] {
        assert_eq!(pinned(sql, "T").unwrap(), None, "{sql}");
    }
}

#[test]
fn what_has_no_replacement_is_refused() {
    for sql in [
        "select timestamp 'today 12:00'",
        "select '{now}'::date[]",
        "select '[yesterday,)'::daterange",
        "select * from now()",
        "select * from rows from (generate_series(1, 2), now()) as x(a, b)",
        "select * from current_date",
        "select * from t, age(t.d) a",
    ] {
        let error = pinned(sql, "T").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}");
        assert!(error.message().contains("same time"), "{error}");
    }
}

/// What reads the clock in a transaction, where all of it is the same instant.
const READERS: &[&str] = &[
    "now()",
    "NOW()",
    "pg_catalog.now()",
    "now() + interval '1 day'",
    "now()::date",
    "now() at time zone 'Asia/Tokyo'",
    "extract(epoch from now())",
    "transaction_timestamp()",
    "current_timestamp",
    "CURRENT_TIMESTAMP(0)",
    "current_timestamp(3)",
    "current_date",
    "current_date - 1",
    "- (current_date - date '2020-01-01')",
    "current_time",
    "current_time(0)",
    "current_time(4)",
    "localtime",
    "localtime(2)",
    "localtimestamp",
    "localtimestamp(0)",
    "localtimestamp(5)::text",
    "array[current_date, 'today']",
    "case when current_date > '2020-01-01' then now() end",
    "coalesce(null, current_date)",
    "(select current_date)",
    "(select max(x) from (values (now())) v(x))",
    "(with q as (select now()) select now from q)",
    "to_char(current_timestamp, 'YYYY-MM-DD HH24:MI:SS.US TZ')",
    "date_trunc('day', now())",
    "age(timestamp '2001-02-03 04:05:06')",
    "age(timestamptz '2001-02-03 04:05:06+05')",
    "age(date '2001-02-03')",
    "age(now())",
    "pg_catalog.age(localtimestamp)",
    "'now'::timestamptz",
    "' NOW '::timestamp",
    "'now'::timestamp(0)",
    "'now'::timestamptz(2)",
    "cast('now' as date)",
    "'now'::time",
    "'now'::time(1)",
    "'now'::timetz",
    "'now'::pg_catalog.timestamptz",
    "'now'::text::timestamptz",
    "('now')::date",
    "E'now'::timestamp",
    "$$now$$::timestamp",
    "date 'today'",
    "date 'Tomorrow'",
    "date 'yesterday' - 3",
    "timestamp 'today'",
    "timestamp 'tomorrow'",
    "timestamptz 'today'",
    "timestamptz 'yesterday'",
    "timestamp(0) with time zone 'now'",
    "timestamp with time zone 'tomorrow'",
    "time 'now'",
    "timetz 'now'",
    "time with time zone 'now'",
    "date('today')",
    "timestamptz('now')",
    "\"timestamp\"('tomorrow')",
];

#[test]
fn values_types_and_names_are_those_of_a_server() {
    let Some(client) = super::super::sql::tests::Client::new() else {
        return;
    };
    let mut faults = Vec::new();
    for zone in ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"] {
        client
            .rows(&format!("BEGIN; SET LOCAL TimeZone = '{zone}'"))
            .unwrap();
        let instant = client.rows("SELECT now()").unwrap();
        let instant = instant[1][0].clone().unwrap();
        for reader in READERS {
            let sql = format!("SELECT {reader}");
            let pinned = match pinned(&sql, &instant) {
                Ok(Some(pinned)) => pinned,
                other => {
                    faults.push(format!("{sql}: {other:?}"));
                    continue;
                }
            };
            let all = |sql: &str| (client.rows(sql), client.types(sql));
            // Errors end the transaction, and then all that follows is an error too.
            let (expected, found) = (all(&sql), all(&pinned));
            if expected != found || expected.0.is_err() {
                faults.push(format!("{sql}\n{pinned}\n{expected:?}\n{found:?}"));
            }
        }
        client.rows("ROLLBACK").unwrap();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
