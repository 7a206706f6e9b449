//! One SQL statement in, many PostgreSQL databases that know nothing of each other, one Apache
//! Arrow table out.

pub mod config;
pub mod decode;
mod error;
pub mod export;
pub mod inspect;
#[cfg(feature = "local")]
pub mod local;
mod stream;
#[doc(hidden)]
pub mod text;
pub mod types;

pub use config::Topology;
pub use error::{Error, ErrorKind, Phase, Result};
pub use stream::QueryStream;

/// The `arrow` crate whose types this crate's API uses.
pub use arrow;
