//! Meets the sorted numbers of all shards, a block of each at a time.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::shards::{Refusal, Shards, column};
use crate::error::Result;

/// How many numbers of each shard are held at a time.
const BLOCK: usize = 20_000;

/// Runs on each shard its query for one column of distinct `bigint`s in ascending order, and shows
/// every number with the shards that have it. Gives how many numbers each shard had, until `see`
/// broke off.
///
/// # Memory
/// A block of each shard: the servers sort, and keep what they sorted.
pub(super) async fn meet(
    shards: &Shards,
    sqls: &[String],
    mut see: impl FnMut(i64, &[usize]) -> ControlFlow<()>,
) -> Result<Result<Vec<u64>, Refusal>> {
    if let Err(refusal) = declare(shards, sqls).await? {
        return Ok(Err(refusal));
    }
    let mut sides = vec![Side::default(); sqls.len()];
    loop {
        if let Err(refusal) = refill(shards, &mut sides).await? {
            return Ok(Err(refusal));
        }
        let taken = take(&mut sides);
        let is_over = taken.is_empty();
        if is_over || show(&taken, &mut see).is_break() {
            return Ok(Ok(sides.iter().map(|side| side.count).collect()));
        }
    }
}

/// What is there of one shard.
#[derive(Debug, Clone, Default)]
struct Side {
    block: VecDeque<i64>,
    /// Whether the block is the last one.
    is_last: bool,
    count: u64,
}

async fn declare(shards: &Shards, sqls: &[String]) -> Result<Result<(), Refusal>> {
    // One that was broken off is still open.
    if let Err(refusal) = shards.ask_all("CLOSE ALL").await? {
        return Ok(Err(refusal));
    }
    let cursors: Vec<String> = sqls
        .iter()
        .map(|sql| format!("DECLARE merganser_numbers NO SCROLL CURSOR FOR {sql}"))
        .collect();
    Ok(shards.ask_each(&cursors).await?.map(drop))
}

/// Fetches the next block of each shard that has none.
async fn refill(shards: &Shards, sides: &mut [Side]) -> Result<Result<(), Refusal>> {
    let fetch = format!("FETCH {BLOCK} FROM merganser_numbers");
    let empty: Vec<(usize, &str)> = sides
        .iter()
        .enumerate()
        .filter(|(_, side)| side.block.is_empty() && !side.is_last)
        .map(|(shard, _)| (shard, fetch.as_str()))
        .collect();
    let answers = match shards.ask_some(&empty).await? {
        Ok(answers) => answers,
        Err(refusal) => return Ok(Err(refusal)),
    };
    for ((shard, _), answer) in empty.iter().zip(answers) {
        let Some(side) = sides.get_mut(*shard) else {
            continue;
        };
        side.is_last = answer.len() < BLOCK;
        side.count += answer.len() as u64;
        let numbers = column(answer);
        side.block = numbers.iter().filter_map(|it| it.parse().ok()).collect();
    }
    Ok(Ok(()))
}

/// Takes all numbers up to which every shard's are there; sorted, each with its shard.
fn take(sides: &mut [Side]) -> Vec<(i64, usize)> {
    let limit = sides
        .iter()
        .filter(|side| !side.is_last)
        .filter_map(|side| side.block.back().copied())
        .min();
    let mut taken = Vec::new();
    for (shard, side) in sides.iter_mut().enumerate() {
        while let Some(number) = side.block.front().copied()
            && limit.is_none_or(|limit| number <= limit)
        {
            side.block.pop_front();
            taken.push((number, shard));
        }
    }
    taken.sort_unstable();
    taken
}

fn show(
    taken: &[(i64, usize)],
    see: &mut impl FnMut(i64, &[usize]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut shards = Vec::new();
    for same in taken.chunk_by(|one, other| one.0 == other.0) {
        shards.clear();
        shards.extend(same.iter().map(|(_, shard)| *shard));
        if let Some((number, _)) = same.first() {
            see(*number, &shards)?;
        }
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(numbers: &[i64], is_last: bool) -> Side {
        Side {
            block: numbers.iter().copied().collect(),
            is_last,
            count: numbers.len() as u64,
        }
    }

    #[test]
    fn nothing_is_taken_of_which_a_shard_may_have_more() {
        let mut sides = [
            side(&[1, 5, 9], false),
            side(&[2, 5], false),
            side(&[7], true),
        ];
        assert_eq!(take(&mut sides), [(1, 0), (2, 1), (5, 0), (5, 1)]);
        // The second has to be asked for more before anything else can be taken.
        assert!(sides[1].block.is_empty());
        sides[1] = side(&[8], true);
        assert_eq!(take(&mut sides), [(7, 2), (8, 1), (9, 0)]);
        sides[0].is_last = true;
        assert_eq!(take(&mut sides), []);
    }

    #[test]
    fn equal_numbers_are_shown_once_with_their_shards() {
        let mut seen = Vec::new();
        let mut see = |number, shards: &[usize]| {
            seen.push((number, shards.to_vec()));
            match number {
                2 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        assert!(show(&[(1, 0), (1, 2), (2, 1), (3, 0)], &mut see).is_break());
        assert_eq!(seen, [(1, vec![0, 2]), (2, vec![1])]);
    }
}
