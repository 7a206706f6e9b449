//! What SQL means to PostgreSQL where DataFusion reads it otherwise.
//!
//! An analyzer's rule ahead of the coercion of types, because it has to see the types that the SQL
//! has: afterwards a `real` and the literal that it is compared with are of one type.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::expr::{AggregateFunction, Between, Cast, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{COUNT_STAR_EXPANSION, merge_schema};
use datafusion::logical_expr::{
    BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator, cast, lit, when,
};
use datafusion::optimizer::AnalyzerRule;

use super::functions::{self, Function};
use super::{literals, sql_types};
use crate::types;

#[derive(Debug)]
pub(super) struct PostgresMeaning;

impl AnalyzerRule for PostgresMeaning {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        // The types of a recursive query's rows are fixed before its literals are seen here.
        let narrows = !is_recursive(&plan)?;
        plan.transform_up_with_subqueries(|plan| {
            // Counts of rows, and rows whose types are fixed.
            if matches!(plan, LogicalPlan::Limit(_) | LogicalPlan::Values(_)) {
                return Ok(Transformed::no(plan));
            }
            let schema = merge_schema(&plan.inputs());
            let reader = Reader {
                schema: &schema,
                narrows,
            };
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let meant = expr.transform_up(|expr| reader.read(expr).map(Transformed::yes))?;
                Ok(meant.update_data(|expr| name.restore(expr)))
            })?
            .map_data(LogicalPlan::recompute_schema)
        })
        .map(|plan| plan.data)
    }

    fn name(&self) -> &str {
        "postgres_meaning"
    }
}

fn is_recursive(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::RecursiveQuery(_));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Reads expressions over rows of one schema; the parts of an expression come before the whole.
struct Reader<'a> {
    schema: &'a DFSchema,
    /// Whether literals get PostgreSQL's narrow types.
    narrows: bool,
}

impl Reader<'_> {
    fn read(&self, expr: Expr) -> Result<Expr> {
        match expr {
            Expr::Literal(value, metadata) => Ok(Expr::Literal(self.literal(value), metadata)),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.binary(*left, op, *right),
            Expr::InList(list) => self.in_list(list),
            Expr::Between(between) => self.between(between),
            Expr::Case(case) => self.case(case),
            Expr::Cast(cast) => self.cast(cast),
            Expr::Like(like) => {
                literals::check_pattern(&like.pattern)?;
                Ok(Expr::Like(like))
            }
            Expr::ScalarFunction(call) => {
                let name = call.func.name().to_owned();
                match (name.as_str(), call.args.as_slice()) {
                    ("nullif", [left, right]) if self.is_read_apart(left)? => {
                        let equal = self.binary(left.clone(), Operator::Eq, right.clone())?;
                        when(equal, lit(ScalarValue::Null)).otherwise(left.clone())
                    }
                    ("coalesce" | "greatest" | "least", _) => {
                        let args = self.one_float(call.args)?;
                        Ok(call.func.call(args))
                    }
                    _ => functions::read(call, self.schema),
                }
            }
            Expr::AggregateFunction(function) => self.aggregate(function),
            other => Ok(other),
        }
    }

    /// A number without a point is an int4 if it fits, else an int8, else a numeric.
    /// Source: `make_const` in `src/backend/parser/parse_node.c`.
    fn literal(&self, value: ScalarValue) -> ScalarValue {
        match value {
            ScalarValue::Int64(Some(number)) if self.narrows => match i32::try_from(number) {
                Ok(number) => ScalarValue::Int32(Some(number)),
                Err(_) => value,
            },
            ScalarValue::UInt64(Some(number)) => {
                ScalarValue::Decimal128(Some(i128::from(number)), 20, 0)
            }
            other => other,
        }
    }

    fn binary(&self, left: Expr, op: Operator, right: Expr) -> Result<Expr> {
        use Operator::{Minus, Plus, StringConcat};

        if op == StringConcat {
            return self.concatenation(left, right);
        }
        let (left, right) = self.operands(left, op, right)?;
        let (from, to) = (self.type_of(&left)?, self.type_of(&right)?);
        let is_moment = |data_type: &DataType| {
            matches!(data_type, DataType::Date32 | DataType::Timestamp(_, _))
        };
        Ok(match (&from, op, &to) {
            // Dates count in days.
            (DataType::Date32, Minus, DataType::Date32) => binary(int4(left), op, int4(right)),
            (DataType::Date32, Plus | Minus, days) if days.is_integer() => {
                cast(binary(int4(left), op, int4(right)), DataType::Date32)
            }
            (days, Plus, DataType::Date32) if days.is_integer() => {
                cast(binary(int4(left), op, int4(right)), DataType::Date32)
            }
            // A date and an interval give a timestamp.
            (DataType::Date32, Plus | Minus, DataType::Interval(_)) => {
                binary(timestamp(left), op, right)
            }
            (DataType::Interval(_), Plus, DataType::Date32) => binary(left, op, timestamp(right)),
            // The time between two timestamps has days, and no months.
            (from, Minus, to) if is_moment(from) && is_moment(to) => {
                let between = binary(timestamp(left), op, timestamp(right));
                Function::Days.call(vec![between])
            }
            _ => binary(left, op, right),
        })
    }

    /// Both sides of an operator in the types in which PostgreSQL takes them.
    fn operands(&self, left: Expr, op: Operator, right: Expr) -> Result<(Expr, Expr)> {
        if compares(op) {
            for side in [&left, &right] {
                self.check_comparable(side)?;
            }
            let right = literals::read(right, &self.type_of(&left)?, self.schema)?;
            let left = literals::read(left, &self.type_of(&right)?, self.schema)?;
            return self.doubles(left, right);
        }
        self.doubles(left, right)
    }

    /// A `real` and any other type of number meet as doubles, the preferred type of numbers.
    /// Source: `func_select_candidate` in `src/backend/parser/parse_func.c`.
    fn doubles(&self, left: Expr, right: Expr) -> Result<(Expr, Expr)> {
        let (from, to) = (self.type_of(&left)?, self.type_of(&right)?);
        let single = DataType::Float32;
        let mixed = from != to && (from == single || to == single);
        Ok(match mixed && from.is_numeric() && to.is_numeric() {
            true => (
                cast(left, DataType::Float64),
                cast(right, DataType::Float64),
            ),
            false => (left, right),
        })
    }

    /// `jsonb` is compared by its structure, of which its text tells nothing.
    fn check_comparable(&self, expr: &Expr) -> Result<()> {
        if !matches!(expr, Expr::Column(_)) {
            return Ok(());
        }
        let (_, field) = expr.to_field(self.schema)?;
        match field.metadata().get(types::EXTENSION_NAME) {
            Some(name) if name == types::JSON_EXTENSION => not_impl_err!(
                "comparing json: its text is all that the merge has; compare it in the shards' query"
            ),
            _ => Ok(()),
        }
    }

    fn concatenation(&self, left: Expr, right: Expr) -> Result<Expr> {
        let (from, to) = (self.type_of(&left)?, self.type_of(&right)?);
        if is_binary(&from) || is_binary(&to) {
            let right = literals::read(right, &self.type_of(&left)?, self.schema)?;
            let left = literals::read(left, &self.type_of(&right)?, self.schema)?;
            return Ok(binary(left, Operator::StringConcat, right));
        }
        // What is no text is cast to it.
        let left = functions::text(left, &from);
        let right = functions::text(right, &to);
        Ok(binary(left, Operator::StringConcat, right))
    }

    /// Whether comparing the expression takes more than the coercion of types.
    fn is_read_apart(&self, expr: &Expr) -> Result<bool> {
        Ok(matches!(
            self.type_of(expr)?,
            DataType::Float32
                | DataType::Boolean
                | DataType::Binary
                | DataType::FixedSizeBinary(_)
                | DataType::Timestamp(_, None)
        ))
    }

    fn in_list(&self, list: InList) -> Result<Expr> {
        self.check_comparable(&list.expr)?;
        if !self.is_read_apart(&list.expr)? {
            return Ok(Expr::InList(list));
        }
        let is_constant = |item: &Expr| !item.any_column_refs();
        // Several constants have one type with what is looked for, so that a `real` stays one.
        // Source: `transformAExprIn` in `src/backend/parser/parse_expr.c`.
        if list.list.len() > 1 && list.list.iter().all(is_constant) {
            let mut all = vec![*list.expr];
            all.extend(list.list);
            let mut all = self.one_float(all)?;
            let left = all.remove(0);
            let from = self.type_of(&left)?;
            let items = all
                .into_iter()
                .map(|item| literals::read(item, &from, self.schema));
            let items = items.collect::<Result<_>>()?;
            return Ok(Expr::InList(InList::new(
                Box::new(left),
                items,
                list.negated,
            )));
        }
        let mut left = (*list.expr).clone();
        let mut items = Vec::with_capacity(list.list.len());
        for item in list.list {
            let (meant, item) = self.operands((*list.expr).clone(), Operator::Eq, item)?;
            if meant != *list.expr {
                left = meant;
            }
            items.push(item);
        }
        if left != *list.expr {
            let doubles = items.into_iter().map(|item| cast(item, DataType::Float64));
            items = doubles.collect();
        }
        Ok(Expr::InList(InList::new(
            Box::new(left),
            items,
            list.negated,
        )))
    }

    fn between(&self, between: Between) -> Result<Expr> {
        if !self.is_read_apart(&between.expr)? {
            return Ok(Expr::Between(between));
        }
        let low = self.binary((*between.expr).clone(), Operator::GtEq, *between.low)?;
        let high = self.binary(*between.expr, Operator::LtEq, *between.high)?;
        let within = low.and(high);
        Ok(match between.negated {
            true => Expr::Not(Box::new(within)),
            false => within,
        })
    }

    fn case(&self, mut case: Case) -> Result<Expr> {
        let apart = match &case.expr {
            Some(operand) => self.is_read_apart(operand)?,
            None => false,
        };
        if apart && let Some(operand) = case.expr.take() {
            for (value, _) in &mut case.when_then_expr {
                let equal = self.binary((*operand).clone(), Operator::Eq, (**value).clone())?;
                **value = equal;
            }
        }
        let results = case.when_then_expr.iter().map(|(_, result)| &**result);
        let results: Vec<_> = results.chain(case.else_expr.as_deref()).cloned().collect();
        let mut results = self.one_float(results)?.into_iter();
        for ((_, result), meant) in case.when_then_expr.iter_mut().zip(results.by_ref()) {
            **result = meant;
        }
        if let (Some(result), Some(meant)) = (&mut case.else_expr, results.next()) {
            **result = meant;
        }
        Ok(Expr::Case(case))
    }

    /// Numbers of which one is floating-point are all that, in any choice among them.
    /// Source: `select_common_type` in `src/backend/parser/parse_coerce.c`.
    fn one_float(&self, exprs: Vec<Expr>) -> Result<Vec<Expr>> {
        let data_types: Vec<_> = exprs
            .iter()
            .map(|expr| self.type_of(expr))
            .collect::<Result<_>>()?;
        let widest = [DataType::Float64, DataType::Float32]
            .into_iter()
            .find(|float| data_types.contains(float));
        let Some(float) = widest else {
            return Ok(exprs);
        };
        let meant = exprs.into_iter().zip(data_types);
        Ok(meant
            .map(|(expr, from)| match from.is_numeric() && from != float {
                true => cast(expr, float.clone()),
                false => expr,
            })
            .collect())
    }

    fn cast(&self, meant: Cast) -> Result<Expr> {
        let from = self.type_of(&meant.expr)?;
        let to = meant.field.data_type().clone();
        let (expr, field) = sql_types::cast(meant, &from)?;
        if from == to {
            return Ok(Expr::Cast(Cast::new_from_field(Box::new(expr), field)));
        }
        if functions::is_text(&from) {
            return literals::cast(expr, field);
        }
        if functions::is_text(&to) && !matches!(from, DataType::Boolean | DataType::Null) {
            return Ok(functions::text(expr, &from));
        }
        let expr = match to.is_signed_integer() {
            true => rounded(expr, &from),
            false => expr,
        };
        Ok(Expr::Cast(Cast::new_from_field(Box::new(expr), field)))
    }

    fn aggregate(&self, mut function: AggregateFunction) -> Result<Expr> {
        let params = &mut function.params;
        if function.func.name() == "count"
            && matches!(
                params.args.as_slice(),
                [Expr::Literal(ScalarValue::Int32(Some(1)), _)]
            )
        {
            // As the optimizer looks for it.
            params.args = vec![lit(COUNT_STAR_EXPANSION)];
        }
        if params.distinct {
            for arg in &mut params.args {
                // Zero is one value, whatever its sign.
                match self.type_of(arg)? {
                    DataType::Float64 => *arg = binary(arg.clone(), Operator::Plus, lit(0.0_f64)),
                    DataType::Float32 => *arg = binary(arg.clone(), Operator::Plus, lit(0.0_f32)),
                    _ => {}
                }
            }
        }
        Ok(Expr::AggregateFunction(function))
    }

    fn type_of(&self, expr: &Expr) -> Result<DataType> {
        expr.get_type(self.schema)
    }
}

/// A cast to an integer rounds in PostgreSQL, half to even for floating-point numbers and away from
/// zero for decimals; Arrow cuts.
fn rounded(expr: Expr, from: &DataType) -> Expr {
    let whole = |precision: u8, scale: i8| precision.saturating_sub(scale.unsigned_abs()) + 1;
    match *from {
        DataType::Float32 | DataType::Float64 => Function::HalfEven.call(vec![expr]),
        DataType::Decimal128(precision, scale) if scale > 0 => {
            cast(expr, DataType::Decimal128(whole(precision, scale), 0))
        }
        DataType::Decimal256(precision, scale) if scale > 0 => {
            cast(expr, DataType::Decimal256(whole(precision, scale), 0))
        }
        _ => expr,
    }
}

fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(
        op,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

fn int4(expr: Expr) -> Expr {
    cast(expr, DataType::Int32)
}

/// A timestamp without a zone, in which the session's zone, UTC, changes nothing.
fn timestamp(expr: Expr) -> Expr {
    cast(expr, DataType::Timestamp(TimeUnit::Microsecond, None))
}
