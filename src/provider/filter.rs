//! Conditions of DataFusion's as SQL for the shards: those of which PostgreSQL and Arrow agree on the rows.
//!
//! An allow-list, by type of column, that writes each condition itself. What is not on it is not pushed
//! down: DataFusion filters the rows then.
//!
//! | condition | PostgreSQL's rows are |
//! |---|---|
//! | `=`, `<>`, `<`, .. of a column that [agrees](Comparing) on it and a value of the column's own Arrow type | DataFusion's |
//! | .. of two columns of the same type, but for text | DataFusion's |
//! | `=`, `IN` of `real` and `double precision` | those and more: `-0 = 0` |
//! | `IS NULL`, `IS NOT NULL`, but for rows of rows | DataFusion's |
//! | `AND`, `OR` of such; `NOT` where they are the same rows | as their parts |
//! | casts, functions, subqueries, LIKE, .. | not asked for |

use arrow::array::Array;
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

use crate::catalog::ColumnFacts;
use crate::quote;
use crate::text::TextFormatter;
use crate::types::{Column, Shape};

/// A condition as SQL, in parentheses where it needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) sql: String,
    /// Whether PostgreSQL keeps the rows that DataFusion would keep, and no others; else it keeps those
    /// and others.
    pub(super) is_exact: bool,
}

/// A column, and on which comparisons of it PostgreSQL and Arrow agree.
#[derive(Debug, Clone)]
pub(super) struct Comparing {
    field: Field,
    agreement: Agreement,
    /// Whether it is text, which two columns may compare by different collations.
    is_text: bool,
    /// Whether `IS NULL` means the value: of a row it means its fields.
    has_null: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Agreement {
    None,
    /// What Arrow calls equal is equal to PostgreSQL.
    AtLeastEqual,
    Equality,
    /// On equality and order.
    Order,
}

impl Comparing {
    /// `facts` of the column in the catalog of all shards.
    pub(super) fn of(column: &Column, facts: Option<&ColumnFacts>) -> Self {
        let shape = &column.pg_type.shape;
        Self {
            field: column.to_field(),
            agreement: match facts {
                // A domain reads and compares as its users please.
                Some(facts) if facts.domain.is_none() => agreement(shape, facts),
                _ => Agreement::None,
            },
            is_text: matches!(shape, Shape::Text { .. }),
            has_null: !matches!(shape, Shape::Composite { .. }),
        }
    }

    fn reference(&self) -> String {
        quote::identifier(self.field.name())
    }
}

fn agreement(shape: &Shape, facts: &ColumnFacts) -> Agreement {
    match shape {
        Shape::Bool
        | Shape::Int2
        | Shape::Int4
        | Shape::Int8
        | Shape::Decimal { .. }
        | Shape::Date
        | Shape::Timestamp { .. }
        | Shape::Uuid
        | Shape::Bytea => Agreement::Order,
        Shape::Float4 | Shape::Float8 => Agreement::AtLeastEqual,
        Shape::Text { json: false, .. } if is_plain_text(facts) => match &facts.collation {
            Some(collation) if collation.difference.is_some() => Agreement::None,
            Some(collation) if collation.bytewise && collation.deterministic => Agreement::Order,
            Some(collation) if collation.deterministic => Agreement::Equality,
            _ => Agreement::None,
        },
        _ => Agreement::None,
    }
}

/// `char(n)` ignores blanks at its end, and other types have equalities of their own.
fn is_plain_text(facts: &ColumnFacts) -> bool {
    facts.base_type.schema == "pg_catalog" && ["text", "varchar"].contains(&&*facts.base_type.name)
}

/// The condition as SQL, if PostgreSQL keeps at least the rows that DataFusion keeps.
pub(super) fn written(filter: &Expr, columns: &[Comparing]) -> Option<Written> {
    match filter {
        Expr::Column(_) => {
            let column = column(filter, columns)?;
            let is_bool = *column.field.data_type() == DataType::Boolean;
            (is_bool && column.agreement == Agreement::Order).then(|| exactly(column.reference()))
        }
        Expr::Not(inner) => {
            let inner = written(inner, columns)?;
            inner
                .is_exact
                .then(|| exactly(format!("(NOT {})", inner.sql)))
        }
        Expr::IsNull(inner) => null_test(inner, "IS NULL", columns),
        Expr::IsNotNull(inner) => null_test(inner, "IS NOT NULL", columns),
        Expr::BinaryExpr(binary) => of_two(binary, columns),
        Expr::Between(between) => of_range(between, columns),
        Expr::InList(list) => of_list(list, columns),
        _ => None,
    }
}

fn exactly(sql: String) -> Written {
    Written {
        sql,
        is_exact: true,
    }
}

fn null_test(inner: &Expr, test: &str, columns: &[Comparing]) -> Option<Written> {
    let column = column(inner, columns)?;
    column
        .has_null
        .then(|| exactly(format!("({} {test})", column.reference())))
}

fn of_two(binary: &BinaryExpr, columns: &[Comparing]) -> Option<Written> {
    let symbol = match binary.op {
        Operator::And | Operator::Or => {
            let left = written(&binary.left, columns)?;
            let right = written(&binary.right, columns)?;
            return Some(Written {
                sql: format!("({} {} {})", left.sql, binary.op, right.sql),
                is_exact: left.is_exact && right.is_exact,
            });
        }
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        _ => return None,
    };
    let (left, right) = (&*binary.left, &*binary.right);
    match (column(left, columns), column(right, columns)) {
        (Some(left), Some(right)) => {
            let is_same = left.field.data_type() == right.field.data_type()
                && left.agreement == right.agreement
                && !left.is_text
                && !right.is_text;
            let is_exact = agrees(left.agreement, binary.op)?;
            is_same.then(|| Written {
                sql: format!("({} {symbol} {})", left.reference(), right.reference()),
                is_exact,
            })
        }
        (Some(column), None) => {
            let value = value(right, column)?;
            Some(Written {
                sql: format!("({} {symbol} {value})", column.reference()),
                is_exact: agrees(column.agreement, binary.op)?,
            })
        }
        (None, Some(column)) => {
            let value = value(left, column)?;
            Some(Written {
                sql: format!("({value} {symbol} {})", column.reference()),
                is_exact: agrees(column.agreement, binary.op)?,
            })
        }
        (None, None) => None,
    }
}

fn of_range(between: &Between, columns: &[Comparing]) -> Option<Written> {
    let column = column(&between.expr, columns)?;
    let is_exact = agrees(column.agreement, Operator::Lt)?;
    let (low, high) = (value(&between.low, column)?, value(&between.high, column)?);
    let not = if between.negated { "NOT " } else { "" };
    Some(Written {
        sql: format!("({} {not}BETWEEN {low} AND {high})", column.reference()),
        is_exact,
    })
}

fn of_list(list: &InList, columns: &[Comparing]) -> Option<Written> {
    let column = column(&list.expr, columns)?;
    let (operator, not) = match list.negated {
        true => (Operator::NotEq, "NOT "),
        false => (Operator::Eq, ""),
    };
    let is_exact = agrees(column.agreement, operator)?;
    let values: Option<Vec<String>> = list.list.iter().map(|it| value(it, column)).collect();
    let values = values.filter(|values| !values.is_empty())?;
    Some(Written {
        sql: format!("({} {not}IN ({}))", column.reference(), values.join(", ")),
        is_exact,
    })
}

/// Whether PostgreSQL keeps the same rows; `None` where it may keep fewer.
fn agrees(agreement: Agreement, operator: Operator) -> Option<bool> {
    let is_equality = matches!(operator, Operator::Eq | Operator::NotEq);
    match agreement {
        Agreement::Order => Some(true),
        Agreement::Equality if is_equality => Some(true),
        Agreement::AtLeastEqual if operator == Operator::Eq => Some(false),
        _ => None,
    }
}

fn column<'a>(expr: &Expr, columns: &'a [Comparing]) -> Option<&'a Comparing> {
    let Expr::Column(named) = expr else {
        return None;
    };
    columns.iter().find(|it| *it.field.name() == named.name)
}

/// A value as SQL, which takes the type of what it is compared with.
fn value(expr: &Expr, column: &Comparing) -> Option<String> {
    let Expr::Literal(scalar, _) = expr else {
        return None;
    };
    if scalar.is_null() {
        return None;
    }
    if column.is_text {
        let text = match scalar {
            ScalarValue::Utf8(text)
            | ScalarValue::LargeUtf8(text)
            | ScalarValue::Utf8View(text) => text,
            _ => return None,
        };
        return quote::literal(text.as_deref()?).ok();
    }
    if scalar.data_type() != *column.field.data_type() {
        return None;
    }
    let array = scalar.to_array_of_size(1).ok()?;
    let text = written_value(&column.field, &*array)?;
    match scalar {
        // The planner sees the shard of a number.
        ScalarValue::Int16(_) | ScalarValue::Int32(_) | ScalarValue::Int64(_) => {
            Some(match text.starts_with('-') {
                true => quote::literal(&text).ok()?,
                false => text,
            })
        }
        _ => quote::literal(&text).ok(),
    }
}

fn written_value(field: &Field, array: &dyn Array) -> Option<String> {
    let formatter = TextFormatter::try_new(field, array).ok()?;
    let mut text = String::new();
    formatter.write(0, &mut text);
    Some(text)
}
