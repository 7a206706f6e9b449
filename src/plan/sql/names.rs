//! The names that PostgreSQL gives to the columns of an answer.
//!
//! This is `FigureColname` of `src/backend/parser/parse_target.c`, over another tree.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, ExactNumberInfo, Expr, Function, Ident, ObjectName,
    ObjectNamePart, Query, SelectItem, SetExpr, TimezoneInfo, TrimWhereField, Value,
};

/// The longest name, in bytes (`NAMEDATALEN` less one).
const LONGEST_NAME: usize = 63;

/// The name of a column that has no alias, as PostgreSQL 15 and later give it.
///
/// Before that, `true` was named `bool`, and before 14 `extract(...)` was named `date_part`.
///
/// `None` if only the catalog knows: for a scalar subquery that selects `*`, or is `TABLE t`.
pub(crate) fn output_name(expr: &Expr) -> Option<String> {
    match figure(expr) {
        Figure::Nothing => Some(NAMELESS.to_owned()),
        Figure::Weak(name) | Figure::Strong(name) => Some(name),
        Figure::Unknown => None,
    }
}

/// What an identifier is called: folded unless it was quoted, and cut to PostgreSQL's length.
pub(crate) fn identifier_name(identifier: &Ident) -> String {
    let mut name = match identifier.quote_style {
        Some(_) => identifier.value.clone(),
        // Only ASCII letters, as the encoding is UTF-8.
        None => identifier.value.to_ascii_lowercase(),
    };
    let mut len = name.len().min(LONGEST_NAME);
    while !name.is_char_boundary(len) {
        len -= 1;
    }
    name.truncate(len);
    name
}

const NAMELESS: &str = "?column?";

/// A candidate for the name.
enum Figure {
    Nothing,
    /// Of a type or a CASE: gives way to a better one inside.
    Weak(String),
    Strong(String),
    /// Depends on the catalog.
    Unknown,
}

fn strong(name: &str) -> Figure {
    Figure::Strong(name.to_owned())
}

fn figure(expr: &Expr) -> Figure {
    match expr {
        Expr::Identifier(name) => Figure::Strong(identifier_name(name)),
        Expr::CompoundIdentifier(names) => names.last().map_or(Figure::Nothing, |name| {
            Figure::Strong(identifier_name(name))
        }),
        Expr::CompoundFieldAccess { root, access_chain } => access_chain
            .iter()
            .rev()
            .find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(field)) => {
                    Some(Figure::Strong(identifier_name(field)))
                }
                AccessExpr::Dot(_) | AccessExpr::Subscript(_) => None,
            })
            .unwrap_or_else(|| figure(root)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Cast {
            expr, data_type, ..
        } => cast(figure(expr), data_type),
        Expr::TypedString(typed) => cast(Figure::Nothing, &typed.data_type),
        Expr::Interval(_) => Figure::Weak("interval".to_owned()),
        Expr::Value(value) => match value.value {
            Value::NationalStringLiteral(_) => Figure::Weak("bpchar".to_owned()),
            _ => Figure::Nothing,
        },
        Expr::Case { else_result, .. } => match else_result.as_deref().map(figure) {
            Some(found @ (Figure::Strong(_) | Figure::Unknown)) => found,
            _ => Figure::Weak("case".to_owned()),
        },
        Expr::Function(function) => figure_function(function),
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Subquery(query) => match query_name(query) {
            Some(name) => Figure::Strong(name),
            None => Figure::Unknown,
        },
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Substring { shorthand, .. } => {
            strong(if *shorthand { "substr" } else { "substring" })
        }
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            None | Some(TrimWhereField::Both) => "btrim",
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
        }),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::IsNormalized { negated: false, .. } => strong("is_normalized"),
        Expr::BinaryOp {
            op: BinaryOperator::Overlaps,
            ..
        } => strong("overlaps"),
        _ => Figure::Nothing,
    }
}

/// A cast gives the name of its type if there is nothing better in it.
fn cast(inner: Figure, data_type: &DataType) -> Figure {
    match inner {
        Figure::Nothing | Figure::Weak(_) => Figure::Weak(type_name(data_type)),
        better => better,
    }
}

fn figure_function(function: &Function) -> Figure {
    match last_part(&function.name) {
        Some(name) => Figure::Strong(identifier_name(name)),
        None => Figure::Nothing,
    }
}

fn last_part(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(ObjectNamePart::as_ident)
}

/// The name of a query's first column.
fn query_name(query: &Query) -> Option<String> {
    let mut body = query.body.as_ref();
    loop {
        body = match body {
            SetExpr::Query(query) => query.body.as_ref(),
            SetExpr::SetOperation { left, .. } => left.as_ref(),
            SetExpr::Values(_) => return Some("column1".to_owned()),
            SetExpr::Select(select) => {
                return match select.projection.first()? {
                    SelectItem::UnnamedExpr(expr) => output_name(expr),
                    SelectItem::ExprWithAlias { alias, .. } => Some(identifier_name(alias)),
                    _ => None,
                };
            }
            _ => return None,
        }
    }
}

/// What PostgreSQL's grammar calls a type: the last part of its name in the catalog, where the
/// standard's spelling is not that name.
fn type_name(data_type: &DataType) -> String {
    use datafusion::sql::sqlparser::ast::ArrayElemTypeDef as Element;
    let name = match data_type {
        DataType::Array(Element::SquareBracket(element, _)) => return type_name(element),
        DataType::Custom(name, _) => {
            let Some(last) = last_part(name) else {
                return NAMELESS.to_owned();
            };
            let folded = identifier_name(last);
            return match folded.as_str() {
                // A keyword that the parser does not know as such.
                "nchar" if last.quote_style.is_none() && name.0.len() == 1 => "bpchar".to_owned(),
                _ => folded,
            };
        }
        DataType::Character(_) | DataType::Char(_) => "bpchar",
        DataType::CharacterVarying(_)
        | DataType::CharVarying(_)
        | DataType::Varchar(_)
        | DataType::Nvarchar(_) => "varchar",
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric",
        // Single precision up to 24 bits.
        DataType::Float(ExactNumberInfo::Precision(..=24)) => "float4",
        DataType::Float(_) | DataType::DoublePrecision => "float8",
        DataType::Real => "float4",
        DataType::SmallInt(_) => "int2",
        DataType::Int(_) | DataType::Integer(_) => "int4",
        DataType::BigInt(_) => "int8",
        DataType::Bool | DataType::Boolean => "bool",
        DataType::Bit(_) => "bit",
        DataType::BitVarying(_) | DataType::VarBit(_) => "varbit",
        DataType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "time",
        DataType::Time(..) => "timetz",
        DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "timestamp",
        DataType::Timestamp(..) => "timestamptz",
        DataType::Interval { .. } => "interval",
        // All others are printed as PostgreSQL names them, perhaps with a length.
        other => {
            let printed = other.to_string().to_ascii_lowercase();
            let end = printed.find(['(', ' ', '[']).unwrap_or(printed.len());
            return printed[..end].to_owned();
        }
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::plan::thread::with_deep_stack;

    fn names(sql: &str) -> Vec<Option<String>> {
        with_deep_stack(|| {
            let query = parse(sql)?;
            let SetExpr::Select(select) = query.body.as_ref() else {
                panic!("{sql}");
            };
            Ok(select
                .projection
                .iter()
                .map(|item| match item {
                    SelectItem::UnnamedExpr(expr) => output_name(expr),
                    other => Some(format!("with an alias: {other}")),
                })
                .collect())
        })
        .expect(sql)
    }

    #[test]
    fn what_only_the_catalog_knows_is_not_guessed() {
        assert_eq!(
            names("select (select * from t), (select t.* from t)::int, (select 1)"),
            [None, None, Some("?column?".to_owned())]
        );
    }

    /// One expression a line, over the table of the test below.
    #[cfg(feature = "local")]
    const EXPRESSIONS: &str = include_str!("../../../testdata/sql/names.sql");

    #[cfg(feature = "local")]
    #[test]
    fn names_are_those_of_a_server() {
        let Some(client) = super::super::tests::Client::new() else {
            return;
        };
        let mut wrong = Vec::new();
        for line in EXPRESSIONS.lines() {
            if line.is_empty() || line.starts_with("--") {
                continue;
            }
            let sql = format!(
                "select {line} from (values (1, 'x'::text, array[1], now(), \
                 (null::pg_stat_activity))) as t(a, \"B c\", ar, ts, s)"
            );
            let expected = client.names(&sql).unwrap_or_else(|error| vec![error]);
            let found: Vec<_> = match with_deep_stack(|| parse(&sql).map(drop)) {
                Ok(()) => names(&sql).into_iter().flatten().collect(),
                Err(error) => vec![error.to_string()],
            };
            if found != expected {
                wrong.push(format!("{line}: expected {expected:?}, found {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
