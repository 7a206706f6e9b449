//! What each shard has of one thing, and how that reads in a sentence.

use std::collections::BTreeMap;

/// What each shard has of one thing; `None` from those that do not have it.
pub(crate) type PerShard<T> = Vec<Option<T>>;

/// Which shards have which value, where not all have the same; shards with `None` have no say.
pub(crate) fn differences<S: AsRef<str>>(names: &[String], values: &[Option<S>]) -> Option<String> {
    let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
    for (shard, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let value = value.as_ref();
        match groups.iter_mut().find(|(other, _)| *other == value) {
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

pub(super) fn each<'a, T, S>(shards: &PerShard<&'a T>, read: impl Fn(&'a T) -> S) -> PerShard<S> {
    shards.iter().map(|it| it.map(&read)).collect()
}

/// The shards that have, or have not, such a thing.
pub(crate) fn places<T>(shards: &PerShard<T>, matches: impl Fn(&Option<T>) -> bool) -> Vec<usize> {
    let found = shards.iter().enumerate().filter(|(_, it)| matches(it));
    found.map(|(shard, _)| shard).collect()
}

/// The things of all shards by their key.
pub(crate) fn by_key<K: Ord, T: Copy, I: IntoIterator<Item = (K, T)>>(
    shards: impl ExactSizeIterator<Item = I>,
) -> BTreeMap<K, PerShard<T>> {
    let count = shards.len();
    let mut found: BTreeMap<K, PerShard<T>> = BTreeMap::new();
    for (shard, things) in shards.enumerate() {
        for (key, thing) in things {
            let same = found.entry(key).or_insert_with(|| vec![None; count]);
            if let Some(place) = same.get_mut(shard) {
                *place = Some(thing);
            }
        }
    }
    found
}
