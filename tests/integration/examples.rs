//! Every example runs against real shards.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use merganser::arrow::ipc::reader::StreamReader;

use crate::support;
use crate::texts::texts_of;

#[allow(dead_code, reason = "its main is not called here")]
#[path = "../../examples/decode_copy.rs"]
mod decode_copy;

/// Runs an example, which `cargo test` has built, and gives what it prints. Without it, because only
/// this test was built (`cargo test --test integration`), it says so and returns `None`; where tests
/// are required, that is a failure.
fn run(name: &str, arguments: &[&str]) -> Option<String> {
    // This test is target/<profile>/deps/integration-<hash>.
    let test = std::env::current_exe().unwrap();
    let examples = test.parent().and_then(Path::parent).unwrap();
    let program = examples
        .join("examples")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        let missing = format!("SKIPPED: no example {name}; plain `cargo test` builds it\n");
        assert!(!support::is_required(), "{missing}");
        let _ = std::io::stderr().write_all(missing.as_bytes());
        return None;
    }
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The URLs of two shards, and the names of their databases.
fn shards() -> Option<(Vec<String>, Vec<String>)> {
    let urls = support::shards(2)?;
    let names = urls
        .iter()
        .map(|url| url.rsplit('/').next().unwrap().to_owned())
        .collect();
    Some((urls, names))
}

#[test]
fn quickstart() {
    let Some((urls, names)) = shards() else {
        return;
    };
    let by_urls = run("quickstart", &[&urls[0], &urls[1]]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("merganser.toml");
    let toml = urls
        .iter()
        .enumerate()
        .map(|(index, url)| format!("[[shard]]\nname = \"s{index}\"\nurl = \"{url}\"\n"));
    fs::write(&path, toml.collect::<String>()).unwrap();
    let by_file = run("quickstart", &[path.to_str().unwrap()]);
    assert_eq!(by_urls, by_file);
    let Some(table) = by_urls else { return };
    for expected in ["shard", "tables", &names[0], &names[1]] {
        assert!(table.contains(expected), "{table}");
    }
}

#[cfg(feature = "datafusion")]
#[test]
fn reaggregate() {
    let Some((urls, _)) = shards() else { return };
    let Some(table) = run("reaggregate", &[&urls[0], &urls[1]]) else {
        return;
    };
    // 334 of the numbers to 1000 leave 1, on each of two shards; their mean is 500.5.
    for expected in ["666", "668", "500.5"] {
        assert!(table.contains(expected), "{table}");
    }
}

#[cfg(feature = "datafusion")]
#[test]
fn planned() {
    let Some((urls, _)) = shards() else { return };
    let mut topology = String::new();
    for (number, url) in urls.iter().enumerate() {
        support::execute(
            url,
            &format!(
                "create table orders (o_orderkey int8 primary key, o_orderstatus text, o_totalprice numeric(15,2)); \
                 insert into orders select x, case when x % 10 = 0 then 'F' else 'O' end, x \
                 from generate_series(1, 100) x where x % 2 = {number}; \
                 insert into orders values ({}, 'P', 5)",
                1000 + number
            ),
        );
        topology += &format!("[[shard]]\nname = \"s{number}\"\nurl = \"{url}\"\n");
    }
    topology += "[[table]]\nname = \"orders\"\nshard_key = \"o_orderkey\"\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("merganser.toml");
    fs::write(&path, topology).unwrap();
    let path = path.to_str().unwrap();
    let Some(text) = run("planned", &[path]) else {
        return;
    };
    // F is 10, 20, .. 100; O are the 90 other numbers; P has a row on each shard.
    for expected in ["EXACT", "Combine", "55.0000000000", "50.0000000000", "90"] {
        assert!(text.contains(expected), "{text}");
    }
    let refused = run("planned", &[path, "select version() from orders"]);
    assert!(refused.unwrap_or_default().contains("refused: "));
}

#[test]
fn blocking() {
    let Some((urls, names)) = shards() else {
        return;
    };
    let Some(text) = run("blocking", &[&urls[0], &urls[1]]) else {
        return;
    };
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines[3]), ("2000 rows", "2 shards"), "{text}");
    assert!(
        lines[1].starts_with(&format!("{} says", names[0])),
        "{text}"
    );
    assert!(
        lines[2].starts_with(&format!("{} says", names[1])),
        "{text}"
    );
}

#[test]
fn parquet() {
    let Some((urls, _)) = shards() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let arguments = [path.to_str().unwrap(), &urls[0], &urls[1]];
    let Some(text) = run("parquet", &arguments) else {
        return;
    };
    assert!(text.starts_with("20000 rows in "), "{text}");
    assert_eq!(fs::read(&path).unwrap().get(..4), Some(b"PAR1".as_slice()));
}

#[test]
fn decode_copy_writes_what_it_reads() {
    let data = include_bytes!("../../testdata/copy/mixed.copy");
    let types = ["int8", "text", "bool", "int8[]"].map(str::to_owned);
    let mut output = Vec::new();
    let rows = decode_copy::run(&types, &data[..], &mut output).unwrap();
    assert_eq!(rows, 100);
    let batches = StreamReader::try_new(&output[..], None).unwrap();
    let texts: Vec<_> = batches
        .flat_map(|batch| texts_of(&batch.unwrap()))
        .collect();
    assert_eq!(texts.len(), 100);
    let row = ["4", "eeee", "t", "{4,NULL,-4}"].map(|text| Some(text.to_owned()));
    assert_eq!(texts[4], row);
    let error = decode_copy::run(&types, &data[..data.len() - 1], &mut output).unwrap_err();
    assert!(error.to_string().contains("without the trailer"), "{error}");
}
