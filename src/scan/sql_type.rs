//! What SQL calls the types of a query's columns, so that values can be written as literals.

use std::fmt::Write as _;

use tokio::sync::oneshot;

use super::{Description, Prelude, Reference};
use crate::connect::{Row, Session};
use crate::error::{Error, ErrorKind, Phase, Result};

/// A column's type as SQL that PostgreSQL understands whatever the `search_path` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlType {
    /// With its modifier: `numeric(15,2)`, `sales."Mood"[]`. Of a domain it is the base type.
    pub(crate) name: String,
    /// The domain that a table declares the column with; the protocol tells only its base type.
    pub(crate) domain: Option<String>,
    /// What stands between the elements of an array of this type; `None` if there is no such type,
    /// as PostgreSQL has no arrays of arrays.
    pub(crate) delimiter: Option<char>,
    /// A type such as `record`, of which no literals can be written.
    pub(crate) pseudo: bool,
    /// Whether values are, or hold, `xml`.
    pub(crate) holds_xml: bool,
}

impl SqlType {
    /// A built-in type that is no array.
    pub(crate) fn builtin(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            domain: None,
            delimiter: Some(','),
            pseudo: false,
            holds_xml: false,
        }
    }
}

/// Asks the shard that gave the description for the names of the types of its columns.
///
/// # Errors
/// Those of the connection.
pub(crate) async fn sql_types(
    session: &mut Session,
    description: &Description,
) -> Result<Vec<SqlType>> {
    let (question, types) = SqlTypes::of(description);
    if let Some(question) = question {
        question.run(session).await?;
    }
    types.get()
}

/// The names of the types of a description's columns, once they were asked for.
pub(crate) struct SqlTypes {
    columns: usize,
    rows: Option<oneshot::Receiver<Vec<Row>>>,
}

impl SqlTypes {
    /// With the question for them, to be asked of the shard that gave the description; none where there is no
    /// column.
    pub(crate) fn of(description: &Description) -> (Option<Prelude>, Self) {
        let columns = description.references.len();
        let asked = (columns > 0).then(|| Prelude::with_rows(query(&description.references)));
        let (question, rows) = asked.unzip();
        (question, Self { columns, rows })
    }

    /// # Errors
    /// [`ErrorKind::Decode`] for an answer that is none; [`ErrorKind::Internal`] where there is none yet.
    pub(crate) fn get(self) -> Result<Vec<SqlType>> {
        let rows = match self.rows {
            Some(mut rows) => rows.try_recv().map_err(|_| Error::fault(UNASKED))?,
            None => Vec::new(),
        };
        let types = rows.iter().map(|row| sql_type(row));
        let types: Vec<_> = types.collect::<Result<_>>()?;
        match types.len() == self.columns {
            true => Ok(types),
            false => Err(unexpected()),
        }
    }
}

const UNASKED: &str = "rows came before the names of their types";

/// `format_type` leaves the schema out where the `search_path` has it, but the next server's may
/// lead elsewhere. The names that it gives for types of `pg_catalog` are SQL's own or found first
/// anyway.
fn query(references: &[Reference]) -> String {
    let mut values = String::new();
    for (index, reference) in references.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let (relation, attribute) = match reference.origin {
            (Some(relation), Some(attribute)) => (relation, attribute),
            _ => (0, 0),
        };
        // Writing to a String does not fail.
        let _ = write!(
            values,
            "{comma}({index}, {}::pg_catalog.oid, {}, {relation}::pg_catalog.oid, {attribute})",
            reference.type_oid, reference.modifier
        );
    }
    // Through elements, what is below domains, and fields.
    let holds_xml = "t.oid = 'pg_catalog.xml'::pg_catalog.regtype \
        OR (t.typtype <> 'b' OR t.typelem <> 0) AND EXISTS ( \
            WITH RECURSIVE parts(oid) AS ( \
                SELECT t.oid \
                UNION SELECT u.part FROM parts p \
                JOIN pg_catalog.pg_type pt ON pt.oid = p.oid \
                CROSS JOIN LATERAL ( \
                    SELECT pt.typelem UNION ALL SELECT pt.typbasetype \
                    UNION ALL SELECT f.atttypid FROM pg_catalog.pg_attribute f \
                    WHERE f.attrelid = pt.typrelid AND f.attnum > 0 AND NOT f.attisdropped) AS u(part)) \
            SELECT FROM parts WHERE parts.oid = 'pg_catalog.xml'::pg_catalog.regtype)";
    format!(
        "SELECT CASE WHEN n.nspname = 'pg_catalog' \
                THEN pg_catalog.format_type(t.oid, v.modifier) \
                ELSE pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(e.typname) \
                     || pg_catalog.substr(pg_catalog.format_type(e.oid, v.modifier), \
                        1 + pg_catalog.length(pg_catalog.format_type(e.oid, NULL))) \
                     || CASE WHEN e.oid = t.oid THEN '' ELSE '[]' END \
                END, \
                pg_catalog.quote_ident(dn.nspname) || '.' || pg_catalog.quote_ident(d.typname), \
                CASE WHEN t.typarray <> 0 THEN t.typdelim END, \
                t.typtype, {holds_xml} \
         FROM (VALUES {values}) AS v(number, type, modifier, relation, attribute) \
         JOIN pg_catalog.pg_type t ON t.oid = v.type \
         LEFT JOIN pg_catalog.pg_type x ON x.oid = t.typelem AND x.typarray = t.oid \
         JOIN pg_catalog.pg_type e ON e.oid = COALESCE(x.oid, t.oid) \
         JOIN pg_catalog.pg_namespace n ON n.oid = e.typnamespace \
         LEFT JOIN pg_catalog.pg_attribute a \
                ON a.attrelid = v.relation AND a.attnum = v.attribute \
         LEFT JOIN pg_catalog.pg_type d ON d.oid = a.atttypid AND d.typtype = 'd' \
         LEFT JOIN pg_catalog.pg_namespace dn ON dn.oid = d.typnamespace \
         ORDER BY v.number"
    )
}

fn sql_type(row: &[Option<String>]) -> Result<SqlType> {
    let [Some(name), domain, delimiter, Some(kind), Some(holds_xml)] = row else {
        return Err(unexpected());
    };
    Ok(SqlType {
        name: name.clone(),
        domain: domain.clone(),
        delimiter: delimiter.as_ref().and_then(|text| text.chars().next()),
        pseudo: kind == "p",
        holds_xml: holds_xml == "t",
    })
}

fn unexpected() -> Error {
    Error::new(ErrorKind::Decode, "unexpected answer of the catalog").with_phase(Phase::Describe)
}
