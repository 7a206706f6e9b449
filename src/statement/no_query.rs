//! What a statement is that is no query, and what does instead what it would have done.

use crate::error::{Error, ErrorKind};

const READS_ONLY: &str = "Merganser only reads: run it with psql on the shards that it is for";
const TRANSACTIONS: &str = "every query runs in a read-only transaction of its own on each shard, \
     one snapshot per shard, so leave this out and give the SELECT alone";
const SETTINGS: &str = "settings for all queries stand in the topology file: `timezone`, \
     `search_path` and `statement_timeout` under [session], any other under [session.settings], \
     such as `work_mem = \"256MB\"`";
const DEFINITIONS: &str = "Merganser only reads: run it with psql on every shard; \
     `merganser inspect` then tells whether the shards still agree";
const TABLES: &str = "`merganser inspect` lists the tables of all shards and how they are spread";
const VALUES: &str = "give the SELECT itself with $1, $2, ... in it, and a value for each (--param \
     on the command line)";
const CURSORS: &str = "rows are read as they arrive, without a cursor: give the SELECT itself";
const MAINTENANCE: &str = "Merganser only reads: run it with psql on every shard";
const EXPLAIN: &str = "`merganser explain 'SELECT ...'` (Query::explain in the library) shows how \
     the query is answered, with --analyze what each step took; for one shard's own plan ask it \
     with psql";
const SHOW: &str = "the value of a setting on each shard: \
     merganser query --fan-out \"SELECT current_setting('NAME')\"";
const COPY: &str = "give the SELECT itself, and -o FILE for where its rows go: the extension says \
     the format (.csv, .parquet, .arrow, .json), or --format does; nothing is loaded from files";
const CALL: &str = "a procedure may change data: run it with psql on the shards that it is for; a \
     function that only reads can be selected";
const QUERY: &str = "only SELECT, WITH, VALUES and TABLE return rows to collect; Merganser does \
     not change data";

/// The first words of statements, in lower case, and the way out of each.
const WAYS_OUT: &[(&[&str], &str)] = &[
    (&["explain"], EXPLAIN),
    (&["show"], SHOW),
    (&["set", "reset", "discard"], SETTINGS),
    (
        &[
            "begin",
            "start",
            "commit",
            "end",
            "rollback",
            "abort",
            "savepoint",
            "release",
        ],
        TRANSACTIONS,
    ),
    (&["copy"], COPY),
    (
        &["insert", "update", "delete", "merge", "truncate"],
        READS_ONLY,
    ),
    (
        &[
            "create", "alter", "drop", "comment", "grant", "revoke", "refresh", "security",
            "import", "reassign",
        ],
        DEFINITIONS,
    ),
    (&["call", "do"], CALL),
    (&["prepare", "execute", "deallocate"], VALUES),
    (&["declare", "fetch", "move", "close"], CURSORS),
    (
        &[
            "vacuum",
            "analyze",
            "analyse",
            "cluster",
            "reindex",
            "checkpoint",
            "load",
            "lock",
            "listen",
            "unlisten",
            "notify",
        ],
        MAINTENANCE,
    ),
    // Of other databases, and of their programs.
    (&["describe", "desc"], TABLES),
    (&["use"], "the database of each shard stands in its URL"),
    (
        &["from"],
        "PostgreSQL has no statement that begins with FROM: write SELECT * FROM ...",
    ),
    (&["pragma", "attach"], QUERY),
];

/// Commands of psql, by how they begin, and what does the same.
const META: &[(&str, &str)] = &[
    ("copy", COPY),
    (
        "timing",
        "the program says how long an answer took where rows go to a file; --analyze tells the time of each step",
    ),
    ("i", "`-f FILE` reads the statement from a file"),
    ("o", "`-o FILE` writes the rows to a file"),
    (
        "g",
        "end the statement with a semicolon or with nothing; `-o FILE` writes the rows to a file",
    ),
    (
        "c",
        "the shards are those of the topology file (-c FILE) or of --shard URL",
    ),
    (
        "x",
        "`--format json` shows each row with the names of its columns",
    ),
    ("set", VALUES),
    ("d", TABLES),
    ("l", TABLES),
    (
        "",
        "only psql has commands that begin with a backslash: give one SELECT statement",
    ),
];

/// The refusal of a text that begins with this.
pub(super) fn refusal(first: &str, rest: &str) -> Error {
    if first == "\\" {
        let name: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
        let way_out = META.iter().find(|(begin, _)| name.starts_with(begin));
        return Error::new(
            ErrorKind::Unsupported,
            format!("not a query: \\{name} is a command of psql"),
        )
        .with_hint(way_out.map_or(QUERY, |(_, way_out)| way_out));
    }
    let error = Error::new(
        ErrorKind::Unsupported,
        format!("not a query: the statement begins with {first:?}"),
    );
    let lower = first.to_ascii_lowercase();
    match way_out(&lower) {
        Some(way_out) => error.with_hint(way_out),
        None => match misspelt(&lower) {
            Some(word) => error
                .with_kind(ErrorKind::Syntax)
                .with_hint(format!("did you mean {}?", word.to_ascii_uppercase())),
            None => error.with_hint(QUERY),
        },
    }
}

fn way_out(word: &str) -> Option<&'static str> {
    let entry = WAYS_OUT.iter().find(|(words, _)| words.contains(&word))?;
    Some(entry.1)
}

/// The keyword that was probably meant.
fn misspelt(word: &str) -> Option<&'static str> {
    super::QUERIES
        .into_iter()
        .find(|keyword| strsim::damerau_levenshtein(keyword, word) <= keyword.len() / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(first: &str, rest: &str) -> String {
        let error = refusal(first, rest);
        assert!(error.message().starts_with("not a query"), "{error}");
        error.hint().unwrap().to_owned()
    }

    #[test]
    fn every_statement_has_its_way_out() {
        for (first, way_out) in [
            ("EXPLAIN", "merganser explain"),
            ("show", "current_setting"),
            ("Set", "[session.settings]"),
            ("BEGIN", "read-only transaction"),
            ("commit", "read-only transaction"),
            ("copy", "-o FILE"),
            ("insert", "psql on the shards"),
            ("create", "merganser inspect"),
            ("call", "procedure"),
            ("prepare", "--param"),
            ("vacuum", "every shard"),
            ("fetch", "cursor"),
            ("describe", "merganser inspect"),
            ("selct", "did you mean SELECT?"),
            ("wiht", "did you mean WITH?"),
            ("frobnicate", "only SELECT"),
        ] {
            let hint = hint(first, "");
            assert!(hint.contains(way_out), "{first}: {hint}");
        }
    }

    #[test]
    fn commands_of_psql_have_theirs() {
        for (command, way_out) in [
            ("dt+", "merganser inspect"),
            ("d orders", "merganser inspect"),
            ("copy t to x", "-o FILE"),
            ("i a.sql", "-f FILE"),
            ("timing", "--analyze"),
            ("?", "only psql"),
        ] {
            let hint = hint("\\", command);
            assert!(hint.contains(way_out), "{command}: {hint}");
        }
    }
}
