//! What is visible: the relations and columns that the names of one query level may mean.

use std::collections::HashSet;
use std::rc::Rc;

use datafusion::sql::sqlparser::ast::{Expr, Query, TableAliasColumnDef, TableFactor};

use super::drift::Drift;
use super::{Binder, Output};
use crate::error::Result;
use crate::plan::from_item::{FromItem, Source};
use crate::plan::naming::{column, folded, ident};
use crate::plan::{refused, rewrite};

/// What the names of one query level stand for.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) relations: Vec<Visible>,
    /// Columns that USING or NATURAL have merged.
    pub(super) merged: Vec<Merged>,
    /// The aliases of such.
    pub(super) aliases: Vec<MergedAlias>,
    /// What `*` stands for; `None` where a relation's columns are not known.
    pub(super) star: Option<Vec<(String, Expr)>>,
    /// The relations before this one are of other items of FROM.
    pub(super) from: usize,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            relations: Vec::new(),
            merged: Vec::new(),
            aliases: Vec::new(),
            star: Some(Vec::new()),
            from: 0,
        }
    }
}

impl Scope {
    pub(super) fn has(&self, name: &str) -> bool {
        self.relations.iter().any(|relation| {
            let columns = relation.columns.as_ref();
            columns.is_none_or(|columns| columns.iter().any(|c| c == name))
        })
    }
}

/// A column that USING or NATURAL has merged.
#[derive(Debug, Clone)]
pub(super) struct Merged {
    pub(super) name: String,
    pub(super) expr: Expr,
    /// The first relation of its join.
    pub(super) start: usize,
}

/// The alias of the columns that one USING has merged: no relation, whose columns are named with it only.
#[derive(Debug, Clone)]
pub(super) struct MergedAlias {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Expr)>,
    /// The first relation of its join.
    pub(super) start: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Visible {
    /// What the user calls it.
    pub(super) name: String,
    pub(super) schema: Option<String>,
    /// What it is called here.
    pub(super) alias: String,
    pub(super) columns: Option<Vec<String>>,
    /// Of a table whose columns are not the same on all shards.
    pub(super) drift: Option<Rc<Drift>>,
}

impl Visible {
    /// All columns, in order; of those that are called the same, all but the first by names that
    /// the relation has only once it is [told apart](Binder::distinguish).
    pub(super) fn all(&self) -> Columns {
        let columns = self.columns.as_ref()?;
        let named = columns
            .iter()
            .zip(distinct_names(columns))
            .map(|(name, own)| (name.clone(), column(&self.alias, &own)));
        Some(named.collect())
    }
}

/// The names, where one that was there before gets a number.
fn distinct_names(names: &[String]) -> Vec<String> {
    let mut taken: HashSet<String> = names.iter().cloned().collect();
    let mut seen = HashSet::new();
    let mut distinct = Vec::new();
    for name in names {
        let mut own = name.clone();
        if !seen.insert(name) {
            let mut number = 2;
            while !taken.insert(own.clone()) {
                own = format!("{name}_{number}");
                number += 1;
            }
        }
        distinct.push(own);
    }
    distinct
}

/// The columns of an item of FROM, in order; `None` where they are not known.
pub(super) type Columns = Option<Vec<(String, Expr)>>;

/// The columns of one item, then those of another.
pub(super) fn chain(first: Columns, second: Columns) -> Columns {
    let mut all = first?;
    all.append(&mut second?);
    Some(all)
}

impl Binder<'_> {
    /// Gives the columns of a relation names of their own if two are called the same, for `*` names
    /// them one by one.
    pub(super) fn distinguish(&mut self, alias: &str) {
        let Some(relation) = self.relations.get_mut(alias) else {
            return;
        };
        let columns = relation.columns.iter_mut().flatten();
        let names: Vec<_> = columns.map(|column| column.name.clone()).collect();
        let own = distinct_names(&names);
        if own == names {
            return;
        }
        for (column, own) in relation.columns.iter_mut().flatten().zip(own) {
            column.name = own;
        }
        self.named.insert(alias.to_owned());
    }

    /// Writes the names that [`distinguish`](Self::distinguish) gave into the aliases of FROM.
    ///
    /// # Errors
    /// A row as a whole, whose fields would be called otherwise.
    pub(super) fn name_columns(&self, query: &mut Query) -> Result<()> {
        if let Some(alias) = self.named.intersection(&self.rows).next() {
            return Err(refused(
                format!("* and a whole row of {alias}, two of whose columns are called the same"),
                "give the columns different names",
            ));
        }
        if let Some(alias) = self.renamed.intersection(&self.rows).next() {
            return Err(refused(
                format!("a whole row of {alias}, whose fields are not called as its alias says"),
                "leave the list of columns out of the alias, or name the columns one by one",
            ));
        }
        if self.named.is_empty() {
            return Ok(());
        }
        rewrite::each_factor(query, |factor| {
            let (TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::XmlTable { alias, .. }) = factor
            else {
                return;
            };
            let Some(alias) = alias else { return };
            let name = folded(&alias.name);
            if !self.named.contains(&name) {
                return;
            }
            let columns = self.relations.get(&name).and_then(|r| r.columns.as_ref());
            for (index, column) in columns.into_iter().flatten().enumerate() {
                match alias.columns.get_mut(index) {
                    Some(known) => known.name = ident(&column.name),
                    None => alias.columns.push(TableAliasColumnDef {
                        name: ident(&column.name),
                        data_type: None,
                    }),
                }
            }
        });
        Ok(())
    }

    pub(super) fn scope(&mut self) -> &mut Scope {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    /// Enters a relation into the scope; returns its alias.
    pub(super) fn add(
        &mut self,
        name: &str,
        schema: Option<String>,
        columns: Output,
        source: Source,
    ) -> String {
        let alias = self.unique(name);
        let names = columns
            .as_ref()
            .map(|columns| columns.iter().map(|c| c.name.clone()).collect());
        self.relations
            .insert(alias.clone(), FromItem { source, columns });
        self.scope().relations.push(Visible {
            name: name.to_owned(),
            schema,
            alias: alias.clone(),
            columns: names,
            drift: None,
        });
        alias
    }

    /// A name for a common table expression that stays: that of no other, and of no table, since
    /// what is put in place below it names tables as they are.
    pub(super) fn cte_name(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        let mut number = 2;
        while self.kept.contains(&unique)
            || self.relations.contains_key(&unique)
            || self.catalog.relation(None, &unique).is_some()
        {
            unique = format!("{name}_{number}");
            number += 1;
        }
        self.kept.insert(unique.clone());
        unique
    }

    /// A name that no relation has.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let taken = |binder: &Self, alias: &str| {
            binder.relations.contains_key(alias) || binder.kept.contains(alias)
        };
        let mut alias = name.to_owned();
        // A thousand uses of a table would be half a million names that are taken.
        let mut number = self.numbers.get(name).copied().unwrap_or(2);
        while taken(self, &alias) {
            alias = format!("{name}_{number}");
            number += 1;
        }
        if number > 2 {
            self.numbers.insert(name.to_owned(), number);
        }
        alias
    }
}
