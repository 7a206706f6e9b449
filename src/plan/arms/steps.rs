//! Steps, and their rows as relations that queries read.

use std::collections::{BTreeSet, HashMap};

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Ident, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr,
    TableAliasColumnDef, TableFactor, Value, Values,
};

use super::{Planner, Result};
use crate::plan::facts::types;
use crate::plan::form::form;
use crate::plan::from_item::{Base, FromColumn, FromItem, Source};
use crate::plan::naming::{self, ident};
use crate::plan::{Merge, Place, Sql, Step, StepColumn, build, rewrite, sql};
use crate::types::Column;

impl Planner<'_> {
    /// Enters a step; one that says the same is used again, unless the statement is volatile.
    pub(super) fn push(
        &mut self,
        sql: Sql,
        uses: Vec<usize>,
        place: Place,
        merge: Merge,
        columns: Vec<StepColumn>,
    ) -> usize {
        if self.reuses && !columns.is_empty() {
            let alike =
                |step: &Step| step.place == place && step.merge == merge && step.columns == columns;
            let wanted = says(&mut self.forms, &sql);
            let known = self.steps.iter().position(|step| {
                alike(step) && (step.sql == sql || says(&mut self.forms, &step.sql) == wanted)
            });
            if let Some(index) = known {
                return index;
            }
        }
        self.steps.push(Step {
            name: format!("{}{}", self.prefix, self.steps.len() + 1),
            sql,
            uses,
            place,
            merge,
            columns,
        });
        self.steps.len() - 1
    }

    /// The earlier steps that a query reads.
    pub(super) fn uses(&self, query: &Query) -> Vec<usize> {
        let mut found = BTreeSet::new();
        rewrite::factors(query, |factor| {
            if let TableFactor::Table { name, .. } = factor
                && let [name] = &naming::parts(name)[..]
                && let Some(index) = self.steps.iter().position(|step| step.name == *name)
            {
                found.insert(index);
            }
        });
        found.into_iter().collect()
    }

    /// Makes a step known as a relation; returns its alias.
    pub(super) fn enter(
        &mut self,
        index: usize,
        columns: Vec<Column>,
        query: Query,
    ) -> Result<String> {
        let name = self.steps[index].name.clone();
        let known = self.steps[index].columns.iter().zip(&columns);
        let columns = known
            .map(|(column, described)| {
                Ok(FromColumn {
                    name: column.name.clone(),
                    type_name: Some(described.pg_type.name().to_owned()),
                    declared: None,
                    collation: self.collation_of(column)?,
                })
            })
            .collect::<Result<_>>()?;
        let relation = FromItem {
            source: Source::Step,
            columns: Some(columns),
        };
        self.relations.insert(name.clone(), relation);
        self.stubs.insert(name.clone(), query);
        Ok(name)
    }

    /// `SELECT columns FROM step`.
    pub(super) fn read_step(&self, index: usize, name: &str) -> Query {
        let items = self.steps[index]
            .columns
            .iter()
            .map(|column| SelectItem::UnnamedExpr(naming::column(name, &column.name)))
            .collect();
        let from = build::item(step_factor(&self.steps[index].name, None));
        build::query(SetExpr::Select(Box::new(build::select(items, vec![from]))))
    }

    pub(super) fn step_column(
        &self,
        kind: &str,
        number: usize,
        collation: Option<String>,
    ) -> StepColumn {
        StepColumn {
            name: format!("{}{kind}{number}", self.prefix),
            collation,
        }
    }

    /// A step with the rows of a table; returns its name.
    pub(super) fn table_step(
        &mut self,
        alias: &str,
        base: &Base,
        filters: Vec<Expr>,
        place: Place,
        once: bool,
    ) -> Result<String> {
        let relation = self.relations.get(alias).cloned();
        let columns: Vec<_> = relation
            .and_then(|relation| relation.columns)
            .unwrap_or_default()
            .into_iter()
            .collect();
        let all: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
        let mut used: Vec<_> = columns
            .into_iter()
            .filter(|column| self.needed.is_needed(alias, &column.name))
            .collect();
        let mut items: Vec<_> = used
            .iter()
            .map(|column| SelectItem::UnnamedExpr(naming::column(alias, &column.name)))
            .collect();
        // Equal rows may differ in what is asked of them later.
        let once = once && used.iter().all(|column| self.is_identified_column(column));
        let mut step_columns: Vec<_> = used
            .drain(..)
            .map(|column| StepColumn {
                name: column.name,
                collation: column.collation.and_then(|c| c.sql),
            })
            .collect();
        if items.is_empty() {
            // How many rows there are still counts.
            let column = self.step_column("c", 1, None);
            items.push(SelectItem::ExprWithAlias {
                expr: Expr::value(Value::Boolean(true)),
                alias: ident(&column.name),
            });
            step_columns.push(column);
        }
        let mut with_columns = naming::table_alias(alias);
        // The names may be those that the statement gives to the columns.
        with_columns.columns = all
            .iter()
            .map(|name| TableAliasColumnDef {
                name: ident(name),
                data_type: None,
            })
            .collect();
        if !self.is_renamed(alias) {
            with_columns.columns.clear();
        }
        let from = build::item(build::table(base.object_name(), Some(with_columns)));
        let mut select = build::select(items, vec![from]);
        select.selection = rewrite::all_of(filters);
        if once {
            select.distinct = Some(Distinct::Distinct);
        }
        let query = build::query(SetExpr::Select(Box::new(select)));
        let uses = self.uses(&query);
        let index = self.push(Sql::of(&query), uses, place, Merge::all(), step_columns);
        Ok(self.steps[index].name.clone())
    }

    /// Whether the statement gives names of its own to a table's columns.
    pub(super) fn is_renamed(&self, alias: &str) -> bool {
        let Some(relation) = self.relations.get(alias) else {
            return false;
        };
        let Source::Table(base) = &relation.source else {
            return false;
        };
        let (schema, name) = &base.name;
        let Some(facts) = self.question.catalog.relation(Some(schema), name) else {
            return false;
        };
        let own = relation.columns.iter().flatten().map(|c| &c.name);
        !own.eq(facts.columns.iter().map(|c| &c.name))
    }

    /// Asks for the columns of a query, which may read steps.
    pub(super) fn describe(&self, query: &Query) -> Result<Vec<Column>> {
        self.question.answers.described(self.with_stubs(query))
    }

    /// A query that may read steps as one that a server can be asked about: the queries of the steps
    /// stand in front of it.
    pub(super) fn with_stubs(&self, query: &Query) -> String {
        let mut sql = Sql::of(query);
        let mut steps = BTreeSet::new();
        self.stubs_for(query, &mut steps);
        let stubs: Vec<_> = steps
            .into_iter()
            .filter_map(|index| self.steps.get(index))
            .filter_map(|step| {
                let names: Vec<_> = step
                    .columns
                    .iter()
                    .map(|c| ident(&c.name).to_string())
                    .collect();
                let stub = self.stubs.get(&step.name)?;
                Some(format!("{} ({}) AS ({stub})", step.name, names.join(", ")))
            })
            .collect();
        sql.with.splice(0..0, stubs);
        sql.to_string()
    }

    /// The steps that a query reads, and those that the queries behind them read.
    fn stubs_for(&self, query: &Query, found: &mut BTreeSet<usize>) {
        for index in self.uses(query) {
            let stub = self
                .steps
                .get(index)
                .and_then(|step| self.stubs.get(&step.name));
            if found.insert(index)
                && let Some(stub) = stub
            {
                self.stubs_for(stub, found);
            }
        }
    }
}

/// What a text says; no other text says it where an alias may mean something else.
fn says(forms: &mut HashMap<Sql, String>, sql: &Sql) -> String {
    let form_of = |sql: &Sql| {
        let text = sql.to_string();
        let query = sql::parse_made(&text).ok();
        query.and_then(form).unwrap_or(text)
    };
    let known = forms.entry(sql.clone());
    known.or_insert_with_key(form_of).clone()
}

/// Whether values of a column can be handed to another server.
pub(super) fn can_be_sent(column: &Column) -> bool {
    types::can_be_sent(column.pg_type.name())
}

/// The rows of a step, in FROM.
pub(super) fn step_factor(step: &str, alias: Option<&str>) -> TableFactor {
    let alias = alias
        .filter(|alias| *alias != step)
        .map(naming::table_alias);
    build::table(
        ObjectName(vec![ObjectNamePart::Identifier(ident(step))]),
        alias,
    )
}

pub(super) fn step_factor_with(step: &str, alias: &str, columns: Vec<Ident>) -> TableFactor {
    let mut table_alias = naming::table_alias(alias);
    table_alias.columns = columns
        .into_iter()
        .map(|name| TableAliasColumnDef {
            name,
            data_type: None,
        })
        .collect();
    build::table(
        ObjectName(vec![ObjectNamePart::Identifier(ident(step))]),
        Some(table_alias),
    )
}

pub(super) fn no_values() -> Values {
    Values {
        explicit_row: false,
        value_keyword: false,
        rows: Vec::new(),
    }
}
