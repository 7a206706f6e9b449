//! Common table expressions: put in place where they are named, unless they have to run just once.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::rc::Rc;

use datafusion::sql::sqlparser::ast::{
    Cte, Expr, Ident, ObjectName, ObjectNamePart, Query, SetExpr, TableFactor, visit_relations,
};

use super::table::derived;
use super::{Binder, Output};
use crate::catalog::RelationKind;
use crate::error::Result;
use crate::plan::from_item::{FromColumn, Source};
use crate::plan::naming::{folded, ident, parts, table_alias};
use crate::plan::{functions, locality, refused, rewrite, sql};

/// A common table expression that can be named.
pub(super) struct CteEntry {
    pub(super) name: String,
    /// Put in place where it is named; `None`: stays where it is.
    pub(super) query: Option<Query>,
    pub(super) columns: Vec<Ident>,
    /// What it can name itself.
    pub(super) ctes: Vec<Rc<CteEntry>>,
    pub(super) scopes: usize,
    /// Of one that stays.
    pub(super) output: Option<Vec<FromColumn>>,
    /// The name of one that stays, which no other has.
    pub(super) unique: String,
}

impl Binder<'_> {
    /// Enters common table expressions that would run so many times; returns those that stay.
    pub(super) fn with(
        &mut self,
        recursive: bool,
        ctes: Vec<Cte>,
        runs: &[usize],
    ) -> Result<Vec<Cte>> {
        let mut kept = Vec::new();
        let names: Vec<_> = ctes.iter().map(|cte| folded(&cte.alias.name)).collect();
        for (index, mut cte) in ctes.into_iter().enumerate() {
            let name = folded(&cte.alias.name);
            let added = added_columns(&name, &cte)?;
            let later = match recursive {
                true => &names[index..],
                false => &[],
            };
            let columns: Vec<_> = cte.alias.columns.iter().map(|c| c.name.clone()).collect();
            let names_itself = mentions(&mut cte.query, later);
            let often = runs.get(index).is_some_and(|runs| *runs > 1);
            let once = self.through_views(&cte.query, &|query| self.must_run_once(query))
                || often
                    && self.through_views(&cte.query, &|query| {
                        locality::depends_on_ties(query, self.catalog)
                    });
            if runs.get(index) == Some(&0) && self.catalog.has_columns_that_differ() {
                // Nobody names it, but a server reads it.
                self.aside(&mut cte.query.clone())?;
            }
            if !names_itself && !once {
                self.ctes.push(Rc::new(CteEntry {
                    name,
                    query: Some(*cte.query),
                    columns,
                    ctes: self.ctes.clone(),
                    scopes: self.scopes.len(),
                    output: None,
                    unique: String::new(),
                }));
                continue;
            }
            if later.len() > 1 && mentions(&mut cte.query, &later[1..]) {
                return Err(refused(
                    format!("the common table expression {name:?} names one that comes after it"),
                    "put the common table expressions in the order in which they build on each other",
                ));
            }
            let unique = self.cte_name(&name);
            // A recursive one sees itself with the columns of its first part.
            let mut output = Self::renamed(None, &columns);
            if names_itself && output.is_none() {
                let mut first = (*cte.query).clone();
                if let SetExpr::SetOperation { left, .. } = *first.body {
                    first.body = left;
                    first.order_by = None;
                    first.limit_clause = None;
                    output = self.aside(&mut first)?;
                }
            }
            let entry = |output: Output, ctes: &[Rc<CteEntry>], scopes| {
                Rc::new(CteEntry {
                    name: name.clone(),
                    query: None,
                    columns: columns.clone(),
                    ctes: ctes.to_vec(),
                    scopes,
                    output,
                    unique: unique.clone(),
                })
            };
            let depth = self.ctes.len();
            if names_itself {
                let before = entry(output, &self.ctes, self.scopes.len());
                self.ctes.push(before);
            }
            let output = self.query(&mut cte.query)?;
            self.ctes.truncate(depth);
            let mut output = Self::renamed(output, &columns);
            if let Some(output) = &mut output {
                // Rows, and what says that they repeat: PostgreSQL's to type.
                let added = added.into_iter().map(|name| FromColumn {
                    name,
                    ..FromColumn::unknown()
                });
                output.extend(added);
            }
            let after = entry(output, &self.ctes, self.scopes.len());
            self.ctes.push(after);
            cte.alias.name = ident(&unique);
            kept.push(cte);
        }
        Ok(kept)
    }

    /// Binds a query that is no part of the statement.
    fn aside(&mut self, query: &mut Query) -> Result<Output> {
        let (relations, kept) = (self.relations.clone(), self.kept.clone());
        let (named, rows) = (self.named.clone(), self.rows.clone());
        let numbers = self.numbers.clone();
        let output = self.query(query)?;
        (self.relations, self.kept) = (relations, kept);
        (self.named, self.rows) = (named, rows);
        self.numbers = numbers;
        Ok(output)
    }

    /// Whether something is true of a query, or of a view that it reads.
    fn through_views(&self, query: &Query, f: &dyn Fn(&Query) -> bool) -> bool {
        let mut seen = HashSet::new();
        let mut pending = vec![query.clone()];
        while let Some(query) = pending.pop() {
            if f(&query) {
                return true;
            }
            let _ = visit_relations(&query, |name| {
                let mut parts = parts(name);
                let table = parts.pop().unwrap_or_default();
                if let Some(found) = self.catalog.relation(parts.last().map(|s| &**s), &table)
                    && let RelationKind::View { definition } = &found.kind
                    && seen.insert((found.schema.clone(), found.name.clone()))
                {
                    // One that cannot be read is refused where it is put in place.
                    let text = definition.trim().trim_end_matches(';');
                    pending.extend(sql::parse(text));
                }
                ControlFlow::<()>::Continue(())
            });
        }
        false
    }

    /// Whether it matters how often a query runs: each run may give something else.
    fn must_run_once(&self, query: &Query) -> bool {
        functions::is_volatile(query, self.catalog)
            || matches!(
                &*query.body,
                SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
            )
    }

    pub(super) fn cte(
        &mut self,
        cte: &Rc<CteEntry>,
        factor: &mut TableFactor,
        called: &str,
    ) -> Result<()> {
        let TableFactor::Table { alias, name, .. } = factor else {
            return Ok(());
        };
        let renamed: Vec<Ident> = alias
            .iter()
            .flat_map(|alias| alias.columns.iter().map(|c| c.name.clone()))
            .collect();
        let Some(query) = &cte.query else {
            let output = Self::renamed(cte.output.clone(), &renamed);
            let unique = self.add(called, None, output, Source::Cte);
            *name = ObjectName(vec![ObjectNamePart::Identifier(ident(&cte.unique))]);
            let mut with_columns = alias.clone().unwrap_or_else(|| table_alias(&unique));
            with_columns.name = ident(&unique);
            *alias = Some(with_columns);
            return Ok(());
        };
        self.count_expansion()?;
        let mut query = query.clone();
        let ctes = std::mem::replace(&mut self.ctes, cte.ctes.clone());
        let own = self.scopes.split_off(cte.scopes.min(self.scopes.len()));
        let output = self.query(&mut query);
        self.scopes.extend(own);
        self.ctes = ctes;
        let output = output?;
        let mut columns = cte.columns.clone();
        for (index, name) in renamed.into_iter().enumerate() {
            match columns.get_mut(index) {
                Some(column) => *column = name,
                None => {
                    // The alias names more columns than the expression does.
                    let known = output.as_ref().map_or(&[][..], |output| output);
                    while columns.len() < index {
                        let Some(own) = known.get(columns.len()) else {
                            break;
                        };
                        columns.push(ident(&own.name));
                    }
                    columns.push(name);
                }
            }
        }
        let output = Self::renamed(output, &columns);
        let unique = self.add(called, None, output, Source::Derived);
        *factor = derived(query, &unique, columns);
        Ok(())
    }
}

/// How many times each common table expression would run if it stood wherever it is named.
pub(super) fn runs(ctes: &[Cte], query: &Query) -> Vec<usize> {
    let places: HashMap<_, _> = ctes
        .iter()
        .enumerate()
        .map(|(index, cte)| (folded(&cte.alias.name), index))
        .collect();
    let mut runs = vec![0_usize; ctes.len()];
    let count = |query: &Query, times: usize, before: usize, runs: &mut [usize]| {
        let _ = visit_relations(query, |relation| {
            if let [name] = &parts(relation)[..]
                && let Some(index) = places.get(name).filter(|index| **index < before)
                && let Some(runs) = runs.get_mut(*index)
            {
                *runs = runs.saturating_add(times).min(1_000_000);
            }
            ControlFlow::<()>::Continue(())
        });
    };
    count(query, 1, ctes.len(), &mut runs);
    for (index, cte) in ctes.iter().enumerate().rev() {
        // All that name it come after it.
        let times = runs[index];
        count(&cte.query, times, index, &mut runs);
    }
    runs
}

/// The columns that SEARCH and CYCLE add behind those of a common table expression, which names itself. It
/// sees them itself, but not as part of `*` (`addRangeTableEntryForCTE` in
/// `src/backend/parser/parse_relation.c`).
fn added_columns(name: &str, cte: &Cte) -> Result<Vec<String>> {
    let Some(from) = &cte.from else {
        return Ok(Vec::new());
    };
    let of = |what: &str, hint: &str| {
        let what = format!("SEARCH or CYCLE of the common table expression {name:?}, {what}");
        Err(refused(what, hint))
    };
    let Some(added) = sql::added_columns(from) else {
        return of(
            "whose mark is a literal with a type",
            "cast in the query that reads it: CYCLE .. SET c TO 'Y' DEFAULT 'N', and there c::text",
        );
    };
    let is_added = |name: &Ident| added.contains(&folded(name));
    let names_one = rewrite::any(&*cte.query, |expr| match expr {
        Expr::Identifier(name) => is_added(name),
        Expr::CompoundIdentifier(names) => names.last().is_some_and(is_added),
        _ => false,
    });
    match names_one {
        true => of(
            "which names a column that they add",
            "name the column in the query that reads the common table expression",
        ),
        false => Ok(added),
    }
}

/// Whether a query names one of these tables, anywhere inside.
fn mentions(query: &mut Query, names: &[String]) -> bool {
    !names.is_empty()
        && visit_relations(query, |name| match parts(name) {
            parts if parts.len() == 1 && names.contains(&parts[0]) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
        .is_break()
}
