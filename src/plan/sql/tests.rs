//! Statements against the parser and, with the feature `local`, against a real PostgreSQL.

use super::*;

fn error(sql: &str) -> Error {
    with_deep_stack(|| parse(sql).map(drop)).expect_err(sql)
}

fn printed(sql: &str) -> String {
    with_deep_stack(|| Ok(parse(sql)?.to_string())).expect(sql)
}

#[test]
fn a_query_is_read_and_printed() {
    assert_eq!(printed("select a from t -- x\n;"), "SELECT a FROM t");
    assert_eq!(printed("table t"), "TABLE t");
    assert_eq!(printed("values (1), (2)"), "VALUES (1), (2)");
    assert_eq!(
        printed("(select 1) union all select 2"),
        "(SELECT 1) UNION ALL SELECT 2"
    );
}

#[test]
fn quotes_in_literals_are_printed_rightly() {
    assert_eq!(printed(r"select 'a''b', 'a\b'"), r"SELECT 'a''b', 'a\b'");
    assert_eq!(
        printed(r"select 'a''''b', '\''', ''''"),
        r"SELECT E'a\'\'b', E'\\\'', ''''"
    );
}

#[test]
fn what_only_reads_is_accepted_and_the_rest_refused() {
    for (sql, expected) in [
        ("select * from t for update", "FOR UPDATE"),
        ("select * from (select 1 from t for share) x", "FOR SHARE"),
        ("select 1 into x from t", "SELECT INTO"),
        (
            "with x as (delete from t returning *) select * from x",
            "holds DELETE",
        ),
        (
            "with x as (insert into t values (1) returning *) select * from x",
            "holds INSERT",
        ),
        ("with x as (select 1) update t set a = 1", "holds UPDATE"),
        ("select (values (1))", "VALUES as a subquery"),
        ("insert into t values (1)", "begins with"),
    ] {
        let error = error(sql);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}");
        assert!(error.message().contains(expected), "{sql}: {error}");
        assert!(error.hint().is_some(), "{sql}");
    }
    assert_eq!(error("select 1; select 2").kind(), ErrorKind::Syntax);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    for (sql, expected) in [
        ("select a\nfrom t where a =", "line 2, column 17"),
        (
            "select a from t t t",
            "line 1, column 19: expected end of statement, found t",
        ),
        ("select (1", "line 1, column 10"),
    ] {
        let error = error(sql);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}");
        assert!(error.message().contains(expected), "{sql}: {error}");
        assert!(error.hint().unwrap().contains("--fan-out"));
    }
}

/// Parsed, cloned, compared, printed, formatted for debugging and dropped.
fn work_on(sql: &str) -> Result<()> {
    with_deep_stack(|| {
        let query = parse(sql)?;
        assert!(query.clone() == query);
        let _ = (query.to_string(), format!("{query:?}"));
        Ok(())
    })
}

#[test]
fn deep_statements_work_or_are_refused() {
    let chain =
        |link: &str, count: usize| format!("select 1 from t where a {}", link.repeat(count));
    let nested = |open: &str, middle: &str, close: &str, count: usize| {
        format!(
            "select {}{middle}{}",
            open.repeat(count),
            close.repeat(count)
        )
    };
    let unions = |count: usize| format!("select 1 {}", "union all select 1 ".repeat(count));
    // As deep as is allowed.
    for sql in [
        chain("or a ", MOST_DEEP),
        chain("+ 1 ", MOST_DEEP),
        chain("::int", MOST_DEEP),
        chain("[1]", MOST_DEEP / 2),
        chain("is null ", MOST_DEEP),
        chain("at time zone 'UTC' ", MOST_DEEP),
        unions(MOST_DEEP),
        nested("(", "1", ")", MOST_NESTED / 2),
        nested("(select ", "1", ")", MOST_NESTED / 5),
        nested("not ", "a", "", MOST_NESTED / 2),
        nested("case when ", "a", " then 1 end", MOST_NESTED / 2),
    ] {
        work_on(&sql).unwrap_or_else(|error| panic!("{error}: {}", &sql[..60]));
    }
    // Far deeper.
    for sql in [
        chain("or a ", 100_000),
        chain("+ 1 ", 100_000),
        chain("::int", 100_000),
        chain("[1]", 100_000),
        unions(100_000),
        nested("(", "1", ")", 9_000),
        nested("(select ", "1", ")", 9_000),
        nested("(select * from (", "select 1", ") x)", 4_000),
        nested("not ", "a", "", 9_000),
        nested("- ", "a", "", 9_000),
        nested("case when ", "a", " then 1 end", 9_000),
        nested("f(", "a", ")", 9_000),
        nested("array[", "a", "]", 9_000),
        nested("(", "1", ")", 100_000),
        format!("select * from {}t{}", "(".repeat(300), ")".repeat(300)),
        format!("select * from {}t{}", "(".repeat(9_000), ")".repeat(9_000)),
        format!("{}select 1{}", "(".repeat(9_000), ")".repeat(9_000)),
    ] {
        let start = std::time::Instant::now();
        let error = work_on(&sql).expect_err(&sql[..60]);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(start.elapsed().as_secs() < 20, "{}", &sql[..60]);
    }
    // Wide, and not deep.
    work_on(&format!("select a in (1{})", ", 1".repeat(100_000))).unwrap();
    work_on(&format!("select 1{}", ", a or b".repeat(10_000))).unwrap();
}

/// A connection to a server that all tests share; each has a session of its own.
#[cfg(feature = "local")]
pub(crate) use on_a_server::Client;

#[cfg(feature = "local")]
mod on_a_server {
    use std::sync::OnceLock;

    use tokio_postgres::{NoTls, SimpleQueryMessage};

    use crate::local::{Binaries, Server};

    pub(crate) struct Client {
        runtime: tokio::runtime::Runtime,
        client: tokio_postgres::Client,
    }

    impl Client {
        /// `None` without PostgreSQL on this machine: the test counts as passed, unless `CI` or
        /// `MERGANSER_REQUIRE_POSTGRES` is set.
        pub(crate) fn new() -> Option<Self> {
            static SERVER: OnceLock<Option<Server>> = OnceLock::new();
            let server = SERVER
                .get_or_init(|| {
                    let binaries = match Binaries::find() {
                        Ok(binaries) => binaries,
                        Err(error)
                            if ["CI", "MERGANSER_REQUIRE_POSTGRES"]
                                .iter()
                                .any(|name| std::env::var_os(name).is_some()) =>
                        {
                            panic!("{error}")
                        }
                        Err(error) => {
                            eprintln!("SKIPPED: {error}");
                            return None;
                        }
                    };
                    Some(Server::builder().with_binaries(binaries).start().unwrap())
                })
                .as_ref()?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let url = server.url("postgres");
            let client = runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
                tokio::spawn(connection);
                client
            });
            Some(Self { runtime, client })
        }

        /// The column names of a statement.
        pub(crate) fn names(&self, sql: &str) -> Result<Vec<String>, String> {
            let statement = self.runtime.block_on(self.client.prepare(sql));
            let statement = statement.map_err(message)?;
            let columns = statement.columns().iter();
            Ok(columns.map(|column| column.name().to_owned()).collect())
        }

        /// The column types of a statement.
        pub(crate) fn types(&self, sql: &str) -> Result<Vec<String>, String> {
            let statement = self.runtime.block_on(self.client.prepare(sql));
            let statement = statement.map_err(message)?;
            let columns = statement.columns().iter();
            Ok(columns
                .map(|column| format!("{}({})", column.type_(), column.type_modifier()))
                .collect())
        }

        /// The rows of a statement as text, behind its column names.
        pub(crate) fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
            let messages = self.runtime.block_on(self.client.simple_query(sql));
            let mut rows = Vec::new();
            for message in messages.map_err(message)? {
                match message {
                    SimpleQueryMessage::RowDescription(columns) => rows.push(
                        columns
                            .iter()
                            .map(|column| Some(column.name().to_owned()))
                            .collect(),
                    ),
                    SimpleQueryMessage::Row(row) => rows.push(
                        (0..row.len())
                            .map(|index| row.get(index).map(str::to_owned))
                            .collect(),
                    ),
                    _ => {}
                }
            }
            Ok(rows)
        }
    }

    fn message(error: tokio_postgres::Error) -> String {
        error
            .as_db_error()
            .map_or_else(|| error.to_string(), |error| error.message().to_owned())
    }
}
