//! From a bound statement to steps.
//!
//! ```text
//! plan_query ── local ──> one step: Single, Union, Ordered
//!     └─ else: broadcast what is global inside sharded blocks, then lower:
//!            each block becomes a block over the rows of steps
//!              combine: partial aggregates     rows: the block's own rows     tables: filtered tables
//!            and what remains is the finish step
//! ```

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    LimitClause, ObjectName, ObjectNamePart, Offset, OrderByExpr, OrderByKind, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, TableFactor,
    TableWithJoins, Value,
};

use super::aggregate::{self, Partial, PartialKind, Reaggregate};
use super::bind::{self, Bound, Outer, Relation, Source, as_column, folded, ident};
use super::locality::{self, Anchors, Distribution, Locality, Side, factor_alias};
use super::rewrite::{self, Walk, bare, conjuncts, top_down};
use super::route::Router;
use super::{
    Arm, Merge, MergeMode, Need, Place, Question, SortKey, Sql, Step, StepColumn, Stop, build,
    functions, refused, sql,
};
use crate::catalog::Collation;
use crate::config::Finish;
use crate::types::Column;

type Result<T> = std::result::Result<T, Stop>;

/// What lowering has made.
pub(super) struct Lowered {
    pub(super) steps: Vec<Step>,
    pub(super) arm: Arm,
    pub(super) float_order: bool,
    pub(super) reasons: Vec<String>,
    pub(super) decimals: bool,
}

/// Turns a statement into steps.
///
/// `text` is the statement as it can be sent verbatim, if that is the same.
pub(super) fn lower(question: &Question<'_>, bound: Bound, text: Option<&str>) -> Result<Lowered> {
    let Bound { query, relations } = bound;
    let needed = Needed::of(&query);
    // Views bring names of their own.
    let prefix = prefix(&format!("{} {query}", question.sql));
    let mut planner = Planner {
        question,
        relations,
        needed,
        prefix,
        // Which block such an aggregate belongs to, only PostgreSQL knows.
        merge: match has_outer_aggregate(&query, question) {
            true => MergeMode::Gather,
            false => question.merge,
        },
        steps: Vec::new(),
        stubs: HashMap::new(),
        arm: Arm::Single,
        float_order: false,
        reasons: Vec::new(),
        decimals: Cell::new(false),
        not_text: HashSet::new(),
    };
    planner.statement(query, text)?;
    Ok(Lowered {
        steps: planner.steps,
        arm: planner.arm,
        float_order: planner.float_order,
        reasons: planner.reasons,
        decimals: planner.decimals.get(),
    })
}

/// Whether a subquery holds an aggregate of an outer query: one whose arguments name columns of
/// outer queries only (`src/backend/parser/parse_agg.c`).
fn has_outer_aggregate(query: &Query, question: &Question<'_>) -> bool {
    let mut found = false;
    rewrite::each_query(&mut query.clone(), |query| {
        let mut bodies = vec![&*query.body];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                SetExpr::Select(select) => {
                    let mut own = HashSet::new();
                    for tree in &select.from {
                        each_side(tree, &mut |factor| own.extend(factor_alias(factor)));
                    }
                    let mut look = |expr: &Expr| {
                        if let Expr::Function(function) = expr
                            && functions::is_aggregate(function, question.catalog)
                        {
                            let names = aliases_in(expr);
                            found |=
                                !names.is_empty() && names.iter().all(|name| !own.contains(name));
                        }
                    };
                    locality::own_expressions(&select.projection, &mut look);
                    locality::own_expressions(&select.selection, &mut look);
                    locality::own_expressions(&select.having, &mut look);
                    locality::own_expressions(&query.order_by, &mut look);
                }
                _ => {}
            }
        }
    });
    found
}

/// What begins the names of steps and of their columns: no name of the statement does.
fn prefix(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut prefix = "m".to_owned();
    let clashes = |prefix: &str| {
        ["", "k", "a", "d", "c", "s"].iter().any(|kind| {
            let start = match *kind {
                "" => prefix.to_owned(),
                kind => format!("{prefix}{kind}"),
            };
            lower.match_indices(&start).any(|(at, _)| {
                let before = lower[..at].chars().next_back();
                let after = lower[at + start.len()..].chars().next();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                    && after.is_some_and(|c| c.is_ascii_digit())
            })
        })
    };
    while clashes(&prefix) {
        prefix.push('m');
    }
    prefix
}

/// Which columns of each relation a statement names.
#[derive(Debug, Default)]
struct Needed {
    columns: HashMap<String, BTreeSet<String>>,
    whole: HashSet<String>,
    /// `*` stands somewhere where it could not be spelled out.
    everything: bool,
}

impl Needed {
    fn of(query: &Query) -> Self {
        let mut needed = Self::default();
        rewrite::each(query, |expr| match expr {
            Expr::CompoundIdentifier(parts) => {
                if let [alias, column] = &parts[..] {
                    let columns = needed.columns.entry(folded(alias)).or_default();
                    columns.insert(folded(column));
                }
            }
            Expr::Identifier(name) => {
                needed.whole.insert(folded(name));
            }
            Expr::QualifiedWildcard(name, _) => needed.whole.extend(bind::parts(name)),
            Expr::Function(Function {
                args: FunctionArguments::List(list),
                ..
            }) => {
                for arg in &list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = arg {
                        needed.whole.extend(bind::parts(name));
                    }
                }
            }
            _ => {}
        });
        rewrite::each_query(&mut query.clone(), |query| {
            let mut bodies = vec![&*query.body];
            while let Some(body) = bodies.pop() {
                match body {
                    SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                    SetExpr::Select(select) => {
                        for item in &select.projection {
                            match item {
                                SelectItem::Wildcard(_) => needed.everything = true,
                                SelectItem::QualifiedWildcard(
                                    SelectItemQualifiedWildcardKind::ObjectName(name),
                                    _,
                                ) => needed.whole.extend(bind::parts(name)),
                                _ => {}
                            }
                        }
                    }
                    _ => {}
                }
            }
        });
        needed
    }

    fn is_needed(&self, alias: &str, column: &str) -> bool {
        self.everything
            || self.whole.contains(alias)
            || self
                .columns
                .get(alias)
                .is_some_and(|columns| columns.contains(column))
    }
}

struct Planner<'a> {
    question: &'a Question<'a>,
    relations: HashMap<String, Relation>,
    needed: Needed,
    prefix: String,
    merge: MergeMode,
    steps: Vec<Step>,
    /// Queries with the columns of steps that other steps read.
    stubs: HashMap<String, Query>,
    arm: Arm,
    float_order: bool,
    reasons: Vec<String>,
    /// Whether a merge holds numbers as decimals.
    decimals: Cell<bool>,
    /// Expressions, as printed, of types that have no collation.
    not_text: HashSet<String>,
}

impl Planner<'_> {
    fn locality(&self) -> Locality<'_> {
        Locality {
            relations: &self.relations,
            catalog: self.question.catalog,
        }
    }

    fn statement(&mut self, query: Query, text: Option<&str>) -> Result<()> {
        let verbatim = |query: &Query| match text {
            Some(text) => Sql::verbatim(text),
            None => Sql::of(query),
        };
        if !self.locality().reads_sharded(&query) {
            self.push(
                verbatim(&query),
                Vec::new(),
                Place::AnyShard,
                Merge::all(),
                Vec::new(),
            );
            return Ok(());
        }
        let pinned = self.router().of(&query)?;
        if let Some(shards) = &pinned
            && let [shard] = shards.iter().copied().collect::<Vec<_>>()[..]
            && self.merge == MergeMode::Auto
        {
            self.push(
                verbatim(&query),
                Vec::new(),
                Place::Shards(vec![shard]),
                Merge::all(),
                Vec::new(),
            );
            return Ok(());
        }
        self.plan_query(query, text, true)?;
        Ok(())
    }

    fn router(&self) -> Router<'_> {
        let shards = self.question.topology.shards().len();
        Router::new(&self.relations, shards, self.question.answers)
    }

    fn all_shards(&self) -> Vec<usize> {
        (0..self.question.topology.shards().len()).collect()
    }

    fn shards_for(&self, query: &Query) -> Result<Vec<usize>> {
        Ok(match self.router().of(query)? {
            Some(shards) => shards.into_iter().collect(),
            None => self.all_shards(),
        })
    }

    fn note(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn at_least(&mut self, arm: Arm) {
        self.arm = self.arm.max(arm);
    }

    /// Enters a step; an equal one is used again.
    fn push(
        &mut self,
        sql: Sql,
        uses: Vec<usize>,
        place: Place,
        merge: Merge,
        columns: Vec<StepColumn>,
    ) -> usize {
        let same = self.steps.iter().position(|step| {
            step.sql == sql
                && step.place == place
                && step.merge == merge
                && step.columns == columns
                && !columns.is_empty()
        });
        if let Some(index) = same {
            return index;
        }
        self.steps.push(Step {
            name: format!("{}{}", self.prefix, self.steps.len() + 1),
            sql,
            uses,
            place,
            merge,
            columns,
        });
        self.steps.len() - 1
    }

    /// The earlier steps that a query reads.
    fn uses(&self, query: &Query) -> Vec<usize> {
        let mut found = BTreeSet::new();
        locality::each_factor(&mut query.clone(), |factor| {
            if let TableFactor::Table { name, .. } = factor
                && let [name] = &bind::parts(name)[..]
                && let Some(index) = self.steps.iter().position(|step| step.name == *name)
            {
                found.insert(index);
            }
        });
        found.into_iter().collect()
    }

    /// Plans a query whose rows are the answer, or those of a relation; returns its last step.
    fn plan_query(&mut self, query: Query, text: Option<&str>, top: bool) -> Result<usize> {
        let gather = self.merge == MergeMode::Gather;
        let steps = self.steps.len();
        let query = match gather {
            true => query,
            false => self.broadcast(query)?,
        };
        let columns = match top {
            true => Vec::new(),
            false => self.step_columns(&query)?,
        };
        if !self.locality().reads_sharded(&query) {
            let uses = self.uses(&query);
            return Ok(self.push(
                Sql::of(&query),
                uses,
                Place::AnyShard,
                Merge::all(),
                columns,
            ));
        }
        if !gather {
            let text = text.filter(|_| self.steps.len() == steps);
            if let Some(index) = self.local(&query, text, &columns)? {
                return Ok(index);
            }
        }
        let whole = self.is_whole(&query);
        if top
            && !gather
            && !whole
            && let Some(index) = self.combined(&query)?
        {
            return Ok(index);
        }
        let finished = self.lower_query(query, false, top)?;
        self.finish(finished, columns)
    }

    /// Whether the shards can answer but for the order and the limit.
    fn is_whole(&self, query: &Query) -> bool {
        let mut unlimited = query.clone();
        take_limit(&mut unlimited);
        !matches!(
            self.unlimited_distribution(&unlimited),
            Distribution::Global(_)
        )
    }

    /// The last step of a query that shards cannot answer alone.
    fn finish(&mut self, mut query: Query, columns: Vec<StepColumn>) -> Result<usize> {
        // A sharded table that is left would be read on one shard only.
        if let Some(alias) = self.locality().sharded_tables(&query).first() {
            return Err(refused(
                format!("the sharded table {alias} stands where it cannot be replaced by its rows"),
                build::FAN_OUT_HINT,
            )
            .into());
        }
        match self.question.topology.finish() {
            Finish::Off => {
                let reason = self.reasons.first().map(|reason| format!(": {reason}"));
                return Err(refused(
                    format!(
                        "the query needs a last step in PostgreSQL, which the topology turns off{}",
                        reason.unwrap_or_default()
                    ),
                    "set [finish] mode = \"on\", or name a server for it with [finish] url",
                )
                .into());
            }
            Finish::Server(_) => self.bring_replicated(&mut query)?,
            Finish::AnyShard => {}
        }
        let uses = self.uses(&query);
        Ok(self.push(Sql::of(&query), uses, Place::Finish, Merge::all(), columns))
    }

    /// A server that finishes but is no shard has no tables: replicated ones are brought too.
    fn bring_replicated(&mut self, query: &mut Query) -> Result<()> {
        let mut aliases = Vec::new();
        locality::each_factor(query, |factor| {
            aliases.extend(factor_alias(factor));
        });
        for alias in aliases {
            let Some(Source::Table(base)) = self.relations.get(&alias).map(|r| r.source.clone())
            else {
                continue;
            };
            let name = self.table_step(&alias, &base.sql, Vec::new(), Place::AnyShard, false)?;
            locality::each_factor(query, |factor| {
                if factor_alias(factor).as_deref() == Some(&*alias) {
                    *factor = step_factor(&name, Some(&alias));
                }
            });
        }
        Ok(())
    }

    // ---- Local: Union and Ordered -------------------------------------------------------------

    /// One step, if the shards can answer alone and a merge keeps the order.
    fn local(
        &mut self,
        query: &Query,
        text: Option<&str>,
        columns: &[StepColumn],
    ) -> Result<Option<usize>> {
        let mut unlimited = query.clone();
        let limit = take_limit(&mut unlimited);
        if let Distribution::Global(reason) = self.unlimited_distribution(&unlimited) {
            self.note(reason);
            return Ok(None);
        }
        let Some(limit) = limit else {
            self.note("the limit is not a plain number");
            return Ok(None);
        };
        let shards = self.shards_for(query)?;
        let uses = self.uses(query);
        let keys = locality::order_keys(query);
        if keys.is_empty() {
            let sql = match limit.is_none() {
                true => text.map_or_else(|| Sql::of(&unlimited), Sql::verbatim),
                false => Sql::of(&limited(unlimited, &limit)),
            };
            let merge = Merge::Concatenate {
                skip: limit.skip,
                fetch: limit.fetch,
            };
            self.at_least(Arm::Union);
            return Ok(Some(self.push(
                sql,
                uses,
                Place::Shards(shards),
                merge,
                columns.to_vec(),
            )));
        }
        if limit.with_ties {
            self.note("WITH TIES: the shards' candidates are ranked again in PostgreSQL");
            return Ok(None);
        }
        let Some((select, sorts)) = self.sort_columns(&unlimited, keys, limit.fetch.is_some())?
        else {
            self.note("the order is one that only PostgreSQL knows");
            return Ok(None);
        };
        let hidden = select.hidden;
        let verbatim = !hidden && limit.skip == 0;
        let sql = match text.filter(|_| verbatim) {
            Some(text) => Sql::verbatim(text),
            None => Sql::of(&limited(select.query, &limit)),
        };
        let merge = Merge::Ordered {
            keys: sorts,
            skip: limit.skip,
            fetch: limit.fetch,
            visible: select.visible,
        };
        self.at_least(Arm::Ordered);
        Ok(Some(self.push(
            sql,
            uses,
            Place::Shards(shards),
            merge,
            columns.to_vec(),
        )))
    }

    /// The distribution of a query without its limit.
    fn unlimited_distribution(&self, query: &Query) -> Distribution {
        match self.locality().of(query) {
            Distribution::Replicated | Distribution::Anchored => {
                Distribution::Global("the query reads no sharded table".to_owned())
            }
            other => other,
        }
    }

    /// The query with its sort keys among its columns, and where they are; `None` if a key's order
    /// is one that only PostgreSQL knows.
    fn sort_columns(
        &self,
        query: &Query,
        keys: &[OrderByExpr],
        is_limited: bool,
    ) -> Result<Option<(Sorted, Vec<SortKey>)>> {
        let mut query = query.clone();
        let width = match &*query.body {
            SetExpr::Select(select) => select.projection.len(),
            _ => {
                let mut body = &*query.body;
                while let SetExpr::SetOperation { left, .. } = body {
                    body = left;
                }
                match body {
                    SetExpr::Select(select) => select.projection.len(),
                    _ => return Ok(None),
                }
            }
        };
        let names: Vec<Option<String>> = match first_select(&query.body) {
            Some(select) => select.projection.iter().map(bind::item_name).collect(),
            None => return Ok(None),
        };
        if names.iter().any(Option::is_none)
            && keys.iter().any(|key| as_column(&key.expr).is_none())
        {
            return Ok(None);
        }
        let mut sorts = Vec::new();
        let mut added: Vec<Expr> = Vec::new();
        for key in keys {
            let Some(index) = output_index(&key.expr, &names, &query.body) else {
                // An expression over FROM.
                let distinct = first_select(&query.body).is_some_and(|s| s.distinct.is_some());
                if !matches!(&*query.body, SetExpr::Select(_)) || distinct {
                    return Ok(None);
                }
                sorts.push((width + added.len(), key));
                added.push(key.expr.clone());
                continue;
            };
            sorts.push((index, key));
        }
        let columns = self.described(&query, &added)?;
        let mut sort_keys = Vec::new();
        for (index, key) in sorts {
            let Some(column) = columns.get(index) else {
                return Ok(None);
            };
            let expr = match index.checked_sub(width) {
                Some(hidden) => added.get(hidden).cloned(),
                None => first_select(&query.body)
                    .and_then(|s| s.projection.get(index))
                    .and_then(item_expr),
            };
            let Some(expr) = expr else { return Ok(None) };
            // Of a set operation only PostgreSQL knows the collation.
            let known = matches!(&*query.body, SetExpr::Select(_))
                || !is_collatable(column)
                || !self.any_collation();
            if !known || !self.is_orderable(column, &expr, is_limited) {
                return Ok(None);
            }
            let descending = key.options.asc == Some(false);
            sort_keys.push(SortKey {
                column: index,
                descending,
                nulls_first: key.options.nulls_first.unwrap_or(descending),
            });
        }
        let hidden = !added.is_empty();
        if let SetExpr::Select(select) = &mut *query.body {
            for (index, expr) in added.into_iter().enumerate() {
                select.projection.push(SelectItem::ExprWithAlias {
                    expr,
                    alias: ident(&format!("{}s{}", self.prefix, index + 1)),
                });
            }
        }
        let sorted = Sorted {
            query,
            visible: width,
            hidden,
        };
        Ok(Some((sorted, sort_keys)))
    }

    /// Whether the merge of sorted rows compares the values of a sort key as PostgreSQL does.
    fn is_orderable(&self, column: &Column, expr: &Expr, limited: bool) -> bool {
        let bytewise = || match self.collation(expr) {
            Ok(collation) => {
                let default = self.question.catalog.default_collation();
                let collation = collation.as_ref().unwrap_or(default);
                collation.bytewise && collation.difference.is_none()
            }
            Err(()) => false,
        };
        match column.pg_type.name() {
            "bool" | "int2" | "int4" | "int8" | "oid" | "xid8" | "float4" | "float8" | "uuid"
            | "bytea" | "bit" | "varbit" | "date" | "time" | "timestamp" | "timestamptz"
            | "interval" => true,
            "text" | "varchar" | "bpchar" => bytewise(),
            // Not every value fits a decimal of Arrow; a few rows are better sorted by PostgreSQL.
            "numeric" if !limited && self.question.decimals => {
                self.decimals.set(true);
                true
            }
            name => {
                name.starts_with("numeric(") && !name.ends_with(']') || column.pg_type.is_enum()
            }
        }
    }

    /// The columns of a query, and of expressions over its FROM.
    fn described(&self, query: &Query, added: &[Expr]) -> Result<Vec<Column>> {
        let mut query = query.clone();
        query.order_by = None;
        if let SetExpr::Select(select) = &mut *query.body {
            let items = added.iter().cloned().map(SelectItem::UnnamedExpr);
            select.projection.extend(items);
        }
        self.describe(&query)
    }

    /// Asks for the columns of a query, which may read steps.
    fn describe(&self, query: &Query) -> Result<Vec<Column>> {
        let mut sql = Sql::of(query);
        let mut steps = BTreeSet::new();
        self.stubs_for(query, &mut steps);
        let stubs: Vec<_> = steps
            .into_iter()
            .filter_map(|index| self.steps.get(index))
            .filter_map(|step| {
                let names: Vec<_> = step
                    .columns
                    .iter()
                    .map(|c| ident(&c.name).to_string())
                    .collect();
                let stub = self.stubs.get(&step.name)?;
                Some(format!("{} ({}) AS ({stub})", step.name, names.join(", ")))
            })
            .collect();
        sql.with.splice(0..0, stubs);
        let text = sql.to_string();
        match self.question.answers.described.get(&text) {
            Some(columns) => Ok(columns.clone()),
            None => Err(Stop::Need(Need::Describe(text))),
        }
    }

    /// The steps that a query reads, and those that the queries behind them read.
    fn stubs_for(&self, query: &Query, found: &mut BTreeSet<usize>) {
        for index in self.uses(query) {
            let stub = self
                .steps
                .get(index)
                .and_then(|step| self.stubs.get(&step.name));
            if found.insert(index)
                && let Some(stub) = stub
            {
                self.stubs_for(stub, found);
            }
        }
    }

    /// The collation of an expression of a collatable type, if it is not the default; `Err`: it
    /// cannot be told.
    fn collation(&self, expr: &Expr) -> std::result::Result<Option<Collation>, ()> {
        let expr = bare(expr);
        if self.not_text.contains(&expr.to_string()) {
            return Ok(None);
        }
        if let Expr::Collate { collation, .. } = expr {
            let mut parts = bind::parts(collation);
            let name = parts.pop().ok_or(())?;
            let found = self
                .question
                .catalog
                .collation(parts.pop().as_deref(), &name)
                .ok_or(())?;
            return Ok(Some(found.clone()).filter(|c| c.sql.is_some()));
        }
        if let Some((alias, name)) = as_column(expr) {
            let relation = self.relations.get(&alias).ok_or(())?;
            let columns = relation.columns.as_ref().ok_or(())?;
            let column = columns.iter().find(|c| c.name == name).ok_or(())?;
            // Of a query's expressions only PostgreSQL knows the collation.
            return match (&column.collation, &column.type_name, &relation.source) {
                (Some(collation), _, _) => Ok(Some(collation.clone())),
                (None, Some(_), _) => Ok(None),
                (None, None, _) => match self.any_collation() {
                    true => Err(()),
                    false => Ok(None),
                },
            };
        }
        if let Some(parts) = text_parts(expr) {
            return self.common_collation(&parts);
        }
        // An expression has the collation of its parts, which is the default if theirs is.
        let mut plain = true;
        rewrite::each(expr, |part| match part {
            Expr::Collate { .. } => plain = false,
            Expr::CompoundIdentifier(_) => {
                plain &= matches!(self.collation(part), Ok(None));
            }
            Expr::Subquery(_) => plain &= !self.any_collation(),
            _ => {}
        });
        match plain {
            true => Ok(None),
            false => Err(()),
        }
    }

    fn remember_not_text(&mut self, exprs: &[Expr], columns: &[Column]) {
        for (expr, column) in exprs.iter().zip(columns) {
            if !is_collatable(column) {
                self.not_text.insert(bare(expr).to_string());
            }
        }
    }

    /// The collation that PostgreSQL derives for an operation on texts: that of the parts which have
    /// one other than the default (`src/backend/parser/parse_collate.c`).
    fn common_collation(&self, parts: &[&Expr]) -> std::result::Result<Option<Collation>, ()> {
        let mut common: Option<Collation> = None;
        for part in parts {
            let Some(found) = self.collation(part)? else {
                continue;
            };
            match &common {
                Some(known) if known.sql != found.sql => return Err(()),
                _ => common = Some(found),
            }
        }
        Ok(common)
    }

    /// Whether any column of the statement has another collation than the default.
    fn any_collation(&self) -> bool {
        self.relations.values().any(|relation| {
            let columns = relation.columns.iter().flatten();
            columns.into_iter().any(|column| column.collation.is_some())
        })
    }

    /// The columns of a query whose rows become a relation.
    fn step_columns(&self, query: &Query) -> Result<Vec<StepColumn>> {
        let Some(select) = first_select(&query.body) else {
            // VALUES.
            let columns = self.describe(query)?;
            return Ok((1..=columns.len())
                .map(|n| self.step_column("c", n, None))
                .collect());
        };
        let described = self.describe(query)?;
        let mut columns = Vec::new();
        for (index, column) in described.iter().enumerate() {
            let expr = select.projection.get(index).and_then(item_expr);
            let collation = match expr {
                Some(expr) if is_collatable(column) => match self.collation(&expr) {
                    Ok(collation) => collation.and_then(|c| c.sql),
                    Err(()) => {
                        return Err(refused(
                            "a subquery whose text has a collation that cannot be told".to_owned(),
                            "name the collation: (expression) COLLATE \"...\"",
                        )
                        .into());
                    }
                },
                _ => None,
            };
            columns.push(self.step_column("c", index + 1, collation));
        }
        Ok(columns)
    }

    fn step_column(&self, kind: &str, number: usize, collation: Option<String>) -> StepColumn {
        StepColumn {
            name: format!("{}{kind}{number}", self.prefix),
            collation,
        }
    }

    // ---- Broadcast ----------------------------------------------------------------------------

    /// Plans the subqueries that shards cannot evaluate, but that blocks over sharded tables need,
    /// on their own; their rows are read in their place.
    fn broadcast(&mut self, mut query: Query) -> Result<Query> {
        // Inner blocks are planned as a part of the query that holds them.
        self.broadcast_expressions(&mut query)?;
        self.broadcast_derived(&mut query)?;
        Ok(query)
    }

    fn broadcast_expressions(&mut self, query: &mut Query) -> Result<()> {
        let mut blocks: Vec<Query> = Vec::new();
        collect_global(
            &mut query.clone(),
            &mut |sub, over_sharded| {
                if over_sharded {
                    blocks.push(sub.clone());
                }
            },
            &self.locality(),
        );
        for sub in blocks {
            let printed = sub.to_string();
            let columns = self.describe(&sub)?;
            if columns.is_empty() || !columns.iter().all(has_name) || self.names_foreign_cte(&sub) {
                continue;
            }
            let index = self.plan_query(sub.clone(), None, false)?;
            let name = self.enter(index, columns, sub);
            let replacement = self.read_step(index, &name);
            rewrite::each_query(query, |inner| {
                if inner.to_string() == printed {
                    *inner = replacement.clone();
                }
            });
        }
        Ok(())
    }

    /// Derived tables that are global, in a FROM that would be local without them.
    fn broadcast_derived(&mut self, query: &mut Query) -> Result<()> {
        let mut candidates = Vec::new();
        let locality = self.locality();
        rewrite::each_query(&mut query.clone(), |inner| {
            let mut bodies = vec![&*inner.body];
            while let Some(body) = bodies.pop() {
                match body {
                    SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                    SetExpr::Select(select) => {
                        let mut derived = Vec::new();
                        let mut sharded = false;
                        for tree in &select.from {
                            each_side(tree, &mut |factor| match factor {
                                TableFactor::Derived {
                                    subquery,
                                    alias,
                                    lateral: false,
                                    ..
                                } => match locality.of(subquery) {
                                    Distribution::Global(_)
                                        if !locality.is_correlated(subquery) =>
                                    {
                                        let alias = alias.as_ref().map(|a| folded(&a.name));
                                        derived.push((
                                            alias.unwrap_or_default(),
                                            (**subquery).clone(),
                                        ));
                                    }
                                    Distribution::Sharded { .. } => sharded = true,
                                    _ => {}
                                },
                                other => {
                                    let alias = factor_alias(other).unwrap_or_default();
                                    sharded |= matches!(locality.relations.get(&alias).map(|r| &r.source),
                                        Some(Source::Table(base)) if base.sharding.is_some());
                                }
                            });
                        }
                        if sharded && !derived.is_empty() {
                            candidates.push((derived, (**select).clone()));
                        }
                    }
                    _ => {}
                }
            }
        });
        for (derived, mut select) in candidates {
            // Would it help?
            let mut tried = self.relations.clone();
            for (alias, _) in &derived {
                for tree in &mut select.from {
                    each_side_mut(tree, &mut |factor| {
                        if factor_alias(factor).as_deref() == Some(&**alias) {
                            *factor = step_factor("step", Some(alias));
                        }
                    });
                }
                if let Some(relation) = tried.get_mut(alias) {
                    relation.source = Source::Step;
                }
            }
            let locality = Locality {
                relations: &tried,
                catalog: self.question.catalog,
            };
            if locality.select(&select, &Anchors::default()).rows.is_err() {
                continue;
            }
            for (alias, subquery) in derived {
                let columns = self.describe(&subquery)?;
                if columns.is_empty()
                    || !columns.iter().all(has_name)
                    || self.names_foreign_cte(&subquery)
                {
                    continue;
                }
                let index = self.plan_query(subquery.clone(), None, false)?;
                let names = self.enter(index, columns, subquery);
                let own: Vec<_> = self
                    .relations
                    .get(&alias)
                    .and_then(|r| r.columns.as_ref())
                    .map(|columns| columns.iter().map(|c| ident(&c.name)).collect())
                    .unwrap_or_default();
                if let Some(relation) = self.relations.get_mut(&alias) {
                    relation.source = Source::Step;
                }
                locality::each_factor(query, |factor| {
                    if matches!(factor, TableFactor::Derived { .. })
                        && factor_alias(factor).as_deref() == Some(&*alias)
                    {
                        *factor = step_factor_with(&names, &alias, own.clone());
                    }
                });
            }
        }
        Ok(())
    }

    /// Makes a step known as a relation; returns its alias.
    fn enter(&mut self, index: usize, columns: Vec<Column>, query: Query) -> String {
        let name = self.steps[index].name.clone();
        let relation = Relation {
            source: Source::Step,
            columns: Some(
                self.steps[index]
                    .columns
                    .iter()
                    .zip(&columns)
                    .map(|(column, described)| bind::RelationColumn {
                        name: column.name.clone(),
                        type_name: Some(described.pg_type.name().to_owned()),
                        collation: self.named_collation(column),
                    })
                    .collect(),
            ),
        };
        self.relations.insert(name.clone(), relation);
        self.stubs.insert(name.clone(), query);
        name
    }

    fn named_collation(&self, column: &StepColumn) -> Option<Collation> {
        let wanted = column.collation.as_ref()?;
        self.relations
            .values()
            .flat_map(|relation| relation.columns.iter().flatten())
            .filter_map(|column| column.collation.as_ref())
            .find(|collation| collation.sql.as_ref() == Some(wanted))
            .cloned()
    }

    /// `SELECT columns FROM step`.
    fn read_step(&self, index: usize, name: &str) -> Query {
        let items = self.steps[index]
            .columns
            .iter()
            .map(|column| SelectItem::UnnamedExpr(bind::column(name, &column.name)))
            .collect();
        let from = build::item(step_factor(&self.steps[index].name, None));
        build::query(SetExpr::Select(Box::new(build::select(items, vec![from]))))
    }

    // ---- Lowering -----------------------------------------------------------------------------

    /// The query over the rows of steps. `once`: whether a row counts once however often it comes.
    fn lower_query(&mut self, mut query: Query, once: bool, top: bool) -> Result<Query> {
        if !self.locality().reads_sharded(&query) {
            return Ok(query);
        }
        if self.merge == MergeMode::Auto
            && let Some(rows) = self.rows(&query, once, top)?
        {
            return Ok(rows);
        }
        if let Some(with) = &mut query.with {
            for cte in &mut with.cte_tables {
                let inner =
                    std::mem::replace(&mut *cte.query, build::query(SetExpr::Values(no_values())));
                *cte.query = self.lower_query(inner, false, false)?;
            }
        }
        let body = std::mem::replace(&mut *query.body, SetExpr::Values(no_values()));
        match body {
            SetExpr::Select(select) => {
                *query.body = SetExpr::Select(select);
                self.lower_select(query, once)
            }
            SetExpr::Query(inner) => {
                *query.body = SetExpr::Query(Box::new(self.lower_query(*inner, false, false)?));
                self.lower_beside(&mut query)?;
                Ok(query)
            }
            SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } => {
                let all = matches!(
                    set_quantifier,
                    SetQuantifier::All | SetQuantifier::AllByName
                );
                let union = op == SetOperator::Union;
                *query.body = SetExpr::SetOperation {
                    left: Box::new(self.lower_side(*left, !all, top && union)?),
                    right: Box::new(self.lower_side(*right, !all, top && union)?),
                    op,
                    set_quantifier,
                };
                self.lower_beside(&mut query)?;
                Ok(query)
            }
            mut other => {
                if let SetExpr::Values(values) = &mut other {
                    self.lower_subqueries(values)?;
                }
                *query.body = other;
                self.lower_beside(&mut query)?;
                Ok(query)
            }
        }
    }

    fn lower_side(&mut self, side: SetExpr, once: bool, top: bool) -> Result<SetExpr> {
        let lowered = match side {
            SetExpr::Query(query) => {
                return Ok(SetExpr::Query(Box::new(
                    self.lower_query(*query, once, top)?,
                )));
            }
            other => self.lower_query(build::query(other), once, top)?,
        };
        let plain =
            lowered.with.is_none() && lowered.order_by.is_none() && !locality::is_limited(&lowered);
        Ok(match plain {
            true => *lowered.body,
            false => SetExpr::Query(Box::new(lowered)),
        })
    }

    /// A query that the shards can answer but for the order and the limit, and for DISTINCT: its
    /// rows are a step, and it is repeated over them.
    fn rows(&mut self, query: &Query, once: bool, top: bool) -> Result<Option<Query>> {
        if self.locality().is_correlated(query) {
            return Ok(None);
        }
        let mut unlimited = query.clone();
        let limit = take_limit(&mut unlimited);
        // DISTINCT is repeated, so the shards need not agree on it.
        let mut relaxed = unlimited.clone();
        let mut distinct = None;
        if let SetExpr::Select(select) = &mut *relaxed.body {
            distinct = select.distinct.take();
        }
        if matches!(
            self.unlimited_distribution(&relaxed),
            Distribution::Global(_)
        ) {
            return Ok(None);
        }
        let keys = locality::order_keys(query).to_vec();
        let Some(first) = first_select(&unlimited.body) else {
            return Ok(None);
        };
        let names: Vec<_> = first.projection.iter().map(bind::item_name).collect();
        let exprs: Option<Vec<Expr>> = first.projection.iter().map(item_expr).collect();
        let Some(exprs) = exprs else { return Ok(None) };
        let is_select = matches!(&*unlimited.body, SetExpr::Select(_));
        let width = exprs.len();
        if width == 0 || self.names_foreign_cte(query) {
            return Ok(None);
        }
        // The columns get other names, but GROUP BY may know one by its own.
        let by_name = matches!(&first.group_by, GroupByExpr::Expressions(keys, _)
            if keys.iter().any(|key| matches!(bare(key), Expr::Identifier(_))));
        if by_name {
            return Ok(None);
        }

        // The sort keys, and those of DISTINCT ON, as columns of the step.
        let mut added: Vec<Expr> = Vec::new();
        let mut place = |expr: &Expr, body: &SetExpr| -> Option<usize> {
            output_index(expr, &names, body).or_else(|| {
                let known = added
                    .iter()
                    .position(|known| known.to_string() == expr.to_string());
                Some(
                    width
                        + known.unwrap_or_else(|| {
                            added.push(expr.clone());
                            added.len() - 1
                        }),
                )
            })
        };
        let order: Vec<_> = keys
            .iter()
            .filter_map(|key| place(&key.expr, &unlimited.body))
            .collect();
        let on: Vec<usize> = match &distinct {
            Some(Distinct::On(exprs)) => exprs
                .iter()
                .filter_map(|expr| place(expr, &unlimited.body))
                .collect(),
            _ => Vec::new(),
        };
        let only_distinct = matches!(distinct, Some(Distinct::Distinct));
        if !added.is_empty() && (!is_select || only_distinct) {
            return Ok(None);
        }
        let mut all = exprs;
        all.extend(added.iter().cloned());

        let mut shard_query = unlimited.clone();
        shard_query.order_by = None;
        if let SetExpr::Select(select) = &mut *shard_query.body {
            select.projection = all
                .iter()
                .enumerate()
                .map(|(index, expr)| SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: ident(&self.step_column("c", index + 1, None).name),
                })
                .collect();
            if once
                && distinct.is_none()
                && !locality::is_limited(query)
                && !self.locality().aggregates(select)
            {
                select.distinct = Some(Distinct::Distinct);
            }
        }
        let mut columns = Vec::new();
        // Whether anything but the answer's own columns is compared later.
        let described = self.describe(&shard_query)?;
        if described.iter().any(|column| !has_name(column)) {
            return Ok(None);
        }
        self.remember_not_text(&all, &described);
        for (index, column) in described.iter().enumerate() {
            let compared =
                !top || once || order.contains(&index) || on.contains(&index) || only_distinct;
            let collation = match is_collatable(column) && compared {
                false => None,
                true => match all
                    .get(index)
                    .filter(|_| is_select)
                    .map(|expr| self.collation(expr))
                {
                    Some(Ok(collation)) => collation.and_then(|c| c.sql),
                    None if !self.any_collation() => None,
                    _ => return Ok(None),
                },
            };
            columns.push(self.step_column("c", index + 1, collation));
        }
        // The first rows of each shard hold the first rows of all; so do those with ties.
        if let Some(limit) = &limit
            && !limit.is_none()
            && !matches!(distinct, Some(Distinct::On(_)))
            && (!keys.is_empty() || !limit.with_ties)
        {
            shard_query.order_by = reordered(&unlimited, &order);
            shard_query = limited(shard_query, limit);
        } else if matches!(distinct, Some(Distinct::On(_))) {
            shard_query.order_by = reordered(&unlimited, &order);
            if let SetExpr::Select(select) = &mut *shard_query.body {
                // DISTINCT ON keeps the expressions that ORDER BY begins with.
                let by_index = on
                    .iter()
                    .filter_map(|index| all.get(*index))
                    .cloned()
                    .collect();
                select.distinct = Some(Distinct::On(by_index));
            }
            if let Some(order_by) = &mut shard_query.order_by
                && let OrderByKind::Expressions(exprs) = &mut order_by.kind
            {
                for (key, index) in exprs.iter_mut().zip(&order) {
                    if let Some(expr) = all.get(*index) {
                        key.expr = expr.clone();
                    }
                }
            }
        }
        let shards = self.shards_for(query)?;
        let uses = self.uses(&shard_query);
        let index = self.push(
            Sql::of(&shard_query),
            uses,
            Place::Shards(shards),
            Merge::all(),
            columns,
        );
        let name = self.enter(index, described, shard_query);
        self.at_least(match (top, &distinct) {
            (true, Some(_)) => Arm::Combine,
            (true, None) if !keys.is_empty() => Arm::Ordered,
            (true, None) if once => Arm::Combine,
            (true, None) => Arm::Union,
            // What moves is less than the rows of the tables.
            (false, Some(_)) => Arm::Combine,
            (false, None) if once || limit.as_ref().is_some_and(|limit| limit.fetch.is_some()) => {
                Arm::Combine
            }
            (false, None) => Arm::Gather,
        });

        let column = |index: usize| bind::column(&name, &format!("{}c{}", self.prefix, index + 1));
        let items = (0..width)
            .map(|index| {
                let item = names
                    .get(index)
                    .and_then(|name| name.clone())
                    .filter(|n| n != bind::NAMELESS);
                match item {
                    Some(alias) => SelectItem::ExprWithAlias {
                        expr: column(index),
                        alias: ident(&alias),
                    },
                    None => SelectItem::UnnamedExpr(column(index)),
                }
            })
            .collect();
        let mut select = build::select(items, vec![build::item(step_factor(&name, None))]);
        select.distinct = match distinct {
            Some(Distinct::On(_)) => Some(Distinct::On(
                on.iter().map(|index| column(*index)).collect(),
            )),
            other => other,
        };
        let mut finished = query.clone();
        finished.with = None;
        finished.body = Box::new(SetExpr::Select(Box::new(select)));
        if let Some(order_by) = &mut finished.order_by
            && let OrderByKind::Expressions(exprs) = &mut order_by.kind
        {
            for (key, index) in exprs.iter_mut().zip(&order) {
                key.expr = column(*index);
            }
        }
        self.lower_beside(&mut finished)?;
        Ok(Some(finished))
    }

    /// A SELECT that the shards cannot answer alone.
    fn lower_select(&mut self, query: Query, once: bool) -> Result<Query> {
        if self.merge == MergeMode::Auto
            && let Some(combined) = self.combine(&query)?
        {
            return Ok(combined.query);
        }
        self.gather(query, once)
    }

    // ---- Gather -------------------------------------------------------------------------------

    /// The query with the filtered rows of its sharded tables in place of them.
    fn gather(&mut self, mut query: Query, once: bool) -> Result<Query> {
        let is_limited = locality::is_limited(&query);
        let SetExpr::Select(select) = &mut *query.body else {
            return Ok(query);
        };
        let once = once
            && !is_limited
            && !self.locality().aggregates(select)
            && !rewrite::any(
                &select.projection,
                |expr| matches!(expr, Expr::Function(function) if function.over.is_some()),
            )
            && !matches!(select.distinct, Some(Distinct::On(_)));
        let original = select.clone();
        let mut from = std::mem::take(&mut select.from);
        for tree in &mut from {
            self.gather_tree(tree, &original, once)?;
        }
        select.from = from;
        let mut taken = std::mem::replace(&mut *query.body, SetExpr::Values(no_values()));
        if let SetExpr::Select(select) = &mut taken {
            self.lower_subqueries(&mut select.projection)?;
            self.lower_subqueries(&mut select.selection)?;
            self.lower_subqueries(&mut select.having)?;
            self.lower_subqueries(&mut select.group_by)?;
            self.lower_subqueries(&mut select.distinct)?;
            self.lower_subqueries(&mut select.named_window)?;
        }
        *query.body = taken;
        self.lower_beside(&mut query)?;
        let columns = determined_columns(&query, &original, self.question.catalog);
        if let SetExpr::Select(select) = &mut *query.body
            && let GroupByExpr::Expressions(keys, _) = &mut select.group_by
        {
            // PostgreSQL knows of no primary key of the rows of a step.
            keys.extend(columns);
        }
        Ok(query)
    }

    /// Lowers the queries in ORDER BY and LIMIT.
    fn lower_beside(&mut self, query: &mut Query) -> Result<()> {
        let mut order_by = query.order_by.take();
        self.lower_subqueries(&mut order_by)?;
        query.order_by = order_by;
        let mut limit = query.limit_clause.take();
        self.lower_subqueries(&mut limit)?;
        query.limit_clause = limit;
        let mut fetch = query.fetch.take();
        self.lower_subqueries(&mut fetch)?;
        query.fetch = fetch;
        Ok(())
    }

    /// Lowers the queries inside expressions.
    fn lower_subqueries<T: datafusion::sql::sqlparser::ast::VisitMut>(
        &mut self,
        tree: &mut T,
    ) -> Result<()> {
        let mut stop = None;
        let _ = top_down(tree, |expr| {
            if stop.is_some() {
                return Ok(Walk::Done);
            }
            let once = matches!(expr, Expr::Exists { .. } | Expr::InSubquery { .. });
            if let Expr::InSubquery { expr: left, .. } = expr
                && let Err(error) = self.lower_subqueries(&mut **left)
            {
                stop = Some(error);
            }
            let Some(query) = rewrite::subquery(expr) else {
                return Ok(Walk::Into);
            };
            let inner = std::mem::replace(query, build::query(SetExpr::Values(no_values())));
            match self.lower_query(inner, once, false) {
                Ok(lowered) => *query = lowered,
                Err(error) => stop = Some(error),
            }
            Ok(Walk::Done)
        });
        stop.map_or(Ok(()), Err)
    }

    fn gather_tree(
        &mut self,
        tree: &mut TableWithJoins,
        select: &Select,
        once: bool,
    ) -> Result<()> {
        self.gather_factor(&mut tree.relation, select, once)?;
        for join in &mut tree.joins {
            self.gather_factor(&mut join.relation, select, once)?;
            use datafusion::sql::sqlparser::ast::{JoinConstraint, JoinOperator};
            if let JoinOperator::Join(JoinConstraint::On(expr))
            | JoinOperator::Inner(JoinConstraint::On(expr))
            | JoinOperator::Left(JoinConstraint::On(expr))
            | JoinOperator::LeftOuter(JoinConstraint::On(expr))
            | JoinOperator::Right(JoinConstraint::On(expr))
            | JoinOperator::RightOuter(JoinConstraint::On(expr))
            | JoinOperator::FullOuter(JoinConstraint::On(expr)) = &mut join.join_operator
            {
                self.lower_subqueries(expr)?;
            }
        }
        Ok(())
    }

    fn gather_factor(
        &mut self,
        factor: &mut TableFactor,
        select: &Select,
        once: bool,
    ) -> Result<()> {
        match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => self.gather_tree(table_with_joins, select, once),
            TableFactor::Derived { subquery, .. } => {
                let inner =
                    std::mem::replace(&mut **subquery, build::query(SetExpr::Values(no_values())));
                **subquery = self.lower_query(inner, once, false)?;
                Ok(())
            }
            TableFactor::Table { args: None, .. } => {
                let alias = factor_alias(factor).unwrap_or_default();
                let Some(Source::Table(base)) =
                    self.relations.get(&alias).map(|r| r.source.clone())
                else {
                    return Ok(());
                };
                if base.sharding.is_none() {
                    return Ok(());
                }
                let filters = self.filters(select, &alias);
                let shards = match self.router().of_table(select, &alias)? {
                    Some(shards) => shards.into_iter().collect(),
                    None => self.all_shards(),
                };
                let name =
                    self.table_step(&alias, &base.sql, filters, Place::Shards(shards), once)?;
                self.at_least(Arm::Gather);
                if let Some(relation) = self.relations.get_mut(&alias) {
                    relation.source = Source::Step;
                }
                *factor = step_factor(&name, Some(&alias));
                Ok(())
            }
            other => self.lower_subqueries(other),
        }
    }

    /// A step with the rows of a table; returns its name.
    fn table_step(
        &mut self,
        alias: &str,
        table: &str,
        filters: Vec<Expr>,
        place: Place,
        once: bool,
    ) -> Result<String> {
        let relation = self.relations.get(alias).cloned();
        let columns: Vec<_> = relation
            .and_then(|relation| relation.columns)
            .unwrap_or_default()
            .into_iter()
            .collect();
        let all: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
        let mut used: Vec<_> = columns
            .into_iter()
            .filter(|column| self.needed.is_needed(alias, &column.name))
            .collect();
        let mut items: Vec<_> = used
            .iter()
            .map(|column| SelectItem::UnnamedExpr(bind::column(alias, &column.name)))
            .collect();
        let mut step_columns: Vec<_> = used
            .drain(..)
            .map(|column| StepColumn {
                name: column.name,
                collation: column.collation.and_then(|c| c.sql),
            })
            .collect();
        if items.is_empty() {
            // How many rows there are still counts.
            let column = self.step_column("c", 1, None);
            items.push(SelectItem::ExprWithAlias {
                expr: Expr::value(Value::Boolean(true)),
                alias: ident(&column.name),
            });
            step_columns.push(column);
        }
        let mut with_columns = bind::table_alias(alias);
        // The names may be those that the statement gives to the columns.
        with_columns.columns = all
            .iter()
            .map(
                |name| datafusion::sql::sqlparser::ast::TableAliasColumnDef {
                    name: ident(name),
                    data_type: None,
                },
            )
            .collect();
        if !self.is_renamed(alias) {
            with_columns.columns.clear();
        }
        let from = build::item(build::table(raw_name(table), Some(with_columns)));
        let mut select = build::select(items, vec![from]);
        select.selection = rewrite::all_of(filters);
        if once {
            select.distinct = Some(Distinct::Distinct);
        }
        let query = build::query(SetExpr::Select(Box::new(select)));
        let uses = self.uses(&query);
        let index = self.push(Sql::of(&query), uses, place, Merge::all(), step_columns);
        Ok(self.steps[index].name.clone())
    }

    /// Whether the statement gives names of its own to a table's columns.
    fn is_renamed(&self, alias: &str) -> bool {
        let Some(relation) = self.relations.get(alias) else {
            return false;
        };
        let Source::Table(base) = &relation.source else {
            return false;
        };
        let (schema, name) = &base.name;
        let Some(facts) = self.question.catalog.relation(Some(schema), name) else {
            return false;
        };
        let own = relation.columns.iter().flatten().map(|c| &c.name);
        !own.eq(facts.columns.iter().map(|c| &c.name))
    }

    /// Conditions that all rows of a table meet which the query can need: its own, and that rows of
    /// replicated tables match it.
    fn filters(&self, select: &Select, alias: &str) -> Vec<Expr> {
        let catalog = self.question.catalog;
        let mut inner = HashSet::new();
        let mut conditions: Vec<Expr> = Vec::new();
        let mut own: Vec<Expr> = Vec::new();
        let mut reachable = false;
        for tree in &select.from {
            inner_side(
                tree,
                alias,
                &mut inner,
                &mut conditions,
                &mut own,
                &mut reachable,
            );
        }
        let is_simple = |expr: &Expr| {
            !functions::is_volatile(expr, catalog)
                && !functions::depends_on_server(expr, catalog)
                && !rewrite::any(expr, |part| {
                    matches!(
                        part,
                        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. }
                    ) || matches!(
                        part,
                        Expr::Function(Function {
                            args: FunctionArguments::Subquery(_),
                            ..
                        })
                    ) || matches!(part, Expr::Identifier(name) if self.relations.contains_key(&folded(name)))
                })
        };
        let only = |expr: &Expr, allowed: &dyn Fn(&str) -> bool| {
            let mut ok = true;
            rewrite::each(expr, |part| match part {
                Expr::CompoundIdentifier(parts) => {
                    ok &= parts.first().is_some_and(|alias| allowed(&folded(alias)));
                }
                Expr::QualifiedWildcard(..) => ok = false,
                _ => {}
            });
            ok && is_simple(expr)
        };
        let mut filters: Vec<_> = own
            .into_iter()
            .filter(|expr| only(expr, &|name| name == alias))
            .collect();
        if !reachable {
            return filters;
        }
        conditions.extend(select.selection.iter().flat_map(conjuncts).cloned());
        filters.extend(
            conditions
                .iter()
                .filter(|expr| only(expr, &|name| name == alias))
                .cloned(),
        );
        // Replicated tables that are joined to it, directly or by way of others.
        let replicated: HashSet<_> = inner
            .iter()
            .filter(|name| {
                matches!(self.relations.get(*name).map(|r| &r.source),
                    Some(Source::Table(base)) if base.sharding.is_none())
            })
            .cloned()
            .collect();
        let joins: Vec<_> = conditions
            .iter()
            .filter(|expr| only(expr, &|name| name == alias || replicated.contains(name)))
            .filter(|expr| !only(expr, &|name| name == alias))
            .cloned()
            .collect();
        let mut linked: HashSet<String> = HashSet::from([alias.to_owned()]);
        loop {
            let before = linked.len();
            for condition in &joins {
                let names = aliases_in(condition);
                if names.len() > 1 && names.iter().any(|name| linked.contains(name)) {
                    linked.extend(names);
                }
            }
            if linked.len() == before {
                break;
            }
        }
        linked.remove(alias);
        // Without a condition on the others, a match says little.
        let narrows = joins
            .iter()
            .any(|condition| aliases_in(condition).len() == 1);
        if linked.is_empty() || !narrows {
            return filters;
        }
        let mut names: Vec<_> = linked.iter().cloned().collect();
        names.sort();
        let mut from = Vec::new();
        for name in &names {
            if let Some(Source::Table(base)) = self.relations.get(name).map(|r| &r.source) {
                if self.is_renamed(name) {
                    return filters;
                }
                from.push(build::item(build::table(
                    raw_name(&base.sql),
                    Some(bind::table_alias(name)),
                )));
            }
        }
        let used = joins.into_iter().filter(|condition| {
            let names = aliases_in(condition);
            names
                .iter()
                .all(|name| name == alias || linked.contains(name))
        });
        let mut exists = build::select(vec![SelectItem::UnnamedExpr(build::number(1))], from);
        exists.selection = rewrite::all_of(used);
        filters.push(Expr::Exists {
            subquery: Box::new(build::query(SetExpr::Select(Box::new(exists)))),
            negated: false,
        });
        filters
    }

    // ---- Combine ------------------------------------------------------------------------------

    /// The answer from DataFusion alone, where nothing is left to finish.
    fn combined(&mut self, query: &Query) -> Result<Option<usize>> {
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
        if self.question.topology.finish() == &Finish::Off || !combined.query_reads_only_steps {
            // Planned again, with an error or the tables.
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
    fn combine(&mut self, query: &Query) -> Result<Option<Combined>> {
        let SetExpr::Select(select) = &*query.body else {
            return Ok(None);
        };
        let order = locality::order_keys(query).to_vec();
        let order_exprs: Vec<Expr> = order.iter().map(|key| key.expr.clone()).collect();
        if !self.locality().aggregates(select) && !self.locality().calls_aggregate(&order_exprs) {
            return Ok(None);
        }
        let foreign = self.names_foreign_cte(query);
        if let Some(reason) = self.locality().global_with(query).or_else(|| {
            foreign.then(|| "a common table expression of an outer query is read".to_owned())
        }) {
            self.note(reason);
            return Ok(None);
        }
        let block = self.locality().select(select, &Anchors::default());
        match block.rows {
            Ok(Side::Sharded { .. }) => {}
            Ok(_) => return Ok(None),
            Err(reason) => {
                self.note(reason);
                return Ok(None);
            }
        }
        let mut own = HashSet::new();
        for tree in &select.from {
            each_side(tree, &mut |factor| own.extend(factor_alias(factor)));
        }
        if self.has_correlated_from(select) {
            self.note("FROM names columns of an outer query");
            return Ok(None);
        }
        let catalog = self.question.catalog;

        // WHERE: what names columns of outer queries is left for later.
        let (mut pushed, mut left) = (Vec::new(), Vec::new());
        for conjunct in select.selection.iter().flat_map(conjuncts) {
            match self.names_outer(conjunct, &own) {
                false => pushed.push(conjunct.clone()),
                true => left.push(conjunct.clone()),
            }
        }
        let has_subquery = |expr: &Expr| {
            let mut found = false;
            locality::own_expressions(expr, |part| {
                found |= rewrite::subquery(&mut part.clone()).is_some();
            });
            found
        };
        if left.iter().any(has_subquery) {
            self.note("a correlated condition holds a subquery");
            return Ok(None);
        }

        let mut parts = Parts {
            prefix: self.prefix.clone(),
            name: format!("{}{}", self.prefix, self.steps.len() + 1),
            own,
            keys: Vec::new(),
            partials: Vec::new(),
            sets: Vec::new(),
            plain: true,
            extra: 0,
            float_order: false,
            arguments: HashMap::new(),
            direct: HashMap::new(),
        };
        let GroupByExpr::Expressions(written, modifiers) = &select.group_by else {
            return Ok(None);
        };
        if !modifiers.is_empty() {
            return Ok(None);
        }
        let mut grouping = written.clone();
        for key in &mut grouping {
            resolve(key, &select.projection, &mut parts);
        }
        let grouped_keys = parts.keys.len();
        if parts.keys.iter().any(|key| matches!(key, Expr::Value(_))) {
            self.note("GROUP BY has a constant");
            return Ok(None);
        }
        if parts
            .keys
            .iter()
            .any(|key| has_subquery(key) || functions::is_volatile(key, catalog))
        {
            self.note("GROUP BY holds a subquery or a volatile function");
            return Ok(None);
        }
        if parts
            .keys
            .iter()
            .any(|key| self.names_outer(key, &parts.own))
        {
            self.note("GROUP BY names columns of an outer query");
            return Ok(None);
        }

        // The types of keys and arguments are PostgreSQL's to tell.
        let mut calls: Vec<Function> = Vec::new();
        {
            let mut collect = |expr: &Expr| {
                if let Expr::Function(function) = expr
                    && functions::is_aggregate(function, catalog)
                {
                    calls.push(function.clone());
                }
            };
            locality::own_expressions(&select.projection, &mut collect);
            locality::own_expressions(&select.having, &mut collect);
            locality::own_expressions(&select.named_window, &mut collect);
            locality::own_expressions(&order_exprs, &mut collect);
            if let Some(Distinct::On(exprs)) = &select.distinct {
                locality::own_expressions(exprs, &mut collect);
            }
        }
        let mut asked: Vec<Expr> = parts.keys.clone();
        for call in &calls {
            let outer = self.names_outer(&Expr::Function(call.clone()), &parts.own);
            if let Some(reason) = self
                .locality()
                .global_beside(select, &Expr::Function(call.clone()))
            {
                self.note(reason);
                return Ok(None);
            }
            if outer || functions::is_volatile(&Expr::Function(call.clone()), catalog) {
                self.note(format!(
                    "{}: its argument is volatile or of an outer query",
                    functions::name(call)
                ));
                return Ok(None);
            }
            asked.extend(arguments(call));
        }
        let types = match asked.is_empty() {
            true => Vec::new(),
            false => {
                let items = asked.iter().cloned().map(SelectItem::UnnamedExpr).collect();
                let probe = build::select(items, select.from.clone());
                let mut probe = build::query(SetExpr::Select(Box::new(probe)));
                probe.with.clone_from(&query.with);
                self.describe(&probe)?
            }
        };
        self.remember_not_text(&asked, &types);
        if types
            .iter()
            .take(parts.keys.len())
            .any(|column| !has_name(column))
        {
            self.note("a group key is a row without a type of its own");
            return Ok(None);
        }
        let mut next = parts.keys.len();
        for call in &calls {
            let count = arguments(call).len();
            let own = types.get(next..next + count).unwrap_or_default();
            parts.arguments.insert(
                call.to_string(),
                own.iter().map(|c| c.pg_type.clone()).collect(),
            );
            next += count;
        }

        // The block over the merged rows.
        let relations = self.relations.clone();
        let columns = |idents: &[datafusion::sql::sqlparser::ast::Ident]| match idents {
            [alias, column] => {
                let columns = relations.get(&folded(alias))?.columns.as_ref()?;
                let name = folded(column);
                columns.iter().find(|c| c.name == name)?.type_name.clone()
            }
            _ => None,
        };
        let mut failed: Option<String> = None;
        let mut replaced = (**select).clone();
        replaced.selection = None;
        replaced.from = Vec::new();
        for item in &mut replaced.projection {
            // The name would follow the expression.
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some(name) = sql::output_name(expr).filter(|name| name != bind::NAMELESS)
            {
                *item = SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: ident(&name),
                };
            }
            if item_expr(item).is_none() {
                return Ok(None);
            }
        }
        let mut order_by = query.order_by.clone();
        let mut residual = rewrite::all_of(left.clone());
        let mut subqueries: Vec<Query> = Vec::new();
        {
            let mut step =
                |expr: &mut Expr| parts.step(expr, catalog, &columns, &mut failed, &mut subqueries);
            top_down(&mut residual, &mut step)?;
            top_down(&mut grouping, &mut step)?;
            top_down(&mut replaced.projection, &mut step)?;
            top_down(&mut replaced.having, &mut step)?;
            top_down(&mut replaced.named_window, &mut step)?;
            if let Some(Distinct::On(exprs)) = &mut replaced.distinct {
                for expr in exprs {
                    if !locality::is_output(expr, select) {
                        top_down(expr, &mut step)?;
                    }
                }
            }
            if let Some(order_by) = &mut order_by
                && let OrderByKind::Expressions(exprs) = &mut order_by.kind
            {
                for key in exprs {
                    if !locality::is_output(&key.expr, select) {
                        top_down(&mut key.expr, &mut step)?;
                    }
                }
            }
        }
        if let Some(reason) = failed {
            self.note(reason);
            return Ok(None);
        }
        for sub in &subqueries {
            if self.names_own(sub, &parts.own) {
                self.note("a subquery beside the aggregates names columns of FROM");
                return Ok(None);
            }
        }

        // Keys that were found on the way: columns that the group keys determine, and those of
        // correlated conditions.
        let mut added = Vec::new();
        for index in grouped_keys..parts.keys.len() {
            added.push(parts.key(index));
        }
        let with_residual = residual.is_some();
        if !added.is_empty() && !parts.plain {
            self.note("grouping sets with columns that their keys determine");
            return Ok(None);
        }
        if !with_residual {
            grouping.extend(added);
        } else if parts.extra > 0 {
            // Which of them the conditions need is not told apart; grouping by more is harmless
            // only if all came from the conditions.
            let from_conditions: HashSet<_> = left.iter().flat_map(column_names).collect();
            let keys = &parts.keys[grouped_keys..];
            let determined: Vec<_> = keys
                .iter()
                .enumerate()
                .filter(|(_, key)| !as_column(key).is_some_and(|c| from_conditions.contains(&c)))
                .map(|(index, _)| parts.key(grouped_keys + index))
                .collect();
            grouping.extend(determined);
        }
        let conditions: HashSet<_> = left.iter().flat_map(column_names).collect();
        for key in &parts.keys[grouped_keys..] {
            if let Some(column) = as_column(key)
                && !conditions.contains(&column)
            {
                self.check_determined(&column, &parts.keys[..grouped_keys])?;
            }
        }
        let collations = self.key_collations(&parts, &types)?;
        let Some(collations) = collations else {
            self.note("a group key has a collation that cannot be told");
            return Ok(None);
        };

        let mut step_query = parts.shard_query(select, pushed);
        step_query.with.clone_from(&query.with);
        let shards = self.shards_for(&step_query)?;
        let mut names: Vec<StepColumn> = collations;
        for (index, partial) in parts.partials.iter().enumerate() {
            let collation = match self.partial_collation(partial) {
                Ok(collation) => collation,
                Err(()) => {
                    self.note("min or max of text whose collation cannot be told");
                    return Ok(None);
                }
            };
            names.push(self.step_column("a", index + 1, collation));
        }
        if names.is_empty() {
            // As the shard query has it, which selects something.
            names.push(self.step_column("c", 1, None));
        }
        let uses = self.uses(&step_query);
        let key_types: Vec<_> = types.iter().take(grouped_keys).cloned().collect();
        let exact_keys = grouped_keys == parts.keys.len()
            && key_types
                .iter()
                .zip(&parts.keys)
                .all(|(column, key)| self.groups_as_bytes(column, key));
        let direct = match exact_keys && residual.is_none() && subqueries.is_empty() {
            true => self.direct(query, &replaced, &parts, &names),
            false => None,
        };
        let merge = match exact_keys && parts.can_premerge() {
            true => parts.premerge(&names),
            false => Merge::all(),
        };
        let index = self.push(
            Sql::of(&step_query),
            uses,
            Place::Shards(shards),
            merge,
            names,
        );
        if self.steps[index].name != parts.name {
            // An equal step was there before; its name is another.
            let (from, to) = (parts.name.clone(), self.steps[index].name.clone());
            let mut rename = |expr: &mut Expr| {
                if let Expr::CompoundIdentifier(names) = expr
                    && let Some(first) = names.first_mut()
                    && first.value == from
                {
                    first.value.clone_from(&to);
                }
                Ok(Walk::Into)
            };
            top_down(&mut residual, &mut rename)?;
            top_down(&mut grouping, &mut rename)?;
            top_down(&mut replaced, &mut rename)?;
            top_down(&mut order_by, &mut rename)?;
        }
        let name = self.steps[index].name.clone();
        self.relations.insert(
            name.clone(),
            Relation {
                source: Source::Step,
                columns: None,
            },
        );
        self.at_least(Arm::Combine);
        self.float_order |= parts.float_order;

        replaced.from = vec![build::item(step_factor(&name, None))];
        replaced.selection = residual;
        replaced.group_by = GroupByExpr::Expressions(grouping, Vec::new());
        let mut finished = query.clone();
        finished.order_by = order_by;
        // Subqueries beside the aggregates run where the block does.
        self.lower_subqueries(&mut replaced)?;
        self.lower_beside(&mut finished)?;
        *finished.body = SetExpr::Select(Box::new(replaced));
        Ok(Some(Combined {
            query_reads_only_steps: true,
            query: finished,
            direct,
        }))
    }

    /// Whether a query reads a common table expression that it does not hold itself.
    fn names_foreign_cte(&self, query: &Query) -> bool {
        let mut defined = HashSet::new();
        let mut clone = query.clone();
        rewrite::each_query(&mut clone, |query| {
            let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
            defined.extend(ctes.map(|cte| folded(&cte.alias.name)));
        });
        let mut foreign = false;
        locality::each_factor(&mut clone, |factor| {
            let alias = factor_alias(factor).unwrap_or_default();
            if let TableFactor::Table { name, .. } = factor
                && let Some(Source::Cte) = self.relations.get(&alias).map(|r| &r.source)
            {
                foreign |= !bind::parts(name)
                    .pop()
                    .is_some_and(|name| defined.contains(&name));
            }
        });
        foreign
    }

    fn has_correlated_from(&self, select: &Select) -> bool {
        let mut bare_select = build::select(
            vec![SelectItem::UnnamedExpr(build::number(1))],
            select.from.clone(),
        );
        bare_select.selection = None;
        let query = build::query(SetExpr::Select(Box::new(bare_select)));
        self.locality().is_correlated(&query)
    }

    /// Whether an expression names columns of neither these relations nor those inside it.
    fn names_outer(&self, expr: &Expr, own: &HashSet<String>) -> bool {
        let mut inside = HashSet::new();
        let mut clone = expr.clone();
        rewrite::each_query(&mut clone, |query| inside.extend(locality::aliases(query)));
        rewrite::any(expr, |part| {
            let alias = match part {
                Expr::CompoundIdentifier(parts) => parts.first().map(folded),
                Expr::Identifier(name) => Some(folded(name)),
                _ => None,
            };
            alias.is_some_and(|alias| {
                self.relations.contains_key(&alias)
                    && !own.contains(&alias)
                    && !inside.contains(&alias)
            })
        })
    }

    fn names_own(&self, query: &Query, own: &HashSet<String>) -> bool {
        rewrite::any(query, |part| match part {
            Expr::CompoundIdentifier(parts) => parts
                .first()
                .is_some_and(|alias| own.contains(&folded(alias))),
            Expr::Identifier(name) => own.contains(&folded(name)),
            _ => false,
        })
    }

    /// Checks that group keys hold a key of the table whose column is selected beside them.
    fn check_determined(&self, (alias, name): &locality::ColumnName, keys: &[Expr]) -> Result<()> {
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
                format!("{alias}.{name} is selected beside GROUP BY, but not all shards have the primary key that would determine it"),
                "make the table the same on all shards, or add the column to GROUP BY",
            )
            .into()),
        }
    }

    /// The columns of the keys; `None` if a collation cannot be told.
    fn key_collations(&self, parts: &Parts, types: &[Column]) -> Result<Option<Vec<StepColumn>>> {
        let mut columns = Vec::new();
        for (index, key) in parts.keys.iter().enumerate() {
            let collatable = types
                .get(index)
                .filter(|_| index < types.len())
                .is_none_or(is_collatable);
            let collation = match collatable {
                false => None,
                true => match self.collation(key) {
                    Ok(collation) => collation.and_then(|c| c.sql),
                    Err(()) => return Ok(None),
                },
            };
            columns.push(self.step_column("k", index + 1, collation));
        }
        Ok(Some(columns))
    }

    fn partial_collation(&self, partial: &Partial) -> std::result::Result<Option<String>, ()> {
        let expr = match (&partial.kind, &partial.expr) {
            (PartialKind::Distinct, expr) => expr.clone(),
            (PartialKind::Aggregate, Expr::Function(function))
                if ["min", "max", "any_value"].contains(&&*functions::name(function)) =>
            {
                match arguments(function).into_iter().next() {
                    Some(expr) => expr,
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        // The collation of what is not text is nobody's; columns say so themselves.
        match self.collation(&expr) {
            Ok(collation) => Ok(collation.and_then(|c| c.sql)),
            Err(()) => Err(()),
        }
    }

    /// Whether values of a key are equal exactly when DataFusion finds them equal.
    fn groups_as_bytes(&self, column: &Column, key: &Expr) -> bool {
        use crate::types::Unrepresentable;
        match column.pg_type.name() {
            "bool" | "int2" | "int4" | "int8" | "oid" | "uuid" | "bytea" => true,
            "date" | "timestamp" | "timestamptz" => {
                self.question.types.unrepresentable != Unrepresentable::Null
            }
            "text" | "varchar" | "name" => match self.collation(key) {
                Ok(None) => self.question.catalog.default_collation().deterministic,
                Ok(Some(collation)) => collation.deterministic,
                Err(()) => false,
            },
            _ => false,
        }
    }

    /// The merge that gives the answer itself: every column is a key or a partial aggregate as it
    /// is, and nothing comes after.
    fn direct(
        &self,
        query: &Query,
        replaced: &Select,
        parts: &Parts,
        names: &[StepColumn],
    ) -> Option<Merge> {
        if query.order_by.is_some()
            || locality::is_limited(query)
            || replaced.having.is_some()
            || replaced.distinct.is_some()
            || !parts.plain
            || parts.partials.iter().any(|partial| partial.merge.is_none())
        {
            return None;
        }
        if parts
            .partials
            .iter()
            .any(|partial| matches!(partial.expr, Expr::Cast { .. }))
        {
            if !self.question.decimals {
                return None;
            }
            self.decimals.set(true);
        }
        let mut items = Vec::new();
        for item in &replaced.projection {
            let expr = item_expr(item)?;
            let printed = expr.to_string();
            if let Some(index) =
                (0..parts.keys.len()).find(|index| parts.key(*index).to_string() == printed)
            {
                items.push(quoted(&names.get(index)?.name));
                continue;
            }
            let index = *parts.direct.get(&printed)?;
            let partial = parts.partials.get(index)?;
            let name = quoted(&names.get(parts.keys.len() + index)?.name);
            let merged = reaggregate(partial.merge?, &name);
            items.push(match is_count(&partial.expr) {
                // Over no rows at all a sum is NULL, but a count is 0.
                true => format!("coalesce({merged}, 0)"),
                false => merged,
            });
        }
        let keys: Vec<_> = names
            .iter()
            .take(parts.keys.len())
            .map(|c| quoted(&c.name))
            .collect();
        let items: Vec<_> = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| format!("{item} AS c{}", index + 1))
            .collect();
        let group = match keys.is_empty() {
            true => String::new(),
            false => format!(" GROUP BY {}", keys.join(", ")),
        };
        Some(Merge::Aggregate {
            sql: format!("SELECT {} FROM shards{group}", items.join(", ")),
            columns: names.iter().map(|column| column.name.clone()).collect(),
        })
    }
}

/// A block over the rows of steps.
struct Combined {
    query: Query,
    query_reads_only_steps: bool,
    /// What gives the same without a last step.
    direct: Option<Merge>,
}

/// A query that gives its sort keys too.
struct Sorted {
    query: Query,
    visible: usize,
    hidden: bool,
}

/// The keys and partial aggregates of a block.
struct Parts {
    prefix: String,
    /// Of the step.
    name: String,
    /// The relations of FROM.
    own: HashSet<String>,
    keys: Vec<Expr>,
    partials: Vec<Partial>,
    /// The partials that make a grouping set together.
    sets: Vec<Vec<usize>>,
    /// No ROLLUP, CUBE or GROUPING SETS.
    plain: bool,
    /// How many keys no GROUP BY names.
    extra: usize,
    float_order: bool,
    /// Of each call, as printed: the types of its arguments.
    arguments: HashMap<String, Vec<crate::types::PgType>>,
    /// What combines a partial that is its call's value, as printed.
    direct: HashMap<String, usize>,
}

impl Parts {
    fn key(&self, index: usize) -> Expr {
        bind::column(&self.name, &format!("{}k{}", self.prefix, index + 1))
    }

    fn find_key(&self, expr: &Expr) -> Option<usize> {
        let printed = bare(expr).to_string();
        self.keys
            .iter()
            .position(|key| bare(key).to_string() == printed)
    }

    fn add_key(&mut self, expr: &Expr) -> usize {
        self.find_key(expr).unwrap_or_else(|| {
            self.keys.push(bare(expr).clone());
            self.keys.len() - 1
        })
    }

    /// Replaces keys and aggregates by what stands for them over the merged rows.
    fn step(
        &mut self,
        expr: &mut Expr,
        catalog: &crate::catalog::Catalog,
        columns: &aggregate::Columns<'_>,
        failed: &mut Option<String>,
        subqueries: &mut Vec<Query>,
    ) -> crate::error::Result<Walk> {
        if failed.is_some() {
            return Ok(Walk::Done);
        }
        if let Some(index) = self.find_key(expr) {
            *expr = self.key(index);
            return Ok(Walk::Done);
        }
        if let Expr::InSubquery { expr: left, .. } = expr {
            let mut inner = (**left).clone();
            top_down(&mut inner, |expr| {
                self.step(expr, catalog, columns, failed, subqueries)
            })?;
            **left = inner;
        }
        if let Some(query) = rewrite::subquery(expr) {
            subqueries.push(query.clone());
            return Ok(Walk::Done);
        }
        match expr {
            Expr::Function(function) if functions::is_aggregate(function, catalog) => {
                let types = self
                    .arguments
                    .get(&function.to_string())
                    .cloned()
                    .unwrap_or_default();
                match aggregate::split(function, &types, columns) {
                    Err(reason) => *failed = Some(reason),
                    Ok(split) => {
                        let mut names = Vec::new();
                        let mut set = Vec::new();
                        for partial in &split.partials {
                            let known = self.partials.iter().position(|known| {
                                known.kind == partial.kind
                                    && known.expr.to_string() == partial.expr.to_string()
                            });
                            let index = known.unwrap_or_else(|| {
                                self.partials.push(partial.clone());
                                self.partials.len() - 1
                            });
                            if partial.kind == PartialKind::Distinct {
                                set.push(index);
                            }
                            names.push(bind::column(
                                &self.name,
                                &format!("{}a{}", self.prefix, index + 1),
                            ));
                        }
                        if !set.is_empty() && !self.sets.contains(&set) {
                            self.sets.push(set);
                        }
                        self.float_order |= split.float_order;
                        *expr = split.combine(&names);
                        if split.direct
                            && let [partial] = &split.partials[..]
                            && let Some(index) = self.partials.iter().position(|known| {
                                known.expr.to_string() == partial.expr.to_string()
                            })
                        {
                            self.direct.insert(expr.to_string(), index);
                        }
                    }
                }
                Ok(Walk::Done)
            }
            // A column that the group keys determine, or that a correlated condition names.
            Expr::CompoundIdentifier(_) => {
                if let Some((alias, _)) = as_column(expr)
                    && self.own.contains(&alias)
                {
                    let index = self.add_key(expr);
                    self.extra += 1;
                    *expr = self.key(index);
                }
                Ok(Walk::Done)
            }
            Expr::Identifier(name) if self.own.contains(&folded(name)) => {
                *failed = Some("a whole row beside aggregates".to_owned());
                Ok(Walk::Done)
            }
            _ => Ok(Walk::Into),
        }
    }

    /// What the shards run.
    fn shard_query(&self, select: &Select, pushed: Vec<Expr>) -> Query {
        let name = |kind: &str, index: usize| ident(&format!("{}{kind}{}", self.prefix, index + 1));
        let mut items: Vec<_> = self
            .keys
            .iter()
            .enumerate()
            .map(|(index, key)| SelectItem::ExprWithAlias {
                expr: key.clone(),
                alias: name("k", index),
            })
            .collect();
        // Of each set, what is not a key: only that tells its rows from others.
        let sets: Vec<Vec<Expr>> = self
            .sets
            .iter()
            .map(|set| {
                let exprs = set.iter().filter_map(|index| self.partials.get(*index));
                exprs
                    .map(|partial| partial.expr.clone())
                    .filter(|expr| self.find_key(expr).is_none())
                    .collect::<Vec<_>>()
            })
            .filter(|set| !set.is_empty())
            .collect();
        let mut marks: Vec<Expr> = Vec::new();
        for expr in sets.iter().flatten() {
            if !marks
                .iter()
                .any(|known| known.to_string() == expr.to_string())
            {
                marks.push(expr.clone());
            }
        }
        for (index, partial) in self.partials.iter().enumerate() {
            let expr = match partial.kind {
                PartialKind::Aggregate if !marks.is_empty() => {
                    // Every set counts all rows: only the keys' own set does it for all.
                    let all = (1_u64 << marks.len().min(31)) - 1;
                    let list: Vec<_> = marks.iter().map(ToString::to_string).collect();
                    let text = format!(
                        "CASE WHEN GROUPING({}) = {all} THEN {} END",
                        list.join(", "),
                        partial.expr
                    );
                    parse_expr(&text).unwrap_or_else(|| partial.expr.clone())
                }
                _ => partial.expr.clone(),
            };
            items.push(SelectItem::ExprWithAlias {
                expr,
                alias: name("a", index),
            });
        }
        if items.is_empty() {
            // `SELECT 1 FROM t HAVING true`
            items.push(SelectItem::ExprWithAlias {
                expr: Expr::value(Value::Boolean(true)),
                alias: name("c", 0),
            });
        }
        let mut shard = build::select(items, select.from.clone());
        shard.selection = rewrite::all_of(pushed);
        let grouping = match marks.is_empty() {
            true => self.keys.clone(),
            false => {
                let mut all = vec![self.keys.clone()];
                for set in sets {
                    let mut set_keys = self.keys.clone();
                    set_keys.extend(set);
                    let printed: Vec<_> = set_keys.iter().map(ToString::to_string).collect();
                    let known = all.iter().any(|known| {
                        known.iter().map(ToString::to_string).collect::<Vec<_>>() == printed
                    });
                    if !known {
                        all.push(set_keys);
                    }
                }
                vec![Expr::GroupingSets(all)]
            }
        };
        shard.group_by = GroupByExpr::Expressions(grouping, Vec::new());
        build::query(SetExpr::Select(Box::new(shard)))
    }

    /// Whether DataFusion can merge the partials before they go on.
    fn can_premerge(&self) -> bool {
        !self.partials.is_empty()
            && self.sets.is_empty()
            && self.partials.iter().all(|partial| {
                // A decimal may be NaN, which Arrow cannot hold but PostgreSQL sums.
                partial.merge.is_some() && !matches!(partial.expr, Expr::Cast { .. })
            })
    }

    fn premerge(&self, names: &[StepColumn]) -> Merge {
        let keys: Vec<_> = names
            .iter()
            .take(self.keys.len())
            .map(|c| quoted(&c.name))
            .collect();
        let mut items: Vec<_> = keys.clone();
        for (partial, column) in self.partials.iter().zip(names.iter().skip(self.keys.len())) {
            if let Some(merge) = partial.merge {
                let name = quoted(&column.name);
                items.push(format!("{} AS {name}", reaggregate(merge, &name)));
            }
        }
        let group = match keys.is_empty() {
            true => String::new(),
            false => format!(" GROUP BY {}", keys.join(", ")),
        };
        Merge::Aggregate {
            sql: format!("SELECT {} FROM shards{group}", items.join(", ")),
            columns: names.iter().map(|column| column.name.clone()).collect(),
        }
    }
}

/// Puts expressions in place of the numbers and names by which GROUP BY calls columns of the
/// output, and enters them as keys.
fn resolve(key: &mut Expr, projection: &[SelectItem], parts: &mut Parts) {
    match key {
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
            parts.plain = false;
            for inner in sets.iter_mut().flatten() {
                resolve(inner, projection, parts);
            }
        }
        Expr::Tuple(keys) => {
            for inner in keys {
                resolve(inner, projection, parts);
            }
        }
        Expr::Nested(inner)
            if matches!(
                **inner,
                Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)
            ) =>
        {
            resolve(inner, projection, parts);
        }
        other => {
            *other = locality::resolve_key(other, projection);
            parts.add_key(other);
        }
    }
}

fn reaggregate(merge: Reaggregate, column: &str) -> String {
    let name = match merge {
        Reaggregate::Sum => "sum",
        Reaggregate::Min => "min",
        Reaggregate::Max => "max",
        Reaggregate::BoolAnd => "bool_and",
        Reaggregate::BoolOr => "bool_or",
        Reaggregate::BitAnd => "bit_and",
        Reaggregate::BitOr => "bit_or",
        Reaggregate::BitXor => "bit_xor",
    };
    format!("{name}({column})")
}

fn is_count(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function) if functions::name(function) == "count")
}

fn quoted(name: &str) -> String {
    crate::quote::identifier(name)
}

/// The arguments of a call that are expressions.
fn arguments(call: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &call.args else {
        return Vec::new();
    };
    list.args
        .iter()
        .filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

fn item_expr(item: &SelectItem) -> Option<Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.clone())
        }
        _ => None,
    }
}

fn first_select(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

/// The column of the output that ORDER BY names: by number, by name, or by the same expression.
fn output_index(expr: &Expr, names: &[Option<String>], body: &SetExpr) -> Option<usize> {
    match expr {
        Expr::Value(value) => {
            let number: usize = value.value.to_string().parse().ok()?;
            number.checked_sub(1).filter(|index| *index < names.len())
        }
        Expr::Identifier(name) => {
            let name = folded(name);
            names.iter().position(|known| known.as_ref() == Some(&name))
        }
        other => {
            let SetExpr::Select(select) = body else {
                return None;
            };
            let printed = bare(other).to_string();
            select.projection.iter().position(|item| {
                item_expr(item).is_some_and(|expr| bare(&expr).to_string() == printed)
            })
        }
    }
}

/// The ORDER BY of a query, by the numbers of columns.
fn reordered(query: &Query, columns: &[usize]) -> Option<datafusion::sql::sqlparser::ast::OrderBy> {
    let mut order_by = query.order_by.clone()?;
    if let OrderByKind::Expressions(exprs) = &mut order_by.kind {
        for (key, index) in exprs.iter_mut().zip(columns) {
            key.expr = build::number(*index as u64 + 1);
        }
    }
    Some(order_by)
}

/// How many rows a query leaves out and gives.
#[derive(Debug, Clone, Default)]
struct Limit {
    skip: u64,
    fetch: Option<u64>,
    with_ties: bool,
}

impl Limit {
    fn is_none(&self) -> bool {
        self.skip == 0 && self.fetch.is_none()
    }
}

/// Takes LIMIT, OFFSET and FETCH off a query; `None` if they are not plain numbers.
fn take_limit(query: &mut Query) -> Option<Limit> {
    let plain = |expr: &Expr| match bare(expr) {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse::<u64>().ok().map(Some),
            Value::Null => Some(None),
            _ => None,
        },
        // A parameter that has become a literal.
        Expr::Cast { expr, .. } => match bare(expr) {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(digits) | Value::EscapedStringLiteral(digits) => {
                    digits.trim().parse::<u64>().ok().map(Some)
                }
                Value::Null => Some(None),
                _ => None,
            },
            _ => None,
        },
        Expr::Identifier(name) if folded(name) == "all" => Some(None),
        _ => None,
    };
    let clause = query.limit_clause.take();
    let fetch = query.fetch.take();
    let mut limit = Limit::default();
    match clause {
        None => {}
        Some(LimitClause::LimitOffset {
            limit: count,
            offset,
            limit_by,
        }) => {
            if !limit_by.is_empty() {
                return None;
            }
            if let Some(count) = count {
                limit.fetch = plain(&count)?;
            }
            if let Some(offset) = offset {
                limit.skip = plain(&offset.value)?.unwrap_or(0);
            }
        }
        Some(LimitClause::OffsetCommaLimit { .. }) => return None,
    }
    if let Some(fetch) = fetch {
        if fetch.percent {
            return None;
        }
        limit.with_ties = fetch.with_ties;
        limit.fetch = match fetch.quantity {
            None => Some(1),
            Some(quantity) => plain(&quantity)?,
        };
    }
    Some(limit)
}

/// A query that gives as many rows as a merge may need of one shard.
fn limited(mut query: Query, limit: &Limit) -> Query {
    let Some(fetch) = limit.fetch.and_then(|fetch| fetch.checked_add(limit.skip)) else {
        return query;
    };
    if limit.with_ties {
        query.fetch = Some(datafusion::sql::sqlparser::ast::Fetch {
            with_ties: true,
            percent: false,
            quantity: Some(build::number(fetch)),
        });
        return query;
    }
    query.limit_clause = Some(LimitClause::LimitOffset {
        limit: Some(build::number(fetch)),
        offset: None::<Offset>,
        limit_by: Vec::new(),
    });
    query
}

/// Whether values can be handed to another server: those of a row without a type cannot.
fn has_name(column: &Column) -> bool {
    !["record", "record[]", "void", "unknown"].contains(&column.pg_type.name())
}

fn is_collatable(column: &Column) -> bool {
    let name = column.pg_type.name().trim_end_matches("[]");
    ["text", "varchar", "bpchar", "citext"].contains(&name) || name.contains("char")
}

fn parse_expr(sql: &str) -> Option<Expr> {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;
    Parser::new(&PostgreSqlDialect {})
        .try_with_sql(sql)
        .ok()?
        .parse_expr()
        .ok()
}

/// The texts that an operation makes a text of, if it is one that is known to do so.
fn text_parts(expr: &Expr) -> Option<Vec<&Expr>> {
    use datafusion::sql::sqlparser::ast::{BinaryOperator, DataType};
    const TEXT_TO_TEXT: [&str; 14] = [
        "upper",
        "lower",
        "initcap",
        "btrim",
        "ltrim",
        "rtrim",
        "replace",
        "reverse",
        "translate",
        "split_part",
        "regexp_replace",
        "coalesce",
        "nullif",
        "concat",
    ];
    const FIRST_IS_TEXT: [&str; 7] = [
        "substr",
        "substring",
        "left",
        "right",
        "lpad",
        "rpad",
        "repeat",
    ];
    match expr {
        Expr::Function(function) => {
            let FunctionArguments::List(list) = &function.args else {
                return None;
            };
            let mut args = Vec::new();
            for arg in &list.args {
                match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(expr),
                    _ => return None,
                }
            }
            let name = functions::name(function);
            if FIRST_IS_TEXT.contains(&&*name) {
                args.truncate(1);
                return Some(args);
            }
            TEXT_TO_TEXT.contains(&&*name).then_some(args)
        }
        Expr::BinaryOp {
            left,
            op: BinaryOperator::StringConcat,
            right,
        } => Some(vec![left, right]),
        Expr::Trim { expr, .. } | Expr::Substring { expr, .. } => Some(vec![expr]),
        Expr::Cast {
            expr,
            data_type: DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_),
            ..
        } => Some(vec![expr]),
        Expr::Case {
            conditions,
            else_result,
            ..
        } => {
            let mut parts: Vec<&Expr> = conditions.iter().map(|when| &when.result).collect();
            parts.extend(else_result.as_deref());
            Some(parts)
        }
        Expr::Value(_) => Some(Vec::new()),
        _ => None,
    }
}

/// A name that is SQL already.
fn raw_name(sql: &str) -> ObjectName {
    match parse_expr(sql) {
        Some(Expr::CompoundIdentifier(parts)) => {
            ObjectName(parts.into_iter().map(ObjectNamePart::Identifier).collect())
        }
        Some(Expr::Identifier(name)) => ObjectName(vec![ObjectNamePart::Identifier(name)]),
        _ => ObjectName(vec![ObjectNamePart::Identifier(ident(sql))]),
    }
}

/// The rows of a step, in FROM.
fn step_factor(step: &str, alias: Option<&str>) -> TableFactor {
    let alias = alias.filter(|alias| *alias != step).map(bind::table_alias);
    build::table(
        ObjectName(vec![ObjectNamePart::Identifier(ident(step))]),
        alias,
    )
}

fn step_factor_with(
    step: &str,
    alias: &str,
    columns: Vec<datafusion::sql::sqlparser::ast::Ident>,
) -> TableFactor {
    let mut table_alias = bind::table_alias(alias);
    table_alias.columns = columns
        .into_iter()
        .map(
            |name| datafusion::sql::sqlparser::ast::TableAliasColumnDef {
                name,
                data_type: None,
            },
        )
        .collect();
    build::table(
        ObjectName(vec![ObjectNamePart::Identifier(ident(step))]),
        Some(table_alias),
    )
}

fn no_values() -> datafusion::sql::sqlparser::ast::Values {
    datafusion::sql::sqlparser::ast::Values {
        explicit_row: false,
        value_keyword: false,
        rows: Vec::new(),
    }
}

/// The columns that a SELECT names beside its aggregates and that are none of its group keys: those
/// that a primary key among the keys determines.
fn determined_columns(
    query: &Query,
    select: &Select,
    catalog: &crate::catalog::Catalog,
) -> Vec<Expr> {
    let GroupByExpr::Expressions(keys, modifiers) = &select.group_by else {
        return Vec::new();
    };
    let plain =
        |key: &Expr| !matches!(key, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_));
    if keys.is_empty() || !modifiers.is_empty() || !keys.iter().all(plain) {
        return Vec::new();
    }
    let keys: Vec<_> = keys
        .iter()
        .map(|key| bare(&locality::resolve_key(key, &select.projection)).to_string())
        .collect();
    let mut own = HashSet::new();
    for tree in &select.from {
        each_side(tree, &mut |factor| own.extend(factor_alias(factor)));
    }
    let mut found: Vec<Expr> = Vec::new();
    let mut step = |expr: &mut Expr| {
        let printed = bare(expr).to_string();
        let aggregate =
            matches!(expr, Expr::Function(function) if functions::is_aggregate(function, catalog));
        if aggregate || keys.contains(&printed) {
            return Ok(Walk::Done);
        }
        if let Some((alias, _)) = as_column(expr)
            && own.contains(&alias)
            && !found.iter().any(|known| known.to_string() == printed)
        {
            found.push(bare(expr).clone());
        }
        Ok(Walk::Into)
    };
    let mut select = select.clone();
    let _ = top_down(&mut select.projection, &mut step);
    let _ = top_down(&mut select.having, &mut step);
    let _ = top_down(&mut query.order_by.clone(), &mut step);
    found
}

fn aliases_in(expr: &Expr) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    rewrite::each(expr, |part| {
        if let Some((alias, _)) = as_column(part) {
            found.insert(alias);
        }
    });
    found
}

fn column_names(expr: &Expr) -> Vec<locality::ColumnName> {
    let mut found = Vec::new();
    rewrite::each(expr, |part| found.extend(as_column(part)));
    found
}

/// Calls `f` for the items of a join tree.
fn each_side(tree: &TableWithJoins, f: &mut dyn FnMut(&TableFactor)) {
    let mut visit = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin {
            table_with_joins, ..
        } => each_side(table_with_joins, f),
        other => f(other),
    };
    visit(&tree.relation);
    for join in &tree.joins {
        visit(&join.relation);
    }
}

fn each_side_mut(tree: &mut TableWithJoins, f: &mut dyn FnMut(&mut TableFactor)) {
    let mut visit = |factor: &mut TableFactor| match factor {
        TableFactor::NestedJoin {
            table_with_joins, ..
        } => each_side_mut(table_with_joins, f),
        other => f(other),
    };
    visit(&mut tree.relation);
    for join in &mut tree.joins {
        visit(&mut join.relation);
    }
}

/// Finds what holds for the rows of one item of FROM: `inner` are the items whose rows are in every
/// row of the result, `conditions` those of joins between them, and `own` conditions of outer joins
/// on the side that may be missing. `reachable`: the item is one of `inner`.
fn inner_side(
    tree: &TableWithJoins,
    alias: &str,
    inner: &mut HashSet<String>,
    conditions: &mut Vec<Expr>,
    own: &mut Vec<Expr>,
    reachable: &mut bool,
) {
    let plain = tree.joins.iter().all(|join| {
        matches!(
            bind::outer_kind(&join.join_operator),
            Ok(Outer::None | Outer::Left)
        )
    });
    if !plain {
        return;
    }
    let mut enter =
        |factor: &TableFactor, conditions: &mut Vec<Expr>, own: &mut Vec<Expr>| match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => {
                inner_side(table_with_joins, alias, inner, conditions, own, reachable);
            }
            other => {
                if let Some(name) = factor_alias(other) {
                    *reachable |= name == alias;
                    inner.insert(name);
                }
            }
        };
    enter(&tree.relation, conditions, own);
    for join in &tree.joins {
        let found = locality::condition(&join.join_operator)
            .into_iter()
            .flat_map(conjuncts)
            .cloned();
        match bind::outer_kind(&join.join_operator) {
            Ok(Outer::None) => {
                enter(&join.relation, conditions, own);
                conditions.extend(found);
            }
            _ => {
                if factor_alias(&join.relation).as_deref() == Some(alias) {
                    own.extend(found);
                }
            }
        }
    }
}

/// Finds the subqueries in expressions that shards cannot evaluate and that stand on their own, the
/// outermost of each; with whether their block reads a sharded table.
fn collect_global(query: &mut Query, found: &mut dyn FnMut(&Query, bool), locality: &Locality<'_>) {
    if let Some(with) = &mut query.with {
        for cte in &mut with.cte_tables {
            collect_global(&mut cte.query, found, locality);
        }
    }
    let mut bodies = vec![&mut *query.body];
    while let Some(body) = bodies.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => bodies.extend([&mut **left, &mut **right]),
            SetExpr::Query(inner) => collect_global(inner, found, locality),
            SetExpr::Select(select) => {
                let mut over_sharded = false;
                for tree in &mut select.from {
                    each_side_mut(tree, &mut |factor| match factor {
                        TableFactor::Derived { subquery, .. } => {
                            over_sharded |= locality.reads_sharded(subquery);
                            collect_global(subquery, found, locality);
                        }
                        other => {
                            let alias = factor_alias(other).unwrap_or_default();
                            over_sharded |= matches!(locality.relations.get(&alias).map(|r| &r.source),
                                Some(Source::Table(base)) if base.sharding.is_some());
                        }
                    });
                }
                let block = locality.select(select, &Anchors::default());
                // Those beside aggregates run where the aggregates are combined, unless the shards
                // can do all of it.
                let aggregates = locality.aggregates(select);
                let rows_global = block.rows.is_err();
                let all_global = matches!(block.distribution, Distribution::Global(_));
                let mut from = std::mem::take(&mut select.from);
                visit_subqueries(&mut from, &mut |sub| {
                    consider(sub, over_sharded && rows_global, found, locality)
                });
                select.from = from;
                visit_subqueries(&mut select.selection, &mut |sub| {
                    consider(sub, over_sharded && rows_global, found, locality);
                });
                let beside = over_sharded && all_global && !aggregates;
                visit_subqueries(&mut select.projection, &mut |sub| {
                    consider(sub, beside, found, locality)
                });
                visit_subqueries(&mut select.having, &mut |sub| {
                    consider(sub, false, found, locality)
                });
            }
            _ => {}
        }
    }
}

fn consider(
    sub: &mut Query,
    wanted: bool,
    found: &mut dyn FnMut(&Query, bool),
    locality: &Locality<'_>,
) {
    let global = !matches!(locality.of(sub), Distribution::Replicated);
    if wanted && global && !locality.is_correlated(sub) {
        found(sub, true);
    } else {
        collect_global(sub, found, locality);
    }
}

fn visit_subqueries<T: datafusion::sql::sqlparser::ast::VisitMut>(
    tree: &mut T,
    f: &mut dyn FnMut(&mut Query),
) {
    let _ = top_down(tree, |expr| {
        if let Expr::InSubquery { expr: left, .. } = expr {
            visit_subqueries(&mut **left, f);
        }
        Ok(match rewrite::subquery(expr) {
            Some(query) => {
                f(query);
                Walk::Done
            }
            None => Walk::Into,
        })
    });
}
