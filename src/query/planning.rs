//! What a planned query asks for, and its planning: catalogs, the server's own description, and the
//! plan, which is made on a thread of its own and answered what it asks meanwhile.

use std::pin::pin;
use std::sync::Arc;

use futures::FutureExt;

use super::deadline::Deadline;
use super::options::Options;
use crate::catalog::Catalog;
use crate::cluster::Cluster;
use crate::config::FinishRelations;
use crate::connect::{Opening, Session};
use crate::error::{Error, ErrorKind, Phase, Result, SqlOrigin};
use crate::plan::{
    self, Answer, Answers, Arm, Merge, MergeMode, Need, Place, Plan, Question, Surroundings,
};
use crate::relation::{DEFAULT_FINISH_BYTES, DEFAULT_FINISH_ROWS, DEFAULT_TEMPORARY_BYTES};
use crate::scan::{self, Description, Reading};
use crate::statement::Statement;
use crate::types::{Column, TypeOptions};

/// How a query is planned.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlanOptions {
    pub(super) merge: MergeMode,
    pub(super) system_catalogs: bool,
    pub(super) finish_rows: u64,
    /// `None`: what is usual for each form of relations.
    pub(super) finish_bytes: Option<u64>,
    /// `None`: as the topology has it.
    pub(super) relations: Option<FinishRelations>,
    /// Whether merges may hold numbers as Arrow's decimals.
    pub(super) decimals: bool,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            merge: MergeMode::default(),
            system_catalogs: false,
            finish_rows: DEFAULT_FINISH_ROWS,
            finish_bytes: None,
            relations: None,
            decimals: true,
        }
    }
}

impl PlanOptions {
    /// The most bytes that relations may take as SQL text.
    pub(super) fn text_bytes(&self) -> u64 {
        self.finish_bytes.unwrap_or(DEFAULT_FINISH_BYTES)
    }

    /// The most bytes that relations may take as temporary tables.
    pub(super) fn table_bytes(&self) -> u64 {
        self.finish_bytes.unwrap_or(DEFAULT_TEMPORARY_BYTES)
    }
}

/// A planned query with all that was set.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) cluster: Cluster,
    pub(super) sql: String,
    pub(super) planning: PlanOptions,
    pub(super) options: Options,
}

/// The session in which a query was planned.
pub(super) struct Held {
    pub(super) shard: usize,
    pub(super) session: Session,
    /// What the shards have in common, and the server that finishes has to take from them.
    pub(super) common: Vec<(String, String)>,
    /// The shards and the server that finishes side by side, where the plan needs that server.
    pub(super) finish: Option<Arc<Catalog>>,
}

impl Request {
    pub(super) fn opening(&self) -> Result<Opening> {
        self.cluster.opening(self.options.session.as_ref())
    }

    /// What the server that finishes is set to, so that it computes as the shards do: all that they
    /// were compared on, but for what this query sets itself.
    fn common(&self, catalog: &Catalog) -> Vec<(String, String)> {
        let own = self.options.session.as_ref();
        let is_own = |name: &str| own.is_some_and(|own| own.settings().contains_key(name));
        let common = catalog.conditions().common().iter();
        common.filter(|(name, _)| !is_own(name)).cloned().collect()
    }

    /// The plan, and the session of the shard that answered what had to be known for it.
    pub(super) async fn plan(
        &self,
        planning: PlanOptions,
        deadline: &Deadline,
    ) -> Result<(Plan, Held)> {
        // A long text takes its time already to be taken apart.
        let text = self.sql.clone();
        let statement = plan::on_deep_stack(move || Statement::parse(&text));
        let statement = deadline.during(Phase::Plan, NOT_PLANNED, statement).await?;
        // Before a session is held: it takes one of each shard.
        let opening = self.opening()?;
        let catalog = deadline
            .during(
                Phase::Plan,
                "the catalogs of the shards were not read by then",
                self.catalog(&opening),
            )
            .await?;
        let describing = opening.describing(statement.text());
        let (shard, session) = self.any_session(&describing, deadline).await?;
        let name = self.cluster.pools().name(shard);
        let mut held = Held {
            shard,
            session,
            common: self.common(&catalog),
            finish: None,
        };
        // PostgreSQL's own errors, with their places in the text, come from here.
        let reading = Reading::Options(self.options.types);
        let description = scan::describe(&mut held.session, &statement, SqlOrigin::User, reading);
        let work = Work {
            description: deadline
                .during(Phase::Describe, &unanswered(name), description)
                .await
                .map_err(|error| catalog.suggest(error))?,
            statement,
            parameters: self.options.parameters.clone(),
            cluster: self.cluster.clone(),
            opening: opening.clone(),
            catalog: catalog.clone(),
            planning,
            types: self.options.types,
        };
        let (plan, described) = asked(work, &mut held, deadline)
            .boxed()
            .await
            .map_err(|error| self.options.about_values(error))?;
        self.cluster.remember_described(&opening, described);
        if plan.steps.iter().any(|step| step.place == Place::Finish) {
            let finish = self.finish_catalog(&opening, &held.common, &catalog);
            held.finish = deadline
                .during(
                    Phase::Finish,
                    "the server that finishes was not compared with the shards by then",
                    finish,
                )
                .await?;
        }
        if let Some(both) = &held.finish {
            plan::finish_is_alike(&plan, both)?;
        }
        if self.options.missing.is_some() {
            check_final(&plan)?;
        }
        Ok((plan, held))
    }

    /// A session to go on with, as far as a plan has got by itself.
    pub(super) async fn hold(
        &self,
        common: Vec<(String, String)>,
        finish: Option<Arc<Catalog>>,
        deadline: &Deadline,
    ) -> Result<Held> {
        let (shard, session) = self.any_session(&self.opening()?, deadline).await?;
        Ok(Held {
            shard,
            session,
            common,
            finish,
        })
    }

    async fn catalog(&self, opening: &Opening) -> Result<Arc<Catalog>> {
        match &self.options.missing {
            None => self.cluster.catalog(opening).await,
            Some(missing) => {
                missing.begin(self.cluster.pools().len());
                self.cluster.catalog_without(opening, missing).await
            }
        }
    }

    /// A session of the shard whose turn it is, or of the next one that is not missing.
    async fn any_session(
        &self,
        opening: &Opening,
        deadline: &Deadline,
    ) -> Result<(usize, Session)> {
        let missing = self.options.missing.as_ref();
        loop {
            let shard = self.cluster.next_shard();
            let name = self.cluster.pools().name(shard);
            // One at least is not missing.
            if missing.is_some_and(|missing| missing.has(name)) {
                continue;
            }
            let late = format!("{name:?} had no connection for it by then");
            let session = self.cluster.session_with(shard, opening);
            match deadline.during(Phase::Connect, &late, session).await {
                Ok(session) => return Ok((shard, session)),
                Err(error) => self.options.go_without(error)?,
            }
        }
    }
}

/// Only rows that are final on each shard are an answer without some of the shards.
fn check_final(plan: &Plan) -> Result<()> {
    let is_final = matches!(plan.arm, Arm::Single | Arm::Union | Arm::Ordered);
    // The first rows of some shards are not the first of all.
    let is_whole = plan.steps.iter().all(|step| match step.merge {
        Merge::Ordered { skip, fetch, .. } => skip == 0 && fetch.is_none(),
        Merge::Concatenate { skip, .. } => skip == 0,
        Merge::Aggregate { .. } => false,
    });
    if is_final && is_whole && plan.steps.len() == 1 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        "refused: rows of several shards become one here, so shards may not be missing",
    )
    .with_phase(Phase::Plan)
    .with_hint(
        "ask for the rows themselves, or leave out --allow-missing-shards (with_missing_shards); \
         `merganser explain` shows what the query does",
    ))
}

const NOT_PLANNED: &str = "its planning did not end, and nothing has run";

fn unanswered(shard: &str) -> String {
    format!("{shard:?} did not tell by then what planning had to know")
}

/// What planning, which takes place on a thread of its own, has to know.
struct Work {
    statement: Statement,
    description: Description,
    parameters: Vec<Option<String>>,
    cluster: Cluster,
    opening: Opening,
    catalog: Arc<Catalog>,
    planning: PlanOptions,
    types: TypeOptions,
}

/// Columns of statements.
type Described = Vec<(String, Vec<Column>)>;

impl Work {
    /// The plan, and what had to be described for it.
    fn run(self, ask: impl FnMut(&Need) -> Result<Answer> + 'static) -> Result<(Plan, Described)> {
        let sql = scan::with_values(&self.statement, &self.description, &self.parameters)?;
        let answers = Answers::new(self.cluster.described(&self.opening), ask);
        let topology = self.cluster.topology();
        let question = Question {
            sql: &sql,
            topology,
            catalog: &self.catalog,
            merge: self.planning.merge,
            system_catalogs: self.planning.system_catalogs,
            decimals: self.planning.decimals,
            types: &self.types,
            columns: &self.description.columns,
            answers: &answers,
        };
        let mut plan = plan::plan(&question)?;
        let planning = self.planning;
        let relations = planning.relations.unwrap_or(topology.finish_relations());
        plan.surroundings = Surroundings::new(topology)
            .with_text(planning.finish_rows, planning.text_bytes())
            .with_relations(relations, planning.table_bytes());
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
            let described = scan::describe(&mut held.session, &statement, SqlOrigin::Made, reading)
                .await
                .map_err(about_made_sql)?;
            Ok(Answer::Columns(described.columns))
        }
        Need::Evaluate(sql) => {
            let rows = held.session.query(&sql).await.map_err(about_made_sql)?;
            Ok(Answer::Rows(rows))
        }
        Need::Shards { rule, sql } => {
            let rows = held.session.query(&sql).await;
            let rows = rows.map_err(|error| plan::about_rule(&rule, error))?;
            Ok(Answer::Rows(rows))
        }
    }
}

/// PostgreSQL has accepted the user's statement by then: where it does not accept what became of it
/// (SQLSTATE class 42), or cannot run it (0A), that is no fault of the user's. Whatever hint the
/// server has is about SQL that the user did not write.
///
/// Missing rights (42501) are the user's to mend, and what data raises is the query's own: class 22, and of
/// these, once rows are read, `('no' || k)::regclass` (42P01, 42704) and NaN as an integer (0A000).
pub(super) fn about_made_sql(error: Error) -> Error {
    let error = error.with_sql_origin(SqlOrigin::Made);
    let code = error.sql_state().unwrap_or_default();
    let is_ours = match error.phase() {
        Some(Phase::Describe) => {
            code != "42501" && (code.starts_with("42") || code.starts_with("0A"))
        }
        _ => NEVER_OF_DATA.contains(&code),
    };
    match is_ours {
        true => error
            .with_kind(ErrorKind::Internal)
            .replace_hint(MADE_SQL.to_owned()),
        false => error,
    }
}

/// Errors of the text alone: of syntax, an ambiguous name, grouping and types that do not fit.
const NEVER_OF_DATA: [&str; 4] = ["42601", "42702", "42803", "42804"];

const MADE_SQL: &str = "this is about SQL that merganser made of yours, not about your text: unless the databases have \
     changed since the query was planned, it is a fault of merganser. Please report it with the query \
     and what `merganser explain` says of it; --merge gather (MergeMode::Gather) may answer meanwhile";
