//! What all shards have of each table. Plain code: no I/O.

use std::collections::BTreeMap;

use super::catalog::{Catalog, ForeignKey, InspectedRelation};
use super::drift::RelationKind;
use crate::catalog::facts::{Column, Facts, ShardRelation};
use crate::catalog::{PerShard, by_key, places};
use crate::quote::identifier;

/// A table as all shards have it.
#[derive(Debug, Clone)]
pub(super) struct Merged {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: RelationKind,
    /// The columns that every shard has.
    pub(super) columns: Vec<MergedColumn>,
    /// The unique keys that every shard has, the primary key first.
    pub(super) keys: Vec<Vec<String>>,
    pub(super) has_primary_key: bool,
    pub(super) foreign_keys: Vec<ForeignKey>,
    /// About how many rows each shard has.
    pub(super) estimates: Vec<f64>,
    /// The shards that do not have it.
    pub(super) missing: Vec<usize>,
    /// The shards on which this role may not read it.
    pub(super) unreadable: Vec<usize>,
    /// The shards on which row security hides rows from this role.
    pub(super) hidden: Vec<usize>,
}

/// A column as all shards have it.
#[derive(Debug, Clone)]
pub(super) struct MergedColumn {
    pub(super) name: String,
    /// The name as SQL writes it.
    pub(super) quoted: String,
    /// The type of the first shard, without modifiers.
    pub(super) base: String,
    pub(super) is_enum: bool,
    /// On every shard.
    pub(super) not_null: bool,
    /// Whether every shard gives it the same type.
    pub(super) same_type: bool,
    /// Whether its texts are equal only when their bytes are.
    pub(super) deterministic: bool,
}

impl Merged {
    /// Schema and name as SQL reads them, whatever characters they have.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }

    /// The name for people.
    pub(super) fn label(&self) -> String {
        label(&self.schema, &self.name)
    }

    pub(super) fn column(&self, name: &str) -> Option<&MergedColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The largest estimate of any shard.
    pub(super) fn estimate(&self) -> f64 {
        self.estimates.iter().copied().fold(0.0, f64::max)
    }
}

/// The relations of all catalogs by name, each with what all shards have in common.
pub(super) fn merge(catalogs: &[Catalog]) -> Vec<Merged> {
    by_name(catalogs)
        .into_iter()
        .filter_map(|((schema, name), shards)| {
            let present: Vec<InspectedRelation<'_>> = shards.iter().copied().flatten().collect();
            let first = present.first()?;
            let is_primary =
                |it: &InspectedRelation<'_>| it.facts.keys.iter().any(|key| key.is_primary);
            Some(Merged {
                schema: schema.to_owned(),
                name: name.to_owned(),
                kind: RelationKind::from_relkind(first.facts.kind),
                columns: merge_columns(catalogs, &shards),
                keys: common(&present, |it| {
                    it.facts.keys.iter().map(|key| &key.columns).collect()
                }),
                has_primary_key: present.iter().all(is_primary),
                foreign_keys: common(&present, |it| it.details.foreign_keys.iter().collect()),
                estimates: shards
                    .iter()
                    .map(|relation| relation.map_or(0.0, |relation| relation.details.estimate))
                    .collect(),
                missing: places(&shards, Option::is_none),
                unreadable: places(&shards, |it| it.is_some_and(|it| !it.details.readable)),
                hidden: places(&shards, |it| it.is_some_and(|it| it.details.hides_rows)),
            })
        })
        .collect()
}

/// The relations of all catalogs by schema and name.
pub(super) fn by_name(
    catalogs: &[Catalog],
) -> BTreeMap<(&str, &str), PerShard<InspectedRelation<'_>>> {
    by_key(catalogs.iter().map(|catalog| {
        let relations = catalog.relations();
        relations.map(|it| ((&*it.facts.schema, &*it.facts.name), it))
    }))
}

/// What every shard lists, in the order of the first.
fn common<'a, T: Clone + PartialEq + 'a>(
    relations: &[InspectedRelation<'a>],
    list: impl Fn(&InspectedRelation<'a>) -> Vec<&'a T>,
) -> Vec<T> {
    let lists: Vec<Vec<&T>> = relations.iter().map(list).collect();
    let first = lists.first().into_iter().flatten();
    let common = first.filter(|it| lists.iter().all(|list| list.contains(it)));
    common.map(|it| (*it).clone()).collect()
}

fn merge_columns(
    catalogs: &[Catalog],
    shards: &PerShard<InspectedRelation<'_>>,
) -> Vec<MergedColumn> {
    let present: Vec<(&Facts, &ShardRelation)> = catalogs
        .iter()
        .zip(shards)
        .filter_map(|(catalog, relation)| Some((&catalog.facts, relation.as_ref()?.facts)))
        .collect();
    let Some((_, first)) = present.first() else {
        return Vec::new();
    };
    let merged = first.columns.iter().filter_map(|column| {
        let all: Vec<(&Facts, &Column)> = present
            .iter()
            .map(|(facts, relation)| Some((*facts, relation.column(&column.name)?)))
            .collect::<Option<_>>()?;
        let mut collations = all
            .iter()
            .filter_map(|(facts, column)| facts.collations.get(column.collation.as_ref()?));
        Some(MergedColumn {
            name: column.name.clone(),
            quoted: column.quoted.clone(),
            base: column.base.clone(),
            is_enum: column.base_kind == 'e',
            not_null: all.iter().all(|(_, other)| other.not_null),
            same_type: all.iter().all(|(_, other)| other.base == column.base),
            deterministic: collations.all(|collation| collation.deterministic),
        })
    });
    merged.collect()
}

/// Schema and name, for people.
pub(super) fn label(schema: &str, name: &str) -> String {
    format!("{schema}.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::facts::fixture::{column, key, relation};
    use crate::inspect::catalog::fixture::catalog;

    #[test]
    fn what_all_shards_have_is_merged() {
        let mut here = relation("t", &[column("a", "integer"), column("b", "text")]);
        here.keys = vec![key(&["a"]), key(&["b"])];
        let mut there = relation("t", &[column("a", "bigint")]);
        there.keys = vec![key(&["a"])];
        let mut there = catalog(&[there]);
        there.details_of("t").readable = false;
        there.details_of("t").estimate = 20.0;
        let merged = merge(&[catalog(&[here]), there, catalog(&[])]);
        let [table] = merged.as_slice() else {
            panic!("{merged:?}")
        };
        assert_eq!(table.sql(), "\"public\".\"t\"");
        assert_eq!(table.keys, [["a"]]);
        assert_eq!((&*table.missing, &*table.unreadable), (&[2][..], &[1][..]));
        assert_eq!(table.estimate(), 20.0);
        let [a] = table.columns.as_slice() else {
            panic!("{:?}", table.columns)
        };
        assert!(!a.same_type && a.deterministic && a.not_null);
    }
}
