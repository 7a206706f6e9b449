//! Which relations, and which of their columns, a part of a bound statement names.
//!
//! In a [bound](super::bind) statement no two relations have the same alias, so a name means the
//! same wherever it stands. A relation is named by
//!
//! | written | where |
//! |---|---|
//! | `a.b`, `(a.b).field`, `a.b[1]` | anywhere: one column |
//! | `a`, `(a).b` | anywhere: the row as a whole |
//! | `f(a.*)`, `ROW(a.*)` | among the arguments of a function, also of one in FROM: the row |
//! | `a.*` | in a select list: all columns |
//!
//! Columns that USING has merged are expressions over `a.b` by then. No relation is meant by what
//! ORDER BY, DISTINCT ON and GROUP BY call a column of the output, though one may have the same name,
//! nor by the name of a field.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    GroupByExpr, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableFactor, Visit, Visitor,
};

use super::from_item::FromItem;
use super::locality::{factor_alias, is_output, order_keys};
use super::naming::{as_column, folded, parts};
use super::rewrite::bare;

/// What a part of a statement names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By the alias of the relation.
    columns: HashMap<String, BTreeSet<String>>,
    /// Whatever stands alone, as a row as a whole does: the alias of a relation, or a word such as
    /// `current_user`.
    whole: HashSet<String>,
    /// The items of FROM inside.
    inside: HashSet<String>,
    /// `*` stands somewhere where it could not be spelled out.
    everything: bool,
}

impl Names {
    /// What is named anywhere in a tree, in its queries too.
    pub(super) fn of<T: Visit>(tree: &T) -> Self {
        Self::read(tree, usize::MAX)
    }

    /// What is named outside of the queries that a tree holds.
    pub(super) fn beside_queries<T: Visit>(tree: &T) -> Self {
        Self::read(tree, 0)
    }

    fn read<T: Visit>(tree: &T, deepest: usize) -> Self {
        let mut reader = Reader {
            names: Self::default(),
            no_names: HashSet::new(),
            depth: 0,
            deepest,
        };
        let _ = tree.visit(&mut reader);
        reader.names
    }

    /// The relations that are named, by a column or as a whole.
    pub(super) fn relations(&self, known: &HashMap<String, FromItem>) -> HashSet<String> {
        let named = self.columns.keys().chain(&self.whole);
        named
            .filter(|alias| known.contains_key(*alias))
            .cloned()
            .collect()
    }

    /// The relations that are named but are no items of FROM inside: those of queries around.
    pub(super) fn free(&self, known: &HashMap<String, FromItem>) -> HashSet<String> {
        let mut named = self.relations(known);
        named.retain(|alias| !self.inside.contains(alias));
        named
    }

    /// Whether one of these relations is named.
    pub(super) fn any_of(&self, relations: &HashSet<String>) -> bool {
        self.has_row_of(relations) || self.columns.keys().any(|alias| relations.contains(alias))
    }

    /// Whether one of these relations is named as a whole.
    pub(super) fn has_row_of(&self, relations: &HashSet<String>) -> bool {
        !self.whole.is_disjoint(relations)
    }

    /// The columns that are named, by the alias of their relation.
    pub(super) fn columns(&self) -> &HashMap<String, BTreeSet<String>> {
        &self.columns
    }

    /// The aliases before columns.
    pub(super) fn of_columns(&self) -> HashSet<String> {
        self.columns.keys().cloned().collect()
    }

    /// Whatever stands alone: the alias of a relation, or another word.
    pub(super) fn alone(&self) -> &HashSet<String> {
        &self.whole
    }

    /// The items of FROM inside.
    pub(super) fn inside(&self) -> &HashSet<String> {
        &self.inside
    }

    /// Whether the values of a column are needed.
    pub(super) fn is_needed(&self, alias: &str, column: &str) -> bool {
        self.everything
            || self.whole.contains(alias)
            || self
                .columns
                .get(alias)
                .is_some_and(|columns| columns.contains(column))
    }
}

/// The relations whose rows a call is given as `a.*`, not counting those inside its arguments.
pub(super) fn rows_given(function: &Function) -> HashSet<String> {
    match &function.args {
        FunctionArguments::List(list) => rows_in(&list.args),
        FunctionArguments::None | FunctionArguments::Subquery(_) => HashSet::new(),
    }
}

fn rows_in(args: &[FunctionArg]) -> HashSet<String> {
    args.iter()
        .filter_map(|arg| match arg {
            FunctionArg::Named { arg, .. }
            | FunctionArg::ExprNamed { arg, .. }
            | FunctionArg::Unnamed(arg) => match arg {
                FunctionArgExpr::QualifiedWildcard(name) => first(name),
                _ => None,
            },
        })
        .collect()
}

fn first(name: &ObjectName) -> Option<String> {
    parts(name).into_iter().next()
}

struct Reader {
    names: Names,
    /// Where an identifier stands that names no relation. The tree does not change meanwhile.
    no_names: HashSet<*const Expr>,
    /// How many queries are around.
    depth: usize,
    /// How many may be.
    deepest: usize,
}

impl Visitor for Reader {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        for key in order_keys(query) {
            let is_output = match &*query.body {
                SetExpr::Select(select) => is_output(&key.expr, select),
                _ => true,
            };
            if is_output {
                self.no_name(&key.expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if self.is_too_deep() {
            return ControlFlow::Continue(());
        }
        if let Some(Distinct::On(keys)) = &select.distinct {
            self.outputs(keys.iter(), select);
        }
        if let GroupByExpr::Expressions(keys, _) = &select.group_by {
            self.outputs(keys.iter().filter(|key| !is_own_row(key, select)), select);
        }
        for item in &select.projection {
            match item {
                SelectItem::Wildcard(_) => self.names.everything = true,
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    _,
                ) => self.names.whole.extend(first(name)),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.names.inside.extend(factor_alias(factor));
        let args = match factor {
            TableFactor::Table {
                args: Some(args), ..
            } => &args.args[..],
            TableFactor::Function { args, .. } => args,
            _ => &[],
        };
        if !self.is_too_deep() {
            self.names.whole.extend(rows_in(args));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.is_too_deep() {
            return ControlFlow::Continue(());
        }
        match expr {
            Expr::CompoundIdentifier(names) => match as_column(expr) {
                Some((alias, column)) => {
                    self.names.columns.entry(alias).or_default().insert(column);
                }
                None => self.names.whole.extend(names.first().map(folded)),
            },
            Expr::Identifier(name) if !self.no_names.contains(&std::ptr::from_ref(expr)) => {
                self.names.whole.insert(folded(name));
            }
            Expr::QualifiedWildcard(name, _) => self.names.whole.extend(first(name)),
            Expr::Function(function) => self.names.whole.extend(rows_given(function)),
            Expr::CompoundFieldAccess { access_chain, .. } => {
                for access in access_chain {
                    if let AccessExpr::Dot(field) = access {
                        self.no_name(field);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Reader {
    fn is_too_deep(&self) -> bool {
        self.depth > self.deepest
    }

    fn outputs<'a>(&mut self, keys: impl Iterator<Item = &'a Expr>, select: &Select) {
        for key in keys.filter(|key| is_output(key, select)) {
            self.no_name(key);
        }
    }

    /// An identifier, in parentheses or not, is no name of a relation.
    fn no_name(&mut self, expr: &Expr) {
        self.no_names.insert(std::ptr::from_ref(bare(expr)));
    }
}

/// Whether a key is the row of an item of FROM, which GROUP BY takes before a column of the output.
fn is_own_row(key: &Expr, select: &Select) -> bool {
    let Expr::Identifier(name) = bare(key) else {
        return false;
    };
    let mut found = false;
    for tree in &select.from {
        found |= Names::beside_queries(tree).inside.contains(&folded(name));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::from_item::Source;
    use crate::plan::sql;

    /// The names that are free in a query, over relations `a`, `b`, `c` and `d`.
    fn free(text: &str) -> String {
        let query = sql::parse(text).unwrap();
        let known = ["a", "b", "c", "d"].map(|alias| {
            let relation = FromItem {
                source: Source::Derived,
                columns: None,
            };
            (alias.to_owned(), relation)
        });
        let mut found: Vec<_> = Names::of(&query).free(&known.into()).into_iter().collect();
        found.sort();
        found.join(" ")
    }

    #[test]
    fn every_way_to_name_a_relation_is_known() {
        for (text, expected) in [
            ("select a.x from t as a", ""),
            ("select b.x from t as a", "b"),
            ("select b from t as a", "b"),
            ("select (b).x, (c.y).z from t as a", "b c"),
            ("select b.y[c.x] from t as a", "b c"),
            ("select f(b.*) from t as a", "b"),
            ("select f(a.*), f(1, a.*) from t as a", ""),
            ("select count(*) filter (where f(b.*) = 1) from t as a", "b"),
            ("select array_agg(a.x order by f(b.*)) from t as a", "b"),
            (
                "select sum(a.x) over (partition by b order by f(c.*)) from t as a",
                "b c",
            ),
            (
                "select sum(a.x) over w from t as a window w as (order by f(c.*))",
                "c",
            ),
            ("select b.* from t as a", "b"),
            (
                "select 1 from t as a, lateral (select f(b.*), a.x) as c",
                "b",
            ),
            ("select 1 from t as a, lateral f(b.*) as c", "b"),
            ("select 1 from t as a join t as b on f(c.*) = 1", "c"),
            ("values (f(b.*)), (c)", "b c"),
            (
                "select 1 from t as a where exists (select from t as b where f(b.*, a.*, c.*) = 1)",
                "c",
            ),
            (
                "select 1 from t as a where exists (select from t as b limit c.x)",
                "c",
            ),
        ] {
            assert_eq!(free(text), expected, "{text}");
        }
    }

    #[test]
    fn columns_of_the_output_and_fields_are_no_relations() {
        for (text, expected) in [
            ("select a.x as b from t as a order by b", ""),
            ("select a.x as b from t as a order by (b)", ""),
            ("select a.x as b from t as a order by b, f(c)", "c"),
            ("select distinct on (b) a.x as b from t as a", ""),
            ("select 1 as b from t as a group by b", ""),
            ("select a from t as a group by a", ""),
            ("select 1 as b union select 2 order by b", ""),
            ("select (a.x).b from t as a", ""),
            ("select current_user from t as a", ""),
        ] {
            assert_eq!(free(text), expected, "{text}");
        }
    }
}
