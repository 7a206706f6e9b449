//! Whether a rule gives greater keys no lower shard, so that a range of keys is on a range of shards.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, CeilFloorKind, DataType, DateTimeField, Expr, UnaryOperator, Value,
};

use super::constant::{elements, number_of, quoted};
use super::time::{KeyKind, is_local_iso};
use crate::catalog::Catalog;
use crate::plan::functions;
use crate::plan::naming::folded;
use crate::plan::rewrite::bare;

/// A rule, `shard_index`, and its key.
pub(super) struct Rule<'a> {
    pub(super) key_column: &'a str,
    pub(super) key_type: &'a str,
    pub(super) catalog: &'a Catalog,
}

impl Rule<'_> {
    /// Whether the expression is known not to fall where the key grows.
    ///
    /// `width_bucket` finds the place of a value in a sorted array (`width_bucket_array` in
    /// `src/backend/utils/adt/arrayfuncs.c`); that of integers and dates rounds toward zero.
    pub(super) fn is_ascending(&self, rule: &Expr) -> bool {
        match bare(rule) {
            Expr::Identifier(name) => folded(name) == self.key_column,
            Expr::Cast {
                expr, data_type, ..
            } => self.is_ascending_cast(data_type) && self.is_ascending(expr),
            Expr::BinaryOp { left, op, right } => match op {
                BinaryOperator::Plus | BinaryOperator::Minus if is_constant(right) => {
                    self.is_ascending(left)
                }
                BinaryOperator::Plus => is_constant(left) && self.is_ascending(right),
                BinaryOperator::Divide => is_positive(right) && self.is_ascending(left),
                _ => false,
            },
            Expr::Floor { expr, field } | Expr::Ceil { expr, field } => {
                matches!(
                    field,
                    CeilFloorKind::DateTimeField(DateTimeField::NoDateTime)
                ) && self.is_ascending(expr)
            }
            Expr::Extract { field, expr, .. } => {
                *field == DateTimeField::Year && self.is_ascending(expr)
            }
            Expr::Function(function) => {
                let arguments = functions::expressions(function);
                match (
                    functions::system_name(function, self.catalog).as_deref(),
                    &arguments[..],
                ) {
                    (Some("width_bucket"), [value, thresholds]) => {
                        let thresholds = elements(thresholds);
                        thresholds.is_some_and(|found| self.ascend(found.iter()))
                            && self.is_ascending(value)
                    }
                    (Some("date_part"), [field, value]) => {
                        quoted(field).is_some_and(|field| field.eq_ignore_ascii_case("year"))
                            && self.is_ascending(value)
                    }
                    (Some("floor" | "ceil" | "ceiling" | "trunc" | "round"), [value]) => {
                        self.is_ascending(value)
                    }
                    _ => false,
                }
            }
            Expr::Case {
                operand: None,
                conditions,
                else_result,
                ..
            } => self.is_ascending_case(conditions, else_result.as_deref()),
            _ => false,
        }
    }

    /// Whether values of an ascending expression ascend as this type, too.
    fn is_ascending_cast(&self, data_type: &DataType) -> bool {
        match KeyKind::of(self.key_type) {
            // The first hour of a day never belongs to the day before.
            Some(_) if *data_type == DataType::Date => true,
            _ => matches!(
                data_type,
                DataType::SmallInt(None)
                    | DataType::Int2(None)
                    | DataType::Int(None)
                    | DataType::Integer(None)
                    | DataType::Int4(None)
                    | DataType::BigInt(None)
                    | DataType::Int8(None)
            ),
        }
    }

    /// `CASE WHEN key < 10 THEN 0 WHEN key < 20 THEN 1 ELSE 2 END`
    fn is_ascending_case(&self, branches: &[CaseWhen], otherwise: Option<&Expr>) -> bool {
        let mut thresholds = Vec::new();
        for branch in branches {
            match bare(&branch.condition) {
                Expr::BinaryOp {
                    left,
                    op: BinaryOperator::Lt | BinaryOperator::LtEq,
                    right,
                } if self.is_key(left) => thresholds.push(&**right),
                _ => return false,
            }
        }
        let shards = branches.iter().map(|branch| &branch.result);
        let shards: Option<Vec<i128>> = shards.chain(otherwise).map(number_of).collect();
        shards.is_some_and(|shards| shards.is_sorted()) && self.ascend(thresholds.into_iter())
    }

    fn is_key(&self, expr: &Expr) -> bool {
        matches!(bare(expr), Expr::Identifier(name) if folded(name) == self.key_column)
    }

    /// Whether constants of the key's type are known to be in order.
    fn ascend<'e>(&self, thresholds: impl Iterator<Item = &'e Expr>) -> bool {
        match KeyKind::of(self.key_type) {
            Some(_) => {
                let texts: Option<Vec<String>> = thresholds
                    .map(|it| untyped(it).filter(|text| is_local_iso(text)))
                    .collect();
                texts.is_some_and(|texts| texts.is_sorted())
            }
            None => {
                let numbers: Option<Vec<i128>> = thresholds
                    .map(|it| match untyped(it) {
                        Some(text) => text.trim().parse().ok(),
                        None => number_of(it),
                    })
                    .collect();
                numbers.is_some_and(|numbers| numbers.is_sorted())
            }
        }
    }
}

/// The text of a literal, whatever type it is cast to.
fn untyped(literal: &Expr) -> Option<String> {
    match bare(literal) {
        Expr::Cast { expr, .. } => quoted(expr),
        Expr::TypedString(typed) => typed.value.value.clone().into_string(),
        other => quoted(other),
    }
}

fn is_positive(expr: &Expr) -> bool {
    matches!(bare(expr), Expr::Value(value) if matches!(&value.value, Value::Number(digits, _)
        if digits.parse().is_ok_and(|number: f64| number > 0.0)))
}

/// Whether an expression is a literal.
fn is_constant(expr: &Expr) -> bool {
    match bare(expr) {
        Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        } => is_constant(expr),
        Expr::Value(value) => matches!(value.value, Value::Number(..)) || quoted(expr).is_some(),
        _ => untyped(expr).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::bind::fixture::catalog;
    use crate::plan::sql::expression;
    use crate::plan::thread::with_deep_stack;

    fn is_ascending(rule: &str, key_type: &'static str) -> bool {
        let rule = rule.to_owned();
        let found = with_deep_stack(move || {
            let catalog = catalog();
            let of = Rule {
                key_column: "k",
                key_type,
                catalog: &catalog,
            };
            Ok(expression(&rule).is_some_and(|rule| of.is_ascending(&rule)))
        });
        found.unwrap()
    }

    #[test]
    fn rules_that_never_fall_are_known() {
        for rule in [
            "k",
            "(k - 1) / 100",
            "7 + K / 100",
            "\"k\" / 100 - -3",
            "floor(k / 100.0)::int",
            "width_bucket(k, '{1, 2,2,30}')",
            "width_bucket(k, ARRAY[1, 20, 300]) - 1",
            "CASE WHEN k < 10 THEN 0 WHEN k <= 20 THEN 1 ELSE 1 END",
        ] {
            assert!(is_ascending(rule, "integer"), "{rule}");
        }
        for rule in [
            "k - date '2024-01-01'",
            "(k - '2024-01-01') / 31",
            "extract(year from k)::int - 2020",
            "date_part('year', k) - 2020",
            "width_bucket(k, '{2024-01-01,2024-02-01}'::date[])",
            "CASE WHEN k < date '2024-02-01' THEN 0 WHEN k < '2024-03-01' THEN 1 ELSE 2 END",
        ] {
            assert!(is_ascending(rule, "date"), "{rule}");
        }
        let rule = "width_bucket(k::date, '{2024-01-01,2024-02-01}'::date[])";
        assert!(is_ascending(rule, "timestamp without time zone"));
    }

    #[test]
    fn of_others_it_is_not_known() {
        for rule in [
            "k % 4",
            "-k",
            "100 - k",
            "k / -100",
            "100 / k",
            "k * 2",
            "j / 100",
            "hashint4(k)",
            "abs(k)",
            "width_bucket(k, '{1,3,2}')",
            "width_bucket(k, '{1,NULL}')",
            "width_bucket(k, bounds)",
            "CASE WHEN k < 10 THEN 1 WHEN k < 20 THEN 0 ELSE 2 END",
            "CASE WHEN k < 20 THEN 0 WHEN k < 10 THEN 1 ELSE 2 END",
            "CASE WHEN k < 10 THEN 1 ELSE 0 END",
            "CASE WHEN k > 10 THEN 0 ELSE 1 END",
            "CASE k WHEN 1 THEN 0 ELSE 1 END",
            "k::text::int",
            "k +",
        ] {
            assert!(!is_ascending(rule, "integer"), "{rule}");
        }
        for rule in [
            "extract(month from k)::int",
            "date_part('day', k)",
            "width_bucket(k, '{2024-01-01,2023-02-01}'::date[])",
            "width_bucket(k, '{2024-01-01,today}'::date[])",
            "width_bucket(k, '{01/02/2024,01/03/2024}'::date[])",
            "width_bucket(k, '{2024-01-01 00:00+05,2024-01-01 00:00+07}'::timestamptz[])",
        ] {
            assert!(!is_ascending(rule, "date"), "{rule}");
        }
    }
}
