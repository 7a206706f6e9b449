//! What a folder says of its files: `_manifest.json`, written last.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The files of a complete export: the content of `_manifest.json`.
///
/// A folder without it is not complete. Names that begin with `_` are passed over by DuckDB's `*.parquet`,
/// Spark, Hive and pyarrow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The version of this form: 1.
    pub version: u32,
    /// What was asked, as the user wrote it.
    pub statement: String,
    /// A fingerprint of the topology: of the shards' names, the tables and the settings, not of URLs.
    pub topology: String,
    /// The format of the files.
    pub format: String,
    /// The columns of the result, those that name partitions among them.
    pub columns: Vec<ManifestColumn>,
    /// The columns that the files do not have, since they name folders: the outermost first.
    pub partition_by: Vec<String>,
    /// Rows of all files.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// What was read apart, in the order of the topology: each shard, or `rows` where the rows of all
    /// were merged.
    pub shards: Vec<ManifestShard>,
    /// The files, in the order of `shards`.
    pub files: Vec<ManifestFile>,
}

/// A column of a [`Manifest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// What was read of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestShard {
    /// The name of the shard.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// When reading began, in UTC. Shards that were read in different runs have times that are far
    /// apart.
    pub read_at: String,
}

/// A complete file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestFile {
    /// Its path in the folder, with `/`.
    pub path: String,
    /// The shard whose rows it has.
    pub shard: String,
    /// How many rows it has.
    pub rows: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// The values of the columns that name its folder, as text; `None` is NULL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partition: BTreeMap<String, Option<String>>,
    /// What is known of its columns: for Parquet those of booleans, whole numbers, decimals, dates,
    /// times and text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnRange>,
}

/// Which values a column of a file has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ColumnRange {
    /// The name of the column.
    pub name: String,
    /// How many of its values are NULL.
    pub nulls: u64,
    /// The least value, as PostgreSQL prints it, of text by its bytes; `None` where it is not known
    /// exactly, such as of long text, or all are NULL.
    pub min: Option<String>,
    /// The greatest, likewise.
    pub max: Option<String>,
}
