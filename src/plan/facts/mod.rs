//! What decides exactness and is PostgreSQL's to say, once each: of types, aggregates and functions.
//!
//! Planner and checker argue from the same facts, and a fact that is wrong deceives both. So the tests
//! here hold the tables against a server.
//!
//! | of what | a new one needs | what has no row |
//! |---|---|---|
//! | [`types`] | a row | is gathered and compared by PostgreSQL: right, and slow |
//! | [`aggregates`] | a row; and a rule in [`aggregate`](super::aggregate) if it splits in a way of its own | is not split, and its rows are read in one order |
//! | [`functions`] | a name on a list | is refused, unless it is IMMUTABLE |

pub(super) mod aggregates;
pub(super) mod functions;
pub(super) mod types;
