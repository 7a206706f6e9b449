//! Compares the facts of all shards: what they have in common, as one catalog, and how they differ.
//! Plain code: no I/O.
//!
//! Everybody who has to do with differences takes them from here: of a thing that a query uses, the
//! planner refuses with the first that could change an answer, and the inspection shows all.

mod differences;
mod functions;
mod per_shard;
mod relations;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(crate) use self::differences::Aspect;
use self::per_shard::each;
pub(crate) use self::per_shard::{PerShard, by_key, differences, name_list, places};
use super::facts::{self, Facts};
use super::{Catalog, Collation, DataType, Object, Objects};
use crate::quote::identifier;

/// The key of the database's own collation among those of columns.
const DEFAULT_COLLATION: &str = "\"default\"";

/// Encodings in which the order of bytes is the order of bytes in UTF-8; that of SQL_ASCII is sent
/// as it is.
const ORDERED_AS_UTF8: [&str; 3] = ["UTF8", "LATIN1", "SQL_ASCII"];

/// The facts of all shards, side by side.
pub(crate) struct Comparison<'a> {
    names: &'a [String],
    facts: Vec<&'a Facts>,
}

/// How far a name without a schema reaches along the search path.
#[derive(Clone, Copy, PartialEq)]
enum Meaning {
    First,
    All,
}

impl<'a> Comparison<'a> {
    /// Of the facts of the shards of these names.
    pub(crate) fn new(names: &'a [String], facts: impl IntoIterator<Item = &'a Facts>) -> Self {
        Self {
            names,
            facts: facts.into_iter().collect(),
        }
    }

    /// The catalog that all shards have in common.
    pub(super) fn catalog(&self) -> Catalog {
        let default_collation = self.default_collation();
        let search_path = self.facts.first().map(|facts| facts.search_path.clone());
        let mut catalog = Catalog::new(search_path.unwrap_or_default(), default_collation);
        let encodings = self.each(|facts| facts.database.encoding.clone());
        if let Some(difference) = self.differ("encoding of the databases", &encodings) {
            catalog.difference = Some(difference);
        }
        let collations = self.collations();
        let types = self.types();
        for relation in self.relations(&collations, &types, &catalog.default_collation) {
            catalog.add_relation(relation);
        }
        for function in self.functions() {
            catalog.functions.add(function);
        }
        for operator in self.operators() {
            catalog.operators.add(operator);
        }
        catalog.casts = self.casts();
        catalog.type_calls = self.type_calls();
        let system_types = self.facts.iter().flat_map(|facts| &facts.system_types);
        catalog.system_types = system_types.cloned().collect();
        let roles = self.each(|facts| match &facts.role {
            (current, session) if current == session => current.clone(),
            (current, session) => format!("{current} (session user {session})"),
        });
        catalog.role_difference = self.differ("role of the sessions", &roles);
        let paths = self.each(|facts| facts.search_path.join(", "));
        catalog.text_search_difference = self.text_search();
        catalog.path_difference = self.differ("search path", &paths);
        for data_type in types.into_values() {
            catalog.types.add(data_type);
        }
        for collation in collations.into_values() {
            catalog.collations.add(collation);
        }
        self.mark_unclear(&mut catalog.relations, Meaning::First);
        self.mark_unclear(&mut catalog.functions, Meaning::All);
        self.mark_unclear(&mut catalog.operators, Meaning::All);
        self.mark_unclear(&mut catalog.types, Meaning::First);
        self.mark_unclear(&mut catalog.collations, Meaning::First);
        catalog
    }

    /// Says that values differ, if they do.
    pub(crate) fn differ<S: AsRef<str>>(&self, what: &str, values: &[Option<S>]) -> Option<String> {
        let differences = differences(self.names, values)?;
        Some(format!("{what} differs: {differences}"))
    }

    fn each(&self, read: impl Fn(&Facts) -> String) -> PerShard<String> {
        self.facts.iter().map(|facts| Some(read(facts))).collect()
    }

    /// Says where a thing is missing, if it is.
    fn missing<T>(&self, what: &str, shards: &PerShard<T>) -> Option<String> {
        let missing = self.missing_on(&places(shards, Option::is_none))?;
        Some(format!("{what} is {missing}"))
    }

    fn missing_on(&self, shards: &[usize]) -> Option<String> {
        let is_missing = !shards.is_empty();
        is_missing.then(|| format!("missing on {}", name_list(self.names, shards)))
    }

    /// How the shards differ on a thing: where it is missing, or else what it is.
    fn difference<T>(
        &self,
        what: &str,
        shards: &PerShard<&T>,
        describe: impl Fn(&T) -> String,
    ) -> Option<String> {
        self.missing(what, shards)
            .or_else(|| self.differ(what, &each(shards, describe)))
    }

    /// The first configuration or dictionary of text search that is not the same everywhere.
    fn text_search(&self) -> Option<String> {
        let found = by_key(self.facts.iter().map(|facts| &facts.text_search));
        found.into_iter().find_map(|(name, shards)| {
            let what = format!("text search: {name}");
            let first = shards.first().copied().flatten();
            let same = shards.iter().all(|definition| *definition == first);
            (!same).then(|| {
                self.missing(&what, &shards)
                    .unwrap_or_else(|| format!("{what} is not the same on all shards"))
            })
        })
    }

    fn default_collation(&self) -> Collation {
        let values = self.each(|facts| facts.database.collation());
        Collation {
            schema: "pg_catalog".to_owned(),
            name: "default".to_owned(),
            sql: None,
            deterministic: true,
            bytewise: self.facts.iter().all(|facts| {
                let database = &facts.database;
                is_bytewise(facts, &database.provider, database.collate.as_deref())
            }),
            difference: self.differ("collation of the databases", &values),
        }
    }

    /// All other collations, by their name in SQL.
    fn collations(&self) -> BTreeMap<&'a str, Collation> {
        let found = by_key(self.facts.iter().map(|facts| &facts.collations));
        let merged = found.into_iter().filter_map(|(sql, shards)| {
            let first = shards.iter().copied().flatten().next()?;
            let what = format!("collation {sql}");
            let mut present = shards
                .iter()
                .zip(&self.facts)
                .filter_map(|(it, facts)| Some(((*it)?, facts)));
            let collation = Collation {
                schema: first.schema.clone(),
                name: first.name.clone(),
                sql: Some(label(&first.schema, &first.name)),
                deterministic: present.clone().all(|(it, _)| it.deterministic),
                bytewise: present
                    .all(|(it, facts)| is_bytewise(facts, &it.provider, it.locale.as_deref())),
                difference: self.difference(&what, &shards, facts::Collation::describe),
            };
            Some((sql.as_str(), collation))
        });
        merged.collect()
    }

    /// The types of users, by their name in SQL.
    fn types(&self) -> BTreeMap<&'a str, DataType> {
        let found = by_key(self.facts.iter().map(|facts| {
            let types = facts.types.iter();
            types.map(|(sql, it)| (sql.as_str(), it))
        }));
        let own: BTreeMap<&str, Option<String>> = found
            .iter()
            .map(|(sql, shards)| {
                let what = format!("type {sql}");
                let difference = self.difference(&what, shards, facts::Type::describe);
                (*sql, difference)
            })
            .collect();
        let merged = found.iter().filter_map(|(sql, shards)| {
            let first = shards.iter().copied().flatten().next()?;
            let data_type = DataType {
                schema: first.schema.clone(),
                name: first.name.clone(),
                sql: (*sql).to_owned(),
                kind: first.kind,
                difference: difference_within(sql, &own, &found),
            };
            Some((*sql, data_type))
        });
        merged.collect()
    }

    /// Finds the names that mean different things on different shards without a schema, because
    /// search paths differ.
    fn mark_unclear<T: Object>(&self, objects: &mut Objects<T>, meaning: Meaning) {
        let paths: Vec<&[String]> = self.facts.iter().map(|it| &*it.search_path).collect();
        if paths.windows(2).all(|pair| pair[0] == pair[1]) {
            return;
        }
        let mut unclear = HashMap::new();
        for (name, same) in &objects.by_name {
            let meanings: Vec<Vec<&str>> = paths
                .iter()
                .map(|path| {
                    let schemas = path.iter().map(String::as_str);
                    let found = schemas.filter(|path| same.iter().any(|it| it.schema() == *path));
                    found
                        .take(match meaning {
                            Meaning::First => 1,
                            Meaning::All => usize::MAX,
                        })
                        .collect()
                })
                .collect();
            let shown: Vec<Option<String>> = meanings
                .iter()
                .map(|schemas| {
                    let names: Vec<String> = schemas
                        .iter()
                        .map(|schema| format!("{schema}.{name}"))
                        .collect();
                    Some(match names.is_empty() {
                        true => "nothing".to_owned(),
                        false => names.join(", "),
                    })
                })
                .collect();
            let what = format!("what the search path makes of {name}");
            let Some(difference) = self.differ(&what, &shown) else {
                continue;
            };
            let is_meant = |it: &&T| {
                meanings
                    .iter()
                    .any(|schemas| schemas.contains(&it.schema()))
            };
            let marked = same.iter().filter(is_meant).cloned().map(|mut it| {
                *it.difference_mut() = Some(difference.clone());
                it
            });
            unclear.insert(name.clone(), marked.collect());
        }
        objects.unclear = unclear;
    }
}

/// The difference of a type, or of the nearest one that it is made of.
fn difference_within(
    sql: &str,
    own: &BTreeMap<&str, Option<String>>,
    types: &BTreeMap<&str, PerShard<&facts::Type>>,
) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut queue = vec![sql];
    while let Some(sql) = queue.pop() {
        if !seen.insert(sql) {
            continue;
        }
        if let Some(Some(difference)) = own.get(sql) {
            return Some(difference.clone());
        }
        let shards = types.get(sql).into_iter().flatten();
        let parts = shards.flatten().flat_map(|it| it.parts.iter().flatten());
        queue.extend(parts.map(|part| element_name(part)));
    }
    None
}

/// The type that an array is made of, by their names in SQL.
fn element_name(sql: &str) -> &str {
    // A type whose own name ends so has it in quotes.
    sql.trim_end_matches("[]")
}

/// Whether a collation compares bytes; `locale` is the one for comparisons.
fn is_bytewise(facts: &Facts, provider: &str, locale: Option<&str>) -> bool {
    let compares_bytes = match provider {
        // PostgreSQL asks the C library about all locales but these two.
        "c" => matches!(locale, Some("C" | "POSIX")),
        "b" => true,
        _ => false,
    };
    compares_bytes && ORDERED_AS_UTF8.contains(&&*facts.database.encoding)
}

/// Schema and name as SQL reads them.
fn label(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

#[cfg(test)]
mod tests;
