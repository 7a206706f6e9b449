//! Executing: rows, parameters, modes, and what can be asked without.

use std::sync::Arc;

use adbc_core::error::Status;
use adbc_core::{Connection as _, Optionable, Statement as _};
use merganser::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, RecordBatch,
    RecordBatchIterator, RecordBatchReader, StringArray, TimestampMicrosecondArray,
};
use merganser::arrow::datatypes::{DataType, Int32Type, Int64Type};

use crate::{Scene, error, set, some, support, texts};

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter(columns.iter().cloned()).unwrap()
}

fn numbers(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

#[test]
fn an_answer_with_parameters_is_that_of_one_server() {
    let Some(scene) = Scene::tpch() else { return };
    let sql = "SELECT n_name, o_orderpriority, count(*) AS n, sum(l_extendedprice * (1 - l_discount))::text AS revenue,
            avg(l_quantity)::text AS quantity, max(o_comment) AS comment
        FROM lineitem JOIN orders ON l_orderkey = o_orderkey
            JOIN customer ON o_custkey = c_custkey JOIN nation ON c_nationkey = n_nationkey
        WHERE o_orderdate >= $1 AND l_quantity > $2 AND n_name <> $3
        GROUP BY n_name, o_orderpriority ORDER BY n_name, o_orderpriority";
    let mut statement = scene.statement(sql);
    statement.prepare().unwrap();
    let day = 9131; // 1995-01-01
    let values = batch(&[
        ("day", Arc::new(Date32Array::from(vec![day]))),
        ("quantity", numbers(&[Some(10)])),
        ("nation", Arc::new(StringArray::from(vec!["it's none"]))),
    ]);
    statement.bind(values).unwrap();
    let answer = texts(statement.execute().unwrap());

    let oracle = &support::tpch(3).unwrap().oracle;
    let (_, database) = oracle.rsplit_once('/').unwrap();
    let sql = sql
        .replace("$1", "date '1995-01-01'")
        .replace("$2", "10")
        .replace("$3", "'it''s none'");
    let expected = support::server().unwrap().query(database, &sql).unwrap();
    assert!(expected.len() > 20);
    assert_eq!(answer, expected);
}

/// Without a type, a moment that is compared with a date would be a date.
#[test]
fn a_parameter_means_what_its_arrow_type_says() {
    let Some(scene) = Scene::numbered(&[3, 3]) else {
        return;
    };
    let mut statement = scene.statement(
        "SELECT ($1 > date '2023-02-04')::text, abs($2)::text, count(*)::text FROM t
         WHERE n > $3 AND n::text <> $4",
    );
    let noon = 1_675_512_000_000_000; // 2023-02-04 12:00
    let values = batch(&[
        (
            "moment",
            Arc::new(TimestampMicrosecondArray::from(vec![noon])),
        ),
        ("number", numbers(&[Some(-5)])),
        ("half", Arc::new(Float64Array::from(vec![1.5]))),
        ("text", Arc::new(StringArray::from(vec!["4"]))),
    ]);
    statement.bind(values).unwrap();
    let answer = texts(statement.execute().unwrap());
    // 0 to 5, but for 0, 1 and 4.
    assert_eq!(
        answer,
        [["true", "5", "3"].map(|it| Some(it.to_owned())).to_vec()]
    );
}

#[test]
fn rows_come_in_batches_of_the_size_that_is_set() {
    let Some(scene) = Scene::numbered(&[1000, 1000]) else {
        return;
    };
    let mut statement = scene.statement("SELECT n FROM t ORDER BY n");
    set(&mut statement, "merganser.batch_rows", "100").unwrap();
    let reader = statement.execute().unwrap();
    assert_eq!(reader.schema().field(0).data_type(), &DataType::Int32);
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert!(batches.iter().all(|batch| batch.num_rows() <= 100));
    let numbers: Vec<_> = batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int32Type>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(numbers, (0..2000).collect::<Vec<_>>());
    // The most that can be set.
    for (name, value) in [
        ("merganser.batch_rows", "1000000"),
        ("merganser.memory_bytes", "1125899906842624"),
        ("merganser.timeout_ms", "2147483647"),
    ] {
        set(&mut statement, name, value).unwrap();
    }
    for order in ["", "first_come", "shard"] {
        set(&mut statement, "merganser.order", order).unwrap();
        assert_eq!(texts(statement.execute().unwrap()).len(), 2000);
    }
}

#[test]
fn rows_of_parameters_are_executed_one_after_the_other() {
    let Some(scene) = Scene::numbered(&[3, 3]) else {
        return;
    };
    let mut statement =
        scene.statement("SELECT n, $2::text AS label FROM t WHERE n >= $1 ORDER BY n");
    let values = batch(&[
        ("$1", numbers(&[Some(4), None, Some(5)])),
        (
            "$2",
            Arc::new(StringArray::from(vec![Some("a"), Some("b"), None])),
        ),
    ]);
    statement.bind(values.clone()).unwrap();
    let expected = vec![
        vec![Some("4".to_owned()), Some("a".to_owned())],
        vec![Some("5".to_owned()), Some("a".to_owned())],
        vec![Some("5".to_owned()), None],
    ];
    assert_eq!(texts(statement.execute().unwrap()), expected);
    // What was bound is used up.
    let missing = error(statement.execute());
    assert_eq!(missing.status, Status::InvalidArguments);
    assert!(
        missing.message.contains("2 parameters, but 0 values"),
        "{missing}"
    );

    // The same as a stream of several batches, and counted.
    let stream = |batches: Vec<RecordBatch>| {
        let schema = values.schema();
        Box::new(RecordBatchIterator::new(
            batches.into_iter().map(Ok),
            schema,
        ))
    };
    let parts = || vec![values.slice(0, 1), values.slice(1, 2)];
    statement.bind_stream(stream(parts())).unwrap();
    assert_eq!(texts(statement.execute().unwrap()), expected);
    statement.bind_stream(stream(parts())).unwrap();
    assert_eq!(statement.execute_update().unwrap(), Some(3));

    // No row of values is no execution, and still a result.
    statement.bind_stream(stream(Vec::new())).unwrap();
    let reader = statement.execute().unwrap();
    assert_eq!(reader.schema().fields().len(), 2);
    assert!(texts(reader).is_empty());
}

#[test]
fn an_error_of_a_later_row_of_parameters_ends_the_stream() {
    let Some(scene) = Scene::numbered(&[1, 1]) else {
        return;
    };
    let mut statement = scene.statement("SELECT n / $1 AS n FROM t ORDER BY n");
    statement
        .bind(batch(&[("$1", numbers(&[Some(1), Some(0), Some(1)]))]))
        .unwrap();
    let mut reader = statement.execute().unwrap();
    let mut rows = 0;
    let failure = loop {
        match reader.next().expect("the error comes before the end") {
            Ok(batch) => rows += batch.num_rows(),
            Err(error) => break error.to_string(),
        }
    };
    assert_eq!(rows, 2);
    assert!(failure.contains("division by zero"), "{failure}");
    assert!(failure.contains("SQLSTATE 22012"), "{failure}");
    assert!(reader.next().is_none());
}

#[test]
fn types_are_told_without_running() {
    let Some(scene) = Scene::numbered(&[1, 1]) else {
        return;
    };
    let mut statement = scene.statement(
        "SELECT n, $1::numeric(10,2) AS price, now() AS at, $2::text[] AS tags FROM t LIMIT $3",
    );
    let schema = statement.execute_schema().unwrap();
    let types: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| (field.name().as_str(), field.data_type().to_string()))
        .collect();
    assert_eq!(types[0], ("n", "Int32".to_owned()));
    assert_eq!(types[1], ("price", "Decimal128(10, 2)".to_owned()));
    assert!(types[2].1.contains("Timestamp"), "{types:?}");
    assert!(types[3].1.contains("List"), "{types:?}");

    let parameters = statement.get_parameter_schema().unwrap();
    let parameters: Vec<_> = parameters
        .fields()
        .iter()
        .map(|field| (field.name().as_str(), field.data_type().clone()))
        .collect();
    assert_eq!(parameters.len(), 3);
    assert_eq!(parameters[0].0, "$1");
    assert_eq!(parameters[2], ("$3", DataType::Int64));
    assert!(
        matches!(parameters[1].1, DataType::List(_)),
        "{parameters:?}"
    );

    let mut bare = scene.connection.clone().new_statement().unwrap();
    assert_eq!(error(bare.prepare()).status, Status::InvalidState);
    let none = error(bare.execute());
    assert!(none.message.contains("has no query"), "{none}");
}

#[test]
fn a_fan_out_is_merged_by_sql() {
    let Some(scene) = Scene::numbered(&[3, 4]) else {
        return;
    };
    let mut statement = scene.fan_out("SELECT count(*) AS n FROM t");
    set(&mut statement, "merganser.order", "shard").unwrap();
    assert_eq!(texts(statement.execute().unwrap()), some(&[&["3"], &["4"]]));
    set(
        &mut statement,
        "merganser.merge_sql",
        "SELECT sum(n) AS n FROM shards",
    )
    .unwrap();
    let reader = statement.execute().unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 7);

    // Options that do not go together.
    set(&mut statement, "merganser.mode", "query").unwrap();
    let refused = error(statement.execute());
    assert_eq!(refused.status, Status::InvalidState);
    assert!(refused.message.contains("merganser.merge_sql"), "{refused}");
    set(&mut statement, "merganser.merge_sql", "").unwrap();
    assert_eq!(texts(statement.execute().unwrap()), some(&[&["7"]]));
}

#[test]
fn a_plan_can_be_read_and_progress_too() {
    let Some(scene) = Scene::numbered(&[2000, 3000]) else {
        return;
    };
    let mut statement = scene.statement("SELECT count(*) AS n, sum(n) AS s FROM t WHERE n > $1");
    let explain = |statement: &crate::ManagedStatement| {
        statement.get_option_string("merganser.explain".into())
    };
    // Long enough for managers whose first buffer is too small.
    let plan = explain(&statement).unwrap();
    assert!(
        plan.contains("combine") || plan.contains("Combine"),
        "{plan}"
    );
    assert!(plan.contains("s0") && plan.contains("s1"), "{plan}");
    set(&mut statement, "merganser.merge", "gather").unwrap();
    assert!(
        explain(&statement)
            .unwrap()
            .to_lowercase()
            .contains("gather")
    );
    set(&mut statement, "merganser.mode", "fan_out").unwrap();
    set(&mut statement, "merganser.merge", "auto").unwrap();
    assert!(error(explain(&statement)).message.contains("has no plan"));

    let mut statement = scene.statement("SELECT n FROM t");
    let progress = |statement: &crate::ManagedStatement, name: &str| {
        statement.get_option_double(name.into()).unwrap()
    };
    assert_eq!(progress(&statement, "adbc.statement.exec.progress"), 0.0);
    assert_eq!(statement.execute_update().unwrap(), Some(5000));
    assert_eq!(progress(&statement, "adbc.statement.exec.progress"), 5000.0);
    assert_eq!(
        progress(&statement, "adbc.statement.exec.max_progress"),
        0.0
    );
}

#[test]
fn a_time_zone_and_a_schema_are_the_connection_s() {
    let Some(urls) = support::numbered(&[1, 1]) else {
        return;
    };
    let scene = Scene::new(urls, "[[table]]\nname = \"public.t\"\nshard_key = \"n\"\n");
    let mut connection = scene.connection.clone();
    for url in &scene.urls {
        support::execute(
            url,
            "create schema \"odd\"\"one\"; create view \"odd\"\"one\".v as select n + 100 as n from public.t",
        );
    }
    let schema = |connection: &crate::ManagedConnection| {
        connection
            .get_option_string("adbc.connection.db_schema".into())
            .unwrap()
    };
    assert_eq!(schema(&connection), "public");
    connection
        .set_option("adbc.connection.db_schema".into(), "odd\"one".into())
        .unwrap();
    connection
        .set_option("merganser.timezone".into(), "Asia/Kolkata".into())
        .unwrap();
    assert_eq!(schema(&connection), "odd\"one");
    let mut statement = connection.new_statement().unwrap();
    statement
        .set_sql_query("SELECT n FROM v ORDER BY n")
        .unwrap();
    assert_eq!(
        texts(statement.execute().unwrap()),
        some(&[&["100"], &["101"]])
    );
    statement
        .set_sql_query("SELECT '2024-01-01 00:00:00+00'::timestamptz::text")
        .unwrap();
    assert_eq!(
        texts(statement.execute().unwrap()),
        some(&[&["2024-01-01 05:30:00+05:30"]])
    );
}

#[test]
fn every_type_comes_as_the_library_gives_it() {
    let Some(scene) = Scene::numbered(&[1, 0]) else {
        return;
    };
    let sql = "SELECT true AS b, 1::int2 AS i2, 1.5::float4 AS f4, 12.50::numeric(6,2) AS d, 'x'::bytea AS y,
        'a'::text AS t, '{}'::jsonb AS j, date '2024-02-29' AS day, interval '1 mon 2 days' AS i,
        'c8e1c1ac-3a3c-4f0a-8a2b-3a9d4f0a8a2b'::uuid AS u, ARRAY[1,NULL] AS l, int4range(1,5) AS r, NULL::int AS z FROM t";
    let mut statement = scene.statement(sql);
    let reader = statement.execute().unwrap();
    let schema = reader.schema();
    let cluster =
        merganser::Topology::from_path(scene.folder.path().join("merganser.toml")).unwrap();
    let cluster = merganser::blocking::Cluster::new(cluster).unwrap();
    let own = cluster.query(sql).stream().unwrap();
    assert_eq!(schema, own.schema());
    let own: Vec<_> = own.map(Result::unwrap).collect();
    let through: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(through.len(), 1);
    assert_eq!(through, own);
    assert!(through[0].column(12).is_null(0));
}
