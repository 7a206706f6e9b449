//! What is visible: the relations and columns that the names of one query level may mean.

use datafusion::sql::sqlparser::ast::Expr;

use super::{Binder, Output, Relation, Source, column};

/// What the names of one query level stand for.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) relations: Vec<Visible>,
    /// Columns that USING or NATURAL have merged.
    pub(super) merged: Vec<Merged>,
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

#[derive(Debug, Clone)]
pub(super) struct Visible {
    /// What the user calls it.
    pub(super) name: String,
    pub(super) schema: Option<String>,
    /// What it is called here.
    pub(super) alias: String,
    pub(super) columns: Option<Vec<String>>,
}

impl Visible {
    /// All columns, in order.
    pub(super) fn all(&self) -> Columns {
        let columns = self.columns.as_ref()?;
        let named = columns
            .iter()
            .map(|name| (name.clone(), column(&self.alias, name)));
        Some(named.collect())
    }
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
            .insert(alias.clone(), Relation { source, columns });
        self.scope().relations.push(Visible {
            name: name.to_owned(),
            schema,
            alias: alias.clone(),
            columns: names,
        });
        alias
    }

    /// A name that no relation has.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let taken = |binder: &Self, alias: &str| {
            binder.relations.contains_key(alias)
                || binder.ctes.iter().any(|cte| cte.unique == alias)
        };
        let mut alias = name.to_owned();
        let mut number = 2;
        while taken(self, &alias) {
            alias = format!("{name}_{number}");
            number += 1;
        }
        alias
    }
}
