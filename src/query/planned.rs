//! Queries that are planned: the SQL as if one PostgreSQL held all rows.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::analysis::no_plan;
use super::execute::{Held, about_made_sql, renamed, schema_of};
use super::{Planning, Query};
use crate::cluster::Cluster;
use crate::error::{Error, Result, SqlOrigin};
use crate::finish::{DEFAULT_FINISH_BYTES, DEFAULT_FINISH_ROWS};
use crate::merge::{self, ReaggregateOptions};
use crate::plan::{self, Answers, Merge, MergeMode, Need, Plan, Planned, Question, Surroundings};
use crate::scan::{self, Reading};
use crate::statement::Statement;
use crate::types::{Column, TypeOptions};

impl Query {
    pub(crate) fn planned(cluster: Cluster, sql: String) -> Self {
        Self {
            planning: Some(Planning {
                merge: MergeMode::default(),
                finish_rows: DEFAULT_FINISH_ROWS,
                finish_bytes: DEFAULT_FINISH_BYTES,
                decimals: true,
            }),
            ..Self::new(cluster, sql)
        }
    }

    /// Which merge a planned query may take; without effect on a fan-out.
    pub fn with_merge(mut self, merge: MergeMode) -> Self {
        if let Some(planning) = &mut self.planning {
            planning.merge = merge;
        }
        self
    }

    /// The most rows that a planned query may hand from one of its steps to another server, all
    /// steps together; [`DEFAULT_FINISH_ROWS`] unless set. More are an error of kind
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit). Without effect on a fan-out.
    pub fn with_finish_rows(mut self, rows: u64) -> Self {
        if let Some(planning) = &mut self.planning {
            planning.finish_rows = rows;
        }
        self
    }

    /// The most bytes of SQL text that these rows may become; [`DEFAULT_FINISH_BYTES`] unless set.
    /// PostgreSQL takes no text of 1 GiB or more. Without effect on a fan-out.
    ///
    /// # Memory
    /// About three times as many bytes are held here, and some more on the server.
    pub fn with_finish_bytes(mut self, bytes: u64) -> Self {
        if let Some(planning) = &mut self.planning {
            planning.finish_bytes = bytes;
        }
        self
    }

    /// How the query would run, without running it. One shard is asked for its columns, and what
    /// else only a server knows.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), before the first row; [`ErrorKind::Config`](crate::ErrorKind::Config) for a fan-out, which
    /// has no plan.
    pub async fn plan(self) -> Result<Plan> {
        self.deadline()
            .within(async {
                let planning = self.planning.ok_or_else(no_plan)?;
                let (plan, held) = self.make_plan(planning).await?;
                held.session.finish().await;
                Ok(plan)
            })
            .await
    }

    /// The plan as [`plan`](Self::plan) gives it, and with it how DataFusion plans its merges: EXPLAIN.
    /// One shard is asked for the types of what is merged, too.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub async fn explain(self) -> Result<Plan> {
        self.deadline()
            .within(async {
                let planning = self.planning.ok_or_else(no_plan)?;
                let (mut plan, mut held) = self.make_plan(planning).await?;
                plan.surroundings.merges = self.merge_plans(&plan, &mut held).await?;
                held.session.finish().await;
                Ok(plan)
            })
            .await
    }

    /// DataFusion's plans, by step. A step that reads the rows of others cannot be described without
    /// them, and has none.
    async fn merge_plans(&self, plan: &Plan, held: &mut Held) -> Result<BTreeMap<String, String>> {
        let mut plans = BTreeMap::new();
        for step in plan.steps.iter().filter(|step| step.uses.is_empty()) {
            let Merge::Aggregate { sql, columns } = &step.merge else {
                continue;
            };
            let is_last = plan.steps.last().is_some_and(|last| last.name == step.name);
            let reading = Reading::Aggregate(match is_last {
                true => self.types,
                false => Reading::LOSSLESS,
            });
            let statement = Statement::parse(&step.sql.to_string())?;
            let described = scan::describe(&mut held.session, &statement, SqlOrigin::Made, reading)
                .await
                .map_err(about_made_sql)?;
            let schema = schema_of(&renamed(described.columns, columns)?);
            let options = ReaggregateOptions::new(self.memory);
            let text = merge::explain(schema, sql, &options).await?;
            plans.insert(step.name.clone(), text);
        }
        Ok(plans)
    }

    /// The schema of the answer.
    pub(super) async fn planned_schema(&self, planning: Planning) -> Result<SchemaRef> {
        let (plan, held) = self.make_plan(planning).await?;
        held.session.finish().await;
        let fields: Vec<_> = plan.columns.iter().map(Column::to_field).collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The plan, and the session of the shard that answered what had to be known for it.
    pub(super) async fn make_plan(&self, planning: Planning) -> Result<(Plan, Held)> {
        let statement = Statement::parse(&self.sql)?;
        // Before a session is held: it takes one of each shard.
        let catalog = self.cluster.catalog().await?;
        let shard = self.cluster.next_shard();
        let mut held = Held {
            shard,
            session: self.cluster.session(shard).await?,
        };
        // PostgreSQL's own errors, with their places in the text, come from here.
        let reading = Reading::Options(self.types);
        let description =
            scan::describe(&mut held.session, &statement, SqlOrigin::User, reading).await?;
        let sql = scan::with_values(&statement, &description, &self.parameters)?;
        let mut answers = Answers {
            known: self.cluster.described(),
            ..Answers::default()
        };
        let mut asked = HashSet::new();
        loop {
            let question = Question {
                sql: &sql,
                topology: self.cluster.topology(),
                catalog: &catalog,
                merge: planning.merge,
                decimals: planning.decimals,
                types: &self.types,
                columns: &description.columns,
                answers: &answers,
            };
            let need = match plan::plan(&question)? {
                Planned::Plan(mut plan) => {
                    plan.surroundings = Surroundings::new(
                        self.cluster.topology(),
                        planning.finish_rows,
                        planning.finish_bytes,
                    );
                    return Ok((plan, held));
                }
                Planned::Need(need) => need,
            };
            if !asked.insert(need.clone()) {
                return Err(Error::fault(format!(
                    "planning asks the same a second time: {need:?}"
                )));
            }
            self.answer(need, &mut held, &mut answers).await?;
        }
    }

    async fn answer(&self, need: Need, held: &mut Held, answers: &mut Answers) -> Result<()> {
        match need {
            Need::Describe(sql) => {
                let statement = Statement::parse(&sql)?;
                let reading = Reading::Options(TypeOptions::default());
                let described =
                    scan::describe(&mut held.session, &statement, SqlOrigin::Made, reading)
                        .await
                        .map_err(about_made_sql)?;
                self.cluster
                    .remember_described(sql.clone(), described.columns.clone());
                answers.described.insert(sql, described.columns);
            }
            // Not remembered beyond this query: the next one's now() is another.
            Need::Evaluate(sql) => {
                let rows = held.session.query(&sql).await.map_err(about_made_sql)?;
                answers.evaluated.insert(sql, rows);
            }
        }
        Ok(())
    }
}
