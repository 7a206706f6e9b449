//! Servers that fail, lie or hang, at every point of a query: an error in time, or the right rows.

mod matrix;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(feature = "datafusion")]
mod planned;
#[cfg(feature = "datafusion")]
mod proxy;
mod server;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use futures::stream::{self, StreamExt};
use merganser::{Cluster, Error, ErrorKind, Phase, Topology, arrow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use self::server::{
    ENDLESS, Fault, HEALTHY, LIES, Lie, PASSWORD, POINTS, Point, Script, Scripted, error, message,
    notice,
};

/// The longest that anything may take that a deadline of 10 s or a connect timeout of 2 s ends.
const BOUND: Duration = Duration::from_secs(20);

fn cluster(url: String) -> Cluster {
    Cluster::builder(Topology::from_urls([url]).unwrap())
        .with_connections_per_shard(1)
        .with_environment(merganser::config::Environment::default())
        .build()
        .unwrap()
}

fn values(batches: &[RecordBatch]) -> Vec<i32> {
    let values = batches
        .iter()
        .map(|batch| batch.column(0).as_primitive::<Int32Type>());
    values.flat_map(|array| array.values().to_vec()).collect()
}

/// Waits, up to 2 s, until all of these are zero.
async fn all_zero(counts: &[&AtomicUsize]) -> bool {
    let started = Instant::now();
    loop {
        if counts.iter().all(|count| count.load(Ordering::SeqCst) == 0) {
            return true;
        }
        if started.elapsed() > Duration::from_secs(2) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One query over one scripted server; the cluster is closed then, and nothing may be left open.
async fn ask(script: Script) -> Result<Vec<i32>, Error> {
    let server = Scripted::start(script.clone()).await;
    let cluster = cluster(server.url());
    let query = cluster
        .fan_out("select n from t")
        .with_timeout(Duration::from_secs(10));
    let answer = timeout(BOUND, query.collect())
        .await
        .unwrap_or_else(|_| panic!("{script:?}: no end in time"));
    timeout(BOUND, cluster.close())
        .await
        .unwrap_or_else(|_| panic!("{script:?}: no close in time"));
    assert!(
        all_zero(&[&server.counts.open]).await,
        "{script:?}: sockets left"
    );
    answer.map(|batches| values(&batches))
}

async fn fail(point: Point, fault: Fault) -> Error {
    let script = Script {
        fault: Some((point, fault.clone())),
        ..HEALTHY
    };
    match ask(script).await {
        Err(error) => error,
        Ok(rows) => panic!("{fault:?} at {point:?}: success with {rows:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_right_however_the_bytes_are_cut() {
    let expected: Vec<_> = (0..10).collect();
    for step in [None, Some(1), Some(3), Some(6), Some(11)] {
        let server = Scripted::start(Script { step, ..HEALTHY }).await;
        let cluster = cluster(server.url());
        for _ in 0..2 {
            let answer = timeout(BOUND, cluster.fan_out("select n from t").collect()).await;
            assert_eq!(values(&answer.unwrap().unwrap()), expected, "{step:?}");
        }
        // The end of the rows, in pieces, does not stand in the way of what comes next.
        assert_eq!(server.counts.accepted.load(Ordering::SeqCst), 1, "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_and_settings_may_come_between() {
    let expected: Vec<_> = (0..10).collect();
    let both = [notice(), message(b'S', b"TimeZone\0UTC\0"), notice()].concat();
    for point in POINTS {
        if !point.takes_notices() {
            continue;
        }
        for step in [None, Some(2)] {
            let script = Script {
                fault: Some((point, Fault::Bytes(both.repeat(5)))),
                step,
                ..HEALTHY
            };
            assert_eq!(ask(script).await.unwrap(), expected, "{point:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_server_does_not_confirm_are_no_answer() {
    let done = message(b'c', b"");
    let ready = message(b'Z', b"T");
    let command = |tag: &str| message(b'C', format!("{tag}\0").as_bytes());
    let end = [&done[..], &command("COPY 10"), &ready].concat();
    // What takes the place of the rest, and what the message says of it.
    let cases: Vec<(Point, Vec<u8>, &str)> = vec![
        (Point::LastRow, end.clone(), "without the trailer"),
        (Point::Copy, end.clone(), "10 rows, but 0 were received"),
        (
            Point::Trailer,
            [&message(b'd', &[0, 0])[..], &end].concat(),
            "follow the trailer",
        ),
        (
            Point::Done,
            [command("COPY 9"), ready.clone()].concat(),
            "says it sent 9 rows, but 10",
        ),
        (
            Point::Done,
            [command("COPY 11"), ready.clone()].concat(),
            "says it sent 11 rows, but 10",
        ),
        (
            Point::Done,
            [command("SELECT 10"), ready.clone()].concat(),
            "protocol",
        ),
        (
            Point::Done,
            [command("COPY"), ready.clone()].concat(),
            "protocol",
        ),
        (
            Point::Done,
            [command("COPY -10"), ready.clone()].concat(),
            "protocol",
        ),
        (Point::Done, ready.clone(), "protocol"),
        (
            Point::Trailer,
            [command("COPY 10"), ready.clone()].concat(),
            "protocol",
        ),
        (
            Point::Trailer,
            [command("COPY 10"), done.clone(), ready.clone()].concat(),
            "protocol",
        ),
        (
            Point::Done,
            [&message(b'd', &[0, 0])[..], &command("COPY 10"), &ready].concat(),
            "protocol",
        ),
        (
            Point::FirstRow,
            message(b'd', &[0, 2, 0, 0, 0, 0, 0, 0, 0, 0]),
            "expected 1 fields, found 2",
        ),
        (
            Point::FirstRow,
            message(b'd', &[255, 254]),
            "expected 1 fields, found -2",
        ),
        (
            Point::FirstRow,
            message(b'd', &[0, 1, 255, 255, 255, 254]),
            "invalid field length -2",
        ),
        (
            Point::FirstRow,
            message(b'd', &[0, 1, 127, 255, 255, 255]),
            "longer than PostgreSQL's limit",
        ),
        (
            Point::FirstRow,
            message(b'd', &[0, 1, 0, 0, 0, 3, 1, 2, 3]),
            "\"n\"",
        ),
        (
            Point::FirstRow,
            [message(b'E', b"no terminator"), ready.clone()].concat(),
            "protocol",
        ),
        (
            Point::Describe,
            [message(b'T', &[0xff; 6]), ready.clone()].concat(),
            "protocol",
        ),
        (
            Point::Begin,
            [message(b'D', &[0, 9, 0]), ready.clone()].concat(),
            "protocol",
        ),
    ];
    let check = async |(point, bytes, said): (Point, Vec<u8>, &str)| {
        let error = fail(point, Fault::BytesAndHang(bytes.clone())).await;
        assert_eq!(error.shard(), Some("s0"), "{point:?} {bytes:?}: {error}");
        assert_eq!(error.kind(), ErrorKind::Decode, "{point:?}: {error:?}");
        assert!(
            error.message().contains(said),
            "{point:?} {bytes:?}: {error:?}"
        );
        assert!(!error.is_retryable(), "{error}");
    };
    stream::iter(cases).for_each_concurrent(8, check).await;
    let script = Script {
        counted: Some(1_000_000),
        ..HEALTHY
    };
    let error = ask(script).await.unwrap_err();
    assert!(error.message().contains("1000000 rows"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_shows_that_it_knows_the_password() {
    // Not at fault, but with what is asked for there: TLS, and SCRAM.
    for point in [Point::Handshake, Point::ScramFirst] {
        for step in [None, Some(3)] {
            let script = Script {
                fault: Some((point, Fault::Pause(Duration::ZERO))),
                step,
                ..HEALTHY
            };
            assert_eq!(ask(script).await.unwrap().len(), 10, "{point:?}");
        }
    }
    for lie in LIES {
        let started = Instant::now();
        let error = fail(lie.point(), Fault::Lie(lie)).await;
        // The rounds that are asked for would take a minute.
        assert!(started.elapsed() < BOUND, "{lie:?}");
        let told = format!("{error:?}");
        assert!(!told.contains(PASSWORD), "{told}");
        let (kind, phase, said) = match lie {
            Lie::Iterations => (ErrorKind::Connect, Phase::Auth, "iteration count"),
            Lie::Nonce => (ErrorKind::Connect, Phase::Auth, "invalid nonce"),
            Lie::Signature => (ErrorKind::Connect, Phase::Auth, "verification error"),
            Lie::NoSignature => (ErrorKind::Decode, Phase::Connect, "UnexpectedMessage"),
        };
        assert_eq!((error.kind(), error.phase()), (kind, Some(phase)), "{told}");
        assert!(told.contains(said), "{lie:?}: {told}");
        assert!(!error.is_retryable(), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_behind_the_rows_are_told() {
    for point in [Point::LastRow, Point::Trailer, Point::Done, Point::Complete] {
        let error = fail(point, Fault::Error("53100")).await;
        assert_eq!(error.sql_state(), Some("53100"), "{point:?}: {error:?}");
        assert_eq!(error.message(), "scripted");
        let error = fail(point, Fault::Fatal("57P02")).await;
        assert_eq!(error.sql_state(), Some("57P02"), "{point:?}: {error:?}");
        let error = fail(point, Fault::Close).await;
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.is_retryable());
        let error = fail(point, Fault::Reset).await;
        let source = std::error::Error::source(&error).unwrap();
        let cause = source.source().map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("reset"), "{point:?}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_again_after_an_error() {
    for point in [
        Point::Describe,
        Point::Execute,
        Point::FirstRow,
        Point::Done,
    ] {
        let server = Scripted::start(Script {
            fault: Some((point, Fault::Error("22012"))),
            ..HEALTHY
        })
        .await;
        let cluster = cluster(server.url());
        // The outlet for the rows of a COPY that never began must not take those of the next.
        for _ in 0..3 {
            let error = cluster.fan_out("select n from t").collect().await;
            assert_eq!(error.unwrap_err().sql_state(), Some("22012"));
        }
        assert_eq!(
            server.counts.accepted.load(Ordering::SeqCst),
            1,
            "{point:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_died_in_the_pool_are_replaced() {
    for fault in [
        Fault::Close,
        Fault::Reset,
        Fault::Hang,
        Fault::Fatal("57P01"),
        Fault::Error("08006"),
    ] {
        let server = Scripted::start(Script {
            fault: Some((Point::Begin, fault.clone())),
            first_after: Some(2),
            ..HEALTHY
        })
        .await;
        let cluster = cluster(
            server
                .url()
                .replace("connect_timeout=20", "connect_timeout=2"),
        );
        for _ in 0..4 {
            let answer = timeout(BOUND, cluster.fan_out("select n from t").collect()).await;
            assert_eq!(values(&answer.unwrap().unwrap()).len(), 10, "{fault:?}");
        }
        assert_eq!(
            server.counts.accepted.load(Ordering::SeqCst),
            2,
            "{fault:?}"
        );
    }
    // One that is new and fails is not: that would go on for ever.
    let error = fail(Point::Begin, Fault::Close).await;
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Connect, Some(Phase::Session))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_the_request_for_tls_are_not_believed() {
    let fake = error("28P01");
    let cases: [(&[u8], &str); 7] = [
        (b"N", "does not offer TLS"),
        (&fake, "found byte 0x45"),
        (b"X", "found byte 0x58"),
        (b"", "broke while TLS was negotiated"),
        // Plain text behind the S, in place of a handshake.
        (b"SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I", "handshake failed"),
        (b"S", "handshake failed"),
        (b"S\x15\x03\x03\0\x02\x02\x28", "handshake failed"),
    ];
    for (answer, said) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = answer.to_vec();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(&answer).await.unwrap();
            let mut sent = Vec::new();
            if answer.starts_with(b"S") {
                let _ = timeout(Duration::from_millis(300), stream.read_to_end(&mut sent)).await;
            }
            sent
        });
        let url = format!("postgresql://u:canary@127.0.0.1:{port}/d?sslmode=require");
        let environment = merganser::config::Environment::default();
        let cluster = Cluster::builder(Topology::from_urls([url]).unwrap())
            .with_environment(environment)
            .build()
            .unwrap();
        let answer = timeout(BOUND, cluster.fan_out("select 1").collect()).await;
        let error = answer.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Connect, Some(Phase::Tls)),
            "{error}"
        );
        assert!(error.message().contains(said), "{error:?}");
        let all = format!("{error:?}");
        assert!(
            !all.contains("scripted") && !all.contains("canary"),
            "{all}"
        );
        let sent = server.await.unwrap();
        assert!(!sent.windows(6).any(|six| six == b"canary"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_leaves_nothing_also_outside_a_runtime() {
    let server = Scripted::start(ENDLESS).await;
    let cluster = cluster(server.url());
    let mut stream = cluster
        .fan_out("select n from t")
        .with_batch_rows(1)
        .stream()
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    std::thread::spawn(move || drop(stream)).join().unwrap();
    assert!(all_zero(&[&server.counts.open]).await, "the COPY goes on");
    assert_eq!(server.counts.cancels.load(Ordering::SeqCst), 1);
    timeout(BOUND, cluster.close()).await.unwrap();
}
