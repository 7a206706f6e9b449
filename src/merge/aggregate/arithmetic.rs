//! Arithmetic on integers that fails where DataFusion's would wrap around.

use std::sync::Arc;

use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

/// Replaces `+`, `-` and `*` of integers, and the sign, by functions that detect an overflow.
///
/// An analyzer's rule because it changes what the SQL means, and one behind the coercion of types,
/// because both sides have one type then. (Decimals are checked by Arrow, and floating-point numbers
/// do not wrap.)
#[derive(Debug)]
pub(super) struct CheckedIntegers;

impl AnalyzerRule for CheckedIntegers {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let checked = expr.transform_up(|expr| check(expr, &schema))?;
                Ok(checked.update_data(|expr| name.restore(expr)))
            })
        })
        .map(|plan| plan.data)
    }

    fn name(&self) -> &str {
        "checked_integers"
    }
}

fn check(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (left, op, right) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply) =>
        {
            match (integer(&left, schema)?, integer(&right, schema)?) {
                (Some(one), Some(other)) if one == other => (*left, op, *right),
                _ => {
                    let same = BinaryExpr { left, op, right };
                    return Ok(Transformed::no(Expr::BinaryExpr(same)));
                }
            }
        }
        // The smallest integer has no positive counterpart.
        Expr::Negative(inner) => match integer(&inner, schema)? {
            Some(data_type) => {
                let zero = ScalarValue::new_zero(&data_type)?;
                (lit(zero), Operator::Minus, *inner)
            }
            None => return Ok(Transformed::no(Expr::Negative(inner))),
        },
        other => return Ok(Transformed::no(other)),
    };
    let function = ScalarUDF::new_from_impl(CheckedArithmetic {
        op,
        signature: Signature::any(2, Volatility::Immutable),
    });
    Ok(Transformed::yes(Arc::new(function).call(vec![left, right])))
}

fn integer(expr: &Expr, schema: &DFSchema) -> Result<Option<DataType>> {
    let data_type = expr.get_type(schema)?;
    Ok(data_type.is_integer().then_some(data_type))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedArithmetic {
    op: Operator,
    signature: Signature,
}

impl ScalarUDFImpl for CheckedArithmetic {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_subtract",
            _ => "checked_multiply",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] if left == right => Ok(left.clone()),
            other => internal_err!("arithmetic on {other:?}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return internal_err!("arithmetic on {} operands", args.args.len());
        };
        match self.op {
            Operator::Plus => apply(left, right, add),
            Operator::Minus => apply(left, right, sub),
            _ => apply(left, right, mul),
        }
    }
}
