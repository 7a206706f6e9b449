//! The statement of a command, and the query that it asks for.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

#[cfg(feature = "datafusion")]
use merganser::{Cluster, Query};
use merganser::{Error, ErrorKind, Topology};

use crate::args;
#[cfg(feature = "datafusion")]
use crate::args::Planning;

/// The statement, from the command line, a file or standard input.
pub(crate) async fn read(args: &args::Statement) -> Result<String, Error> {
    let path = match (&args.sql, &args.file) {
        (Some(sql), _) => return Ok(sql.clone()),
        (None, Some(path)) => path.clone(),
        // clap asks for one of them.
        (None, None) => return Err(Error::new(ErrorKind::Config, "no SQL text")),
    };
    blocking(move || read_text(&path)).await
}

/// Whether the topology tells enough to plan with.
///
/// # Errors
/// [`ErrorKind::Config`] when it names no table.
pub(crate) fn check_tables(topology: &Topology) -> Result<(), Error> {
    if !topology.tables().is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        "a planned query needs a topology file that says how the tables are spread over the shards",
    )
    .with_hint(
        "`merganser inspect --shard URL ... --shard-key TABLE=COLUMN --write merganser.toml` writes \
         one, and -c names it; or add --fan-out: the text then runs as it is on every shard, and \
         the rows are appended",
    ))
}

/// The query as if one database held all rows.
#[cfg(feature = "datafusion")]
pub(crate) fn planned(cluster: &Cluster, sql: String, args: &Planning) -> Query {
    let mut query = cluster.query(sql);
    if let Some(merge) = args.merge {
        query = query.with_merge(match merge {
            args::Merge::Auto => merganser::MergeMode::Auto,
            args::Merge::Gather => merganser::MergeMode::Gather,
        });
    }
    if let Some(rows) = args.finish_rows {
        query = query.with_finish_rows(rows);
    }
    if let Some(bytes) = args.finish_bytes {
        // No more than fits into a `usize` was read.
        query = query.with_finish_bytes(bytes as u64);
    }
    query
}

#[cfg(not(feature = "datafusion"))]
pub(crate) fn without_datafusion(what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("this merganser was built without DataFusion, so {what}"),
    )
    .with_hint("build it with the default features, or add --fan-out")
}

/// Runs something that waits for files or people on a thread where that is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Export, "a thread of this program failed").with_source(panic))
        })
}

fn read_text(path: &Path) -> Result<String, Error> {
    let read = || match path.to_str() {
        Some("-") => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        }
        _ => fs::read_to_string(path),
    };
    let text = read().map_err(|error| {
        let message = format!("cannot read the SQL text from {}", path.display());
        Error::new(ErrorKind::Config, message).with_source(error)
    })?;
    // Some editors begin a file with a mark that PostgreSQL takes for a character.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}
