//! Row security: the policies that PostgreSQL adds to every read of a table are a part of the query.
//!
//! Each shard applies them to its own rows. That gives the rows of one PostgreSQL if each policy
//! decides by the row alone, by what is the same on all shards, or by tables that every shard holds
//! in full. What a policy of another kind would decide, no shard knows.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Distinct, Expr, Function, ObjectName, Query, TableFactor, visit_expressions,
};

use super::Binder;
use crate::catalog::{Policy, Relation, RelationKind, Volatility};
use crate::config::TableKind;
use crate::error::Result;
use crate::plan::naming::{folded, parts};
use crate::plan::{calls, functions, instant, refused, rewrite, settings, sql};

const HINT: &str = "let the policy decide by columns of the row, by settings and by replicated \
                    tables; or connect as a role that it does not concern";

/// What the parser takes for functions, and PostgreSQL does not.
const SYNTAX: [&str; 4] = ["coalesce", "nullif", "greatest", "least"];

/// Functions that are not IMMUTABLE because they depend on settings that all sessions share.
const OF_SETTINGS: [&str; 13] = [
    "array_to_string",
    "concat",
    "concat_ws",
    "current_setting",
    "date_part",
    "date_trunc",
    "format",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_timestamp",
];

/// Columns that say where a row lies and who wrote it.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

impl Binder<'_> {
    /// Refuses a relation some of whose rows policies hold back from the connected role, unless the
    /// shards hold back what one PostgreSQL would.
    ///
    /// # Errors
    /// Names the table, the policy, and what it reads.
    pub(super) fn check_row_security(&self, found: &Relation) -> Result<()> {
        // One database has all that a policy reads.
        match self.topology.shards().len() {
            1 => Ok(()),
            _ => self.check_policies(found, &mut Vec::new()),
        }
    }

    fn check_policies(&self, found: &Relation, seen: &mut Vec<(String, String)>) -> Result<()> {
        let name = (found.schema.clone(), found.name.clone());
        let conditions = self.catalog.conditions();
        let Some(access) = conditions.access(&name.0, &name.1) else {
            return Ok(());
        };
        if seen.contains(&name) {
            return Ok(());
        }
        seen.push(name);
        let whole = format!("{}.{}", found.schema, found.name);
        if let Some(difference) = &access.difference {
            return Err(refused(
                format!("the row security of {whole} differs: {difference}"),
                "make the policies of the table the same on all shards",
            ));
        }
        // What a policy names is not bound.
        if access.row_security
            && let Some(difference) = found.any_difference()
        {
            return Err(refused(
                format!("row security filters {whole}, which differs: {difference}"),
                "make the table the same on all shards; `merganser inspect` lists all differences",
            ));
        }
        if access.row_security
            && let Some(difference) = conditions.roles()
        {
            return Err(refused(
                format!("row security filters {whole}, and the roles differ: {difference}"),
                "connect to all shards as the same role",
            ));
        }
        for policy in &access.policies {
            let place = format!("{whole} has the row-security policy {}", policy.name);
            self.check_policy(policy, seen)
                .map_err(|reason| refused(format!("{place}, {reason}"), HINT))?;
        }
        // A view that the topology names stays a view on the shards.
        for read in &access.reads {
            if read.row_security && access.reads_as.is_some() {
                return Err(refused(
                    format!(
                        "{whole} reads {}.{} by policies for the owner of the view",
                        read.schema, read.name
                    ),
                    HINT,
                ));
            }
            if let Some(found) = self.catalog.relation(Some(&read.schema), &read.name) {
                self.check_policies(found, seen)?;
            }
        }
        Ok(())
    }

    /// Says what a policy does that depends on more than the row.
    fn check_policy(
        &self,
        policy: &Policy,
        seen: &mut Vec<(String, String)>,
    ) -> std::result::Result<(), String> {
        if let Some(call) = policy.calls.first() {
            return Err(format!("which uses the {call}: it may read tables"));
        }
        let Some(expression) = &policy.expression else {
            return Ok(());
        };
        let text = format!("SELECT {expression}");
        let unreadable = |reason: &str| format!("which the planner cannot read: {reason}");
        let query = sql::parse(&text).map_err(|error| unreadable(error.message()))?;
        sql::prints_faithfully(&text, &query).map_err(|reason| unreadable(&reason.to_string()))?;
        let refusal = |error: crate::error::Error| {
            let message = error.message();
            let reason = message.strip_prefix("refused: ").unwrap_or(message);
            format!("which calls {reason}")
        };
        // Its columns are not bound: what their types call, the catalog has in `policy.calls`.
        calls::check(&query, None, &HashMap::new(), self.topology, self.catalog)
            .map_err(refusal)?;
        if instant::reads_clock(&query) {
            return Err("which reads the clock: each shard has its own".to_owned());
        }
        if functions::depends_on_row_order(&query, self.catalog) {
            return Err("which depends on the order of rows".to_owned());
        }
        self.check_expressions(&query)?;
        self.check_subqueries(&query, seen)
    }

    fn check_expressions(&self, query: &Query) -> std::result::Result<(), String> {
        let found = visit_expressions(query, |expr| match self.beyond_the_row(expr) {
            Some(what) => ControlFlow::Break(what),
            None => ControlFlow::Continue(()),
        });
        match found {
            ControlFlow::Break(what) => Err(what),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn beyond_the_row(&self, expr: &Expr) -> Option<String> {
        let column = match expr {
            Expr::Identifier(name) => folded(name),
            Expr::CompoundIdentifier(names) => names.last().map(folded)?,
            Expr::Function(function) => return self.uncleared(function),
            Expr::Cast {
                data_type: DataType::Custom(name, _),
                ..
            } => {
                let name = parts(name).pop()?;
                let is_oid = name.starts_with("reg");
                return is_oid
                    .then(|| format!("which has a {name}, whose number each database gives"));
            }
            Expr::Cast {
                data_type: DataType::Regclass,
                ..
            } => return Some("which has a regclass, whose number each database gives".to_owned()),
            _ => return None,
        };
        SYSTEM_COLUMNS
            .contains(&&*column)
            .then(|| format!("which reads the system column {column}"))
    }

    fn uncleared(&self, function: &Function) -> Option<String> {
        self.uncleared_name(&function.name)
    }

    /// Says that a function may give something else on another shard, unless it is known not to.
    fn uncleared_name(&self, name: &ObjectName) -> Option<String> {
        let mut names = parts(name);
        let name = names.pop()?;
        let is_cleared = [&SYNTAX[..], &settings::ROLES, &OF_SETTINGS]
            .iter()
            .any(|names| names.contains(&&*name));
        let schema = names.pop().unwrap_or_else(|| "pg_catalog".to_owned());
        let volatilities: Vec<Volatility> = self
            .catalog
            .functions(Some(&schema), &name)
            .map(|it| it.volatility)
            .collect();
        // Functions of the same name do the same with other types: one of length() is STABLE by its
        // use of encodings.
        let is_immutable = volatilities.contains(&Volatility::Immutable)
            && !volatilities.contains(&Volatility::Volatile);
        (!is_cleared && !is_immutable)
            .then(|| format!("which calls {name}, which is not IMMUTABLE: it may read tables"))
    }

    fn check_subqueries(
        &self,
        query: &Query,
        seen: &mut Vec<(String, String)>,
    ) -> std::result::Result<(), String> {
        let mut fault = None;
        rewrite::queries(query, |query| {
            if query.with.is_some() {
                fault.get_or_insert("which has a common table expression");
            }
            if query.limit_clause.is_some() || query.fetch.is_some() {
                fault.get_or_insert("which depends on the order of rows");
            }
        });
        rewrite::selects(query, |select| {
            if matches!(select.distinct, Some(Distinct::On(_))) {
                fault.get_or_insert("which depends on the order of rows");
            }
        });
        if let Some(fault) = fault {
            return Err(fault.to_owned());
        }
        let mut factors = Vec::new();
        rewrite::factors(query, |factor| factors.push(factor.clone()));
        factors
            .iter()
            .try_for_each(|factor| self.check_factor(factor, seen))
    }

    fn check_factor(
        &self,
        factor: &TableFactor,
        seen: &mut Vec<(String, String)>,
    ) -> std::result::Result<(), String> {
        match factor {
            TableFactor::Table {
                name,
                args: None,
                sample: None,
                ..
            } => self.check_read(name, seen),
            TableFactor::Table {
                name,
                args: Some(_),
                ..
            }
            | TableFactor::Function { name, .. } => self.uncleared_name(name).map_or(Ok(()), Err),
            TableFactor::Derived { sample: None, .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::NestedJoin { .. } => Ok(()),
            _ => Err("which has an item of FROM that the planner does not know".to_owned()),
        }
    }

    /// A relation that a policy reads: it has to be the same on all shards.
    fn check_read(
        &self,
        name: &ObjectName,
        seen: &mut Vec<(String, String)>,
    ) -> std::result::Result<(), String> {
        let names = parts(name);
        let found = match &names[..] {
            [schema, table] => self.catalog.relation(Some(schema), table),
            _ => None,
        };
        let Some(found) = found else {
            return Err(format!("which reads {name}"));
        };
        if let Some(difference) = found.any_difference() {
            return Err(format!("which reads {name}: {difference}"));
        }
        match self
            .declaration(&found.schema, &found.name)
            .map(|table| table.kind())
        {
            Some(TableKind::Replicated) if found.kind == RelationKind::Table => {}
            Some(TableKind::Sharded { .. }) => {
                return Err(format!(
                    "which reads the sharded table {name}: each shard would ask its own rows only"
                ));
            }
            _ => {
                return Err(format!(
                    "which reads {name}, of which the topology does not say that it is a \
                     replicated table"
                ));
            }
        }
        self.check_policies(found, seen)
            .map_err(|error| format!("which reads {name}: {}", error.message()))
    }
}
