//! Connections to real servers: hosts, TLS, passwords, and servers that go away.

mod system_roots;
mod tls;
mod tls_matrix;

use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use futures::StreamExt;
use merganser::config::{Environment, SessionSettings, Shard};
use merganser::{Cluster, Error, ErrorKind, Order, Phase, Topology, arrow};
use merganser_local::Server;
use tokio::time::timeout;

use crate::support;

/// In every password of these tests; nothing that is said may hold it.
const CANARY: &str = "canary'pass word";

fn cluster(urls: &[String], environment: Environment) -> Cluster {
    Cluster::builder(Topology::from_urls(urls.iter().cloned()).unwrap())
        .with_environment(environment)
        .build()
        .unwrap()
}

/// The first value of the one row, as text.
async fn ask_with(url: &str, environment: Environment, sql: &str) -> Result<String, Error> {
    let cluster = Cluster::builder(Topology::from_urls([url])?)
        .with_environment(environment)
        .build()?;
    let batches = timeout(Duration::from_secs(20), cluster.fan_out(sql).collect())
        .await
        .unwrap_or_else(|_| panic!("{url}: no end in time"));
    cluster.close().await;
    let told = match &batches {
        Ok(_) => String::new(),
        Err(error) => told(error),
    };
    assert!(!told.contains("canary"), "{told}");
    Ok(batches?[0].column(0).as_string::<i32>().value(0).to_owned())
}

async fn ask(url: &str, sql: &str) -> Result<String, Error> {
    ask_with(url, Environment::default(), sql).await
}

async fn refused(url: &str) -> Error {
    match ask(url, "select 'in'::text").await {
        Err(error) => error,
        Ok(_) => panic!("{url}: let in"),
    }
}

/// All that an error says.
fn told(error: &Error) -> String {
    let mut all = format!("{error}\n{error:?}\n{}", error.hint().unwrap_or_default());
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        all.push_str(&format!("\n{error}\n{error:?}"));
        source = error.source();
    }
    all
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// A server with roles that need passwords: `scram`, `md5` and `clear`; and a database `shut` that
/// lets nobody in.
fn guarded() -> Option<&'static Server> {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let binaries = support::binaries()?;
    Some(SERVER.get_or_init(|| {
        let server = Server::builder()
            .with_binaries(binaries.clone())
            .with_hba("host shut all all reject")
            .with_hba("host all scram all scram-sha-256")
            .with_hba("host all md5 all md5")
            .with_hba("host all clear all password")
            .start()
            .expect("a server");
        let password = CANARY.replace('\'', "''");
        let sql = format!(
            "create role scram login password '{password}'; create role clear login password '{password}';
             set password_encryption = 'md5'; create role md5 login password '{password}';
             create role limited login connection limit 0"
        );
        server.execute("postgres", &sql).expect("roles");
        server.create_database("shut").expect("a database");
        server
    }))
}

/// A key=value connection string, in which the password need not be encoded.
fn login(server: &Server, user: &str, password: Option<&str>) -> String {
    let mut text = format!(
        "host=127.0.0.1 port={} dbname=postgres user={user}",
        server.port()
    );
    if let Some(password) = password {
        text.push_str(&format!(" password='{}'", password.replace('\'', "\\'")));
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_let_in_or_are_named_as_the_reason() {
    let Some(server) = guarded() else { return };
    for user in ["scram", "md5", "clear"] {
        let url = login(server, user, Some(CANARY));
        assert_eq!(ask(&url, "select current_user::text").await.unwrap(), user);

        let error = refused(&login(server, user, Some("canary-wrong"))).await;
        assert_eq!(
            (error.kind(), error.phase(), error.sql_state()),
            (ErrorKind::Connect, Some(Phase::Auth), Some("28P01")),
            "{error}"
        );
        let place = format!("127.0.0.1:{}", server.port());
        assert_eq!(error.message().matches(&place).count(), 1, "{error}");
        assert!(!error.is_retryable());
        assert!(error.hint().unwrap().contains("password file"), "{error:?}");

        let error = refused(&login(server, user, None)).await;
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Connect, Some(Phase::Auth)),
            "{error:?}"
        );
        assert!(error.message().contains("none is given"), "{error:?}");
        assert!(error.hint().unwrap().contains("PGPASSWORD"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_come_from_the_environment_and_the_password_file() {
    let Some(server) = guarded() else { return };
    let url = login(server, "scram", None);
    let sql = "select current_user::text";
    let environment = Environment::default().with_variable("PGPASSWORD", CANARY);
    assert_eq!(ask_with(&url, environment, sql).await.unwrap(), "scram");

    let home = tempfile::tempdir().unwrap();
    let write = |mode: u32| {
        let path = home.path().join(".pgpass");
        let _ = std::fs::remove_file(&path);
        let mut options = std::fs::OpenOptions::new();
        let file = options.create_new(true).write(true).mode(mode).open(path);
        let text = format!("*:1:*:*:no\n127.0.0.1:{}:*:scram:{CANARY}\n", server.port());
        std::io::Write::write_all(&mut file.unwrap(), text.as_bytes()).unwrap();
    };
    let environment = Environment::default().with_home(home.path());
    write(0o600);
    let answer = ask_with(&url, environment.clone(), sql).await;
    assert_eq!(answer.unwrap(), "scram");
    // Others may read it too.
    write(0o640);
    let error = ask_with(&url, environment, sql).await.unwrap_err();
    assert!(error.message().contains("none is given"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_are_refused_say_why() {
    let Some(server) = guarded() else { return };
    let cases = [
        (
            "user=nobody_here",
            "28000",
            "role \"nobody_here\" does not exist",
        ),
        (
            "dbname=no_such",
            "3D000",
            "database \"no_such\" does not exist",
        ),
        ("dbname=shut", "28000", "pg_hba.conf rejects connection"),
        ("options='-c no_such_setting=1'", "42704", "no_such_setting"),
    ];
    for (part, code, said) in cases {
        let url = format!("{} {part}", login(server, "postgres", None));
        let error = refused(&url).await;
        assert_eq!(
            (error.kind(), error.phase(), error.sql_state()),
            (ErrorKind::Connect, Some(Phase::Auth), Some(code)),
            "{error}"
        );
        assert!(error.message().contains(said), "{error}");
        assert_eq!(error.shard(), Some("s0"));
    }
    let error = refused(&format!("{} dbname=shut", login(server, "postgres", None))).await;
    assert!(error.hint().unwrap().contains("pg_hba.conf"), "{error:?}");
    let error = refused(&login(server, "limited", None)).await;
    assert_eq!(error.sql_state(), Some("53300"));
    assert_eq!(error.phase(), Some(Phase::Connect));
    assert!(error.is_retryable());
    assert!(
        error.hint().unwrap().contains("max_connections"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_tried_in_order_until_one_refuses_the_login() {
    let (Some(guarded), Some(open)) = (guarded(), support::server()) else {
        return;
    };
    let url = |ports: &str, more: &str| {
        let hosts = vec!["127.0.0.1"; ports.split(',').count()].join(",");
        format!("host={hosts} port={ports} dbname=postgres {more}")
    };
    let sql = "select current_setting('port')";
    let port = open.port().to_string();
    let answer = ask(&url(&format!("1,{port}"), "user=postgres"), sql).await;
    assert_eq!(answer.unwrap(), port);
    // The second would let anybody in.
    open.execute(
        "postgres",
        "do $$ begin create role scram login; exception when others then end $$",
    )
    .unwrap();
    let ports = format!("{},{port}", guarded.port());
    let error = refused(&url(&ports, "user=scram password=canary-wrong")).await;
    assert_eq!(error.sql_state(), Some("28P01"), "{error}");

    let error = refused(&url("1,2,1", "user=postgres")).await;
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Connect, Some(Phase::Connect))
    );
    for place in ["127.0.0.1:1,", "127.0.0.1:2,"] {
        assert_eq!(error.message().matches(place).count(), 1, "{error}");
    }
    assert!(error.is_retryable() && error.hint().is_some(), "{error:?}");
    assert!(told(&error).contains("Connection refused"), "{error:?}");

    let error = refused("host=no-such-host.invalid user=u dbname=d connect_timeout=10").await;
    assert_eq!(error.phase(), Some(Phase::Resolve), "{error}");
    // Without a resolver nobody knows that it does not exist.
    let passes = told(&error).contains("emporary failure");
    let kind = if passes {
        ErrorKind::Connect
    } else {
        ErrorKind::Config
    };
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (kind, passes),
        "{error:?}"
    );
    assert!(error.message().contains("no-such-host.invalid"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_given_up() {
    // Connections come to stand, and nobody takes them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for mode in ["disable", "prefer", "require"] {
        let started = Instant::now();
        let error = refused(&format!(
            "postgresql://u@127.0.0.1:{port}/d?connect_timeout=2&sslmode={mode}"
        ))
        .await;
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Connect, Some(Phase::Connect)),
            "{error}"
        );
        assert!(error.message().contains("no answer within 2 s"), "{error}");
        assert!(error.hint().unwrap().contains("connect_timeout"));
        assert!(started.elapsed() < Duration::from_secs(4), "{mode}");
    }
}

/// Linux drops what knocks then, and answers nothing.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_queue_of_connections_is_full_is_given_up() {
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    use socket2::{Domain, Socket, Type};

    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut queue = Vec::new();
    while let Ok(waiting) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
        queue.push(waiting);
        assert!(queue.len() < 10_000);
    }
    let started = Instant::now();
    let error = refused(&format!("postgresql://u@{address}/d?connect_timeout=2")).await;
    assert!(started.elapsed() < Duration::from_secs(8));
    assert_eq!(
        (error.kind(), error.phase(), error.shard()),
        (ErrorKind::Connect, Some(Phase::Connect), Some("s0")),
        "{error}"
    );
    assert!(error.message().contains("no answer within 2 s"), "{error}");
    assert!(error.message().contains(&address.to_string()), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_as_target_session_attrs_asks() {
    let Some(server) = support::server() else {
        return;
    };
    let read_only = "&options=-c%20default_transaction_read_only%3Don";
    for (attrs, more, said) in [
        ("any", "", None),
        ("read-write", "", None),
        ("read-write", read_only, Some("a read-write session")),
        ("read-only", "", Some("a read-only session")),
        ("read-only", read_only, None),
        ("primary", "", None),
        ("standby", "", Some("a standby")),
        ("prefer-standby", "", None),
    ] {
        let url = format!(
            "{}?target_session_attrs={attrs}{more}",
            server.url("postgres")
        );
        match said {
            None => drop(ask(&url, "select ''::text").await.expect(&url)),
            Some(said) => {
                let error = refused(&url).await;
                assert_eq!(error.phase(), Some(Phase::Connect));
                assert!(error.message().contains(said), "{error}");
                assert!(error.message().contains("target_session_attrs"), "{error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_options_and_names_reach_the_server() {
    let Some(server) = support::server() else {
        return;
    };
    // A Unix socket has no TLS, whatever is asked.
    let url = format!("{}?sslmode=require", server.socket_url("postgres"));
    let sql = "select (inet_client_addr() is null)::text";
    assert_eq!(ask(&url, sql).await.unwrap(), "true");
    let url = server.url("postgres");
    let name = "select current_setting('application_name')";
    assert_eq!(ask(&url, name).await.unwrap(), "merganser");
    let named = format!("{url}?application_name=report%207");
    assert_eq!(ask(&named, name).await.unwrap(), "report 7");
    let geqo = format!("{url}?options=-c%20geqo%3Doff%20-c%20work_mem%3D77kB");
    let sql = "select current_setting('geqo') || current_setting('work_mem')";
    assert_eq!(ask(&geqo, sql).await.unwrap(), "off77kB");
    let missing = format!(
        "host=/no/such/folder port={} user=u dbname=d",
        server.port()
    );
    let error = refused(&missing).await;
    assert!(error.message().contains("/no/such/folder:"), "{error}");
    assert!(told(&error).contains("No such file"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_are_an_error_and_no_deadlock() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_setting("max_connections", "5")
        .with_setting("superuser_reserved_connections", "0")
        .with_setting("autovacuum", "off")
        .start()
        .unwrap();
    // Two shards on one server: each query needs two connections.
    let urls = [server.url("postgres"), server.url("template1")];
    let cluster = cluster(&urls, Environment::default());
    let queries = (0..8).map(|_| cluster.fan_out("select 1, pg_sleep(0.2)").collect());
    let answers = timeout(Duration::from_secs(20), futures::future::join_all(queries))
        .await
        .expect("no deadlock");
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(error.sql_state(), Some("53300"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.is_retryable());
    }
    assert!(answers.iter().any(Result::is_err), "all got a connection");
    cluster.close().await;
    let cluster = self::cluster(&urls, Environment::default());
    let mut answer = cluster.fan_out("select 1").collect().await;
    for _ in 0..40 {
        // The server takes a moment to clear away what was closed.
        if answer.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = cluster.fan_out("select 1").collect().await;
    }
    assert_eq!(rows(&answer.unwrap()), 2);
}

/// Backends that run this application's queries.
fn active(server: &Server, name: &str) -> usize {
    let sql = format!(
        "select count(*) from pg_stat_activity where state = 'active' and application_name = '{name}'"
    );
    let rows = server.query("postgres", &sql).unwrap();
    rows[0][0].as_deref().unwrap().parse().unwrap()
}

async fn none_active(server: &Server, name: &str) {
    let started = Instant::now();
    while active(server, name) > 0 {
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{name}: a query still runs"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Rows for a minute, a few at a time.
const SLOW: &str = "select n, repeat('x', 100), pg_sleep(0.001) from generate_series(1, 60000) n";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_fails_the_query_and_serves_again() {
    let (Some(shared), Some(binaries)) = (support::server(), support::binaries()) else {
        return;
    };
    let mut server = Server::builder()
        .with_binaries(binaries.clone())
        .start()
        .unwrap();
    let name = "application_name=killed";
    let urls = [
        format!("{}?{name}", shared.url("postgres")),
        format!("{}?{name}", server.url("postgres")),
    ];
    let cluster = cluster(&urls, Environment::default());
    let mut stream = cluster
        .fan_out(SLOW)
        .with_order(Order::FirstCome)
        .with_batch_rows(10)
        .stream()
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    let killed = Instant::now();
    server.kill_hard().unwrap();
    let error = loop {
        match stream.next().await.expect("no end without an error") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(killed.elapsed() < Duration::from_secs(2));
    assert_eq!(
        (error.shard(), error.phase()),
        (Some("s1"), Some(Phase::Stream)),
        "{error}"
    );
    assert!(error.is_retryable(), "{error}");
    none_active(shared, "killed").await;

    let error = cluster.fan_out("select 1").collect().await.unwrap_err();
    assert_eq!(
        (error.shard(), error.kind()),
        (Some("s1"), ErrorKind::Connect)
    );
    server.restart().unwrap();
    for _ in 0..3 {
        let answer = cluster.fan_out("select 1").collect().await.unwrap();
        assert_eq!(rows(&answer), 2);
        server.restart().unwrap();
    }
    cluster.close().await;
}

/// What a server quotes or notes may be as long as the values of a query, which are not held whole elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_at_length_is_an_error_or_passed_over() {
    let Some(url) = support::database() else {
        return;
    };
    support::execute(
        &url,
        "create function note(size int) returns int language plpgsql as
         $$ begin raise notice '%', repeat('x', size); return 1; end $$",
    );
    let cluster = cluster(&[url], Environment::default());
    for size in [10, 1_000_000, 5_000_000] {
        let answer = cluster
            .fan_out(format!("select note({size})"))
            .collect()
            .await;
        assert_eq!(rows(&answer.unwrap()), 1, "{size}");
    }
    let quoted = |size: usize| cluster.fan_out(format!("select repeat('x', {size})::int4"));
    let error = quoted(1_000_000).collect().await.unwrap_err();
    assert_eq!(error.sql_state(), Some("22P02"));
    let error = quoted(5_000_000).collect().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.shard()),
        (ErrorKind::Decode, Some("s0"))
    );
    assert!(
        error
            .message()
            .contains("an error of more than 1048576 bytes"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("log"), "{error:?}");
    let answer = cluster.fan_out("select 1").collect().await;
    assert_eq!(rows(&answer.unwrap()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_somebody_holds_is_told_with_what_helps() {
    let Some(url) = support::database() else {
        return;
    };
    support::execute(&url, "create table t as select 1 as n");
    let (other, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    other.batch_execute("begin; lock table t").await.unwrap();
    let session = SessionSettings::default().with_lock_timeout(Duration::from_millis(200));
    let topology = Topology::builder()
        .with_session(session)
        .with_shard(Shard::new("s0", &url));
    let cluster = Cluster::new(topology.build().unwrap()).unwrap();
    let asked = timeout(
        Duration::from_secs(20),
        cluster.fan_out("select n from t").collect(),
    );
    let error = asked.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.shard(), error.sql_state()),
        (ErrorKind::Server, Some("s0"), Some("55P03")),
        "{error:?}"
    );
    assert!(!error.is_retryable());
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("ALTER TABLE") && hint.contains("lock_timeout"),
        "{hint}"
    );
    other.batch_execute("commit").await.unwrap();
    let answer = cluster.fan_out("select n from t").collect().await;
    assert_eq!(rows(&answer.unwrap()), 1);
    drop(other);
    connection.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_stands_still_in_the_middle_of_its_rows_ends_at_the_deadline() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    // Of its own: others would wait for the backend when they make databases.
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .start()
        .unwrap();
    let url = format!("{}?application_name=still", server.url("postgres"));
    let cluster = cluster(&[url], Environment::default());
    let query = cluster
        .fan_out(SLOW)
        .with_batch_rows(10)
        .with_timeout(Duration::from_secs(3));
    let mut stream = query.stream().await.unwrap();
    stream.next().await.unwrap().unwrap();
    let pid = "select pid from pg_stat_activity where application_name = 'still'";
    let pid = server.query("postgres", pid).unwrap()[0][0]
        .clone()
        .unwrap();
    let stopped = support::Stopped::new(pid.parse().unwrap());
    let began = Instant::now();
    let error = loop {
        match timeout(Duration::from_secs(20), stream.next())
            .await
            .unwrap()
        {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("an end without an error"),
        }
    };
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(
        error.message().contains("did not end within 3 s"),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(stopped);
    none_active(&server, "still").await;
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_that_are_stopped_by_others_say_how() {
    let Some(server) = support::server() else {
        return;
    };
    for (function, code, retryable) in [
        ("pg_terminate_backend", "57P01", true),
        ("pg_cancel_backend", "57014", false),
    ] {
        let url = format!("{}?application_name={function}", server.url("postgres"));
        let cluster = cluster(&[url], Environment::default());
        let mut stream = cluster
            .fan_out(SLOW)
            .with_batch_rows(10)
            .stream()
            .await
            .unwrap();
        stream.next().await.unwrap().unwrap();
        let sql = format!(
            "select {function}(pid) from pg_stat_activity where application_name = '{function}'"
        );
        server.execute("postgres", &sql).unwrap();
        let error = stream.collect().await.unwrap_err();
        assert_eq!(error.sql_state(), Some(code), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Server, "{error:?}");
        assert_eq!(error.is_retryable(), retryable);
        let answer = cluster.fan_out("select 1").collect().await;
        assert_eq!(rows(&answer.unwrap()), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_before_it_begins_takes_no_rows_from_the_next() {
    let Some(server) = support::server() else {
        return;
    };
    let cluster = Cluster::builder(Topology::from_urls([server.url("postgres")]).unwrap())
        .with_environment(Environment::default())
        .with_connections_per_shard(1)
        .build()
        .unwrap();
    let sql = "select pg_backend_pid()::text, repeat('x', 100) from generate_series(1, 10000)";
    let mut pids = Vec::new();
    for _ in 0..5 {
        // Found by the planner: behind the description, before the answer to COPY.
        let error = cluster.fan_out("select 1 / 0").collect().await.unwrap_err();
        assert_eq!(
            (error.sql_state(), error.phase()),
            (Some("22012"), Some(Phase::Stream))
        );
        let batches = cluster.fan_out(sql).collect().await.unwrap();
        assert_eq!(rows(&batches), 10_000);
        pids.push(batches[0].column(0).as_string::<i32>().value(0).to_owned());
    }
    pids.dedup();
    assert_eq!(pids.len(), 1, "the connection is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_cancel_hits_nobody_else() {
    let Some(server) = support::server() else {
        return;
    };
    let url = format!("{}?application_name=late", server.url("postgres"));
    let cluster = Cluster::builder(Topology::from_urls([url]).unwrap())
        .with_environment(Environment::default())
        .with_connections_per_shard(2)
        .build()
        .unwrap();
    for turn in 0..200_u64 {
        // Given up at all kinds of moments: before it runs, while it does, when it is done.
        let given_up = cluster.fan_out("select pg_sleep(0.004)").collect();
        let _ = timeout(Duration::from_micros(turn * 60), given_up).await;
        let answer = cluster.fan_out("select n from generate_series(1, 100) n");
        assert_eq!(rows(&answer.collect().await.unwrap()), 100, "turn {turn}");
    }
    none_active(server, "late").await;
    cluster.close().await;
}

/// Writes a file and gives its path as a connection string has it.
fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}
