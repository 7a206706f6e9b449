//! Statements in partitions: read by any connection to the same shards, once each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adbc_core::error::Status;
use adbc_core::{Connection as _, Database as _, Optionable, PartitionedResult, Statement as _};
use adbc_driver_manager::{ManagedConnection, ManagedStatement};
use merganser::arrow::array::{ArrayRef, Int32Array, RecordBatch};
use merganser_local::fixture::execute;

use crate::{Scene, error, open, set, some, texts};

/// Another connection, as another process has it.
fn elsewhere(scene: &Scene) -> ManagedConnection {
    let uri = format!(
        "merganser://{}/merganser.toml",
        scene.folder.path().display()
    );
    open(&[("uri", &uri)]).unwrap().new_connection().unwrap()
}

fn cut(statement: &mut ManagedStatement) -> PartitionedResult {
    statement.execute_partitions().unwrap()
}

fn rows(connection: &ManagedConnection, cut: &PartitionedResult) -> Vec<Vec<Option<String>>> {
    let parts = cut.partitions.iter();
    parts
        .flat_map(|part| texts(connection.read_partition(part).unwrap()))
        .collect()
}

#[test]
fn each_row_is_in_one_partition_whatever_others_write() {
    let Some(scene) = Scene::numbered(&[40_000, 40_000]) else {
        return;
    };
    let mut statement = scene.statement("SELECT n FROM t WHERE n >= $1");
    set(&mut statement, "merganser.partition_bytes", "1048576").unwrap();
    set(&mut statement, "merganser.lease_ms", "600000").unwrap();
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let values = RecordBatch::try_from_iter([("$1", numbers)]).unwrap();
    statement.bind(values).unwrap();
    let cut = cut(&mut statement);
    assert!(cut.partitions.len() > 2, "{}", cut.partitions.len());
    assert_eq!(
        (cut.schema.field(0).name().as_str(), cut.rows_affected),
        ("n", -1)
    );
    for part in &cut.partitions {
        assert!(!String::from_utf8_lossy(part).contains("postgresql://"));
    }
    for url in &scene.urls {
        execute(
            url,
            "DELETE FROM t WHERE n % 2 = 0; INSERT INTO t SELECT * FROM t",
        );
    }
    let other = elsewhere(&scene);
    let mut seen: Vec<i32> = rows(&other, &cut)
        .into_iter()
        .map(|row| row[0].as_ref().unwrap().parse().unwrap())
        .collect();
    seen.sort_unstable();
    assert!(seen == (1..80_000).collect::<Vec<_>>());
}

#[test]
fn rows_in_an_order_are_one_partition() {
    let Some(scene) = Scene::numbered(&[3, 3]) else {
        return;
    };
    let other = elsewhere(&scene);
    let ordered = cut(&mut scene.statement("SELECT n FROM t ORDER BY n DESC LIMIT 2"));
    assert_eq!(ordered.partitions.len(), 1);
    assert_eq!(rows(&other, &ordered), some(&[&["5"], &["4"]]));
    let added = cut(&mut scene.statement("SELECT count(*), sum(n) FROM t"));
    assert_eq!(rows(&other, &added), some(&[&["6", "15"]]));
    let mut merged = scene.fan_out("SELECT count(*) AS n FROM t");
    set(
        &mut merged,
        "merganser.merge_sql",
        "SELECT sum(n) AS n FROM shards",
    )
    .unwrap();
    assert_eq!(rows(&other, &cut(&mut merged)), some(&[&["6"]]));
    // Its own options go with a statement.
    let mut elsewhere = scene.statement("SELECT max(timestamptz '2024-01-01 00:00Z')::text FROM t");
    set(&mut elsewhere, "merganser.timezone", "Asia/Kolkata").unwrap();
    assert_eq!(
        rows(&other, &cut(&mut elsewhere)),
        some(&[&["2024-01-01 05:30:00+05:30"]])
    );
    // What is refused is refused at once, and not where it is read.
    let refused = error(
        scene
            .statement("SELECT * FROM pg_class")
            .execute_partitions(),
    );
    assert_eq!(refused.status, Status::NotImplemented, "{refused}");
}

#[test]
fn what_cannot_be_read_says_why() {
    let Some(scene) = Scene::numbered(&[3, 3]) else {
        return;
    };
    let mut connection = elsewhere(&scene);
    let read = |part: &[u8]| connection.read_partition(part).map(|_| ());
    for bytes in [
        &b""[..],
        b"{}",
        b"merganser statement 1\n",
        b"merganser statement 1\nx",
    ] {
        let wrong = error(read(bytes));
        assert_eq!(wrong.status, Status::InvalidArguments);
        assert!(
            wrong.message.contains("partition") && wrong.message.contains("hint: "),
            "{wrong}"
        );
    }
    let mut statement = scene.statement("SELECT n FROM t");
    let parts = cut(&mut statement).partitions;
    let mut ordered = scene.statement("SELECT n FROM t ORDER BY n");
    let whole = cut(&mut ordered).partitions;
    let foreign = scene.urls.join(" ");
    let foreign = open(&[("merganser.shards", &foreign)])
        .unwrap()
        .new_connection()
        .unwrap();
    for part in [&parts[0], &whole[0]] {
        let wrong = error(foreign.read_partition(part).map(|_| ()));
        assert_eq!(wrong.status, Status::InvalidArguments);
        assert!(wrong.message.contains("of another topology"), "{wrong}");
        let mut changed = part.clone();
        let at = changed.windows(6).position(|at| at == b"SELECT").unwrap();
        changed[at] = b's';
        let wrong = error(read(&changed));
        assert!(wrong.message.contains("MERGANSER_PARTITION_KEY"), "{wrong}");
    }
    let rows: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let mut bound = scene.statement("SELECT n FROM t WHERE n > $1");
    bound
        .bind(RecordBatch::try_from_iter([("$1", rows)]).unwrap())
        .unwrap();
    let wrong = error(bound.execute_partitions());
    assert_eq!(wrong.status, Status::InvalidState);
    assert!(wrong.message.contains("bind one row"), "{wrong}");

    // The lease is the statement's, until it is executed again.
    assert_eq!(
        texts(connection.read_partition(&parts[1]).unwrap()).len(),
        3
    );
    assert_eq!(texts(statement.execute().unwrap()).len(), 6);
    let gone = until_gone(&connection, &parts[1]);
    assert!(gone.contains("shard \"s1\""), "{gone}");
    connection
        .set_option("merganser.batch_rows".into(), "2".into())
        .unwrap();
    let parts = cut(&mut statement).partitions;
    let batches: Vec<_> = connection.read_partition(&parts[0]).unwrap().collect();
    assert_eq!(batches.len(), 2);
    drop(statement);
    until_gone(&connection, &parts[0]);
}

/// Reads until the transactions of the lease have ended.
fn until_gone(connection: &ManagedConnection, part: &[u8]) -> String {
    let begun = Instant::now();
    loop {
        match connection.read_partition(part) {
            Err(gone) => {
                assert!(
                    gone.message
                        .contains("snapshot of the partition is not there"),
                    "{gone}"
                );
                return gone.message;
            }
            Ok(reader) => drop(texts(reader)),
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the lease goes on"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
