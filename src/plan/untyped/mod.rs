//! Literals without a type that mean an instant: `d > 'today'`.
//!
//! PostgreSQL reads such a literal as the type of what it stands beside
//! (`src/backend/parser/parse_oper.c`, `parse_coerce.c`), and each shard would read it at its own
//! moment. Here the type is written out, and then [`instant`] gives all shards the
//! same:
//!
//! ```text
//! t.d > 'today'   becomes   t.d > 'today'::DATE
//! t.note = 'now'  stays
//! ```
//! Nor can a text be read alike that is [computed](texts) of such literals and cast then: it is refused.
//! A type that the catalog does not tell is asked for. Where it cannot be told, the query is refused.

mod texts;
mod types;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName,
    Query, Select, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};

use self::types::{Kind, Types, data_type};
use super::bind::Bound;
use super::naming::{self, ident};
use super::rewrite::{self, bare};
use super::{Answers, Stop, instant, refused};
use crate::catalog::{Catalog, Origin};

/// Writes the types of literals that mean an instant.
///
/// # Errors
/// [`Stop::Need`] for the type of an expression; [`Stop::Refused`] where a literal may or may not
/// mean an instant.
pub(super) fn write_types(
    bound: &mut Bound,
    catalog: &Catalog,
    answers: &Answers,
) -> Result<(), Stop> {
    let has_literal = |expr: &Expr| is_special(expr) || is_special_of_type(expr);
    if !rewrite::any(&bound.query, has_literal) {
        return Ok(());
    }
    let whole = bound.query.clone();
    let mut writer = Writer {
        types: Types {
            relations: &bound.relations,
            catalog,
            answers,
            whole: &whole,
        },
        names: Vec::new(),
    };
    match bound.query.visit(&mut writer) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(stop) => Err(*stop),
    }
}

struct Writer<'a> {
    types: Types<'a>,
    /// The names of the unnamed columns of the SELECTs around the current place.
    names: Vec<Vec<Option<String>>>,
}

impl VisitorMut for Writer<'_> {
    type Break = Box<Stop>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Stop>> {
        proceed(self.set_operation(&mut query.body))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Stop>> {
        self.names.push(instant::names(select));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Stop>> {
        instant::keep_names(select, self.names.pop().unwrap_or_default());
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Stop>> {
        proceed(self.expression(expr))
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Box<Stop>> {
        proceed(match factor {
            TableFactor::Table {
                name,
                args: Some(args),
                ..
            } => self.call(name, &mut args.args),
            TableFactor::Function { name, args, .. } => self.call(name, args),
            // A text, which its columns read as they are declared.
            TableFactor::XmlTable { .. } => self.refuse_made_of_instants(texts::of_xml(factor)),
            _ => Ok(()),
        })
    }
}

fn proceed(result: Result<(), Stop>) -> ControlFlow<Box<Stop>> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(stop) => ControlFlow::Break(Box::new(stop)),
    }
}

impl Writer<'_> {
    /// Looks at the literals right below an expression.
    fn expression(&self, expr: &mut Expr) -> Result<(), Stop> {
        match expr {
            Expr::BinaryOp { left, op, right } => self.operator(left, op, right),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.compare(left, right)
            }
            Expr::Between {
                expr, low, high, ..
            } if is_special(expr) => self.unify(vec![expr, rewrite::operand_mut(low), high]),
            Expr::Between {
                expr, low, high, ..
            } => {
                self.unify(vec![expr, rewrite::operand_mut(low)])?;
                self.unify(vec![expr, high])
            }
            Expr::InList { expr, list, .. } => self.in_list(expr, list),
            Expr::InSubquery { expr, subquery, .. } => self.in_subquery(expr, subquery),
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => {
                self.quantified(left, right)
            }
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => {
                // An operand that is a literal is text.
                if let Some(operand) = operand.as_mut().filter(|operand| !is_untyped(operand)) {
                    for when in &mut *conditions {
                        self.unify(vec![operand, &mut when.condition])?;
                    }
                }
                let results = conditions.iter_mut().map(|when| &mut when.result);
                self.unify(results.chain(else_result.as_deref_mut()).collect())
            }
            Expr::Array(array) => self.unify(array.elem.iter_mut().collect()),
            Expr::Function(function) => match &mut function.args {
                FunctionArguments::List(list) => self.call(&function.name, &mut list.args),
                _ => Ok(()),
            },
            Expr::Cast { .. } | Expr::TypedString(_) => self.cast(expr),
            Expr::Extract { expr, .. }
            | Expr::AtTimeZone {
                timestamp: expr, ..
            } => refuse_instants([&**expr]),
            _ => Ok(()),
        }
    }

    fn operator(&self, left: &mut Expr, op: &BinaryOperator, right: &mut Expr) -> Result<(), Stop> {
        use BinaryOperator as Op;
        match op {
            Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => self.compare(left, right),
            // Of two dates or timestamps.
            Op::Minus => self.unify(vec![left, right]),
            Op::Overlaps => {
                let sides = [bare(left), bare(right)].map(|side| match side {
                    Expr::Tuple(items) => items.iter().collect::<Vec<_>>(),
                    one => vec![one],
                });
                refuse_instants(sides.into_iter().flatten())
            }
            // Of ranges, where the literal may be a range, an array, or what is in one.
            Op::AtArrow
            | Op::ArrowAt
            | Op::PGOverlap
            | Op::PGBitwiseShiftLeft
            | Op::PGBitwiseShiftRight
            | Op::AndLt
            | Op::AndGt
            | Op::Plus
            | Op::Multiply
            | Op::Custom(_)
            | Op::PGCustomBinaryOperator(_) => self.refuse_beside(left, right, |_| true),
            // Text, unless the other is an array.
            Op::StringConcat => self.refuse_beside(left, right, |name| name.ends_with("[]")),
            _ => Ok(()),
        }
    }

    /// Refuses a literal whose type only PostgreSQL tells from that of the other side.
    fn refuse_beside(
        &self,
        left: &Expr,
        right: &Expr,
        concerns: impl Fn(&str) -> bool,
    ) -> Result<(), Stop> {
        for (literal, other) in [(left, right), (right, left)] {
            if is_special(literal)
                && !is_untyped(other)
                && matches!(self.types.of(other)?, Kind::Instant(name) if concerns(&name))
            {
                return Err(unclear(literal));
            }
        }
        Ok(())
    }

    /// A literal in a cast to a type of users, or in what an array, a row or a text is made of that is cast: it
    /// is read as what the type is made of.
    fn cast(&self, cast: &Expr) -> Result<(), Stop> {
        let (literal, kind) = match cast {
            Expr::TypedString(typed) if is_special_of_type(cast) => {
                (cast.clone(), self.types.of_users(cast, &typed.data_type)?)
            }
            // Also of one that is cast to text first.
            Expr::Cast {
                expr, data_type, ..
            } if instant::literal(expr).is_some_and(instant::has_special_word) => {
                (cast.clone(), self.types.of_users(cast, data_type)?)
            }
            Expr::Cast { expr, .. } => match self.special_source(expr)? {
                Some(literal) => (literal, self.types.of(cast)?),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        match kind {
            Kind::Other => Ok(()),
            _ => Err(unclear(&literal)),
        }
    }

    /// Rows are compared column by column.
    fn compare(&self, left: &mut Expr, right: &mut Expr) -> Result<(), Stop> {
        match (tuple(left), tuple(right)) {
            (Some(left), Some(right)) => {
                for (left, right) in left.iter_mut().zip(right) {
                    self.unify(vec![left, right])?;
                }
                Ok(())
            }
            _ => self.unify(vec![left, right]),
        }
    }

    fn in_list(&self, expr: &mut Expr, list: &mut [Expr]) -> Result<(), Stop> {
        if tuple(expr).is_some() {
            for item in list {
                self.compare(expr, item)?;
            }
            return Ok(());
        }
        self.unify(std::iter::once(expr).chain(list).collect())
    }

    fn in_subquery(&self, expr: &mut Expr, subquery: &Query) -> Result<(), Stop> {
        if let Some(items) = tuple(expr) {
            return refuse_instants(&*items);
        }
        if is_special(expr) {
            let listed = Expr::Subquery(Box::new(subquery.clone()));
            write(expr, &self.types.of(&listed)?)?;
        }
        Ok(())
    }

    /// `= ANY (...)`: of an array or a subquery.
    fn quantified(&self, left: &mut Expr, right: &mut Expr) -> Result<(), Stop> {
        if is_special(right) && !is_untyped(left) {
            let array = match self.types.of(left)? {
                Kind::Instant(name) => Kind::Instant(format!("{name}[]")),
                other => other,
            };
            return write(right, &array);
        }
        if !is_special(left) || is_untyped(right) {
            return Ok(());
        }
        let right = match bare(right) {
            subquery @ Expr::Subquery(_) => self.types.of(subquery)?,
            array => match self.types.of(array)? {
                Kind::Instant(name) => match name.strip_suffix("[]") {
                    Some(element) => Kind::Instant(element.to_owned()),
                    None => Kind::Untold,
                },
                other => other,
            },
        };
        write(left, &right)
    }

    fn call(&self, name: &ObjectName, args: &mut [FunctionArg]) -> Result<(), Stop> {
        let mut parts = naming::parts(name);
        let name = parts.pop().unwrap_or_default();
        let schema = parts.pop();
        let count = args.len();
        let mut args: Vec<_> = args
            .iter_mut()
            .filter_map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
                | FunctionArg::Named {
                    arg: FunctionArgExpr::Expr(expr),
                    ..
                } => Some(rewrite::operand_mut(expr)),
                _ => None,
            })
            .collect();
        let catalog = self.types.catalog;
        let mut functions = catalog.functions(schema.as_deref(), &name);
        // Its parameters may be of any type; and a type that is called casts.
        let is_users = functions.any(|it| it.origin == Origin::User && it.takes(Some(count)))
            || catalog.types_anywhere(&name).any(|it| it.kind != 'e');
        match &*name {
            _ if is_users => refuse_instants(args.into_iter().map(|a| &*a)),
            "coalesce" | "greatest" | "least" | "nullif" => self.unify(args),
            "lag" | "lead" if args.len() == 3 => {
                args.remove(1);
                self.unify(args)
            }
            // A cast that looks like a call, of a text that is no literal.
            "date" | "timestamp" | "timestamptz" | "time" | "timetz" => {
                let is_read = |arg: &&&mut Expr| instant::literal(arg).is_none();
                let computed: Vec<_> = args.iter().filter(is_read).map(|arg| &**arg).collect();
                self.refuse_made_of_instants(computed)
            }
            name if OF_RECORDS.contains(&name) => {
                self.refuse_made_of_instants(args.iter().map(|arg| &**arg).collect())
            }
            name if OF_INSTANTS.contains(&name) => refuse_instants(args.into_iter().map(|a| &*a)),
            _ => Ok(()),
        }
    }

    /// Refuses expressions whose texts are read as times, should they be made of literals that mean one.
    fn refuse_made_of_instants(&self, exprs: Vec<&Expr>) -> Result<(), Stop> {
        for expr in exprs {
            if let Some(literal) = self.special_source(expr)? {
                return Err(unclear(&literal));
            }
        }
        Ok(())
    }

    /// The literals of a column take the type of what the others are.
    fn set_operation(&self, body: &mut SetExpr) -> Result<(), Stop> {
        if !matches!(body, SetExpr::SetOperation { .. } | SetExpr::Values(_)) {
            return Ok(());
        }
        let mut columns = Columns::default();
        columns.collect(body);
        if columns.unknown {
            let items = columns.items.iter().flatten();
            return refuse_instants(items.map(|item| &**item));
        }
        columns
            .items
            .into_iter()
            .try_for_each(|column| self.unify(column))
    }

    /// Expressions that PostgreSQL brings to one type.
    fn unify(&self, exprs: Vec<&mut Expr>) -> Result<(), Stop> {
        if !exprs.iter().any(|expr| is_special(expr)) {
            return Ok(());
        }
        let mut common: Option<Kind> = None;
        for expr in exprs.iter().filter(|expr| !is_untyped(expr)) {
            let kind = self.types.of(expr)?;
            common = Some(match common {
                Some(other) => other.and(kind),
                None => kind,
            });
        }
        let Some(common) = common else {
            return Ok(());
        };
        for expr in exprs {
            if is_special(expr) {
                write(expr, &common)?;
            }
        }
        Ok(())
    }
}

/// Functions that take a date or time, and often several types of it, or an array of anything.
const OF_INSTANTS: [&str; 23] = [
    "age",
    "array_append",
    "array_cat",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_remove",
    "array_replace",
    "date_add",
    "date_bin",
    "date_part",
    "date_subtract",
    "date_trunc",
    "daterange",
    "extract",
    "generate_series",
    "isfinite",
    "overlaps",
    "timezone",
    "to_char",
    "tsrange",
    "tstzrange",
    "width_bucket",
];

/// Functions that make rows of JSON, of whose texts they read times.
const OF_RECORDS: [&str; 8] = [
    "json_populate_record",
    "json_populate_recordset",
    "json_to_record",
    "json_to_recordset",
    "jsonb_populate_record",
    "jsonb_populate_recordset",
    "jsonb_to_record",
    "jsonb_to_recordset",
];

/// The columns of the parts of a set operation, or of the rows of VALUES.
#[derive(Default)]
struct Columns<'a> {
    items: Vec<Vec<&'a mut Expr>>,
    /// Whether `*` stands for some that are not known.
    unknown: bool,
}

impl<'a> Columns<'a> {
    fn collect(&mut self, body: &'a mut SetExpr) {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                self.collect(left);
                self.collect(right);
            }
            SetExpr::Query(query) => self.collect(&mut query.body),
            SetExpr::Values(values) => {
                for row in &mut values.rows {
                    for (index, expr) in row.content.iter_mut().enumerate() {
                        self.add(index, expr);
                    }
                }
            }
            SetExpr::Select(select) => {
                for (index, item) in select.projection.iter_mut().enumerate() {
                    name_literal(item);
                    match item {
                        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                            self.add(index, expr);
                        }
                        _ => self.unknown = true,
                    }
                }
            }
            _ => self.unknown = true,
        }
    }

    fn add(&mut self, index: usize, expr: &'a mut Expr) {
        if self.items.len() <= index {
            self.items.resize_with(index + 1, Vec::new);
        }
        if let Some(column) = self.items.get_mut(index) {
            column.push(expr);
        }
    }
}

/// A cast would give its column another name.
fn name_literal(item: &mut SelectItem) {
    if let SelectItem::UnnamedExpr(expr) = item
        && is_special(expr)
    {
        *item = SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: ident(naming::NAMELESS),
        };
    }
}

/// The columns of a row.
fn tuple(expr: &mut Expr) -> Option<&mut Vec<Expr>> {
    match expr {
        Expr::Nested(inner) => tuple(inner),
        Expr::Tuple(items) => Some(items),
        _ => None,
    }
}

/// Writes the type of a literal.
fn write(literal: &mut Expr, kind: &Kind) -> Result<(), Stop> {
    match kind {
        Kind::Other => {}
        Kind::Untold => refuse_instants([&*literal])?,
        Kind::Several => return Err(unclear(literal)),
        Kind::Instant(name) => {
            let expr = std::mem::replace(literal, Expr::Value(Value::Null.into()));
            *literal = Expr::Cast {
                kind: CastKind::DoubleColon,
                expr: Box::new(expr),
                data_type: data_type(name),
                array: false,
                format: None,
            };
        }
    }
    Ok(())
}

/// Refuses literals that are hardly anything but an instant.
fn refuse_instants<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> Result<(), Stop> {
    let mut exprs = exprs.into_iter();
    match exprs.find(|expr| text(expr).is_some_and(is_instant)) {
        Some(expr) => Err(unclear(expr)),
        None => Ok(()),
    }
}

fn unclear(literal: &Expr) -> Stop {
    refused(
        format!(
            "{literal} without a type: should it mean a time, each shard would take its own time for it"
        ),
        "write the type that it has, 'today'::date, 'now'::timestamptz, 'now'::text; within a text that is cast, \
         write now() or current_date instead",
    )
    .into()
}

/// Whether this is a literal without a type that may mean an instant.
fn is_special(expr: &Expr) -> bool {
    text(expr).is_some_and(instant::has_special_word)
}

/// The same of one whose type stands before it: `s.t 'now'`.
fn is_special_of_type(expr: &Expr) -> bool {
    matches!(expr, Expr::TypedString(typed)
        if rewrite::string(&typed.value.value).is_some_and(instant::has_special_word))
}

/// Whether an expression has no type of its own.
fn is_untyped(expr: &Expr) -> bool {
    text(expr).is_some()
        || matches!(bare(expr), Expr::Value(value) if matches!(value.value, Value::Null))
}

/// The text of a string literal.
fn text(expr: &Expr) -> Option<&str> {
    match bare(expr) {
        Expr::Value(value) => rewrite::string(&value.value),
        _ => None,
    }
}

/// Whether all words of a text are those of an instant, as in `today 12:00`.
fn is_instant(text: &str) -> bool {
    const BESIDE: [&str; 6] = ["allballs", "am", "pm", "utc", "gmt", "z"];
    let mut words = text
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty());
    instant::has_special_word(text)
        && words.all(|word| {
            instant::has_special_word(word) || BESIDE.iter().any(|b| word.eq_ignore_ascii_case(b))
        })
}

#[cfg(test)]
mod tests;
