//! Finds out which column tells the shard of a row, and whether two tables live together.
//!
//! A key's values are compared in a canonical text, so that what PostgreSQL holds equal is equal.
//! Samples of them travel between shards; with `verify`, hashes of all of them come here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::compare::{Merged, MergedColumn};
use super::contents::Reading;
use super::report::RelationKind;
use super::shards::{Refusal, Rows, Shards, column, value};
use crate::error::Result;
use crate::quote::{identifier, literal};

/// The most keys that are taken of one shard, and that all shards are asked about together.
const SAMPLE_KEYS: usize = 1_000;
const SAMPLE_KEYS_OF_ALL: usize = 20_000;

/// How many rows of a large table the keys are taken from.
const SAMPLED_ROWS: f64 = 50_000.0;

/// About how many hashes of all shards are held at a time when all keys are checked.
const HASHES_AT_A_TIME: f64 = 2_000_000.0;

/// How many keys a message shows.
const EXAMPLES: usize = 5;

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
    pub(super) shards: Vec<usize>,
}

/// Whether any key is on two shards.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Disjoint {
    /// None of those that were looked at: how many of each shard.
    Yes {
        keys: usize,
    },
    /// Some are: examples, and how many of how many.
    No {
        examples: Vec<Stray>,
        strays: usize,
        keys: usize,
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
    /// find it.
    fn is_castable(&self) -> bool {
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

/// Looks up the keys of each shard on all others.
pub(super) async fn check_sample(
    shards: &Shards,
    key: Key<'_>,
    sample: &Sample,
) -> Result<Disjoint> {
    let mut owners: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let keys = sample.iter().map(Vec::len).sum();
    if !key.column.not_null {
        let sql = format!(
            "SELECT EXISTS (SELECT FROM {} AS t WHERE {} IS NULL)",
            key.table.sql(),
            key.sql()
        );
        match shards.ask_all(&sql).await? {
            Ok(answers) => {
                for (shard, answer) in answers.iter().enumerate() {
                    if value(answer, 0) == Some("t") {
                        owners.entry("NULL".to_owned()).or_default().insert(shard);
                    }
                }
            }
            Err(refusal) => return Ok(Disjoint::Refused(refusal)),
        }
    }
    let found = match lookup(shards, key, sample).await? {
        Ok(found) => found,
        Err(refusal) => return Ok(Disjoint::Refused(refusal)),
    };
    for shards in [sample, &found] {
        for (shard, keys) in shards.iter().enumerate() {
            for key in keys {
                owners.entry(format!("{key:?}")).or_default().insert(shard);
            }
        }
    }
    Ok(judge(owners, keys))
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

fn judge(owners: BTreeMap<String, BTreeSet<usize>>, keys: usize) -> Disjoint {
    let strays: Vec<Stray> = owners
        .into_iter()
        .filter(|(_, shards)| shards.len() > 1)
        .map(|(key, shards)| Stray {
            key,
            shards: shards.into_iter().collect(),
        })
        .collect();
    match strays.len() {
        0 => Disjoint::Yes { keys },
        count => Disjoint::No {
            examples: strays.into_iter().take(EXAMPLES).collect(),
            strays: count,
            keys,
        },
    }
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
    for ((_, sample), (key, _)) in [(one, other), (other, one)] {
        // All keys on all shards: those found at home count for it, others against it.
        let all: BTreeSet<&str> = sample.iter().flatten().map(String::as_str).collect();
        let all: Vec<&str> = all.into_iter().collect();
        let same_type = one.0.column.base == other.0.column.base;
        let sql = key.lookup(&all, same_type && key.is_castable())?;
        let Ok(answers) = shards.ask_all(&sql).await? else {
            return Ok(Together::Unknown);
        };
        let found: Vec<Vec<String>> = answers.into_iter().map(column).collect();
        match meet(sample, &found) {
            Ok(common) => together.extend(common),
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

/// The keys that were found, with their shard; or one that was found elsewhere.
fn meet(sample: &Sample, found: &[Vec<String>]) -> Result<BTreeMap<String, usize>, Stray> {
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
                        key: format!("{key:?}"),
                        shards: vec![*home, shard],
                    });
                }
                None => {}
            }
        }
    }
    Ok(common)
}

/// Checks that no key of these tables, of all their rows, is on two shards.
///
/// # Memory
/// Hashes of about 2 million keys at a time, in as many rounds as it takes.
pub(super) async fn verify(
    shards: &Shards,
    keys: &[Key<'_>],
    reading: Reading,
) -> Result<Disjoint> {
    let estimate: f64 = keys
        .iter()
        .flat_map(|key| &key.table.estimates)
        .sum::<f64>()
        .max(1.0);
    let rounds = (estimate / HASHES_AT_A_TIME).ceil().min(1e6) as u64;
    let rounds = rounds.next_power_of_two();
    let mut strays: BTreeMap<i64, BTreeSet<usize>> = BTreeMap::new();
    let (mut checked, mut found) = (0_usize, 0_usize);
    for round in 0..rounds {
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
            "SELECT DISTINCT s.h FROM ({}) AS s WHERE s.h & {} = {round}",
            hashes.join(" UNION ALL "),
            rounds - 1
        );
        let answers = match shards.ask_all(&sql).await? {
            Ok(answers) => answers,
            Err(refusal) => return Ok(Disjoint::Refused(refusal)),
        };
        let hashes: Vec<BTreeSet<i64>> = answers.into_iter().map(parse_hashes).collect();
        checked += hashes.iter().map(BTreeSet::len).sum::<usize>();
        let mut owners: HashMap<i64, usize> = HashMap::new();
        for (shard, hashes) in hashes.iter().enumerate() {
            for hash in hashes {
                let Some(owner) = owners.insert(*hash, shard) else {
                    continue;
                };
                let is_new = !strays.contains_key(hash);
                found += usize::from(is_new);
                if !is_new || strays.len() < EXAMPLES {
                    strays.entry(*hash).or_default().extend([owner, shard]);
                }
            }
        }
    }
    if strays.is_empty() {
        return Ok(Disjoint::Yes { keys: checked });
    }
    Ok(match name_strays(shards, keys, reading, &strays).await? {
        Ok(examples) if examples.is_empty() => Disjoint::Yes { keys: checked },
        Ok(examples) => Disjoint::No {
            examples,
            strays: found,
            keys: checked,
        },
        Err(refusal) => Disjoint::Refused(refusal),
    })
}

/// The keys that have these hashes, unless two different ones have the same.
async fn name_strays(
    shards: &Shards,
    keys: &[Key<'_>],
    reading: Reading,
    strays: &BTreeMap<i64, BTreeSet<usize>>,
) -> Result<Result<Vec<Stray>, Refusal>> {
    let hashes: Vec<String> = strays
        .keys()
        .map(|hash| format!("({hash}::bigint)"))
        .collect();
    let values: Vec<String> = keys
        .iter()
        .map(|key| {
            format!(
                "SELECT {} AS k FROM {} AS t WHERE {} IN ({})",
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
    let mut owners: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (shard, answer) in answers.into_iter().enumerate() {
        for key in column(answer) {
            owners.entry(format!("{key:?}")).or_default().insert(shard);
        }
    }
    Ok(Ok(match judge(owners, 0) {
        Disjoint::No { examples, .. } => examples,
        Disjoint::Yes { .. } | Disjoint::Refused(_) => Vec::new(),
    }))
}

fn parse_hashes(rows: Rows) -> BTreeSet<i64> {
    column(rows)
        .iter()
        .filter_map(|hash| hash.parse().ok())
        .collect()
}

/// The columns that may be the shard key, the likeliest first: of unique keys, the first column of
/// the primary key before all others; then those that refer to, or are named as, a key that was
/// already found.
pub(super) fn candidates<'a>(table: &'a Merged, found: &[Key<'_>]) -> Vec<Key<'a>> {
    let mut names: Vec<&str> = Vec::new();
    let mut add = |name: &'a str| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    let firsts = table.keys.iter().filter_map(|key| key.first());
    firsts.for_each(|name| add(name));
    table.keys.iter().flatten().for_each(|name| add(name));
    for foreign in &table.foreign_keys {
        let refers = found.iter().any(|key| {
            (&*key.table.schema, &*key.table.name) == (&*foreign.schema, &*foreign.table)
                && key.column.name == foreign.target
        });
        if refers {
            add(&foreign.column);
        }
    }
    for column in &table.columns {
        let alike = found.iter().any(|key| {
            key.column.base == column.base && stem(&key.column.name) == stem(&column.name)
        });
        if alike {
            add(&column.name);
        }
    }
    names
        .into_iter()
        .filter_map(|name| Key::new(table, name))
        .collect()
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
    use crate::inspect::compare::merge;
    use crate::inspect::compare::tests::{catalog, column as a_column, relation};

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
        lineitem.keys = vec![
            vec!["l_orderkey".to_owned(), "l_linenumber".to_owned()],
            vec!["code".to_owned()],
        ];
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
            meet(&sample, &found([&["1"], &["2"]])).map(|common| common.len()),
            Ok(2)
        );
        assert_eq!(
            meet(&sample, &found([&["1", "2"], &[]])),
            Err(Stray {
                key: "\"2\"".to_owned(),
                shards: vec![1, 0],
            })
        );
    }

    #[test]
    fn keys_on_two_shards_are_counted_and_shown() {
        let owners = |pairs: &[(&str, &[usize])]| {
            let owners = pairs.iter();
            owners
                .map(|(key, shards)| ((*key).to_owned(), shards.iter().copied().collect()))
                .collect()
        };
        assert_eq!(judge(owners(&[("1", &[0])]), 1), Disjoint::Yes { keys: 1 });
        assert_eq!(
            judge(owners(&[("1", &[0, 2]), ("2", &[1])]), 3),
            Disjoint::No {
                examples: vec![Stray {
                    key: "1".to_owned(),
                    shards: vec![0, 2],
                }],
                strays: 1,
                keys: 3,
            }
        );
    }
}
