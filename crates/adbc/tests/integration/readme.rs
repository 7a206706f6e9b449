//! What the README says. Its Python runs in `tests/python`, its Rust is compiled as documentation.

use std::env;
use std::fs;

use adbc_core::options::{AdbcVersion, OptionDatabase, OptionValue};
use adbc_core::{Connection as _, Database as _, Driver as _, LOAD_FLAG_DEFAULT, Optionable};
use adbc_driver_manager::{ManagedDatabase, ManagedDriver};

use crate::{library, open};

const README: &str = include_str!("../../README.md");
const SHARDS: (&str, &str) = ("merganser.shards", "postgresql://127.0.0.1:1/nowhere");

#[test]
fn its_manifest_is_found_by_name() {
    let (_, manifest) = README.split_once("```toml\n").unwrap();
    let (manifest, _) = manifest.split_once("```").unwrap();
    let manifest = manifest.replace(
        "/usr/local/lib/libmerganser_adbc.so",
        library().to_str().unwrap(),
    );
    let version = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(manifest.contains(&version));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("merganser.toml"), manifest).unwrap();
    let paths = Some(vec![folder.path().to_path_buf()]);
    let mut driver = ManagedDriver::load_from_name(
        "merganser",
        None,
        AdbcVersion::V110,
        LOAD_FLAG_DEFAULT,
        paths.clone(),
    )
    .unwrap();
    let shards = (OptionDatabase::from(SHARDS.0), OptionValue::from(SHARDS.1));
    assert!(driver.new_database_with_opts([shards]).is_ok());
    // The scheme of a URI is that name.
    let missing = crate::error(ManagedDatabase::from_uri(
        "merganser:///nowhere/shards.toml",
        None,
        AdbcVersion::V110,
        LOAD_FLAG_DEFAULT,
        paths,
    ));
    assert!(
        missing
            .message
            .contains("/nowhere/shards.toml: file not found"),
        "{missing}"
    );
}

/// The names in the first column of the tables between two lines.
fn options(from: &str, to: &str) -> Vec<&'static str> {
    let (_, section) = README.split_once(from).unwrap();
    let (section, _) = section.split_once(to).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn its_options_are_those_that_there_are() {
    let unknown = crate::error(open(&[SHARDS, ("x", "")])).message;
    let (_, known) = unknown.split_once("there are ").unwrap();
    let mut known: Vec<_> = known.split(", ").collect();
    let mut told = options("Of a **database**", "Of a statement, to be read only");
    known.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, known);

    let mut connection = open(&[SHARDS]).unwrap().new_connection().unwrap();
    let statement = connection.new_statement().unwrap();
    let [explain, progress] = options("Of a statement, to be read only", "Of a **connection**")[..]
    else {
        panic!("two options");
    };
    assert!(statement.get_option_double(progress.into()).is_ok());
    let message = crate::error(statement.get_option_string(explain.into())).message;
    assert!(message.contains("has no query"), "{message}");
}
