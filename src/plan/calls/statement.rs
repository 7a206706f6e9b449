//! The calls of a bound statement.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, ObjectName, Query, TableAlias, TableFactor, UnaryOperator, Visit, Visitor,
    XmlTableColumnOption,
};

use super::judge::Judge;
use super::objects::{self, is_oid, number_of_object, written};
use super::verdict::{ASK, Judges, Verdict, Why};
use crate::catalog::{Catalog, Origin, type_key};
use crate::config::{Finish, PINNED, Topology};
use crate::error::Result;
use crate::plan::facts::functions as system;
use crate::plan::from_item::{Base, FromColumn, FromItem, Source};
use crate::plan::naming::{as_column, folded, parts};
use crate::plan::rewrite::bare;
use crate::plan::{functions, locality, refused, rewrite, settings, sql};

/// Refuses a bound query that calls what may not be called, in any way; `view` is the name of the
/// view whose query it is.
///
/// # Errors
/// Names the function, how it is called, why it may not be, and what to do.
pub(in crate::plan) fn check(
    query: &Query,
    view: Option<&str>,
    relations: &HashMap<String, FromItem>,
    topology: &Topology,
    catalog: &Catalog,
) -> Result<()> {
    let mut calls = Calls {
        judge: Judge::new(catalog),
        topology,
        catalog,
        relations,
        at_home: false,
    };
    let verdict = objects::check(query).and_then(|()| calls.whole(query));
    verdict.map_err(|why| {
        let why = match view {
            Some(view) => why.within(&format!("the view {view}")),
            None => why,
        };
        refused(why.what, why.hint)
    })
}

/// Refuses a query that is to run as it is on one shard, which it tells of, but calls what reads tables
/// of users or changes something.
///
/// # Errors
/// As [`check`].
pub(in crate::plan) fn check_home(
    query: &Query,
    topology: &Topology,
    catalog: &Catalog,
) -> Result<()> {
    let mut calls = Calls {
        judge: Judge::at_home(catalog),
        topology,
        catalog,
        relations: &HashMap::new(),
        at_home: true,
    };
    calls
        .whole(query)
        .map_err(|why| refused(why.what, why.hint))
}

struct Calls<'a> {
    judge: Judge<'a>,
    topology: &'a Topology,
    catalog: &'a Catalog,
    relations: &'a HashMap<String, FromItem>,
    /// Whether one shard runs it as it is, so that it may tell of the server.
    at_home: bool,
}

impl Visitor for Calls<'_> {
    type Break = Why;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Why> {
        flow(self.expression(expr))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Why> {
        flow(self.factor(factor))
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Why> {
        if self.at_home {
            return ControlFlow::Continue(());
        }
        let mut keys = locality::order_keys(query).iter();
        flow(keys.try_for_each(|key| match is_oid(&key.expr) {
            true => Err(number_of_object(&key.expr)),
            false => Ok(()),
        }))
    }
}

fn flow(verdict: Verdict) -> ControlFlow<Why> {
    match verdict {
        Ok(()) => ControlFlow::Continue(()),
        Err(why) => ControlFlow::Break(why),
    }
}

impl Calls<'_> {
    fn whole(&mut self, query: &Query) -> Verdict {
        self.judge.casts_of_anything()?;
        match query.visit(self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(why) => Err(why),
        }
    }

    /// Whether the number of an object tells it from others: not where databases number their own.
    fn is_oid(&self, expr: &Expr) -> bool {
        !self.at_home && is_oid(expr)
    }

    fn expression(&self, expr: &Expr) -> Verdict {
        self.operators(expr)?;
        if let Some(name) = called_by_syntax(expr) {
            self.judge.call(None, name, None)?;
        }
        match expr {
            Expr::Function(function) => self.function(function),
            Expr::Cast {
                expr, data_type, ..
            } => self.cast(expr, data_type),
            Expr::Convert {
                data_type: Some(data_type),
                ..
            } => self.data_type(data_type),
            Expr::TypedString(typed) => self.data_type(&typed.data_type),
            Expr::Collate { collation, .. } => {
                let mut parts = parts(collation);
                let name = parts.pop().unwrap_or_default();
                let schema = parts.pop();
                let found = self.catalog.collation(schema.as_deref(), &name);
                found.map_or(Ok(()), |found| self.judge.collation(found))
            }
            Expr::CompoundFieldAccess { access_chain, .. } => {
                access_chain.iter().try_for_each(|access| match access {
                    AccessExpr::Dot(Expr::Identifier(name)) => self.attribute(&folded(name)),
                    _ => Ok(()),
                })
            }
            Expr::CompoundIdentifier(_) => match as_column(expr) {
                Some((alias, name)) => self.column(&alias, &name),
                None => Ok(()),
            },
            Expr::Identifier(name) => match self.relations.get(&folded(name)) {
                Some(relation) => self.row(relation),
                // What is bound to nothing is a keyword, or a column of the output.
                None if name.quote_style.is_none() => self.keyword(&folded(name)),
                None => Ok(()),
            },
            Expr::QualifiedWildcard(name, _) => self.whole_row(name),
            _ => Ok(()),
        }
    }

    fn factor(&self, factor: &TableFactor) -> Verdict {
        let (name, args, alias) = match factor {
            TableFactor::Table {
                name,
                args: Some(args),
                alias,
                ..
            } => (name, &args.args, alias),
            TableFactor::Function {
                name, args, alias, ..
            } => (name, args, alias),
            TableFactor::UNNEST {
                alias, array_exprs, ..
            } => {
                self.column_types(alias)?;
                return self.judge.call(None, "unnest", Some(array_exprs.len()));
            }
            TableFactor::TableFunction { alias, .. } => return self.column_types(alias),
            TableFactor::XmlTable { columns, .. } => {
                return columns.iter().try_for_each(|column| match &column.option {
                    XmlTableColumnOption::NamedInfo { r#type, .. } => self.data_type(r#type),
                    XmlTableColumnOption::ForOrdinality => Ok(()),
                });
            }
            _ => return Ok(()),
        };
        self.column_types(alias)?;
        match sql::is_rows_from(name) {
            // The calls in it are looked at one by one.
            true => Ok(()),
            false => self.called(name, args, Some(args.len())),
        }
    }

    /// The types that `AS f(a int, b text)` lists.
    fn column_types(&self, alias: &Option<TableAlias>) -> Verdict {
        let mut columns = alias.iter().flat_map(|alias| &alias.columns);
        columns.try_for_each(|column| match &column.data_type {
            Some(data_type) => self.data_type(data_type),
            None => Ok(()),
        })
    }

    fn function(&self, function: &Function) -> Verdict {
        let args = functions::arguments(function);
        if args.iter().any(
            |arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if self.is_oid(expr)),
        ) && !OF_ANY_VALUE.contains(&&*functions::name(function))
        {
            return Err(number_of_object(&Expr::Function(function.clone())));
        }
        if OF_ROW_TYPES.contains(&&*functions::name(function)) && self.names_row(function) {
            return Err(Why::new(
                format!(
                    "{}: the row of a table has no type of its own where rows are collected",
                    functions::name(function)
                ),
                "name the columns one by one, as in row(a, b), or write the type",
            ));
        }
        let mut wildcards = args.iter().filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => Some(name),
            _ => None,
        });
        wildcards.try_for_each(|name| self.whole_row(name))?;
        self.called(&function.name, args, functions::argument_count(function))
    }

    /// Whether a row of a table or view is named as a whole, anywhere inside.
    fn names_row(&self, function: &Function) -> bool {
        let is_row = |name: &str| {
            let relation = self.relations.get(name);
            relation.is_some_and(|it| matches!(it.source, Source::Table(_) | Source::Derived))
        };
        rewrite::any(function, |expr| match expr {
            Expr::Identifier(name) => is_row(&folded(name)),
            Expr::QualifiedWildcard(name, _) => parts(name).first().is_some_and(|it| is_row(it)),
            Expr::Function(function) => functions::arguments(function).iter().any(|arg| {
                matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name))
                    if parts(name).first().is_some_and(|it| is_row(it)))
            }),
            _ => false,
        }) || functions::arguments(function).iter().any(|arg| {
            matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name))
                if parts(name).first().is_some_and(|it| is_row(it)))
        })
    }

    /// A call by name.
    fn called(&self, name: &ObjectName, args: &[FunctionArg], count: Option<usize>) -> Verdict {
        let mut parts = parts(name);
        let name = parts.pop().unwrap_or_default();
        let schema = parts.pop();
        let is_system = schema.as_ref().is_none_or(|schema| schema == "pg_catalog");
        match &*name {
            _ if self.at_home => {}
            name if is_system && (system::is_role(name) || system::is_of_path(name)) => {
                return self.of_session(name);
            }
            "current_setting" if is_system => return self.setting(args),
            "age" if is_system && args.iter().any(|arg| self.is_transaction(arg)) => {
                return Err(Why::new(
                    "the function age of a transaction, which tells of the server".to_owned(),
                    ASK,
                ));
            }
            _ => {}
        }
        self.judge.call(schema.as_deref(), &name, count)
    }

    /// What tells of the session, and is the same on all shards unless they differ on it.
    fn of_session(&self, name: &str) -> Verdict {
        let catalog = self.catalog;
        let difference = match system::is_role(name) {
            true => &catalog.role_difference,
            false => &catalog.path_difference,
        };
        let elsewhere = matches!(self.topology.finish(), Finish::Server(_))
            .then(|| "the server that finishes may have another".to_owned());
        match difference.clone().or(elsewhere) {
            Some(reason) => Err(Why::new(
                format!("{name}, which tells of the session: {reason}"),
                "write its value into the query",
            )),
            None => Ok(()),
        }
    }

    /// Whether an argument is the number of a transaction.
    fn is_transaction(&self, arg: &FunctionArg) -> bool {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
            return false;
        };
        match bare(expr) {
            Expr::Cast { data_type, .. } => written(data_type) == "xid",
            Expr::TypedString(typed) => written(&typed.data_type) == "xid",
            column => as_column(column).is_some_and(|(alias, name)| {
                let relation = self.relations.get(&alias);
                let mut columns = relation.into_iter().flat_map(|it| &it.columns).flatten();
                columns.any(|it| it.name == name && it.type_name.as_deref() == Some("xid"))
            }),
        }
    }

    /// `current_setting(..)`: of what every session is given.
    fn setting(&self, args: &[FunctionArg]) -> Verdict {
        let session = self.topology.session();
        let is_given = |name: &str| {
            name.eq_ignore_ascii_case("timezone")
                || PINNED
                    .iter()
                    .any(|(pinned, _)| name.eq_ignore_ascii_case(pinned))
                || session
                    .settings()
                    .keys()
                    .any(|it| name.eq_ignore_ascii_case(it))
                || name.eq_ignore_ascii_case("search_path") && session.search_path().is_some()
        };
        match args.first().and_then(settings::text) {
            Some(name) if is_given(name) => Ok(()),
            Some(name) => self.compared_setting(name),
            None => Err(Why::new(
                "the function current_setting of a name that is no literal: some settings are not \
                 the same on all shards"
                    .to_owned(),
                "write the name of the setting as a literal",
            )),
        }
    }

    /// A setting that has one value on all shards, or not.
    fn compared_setting(&self, name: &str) -> Verdict {
        let is_elsewhere = matches!(self.topology.finish(), Finish::Server(_));
        let reason = match self.catalog.conditions().setting(name) {
            _ if system::is_setting_of_server(name) => "tells of the server".to_owned(),
            Some(None) if !is_elsewhere => return Ok(()),
            // PostgreSQL says that there is no such setting.
            None if !name.contains('.') => return Ok(()),
            Some(Some(difference)) => format!("differs: {difference}"),
            _ => "is not given to every session".to_owned(),
        };
        Err(Why::new(
            format!("the function current_setting: the setting {name} {reason}"),
            "give it a value for all shards in [session] of the topology, or ask a shard for it: \
             --fan-out",
        ))
    }

    /// A name that nothing has.
    fn keyword(&self, name: &str) -> Verdict {
        match () {
            () if self.at_home => Ok(()),
            () if system::is_role(name) || name == "current_schema" => self.of_session(name),
            () if name == "current_catalog" => self.judge.call(None, "current_database", Some(0)),
            () => Ok(()),
        }
    }

    /// `(row).f`: a field, or a function of the row.
    fn attribute(&self, name: &str) -> Verdict {
        let mut found = self.catalog.functions(None, name);
        match found.any(|function| function.takes(Some(1))) {
            true => self.judge.call(None, name, Some(1)),
            false => Ok(()),
        }
    }

    fn column(&self, alias: &str, name: &str) -> Verdict {
        let Some(relation) = self.relations.get(alias) else {
            // Nothing is bound at home: `c.f` may be `f(c)`, of users.
            let mut found = self.catalog.functions(None, name);
            return match self.at_home && found.any(|it| it.origin != Origin::System) {
                true => self.attribute(name),
                false => Ok(()),
            };
        };
        match &relation.columns {
            Some(columns) => {
                let meant = || columns.iter().filter(|column| column.name == name);
                match meant().next() {
                    Some(_) => meant().try_for_each(|column| self.type_of(column)),
                    None => self.attribute(name),
                }
            }
            // What a function gives is not known: `f.g` may be `g(f)`.
            None if alias != name => self.attribute(name),
            None => Ok(()),
        }
    }

    fn row(&self, relation: &FromItem) -> Verdict {
        if let Source::Table(Base {
            name: (schema, name),
            ..
        }) = &relation.source
        {
            self.judge.data_type(&format!("{schema}.{name}"))?;
        }
        let mut columns = relation.columns.iter().flatten();
        columns.try_for_each(|column| self.type_of(column))
    }

    fn whole_row(&self, name: &ObjectName) -> Verdict {
        let alias = parts(name).pop().unwrap_or_default();
        self.relations
            .get(&alias)
            .map_or(Ok(()), |relation| self.row(relation))
    }

    fn type_of(&self, column: &FromColumn) -> Verdict {
        match &column.type_name {
            Some(sql) if objects::TYPES.contains(&&*type_key(sql)) => Err(Why::new(
                format!(
                    "the column {}, which has numbers of objects: they differ between databases",
                    column.name
                ),
                ASK,
            )),
            Some(sql) => self.judge.data_type(sql),
            None => Ok(()),
        }
    }

    fn cast(&self, expr: &Expr, data_type: &DataType) -> Verdict {
        let is_number = [
            "oid", "int", "integer", "bigint", "int4", "int8", "smallint", "int2",
        ]
        .contains(&&*written(data_type));
        if is_number && self.is_oid(expr) {
            return Err(number_of_object(expr));
        }
        self.data_type(data_type)
    }

    /// A type that the statement names.
    fn data_type(&self, data_type: &DataType) -> Verdict {
        match data_type {
            DataType::Array(
                ArrayElemTypeDef::SquareBracket(element, _)
                | ArrayElemTypeDef::AngleBracket(element)
                | ArrayElemTypeDef::Parenthesis(element),
            ) => self.data_type(element),
            DataType::Custom(name, _) => {
                let mut parts = parts(name);
                let name = parts.pop().unwrap_or_default();
                let schema = parts.pop();
                let catalog = self.catalog;
                if let Some(found) = catalog.data_type(schema.as_deref(), &name) {
                    return self.named_type(&found.sql);
                }
                match catalog.relation(schema.as_deref(), &name) {
                    Some(found) => self.named_type(&format!("{}.{}", found.schema, found.name)),
                    None => self.named_type(&name),
                }
            }
            other => self.named_type(&written(other)),
        }
    }

    fn named_type(&self, sql: &str) -> Verdict {
        self.judge.data_type(sql)?;
        self.judge.cast_to(sql)
    }

    fn operators(&self, expr: &Expr) -> Verdict {
        if let Some((_, operator)) = sql::order_of_operator(expr) {
            return self.binary(&BinaryOperator::PGCustomBinaryOperator(operator));
        }
        let symbols: &[&str] = match expr {
            Expr::BinaryOp { left, op, right } => {
                let compares = matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq);
                if [left, right].iter().any(|side| self.is_oid(side)) && !compares {
                    return Err(number_of_object(expr));
                }
                return self.binary(op);
            }
            Expr::AnyOp { compare_op, .. } | Expr::AllOp { compare_op, .. } => {
                return self.binary(compare_op);
            }
            Expr::UnaryOp { op, .. } => {
                return match op {
                    UnaryOperator::Not => Ok(()),
                    op => self.judge.operator(None, op.to_string().trim()),
                };
            }
            Expr::Like { .. } => &["~~", "!~~"],
            Expr::ILike { .. } => &["~~*", "!~~*"],
            Expr::SimilarTo { .. } | Expr::RLike { .. } => &["~", "!~"],
            Expr::Between { .. } => &["<", "<=", ">", ">="],
            Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::Case {
                operand: Some(_), ..
            } => &["=", "<>"],
            Expr::Function(function) if functions::name(function) == "nullif" => &["="],
            _ => return Ok(()),
        };
        symbols
            .iter()
            .try_for_each(|symbol| self.judge.operator(None, symbol))
    }

    fn binary(&self, op: &BinaryOperator) -> Verdict {
        match op {
            BinaryOperator::And | BinaryOperator::Or | BinaryOperator::Overlaps => Ok(()),
            BinaryOperator::PGCustomBinaryOperator(parts) => {
                let (symbol, schema) = match &parts[..] {
                    [.., schema, symbol] => (symbol, Some(schema.as_str())),
                    [symbol] => (symbol, None),
                    [] => return Ok(()),
                };
                self.judge.operator(schema, symbol)
            }
            op => self.judge.operator(None, op.to_string().trim()),
        }
    }
}

/// Functions of which the parser makes nodes of their own, though they may be called as any other.
fn called_by_syntax(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Ceil { .. } => Some("ceil"),
        Expr::Floor { .. } => Some("floor"),
        Expr::Substring { .. } => Some("substring"),
        Expr::Overlay { .. } => Some("overlay"),
        Expr::Convert { .. } => Some("convert"),
        _ => None,
    }
}

/// Functions that take the name of an object as they take any value, and tell its text at most.
const OF_ANY_VALUE: [&str; 9] = [
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "format",
    "num_nonnulls",
    "num_nulls",
    "nullif",
    "pg_typeof",
];

/// Functions whose result depends on the type that a row was declared with.
const OF_ROW_TYPES: [&str; 5] = [
    "json_populate_record",
    "json_populate_recordset",
    "jsonb_populate_record",
    "jsonb_populate_recordset",
    "pg_typeof",
];
