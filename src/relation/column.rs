//! A column of a relation: what SQL calls it and its type, and how its values are written.

use std::fmt::Write as _;

use crate::error::{Error, ErrorKind, Phase, Result};
use crate::plan::StepColumn;
use crate::scan::SqlType;

/// A column of the rows of a step.
#[derive(Debug, Clone)]
pub(super) struct RelationColumn {
    pub(super) name: String,
    /// As SQL, if it is not the default of the type.
    pub(super) collation: Option<String>,
    pub(super) sql_type: SqlType,
    pub(super) encoding: Encoding,
}

/// How the values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As an array of the column's type.
    Own { delimiter: char },
    /// As texts that are cast: PostgreSQL has no array of the column's type.
    Text,
    /// As numbers: a `"char"` is one byte, and those above 127 are no text in UTF-8.
    Byte,
}

impl Encoding {
    pub(super) fn delimiter(self) -> char {
        match self {
            Self::Own { delimiter } => delimiter,
            Self::Text | Self::Byte => ',',
        }
    }
}

impl RelationColumn {
    /// The columns of a relation, which have these types.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a column whose values cannot be written;
    /// [`ErrorKind::Internal`] when there are more or fewer types than columns.
    pub(super) fn all(
        relation: &str,
        columns: &[StepColumn],
        types: Vec<SqlType>,
    ) -> Result<Vec<Self>> {
        if columns.len() != types.len() {
            return Err(Error::fault(format!(
                "relation {relation} is planned with {} columns, and has {}",
                columns.len(),
                types.len()
            ))
            .with_phase(Phase::Merge));
        }
        columns
            .iter()
            .zip(types)
            .map(|(column, sql_type)| Self::try_new(relation, column, sql_type))
            .collect()
    }

    fn try_new(relation: &str, column: &StepColumn, sql_type: SqlType) -> Result<Self> {
        if sql_type.pseudo {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "column {:?} of relation {relation} has type {}, whose values cannot be \
                     handed to another server",
                    column.name, sql_type.name
                ),
            )
            .with_phase(Phase::Merge)
            .with_hint("cast it to a type that has a name: a composite type, or text"));
        }
        // Neither the text nor the binary form of a value has all that a cast to text gives: see
        // `print_xml_decl` in `src/backend/utils/adt/xml.c`.
        if sql_type.holds_xml {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "column {:?} of relation {relation} has type {}: the declarations (<?xml ..?>) of xml \
                     cannot be handed to another server",
                    column.name, sql_type.name
                ),
            )
            .with_phase(Phase::Merge)
            .with_hint("cast the xml to text in a subquery, before rows of several shards are needed together"));
        }
        let encoding = match sql_type.delimiter {
            _ if sql_type.name == "\"char\"" => Encoding::Byte,
            Some(delimiter) => Encoding::Own { delimiter },
            None => Encoding::Text,
        };
        Ok(Self {
            name: column.name.clone(),
            collation: column.collation.clone(),
            sql_type,
            encoding,
        })
    }

    /// The type of the elements of an array of the values.
    pub(super) fn array_element(&self) -> &str {
        match self.encoding {
            Encoding::Own { .. } => &self.sql_type.name,
            Encoding::Text => "pg_catalog.text",
            Encoding::Byte => BYTE,
        }
    }

    /// The type of a table's column into which COPY reads the text of the values.
    pub(super) fn stored_type(&self) -> &str {
        match self.encoding {
            Encoding::Own { .. } | Encoding::Text => &self.sql_type.name,
            Encoding::Byte => BYTE,
        }
    }

    /// The column as it was, with type modifier, domain and collation, which an array's elements
    /// do not have.
    pub(super) fn write_expression(&self, reference: &str, sql: &mut String) {
        let name = &self.sql_type.name;
        let _ = match &self.sql_type.domain {
            // A column can be NULL where its domain does not allow that, behind an outer join. A
            // cast would check it, and the NULL that a subquery of no rows gives is not checked.
            Some(domain) => write!(
                sql,
                "(SELECT {reference}::{name}::{domain} \
                 WHERE pg_catalog.num_nulls({reference}) = 0)"
            ),
            None => write!(sql, "{reference}::{name}"),
        };
        if let Some(collation) = &self.collation {
            let _ = write!(sql, " COLLATE {collation}");
        }
    }
}

/// The type that stands in for `"char"`.
const BYTE: &str = "pg_catalog.int4";

/// The byte of a `"char"`, as PostgreSQL's signed number; its text is empty for zero, and `\377`
/// for what is not ASCII.
pub(super) fn byte_of(text: &str) -> Result<i8> {
    let byte = match text.as_bytes() {
        [] => Some(0),
        [byte] if byte.is_ascii() => Some(*byte),
        [b'\\', ..] => u8::from_str_radix(&text[1..], 8).ok(),
        _ => None,
    };
    byte.map(u8::cast_signed)
        .ok_or_else(|| Error::fault(format!("{text:?} is no \"char\"")).with_phase(Phase::Merge))
}
