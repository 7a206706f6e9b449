//! Queries that are planned: the SQL as if one PostgreSQL held all rows.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use futures::FutureExt;

use super::analysis::no_plan;
use super::deadline::Deadline;
use super::execute::{Held, about_made_sql, renamed, schema_of};
use super::{Planning, Query};
use crate::catalog::Catalog;
use crate::cluster::Cluster;
use crate::error::{Phase, Result};
use crate::finish::{DEFAULT_FINISH_BYTES, DEFAULT_FINISH_ROWS};
use crate::merge::{self, ReaggregateOptions};
use crate::plan::{self, Answer, Answers, Merge, MergeMode, Need, Plan, Question, Surroundings};
use crate::scan::{self, Description, Reading};
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
        let deadline = self.deadline();
        deadline
            .within(async {
                let planning = self.planning.ok_or_else(no_plan)?;
                let (plan, held) = self.make_plan(planning, &deadline).await?;
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
        let deadline = self.deadline();
        deadline
            .within(async {
                let planning = self.planning.ok_or_else(no_plan)?;
                let (mut plan, mut held) = self.make_plan(planning, &deadline).await?;
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
            let described = scan::describe(&mut held.session, &statement, reading)
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
    pub(super) async fn planned_schema(
        &self,
        planning: Planning,
        deadline: &Deadline,
    ) -> Result<SchemaRef> {
        let (plan, held) = self.make_plan(planning, deadline).await?;
        held.session.finish().await;
        let fields: Vec<_> = plan.columns.iter().map(Column::to_field).collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The plan, and the session of the shard that answered what had to be known for it.
    pub(super) async fn make_plan(
        &self,
        planning: Planning,
        deadline: &Deadline,
    ) -> Result<(Plan, Held)> {
        // A long text takes its time already to be taken apart.
        let text = self.sql.clone();
        let statement = plan::on_deep_stack(move || Statement::parse(&text));
        let statement = deadline.during(Phase::Plan, NOT_PLANNED, statement).await?;
        // Before a session is held: it takes one of each shard.
        let catalog = deadline
            .during(
                Phase::Plan,
                "the catalogs of the shards were not read by then",
                self.cluster.catalog(),
            )
            .await?;
        let shard = self.cluster.next_shard();
        let name = self.cluster.pools().name(shard);
        let session = self.cluster.session(shard);
        let mut held = Held {
            shard,
            session: deadline
                .during(
                    Phase::Connect,
                    &format!("{name:?} had no connection for it by then"),
                    session,
                )
                .await?,
        };
        // PostgreSQL's own errors, with their places in the text, come from here.
        let reading = Reading::Options(self.types);
        let description = scan::describe(&mut held.session, &statement, reading);
        let work = Work {
            description: deadline
                .during(Phase::Describe, &unanswered(name), description)
                .await?,
            statement,
            parameters: self.parameters.clone(),
            cluster: self.cluster.clone(),
            catalog,
            planning,
            types: self.types,
        };
        let (plan, described) = asked(work, &mut held, deadline).boxed().await?;
        self.cluster.remember_described(described);
        Ok((plan, held))
    }
}

const NOT_PLANNED: &str = "its planning did not end, and nothing has run";

fn unanswered(shard: &str) -> String {
    format!("{shard:?} did not tell by then what planning had to know")
}

/// Planning, which takes place on a thread of its own.
struct Work {
    statement: Statement,
    description: Description,
    parameters: Vec<Option<String>>,
    cluster: Cluster,
    catalog: Arc<Catalog>,
    planning: Planning,
    types: TypeOptions,
}

/// Columns of statements.
type Described = Vec<(String, Vec<Column>)>;

impl Work {
    /// The plan, and what had to be described for it.
    fn run(self, ask: impl FnMut(&Need) -> Result<Answer> + 'static) -> Result<(Plan, Described)> {
        let sql = scan::with_values(&self.statement, &self.description, &self.parameters)?;
        let answers = Answers::new(self.cluster.described(), ask);
        let topology = self.cluster.topology();
        let question = Question {
            sql: &sql,
            topology,
            catalog: &self.catalog,
            merge: self.planning.merge,
            decimals: self.planning.decimals,
            types: &self.types,
            columns: &self.description.columns,
            answers: &answers,
        };
        let mut plan = plan::plan(&question)?;
        plan.surroundings = Surroundings::new(
            topology,
            self.planning.finish_rows,
            self.planning.finish_bytes,
        );
        Ok((plan, answers.into_described()))
    }
}

/// Has the thread do its work, and answers what it asks meanwhile.
async fn asked(work: Work, held: &mut Held, deadline: &Deadline) -> Result<(Plan, Described)> {
    let name = work.cluster.pools().name(held.shard).clone();
    let (ask, mut needs) = tokio::sync::mpsc::unbounded_channel();
    let (answer, answers) = std::sync::mpsc::channel();
    let planned = plan::on_deep_stack(move || {
        work.run(move |need| {
            // Either side hangs up when nobody waits for the plan.
            ask.send(need.clone()).map_err(|_| plan::abandoned())?;
            answers.recv().map_err(|_| plan::abandoned())
        })
    });
    let mut planned = pin!(deadline.during(Phase::Plan, NOT_PLANNED, planned));
    loop {
        let need = tokio::select! {
            plan = &mut planned => return plan,
            Some(need) = needs.recv() => need,
        };
        let found = answered(need, held);
        let found = deadline
            .during(Phase::Describe, &unanswered(&name), found)
            .await?;
        // Without a receiver, the plan is there or has failed.
        let _ = answer.send(found);
    }
}

async fn answered(need: Need, held: &mut Held) -> Result<Answer> {
    match need {
        Need::Describe(sql) => {
            let statement = Statement::parse(&sql)?;
            let reading = Reading::Options(TypeOptions::default());
            let described = scan::describe(&mut held.session, &statement, reading)
                .await
                .map_err(about_made_sql)?;
            Ok(Answer::Columns(described.columns))
        }
        Need::Evaluate(sql) => Ok(Answer::Rows(held.session.query(&sql).await?)),
    }
}
