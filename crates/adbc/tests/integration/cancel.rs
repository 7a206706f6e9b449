//! Ending what runs: from another thread, by dropping it, by a deadline.

use std::thread;
use std::time::Duration;

use adbc_core::error::{Error, Status};
use adbc_core::{CancelHandle, Statement as _};
use adbc_driver_manager::ManagedStatement;

use crate::{Scene, error, set, support, texts};

const SLEEP: &str = "SELECT n, pg_sleep(600) FROM t";
/// Slow by its rows, since planning refuses most that takes time by itself.
const LONG: &str = "SELECT count(*) FROM t a, generate_series(1, 1000000000) g WHERE g % 7 = a.n";
/// Far more rows than fit on the way.
const ENDLESS: &str = "SELECT n, repeat('x', 1000) FROM generate_series(1, 10000000) n";

/// A call that waits for a query.
type Wait = fn(&mut ManagedStatement) -> Result<(), Error>;

/// Cancels once so many servers are at work.
fn cancel_when_active(
    handle: Box<dyn CancelHandle>,
    urls: Vec<String>,
    active: usize,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for _ in 0..1000 {
            if support::active(&urls) >= active {
                return handle.try_cancel().unwrap();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the query does not begin");
    })
}

#[test]
fn another_thread_ends_what_is_executed() {
    let Some(scene) = Scene::numbered(&[1, 1, 1]) else {
        return;
    };
    let waiting: [Wait; 2] = [
        |statement| statement.execute().map(|_| ()),
        |statement| statement.execute_update().map(|_| ()),
    ];
    for (mut statement, wait) in [
        (scene.statement(LONG), waiting[0]),
        (scene.statement(LONG), waiting[1]),
        (scene.fan_out(SLEEP), waiting[0]),
        (scene.fan_out(SLEEP), waiting[1]),
    ] {
        let cancelling = cancel_when_active(statement.get_cancel_handle(), scene.urls.clone(), 3);
        let cancelled = error(wait(&mut statement));
        cancelling.join().unwrap();
        assert_eq!(cancelled.status, Status::Cancelled, "{cancelled}");
        assert!(support::none_active(&scene.urls), "queries still run");
        // What runs next is not hit.
        statement.set_sql_query("SELECT n FROM t").unwrap();
        assert_eq!(texts(statement.execute().unwrap()).len(), 3);
    }
}

#[test]
fn another_thread_ends_what_is_read() {
    let Some(scene) = Scene::numbered(&[1, 1]) else {
        return;
    };
    // The first rows come, and then nothing for a long time.
    let sql = "SELECT n, repeat('x', 1000), pg_sleep(CASE WHEN n < 20000 THEN 0 ELSE 600 END)::text \
        FROM generate_series(1, 100000) n";
    let mut statement = scene.fan_out(sql);
    let mut reader = statement.execute().unwrap();
    let handle = statement.get_cancel_handle();
    let cancelling = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        handle.try_cancel().unwrap();
    });
    let cancelled = reader
        .find_map(Result::err)
        .expect("no end without an error");
    cancelling.join().unwrap();
    let cancelled = cancelled.to_string();
    assert!(cancelled.contains("the query was cancelled"), "{cancelled}");
    assert!(support::none_active(&scene.urls), "queries still run");
    assert!(reader.next().is_none());
    // At its end there is nothing to cancel any more.
    let nothing = error(statement.get_cancel_handle().try_cancel());
    assert_eq!(nothing.status, Status::InvalidState);
}

#[test]
fn a_reader_that_is_dropped_ends_its_query() {
    let Some(scene) = Scene::numbered(&[1, 1]) else {
        return;
    };
    let mut statement = scene.fan_out(ENDLESS);
    let mut reader = statement.execute().unwrap();
    assert!(reader.next().unwrap().unwrap().num_rows() > 0);
    assert_eq!(support::active(&scene.urls), 2);
    drop(reader);
    assert!(support::none_active(&scene.urls), "queries still run");
}

#[test]
fn executing_again_ends_the_result_before() {
    let Some(scene) = Scene::numbered(&[1, 1]) else {
        return;
    };
    let mut statement = scene.fan_out(ENDLESS);
    let mut before = statement.execute().unwrap();
    assert!(before.next().unwrap().is_ok());
    // What is only asked ends nothing.
    assert_eq!(statement.get_parameter_schema().unwrap().fields().len(), 0);
    assert_eq!(statement.execute_schema().unwrap().fields().len(), 2);
    assert!(before.next().unwrap().is_ok());
    statement.set_sql_query("SELECT n FROM t").unwrap();
    assert_eq!(texts(statement.execute().unwrap()).len(), 2);
    assert!(support::none_active(&scene.urls), "queries still run");
    let ended = before
        .find_map(Result::err)
        .expect("no end without an error");
    assert!(ended.to_string().contains("cancelled"), "{ended}");
}

#[test]
fn a_connection_s_questions_can_be_cancelled_and_nothing_else() {
    use adbc_core::Connection as _;
    let Some(scene) = Scene::numbered(&[1, 1]) else {
        return;
    };
    let handle = scene.connection.get_cancel_handle();
    assert_eq!(error(handle.try_cancel()).status, Status::InvalidState);
    // Somebody holds the table in a way that lets nobody look at its view.
    for url in &scene.urls {
        support::execute(url, "create view v as select n from t");
    }
    let (url, holder) = (scene.urls[0].clone(), scene.urls[0].clone());
    let locking = thread::spawn(move || {
        support::execute(
            &holder,
            "begin; lock table v in access exclusive mode; select pg_sleep(20); commit",
        );
    });
    let server = support::server().unwrap();
    let (_, database) = url.rsplit_once('/').unwrap();
    let is_locked = || {
        let sql = format!(
            "select count(*) from pg_locks l join pg_database d on d.oid = l.database
             where d.datname = '{database}' and mode = 'AccessExclusiveLock' and granted"
        );
        server.query("postgres", &sql).unwrap()[0][0].as_deref() != Some("0")
    };
    while !is_locked() {
        thread::sleep(Duration::from_millis(10));
    }
    let cancelling = cancel_when_active(handle, vec![scene.urls[0].clone()], 1);
    let cancelled = error(scene.connection.get_table_schema(None, None, "v"));
    cancelling.join().unwrap();
    assert_eq!(cancelled.status, Status::Cancelled, "{cancelled}");
    server
        .execute(
            "postgres",
            &format!(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}' and query like '%pg_sleep(20)%' and pid <> pg_backend_pid()"
            ),
        )
        .unwrap();
    // It was ended from outside.
    let _ = locking.join();
}

#[test]
fn a_deadline_ends_a_query_and_says_so() {
    let Some(scene) = Scene::numbered(&[1, 1]) else {
        return;
    };
    let mut statement = scene.fan_out(SLEEP);
    set(&mut statement, "merganser.timeout_ms", "300").unwrap();
    let late = error(statement.execute());
    assert!(late.message.contains("within 0.3 s"), "{late}");
    assert!(support::none_active(&scene.urls), "queries still run");
    let mut statement = scene.statement(LONG);
    set(&mut statement, "merganser.timeout_ms", "300").unwrap();
    let late = error(statement.execute_update());
    assert_eq!(late.status, Status::Timeout);
    assert!(late.message.contains("within 0.3 s"), "{late}");
}
