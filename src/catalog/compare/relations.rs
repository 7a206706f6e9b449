//! Relations: what all shards have of each, and how they differ on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::differences::{Aspect, Relations, Seen, column_names};
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
                for difference in self.relation_differences(shards) {
                    let aspect = difference.aspect;
                    for (seen, what) in difference.refusals {
                        let told = match aspect {
                            Aspect::Missing => format!("{label} is {what}"),
                            _ => format!("{label}: {what}"),
                        };
                        refuse(&mut relation, &seen, told);
                    }
                }
                for (name, difference) in within(shards, collations, types) {
                    let told = format!("{label}: column {name}: {difference}");
                    refuse(&mut relation, &Seen::Column(name), told);
                }
                Some(relation)
            })
            .collect();
        spread_over_row_types(&mut relations);
        relations.iter_mut().for_each(refuse_views);
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
            list_difference: None,
            difference: None,
        }));
        relations
    }
}

/// Notes what a query is refused with that sees the difference there, unless it is refused with another
/// already.
fn refuse(relation: &mut Relation, seen: &Seen, told: String) {
    let place = match seen {
        Seen::Relation => Some(&mut relation.difference),
        Seen::List => Some(&mut relation.list_difference),
        Seen::Column(name) => {
            let mut columns = relation.columns.iter_mut();
            let column = columns.find(|column| column.name == *name);
            column.map(|column| &mut column.difference)
        }
    };
    if let Some(place) = place {
        place.get_or_insert(told);
    }
}

/// A view whose columns differ though its query does not is made of what differs.
fn refuse_views(relation: &mut Relation) {
    if matches!(
        relation.kind,
        RelationKind::View { .. } | RelationKind::MaterializedView
    ) {
        relation.difference = relation.any_difference().map(str::to_owned);
    }
}

/// How the shards differ on collations and types that columns have, by the column.
fn within(
    shards: &Relations<'_>,
    collations: &BTreeMap<&str, Collation>,
    types: &BTreeMap<&str, DataType>,
) -> Vec<(String, String)> {
    let all = shards.iter().copied().flatten();
    let columns = all.flat_map(|relation| &relation.columns);
    let found = columns.filter_map(|column| {
        let collation = column.collation.as_deref();
        let collation = collation.and_then(|sql| collations.get(sql)?.difference.as_ref());
        let used = || {
            let names = [Some(column.base.as_str()), column.domain.as_deref()];
            let mut names = names.into_iter().flatten();
            names.find_map(|name| types.get(element_name(name))?.difference.as_ref())
        };
        let difference = collation.or_else(used)?;
        Some((column.name.clone(), difference.clone()))
    });
    found.collect()
}

/// What all shards have of a relation.
fn merge_relation<'a>(
    shards: &Relations<'_>,
    collation: impl Fn(&str) -> Option<&'a Collation>,
) -> Option<Relation> {
    let present: Vec<&facts::ShardRelation> = shards.iter().copied().flatten().collect();
    let first = *present.first()?;
    // Names mean those too that some shards lack.
    let columns: Vec<ColumnFacts> = column_names(shards)
        .into_iter()
        .filter_map(|name| present.iter().find_map(|it| it.column(name)))
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
                difference: None,
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
        list_difference: None,
        difference: None,
    })
}

fn primary_key(relation: &facts::ShardRelation) -> Option<Vec<String>> {
    let key = relation.keys.iter().find(|key| key.is_primary)?;
    Some(key.columns.clone())
}

/// A table that differs makes columns of its row type differ.
fn spread_over_row_types(relations: &mut [Relation]) {
    loop {
        let differences: HashMap<(&str, &str), &str> = relations
            .iter()
            .filter_map(|it| Some(((&*it.schema, &*it.name), it.any_difference()?)))
            .collect();
        let mut found: Vec<(usize, String, String)> = Vec::new();
        for (place, relation) in relations.iter().enumerate() {
            let same = relation.columns.iter().filter(|it| it.difference.is_none());
            found.extend(same.filter_map(|column| {
                let row = column.element.as_ref().unwrap_or(&column.base_type);
                let difference = match row.kind {
                    'c' => differences.get(&(&*row.schema, &*row.name))?,
                    _ => return None,
                };
                let label = format!("{}.{}", relation.schema, relation.name);
                let told = format!("{label}: column {}: {difference}", column.name);
                Some((place, column.name.clone(), told))
            }));
        }
        if found.is_empty() {
            return;
        }
        for (place, column, told) in found {
            if let Some(relation) = relations.get_mut(place) {
                refuse(relation, &Seen::Column(column), told);
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
