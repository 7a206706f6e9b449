//! In which form the rows of a step are handed to later ones.

use super::{Merge, Place, Plan, Step};
use crate::config::FinishRelations;

/// The most columns of a table (`MaxHeapAttributeNumber`).
const MOST_COLUMNS: usize = 1600;

impl Plan {
    /// Whether the rows of a step become a temporary table of the server that finishes, and no SQL text:
    /// where that is wanted, and all steps that read them run there.
    ///
    /// A server cannot send rows and take them at the same time in its one session. Where it runs the
    /// step too, it puts its own rows into the table by itself, which it can if they are all wanted as
    /// they are; or they are aggregated here, which ends before the first row comes of it.
    pub(crate) fn is_temporary(&self, index: usize) -> bool {
        let around = &self.surroundings;
        let Some(step) = self.steps.get(index) else {
            return false;
        };
        let finishes = |step: &Step| step.place == Place::Finish;
        let mut users = self.users(index).peekable();
        let runs_there = match step.place {
            Place::Finish => true,
            Place::Shards(_) | Place::AnyShard => !around.own_finish,
        };
        let is_whole = step.merge.is_all() || matches!(step.merge, Merge::Aggregate { .. });
        around.relations == FinishRelations::Temporary
            && (1..=MOST_COLUMNS).contains(&step.columns.len())
            && users.peek().is_some()
            && users.all(finishes)
            && (is_whole || !runs_there)
    }

    /// The steps that read the rows of this one.
    pub(super) fn users(&self, index: usize) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(move |step| step.uses.contains(&index))
    }
}
