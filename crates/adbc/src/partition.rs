//! Partitions: what a statement is cut into, as bytes that any connection to the same shards reads.
//!
//! Partitions have no order, so rows that have one, or that are put together from those of several
//! shards, are one partition: the statement itself, which runs when it is read.

use adbc_core::error::{Result, Status};
use merganser::blocking::{Cluster, PartitionRead, QueryReader};
use merganser::config::Topology;
use merganser::{CancelHandle, MergeMode, Partition, ScanProgress};
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::error::{from_library, refusal};
use crate::options::{Mode, QueryOptions};
use crate::request::Request;

/// The variable that holds the key of the seal, as for the program's `partitions`.
const KEY: &str = "MERGANSER_PARTITION_KEY";
/// What a partition begins with that is a statement. One of the library begins with a brace.
const WHOLE: &[u8] = b"merganser statement 1\n";
/// The bytes of an HMAC-SHA-256.
const SEAL: usize = 32;

/// Partitions of the library's, as bytes.
pub(crate) fn sealed(parts: &[Partition]) -> Vec<Vec<u8>> {
    let key = key();
    parts.iter().map(|part| part.seal(&key)).collect()
}

fn key() -> Vec<u8> {
    let key = std::env::var_os(KEY).unwrap_or_default();
    key.into_encoded_bytes()
}

/// A statement whose rows are one partition.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whole {
    /// The fingerprint of the topology.
    topology: String,
    /// With values in place of parameters.
    sql: String,
    is_fan_out: bool,
    merge_sql: Option<String>,
    is_gathered: bool,
    timezone: Option<String>,
    schema: Option<String>,
}

impl Whole {
    pub(crate) fn new(topology: &Topology, sql: String, options: &QueryOptions) -> Self {
        Self {
            topology: topology.fingerprint(),
            sql,
            is_fan_out: options.mode == Mode::FanOut,
            merge_sql: options.merge_sql.clone(),
            is_gathered: options.merge == MergeMode::Gather,
            timezone: options.timezone.clone(),
            schema: options.schema.clone(),
        }
    }

    pub(crate) fn sealed(&self) -> Vec<u8> {
        self.sealed_with(&key())
    }

    fn sealed_with(&self, key: &[u8]) -> Vec<u8> {
        // Texts always become JSON.
        let text = serde_json::to_vec(self).unwrap_or_default();
        let seal = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &text);
        [WHOLE, seal.as_ref(), &text].concat()
    }

    /// What is behind the first line.
    fn unsealed(bytes: &[u8], key: &[u8]) -> Result<Self> {
        let wrong = || {
            refusal(
                Status::InvalidArguments,
                format!(
                    "the seal of the partition is not of this key, or the partition was changed\n\
                     hint: give the reader the key with which the partitions were made ({KEY}), and \
                     the bytes as they were"
                ),
            )
        };
        let (seal, text) = bytes.split_at_checked(SEAL).ok_or_else(wrong)?;
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), text, seal).map_err(|_| wrong())?;
        serde_json::from_slice(text).map_err(|_| wrong())
    }

    /// The options of the statement; those of reading are the connection's.
    fn options(self, reading: &QueryOptions) -> QueryOptions {
        QueryOptions {
            mode: match self.is_fan_out {
                true => Mode::FanOut,
                false => Mode::Query,
            },
            merge_sql: self.merge_sql,
            merge: match self.is_gathered {
                true => MergeMode::Gather,
                false => MergeMode::Auto,
            },
            timezone: self.timezone,
            schema: self.schema,
            ..reading.clone()
        }
    }
}

/// A partition that is about to be read.
pub(crate) enum Reading {
    Part(PartitionRead),
    Whole(Request),
}

impl Reading {
    pub(crate) fn new(cluster: &Cluster, bytes: &[u8], options: &QueryOptions) -> Result<Self> {
        let key = key();
        let Some(whole) = bytes.strip_prefix(WHOLE) else {
            let part = Partition::unseal(bytes, &key).map_err(from_library)?;
            let read = cluster.read_partition(&part);
            return Ok(Self::Part(set(read, options)));
        };
        let whole = Whole::unsealed(whole, &key)?;
        if whole.topology != cluster.topology().fingerprint() {
            return Err(refusal(
                Status::InvalidArguments,
                "the partition is of another topology\n\
                 hint: shards, tables and settings of both topology files have to be the same; URLs \
                 may differ",
            ));
        }
        let sql = whole.sql.clone();
        let options = whole.options(options);
        Request::new(cluster, &sql, &options, &ScanProgress::new()).map(Self::Whole)
    }

    pub(crate) fn cancel_handle(&self) -> CancelHandle {
        match self {
            Self::Part(read) => read.cancel_handle(),
            Self::Whole(request) => request.cancel_handle(),
        }
    }

    pub(crate) fn stream(self) -> merganser::Result<QueryReader> {
        match self {
            Self::Part(read) => read.stream(),
            Self::Whole(request) => request.stream(),
        }
    }
}

fn set(read: PartitionRead, options: &QueryOptions) -> PartitionRead {
    read.with(|mut read| {
        if let Some(timeout) = options.timeout {
            read = read.with_timeout(timeout);
        }
        if let Some(rows) = options.batch_rows {
            read = read.with_batch_rows(rows);
        }
        if let Some(bytes) = options.memory {
            read = read.with_memory(bytes);
        }
        match options.session() {
            Some(session) => read.with_session(session),
            None => read,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_statement_is_read_with_its_key_alone() {
        let whole = Whole {
            topology: "t".to_owned(),
            sql: "SELECT 'canary'".to_owned(),
            is_fan_out: true,
            merge_sql: Some("SELECT 1".to_owned()),
            is_gathered: false,
            timezone: None,
            schema: Some("s".to_owned()),
        };
        for key in [&b""[..], b"secret"] {
            let sealed = whole.sealed_with(key);
            let sealed = sealed.strip_prefix(WHOLE).unwrap();
            assert_eq!(Whole::unsealed(sealed, key).unwrap(), whole);
            let mut changed = sealed.to_vec();
            changed[SEAL + 10] ^= 1;
            for (bytes, key) in [
                (sealed, &b"other"[..]),
                (&changed, key),
                (&sealed[..SEAL - 1], key),
                (&sealed[..sealed.len() - 1], key),
                (b"", key),
            ] {
                let error = Whole::unsealed(bytes, key).unwrap_err();
                assert_eq!(error.status, Status::InvalidArguments);
                assert!(error.message.contains(KEY), "{error}");
            }
        }
    }
}
