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
    let mut query = merganser(scene.folder.path());
    let done = query
        .args(["query", "--fan-out", "SELECT count(*) FROM orders"])
        .run();
    assert_eq!(done.stdout, "count\n500\n500\n", "{}", done.stderr);

    let done = scene.inspect(&arguments);
    assert_eq!(done.code, 2);
    assert_contains(&done.stderr, "--force");
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
