//! One instant for a whole query: what reads the clock becomes a literal.
//!
//! Shards begin their transactions at different moments, so `now()` differs between them. One of
//! them is asked for its `now()`, and all others work with that:
//!
//! ```text
//! current_date - 7   becomes   '2026-01-31 10:20:30.123456+00'::TIMESTAMPTZ::DATE - 7
//! ```
//!
//! The types, their modifiers and the names of columns stay as they were. `clock_timestamp()` and
//! `timeofday()` are not meant to be one instant, and are left alone. A literal without a type, as in
//! `column > 'today'`, gets its type from [`untyped`](super::untyped) before.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, SelectItem, TableFactor,
    TimezoneInfo, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use super::sql::{identifier_name, is_rows_from, output_name};
use super::{functions, rewrite};
use crate::error::{Error, ErrorKind, Result};

/// Replaces whatever reads the clock by what it gives at `instant`, and says whether there was any.
///
/// `instant` is a `timestamptz` as PostgreSQL prints it, with its offset from UTC. `age(x)` is taken
/// for that of a date or timestamp; for a transaction number, PostgreSQL refuses what it becomes.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for what reads the clock in a way that has no such replacement.
pub(crate) fn pin_instant(query: &mut ast::Query, instant: &str) -> Result<bool> {
    let mut pin = Pin {
        instant,
        names: Vec::new(),
        changed: false,
    };
    match VisitMut::visit(query, &mut pin) {
        ControlFlow::Continue(()) => Ok(pin.changed),
        ControlFlow::Break(error) => Err(*error),
    }
}

/// Whether the query reads the clock anywhere: whether [`pin_instant`] would change or refuse it.
pub(crate) fn reads_clock(query: &ast::Query) -> bool {
    struct Search;
    impl Visitor for Search {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match reading(expr) {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        }

        fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
            match is_clock_in_from(table) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(query, &mut Search).is_break()
}

struct Pin<'a> {
    instant: &'a str,
    /// The names of the unnamed columns of the SELECTs around the current place.
    names: Vec<Vec<Option<String>>>,
    changed: bool,
}

impl VisitorMut for Pin<'_> {
    type Break = Box<Error>;

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<Box<Error>> {
        self.names.push(names(select));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<Box<Error>> {
        keep_names(select, self.names.pop().unwrap_or_default());
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Box<Error>> {
        match is_clock_in_from(table) {
            true => unpinnable(
                table.to_string(),
                "write it as a subquery: (SELECT now()) AS x",
            ),
            false => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        match reading(expr) {
            None => return ControlFlow::Continue(()),
            Some(Reading::Of(stamp)) => *expr = stamp.at(self.instant),
            Some(Reading::Age) => {
                if let Expr::Function(Function {
                    args: FunctionArguments::List(list),
                    ..
                }) = expr
                {
                    let today = Stamp::new(Type::Date).at(self.instant);
                    let today = FunctionArg::Unnamed(FunctionArgExpr::Expr(today));
                    list.args.insert(0, today);
                }
            }
            Some(Reading::Unclear) => {
                return unpinnable(
                    expr.to_string(),
                    "write it with current_date, current_timestamp and the like",
                );
            }
        }
        self.changed = true;
        ControlFlow::Continue(())
    }
}

fn unpinnable(sql: String, hint: &str) -> ControlFlow<Box<Error>> {
    let error = Error::new(
        ErrorKind::Unsupported,
        format!("cannot give every shard the same time for {sql}"),
    );
    ControlFlow::Break(Box::new(error.with_hint(hint)))
}

/// The names of the columns of a SELECT that have no alias, where they are known.
pub(super) fn names(select: &ast::Select) -> Vec<Option<String>> {
    select.projection.iter().map(unnamed).collect()
}

/// Writes the names that columns had as aliases, where they would have another now.
pub(super) fn keep_names(select: &mut ast::Select, names: Vec<Option<String>>) {
    for (item, before) in select.projection.iter_mut().zip(names) {
        let (Some(name), Some(now)) = (before, unnamed(item)) else {
            continue;
        };
        if name != now
            && let SelectItem::UnnamedExpr(expr) = item
        {
            *item = SelectItem::ExprWithAlias {
                expr: take(expr),
                alias: Ident::with_quote('"', name),
            };
        }
    }
}

/// The name of a column without an alias, where it is known.
fn unnamed(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => output_name(expr),
        _ => None,
    }
}

/// How an expression reads the clock.
enum Reading {
    Of(Stamp),
    /// `age(x)`, which is `age(current_date, x)`.
    Age,
    /// `timestamp 'today 12:00'` and the like.
    Unclear,
}

fn reading(expr: &Expr) -> Option<Reading> {
    match expr {
        Expr::Function(function) => reading_function(function),
        Expr::TypedString(typed) => {
            let text = typed.value.value.clone().into_string()?;
            reading_literal(&text, &typed.data_type)
        }
        Expr::Cast {
            expr, data_type, ..
        } => reading_literal(literal(expr)?, data_type),
        _ => None,
    }
}

fn reading_function(function: &Function) -> Option<Reading> {
    let name = system_name(&function.name)?;
    let args = match &function.args {
        FunctionArguments::None => None,
        FunctionArguments::List(list) => Some(list.args.as_slice()),
        FunctionArguments::Subquery(_) => return None,
    };
    // The keywords of the standard are no functions of a schema, and not quoted.
    let is_keyword = matches!(
        function.name.0.as_slice(),
        [ObjectNamePart::Identifier(Ident {
            quote_style: None,
            ..
        })]
    );
    let keyword = match name.as_str() {
        "current_date" => Some(Type::Date),
        "current_time" => Some(Type::TimeTz),
        "current_timestamp" => Some(Type::TimestampTz),
        "localtime" => Some(Type::Time),
        "localtimestamp" => Some(Type::Timestamp),
        _ => None,
    };
    if let Some(data_type) = keyword.filter(|_| is_keyword) {
        let mut stamp = Stamp::new(data_type);
        if let Some(args) = args {
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(precision)))] = args else {
                return Some(Reading::Unclear);
            };
            let Value::Number(precision, _) = &precision.value else {
                return Some(Reading::Unclear);
            };
            let Ok(precision) = precision.parse() else {
                return Some(Reading::Unclear);
            };
            stamp.precision = Some(precision);
        }
        return Some(Reading::Of(stamp));
    }
    match (name.as_str(), args?) {
        ("now" | "transaction_timestamp" | "statement_timestamp", []) => {
            Some(Reading::Of(Stamp::new(Type::TimestampTz)))
        }
        ("age", [_]) => Some(Reading::Age),
        // A cast that looks like a call: `date('today')`.
        (name, [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))]) => {
            let data_type = Type::named(name)?;
            reading_text(literal(argument)?, data_type, None)
        }
        _ => None,
    }
}

fn reading_literal(text: &str, data_type: &DataType) -> Option<Reading> {
    let (data_type, precision) = match data_type {
        DataType::Date => (Type::Date, None),
        DataType::Time(precision, zone) => (
            match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => Type::Time,
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => Type::TimeTz,
            },
            *precision,
        ),
        DataType::Timestamp(precision, zone) => (
            match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => Type::Timestamp,
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => Type::TimestampTz,
            },
            *precision,
        ),
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
            // `'{today}'::date[]`.
            return reading_literal(text, element).map(|_| Reading::Unclear);
        }
        DataType::Custom(name, modifiers) => {
            let name = system_name(name)?;
            match (Type::named(&name), modifiers.as_slice()) {
                (Some(data_type), []) => (data_type, None),
                (Some(_), _) => return has_special_word(text).then_some(Reading::Unclear),
                (None, _) => {
                    let is_range = RANGES.contains(&name.as_str());
                    return (is_range && has_special_word(text)).then_some(Reading::Unclear);
                }
            }
        }
        _ => return None,
    };
    reading_text(text, data_type, precision)
}

/// Ranges of dates and times.
pub(super) const RANGES: [&str; 6] = [
    "daterange",
    "tsrange",
    "tstzrange",
    "datemultirange",
    "tsmultirange",
    "tstzmultirange",
];

fn reading_text(text: &str, data_type: Type, precision: Option<u64>) -> Option<Reading> {
    let word = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let day = match word.to_ascii_lowercase().as_str() {
        "now" => Day::Now,
        "today" => Day::Midnight(0),
        "tomorrow" => Day::Midnight(1),
        "yesterday" => Day::Midnight(-1),
        _ => return has_special_word(text).then_some(Reading::Unclear),
    };
    // A time has no day: PostgreSQL refuses `time 'today'`.
    if matches!(data_type, Type::Time | Type::TimeTz) && day != Day::Now {
        return None;
    }
    Some(Reading::Of(Stamp {
        data_type,
        precision,
        day,
    }))
}

/// Whether a text has a word that means an instant in a date or time.
pub(super) fn has_special_word(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| {
        ["now", "today", "tomorrow", "yesterday"]
            .iter()
            .any(|special| word.eq_ignore_ascii_case(special))
    })
}

/// The text of a literal; also of one in parentheses, or that is cast to text first.
pub(super) fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Nested(inner)
        | Expr::Cast {
            expr: inner,
            data_type: DataType::Text | DataType::Varchar(None),
            ..
        } => literal(inner),
        Expr::Cast {
            expr,
            data_type: DataType::Custom(name, _),
            ..
        } if system_name(name).is_some_and(|name| ["name", "unknown"].contains(&&*name)) => {
            literal(expr)
        }
        Expr::Value(value) => rewrite::string(&value.value),
        _ => None,
    }
}

/// The last part of a name without a schema, or with `pg_catalog`.
fn system_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some(identifier_name(name)),
        [
            ObjectNamePart::Identifier(schema),
            ObjectNamePart::Identifier(name),
        ] if identifier_name(schema) == "pg_catalog" => Some(identifier_name(name)),
        _ => None,
    }
}

/// `FROM now()`, `FROM current_date`: what stands there names a table and a column too.
fn is_clock_in_from(table: &TableFactor) -> bool {
    let (name, args) = match table {
        TableFactor::Table { name, args, .. } => (name, args.as_ref().map(|args| &args.args[..])),
        TableFactor::Function { name, args, .. } => (name, Some(&args[..])),
        _ => return false,
    };
    match args {
        Some(calls) if is_rows_from(name) => {
            let mut calls = calls.iter().filter_map(functions::expression);
            calls.any(|call| {
                matches!(call, Expr::Function(call)
                if is_clock(&call.name, Some(functions::arguments(call).len())))
            })
        }
        _ => is_clock(name, args.map(<[_]>::len)),
    }
}

/// Whether a name that stands in FROM is that of a clock; with the number of arguments of a call.
fn is_clock(name: &ObjectName, arguments: Option<usize>) -> bool {
    let is_quoted = matches!(name.0.as_slice(), [ObjectNamePart::Identifier(name)] if name.quote_style.is_some());
    let Some(name) = system_name(name) else {
        return false;
    };
    match name.as_str() {
        "now" | "transaction_timestamp" | "statement_timestamp" => arguments == Some(0),
        "age" => arguments == Some(1),
        // Reserved words: no table has such a name without quotes.
        "current_date" | "current_time" | "current_timestamp" | "localtime" | "localtimestamp" => {
            !is_quoted
        }
        _ => false,
    }
}

/// The types of dates and times.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
}

impl Type {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "date" => Self::Date,
            "time" => Self::Time,
            "timetz" => Self::TimeTz,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            _ => return None,
        })
    }

    pub(super) fn with(self, precision: Option<u64>) -> DataType {
        match self {
            Self::Date => DataType::Date,
            Self::Time => DataType::Time(precision, TimezoneInfo::WithoutTimeZone),
            Self::TimeTz => DataType::Time(precision, TimezoneInfo::WithTimeZone),
            Self::Timestamp => DataType::Timestamp(precision, TimezoneInfo::WithoutTimeZone),
            Self::TimestampTz => DataType::Timestamp(precision, TimezoneInfo::WithTimeZone),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Day {
    Now,
    /// The beginning of the day, so many days from now.
    Midnight(i8),
}

/// A value of a date or time type that depends on the instant.
struct Stamp {
    data_type: Type,
    precision: Option<u64>,
    day: Day,
}

impl Stamp {
    fn new(data_type: Type) -> Self {
        Self {
            data_type,
            precision: None,
            day: Day::Now,
        }
    }

    /// The value as an expression over a literal. PostgreSQL computes the others of these types from
    /// the same `timestamptz` by the same conversions, in the session's time zone.
    fn at(&self, instant: &str) -> Expr {
        let literal = Expr::Value(Value::SingleQuotedString(instant.to_owned()).into());
        let now = cast(literal, Type::TimestampTz.with(None));
        let wanted = self.data_type.with(self.precision);
        match self.day {
            Day::Now if self.data_type == Type::TimestampTz && self.precision.is_none() => now,
            Day::Now => cast(now, wanted),
            Day::Midnight(days) => {
                let today = cast(now, DataType::Date);
                let day = match days {
                    0 => today,
                    _ => Expr::Nested(Box::new(Expr::BinaryOp {
                        left: Box::new(today),
                        op: match days > 0 {
                            true => BinaryOperator::Plus,
                            false => BinaryOperator::Minus,
                        },
                        right: Box::new(Expr::Value(
                            Value::Number(days.unsigned_abs().to_string(), false).into(),
                        )),
                    })),
                };
                match self.data_type {
                    Type::Date => day,
                    _ => cast(day, wanted),
                }
            }
        }
    }
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.into()))
}

#[cfg(test)]
mod tests;
