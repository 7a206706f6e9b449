//! `merganser inspect`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Run, Scene, assert_contains, merganser};

fn scene() -> Option<Scene> {
    let scene = Scene::new(2)?;
    scene.execute_all(
        "CREATE TABLE orders (o_orderkey int PRIMARY KEY, o_total numeric(15,2));
         CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name text);
         INSERT INTO nation SELECT a, 'n' || a FROM generate_series(1, 25) a",
    );
    for shard in 0..2 {
        let sql = format!(
            "INSERT INTO orders SELECT a, a FROM generate_series(1, 1000) a WHERE a % 2 = {shard}"
        );
        scene.execute(shard, &sql);
    }
    scene.execute_all("ANALYZE");
    Some(scene)
}

impl Scene {
    fn inspect(&self, arguments: &[&str]) -> super::Done {
        let mut command = merganser(self.folder.path());
        command.arg("inspect");
        for url in &self.urls {
            command.args(["--shard", url]);
        }
        command.args(arguments).run()
    }
}

#[test]
fn a_topology_file_is_written_once() {
    let Some(scene) = scene() else { return };
    let arguments = [
        "--shard-key",
        "orders=o_orderkey",
        "--write",
        "merganser.toml",
    ];
    let done = scene.inspect(&arguments);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_contains(&done.stdout, "orders");
    assert_contains(&done.stderr, "merganser.toml");
    let text = fs::read_to_string(scene.path("merganser.toml")).unwrap();
    assert_contains(&text, "o_orderkey");
    assert_contains(&text, "nation");
    assert_contains(&text, "# key given; none of all 1000 keys is on two shards");
    assert_contains(
        &text,
        "# guessed, and checked over all rows: all shards hold the same rows\n[[table]]",
    );
    let mut query = merganser(scene.folder.path());
    let done = query
        .args(["query", "--fan-out", "SELECT count(*) FROM orders"])
        .run();
    assert_eq!(done.stdout, "count\n500\n500\n", "{}", done.stderr);

    let done = scene.inspect(&arguments);
    assert_eq!(done.code, 2);
    assert_contains(
        &done.stderr,
        "may hold what was written by hand: add --force",
    );
    let done = scene.inspect(&[&arguments[..], &["--force"]].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(scene.files(), ["merganser.toml"]);
}

#[test]
fn a_file_with_a_password_is_private() {
    let Some(mut scene) = scene() else { return };
    // The server trusts everybody, so any password is right.
    for url in &mut scene.urls {
        *url = url.replace("postgres@", "postgres:canary@");
    }
    let done = scene.inspect(&["--shard-key", "orders=o_orderkey", "--write", "m.toml"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(!format!("{done:?}").contains("canary"));
    let mode = fs::metadata(scene.path("m.toml"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn shards_that_have_drifted_apart_are_a_failure() {
    let Some(scene) = scene() else { return };
    scene.execute(1, "ALTER TABLE orders ALTER o_total TYPE float8");
    let done = scene.inspect(&["--shard-key", "orders=o_orderkey", "--verify"]);
    assert_eq!(done.code, 1, "{}{}", done.stdout, done.stderr);
    assert_contains(&done.stdout, "o_total");
}

#[test]
fn a_shard_key_needs_a_table_and_a_column() {
    let Some(scene) = Scene::new(1) else { return };
    let done = scene.inspect(&["--shard-key", "orders"]);
    assert_eq!(done.code, 2);
    assert_contains(&done.stderr, "TABLE=COLUMN");
}

#[test]
fn one_database_given_twice_is_refused() {
    let Some(mut scene) = scene() else { return };
    scene.urls[1] = scene.urls[0].clone();
    let done = scene.inspect(&["--write", "merganser.toml"]);
    assert_eq!(done.code, 2, "{}{}", done.stdout, done.stderr);
    assert_contains(&done.stderr, "the shards s0 and s1 have the same URL");
    assert_eq!(scene.files(), [""; 0]);
}

#[test]
fn a_file_is_verified_and_each_fault_told_once() {
    let Some(scene) = scene() else { return };
    let verify = || {
        let mut command = merganser(scene.folder.path());
        command.args(["inspect", "-c", "m.toml", "--verify"]).run()
    };
    let write = |tables: &str| {
        let shards: String = scene
            .urls
            .iter()
            .enumerate()
            .map(|(i, url)| format!("[[shard]]\nname = \"s{i}\"\nurl = \"{url}\"\n"))
            .collect();
        fs::write(scene.path("m.toml"), format!("{shards}{tables}")).unwrap();
    };
    let good = "[[table]]\nname = \"orders\"\nshard_key = \"o_orderkey\"\ncolocation = \"o\"\n\
                shard_index = \"o_orderkey % 2\"\n\
                [[table]]\nname = \"nation\"\nreplicated = true\n";
    write(good);
    let done = verify();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_contains(&done.stdout, "\nno drift\n");
    write(&good.replace("% 2", "/ 2 % 2"));
    let done = verify();
    assert_eq!(done.code, 1, "{}{}", done.stdout, done.stderr);
    assert_contains(&done.stdout, "belongs on s1");
    scene.execute(1, "INSERT INTO orders VALUES (2)");
    scene.execute(1, "DELETE FROM nation WHERE n_nationkey = 7");
    write(good);
    let done = verify();
    assert_eq!(done.code, 1, "{}{}", done.stdout, done.stderr);
    let (_, drift) = done.stdout.split_once("drift:\n").unwrap();
    let lines: Vec<&str> = drift.lines().map(str::trim).collect();
    assert_eq!(lines.len(), 3, "{drift}");
    assert_contains(
        lines[0],
        "public.nation: declared replicated, but rows differ: 25 rows on s0; 24 rows on s1; (n_nationkey) = (7) only on s0",
    );
    assert_contains(
        lines[1],
        "public.orders: 1 of 1001 keys o_orderkey are on two shards: \"2\" on s0 and s1",
    );
    assert_contains(
        lines[2],
        "public.orders: rows that are not on the shard o_orderkey % 2: 1 row on s1 (\"2\" belongs on s0)",
    );
}

#[test]
fn the_help_has_the_reference_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let done = merganser(folder.path()).args(["inspect", "--help"]).run();
    assert_eq!(done.code, 0);
    assert_contains(&done.stdout, "shard_index = \"o_orderkey % 4\"");
    assert_contains(&done.stdout, "replaced only with --force");
}
