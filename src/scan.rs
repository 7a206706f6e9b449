//! One shard's part of a query: describe it, then stream its rows.
//!
//! The only file that knows both sockets and the decoder.

mod rows;
#[cfg(feature = "datafusion")]
mod sql_type;

use std::collections::HashMap;
use std::fmt::Write as _;

use tokio_postgres::types::{Kind, Type};

use crate::connect::{Connection, Session, error_position};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::quote;
use crate::statement::{self, Statement};
use crate::types::{Column, PgType, TypeModifiers, TypeOptions};

pub(crate) use rows::{BatchOptions, rows};
#[cfg(feature = "datafusion")]
pub(crate) use sql_type::{SqlType, sql_types};

/// What a shard says of a statement before it runs.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    /// The columns of its result.
    pub(crate) columns: Vec<Column>,
    /// For each parameter, its type as SQL for a cast.
    parameters: Vec<String>,
    /// The types of the columns before it was decided how they are read.
    #[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
    pub(crate) raw_types: Vec<PgType>,
    /// For each column, what the shard's catalog knows it by.
    #[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
    references: Vec<Reference>,
}

/// What the catalog of one shard knows a column by; other shards have other numbers.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
struct Reference {
    /// The OID of its type; of a domain, that of the base type.
    type_oid: u32,
    modifier: i32,
    /// The column of a table whose values it has, if it is no expression.
    origin: Origin,
}

/// How the columns of a description are to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reading {
    /// As the user wants the types with more than one mapping.
    Options(TypeOptions),
    /// Likewise, but columns of type `numeric(p,s)` are decimals in any case, to be added up.
    #[cfg(feature = "datafusion")]
    Aggregate(TypeOptions),
}

impl Reading {
    /// Every value can be read, and nothing of it is lost.
    #[cfg(feature = "datafusion")]
    pub(crate) const LOSSLESS: TypeOptions = TypeOptions::LOSSLESS;

    fn apply(self, pg_type: PgType) -> PgType {
        match self {
            Self::Options(options) => pg_type.with_options(&options),
            #[cfg(feature = "datafusion")]
            Self::Aggregate(_) if pg_type.is_decimal() => pg_type,
            #[cfg(feature = "datafusion")]
            Self::Aggregate(options) => pg_type.with_options(&options),
        }
    }
}

/// Asks the shard for the columns and parameters of a statement (Parse and Describe).
///
/// # Errors
/// Those of the server, with the place in the text.
pub(crate) async fn describe(
    session: &mut Session,
    statement: &Statement,
    reading: Reading,
) -> Result<Description> {
    let shard = session.shard().to_owned();
    let connection = session.begin_query()?;
    let client = &connection.client;
    // A type may have changed since an earlier query of this connection: a label more in an enum,
    // another type of a composite's field.
    client.clear_type_cache();
    let prepared = client
        .prepare(statement.text())
        .await
        .map_err(|error| statement_error(connection, error, statement).with_shard(&shard));
    session.done();
    let prepared = prepared?;
    let modifiers = type_modifiers(session, prepared.columns()).await?;
    let dimensions = array_dimensions(session, prepared.columns()).await?;
    let raw_types: Vec<_> = prepared
        .columns()
        .iter()
        .map(|column| {
            let origin = (column.table_oid(), column.column_id());
            let dimensions = dimensions.get(&origin).copied().unwrap_or(0);
            PgType::from_catalog(
                column.type_(),
                column.type_modifier(),
                dimensions,
                &modifiers,
            )
        })
        .collect();
    let columns = prepared
        .columns()
        .iter()
        .zip(&raw_types)
        .map(|(column, raw)| Column::new(column.name(), reading.apply(raw.clone())))
        .collect();
    Ok(Description {
        columns,
        parameters: prepared.params().iter().map(cast_target).collect(),
        raw_types,
        references: prepared
            .columns()
            .iter()
            .map(|column| Reference {
                type_oid: column.type_().oid(),
                modifier: column.type_modifier(),
                origin: (column.table_oid(), column.column_id()),
            })
            .collect(),
    })
}

/// A type's name for a cast: schema and name as the catalog has them, both quoted, so that
/// `pg_catalog."bit"` is not read as `bit(1)` nor `"char"` as `char(1)`.
fn cast_target(oid_type: &Type) -> String {
    format!(
        "{}.{}",
        quote::identifier(oid_type.schema()),
        quote::identifier(oid_type.name())
    )
}

/// Adds the place in the user's text to an error about it.
fn statement_error(
    connection: &Connection,
    error: tokio_postgres::Error,
    statement: &Statement,
) -> Error {
    let position = error_position(&error);
    let ours = connection.error(error, Phase::Describe);
    match position.and_then(|position| statement::locate(statement.text(), position)) {
        Some((line, column, text)) => {
            let place = format!("line {line}, column {column}");
            let advice = ours.hint().unwrap_or("look at this place in the query");
            let hint = format!("{advice}\n{}", pointer(text, column));
            ours.with_context(&place).replace_hint(hint)
        }
        None => ours,
    }
}

/// The part of a line around a column (from 1), with a mark beneath it.
fn pointer(line: &str, column: usize) -> String {
    const BEFORE: usize = 60;
    const SHOWN: usize = 120;
    let skipped = column.saturating_sub(BEFORE);
    let shown: String = line.chars().skip(skipped).take(SHOWN).collect();
    // Tabs would be as wide as the terminal likes.
    let shown = shown.replace('\t', " ");
    format!("{shown}\n{:>1$}", "^", column - skipped)
}

/// Looks up the type modifiers of the fields of composites and of domains, which the client
/// library does not know.
async fn type_modifiers(
    session: &mut Session,
    columns: &[tokio_postgres::Column],
) -> Result<TypeModifiers> {
    let mut modifiers = TypeModifiers::default();
    for column in columns {
        collect_types(column.type_(), &mut modifiers);
    }
    if !modifiers.composites.is_empty() {
        let sql = format!(
            "SELECT t.oid, a.atttypmod, a.attndims FROM pg_catalog.pg_type t \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid \
             WHERE t.oid IN ({}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY t.oid, a.attnum",
            oid_list(modifiers.composites.keys())
        );
        for row in session.query(&sql).await? {
            let (oid, modifier, dimensions) = catalog_row(&row)?;
            modifiers
                .composites
                .entry(oid)
                .or_default()
                .push((modifier, dimensions));
        }
    }
    if !modifiers.domains.is_empty() {
        let sql = format!(
            "SELECT oid, typtypmod, typndims FROM pg_catalog.pg_type WHERE oid IN ({})",
            oid_list(modifiers.domains.keys())
        );
        for row in session.query(&sql).await? {
            let (oid, modifier, dimensions) = catalog_row(&row)?;
            modifiers.domains.insert(oid, (modifier, dimensions));
        }
    }
    Ok(modifiers)
}

/// Enters every composite and domain within a type.
fn collect_types(oid_type: &Type, found: &mut TypeModifiers) {
    match oid_type.kind() {
        Kind::Array(inner) | Kind::Range(inner) | Kind::Multirange(inner) => {
            collect_types(inner, found);
        }
        Kind::Domain(base) => {
            found.domains.insert(oid_type.oid(), (-1, 0));
            collect_types(base, found);
        }
        Kind::Composite(fields) => {
            found.composites.insert(oid_type.oid(), Vec::new());
            for field in fields {
                collect_types(field.type_(), found);
            }
        }
        _ => {}
    }
}

type Origin = (Option<u32>, Option<i16>);

/// How many dimensions the tables declare for the array columns.
async fn array_dimensions(
    session: &mut Session,
    columns: &[tokio_postgres::Column],
) -> Result<HashMap<Origin, i32>> {
    let mut origins = String::new();
    for column in columns {
        if let (Kind::Array(_), Some(table), Some(number)) = (
            column.type_().kind(),
            column.table_oid(),
            column.column_id(),
        ) {
            let comma = if origins.is_empty() { "" } else { ", " };
            // Writing to a String does not fail.
            let _ = write!(origins, "{comma}({table}, {number})");
        }
    }
    if origins.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT attrelid, attnum, attndims FROM pg_catalog.pg_attribute \
         WHERE (attrelid, attnum) IN ({origins})"
    );
    session
        .query(&sql)
        .await?
        .iter()
        .map(|row| {
            let (table, number, dimensions) = catalog_row(row)?;
            Ok(((Some(table), i16::try_from(number).ok()), dimensions))
        })
        .collect()
}

fn oid_list<'a>(oids: impl Iterator<Item = &'a u32>) -> String {
    oids.map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// An OID and two numbers.
fn catalog_row(row: &[Option<String>]) -> Result<(u32, i32, i32)> {
    let unexpected = || Error::new(ErrorKind::Decode, "unexpected answer of the catalog");
    let [Some(oid), Some(first), Some(second)] = row else {
        return Err(unexpected());
    };
    match (oid.parse(), first.parse(), second.parse()) {
        (Ok(oid), Ok(first), Ok(second)) => Ok((oid, first, second)),
        _ => Err(unexpected()),
    }
}

/// The statement with values in place of its parameters: literals, cast to the types that
/// PostgreSQL itself found for them.
pub(crate) fn with_values(
    statement: &Statement,
    description: &Description,
    values: &[Option<String>],
) -> Result<String> {
    let expected = description.parameters.len();
    statement.check_parameters(expected)?;
    if expected != values.len() {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "the query has {expected} parameters, but {} values are given",
                values.len()
            ),
        )
        .with_hint(
            "give one value for each of $1, $2, ... in their order (--param on the command line)",
        ));
    }
    let literals = description
        .parameters
        .iter()
        .zip(values)
        .enumerate()
        .map(|(index, (cast, value))| {
            let literal = match value {
                None => "NULL".to_owned(),
                Some(value) => quote::literal(value)
                    .map_err(|error| error.with_context(&format!("parameter ${}", index + 1)))?,
            };
            Ok(format!("{literal}::{cast}"))
        })
        .collect::<Result<Vec<_>>>()?;
    statement.with_parameters(&literals)
}

/// The COPY command for a statement of this description.
///
/// COPY takes no parameters, so the values are written into the text. Columns without a binary
/// form are cast to text.
pub(crate) fn copy_sql(
    statement: &Statement,
    description: &Description,
    values: &[Option<String>],
) -> Result<String> {
    let sql = with_values(statement, description, values)?;
    Ok(copy_of(&sql, &description.columns))
}

/// The COPY command for a query with these columns.
fn copy_of(sql: &str, columns: &[Column]) -> String {
    let (before, after) = copy_frame(columns.len(), &selections(columns, &[]));
    format!("{before}{sql}{after}")
}

/// What is selected to read these columns of a query. A column is cast to the type that `casts` has
/// for it, if any.
pub(crate) fn selections(columns: &[Column], casts: &[Option<String>]) -> Vec<String> {
    columns
        .iter()
        .enumerate()
        .map(|(index, column)| match casts.get(index) {
            Some(Some(cast)) => column.select_expression(&format!("{}::{cast}", reference(index))),
            _ => column.select_expression(&reference(index)),
        })
        .collect()
}

/// What selected expressions call a column of the query.
pub(crate) fn reference(column: usize) -> String {
    format!("c{}", column + 1)
}

/// What stands before and behind a query of this many columns to make a COPY command of it, in
/// which these expressions are selected.
pub(crate) fn copy_frame(columns: usize, selected: &[String]) -> (String, String) {
    let names: Vec<_> = (0..columns).map(reference).collect();
    // The statement may end in a comment of one line, so the parenthesis is on a line of its own.
    let end = "\n) TO STDOUT (FORMAT binary)";
    match selected == names {
        true => ("COPY (\n".to_owned(), end.to_owned()),
        false => (
            format!("COPY (\nSELECT {} FROM (\n", selected.join(", ")),
            format!("\n) AS q({}){end}", names.join(", ")),
        ),
    }
}

/// Checks that all shards give the same columns; returns them.
///
/// # Errors
/// [`ErrorKind::Unsupported`] with the differences: the rows would not fit one table.
pub(crate) fn agree(shards: &[(String, Description)]) -> Result<Vec<Column>> {
    let Some(((first_name, first), others)) = shards.split_first() else {
        return Err(Error::new(ErrorKind::Config, "the topology has no shard"));
    };
    for (name, other) in others {
        let mut differences = Vec::new();
        if first.columns.len() != other.columns.len() {
            differences.push(format!(
                "{first_name:?} has {} columns, {name:?} has {}",
                first.columns.len(),
                other.columns.len()
            ));
        }
        for (index, (left, right)) in first.columns.iter().zip(&other.columns).enumerate() {
            if left != right {
                differences.push(format!(
                    "column {}: {first_name:?} has {}, {name:?} has {}",
                    index + 1,
                    shown(left),
                    shown(right)
                ));
            }
        }
        for (index, (left, right)) in first.parameters.iter().zip(&other.parameters).enumerate() {
            if left != right {
                differences.push(format!(
                    "parameter ${}: {first_name:?} takes {left}, {name:?} takes {right}",
                    index + 1
                ));
            }
        }
        if !differences.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the shards disagree on the query: {}",
                    differences.join("; ")
                ),
            )
            .with_shard(name)
            .with_phase(Phase::Describe)
            .with_hint("make the tables alike, or cast and rename the columns in the query"));
        }
    }
    Ok(first.columns.clone())
}

/// A column for the message about a difference.
fn shown(column: &Column) -> String {
    format!("{:?} {}", column.name, column.pg_type.details())
}
