//! One SQL statement in, many PostgreSQL databases that know nothing of each other, one Apache
//! Arrow table out.

mod error;
#[cfg(feature = "local")]
pub mod local;
mod stream;

pub use error::{Error, ErrorKind, Phase, Result};
pub use stream::QueryStream;

/// The `arrow` crate whose types this crate's API uses.
pub use arrow;
