//! Names: what every table and column of a statement stands for.
//!
//! Binding rewrites the statement so that later stages need no scopes: every relation has an alias
//! that no other relation of the statement has, every column is written `alias.column`, views and
//! common table expressions stand where they are used as derived tables, `*` is spelled out, and
//! `USING` and `NATURAL` are `ON`. A subquery that a SELECT holds twice is the one exception: it has the same
//! aliases each time. PostgreSQL has accepted the statement by then, so this resolves
//! names by its rules (`src/backend/parser/parse_relation.c`) and does not check them.
//!
//! ```text
//! query ─┬─ with ──── common table expressions, where they are made and where they are named
//!        ├─ select ── FROM first, then what sees it (grouping: GROUP BY DISTINCT)
//!        ├─ from ──── items of FROM: join and USING, table and view
//!        │            (declared, policies, rights: what the database does around them)
//!        └─ columns ─ the names in expressions, looked up in scope
//! using ─── then: orders of operators as other orders
//! twice ─── then: subqueries that are the same become the very same
//! ```

mod columns;
mod declared;
mod drift;
mod exists;
#[cfg(any(test, fuzzing))]
pub(super) mod fixture;
mod from;
mod grouping;
mod join;
mod outputs;
mod policies;
mod qualify;
mod query;
mod rights;
mod scope;
mod select;
mod table;
#[cfg(test)]
pub(super) mod tests;
mod twice;
mod using;
mod with;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use datafusion::sql::sqlparser::ast::Query;

use self::scope::Scope;
use self::with::CteEntry;
use crate::catalog::Catalog;
use crate::config::Topology;
use crate::error::Result;
use crate::plan::from_item::{FromColumn, FromItem};

/// A statement whose names are bound.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) query: Query,
    /// By alias.
    pub(super) relations: HashMap<String, FromItem>,
}

/// Binds the names of a statement.
///
/// # Errors
/// A table that the topology does not name, or on which shards differ; a column of the system's.
pub(super) fn bind(mut query: Query, topology: &Topology, catalog: &Catalog) -> Result<Bound> {
    let mut binder = Binder {
        topology,
        catalog,
        relations: HashMap::new(),
        scopes: Vec::new(),
        ctes: Vec::new(),
        kept: HashSet::new(),
        named: HashSet::new(),
        rows: HashSet::new(),
        renamed: HashSet::new(),
        values: HashMap::new(),
        views: Vec::new(),
        expanded: 0,
        numbers: HashMap::new(),
    };
    binder.query(&mut query)?;
    binder.name_columns(&mut query)?;
    using::write_orders(&mut query, &binder.relations, catalog)?;
    twice::unify(&mut query, catalog)?;
    Ok(Bound {
        query,
        relations: binder.relations,
    })
}

struct Binder<'a> {
    topology: &'a Topology,
    catalog: &'a Catalog,
    relations: HashMap<String, FromItem>,
    /// The outermost query first.
    scopes: Vec<Scope>,
    ctes: Vec<Rc<CteEntry>>,
    /// What the common table expressions that stay are called.
    kept: HashSet<String>,
    /// Relations whose columns need names of their own, since `*` names two that are called the same.
    named: HashSet<String>,
    /// Relations that stand for their rows as a whole.
    rows: HashSet<String>,
    /// Tables and views whose alias gives columns other names, which their rows do not have.
    renamed: HashSet<String>,
    /// Of functions that return single values, by alias: the column that has them, where it is not
    /// called as the alias is.
    values: HashMap<String, String>,
    /// Those being expanded; a view cannot hold itself.
    views: Vec<String>,
    expanded: usize,
    /// By name: from which number on names with a number behind it may be free.
    numbers: HashMap<String, usize>,
}

/// The columns of a query.
type Output = Option<Vec<FromColumn>>;
