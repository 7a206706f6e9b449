//! Finds the rule by which an integer key tells the number of the shard, and checks declared ones.

use super::keys::{Key, Sample};
use super::shards::{Refusal, Shards, number};
use crate::error::Result;
use crate::quote::identifier;

/// Fewer distinct keys than this may follow a rule by chance: of all shards, and of each.
const KEYS_OF_A_RULE: u64 = 100;
const KEYS_OF_A_SHARD: u64 = 10;

/// How many rows that are elsewhere a message shows.
const EXAMPLES: u64 = 3;

/// A rule by which an integer key tells the shard of each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// The shard for each remainder of the key by the number of shards.
    pub(super) shards: Vec<usize>,
    /// The rule in SQL.
    pub(super) sql: String,
    /// How many rows follow it: all of them.
    pub(super) rows: u64,
}

/// What was found of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Guess {
    None,
    /// All rows follow it, with many keys.
    Rule(Rule),
    /// All rows follow the plain rule of this SQL, but with few keys.
    TooFew {
        sql: String,
        keys: u64,
    },
}

impl Guess {
    /// Why a rule is not taken for one.
    pub(super) fn doubt(keys: u64, shards: usize) -> String {
        format!(
            "only {keys} distinct keys on {shards} shards, which may follow it by chance: \
             {KEYS_OF_A_RULE} are needed, and {KEYS_OF_A_SHARD} on each shard"
        )
    }
}

/// Looks for a rule `key % shards` that every row follows, reading all of them. `keys` is the
/// number of distinct keys of each shard.
pub(super) async fn find(
    shards: &Shards,
    key: Key<'_>,
    sample: &Sample,
    keys: &[u64],
) -> Result<Guess> {
    let count = shards.len();
    if !key.is_integer() || !key.column.same_type || count < 2 {
        return Ok(Guess::None);
    }
    // The sample tells at once where there is none.
    let sampled: Vec<Vec<i64>> = sample
        .iter()
        .map(|keys| keys.iter().filter_map(|key| key.parse().ok()).collect())
        .collect();
    if remainders(&sampled).is_none() {
        return Ok(Guess::None);
    }
    let sql = format!(
        "SELECT pg_catalog.count(*), pg_catalog.count(s.r), pg_catalog.min(s.r), \
         pg_catalog.max(s.r), coalesce(pg_catalog.min(s.k), 0) FROM (SELECT (({k} % {count}) + {count}) % {count} AS r, \
         {k} AS k FROM {table} AS t) AS s",
        k = key.sql(),
        table = key.table.sql()
    );
    let Ok(answers) = shards.ask_all(&sql).await? else {
        return Ok(Guess::None);
    };
    let mut rows = 0_u64;
    let mut residues = Vec::with_capacity(count);
    let mut is_negative = false;
    for answer in &answers {
        let all: u64 = number(answer, 0)?;
        let with_key: u64 = number(answer, 1)?;
        if all == 0 || all != with_key {
            return Ok(Guess::None);
        }
        rows += all;
        let (least, greatest): (usize, usize) = (number(answer, 2)?, number(answer, 3)?);
        if least != greatest {
            return Ok(Guess::None);
        }
        residues.push(least);
        is_negative |= number::<i64>(answer, 4)? < 0;
    }
    let Some(assigned) = assign(&residues) else {
        return Ok(Guess::None);
    };
    let sql = rule_sql(&key.column.quoted, &assigned, is_negative);
    let all: u64 = keys.iter().sum();
    let is_few = all < KEYS_OF_A_RULE || keys.iter().any(|keys| *keys < KEYS_OF_A_SHARD);
    Ok(match (is_few, is_plain(&assigned)) {
        (false, _) => Guess::Rule(Rule {
            sql,
            shards: assigned,
            rows,
        }),
        (true, true) => Guess::TooFew { sql, keys: all },
        // Some order or other is no wonder.
        (true, false) => Guess::None,
    })
}

/// The one remainder that all keys of each shard have; `None` where a shard has two.
fn remainders(keys: &[Vec<i64>]) -> Option<Vec<Option<usize>>> {
    let count = i64::try_from(keys.len()).ok()?;
    keys.iter()
        .map(|keys| {
            let mut residues = keys.iter().map(|key| key.rem_euclid(count));
            let Some(first) = residues.next() else {
                return Some(None);
            };
            let same = residues.all(|residue| residue == first);
            same.then(|| usize::try_from(first).ok())
        })
        .collect()
}

/// The shard for each remainder, from the remainder of each shard.
fn assign(residues: &[usize]) -> Option<Vec<usize>> {
    let mut shards: Vec<Option<usize>> = vec![None; residues.len()];
    for (shard, residue) in residues.iter().enumerate() {
        if shards.get_mut(*residue)?.replace(shard).is_some() {
            return None;
        }
    }
    shards.into_iter().collect()
}

/// Whether each remainder is the number of its shard.
fn is_plain(shards: &[usize]) -> bool {
    let mut shards = shards.iter().enumerate();
    shards.all(|(residue, shard)| residue == *shard)
}

/// The rule as an expression over the key.
fn rule_sql(column: &str, shards: &[usize], is_negative: bool) -> String {
    let count = shards.len();
    let residue = match is_negative {
        true => format!("({column} % {count} + {count}) % {count}"),
        false => format!("{column} % {count}"),
    };
    if is_plain(shards) {
        return residue;
    }
    let shards: Vec<String> = shards.iter().map(usize::to_string).collect();
    format!("(ARRAY[{}])[{residue} + 1]", shards.join(", "))
}

/// Rows that are not on the shard that a declared rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Astray {
    pub(super) shard: usize,
    pub(super) rows: u64,
    /// A few of their keys, each with what the rule says.
    pub(super) examples: Vec<(String, String)>,
}

/// Finds the rows with a key that a declared rule places elsewhere; by shard. A row without a key
/// is never looked for by it.
pub(super) async fn check(
    shards: &Shards,
    key: Key<'_>,
    rule: &str,
) -> Result<Result<Vec<Astray>, Refusal>> {
    // Without an alias: the rule may name the table.
    let column = identifier(&key.column.name);
    let astray = |shard: usize| {
        format!(
            "FROM {} WHERE {column} IS NOT NULL AND ({rule}) IS DISTINCT FROM {shard}",
            key.table.sql()
        )
    };
    let counts =
        (0..shards.len()).map(|shard| format!("SELECT pg_catalog.count(*) {}", astray(shard)));
    let counts = match shards.ask_each(&counts.collect::<Vec<_>>()).await? {
        Ok(answers) => answers,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut found = Vec::new();
    for (shard, count) in counts.iter().enumerate() {
        let rows = number(count, 0)?;
        if rows == 0 {
            continue;
        }
        let sql = format!(
            "SELECT DISTINCT {column}::text, ({rule})::text {} LIMIT {EXAMPLES}",
            astray(shard)
        );
        let answers = match shards.ask_some(&[(shard, &sql)]).await? {
            Ok(answers) => answers,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let examples = answers.into_iter().flatten().filter_map(|row| {
            let mut values = row.into_iter();
            let (key, says) = (values.next()??, values.next()?);
            Some((key, says.unwrap_or_else(|| "NULL".to_owned())))
        });
        found.push(Astray {
            shard,
            rows,
            examples: examples.collect(),
        });
    }
    Ok(Ok(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_become_a_rule() {
        assert_eq!(
            remainders(&[vec![0, 3], vec![-2, 4], vec![]]),
            Some(vec![Some(0), Some(1), None])
        );
        assert_eq!(remainders(&[vec![0, 1], vec![]]), None);
        assert_eq!(assign(&[0, 1]), Some(vec![0, 1]));
        assert_eq!(assign(&[1, 2, 0]), Some(vec![2, 0, 1]));
        assert_eq!(assign(&[0, 0]), None);
        assert!(is_plain(&[0, 1]) && !is_plain(&[1, 0]));
    }

    #[test]
    fn a_rule_is_written_as_plainly_as_it_can_be() {
        assert_eq!(rule_sql("k", &[0, 1, 2], false), "k % 3");
        assert_eq!(rule_sql("\"K\"", &[0, 1], true), "(\"K\" % 2 + 2) % 2");
        assert_eq!(rule_sql("k", &[1, 0], false), "(ARRAY[1, 0])[k % 2 + 1]");
    }
}
