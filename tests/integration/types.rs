//! Every type on a live server: what is read and printed is what the server prints, or is the
//! documented error.
//!
//! The values are in `type_values.rs`.

use std::sync::OnceLock;

use merganser::arrow::datatypes::{DataType, SchemaRef};
use merganser::arrow::record_batch::RecordBatch;
use merganser::types::{IntervalAs, NumericAs, TextAs, TypeOptions, Unrepresentable};
use merganser::{Cluster, Error, ErrorKind, Phase, Topology};
use merganser_local::Server;

use crate::support;
use crate::texts::{texts_of, without_trailing_zeros};
use crate::type_values::{AsNull, MANY, MANY_FROM, SAME, SCALED, SCHEMA, UNFIT, Unfit};

#[tokio::test]
async fn values_are_printed_as_the_server_prints_them() {
    let Some(database) = Database::get() else {
        return;
    };
    for expressions in SAME.chunks(50) {
        database
            .assert_same(expressions, TypeOptions::default(), str::to_owned)
            .await;
    }
    database
        .assert_same(SCALED, TypeOptions::default(), without_trailing_zeros)
        .await;
}

#[tokio::test]
async fn text_and_bytes_may_be_views() {
    let Some(database) = Database::get() else {
        return;
    };
    let views = options(|options| options.text = TextAs::Views);
    let lossless = TypeOptions {
        text: TextAs::Views,
        ..TypeOptions::LOSSLESS
    };
    for expressions in SAME.chunks(50) {
        for options in [views, lossless] {
            database
                .assert_same(expressions, options, str::to_owned)
                .await;
        }
    }
    let schema = database
        .schema(
            "SELECT 'a'::text, '\\x00'::bytea, '1 day'::interval, '1.1.1.1'::inet, \
             ARRAY['a'], int4range(1, 2), 'a'::\"char\"",
            options(|options| {
                options.text = TextAs::Views;
                options.interval = IntervalAs::Text;
            }),
        )
        .await;
    let types: Vec<_> = schema.fields().iter().map(|it| it.data_type()).collect();
    assert_eq!(types[0], &DataType::Utf8View);
    assert_eq!(types[1], &DataType::BinaryView);
    assert_eq!(types[2], &DataType::Utf8View);
    assert_eq!(types[3], &DataType::Utf8View);
    assert!(matches!(types[4], DataType::List(item) if item.data_type() == &DataType::Utf8View));
    assert!(matches!(types[5], DataType::Struct(_)));
    assert_eq!(types[6], &DataType::Utf8View);
}

#[tokio::test]
async fn values_that_arrow_cannot_hold_are_errors() {
    let Some(database) = Database::get() else {
        return;
    };
    for Unfit(expression, message, _) in UNFIT {
        let error = database.error(expression, TypeOptions::default()).await;
        assert_eq!(error.kind(), ErrorKind::Decode, "{expression}: {error}");
        assert!(error.message().contains(message), "{expression}: {error}");
        assert_eq!(error.phase(), Some(Phase::Stream), "{expression}: {error}");
        assert!(error.shard().is_some(), "{expression}: {error}");
        assert!(error.hint().is_some(), "{expression}: {error}");
    }
}

#[tokio::test]
async fn values_that_arrow_cannot_hold_may_be_null() {
    let Some(database) = Database::get() else {
        return;
    };
    let options = options(|options| options.unrepresentable = Unrepresentable::Null);
    for Unfit(expression, message, as_null) in UNFIT {
        let expected = match as_null {
            AsNull::Null => None,
            AsNull::Text(text) => Some((*text).to_owned()),
            AsNull::Error => {
                let error = database.error(expression, options).await;
                assert!(error.message().contains(message), "{expression}: {error}");
                continue;
            }
        };
        let rows = database
            .texts(&format!("SELECT {expression}"), options)
            .await;
        assert_eq!(rows, [[expected]], "{expression}");
    }
    for expressions in SAME.chunks(50) {
        database
            .assert_same(expressions, options, str::to_owned)
            .await;
    }
}

/// Then there is no value at all that is not printed as the server prints it, and no error.
#[tokio::test]
async fn values_that_arrow_cannot_hold_may_be_text() {
    let Some(database) = Database::get() else {
        return;
    };
    let options = options(|options| options.unrepresentable = Unrepresentable::Text);
    let unfit: Vec<_> = UNFIT
        .iter()
        .map(|Unfit(expression, ..)| *expression)
        .collect();
    for expressions in SAME.chunks(50).chain([SCALED, &unfit]) {
        database
            .assert_same(expressions, options, str::to_owned)
            .await;
    }
}

#[tokio::test]
async fn numeric_without_scale_may_be_text_a_double_or_another_decimal() {
    let Some(database) = Database::get() else {
        return;
    };
    let unfit: Vec<_> = UNFIT
        .iter()
        .map(|Unfit(expression, ..)| *expression)
        .filter(|expression| expression.contains("numeric") && !expression.contains("(5,2)"))
        .collect();
    let text = options(|options| options.numeric = NumericAs::Text);
    database.assert_same(SCALED, text, str::to_owned).await;
    database.assert_same(&unfit, text, str::to_owned).await;

    let decimal = NumericAs::Decimal {
        precision: 76,
        scale: 38,
    };
    let decimal = options(|options| options.numeric = decimal);
    database
        .assert_same(SCALED, decimal, without_trailing_zeros)
        .await;
    for expression in ["1e-38", "1e18::numeric", "1e37::numeric"] {
        database
            .assert_same(&[expression], decimal, without_trailing_zeros)
            .await;
    }
    let error = database.error("1e-39", decimal).await;
    assert!(
        error
            .message()
            .contains("does not fit decimal(76,38) exactly"),
        "{error}"
    );

    let float = options(|options| options.numeric = NumericAs::Float64);
    for expression in [
        "0::numeric",
        "1.50",
        "-0.1",
        "1e-21::numeric",
        "1e23::numeric",
        "'NaN'::numeric",
        "1e308::numeric",
        "'Infinity'::numeric",
        "'-Infinity'::numeric",
        "1 / 3::numeric",
        "0.1 + 0.2",
        "9007199254740993.0",
        "1.7976931348623157e308",
        "'1e-323'::numeric",
        "123456789012345678901234567890.5",
    ] {
        let rows = database.texts(&format!("SELECT {expression}"), float).await;
        assert_eq!(
            rows,
            database.servers(&format!("SELECT ({expression})::float8")),
            "{expression}"
        );
    }
    let schema = database
        .schema("SELECT 1.5, 1.5::numeric(5,2)", float)
        .await;
    assert_eq!(schema.field(0).data_type(), &DataType::Float64);
    assert_eq!(schema.field(1).data_type(), &DataType::Decimal128(5, 2));
}

/// A character above 127 is no character of UTF-8: PostgreSQL 15 sends the bare byte as text, which
/// no client can read.
#[tokio::test]
async fn chars_above_127_are_octal() {
    let Some(database) = Database::get() else {
        return;
    };
    let sql = "SELECT (-1)::\"char\", (-128)::\"char\", ARRAY[(-1)::\"char\"]";
    let rows = database.texts(sql, TypeOptions::default()).await;
    let expected = ["\\377", "\\200", "{\"\\\\377\"}"].map(|text| Some(text.to_owned()));
    assert_eq!(rows, [expected]);
}

/// NULL of every type of the catalog, and of every type that the tests made.
#[tokio::test]
async fn every_type_has_null() {
    let Some(database) = Database::get() else {
        return;
    };
    let types = database.servers(
        "SELECT format_type(oid, NULL) FROM pg_type WHERE typtype <> 'p' AND typisdefined ORDER BY oid",
    );
    let types: Vec<String> = types.into_iter().flatten().flatten().collect();
    assert!(types.len() > 400, "{}", types.len());
    for options in [
        TypeOptions::default(),
        options(|options| options.unrepresentable = Unrepresentable::Text),
    ] {
        for types in types.chunks(100) {
            let nulls: Vec<_> = types.iter().map(|name| format!("NULL::{name}")).collect();
            let nulls: Vec<_> = nulls.iter().map(String::as_str).collect();
            database.assert_same(&nulls, options, str::to_owned).await;
        }
    }
}

/// The catalog has nearly every type, and values that nobody chose for a test.
#[tokio::test]
async fn the_catalog_is_printed_as_the_server_prints_it() {
    let Some(database) = Database::get() else {
        return;
    };
    // Shared catalogs change while other tests create databases; statistics may do at any time.
    let tables = database.servers(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND NOT relisshared \
         AND relnamespace IN ('pg_catalog'::regnamespace, 'public'::regnamespace) \
         UNION ALL VALUES ('information_schema.columns'), ('information_schema.domains')",
    );
    for table in tables.into_iter().flatten().flatten() {
        let sql = format!("SELECT * FROM {table} LIMIT 300");
        let rows = database.texts(&sql, TypeOptions::default()).await;
        let expected = database.servers(&sql);
        assert_eq!(rows.len(), expected.len(), "{table}");
        for (ours, servers) in rows.iter().zip(&expected) {
            assert_eq!(ours, servers, "{table}");
        }
    }
}

/// What a database or a role sets for its sessions changes how a server prints values, and how it
/// reads literals, but not what we read.
#[tokio::test]
async fn settings_of_a_database_change_nothing() {
    let (Some(database), Some(plain)) = (Database::new(), Database::get()) else {
        return;
    };
    for setting in [
        "timezone = 'America/New_York'",
        "datestyle = 'German, YMD'",
        "intervalstyle = iso_8601",
        "bytea_output = escape",
        "extra_float_digits = -10",
        "xmlbinary = hex",
        "standard_conforming_strings = off",
        "client_encoding = latin1",
        "default_transaction_isolation = serializable",
        "transform_null_equals = on",
    ] {
        let sql = format!("ALTER DATABASE \"{}\" SET {setting}", database.name);
        database.server.execute("postgres", &sql).unwrap();
    }
    // Read from this one, compared with what the other prints.
    let database = Database {
        name: plain.name.clone(),
        ..database
    };
    let text = options(|options| options.unrepresentable = Unrepresentable::Text);
    for options in [TypeOptions::default(), text] {
        for expressions in SAME.chunks(50) {
            database
                .assert_same(expressions, options, str::to_owned)
                .await;
        }
    }
}

#[tokio::test]
async fn text_of_databases_in_other_encodings_is_utf8_or_an_error() {
    let Some(server) = support::server() else {
        return;
    };
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("encoding_{encoding}");
        server
            .execute(
                "postgres",
                &format!(
                    "CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING {encoding} LOCALE 'C'"
                ),
            )
            .unwrap();
        let schema = "CREATE EXTENSION hstore; CREATE TYPE mood AS ENUM ('é'); \
             CREATE TYPE pair AS (\"é\" text)";
        server.execute(&name, schema).unwrap();
        let url = server.url(&name);
        let database = Database { server, name, url };
        let expressions = [
            "'é'",
            "'é'::name",
            "'é'::bpchar",
            "'é'::mood",
            "ARRAY['é'::mood, NULL]",
            "'{\"é\": \"é\"}'::json",
            "'{\"é\": \"é\"}'::jsonb",
            "'<a>é</a>'::xml",
            "'e=>e'::hstore",
            "row('é')::pair",
            "row('é', 1)",
            "to_tsvector('simple', 'é')",
            "date 'infinity'",
        ];
        let text = options(|options| options.unrepresentable = Unrepresentable::Text);
        database
            .assert_same(&expressions[..12], TypeOptions::default(), str::to_owned)
            .await;
        database
            .assert_same(&expressions, text, str::to_owned)
            .await;
        let schema = database
            .schema("SELECT 1 AS \"é\"", TypeOptions::default())
            .await;
        assert_eq!(schema.field(0).name(), "é");
        let hstore = "'é=>é, a=>b'::hstore";
        if encoding == "LATIN1" {
            // A fault of PostgreSQL: `hstore_send` gives lengths before the conversion.
            let error = database.error(hstore, TypeOptions::default()).await;
            assert!(
                error.message().contains("a database that is not in UTF8"),
                "{error}"
            );
        } else {
            database.assert_same(&[hstore], text, str::to_owned).await;
            let error = database
                .error("convert_from('\\xff', 'SQL_ASCII')", TypeOptions::default())
                .await;
            assert!(
                error.sql_state() == Some("22021") || error.message().contains("not valid UTF-8"),
                "{error}"
            );
        }
    }
}

/// Values from a hash, so that both readings see the same ones.
#[tokio::test]
async fn many_values_are_printed_as_the_server_prints_them() {
    let Some(database) = Database::get() else {
        return;
    };
    let options = options(|options| options.numeric = NumericAs::Text);
    let mut differences = Vec::new();
    for expression in MANY {
        let sql = format!("SELECT {expression} {MANY_FROM}");
        let rows = match database.read(&sql, options).await {
            Ok((_, batches)) => batches.iter().flat_map(texts_of).collect(),
            Err(error) => vec![vec![Some(error.to_string())]],
        };
        let expected = database.servers(&sql);
        let different = rows
            .iter()
            .zip(&expected)
            .find(|(ours, servers)| ours != servers);
        if let Some((ours, servers)) = different {
            differences.push(format!("{expression}: {ours:?}, the server's {servers:?}"));
        } else if rows.len() != expected.len() {
            differences.push(format!("{expression}: {} rows", rows.len()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn columns_of_tables_keep_what_they_declare() {
    let Some(database) = Database::get() else {
        return;
    };
    let sql = "SELECT * FROM cells";
    let rows = database.texts(sql, TypeOptions::default()).await;
    assert_eq!(rows, database.servers(sql));
    let schema = database.schema(sql, TypeOptions::default()).await;
    let decimal = schema.field_with_name("price").unwrap();
    assert_eq!(decimal.data_type(), &DataType::Decimal128(15, 2));
    // Of an expression, nobody knows the dimensions before the first row.
    let error = database
        .error("grid[1:1] FROM cells", TypeOptions::default())
        .await;
    assert!(
        error
            .message()
            .contains("an array of 2 dimensions in a column of 1"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("column::text"), "{error}");
}

#[tokio::test]
async fn columns_may_be_none_many_unnamed_or_of_one_name() {
    let Some(database) = Database::get() else {
        return;
    };
    let default = TypeOptions::default();
    let (schema, batches) = database
        .read("SELECT FROM generate_series(1, 3)", default)
        .await
        .unwrap();
    assert!(schema.fields().is_empty());
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);

    // The most that a query may have is 1,664; a table 1,600.
    let many = (1..=1664)
        .map(|n| format!("{n}::int2 AS c{n}"))
        .collect::<Vec<_>>();
    let sql = format!("SELECT {}", many.join(", "));
    assert_eq!(database.texts(&sql, default).await, database.servers(&sql));

    let sql = "SELECT 1 AS a, 2 AS a, 'x', 'y', 3 AS \"A\", 4 AS \"a \"\"b\", 5 AS \"\u{e9}\"";
    let schema = database.schema(sql, default).await;
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["a", "a", "?column?", "?column?", "A", "a \"b", "é"]);
    assert_eq!(database.texts(sql, default).await, database.servers(sql));

    let sql = "SELECT 1 AS n, ARRAY['ok'::mood] AS m WHERE false";
    let schema = database.schema(sql, default).await;
    assert_eq!(schema.field(0).data_type(), &DataType::Int32);
    assert!(matches!(schema.field(1).data_type(), DataType::List(_)));
    assert!(database.texts(sql, default).await.is_empty());
}

/// A pooled connection must not remember a type as it was: an `int4` read where a `float4` is now
/// would be a wrong number without a word.
#[tokio::test]
async fn types_that_change_between_queries_are_read_as_they_are() {
    let (Some(server), Some(url)) = (support::server(), support::database()) else {
        return;
    };
    let name = url.rsplit('/').next().unwrap();
    let cluster = Cluster::new(Topology::from_urls([&url]).unwrap()).unwrap();
    let sql = "SELECT max(m) FROM unnest(enum_range(NULL::mood)) m";
    let read = async || {
        let moods = cluster.fan_out(sql).collect().await.unwrap();
        let pairs = cluster
            .fan_out("SELECT '(1)'::pair")
            .collect()
            .await
            .unwrap();
        let texts = moods.iter().chain(&pairs).flat_map(texts_of).flatten();
        texts.map(Option::unwrap).collect::<Vec<_>>()
    };
    server
        .execute(
            name,
            "CREATE TYPE mood AS ENUM ('sad'); CREATE TYPE pair AS (a int4)",
        )
        .unwrap();
    assert_eq!(read().await, ["sad", "(1)"]);
    server
        .execute(
            name,
            "ALTER TYPE mood ADD VALUE 'ok'; ALTER TYPE pair ALTER ATTRIBUTE a TYPE float4",
        )
        .unwrap();
    assert_eq!(read().await, ["ok", "(1)"]);
    cluster.close().await;
}

fn options(set: impl FnOnce(&mut TypeOptions)) -> TypeOptions {
    let mut options = TypeOptions::default();
    set(&mut options);
    options
}

/// One database with [`SCHEMA`], read through the library and asked directly.
struct Database {
    server: &'static Server,
    name: String,
    url: String,
}

impl Database {
    fn get() -> Option<&'static Self> {
        static DATABASE: OnceLock<Database> = OnceLock::new();
        support::server()?;
        Some(DATABASE.get_or_init(|| Self::new().expect("a server")))
    }

    fn new() -> Option<Self> {
        let server = support::server()?;
        let url = support::database()?;
        let name = url.rsplit('/').next().unwrap().to_owned();
        server.execute(&name, SCHEMA).unwrap();
        Some(Self { server, name, url })
    }

    async fn read(
        &self,
        sql: &str,
        options: TypeOptions,
    ) -> Result<(SchemaRef, Vec<RecordBatch>), Error> {
        let cluster = Cluster::new(Topology::from_urls([&self.url])?)?;
        let query = cluster.fan_out(sql).with_types(options);
        let schema = query.describe().await?;
        let batches = cluster.fan_out(sql).with_types(options).collect().await;
        cluster.close().await;
        let batches = batches?;
        for batch in &batches {
            assert_eq!(batch.schema(), schema, "{sql}");
        }
        Ok((schema, batches))
    }

    async fn schema(&self, sql: &str, options: TypeOptions) -> SchemaRef {
        self.read(sql, options).await.expect(sql).0
    }

    async fn error(&self, expression: &str, options: TypeOptions) -> Error {
        let read = self.read(&format!("SELECT {expression}"), options).await;
        read.expect_err(expression)
    }

    /// What the library prints.
    async fn texts(&self, sql: &str, options: TypeOptions) -> Vec<Vec<Option<String>>> {
        let (_, batches) = self.read(sql, options).await.expect(sql);
        batches.iter().flat_map(texts_of).collect()
    }

    /// What the server prints.
    fn servers(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let sql = format!(
            "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = postgres; {sql}"
        );
        self.server.query(&self.name, &sql).expect(&sql)
    }

    /// Reads all expressions with one query; fails with all that differ, or with all that are
    /// errors.
    async fn assert_same(
        &self,
        expressions: &[&str],
        options: TypeOptions,
        normalize: impl Fn(&str) -> String,
    ) {
        let sql = format!("SELECT {}", expressions.join(", "));
        let read = self.read(&sql, options).await;
        let ours = match &read {
            Ok((_, batches)) => batches.iter().flat_map(texts_of).next().unwrap(),
            Err(error) => {
                let mut errors = vec![error.to_string()];
                for expression in expressions {
                    let sql = format!("SELECT {expression}");
                    if let Err(error) = self.read(&sql, options).await {
                        errors.push(format!("{expression}: {error}"));
                    }
                }
                panic!("with {options:?}:\n{}", errors.join("\n"));
            }
        };
        let servers = self.servers(&sql).remove(0);
        assert_eq!(
            (ours.len(), servers.len()),
            (expressions.len(), expressions.len())
        );
        let mut differences = Vec::new();
        for ((expression, ours), servers) in expressions.iter().zip(&ours).zip(&servers) {
            let servers = servers.as_deref().map(&normalize);
            if ours.as_deref().map(&normalize) != servers {
                differences.push(format!("{expression}: {ours:?}, the server's {servers:?}"));
            }
        }
        assert!(
            differences.is_empty(),
            "with {options:?}:\n{}",
            differences.join("\n")
        );
    }
}
