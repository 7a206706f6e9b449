//! The types that a merge's SQL names.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Result, not_impl_err};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo};

/// PostgreSQL's types where DataFusion takes their names for others.
#[derive(Debug)]
pub(super) struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let micros = |zone: &TimezoneInfo| {
            let utc = matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
            DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| "UTC".into()))
        };
        let data_type = match sql_type {
            SqlType::Float(ExactNumberInfo::None) => DataType::Float64,
            SqlType::Float(ExactNumberInfo::Precision(25..)) => DataType::Float64,
            SqlType::Timestamp(None, zone) => micros(zone),
            SqlType::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                DataType::Time64(TimeUnit::Microsecond)
            }
            SqlType::Numeric(ExactNumberInfo::None) | SqlType::Decimal(ExactNumberInfo::None) => {
                return Ok(Some(Arc::new(any_scale())));
            }
            SqlType::Char(_) | SqlType::Varchar(Some(_)) => {
                return not_impl_err!(
                    "a cast to {sql_type}, which would have to cut or fill: cast to text, or take \
                     left(x, n)"
                );
            }
            SqlType::Timestamp(Some(_), _) => {
                return not_impl_err!(
                    "a cast to {sql_type}, which would have to round: cast to timestamp, or round \
                     it in the shards' query"
                );
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

/// The operand of a cast, and what it is cast to.
///
/// `numeric` alone has any scale in PostgreSQL and ten digits behind the point here: what has more
/// is not to be cut.
pub(super) fn cast(cast: Cast, from: &DataType) -> Result<(Expr, FieldRef)> {
    if !cast.field.metadata().contains_key(ANY_SCALE) {
        return Ok((*cast.expr, cast.field));
    }
    let behind = match from {
        DataType::Null => 0,
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        integer if integer.is_integer() => 0,
        _ => match &*cast.expr {
            Expr::Literal(value, _) => digits(value.try_as_str().flatten()),
            _ => i8::MAX,
        },
    };
    if behind > SCALE {
        return not_impl_err!(
            "a cast to numeric without precision and scale, which may need more than {SCALE} digits \
             behind the point: name them, as in numeric(38,20)"
        );
    }
    let field = Field::new("", cast.field.data_type().clone(), true);
    Ok((*cast.expr, Arc::new(field)))
}

fn any_scale() -> Field {
    let metadata = HashMap::from([(ANY_SCALE.to_owned(), String::new())]);
    Field::new("", DataType::Decimal128(38, SCALE), true).with_metadata(metadata)
}

/// The digits behind the point of a literal.
fn digits(literal: Option<&str>) -> i8 {
    let behind = literal.map(|text| text.split_once('.').map_or("", |(_, behind)| behind));
    behind.map_or(i8::MAX, |behind| {
        i8::try_from(behind.len()).unwrap_or(i8::MAX)
    })
}

/// The scale of `numeric` alone.
const SCALE: i8 = 10;
/// Marks it.
const ANY_SCALE: &str = "merganser.any_scale";
