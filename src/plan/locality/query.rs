//! Queries: set operations, LIMIT, and what is beside their SELECTs.

use std::borrow::Cow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier, TableFactor,
};

use super::{
    Anchors, Distribution, Locality, OutputKey, factor_alias, is_limited, is_output, order_keys,
    resolve_key,
};
use crate::plan::facts::types;
use crate::plan::from_item::Source;
use crate::plan::names::Names;
use crate::plan::naming::as_column;
use crate::plan::rewrite::{self, bare};
use crate::plan::{functions, thread};

impl Locality<'_> {
    pub(super) fn query(&self, query: &Query, anchors: &Anchors) -> Distribution {
        if let Err(abandoned) = thread::check() {
            return Distribution::Global(abandoned.to_string());
        }
        let beside = self
            .global_with(query)
            .or_else(|| self.subqueries_of(&query.limit_clause, anchors))
            .or_else(|| self.subqueries_of(&query.fetch, anchors))
            .or_else(|| match &*query.body {
                // Its subqueries see the rows of FROM, and are looked at with them.
                SetExpr::Select(_) => None,
                _ => self.subqueries_of(&query.order_by, anchors),
            });
        if let Some(reason) = beside {
            return Distribution::Global(reason);
        }
        let body = match &*query.body {
            SetExpr::Select(select) => {
                self.select(&with_order(select, query), anchors)
                    .distribution
            }
            body => self.body(body, anchors),
        };
        if !is_limited(query) {
            return body;
        }
        match body {
            Distribution::Sharded { .. } => {
                Distribution::Global("LIMIT counts the rows of all shards".to_owned())
            }
            Distribution::Replicated if self.runs_on_one_shard(query, anchors) => {
                self.say(|| {
                    "LIMIT chooses rows for a row outside, which one shard has: no other may choose \
                     otherwise"
                        .to_owned()
                });
                Distribution::Replicated
            }
            Distribution::Replicated
                if self.is_ordered_by_key(query) && self.has_plain_limit(query) =>
            {
                self.say(|| {
                    "LIMIT takes rows in the order of a unique key: the same on every shard"
                        .to_owned()
                });
                Distribution::Replicated
            }
            Distribution::Replicated => Distribution::Global(
                "LIMIT may choose other rows of a replicated table on each shard".to_owned(),
            ),
            other => other,
        }
    }

    /// The distribution of a query that an expression holds.
    pub(in crate::plan) fn held(
        &self,
        holder: &Expr,
        query: &Query,
        anchors: &Anchors,
    ) -> Distribution {
        match self.query(query, anchors) {
            Distribution::Replicated
                if functions::is_array_of_rows(holder)
                    && self.reads_tables(query)
                    && !self.is_ordered_by_itself(query)
                    && !self.runs_on_one_shard(query, anchors) =>
            {
                Distribution::Global(
                    "the order of ARRAY(SELECT ..) over a replicated table may differ between shards"
                        .to_owned(),
                )
            }
            other => other,
        }
    }

    /// Whether a query reads what may lie in another order elsewhere, as the rows of a step do not.
    fn reads_tables(&self, query: &Query) -> bool {
        let mut found = false;
        rewrite::factors(query, |factor| {
            let alias = factor_alias(factor).unwrap_or_default();
            let source = self.relations.get(&alias).map(|relation| &relation.source);
            found |= matches!(factor, TableFactor::Table { args: None, .. })
                && !matches!(source, Some(Source::Step));
        });
        found
    }

    /// Whether rows of one column are ordered so that which of them are equal does not matter: by
    /// that column, of whose values equal ones are the same.
    fn is_ordered_by_itself(&self, query: &Query) -> bool {
        let SetExpr::Select(select) = &*query.body else {
            return false;
        };
        let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
            &select.projection[..]
        else {
            return false;
        };
        let is_exact = as_column(item).is_some_and(|(alias, name)| {
            let columns = self
                .relations
                .get(&alias)
                .map(|r| r.columns.iter().flatten());
            let mut columns = columns.into_iter().flatten();
            columns.any(|column| {
                column.name == name
                    && column.type_name.as_deref().is_some_and(|type_name| {
                        let collation = column.collation.as_ref();
                        types::is_identified(type_name, collation.is_none_or(|c| c.deterministic))
                    })
            })
        });
        is_exact
            && order_keys(query)
                .iter()
                .any(|key| is_output(&key.expr, select) || bare(&key.expr) == bare(item))
    }

    /// Whether no two rows of a query come in an order that is left open: it is of one table, whose
    /// rows it sorts by all columns of a unique key.
    fn is_ordered_by_key(&self, query: &Query) -> bool {
        let SetExpr::Select(select) = &*query.body else {
            return false;
        };
        let [tree] = &select.from[..] else {
            return false;
        };
        let TableFactor::Table { args: None, .. } = &tree.relation else {
            return false;
        };
        // An aggregate makes one row of several, and a function that returns a set several of one.
        let is_plain = tree.joins.is_empty()
            && select.distinct.is_none()
            && matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty())
            && select.having.is_none()
            && !rewrite::any(&select.projection, |expr| matches!(expr, Expr::Function(_)));
        let Some(alias) = factor_alias(&tree.relation) else {
            return false;
        };
        let Some(item) = self.relations.get(&alias) else {
            return false;
        };
        let Source::Table(base) = &item.source else {
            return false;
        };
        let (schema, name) = &base.name;
        let Some(table) = self.catalog.relation(Some(schema), name) else {
            return false;
        };
        let sorted: Vec<_> = order_keys(query)
            .iter()
            .filter_map(|key| as_column(&resolve_key(&key.expr, &select.projection)))
            .filter(|(of, _)| *of == alias)
            .map(|(_, column)| column)
            .collect();
        // As the statement calls it.
        let own = |column: &String| {
            let index = table.columns.iter().position(|it| it.name == *column)?;
            Some(&item.columns.as_ref()?.get(index)?.name)
        };
        let is_sorted = |key: &Vec<String>| {
            key.iter()
                .all(|column| own(column).is_some_and(|own| sorted.contains(own)))
        };
        is_plain && table.keys.iter().any(is_sorted)
    }

    /// Whether all shards count the same rows.
    fn has_plain_limit(&self, query: &Query) -> bool {
        !functions::is_volatile(&query.limit_clause, self.catalog)
            && !functions::is_volatile(&query.fetch, self.catalog)
    }

    /// Whether a subquery runs for rows that one shard has, so that no other shard may choose
    /// otherwise for the same row.
    fn runs_on_one_shard(&self, query: &Query, anchors: &Anchors) -> bool {
        self.names_outer(query, &|alias| {
            anchors.0.iter().any(|(_, (anchor, _))| anchor == alias)
        })
    }

    fn body(&self, body: &SetExpr, anchors: &Anchors) -> Distribution {
        match body {
            SetExpr::Select(select) => self.select(select, anchors).distribution,
            SetExpr::Query(query) => self.query(query, anchors),
            SetExpr::Values(values) => {
                if functions::is_volatile(values, self.catalog) {
                    return Distribution::Global("VALUES with a volatile function".to_owned());
                }
                match self.subqueries_of(values, anchors) {
                    Some(reason) => Distribution::Global(reason),
                    None => Distribution::Replicated,
                }
            }
            SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } => {
                let of_left = self.body(left, anchors);
                let of_right = self.body(right, anchors);
                self.set_operation((*op, *set_quantifier), (left, of_left), (right, of_right))
            }
            _ => Distribution::Global("a statement that changes data".to_owned()),
        }
    }

    /// How many set operations, from this one on by way of their left sides, no shard can compute:
    /// one that cannot be makes all those around it such.
    pub(in crate::plan) fn global_levels(&self, body: &SetExpr) -> usize {
        let anchors = Anchors::default();
        let mut operations = Vec::new();
        let mut left = body;
        while let SetExpr::SetOperation {
            op,
            set_quantifier,
            left: further,
            right,
        } = left
        {
            operations.push(((*op, *set_quantifier), further, right));
            left = further;
        }
        let mut found = self.body(left, &anchors);
        while !matches!(found, Distribution::Global(_)) {
            let Some((op, left, right)) = operations.pop() else {
                return 0;
            };
            let of_right = self.body(right, &anchors);
            found = self.set_operation(op, (left, found), (right, of_right));
            if matches!(found, Distribution::Global(_)) {
                return operations.len() + 1;
            }
        }
        operations.len()
    }

    /// A set operation, given what is known of both sides.
    fn set_operation(
        &self,
        (op, quantifier): (SetOperator, SetQuantifier),
        (left, of_left): (&SetExpr, Distribution),
        (right, of_right): (&SetExpr, Distribution),
    ) -> Distribution {
        let are_copies =
            (&of_left, &of_right) == (&Distribution::Replicated, &Distribution::Replicated);
        let reason = match are_copies {
            true => self.set_of_copies_differs(op, quantifier, left, right),
            false => None,
        };
        match reason {
            Some(reason) => Distribution::Global(reason),
            None => self.united(op, quantifier, of_left, of_right),
        }
    }

    /// Whether a query names columns of an outer one.
    pub(in crate::plan) fn is_correlated(&self, query: &Query) -> bool {
        self.names_outer(query, &|_| true)
    }

    /// Whether a query names such a relation that it does not hold.
    fn names_outer(&self, query: &Query, is_meant: &dyn Fn(&str) -> bool) -> bool {
        let free = Names::of(query).free(self.relations);
        free.iter().any(|alias| is_meant(alias))
    }
}

impl Locality<'_> {
    fn united(
        &self,
        op: SetOperator,
        quantifier: SetQuantifier,
        left: Distribution,
        right: Distribution,
    ) -> Distribution {
        use Distribution::{Anchored, Global, Replicated, Sharded};
        match (left, right) {
            (Global(reason), _) | (_, Global(reason)) => Global(reason),
            (Replicated, Replicated) => Replicated,
            (Replicated | Anchored, Replicated | Anchored) => Anchored,
            (
                Sharded { group, keys },
                Sharded {
                    group: other,
                    keys: more,
                },
            ) => {
                let common: Vec<_> = keys
                    .iter()
                    .filter_map(|key| {
                        let same = more.iter().find(|other| other.index == key.index)?;
                        Some(OutputKey {
                            index: key.index,
                            not_null: key.not_null && same.not_null,
                        })
                    })
                    .filter(|_| group == other)
                    .collect();
                let all = matches!((op, quantifier), (SetOperator::Union, SetQuantifier::All));
                let key = common.iter().find(|key| key.not_null);
                match key {
                    _ if all => self.say(|| "UNION ALL compares no rows".to_owned()),
                    Some(key) => self.say(|| {
                        format!(
                            "{op} compares the shard key, column {}, which is not NULL: equal rows \
                             are on one shard",
                            key.index + 1
                        )
                    }),
                    None => return Global(format!("{op} compares the rows of all shards")),
                }
                Sharded {
                    group,
                    keys: common,
                }
            }
            _ => Global(format!("{op} of sharded and replicated rows")),
        }
    }
}

/// A SELECT that also says by which expressions its query sorts: of those that are no columns of
/// the output, in a clause that PostgreSQL does not have.
fn with_order<'a>(select: &'a Select, query: &Query) -> Cow<'a, Select> {
    let keys = order_keys(query).iter();
    let keys: Vec<_> = keys
        .filter(|key| !is_output(&key.expr, select))
        .cloned()
        .collect();
    if keys.is_empty() {
        return Cow::Borrowed(select);
    }
    let mut whole = select.clone();
    whole.sort_by = keys;
    Cow::Owned(whole)
}
