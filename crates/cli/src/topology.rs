//! Which databases a command is about.

use std::path::Path;

use merganser::{Error, ErrorKind, Topology};

use crate::args::Shards;

/// The topology file that is taken when no flag says otherwise.
pub(crate) const DEFAULT_FILE: &str = "merganser.toml";

/// The topology of `--config`, of `--shard`, or of the file in the current folder.
pub(crate) fn load(shards: &Shards) -> Result<Topology, Error> {
    if !shards.urls.is_empty() {
        return Topology::from_urls(shards.urls.iter().map(String::as_str));
    }
    if let Some(file) = &shards.config {
        return Topology::from_path(file);
    }
    if !Path::new(DEFAULT_FILE).exists() {
        return Err(Error::new(
            ErrorKind::Config,
            format!("no shards: no --config, no --shard, and no {DEFAULT_FILE} in this folder"),
        )
        .with_hint(
            "name each database with `--shard postgresql://user@host/database`, or a topology file \
             with `-c FILE`; `merganser demo` shows it all without any database of yours",
        ));
    }
    Topology::from_path(DEFAULT_FILE)
}
