//! The precision and scale of a numeric expression, from what it is made of.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, UnaryOperator, Value,
};

/// The type of a column, `None` if it is not known: `integer`, `numeric(15,2)`, as
/// `format_type(atttypid, atttypmod)` or `pg_type` spells it. A domain is not its base type here.
pub(crate) type Columns<'a> = dyn Fn(&[Ident]) -> Option<String> + 'a;

/// The precision and scale that hold every value of a numeric or integer expression, if they are
/// known: each value other than NULL and NaN has at most `precision` digits and a display scale of
/// exactly `scale`.
///
/// Exactly, because PostgreSQL's `sum` has the greatest scale among the values it is given, so that
/// a bound would not tell what it prints. NaN is possible wherever a column has type `numeric(p,s)`;
/// infinities are not.
///
/// Looks through `+`, `-`, `*`, parentheses, casts to integers and to `numeric(p,s)`, CASE and
/// COALESCE whose results have one scale, literals and columns.
pub(crate) fn decimal_bounds(expr: &Expr, columns: &Columns<'_>) -> Option<(u32, u32)> {
    let bounds = bounds(expr, columns)?;
    Some(((bounds.digits + bounds.scale).max(1), bounds.scale))
}

/// The digits before the decimal point, at most, and those behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    digits: u32,
    scale: u32,
}

/// Deeper or wider than this is of no use, and sums stay far from overflowing.
const MOST: u32 = 1000;

impl Bounds {
    fn new(digits: u32, scale: u32) -> Option<Self> {
        (digits <= MOST && scale <= MOST).then_some(Self { digits, scale })
    }

    fn integer(digits: u32) -> Self {
        Self { digits, scale: 0 }
    }

    /// `numeric(precision,scale)`: scale may be negative, or greater than the precision.
    fn declared(precision: i64, scale: i64) -> Option<Self> {
        Self::new(
            u32::try_from((precision - scale).max(0)).ok()?,
            u32::try_from(scale.max(0)).ok()?,
        )
    }

    fn sum(self, other: Self) -> Option<Self> {
        Self::new(
            self.digits.max(other.digits) + 1,
            self.scale.max(other.scale),
        )
    }

    fn product(self, other: Self) -> Option<Self> {
        Self::new(self.digits + other.digits, self.scale + other.scale)
    }

    /// One or the other, if the scale is the same.
    fn either(self, other: Self) -> Option<Self> {
        (self.scale == other.scale).then_some(Self {
            digits: self.digits.max(other.digits),
            scale: self.scale,
        })
    }
}

fn bounds(expr: &Expr, columns: &Columns<'_>) -> Option<Bounds> {
    match expr {
        Expr::Nested(inner) => bounds(inner, columns),
        Expr::Identifier(name) => of_type(&columns(std::slice::from_ref(name))?),
        Expr::CompoundIdentifier(names) => of_type(&columns(names)?),
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => literal(text),
            _ => None,
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        } => bounds(expr, columns),
        Expr::BinaryOp { left, op, right } => {
            let (left, right) = (bounds(left, columns)?, bounds(right, columns)?);
            match op {
                BinaryOperator::Plus | BinaryOperator::Minus => left.sum(right),
                BinaryOperator::Multiply => left.product(right),
                _ => None,
            }
        }
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr,
            data_type,
            array: false,
            format: None,
        } => cast(data_type, || bounds(expr, columns)),
        Expr::Case {
            conditions,
            else_result,
            ..
        } => alternatives(
            conditions
                .iter()
                .map(|when| &when.result)
                .chain(else_result.as_deref()),
            columns,
        ),
        Expr::Function(function) => alternatives(coalesced(function)?.into_iter(), columns),
        _ => None,
    }
}

/// A type's name as `format_type` or `pg_type` has it.
fn of_type(name: &str) -> Option<Bounds> {
    match name {
        "smallint" | "int2" => Some(Bounds::integer(5)),
        "integer" | "int4" => Some(Bounds::integer(10)),
        "bigint" | "int8" => Some(Bounds::integer(19)),
        _ => {
            let modifiers = name.strip_prefix("numeric(")?.strip_suffix(')')?;
            let (precision, scale) = modifiers.split_once(',').unwrap_or((modifiers, "0"));
            Bounds::declared(precision.trim().parse().ok()?, scale.trim().parse().ok()?)
        }
    }
}

/// `1`, `1.50`, `.5`. One with an exponent has a scale too, but nobody sums those.
fn literal(text: &str) -> Option<Bounds> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    Bounds::new(
        u32::try_from(whole.trim_start_matches('0').len()).ok()?,
        u32::try_from(fraction.len()).ok()?,
    )
}

fn cast(data_type: &DataType, inner: impl FnOnce() -> Option<Bounds>) -> Option<Bounds> {
    match data_type {
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => match info {
            // The value stays what it is, unless it was of another type than these.
            ExactNumberInfo::None => inner(),
            ExactNumberInfo::Precision(precision) => {
                Bounds::declared(i64::try_from(*precision).ok()?, 0)
            }
            ExactNumberInfo::PrecisionAndScale(precision, scale) => {
                Bounds::declared(i64::try_from(*precision).ok()?, *scale)
            }
        },
        DataType::Int2(None) | DataType::SmallInt(None) => Some(Bounds::integer(5)),
        DataType::Int4(None) | DataType::Int(None) | DataType::Integer(None) => {
            Some(Bounds::integer(10))
        }
        DataType::Int8(None) | DataType::BigInt(None) => Some(Bounds::integer(19)),
        _ => None,
    }
}

/// The arguments of `COALESCE`.
fn coalesced(function: &Function) -> Option<Vec<&Expr>> {
    if !function.name.to_string().eq_ignore_ascii_case("coalesce") {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    list.args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect()
}

/// What holds each of the expressions; NULL is held by anything.
fn alternatives<'a>(
    expressions: impl Iterator<Item = &'a Expr>,
    columns: &Columns<'_>,
) -> Option<Bounds> {
    let mut all: Option<Bounds> = None;
    for expr in expressions.filter(|expr| !is_null(expr)) {
        let next = bounds(expr, columns)?;
        all = Some(match all {
            Some(before) => before.either(next)?,
            None => next,
        });
    }
    all
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == Value::Null)
}

#[cfg(test)]
mod tests {
    use super::super::template;
    use super::*;

    fn of(sql: &str) -> Option<(u32, u32)> {
        let columns = |names: &[Ident]| {
            let name = names.last()?.value.as_str();
            Some(
                match name {
                    "i2" => "smallint",
                    "i4" => "integer",
                    "i8" => "bigint",
                    "price" => "numeric(15,2)",
                    "rate" => "numeric(3,3)",
                    "tiny" => "numeric(2,5)",
                    "round" => "numeric(2,-3)",
                    "free" => "numeric",
                    "f" => "double precision",
                    _ => return None,
                }
                .to_owned(),
            )
        };
        decimal_bounds(&template::parse(sql).unwrap(), &columns)
    }

    #[test]
    fn columns_and_literals() {
        assert_eq!(of("i2"), Some((5, 0)));
        assert_eq!(of("l.i8"), Some((19, 0)));
        assert_eq!(of("price"), Some((15, 2)));
        assert_eq!(of("tiny"), Some((5, 5)));
        assert_eq!(of("round"), Some((5, 0)));
        assert_eq!(of("free"), None);
        assert_eq!(of("f"), None);
        assert_eq!(of("unknown"), None);
        assert_eq!(of("007.50"), Some((3, 2)));
        assert_eq!(of(".5"), Some((1, 1)));
        assert_eq!(of("0"), Some((1, 0)));
        assert_eq!(of("1e5"), None);
        assert_eq!(of("'1'"), None);
    }

    #[test]
    fn arithmetic() {
        assert_eq!(of("price * (1 - rate)"), Some((13 + 2 + 5, 5)));
        assert_eq!(of("-price + i4"), Some((14 + 2, 2)));
        assert_eq!(of("price / 2"), None);
        assert_eq!(of("price * f"), None);
        assert_eq!(of("price * free"), None);
    }

    #[test]
    fn casts() {
        assert_eq!(of("f::numeric(10,3)"), Some((10, 3)));
        assert_eq!(of("CAST(free AS decimal(7))"), Some((7, 0)));
        assert_eq!(of("i4::numeric"), Some((10, 0)));
        assert_eq!(of("f::numeric"), None);
        assert_eq!(of("price::bigint"), Some((19, 0)));
        assert_eq!(of("price::float8"), None);
    }

    #[test]
    fn alternatives_of_one_scale() {
        assert_eq!(of("CASE WHEN a THEN price ELSE 0.00 END"), Some((15, 2)));
        assert_eq!(of("CASE WHEN a THEN price ELSE NULL END"), Some((15, 2)));
        assert_eq!(
            of("CASE a WHEN 1 THEN i2 WHEN 2 THEN i8 END"),
            Some((19, 0))
        );
        // Where all rows take the second, PostgreSQL's sum is 0, and 0.00 otherwise.
        assert_eq!(of("CASE WHEN a THEN price ELSE 0 END"), None);
        assert_eq!(of("coalesce(price, 0.00)"), Some((15, 2)));
        assert_eq!(of("coalesce(price, 0)"), None);
        assert_eq!(of("coalesce(NULL)"), None);
    }
}
