mod arithmetic;

use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, DictionaryArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::util::pretty::pretty_format_batches;

use super::*;
use crate::merge::scripted::{Step, Watch, batch, failure, no_columns, numbers, source};

fn streams(shards: Vec<Vec<RecordBatch>>) -> Vec<QueryStream> {
    let schema = shards.iter().flatten().next().unwrap().schema();
    shards
        .into_iter()
        .map(|batches| {
            let steps = batches.into_iter().map(Step::Batch).collect();
            source(schema.clone(), steps, &Watch::default())
        })
        .collect()
}

async fn run(shards: Vec<Vec<RecordBatch>>, sql: &str) -> Result<Vec<RecordBatch>> {
    let options = ReaggregateOptions::default();
    reaggregate(streams(shards), sql, options)
        .await?
        .collect()
        .await
}

/// The rows of the answer, a line each, without the frame of the table.
async fn rows(shards: Vec<Vec<RecordBatch>>, sql: &str) -> Vec<String> {
    shown(&run(shards, sql).await.unwrap())
}

fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let table = pretty_format_batches(batches).unwrap().to_string();
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    lines
        .map(|line| {
            let cells = line.trim_matches('|').split('|').map(str::trim);
            cells.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

async fn refused(shards: Vec<Vec<RecordBatch>>, sql: &str) -> Error {
    run(shards, sql).await.unwrap_err()
}

/// (g, n, total, low, high) as a shard gives them for GROUP BY g.
fn partials(groups: &[(Option<&str>, i64, Option<i64>)]) -> RecordBatch {
    let totals = || groups.iter().map(|group| group.2);
    batch(vec![
        (
            "g",
            Arc::new(groups.iter().map(|group| group.0).collect::<StringArray>()),
        ),
        (
            "n",
            Arc::new(groups.iter().map(|group| group.1).collect::<Int64Array>()),
        ),
        ("total", Arc::new(totals().collect::<Int64Array>())),
        ("low", Arc::new(totals().collect::<Int64Array>())),
    ])
}

fn three_shards() -> Vec<Vec<RecordBatch>> {
    vec![
        vec![partials(&[(Some("a"), 2, Some(10)), (None, 1, Some(5))])],
        vec![],
        vec![
            partials(&[(Some("b"), 3, None), (None, 4, Some(-5))]),
            partials(&[(Some("a"), 1, Some(7))]),
        ],
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_aggregates_of_groups_become_whole_ones() {
    let sql = "SELECT g, sum(n) AS n, sum(total) AS total, min(low) AS low, max(low) AS high,
                      sum(total)::float8 / sum(n) AS mean
               FROM shards GROUP BY g ORDER BY g";
    assert_eq!(
        rows(three_shards(), sql).await,
        [
            "a 3 17 7 10 5.666666666666667",
            "b 3    ",
            // One group of NULL, and last as in PostgreSQL.
            " 5 0 -5 5 0.0",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn having_order_by_and_limit_see_whole_groups() {
    let sql = "SELECT g, sum(n) AS n FROM shards GROUP BY g HAVING sum(n) >= 3 ORDER BY 2 DESC, 1 LIMIT 2";
    assert_eq!(rows(three_shards(), sql).await, [" 5", "a 3"]);
    let sql = "SELECT count(*) AS c, count(total) AS t, avg(n) AS m FROM shards";
    assert_eq!(rows(three_shards(), sql).await, ["5 4 2.2"]);
    let sql = "SELECT sum(DISTINCT n) AS d, count(DISTINCT g) AS g FROM shards WHERE n < 4";
    assert_eq!(rows(three_shards(), sql).await, ["6 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rows_a_sum_is_null_and_a_count_is_zero() {
    let empty = || vec![vec![], vec![partials(&[])], vec![]];
    let sql = "SELECT count(*) AS c, sum(n) AS s, COALESCE(sum(n), 0) AS z FROM shards";
    assert_eq!(rows(empty(), sql).await, ["0  0"]);
    let sql = "SELECT g, sum(n) AS s FROM shards GROUP BY g";
    let answer = reaggregate(streams(empty()), sql, ReaggregateOptions::default()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.schema().field(1).data_type(), &DataType::Int64);
    assert!(shown(&answer.collect().await.unwrap()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_keep_the_order_of_the_shards() {
    for _ in 0..20 {
        let shards: Vec<_> = (0..16)
            .map(|shard| (0..5).map(|n| numbers([shard * 10 + n])).collect())
            .collect();
        let expected: Vec<_> = (0..16)
            .flat_map(|shard| (0..5).map(move |n| format!("{}", 2 * (shard * 10 + n))))
            .collect();
        assert_eq!(
            rows(shards.clone(), "SELECT n * 2 AS n FROM shards").await,
            expected
        );
        let sql = "SELECT n * 2 AS n FROM shards LIMIT 7";
        assert_eq!(rows(shards.clone(), sql).await, expected[..7]);
        // Groups come in the order in which the shards name them first.
        let sql = "SELECT (n + 3) % 7 AS n FROM shards GROUP BY 1";
        let groups: Vec<_> = [3, 4, 5, 6, 0, 1, 2].map(|n| n.to_string()).into();
        assert_eq!(rows(shards, sql).await, groups);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_come_gives_the_same_rows() {
    let options = ReaggregateOptions {
        order: Order::FirstCome,
        target_partitions: 4,
        ..Default::default()
    };
    let shards = (0..8).map(|_| vec![numbers(0..1000)]).collect();
    let sql = "SELECT n, count(*) AS c FROM shards GROUP BY n";
    let answer = reaggregate(streams(shards), sql, options).await.unwrap();
    let mut lines = shown(&answer.collect().await.unwrap());
    lines.sort();
    let mut expected: Vec<_> = (0..1000).map(|n| format!("{n} 8")).collect();
    expected.sort();
    assert_eq!(lines, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_read_twice_is_whole_both_times() {
    let shards = || {
        (0..4)
            .map(|shard| vec![numbers([shard, shard + 10])])
            .collect()
    };
    let cases = [
        (
            "SELECT count(*) AS c FROM (SELECT n FROM shards UNION ALL SELECT n FROM shards) u",
            "16",
        ),
        (
            "SELECT count(*) AS c FROM shards a JOIN shards b ON a.n = b.n",
            "8",
        ),
        (
            "WITH s AS (SELECT n FROM shards) SELECT count(*) AS c FROM s a, s b",
            "64",
        ),
        (
            "SELECT count(*) AS c FROM shards WHERE n >= (SELECT avg(n) FROM shards)",
            "4",
        ),
        (
            "WITH RECURSIVE r AS (SELECT 0::bigint AS n UNION ALL
               SELECT r.n + 1 FROM r JOIN shards s ON s.n = r.n) SELECT max(n) AS m FROM r",
            "4",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(rows(shards(), sql).await, [expected], "{sql}");
    }
    let small = ReaggregateOptions {
        memory_bytes: 10,
        ..Default::default()
    };
    let error = reaggregate(streams(shards()), cases[0].0, small)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.hint().unwrap().contains("--memory"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_select_is_all_that_runs() {
    let one = || vec![vec![numbers([1])]];
    let cases = [
        ("CREATE TABLE t AS SELECT * FROM shards", "CREATE"),
        (
            "CREATE EXTERNAL TABLE t (a int) STORED AS CSV LOCATION '/etc/passwd'",
            "CREATE",
        ),
        ("COPY shards TO 'x.csv'", "COPY"),
        ("INSERT INTO shards VALUES (1)", "INSERT"),
        ("SET datafusion.execution.batch_size = 1", "SET"),
        ("EXPLAIN SELECT * FROM shards", "EXPLAIN"),
        ("DROP TABLE shards", "DROP"),
        ("SELECT 1; SELECT 2", "2 statements"),
    ];
    for (sql, found) in cases {
        let error = refused(one(), sql).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}: {error:?}");
        assert_eq!(
            error.message(),
            format!("the merge SQL has to be one SELECT, found {found}")
        );
        assert_eq!(error.phase(), Some(Phase::Merge));
    }
    let error = refused(one(), " -- nothing").await;
    assert_eq!(error.kind(), ErrorKind::Syntax);
    assert_eq!(rows(one(), "SELECT n FROM shards;").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_sql_names_the_columns_that_there_are() {
    let mixed = || {
        let column = || -> ArrayRef { Arc::new(Int64Array::from(vec![1])) };
        vec![vec![batch(vec![
            ("?column?", column()),
            ("Mixed", column()),
            ("low", column()),
        ])]]
    };
    for sql in [
        "SELEC 1",
        "SELECT nosuch FROM shards",
        "SELECT Mixed FROM shards",
        "SELECT * FROM others",
        "SELECT * FROM 'file.csv'",
        "SELECT * FROM information_schema.tables",
        "SELECT nosuch(low) FROM shards",
        "SELECT low FROM shards GROUP BY \"Mixed\"",
    ] {
        let error = refused(mixed(), sql).await;
        assert_eq!(error.kind(), ErrorKind::Syntax, "{sql}: {error:?}");
        assert_eq!(error.phase(), Some(Phase::Merge));
        for noise in ["Error during", "SQL error", "Schema error", "ParserError"] {
            assert!(!error.message().contains(noise), "{error}");
        }
        if sql.starts_with("SELECT") {
            let hint = "the only table is shards, and its columns are \"?column?\", \"Mixed\", low";
            assert_eq!(error.hint(), Some(hint), "{sql}");
        }
    }
    let sql = "SELECT \"?column?\" + \"Mixed\" + LOW AS s FROM shards";
    assert_eq!(rows(mixed(), sql).await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_there_twice_is_refused() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("count", DataType::Int64, true),
        Field::new("count", DataType::Int64, true),
    ]));
    let input = source(schema, vec![], &Watch::default());
    let options = ReaggregateOptions::default();
    let error = reaggregate(vec![input], "SELECT 1", options)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.message(),
        "the shards' query has more than one column named \"count\""
    );
    assert!(error.hint().unwrap().contains("AS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn enum_labels_are_one_group_whatever_their_numbers() {
    let labels = |keys: Vec<Option<i32>>, values: Vec<&str>| {
        let values: ArrayRef = Arc::new(StringArray::from(values));
        let array = DictionaryArray::<Int32Type>::new(Int32Array::from(keys), values);
        vec![batch(vec![("mood", Arc::new(array) as ArrayRef)])]
    };
    let shards = || {
        vec![
            labels(vec![Some(0), Some(1), None], vec!["sad", "happy"]),
            labels(vec![Some(0), Some(0), None], vec!["happy", "sad", "new"]),
            labels(vec![Some(2)], vec!["happy", "sad", "new"]),
        ]
    };
    let sql = "SELECT mood, count(*) AS c FROM shards GROUP BY mood ORDER BY mood";
    assert_eq!(
        rows(shards(), sql).await,
        ["happy 3", "new 1", "sad 1", " 2"]
    );
    assert_eq!(
        rows(shards(), "SELECT mood FROM shards WHERE mood <> 'happy'").await,
        ["sad", "new"]
    );
    // Sorting puts rows of different dictionaries into one batch.
    let sql = "SELECT mood FROM shards ORDER BY mood DESC";
    assert_eq!(
        rows(shards(), sql).await,
        ["", "", "sad", "new", "happy", "happy", "happy"]
    );
    let sql = "SELECT min(mood) AS a, max(mood) AS b FROM shards";
    assert_eq!(rows(shards(), sql).await, ["happy sad"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_memory_goes_to_disk() {
    let folder = tempfile::tempdir().unwrap();
    for order in [Order::Shard, Order::FirstCome] {
        let options = ReaggregateOptions {
            // The groups and their text are twice as large.
            memory_bytes: 16 << 20,
            spill_dir: Some(folder.path().to_owned()),
            order,
            ..Default::default()
        };
        // Groups are in both shards, and far larger than the memory with their text.
        let shard = || -> Vec<_> {
            (0..16_i64)
                .map(|part| {
                    let keys = part * 5000..(part + 1) * 5000;
                    let text = keys.clone().map(|n| Some(format!("{n:-^100}")));
                    let text: StringArray = text.collect();
                    batch(vec![
                        ("g", Arc::new(text) as ArrayRef),
                        ("n", Arc::new(Int64Array::from_iter_values(keys))),
                    ])
                })
                .collect()
        };
        let sql = "SELECT g, count(*) AS c, sum(n) AS s FROM shards GROUP BY g";
        let stream = reaggregate(streams(vec![shard(), shard()]), sql, options.clone());
        let mut stream = stream.await.unwrap();
        let (mut groups, mut sum) = (0, 0);
        while let Some(answer) = stream.next().await {
            let answer = answer.unwrap();
            groups += answer.num_rows();
            let counts = answer.column(1).as_primitive::<Int64Type>();
            assert!(counts.values().iter().all(|&count| count == 2));
            sum += answer
                .column(2)
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .sum::<i64>();
        }
        assert_eq!(groups, 80_000);
        assert_eq!(sum, 80_000 * 79_999);

        let sql = "SELECT g FROM shards ORDER BY g DESC, n";
        let stream = reaggregate(streams(vec![shard(), shard()]), sql, options).await;
        let mut stream = stream.unwrap();
        let (mut count, mut spilled) = (0, false);
        while let Some(answer) = stream.next().await {
            count += answer.unwrap().num_rows();
            spilled |= folder.path().read_dir().unwrap().next().is_some();
        }
        assert_eq!(count, 160_000);
        assert!(spilled);
        drop(stream);
        assert!(folder.path().read_dir().unwrap().next().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_memory_is_an_error_with_a_cure() {
    let options = ReaggregateOptions {
        memory_bytes: 100_000,
        ..Default::default()
    };
    // One group cannot go to disk.
    let sql = "SELECT array_agg(n) AS s FROM shards";
    let shards = vec![(0..50).map(|n| numbers(n * 1000..(n + 1) * 1000)).collect()];
    let stream = reaggregate(streams(shards), sql, options).await.unwrap();
    let error = stream.collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.hint().unwrap().contains("--memory"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_shard_comes_out_as_it_went_in() {
    let queries = [
        "SELECT n FROM shards",
        "SELECT sum(n) AS s FROM shards",
        "SELECT n, count(*) AS c FROM shards GROUP BY n",
        "SELECT n FROM shards ORDER BY n LIMIT 3",
        "SELECT a.n FROM shards a JOIN shards b ON a.n = b.n",
        "SELECT n, rank() OVER (ORDER BY n) AS r FROM shards",
    ];
    for order in [Order::Shard, Order::FirstCome] {
        for sql in queries {
            for failing in 0..3 {
                let watch = Watch::default();
                let inputs = (0..3)
                    .map(|index| {
                        let mut steps =
                            vec![Step::Batch(numbers([1, 2])), Step::Batch(numbers([3]))];
                        if index == failing {
                            steps.push(Step::Fail(failure("s1")));
                        }
                        source(numbers([]).schema(), steps, &watch)
                    })
                    .collect();
                let options = ReaggregateOptions {
                    order,
                    target_partitions: 3,
                    ..Default::default()
                };
                let answer = match reaggregate(inputs, sql, options).await {
                    Ok(stream) => stream.collect().await,
                    Err(error) => Err(error),
                };
                let error = answer.expect_err(sql);
                assert_eq!(error.kind(), ErrorKind::Server, "{sql}");
                assert_eq!(error.shard(), Some("s1"));
                assert_eq!(error.phase(), Some(Phase::Stream));
                assert_eq!(error.sql_state(), Some("57P01"));
                watch.until_dropped(3).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_stream_drops_the_inputs() {
    for order in [Order::Shard, Order::FirstCome] {
        for polled in [false, true] {
            let watch = Watch::default();
            let inputs = (0..4)
                .map(|_| {
                    let steps = vec![Step::Batch(numbers([1])), Step::Hang];
                    source(numbers([]).schema(), steps, &watch)
                })
                .collect();
            let options = ReaggregateOptions {
                order,
                ..Default::default()
            };
            let sql = "SELECT n, sum(n) AS s FROM shards GROUP BY n";
            let mut stream = reaggregate(inputs, sql, options).await.unwrap();
            if polled {
                let waiting = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
                assert!(waiting.is_err());
            }
            assert_eq!(watch.dropped(), 0);
            drop(stream);
            watch.until_dropped(4).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_columns_are_counted() {
    let shards = vec![vec![no_columns(3)], vec![no_columns(4)]];
    assert_eq!(
        rows(shards, "SELECT count(*) AS c FROM shards").await,
        ["7"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_keep_their_metadata_and_text_its_type() {
    let metadata = [("ARROW:extension:name".to_owned(), "arrow.json".to_owned())];
    let field = Field::new("doc", DataType::Utf8, true).with_metadata(metadata.clone().into());
    let schema = Arc::new(Schema::new(vec![field]));
    let array: ArrayRef = Arc::new(StringArray::from(vec!["{}"]));
    let document = RecordBatch::try_new(schema, vec![array]).unwrap();
    let sql =
        "SELECT doc, doc AS d, min(doc) AS m, concat(doc, 'x') AS c, 'lit' AS l, doc::text AS t
               FROM shards GROUP BY doc";
    let answer = reaggregate(
        streams(vec![vec![document]]),
        sql,
        ReaggregateOptions::default(),
    );
    let answer = answer.await.unwrap();
    let schema = answer.schema();
    for (index, field) in schema.fields().iter().enumerate() {
        assert_eq!(field.data_type(), &DataType::Utf8, "{field:?}");
        if index < 2 {
            assert_eq!(field.metadata(), &metadata.clone().into(), "{field:?}");
        }
    }
    let answer = answer.collect().await.unwrap();
    assert_eq!(answer[0].schema(), schema);
    assert_eq!(shown(&answer), ["{} {} {} {}x lit {}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_shards() {
    let shards = (0..64).map(|n| vec![numbers([n]), numbers([n])]).collect();
    let sql = "SELECT count(*) AS c, sum(n) AS s FROM shards";
    assert_eq!(rows(shards, sql).await, ["128 4032"]);
}
