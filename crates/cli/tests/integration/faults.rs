//! Queries that fail: which exit code, what is said, and that nothing is left behind.

use std::fs;
use std::io::Read;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use merganser_local::Server;

use super::{Done, Run, Scene, assert_contains, merganser, signal};
use crate::support;

#[test]
fn flags_that_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let shard = [
        "query",
        "--fan-out",
        "--shard",
        "postgresql://u:canary@127.0.0.1:1/d",
    ];
    for (arguments, parts) in [
        (
            &["--format", "xml", "SELECT 1"][..],
            &["xml", "possible values", "parquet"][..],
        ),
        (
            &["-o", "rows.txt", "SELECT 1"],
            &["rows.txt", "hint:", "--format"],
        ),
        (
            &["--compression", "snappy", "--format", "arrow", "SELECT 1"],
            &["no compression snappy"],
        ),
        (&["--format", "none", "-o", "a.csv", "SELECT 1"], &["none"]),
        (
            &["-f", "missing.sql"],
            &["missing.sql", "caused by: No such file"],
        ),
        (
            &["--numeric", "decimal(99,0)", "SELECT 1"],
            &["decimal(p,s)"],
        ),
        (&["--timeout", "soon", "SELECT 1"], &["500ms, 30s or 5min"]),
        (&["--timeout", "-1s", "SELECT 1"], &["500ms, 30s or 5min"]),
        (
            &["--timeout", "99999999999999999999s", "SELECT 1"],
            &["too long"],
        ),
        (
            &["SELECT 1", "postgresql://u:canary@h/d"],
            &["unexpected argument"],
        ),
        (
            &["SELECT", "1"],
            &["unexpected argument '1'", "in quotes: merganser query"],
        ),
        (
            &["SELECT 1", "--shards", "postgresql://u:canary@h/d"],
            &["--shard"],
        ),
        (&[], &["no SQL text came from standard input"]),
    ] {
        let done = merganser(folder.path()).args(shard).args(arguments).run();
        // Format none needs to open nothing, and port 1 is closed.
        assert_eq!(done.code, 2, "{arguments:?}: {}", done.stderr);
        assert_eq!(done.stdout, "");
        parts
            .iter()
            .for_each(|part| assert_contains(&done.stderr, part));
        assert!(!done.stderr.contains("canary"), "{}", done.stderr);
        assert_eq!(super::names_in(folder.path()), [""; 0]);
    }
}

/// What to do with SQL is said where there may be some.
#[test]
fn a_word_too_many_is_no_sql_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, is_sql) in [
        (&["SELECT 1"][..], true),
        (&["explain", "SELECT", "1"], true),
        (&["frobnicate"], false),
        (&["inspect", "merganser.toml"], false),
        (&["demo", "1"], false),
    ] {
        let done = merganser(folder.path()).args(arguments).run();
        assert_eq!(done.code, 2, "{arguments:?}");
        assert_eq!(done.stderr.contains("in quotes"), is_sql, "{}", done.stderr);
    }
}

#[test]
fn shards_that_are_not_described_well() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = merganser(folder.path());
        let done = command
            .args(["query", "--fan-out", "SELECT 1"])
            .args(arguments)
            .run();
        assert_eq!(done.code, 2, "{arguments:?}: {}", done.stderr);
        assert!(!done.stderr.contains("canary"), "{}", done.stderr);
        done.stderr
    };
    let error = run(&[]);
    assert_contains(&error, "no merganser.toml in this folder");
    assert_contains(&error, "hint: name each database with `--shard");
    assert_contains(&run(&["-c", "none.toml"]), "none.toml: file not found");

    let file = folder.path().join("bad.toml");
    let shard = "[[shard]]\nname = \"a\"\nurl = \"postgresql://u:canary@h/d\"\n";
    fs::write(&file, format!("{shard}ulr = \"canary\"\n")).unwrap();
    let error = run(&["-c", "bad.toml"]);
    assert_contains(&error, "bad.toml");
    assert_contains(&error, "ulr");
    fs::write(&file, "[session]\ntimezone = \"UTC\"\n").unwrap();
    assert_contains(&run(&["-c", "bad.toml"]), "no shard");

    assert_contains(
        &run(&["--shard", "postgresql://u:canary@h:port/d"]),
        "shard \"s0\"",
    );
    run(&["--shard", "postgresql://u:canary@h/d?sslmod=require"]);
    run(&["--shard", "host=h password='canary"]);
}

#[test]
fn a_server_that_is_not_there() {
    let Some(mut scene) = Scene::new(1) else {
        return;
    };
    let away = "postgresql://postgres:canary@127.0.0.1:1/d";
    scene.urls.push(away.to_owned());
    let started = Instant::now();
    let error = scene.failure_of(4, &["-o", "a.csv", "SELECT 1"]);
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_contains(&error, "shard \"s1\"");
    assert_contains(&error, "127.0.0.1:1,");
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn a_login_that_is_refused() {
    let (Some(mut scene), Some(binaries)) = (Scene::new(1), support::binaries()) else {
        return;
    };
    let missing = scene.urls[0].replace(scene.database(0), "no_such_database");
    scene.urls.push(missing);
    let error = scene.failure_of(4, &["-o", "a.csv", "SELECT 1"]);
    assert_contains(&error, "no_such_database");
    assert_contains(&error, "3D000");
    assert_contains(&error, "hint: name a database of that server");

    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_password("right")
        .start();
    let server = server.unwrap();
    scene.urls[1] = server.url("postgres").replace("right", "canary");
    let error = scene.failure_of(4, &["-o", "a.csv", "SELECT 1"]);
    assert_contains(&error, "shard \"s1\"");
    assert_contains(&error, "28P01");
    assert!(!error.contains("canary"), "{error}");
    scene.urls[1] = server.url("postgres");
    assert_eq!(scene.output_of(&["SELECT 1 AS a"]), "a\n1\n1\n");
}

#[test]
fn shards_that_differ() {
    let Some(scene) = Scene::new(2) else { return };
    scene.execute(0, "CREATE TABLE t (id int)");
    let error = scene.failure_of(2, &["-o", "a.csv", "SELECT id FROM t"]);
    assert_contains(&error, "shard \"s1\"");
    assert_contains(&error, "relation \"t\" does not exist");
    assert_contains(&error, "42P01");

    scene.execute(1, "CREATE TABLE t (id text)");
    let error = scene.failure_of(3, &["-o", "a.csv", "SELECT id FROM t"]);
    for part in ["s0", "s1", "id", "int4", "text"] {
        assert_contains(&error, part);
    }
}

#[test]
fn statements_that_are_wrong() {
    let Some(scene) = Scene::new(1) else { return };
    scene.execute_all("CREATE TABLE t (id int)");
    for (code, sql, part) in [
        (2, "SELEC 1", "SELEC"),
        (2, "SELECT FROM WHERE", "WHERE"),
        (2, "SELECT 1; SELECT 2", "more than one statement"),
        (3, "DELETE FROM t", "not a query"),
        (2, "", "no statement"),
        (1, "SELECT 1 / 0", "22012"),
    ] {
        let error = scene.failure_of(code, &["-o", "a.csv", sql]);
        assert_contains(&error, part);
    }
    for arguments in [
        &["SELECT $1::int"][..],
        &["--param", "1", "--param", "2", "SELECT $1::int"],
    ] {
        let error = scene.failure_of(2, &[arguments, &["-o", "a.csv"]].concat());
        assert_contains(&error, "parameter");
    }
    let error = scene.failure_of(1, &["--param", "x", "-o", "a.csv", "SELECT $1::int"]);
    assert_contains(&error, "22P02");
    #[cfg(feature = "datafusion")]
    for merge_sql in [
        "SELEC",
        "SELECT missing FROM shards",
        "SELECT 1 FROM nowhere",
    ] {
        let error = scene.failure_of(2, &["--merge-sql", merge_sql, "SELECT id FROM t"]);
        assert_contains(&error, "merge");
    }
}

#[test]
fn an_output_that_cannot_be_written() {
    let Some(scene) = Scene::new(1) else { return };
    let error = scene.failure_of(1, &["-o", "none/a.csv", "SELECT 1"]);
    assert_contains(&error, "none/a.csv");
    assert_contains(&error, "caused by: the directory \"none\" does not exist");
    assert_contains(&error, "hint: create the directory first");
    let error = scene.failure_of(1, &["--format", "csv", "-o", "none/many/", "SELECT 1"]);
    assert_contains(&error, "create the folder first");
    let sql = "SELECT generate_series(1, 1000000)";
    #[cfg(target_os = "linux")]
    assert_contains(
        &scene.failure_of(1, &["--format", "csv", "-o", "/dev/full", sql]),
        "caused by: No space left on device",
    );
}

/// The program, which may write files of so many blocks of 512 bytes.
fn limited(blocks: u32, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f \"$0\" && exec \"$@\"", &blocks.to_string()]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.current_dir(command.get_current_dir().unwrap());
    limited
}

const TOO_LARGE: [&str; 2] = [
    "caused by: File too large",
    "hint: raise the limit of the file size (ulimit -f)",
];

/// By itself SIGXFSZ would end the program without a word.
#[test]
fn a_file_that_may_grow_no_further_is_an_error() {
    let Some(scene) = Scene::new(2) else { return };
    let sql = "SELECT n, md5(n::text) AS t FROM generate_series(1, 20000) n";
    for output in ["a.csv", "a.ndjson", "a.arrow", "a.parquet"] {
        fs::write(scene.path(output), "old").unwrap();
        let done = limited(16, &scene.query(&["-o", output, sql])).run();
        assert_eq!(done.code, 1, "{output}: {}", done.stderr);
        assert_contains(&done.stderr, &format!("write: cannot write to {output:?}"));
        TOO_LARGE
            .iter()
            .for_each(|part| assert_contains(&done.stderr, part));
        assert_eq!(fs::read(scene.path(output)).unwrap(), b"old");
        assert_eq!(scene.files(), [output]);
        fs::remove_file(scene.path(output)).unwrap();
        scene.wait_until_active(0);
    }
    let done = limited(16, &scene.query(&["-o", "many/", sql])).run();
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert_contains(&done.stderr, "cannot write to \"many/s");
    TOO_LARGE
        .iter()
        .for_each(|part| assert_contains(&done.stderr, part));
    assert_eq!(scene.files(), [""; 0]);
    scene.wait_until_active(0);

    let folder = scene.folder.path();
    let mut completions = merganser(folder);
    completions.args(["completions", "bash"]);
    let mut help = merganser(folder);
    help.args(["query", "--help"]);
    for command in [&scene.query(&["--format", "csv", sql]), &completions, &help] {
        let output = fs::File::create(scene.path("output")).unwrap();
        let done = limited(1, command).stdout(output).run();
        assert_eq!(done.code, 1, "{command:?}: {}", done.stderr);
        assert_contains(&done.stderr, "cannot write to standard output");
        TOO_LARGE
            .iter()
            .for_each(|part| assert_contains(&done.stderr, part));
    }
}

#[test]
fn a_value_that_does_not_fit() {
    let Some(scene) = Scene::new(1) else { return };
    let sql = "SELECT 1e30::numeric AS big";
    let error = scene.failure_of(1, &["-o", "a.parquet", sql]);
    for part in ["shard \"s0\"", "\"big\"", "numeric", "hint:"] {
        assert_contains(&error, part);
    }
    scene.failure_of(1, &["-o", "a.parquet", "SELECT date 'infinity' AS d"]);
    // What the hints say helps.
    for numeric in ["text", "float64", "decimal(60,10)"] {
        scene.output_of(&["--numeric", numeric, "-o", "a.parquet", sql]);
    }
    for how in ["null", "text"] {
        let sql = "SELECT date 'infinity' AS d";
        scene.output_of(&["--unrepresentable", how, "-o", "a.parquet", sql]);
    }
    assert_eq!(scene.files(), ["a.parquet"]);
}

#[test]
fn a_row_that_does_not_fit_into_memory() {
    let Some(scene) = Scene::new(2) else { return };
    let memory = ["--memory", "16MiB", "-o"];
    for output in ["a.csv", "a.parquet"] {
        // In one value, in many, and behind rows that do fit.
        for sql in [
            "SELECT repeat('x', 6000000) AS a",
            "SELECT repeat('x', 3000000) AS a, repeat('x', 3000000) AS b",
            "SELECT repeat('x', 100 * n * n) AS a FROM generate_series(1, 300) n",
        ] {
            let error = scene.failure_of(3, &[&memory[..], &[output, sql]].concat());
            assert_contains(&error, "a row is longer than 4194304 bytes");
            assert_contains(&error, "hint: give the query more memory (--memory");
            scene.wait_until_active(0);
        }
        let sql = "SELECT repeat('x', 4000000) AS a FROM generate_series(1, 10)";
        let done = scene.query(&[&memory[..], &[output, sql]].concat()).run();
        assert_eq!(done.code, 0, "{}", done.stderr);
        fs::remove_file(scene.path(output)).unwrap();
    }
}

#[test]
fn a_failure_leaves_the_file_that_was_there() {
    let Some(scene) = Scene::new(1) else { return };
    fs::write(scene.path("a.csv"), "old").unwrap();
    let sql = "SELECT 10 / (100000 - a) FROM generate_series(1, 100000) a";
    let done = scene.query(&["-o", "a.csv", sql]).run();
    assert_eq!(done.code, 1);
    assert_contains(&done.stderr, "22012");
    assert_eq!(scene.files(), ["a.csv"]);
    assert_eq!(fs::read(scene.path("a.csv")).unwrap(), b"old");
}

#[test]
fn a_deadline_that_passes() {
    let Some(scene) = Scene::new(2) else { return };
    let started = Instant::now();
    let error = scene.failure_of(
        5,
        &["--timeout", "500ms", "-o", "a.csv", "SELECT pg_sleep(60)"],
    );
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_contains(&error, "0.5 s");
    scene.wait_until_active(0);
}

/// How a program ends that has to end by itself, whether or not somebody reads what it writes.
fn end_of(mut child: Child) -> Done {
    let ended = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        child.try_wait().unwrap().is_some()
    });
    if !ended {
        signal(&child, "KILL");
        panic!("the program waits for its reader");
    }
    Done::from(child.wait_with_output().unwrap())
}

#[test]
fn a_deadline_that_passes_while_nobody_reads() {
    let Some(scene) = Scene::new(2) else { return };
    let made = Command::new("mkfifo").arg(scene.path("fifo")).status();
    assert!(made.unwrap().success());
    let sql = "SELECT generate_series(1, 100000000) AS a";
    for arguments in [
        // Its output stays in the pipe, which is full soon.
        &["--format", "csv", sql][..],
        &["--format", "ndjson", "--duplicate-columns", "rename", sql],
        &["--format", "csv", "--order", "first-come", sql],
        // Nobody opens the other end.
        &["--format", "csv", "-o", "fifo", sql],
        &["--format", "csv", "-o", "fifo", "SELECT 1 AS a"],
    ] {
        let child = scene
            .query(&[&["--timeout", "1s"], arguments].concat())
            .start();
        let done = end_of(child);
        assert_eq!(done.code, 5, "{arguments:?}: {}", done.stderr);
        assert_contains(&done.stderr, "within 1 s");
        scene.wait_until_active(0);
    }
    assert_eq!(scene.files(), ["fifo"]);
}

/// Rows are always ready then, and the reader always takes some.
#[test]
fn a_deadline_that_passes_while_the_reader_is_slow() {
    let Some(scene) = Scene::new(2) else { return };
    let sql = "SELECT a, a AS a, repeat('x', 200) AS x FROM generate_series(1, 100000000) a";
    for order in ["shard", "first-come"] {
        let arguments = ["--timeout", "1s", "--order", order, "--format", "csv", sql];
        let rename = ["--duplicate-columns", "rename"];
        let mut child = scene.query(&[&arguments[..], &rename].concat()).start();
        let mut output = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut some = vec![0; 64 << 10];
            while output.read(&mut some).unwrap() > 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let done = end_of(child);
        reader.join().unwrap();
        assert_eq!(done.code, 5, "{order}: {}", done.stderr);
        scene.wait_until_active(0);
    }
}

#[test]
fn a_fifo_gets_its_rows_when_its_reader_comes() {
    let Some(scene) = Scene::new(2) else { return };
    let path = scene.path("fifo");
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    for (sql, code, expected) in [
        ("SELECT 1 AS a", 0, "a\n1\n1\n"),
        // What never had anything to write is at its end all the same.
        ("SELECT nothing", 2, ""),
    ] {
        let reader = std::thread::spawn({
            let path = path.clone();
            move || {
                std::thread::sleep(Duration::from_millis(300));
                std::fs::read_to_string(path).unwrap()
            }
        });
        let arguments = ["--timeout", "60s", "--format", "csv", "-o", "fifo", sql];
        let mut query = scene.query(&arguments);
        if code != 0 {
            // One that fails before its reader comes leaves the reader waiting for another.
            std::thread::sleep(Duration::from_millis(600));
        }
        assert_eq!(query.run().code, code);
        assert_eq!(reader.join().unwrap(), expected);
    }
}

/// A row that waits stands behind some that have been sent already; the backend dies between them.
#[test]
fn a_backend_that_is_killed_while_it_sends() {
    let Some(scene) = Scene::new(2) else { return };
    let sql = "SELECT a, CASE WHEN a = 200000 THEN pg_sleep(60)::text END AS waits \
               FROM generate_series(1, 200001) a";
    for (output, order) in [
        ("a.csv", "shard"),
        ("a.parquet", "first-come"),
        ("a.arrow", "shard"),
    ] {
        fs::write(scene.path(output), "old").unwrap();
        let child = scene.query(&["--order", order, "-o", output, sql]).start();
        scene.wait_until_active(2);
        // Until both wait in the middle of their rows.
        std::thread::sleep(Duration::from_millis(300));
        let kill = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE state = 'active' AND datname = '{}'",
            scene.database(1)
        );
        scene.server.query("postgres", &kill).unwrap();
        let done = Done::from(child.wait_with_output().unwrap());
        assert_ne!(done.code, 0, "{}", done.stderr);
        assert_contains(&done.stderr, "shard \"s1\"");
        assert_contains(&done.stderr, "57P01");
        // The other shard is told, and nothing half-written takes the place of the file.
        assert_eq!(fs::read(scene.path(output)).unwrap(), b"old");
        scene.wait_until_active(0);
        fs::remove_file(scene.path(output)).unwrap();
        assert_eq!(scene.files(), [""; 0]);
    }
}

#[test]
fn a_signal_cancels_the_shards_and_leaves_nothing() {
    let Some(scene) = Scene::new(2) else { return };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Where the tests run under nohup, so does the program.
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let ignored = ignored.is_some_and(|mask| mask & 1 == 1);
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        if ignored && name == "HUP" {
            continue;
        }
        let child = scene.query(&["-o", "a.csv", "SELECT pg_sleep(60)"]).start();
        scene.wait_until_active(2);
        signal(&child, name);
        let started = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert!(started.elapsed() < Duration::from_secs(3));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert_eq!(stderr, "merganser: interrupted\n");
        assert_eq!(scene.files(), [""; 0]);
        scene.wait_until_active(0);
    }
}

/// A server that does not answer makes the program wait for the end of its queries, but not for long; nor at all
/// when it is told again.
#[test]
fn a_second_signal_ends_the_program_at_once() {
    let (Some(mut scene), Some(binaries)) = (Scene::new(1), support::binaries()) else {
        return;
    };
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .start()
        .unwrap();
    scene.urls[0] = server.url("postgres");
    let asleep = |name: &str| {
        let sql = format!("SELECT pg_sleep(60) AS {name}");
        let child = scene.query(&["-o", "a.csv", &sql]).start();
        let active = format!(
            "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%AS {name}%' \
             AND pid <> pg_backend_pid()"
        );
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.query("postgres", &active).unwrap().is_empty() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
        // It takes cancel requests.
        (child, support::Stopped::new(server.pid().unwrap()))
    };
    let (child, stopped) = asleep("once");
    let began = Instant::now();
    signal(&child, "INT");
    let done = end_of(child);
    assert_eq!(
        (done.code, &*done.stderr),
        (130, "merganser: interrupted\n")
    );
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(stopped);

    for (name, code) in [("INT", 130), ("TERM", 143)] {
        // The server may be at the query of the one before still.
        let (mut child, stopped) = asleep(&format!("again_{name}"));
        // Those that come before the first was taken are one with it.
        while child.try_wait().unwrap().is_none() {
            signal(&child, name);
            std::thread::sleep(Duration::from_millis(20));
        }
        // It has not come to say that it was interrupted.
        let done = Done::from(child.wait_with_output().unwrap());
        assert_eq!((done.code, &*done.stderr), (code, ""), "{name}");
        drop(stopped);
    }
    assert_eq!(scene.files(), [""; 0]);
}

#[test]
fn a_query_that_ran_again_is_told() {
    let Some(mut scene) = Scene::new(1) else {
        return;
    };
    let name = scene.database(0).to_owned();
    // Of one server alone, who ended its session may have meant the query.
    let port = scene.server.port();
    scene.urls[0] = format!("postgresql://postgres@127.0.0.1:{port},127.0.0.1:{port}/{name}");
    let sql = "SELECT pg_sleep(2)::text AS a";
    for quiet in [&["--quiet"][..], &[]] {
        let arguments = [&["--retries", "3", "--format", "csv", sql], quiet].concat();
        let child = scene.query(&arguments).start();
        let kill = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = '{name}' AND state = 'active' AND query LIKE '%pg_sleep(2)%'"
        );
        let deadline = Instant::now() + Duration::from_secs(20);
        while scene.server.query("postgres", &kill).unwrap().is_empty() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
        let done = end_of(child);
        assert_eq!(
            (done.code, &*done.stdout),
            (0, "a\n\"\"\n"),
            "{}",
            done.stderr
        );
        assert_contains(
            &done.stderr,
            "merganser: warning: ran again: shard \"s0\": ",
        );
        assert_contains(&done.stderr, "(SQLSTATE 57P01)\n");
    }
}

/// Data that comes for a query interrupts no other program; the query is no less nice than it was told to be.
#[cfg(target_os = "linux")]
#[test]
fn a_query_is_scheduled_as_what_computes() {
    let Some(scene) = Scene::new(1) else { return };
    /// Nice value and policy: the fields 19 and 41 of proc_pid_stat(5), behind the name in parentheses.
    fn of_thread(stat: &str) -> (i32, i32) {
        let fields = stat.rsplit_once(')').unwrap().1;
        let field = |number: usize| fields.split_whitespace().nth(number - 3).unwrap();
        (field(19).parse().unwrap(), field(41).parse().unwrap())
    }
    const SCHED_BATCH: i32 = 3;
    const SCHED_IDLE: i32 = 5;
    let (own, _) = of_thread(&fs::read_to_string("/proc/thread-self/stat").unwrap());
    let query = scene.query(&["-o", "a.csv", "SELECT pg_sleep(60)"]);
    let nicer = (own + 3).min(19).to_string();
    for (prefix, expected) in [
        (&["env"][..], (own, SCHED_BATCH)),
        (&["nice", "-n", "3"], (nicer.parse().unwrap(), SCHED_BATCH)),
        (&["chrt", "--idle", "0"], (own, SCHED_IDLE)),
    ] {
        let mut command = Command::new(prefix[0]);
        command.args(&prefix[1..]);
        command.arg(query.get_program()).args(query.get_args());
        command.current_dir(scene.folder.path());
        let child = command.start();
        scene.wait_until_active(1);
        let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
        let threads: Vec<_> = threads
            .map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).unwrap())
            .map(|stat| of_thread(&stat))
            .collect();
        signal(&child, "TERM");
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
        assert!(threads.len() > 1);
        assert_eq!(threads, vec![expected; threads.len()], "{prefix:?}");
        scene.wait_until_active(0);
    }
}

#[test]
fn nohup_lets_a_query_outlive_its_terminal() {
    let Some(scene) = Scene::new(1) else { return };
    let query = scene.query(&["--format", "csv", "SELECT pg_sleep(2)::text AS a"]);
    let mut command = Command::new("nohup");
    command.arg(query.get_program()).args(query.get_args());
    command.current_dir(scene.folder.path());
    let child = command.start();
    scene.wait_until_active(1);
    signal(&child, "HUP");
    let done = end_of(child);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, "a\n\"\"\n"),
        "{}",
        done.stderr
    );
}

/// One that is killed can cancel nothing: its servers find out that it is gone.
#[test]
fn a_program_that_is_killed_leaves_no_query_and_no_file_behind() {
    let (Some(scene), Some(binaries)) = (Scene::new(1), support::binaries()) else {
        return;
    };
    if binaries.major_version() < 14 || !cfg!(target_os = "linux") {
        return;
    }
    let child = scene
        .query(&["-o", "a.csv", "SELECT pg_sleep(600)"])
        .start();
    scene.wait_until_active(1);
    signal(&child, "KILL");
    child.wait_with_output().unwrap();
    scene.wait_until_active(0);
    assert_eq!(scene.files(), [""; 0]);
    // In the middle of its rows, too.
    fs::write(scene.path("a.csv"), "old").unwrap();
    let sql = "SELECT generate_series(1, 100000000) AS a";
    let child = scene.query(&["-o", "a.csv", sql]).start();
    let written = || {
        let files = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
        let files = files.filter_map(|file| Some(file.ok()?.path()));
        let ours = files.filter(|file| {
            let target = fs::read_link(file).unwrap_or_default();
            target.starts_with(fs::canonicalize(scene.folder.path()).unwrap())
        });
        ours.filter_map(|file| Some(fs::metadata(file).ok()?.len()))
            .sum::<u64>()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while written() < 1_000_000 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "KILL");
    child.wait_with_output().unwrap();
    assert_eq!(scene.files(), ["a.csv"]);
    assert_eq!(fs::read(scene.path("a.csv")).unwrap(), b"old");
}

#[test]
fn a_signal_ends_a_query_whose_reader_sleeps() {
    let Some(scene) = Scene::new(1) else { return };
    let sql = "SELECT generate_series(1, 100000000) AS a";
    let child = scene.query(&["--format", "csv", sql]).start();
    scene.wait_until_active(1);
    // Until every buffer on the way is full.
    std::thread::sleep(Duration::from_millis(500));
    let started = Instant::now();
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(5));
    scene.wait_until_active(0);
}

#[test]
fn what_is_asked_of_numerics_holds_in_every_format() {
    let Some(scene) = Scene::new(1) else { return };
    let sql = "SELECT 'NaN'::numeric AS a, 2.50::numeric AS b, 'NaN'::numeric(5,2) AS c, numrange(1, 2.5) AS r";
    let csv = |arguments: &[&str]| {
        let text = scene.output_of(&[arguments, &["--format", "csv", sql]].concat());
        text.lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(csv(&[]), "NaN,2.50,NaN,\"[1,2.5)\"");
    assert_eq!(csv(&["--unrepresentable", "null"]), ",2.50,,\"[1,2.5)\"");
    let float = ["--numeric", "float64"];
    assert_eq!(csv(&float), "NaN,2.5,NaN,\"[1,2.5)\"");
    let one = "SELECT 2.50::numeric AS b, numrange(1, 2.5) AS r";
    let decimal = ["--numeric", "decimal(9,3)"];
    let text = scene.output_of(&[&decimal[..], &["--format", "csv", one]].concat());
    assert_eq!(text, "b,r\n2.500,\"[1.000,2.500)\"\n");
    for format in ["csv", "table", "json", "ndjson", "parquet", "arrow-stream"] {
        for (column, arguments) in [
            ("'NaN'::numeric", &["--unrepresentable", "error"][..]),
            (
                "'NaN'::numeric",
                &["--numeric", "text", "--unrepresentable", "error"],
            ),
            ("'NaN'::numeric(5,2)", &["--unrepresentable", "error"]),
            ("'[1,NaN]'::numrange", &["--unrepresentable", "null"]),
            ("1234.5::numeric", &["--numeric", "decimal(4,1)"]),
            ("'NaN'::numeric", &["--numeric", "decimal(4,1)"]),
            (
                "1.25::numeric",
                &["--numeric", "decimal(4,1)", "--unrepresentable", "text"],
            ),
        ] {
            let sql = format!("SELECT {column} AS a");
            let error = scene.failure_of(
                1,
                &[arguments, &["--format", format, "-o", "a.out", &sql]].concat(),
            );
            assert_contains(&error, "hint:");
        }
    }
}

#[test]
fn parquet_is_told_how_to_hold_a_result() {
    let Some(scene) = Scene::new(1) else { return };
    let twice = "SELECT 1 AS id, 2 AS id";
    for format in ["parquet", "json", "ndjson"] {
        let error = scene.failure_of(1, &["--format", format, twice]);
        assert_contains(&error, "two columns have the name \"id\"");
        assert_contains(&error, "--duplicate-columns rename");
    }
    let rename = ["--duplicate-columns", "rename", "--format"];
    let text = scene.output_of(&[&rename[..], &["ndjson", twice]].concat());
    assert_eq!(text, "{\"id\":1,\"id_2\":2}\n");
    let text = scene.output_of(&[&rename[..], &["csv", twice]].concat());
    assert_eq!(text, "id,id_2\n1,2\n");
    assert_eq!(scene.output_of(&["--format", "csv", twice]), "id,id\n1,2\n");

    let sql = "SELECT interval '1 mon' AS i, ARRAY[interval '2 days'] AS a";
    let error = scene.failure_of(1, &["--format", "parquet", sql]);
    assert_contains(&error, "--interval text");
    scene.output_of(&[
        "--interval",
        "text",
        "--duplicate-columns",
        "rename",
        "-o",
        "a.parquet",
        sql,
    ]);
    assert_eq!(scene.files(), ["a.parquet"]);
}

#[test]
fn a_shard_that_is_away_is_named_where_it_may_be_missing() {
    let Some(mut scene) = Scene::new(2) else {
        return;
    };
    let away = "postgresql://postgres:canary@127.0.0.1:1/d";
    scene.urls.insert(1, away.to_owned());
    let sql = "SELECT 1 AS a";
    scene.failure_of(4, &[sql]);
    for quiet in [&["--quiet"][..], &[]] {
        let arguments = [&["--allow-missing-shards", "--format", "csv", sql], quiet].concat();
        let done = scene.query(&arguments).run();
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (0, "a\n1\n1\n"),
            "{}",
            done.stderr
        );
        assert_contains(
            &done.stderr,
            "warning: not in the answer: shard \"s1\": connect:",
        );
        assert!(!done.stderr.contains("canary"), "{}", done.stderr);
    }
    let merged = ["--allow-missing-shards", "--merge-sql", "SELECT 1", sql];
    assert_eq!(scene.query(&merged).run().code, 2);
}

#[test]
fn the_time_in_which_all_shards_are_read_is_told() {
    let Some(scene) = Scene::new(2) else { return };
    let done = scene
        .query(&["--max-skew", "30s", "--format", "csv", "SELECT 1 AS a"])
        .run();
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, "a\n1\n1\n"),
        "{}",
        done.stderr
    );
    assert_contains(&done.stderr, "all shards read within ");
    let error = scene.failure_of(2, &["--max-skew", "0s", "SELECT 1 AS a"]);
    assert_contains(&error, "expected more than 0");
}

/// However many shards there are, what is on its way from them shares what may be held.
#[cfg(target_os = "linux")]
#[test]
fn many_shards_hold_no_more_than_they_may() {
    let Some(mut scene) = Scene::new(1) else {
        return;
    };
    // Shards of one database, told apart by what is set in them.
    let url = scene.urls[0].clone();
    let shard = |n| format!("{url}?options=-c%20app.shard%3D{n}");
    scene.urls = (0..150).map(shard).collect();
    let sql = "SELECT n, current_setting('app.shard')::int AS s, md5(n::text) AS t \
               FROM generate_series(1, 20000) n";
    // A row group comes on top, and the program itself.
    for (output, most_mib) in [(["-o", "a.parquet"], 180), (["--format", "none"], 128)] {
        let arguments = ["--memory", "64MiB", "--order", "first-come"];
        let mut child = scene
            .query(&[&arguments[..], &output, &[sql]].concat())
            .start();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|it| it.strip_prefix("VmHWM:"));
            let held = line.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            peak = peak.max(held.unwrap_or(0));
            std::thread::sleep(Duration::from_millis(5));
        }
        let done = Done::from(child.wait_with_output().unwrap());
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert_contains(&done.stderr, "3,000,000 rows");
        support::tell(&format!("150 shards under 64 MiB, {output:?}: {peak} KiB"));
        assert!(peak < most_mib << 10, "{output:?}: {peak} KiB");
    }
}
