//! What a step reads, name by name, and whether its rows are those of a shard.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use datafusion::sql::sqlparser::ast::{
    JoinOperator, ObjectName, Query, Select, SetExpr, SetOperator, TableFactor, TableWithJoins,
    Values,
};

use super::blocks::declared;
use crate::catalog::RelationKind;
use crate::config::TableKind;
use crate::plan::naming::{folded, parts};
use crate::plan::{Question, calls, instant, rewrite, sql};

/// Views in views, as many as PostgreSQL would ever meet.
const MOST_VIEWS: usize = 200;

/// What a query reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Earlier steps, by index.
    pub(super) steps: BTreeSet<usize>,
    /// Sharded tables, by schema and name.
    pub(super) sharded: BTreeSet<String>,
    pub(super) replicated: BTreeSet<String>,
    /// Whether every row comes from a row of a sharded table, so that no two shards give the same one.
    pub(super) of_shard: bool,
}

impl Facts {
    /// Adds what a part of the query reads, whose rows are not the query's own.
    fn read(&mut self, part: Self) {
        self.steps.extend(part.steps);
        self.sharded.extend(part.sharded);
        self.replicated.extend(part.replicated);
    }

    fn joined(mut self, part: Self, of_shard: bool) -> Self {
        self.read(part);
        self.of_shard = of_shard;
        self
    }
}

/// What is wrong, as a clause.
type Result<T> = std::result::Result<T, String>;

/// Common table expressions in sight, the nearest last.
type Ctes = Vec<(String, Rc<Facts>)>;

pub(super) struct Reader<'a> {
    question: &'a Question<'a>,
    steps: HashMap<&'a str, usize>,
}

impl<'a> Reader<'a> {
    /// A reader of SQL that may name these steps.
    pub(super) fn new(question: &'a Question<'a>, steps: &[&'a str]) -> Self {
        let steps = steps.iter().enumerate();
        Self {
            question,
            steps: steps.map(|(index, name)| (*name, index)).collect(),
        }
    }

    /// What a step reads.
    pub(super) fn statement(&self, query: &Query) -> Result<Facts> {
        if instant::reads_clock(query) {
            return Err("it reads the clock, which goes on between the shards".to_owned());
        }
        let Question {
            topology, catalog, ..
        } = self.question;
        calls::check(query, None, &HashMap::new(), topology, catalog)
            .map_err(|error| format!("it calls what is not cleared: {}", error.message()))?;
        self.query(query, &Ctes::new(), 0)
    }

    fn query(&self, query: &Query, ctes: &Ctes, views: usize) -> Result<Facts> {
        let mut ctes = ctes.clone();
        let mut all = Facts::default();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let name = folded(&cte.alias.name);
                let mut inside = ctes.clone();
                if with.recursive {
                    // It has the rows that it begins with.
                    let itself = Facts {
                        of_shard: true,
                        ..Facts::default()
                    };
                    inside.push((name.clone(), Rc::new(itself)));
                }
                let facts = self.query(&cte.query, &inside, views)?;
                // One that nobody names does not run, but its names have to mean something.
                all.steps.extend(&facts.steps);
                ctes.push((name, Rc::new(facts)));
            }
        }
        let body = self.body(&query.body, &ctes, views)?;
        let of_shard = body.of_shard;
        all.read(body);
        // ORDER BY and LIMIT may hold queries too.
        for part in [
            self.expressions(&query.order_by, &ctes, views)?,
            self.expressions(&query.limit_clause, &ctes, views)?,
            self.expressions(&query.fetch, &ctes, views)?,
        ] {
            all.read(part);
        }
        all.of_shard = of_shard;
        Ok(all)
    }

    fn body(&self, body: &SetExpr, ctes: &Ctes, views: usize) -> Result<Facts> {
        match body {
            SetExpr::Select(select) => self.select(select, ctes, views),
            SetExpr::Query(query) => self.query(query, ctes, views),
            SetExpr::SetOperation {
                left, op, right, ..
            } => {
                let left = self.body(left, ctes, views)?;
                let right = self.body(right, ctes, views)?;
                let of_shard = match op {
                    SetOperator::Intersect => left.of_shard || right.of_shard,
                    SetOperator::Except | SetOperator::Minus => left.of_shard,
                    SetOperator::Union => left.of_shard && right.of_shard,
                };
                Ok(left.joined(right, of_shard))
            }
            SetExpr::Values(values) => self.values(values, ctes, views),
            _ => Err("it is no plain query".to_owned()),
        }
    }

    fn values(&self, values: &Values, ctes: &Ctes, views: usize) -> Result<Facts> {
        let mut facts = self.expressions(values, ctes, views)?;
        // None at all, which an arm that gives nothing has become, is nothing from every shard.
        facts.of_shard = values.rows.is_empty();
        Ok(facts)
    }

    fn select(&self, select: &Select, ctes: &Ctes, views: usize) -> Result<Facts> {
        let mut facts = Facts::default();
        for tree in &select.from {
            let tree = self.tree(tree, ctes, views)?;
            let of_shard = facts.of_shard || tree.of_shard;
            facts = facts.joined(tree, of_shard);
        }
        let of_shard = facts.of_shard;
        facts.read(self.expressions(select, ctes, views)?);
        facts.of_shard = of_shard;
        Ok(facts)
    }

    fn tree(&self, tree: &TableWithJoins, ctes: &Ctes, views: usize) -> Result<Facts> {
        let mut left = self.factor(&tree.relation, ctes, views)?;
        for join in &tree.joins {
            let right = self.factor(&join.relation, ctes, views)?;
            let of_shard = match &join.join_operator {
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => left.of_shard,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => right.of_shard,
                JoinOperator::FullOuter(_) => left.of_shard && right.of_shard,
                _ => left.of_shard || right.of_shard,
            };
            left = left.joined(right, of_shard);
        }
        Ok(left)
    }

    fn factor(&self, factor: &TableFactor, ctes: &Ctes, views: usize) -> Result<Facts> {
        match factor {
            TableFactor::Table {
                name, args: None, ..
            } => self.relation(name, ctes, views),
            TableFactor::Derived { subquery, .. } => self.query(subquery, ctes, views),
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => self.tree(table_with_joins, ctes, views),
            // Functions: their arguments are read with the expressions of the SELECT.
            TableFactor::Table { .. }
            | TableFactor::Function { .. }
            | TableFactor::TableFunction { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::XmlTable { .. } => Ok(Facts::default()),
            other => Err(format!("it has in FROM what is not known: {other}")),
        }
    }

    /// What the queries in expressions read.
    fn expressions<T>(&self, tree: &T, ctes: &Ctes, views: usize) -> Result<Facts>
    where
        T: datafusion::sql::sqlparser::ast::Visit,
    {
        let mut facts = Ok(Facts::default());
        rewrite::own_queries(tree, |_, query| {
            if let Ok(known) = &mut facts {
                match self.query(query, ctes, views) {
                    Ok(part) => known.read(part),
                    Err(what) => facts = Err(what),
                }
            }
        });
        facts
    }

    fn relation(&self, name: &ObjectName, ctes: &Ctes, views: usize) -> Result<Facts> {
        let mut facts = Facts::default();
        let (schema, name) = match &parts(name)[..] {
            [name] => {
                if let Some((_, cte)) = ctes.iter().rev().find(|(cte, _)| cte == name) {
                    return Ok(Facts::clone(cte));
                }
                if let Some(step) = self.steps.get(name.as_str()) {
                    facts.steps.insert(*step);
                    return Ok(facts);
                }
                (None, name.clone())
            }
            [schema, name] => (Some(schema.clone()), name.clone()),
            _ => return Err(format!("it reads {name}, which is in another database")),
        };
        let catalog = self.question.catalog;
        let Some(found) = catalog.relation(schema.as_deref(), &name) else {
            return Err(format!("it reads {name}, of which nothing is known"));
        };
        let whole = format!("{}.{}", found.schema, found.name);
        match (declared(found, self.question), &found.kind) {
            (Some(TableKind::Sharded { .. }), _) => {
                facts.sharded.insert(whole);
                facts.of_shard = true;
                Ok(facts)
            }
            (Some(TableKind::Replicated), _) => {
                facts.replicated.insert(whole);
                Ok(facts)
            }
            (None, RelationKind::View { definition }) if views < MOST_VIEWS => {
                let text = definition.trim().trim_end_matches(';');
                let query = sql::parse(text)
                    .map_err(|error| format!("the view {whole} cannot be read: {error}"))?;
                self.query(&query, &Ctes::new(), views + 1)
            }
            (None, _) => Err(format!(
                "it reads {whole}, which is no table of the topology"
            )),
        }
    }
}
