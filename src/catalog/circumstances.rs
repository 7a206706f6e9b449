//! What one database does around a query, as it is read: settings, policies, rights.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::identity::{self, Identity};
use crate::error::Result;
use crate::quote;

/// The query that gives it as one JSON document; see [`query`].
const QUERY: &str = include_str!("circumstances.sql");

/// What PostgreSQL adds to a query that the connected role sends, and what it answers by.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Circumstances {
    pub(super) identity: Identity,
    /// `current_user`.
    pub(super) role: String,
    /// `session_user`.
    pub(super) session_role: String,
    /// `pg_settings`, with names in lower case, as they are in the session of a query.
    pub(super) settings: BTreeMap<String, Option<String>>,
    /// The names of those that a session may have other than its server.
    pub(super) session_settings: Vec<String>,
    /// Settings without a definition, as role and database have them.
    pub(super) stored: BTreeMap<String, String>,
    /// Settings without a definition that policies or we have asked about.
    pub(super) asked: BTreeMap<String, Option<String>>,
    /// The names of the extensions.
    pub(super) extensions: Vec<String>,
    pub(super) relations: Vec<RelationCircumstances>,
}

/// A table or view, as the connected role meets it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RelationCircumstances {
    pub(super) schema: String,
    pub(super) name: String,
    /// Whether the connected role may read all columns.
    pub(super) readable: bool,
    /// Whether policies filter its rows for the connected role.
    pub(super) row_security: bool,
    /// Those for SELECT that the connected role falls under.
    pub(super) policies: Option<Vec<Policy>>,
    /// Of a view, the role that reads what it reads.
    pub(super) reads_as: Option<String>,
    pub(super) reads: Option<Vec<Read>>,
    /// Schema and name of the tables of which each row names one.
    pub(super) references: Option<Vec<(String, String)>>,
    /// Whether it had rows when it was analyzed.
    pub(super) has_rows: bool,
    /// The number of rows as ANALYZE has it, and as the counters of changes have it.
    pub(super) estimates: Option<(f64, f64)>,
}

/// `pg_policy`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Policy {
    pub(crate) name: String,
    /// Whether it lets rows through, or holds back such that others let through.
    pub(crate) permissive: bool,
    /// USING.
    pub(crate) expression: Option<String>,
    /// What it calls of users, for people.
    pub(crate) calls: Vec<String>,
}

/// A relation that a view reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Read {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Whether the role as which the view reads may.
    pub(crate) readable: bool,
    /// Whether policies filter its rows for that role.
    pub(crate) row_security: bool,
}

/// The query; `names` are settings without a definition to ask about.
///
/// # Errors
/// A name that no text in PostgreSQL can be.
pub(super) fn query(names: &[String]) -> Result<String> {
    let elements: Vec<String> = names
        .iter()
        .map(|name| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    let array = quote::literal(&format!("{{{}}}", elements.join(",")))?;
    let query = QUERY.replace("{identity}", identity::EXPRESSION);
    Ok(query.replace("{names}", &array))
}
