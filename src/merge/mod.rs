//! Many shard streams become one stream.
//!
//! ```text
//! shard 0 --task--> [queue, bounded in bytes] --.
//! shard 1 --task--> [queue, bounded in bytes] ---+--> union --> one stream, as they come or in order
//! shard 2 --task--> [queue, bounded in bytes] --'
//!
//! shard 0..n, each sorted --> ordered, limit --> one stream
//!
//! shard 0..n --> table `shards` --> reaggregate(SQL) --> one stream
//! ```
//!
//! Nothing here knows of sockets: a source is any [`QueryStream`]. A failing shard is a failing
//! merge: the first error in time ends everything, because the rows of the other shards alone are
//! not an answer.

#[cfg(feature = "datafusion")]
mod aggregate;
mod concatenate;
#[cfg(feature = "datafusion")]
mod limit;
#[cfg(feature = "datafusion")]
mod ordered;
#[cfg(test)]
mod scripted;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

#[cfg(feature = "datafusion")]
pub(crate) use aggregate::{
    ReaggregateOptions, best_order, checked_sum, explain, finished, is_checked_sum, physical,
    reaggregate,
};
pub(crate) use concatenate::union;
#[cfg(feature = "datafusion")]
pub(crate) use limit::{Rest, limit};
#[cfg(feature = "datafusion")]
pub(crate) use ordered::{Comparison, ordered};

use crate::error::{Error, ErrorKind, Phase, Result};
use crate::stream::QueryStream;

/// In which order the rows of the shards follow each other, where the statement leaves it open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Order {
    /// All rows of the first shard, then all rows of the second, and so on in the order of the
    /// topology. The same answers of the shards give the same table each time. Shards whose turn has
    /// not come read ahead within the memory of the query, and wait when that is full.
    Shard,
    /// Batches as they arrive, the rows of a shard in its order. No shard waits for another, and the
    /// order differs from run to run.
    #[default]
    FirstCome,
}

/// Reads all streams at the same time, and gives their batches.
///
/// # Errors
/// The first error of any stream, in time, and streams whose schemas differ.
///
/// # Cancel safety
/// Dropping the future drops all streams, and the rows read until then.
///
/// # Memory
/// Holds the whole result.
pub(crate) async fn collect(streams: Vec<QueryStream>, order: Order) -> Result<Vec<RecordBatch>> {
    // Whoever holds the whole result anyway gains nothing from a bound on the queues, and without
    // one no shard waits for the shards before it.
    union(streams, order, usize::MAX)?.collect().await
}

/// Checks that the shards agree on names, types, nullability and metadata. The description of the
/// query says the same earlier and with more detail: this guards against a change in between.
fn same_schema(streams: &[QueryStream]) -> Result<()> {
    let Some((first, others)) = streams.split_first() else {
        return Err(
            Error::new(ErrorKind::Config, "there is no shard to read from")
                .with_phase(Phase::Merge),
        );
    };
    let expected = first.schema();
    for (index, stream) in others.iter().enumerate() {
        let found = stream.schema();
        if found != expected {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the shards answer with different columns: {}",
                    difference(&expected, &found, index + 2)
                ),
            )
            .with_phase(Phase::Merge)
            .with_hint("give the columns the same names and types on all shards, or cast them in the query"));
        }
    }
    Ok(())
}

/// Says where two schemas part; `number` counts the shards from 1.
fn difference(first: &Schema, other: &Schema, number: usize) -> String {
    if first.fields().len() != other.fields().len() {
        return format!(
            "shard 1 has {} columns, shard {number} has {}",
            first.fields().len(),
            other.fields().len()
        );
    }
    let columns = first.fields().iter().zip(other.fields());
    match columns.enumerate().find(|(_, (a, b))| a != b) {
        Some((index, (a, b))) if a.name() == b.name() && a.data_type() == b.data_type() => format!(
            "column {} {:?} has nullable {} and metadata {:?} on shard 1, nullable {} and metadata {:?} on shard {number}",
            index + 1,
            a.name(),
            a.is_nullable(),
            a.metadata(),
            b.is_nullable(),
            b.metadata()
        ),
        Some((index, (a, b))) => format!(
            "column {} is {:?} {} on shard 1, {:?} {} on shard {number}",
            index + 1,
            a.name(),
            a.data_type(),
            b.name(),
            b.data_type()
        ),
        None => format!(
            "the metadata of the schema is {:?} on shard 1, {:?} on shard {number}",
            first.metadata(),
            other.metadata()
        ),
    }
}
