//! Statements against the parser and, with the feature `local`, against a real PostgreSQL.

use super::*;
use crate::plan::thread::with_deep_stack;

fn error(sql: &str) -> Error {
    with_deep_stack(|| parse(sql).map(drop)).expect_err(sql)
}

fn printed(sql: &str) -> String {
    with_deep_stack(|| Ok(parse(sql)?.to_string())).expect(sql)
}

#[test]
fn a_query_is_read_and_printed() {
    assert_eq!(printed("select a from t -- x\n;"), "SELECT a FROM t");
    assert_eq!(printed("table t"), "SELECT * FROM t");
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
        ("select f((values (1)))", "VALUES as a subquery"),
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
        // What was exchanged before it does not move the place.
        (
            "select top, trim(from a) from t x join u\njoin v on true on false where b =",
            "line 2, column 34",
        ),
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
        nested("not ", "a", "", MOST_DEEP),
        format!("select 1 where {}", vec!["a = 1"; MOST_DEEP].join(" or ")),
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
        nested("not ", "a", "", 100_000),
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
pub(crate) use on_a_server::Client;

mod on_a_server {
    use std::sync::OnceLock;

    use tokio_postgres::{NoTls, SimpleQueryMessage};

    use merganser_local::{Binaries, Server};

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

/// The statements of `testdata/sql/roundtrip`.
fn corpus() -> Vec<&'static str> {
    [
        include_str!("../../../testdata/sql/roundtrip/functions.sql"),
        include_str!("../../../testdata/sql/roundtrip/literals.sql"),
        include_str!("../../../testdata/sql/roundtrip/operators.sql"),
        include_str!("../../../testdata/sql/roundtrip/queries.sql"),
    ]
    .iter()
    .flat_map(|file| file.split(";\n"))
    .filter(|statement| !statement.trim().is_empty())
    .collect()
}

/// What becomes of a statement: its printed form, or why there is none that means the same.
fn round_trip(sql: &str) -> std::result::Result<String, String> {
    let result = with_deep_stack(|| {
        Ok(match parse(sql) {
            Ok(query) => prints_faithfully(sql, &query)
                .map(|()| written(&query))
                .map_err(|reason| format!("differs: {reason}")),
            Err(error) => Err(format!("unread: {}", error.message())),
        })
    });
    result.expect("a thread")
}

#[test]
fn printed_statements_give_the_same_rows() {
    let Some(client) = Client::new() else { return };
    let setup = include_str!("../../../testdata/sql/roundtrip.setup.sql");
    client.rows(setup).expect("the tables");
    let mut faults = Vec::new();
    for sql in corpus() {
        let expected = client.rows(sql);
        if let Err(error) = &expected {
            faults.push(format!("no statement: {sql}: {error}"));
            continue;
        }
        let Ok(printed) = round_trip(sql) else {
            continue;
        };
        let found = client.rows(&printed);
        if found != expected {
            faults.push(format!("{sql}\n{printed}\n{expected:?}\n{found:?}"));
        }
        let shape = with_deep_stack(|| Ok(written(&in_parentheses(parse(sql)?)))).expect(sql);
        let found = client.rows(&shape);
        if found != expected {
            faults.push(format!("SHAPE {sql}\n{shape}\n{expected:?}\n{found:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The words that are no alias without AS are the server's.
#[test]
fn the_words_that_need_as_are_those_of_a_server() {
    let Some(client) = Client::new() else { return };
    let rows = client.rows("SELECT word FROM pg_get_keywords() WHERE NOT barelabel");
    let Ok(rows) = rows else {
        return; // Before PostgreSQL 14 there is no such column.
    };
    for word in rows.iter().skip(1).flatten().flatten() {
        assert!(faithful::NO_BARE_LABEL.contains(&word.as_str()), "{word}");
    }
}

/// What is quoted because the parser would take it for a keyword is none of the server's.
#[test]
fn the_words_that_are_quoted_are_no_keywords_of_a_server() {
    let Some(client) = Client::new() else { return };
    let rows = client.rows("SELECT word FROM pg_get_keywords()").unwrap();
    assert!(rows.len() > 400, "{}", rows.len());
    for word in rows.iter().skip(1).flatten().flatten() {
        assert!(!plain::NO_KEYWORDS.contains(&word.as_str()), "{word}");
    }
}

/// The same tree with parentheses around every operation, so that PostgreSQL has to see its shape.
fn in_parentheses(mut query: ast::Query) -> ast::Query {
    struct Parentheses;
    impl VisitorMut for Parentheses {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
            use ast::Expr::*;
            let is_argument_name = matches!(
                expr,
                BinaryOp {
                    op: ast::BinaryOperator::Assignment,
                    ..
                }
            );
            let is_operation = matches!(
                expr,
                IsFalse(_)
                    | IsNotFalse(_)
                    | IsTrue(_)
                    | IsNotTrue(_)
                    | IsNull(_)
                    | IsNotNull(_)
                    | IsUnknown(_)
                    | IsNotUnknown(_)
                    | IsDistinctFrom(..)
                    | IsNotDistinctFrom(..)
                    | IsNormalized { .. }
                    | InList { .. }
                    | InSubquery { .. }
                    | Between { .. }
                    | Like { .. }
                    | ILike { .. }
                    | SimilarTo { .. }
                    | AnyOp { .. }
                    | AllOp { .. }
                    | UnaryOp { .. }
                    | Cast { .. }
                    | AtTimeZone { .. }
                    | Collate { .. }
                    | Exists { .. }
                    | BinaryOp { .. }
            );
            if is_operation && !is_argument_name && order_of_operator(expr).is_none() {
                let inner = std::mem::replace(expr, ast::Expr::Tuple(Vec::new()));
                *expr = Nested(Box::new(inner));
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(&mut query, &mut Parentheses);
    query
}

/// What cannot be read or printed is known, statement by statement: one more is a regression, one
/// less an achievement. `MERGANSER_BLESS=1` writes the list anew.
#[test]
fn what_is_refused_of_the_corpus_is_known() {
    let statements = corpus();
    let mut list = String::new();
    let mut refused = 0;
    for sql in &statements {
        if let Err(reason) = round_trip(sql) {
            refused += 1;
            let sql = sql.trim().replace('\n', " ");
            list.push_str(&format!("{sql}\n    {}\n", reason.replace('\n', " ")));
        }
    }
    let list = format!("{refused} of {} statements\n\n{list}", statements.len());
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/sql/roundtrip.refused.txt"
    );
    if std::env::var_os("MERGANSER_BLESS").is_some() {
        std::fs::write(path, &list).expect(path);
    }
    let known = std::fs::read_to_string(path).expect(path);
    assert!(known == list, "{list}");
}

#[test]
fn operators_group_as_in_postgresql() {
    for (sql, expected) in [
        ("a is distinct from b and c", "(a IS DISTINCT FROM b) AND c"),
        (
            "x or a is not distinct from b and c or d",
            "(x OR ((a IS NOT DISTINCT FROM b) AND c)) OR d",
        ),
        ("-2 ^ 2 * 3", "((-2) ^ 2) * 3"),
        ("a ~ b || c || d", "((a ~ b) || c) || d"),
        ("not a = b and c", "(NOT (a = b)) AND c"),
        ("a between b and c and d", "(a BETWEEN b AND c) AND d"),
        ("~ a + b", " OPERATOR(~) (a + b)"),
        (
            "- @ a ^ 2 || b * @#@ c - d = ~ e",
            "((-( OPERATOR(@) (a ^ 2))) || (b * ( OPERATOR(@#@) (c - d)))) = ( OPERATOR(~) e)",
        ),
    ] {
        let sql = format!("SELECT {sql}");
        let expected = format!("SELECT ({expected})");
        let found = with_deep_stack(|| Ok(in_parentheses(parse(&sql)?).to_string()));
        assert_eq!(found.expect(&sql), expected);
    }
    let sql = "select not exists (select 1) is null";
    assert!(error(sql).message().contains("group"), "{sql}");
}

#[test]
fn what_the_printer_loses_is_found() {
    for (sql, printed) in [
        ("select 1", "SELECT 2"),
        ("select a - -1", "SELECT a --1"),
        ("select 'a'", "SELECT a"),
        ("select '1'::int array", "SELECT '1'::INT AS array"),
        ("select a from t for update", "SELECT a FROM t"),
        ("select a isnull", "SELECT a AS isnull"),
        ("select \"A\"", "SELECT A"),
        ("select a", "SELECT a, b"),
        ("select f(all a) limit 1", "SELECT f(a)"),
        ("select a offset 1 limit 2", "SELECT a LIMIT 1 OFFSET 2"),
        (
            "select 1 group by grouping sets (rollup (a))",
            "SELECT 1 GROUP BY GROUPING SETS ((ROLLUP (a)))",
        ),
        ("select a > any (all)", "SELECT a > any ()"),
        ("select a union all select b", "SELECT a UNION SELECT b"),
        ("select E'\\x41'", "SELECT 'B'"),
    ] {
        assert!(faithful::compare(sql, printed).is_err(), "{sql}");
    }
    for (sql, printed) in [
        ("select a b;", "SELECT a AS b"),
        ("select E'\\x41'", "SELECT 'A'"),
        ("select f(all a) limit all", "SELECT f(a)"),
        ("select a offset 1 limit 2", "SELECT a LIMIT 2 OFFSET 1"),
    ] {
        assert_eq!(faithful::compare(sql, printed), Ok(()), "{sql}");
    }
    let reason = faithful::compare("select a,\n  b", "SELECT a, c").unwrap_err();
    assert_eq!(
        reason,
        "line 2, column 3: \"b (the end)\" would be sent as \"c (the end)\""
    );
}

/// For a look at statements of one's own, in a file with a line `;` behind each:
/// `MERGANSER_CORPUS=file cargo test --lib the_share_of_a_corpus -- --ignored --nocapture`.
#[test]
#[ignore = "needs a corpus"]
fn the_share_of_a_corpus() {
    let path = std::env::var("MERGANSER_CORPUS").expect("MERGANSER_CORPUS names a file");
    let text = std::fs::read_to_string(&path).expect(&path);
    let statements: Vec<_> = text.split("\n;\n").collect();
    let mut good = 0;
    for sql in &statements {
        match round_trip(sql) {
            Ok(_) => good += 1,
            Err(reason) => println!("{}\n    {reason}", sql.replace('\n', " ")),
        }
    }
    println!("{good} of {} statements", statements.len());
}
