//! What one database does around a query, as it is read: settings, policies, rights.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::identity::{self, Identity};
use crate::error::Result;
use crate::quote;

/// The query that gives what is of the moment as one JSON document; see [`query`].
const QUERY: &str = include_str!("circumstances.sql");

/// The query that gives the [`Rights`] as another.
pub(super) const RIGHTS: &str = include_str!("rights.sql");

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
    /// Schema and name of tables that had rows when they were analyzed, and how many: as ANALYZE has it, and
    /// of plain tables as the counters of changes have it.
    sizes: Vec<(String, String, f64, Option<f64>)>,
    /// The names of the extensions.
    #[serde(default)]
    pub(super) extensions: Vec<String>,
    #[serde(default)]
    pub(super) relations: Vec<RelationCircumstances>,
}

/// What of it changes with the catalogs alone.
#[derive(Debug, Deserialize)]
pub(super) struct Rights {
    /// The settings without a definition that policies ask about.
    asked: Vec<String>,
    extensions: Vec<String>,
    relations: Vec<RelationCircumstances>,
}

impl Circumstances {
    /// The settings that were not asked for, though policies ask about them.
    pub(super) fn unasked(&self, rights: &Rights) -> Vec<String> {
        let names = rights.asked.iter();
        let unasked = names.filter(|name| !self.asked.contains_key(*name));
        unasked.cloned().collect()
    }

    /// The whole, with the values of such settings.
    pub(super) fn with(mut self, rights: Rights, asked: BTreeMap<String, Option<String>>) -> Self {
        self.asked.extend(asked);
        self.extensions = rights.extensions;
        self.relations = rights.relations;
        let sizes = std::mem::take(&mut self.sizes);
        let sizes: HashMap<_, _> = sizes
            .into_iter()
            .map(|(schema, name, analyzed, counted)| ((schema, name), (analyzed, counted)))
            .collect();
        for relation in &mut self.relations {
            let name = (relation.schema.clone(), relation.name.clone());
            let Some((analyzed, counted)) = sizes.get(&name) else {
                continue;
            };
            relation.has_rows = true;
            relation.estimates = counted.map(|counted| (*analyzed, counted));
        }
        self
    }
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
    #[serde(default)]
    pub(super) has_rows: bool,
    /// The number of rows as ANALYZE has it, and as the counters of changes have it.
    #[serde(default)]
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
    let query = QUERY.replace("{identity}", identity::EXPRESSION);
    Ok(query.replace("{names}", &array(names)?))
}

/// The query for the values of these settings alone.
///
/// # Errors
/// As [`query`].
pub(super) fn asked_query(names: &[String]) -> Result<String> {
    let names = array(names)?;
    Ok(format!(
        "SELECT json_object_agg(a.name, current_setting(a.name, true)) FROM unnest({names}::text[]) AS a(name)"
    ))
}

fn array(names: &[String]) -> Result<String> {
    let elements: Vec<String> = names
        .iter()
        .map(|name| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    quote::literal(&format!("{{{}}}", elements.join(",")))
}
