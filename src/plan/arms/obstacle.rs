//! What judging an arm gives: what building needs, or why the arm is not taken.
//!
//! `judge_..` asks and changes nothing of the planner; `build_..` takes what was found, makes the
//! steps, and fails for nothing but a fault of ours. So an arm that is not taken leaves no traces.

use crate::error::Error;
use crate::plan::Stop;

/// What building an arm needs; `Err`: why it is not taken.
pub(super) type Judged<T> = std::result::Result<T, Obstacle>;

/// Why an arm is not taken.
pub(super) enum Obstacle {
    /// It would not be exact, or cannot be built: what the user may want to know.
    Reason(String),
    /// It is an arm for other blocks.
    Unfit(&'static str),
    /// Nothing can be planned.
    Stop(Stop),
}

impl From<&str> for Obstacle {
    fn from(reason: &str) -> Self {
        Self::Reason(reason.to_owned())
    }
}

impl From<String> for Obstacle {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

impl From<Stop> for Obstacle {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<Error> for Obstacle {
    fn from(error: Error) -> Self {
        Self::Stop(error.into())
    }
}
