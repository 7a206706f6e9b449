//! Plans as EXPLAIN shows them, held against `testdata/plans/*.txt`, so that a change of the planner
//! is read as a change of plans.
//!
//! `MERGANSER_BLESS=1` writes the files anew. A file `x.sql` has statements, each below a line
//! `-- what it shows`; `x.txt` has them with their plans. `tpch.txt` is made of `testdata/tpch`;
//! `premises.txt` shows what the plans rest on, too; [`broken`] what becomes of them without.

mod broken;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use merganser::{Cluster, ErrorKind, Topology};
use merganser_local::tpch_topology;

use crate::support;

const SHARDS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_as_they_were() {
    let Some(data) = support::tpch(SHARDS) else {
        return;
    };
    let cluster = Cluster::new(Topology::from_toml(&tpch_topology(&data.shards)).unwrap()).unwrap();
    let bless = blesses();
    let mut changed = Vec::new();
    for (path, statements) in files() {
        let mut text = String::new();
        for (name, sql) in statements {
            let plan = explain(&cluster, &sql, is_verbose(&path)).await;
            text.push_str(&format!("-- {name}\n{sql}\n\n{plan}\n"));
        }
        if bless {
            fs::write(&path, text).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        let differs = expected
            .lines()
            .zip(text.lines())
            .position(|(expected, found)| expected != found)
            .or((expected != text).then(|| expected.lines().count().min(text.lines().count())));
        if let Some(line) = differs {
            changed.push(format!(
                "{}, line {}:\nexpected {}\nfound    {}",
                path.display(),
                line + 1,
                expected.lines().nth(line).unwrap_or("the end"),
                text.lines().nth(line).unwrap_or("the end"),
            ));
        }
    }
    cluster.close().await;
    assert!(
        changed.is_empty(),
        "plans have changed; MERGANSER_BLESS=1 accepts them:\n{}",
        changed.join("\n\n")
    );
}

/// Whether the files are to be written anew.
fn blesses() -> bool {
    env::var_os("MERGANSER_BLESS").is_some_and(|value| !value.is_empty())
}

/// Whether a file shows what plans rest on.
fn is_verbose(path: &Path) -> bool {
    path.file_stem().is_some_and(|name| name == "premises")
}

async fn explain(cluster: &Cluster, sql: &str, verbose: bool) -> String {
    match cluster.query(sql).plan().await {
        Ok(plan) if verbose => plan.verbose(),
        Ok(plan) => plan.to_string(),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            let hint = error.hint().unwrap_or("none");
            format!("{}\n  hint: {hint}\n", error.message())
        }
        Err(error) => panic!("{sql}: {error}"),
    }
}

/// The files of plans, each with the names and texts of its statements.
fn files() -> Vec<(PathBuf, Vec<(String, String)>)> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let folder = testdata.join("plans");
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let tpch = sql_files(&testdata.join("tpch"))
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            (name(path), text.trim_end().to_owned())
        })
        .collect();
    let mut files = vec![(folder.join("tpch.txt"), tpch)];
    for path in sql_files(&folder) {
        files.push((path.with_extension("txt"), statements(&path)));
    }
    files
}

/// Names and texts of the statements in a file.
fn statements(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap();
    let statements = text.split("\n\n").map(|statement| {
        let (name, sql) = statement.trim().split_once('\n').expect("a name and SQL");
        let name = name.strip_prefix("-- ").expect("a name");
        (name.to_owned(), sql.to_owned())
    });
    statements.collect()
}

fn sql_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no SQL in {}", folder.display());
    paths
}
