//! Finds out which column tells the shard of a row, and whether two tables live together.
//!
//! A key's values are compared in a canonical text, so that what PostgreSQL holds equal is equal.
//! Samples of them travel between shards; where all rows are checked, hashes of all of them come
//! here, sorted by the servers, and equal ones are looked at again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::contents::Reading;
use super::drift::RelationKind;
use super::meet::meet;
use super::merged::{Merged, MergedColumn};
use super::shards::{EXAMPLES, Refusal, Shards, column, number};
use crate::error::{Error, Result};
use crate::quote::{identifier, literal};

/// The most keys that are taken of one shard, and that all shards are asked about together.
const SAMPLE_KEYS: usize = 1_000;
const SAMPLE_KEYS_OF_ALL: usize = 20_000;

/// How many rows of a large table the keys are taken from.
const SAMPLED_ROWS: f64 = 50_000.0;

/// How many equal hashes are looked at again, to see whether their keys are equal too.
const RECHECKED: usize = 100;

/// Fewer common keys than this may be on the same shards by chance.
const KEYS_OF_A_GROUP: usize = 10;

/// A column of a table, by which its rows may be assigned to shards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) table: &'a Merged,
    pub(super) column: &'a MergedColumn,
}

/// A key that more than one shard has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) key: String,
    /// The shards, each with the place of the table among those that were looked at.
    pub(super) homes: Vec<(usize, usize)>,
}

/// Whether any key is on two shards.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Disjoint {
    /// None of those that were looked at: how many of each shard.
    Yes {
        keys: Vec<u64>,
    },
    /// Some are: examples, and how many of how many.
    No {
        examples: Vec<Stray>,
        strays: usize,
        keys: u64,
    },
    Refused(Refusal),
}

/// The keys of each shard that stand for all of its keys, in canonical text.
pub(super) type Sample = Vec<Vec<String>>;

impl<'a> Key<'a> {
    pub(super) fn new(table: &'a Merged, column: &str) -> Option<Self> {
        let column = table.column(column)?;
        Some(Self { table, column })
    }

    pub(super) fn is_integer(&self) -> bool {
        matches!(&*self.column.base, "smallint" | "integer" | "bigint")
    }

    /// Whether keys of the two can be equal to each other.
    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        self.column.base == other.column.base || self.is_integer() && other.is_integer() || {
            let texts = ["text", "character varying"];
            texts.contains(&&*self.column.base) && texts.contains(&&*other.column.base)
        }
    }

    /// The column of the row `t`.
    pub(super) fn sql(&self) -> String {
        format!("t.{}", identifier(&self.column.name))
    }

    /// The column of the row `t` as a text that is the same for equal values.
    fn canonical(&self) -> String {
        let column = self.sql();
        let text = match &*self.column.base {
            "numeric" => format!("pg_catalog.trim_scale({column})::text"),
            // -0 equals 0.
            "real" | "double precision" => format!("({column} + 0)::text"),
            base if base == "citext" || base.ends_with(".citext") => {
                format!("pg_catalog.lower({column}::text)")
            }
            _ => format!("{column}::text"),
        };
        format!("({text} COLLATE \"C\")")
    }

    /// Whether equal values have equal canonical texts for sure.
    pub(super) fn is_exact(&self) -> bool {
        let known = [
            "smallint",
            "integer",
            "bigint",
            "oid",
            "numeric",
            "real",
            "double precision",
            "uuid",
            "boolean",
            "date",
            "time without time zone",
            "timestamp without time zone",
            "timestamp with time zone",
            "bytea",
            "text",
            "character varying",
            "bpchar",
            "name",
            "macaddr",
        ];
        self.column.deterministic && (self.column.is_enum || known.contains(&&*self.column.base))
    }

    /// Whether a text of another shard can be cast to the type of the column, so that an index can
    /// find it; and so that equal keys are found whose texts differ.
    fn is_castable(&self) -> bool {
        let base = &*self.column.base;
        let is_text = ["text", "character varying", "interval", "jsonb"].contains(&base);
        let is_citext = base == "citext" || base.ends_with(".citext");
        if self.column.same_type && !self.is_exact() && (is_text || is_citext) {
            return true;
        }
        let types = [
            "smallint",
            "integer",
            "bigint",
            "uuid",
            "date",
            "text",
            "character varying",
        ];
        self.column.same_type && self.column.deterministic && types.contains(&&*self.column.base)
    }

    /// The question which of these keys a shard has.
    fn lookup(&self, keys: &[&str], castable: bool) -> Result<String> {
        let keys: Vec<String> = keys.iter().map(|key| literal(key)).collect::<Result<_>>()?;
        let keys = format!("unnest(ARRAY[{}]::text[]) AS u(v)", keys.join(", "));
        let table = self.table.sql();
        Ok(match castable {
            true => format!(
                "SELECT u.v FROM {keys} WHERE EXISTS (SELECT FROM {table} AS t WHERE {} = u.v::{})",
                self.sql(),
                self.column.base
            ),
            false => format!(
                "SELECT u.v FROM {keys} WHERE u.v IN (SELECT {} FROM {table} AS t)",
                self.canonical()
            ),
        })
    }
}

/// Takes keys of every shard: those with the smallest hashes, so that shards with the same keys
/// give the same ones.
pub(super) async fn sample(
    shards: &Shards,
    key: Key<'_>,
    reading: Reading,
) -> Result<Result<Sample, Refusal>> {
    let per_shard = (SAMPLE_KEYS_OF_ALL / shards.len().max(1)).clamp(50, SAMPLE_KEYS);
    let table = key.table.sql();
    let rows = match reading.is_sampled(key.table) {
        false => format!("{table} AS t"),
        // Foreign tables cannot be sampled.
        true if key.table.kind == RelationKind::ForeignTable => {
            format!("(SELECT * FROM {table} LIMIT {SAMPLED_ROWS}) AS t")
        }
        true => {
            let percent = (100.0 * SAMPLED_ROWS / key.table.estimate().max(1.0)).min(100.0);
            format!("{table} AS t TABLESAMPLE SYSTEM ({percent:.9}) REPEATABLE (0)")
        }
    };
    let sql = format!(
        "SELECT s.k FROM (SELECT DISTINCT {} AS k FROM {rows} WHERE {} IS NOT NULL) AS s \
         ORDER BY {}, s.k LIMIT {per_shard}",
        key.canonical(),
        key.sql(),
        reading.hash("s.k")
    );
    let answers = shards.ask_all(&sql).await?;
    Ok(answers.map(|answers| answers.into_iter().map(column).collect()))
}

/// How many rows of each shard have no key.
pub(super) async fn nulls(shards: &Shards, key: Key<'_>) -> Result<Result<Vec<u64>, Refusal>> {
    if key.column.not_null {
        return Ok(Ok(vec![0; shards.len()]));
    }
    let sql = format!(
        "SELECT pg_catalog.count(*) FROM {} AS t WHERE {} IS NULL",
        key.table.sql(),
        key.sql()
    );
    let answers = match shards.ask_all(&sql).await? {
        Ok(answers) => answers,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let rows = answers.iter().map(|answer| number(answer, 0));
    rows.collect::<Result<_>>().map(Ok)
}

/// NULL as a key on two shards: groups of it come twice, as those of any other key would.
pub(super) fn stray_null(nulls: &[&[u64]]) -> Option<Stray> {
    let homes: Vec<(usize, usize)> = nulls
        .iter()
        .enumerate()
        .flat_map(|(table, nulls)| {
            let shards = nulls.iter().enumerate().filter(|(_, rows)| **rows > 0);
            shards.map(move |(shard, _)| (shard, table))
        })
        .collect();
    let shards: BTreeSet<usize> = homes.iter().map(|(shard, _)| *shard).collect();
    (shards.len() > 1).then(|| Stray {
        key: "NULL".to_owned(),
        homes,
    })
}

/// Looks up the keys of each shard on all others.
pub(super) async fn check_sample(
    shards: &Shards,
    key: Key<'_>,
    sample: &Sample,
) -> Result<Disjoint> {
    let found = match lookup(shards, key, sample).await? {
        Ok(found) => found,
        Err(refusal) => return Ok(Disjoint::Refused(refusal)),
    };
    let mut owners = Owners::new();
    for shards in [sample, &found] {
        for (shard, keys) in shards.iter().enumerate() {
            for key in keys {
                owners.entry(shown(key)).or_default().insert((shard, 0));
            }
        }
    }
    let strays = strays(owners);
    let keys: Vec<u64> = sample.iter().map(|keys| keys.len() as u64).collect();
    Ok(match strays.is_empty() {
        true => Disjoint::Yes { keys },
        false => Disjoint::No {
            strays: strays.len(),
            keys: keys.iter().sum(),
            examples: strays.into_iter().take(EXAMPLES).collect(),
        },
    })
}

/// Which of the keys of the other shards each shard has.
async fn lookup(
    shards: &Shards,
    key: Key<'_>,
    sample: &Sample,
) -> Result<Result<Vec<Vec<String>>, Refusal>> {
    let mut sqls = Vec::with_capacity(shards.len());
    for shard in 0..shards.len() {
        let others: BTreeSet<&str> = sample
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != shard)
            .flat_map(|(_, keys)| keys.iter().map(String::as_str))
            .collect();
        let others: Vec<&str> = others.into_iter().collect();
        sqls.push(key.lookup(&others, key.is_castable())?);
    }
    let answers = shards.ask_each(&sqls).await?;
    Ok(answers.map(|answers| answers.into_iter().map(column).collect()))
}

/// Keys with where they are: shard, and place of the table.
type Owners = BTreeMap<String, BTreeSet<(usize, usize)>>;

/// The keys that are on two shards.
fn strays(owners: Owners) -> Vec<Stray> {
    let strays = owners.into_iter().filter_map(|(key, homes)| {
        let shards: BTreeSet<usize> = homes.iter().map(|(shard, _)| *shard).collect();
        (shards.len() > 1).then(|| Stray {
            key,
            homes: homes.into_iter().collect(),
        })
    });
    strays.collect()
}

/// A key for people.
fn shown(key: &str) -> String {
    format!("{key:?}")
}

/// What the keys of two tables say about whether equal ones live together.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Together {
    /// So many keys of one are on the same shard in the other, and none on another shard.
    Yes(usize),
    /// Some key is on different shards.
    No(Stray),
    /// Too few keys are in both.
    Unknown,
}

/// Looks up the sampled keys of each of two tables in the other.
pub(super) async fn check_together(
    shards: &Shards,
    one: (Key<'_>, &Sample),
    other: (Key<'_>, &Sample),
) -> Result<Together> {
    let mut together = BTreeMap::new();
    for ((_, sample), (key, _), places) in [(one, other, (0, 1)), (other, one, (1, 0))] {
        // All keys on all shards: those found at home count for it, others against it.
        let all: BTreeSet<&str> = sample.iter().flatten().map(String::as_str).collect();
        let all: Vec<&str> = all.into_iter().collect();
        let same_type = one.0.column.base == other.0.column.base;
        let sql = key.lookup(&all, same_type && key.is_castable())?;
        let Ok(answers) = shards.ask_all(&sql).await? else {
            return Ok(Together::Unknown);
        };
        let found: Vec<Vec<String>> = answers.into_iter().map(column).collect();
        match common(sample, &found, places) {
            Ok(keys) => together.extend(keys),
            Err(stray) => return Ok(Together::No(stray)),
        }
    }
    // Keys that are all on one shard would be there whatever the rule is.
    let places: BTreeSet<usize> = together.values().copied().collect();
    Ok(
        match together.len() >= KEYS_OF_A_GROUP && places.len() > 1 {
            true => Together::Yes(together.len()),
            false => Together::Unknown,
        },
    )
}

/// The keys that were found, with their shard; or one that was found elsewhere. `places` are those
/// of the table of the sample and of the one that was searched.
fn common(
    sample: &Sample,
    found: &[Vec<String>],
    places: (usize, usize),
) -> Result<BTreeMap<String, usize>, Stray> {
    let homes: HashMap<&str, usize> = sample
        .iter()
        .enumerate()
        .flat_map(|(shard, keys)| keys.iter().map(move |key| (key.as_str(), shard)))
        .collect();
    let mut common = BTreeMap::new();
    for (shard, keys) in found.iter().enumerate() {
        for key in keys {
            match homes.get(key.as_str()) {
                Some(home) if *home == shard => {
                    common.insert(key.clone(), shard);
                }
                Some(home) => {
                    return Err(Stray {
                        key: shown(key),
                        homes: vec![(*home, places.0), (shard, places.1)],
                    });
                }
                None => {}
            }
        }
    }
    Ok(common)
}

/// Checks that no key of these tables, of all their rows, is on two shards; but for NULL.
///
/// # Memory
/// What [`meet`] holds.
pub(super) async fn verify(
    shards: &Shards,
    keys: &[Key<'_>],
    reading: Reading,
) -> Result<Disjoint> {
    let hashes: Vec<String> = keys
        .iter()
        .map(|key| {
            format!(
                "SELECT {} AS h FROM {} AS t WHERE {} IS NOT NULL",
                reading.hash(&key.canonical()),
                key.table.sql(),
                key.sql()
            )
        })
        .collect();
    let sql = format!(
        "SELECT DISTINCT s.h FROM ({}) AS s ORDER BY s.h",
        hashes.join(" UNION ALL ")
    );
    let (mut equal, mut found) = (Vec::new(), 0_usize);
    let counts = meet(shards, &vec![sql; shards.len()], |hash, on| {
        if on.len() > 1 {
            found += 1;
            if equal.len() < RECHECKED {
                equal.push(hash);
            }
        }
        ControlFlow::Continue(())
    })
    .await?;
    let counts = match counts {
        Ok(counts) => counts,
        Err(refusal) => return Ok(Disjoint::Refused(refusal)),
    };
    if equal.is_empty() {
        return Ok(Disjoint::Yes { keys: counts });
    }
    let examples = match name_strays(shards, keys, reading, &equal).await? {
        Ok(examples) => examples,
        Err(refusal) => return Ok(Disjoint::Refused(refusal)),
    };
    Ok(match examples.is_empty() {
        // Different keys with equal hashes; so many of them are not to be expected.
        true if found > RECHECKED => {
            Disjoint::Refused(Refusal("too many of their hashes are equal".to_owned()))
        }
        true => Disjoint::Yes { keys: counts },
        false => Disjoint::No {
            strays: match found > RECHECKED {
                true => found,
                false => examples.len(),
            },
            keys: counts.iter().sum(),
            examples: examples.into_iter().take(EXAMPLES).collect(),
        },
    })
}

/// The keys on two shards that have these hashes.
async fn name_strays(
    shards: &Shards,
    keys: &[Key<'_>],
    reading: Reading,
    hashes: &[i64],
) -> Result<Result<Vec<Stray>, Refusal>> {
    let hashes: Vec<String> = hashes
        .iter()
        .map(|hash| format!("({hash}::bigint)"))
        .collect();
    let values: Vec<String> = keys
        .iter()
        .enumerate()
        .map(|(place, key)| {
            format!(
                "SELECT {} AS k, {place} AS place FROM {} AS t WHERE {} IN ({})",
                key.canonical(),
                key.table.sql(),
                reading.hash(&key.canonical()),
                hashes.join(", ")
            )
        })
        .collect();
    let answers = match shards.ask_all(&values.join(" UNION ")).await? {
        Ok(answers) => answers,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut owners = Owners::new();
    for (shard, answer) in answers.into_iter().enumerate() {
        for row in answer {
            if let [Some(key), Some(place)] = row.as_slice() {
                let homes = owners.entry(shown(key)).or_default();
                let table = place
                    .parse()
                    .map_err(|_| Error::fault(format!("{place:?} is the number of no table")))?;
                homes.insert((shard, table));
            }
        }
    }
    Ok(Ok(strays(owners)))
}

/// The columns that may be the shard key, the likeliest first: those that refer to a key that was
/// found, or to which such a key refers, because equal ones are then on one shard; of unique keys,
/// the first column of the primary key before all others; those named as a key that was found.
pub(super) fn candidates<'a>(table: &'a Merged, found: &[Key<'_>]) -> Vec<Key<'a>> {
    let mut names: Vec<&str> = Vec::new();
    let mut add = |name: &'a str| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    let related: Vec<&str> = table
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| {
            let column = Key::new(table, name);
            column.is_some_and(|column| found.iter().any(|key| refer(&column, key)))
        })
        .collect();
    let firsts: Vec<&str> = table
        .keys
        .iter()
        .filter_map(|key| key.first())
        .map(String::as_str)
        .collect();
    let (leading, others): (Vec<&str>, Vec<&str>) =
        related.into_iter().partition(|name| firsts.contains(name));
    leading.into_iter().chain(others).for_each(&mut add);
    firsts.into_iter().for_each(&mut add);
    table.keys.iter().flatten().for_each(|name| add(name));
    for column in &table.columns {
        let alike = found
            .iter()
            .any(|key| key.column.base == column.base && is_alike(&key.column.name, &column.name));
        if alike {
            add(&column.name);
        }
    }
    names
        .into_iter()
        .filter_map(|name| Key::new(table, name))
        .collect()
}

/// Whether one of two columns refers to the other by a foreign key. PostgreSQL holds each shard to
/// it, so that a key is where the one is to which it refers.
pub(super) fn refer(one: &Key<'_>, other: &Key<'_>) -> bool {
    let refers = |from: &Key<'_>, to: &Key<'_>| {
        from.table.foreign_keys.iter().any(|foreign| {
            foreign.column == from.column.name
                && foreign.target == to.column.name
                && (&foreign.schema, &foreign.table) == (&to.table.schema, &to.table.name)
        })
    };
    refers(one, other) || refers(other, one)
}

/// Whether columns are named alike, but for a prefix for their table.
pub(super) fn is_alike(one: &str, other: &str) -> bool {
    stem(one) == stem(other)
}

/// A column's name without the prefix that stands for its table: `orderkey` of `l_orderkey`. An
/// `id` says nothing about what it identifies, so it keeps its prefix.
fn stem(name: &str) -> &str {
    match name.split_once('_') {
        Some((prefix, rest)) if prefix.len() <= 3 && rest.len() > 3 => rest,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::facts::fixture::{column as a_column, key, relation};
    use crate::inspect::catalog::ForeignKey;
    use crate::inspect::catalog::fixture::catalog;
    use crate::inspect::merged::merge;

    #[test]
    fn the_likeliest_key_comes_first() {
        let mut lineitem = relation(
            "lineitem",
            &[
                a_column("l_orderkey", "bigint"),
                a_column("l_linenumber", "integer"),
                a_column("code", "text"),
            ],
        );
        lineitem.keys = vec![key(&["l_orderkey", "l_linenumber"]), key(&["code"])];
        let orders = relation("orders", &[a_column("o_orderkey", "bigint")]);
        let events = relation(
            "events",
            &[a_column("x", "text"), a_column("e_orderkey", "bigint")],
        );
        let merged = merge(&[catalog(&[lineitem, orders, events])]);
        let [events, lineitem, orders] = merged.as_slice() else {
            panic!("{merged:?}")
        };
        let names = |table, found: &[Key<'_>]| -> Vec<String> {
            let keys = candidates(table, found);
            keys.iter().map(|key| key.column.name.clone()).collect()
        };
        assert_eq!(names(lineitem, &[]), ["l_orderkey", "code", "l_linenumber"]);
        assert_eq!(names(events, &[]), [""; 0]);
        let found = Key::new(orders, "o_orderkey").unwrap();
        assert_eq!(names(events, &[found]), ["e_orderkey"]);
    }

    #[test]
    fn one_key_elsewhere_parts_two_tables() {
        let sample = vec![vec!["1".to_owned()], vec!["2".to_owned()]];
        let found =
            |keys: [&[&str]; 2]| keys.map(|keys| keys.iter().map(|k| (*k).to_owned()).collect());
        assert_eq!(
            common(&sample, &found([&["1"], &["2"]]), (0, 1)).map(|common| common.len()),
            Ok(2)
        );
        assert_eq!(
            common(&sample, &found([&["1", "2"], &[]]), (0, 1)),
            Err(Stray {
                key: "\"2\"".to_owned(),
                homes: vec![(1, 0), (0, 1)],
            })
        );
    }

    #[test]
    fn foreign_keys_come_before_unique_ones() {
        let orders = relation("orders", &[a_column("id", "bigint")]);
        let mut events = relation(
            "events",
            &[a_column("id", "bigint"), a_column("of", "bigint")],
        );
        events.keys = vec![key(&["id"])];
        let mut catalog = catalog(&[events, orders]);
        catalog.details_of("events").foreign_keys = vec![ForeignKey {
            column: "of".to_owned(),
            schema: "public".to_owned(),
            table: "orders".to_owned(),
            target: "id".to_owned(),
        }];
        let merged = merge(&[catalog]);
        let [events, orders] = merged.as_slice() else {
            panic!("{merged:?}")
        };
        let names = |table, found: &[Key<'_>]| -> Vec<String> {
            let keys = candidates(table, found);
            keys.iter().map(|key| key.column.name.clone()).collect()
        };
        assert_eq!(names(events, &[]), ["id"]);
        let parent = Key::new(orders, "id").unwrap();
        assert_eq!(names(events, &[parent]), ["of", "id"]);
        // The other way round too.
        let child = Key::new(events, "of").unwrap();
        assert_eq!(names(orders, &[]), [""; 0]);
        assert_eq!(names(orders, &[child]), ["id"]);
    }

    #[test]
    fn a_key_on_two_shards_is_astray_in_whatever_tables_it_is() {
        let homes = |homes: &[(usize, usize)]| homes.iter().copied().collect::<BTreeSet<_>>();
        let owners = Owners::from([
            ("1".to_owned(), homes(&[(0, 0), (2, 1)])),
            ("2".to_owned(), homes(&[(1, 0), (1, 1)])),
        ]);
        assert_eq!(
            strays(owners),
            [Stray {
                key: "1".to_owned(),
                homes: vec![(0, 0), (2, 1)],
            }]
        );
        assert_eq!(stray_null(&[&[0, 3], &[0, 1]]), None);
        assert_eq!(
            stray_null(&[&[0, 3], &[2, 0]]).map(|stray| stray.homes),
            Some(vec![(1, 0), (0, 1)])
        );
    }
}
