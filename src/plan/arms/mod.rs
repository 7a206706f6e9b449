//! From a bound statement to steps.
//!
//! ```text
//! plan_query ── local ──> one step: Single, Union, Ordered
//!     └─ else: run what has to run once, broadcast what is global inside sharded
//!            blocks, then lower (blocks):
//!            each block becomes a block over the rows of steps
//!              combine: partial aggregates     rows: the block's own rows     gather: filtered tables
//!            and what remains is the finish step
//! ```
//!
//! Each arm is judged, and then built (see [`obstacle`]); its file begins with its claim, *exact
//! because ..; does not hold when ..*. The traps that claims name are listed in
//! `testdata/traps.md`, and have cases in `testdata/oracle` (`-- trap 8`).

mod blocks;
mod broadcast;
mod collation;
mod combine;
mod exists;
mod filters;
mod gather;
mod limit;
mod literals;
mod local;
mod lookup;
mod obstacle;
mod once;
mod outer;
mod repeated;
mod rows;
mod steps;

use std::collections::{HashMap, HashSet};

use datafusion::sql::sqlparser::ast::{Query, Select, TableFactor};

use self::collation::has_other_collations;
use self::limit::take_limit;
use self::obstacle::{Judged, Obstacle};
use self::outer::has_outer_aggregate;
use self::steps::step_factor;
use super::argument::{Argument, Judgement, Premises, add, beginning};
use super::bind::Bound;
use super::from_item::{FromItem, Source};
use super::locality::{Distribution, Locality, factor_alias};
use super::names::Names;
use super::naming;
use super::rewrite;
use super::route::Router;
use super::{
    Arm, Merge, MergeMode, Place, Question, Sql, Step, StepColumn, Stop, build, functions, refused,
    thread,
};
use crate::config::Finish;

type Result<T> = std::result::Result<T, Stop>;

/// What lowering has made.
pub(super) struct Lowered {
    pub(super) steps: Vec<Step>,
    pub(super) arm: Arm,
    pub(super) float_order: bool,
    pub(super) reasons: Vec<String>,
    pub(super) decimals: bool,
    pub(super) argument: Argument,
}

/// Turns a statement into steps.
///
/// `text` is the statement as it can be sent verbatim, if that is the same.
pub(super) fn lower(question: &Question<'_>, bound: Bound, text: Option<&str>) -> Result<Lowered> {
    let Bound {
        mut query,
        relations,
    } = bound;
    naming::name_subqueries(&mut query);
    let needed = Names::of(&query);
    // Views bring names of their own.
    let prefix = prefix(&format!("{} {query}", question.sql));
    let outer_aggregate = has_outer_aggregate(&query, &relations, question);
    let other_collations = has_other_collations(&query, &relations, question.catalog);
    let mut planner = Planner {
        question,
        relations,
        needed,
        prefix,
        other_collations,
        reuses: !functions::is_volatile(&query, question.catalog),
        // Which block such an aggregate belongs to, only PostgreSQL knows.
        merge: match outer_aggregate {
            true => MergeMode::Gather,
            false => question.merge,
        },
        steps: Vec::new(),
        stubs: HashMap::new(),
        arm: Arm::Single,
        float_order: false,
        reasons: Vec::new(),
        argument: Argument::default(),
        decimals: false,
        key_types: HashMap::new(),
        joined: 0,
        outer: Vec::new(),
        tried: HashSet::new(),
        lowered: HashMap::new(),
        forms: HashMap::new(),
    };
    planner.statement(query, text)?;
    Ok(Lowered {
        steps: planner.steps,
        arm: planner.arm,
        float_order: planner.float_order,
        reasons: planner.reasons,
        decimals: planner.decimals,
        argument: planner.argument,
    })
}

struct Planner<'a> {
    question: &'a Question<'a>,
    relations: HashMap<String, FromItem>,
    needed: Names,
    prefix: String,
    merge: MergeMode,
    steps: Vec<Step>,
    /// Queries with the columns of steps that other steps read.
    stubs: HashMap<String, Query>,
    arm: Arm,
    float_order: bool,
    reasons: Vec<String>,
    /// Of the steps, and of the arms that were judged.
    argument: Argument,
    /// Whether a step may stand for an equal one: not if it might give other rows a second time.
    reuses: bool,
    /// Whether a merge holds numbers as decimals.
    decimals: bool,
    /// Of steps with partial aggregates, by name: the types of their keys, as far as values are the same
    /// wherever they are equal.
    key_types: HashMap<String, Vec<Option<String>>>,
    /// How many subqueries have become joins.
    joined: usize,
    /// The SELECTs around what is lowered whose WHERE its rows are for.
    outer: Vec<Select>,
    /// The common table expressions for which a step was tried.
    tried: HashSet<String>,
    /// Whether any text may have another collation than the default.
    other_collations: bool,
    /// What has become of the subqueries that were lowered: those that are written twice are lowered once.
    lowered: HashMap<Query, Query>,
    /// What the SQL of steps says.
    forms: HashMap<Sql, String>,
}

impl Planner<'_> {
    fn locality(&self) -> Locality<'_> {
        Locality {
            relations: &self.relations,
            catalog: self.question.catalog,
            premises: None,
        }
    }

    fn statement(&mut self, mut query: Query, text: Option<&str>) -> Result<()> {
        let verbatim = |query: &Query| match text {
            Some(text) => Sql::verbatim(text),
            None => Sql::of(query),
        };
        if !self.locality().reads_sharded(&query) {
            self.judged(&query, SINGLE, None);
            let index = self.push(
                verbatim(&query),
                Vec::new(),
                Place::AnyShard,
                Merge::all(),
                Vec::new(),
            );
            self.rests_on(index, [NO_SHARDED.to_owned()]);
            return Ok(());
        }
        let router = self.router();
        let (pinned, told_by) = (router.of(&query)?, router.told_by());
        if let Some(shards) = &pinned
            && let [shard] = shards.iter().copied().collect::<Vec<_>>()[..]
            && self.merge == MergeMode::Auto
        {
            self.judged(&query, SINGLE, None);
            let index = self.push(
                verbatim(&query),
                Vec::new(),
                Place::Shards(vec![shard]),
                Merge::all(),
                Vec::new(),
            );
            self.rests_on(
                index,
                [format!(
                    "conditions pin the keys of all sharded tables to one shard: no other has rows of \
                     them that meet {told_by}"
                )],
            );
            return Ok(());
        }
        self.judged(
            &query,
            SINGLE,
            Some(match (self.merge, pinned) {
                (MergeMode::Gather, _) => GATHERED,
                (_, Some(_)) => "conditions pin the shard keys to several shards, or to none",
                (_, None) => "no condition pins all shard keys",
            }),
        );
        if self.merge == MergeMode::Auto {
            self.ask_for_one_row(&mut query);
        }
        self.plan_query(query, text, true)?;
        Ok(())
    }

    /// Plans a query whose rows are the answer, or those of a relation; returns its last step.
    fn plan_query(&mut self, query: Query, text: Option<&str>, top: bool) -> Result<usize> {
        thread::check()?;
        let gather = self.merge == MergeMode::Gather;
        let steps = self.steps.len();
        let query = match gather {
            true => query,
            false => {
                let query = self.run_once(query)?;
                self.broadcast(query)?
            }
        };
        let columns = match top {
            true => Vec::new(),
            false => self.step_columns(&query)?,
        };
        if !self.locality().reads_sharded(&query) {
            let uses = self.uses(&query);
            let sql = Sql::of(&query);
            let index = self.push(sql, uses, Place::AnyShard, Merge::all(), columns);
            self.rests_on(index, [NO_SHARDED.to_owned()]);
            return Ok(index);
        }
        if !gather {
            let text = text.filter(|_| self.steps.len() == steps);
            let judged = self.judge_local(&query, text);
            if let Some(found) = self.unless_obstacle(&query, LOCAL, judged)? {
                return Ok(self.build_local(found, columns));
            }
            // The answer may come from DataFusion alone.
            if top && !self.is_whole(&query) {
                let judged = self.judge_combine(&query);
                if let Some(mut found) = self.unless_obstacle(&query, COMBINE, judged)? {
                    if let Some(merge) = found.answer.take() {
                        return Ok(self.build_answer(found, merge));
                    }
                    let block = self.build_combine(&query, found)?;
                    let finished = self.lower_beside_aggregates(block)?;
                    return self.finish(finished, columns);
                }
            }
        }
        let finished = self.lower_query(query, false, top)?;
        self.finish(finished, columns)
    }

    /// What judging an arm of a block has found; `None`: there is an obstacle, which is noted.
    fn unless_obstacle<T>(
        &mut self,
        block: &Query,
        arm: &'static str,
        judged: Judged<T>,
    ) -> Result<Option<T>> {
        match judged {
            Ok(found) => {
                self.judged(block, arm, None);
                Ok(Some(found))
            }
            Err(Obstacle::Reason(reason)) => {
                self.judged(block, arm, Some(&reason));
                self.note(reason);
                Ok(None)
            }
            Err(Obstacle::Unfit(reason)) => {
                self.judged(block, arm, Some(reason));
                Ok(None)
            }
            Err(Obstacle::Stop(stop)) => Err(stop),
        }
    }

    /// Notes what was found of an arm for a block.
    fn judged(&mut self, block: &Query, arm: &'static str, obstacle: Option<&str>) {
        let judgement = Judgement {
            block: beginning(block),
            arm,
            obstacle: obstacle.map(str::to_owned),
        };
        // The same arm may be judged for the statement, and again for its outermost block.
        let mut last = self.argument.judged.iter().rev().take(SHOWN_AGAIN);
        if !last.any(|known| *known == judgement) {
            self.argument.judged.push(judgement);
        }
    }

    /// Notes what a step rests on.
    fn rests_on(&mut self, step: usize, premises: impl IntoIterator<Item = String>) {
        let known = &mut self.argument.premises;
        known.resize(known.len().max(self.steps.len()), Vec::new());
        if let Some(known) = known.get_mut(step) {
            premises.into_iter().for_each(|premise| add(known, premise));
        }
    }

    /// Whether the shards can answer but for the order and the limit.
    fn is_whole(&self, query: &Query) -> bool {
        let mut unlimited = query.clone();
        take_limit(&mut unlimited);
        !matches!(
            self.unlimited_distribution(&unlimited, &Premises::default()),
            Distribution::Global(_)
        )
    }

    /// The last step of a query that shards cannot answer alone.
    fn finish(&mut self, mut query: Query, columns: Vec<StepColumn>) -> Result<usize> {
        // A sharded table that is left would be read on one shard only.
        if let Some(alias) = self.locality().sharded_tables(&query).first() {
            return Err(refused(
                format!("the sharded table {alias} stands where it cannot be replaced by its rows"),
                build::FAN_OUT_HINT,
            )
            .into());
        }
        match self.question.topology.finish() {
            Finish::Off => {
                let reason = self.reasons.first().map(|reason| format!(": {reason}"));
                return Err(refused(
                    format!(
                        "the query needs a last step in PostgreSQL, which the topology turns off{}",
                        reason.unwrap_or_default()
                    ),
                    "set [finish] mode = \"on\", or name a server for it with [finish] url",
                )
                .into());
            }
            Finish::Server(_) => self.bring_replicated(&mut query)?,
            Finish::AnyShard => {}
        }
        self.name_repeated(&mut query);
        let uses = self.uses(&query);
        let index = self.push(Sql::of(&query), uses, Place::Finish, Merge::all(), columns);
        self.rests_on(index, [READS_STEPS.to_owned()]);
        Ok(index)
    }

    /// A server that finishes but is no shard has no tables: replicated ones are brought too.
    fn bring_replicated(&mut self, query: &mut Query) -> Result<()> {
        let mut aliases = Vec::new();
        // SQL of ours has aliases of its own inside, for what is no table.
        let is_table =
            |factor: &TableFactor| matches!(factor, TableFactor::Table { args: None, .. });
        rewrite::factors(query, |factor| {
            aliases.extend(factor_alias(factor).filter(|_| is_table(factor)));
        });
        for alias in aliases {
            let Some(Source::Table(base)) = self.relations.get(&alias).map(|r| r.source.clone())
            else {
                continue;
            };
            let name = self.table_step(&alias, &base, Vec::new(), Place::AnyShard, false)?;
            rewrite::each_factor(query, |factor| {
                if is_table(factor) && factor_alias(factor).as_deref() == Some(&*alias) {
                    *factor = step_factor(&name, Some(&alias));
                }
            });
        }
        Ok(())
    }

    fn router(&self) -> Router<'_> {
        let shards = self.question.topology.shards().len();
        let question = &self.question;
        Router::new(&self.relations, shards, question.catalog, question.answers)
    }

    fn all_shards(&self) -> Vec<usize> {
        (0..self.question.topology.shards().len()).collect()
    }

    /// The shards that may have rows that a query needs.
    fn shards_for(&self, query: &Query, premises: &Premises) -> Result<Vec<usize>> {
        let router = self.router();
        Ok(match router.of(query)? {
            Some(shards) => {
                premises.hold(format!(
                    "conditions pin the keys of all sharded tables: other shards have no rows of them \
                     that meet {}",
                    router.told_by()
                ));
                shards.into_iter().collect()
            }
            None => self.all_shards(),
        })
    }

    fn note(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn at_least(&mut self, arm: Arm) {
        self.arm = self.arm.max(arm);
    }
}

/// What arms are called where it is told how they were judged.
const SINGLE: &str = "single";
const LOCAL: &str = "union or ordered";
const COMBINE: &str = "combine";
const ROWS: &str = "rows";
const GATHER: &str = "gather";

/// Among so many judgements, none is told twice.
const SHOWN_AGAIN: usize = 8;

const NO_SHARDED: &str =
    "it reads no sharded table: any shard has all rows of what it reads, or is handed them";
const READS_STEPS: &str =
    "all that it reads is whole there: rows of earlier steps, and replicated tables";
const GATHERED: &str = "rows are gathered, as was asked for, or as only PostgreSQL knows to which \
                        block an aggregate belongs";

/// What begins the names of steps and of their columns: no name of the statement does.
fn prefix(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut prefix = "m".to_owned();
    let clashes = |prefix: &str| {
        ["", "k", "a", "d", "c", "s", "j", "w"].iter().any(|kind| {
            let start = match *kind {
                "" => prefix.to_owned(),
                kind => format!("{prefix}{kind}"),
            };
            lower.match_indices(&start).any(|(at, _)| {
                let before = lower[..at].chars().next_back();
                let after = lower[at + start.len()..].chars().next();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                    && after.is_some_and(|c| c.is_ascii_digit())
            })
        })
    };
    while clashes(&prefix) {
        prefix.push('m');
    }
    prefix
}
