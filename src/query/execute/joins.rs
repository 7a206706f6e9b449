//! How PostgreSQL joins the rows of earlier steps: not in nested loops where they are many.
//!
//! Of rows that are written into a statement PostgreSQL knows how many there are, and nothing else; of
//! those in a temporary table it knows the values too. But behind a GROUP BY or a condition it takes
//! either for one row, for which a nested loop is as good as any join; then hundreds come, each with a
//! loop over all rows of a table, or with an aggregation of its own. Hash and merge joins take time in
//! proportion to what they join, and where neither will do PostgreSQL takes a nested loop all the
//! same (`src/backend/optimizer/path/costsize.c`). It is only how the rows are found, and no answer
//! depends on it.

use super::{Execution, fault};
use crate::error::Result;
use crate::plan::{Place, Step};
use crate::relation::Relation;
use crate::scan::Prelude;

/// So few rows are better looked up by index in a large table than joined to all of it. More than these
/// are not, if each may also mean a pass over that table.
const FEW_ROWS: u64 = 100;

/// What is turned off: also compiling, which the cost that PostgreSQL gives to a nested loop that it
/// should not take would start.
const SETTINGS: [&str; 2] = ["enable_nestloop", "jit"];

/// Settings could be read by this name only: system views and functions that do are refused.
const READER: &str = "current_setting";

impl Execution<'_> {
    /// The settings that are turned off while a step runs: those that the user has not set.
    ///
    /// Only where one server has all rows. Shards join those of earlier steps to tables of their own,
    /// by index, and know these.
    pub(super) fn joins(&self, step: &Step) -> Vec<&'static str> {
        let relations = step
            .uses
            .iter()
            .filter_map(|used| self.relations.get(*used));
        let rows: u64 = relations.flatten().map(Relation::rows).sum();
        let is_on_shards = matches!(step.place, Place::Shards(_));
        let reads_settings = || step.sql.to_string().to_lowercase().contains(READER);
        if is_on_shards || rows <= FEW_ROWS || reads_settings() {
            return Vec::new();
        }
        let of_cluster = self.query.cluster.topology().session();
        let of_query = self.query.options.session.as_ref();
        let is_set = |name: &str| {
            let mut all = of_query.into_iter().chain([of_cluster]);
            all.any(|session| session.settings().contains_key(name))
        };
        let settings = SETTINGS.into_iter();
        settings.filter(|name| !is_set(name)).collect()
    }

    /// Turns settings off on the servers that run a step, in the same message as that.
    pub(super) fn set_joins_along(&mut self, index: usize, settings: &[&str]) {
        for server in self.route.runs(index) {
            if let Some(site) = self.sites.get_mut(server) {
                let off = settings.iter().map(|name| set_local(name, "off"));
                site.before.extend(off.map(Prelude::new));
            }
        }
    }

    /// Gives settings a value on the servers that run a step.
    pub(super) async fn set_joins(
        &mut self,
        index: usize,
        settings: &[&str],
        value: &str,
    ) -> Result<()> {
        if settings.is_empty() {
            return Ok(());
        }
        let statements = settings.iter().map(|name| set_local(name, value));
        let sql = statements.collect::<Vec<_>>().join("; ");
        for server in self.route.runs(index) {
            let site = self.sites.get_mut(server);
            let session = site.and_then(|site| site.session.as_mut());
            let session = session.ok_or_else(|| fault("a step has no session"))?;
            session.query(&sql).await?;
        }
        Ok(())
    }
}

fn set_local(name: &str, value: &str) -> String {
    format!("SET LOCAL {name} TO {value}")
}
