//! What every shard computes of its copies of the same rows: whether all come to the very same.
//!
//! The rows of a replicated table are the same on every shard, but lie in an order of their own. So
//! what a query makes of copies is the same everywhere only where that order shows nowhere:
//!
//! - It chooses no row of several, and puts none behind another: LIMIT, DISTINCT ON, windows,
//!   `string_agg` ([`depends_on_row_order`](functions::depends_on_row_order)).
//! - It does not choose among values that are equal, but not the same: `1.0` and `1.00` in a group, a
//!   DISTINCT, a UNION, or a `min`. They are the same where the type, or the column's declaration,
//!   leaves one way to write a value.
//! - It adds no floating-point numbers, whose sum depends on their order in the last digit.
//!
//! What is not known to be so here is computed once, and handed to all shards.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, DuplicateTreatment, Expr, Function, FunctionArguments, GroupByExpr,
    Select, SelectItem, SetExpr, SetOperator, SetQuantifier, UnaryOperator, Value,
};

use super::{Locality, resolve_key};
use crate::plan::facts::aggregates::{self, Order};
use crate::plan::facts::types;
use crate::plan::from_item::FromColumn;
use crate::plan::functions;
use crate::plan::naming::as_column;
use crate::plan::rewrite::{self, bare};

/// PostgreSQL's own functions that make text of text.
const TEXTS: [&str; 10] = [
    "btrim",
    "initcap",
    "left",
    "lower",
    "ltrim",
    "right",
    "rtrim",
    "substr",
    "substring",
    "upper",
];

/// PostgreSQL's own functions that make an exact number of exact numbers.
const NUMBERS: [&str; 9] = [
    "abs", "ceil", "ceiling", "coalesce", "floor", "mod", "nullif", "round", "trunc",
];

impl Locality<'_> {
    /// Why what a SELECT makes of copies may differ from shard to shard, if so. Its FROM and WHERE,
    /// and the order of rows, are looked at elsewhere.
    pub(super) fn copies_differ(&self, select: &Select) -> Option<String> {
        if self.aggregates(select) {
            let mut reason = self.keys_differ(select);
            let mut look = |expr: &Expr| {
                if let Expr::Function(call) = expr
                    && reason.is_none()
                    && functions::is_aggregate(call, self.catalog)
                {
                    reason = self.aggregate_differs(call);
                }
            };
            rewrite::own_expressions(&select.projection, &mut look);
            rewrite::own_expressions(&select.having, &mut look);
            rewrite::own_expressions(&select.sort_by, &mut look);
            if reason.is_some() {
                return reason;
            }
        }
        let is_distinct = matches!(select.distinct, Some(Distinct::Distinct));
        (is_distinct && self.output_kinds(select).is_none()).then(|| chosen("DISTINCT"))
    }

    /// The same of a set operation.
    pub(super) fn set_of_copies_differs(
        &self,
        op: SetOperator,
        quantifier: SetQuantifier,
        left: &SetExpr,
        right: &SetExpr,
    ) -> Option<String> {
        if is_union_all(op, quantifier) {
            return None;
        }
        let kinds = self.body_kinds(left);
        let is_same = kinds.is_some() && kinds == self.body_kinds(right);
        (!is_same).then(|| chosen(&op.to_string()))
    }

    fn keys_differ(&self, select: &Select) -> Option<String> {
        let GroupByExpr::Expressions(keys, _) = &select.group_by else {
            return Some(chosen("GROUP BY ALL"));
        };
        let mut pending: Vec<&Expr> = keys.iter().collect();
        while let Some(key) = pending.pop() {
            match bare(key) {
                Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => {
                    pending.extend(sets.iter().flatten());
                }
                Expr::Tuple(parts) => pending.extend(parts),
                key => {
                    if self.kind(&resolve_key(key, &select.projection)).is_none() {
                        return Some(chosen("GROUP BY"));
                    }
                }
            }
        }
        None
    }

    fn aggregate_differs(&self, call: &Function) -> Option<String> {
        let name = functions::system_name(call, self.catalog).unwrap_or_default();
        let order = aggregates::named(&name).map_or(Order::Matters, |known| known.order);
        if order == Order::Any {
            return None;
        }
        let arguments = functions::expressions(call);
        let is_distinct = matches!(&call.args, FunctionArguments::List(list)
            if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
        if is_distinct && !arguments.iter().all(|it| self.kind(it).is_some()) {
            return Some(chosen(&name));
        }
        let is_same = match order {
            Order::Any => true,
            Order::Adds => arguments.iter().all(|it| self.is_exact_number(it)),
            Order::Chooses => match call.within_group.is_empty() {
                true => arguments.iter().all(|it| self.kind(it).is_some()),
                false => {
                    let mut keys = call.within_group.iter();
                    keys.all(|key| self.kind(&key.expr).is_some())
                }
            },
            Order::Rounds | Order::Matters => false,
        };
        (!is_same).then(|| match order {
            Order::Chooses => chosen(&name),
            _ => format!("{name} depends on the order in which a replicated table is read"),
        })
    }

    /// The kinds of the columns of a body, see [`kind`](Self::kind).
    fn body_kinds(&self, body: &SetExpr) -> Option<Vec<String>> {
        match body {
            SetExpr::Select(select) => self.output_kinds(select),
            SetExpr::Query(query) => self.body_kinds(&query.body),
            SetExpr::Values(values) => {
                let mut rows = values.rows.iter().map(|row| {
                    let kinds = row.iter().map(|expr| self.kind(expr));
                    kinds.collect::<Option<Vec<_>>>()
                });
                let first = rows.next()??;
                rows.all(|row| row.as_ref() == Some(&first))
                    .then_some(first)
            }
            SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } => {
                let kinds = self.body_kinds(right)?;
                // Of all others, both sides were compared before.
                let is_same = !is_union_all(*op, *set_quantifier)
                    || self.body_kinds(left).as_ref() == Some(&kinds);
                is_same.then_some(kinds)
            }
            _ => None,
        }
    }

    fn output_kinds(&self, select: &Select) -> Option<Vec<String>> {
        let kinds = select.projection.iter().map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                self.kind(expr)
            }
            _ => None,
        });
        kinds.collect()
    }

    /// The type of an expression, or what it has in common with others that it unites with; `None`
    /// unless it is certain that values which are equal are the same.
    fn kind(&self, expr: &Expr) -> Option<String> {
        if let Some(column) = self.column(expr) {
            return column_kind(column);
        }
        let found = match bare(expr) {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) if digits.bytes().all(|b| b.is_ascii_digit()) => INTEGER,
                Value::Boolean(_) => BOOLEAN,
                Value::SingleQuotedString(_)
                | Value::EscapedStringLiteral(_)
                | Value::DollarQuotedString(_)
                | Value::Null => TEXT,
                _ => return None,
            },
            Expr::TypedString(literal) => return written_kind(&literal.data_type.to_string()),
            Expr::Cast {
                expr, data_type, ..
            } => {
                let kind = written_kind(&data_type.to_string())?;
                // A text keeps the collation of the text that it was before.
                return (kind != TEXT || self.kind(expr).is_some()).then_some(kind);
            }
            Expr::UnaryOp { op, expr } => match op {
                UnaryOperator::Not => BOOLEAN,
                UnaryOperator::Minus | UnaryOperator::Plus if self.is(expr, INTEGER) => INTEGER,
                _ => return None,
            },
            Expr::BinaryOp { left, op, right } => match op {
                BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq
                | BinaryOperator::And
                | BinaryOperator::Or => BOOLEAN,
                BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::Divide
                | BinaryOperator::Modulo
                    if self.is(left, INTEGER) && self.is(right, INTEGER) =>
                {
                    INTEGER
                }
                BinaryOperator::Plus | BinaryOperator::Minus
                    if self.is(left, DATE) && self.is(right, INTEGER) =>
                {
                    DATE
                }
                BinaryOperator::StringConcat if self.is(left, TEXT) && self.is(right, TEXT) => TEXT,
                _ => return None,
            },
            Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::Between { .. }
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Exists { .. }
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::SimilarTo { .. } => BOOLEAN,
            // A number whose digits behind the point depend on the field alone.
            Expr::Extract { field, .. } => return Some(format!("extract {field}")),
            Expr::Trim { expr, .. } | Expr::Substring { expr, .. } if self.is(expr, TEXT) => TEXT,
            Expr::Case {
                conditions,
                else_result,
                ..
            } => {
                let results = conditions.iter().map(|when| &when.result);
                let results = results.chain(else_result.as_deref());
                return self.common(results.collect());
            }
            Expr::Function(call) => return self.call_kind(call),
            _ => return None,
        };
        Some(found.to_owned())
    }

    fn call_kind(&self, call: &Function) -> Option<String> {
        let arguments = functions::expressions(call);
        match functions::system_name(call, self.catalog)?.as_str() {
            "count" | "char_length" | "length" => Some(INTEGER.to_owned()),
            "coalesce" | "max" | "min" => self.common(arguments),
            "nullif" => self.kind(arguments.first()?),
            "date_trunc" => match self.kind(arguments.get(1)?)?.as_str() {
                DATE | TIMESTAMPTZ => Some(TIMESTAMPTZ.to_owned()),
                TIMESTAMP => Some(TIMESTAMP.to_owned()),
                _ => None,
            },
            name if TEXTS.contains(&name) => {
                let is_text = |it: &&Expr| self.is(it, TEXT) || self.is(it, INTEGER);
                arguments.iter().all(is_text).then(|| TEXT.to_owned())
            }
            _ => None,
        }
    }

    fn is(&self, expr: &Expr, kind: &str) -> bool {
        self.kind(expr).is_some_and(|found| found == kind)
    }

    /// The kind that all of these are of.
    fn common(&self, exprs: Vec<&Expr>) -> Option<String> {
        let (first, others) = exprs.split_first()?;
        let kind = self.kind(first)?;
        others.iter().all(|it| self.is(it, &kind)).then_some(kind)
    }

    /// Whether a number is of a type whose sum does not depend on the order of what is added.
    fn is_exact_number(&self, expr: &Expr) -> bool {
        if let Some(column) = self.column(expr) {
            return column.type_name.as_deref().is_some_and(is_number);
        }
        match bare(expr) {
            Expr::Value(value) => matches!(value.value, Value::Number(..) | Value::Null),
            Expr::Cast { data_type, .. } => {
                let name = data_type.to_string().to_ascii_lowercase();
                written_kind(&name).is_some_and(|kind| kind == INTEGER) || is_number(&name)
            }
            Expr::UnaryOp {
                op: UnaryOperator::Minus | UnaryOperator::Plus,
                expr,
            } => self.is_exact_number(expr),
            Expr::BinaryOp { left, op, right } => {
                matches!(
                    op,
                    BinaryOperator::Plus
                        | BinaryOperator::Minus
                        | BinaryOperator::Multiply
                        | BinaryOperator::Divide
                        | BinaryOperator::Modulo
                ) && self.is_exact_number(left)
                    && self.is_exact_number(right)
            }
            Expr::Extract { .. } => true,
            Expr::Ceil { expr, .. } | Expr::Floor { expr, .. } => self.is_exact_number(expr),
            Expr::Case {
                conditions,
                else_result,
                ..
            } => {
                let results = conditions.iter().map(|when| &when.result);
                let mut results = results.chain(else_result.as_deref());
                results.all(|result| self.is_exact_number(result))
            }
            Expr::Function(call) => {
                let name = functions::system_name(call, self.catalog);
                let arguments = functions::expressions(call);
                name.is_some_and(|name| NUMBERS.contains(&&*name))
                    && arguments.iter().all(|it| self.is_exact_number(it))
            }
            _ => false,
        }
    }

    fn column(&self, expr: &Expr) -> Option<&FromColumn> {
        let (alias, name) = as_column(expr)?;
        let columns = self.relations.get(&alias)?.columns.as_ref()?;
        columns.iter().find(|column| column.name == name)
    }
}

const BOOLEAN: &str = "bool";
const DATE: &str = "date";
/// Of any width: they unite to a wider one.
const INTEGER: &str = "integer";
const TEXT: &str = "text";
const TIMESTAMP: &str = "timestamp";
const TIMESTAMPTZ: &str = "timestamptz";

fn column_kind(column: &FromColumn) -> Option<String> {
    let collation = column.collation.as_ref();
    type_kind(
        column.type_name.as_deref()?,
        collation.is_none_or(|it| it.deterministic),
    )
}

/// The kind of a type as SQL writes it.
fn written_kind(written: &str) -> Option<String> {
    let lower = written.to_ascii_lowercase();
    type_kind(lower.strip_prefix("pg_catalog.").unwrap_or(&lower), true)
}

fn type_kind(name: &str, has_deterministic_collation: bool) -> Option<String> {
    if !types::is_identified(name, has_deterministic_collation) {
        return None;
    }
    let kind = types::equality(name);
    // As many digits behind the point, and blanks at the end, as it declares.
    Some(match kind.as_str() {
        "numeric" | "bpchar" => name.to_owned(),
        _ => kind,
    })
}

/// Whether a type adds exactly: whole numbers, decimals, and intervals, which are made of the former.
fn is_number(type_name: &str) -> bool {
    let kind = types::equality(type_name);
    [INTEGER, "numeric", "money", "interval"].contains(&&*kind)
}

fn is_union_all(op: SetOperator, quantifier: SetQuantifier) -> bool {
    op == SetOperator::Union && quantifier == SetQuantifier::All
}

fn chosen(what: &str) -> String {
    format!(
        "{what} may choose among equal values of a replicated table, and each shard another than others"
    )
}
