//! Writes a topology as TOML.

use std::fmt::Write as _;

use super::duration::format_duration;
use super::{ConnectionString, Finish, FinishRelations, TableKind, Topology, table};

/// Writes a topology so that [`parse`](super::file::parse) reads an equal one. `remarks` are on its
/// tables, in their order; `left` is on tables that it does not have.
pub(super) fn write(topology: &Topology, remarks: &[Remarks], left: &[Remarks]) -> String {
    let mut text =
        String::from("# The databases of a cluster, and how tables are spread over them.\n");
    let urls = topology
        .shards
        .iter()
        .flat_map(|shard| std::iter::once(shard.primary()).chain(shard.replicas()));
    let finish = match &topology.finish {
        Finish::Server(url) => Some(url),
        Finish::AnyShard | Finish::Off => None,
    };
    if urls.chain(finish).any(ConnectionString::has_password) {
        text.push_str("# This file holds a password: nobody else should be able to read it.\n");
    }

    text.push_str("\n[session]  # set on every shard for every query\n");
    let session = &topology.session;
    match session.own_timezone() {
        Some(timezone) => add(&mut text, "timezone", timezone),
        None => text.push_str("# timezone = \"UTC\"  # the default\n"),
    }
    if let Some(search_path) = session.search_path() {
        add(&mut text, "search_path", search_path);
    }
    let (read_from, max_replay_lag) = session.own_reading();
    if let Some(read_from) = read_from {
        add(&mut text, "read_from", read_from.name());
    }
    for (key, timeout) in [
        ("statement_timeout", session.statement_timeout()),
        ("lock_timeout", session.lock_timeout()),
        ("connect_timeout", session.connect_timeout()),
        ("max_replay_lag", max_replay_lag),
    ] {
        if let Some(timeout) = timeout {
            add(&mut text, key, &format_duration(timeout));
        }
    }
    if !session.settings().is_empty() {
        text.push_str("\n[session.settings]\n");
        for (name, value) in session.settings() {
            // A dot in a bare key would start a table.
            add(&mut text, &format!("\"{name}\""), value);
        }
    }

    match &topology.finish {
        Finish::AnyShard if topology.finish_relations.is_none() => {}
        Finish::AnyShard | Finish::Server(_) => {
            text.push_str("\n[finish]  # where the last step of a query runs\n");
        }
        Finish::Off => {
            text.push_str("\n[finish]  # refuse queries that need a last step on one server\n");
            add(&mut text, "mode", "off");
        }
    }
    if let Finish::Server(url) = &topology.finish {
        add(&mut text, "url", url.text());
    }
    match topology.finish_relations {
        Some(FinishRelations::Text) => add(&mut text, "relations", "text"),
        Some(FinishRelations::Temporary) => add(&mut text, "relations", "temporary"),
        None => {}
    }

    if let Some(fence) = &topology.read_fence {
        text.push_str("\n[read_fence]  # read all shards as of nearly the same moment\n");
        add(&mut text, "max_skew", &format_duration(fence.max_skew()));
        if let Some(watermark) = fence.watermark() {
            add(&mut text, "watermark", watermark);
        }
        add(&mut text, "max_wait", &format_duration(fence.max_wait()));
    }

    for (index, shard) in topology.shards.iter().enumerate() {
        let _ = write!(text, "\n[[shard]]  # number {index} of shard_index\n");
        add(&mut text, "name", shard.name());
        add(&mut text, "url", shard.primary().text());
        if !shard.replicas().is_empty() {
            text.push_str("replicas = [\n");
            for replica in shard.replicas() {
                let _ = writeln!(text, "    {},", quoted(replica.text()));
            }
            text.push_str("]\n");
        }
    }

    for (place, declared) in topology.tables.iter().enumerate() {
        let remarks = remarks.get(place);
        text.push('\n');
        comments(&mut text, remarks.map(|it| it.before.as_slice()));
        text.push_str("[[table]]\n");
        add(&mut text, "name", &declared.to_sql());
        match declared.kind() {
            TableKind::Replicated => text.push_str("replicated = true\n"),
            TableKind::Sharded {
                key,
                colocation,
                shard_index,
            } => {
                add(&mut text, "shard_key", &table::quote(key));
                if let Some(group) = colocation {
                    add(&mut text, "colocation", group);
                }
                if let Some(expression) = shard_index {
                    add(&mut text, "shard_index", expression);
                }
            }
        }
        comments(&mut text, remarks.map(|it| it.after.as_slice()));
    }
    for remarks in left {
        text.push('\n');
        comments(&mut text, Some(&remarks.before));
        comments(&mut text, Some(&remarks.after));
    }
    text
}

/// What a file says of a table besides its declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Remarks {
    /// Lines before it.
    pub(crate) before: Vec<String>,
    /// Lines after it.
    pub(crate) after: Vec<String>,
}

fn comments(text: &mut String, lines: Option<&[String]>) {
    // A value of ours may have several lines.
    for line in lines.into_iter().flatten().flat_map(|it| it.lines()) {
        let _ = writeln!(text, "# {line}");
    }
}

fn add(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{}", pair(key, value));
}

/// A key with a text.
pub(crate) fn pair(key: &str, value: &str) -> String {
    format!("{key} = {}", quoted(value))
}

fn quoted(value: &str) -> String {
    toml::Value::from(value).to_string()
}
