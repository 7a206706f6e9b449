//! The blocking API and the cursor, against real servers.

use std::error::Error as _;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatchReader;
use merganser::blocking::{Cluster, FanOut, QueryReader};
use merganser::export::{Destination, ExportOptions, Format, Progress};
use merganser::{Cursor, Error, ErrorKind, Order, Row, Topology, arrow};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support;

fn cluster(urls: &[String]) -> Cluster {
    Cluster::new(Topology::from_urls(urls.iter().cloned()).unwrap()).unwrap()
}

fn numbered(sizes: &[i32]) -> Option<Cluster> {
    Some(cluster(&support::numbered(sizes)?))
}

/// A fan-out whose rows come in shard order.
fn in_order(cluster: &Cluster, sql: &str) -> FanOut {
    let fan_out = cluster.fan_out(sql);
    fan_out.with(|fan_out| fan_out.with_order(Order::Shard))
}

fn int(row: &Row) -> i32 {
    row.column(0).unwrap().as_primitive::<Int32Type>().value(0)
}

fn ints(batch: &RecordBatch) -> Vec<i32> {
    batch
        .column(0)
        .as_primitive::<Int32Type>()
        .values()
        .to_vec()
}

/// Rows come at once, and after the first 20,000 of each shard none for a minute.
const SLOW: &str = "select n::int4, pg_sleep(case when n > 20000 then 60 else 0 end)::text \
    from generate_series(1, 100000) n";

#[derive(Debug, Clone, Copy)]
enum Fetch {
    One,
    Many(usize),
    ArraySize,
    Batch,
    All,
}

impl Fetch {
    fn run(self, cursor: &mut Cursor) -> Vec<i32> {
        let rows = match self {
            Self::One => Vec::from_iter(cursor.fetch_one().unwrap()),
            Self::Many(limit) => cursor.fetch_many(limit).unwrap(),
            Self::ArraySize => cursor.fetch_many(None).unwrap(),
            Self::All => cursor.fetch_all().unwrap(),
            Self::Batch => {
                let batch = cursor.fetch_batch().unwrap();
                return batch.as_ref().map(ints).unwrap_or_default();
            }
        };
        rows.iter().map(int).collect()
    }
}

#[test]
fn however_rows_are_fetched_each_comes_once_and_in_order() {
    let Some(cluster) = numbered(&[50, 0, 33, 1]) else {
        return;
    };
    let fetch = prop_oneof![
        8 => Just(Fetch::One),
        4 => (0_usize..20).prop_map(Fetch::Many),
        2 => Just(Fetch::ArraySize),
        4 => Just(Fetch::Batch),
        1 => Just(Fetch::All),
    ];
    let mut runner = TestRunner::new(Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(
        &(vec(fetch, 0..25), 1_usize..30),
        |(fetches, batch_rows)| {
            let query = in_order(&cluster, "select n from t order by n");
            let mut cursor = cluster.cursor();
            cursor.set_arraysize(3);
            cursor
                .execute_fan_out(query.with(|query| query.with_batch_rows(batch_rows)))
                .unwrap();
            let mut fetched = Vec::new();
            for fetch in fetches {
                let some = fetch.run(&mut cursor);
                match fetch {
                    Fetch::One => prop_assert_eq!(some.len(), (84 - fetched.len()).min(1)),
                    Fetch::Many(limit) => {
                        prop_assert_eq!(some.len(), (84 - fetched.len()).min(limit))
                    }
                    Fetch::ArraySize => prop_assert_eq!(some.len(), (84 - fetched.len()).min(3)),
                    Fetch::Batch => prop_assert!(some.len() <= batch_rows),
                    Fetch::All => prop_assert_eq!(cursor.rowcount(), Some(84)),
                }
                fetched.extend(some);
            }
            fetched.extend(cursor.fetch_all().unwrap().iter().map(int));
            prop_assert_eq!(fetched, (0..84).collect::<Vec<_>>());
            prop_assert_eq!(cursor.rowcount(), Some(84));
            prop_assert!(cursor.fetch_one().unwrap().is_none());
            prop_assert!(cursor.fetch_many(5).unwrap().is_empty());
            prop_assert!(cursor.fetch_batch().unwrap().is_none());
            Ok(())
        },
    );
    outcome.unwrap();
}

#[cfg(feature = "datafusion")]
#[test]
fn a_cursor_follows_the_topology() {
    let Some(urls) = support::numbered(&[3, 2]) else {
        return;
    };
    let mut toml = "[[table]]\nname = \"t\"\nshard_key = \"n\"\n\
                    [[table]]\nname = \"r\"\nreplicated = true\n"
        .to_owned();
    for (shard, url) in urls.iter().enumerate() {
        support::execute(url, "create table r as select generate_series(1, 7) as m");
        toml += &format!("[[shard]]\nname = \"s{shard}\"\nurl = \"{url}\"\n");
    }
    let planned = Cluster::new(Topology::from_toml(&toml).unwrap()).unwrap();
    let mut cursor = planned.cursor();
    let texts = |cursor: &mut Cursor| -> Vec<_> {
        let rows = cursor.fetch_all().unwrap();
        rows.iter()
            .map(|row| row.text(0).unwrap().unwrap())
            .collect()
    };
    // One database's answers, not those of two.
    cursor.execute("select count(*) from r").unwrap();
    assert_eq!(texts(&mut cursor), ["7"]);
    let values = [Some("0".to_owned())];
    cursor
        .execute_with("select sum(n) from t where n > $1", values)
        .unwrap();
    assert_eq!(texts(&mut cursor), ["10"]);
    let query = planned.query("select n from t order by n desc limit 2");
    cursor.execute_query(query).unwrap();
    assert_eq!(texts(&mut cursor), ["4", "3"]);
    cursor
        .execute_fan_out(planned.fan_out("select count(*) from r"))
        .unwrap();
    assert_eq!(texts(&mut cursor), ["7", "7"]);
    // Refused with a reason, and without an earlier result.
    let error = cursor.execute("select n from t tablesample system (1)");
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(
        cursor.fetch_one().unwrap_err().kind(),
        ErrorKind::Unsupported
    );

    let mut cursor = cluster(&urls).cursor();
    let error = cursor.execute("select count(*) from r").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.hint().unwrap().contains("execute_fan_out"),
        "{error:?}"
    );
}

#[test]
fn several_cursors_read_side_by_side() {
    let Some(cluster) = numbered(&[30_000, 20_000]) else {
        return;
    };
    let mut cursors: Vec<_> = (0..4).map(|_| cluster.cursor()).collect();
    for (index, cursor) in cursors.iter_mut().enumerate() {
        let values = [Some(index.to_string())];
        let query = in_order(&cluster, "select n from t where n % 4 = $1 order by n");
        cursor
            .execute_fan_out(query.with(|query| query.with_params(values)))
            .unwrap();
    }
    for expected in 0..50_000 {
        let row = cursors[expected % 4].fetch_one().unwrap().unwrap();
        assert_eq!(int(&row), i32::try_from(expected).unwrap());
    }
    for cursor in &mut cursors {
        assert!(cursor.fetch_one().unwrap().is_none());
        assert_eq!(cursor.rowcount(), Some(12_500));
    }
}

#[test]
fn a_shard_that_fails_fails_every_fetch() {
    let Some(cluster) = numbered(&[30_000, 30_000, 1000]) else {
        return;
    };
    let mut cursor = cluster.cursor();
    // Fails on the third shard alone, whose rows are the last.
    let sql = "select n, 1 / (n - 60500) from t";
    for fetch in [
        |cursor: &mut Cursor| cursor.fetch_one().map(|row| row.is_some()),
        |cursor: &mut Cursor| cursor.fetch_many(999).map(|rows| rows.len() == 999),
        |cursor: &mut Cursor| cursor.fetch_batch().map(|batch| batch.is_some()),
        |cursor: &mut Cursor| cursor.fetch_all().map(|_| false),
    ] {
        cursor.execute_fan_out(in_order(&cluster, sql)).unwrap();
        let error = loop {
            match fetch(&mut cursor) {
                Ok(more) => assert!(more, "a failed result has an end"),
                Err(error) => break error,
            }
        };
        let of = |error: &Error| {
            (
                error.kind(),
                error.shard().map(str::to_owned),
                error.sql_state().map(str::to_owned),
                error.to_string(),
            )
        };
        assert_eq!(
            (error.shard(), error.sql_state()),
            (Some("s2"), Some("22012"))
        );
        for _ in 0..3 {
            assert_eq!(of(&cursor.fetch_one().unwrap_err()), of(&error));
            assert_eq!(of(&cursor.fetch_many(2).unwrap_err()), of(&error));
            assert_eq!(of(&cursor.fetch_all().unwrap_err()), of(&error));
            assert_eq!(of(&cursor.fetch_batch().unwrap_err()), of(&error));
        }
        assert_eq!((cursor.rowcount(), cursor.description()), (None, None));
    }
    // An execution that fails leaves no earlier result behind.
    cursor
        .execute_fan_out(in_order(&cluster, "select n from t"))
        .unwrap();
    assert!(
        cursor
            .execute_fan_out(in_order(&cluster, "select no_such from t"))
            .is_err()
    );
    assert_eq!(cursor.fetch_one().unwrap_err().sql_state(), Some("42703"));
    cursor
        .execute_fan_out(in_order(&cluster, "select n from t"))
        .unwrap();
    assert_eq!(cursor.fetch_all().unwrap().len(), 61_000);
}

#[test]
fn a_cursor_without_result_says_so() {
    let Some(cluster) = numbered(&[3, 2]) else {
        return;
    };
    let mut cursor = cluster.cursor();
    assert_eq!(cursor.arraysize(), 1);
    let error = cursor.fetch_one().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(error.message(), "the cursor has no result");

    cursor
        .execute_fan_out(in_order(&cluster, "select n, 'x' as x from t"))
        .unwrap();
    let description = cursor.description().unwrap();
    assert_eq!(description.field(1).name(), "x");
    assert_eq!(cursor.rowcount(), None);
    assert_eq!(cursor.fetch_many(4).unwrap().len(), 4);
    cursor.commit().unwrap();
    assert_eq!((cursor.rowcount(), cursor.description()), (None, None));
    assert!(
        cursor
            .fetch_all()
            .unwrap_err()
            .message()
            .contains("no result")
    );

    cursor
        .execute_fan_out(in_order(&cluster, "select n from t where false"))
        .unwrap();
    assert!(cursor.fetch_one().unwrap().is_none());
    assert_eq!(cursor.rowcount(), Some(0));
    cursor.rollback().unwrap();
    assert!(cursor.fetch_batch().is_err());

    cursor
        .execute_fan_out(in_order(&cluster, "select from t"))
        .unwrap();
    assert_eq!(cursor.fetch_all().unwrap().len(), 5);
    cursor
        .execute_fan_out(in_order(&cluster, "select n from t"))
        .unwrap();
    cursor.close();
    cursor.close();
    for error in [
        cursor.fetch_one().unwrap_err(),
        cursor
            .execute_fan_out(in_order(&cluster, "select 1"))
            .unwrap_err(),
        cursor.commit().unwrap_err(),
        cursor.rollback().unwrap_err(),
        cursor.mogrify("select 1", []).unwrap_err(),
    ] {
        assert_eq!(error.message(), "the cursor is closed");
    }
}

#[test]
fn rows_give_values_and_text() {
    let Some(cluster) = numbered(&[1]) else {
        return;
    };
    let mut cursor = cluster.cursor();
    let sql = "select n, null::text, '1.50'::numeric(5,2), '{1,NULL}'::int4[], true, \
        '2024-02-29 12:00'::timestamptz from t";
    cursor.execute_fan_out(in_order(&cluster, sql)).unwrap();
    let row = cursor.fetch_one().unwrap().unwrap();
    let texts: Vec<_> = (0..6).map(|column| row.text(column).unwrap()).collect();
    let texts: Vec<_> = texts.iter().map(Option::as_deref).collect();
    assert_eq!(
        texts,
        [
            Some("0"),
            None,
            Some("1.50"),
            Some("{1,NULL}"),
            Some("t"),
            Some("2024-02-29 12:00:00+00")
        ]
    );
    assert_eq!(row.schema().index_of("n").unwrap(), 0);
    assert_eq!((row.to_batch().num_rows(), int(&row)), (1, 0));
    assert!(format!("{row:?}").starts_with("{\"n\": Some(\"0\"), \"text\": None"));
    let error = row.text(6).unwrap_err();
    assert_eq!(error.message(), "no column 6: the row has 6 columns");
    assert!(row.column(6).is_err());
}

#[test]
fn mogrify_gives_what_runs() {
    let Some(cluster) = numbered(&[1, 1]) else {
        return;
    };
    let mut cursor = cluster.cursor();
    let sql =
        "select current_query(), $1::text, n from t where n >= $2 and $3::text is null -- $1;";
    let values = || [Some("a'b\\c\n$2".to_owned()), Some("0".to_owned()), None];
    let text = cursor.mogrify(sql, values()).unwrap();
    assert!(text.contains("E'a''b\\\\c\n$2'::\"pg_catalog\".\"text\""));
    assert!(text.contains("E'0'::\"pg_catalog\".\"int4\""));
    assert!(text.contains("NULL::\"pg_catalog\".\"text\""));
    let query = cluster.fan_out(sql);
    cursor
        .execute_fan_out(query.with(|query| query.with_params(values())))
        .unwrap();
    let row = cursor.fetch_one().unwrap().unwrap();
    assert_eq!(
        row.text(0).unwrap(),
        Some(format!("COPY (\n{text}\n) TO STDOUT (FORMAT binary)"))
    );
    // What it gives can be executed itself, and it does not touch the result.
    assert_eq!(cursor.mogrify(&text, []).unwrap(), text);
    assert_eq!(cursor.fetch_all().unwrap().len(), 1);
    let error = cursor.mogrify(sql, [None]).unwrap_err();
    assert!(
        error.message().contains("3 parameters, but 1 values"),
        "{error}"
    );
    assert_eq!(
        cursor.mogrify("select frm", []).unwrap_err().sql_state(),
        Some("42703")
    );
}

#[test]
fn giving_up_a_result_cancels_it() {
    let Some(urls) = support::shards(3) else {
        return;
    };
    let cluster = cluster(&urls);
    let slow = || cluster.fan_out(SLOW);
    let mut cursor = cluster.cursor();
    let give_up: [fn(&mut Cursor, &Cluster); 3] = [
        |cursor, _| cursor.commit().unwrap(),
        |cursor, cluster| {
            let other = cluster.fan_out("select 1");
            cursor.execute_fan_out(other).unwrap();
        },
        |cursor, _| cursor.close(),
    ];
    for give_up in give_up {
        cursor.execute_fan_out(slow()).unwrap();
        cursor.fetch_one().unwrap().unwrap();
        assert!(support::active(&urls) > 0);
        give_up(&mut cursor, &cluster);
        assert!(support::none_active(&urls), "queries still run");
    }
    let mut reader = slow().stream().unwrap();
    reader.next().unwrap().unwrap();
    drop(reader);
    cluster.close().unwrap();
    assert!(support::none_active(&urls), "queries still run");
    let error = cluster.fan_out("select 1").collect().unwrap_err();
    assert_eq!(error.message(), "the cluster is closed");
}

#[test]
fn a_cluster_ends_only_after_what_it_has_to_cancel() {
    for shards in [1, 3] {
        let Some(urls) = support::shards(shards) else {
            return;
        };
        let mut reader = cluster(&urls).fan_out(SLOW).stream().unwrap();
        reader.next().unwrap().unwrap();
        // The cluster lives in the reader alone.
        let start = Instant::now();
        drop(reader);
        assert!(start.elapsed() < Duration::from_secs(4));
        assert!(support::none_active(&urls), "queries still run");
    }
}

#[test]
fn one_connection_serves_one_result_after_the_other() {
    let Some(urls) = support::numbered(&[20_000, 20_000]) else {
        return;
    };
    let topology = Topology::from_urls(urls.iter().cloned()).unwrap();
    let builder = merganser::Cluster::builder(topology).with_connections_per_shard(1);
    let cluster = Cluster::from_builder(builder).unwrap();
    let mut cursor = cluster.cursor();
    for _ in 0..5 {
        cursor
            .execute_fan_out(in_order(&cluster, "select n from t"))
            .unwrap();
        cursor.fetch_one().unwrap().unwrap();
    }
    cursor.fetch_all().unwrap();
    // All fetched: the connection is free, though the cursor has its result still.
    let batches = cluster.fan_out("select 1").collect().unwrap();
    assert_eq!(batches.len(), 2);
    assert_eq!(cursor.rowcount(), Some(40_000));
}

#[test]
fn async_code_gets_an_error_and_may_drop_everything() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.message().contains("async runtime"), "{error}");
        assert!(error.hint().is_some());
    };
    let runtimes = [
        tokio::runtime::Builder::new_current_thread(),
        tokio::runtime::Builder::new_multi_thread(),
    ];
    for mut builder in runtimes {
        let runtime = builder.enable_all().build().unwrap();
        let cluster = cluster(&urls);
        let open = |sql: &str| {
            let mut reader = cluster.fan_out(sql).stream().unwrap();
            reader.next().unwrap().unwrap();
            reader
        };
        let (mut used, dropped) = (open(SLOW), open(SLOW));
        let mut cursor = cluster.cursor();
        cursor.execute_fan_out(in_order(&cluster, SLOW)).unwrap();
        runtime.block_on(async {
            // Made and dropped here, too.
            let own = self::cluster(&urls);
            refused(own.fan_out("select 1").collect().unwrap_err());
            refused(own.fan_out("select 1").stream().unwrap_err());
            refused(own.fan_out("select 1").describe().unwrap_err());
            refused(own.close().unwrap_err());
            refused(
                own.cursor()
                    .execute_fan_out(own.fan_out("select 1"))
                    .unwrap_err(),
            );
            refused(cursor.fetch_one().unwrap_err());
            refused(cursor.fetch_one().unwrap_err());
            refused(external(used.next().unwrap().unwrap_err()));
            assert!(used.next().is_none());
            drop((own, cursor, used, dropped, cluster));
        });
        assert!(support::none_active(&urls), "queries still run");
    }
}

/// The error of ours within one of Arrow's.
fn external(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => *inner.downcast::<Error>().unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_reader_is_an_arrow_reader() {
    let Some(cluster) = numbered(&[10, 20]) else {
        return;
    };
    let reader = in_order(&cluster, "select n from t order by n").stream();
    let reader: Box<dyn RecordBatchReader + Send> = Box::new(reader.unwrap());
    let described = cluster.fan_out("select n from t").describe().unwrap();
    assert_eq!(reader.schema(), described);
    let batches: Vec<_> = reader.collect::<Result<_, _>>().unwrap();
    let values: Vec<_> = batches.iter().flat_map(ints).collect();
    assert_eq!(values, (0..30).collect::<Vec<_>>());

    let mut reader: QueryReader = cluster
        .fan_out("select 1 / (n - 25) from t")
        .stream()
        .unwrap();
    let error = reader.find_map(Result::err).unwrap();
    assert!(error.source().is_some());
    let error = external(error);
    assert_eq!(
        (error.shard(), error.sql_state()),
        (Some("s1"), Some("22012"))
    );
    assert!(reader.next().is_none());
}

#[test]
fn results_are_written() {
    let Some(cluster) = numbered(&[10, 20]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let query = || cluster.fan_out("select n from t order by n");
    let path = folder.path().join("rows.arrows");
    let file = fs::File::create(&path).unwrap();
    let rows = query()
        .write(move |schema| {
            StreamWriter::try_new(file, &schema)
                .map_err(|error| Error::new(ErrorKind::Export, "no writer").with_source(error))
        })
        .unwrap();
    assert_eq!(rows, 30);
    assert!(fs::metadata(&path).unwrap().len() > 30 * 4);

    let path = folder.path().join("rows.csv");
    let output = Destination::from(path.clone()).open().unwrap();
    let reader = query().stream().unwrap();
    let options = ExportOptions::new();
    let summary = reader.export(output, Format::Csv, &options, &Progress::default());
    assert_eq!(summary.unwrap().rows, 30);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 31);

    let mut reader = query().stream().unwrap();
    while reader.next_batch().unwrap().is_some() {}
    let output = Destination::from(path.clone()).open().unwrap();
    let error = reader.export(output, Format::Csv, &options, &Progress::default());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn threads_share_a_cluster() {
    let Some(cluster) = numbered(&[1000, 1000]) else {
        return;
    };
    // More threads than connections.
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let mut cursor = cluster.cursor();
            let cluster = cluster.clone();
            thread::spawn(move || {
                cursor
                    .execute_fan_out(in_order(&cluster, "select n from t"))
                    .unwrap();
                cursor.fetch_all().unwrap().len()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 2000);
    }
}
