//! One shard's part of a query: describe it, then stream its rows.

mod oid_types;
#[cfg(feature = "datafusion")]
mod ranges;
mod retry;
mod rows;
#[cfg(feature = "datafusion")]
mod sql_type;

use std::collections::HashMap;
use std::fmt::Write as _;

use tokio_postgres::types::{Kind, Type};

use crate::connect::{Connection, DescribedColumn, Session, error_position};
use crate::error::{Error, ErrorKind, Phase, Result, SqlOrigin};
use crate::quote;
use crate::statement::{self, Statement};
use crate::types::{Column, PgType, TypeOptions};

use oid_types::OidTypes;
#[cfg(feature = "datafusion")]
pub(crate) use ranges::{
    RANGE_BYTES, Readers, Shared, Split, export_snapshot, import_sql, lock, range_rows, ranges,
    share,
};
#[cfg(feature = "datafusion")]
pub(crate) use retry::DEFAULT_RETRIES;
pub(crate) use retry::Retry;
pub(crate) use rows::{BatchOptions, rows};
#[cfg(feature = "datafusion")]
pub(crate) use rows::{Command, Prelude};
#[cfg(feature = "datafusion")]
pub(crate) use sql_type::{SqlType, SqlTypes, sql_types};

/// What a shard says of a statement before it runs.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    /// The columns of its result.
    pub(crate) columns: Vec<Column>,
    /// The parameters: `$1`, `$2` and so on, as columns would be read that have their types.
    pub(crate) parameters: Vec<Column>,
    /// For each parameter, its type as SQL for a cast.
    casts: Vec<String>,
    /// The types of the columns before it was decided how they are read.
    #[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
    pub(crate) raw_types: Vec<PgType>,
    /// For each column, what the shard's catalog knows it by.
    #[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
    references: Vec<Reference>,
}

impl Description {
    /// Whether rows of the other can be read as rows of this one. Tables may have other numbers.
    fn is_like(&self, other: &Self) -> bool {
        let type_oids = |it: &Self| {
            it.references
                .iter()
                .map(|it| it.type_oid)
                .collect::<Vec<_>>()
        };
        self.columns == other.columns
            && self.casts == other.casts
            && self.raw_types == other.raw_types
            && type_oids(self) == type_oids(other)
    }
}

#[cfg(feature = "datafusion")]
impl Description {
    /// The same statement with other columns, to be compared with it.
    pub(crate) fn with_columns(&self, columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            ..self.clone()
        }
    }

    /// Whether another server whose types have the same names takes the rows as they are. Types of
    /// users have other OIDs there, which stand within arrays and composites; what has no binary form
    /// that we know may hold anything.
    pub(crate) fn is_portable(&self) -> bool {
        let mut columns = self.references.iter().zip(&self.raw_types);
        columns.all(
            |(reference, pg_type)| match reference.type_oid < FIRST_UNFIXED_OID {
                true => pg_type.is_portable(),
                false => pg_type.is_portable() && !pg_type.holds_others(),
            },
        )
    }
}

/// Types below have the same OID in every server (`FirstGenbkiObjectId` in
/// `src/include/access/transam.h`).
#[cfg(feature = "datafusion")]
const FIRST_UNFIXED_OID: u32 = 10_000;

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

impl Reference {
    fn of(column: &DescribedColumn) -> Self {
        Self {
            type_oid: column.type_oid,
            modifier: column.type_modifier,
            origin: table_column(column),
        }
    }
}

/// How the columns of a description are to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reading {
    /// As the user wants the types with more than one mapping.
    Options(TypeOptions),
    /// Likewise, but columns of type `numeric(p,s)` are decimals in any case, to be added up, and text is
    /// no view: DataFusion says what becomes of it.
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
            Self::Aggregate(options) => pg_type.with_options(&TypeOptions {
                text: crate::types::TextAs::Offsets,
                ..options
            }),
        }
    }
}

/// Asks the shard for the columns and parameters of a statement (Parse and Describe).
///
/// # Errors
/// Those of the server; with the place, if it is the user's own text.
pub(crate) async fn describe(
    session: &mut Session,
    statement: &Statement,
    origin: SqlOrigin,
    reading: Reading,
) -> Result<Description> {
    let shard = session.shard().to_owned();
    let (connection, asked) = session.begin_description(statement.text())?;
    // Boxed, as what follows: with both inside, the futures of a query are large.
    let described = Box::pin(connection.describe(statement.text(), asked))
        .await
        .map_err(|error| statement_error(connection, error, statement, origin).with_shard(&shard));
    session.done();
    let described = described?.ok_or_else(|| {
        let error = Error::new(
            ErrorKind::Decode,
            "the server's answer is not in PostgreSQL's protocol: it does not describe the query",
        );
        session
            .blame(error)
            .with_phase(Phase::Describe)
            .with_shard(&shard)
    })?;
    let column_types = described.columns.iter().map(|column| column.type_oid);
    let parameter_types = described.parameters.iter().copied();
    let oids = column_types.chain(parameter_types);
    let types = Box::pin(OidTypes::look_up(session, oids))
        .await
        .map_err(|error| error.with_shard(&shard))?;
    let dimensions = array_dimensions(session, &types, &described.columns).await?;
    let mut raw_types = Vec::new();
    let mut columns = Vec::new();
    for column in &described.columns {
        let raw_type = PgType::from_catalog(
            &types.get(column.type_oid)?,
            column.type_modifier,
            dimensions.get(&table_column(column)).copied().unwrap_or(0),
            &types.modifiers,
        );
        columns.push(Column::new(&column.name, reading.apply(raw_type.clone())));
        raw_types.push(raw_type);
    }
    let mut parameters = Vec::new();
    let mut casts = Vec::new();
    for (index, oid) in described.parameters.iter().enumerate() {
        let oid_type = types.get(*oid)?;
        casts.push(cast_target(&oid_type));
        // A parameter has no modifier, and an array no number of dimensions.
        let raw_type = PgType::from_catalog(&oid_type, -1, 0, &types.modifiers);
        parameters.push(Column::new(
            format!("${}", index + 1),
            reading.apply(raw_type),
        ));
    }
    Ok(Description {
        columns,
        parameters,
        casts,
        raw_types,
        references: described.columns.iter().map(Reference::of).collect(),
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

/// Adds the place in the user's text to an error about it. Errors about the state of the server, such
/// as a lock that cannot be had, may name a place too, but have no cause there.
fn statement_error(
    connection: &Connection,
    error: tokio_postgres::Error,
    statement: &Statement,
    origin: SqlOrigin,
) -> Error {
    // A place in another text would be looked for in the user's.
    let position = error_position(&error).filter(|_| origin == SqlOrigin::User);
    let ours = connection
        .error(error, Phase::Describe)
        .with_sql_origin(origin);
    let code = ours.sql_state().unwrap_or_default();
    if ["08", "25", "26", "40", "53", "55", "57", "58"].contains(&code.get(..2).unwrap_or_default())
    {
        return ours;
    }
    match position.and_then(|position| statement::locate(statement.text(), position)) {
        Some((line, column, text)) => {
            let place = format!("line {line}, column {column}");
            let folded = match code {
                // No such table, no such column.
                "42P01" | "42703" => statement::folded_name(text, column),
                _ => None,
            };
            let is_quoted = text.chars().nth(column.saturating_sub(1)) == Some('"');
            let advice = match (ours.hint(), folded) {
                (Some(hint), _) => hint.to_owned(),
                (None, Some(name)) => format!(
                    "PostgreSQL reads unquoted names in small letters; a name with capitals needs quotes: \"{name}\""
                ),
                (None, None) if code == "42703" && is_quoted => QUOTED.to_owned(),
                (None, None) => LOOK_HERE.to_owned(),
            };
            let hint = format!("{advice}\n{}", pointer(text, column));
            ours.with_context(&place).replace_hint(hint)
        }
        None => ours,
    }
}

/// Where there is nothing better to say.
pub(crate) const LOOK_HERE: &str = "look at this place in the query";

/// Where text was meant.
const QUOTED: &str = "double quotes are for names; text stands in single quotes: 'text'";

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

type Origin = (Option<u32>, Option<i16>);

fn table_column(column: &DescribedColumn) -> Origin {
    (column.table, column.attribute)
}

/// How many dimensions the tables declare for the array columns.
async fn array_dimensions(
    session: &mut Session,
    types: &OidTypes,
    columns: &[DescribedColumn],
) -> Result<HashMap<Origin, i32>> {
    let mut origins = String::new();
    for column in columns {
        let is_array = matches!(types.get(column.type_oid)?.kind(), Kind::Array(_));
        if let (true, (Some(table), Some(number))) = (is_array, table_column(column)) {
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
    let expected = description.casts.len();
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
        .casts
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
        for (index, (left, right)) in first.casts.iter().zip(&other.casts).enumerate() {
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
