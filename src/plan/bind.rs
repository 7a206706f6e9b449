//! Names: what every table and column of a statement stands for.
//!
//! Binding rewrites the statement so that later stages need no scopes: every relation has an alias
//! that no other relation of the statement has, every column is written `alias.column`, views and
//! common table expressions stand where they are used as derived tables, `*` is spelled out, and
//! `USING` and `NATURAL` are `ON`. PostgreSQL has accepted the statement by then, so this resolves
//! names by its rules (`src/backend/parser/parse_relation.c`) and does not check them.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Cte, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, JoinConstraint, JoinOperator,
    ObjectName, ObjectNamePart, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
    TableWithJoins,
};

use super::build::FAN_OUT_HINT;
use super::rewrite::{self, Walk, top_down};
use super::{build, refused, sql};
use crate::catalog::{Catalog, Collation, RelationKind};
use crate::config::{Table, TableKind, Topology};
use crate::error::Result;

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
    /// Schema and name, quoted.
    pub(super) sql: String,
    /// Schema and name.
    pub(super) name: (String, String),
    /// `None` for a replicated table.
    pub(super) sharding: Option<Sharding>,
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

/// A statement whose names are bound.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) query: Query,
    /// By alias.
    pub(super) relations: HashMap<String, Relation>,
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
        views: Vec::new(),
        expanded: 0,
    };
    binder.query(&mut query)?;
    Ok(Bound {
        query,
        relations: binder.relations,
    })
}

/// How an identifier reads: folded unless it is quoted.
pub(super) fn folded(ident: &Ident) -> String {
    sql::identifier_name(ident)
}

/// An identifier that reads as `name`.
pub(super) fn ident(name: &str) -> Ident {
    let simple = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && !is_reserved(name);
    match simple {
        true => Ident::new(name),
        false => Ident::with_quote('"', name),
    }
}

/// Whether a name has to be quoted though its letters are plain: any word that the parser knows.
fn is_reserved(name: &str) -> bool {
    use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;
    ALL_KEYWORDS
        .binary_search(&&*name.to_ascii_uppercase())
        .is_ok()
}

/// `alias.column`.
pub(super) fn column(alias: &str, name: &str) -> Expr {
    Expr::CompoundIdentifier(vec![ident(alias), ident(name)])
}

/// What `alias.column` names, if an expression is that.
pub(super) fn as_column(expr: &Expr) -> Option<(String, String)> {
    match rewrite::bare(expr) {
        Expr::CompoundIdentifier(parts) => match &parts[..] {
            [alias, column] => Some((folded(alias), folded(column))),
            _ => None,
        },
        _ => None,
    }
}

/// The parts of a name.
pub(super) fn parts(name: &ObjectName) -> Vec<String> {
    name.0
        .iter()
        .filter_map(|part| match part {
            ObjectNamePart::Identifier(ident) => Some(folded(ident)),
            ObjectNamePart::Function(_) => None,
        })
        .collect()
}

/// A table alias, with columns if there are any.
pub(super) fn table_alias(name: &str) -> TableAlias {
    TableAlias {
        explicit: true,
        name: ident(name),
        columns: Vec::new(),
        at: None,
    }
}

/// The name of a column that has none.
pub(super) const NAMELESS: &str = "?column?";

/// The most views and common table expressions that are put in place, over all.
const EXPANSIONS: usize = 1000;

struct Binder<'a> {
    topology: &'a Topology,
    catalog: &'a Catalog,
    relations: HashMap<String, Relation>,
    /// The outermost query first.
    scopes: Vec<Scope>,
    ctes: Vec<Rc<CteEntry>>,
    /// Those being expanded; a view cannot hold itself.
    views: Vec<String>,
    expanded: usize,
}

/// A common table expression that can be named.
struct CteEntry {
    name: String,
    /// Put in place where it is named; `None`: stays where it is.
    query: Option<Query>,
    columns: Vec<Ident>,
    /// What it can name itself.
    ctes: Vec<Rc<CteEntry>>,
    scopes: usize,
    /// Of one that stays.
    output: Option<Vec<RelationColumn>>,
    /// The name of one that stays, which no other has.
    unique: String,
}

/// What the names of one query level stand for.
#[derive(Debug, Clone)]
struct Scope {
    relations: Vec<Visible>,
    /// Columns that USING or NATURAL have merged.
    merged: Vec<Merged>,
    /// What `*` stands for; `None` where a relation's columns are not known.
    star: Option<Vec<(String, Expr)>>,
    /// The relations before this one are of other items of FROM.
    from: usize,
}

/// A column that USING or NATURAL has merged.
#[derive(Debug, Clone)]
struct Merged {
    name: String,
    expr: Expr,
    /// The first relation of its join.
    start: usize,
}

#[derive(Debug, Clone)]
struct Visible {
    /// What the user calls it.
    name: String,
    schema: Option<String>,
    /// What it is called here.
    alias: String,
    columns: Option<Vec<String>>,
}

/// The columns of a query.
type Output = Option<Vec<RelationColumn>>;

impl Binder<'_> {
    fn query(&mut self, query: &mut Query) -> Result<Output> {
        let ctes = self.ctes.len();
        if let Some(with) = query.with.take() {
            let runs = runs(&with.cte_tables, query);
            let kept = self.with(with.recursive, with.cte_tables, &runs)?;
            if !kept.is_empty() {
                query.with = Some(datafusion::sql::sqlparser::ast::With {
                    with_token: with.with_token,
                    recursive: with.recursive,
                    cte_tables: kept,
                });
            }
        }
        // What ORDER BY names is a column of the output, or an expression over FROM.
        let (output, scope) = self.body(&mut query.body)?;
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(exprs) = &mut order_by.kind
            && let Some(scope) = scope
        {
            let named = match &*query.body {
                SetExpr::Select(select) => select.projection.iter().filter_map(item_name).collect(),
                _ => output_names(&output),
            };
            self.scopes.push(scope);
            for order in exprs {
                let is_output = matches!(&order.expr, Expr::Identifier(ident)
                    if named.contains(&folded(ident)));
                if !is_output {
                    self.expression(&mut order.expr)?;
                }
            }
            self.scopes.pop();
        }
        if let Some(limit) = &mut query.limit_clause {
            self.expression(limit)?;
        }
        if let Some(fetch) = &mut query.fetch {
            self.expression(fetch)?;
        }
        self.ctes.truncate(ctes);
        Ok(output)
    }

    /// Enters common table expressions that would run so many times; returns those that stay.
    fn with(&mut self, recursive: bool, ctes: Vec<Cte>, runs: &[usize]) -> Result<Vec<Cte>> {
        let mut kept = Vec::new();
        let names: Vec<_> = ctes.iter().map(|cte| folded(&cte.alias.name)).collect();
        for (index, mut cte) in ctes.into_iter().enumerate() {
            let name = folded(&cte.alias.name);
            let later = match recursive {
                true => &names[index..],
                false => &[],
            };
            let columns: Vec<_> = cte.alias.columns.iter().map(|c| c.name.clone()).collect();
            let names_itself = mentions(&mut cte.query, later);
            let often = runs.get(index).is_some_and(|runs| *runs > 1);
            let once = self.must_run_once(&cte.query)
                || often && super::locality::depends_on_ties(&cte.query, self.catalog);
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
            let unique = self.unique(&name);
            // A recursive one sees itself with the columns of its first part.
            let mut output = Self::renamed(None, &columns);
            if names_itself && output.is_none() {
                let mut first = (*cte.query).clone();
                if let SetExpr::SetOperation { left, .. } = *first.body {
                    first.body = left;
                    first.order_by = None;
                    first.limit_clause = None;
                    let relations = self.relations.clone();
                    output = self.query(&mut first)?;
                    self.relations = relations;
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
            let output = Self::renamed(output, &columns);
            let after = entry(output, &self.ctes, self.scopes.len());
            self.ctes.push(after);
            cte.alias.name = ident(&unique);
            kept.push(cte);
        }
        Ok(kept)
    }

    /// Whether it matters how often a query runs: each run may give something else.
    fn must_run_once(&self, query: &Query) -> bool {
        super::functions::is_volatile(query, self.catalog)
            || matches!(
                &*query.body,
                SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
            )
    }

    fn renamed(output: Output, columns: &[Ident]) -> Output {
        if columns.is_empty() {
            return output;
        }
        let mut known = output.unwrap_or_default().into_iter();
        let mut renamed: Vec<_> = columns
            .iter()
            .map(|name| RelationColumn {
                name: folded(name),
                ..known.next().unwrap_or_else(RelationColumn::unknown)
            })
            .collect();
        renamed.extend(known);
        Some(renamed)
    }

    /// The columns, and the scope of ORDER BY where it may hold expressions.
    fn body(&mut self, body: &mut SetExpr) -> Result<(Output, Option<Scope>)> {
        match body {
            SetExpr::Select(select) => {
                let (output, scope) = self.select(select)?;
                Ok((output, Some(scope)))
            }
            SetExpr::Query(query) => Ok((self.query(query)?, None)),
            SetExpr::SetOperation { left, right, .. } => {
                let (output, _) = self.body(left)?;
                self.body(right)?;
                // The type and collation of such a column are PostgreSQL's to find.
                let output = output.map(|columns| {
                    columns
                        .into_iter()
                        .map(|column| RelationColumn {
                            name: column.name,
                            ..RelationColumn::unknown()
                        })
                        .collect()
                });
                Ok((output, None))
            }
            SetExpr::Values(values) => {
                let mut width = 0;
                self.scopes.push(Scope::default());
                for row in &mut values.rows {
                    width = row.content.len();
                    for expr in &mut row.content {
                        self.expression(expr)?;
                    }
                }
                self.scopes.pop();
                let columns = (1..=width).map(|n| RelationColumn {
                    name: format!("column{n}"),
                    ..RelationColumn::unknown()
                });
                Ok((Some(columns.collect()), None))
            }
            SetExpr::Table(table) => {
                // TABLE t is SELECT * FROM t.
                let name: Vec<_> = [&table.schema_name, &table.table_name]
                    .into_iter()
                    .flatten()
                    .map(|part| ObjectNamePart::Identifier(Ident::new(part)))
                    .collect();
                let from = build::item(build::table(ObjectName(name), None));
                let select =
                    build::select(vec![SelectItem::Wildcard(Default::default())], vec![from]);
                *body = SetExpr::Select(Box::new(select));
                self.body(body)
            }
            _ => Err(refused(
                "a statement that changes data".to_owned(),
                "Merganser only reads: take the INSERT, UPDATE or DELETE out of the query",
            )),
        }
    }

    fn select(&mut self, select: &mut Select) -> Result<(Output, Scope)> {
        self.scopes.push(Scope::default());
        let output = self.select_in_scope(select);
        let scope = self.scopes.pop().unwrap_or_default();
        Ok((output?, scope))
    }

    fn select_in_scope(&mut self, select: &mut Select) -> Result<Output> {
        let mut from = std::mem::take(&mut select.from);
        for item in &mut from {
            let columns = self.join_tree(item)?;
            let star = self.scope().star.take();
            self.scope().star = chain(star, columns);
        }
        select.from = from;
        let items = std::mem::take(&mut select.projection);
        for item in items {
            self.select_item(item, &mut select.projection)?;
        }
        let named: Vec<_> = select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    (item_name(item), Some(expr.clone()))
                }
                _ => (None, None),
            })
            .collect();
        if let Some(expr) = &mut select.selection {
            self.expression(expr)?;
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            for expr in exprs {
                self.group_key(expr, &named)?;
            }
        }
        if let Some(expr) = &mut select.having {
            self.expression(expr)?;
        }
        if let Some(datafusion::sql::sqlparser::ast::Distinct::On(exprs)) = &mut select.distinct {
            for expr in exprs {
                // As in ORDER BY, a bare name is one of the output if there is one.
                let is_output = matches!(expr, Expr::Identifier(ident)
                    if named.iter().any(|(name, _)| name.as_ref() == Some(&folded(ident))));
                if !is_output {
                    self.expression(expr)?;
                }
            }
        }
        self.expression(&mut select.named_window)?;
        self.output(&select.projection)
    }

    /// GROUP BY: a bare name is a column of FROM, or else one of the output.
    fn group_key(
        &mut self,
        expr: &mut Expr,
        named: &[(Option<String>, Option<Expr>)],
    ) -> Result<()> {
        match expr {
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                for key in sets.iter_mut().flatten() {
                    self.group_key(key, named)?;
                }
                Ok(())
            }
            Expr::Tuple(keys) => {
                for key in keys {
                    self.group_key(key, named)?;
                }
                Ok(())
            }
            Expr::Identifier(name) => {
                let folded = folded(name);
                let output = named
                    .iter()
                    .find(|(name, _)| name.as_ref() == Some(&folded));
                match (self.in_scope(self.scopes.len() - 1, &folded)?, output) {
                    (Some(column), _) => *expr = column,
                    // A constant could not stand there itself, and a subquery that is planned twice is
                    // no longer the same expression.
                    (None, Some((_, Some(output))))
                        if !matches!(rewrite::bare(output), Expr::Value(_))
                            && !rewrite::any(output, |part| {
                                rewrite::subquery(&mut part.clone()).is_some()
                            }) =>
                    {
                        *expr = output.clone();
                    }
                    (None, Some(_)) => {}
                    (None, None) => self.expression(expr)?,
                }
                Ok(())
            }
            other => self.expression(other),
        }
    }

    fn select_item(&mut self, item: SelectItem, into: &mut Vec<SelectItem>) -> Result<()> {
        match item {
            SelectItem::Wildcard(options) => {
                let items = self.all_columns(None)?;
                match items {
                    Some(items) => into.extend(items),
                    None => into.push(SelectItem::Wildcard(options)),
                }
            }
            SelectItem::QualifiedWildcard(kind, options) => match kind {
                SelectItemQualifiedWildcardKind::ObjectName(name) => {
                    let parts = parts(&name);
                    let visible = self.relation(&parts);
                    let alias = visible.map_or_else(|| name.to_string(), |v| v.alias);
                    match self.all_columns(Some(&alias))? {
                        Some(items) => into.extend(items),
                        None => into.push(SelectItem::QualifiedWildcard(
                            SelectItemQualifiedWildcardKind::ObjectName(ObjectName(vec![
                                ObjectNamePart::Identifier(ident(&alias)),
                            ])),
                            options,
                        )),
                    }
                }
                SelectItemQualifiedWildcardKind::Expr(mut expr) => {
                    self.expression(&mut expr)?;
                    into.push(SelectItem::QualifiedWildcard(
                        SelectItemQualifiedWildcardKind::Expr(expr),
                        options,
                    ));
                }
            },
            SelectItem::UnnamedExpr(mut expr) => {
                let name = sql::output_name(&expr);
                self.expression(&mut expr)?;
                into.push(match name {
                    Some(name)
                        if name != NAMELESS && sql::output_name(&expr).as_ref() != Some(&name) =>
                    {
                        SelectItem::ExprWithAlias {
                            expr,
                            alias: ident(&name),
                        }
                    }
                    _ => SelectItem::UnnamedExpr(expr),
                });
            }
            SelectItem::ExprWithAlias { mut expr, alias } => {
                self.expression(&mut expr)?;
                into.push(SelectItem::ExprWithAlias { expr, alias });
            }
            SelectItem::ExprWithAliases { .. } => {
                return Err(refused(
                    "several aliases for one expression".to_owned(),
                    FAN_OUT_HINT,
                ));
            }
        }
        Ok(())
    }

    /// What `*` or `alias.*` stands for; `None` where a relation's columns are not known.
    fn all_columns(&mut self, only: Option<&str>) -> Result<Option<Vec<SelectItem>>> {
        let columns = match only {
            None => self.scope().star.clone(),
            Some(alias) => self
                .scopes
                .iter()
                .rev()
                .find_map(|scope| {
                    let found = scope.relations.iter().find(|r| r.alias == alias)?;
                    Some(found.all())
                })
                .flatten(),
        };
        Ok(columns.map(|columns| {
            let items = columns
                .into_iter()
                .map(|(name, expr)| named_item(expr, &name));
            items.collect()
        }))
    }

    fn output(&self, items: &[SelectItem]) -> Result<Output> {
        let mut columns = Vec::new();
        for item in items {
            let (expr, name) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, sql::output_name(expr).unwrap_or_default()),
                SelectItem::ExprWithAlias { expr, alias } => (expr, folded(alias)),
                _ => return Ok(None),
            };
            let origin = as_column(expr).and_then(|(alias, column)| {
                let relation = self.relations.get(&alias)?;
                let columns = relation.columns.as_ref()?;
                columns.iter().find(|c| c.name == column).cloned()
            });
            columns.push(RelationColumn {
                name,
                ..origin.unwrap_or_else(RelationColumn::unknown)
            });
        }
        Ok(Some(columns))
    }

    fn scope(&mut self) -> &mut Scope {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    fn join_tree(&mut self, tree: &mut TableWithJoins) -> Result<Columns> {
        let start = self.scope().relations.len();
        let mut columns = self.item(&mut tree.relation)?;
        for join in &mut tree.joins {
            let right = self.item(&mut join.relation)?;
            let outer = outer_kind(&join.join_operator)?;
            let constraint = match &mut join.join_operator {
                JoinOperator::Join(c)
                | JoinOperator::Inner(c)
                | JoinOperator::Left(c)
                | JoinOperator::LeftOuter(c)
                | JoinOperator::Right(c)
                | JoinOperator::RightOuter(c)
                | JoinOperator::FullOuter(c)
                | JoinOperator::CrossJoin(c) => c,
                _ => return Err(refused("this kind of join".to_owned(), FAN_OUT_HINT)),
            };
            columns = match std::mem::replace(constraint, JoinConstraint::None) {
                JoinConstraint::On(mut expr) => {
                    let from = std::mem::replace(&mut self.scope().from, start);
                    let bound = self.expression(&mut expr);
                    self.scope().from = from;
                    bound?;
                    *constraint = JoinConstraint::On(expr);
                    chain(columns, right)
                }
                JoinConstraint::Using(names) => {
                    let names = names.iter().filter_map(|n| parts(n).pop()).collect();
                    let (on, columns) = self.using(start, columns, right, names, outer)?;
                    *constraint = on;
                    columns
                }
                JoinConstraint::Natural => {
                    let names = match (&columns, &right) {
                        (Some(left), Some(right)) => left
                            .iter()
                            .filter(|(name, _)| right.iter().any(|(other, _)| other == name))
                            .map(|(name, _)| name.clone())
                            .collect(),
                        _ => return Err(unknown_columns()),
                    };
                    let (on, columns) = self.using(start, columns, right, names, outer)?;
                    *constraint = on;
                    if matches!(constraint, JoinConstraint::None) {
                        let always =
                            Expr::value(datafusion::sql::sqlparser::ast::Value::Boolean(true));
                        *constraint = JoinConstraint::On(always);
                    }
                    columns
                }
                JoinConstraint::None => chain(columns, right),
            };
        }
        Ok(columns)
    }

    /// USING as ON, and the columns of the join: those merged, then the others of either side.
    fn using(
        &mut self,
        start: usize,
        left: Columns,
        right: Columns,
        names: Vec<String>,
        outer: Outer,
    ) -> Result<(JoinConstraint, Columns)> {
        let (Some(mut left), Some(mut right)) = (left, right) else {
            return Err(unknown_columns());
        };
        let mut equal = Vec::new();
        let mut merged = Vec::new();
        for name in names {
            let take = |columns: &mut Vec<(String, Expr)>| {
                let index = columns.iter().position(|(known, _)| *known == name)?;
                Some(columns.remove(index).1)
            };
            let (Some(one), Some(other)) = (take(&mut left), take(&mut right)) else {
                return Err(refused(
                    format!("JOIN USING ({name})"),
                    "name the columns with ON",
                ));
            };
            let same_type =
                self.type_of(&one).is_some() && self.type_of(&one) == self.type_of(&other);
            let value = match outer {
                Outer::None | Outer::Left if same_type => one.clone(),
                Outer::Right if same_type => other.clone(),
                Outer::Right => coalesce(other.clone(), one.clone()),
                _ => coalesce(one.clone(), other.clone()),
            };
            let scope = self.scope();
            scope
                .merged
                .retain(|known| known.name != name || known.start < start);
            scope.merged.push(Merged {
                name: name.clone(),
                expr: value.clone(),
                start,
            });
            merged.push((name, value));
            equal.push(Expr::BinaryOp {
                left: Box::new(one),
                op: BinaryOperator::Eq,
                right: Box::new(other),
            });
        }
        merged.append(&mut left);
        merged.append(&mut right);
        let on = match rewrite::all_of(equal) {
            Some(expr) => JoinConstraint::On(expr),
            None => JoinConstraint::None,
        };
        Ok((on, Some(merged)))
    }

    fn type_of(&self, expr: &Expr) -> Option<String> {
        let (alias, name) = as_column(expr)?;
        let columns = self.relations.get(&alias)?.columns.as_ref()?;
        columns
            .iter()
            .find(|column| column.name == name)?
            .type_name
            .clone()
    }

    /// An item of FROM; its columns.
    fn item(&mut self, factor: &mut TableFactor) -> Result<Columns> {
        if let TableFactor::NestedJoin {
            table_with_joins,
            alias: None,
        } = factor
        {
            return self.join_tree(table_with_joins);
        }
        let index = self.scope().relations.len();
        self.factor(factor)?;
        Ok(self.scope().relations.get(index).and_then(Visible::all))
    }

    fn factor(&mut self, factor: &mut TableFactor) -> Result<()> {
        match factor {
            TableFactor::Table {
                sample: Some(_), ..
            }
            | TableFactor::Derived {
                sample: Some(_), ..
            } => Err(refused(
                "TABLESAMPLE, which chooses rows by where they lie in one database".to_owned(),
                "filter by a condition on the rows instead, such as a hash of the key",
            )),
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => {
                let names = parts(name);
                let (schema, table) = match &names[..] {
                    [table] => (None, table.clone()),
                    [schema, table] => (Some(schema.clone()), table.clone()),
                    [_, schema, table] => (Some(schema.clone()), table.clone()),
                    _ => return Err(refused(format!("the table name {name}"), FAN_OUT_HINT)),
                };
                let called = alias.as_ref().map_or(table.clone(), |a| folded(&a.name));
                let cte = match schema {
                    None => self
                        .ctes
                        .iter()
                        .rev()
                        .find(|cte| cte.name == table)
                        .cloned(),
                    Some(_) => None,
                };
                if let Some(cte) = cte {
                    return self.cte(&cte, factor, &called);
                }
                self.table(schema.as_deref(), &table, factor, &called)
            }
            TableFactor::Derived {
                lateral,
                subquery,
                alias,
                ..
            } => {
                let lateral = *lateral;
                let own = match lateral {
                    true => None,
                    false => self.scopes.pop(),
                };
                let output = self.query(subquery);
                self.scopes.extend(own);
                let output = output?;
                let (name, columns) = match alias {
                    Some(alias) => (
                        folded(&alias.name),
                        alias.columns.iter().map(|c| c.name.clone()).collect(),
                    ),
                    // PostgreSQL 16 lets it have none.
                    None => ("unnamed".to_owned(), Vec::new()),
                };
                let output = Self::renamed(output, &columns);
                let unique = self.add(&name, None, output, Source::Derived);
                match alias {
                    Some(alias) => alias.name = ident(&unique),
                    None => *alias = Some(table_alias(&unique)),
                }
                Ok(())
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => match alias {
                None => self.join_tree(table_with_joins).map(|_| ()),
                Some(alias) => {
                    let select = build::select(
                        vec![SelectItem::Wildcard(Default::default())],
                        vec![(**table_with_joins).clone()],
                    );
                    *factor = TableFactor::Derived {
                        lateral: false,
                        subquery: Box::new(build::query(SetExpr::Select(Box::new(select)))),
                        alias: Some(alias.clone()),
                        sample: None,
                    };
                    self.factor(factor)
                }
            },
            TableFactor::Table {
                alias,
                args: Some(args),
                name,
                ..
            } => {
                let function = parts(name).pop().unwrap_or_default();
                let mut list = std::mem::take(&mut args.args);
                self.expression(&mut list)?;
                args.args = list;
                let alias = alias.get_or_insert_with(|| table_alias(&function));
                self.function(alias)
            }
            TableFactor::Function {
                alias, args, name, ..
            } => {
                let function = parts(name).pop().unwrap_or_default();
                let mut list = std::mem::take(args);
                self.expression(&mut list)?;
                *args = list;
                let alias = alias.get_or_insert_with(|| table_alias(&function));
                self.function(alias)
            }
            TableFactor::UNNEST {
                alias, array_exprs, ..
            } => {
                let mut list = std::mem::take(array_exprs);
                self.expression(&mut list)?;
                *array_exprs = list;
                let alias = alias.get_or_insert_with(|| table_alias("unnest"));
                self.function(alias)
            }
            TableFactor::TableFunction { alias, expr } => {
                let mut taken = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                let bound = self.expression(&mut taken);
                *expr = taken;
                bound?;
                let alias = alias.get_or_insert_with(|| table_alias("function"));
                self.function(alias)
            }
            _ => Err(refused("this item of FROM".to_owned(), FAN_OUT_HINT)),
        }
    }

    /// A function's columns are known only where the alias lists them. One that returns single
    /// values has a column of its alias's name, but not all do.
    fn function(&mut self, alias: &mut TableAlias) -> Result<()> {
        let name = folded(&alias.name);
        let columns = match alias.columns.is_empty() {
            true => None,
            false => Some(
                alias
                    .columns
                    .iter()
                    .map(|column| RelationColumn {
                        name: folded(&column.name),
                        ..RelationColumn::unknown()
                    })
                    .collect(),
            ),
        };
        let unique = self.add(&name, None, columns, Source::Function);
        if unique != name && alias.columns.is_empty() {
            // The alias is also the name of the column of a function that returns single values.
            return Err(refused(
                format!("two functions in FROM that are both called {name:?}"),
                "give each an alias of its own, with a list of its columns",
            ));
        }
        alias.name = ident(&unique);
        Ok(())
    }

    fn cte(&mut self, cte: &Rc<CteEntry>, factor: &mut TableFactor, called: &str) -> Result<()> {
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

    fn count_expansion(&mut self) -> Result<()> {
        self.expanded += 1;
        match self.expanded > EXPANSIONS {
            true => Err(refused(
                format!("more than {EXPANSIONS} uses of views and common table expressions"),
                "split the query",
            )),
            false => Ok(()),
        }
    }

    fn table(
        &mut self,
        schema: Option<&str>,
        name: &str,
        factor: &mut TableFactor,
        called: &str,
    ) -> Result<()> {
        let TableFactor::Table { alias, .. } = factor else {
            return Ok(());
        };
        let Some(found) = self.catalog.relation(schema, name) else {
            return Err(refused(
                format!("the table {name:?}, which is not in the catalog as it was read"),
                "a table made after the first query is seen after `Cluster::refresh`",
            ));
        };
        if let Some(difference) = &found.difference {
            return Err(refused(
                format!("{name:?}: {difference}"),
                "make the table the same on all shards; `merganser inspect` lists all differences",
            ));
        }
        let renamed: Vec<Ident> = alias
            .iter()
            .flat_map(|alias| alias.columns.iter().map(|c| c.name.clone()))
            .collect();
        let declared = self.declared(&found.schema, &found.name, schema);
        if declared.is_none() {
            if let RelationKind::View { definition } = &found.kind {
                let definition = definition.clone();
                let whole = format!("{}.{}", found.schema, found.name);
                return self.view(&whole, &definition, factor, called, &renamed);
            }
            let whole = format!("{}.{}", found.schema, found.name);
            if ["pg_catalog", "information_schema"].contains(&&*found.schema) {
                return Err(refused(
                    format!("{whole}: each shard has its own catalog"),
                    "ask each shard for its own: --fan-out",
                ));
            }
            return Err(refused(
                format!(
                    "the topology does not say how the table {whole} is spread over the shards"
                ),
                "add it to the topology as sharded or replicated; `merganser inspect` writes such a file",
            ));
        }
        let base = declared.map(|table| self.base(found, table, &renamed));
        let columns: Vec<_> = found
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| RelationColumn {
                name: renamed
                    .get(index)
                    .map_or_else(|| column.name.clone(), folded),
                type_name: Some(column.type_name.clone()),
                collation: column.collation.clone().filter(|c| c.sql.is_some()),
            })
            .collect();
        let Some(base) = base else { return Ok(()) };
        let schema = found.schema.clone();
        let unique = self.add(called, Some(schema), Some(columns), Source::Table(base));
        if unique != name || alias.is_some() {
            let mut with_columns = alias.clone().unwrap_or_else(|| table_alias(&unique));
            with_columns.name = ident(&unique);
            *alias = Some(with_columns);
        }
        Ok(())
    }

    fn base(&self, found: &crate::catalog::Relation, table: &Table, renamed: &[Ident]) -> Base {
        let sharding = match table.kind() {
            TableKind::Replicated => None,
            TableKind::Sharded {
                key,
                colocation,
                shard_index,
            } => {
                let index = found.columns.iter().position(|column| column.name == *key);
                let column = index.and_then(|index| found.columns.get(index));
                Some(Sharding {
                    // A name that no group can have: tables of no group are their own.
                    group: colocation
                        .clone()
                        .unwrap_or_else(|| format!("\0{}.{}", found.schema, found.name)),
                    key: index
                        .and_then(|index| renamed.get(index))
                        .map_or_else(|| key.clone(), folded),
                    key_column: key.clone(),
                    key_type: column.map_or_else(String::new, |c| c.type_name.clone()),
                    key_not_null: column.is_some_and(|c| c.not_null),
                    key_is_exact: column.is_some_and(super::route::is_exact),
                    shard_index: shard_index.clone(),
                })
            }
        };
        Base {
            sql: format!("{}.{}", ident(&found.schema), ident(&found.name)),
            name: (found.schema.clone(), found.name.clone()),
            sharding,
        }
    }

    /// What the topology says of a table.
    fn declared(&self, schema: &str, name: &str, written: Option<&str>) -> Option<&Table> {
        let mut found = self.topology.tables().iter().filter(|table| {
            table.name() == name
                && match table.schema() {
                    Some(declared) => declared == schema,
                    // Left to the search path: it is the one that a bare name finds.
                    None => {
                        written.is_none()
                            || self
                                .catalog
                                .relation(None, name)
                                .is_some_and(|found| found.schema == schema)
                    }
                }
        });
        found.next()
    }

    /// A view, as the query that it stands for.
    fn view(
        &mut self,
        whole: &str,
        definition: &str,
        factor: &mut TableFactor,
        called: &str,
        renamed: &[Ident],
    ) -> Result<()> {
        self.count_expansion()?;
        if self.views.iter().any(|view| view == whole) {
            return Err(refused(
                format!("the view {whole} holds itself"),
                FAN_OUT_HINT,
            ));
        }
        let text = definition.trim().trim_end_matches(';');
        let mut query = sql::parse(text)
            .map_err(|error| error.with_context(&format!("the definition of the view {whole}")))?;
        sql::prints_faithfully(text, &query)
            .map_err(|reason| refused(format!("the view {whole}: {reason}"), FAN_OUT_HINT))?;
        self.views.push(whole.to_owned());
        let ctes = std::mem::take(&mut self.ctes);
        let scopes = std::mem::take(&mut self.scopes);
        let output = self.query(&mut query);
        self.scopes = scopes;
        self.ctes = ctes;
        self.views.pop();
        // A view's columns have names of their own where the definition's differ.
        let names: Vec<Ident> = self
            .view_columns(whole)
            .iter()
            .enumerate()
            .map(|(index, name)| renamed.get(index).cloned().unwrap_or_else(|| ident(name)))
            .collect();
        let output = Self::renamed(output?, &names);
        let schema = whole.split_once('.').map(|(schema, _)| schema.to_owned());
        let unique = self.add(called, schema, output, Source::Derived);
        *factor = derived(query, &unique, names);
        Ok(())
    }

    fn view_columns(&self, whole: &str) -> Vec<String> {
        let (schema, name) = whole.split_once('.').unwrap_or(("", whole));
        self.catalog
            .relation(Some(schema), name)
            .map(|found| found.columns.iter().map(|c| c.name.clone()).collect())
            .unwrap_or_default()
    }

    /// Enters a relation into the scope; returns its alias.
    fn add(
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
    fn unique(&mut self, name: &str) -> String {
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

    /// Binds what is inside; a query in it sees the scopes of now.
    fn expression<T: datafusion::sql::sqlparser::ast::VisitMut>(
        &mut self,
        tree: &mut T,
    ) -> Result<()> {
        top_down(tree, |expr| self.step(expr))
    }

    fn step(&mut self, expr: &mut Expr) -> Result<Walk> {
        match expr {
            Expr::Identifier(name) => {
                if let Some(bound) = self.bare(&folded(name))? {
                    *expr = bound;
                }
                return Ok(Walk::Done);
            }
            Expr::CompoundIdentifier(names) => {
                let names: Vec<_> = names.iter().map(folded).collect();
                if let Some(bound) = self.qualified(&names)? {
                    *expr = bound;
                }
                return Ok(Walk::Done);
            }
            Expr::QualifiedWildcard(name, _) => {
                if let Some(visible) = self.relation(&parts(name)) {
                    *name = ObjectName(vec![ObjectNamePart::Identifier(ident(&visible.alias))]);
                }
                return Ok(Walk::Done);
            }
            Expr::Function(Function {
                args: FunctionArguments::List(FunctionArgumentList { args, .. }),
                ..
            }) => {
                for arg in args {
                    // The name of an argument is no column.
                    if let FunctionArg::ExprNamed {
                        name: Expr::Identifier(name),
                        arg: value,
                        operator,
                    } = arg
                    {
                        *arg = FunctionArg::Named {
                            name: name.clone(),
                            arg: value.clone(),
                            operator: operator.clone(),
                        };
                    }
                    if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = arg
                        && let Some(visible) = self.relation(&parts(name))
                    {
                        *name = ObjectName(vec![ObjectNamePart::Identifier(ident(&visible.alias))]);
                    }
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.expression(&mut **root)?;
                for access in access_chain {
                    // A field is no column.
                    if let AccessExpr::Subscript(subscript) = access {
                        self.expression(subscript)?;
                    }
                }
                return Ok(Walk::Done);
            }
            Expr::Exists { subquery, .. } => {
                // What it selects does not matter, and should not be fetched.
                if let SetExpr::Select(select) = &mut *subquery.body
                    && matches!(&select.projection[..], [] | [SelectItem::Wildcard(_)])
                    && select.distinct.is_none()
                {
                    select.projection = vec![SelectItem::UnnamedExpr(build::number(1))];
                }
            }
            Expr::InSubquery {
                expr: left,
                subquery,
                ..
            } => {
                self.expression(&mut **left)?;
                self.query(subquery)?;
                return Ok(Walk::Done);
            }
            _ => {}
        }
        match rewrite::subquery(expr) {
            Some(query) => {
                self.query(query)?;
                Ok(Walk::Done)
            }
            None => Ok(Walk::Into),
        }
    }

    /// A name without a table before it: a column of the nearest scope that has one, or else a
    /// whole row.
    fn bare(&self, name: &str) -> Result<Option<Expr>> {
        for depth in (0..self.scopes.len()).rev() {
            if let Some(found) = self.in_scope(depth, name)? {
                return Ok(Some(found));
            }
        }
        if SYSTEM_COLUMNS.contains(&name) {
            return Err(system_column(name));
        }
        // A row as a whole, or what is no column at all (`current_user`).
        Ok(self
            .relation(&[name.to_owned()])
            .map(|visible| Expr::Identifier(ident(&visible.alias))))
    }

    fn in_scope(&self, depth: usize, name: &str) -> Result<Option<Expr>> {
        let Some(scope) = self.scopes.get(depth) else {
            return Ok(None);
        };
        // ON sees its own join only.
        let merged = scope
            .merged
            .iter()
            .find(|merged| merged.name == name && merged.start >= scope.from);
        if let Some(merged) = merged {
            return Ok(Some(merged.expr.clone()));
        }
        let visible = &scope.relations[scope.from.min(scope.relations.len())..];
        let known = visible.iter().find(|relation| {
            let columns = relation.columns.as_ref();
            columns.is_some_and(|columns| columns.iter().any(|c| c == name))
        });
        if let Some(relation) = known {
            return Ok(Some(column(&relation.alias, name)));
        }
        let mut unknown = visible.iter().filter(|relation| relation.columns.is_none());
        let (first, second) = (unknown.next(), unknown.next());
        match (first, second) {
            (None, _) => Ok(None),
            // `generate_series(1, 3) AS n`: the name is also that of the column.
            (Some(relation), None) if relation.name == name => {
                Ok(Some(column(&relation.alias, name)))
            }
            _ => {
                if let Some(relation) = visible
                    .iter()
                    .find(|r| r.columns.is_none() && r.name == name)
                {
                    return Ok(Some(column(&relation.alias, name)));
                }
                let elsewhere = (0..self.scopes.len())
                    .filter(|other| *other < depth)
                    .any(|other| self.scopes.get(other).is_some_and(|scope| scope.has(name)));
                match (second, elsewhere) {
                    (None, false) => Ok(first.map(|relation| column(&relation.alias, name))),
                    _ => Err(refused(
                        format!("the column {name:?} may be that of a function in FROM"),
                        "write the table before the column, and list the function's columns: AS f(a, b)",
                    )),
                }
            }
        }
    }

    /// `table.column`, `schema.table.column`.
    fn qualified(&self, names: &[String]) -> Result<Option<Expr>> {
        let Some((name, table)) = names.split_last() else {
            return Ok(None);
        };
        let Some(visible) = self.relation(table) else {
            return Ok(None);
        };
        if let Some(columns) = &visible.columns
            && !columns.contains(name)
        {
            if SYSTEM_COLUMNS.contains(&&**name) {
                return Err(system_column(name));
            }
            return Err(refused(
                format!("{}.{name}, which is no column", visible.name),
                "write a function of a row as f(row)",
            ));
        }
        Ok(Some(column(&visible.alias, name)))
    }

    fn relation(&self, names: &[String]) -> Option<Visible> {
        let (name, schema) = names.split_last()?;
        let schema = schema.last();
        self.scopes.iter().rev().find_map(|scope| {
            scope
                .relations
                .iter()
                .find(|relation| {
                    relation.name == *name
                        && (schema.is_none() || relation.schema.as_ref() == schema)
                })
                .cloned()
        })
    }
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

/// The columns of an item of FROM, in order; `None` where they are not known.
type Columns = Option<Vec<(String, Expr)>>;

impl Scope {
    fn has(&self, name: &str) -> bool {
        self.relations.iter().any(|relation| {
            let columns = relation.columns.as_ref();
            columns.is_none_or(|columns| columns.iter().any(|c| c == name))
        })
    }
}

impl Visible {
    /// All columns, in order.
    fn all(&self) -> Columns {
        let columns = self.columns.as_ref()?;
        let named = columns
            .iter()
            .map(|name| (name.clone(), column(&self.alias, name)));
        Some(named.collect())
    }
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

/// Which side of a join is kept whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outer {
    None,
    Left,
    Right,
    Full,
}

/// Which side of a join is kept whole.
pub(super) fn outer_kind(operator: &JoinOperator) -> Result<Outer> {
    match operator {
        JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
            Ok(Outer::None)
        }
        JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => Ok(Outer::Left),
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) => Ok(Outer::Right),
        JoinOperator::FullOuter(_) => Ok(Outer::Full),
        _ => Err(refused("this kind of join".to_owned(), FAN_OUT_HINT)),
    }
}

/// Columns that every table has beside its own (`src/backend/catalog/heap.c`).
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// The columns of one item, then those of another.
fn chain(first: Columns, second: Columns) -> Columns {
    let mut all = first?;
    all.append(&mut second?);
    Some(all)
}

fn unknown_columns() -> crate::error::Error {
    refused(
        "a join by the names of columns of a function, which only the server knows".to_owned(),
        "list the function's columns, AS f(a, b), or join with ON",
    )
}

fn system_column(name: &str) -> crate::error::Error {
    refused(
        format!("the system column {name}, which means something else on every shard"),
        "use a column of the table's own",
    )
}

fn coalesce(first: Expr, second: Expr) -> Expr {
    build::call("coalesce", vec![first, second])
}

fn named_item(expr: Expr, name: &str) -> SelectItem {
    match sql::output_name(&expr).as_deref() == Some(name) {
        true => SelectItem::UnnamedExpr(expr),
        false => SelectItem::ExprWithAlias {
            expr,
            alias: ident(name),
        },
    }
}

/// The name of a select item; `None` for what stands for several columns.
pub(super) fn item_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => sql::output_name(expr),
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    }
}

fn output_names(output: &Output) -> HashSet<String> {
    let columns = output.iter().flatten();
    columns.map(|column| column.name.clone()).collect()
}

fn derived(query: Query, alias: &str, columns: Vec<Ident>) -> TableFactor {
    let mut alias = table_alias(alias);
    alias.columns = columns
        .into_iter()
        .map(|name| TableAliasColumnDef {
            name,
            data_type: None,
        })
        .collect();
    TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(alias),
        sample: None,
    }
}

/// How many times each common table expression would run if it stood wherever it is named.
fn runs(ctes: &[Cte], query: &Query) -> Vec<usize> {
    let mentions = |query: &Query, name: &str| {
        let mut count = 0_usize;
        let _ = datafusion::sql::sqlparser::ast::visit_relations(query, |relation| {
            count += usize::from(parts(relation) == [name]);
            std::ops::ControlFlow::<()>::Continue(())
        });
        count
    };
    let mut runs = vec![0_usize; ctes.len()];
    for (index, cte) in ctes.iter().enumerate().rev() {
        let name = folded(&cte.alias.name);
        let mut count = mentions(query, &name);
        for (later, other) in ctes.iter().enumerate().skip(index + 1) {
            count += mentions(&other.query, &name).saturating_mul(runs[later]);
        }
        runs[index] = count.min(1_000_000);
    }
    runs
}

/// Whether a query names one of these tables, anywhere inside.
fn mentions(query: &mut Query, names: &[String]) -> bool {
    use std::ops::ControlFlow;
    !names.is_empty()
        && datafusion::sql::sqlparser::ast::visit_relations(query, |name| match parts(name) {
            parts if parts.len() == 1 && names.contains(&parts[0]) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
        .is_break()
}
