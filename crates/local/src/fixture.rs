//! What the tests of one binary share: one server, and TPC-H data on it. For tests alone: it panics.
//!
//! Plain `cargo test` runs all of them as threads of one process, so one server serves all. Rust
//! never drops a static, but the server's watchdog ends it with the process.
//!
//! ```ignore
//! #[tokio::test]
//! async fn a_test() {
//!     let Some(urls) = fixture::shards(3) else { return };
//! }
//! ```

use std::collections::HashMap;
use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use crate::{Binaries, Server, Tpch};

/// The scale factor of [`tpch`] in thousandths: 1,500 orders.
const TPCH_THOUSANDTHS: u32 = 1;

/// The installation to test with. Without one it says so and returns `None`: the test counts as
/// passed, unless `CI` or `MERGANSER_REQUIRE_POSTGRES` is set; then it fails.
pub fn binaries() -> Option<&'static Binaries> {
    static BINARIES: OnceLock<Option<Binaries>> = OnceLock::new();
    let found = BINARIES.get_or_init(|| match Binaries::find() {
        Ok(binaries) => Some(binaries),
        Err(error) if is_required() => panic!("{error}: {}", error.hint().unwrap_or_default()),
        Err(_) => None,
    });
    if found.is_none() {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        tell(&format!(
            "SKIPPED: no PostgreSQL for {test}; `./dev test` installs it"
        ));
    }
    found.as_ref()
}

/// The server that all tests share; they must not restart it or change its settings. `None` as in
/// [`binaries`].
pub fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let binaries = binaries()?;
    Some(SERVER.get_or_init(|| {
        Server::builder()
            .with_binaries(binaries.clone())
            .with_setting("max_connections", "400")
            .start()
            .expect("the shared server starts")
    }))
}

/// The URL of an empty database of the test's own.
pub fn database() -> Option<String> {
    let name = unique_name();
    Some(server()?.create_database(&name).expect("a new database"))
}

/// The URLs of `n` empty databases of the test's own.
pub fn shards(n: usize) -> Option<Vec<String>> {
    (0..n).map(|_| database()).collect()
}

/// The URLs of shards where `t(n)` holds the numbers that follow those of the shard before, from 0,
/// as many as `sizes` says.
pub fn numbered(sizes: &[i32]) -> Option<Vec<String>> {
    let urls = shards(sizes.len())?;
    let mut from = 0;
    for (url, size) in urls.iter().zip(sizes) {
        let last = from + size - 1;
        execute(
            url,
            &format!("create table t as select n::int4 from generate_series({from}, {last}) n"),
        );
        from += size;
    }
    Some(urls)
}

/// TPC-H data that tests share, and therefore only read.
#[derive(Debug)]
pub struct TpchData {
    /// The database that holds all rows.
    pub oracle: String,
    /// The databases over which the rows are split.
    pub shards: Vec<String>,
}

/// TPC-H data on one database and split over `n`, loaded when first asked for.
pub fn tpch(n: usize) -> Option<&'static TpchData> {
    tpch_of(TPCH_THOUSANDTHS, n)
}

/// The same of this scale factor, in thousandths: 10 is a scale factor of 0.01.
pub fn tpch_of(thousandths: u32, n: usize) -> Option<&'static TpchData> {
    static LOADED: Mutex<Option<HashMap<(u32, usize), &'static TpchData>>> = Mutex::new(None);
    server()?;
    // A test that failed while it loaded must not fail all others.
    let mut loaded = LOADED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let loaded = loaded.get_or_insert_default();
    if let Some(&data) = loaded.get(&(thousandths, n)) {
        return Some(data);
    }
    let same = loaded.iter().find(|((other, _), _)| *other == thousandths);
    let oracle = match same {
        Some((_, data)) => data.oracle.clone(),
        None => load(thousandths, 1).remove(0),
    };
    let shards = load(thousandths, n);
    let data: &TpchData = Box::leak(Box::new(TpchData { oracle, shards }));
    loaded.insert((thousandths, n), data);
    Some(data)
}

fn load(thousandths: u32, n: usize) -> Vec<String> {
    let urls = shards(n).expect("a server");
    let data = Tpch::new(f64::from(thousandths) / 1000.0);
    // On a thread of its own: the caller may be a task of a runtime already.
    thread::scope(|scope| {
        scope.spawn(|| {
            tokio::runtime::Runtime::new()
                .expect("a runtime")
                .block_on(data.load(&urls))
                .expect("TPC-H data loads");
        });
    });
    urls
}

/// Writes past the test harness, which would keep it until the test fails.
pub fn tell(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}

fn unique_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether a test that cannot run is to fail.
pub fn is_required() -> bool {
    ["CI", "MERGANSER_REQUIRE_POSTGRES"]
        .iter()
        .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Runs SQL in the database of a URL that [`database`] or [`shards`] gave.
pub fn execute(url: &str, sql: &str) {
    let (_, name) = url.rsplit_once('/').expect("a URL of a database");
    let server = server().expect("a server");
    server.execute(name, sql).expect("SQL that runs");
}

/// How many backends of ours run something in the databases of `urls`.
pub fn active(urls: &[String]) -> usize {
    let names: Vec<_> = urls
        .iter()
        .map(|url| format!("'{}'", url.rsplit('/').next().expect("a name")))
        .collect();
    let sql = format!(
        "select count(*) from pg_stat_activity where state = 'active' and application_name = 'merganser' and datname in ({})",
        names.join(", ")
    );
    let server = server().expect("a server");
    let rows = server.query("postgres", &sql).expect("a count");
    let count = rows[0][0].as_deref().expect("a count");
    count.parse().expect("a count")
}

/// A process that stands still while this lives.
#[derive(Debug)]
pub struct Stopped(u32);

impl Stopped {
    /// Stops the process of this number.
    pub fn new(pid: u32) -> Self {
        signal("STOP", pid);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("CONT", self.0);
    }
}

fn signal(name: &str, pid: u32) {
    let mut kill = Command::new("kill");
    let status = kill.args([format!("-{name}"), pid.to_string()]).status();
    assert!(status.expect("a command").success(), "{name} {pid}");
}

/// Whether soon no backend of ours runs anything there.
pub fn none_active(urls: &[String]) -> bool {
    for _ in 0..40 {
        if active(urls) == 0 {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}
