//! Finds the rule by which an integer key tells the number of the shard, and checks declared ones.

use super::compare::Merged;
use super::keys::{Key, Sample};
use super::shards::{Refusal, Shards, number};
use crate::error::Result;

/// Fewer rows than this may follow a rule by chance.
const ROWS_OF_A_RULE: u64 = 50;

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

/// Looks for a rule `key % shards` that every row follows, reading all of them.
///
/// `None` where there is none, or too few rows to tell.
pub(super) async fn find(shards: &Shards, key: Key<'_>, sample: &Sample) -> Result<Option<Rule>> {
    let count = shards.len();
    if !key.is_integer() || !key.column.same_type || count < 2 {
        return Ok(None);
    }
    // The sample tells at once where there is none.
    let keys: Vec<Vec<i64>> = sample
        .iter()
        .map(|keys| keys.iter().filter_map(|key| key.parse().ok()).collect())
        .collect();
    if remainders(&keys).is_none() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT pg_catalog.count(*), pg_catalog.count(s.r), pg_catalog.min(s.r), \
         pg_catalog.max(s.r), coalesce(pg_catalog.min(s.k), 0) FROM (SELECT (({k} % {count}) + {count}) % {count} AS r, \
         {k} AS k FROM {table} AS t) AS s",
        k = key.sql(),
        table = key.table.sql()
    );
    let Ok(answers) = shards.ask_all(&sql).await? else {
        return Ok(None);
    };
    let mut rows = 0_u64;
    let mut residues = Vec::with_capacity(count);
    let mut is_negative = false;
    for answer in &answers {
        let all: u64 = number(answer, 0)?;
        let with_key: u64 = number(answer, 1)?;
        if all != with_key {
            return Ok(None);
        }
        rows += all;
        residues.push(match all {
            0 => None,
            _ => {
                let (least, greatest): (usize, usize) = (number(answer, 2)?, number(answer, 3)?);
                if least != greatest {
                    return Ok(None);
                }
                Some(least)
            }
        });
        is_negative |= number::<i64>(answer, 4)? < 0;
    }
    if rows < ROWS_OF_A_RULE {
        return Ok(None);
    }
    Ok(assign(&residues).map(|shards| Rule {
        sql: rule_sql(&key.column.quoted, &shards, is_negative),
        shards,
        rows,
    }))
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

/// The shard for each remainder, from the remainder of each shard. Shards without rows get what is
/// left: their own number where they can.
fn assign(residues: &[Option<usize>]) -> Option<Vec<usize>> {
    let mut shards: Vec<Option<usize>> = vec![None; residues.len()];
    for (shard, residue) in residues.iter().enumerate() {
        if let Some(residue) = residue {
            let place = shards.get_mut(*residue)?;
            if place.replace(shard).is_some() {
                return None;
            }
        }
    }
    let mut empty: Vec<usize> = (0..residues.len())
        .filter(|shard| residues.get(*shard) == Some(&None))
        .collect();
    // Two empty shards or more may be any way round, unless each has its own number.
    let own = empty.iter().all(|shard| shards.get(*shard) == Some(&None));
    if empty.len() > 1 && !own {
        return None;
    }
    for (residue, place) in shards.iter_mut().enumerate() {
        if place.is_none() {
            *place = match own {
                true => Some(residue),
                false => empty.pop(),
            };
        }
    }
    shards.into_iter().collect()
}

/// The rule as an expression over the key.
fn rule_sql(column: &str, shards: &[usize], is_negative: bool) -> String {
    let count = shards.len();
    let residue = match is_negative {
        true => format!("({column} % {count} + {count}) % {count}"),
        false => format!("{column} % {count}"),
    };
    if shards
        .iter()
        .enumerate()
        .all(|(residue, shard)| residue == *shard)
    {
        return residue;
    }
    let shards: Vec<String> = shards.iter().map(usize::to_string).collect();
    format!("(ARRAY[{}])[{residue} + 1]", shards.join(", "))
}

/// How many rows of each shard a declared rule places elsewhere.
pub(super) async fn check(
    shards: &Shards,
    table: &Merged,
    rule: &str,
) -> Result<Result<Vec<u64>, Refusal>> {
    let sqls: Vec<String> = (0..shards.len())
        .map(|shard| {
            format!(
                "SELECT pg_catalog.count(*) FROM {} WHERE ({rule}) IS DISTINCT FROM {shard}",
                table.sql()
            )
        })
        .collect();
    let answers = match shards.ask_each(&sqls).await? {
        Ok(answers) => answers,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let rows = answers.iter().map(|answer| number(answer, 0));
    rows.collect::<Result<_>>().map(Ok)
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
        assert_eq!(assign(&[Some(0), Some(1), None]), Some(vec![0, 1, 2]));
        assert_eq!(assign(&[Some(1), Some(2), Some(0)]), Some(vec![2, 0, 1]));
        assert_eq!(assign(&[Some(1), None, Some(2)]), Some(vec![1, 0, 2]));
        assert_eq!(assign(&[Some(1), None, None]), None);
        assert_eq!(assign(&[Some(0), None, None]), Some(vec![0, 1, 2]));
        assert_eq!(assign(&[Some(0), Some(0)]), None);
    }

    #[test]
    fn a_rule_is_written_as_plainly_as_it_can_be() {
        assert_eq!(rule_sql("k", &[0, 1, 2], false), "k % 3");
        assert_eq!(rule_sql("\"K\"", &[0, 1], true), "(\"K\" % 2 + 2) % 2");
        assert_eq!(rule_sql("k", &[1, 0], false), "(ARRAY[1, 0])[k % 2 + 1]");
    }
}
