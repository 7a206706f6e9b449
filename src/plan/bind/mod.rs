//! Names: what every table and column of a statement stands for.
//!
//! Binding rewrites the statement so that later stages need no scopes: every relation has an alias
//! that no other relation of the statement has, every column is written `alias.column`, views and
//! common table expressions stand where they are used as derived tables, `*` is spelled out, and
//! `USING` and `NATURAL` are `ON`. PostgreSQL has accepted the statement by then, so this resolves
//! names by its rules (`src/backend/parser/parse_relation.c`) and does not check them.
//!
//! ```text
//! query ─┬─ with ──── common table expressions, where they are made and where they are named
//!        ├─ select ── FROM first, then what sees it
//!        ├─ from ──── items of FROM: join and USING, table and view
//!        │            (declared, policies, rights: what the database does around them)
//!        └─ columns ─ the names in expressions, looked up in scope
//! ```

mod columns;
mod declared;
mod exists;
mod from;
mod join;
mod naming;
mod policies;
mod qualify;
mod query;
mod rights;
mod scope;
mod select;
mod table;
#[cfg(test)]
pub(super) mod tests;
mod with;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart, Query};

use self::scope::Scope;
use self::with::CteEntry;
use crate::catalog::{Catalog, Collation};
use crate::config::Topology;
use crate::error::Result;

pub(super) use self::join::{Outer, outer_kind};
pub(super) use self::naming::{
    NAMELESS, as_column, column, folded, ident, item_name, parts, table_alias,
};

/// A statement whose names are bound.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) query: Query,
    /// By alias.
    pub(super) relations: HashMap<String, Relation>,
}

/// A relation of the statement.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) source: Source,
    /// In order; `None` where only the server knows them.
    pub(super) columns: Option<Vec<RelationColumn>>,
}

/// Where the rows of a relation come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A table of the topology.
    Table(Base),
    /// A query in FROM, a view, or a common table expression.
    Derived,
    /// A common table expression that names itself, or that has to run just once.
    Cte,
    /// A function in FROM.
    Function,
    /// The rows of an earlier step.
    Step,
}

/// A table of the topology.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// Schema and name.
    pub(super) name: (String, String),
    /// `None` for a replicated table.
    pub(super) sharding: Option<Sharding>,
}

impl Base {
    /// The name as SQL has it.
    pub(super) fn object_name(&self) -> ObjectName {
        let (schema, table) = &self.name;
        let parts = [ident(schema), ident(table)];
        ObjectName(parts.map(ObjectNamePart::Identifier).into())
    }
}

/// How a table is sharded.
#[derive(Debug, Clone)]
pub(super) struct Sharding {
    /// What tables have in common whose rows of equal keys are on one shard.
    pub(super) group: String,
    /// The key, as this relation calls it.
    pub(super) key: String,
    /// The key, as the table calls it.
    pub(super) key_column: String,
    pub(super) key_type: String,
    pub(super) key_not_null: bool,
    /// Whether values that the key's `=` calls equal are the same value.
    pub(super) key_is_exact: bool,
    pub(super) shard_index: Option<String>,
}

/// A column of a relation.
#[derive(Debug, Clone)]
pub(super) struct RelationColumn {
    pub(super) name: String,
    pub(super) type_name: Option<String>,
    /// Other than the default.
    pub(super) collation: Option<Collation>,
}

impl RelationColumn {
    fn unknown() -> Self {
        Self {
            name: String::new(),
            type_name: None,
            collation: None,
        }
    }
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
    Ok(Bound {
        query,
        relations: binder.relations,
    })
}

struct Binder<'a> {
    topology: &'a Topology,
    catalog: &'a Catalog,
    relations: HashMap<String, Relation>,
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
type Output = Option<Vec<RelationColumn>>;
