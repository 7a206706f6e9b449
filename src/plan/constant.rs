//! Constants that shard keys are compared with.

use std::ops::RangeInclusive;

use datafusion::sql::sqlparser::ast::{CastKind, DataType, Expr, UnaryOperator, Value};

use super::rewrite::bare;

/// What a shard key is compared with.
#[derive(Debug, PartialEq)]
pub(super) enum Constant {
    /// A literal that may be cast to the key's type without becoming another value.
    Value(String),
    /// NULL, or a number beyond the key's type: no key is equal to it.
    NoKey,
}

/// A constant that can be told from its text; `None` for any other expression, and for what only
/// PostgreSQL reads or rejects.
pub(super) fn typed(constant: &Expr, key_type: &str) -> Option<Constant> {
    // 'today' is another date tomorrow, and answers are kept.
    if key_type.starts_with("date") || key_type.starts_with("timestamp") {
        return None;
    }
    if let Expr::Value(value) = bare(constant)
        && matches!(value.value, Value::Null)
    {
        return Some(Constant::NoKey);
    }
    if let Some(range) = range_of(key_type) {
        // An untyped literal is of the key's type, and an error if it is beyond.
        let number = match quoted(constant) {
            Some(text) => whole(&text).filter(|number| range.contains(number))?,
            None => integer(constant)?,
        };
        return Some(match range.contains(&number) {
            true => Constant::Value(format!("({number})")),
            false => Constant::NoKey,
        });
    }
    let literal = match bare(constant) {
        // A parameter that has become a literal, or what the user has cast.
        Expr::Cast {
            kind: CastKind::DoubleColon | CastKind::Cast,
            expr,
            data_type,
            ..
        } => {
            let name = type_name(data_type);
            let is_text = |name: &str| name == "text" || name.starts_with("character varying");
            let texts = ["text", "varchar", "character varying"];
            let same = name == key_type || is_text(key_type) && texts.contains(&&*name);
            same.then_some(&**expr)?
        }
        other => other,
    };
    quoted(literal)?;
    Some(Constant::Value(bare(literal).to_string()))
}

/// The values of a type of whole numbers.
fn range_of(type_name: &str) -> Option<RangeInclusive<i128>> {
    Some(match type_name {
        "smallint" | "int2" => i16::MIN.into()..=i16::MAX.into(),
        "integer" | "int" | "int4" => i32::MIN.into()..=i32::MAX.into(),
        "bigint" | "int8" => i64::MIN.into()..=i64::MAX.into(),
        _ => return None,
    })
}

/// A constant of a type of whole numbers, if its evaluation is no error.
fn integer(constant: &Expr) -> Option<i128> {
    match bare(constant) {
        Expr::Value(value) => match &value.value {
            // More digits than any type of whole numbers has are beyond all of them.
            Value::Number(digits, _) => digits
                .bytes()
                .all(|digit| digit.is_ascii_digit())
                .then(|| digits.parse().unwrap_or(i128::MAX)),
            _ => None,
        },
        Expr::UnaryOp {
            op: UnaryOperator::Plus,
            expr,
        } => integer(expr),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => {
            // The least value of a type has no counterpart in it.
            let least = [i16::MIN.into(), i32::MIN.into(), i64::MIN.into()];
            let number = integer(expr).filter(|number| !least.contains(number))?;
            Some(-number)
        }
        Expr::Cast {
            kind: CastKind::DoubleColon | CastKind::Cast,
            expr,
            data_type,
            ..
        } => {
            let range = range_of(&type_name(data_type))?;
            let number = match quoted(expr) {
                Some(text) => whole(&text),
                None => integer(expr),
            };
            number.filter(|number| range.contains(number))
        }
        _ => None,
    }
}

/// The text of a literal in quotes.
fn quoted(literal: &Expr) -> Option<String> {
    match bare(literal) {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Some(text.clone())
            }
            _ => None,
        },
        _ => None,
    }
}

/// A number as every version of PostgreSQL reads it: later ones know '0x10' and '1_000' too.
fn whole(text: &str) -> Option<i128> {
    text.trim_matches([' ', '\t', '\n']).parse().ok()
}

/// How the catalog calls a type.
fn type_name(data_type: &DataType) -> String {
    let name = data_type.to_string().to_ascii_lowercase().replace('"', "");
    name.trim_start_matches("pg_catalog.").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sql::parse;
    use crate::plan::thread::with_deep_stack;
    use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr};

    #[test]
    fn constants_are_keys_only_if_their_value_is_sure() {
        let is = |value: &str| Some(Constant::Value(value.to_owned()));
        for (constant, key_type, expected) in [
            ("5", "bigint", is("(5)")),
            ("-5", "bigint", is("(-5)")),
            ("-(-5)", "bigint", is("(5)")),
            ("+(5)", "integer", is("(5)")),
            ("' 5 '", "integer", is("(5)")),
            ("'5'::int8", "integer", is("(5)")),
            ("(-5)::int2", "bigint", is("(-5)")),
            ("5000000000", "integer", Some(Constant::NoKey)),
            ("5000000000::int8", "integer", Some(Constant::NoKey)),
            ("-99999999999999999999", "bigint", Some(Constant::NoKey)),
            (
                "999999999999999999999999999999999999999999",
                "bigint",
                Some(Constant::NoKey),
            ),
            ("NULL", "bigint", Some(Constant::NoKey)),
            // Errors, of which PostgreSQL tells.
            ("5000000000::int4", "bigint", None),
            ("-32768::int2", "bigint", None),
            ("'5000000000'", "integer", None),
            ("'x'", "integer", None),
            // Later versions read them.
            ("'0x10'", "integer", None),
            ("'1_000'", "integer", None),
            ("5.0", "integer", None),
            ("5 + 1", "integer", None),
            ("f(5)", "integer", None),
            ("'x'", "text", is("'x'")),
            ("'x'::text", "character varying(5)", is("'x'")),
            ("'x'::varchar(1)", "text", None),
            ("5", "text", None),
            ("'today'", "date", None),
        ] {
            let query = with_deep_stack(|| parse(&format!("SELECT {constant}"))).unwrap();
            let SetExpr::Select(select) = *query.body else {
                panic!("{constant}");
            };
            let SelectItem::UnnamedExpr(expr) = &select.projection[0] else {
                panic!("{constant}");
            };
            assert_eq!(typed(expr, key_type), expected, "{constant}");
        }
    }
}
