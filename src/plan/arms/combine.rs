//! Combine: the shards compute partial aggregates, and the SELECT is repeated over them with
//! aggregates that combine them.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    Distinct, DuplicateTreatment, Expr, Function, FunctionArguments, GroupByExpr, Ident,
    OrderByKind, Query, Select, SelectItem, SetExpr,
};

use super::collation::Told;
use super::outer::names_of_from;
use super::parts::{Parts, arguments, resolve};
use super::replaced::{Attempt, Obstacle, Replaced, unattached};
use super::steps::has_name;
use super::{Planner, Result};
use crate::config::Finish;
use crate::plan::aggregate::{Partial, PartialKind};
use crate::plan::from_item::{FromItem, Source};
use crate::plan::locality::{self, Anchors, Side};
use crate::plan::names::Names;
use crate::plan::naming::{as_column, folded};
use crate::plan::rewrite::{self, conjuncts, top_down};
use crate::plan::{Arm, Merge, Place, Sql, StepColumn, build, functions, refused};
use crate::types::Column;

/// A block over the rows of steps.
pub(super) struct Combined {
    pub(super) query: Query,
    /// What gives the same without a last step.
    pub(super) direct: Option<Merge>,
}

impl Planner<'_> {
    /// The answer from DataFusion alone, where nothing is left to finish.
    pub(super) fn combined(&mut self, query: &Query) -> Result<Option<usize>> {
        if !matches!(&*query.body, SetExpr::Select(_)) {
            return Ok(None);
        }
        let steps = self.steps.len();
        let reasons = self.reasons.len();
        let (arm, float_order) = (self.arm, self.float_order);
        let relations = self.relations.clone();
        let Some(combined) = self.combine(query)? else {
            return Ok(None);
        };
        if let Some(merge) = combined.direct
            && self.steps.len() == steps + 1
            && let Some(mut step) = self.steps.pop()
        {
            step.merge = merge;
            step.columns = Vec::new();
            self.steps.push(step);
            return Ok(Some(steps));
        }
        if self.question.topology.finish() == &Finish::Off {
            // Planned again, which says what it would need the last step for.
            self.steps.truncate(steps);
            self.reasons.truncate(reasons);
            self.relations = relations;
            self.arm = arm;
            self.float_order = float_order;
            return Ok(None);
        }
        self.finish(combined.query, Vec::new()).map(Some)
    }

    /// A SELECT with aggregates: the shards compute partial ones, and the SELECT is repeated over
    /// them with aggregates that combine them.
    pub(super) fn combine(&mut self, query: &Query) -> Result<Option<Combined>> {
        match self.try_combine(query) {
            Ok(combined) => Ok(Some(combined)),
            Err(Obstacle::Reason(reason)) => {
                self.note(reason);
                Ok(None)
            }
            Err(Obstacle::Other) => Ok(None),
            Err(Obstacle::Stop(stop)) => Err(stop),
        }
    }

    fn try_combine(&mut self, query: &Query) -> Attempt<Combined> {
        let select = self.combinable(query)?;
        let own = names_of_from(select);
        let conditions = self.split_where(select, &own)?;
        let mut parts = Parts::new(&self.prefix, self.steps.len() + 1, own);
        let mut block = Replaced {
            grouping: self.group_keys(select, &mut parts)?,
            select: unattached(select)?,
            residual: rewrite::all_of(conditions.outer.clone()),
            order_by: query.order_by.clone(),
        };
        parts.grouped = parts.keys.len();
        let mut types = self.ask_types(query, select, &mut parts)?;
        let subqueries = self.replace(&mut block, select, &mut parts)?;
        block.grouping.extend(self.determined_keys(&parts)?);
        types.extend(self.ask_found_types(query, select, &mut parts)?);
        let compared = types.iter().map(|column| column.pg_type.name().to_owned());
        let compared = compared.chain(self.distinct_types(query, select, &parts));
        if !can_be_grouped_together(&compared.collect::<Vec<_>>()) {
            return Err(
                "its groups are of types of which one only sorts and one only hashes".into(),
            );
        }
        self.tell_equal_values_apart(&mut parts, &types);
        let columns = self.partial_columns(&parts)?;

        let mut pushed = conditions.pushed;
        pushed.extend(self.outer_match(&parts.own, &conditions.outer));
        let mut step_query = parts.shard_query(select, pushed);
        step_query.with.clone_from(&query.with);
        let shards = self.shards_for(&step_query)?;
        let uses = self.uses(&step_query);
        let exact_keys = parts.grouped == parts.keys.len()
            && types
                .iter()
                .zip(&parts.keys)
                .all(|(column, key)| self.groups_as_bytes(column, &self.told(&parts, key)));
        let direct = match exact_keys && block.residual.is_none() && subqueries == 0 {
            true => self.direct(query, &block.select, &parts, &columns),
            false => None,
        };
        let merge = match exact_keys && self.can_premerge(&parts) {
            true => parts.premerge(&columns),
            false => Merge::all(),
        };
        let place = Place::Shards(shards);
        let index = self.push(Sql::of(&step_query), uses, place, merge, columns);
        let name = self.steps[index].name.clone();
        if name != parts.name {
            // An equal step was there before; its name is another.
            block.rename(&parts.name, &name)?;
        }
        self.relations.insert(
            name.clone(),
            FromItem {
                source: Source::Step,
                columns: None,
            },
        );
        let key_types = types.iter().zip(&parts.keys).map(|(column, key)| {
            let is_identified = self.is_identified(column, &self.told(&parts, key));
            is_identified.then(|| column.pg_type.name().to_owned())
        });
        let key_types = key_types.collect();
        self.key_types.insert(name.clone(), key_types);
        self.at_least(Arm::Combine);
        self.float_order |= parts.float_order;
        let mut finished = block.over(query, &name);
        // Subqueries beside the aggregates run where the block does.
        if let SetExpr::Select(select) = &mut *finished.body {
            self.lower_subqueries(&mut **select)?;
        }
        self.lower_beside(&mut finished)?;
        Ok(Combined {
            query: finished,
            direct,
        })
    }

    /// The SELECT of a query with aggregates, if the shards can compute the rows that it aggregates.
    fn combinable<'a>(&self, query: &'a Query) -> Attempt<&'a Select> {
        let SetExpr::Select(select) = &*query.body else {
            return Err(Obstacle::Other);
        };
        let order = order_exprs(query);
        if !self.locality().aggregates(select) && !self.locality().calls_aggregate(&order) {
            return Err(Obstacle::Other);
        }
        if let Some(reason) = self.locality().global_with(query) {
            return Err(Obstacle::Reason(reason));
        }
        if self.names_foreign_cte(query) {
            return Err("a common table expression of an outer query is read".into());
        }
        let mut with = query.with.iter().flat_map(|with| &with.cte_tables);
        if with.any(|cte| self.locality().is_correlated(&cte.query)) {
            return Err("a common table expression names columns of an outer query".into());
        }
        match self.locality().select(select, &Anchors::default()).rows {
            Ok(Side::Sharded { .. }) => {}
            Ok(_) => return Err(Obstacle::Other),
            Err(reason) => return Err(Obstacle::Reason(reason)),
        }
        if self.has_correlated_from(select) {
            return Err("FROM names columns of an outer query".into());
        }
        Ok(select)
    }

    /// WHERE: what names columns of outer queries is left for later.
    fn split_where(&self, select: &Select, own: &HashSet<String>) -> Attempt<Conditions> {
        let (outer, pushed): (Vec<_>, Vec<_>) = select
            .selection
            .iter()
            .flat_map(conjuncts)
            .cloned()
            .partition(|conjunct| self.names_outer(conjunct, own));
        if outer.iter().any(rewrite::has_query) {
            return Err("a correlated condition holds a subquery".into());
        }
        Ok(Conditions { pushed, outer })
    }

    /// GROUP BY, with expressions in place of numbers and names; they are entered as keys.
    fn group_keys(&self, select: &Select, parts: &mut Parts) -> Attempt<Vec<Expr>> {
        let GroupByExpr::Expressions(written, modifiers) = &select.group_by else {
            return Err(Obstacle::Other);
        };
        if !modifiers.is_empty() {
            return Err(Obstacle::Other);
        }
        let mut grouping = written.clone();
        for key in &mut grouping {
            resolve(key, &select.projection, parts);
        }
        for key in &parts.keys {
            if matches!(key, Expr::Value(_)) {
                return Err("GROUP BY has a constant".into());
            }
            if rewrite::has_query(key) || functions::is_volatile(key, self.question.catalog) {
                return Err("GROUP BY holds a subquery or a volatile function".into());
            }
            if self.names_outer(key, &parts.own) {
                return Err("GROUP BY names columns of an outer query".into());
            }
        }
        Ok(grouping)
    }

    /// Asks for the types of the keys, which it returns, and of the arguments of the aggregates,
    /// which it enters: they are PostgreSQL's to tell.
    fn ask_types(
        &mut self,
        query: &Query,
        select: &Select,
        parts: &mut Parts,
    ) -> Attempt<Vec<Column>> {
        let calls = self.aggregate_calls(query, select);
        let mut asked: Vec<Expr> = parts.keys.clone();
        for call in &calls {
            let expr = Expr::Function(call.clone());
            if let Some(reason) = self.locality().global_beside(select, &expr) {
                return Err(Obstacle::Reason(reason));
            }
            if self.names_outer(&expr, &parts.own)
                || functions::is_volatile(&expr, self.question.catalog)
            {
                return Err(Obstacle::Reason(format!(
                    "{}: its argument is volatile or of an outer query",
                    functions::name(call)
                )));
            }
            asked.extend(arguments(call));
        }
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let probe = probe(query, select, &asked);
        let mut types = self.describe(&probe)?;
        let told = self.collations(&probe, &types)?;
        let printed = asked.iter().map(ToString::to_string);
        parts.collations = printed.zip(told).collect();
        let mut of_arguments = types
            .split_off(parts.keys.len().min(types.len()))
            .into_iter();
        if !types.iter().all(has_name) {
            return Err("a group key is a row without a type of its own".into());
        }
        for call in &calls {
            let own = of_arguments.by_ref().take(arguments(call).len());
            parts
                .arguments
                .insert(call.to_string(), own.map(|column| column.pg_type).collect());
        }
        Ok(types)
    }

    /// The aggregates of a block, but for those inside its subqueries.
    fn aggregate_calls(&self, query: &Query, select: &Select) -> Vec<Function> {
        let mut calls = Vec::new();
        let mut collect = |expr: &Expr| {
            if let Expr::Function(function) = expr
                && functions::is_aggregate(function, self.question.catalog)
            {
                calls.push(function.clone());
            }
        };
        rewrite::own_expressions(&select.projection, &mut collect);
        rewrite::own_expressions(&select.having, &mut collect);
        rewrite::own_expressions(&select.named_window, &mut collect);
        rewrite::own_expressions(&order_exprs(query), &mut collect);
        if let Some(Distinct::On(exprs)) = &select.distinct {
            rewrite::own_expressions(exprs, &mut collect);
        }
        calls
    }

    /// The types of what aggregates take once, which the shards group by too.
    fn distinct_types(&self, query: &Query, select: &Select, parts: &Parts) -> Vec<String> {
        let calls = self.aggregate_calls(query, select);
        let distinct = calls.iter().filter(|call| {
            matches!(&call.args, FunctionArguments::List(list)
                if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
        });
        let types = distinct.filter_map(|call| parts.arguments.get(&call.to_string()));
        types
            .flatten()
            .map(|pg_type| pg_type.name().to_owned())
            .collect()
    }

    /// Puts what stands for keys and aggregates over the merged rows in place of them; returns how
    /// many subqueries stand beside them.
    fn replace(&self, block: &mut Replaced, select: &Select, parts: &mut Parts) -> Attempt<usize> {
        let catalog = self.question.catalog;
        let columns = |idents: &[Ident]| match idents {
            [alias, column] => {
                let columns = self.relations.get(&folded(alias))?.columns.as_ref()?;
                let name = folded(column);
                columns.iter().find(|c| c.name == name)?.type_name.clone()
            }
            _ => None,
        };
        let mut failed: Option<String> = None;
        let mut subqueries: Vec<Query> = Vec::new();
        top_down(&mut block.residual, |expr| {
            Ok(parts.condition_step(expr, catalog, &mut failed))
        })?;
        let mut step =
            |expr: &mut Expr| parts.step(expr, catalog, &columns, &mut failed, &mut subqueries);
        top_down(&mut block.grouping, &mut step)?;
        top_down(&mut block.select.projection, &mut step)?;
        top_down(&mut block.select.having, &mut step)?;
        top_down(&mut block.select.named_window, &mut step)?;
        let on = match &mut block.select.distinct {
            Some(Distinct::On(exprs)) => exprs.iter_mut().collect(),
            _ => Vec::new(),
        };
        let keys = match block.order_by.as_mut().map(|order_by| &mut order_by.kind) {
            Some(OrderByKind::Expressions(keys)) => keys.as_mut_slice(),
            _ => &mut [],
        };
        for expr in on
            .into_iter()
            .chain(keys.iter_mut().map(|key| &mut key.expr))
        {
            if !locality::is_output(expr, select) {
                top_down(expr, &mut step)?;
            }
        }
        if let Some(reason) = failed {
            return Err(Obstacle::Reason(reason));
        }
        if subqueries
            .iter()
            .any(|sub| Names::of(sub).any_of(&parts.own))
        {
            return Err("a subquery beside the aggregates names columns of FROM".into());
        }
        Ok(subqueries.len())
    }

    /// What GROUP BY has to name besides: columns that its keys determine.
    fn determined_keys(&self, parts: &Parts) -> Attempt<Vec<Expr>> {
        if !parts.beside.is_empty() && !parts.plain {
            return Err("grouping sets with columns that their keys determine".into());
        }
        for key in parts
            .beside
            .iter()
            .filter_map(|index| parts.keys.get(*index))
        {
            if let Some(column) = as_column(key) {
                self.check_determined(&column, &parts.keys[..parts.grouped])?;
            }
        }
        Ok(parts.beside.iter().map(|index| parts.key(*index)).collect())
    }

    /// Asks for the types of the keys that no GROUP BY has.
    fn ask_found_types(
        &self,
        query: &Query,
        select: &Select,
        parts: &mut Parts,
    ) -> Attempt<Vec<Column>> {
        let found = &parts.keys[parts.grouped..];
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let probe = probe(query, select, found);
        let types = self.describe(&probe)?;
        if let Some(column) = types.iter().find(|column| !can_be_grouped(column)) {
            return Err(Obstacle::Reason(format!(
                "a group would have to be made of values of type {}",
                column.pg_type.name()
            )));
        }
        let told = self.collations(&probe, &types)?;
        let printed = found.iter().map(ToString::to_string);
        parts.collations.extend(printed.zip(told));
        Ok(types)
    }

    /// Values that PostgreSQL calls equal may differ in what a condition asks for, such as the scale
    /// of a number: they must not become one group.
    fn tell_equal_values_apart(&self, parts: &mut Parts, types: &[Column]) {
        let mut apart = Vec::new();
        for index in &parts.in_conditions {
            let (Some(key), Some(column)) = (parts.keys.get(*index), types.get(*index)) else {
                continue;
            };
            if !self.is_identified(column, &self.told(parts, key)) {
                // The output function keeps all there is: a cast of bpchar to text does not.
                let text = build::call_builtin("concat", vec![key.clone()]);
                apart.push(build::collate(text, "C"));
            }
        }
        parts.keys.extend(apart);
    }

    /// The columns of the partial aggregates' rows: first the keys.
    fn partial_columns(&self, parts: &Parts) -> Attempt<Vec<StepColumn>> {
        let mut columns = self
            .key_columns(parts)
            .map_err(|()| Obstacle::from("a group key has a collation that cannot be told"))?;
        for (index, partial) in parts.partials.iter().enumerate() {
            let collation = self.partial_collation(parts, partial).map_err(|()| {
                Obstacle::from("min or max of text whose collation cannot be told")
            })?;
            columns.push(self.step_column("a", index + 1, collation));
        }
        if columns.is_empty() {
            // As the shard query has it, which selects something.
            columns.push(self.step_column("c", 1, None));
        }
        Ok(columns)
    }

    /// Checks that group keys hold a key of the table whose column is selected beside them.
    pub(super) fn check_determined(
        &self,
        (alias, name): &locality::ColumnName,
        keys: &[Expr],
    ) -> Result<()> {
        let facts = match self.relations.get(alias).map(|relation| &relation.source) {
            Some(Source::Table(base)) => {
                let (schema, table) = &base.name;
                self.question.catalog.relation(Some(schema), table)
            }
            _ => None,
        };
        let grouped: HashSet<_> = keys
            .iter()
            .filter_map(as_column)
            .filter(|(of, _)| of == alias)
            .map(|(_, column)| column)
            .collect();
        let known = facts.is_some_and(|facts| {
            let renamed = self.is_renamed(alias);
            facts
                .keys
                .iter()
                .any(|key| renamed || key.iter().all(|column| grouped.contains(column)))
        });
        match known {
            true => Ok(()),
            false => Err(refused(
                format!("{alias}.{name} is selected beside GROUP BY, and no primary key that all shards have would determine it"),
                "add the column to GROUP BY, write the expression as GROUP BY has it, or give all shards the same primary key",
            )
            .into()),
        }
    }

    /// The columns of the keys; `Err`: a collation cannot be told.
    fn key_columns(&self, parts: &Parts) -> std::result::Result<Vec<StepColumn>, ()> {
        let column = |(index, key)| {
            let collation = self.told(parts, key)?.and_then(|collation| collation.sql);
            Ok(self.step_column("k", index + 1, collation))
        };
        parts.keys.iter().enumerate().map(column).collect()
    }

    /// The collation of a key or an argument.
    fn told(&self, parts: &Parts, expr: &Expr) -> Told {
        let known = parts.collations.get(&expr.to_string()).cloned();
        // An argument of which FILTER leaves some out.
        if known.is_none()
            && let Expr::Case {
                conditions,
                else_result: None,
                ..
            } = expr
            && let [when] = &conditions[..]
        {
            return self.told(parts, &when.result);
        }
        known
            .or_else(|| self.written_collation(expr))
            .unwrap_or(Err(()))
    }

    fn partial_collation(
        &self,
        parts: &Parts,
        partial: &Partial,
    ) -> std::result::Result<Option<String>, ()> {
        let expr = match (&partial.kind, &partial.expr) {
            (PartialKind::Distinct, expr) => Some(expr.clone()),
            (PartialKind::Aggregate, Expr::Function(function))
                if ["min", "max", "any_value"].contains(&&*functions::name(function)) =>
            {
                arguments(function).into_iter().next()
            }
            _ => None,
        };
        match expr {
            Some(expr) => Ok(self.told(parts, &expr)?.and_then(|c| c.sql)),
            None => Ok(None),
        }
    }
}

/// The conjuncts of WHERE.
struct Conditions {
    pushed: Vec<Expr>,
    /// Those that name columns of outer queries.
    outer: Vec<Expr>,
}

/// A query for the types of expressions over the FROM of a block.
fn probe(query: &Query, select: &Select, exprs: &[Expr]) -> Query {
    let items = exprs.iter().cloned().map(SelectItem::UnnamedExpr).collect();
    let probe = build::select(items, select.from.clone());
    let mut probe = build::query(SetExpr::Select(Box::new(probe)));
    probe.with.clone_from(&query.with);
    probe
}

/// Whether PostgreSQL's own types have an equality that GROUP BY takes
/// (`src/include/catalog/pg_opclass.dat`).
fn can_be_grouped(column: &Column) -> bool {
    let name = column.pg_type.name().trim_end_matches("[]");
    has_name(column)
        && ![
            "json",
            "xml",
            "point",
            "line",
            "lseg",
            "box",
            "path",
            "polygon",
            "circle",
            "jsonpath",
            "pg_snapshot",
            "txid_snapshot",
            "aclitem",
        ]
        .contains(&name)
}

/// Whether one GROUP BY can hold values of all these types, which sorts by all of them or hashes them
/// all. Grouping sets that are one by one possible may not be so together.
fn can_be_grouped_together(types: &[String]) -> bool {
    const ONLY_HASH: [&str; 3] = ["xid", "cid", "aclitem"];
    const HASH_AND_SORT: [&str; 19] = [
        "bool",
        "int2",
        "int4",
        "int8",
        "oid",
        "xid8",
        "float4",
        "float8",
        "numeric",
        "text",
        "varchar",
        "bpchar",
        "name",
        "uuid",
        "bytea",
        "date",
        "time",
        "timestamp",
        "timestamptz",
    ];
    let plain = |name: &String| {
        let name = name.trim_end_matches("[]");
        name.split('(').next().unwrap_or(name).to_owned()
    };
    let types: Vec<_> = types.iter().map(plain).collect();
    let only_hash = |name: &String| ONLY_HASH.contains(&&**name);
    let both = |name: &String| HASH_AND_SORT.contains(&&**name);
    !types.iter().any(only_hash) || types.iter().all(|name| only_hash(name) || both(name))
}

fn order_exprs(query: &Query) -> Vec<Expr> {
    let keys = locality::order_keys(query);
    keys.iter().map(|key| key.expr.clone()).collect()
}
