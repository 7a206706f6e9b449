//! Servers that fail, lie or hang: the exit code that the help promises, shard and server by name, in time, and
//! an old file as it was.

#[path = "../../../../tests/integration/wire/server/mod.rs"]
#[allow(dead_code, reason = "the library's tests use the rest")]
mod server;

use std::fs;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use tempfile::TempDir;

use self::server::{Fault, HEALTHY, LIES, Lie, PASSWORD, Point, Script, Scripted, message, notice};
use super::{Done, Run, merganser, names_in};
use crate::support;

/// What `--timeout` says.
const DEADLINE: Duration = Duration::from_secs(2);
/// What a run may take besides, which begins with the start of a program without optimisation.
const GRACE: Duration = Duration::from_secs(8);
const OLD: &str = "of yesterday";

/// Where the name of a server stands: the query itself would be at fault on any other, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Server,
    Shard,
    /// Only in what the query waited for.
    Late,
}

fn cases() -> Vec<(Point, Fault, i32, Named)> {
    use Named::{Late, Server, Shard};
    let http = Fault::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let done = message(b'c', b"");
    let end = |tag: &str| [message(b'C', tag.as_bytes()), message(b'Z', b"T")].concat();
    let mut cases = vec![
        (Point::Tls, Fault::Close, 4, Server),
        (Point::Tls, Fault::Error("28P01"), 4, Server),
        (Point::Tls, Fault::Bytes(b"N".to_vec()), 4, Server),
        (Point::Handshake, http.clone(), 4, Server),
        (Point::Startup, Fault::Close, 4, Server),
        (Point::Startup, Fault::Reset, 4, Server),
        (Point::Startup, http.clone(), 1, Server),
        (Point::Startup, Fault::Error("28P01"), 4, Server),
        (Point::Startup, Fault::Error("3D000"), 4, Server),
        (Point::Startup, Fault::Error("53300"), 4, Server),
        (Point::Startup, Fault::Hang, 5, Late),
        (Point::ScramFirst, Fault::Reset, 4, Server),
        (Point::Login, Fault::Close, 4, Server),
        (Point::Begin, Fault::Close, 4, Server),
        (Point::Begin, Fault::Error("53100"), 1, Server),
        (Point::Begin, Fault::Fatal("57P01"), 4, Server),
        (Point::Begin, Fault::Endless(notice()), 5, Late),
        (Point::Describe, Fault::Close, 4, Server),
        (Point::Describe, Fault::Error("42P01"), 2, Shard),
        (Point::Describe, Fault::Error("42501"), 1, Shard),
        (Point::Execute, Fault::Error("22012"), 1, Shard),
        (Point::Execute, Fault::Error("57014"), 5, Server),
        (Point::Execute, Fault::Error("55P03"), 1, Server),
        (Point::Copy, Fault::Close, 4, Server),
        (Point::Copy, http, 1, Server),
        (Point::FirstRow, Fault::Reset, 4, Server),
        (Point::FirstRow, Fault::Fatal("57P02"), 4, Server),
        (Point::FirstRow, Fault::Error("40001"), 1, Server),
        (Point::FirstRow, Fault::Hang, 5, Late),
        (
            Point::FirstRow,
            Fault::BytesAndHang(message(b'd', &[0, 1, 255, 255, 255, 254])),
            1,
            Server,
        ),
        (
            Point::LastRow,
            Fault::BytesAndHang([done, end("COPY 10\0")].concat()),
            1,
            Server,
        ),
        (Point::Done, Fault::BytesAndHang(end("COPY 9\0")), 1, Server),
        (Point::Complete, Fault::Close, 4, Server),
    ];
    cases.extend(LIES.map(|lie| {
        let code = if lie == Lie::NoSignature { 1 } else { 4 };
        (lie.point(), Fault::Lie(lie), code, Server)
    }));
    cases
}

/// A run over three shards, of which the second has this fault; and how long it took.
async fn run(fault: Option<(Point, Fault)>, folder: &TempDir) -> (Done, Duration, u16) {
    let mut servers = Vec::new();
    for shard in 0..3 {
        let script = Script {
            fault: fault.clone().filter(|_| shard == 1),
            first: shard * 1000,
            ..HEALTHY
        };
        servers.push(Scripted::start(script).await);
    }
    let mut command = merganser(folder.path());
    command.args(["query", "--fan-out", "--timeout", "2s", "-o", "rows.csv"]);
    for server in &servers {
        command.args(["--shard", &server.url()]);
    }
    command.arg("select n from t");
    let started = Instant::now();
    let done = tokio::task::spawn_blocking(move || command.run()).await;
    (done.unwrap(), started.elapsed(), servers[1].port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_server_ends_the_program_as_the_help_says() {
    let folder = tempfile::tempdir().unwrap();
    let (done, ..) = run(None, &folder).await;
    assert_eq!(done.code, 0, "{}", done.stderr);
    let written = fs::read_to_string(folder.path().join("rows.csv")).unwrap();
    assert_eq!(written.lines().count(), 31);

    let cases = cases();
    let count = cases.len();
    assert!(count > 30, "{count}");
    let check = async |(point, fault, code, named)| {
        let case = format!("{fault:?} at {point:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        fs::write(&path, OLD).unwrap();
        let (done, elapsed, port) = run(Some((point, fault)), &folder).await;
        let said = &done.stderr;
        assert_eq!(done.code, code, "{case}: {said}");
        assert!(said.contains("\"s1\""), "{case}: {said}");
        let names_server = said.contains(&format!("127.0.0.1:{port}"));
        assert_eq!(names_server, named == Named::Server, "{case}: {said}");
        assert!(!said.contains(PASSWORD), "{case}: {said}");
        assert!(elapsed < DEADLINE + GRACE, "{case}: {elapsed:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), OLD, "{case}");
        assert_eq!(names_in(folder.path()), ["rows.csv"], "{case}");
        assert_eq!(done.stdout, "", "{case}");
        elapsed
    };
    let took = stream::iter(cases).map(check).buffer_unordered(8);
    let took: Vec<_> = took.collect().await;
    support::tell(&format!(
        "hostile servers and the program: {count} of {count} exit codes are right; slowest {:.1?}",
        took.iter().max().unwrap()
    ));
}
