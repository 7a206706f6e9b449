//! The driver as programs meet it: its shared library, loaded by a driver manager, over real servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cancel;
mod catalog;
mod faults;
mod install;
mod options;
mod partitions;
mod python;
mod queries;
mod readme;

use std::env;
use std::path::PathBuf;

use adbc_core::error::Error;
use adbc_core::options::{AdbcVersion, OptionDatabase, OptionValue};
use adbc_core::{Connection as _, Database as _, Driver as _, Optionable, Statement as _};
use adbc_driver_manager::{ManagedConnection, ManagedDatabase, ManagedDriver, ManagedStatement};
use merganser::arrow::array::{RecordBatch, RecordBatchReader};
use merganser::arrow::error::ArrowError;
use merganser::text::TextFormatter;
use merganser_local::fixture as support;
use tempfile::TempDir;

/// The shared library that was built with these tests.
fn library() -> PathBuf {
    let name = format!(
        "{}merganser_adbc{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    );
    let folder = env::current_exe().unwrap();
    let library = folder.parent().unwrap().join(name);
    assert!(library.is_file(), "{} is missing", library.display());
    library
}

fn driver() -> ManagedDriver {
    let entrypoint = Some(&b"AdbcMerganserInit"[..]);
    ManagedDriver::load_dynamic_from_filename(library(), entrypoint, AdbcVersion::V110).unwrap()
}

fn open(options: &[(&str, &str)]) -> Result<ManagedDatabase, Error> {
    let options = options
        .iter()
        .map(|(name, value)| (OptionDatabase::from(*name), OptionValue::from(*value)));
    driver().new_database_with_opts(options)
}

/// Shards with their topology file, and a connection.
struct Scene {
    urls: Vec<String>,
    folder: TempDir,
    connection: ManagedConnection,
}

impl Scene {
    /// `t(n)`, sharded by `n`, which holds so many numbers on each shard, from 0 on; `None` where
    /// there is no PostgreSQL.
    fn numbered(sizes: &[i32]) -> Option<Self> {
        let urls = support::numbered(sizes)?;
        Some(Self::new(
            urls,
            "[[table]]\nname = \"t\"\nshard_key = \"n\"\n",
        ))
    }

    /// TPC-H over three shards.
    fn tpch() -> Option<Self> {
        let tables = [("orders", "o_orderkey"), ("lineitem", "l_orderkey")]
            .map(|(name, key)| format!("[[table]]\nname = \"{name}\"\nshard_key = \"{key}\"\n"));
        let replicated = [
            "customer", "nation", "part", "partsupp", "region", "supplier",
        ]
        .map(|name| format!("[[table]]\nname = \"{name}\"\nreplicated = true\n"));
        let urls = support::tpch(3)?.shards.clone();
        Some(Self::new(urls, &(tables.concat() + &replicated.concat())))
    }

    fn new(urls: Vec<String>, tables: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut topology = String::new();
        for (shard, url) in urls.iter().enumerate() {
            topology += &format!("[[shard]]\nname = \"s{shard}\"\nurl = \"{url}\"\n");
        }
        topology += tables;
        let path = folder.path().join("merganser.toml");
        std::fs::write(&path, topology).unwrap();
        let uri = format!("merganser://{}", path.display());
        let connection = open(&[("uri", &uri)]).unwrap().new_connection().unwrap();
        Self {
            urls,
            folder,
            connection,
        }
    }

    fn statement(&self, sql: &str) -> ManagedStatement {
        let mut statement = self.connection.clone().new_statement().unwrap();
        statement.set_sql_query(sql).unwrap();
        statement
    }

    fn fan_out(&self, sql: &str) -> ManagedStatement {
        let mut statement = self.statement(sql);
        set(&mut statement, "merganser.mode", "fan_out").unwrap();
        statement
    }

    fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        texts(self.statement(sql).execute().unwrap())
    }
}

fn set(statement: &mut ManagedStatement, name: &str, value: &str) -> Result<(), Error> {
    statement.set_option(name.into(), value.into())
}

/// The rows of a reader as PostgreSQL writes them.
fn texts(reader: impl RecordBatchReader) -> Vec<Vec<Option<String>>> {
    let batches: Result<Vec<_>, ArrowError> = reader.collect();
    batches.unwrap().iter().flat_map(rows_of).collect()
}

fn rows_of(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    let schema = batch.schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| TextFormatter::try_new(field, column).unwrap())
        .collect();
    let text = |row: usize| {
        let texts = columns.iter().map(|column| {
            (!column.is_null(row)).then(|| {
                let mut text = String::new();
                column.write(row, &mut text);
                text
            })
        });
        texts.collect()
    };
    (0..batch.num_rows()).map(text).collect()
}

fn some(rows: &[&[&str]]) -> Vec<Vec<Option<String>>> {
    let row = |row: &&[&str]| row.iter().map(|text| Some((*text).to_owned())).collect();
    rows.iter().map(row).collect()
}

/// The error of what must not succeed.
fn error<T>(result: Result<T, Error>) -> Error {
    result.err().expect("an error")
}
