//! Which shards a statement has to ask: those of the shard keys that its conditions let pass.
//!
//! A sharded table of a statement is *pinned* if a condition that all of its rows in the answer
//! meet is `key = constant`, `key IN (constants)`, or an equality with a column that is pinned; and where
//! the rule [ascends](ascending), `key < constant`, `key BETWEEN ..`, `date_trunc('month', key) = ..` and the
//! like. The topology's `shard_index` is the rule that gives the shard of a constant, and PostgreSQL
//! evaluates it.

mod ascending;
mod constant;
mod keys;
mod time;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

use ascending::Rule;
use constant::{Constant, typed};
use keys::{Key, Keys, MOST_KEYS, Range};
use time::{KeySql, is_zoned};

use super::Stop;
use super::argument::beginning;
use super::from_item::{self, FromColumn, FromItem, Outer, Sharding, Source};
use super::locality::{self, ColumnName, Equalities};
use super::naming::{self, as_column};
use super::rewrite::{self, bare, conjuncts};
use super::{build, functions, instant, sql};
use crate::catalog::Catalog;
use crate::error::{Error, ErrorKind};
use crate::quote;

/// Finds the shards.
pub(super) struct Router<'a> {
    relations: &'a HashMap<String, FromItem>,
    shards: usize,
    catalog: &'a Catalog,
    answers: &'a super::Answers,
    /// The aliases of the tables that were looked at.
    seen: RefCell<HashSet<String>>,
    /// The conditions that told shards, for people.
    told: RefCell<BTreeSet<String>>,
}

/// What is known of the columns of a derived table's FROM from where the table is read.
#[derive(Default)]
struct Given {
    pins: Pins,
    /// Conditions that all of its rows meet which the query needs.
    conditions: Vec<Expr>,
}

/// The shards on which a colocation group has the keys that a column may be equal to, by column and
/// group: other groups have the same keys on other shards.
type Pins = HashMap<(ColumnName, String), BTreeSet<usize>>;

impl<'a> Router<'a> {
    pub(super) fn new(
        relations: &'a HashMap<String, FromItem>,
        shards: usize,
        catalog: &'a Catalog,
        answers: &'a super::Answers,
    ) -> Self {
        Self {
            relations,
            shards,
            catalog,
            answers,
            seen: RefCell::default(),
            told: RefCell::default(),
        }
    }

    /// Which conditions told the shards, for people.
    pub(super) fn told_by(&self) -> String {
        let told: Vec<_> = self.told.borrow().iter().cloned().collect();
        match told.is_empty() {
            true => "these".to_owned(),
            false => told.join(", "),
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
        let pins = self.pins(select, &Pins::new(), &Holding::of(select, &[]))?;
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
        unite(
            &mut found,
            self.body(&query.body, outer, &Given::default())?,
        );
        if let Some(order_by) = &query.order_by {
            unite(&mut found, self.subqueries(order_by, outer)?);
        }
        Ok(found)
    }

    /// `given`: of which columns of FROM an outer query lets only some values pass.
    fn body(
        &self,
        body: &SetExpr,
        outer: &Pins,
        given: &Given,
    ) -> Result<Option<BTreeSet<usize>>, Stop> {
        match body {
            SetExpr::Select(select) => self.select(select, outer, given),
            SetExpr::Query(query) => self.query(query, outer),
            SetExpr::SetOperation { left, right, .. } => {
                let mut found = self.body(left, outer, given)?;
                unite(&mut found, self.body(right, outer, given)?);
                Ok(found)
            }
            _ => Ok(Some(BTreeSet::new())),
        }
    }

    fn select(
        &self,
        select: &Select,
        outer: &Pins,
        given: &Given,
    ) -> Result<Option<BTreeSet<usize>>, Stop> {
        let mut known = outer.clone();
        known.extend(given.pins.clone());
        let holding = Holding::of(select, &given.conditions);
        let pins = self.pins(select, &known, &holding)?;
        let mut found = Some(BTreeSet::new());
        for tree in &select.from {
            unite(&mut found, self.tree(tree, &pins, &holding)?);
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

    fn tree(
        &self,
        tree: &TableWithJoins,
        pins: &Pins,
        holding: &Holding<'_>,
    ) -> Result<Option<BTreeSet<usize>>, Stop> {
        let mut found = self.factor(&tree.relation, pins, holding)?;
        for join in &tree.joins {
            unite(&mut found, self.factor(&join.relation, pins, holding)?);
            if let Some(condition) = locality::condition(&join.join_operator) {
                unite(&mut found, self.subqueries(condition, pins)?);
            }
        }
        Ok(found)
    }

    fn factor(
        &self,
        factor: &TableFactor,
        pins: &Pins,
        holding: &Holding<'_>,
    ) -> Result<Option<BTreeSet<usize>>, Stop> {
        let alias = locality::factor_alias(factor).unwrap_or_default();
        match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => self.tree(table_with_joins, pins, holding),
            TableFactor::Derived { subquery, .. } => {
                let inner = self.of_derived(&alias, subquery, pins, holding);
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

    /// What pins and conditions on the output of a derived table say of the columns that it passes on.
    fn of_derived(&self, alias: &str, query: &Query, pins: &Pins, holding: &Holding<'_>) -> Given {
        let mut given = Given::default();
        // Rows that do not pass later would still count in a limit or a window.
        if locality::is_limited(query) {
            return given;
        }
        let Some(columns) = self.relations.get(alias).and_then(|r| r.columns.as_ref()) else {
            return given;
        };
        let is_single = matches!(*query.body, SetExpr::Select(_));
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
                    let items = select.projection.iter().map_while(|item| match item {
                        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                            Some(expr)
                        }
                        _ => None,
                    });
                    let passed: HashMap<&str, &Expr> = columns
                        .iter()
                        .map(|column| column.name.as_str())
                        .zip(items)
                        .filter(|(_, expr)| as_column(expr).is_some())
                        .collect();
                    for ((pinned, group), shards) in pins {
                        if pinned.0 == alias
                            && let Some(name) = passed.get(&*pinned.1).and_then(|it| as_column(it))
                        {
                            given.pins.insert((name, group.clone()), shards.clone());
                        }
                    }
                    // A literal means what the column is that it is compared with.
                    let passed: HashMap<&str, &Expr> = passed
                        .into_iter()
                        .filter(|(name, _)| is_single || self.is_of_one_type(columns, name, query))
                        .collect();
                    let inside = holding.all.iter();
                    let inside =
                        inside.filter_map(|condition| passed_on(condition, alias, &passed));
                    given.conditions.extend(inside);
                }
                _ => {}
            }
        }
        given
    }

    /// Whether all operands of a set operation give an output column as a column of the same type, so that
    /// none is cast.
    fn is_of_one_type(&self, columns: &[FromColumn], name: &str, query: &Query) -> bool {
        let Some(at) = columns.iter().position(|column| column.name == name) else {
            return false;
        };
        let mut pending = vec![&*query.body];
        let mut types = Vec::new();
        while let Some(body) = pending.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => pending.extend([&**left, &**right]),
                SetExpr::Select(select) => types.push(self.type_of_item(select, at)),
                _ => return false,
            }
        }
        types.first().is_some_and(Option::is_some) && types.windows(2).all(|two| two[0] == two[1])
    }

    /// The type of an item of a SELECT that is a column.
    fn type_of_item(&self, select: &Select, at: usize) -> Option<&str> {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) =
            select.projection.get(at)?
        else {
            return None;
        };
        let (alias, name) = as_column(expr)?;
        let columns = self.relations.get(&alias)?.columns.as_ref()?;
        let column = columns.iter().find(|column| column.name == name)?;
        column.type_name.as_deref()
    }

    fn sharding(&self, alias: &str) -> Option<&Sharding> {
        match &self.relations.get(alias)?.source {
            Source::Table(base) => base.sharding.as_ref(),
            _ => None,
        }
    }

    /// What the conditions of a SELECT say of its columns, added to what is known.
    fn pins(&self, select: &Select, known: &Pins, holding: &Holding<'_>) -> Result<Pins, Stop> {
        let equal = Equalities::of(select).exact(self.relations);
        // What no condition names is not pinned by any: nor are the tables of other blocks.
        let mut named: HashSet<String> =
            known.keys().map(|((alias, _), _)| alias.clone()).collect();
        rewrite::own_expressions(&select.selection, |expr| named.extend(alias_of(expr)));
        rewrite::own_expressions(&select.from, |expr| named.extend(alias_of(expr)));
        for condition in &holding.all {
            rewrite::own_expressions(*condition, |expr| named.extend(alias_of(expr)));
        }
        let mut pins = known.clone();
        // Any key that is compared with constants pins all columns that it is equal to.
        for alias in named {
            let Some(sharding) = self.sharding(&alias) else {
                continue;
            };
            let key = (alias, sharding.key.clone());
            let class = equal.class(&key);
            let key = Key {
                class: &class,
                alike: self.keys_of_type(&class, &sharding.key_type),
                key_type: &sharding.key_type,
                catalog: self.catalog,
            };
            let mut shards: Option<BTreeSet<usize>> = None;
            for condition in &holding.all {
                if let Some(keys) = key.passing(condition)
                    && let Some(found) = self.shards_with(sharding, &keys)?
                {
                    self.told.borrow_mut().insert(beginning(condition));
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
        for (joined, condition) in &holding.sided {
            if let Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            } = bare(condition)
                && let (Some(left), Some(right)) = (as_column(left), as_column(right))
            {
                // The left side keeps all of its rows: the condition says nothing of them.
                let (from, to) = match (left.0 == *joined, right.0 == *joined) {
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

    /// The shard keys among some columns that are of this type.
    fn keys_of_type(&self, columns: &[ColumnName], key_type: &str) -> Vec<ColumnName> {
        let is_alike = |(alias, name): &&ColumnName| {
            self.sharding(alias)
                .is_some_and(|it| it.key == *name && it.key_type == key_type)
        };
        columns.iter().filter(is_alike).cloned().collect()
    }

    /// The shards of some keys; `None` if the rule does not tell.
    fn shards_with(
        &self,
        sharding: &Sharding,
        keys: &Keys,
    ) -> Result<Option<BTreeSet<usize>>, Stop> {
        let Some(rule) = &sharding.shard_index else {
            return Ok(None);
        };
        if !sharding.key_is_exact {
            return Ok(None);
        }
        // What the planner cannot read may well be a rule; it is not known to ascend.
        let read = sql::expression(rule);
        if let Some(read) = &read {
            self.check_rule(rule, read)?;
            if rewrite::any(read, |expr| self.means_more_than_one(expr)) {
                return Ok(None);
            }
        }
        match keys {
            Keys::EqualTo(constants) => self.shards_of(sharding, rule, constants),
            Keys::Between(range) => {
                let of = Rule {
                    key_column: &sharding.key_column,
                    key_type: &sharding.key_type,
                    catalog: self.catalog,
                };
                match read.is_some_and(|read| of.is_ascending(&read)) {
                    true => self.shards_between(sharding, rule, range),
                    false => Ok(None),
                }
            }
            Keys::AnyOf(parts) => {
                let mut found = Some(BTreeSet::new());
                for keys in parts {
                    unite(&mut found, self.shards_with(sharding, keys)?);
                }
                Ok(found)
            }
            Keys::AllOf(parts) => {
                let mut found = None;
                for keys in parts {
                    if let Some(shards) = self.shards_with(sharding, keys)? {
                        narrow(&mut found, shards);
                    }
                }
                Ok(found)
            }
        }
    }

    /// Refuses a rule that gives one key several shards.
    fn check_rule(&self, rule: &str, read: &Expr) -> Result<(), Stop> {
        let is_of_rows = |expr: &Expr| {
            matches!(expr, Expr::Function(function)
                if function.over.is_some() || functions::is_aggregate(function, self.catalog))
        };
        let item = SelectItem::UnnamedExpr(read.clone());
        let query = build::query(SetExpr::Select(Box::new(build::select(
            vec![item],
            Vec::new(),
        ))));
        let why = match () {
            () if rewrite::has_query(read) => "reads tables",
            () if functions::is_volatile(read, self.catalog) => "may be another each time",
            () if instant::reads_clock(&query) => "depends on the time",
            () if rewrite::any(read, is_of_rows) => "is of many rows",
            () => return Ok(()),
        };
        Err(bad_rule(rule, why).into())
    }

    /// Whether this is a call of a function that another search path may find in another schema.
    fn means_more_than_one(&self, expr: &Expr) -> bool {
        let Expr::Function(function) = expr else {
            return false;
        };
        let [name] = &naming::parts(&function.name)[..] else {
            return false;
        };
        let count = functions::argument_count(function);
        let found = self.catalog.functions_anywhere(name);
        let meant = found.filter(|function| function.takes(count));
        let schemas: HashSet<&str> = meant.map(|function| &*function.schema).collect();
        schemas.len() > 1
    }

    /// The shards of keys that are equal to one of these.
    fn shards_of(
        &self,
        sharding: &Sharding,
        rule: &str,
        constants: &[Expr],
    ) -> Result<Option<BTreeSet<usize>>, Stop> {
        let mut values = Vec::new();
        for constant in constants {
            match typed(constant, &sharding.key_type, self.catalog) {
                Some(Constant::Value(value)) => values.push(value),
                Some(Constant::NoKey) => {}
                None => return Ok(None),
            }
        }
        let Some(numbers) = self.numbers(sharding, rule, &values)? else {
            return Ok(None);
        };
        // A key beyond the last range has no shard, and no table has it; but a remainder of a negative number
        // is negative, too, and its rows are somewhere.
        let index = |number: i64| usize::try_from(number).ok().filter(|at| *at < self.shards);
        Ok(numbers.into_iter().map(index).collect())
    }

    /// The shards of a range of keys.
    fn shards_between(
        &self,
        sharding: &Sharding,
        rule: &str,
        range: &Range,
    ) -> Result<Option<BTreeSet<usize>>, Stop> {
        let bounds = [&range.lower, &range.upper].into_iter().flatten().cloned();
        let bounds: Vec<KeySql> = bounds.collect();
        let Some(numbers) = self.numbers(sharding, rule, &bounds)? else {
            return Ok(None);
        };
        // Keys at the ends may have no shard: no table has them.
        let most = self.shards.saturating_sub(1);
        let mut numbers = numbers.into_iter();
        let mut shard = |bound: &Option<KeySql>, end: usize| {
            let number = bound.as_ref().and_then(|_| numbers.next());
            let index = number.map(|number| usize::try_from(number.max(0)).unwrap_or(usize::MAX));
            index.map_or(end, |index| index.min(most))
        };
        let first = shard(&range.lower, 0);
        let last = shard(&range.upper, most);
        Ok(Some((first..=last).collect()))
    }

    /// Keys by the session's time zone, as literals that none reads otherwise; `None` where one of them is
    /// NULL.
    fn as_literals(
        &self,
        sharding: &Sharding,
        rule: &str,
        keys: &[KeySql],
    ) -> Result<Option<Vec<String>>, Stop> {
        let items: Vec<_> = keys
            .iter()
            .map(|key| format!("({}::{})::pg_catalog.text", key.sql, sharding.key_type))
            .collect();
        let rows = self
            .answers
            .shards(rule, format!("SELECT {}", items.join(", ")))?;
        let texts: Option<Vec<String>> = rows.into_iter().flatten().collect();
        let literals = texts.map(|texts| texts.iter().map(|text| quote::literal(text)).collect());
        Ok(literals.transpose()?)
    }

    /// What the rule makes of some keys; `None` where that is NULL, or may be another in a session with other
    /// settings than those by which rows were spread.
    ///
    /// PostgreSQL says so itself: when it plans, it replaces by their values what is made of constants by
    /// functions and operators that are IMMUTABLE (`evaluate_function` in
    /// `src/backend/optimizer/util/clauses.c`), and of one row VALUES are constants. What is left besides are
    /// the rule's own literals: one that is a `timestamptz` was read by the session's time zone. So the rule
    /// is looked at over two rows, too, with the types that its literals have got.
    fn numbers(
        &self,
        sharding: &Sharding,
        rule: &str,
        keys: &[KeySql],
    ) -> Result<Option<Vec<i64>>, Stop> {
        if keys.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if keys.len() > MOST_KEYS || is_zoned(&rule.to_lowercase()) {
            return Ok(None);
        }
        let literals = match keys.iter().any(|key| key.is_local) {
            true => self.as_literals(sharding, rule, keys)?,
            false => Some(keys.iter().map(|key| key.sql.clone()).collect()),
        };
        let Some(keys) = literals else {
            return Ok(None);
        };
        let explained = |keys: &[&str]| {
            let column = naming::ident(&sharding.key_column);
            // By which the rule compares and folds the column's values, wherever they come from.
            let collation = sharding.key_collation.as_ref();
            let collation = collation.map_or_else(String::new, |it| format!(" COLLATE {it}"));
            let rows: Vec<_> = keys
                .iter()
                .map(|key| format!("(({key}::{}){collation})", sharding.key_type))
                .collect();
            format!(
                "EXPLAIN (VERBOSE, COSTS off) SELECT ({rule}\n)::pg_catalog.int8 FROM (VALUES {}) AS key ({column})",
                rows.join(", ")
            )
        };
        let asked = [explained(&["NULL", "NULL"])];
        let asked = asked
            .into_iter()
            .chain(keys.iter().map(|key| explained(&[key])));
        let rows = self
            .answers
            .shards(rule, asked.collect::<Vec<_>>().join(";\n"))?;
        let lines = rows.iter().flatten().flatten();
        let outputs: Vec<&str> = lines
            .filter_map(|line| line.trim_start().strip_prefix("Output: "))
            .collect();
        let Some((general, values)) = outputs.split_first() else {
            return Err(Error::fault("an explained rule without an output").into());
        };
        if is_zoned(general) {
            return Ok(None);
        }
        let values: Option<Vec<i64>> = values
            .iter()
            .map(|value| {
                value
                    .strip_prefix('\'')?
                    .strip_suffix("'::bigint")?
                    .parse()
                    .ok()
            })
            .collect();
        Ok(values.filter(|values| values.len() == keys.len()))
    }
}

/// What a server says of a rule: that it means nothing, or has no value, is the topology's fault.
pub(crate) fn about_rule(rule: &str, error: Error) -> Error {
    let code = error.sql_state().unwrap_or_default();
    match ["0A", "21", "22", "42"].contains(&code.get(..2).unwrap_or_default()) {
        true => bad_rule(rule, error.message()).with_source(error),
        false => error,
    }
}

fn bad_rule(rule: &str, why: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("shard_index {rule:?} gives no shard for a key of the query: {why}"),
    )
    .with_hint(
        "correct the table's shard_index in the topology: an expression over the shard key alone",
    )
}

/// The conditions of a SELECT.
struct Holding<'a> {
    /// Those that all of its rows meet which are needed.
    all: Vec<&'a Expr>,
    /// Those of its LEFT JOINs, with the alias of what they join.
    sided: Vec<(String, &'a Expr)>,
}

impl<'a> Holding<'a> {
    /// `given`: conditions that hold besides those that it has.
    fn of(select: &'a Select, given: &'a [Expr]) -> Self {
        let own = select.selection.iter().flat_map(conjuncts);
        let mut all: Vec<&Expr> = own.chain(given).collect();
        let mut sided = Vec::new();
        for tree in &select.from {
            inner_conditions(tree, &mut all, &mut sided);
        }
        Self { all, sided }
    }
}

/// A condition on the output of a derived table, as one on what it reads; `None` where it names anything
/// but columns that are passed on.
fn passed_on(condition: &Expr, alias: &str, passed: &HashMap<&str, &Expr>) -> Option<Expr> {
    let mut is_passed = !rewrite::has_query(condition);
    let mut names_any = false;
    let mut inside = condition.clone();
    let replaced = rewrite::top_down(&mut inside, |expr| {
        let Some((relation, column)) = as_column(expr) else {
            is_passed &= !matches!(expr, Expr::Identifier(_));
            return Ok(rewrite::Walk::Into);
        };
        names_any = true;
        match passed.get(&*column).filter(|_| relation == alias) {
            Some(column) => *expr = (*column).clone(),
            None => is_passed = false,
        }
        Ok(rewrite::Walk::Done)
    });
    (replaced.is_ok() && is_passed && names_any).then_some(inside)
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
