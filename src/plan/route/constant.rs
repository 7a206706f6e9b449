//! Constants that shard keys are compared with.

use std::ops::RangeInclusive;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CastKind, DataType, Expr, ObjectName, ObjectNamePart, UnaryOperator, Value,
};

use super::time::{KeyKind, KeySql, Moment, is_zoned};
use crate::catalog::Catalog;
use crate::plan::naming::{ident, parts};
use crate::plan::rewrite::bare;

/// What a shard key is compared with.
#[derive(Debug, PartialEq)]
pub(super) enum Constant {
    /// What may be cast to the key's type without becoming another value.
    Value(KeySql),
    /// NULL, or a number beyond the key's type: no key is equal to it.
    NoKey,
}

/// A constant that can be told from its text; `None` for any other expression, and for what only
/// PostgreSQL reads or rejects.
pub(super) fn typed(constant: &Expr, key_type: &str, catalog: &Catalog) -> Option<Constant> {
    if is_null(constant) {
        return Some(Constant::NoKey);
    }
    if is_zoned(key_type) {
        return None;
    }
    // 'today' is another date tomorrow, and answers are kept.
    if let Some(key) = KeyKind::of(key_type) {
        let moment = Moment::of(constant, key.kind(), catalog)?;
        return moment.key().map(Constant::Value);
    }
    if let Some((number, range)) = whole(constant, key_type) {
        return Some(match range.contains(&number) {
            true => Constant::Value(KeySql::fixed(format!("({number})"))),
            false => Constant::NoKey,
        });
    }
    if range_of(key_type).is_some() {
        return None;
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
    Some(Constant::Value(KeySql::fixed(bare(literal).to_string())))
}

/// The elements of an array of one dimension that is a constant, each a constant itself: of `ARRAY[1, 2]`,
/// `'{1,2}'` or `'{1,2}'::int8[]`. `None` for any other expression, and for what only PostgreSQL reads
/// or rejects.
pub(super) fn elements(array: &Expr) -> Option<Vec<Expr>> {
    match bare(array) {
        Expr::Array(array) => {
            let is_flat = |element: &Expr| !matches!(bare(element), Expr::Array(_));
            array.elem.iter().all(is_flat).then(|| array.elem.clone())
        }
        Expr::Value(_) => literal_elements(&quoted(array)?),
        // An array of another type may hold other values than its text says.
        Expr::Cast {
            kind: CastKind::DoubleColon | CastKind::Cast,
            expr,
            data_type,
            ..
        } => {
            let element_type = element_type(data_type)?;
            let cast = |element: Expr| match &element {
                Expr::Value(value) if matches!(value.value, Value::Null) => element,
                _ => Expr::Cast {
                    kind: CastKind::DoubleColon,
                    expr: Box::new(element),
                    data_type: element_type.clone(),
                    array: false,
                    format: None,
                },
            };
            let elements = match bare(expr) {
                Expr::Array(_) => elements(expr)?,
                literal => literal_elements(&quoted(literal)?)?,
            };
            Some(elements.into_iter().map(cast).collect())
        }
        _ => None,
    }
}

/// The type of the elements of an array type: of `int8[]`, and of what `pg_type` calls `_int8`.
fn element_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::Parenthesis(element),
        ) => Some((**element).clone()),
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            let name = parts(name).pop()?;
            let element = ident(name.strip_prefix('_')?);
            let element = ObjectName(vec![ObjectNamePart::Identifier(element)]);
            Some(DataType::Custom(element, Vec::new()))
        }
        _ => None,
    }
}

/// The elements of an array's text (`array_in` in `src/backend/utils/adt/arrayfuncs.c`), as literals:
/// of one dimension, without its bounds.
fn literal_elements(text: &str) -> Option<Vec<Expr>> {
    let inside = text.trim_matches(SPACES).strip_prefix('{')?;
    let mut chars = inside.strip_suffix('}')?.chars().peekable();
    let mut elements = Vec::new();
    if chars.clone().all(|c| SPACES.contains(&c)) {
        return Some(elements);
    }
    loop {
        let mut element = String::new();
        let mut is_quoted = false;
        // How much of it is not space at its end.
        let mut kept = 0;
        while chars.next_if(|c| SPACES.contains(c)).is_some() {}
        if chars.next_if_eq(&'"').is_some() {
            is_quoted = true;
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => element.push(chars.next()?),
                    c => element.push(c),
                }
            }
            kept = element.len();
            while chars.next_if(|c| SPACES.contains(c)).is_some() {}
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                match c {
                    '{' | '}' | '"' => return None,
                    '\\' => {
                        element.push(chars.next()?);
                        kept = element.len();
                        continue;
                    }
                    c => element.push(c),
                }
                if !SPACES.contains(&c) {
                    kept = element.len();
                }
            }
        }
        element.truncate(kept);
        elements.push(match (is_quoted, element.as_str()) {
            (false, "") => return None,
            (false, word) if word.eq_ignore_ascii_case("null") => Expr::value(Value::Null),
            // The printed form of the other string literal takes some quotes for escaped ones.
            _ if element.contains(['\'', '\\']) => {
                Expr::value(Value::EscapedStringLiteral(element))
            }
            _ => Expr::value(Value::SingleQuotedString(element)),
        });
        match chars.next() {
            None => return Some(elements),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

/// What PostgreSQL takes for spaces between elements.
const SPACES: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

pub(super) fn is_null(constant: &Expr) -> bool {
    matches!(bare(constant), Expr::Value(value) if matches!(value.value, Value::Null))
}

/// A whole number that a key of a type of whole numbers is compared with, and the values of that type.
pub(super) fn whole(constant: &Expr, key_type: &str) -> Option<(i128, RangeInclusive<i128>)> {
    let range = range_of(key_type)?;
    let number = match quoted(constant) {
        // An untyped literal is of the key's type, and an error if it is beyond.
        Some(text) => read_whole(&text).filter(|number| range.contains(number))?,
        None => number_of(constant)?,
    };
    Some((number, range))
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
pub(super) fn number_of(constant: &Expr) -> Option<i128> {
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
        } => number_of(expr),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => {
            // The least value of a type has no counterpart in it.
            let least = [i16::MIN.into(), i32::MIN.into(), i64::MIN.into()];
            let number = number_of(expr).filter(|number| !least.contains(number))?;
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
                Some(text) => read_whole(&text),
                None => number_of(expr),
            };
            number.filter(|number| range.contains(number))
        }
        _ => None,
    }
}

/// The text of a literal in quotes.
pub(super) fn quoted(literal: &Expr) -> Option<String> {
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
fn read_whole(text: &str) -> Option<i128> {
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
    use crate::plan::bind::fixture::catalog;
    use crate::plan::sql::parse;
    use crate::plan::thread::with_deep_stack;
    use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr};

    #[test]
    fn constants_are_keys_only_if_their_value_is_sure() {
        let is = |value: &str| Some(Constant::Value(KeySql::fixed(value.to_owned())));
        let is_local = |sql: &str| {
            let (sql, is_local) = (sql.to_owned(), true);
            Some(Constant::Value(KeySql { sql, is_local }))
        };
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
            ("'2024-3-1'", "date", None),
            ("'01/03/2024'", "date", None),
            (
                "'2024-03-01 Europe/Berlin'",
                "timestamp with time zone",
                None,
            ),
            (
                "'2024-03-01'",
                "date",
                is("('2024-03-01')::pg_catalog.date"),
            ),
            ("date '2024-03-01'", "date", is("(DATE '2024-03-01')")),
            (
                "'2024-03-01 00:30+00'::timestamptz::date - 1",
                "date",
                is_local("('2024-03-01 00:30+00'::TIMESTAMPTZ::DATE - 1)"),
            ),
            // What day it is there depends on the time zone.
            ("timestamptz '2024-03-01'", "date", None),
            (
                "'2024-03-01 10:00'::timestamp",
                "timestamp with time zone",
                // Its rule may depend on the time zone.
                None,
            ),
        ] {
            let query = with_deep_stack(|| parse(&format!("SELECT {constant}"))).unwrap();
            let SetExpr::Select(select) = *query.body else {
                panic!("{constant}");
            };
            let SelectItem::UnnamedExpr(expr) = &select.projection[0] else {
                panic!("{constant}");
            };
            assert_eq!(typed(expr, key_type, &catalog()), expected, "{constant}");
        }
    }

    #[test]
    fn elements_are_read_as_postgresql_reads_them() {
        let read = |text: &str| {
            let elements = literal_elements(text)?;
            let printed = elements.iter().map(ToString::to_string);
            Some(printed.collect::<Vec<_>>().join(" "))
        };
        for (text, expected) in [
            ("{}", Some("")),
            (" { } ", Some("")),
            ("{1,2}", Some("'1' '2'")),
            ("{ 1 , 2\t}", Some("'1' '2'")),
            ("{NULL,null,\"NULL\"}", Some("NULL NULL 'NULL'")),
            ("{a b,\"c, d\"}", Some("'a b' 'c, d'")),
            ("{\"\",x}", Some("'' 'x'")),
            ("{a\\,b,\"q\\\"q\",\\ }", Some("'a,b' 'q\"q' ' '")),
            ("{it's}", Some("E'it\\'s'")),
            // Errors, other dimensions, and what is left to PostgreSQL.
            ("1,2", None),
            ("{1,}", None),
            ("{,1}", None),
            ("{1,2", None),
            ("{{1},{2}}", None),
            ("[0:1]={1,2}", None),
            ("{a\"b\"}", None),
            ("{\"a\"b}", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }
}
