//! What a planned query has done: its plan, with figures.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::plan::{Plan, seconds};
use crate::progress::{ScanProgress, StepProgress};

/// The plan of a query that runs or has run, and how many rows and bytes each step moved, in which
/// time. Clones see the same query.
///
/// [`Display`](fmt::Display) is the plan's text with these figures, as they are at that moment.
#[derive(Debug, Clone)]
pub struct Analysis {
    pub(super) plan: Arc<Plan>,
    pub(super) planning: Duration,
    pub(super) progress: ScanProgress,
}

impl Analysis {
    /// How the query runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The time until the plan was there; the first query of a cluster reads the catalogs in it.
    pub fn planning(&self) -> Duration {
        self.planning
    }

    /// What each step has done so far, in the order of the plan.
    pub fn steps(&self) -> Vec<StepProgress> {
        self.progress.steps()
    }

    /// The text of [`Display`](fmt::Display), with what [`Plan::verbose`] has besides.
    pub fn verbose(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = self.write(&mut text, true);
        text
    }

    fn write(&self, out: &mut impl fmt::Write, verbose: bool) -> fmt::Result {
        out.write_str(&self.plan.describe(Some(&self.steps()), verbose))?;
        writeln!(out, "\nPlanned in {}", seconds(self.planning))
    }

    /// The JSON object of [`Plan::to_json`], where every element of `steps` has `analysis`: `rows`,
    /// `handed_bytes` and `seconds` as [`StepProgress`] has them, and `shards`, each with `shard`,
    /// `rows`, `bytes` and `seconds`.
    pub fn to_json(&self) -> String {
        self.plan.json(Some(&self.steps()))
    }
}

impl fmt::Display for Analysis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}
