//! A query to come: what to run, and how.

#[cfg(feature = "datafusion")]
mod analysis;
#[cfg(feature = "datafusion")]
mod answer;
mod cancel;
mod deadline;
mod distinct;
#[cfg(feature = "datafusion")]
mod execute;
mod fan_out;
mod fence;
#[cfg(feature = "datafusion")]
mod finish;
mod options;
#[cfg(feature = "datafusion")]
mod partitions;
#[cfg(feature = "datafusion")]
mod parts;
#[cfg(feature = "datafusion")]
mod planned;
#[cfg(feature = "datafusion")]
mod planning;
mod settle;
#[cfg(feature = "datafusion")]
mod verify;

#[cfg(feature = "datafusion")]
pub use self::analysis::Analysis;
pub use self::cancel::CancelHandle;
pub use self::fan_out::FanOut;
pub use self::options::DEFAULT_MEMORY;
#[cfg(feature = "datafusion")]
pub use self::partitions::{
    Lease, PartialMerge, PartialPartitions, Partition, PartitionOptions, PartitionRead, Partitions,
};
#[cfg(feature = "datafusion")]
pub(crate) use self::parts::Parts;
#[cfg(feature = "datafusion")]
pub use self::planned::Query;
use self::settle::settle;
#[cfg(feature = "datafusion")]
pub use self::verify::{Verified, Verifier};
