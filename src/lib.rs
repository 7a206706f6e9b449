//! One SQL statement in, many PostgreSQL databases that know nothing of each other, one Apache
//! Arrow table out.

mod error;
pub mod export;
mod stream;
#[doc(hidden)]
pub mod text;

pub use error::{Error, ErrorKind, Phase, Result};
pub use stream::QueryStream;

/// The `arrow` crate whose types this crate's API uses.
pub use arrow;
