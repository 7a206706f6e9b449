//! Which shards a statement has to ask: those of the shard keys that its conditions let pass.
//!
//! A sharded table of a statement is *pinned* if a condition that all of its rows in the answer
//! meet is `key = constant`, `key IN (constants)`, or an equality with a column that is pinned. The
//! topology's `shard_index` gives the shard of a constant, and PostgreSQL evaluates it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

use super::Stop;
use super::constant::{Constant, elements, typed};
use super::from_item::{self, FromItem, Outer, Sharding, Source};
use super::locality::{self, ColumnName, Equalities};
use super::naming::{self, as_column};
use super::rewrite::{self, bare, conjuncts};
use crate::error::{Error, ErrorKind};

/// Finds the shards.
pub(super) struct Router<'a> {
    relations: &'a HashMap<String, FromItem>,
    shards: usize,
    answers: &'a super::Answers,
    /// The aliases of the tables that were looked at.
    seen: RefCell<HashSet<String>>,
}

/// The shards on which a colocation group has the keys that a column may be equal to, by column and
/// group: other groups have the same keys on other shards.
type Pins = HashMap<(ColumnName, String), BTreeSet<usize>>;

/// Of more keys no shard is asked where they lie: they lie on all.
const MOST_KEYS: usize = 10_000;

impl<'a> Router<'a> {
    pub(super) fn new(
        relations: &'a HashMap<String, FromItem>,
        shards: usize,
        answers: &'a super::Answers,
    ) -> Self {
        Self {
            relations,
            shards,
            answers,
            seen: RefCell::default(),
        }
    }

    /// The shards that hold rows of the sharded tables of a query; `None`: not all are pinned.
    pub(super) fn of(&self, query: &Query) -> Result<Option<BTreeSet<usize>>, Stop> {
        let found = self.query(query, &Pins::new())?;
        // A table somewhere that is not looked at (in LIMIT, say) is not pinned.
        let mut all = true;
        rewrite::factors(query, |factor| {
            let alias = locality::factor_alias(factor).unwrap_or_default();
            all &= self.sharding(&alias).is_none() || self.seen.borrow().contains(&alias);
        });
        Ok(found.filter(|_| all))
    }

    /// The shards of one table of a SELECT.
    pub(super) fn of_table(
        &self,
        select: &Select,
        alias: &str,
    ) -> Result<Option<BTreeSet<usize>>, Stop> {
        let pins = self.pins(select, &Pins::new())?;
        Ok(self
            .sharding(alias)
            .and_then(|sharding| {
                let key = (alias.to_owned(), sharding.key.clone());
                pins.get(&(key, sharding.group.clone()))
            })
            .cloned())
    }

    fn query(&self, query: &Query, outer: &Pins) -> Result<Option<BTreeSet<usize>>, Stop> {
        let mut found = Some(BTreeSet::new());
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            unite(&mut found, self.query(&cte.query, &Pins::new())?);
        }
        unite(&mut found, self.body(&query.body, outer, &Pins::new())?);
        if let Some(order_by) = &query.order_by {
            unite(&mut found, self.subqueries(order_by, outer)?);
        }
        Ok(found)
    }

    /// `pinned`: columns of FROM of which an outer query lets only some values pass.
    fn body(
        &self,
        body: &SetExpr,
        outer: &Pins,
        pinned: &Pins,
    ) -> Result<Option<BTreeSet<usize>>, Stop> {
        match body {
            SetExpr::Select(select) => self.select(select, outer, pinned),
            SetExpr::Query(query) => self.query(query, outer),
            SetExpr::SetOperation { left, right, .. } => {
                let mut found = self.body(left, outer, pinned)?;
                unite(&mut found, self.body(right, outer, pinned)?);
                Ok(found)
            }
            _ => Ok(Some(BTreeSet::new())),
        }
    }

    fn select(
        &self,
        select: &Select,
        outer: &Pins,
        pinned: &Pins,
    ) -> Result<Option<BTreeSet<usize>>, Stop> {
        let mut known = outer.clone();
        known.extend(pinned.clone());
        let pins = self.pins(select, &known)?;
        let mut found = Some(BTreeSet::new());
        for tree in &select.from {
            unite(&mut found, self.tree(tree, &pins)?);
        }
        unite(&mut found, self.subqueries(&select.projection, &pins)?);
        unite(&mut found, self.subqueries(&select.selection, &pins)?);
        unite(&mut found, self.subqueries(&select.having, &pins)?);
        unite(&mut found, self.subqueries(&select.group_by, &pins)?);
        Ok(found)
    }

    fn subqueries<T>(&self, tree: &T, pins: &Pins) -> Result<Option<BTreeSet<usize>>, Stop>
    where
        T: datafusion::sql::sqlparser::ast::VisitMut + Clone,
    {
        let mut found = Some(BTreeSet::new());
        let mut stop = None;
        let mut queries = Vec::new();
        collect_subqueries(&mut tree.clone(), &mut queries);
        for query in &queries {
            match self.query(query, pins) {
                Ok(more) => unite(&mut found, more),
                Err(error) => stop = Some(error),
            }
        }
        match stop {
            Some(stop) => Err(stop),
            None => Ok(found),
        }
    }

    fn tree(&self, tree: &TableWithJoins, pins: &Pins) -> Result<Option<BTreeSet<usize>>, Stop> {
        let mut found = self.factor(&tree.relation, pins)?;
        for join in &tree.joins {
            unite(&mut found, self.factor(&join.relation, pins)?);
            if let Some(condition) = locality::condition(&join.join_operator) {
                unite(&mut found, self.subqueries(condition, pins)?);
            }
        }
        Ok(found)
    }

    fn factor(&self, factor: &TableFactor, pins: &Pins) -> Result<Option<BTreeSet<usize>>, Stop> {
        let alias = locality::factor_alias(factor).unwrap_or_default();
        match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => self.tree(table_with_joins, pins),
            TableFactor::Derived { subquery, .. } => {
                let inner = self.of_derived(&alias, subquery, pins);
                let mut found = Some(BTreeSet::new());
                if let Some(with) = &subquery.with {
                    for cte in &with.cte_tables {
                        unite(&mut found, self.query(&cte.query, &Pins::new())?);
                    }
                }
                unite(&mut found, self.body(&subquery.body, pins, &inner)?);
                Ok(found)
            }
            _ => Ok(match self.sharding(&alias) {
                None => Some(BTreeSet::new()),
                Some(sharding) => {
                    self.seen.borrow_mut().insert(alias.clone());
                    let key = (alias, sharding.key.clone());
                    pins.get(&(key, sharding.group.clone())).cloned()
                }
            }),
        }
    }

    /// What pins on the output of a derived table say of the columns that it passes on.
    fn of_derived(&self, alias: &str, query: &Query, pins: &Pins) -> Pins {
        let mut inner = Pins::new();
        // Rows that do not pass later would still count in a limit or a window.
        if locality::is_limited(query) {
            return inner;
        }
        let Some(columns) = self.relations.get(alias).and_then(|r| r.columns.as_ref()) else {
            return inner;
        };
        let mut pending = vec![&*query.body];
        while let Some(body) = pending.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => pending.extend([&**left, &**right]),
                SetExpr::Select(select) => {
                    let has_window = rewrite::any(
                        &select.projection,
                        |expr| matches!(expr, Expr::Function(function) if function.over.is_some()),
                    );
                    if has_window
                        || matches!(
                            select.distinct,
                            Some(datafusion::sql::sqlparser::ast::Distinct::On(_))
                        )
                    {
                        continue;
                    }
                    for (item, column) in select.projection.iter().zip(columns) {
                        let (SelectItem::UnnamedExpr(expr)
                        | SelectItem::ExprWithAlias { expr, .. }) = item
                        else {
                            break;
                        };
                        let Some(name) = as_column(expr) else {
                            continue;
                        };
                        let outer = (alias.to_owned(), column.name.clone());
                        for ((pinned, group), shards) in pins {
                            if *pinned == outer {
                                inner.insert((name.clone(), group.clone()), shards.clone());
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        inner
    }

    fn sharding(&self, alias: &str) -> Option<&Sharding> {
        match &self.relations.get(alias)?.source {
            Source::Table(base) => base.sharding.as_ref(),
            _ => None,
        }
    }

    /// What the conditions of a SELECT say of its columns, added to what is known.
    fn pins(&self, select: &Select, known: &Pins) -> Result<Pins, Stop> {
        let equal = Equalities::of(select).exact(self.relations);
        let mut conditions: Vec<&Expr> = select.selection.iter().flat_map(conjuncts).collect();
        let mut sided = Vec::new();
        for tree in &select.from {
            inner_conditions(tree, &mut conditions, &mut sided);
        }
        // What no condition names is not pinned by any: nor are the tables of other blocks.
        let mut named: HashSet<String> =
            known.keys().map(|((alias, _), _)| alias.clone()).collect();
        rewrite::own_expressions(&select.selection, |expr| named.extend(alias_of(expr)));
        rewrite::own_expressions(&select.from, |expr| named.extend(alias_of(expr)));
        let mut pins = known.clone();
        // Any key that is compared with constants pins all columns that it is equal to.
        for alias in named {
            let Some(sharding) = self.sharding(&alias) else {
                continue;
            };
            let key = (alias, sharding.key.clone());
            let class = equal.class(&key);
            let mut shards: Option<BTreeSet<usize>> = None;
            for condition in &conditions {
                if let Some(constants) = constants(condition, &class)
                    && let Some(found) = self.shards_of(sharding, &constants)?
                {
                    narrow(&mut shards, found);
                }
            }
            for column in &class {
                if let Some(found) = pins.get(&(column.clone(), sharding.group.clone())) {
                    narrow(&mut shards, found.clone());
                }
            }
            if let Some(shards) = shards {
                for column in class {
                    pins.insert((column, sharding.group.clone()), shards.clone());
                }
            }
        }
        // The rows that a LEFT JOIN adds: only those that match a row on the left.
        for (joined, condition) in sided {
            if let Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            } = bare(condition)
                && let (Some(left), Some(right)) = (as_column(left), as_column(right))
            {
                // The left side keeps all of its rows: the condition says nothing of them.
                let (from, to) = match (left.0 == joined, right.0 == joined) {
                    (false, true) => (left, right),
                    (true, false) => (right, left),
                    _ => continue,
                };
                let exact = Equalities::one(from.clone(), to.clone()).exact(self.relations);
                if !exact.same(&from, &to) {
                    continue;
                }
                let found: Vec<_> = pins
                    .iter()
                    .filter(|((column, _), _)| *column == from)
                    .map(|((_, group), shards)| (group.clone(), shards.clone()))
                    .collect();
                for (group, shards) in found {
                    pins.entry((to.clone(), group)).or_insert(shards);
                }
            }
        }
        Ok(pins)
    }

    fn shards_of(
        &self,
        sharding: &Sharding,
        constants: &[Expr],
    ) -> Result<Option<BTreeSet<usize>>, Stop> {
        let Some(index) = &sharding.shard_index else {
            return Ok(None);
        };
        if !sharding.key_is_exact {
            return Ok(None);
        }
        let mut values = Vec::new();
        for constant in constants {
            match typed(constant, &sharding.key_type) {
                Some(Constant::Value(value)) => values.push(value),
                Some(Constant::NoKey) => {}
                None => return Ok(None),
            }
        }
        let mut found = BTreeSet::new();
        if values.is_empty() {
            return Ok(Some(found));
        }
        let rows: Vec<_> = values
            .iter()
            .map(|value| format!("({value}::{})", sharding.key_type))
            .collect();
        let sql = format!(
            "SELECT DISTINCT ({index})::pg_catalog.int8 FROM (VALUES {}) AS key ({})",
            rows.join(", "),
            naming::ident(&sharding.key_column),
        );
        for row in self.answers.evaluated(sql)? {
            // An index of NULL says nothing.
            let Some(Some(number)) = row.first() else {
                return Ok(None);
            };
            match number
                .parse::<usize>()
                .ok()
                .filter(|index| *index < self.shards)
            {
                Some(index) => found.insert(index),
                None => {
                    return Err(Error::new(
                        ErrorKind::Config,
                        format!(
                            "shard_index {index:?} gives {number} for a key of the query, but the shards are 0 to {}",
                            self.shards - 1
                        ),
                    )
                    .with_hint("correct the table's shard_index in the topology (a remainder of a negative number is negative)")
                    .into());
                }
            };
        }
        Ok(Some(found))
    }
}

/// The constants that a condition compares one of the columns with; `None` if it is no such
/// condition.
fn constants(condition: &Expr, class: &[ColumnName]) -> Option<Vec<Expr>> {
    let is_key = |expr: &Expr| as_column(expr).is_some_and(|column| class.contains(&column));
    match bare(condition) {
        Expr::BinaryOp { left, op, right } => match op {
            BinaryOperator::Eq if is_key(left) => Some(vec![(**right).clone()]),
            BinaryOperator::Eq if is_key(right) => Some(vec![(**left).clone()]),
            BinaryOperator::Or => {
                let mut found = constants(left, class)?;
                found.extend(constants(right, class)?);
                Some(found)
            }
            BinaryOperator::And => constants(left, class).or_else(|| constants(right, class)),
            _ => None,
        },
        Expr::InList {
            expr,
            list,
            negated: false,
        } if is_key(expr) => Some(list.clone()),
        Expr::AnyOp {
            left,
            compare_op: BinaryOperator::Eq,
            right,
            ..
        } if is_key(left) => elements(right).filter(|found| found.len() <= MOST_KEYS),
        _ => None,
    }
    // A comparison with another column is no constant; `typed` says so.
    .filter(|found| found.iter().all(|constant| as_column(constant).is_none()))
}

/// The conditions that hold for all rows of a tree, and those of its LEFT JOINs with the alias of
/// what they join.
fn inner_conditions<'a>(
    tree: &'a TableWithJoins,
    all: &mut Vec<&'a Expr>,
    sided: &mut Vec<(String, &'a Expr)>,
) {
    let plain = tree.joins.iter().all(|join| {
        matches!(
            from_item::outer_kind(&join.join_operator),
            Ok(Outer::None | Outer::Left)
        )
    });
    if !plain {
        return;
    }
    if let TableFactor::NestedJoin {
        table_with_joins, ..
    } = &tree.relation
    {
        inner_conditions(table_with_joins, all, sided);
    }
    for join in &tree.joins {
        let found = locality::condition(&join.join_operator)
            .into_iter()
            .flat_map(conjuncts);
        match from_item::outer_kind(&join.join_operator) {
            Ok(Outer::None) => all.extend(found),
            _ => {
                if let Some(joined) = locality::factor_alias(&join.relation) {
                    sided.extend(found.map(|condition| (joined.clone(), condition)));
                }
            }
        }
    }
}

fn collect_subqueries<T: datafusion::sql::sqlparser::ast::VisitMut>(
    tree: &mut T,
    found: &mut Vec<Query>,
) {
    let _ = rewrite::top_down(tree, |expr| {
        if let Expr::InSubquery { expr: left, .. } = expr {
            collect_subqueries(&mut **left, found);
        }
        Ok(match rewrite::subquery(expr) {
            Some(query) => {
                found.push(query.clone());
                rewrite::Walk::Done
            }
            None => rewrite::Walk::Into,
        })
    });
}

/// The relation that a column is of.
fn alias_of(expr: &Expr) -> Option<String> {
    as_column(expr).map(|(alias, _)| alias)
}

/// Both must hold.
fn narrow(shards: &mut Option<BTreeSet<usize>>, found: BTreeSet<usize>) {
    *shards = Some(match shards.take() {
        None => found,
        Some(known) => known.intersection(&found).copied().collect(),
    });
}

/// The shards of both; of all, if either is of all.
fn unite(shards: &mut Option<BTreeSet<usize>>, found: Option<BTreeSet<usize>>) {
    *shards = match (shards.take(), found) {
        (Some(mut known), Some(found)) => {
            known.extend(found);
            Some(known)
        }
        _ => None,
    };
}
