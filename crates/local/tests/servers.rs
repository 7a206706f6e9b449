//! Throw-away servers and TPC-H data.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::{Duration, Instant};

use merganser_local::ErrorKind;
use merganser_local::{Binaries, Server, TABLES, Tpch};

use merganser_local::fixture as support;

/// One value of one row.
fn value(server: &Server, database: &str, sql: &str) -> String {
    let rows = server.query(database, sql).expect(sql);
    rows[0][0].clone().expect("not NULL")
}

fn own_server() -> Option<Server> {
    let binaries = support::binaries()?.clone();
    Some(
        Server::builder()
            .with_binaries(binaries)
            .start()
            .expect("a server"),
    )
}

#[test]
fn a_server_is_reached_over_tcp_and_over_its_socket_and_leaves_nothing() {
    let Some(server) = own_server() else { return };
    let url = server
        .create_database("odd \"name/ü")
        .expect("a new database");
    assert_eq!(
        url,
        format!(
            "postgresql://postgres@127.0.0.1:{}/odd%20%22name%2F%C3%BC",
            server.port()
        )
    );
    for url in [url, server.socket_url("odd \"name/ü")] {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .expect(&url);
            tokio::spawn(connection);
            let row = client
                .query_one("SELECT current_database()::text", &[])
                .await
                .unwrap();
            assert_eq!(row.get::<_, String>(0), "odd \"name/ü");
        });
    }
    assert_eq!(value(&server, "postgres", "SHOW server_encoding"), "UTF8");
    assert_eq!(value(&server, "postgres", "SHOW fsync"), "off");
    assert!(server.socket_dir().as_os_str().len() < 80);
    let folder = server.socket_dir().to_path_buf();
    let port = server.port();
    server.stop();
    assert!(!folder.exists());
    std::net::TcpStream::connect(("127.0.0.1", port)).expect_err("nobody listens any longer");
}

#[test]
fn errors_of_sql_carry_their_sqlstate() {
    let Some(server) = support::server() else {
        return;
    };
    let error = server
        .execute("postgres", "SELECT 1; SELECT 1/0")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(error.sql_state(), Some("22012"));
    let error = server.create_database("postgres").unwrap_err();
    assert_eq!(error.sql_state(), Some("42P04"));
    let rows = server
        .query("postgres", "SELECT NULL, true; SELECT 1.50")
        .unwrap();
    assert_eq!(
        rows,
        [
            vec![None, Some("t".to_owned())],
            vec![Some("1.50".to_owned())]
        ]
    );
}

#[tokio::test]
async fn methods_that_block_work_inside_a_runtime() {
    let Some(server) = support::server() else {
        return;
    };
    assert_eq!(value(server, "postgres", "SELECT 1"), "1");
}

#[test]
fn a_server_with_a_password_lets_nobody_in_without_it() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_password("p@ss/wörd")
        .start()
        .expect("a server");
    assert_eq!(value(&server, "postgres", "SELECT 1"), "1");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let url = server.url("postgres");
        let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
        connected.map(drop).expect("with the password");
        let url = url.replace(":p%40ss%2Fw%C3%B6rd@", "@");
        assert!(
            tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .is_err()
        );
    });
    assert!(!server.socket_dir().join("password").exists());
}

#[test]
fn settings_hba_lines_and_tls_reach_the_server() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let ca = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_tls(ca.cert.pem(), ca.signing_key.serialize_pem())
        .with_hba("hostnossl all all all reject")
        .with_setting("max_connections", "17")
        .start()
        .expect("a server");
    assert_eq!(value(&server, "postgres", "SHOW max_connections"), "17");
    assert_eq!(value(&server, "postgres", "SHOW ssl"), "on");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let url = server.url("postgres");
        let error = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .err()
            .unwrap();
        assert_eq!(error.code().map(|code| code.code()), Some("28000"));
    });
}

#[test]
fn data_survives_a_restart_and_a_crash() {
    let Some(mut server) = own_server() else {
        return;
    };
    let port = server.port();
    server
        .execute("postgres", "CREATE TABLE t AS SELECT 7 AS x; CHECKPOINT")
        .unwrap();
    server.restart().expect("a restart");
    assert_eq!(value(&server, "postgres", "SELECT x FROM t"), "7");
    let pid = server.pid().unwrap();
    server.kill_hard().expect("a kill");
    assert_eq!(server.pid(), None);
    assert!(!is_alive(pid));
    let error = server.execute("postgres", "SELECT 1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    server.restart().expect("a start after a crash");
    assert_eq!(value(&server, "postgres", "SELECT x FROM t"), "7");
    assert_eq!(server.port(), port);
}

#[test]
fn a_kill_ends_busy_backends_too() {
    let Some(mut server) = own_server() else {
        return;
    };
    let sql = "SELECT count(*) FROM generate_series(1, 10000000000)";
    let url = server.url("postgres");
    let busy = std::thread::spawn(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client.simple_query(sql).await.is_err()
        })
    });
    let find =
        format!("SELECT max(pid) FROM pg_stat_activity WHERE query = '{sql}' AND state = 'active'");
    let deadline = Instant::now() + Duration::from_secs(30);
    let pid: u32 = loop {
        if let Some(pid) = &server.query("postgres", &find).unwrap()[0][0] {
            break pid.parse().unwrap();
        }
        assert!(Instant::now() < deadline, "the query never ran");
        std::thread::sleep(Duration::from_millis(20));
    };
    server.kill_hard().expect("a kill");
    assert!(busy.join().unwrap());
    // The system takes its time to end what was killed.
    let deadline = Instant::now() + Duration::from_secs(30);
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "the backend goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let started = Server::builder()
        .with_binaries(binaries.clone())
        .with_setting("work_mem", "lots")
        .start();
    let error = started.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(
        error.message().starts_with("postgres ended at once"),
        "{error}"
    );
    assert!(
        error
            .message()
            .contains("invalid value for parameter \"work_mem\""),
        "{error}"
    );

    let started = Server::builder()
        .with_binaries(binaries.clone())
        .with_locale("nowhere")
        .start();
    let error = started.unwrap_err();
    assert!(
        error.message().contains("invalid locale name \"nowhere\""),
        "{error}"
    );
}

#[test]
fn symlinks_to_the_programs_are_followed() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for program in ["postgres", "initdb"] {
        std::os::unix::fs::symlink(binaries.program(program), dir.path().join(program)).unwrap();
    }
    assert_eq!(&Binaries::at(dir.path()).unwrap(), binaries);
    assert!(
        binaries
            .version()
            .starts_with(&binaries.major_version().to_string())
    );
}

#[tokio::test]
async fn tpch_rows_are_split_and_copied() {
    let (Some(server), Some(urls)) = (support::server(), support::shards(3)) else {
        return;
    };
    let loaded = Tpch::new(0.01).load(&urls).await.expect("a load");
    assert_eq!(loaded.rows("orders"), Some(15_000));
    assert_eq!(loaded.rows("lineitem"), Some(60_175));
    assert_eq!(loaded.rows("partsupp"), Some(8_000));
    assert_eq!(loaded.rows("missing"), None);
    let names: Vec<_> = urls
        .iter()
        .map(|url| url.rsplit('/').next().unwrap())
        .collect();
    for table in TABLES {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let counts = names
            .iter()
            .map(|name| value(server, name, &sql).parse::<u64>().unwrap());
        let counts: Vec<u64> = counts.collect();
        let expected = loaded.rows(table.name).unwrap();
        let Some(key) = table.shard_key else {
            assert_eq!(counts, [expected; 3], "{}", table.name);
            continue;
        };
        assert_eq!(counts.iter().sum::<u64>(), expected, "{}", table.name);
        for (place, name) in names.iter().enumerate() {
            let sql = format!("SELECT bool_and({key} % 3 = {place}) FROM {}", table.name);
            assert_eq!(value(server, name, &sql), "t", "{} on {name}", table.name);
        }
    }
    let analyzed = "SELECT reltuples FROM pg_class WHERE relname = 'nation'";
    assert_eq!(value(server, names[0], analyzed), "25");
}

#[tokio::test]
async fn tpch_shards_hold_what_the_oracle_holds() {
    let (Some(server), Some(data)) = (support::server(), support::tpch(2)) else {
        return;
    };
    let sum = |url: &String| {
        let sql = "SELECT sum(l_extendedprice * (1 - l_discount)) FROM lineitem";
        let total = value(server, url.rsplit('/').next().unwrap(), sql);
        total.replace('.', "").parse::<i64>().unwrap()
    };
    assert_eq!(data.shards.iter().map(sum).sum::<i64>(), sum(&data.oracle));
}

#[tokio::test]
async fn a_failed_load_names_the_database_and_leaves_the_others_empty() {
    let (Some(server), Some(urls)) = (support::server(), support::shards(2)) else {
        return;
    };
    let names: Vec<_> = urls
        .iter()
        .map(|url| url.rsplit('/').next().unwrap())
        .collect();
    server.execute(names[1], "CREATE TABLE orders ()").unwrap();
    let error = Tpch::new(0.001).load(&urls).await.unwrap_err();
    assert_eq!(error.database(), Some(names[1]));
    assert_eq!(error.sql_state(), Some("42P07"));
    // The server notices the closed connection at its next read.
    let sql = "SELECT count(*) FROM pg_class WHERE relname = 'lineitem'";
    assert_eq!(value(server, names[0], sql), "0");
}

/// Whether a process runs; one that ended and was not waited for does not.
fn is_alive(pid: u32) -> bool {
    let output = Command::new("sh")
        .args([
            "-c",
            "kill -0 \"$1\" 2>/dev/null && ps -o state= -p \"$1\"",
            "sh",
            &pid.to_string(),
        ])
        .output()
        .unwrap();
    let state = String::from_utf8_lossy(&output.stdout);
    output.status.success() && !state.trim().starts_with('Z')
}
