//! The statement of a command, and the query that it asks for.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

#[cfg(feature = "datafusion")]
use merganser::{Cluster, Query};
use merganser::{Error, ErrorKind, Topology};

use crate::args;
#[cfg(feature = "datafusion")]
use crate::args::Planning;

/// The statement, from the command line, a file or standard input.
pub(crate) async fn read(args: &args::Statement) -> Result<String, Error> {
    let path = match (&args.sql, &args.file) {
        // As with -f; no statement is a lone minus.
        (Some(sql), _) if sql == "-" => PathBuf::from("-"),
        (Some(sql), _) => return Ok(sql.clone()),
        (None, Some(path)) => path.clone(),
        (None, None) if io::stdin().is_terminal() => {
            return Err(Error::new(ErrorKind::Config, "no SQL text").with_hint(
                "give it as an argument, in quotes: merganser query 'SELECT ...'; or from a file \
                 with -f FILE, or through a pipe",
            ));
        }
        (None, None) => PathBuf::from("-"),
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
    let mut query = cluster
        .query(sql)
        .with_system_catalogs(args.system_catalogs);
    if let Some(merge) = args.merge {
        query = query.with_merge(match merge {
            args::Merge::Auto => merganser::MergeMode::Auto,
            args::Merge::Gather => merganser::MergeMode::Gather,
        });
    }
    if let Some(relations) = args.finish_relations {
        query = query.with_finish_relations(match relations {
            args::FinishRelations::Text => merganser::config::FinishRelations::Text,
            args::FinishRelations::Temporary => merganser::config::FinishRelations::Temporary,
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
    let (read, from) = match path.to_str() {
        Some("-") => {
            let mut bytes = Vec::new();
            let read = io::stdin().read_to_end(&mut bytes).map(|_| bytes);
            (read, "standard input".to_owned())
        }
        _ => (fs::read(path), path.display().to_string()),
    };
    let bytes = read.map_err(|error| {
        let error = Error::new(
            ErrorKind::Config,
            format!("cannot read the SQL text from {from}"),
        )
        .with_source(error);
        match path.to_str() {
            Some("-") => error,
            _ => error.with_hint("-f names a file; SQL itself stands without -f, in quotes"),
        }
    })?;
    let text = String::from_utf8(bytes).map_err(|error| not_utf8(&from, error.as_bytes()))?;
    // Some editors begin a file with a mark that PostgreSQL takes for a character.
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    match text.trim().is_empty() {
        true => Err(
            Error::new(ErrorKind::Syntax, format!("no SQL text came from {from}"))
                .with_hint("give it as an argument, in quotes: merganser query 'SELECT ...'"),
        ),
        false => Ok(text),
    }
}

/// Says where a text stops being UTF-8.
fn not_utf8(from: &str, bytes: &[u8]) -> Error {
    let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let line = valid.matches('\n').count() + 1;
    let byte = valid.len() - valid.rfind('\n').map_or(0, |at| at + 1) + 1;
    Error::new(
        ErrorKind::Syntax,
        format!("the SQL text from {from} is not UTF-8: line {line}, byte {byte} of it"),
    )
    .with_hint(
        match bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            true => "it is UTF-16: save it as UTF-8, or: iconv -f UTF-16 -t UTF-8",
            false => "save it as UTF-8, or say what it is: iconv -f LATIN1 -t UTF-8",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_is_not_utf8_is_named() {
        for (bytes, place) in [
            (&b"\xe4"[..], "line 1, byte 1 of"),
            (b"select 1\n-- caf\xe9\nselect", "line 2, byte 7 of"),
            (b"a\n\n\xc3\xa4\xc3", "line 3, byte 3 of"),
        ] {
            let error = not_utf8("q.sql", bytes);
            assert!(error.message().contains(place), "{error}");
        }
        let utf16 = not_utf8("q.sql", b"\xff\xfes\0");
        assert!(utf16.hint().unwrap().contains("UTF-16"));
    }
}
