//! What somebody else needs to read a part of a query: a descriptor, sealed.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::scan::Reading;
use crate::types::{TypeOptions, Unrepresentable};

/// The version of this form.
const VERSION: u32 = 1;

/// A part of a query's rows: all of one shard, or those of a range of a table's blocks, as one snapshot
/// shows them. Whoever has a topology file of the same shards can [read](crate::Cluster::read_partition)
/// it, in this process or another, as long as the [lease](crate::Lease) lasts.
///
/// It holds the statement with its values, and neither a URL nor a user nor a password. `Debug` does not
/// show the statement.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    #[serde(rename = "merganser_partition")]
    version: u32,
    /// The fingerprint of the topology.
    pub(super) topology: String,
    pub(super) shard: String,
    /// What is read, with the range in it.
    pub(super) sql: String,
    /// The table, as SQL, if a range of it is read, and the first block and the one behind the last.
    pub(super) range: Option<(String, u64, u64)>,
    pub(super) snapshot: String,
    /// Seconds since 1970.
    expires: u64,
    /// A digest of the names and types of the columns.
    pub(super) columns: String,
    /// A digest of the settings that the query has for itself.
    pub(super) settings: String,
    /// For whom the columns are read.
    #[serde(default, skip_serializing_if = "ReadFor::is_reader")]
    pub(super) read_for: ReadFor,
}

/// For whom the columns of a partition are read, which decides their Arrow types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::query) enum ReadFor {
    /// As the reader wants them.
    #[default]
    Reader,
    /// To be aggregated again, which gives the answer.
    Answer,
    /// To be aggregated again, and handed to a later step.
    Step,
}

impl ReadFor {
    fn is_reader(&self) -> bool {
        *self == Self::Reader
    }

    /// How, where the reader, or the user who gets the answer, wants types so.
    pub(super) fn reading(self, types: TypeOptions) -> Reading {
        match self {
            Self::Reader => Reading::Options(types),
            Self::Answer => Reading::Aggregate(types),
            Self::Step => Reading::Aggregate(Reading::LOSSLESS),
        }
    }

    /// What becomes of values that Arrow does not hold. A NULL in place of one would be left out of a sum,
    /// and join another group.
    pub(super) fn unrepresentable(self, types: TypeOptions) -> Unrepresentable {
        match (self, types.unrepresentable) {
            (Self::Reader, wanted) => wanted,
            (Self::Answer, Unrepresentable::Null) | (Self::Step, _) => Unrepresentable::Error,
            (Self::Answer, wanted) => wanted,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    partition: Partition,
    /// HMAC-SHA-256 of the rest, in hexadecimal digits.
    seal: String,
}

/// What a [`Partition`] is made of.
pub(super) struct Parts {
    pub(super) topology: String,
    pub(super) shard: String,
    pub(super) sql: String,
    pub(super) range: Option<(String, u64, u64)>,
    pub(super) snapshot: String,
    pub(super) expires: SystemTime,
    pub(super) columns: String,
    pub(super) settings: String,
    pub(super) read_for: ReadFor,
}

impl Partition {
    pub(super) fn new(parts: Parts) -> Self {
        let expires = parts.expires.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            version: VERSION,
            topology: parts.topology,
            shard: parts.shard,
            sql: parts.sql,
            range: parts.range,
            snapshot: parts.snapshot,
            expires: expires.unwrap_or_default().as_secs(),
            columns: parts.columns,
            settings: parts.settings,
            read_for: parts.read_for,
        }
    }

    /// The name of the shard whose rows they are.
    pub fn shard(&self) -> &str {
        &self.shard
    }

    /// The blocks of the table that are read; `None` for all rows of the shard. The last range of a table
    /// has no end in practice: it takes what lies behind.
    pub fn blocks(&self) -> Option<Range<u64>> {
        self.range.as_ref().map(|(_, from, to)| *from..*to)
    }

    /// When the lease ends.
    pub fn expires(&self) -> SystemTime {
        // What is read was looked at.
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(self.expires))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// One line of JSON, sealed with a key. An empty key only tells that nothing was damaged on the way;
    /// any other, which readers have to have too, that nobody else made it or changed it: a descriptor
    /// holds SQL that its reader runs.
    pub fn seal(&self, key: &[u8]) -> Vec<u8> {
        let sealed = Sealed {
            partition: self.clone(),
            seal: self.mac(key),
        };
        // Texts and numbers always become JSON.
        serde_json::to_vec(&sealed).unwrap_or_default()
    }

    /// Reads what [`seal`](Self::seal) gave, with the same key.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for anything else, for another key, and for a descriptor of another version.
    pub fn unseal(bytes: &[u8], key: &[u8]) -> Result<Self> {
        let sealed: Sealed = serde_json::from_slice(bytes).map_err(|error| {
            Error::new(ErrorKind::Config, "this is no descriptor of a partition")
                .with_source(error)
                .with_hint("give one line of what `merganser partitions` printed, whole")
        })?;
        let Sealed { partition, seal } = sealed;
        if partition.version != VERSION {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "the partition is of version {}, and this merganser reads {VERSION}",
                    partition.version
                ),
            )
            .with_hint("make and read partitions with the same version"));
        }
        let is_whole = bytes_of(&seal).is_some_and(|seal| {
            let text = serde_json::to_vec(&partition).unwrap_or_default();
            hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), &text, &seal).is_ok()
        });
        let expires = Duration::from_secs(partition.expires);
        if is_whole && SystemTime::UNIX_EPOCH.checked_add(expires).is_none() {
            return Err(Error::new(
                ErrorKind::Config,
                "the lease of the partition ends at no time that there is",
            )
            .with_hint("make the partitions anew"));
        }
        match is_whole {
            true => Ok(partition),
            false => Err(Error::new(
                ErrorKind::Config,
                "the seal of the partition is not of this key, or the partition was changed",
            )
            .with_hint(
                "give the reader the key with which the partitions were made \
                 (MERGANSER_PARTITION_KEY), and the line as it was printed",
            )),
        }
    }

    fn mac(&self, key: &[u8]) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &text);
        let digits = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    }
}

/// The bytes of hexadecimal digits.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("shard", &self.shard)
            .field("blocks", &self.blocks())
            .field("expires", &self.expires())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        Partition::new(Parts {
            topology: "t".to_owned(),
            shard: "s0".to_owned(),
            sql: "SELECT 'canary'".to_owned(),
            range: Some(("t".to_owned(), 3, 9)),
            snapshot: "0-1-1".to_owned(),
            expires: SystemTime::UNIX_EPOCH + Duration::from_secs(100),
            columns: "c".to_owned(),
            settings: "s".to_owned(),
            read_for: ReadFor::Reader,
        })
    }

    #[test]
    fn a_sealed_partition_is_read_with_its_key_alone() {
        let partition = partition();
        for key in [&b""[..], b"secret"] {
            let sealed = partition.seal(key);
            assert_eq!(Partition::unseal(&sealed, key).unwrap(), partition);
            for (bytes, key) in [
                (sealed.clone(), &b"other"[..]),
                (
                    String::from_utf8(sealed.clone())
                        .unwrap()
                        .replace("canary", "drop")
                        .into(),
                    key,
                ),
                (sealed[..sealed.len() - 3].to_vec(), key),
                (b"{}".to_vec(), key),
            ] {
                let error = Partition::unseal(&bytes, key).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config);
                assert!(error.hint().is_some());
            }
        }
        let mut newer = partition.clone();
        newer.version = 2;
        let error = Partition::unseal(&newer.seal(b""), b"").unwrap_err();
        assert!(error.message().contains("version 2"), "{error}");
    }

    #[test]
    fn a_lease_ends_at_a_time_that_there_is() {
        let endless = Partition {
            expires: u64::MAX,
            ..partition()
        };
        let error = Partition::unseal(&endless.seal(b""), b"").unwrap_err();
        assert!(error.message().contains("ends at no time"), "{error}");
    }

    #[test]
    fn the_statement_is_not_shown() {
        let shown = format!("{:?}", partition());
        assert!(
            shown.contains("3..9") && !shown.contains("canary"),
            "{shown}"
        );
    }
}
