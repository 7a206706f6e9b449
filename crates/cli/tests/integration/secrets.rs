//! A password, in whatever way the program is given it, is in none of its outputs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use merganser_local::Server;

use super::{Done, Run, Scene, merganser, signal};
use crate::support;

/// It has no letter that a URL or a file would want quoted: those are the library's tests.
const CANARY: &str = "sesame7";

/// A server that asks for the password of `right`, while that of `wrong` is another, and two databases.
fn guarded() -> Option<Server> {
    let server = Server::builder()
        .with_binaries(support::binaries()?.clone())
        .with_hba("local all all trust")
        .with_hba("host all all all scram-sha-256")
        .start()
        .unwrap();
    let roles = format!(
        "CREATE ROLE \"right\" SUPERUSER LOGIN PASSWORD '{CANARY}';
         CREATE ROLE wrong LOGIN PASSWORD 'another'"
    );
    server.execute("postgres", &roles).unwrap();
    for (shard, name) in ["s0", "s1"].into_iter().enumerate() {
        server.create_database(name).unwrap();
        let sql = format!(
            "CREATE TABLE t AS SELECT n::int4 AS id, n % 3 AS kind FROM generate_series(1, 50) n
             WHERE n % 2 = {shard}"
        );
        server.execute(name, &sql).unwrap();
    }
    Some(server)
}

/// How the program is told of its shards: arguments, and variables of the environment.
type Given = (Vec<String>, Vec<(&'static str, String)>);

/// The ways, for a user and a port; files go into the folder.
fn ways(folder: &Path, user: &str, port: u16) -> Vec<Given> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let shards = |url: &dyn Fn(&str) -> String| {
        let urls = ["s0", "s1"].map(url);
        urls.into_iter()
            .flat_map(|url| ["--shard".to_owned(), url])
            .collect::<Vec<_>>()
    };
    let place = format!("127.0.0.1:{port}");
    let plain = shards(&|name| format!("postgresql://{user}@{place}/{name}"));
    let passfile = write("passfile", &format!("*:*:*:{user}:{CANARY}\n"));
    let service = |name: &str| {
        format!(
            "[{name}]\nhost=127.0.0.1\nport={port}\nuser={user}\ndbname={name}\n\
             password={CANARY}\n"
        )
    };
    let services = write("services", &(service("s0") + &service("s1")));
    let file = |password: &str| {
        let shard = |name: &str| {
            format!(
                "[[shard]]\nname = \"{name}\"\n\
                 url = \"postgresql://{user}:{password}@{place}/{name}\"\n"
            )
        };
        let table = "[[table]]\nname = \"t\"\nshard_key = \"id\"\n";
        shard("s0") + &shard("s1") + table
    };
    let file_with = write("with.toml", &file(CANARY));
    let file_without = write("without.toml", &file("${SHARD_PASSWORD}"));
    let config = |file: String| vec!["-c".to_owned(), file];
    vec![
        (
            shards(&|name| format!("postgresql://{user}:{CANARY}@{place}/{name}")),
            vec![],
        ),
        (
            shards(&|name| {
                format!(
                    "host=127.0.0.1 port={port} user={user} dbname={name} password='{CANARY}' \
                     sslpassword={CANARY}"
                )
            }),
            vec![],
        ),
        (plain.clone(), vec![("PGPASSWORD", CANARY.to_owned())]),
        (plain, vec![("PGPASSFILE", passfile)]),
        (
            shards(&|name| format!("service={name}")),
            vec![("PGSERVICEFILE", services)],
        ),
        (config(file_with), vec![]),
        (
            config(file_without),
            vec![("SHARD_PASSWORD", CANARY.to_owned())],
        ),
    ]
}

/// Everything that a run gives out.
fn assert_silent(what: &str, done: &Done) {
    let all = format!("{}{}", done.stdout, done.stderr);
    assert!(!all.to_lowercase().contains(CANARY), "{what}: {all}");
}

/// The files of a folder, and their names.
fn assert_none_in(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(!path.display().to_string().contains(CANARY), "{path:?}");
        if path.is_dir() {
            assert_none_in(&path);
        } else {
            let bytes = fs::read(&path).unwrap();
            let found = bytes
                .windows(CANARY.len())
                .any(|part| part == CANARY.as_bytes());
            assert!(!found, "{path:?}");
        }
    }
}

#[test]
fn a_password_is_in_no_output_of_the_program() {
    let Some(server) = guarded() else { return };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = closed.local_addr().unwrap().port();
    let commands: &[&[&str]] = &[
        &["query", "--fan-out", "TABLE t"],
        &["query", "--fan-out", "--analyze", "SELECT 1 / 0"],
        &[
            "query",
            "--fan-out",
            "--timeout",
            "100ms",
            "SELECT pg_sleep(30)",
        ],
        &["query", "--fan-out", "-o", "t.parquet", "TABLE t"],
        &["query", "--fan-out", "-o", "t.arrow", "TABLE t"],
        &[
            "query",
            "--fan-out",
            "-o",
            "t/",
            "--partition-by",
            "kind",
            "TABLE t",
        ],
        &["query", "--fan-out", "--format", "json", "TABLE t"],
        &[
            "query",
            "--fan-out",
            "--format",
            "table",
            "SELECT nope FROM t",
        ],
        &["query", "--fan-out", "-o", "none/t.csv", "TABLE t"],
        &["inspect", "--shard-key", "t=id"],
        #[cfg(feature = "datafusion")]
        &["query", "SELECT count(*) FROM t"],
        #[cfg(feature = "datafusion")]
        &[
            "query",
            "--verify",
            "postgresql://u:sesame7@127.0.0.1:1/d",
            "TABLE t",
        ],
        #[cfg(feature = "datafusion")]
        &["explain", "SELECT kind, count(*) FROM t GROUP BY 1"],
        #[cfg(feature = "datafusion")]
        &["explain", "--format", "json", "--analyze", "TABLE t"],
        #[cfg(feature = "datafusion")]
        &["read-partition", "no descriptor"],
    ];
    let (mut runs, mut let_in) = (0, 0);
    let logins = [
        ("right", server.port()),
        ("wrong", server.port()),
        ("right", closed),
    ];
    for (user, port) in logins {
        let given = tempfile::tempdir().unwrap();
        // What is refused is refused alike.
        let is_let_in = user == "right" && port == server.port();
        let (most, commands) = match is_let_in {
            true => (usize::MAX, commands),
            false => (3, &commands[..4]),
        };
        for (arguments, variables) in ways(given.path(), user, port).into_iter().take(most) {
            let here = tempfile::tempdir().unwrap();
            let start = |command: &[&str]| {
                let mut run = merganser(here.path());
                run.args(&command[..1]).args(&arguments).args(&command[1..]);
                run.env("HOME", given.path()).env("RUST_LOG", "trace");
                run.env("MERGANSER_CACHE_DIR", here.path().join("cache"));
                run.envs(variables.iter().map(|(name, value)| (*name, value)));
                run
            };
            for command in commands {
                let done = start(command).run();
                assert_silent(&format!("{user} {arguments:?} {command:?}"), &done);
                runs += 1;
                let_in += usize::from(done.code == 0);
            }
            assert_none_in(here.path());
            // What it says of arguments that are wrong.
            for wrong in [&["query", "--no-such", "q"][..], &["query", "--fan-out"]] {
                assert_silent("wrong arguments", &start(wrong).run());
            }
        }
    }
    assert!(runs > 90 && let_in > 40, "{let_in} of {runs} were let in");
    support::tell(&format!(
        "the program's outputs: a password in none of {runs} runs"
    ));
}

/// What is left when it is interrupted, and what those see who look at it meanwhile.
#[test]
fn a_password_is_in_nothing_that_is_left_or_seen_meanwhile() {
    let (Some(server), Some(scene)) = (guarded(), Scene::new(0)) else {
        return;
    };
    let topology = scene.path("m.toml");
    let shard = |name: &str| {
        format!(
            "[[shard]]\nname = \"{name}\"\n\
             url = \"postgresql://right:{CANARY}@127.0.0.1:{}/{name}\"\n",
            server.port()
        )
    };
    fs::write(&topology, shard("s0") + &shard("s1")).unwrap();
    let mut command: Command = merganser(scene.folder.path());
    command.args(["query", "--fan-out", "-o", "out/", "-c", "m.toml"]);
    command.arg(
        "SELECT id, pg_sleep(CASE current_database() WHEN 's1' THEN 60 ELSE 0 END)::text FROM t",
    );
    let child = command.start();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    while server.query("postgres", sql).unwrap()[0][0].as_deref() != Some("1") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let seen = "SELECT string_agg(a::text, '\n') FROM pg_stat_activity a";
    let seen = server.query("postgres", seen).unwrap();
    assert!(!format!("{seen:?}").contains(CANARY), "{seen:?}");
    let arguments = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    let arguments = String::from_utf8_lossy(&arguments).into_owned();
    assert!(!arguments.contains(CANARY), "{arguments}");
    signal(&child, "INT");
    let done = Done::from(child.wait_with_output().unwrap());
    assert_eq!(done.code, 130, "{}", done.stderr);
    assert_silent("interrupted", &done);
    fs::remove_file(&topology).unwrap();
    assert_none_in(scene.folder.path());
}
