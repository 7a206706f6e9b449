//! A password, in whatever way it is given, is in nothing that is given out: answers and their files,
//! plans, descriptors, errors, `Debug`, panics, and what is logged at the finest level.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;

use merganser::config::Environment;
use merganser::export::{self, Destination, ExportOptions, Folder, Format, Progress};
use merganser::inspect::Inspector;
use merganser::{Cluster, Error, PartitionOptions, ScanProgress, Topology};
use merganser_local::Server;

use crate::support;

/// What survives percent-encoding, quoting and lower case of the password.
const CANARY: &str = "sesame7";
/// With what has to be quoted or encoded somewhere.
const PASSWORD: &str = "sesame7 'x'/?@:#%41\\ü";

/// Records of the library and of those below it that have the canary.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// How many records there were.
static RECORDS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

fn logged(record: String) {
    RECORDS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    if record.to_lowercase().contains(CANARY) {
        let mut all = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(record);
    }
}

struct Traces;

impl tracing::Subscriber for Traces {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        logged(format!("{event:?}"));
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        logged(format!("{span:?}"));
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        logged(format!("{values:?}"));
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct Logs;

impl log::Log for Logs {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        logged(format!("{} {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

/// Listens to everything from now on; nobody else in these tests does.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Traces).unwrap();
        log::set_logger(&Logs).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Two databases of one server that asks for the password of `right`, and whose `wrong` has another.
fn guarded() -> Option<&'static Server> {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let binaries = support::binaries()?;
    Some(SERVER.get_or_init(|| {
        let server = Server::builder()
            .with_binaries(binaries.clone())
            .with_hba("local all all trust")
            .with_hba("host all all all scram-sha-256")
            .start()
            .unwrap();
        let password = PASSWORD.replace('\'', "''");
        let roles = format!(
            "create role \"right\" superuser login password '{password}';
             create role wrong login password 'another'"
        );
        server.execute("postgres", &roles).unwrap();
        for shard in 0..2 {
            let name = format!("s{shard}");
            server.create_database(&name).unwrap();
            let sql = format!(
                "create table t as select n::int4 as id, n % 3 as kind from generate_series(1, 100) n
                 where n % 2 = {shard}; alter table t alter id set not null"
            );
            server.execute(&name, &sql).unwrap();
        }
        server
    }))
}

/// One way of giving a password, for these two URLs without.
struct Given {
    name: &'static str,
    topology: Topology,
    environment: Environment,
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// With letters and digits as they are, as anyone would write it.
fn encoded_where_needed(text: &str) -> String {
    let encode = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_string(),
        false => encoded(&c.to_string()),
    };
    text.chars().map(encode).collect()
}

const TABLE: &str = "\n[[table]]\nname = \"t\"\nshard_key = \"id\"\nshard_index = \"id % 2\"\n";

fn topology(urls: &[String]) -> Topology {
    toml(urls.iter().map(|url| format!("url = {url:?}")), "")
}

fn toml(shards: impl Iterator<Item = String>, more: &str) -> Topology {
    let shards: String = shards
        .enumerate()
        .map(|(shard, lines)| format!("[[shard]]\nname = \"s{shard}\"\n{lines}\n"))
        .collect();
    Topology::from_toml(&format!("{more}\n{shards}{TABLE}")).unwrap()
}

/// All ways; files go into the folder.
fn ways(folder: &Path, user: &str, port: u16) -> Vec<Given> {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let in_url = encoded_where_needed(PASSWORD);
    let quoted = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
    let url = |shard: usize, password: &str| {
        let password = match password {
            "" => String::new(),
            password => format!(":{password}"),
        };
        format!("postgresql://{user}{password}@127.0.0.1:{port}/s{shard}?sslmode=disable")
    };
    let both = |make: &dyn Fn(usize) -> String| topology(&[make(0), make(1)]);
    let plain = || Environment::default().with_home(folder.join("nobody"));
    let in_file = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    let passfile = write("passfile", format!("*:*:*:{user}:{in_file}\n"));
    let home = folder.join("home");
    fs::create_dir_all(&home).unwrap();
    let at_home = write("home/.pgpass", format!("*:*:*:*:{in_file}\n"));
    assert!(at_home.exists());
    let services: String = (0..2)
        .map(|shard| {
            format!(
                "[s{shard}]\nhost=127.0.0.1\nport={port}\ndbname=s{shard}\nuser={user}\n\
                 sslmode=disable\npassword={PASSWORD}\n"
            )
        })
        .collect();
    let services = write("services", services);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let without = both(&|shard| url(shard, ""));
    let given = |name, topology, environment| Given {
        name,
        topology,
        environment,
    };
    vec![
        given("in the URL", both(&|shard| url(shard, &in_url)), plain()),
        given(
            "in the URL, all of it encoded",
            both(&|shard| format!("{}&password={}", url(shard, ""), encoded(PASSWORD))),
            plain(),
        ),
        given(
            "as a keyword",
            both(&|shard| {
                format!(
                    "host=127.0.0.1 port={port} dbname=s{shard} user={user} password='{quoted}'"
                )
            }),
            plain(),
        ),
        given(
            "in a variable of libpq's",
            without.clone(),
            plain().with_variable("PGPASSWORD", PASSWORD),
        ),
        given(
            "in a password file",
            without.clone(),
            plain().with_variable("PGPASSFILE", &path(&passfile)),
        ),
        given(
            "in the password file at home",
            without.clone(),
            Environment::default().with_home(&home),
        ),
        given(
            "in a service file",
            both(&|shard| format!("service=s{shard}")),
            plain().with_variable("PGSERVICEFILE", &path(&services)),
        ),
        given(
            "beside a replica and the server that finishes",
            toml(
                (0..2).map(|shard| {
                    let url = url(shard, &in_url);
                    format!("url = {url:?}\nreplicas = [{url:?}]")
                }),
                &format!("[finish]\nurl = {:?}", url(0, &in_url)),
            ),
            plain(),
        ),
        given(
            "as a pass phrase, too",
            both(&|shard| format!("{}&sslpassword={in_url}", url(shard, &in_url))),
            plain(),
        ),
        given(
            "with a mistake behind it",
            both(&|shard| format!("{}&options=-c%20no_such%3D{in_url}", url(shard, &in_url))),
            plain(),
        ),
    ]
}

/// Everything that was given out.
#[derive(Default)]
struct Outputs(Vec<(String, Vec<u8>)>);

impl Outputs {
    fn text(&mut self, what: &str, text: impl Into<String>) {
        self.0.push((what.to_owned(), text.into().into_bytes()));
    }

    /// All that an error says, wherever it comes from.
    fn error(&mut self, what: &str, error: &Error) {
        let mut text = format!("{error}\n{error:?}\n{}\n", error.hint().unwrap_or_default());
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            text.push_str(&format!("{error}\n{error:?}\n"));
            source = error.source();
        }
        self.text(what, text);
    }

    fn result<T>(&mut self, what: &str, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.error(what, &error)).ok()
    }

    /// The files of a folder, with their names.
    fn files(&mut self, what: &str, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            self.text(what, path.display().to_string());
            match path.is_dir() {
                true => self.files(what, &path),
                false => {
                    let name = format!("{what}: {}", path.display());
                    self.0.push((name, fs::read(&path).unwrap()));
                }
            }
        }
    }

    /// How many there were; none of them has the canary.
    fn check(self, given: &str) -> usize {
        for (what, bytes) in &self.0 {
            let text = String::from_utf8_lossy(bytes);
            assert!(
                !text.to_lowercase().contains(CANARY),
                "{given}: {what}: {text}"
            );
        }
        self.0.len()
    }
}

/// Asks in every way there is, and keeps what comes of it.
async fn ask(given: &Given, folder: &Path, outputs: &mut Outputs) {
    outputs.text("topology", format!("{:?}", given.topology));
    outputs.text("fingerprint", given.topology.fingerprint());
    outputs.text("environment", format!("{:?}", given.environment));
    let cluster = Cluster::builder(given.topology.clone())
        .with_environment(given.environment.clone())
        .with_catalog_cache(folder.join("cache"))
        .build();
    let Some(cluster) = outputs.result("cluster", cluster) else {
        return;
    };
    outputs.text("cluster", format!("{cluster:?}"));
    // What a panic would show.
    outputs.text("debug", format!("{given:?}"));

    let sum =
        "select kind, sum(id), percentile_disc(0.5) within group (order by id) from t group by 1";
    for sql in [
        sum,
        "table t",
        "select 1 / (id - id) from t",
        "select nope",
        "selec",
    ] {
        let query = || cluster.query(sql).with_timeout(Duration::from_secs(20));
        if let Some(plan) = outputs.result(sql, query().plan().await) {
            outputs.text("plan", format!("{plan}\n{plan:?}\n{}", plan.to_json()));
        }
        if let Some(analysis) = outputs.result(sql, query().analyze().await) {
            outputs.text("analysis", format!("{analysis}\n{}", analysis.to_json()));
        }
        let progress = ScanProgress::new();
        let fan_out = cluster.fan_out(sql).with_progress(progress.clone());
        if let Some(batches) = outputs.result(sql, fan_out.collect().await) {
            outputs.text("rows", format!("{batches:?}"));
        }
        outputs.text("progress", format!("{progress:?} {:?}", progress.shards()));
    }
    let late = cluster.fan_out("select pg_sleep(60)");
    let late = late
        .with_timeout(Duration::from_millis(200))
        .collect()
        .await;
    outputs.error("timeout", &late.unwrap_err());

    for format in [
        Format::Parquet,
        Format::Arrow,
        Format::ArrowStream,
        Format::Csv,
        Format::Json,
        Format::Table,
    ] {
        let options = ExportOptions::new();
        let stream = cluster.query("table t").stream().await;
        if let Some(stream) = outputs.result("stream", stream) {
            let file = Destination::from(folder.join(format!("out.{format}")));
            let output = file.open().unwrap();
            let progress = Progress::default();
            let done = export::write(stream, output, format, &options, &progress).await;
            outputs.result("export", done);
        }
    }
    let parts = Folder::new(folder.join("parts"), Format::Parquet).with_partition_by(["kind"]);
    let written = cluster.query("table t").write_folder(&parts).await;
    outputs.result("folder", written);
    outputs.files("files", folder);

    let options = PartitionOptions::new();
    let partitions = cluster.query("table t").partitions(&options).await;
    if let Some(partitions) = outputs.result("partitions", partitions) {
        for partition in &partitions.parts {
            outputs.text("partition", format!("{partition:?}"));
            let sealed = partition.seal(b"key");
            outputs.0.push(("descriptor".to_owned(), sealed.clone()));
            let read = cluster.read_partition(partition).collect().await;
            outputs.result("read", read);
        }
    }
    let report = Inspector::new(cluster.clone()).run().await;
    if let Some(report) = outputs.result("inspection", report) {
        outputs.text("inspection", format!("{report}"));
    }
    cluster.close().await;
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.topology, self.environment)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_nowhere_however_it_is_given() {
    let Some(server) = guarded() else { return };
    listen();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (mut inputs, mut outputs) = (0, 0);
    for (user, port) in [
        ("right", server.port()),
        ("wrong", server.port()),
        ("right", closed),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for given in ways(folder.path(), user, port) {
            let written = tempfile::tempdir().unwrap();
            let mut seen = Outputs::default();
            ask(&given, written.path(), &mut seen).await;
            let lets_in = port == server.port()
                && user == "right"
                && given.name != "with a mistake behind it";
            for file in ["parts/_manifest.json", "cache"] {
                let has_file = written.path().join(file).exists();
                assert_eq!(has_file, lets_in, "{file}: {} as {user}", given.name);
            }
            outputs += seen.check(given.name);
            inputs += 1;
        }
    }
    let logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(logged.is_empty(), "{logged:?}");
    let records = RECORDS.load(std::sync::atomic::Ordering::Relaxed);
    assert!(records > 100, "{records} records: does anybody listen?");
    support::tell(&format!(
        "a password given in {inputs} ways: in none of {outputs} outputs and {records} log records"
    ));
}
