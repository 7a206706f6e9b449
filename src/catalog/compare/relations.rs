//! Relations: what all shards have of each, and how they differ on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::differences::{Aspect, Relations};
use super::{Comparison, DEFAULT_COLLATION, by_key, element_name};
use crate::catalog::{BaseType, Collation, ColumnFacts, DataType, Relation, RelationKind, facts};

impl Comparison<'_> {
    /// The relations as all shards have them.
    pub(super) fn relations(
        &self,
        collations: &BTreeMap<&str, Collation>,
        types: &BTreeMap<&str, DataType>,
        default_collation: &Collation,
    ) -> Vec<Relation> {
        let found = by_key(self.facts.iter().map(|facts| {
            let relations = facts.relations.iter();
            relations.map(|it| ((it.schema.as_str(), it.name.as_str()), it))
        }));
        let collation = |sql: &str| match sql {
            DEFAULT_COLLATION => Some(default_collation),
            sql => collations.get(sql),
        };
        let mut relations: Vec<Relation> = found
            .values()
            .filter_map(|shards| {
                let mut relation = merge_relation(shards, collation)?;
                let label = format!("{}.{}", relation.schema, relation.name);
                let differences = self.relation_differences(shards).into_iter();
                let mut refusals = differences.filter_map(|it| Some((it.aspect, it.refusal?)));
                relation.difference = match refusals.next() {
                    Some((Aspect::Missing, missing)) => Some(format!("{label} is {missing}")),
                    Some((_, difference)) => Some(format!("{label}: {difference}")),
                    None => within(shards, collations, types).map(|it| format!("{label}: {it}")),
                };
                Some(relation)
            })
            .collect();
        spread_over_row_types(&mut relations);
        let system: BTreeSet<(&str, &str)> = self
            .facts
            .iter()
            .flat_map(|facts| &facts.system_relations)
            .flat_map(|(schema, names)| names.iter().map(|name| (schema.as_str(), name.as_str())))
            .collect();
        relations.extend(system.into_iter().map(|(schema, name)| Relation {
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind: RelationKind::Other,
            columns: Vec::new(),
            keys: Vec::new(),
            primary_key: None,
            row_security: false,
            parent: None,
            has_children: false,
            difference: None,
        }));
        relations
    }
}

/// How the shards differ on a collation or type that a column has.
fn within(
    shards: &Relations<'_>,
    collations: &BTreeMap<&str, Collation>,
    types: &BTreeMap<&str, DataType>,
) -> Option<String> {
    let first = shards.iter().copied().flatten().next()?;
    first.columns.iter().find_map(|column| {
        let collation = column.collation.as_deref();
        let collation = collation.and_then(|sql| collations.get(sql)?.difference.as_ref());
        let used = || {
            let names = [Some(column.base.as_str()), column.domain.as_deref()];
            let mut names = names.into_iter().flatten();
            names.find_map(|name| types.get(element_name(name))?.difference.as_ref())
        };
        let difference = collation.or_else(used)?;
        Some(format!("column {}: {difference}", column.name))
    })
}

/// What all shards have of a relation.
fn merge_relation<'a>(
    shards: &Relations<'_>,
    collation: impl Fn(&str) -> Option<&'a Collation>,
) -> Option<Relation> {
    let present: Vec<&facts::ShardRelation> = shards.iter().copied().flatten().collect();
    let first = *present.first()?;
    let columns: Vec<ColumnFacts> = first
        .columns
        .iter()
        .map(|column| {
            let is_not_null = |it: &&facts::ShardRelation| {
                it.column(&column.name).is_some_and(|other| other.not_null)
            };
            ColumnFacts {
                name: column.name.clone(),
                type_name: column.data_type.clone(),
                base_type: BaseType {
                    schema: column.base_schema.clone(),
                    name: column.base_name.clone(),
                    kind: column.base_kind,
                },
                element: column.element.clone(),
                domain: column.domain.clone(),
                type_modifier: column.modifier,
                dimensions: column.dimensions,
                not_null: present.iter().all(is_not_null),
                is_generated: column.generated.is_some(),
                collation: column
                    .collation
                    .as_deref()
                    .map(|sql| collation(sql).cloned().unwrap_or_else(|| unknown(sql))),
            }
        })
        .collect();
    let is_key = |key: &&facts::Key| {
        let has = |it: &&facts::ShardRelation| {
            let mut keys = it.keys.iter();
            keys.any(|other| other.is_plain && other.columns == key.columns)
        };
        let is_not_null = |name: &String| {
            let mut columns = columns.iter();
            columns.any(|column| column.name == *name && column.not_null)
        };
        present.iter().all(has) && key.columns.iter().all(is_not_null)
    };
    let keys = first.keys.iter().filter(is_key);
    let primary_key = primary_key(first).filter(|key| {
        let mut others = present.iter().map(|it| primary_key(it));
        others.all(|other| other.as_ref() == Some(key))
    });
    Some(Relation {
        schema: first.schema.clone(),
        name: first.name.clone(),
        kind: relation_kind(first),
        keys: keys.map(|key| key.columns.clone()).collect(),
        columns,
        primary_key,
        row_security: present.iter().any(|it| it.row_security),
        parent: present.iter().find_map(|it| it.parent.clone()),
        has_children: present.iter().any(|it| it.has_children),
        difference: None,
    })
}

fn primary_key(relation: &facts::ShardRelation) -> Option<Vec<String>> {
    let key = relation.keys.iter().find(|key| key.is_primary)?;
    Some(key.columns.clone())
}

/// A table that differs makes those differ that have a column of its row type.
fn spread_over_row_types(relations: &mut [Relation]) {
    loop {
        let differences: HashMap<(&str, &str), &str> = relations
            .iter()
            .filter_map(|it| Some(((&*it.schema, &*it.name), it.difference.as_deref()?)))
            .collect();
        let found: Vec<(usize, String)> = relations
            .iter()
            .enumerate()
            .filter(|(_, it)| it.difference.is_none())
            .filter_map(|(place, it)| {
                let difference = it.columns.iter().find_map(|column| {
                    let row = column.element.as_ref().unwrap_or(&column.base_type);
                    let difference = match row.kind {
                        'c' => differences.get(&(&*row.schema, &*row.name))?,
                        _ => return None,
                    };
                    Some(format!("column {}: {difference}", column.name))
                })?;
                Some((place, format!("{}.{}: {difference}", it.schema, it.name)))
            })
            .collect();
        if found.is_empty() {
            return;
        }
        for (place, difference) in found {
            if let Some(relation) = relations.get_mut(place) {
                relation.difference = Some(difference);
            }
        }
    }
}

/// A collation of which nothing is known but the name.
fn unknown(sql: &str) -> Collation {
    Collation {
        schema: String::new(),
        name: sql.to_owned(),
        sql: Some(sql.to_owned()),
        deterministic: false,
        bytewise: false,
        difference: None,
    }
}

fn relation_kind(relation: &facts::ShardRelation) -> RelationKind {
    match relation.kind {
        'r' | 'p' => RelationKind::Table,
        'v' => RelationKind::View {
            definition: relation.definition.clone().unwrap_or_default(),
        },
        'm' => RelationKind::MaterializedView,
        'f' => RelationKind::Foreign,
        'S' => RelationKind::Sequence,
        _ => RelationKind::Other,
    }
}
