//! Common table expressions that have to run just once: each is a step whose rows are read wherever
//! it is named, also in blocks that run at different places.
//!
//! One that shards can evaluate themselves, and do alike, stays where it is.
//!
//! *Exact because* PostgreSQL computes it once too, before what names it: one that is recursive or
//! volatile has the same rows wherever it is named (trap 20; `once.sql`, `recursive.sql`). *Does not
//! hold when* it names rows outside, or its values cannot be sent: then it stays where it is, and what
//! names it runs where it runs.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{Cte, Query, SelectItem, SetExpr, TableFactor, With};

use super::broadcast::{RUNS_ONCE, columns_can_move};
use super::steps::step_factor_with;
use super::{Planner, Result};
use crate::error::Error;
use crate::plan::from_item::{FromItem, Source};
use crate::plan::locality::factor_alias;
use crate::plan::naming::{self, folded, ident};
use crate::plan::{build, rewrite};

impl Planner<'_> {
    /// The query with the rows of steps in place of its common table expressions, if shards cannot
    /// evaluate one of them.
    pub(super) fn run_once(&mut self, mut query: Query) -> Result<Query> {
        let mut global = false;
        rewrite::queries(&query, |query| {
            global |= query.with.is_some() && self.locality().global_with(query).is_some();
        });
        if !global || !self.reads_sharded_beside(&query) {
            return Ok(query);
        }
        while let Some((cte, recursive)) = next_cte(&query, &self.tried) {
            let name = folded(&cte.alias.name);
            self.tried.insert(name.clone());
            if let Some(step) = self.cte_step(&name, &cte, recursive)? {
                remove_cte(&mut query, &name);
                self.read_instead(&mut query, &name, &step)?;
            }
        }
        Ok(query)
    }

    /// Whether a block that may name a common table expression reads sharded tables itself. Otherwise
    /// all that names one can run where it runs.
    fn reads_sharded_beside(&self, query: &Query) -> bool {
        let mut beside = query.clone();
        rewrite::each_query(&mut beside, |query| {
            if let Some(with) = &mut query.with {
                with.cte_tables.retain(|cte| self.names_another(cte));
            }
        });
        self.locality().reads_sharded(&beside)
    }

    /// Whether a common table expression names others.
    fn names_another(&self, cte: &Cte) -> bool {
        let own = [folded(&cte.alias.name)];
        rewrite::any_factor(&*cte.query, |factor| {
            let alias = factor_alias(factor).unwrap_or_default();
            let source = self.relations.get(&alias).map(|relation| &relation.source);
            matches!(source, Some(Source::Cte))
                && matches!(factor, TableFactor::Table { name, .. } if naming::parts(name) != own)
        })
    }

    /// The step with the rows of a common table expression; `None`: it cannot stand alone.
    fn cte_step(&mut self, name: &str, cte: &Cte, recursive: bool) -> Result<Option<String>> {
        // What SEARCH and CYCLE add are rows, which are not sent.
        if cte.from.is_some() {
            return Ok(None);
        }
        let query = match self.names_foreign_cte(&cte.query) {
            false => (*cte.query).clone(),
            // It may be itself that it names.
            true => {
                let Some(query) = self.read_from(name, cte, recursive) else {
                    return Ok(None);
                };
                query
            }
        };
        if self.locality().is_correlated(&query) || self.names_foreign_cte(&query) {
            return Ok(None);
        }
        let described = self.describe(&query)?;
        if !columns_can_move(&described)
            || self
                .collations(&query, &described)?
                .iter()
                .any(|told| told.is_err())
        {
            return Ok(None);
        }
        let index = self.plan_query(query.clone(), None, false)?;
        self.rests_on(index, [RUNS_ONCE.to_owned()]);
        Ok(Some(self.enter(index, described, query)?))
    }

    /// `WITH name AS (..) SELECT columns FROM name`.
    fn read_from(&mut self, name: &str, cte: &Cte, recursive: bool) -> Option<Query> {
        // All that name it know its columns.
        let mut columns = None;
        rewrite::factors(&*cte.query, |factor| {
            if columns.is_none() && names(factor, name) {
                let alias = factor_alias(factor).unwrap_or_default();
                let relation = self.relations.get(&alias);
                columns = relation.and_then(|relation| relation.columns.clone());
            }
        });
        let columns = columns?;
        let items = columns
            .iter()
            .map(|column| SelectItem::UnnamedExpr(naming::column(name, &column.name)))
            .collect();
        let relation = FromItem {
            source: Source::Cte,
            columns: Some(columns),
        };
        self.relations.insert(name.to_owned(), relation);
        let table = build::table(vec![ident(name)].into(), None);
        let select = build::select(items, vec![build::item(table)]);
        let mut query = build::query(SetExpr::Select(Box::new(select)));
        query.with = Some(With {
            with_token: AttachedToken::empty(),
            recursive,
            cte_tables: vec![cte.clone()],
        });
        Some(query)
    }

    /// Puts the rows of a step wherever a common table expression is named.
    fn read_instead(&mut self, query: &mut Query, name: &str, step: &str) -> Result<()> {
        let mut unknown = false;
        rewrite::each_factor(query, |factor| {
            if !names(factor, name) {
                return;
            }
            let alias = factor_alias(factor).unwrap_or_default();
            let Some(relation) = self.relations.get_mut(&alias) else {
                unknown = true;
                return;
            };
            relation.source = Source::Step;
            let columns = relation.columns.iter().flatten();
            let columns = columns.map(|column| ident(&column.name)).collect();
            *factor = step_factor_with(step, &alias, columns);
        });
        match unknown {
            // What it names would be read from a table of that name.
            true => Err(Error::fault(format!("{name} is named where nobody knows it")).into()),
            false => Ok(()),
        }
    }
}

/// The first common table expression that is not among those.
fn next_cte(query: &Query, tried: &HashSet<String>) -> Option<(Cte, bool)> {
    let mut found = None;
    rewrite::queries(query, |query| {
        let Some(with) = query.with.as_ref().filter(|_| found.is_none()) else {
            return;
        };
        let mut ctes = with.cte_tables.iter();
        let next = ctes.find(|cte| !tried.contains(&folded(&cte.alias.name)));
        found = next.map(|cte| (cte.clone(), with.recursive));
    });
    found
}

fn remove_cte(query: &mut Query, name: &str) {
    rewrite::each_query(query, |query| {
        if let Some(with) = &mut query.with {
            with.cte_tables
                .retain(|cte| folded(&cte.alias.name) != name);
        }
        if query
            .with
            .as_ref()
            .is_some_and(|with| with.cte_tables.is_empty())
        {
            query.with = None;
        }
    });
}

/// Whether an item of FROM is a common table expression of this name, which no other relation has.
fn names(factor: &TableFactor, name: &str) -> bool {
    matches!(factor, TableFactor::Table { name: named, args: None, .. }
        if naming::parts(named) == [name])
}
