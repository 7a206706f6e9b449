//! Makes one catalog of those of all shards. Plain code: no I/O.

mod functions;
mod relations;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::facts::{self, Facts};
use super::{Catalog, Collation, DataType, FunctionKind, Object, Objects};
use crate::quote::identifier;

/// The key of the database's own collation among those of columns.
const DEFAULT_COLLATION: &str = "\"default\"";

/// Encodings in which the order of bytes is the order of bytes in UTF-8; that of SQL_ASCII is sent
/// as it is.
const ORDERED_AS_UTF8: [&str; 3] = ["UTF8", "LATIN1", "SQL_ASCII"];

/// The catalog that all shards have in common; `names` are those of the shards.
pub(super) fn compare(names: &[String], facts: &[Facts]) -> Catalog {
    let shards = Shards { names, facts };
    let default_collation = shards.default_collation();
    let search_path = facts.first().map(|facts| facts.search_path.clone());
    let mut catalog = Catalog::new(search_path.unwrap_or_default(), default_collation);
    let encodings = shards.each(|facts| facts.database.encoding.clone());
    if let Some(difference) = shards.differ("encoding of the databases", &encodings) {
        catalog.difference = Some(difference);
    }
    let collations = shards.collations();
    let types = shards.types();
    for relation in shards.relations(&collations, &types, &catalog.default_collation) {
        catalog.relations.add(relation);
    }
    for function in shards.functions() {
        catalog.functions.add(function);
    }
    for operator in shards.operators() {
        catalog.operators.add(operator);
    }
    catalog.casts = shards.casts();
    catalog.type_calls = shards.type_calls();
    let system_types = facts.iter().flat_map(|facts| &facts.system_types);
    catalog.system_types = system_types.cloned().collect();
    let roles = shards.each(|facts| match &facts.role {
        (current, session) if current == session => current.clone(),
        (current, session) => format!("{current} (session user {session})"),
    });
    catalog.role_difference = shards.differ("role of the sessions", &roles);
    let paths = shards.each(|facts| facts.search_path.join(", "));
    catalog.text_search_difference = shards.text_search();
    catalog.path_difference = shards.differ("search path", &paths);
    for data_type in types.into_values() {
        catalog.types.add(data_type);
    }
    for collation in collations.into_values() {
        catalog.collations.add(collation);
    }
    shards.mark_unclear(&mut catalog.relations, Meaning::First);
    shards.mark_unclear(&mut catalog.functions, Meaning::All);
    shards.mark_unclear(&mut catalog.operators, Meaning::All);
    shards.mark_unclear(&mut catalog.types, Meaning::First);
    shards.mark_unclear(&mut catalog.collations, Meaning::First);
    catalog
}

/// How the shards differ on functions of users, a sentence for each name; but for procedures and
/// functions of triggers, which no query calls.
pub(crate) fn function_differences(names: &[String], facts: &[Facts]) -> BTreeSet<String> {
    let shards = Shards { names, facts };
    let triggers: BTreeSet<(&str, &str)> = facts
        .iter()
        .flat_map(|facts| &facts.functions)
        .filter(|it| it.signature.as_deref().is_some_and(is_of_triggers))
        .map(|it| (&*it.schema, &*it.name))
        .collect();
    let functions = shards.functions().into_iter().filter(|it| {
        it.kind != FunctionKind::Procedure && !triggers.contains(&(&*it.schema, &*it.name))
    });
    functions.filter_map(|it| it.difference).collect()
}

fn is_of_triggers(signature: &str) -> bool {
    [" returns trigger", " returns event_trigger"]
        .iter()
        .any(|end| signature.ends_with(end))
}

/// Which shards have which value, where not all have the same; shards with `None` have no say.
pub(crate) fn differences(names: &[String], values: &[Option<String>]) -> Option<String> {
    let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
    for (shard, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        match groups.iter_mut().find(|(other, _)| other == value) {
            Some((_, shards)) => shards.push(shard),
            None => groups.push((value, vec![shard])),
        }
    }
    if groups.len() < 2 {
        return None;
    }
    let shown = groups
        .iter()
        .map(|(value, shards)| format!("{value} on {}", name_list(names, shards)));
    Some(shown.collect::<Vec<_>>().join("; "))
}

/// `s0, s1 and s2`.
pub(crate) fn name_list(names: &[String], shards: &[usize]) -> String {
    let shown: Vec<&str> = shards
        .iter()
        .filter_map(|shard| names.get(*shard).map(String::as_str))
        .collect();
    match shown.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// How far a name without a schema reaches along the search path.
#[derive(Clone, Copy, PartialEq)]
enum Meaning {
    First,
    All,
}

struct Shards<'a> {
    names: &'a [String],
    facts: &'a [Facts],
}

/// What each shard has of one thing.
type PerShard<'a, T> = Vec<Option<&'a T>>;

impl<'a> Shards<'a> {
    fn each(&self, read: impl Fn(&Facts) -> String) -> Vec<Option<String>> {
        self.facts.iter().map(|facts| Some(read(facts))).collect()
    }

    /// Says that values differ, if they do.
    fn differ(&self, what: &str, values: &[Option<String>]) -> Option<String> {
        let differences = differences(self.names, values)?;
        Some(format!("{what} differs: {differences}"))
    }

    /// Says where a thing is missing, if it is.
    fn missing<T>(&self, what: &str, shards: &PerShard<'_, T>) -> Option<String> {
        let missing: Vec<usize> = (0..shards.len())
            .filter(|shard| matches!(shards.get(*shard), Some(None)))
            .collect();
        match missing.is_empty() {
            true => None,
            false => Some(format!(
                "{what} is missing on {}",
                name_list(self.names, &missing)
            )),
        }
    }

    /// The things of all shards by their key.
    fn by_key<K: Ord, T: 'a>(
        &self,
        things: impl Fn(&'a Facts) -> Vec<(K, &'a T)>,
    ) -> BTreeMap<K, PerShard<'a, T>> {
        let mut found: BTreeMap<K, PerShard<'a, T>> = BTreeMap::new();
        for (shard, facts) in self.facts.iter().enumerate() {
            for (key, thing) in things(facts) {
                let shards = found
                    .entry(key)
                    .or_insert_with(|| vec![None; self.facts.len()]);
                if let Some(place) = shards.get_mut(shard) {
                    *place = Some(thing);
                }
            }
        }
        found
    }

    /// The first configuration or dictionary of text search that is not the same everywhere.
    fn text_search(&self) -> Option<String> {
        let found = self.by_key(|facts| {
            let all = facts.text_search.iter();
            all.map(|(name, definition)| (name.as_str(), definition))
                .collect()
        });
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
        let found = self.by_key(|facts| {
            let collations = facts.collations.iter();
            collations.map(|(sql, it)| (sql.as_str(), it)).collect()
        });
        let merged = found.into_iter().filter_map(|(sql, shards)| {
            let first = shards.iter().copied().flatten().next()?;
            let what = format!("collation {sql}");
            let values: Vec<Option<String>> = shards
                .iter()
                .map(|it| it.map(facts::Collation::describe))
                .collect();
            let mut present = shards
                .iter()
                .zip(self.facts)
                .filter_map(|(it, facts)| Some(((*it)?, facts)));
            let collation = Collation {
                schema: first.schema.clone(),
                name: first.name.clone(),
                sql: Some(label(&first.schema, &first.name)),
                deterministic: present.clone().all(|(it, _)| it.deterministic),
                bytewise: present
                    .all(|(it, facts)| is_bytewise(facts, &it.provider, it.locale.as_deref())),
                difference: self
                    .missing(&what, &shards)
                    .or_else(|| self.differ(&what, &values)),
            };
            Some((sql, collation))
        });
        merged.collect()
    }

    /// The types of users, by their name in SQL.
    fn types(&self) -> BTreeMap<&'a str, DataType> {
        let found = self.by_key(|facts| {
            let types = facts.types.iter();
            types.map(|(sql, it)| (sql.as_str(), it)).collect()
        });
        let own: BTreeMap<&str, Option<String>> = found
            .iter()
            .map(|(sql, shards)| {
                let what = format!("type {sql}");
                let values: Vec<Option<String>> = shards
                    .iter()
                    .map(|it| it.map(facts::Type::describe))
                    .collect();
                let difference = self
                    .missing(&what, shards)
                    .or_else(|| self.differ(&what, &values));
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
    types: &BTreeMap<&str, PerShard<'_, facts::Type>>,
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
