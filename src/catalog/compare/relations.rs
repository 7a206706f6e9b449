//! Relations: what all shards have of each, and how they differ on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{DEFAULT_COLLATION, PerShard, Shards, element_name};
use crate::catalog::{BaseType, Collation, ColumnFacts, DataType, Relation, RelationKind, facts};

impl Shards<'_> {
    pub(super) fn relations(
        &self,
        collations: &BTreeMap<&str, Collation>,
        types: &BTreeMap<&str, DataType>,
        default_collation: &Collation,
    ) -> Vec<Relation> {
        let found = self.by_key(|facts| {
            let relations = facts.relations.iter();
            relations
                .map(|it| ((it.schema.as_str(), it.name.as_str()), it))
                .collect()
        });
        let collation = |sql: &str| match sql {
            DEFAULT_COLLATION => Some(default_collation),
            sql => collations.get(sql),
        };
        let mut relations: Vec<Relation> = found
            .values()
            .filter_map(|shards| {
                let mut relation = merge_relation(shards, collation)?;
                relation.difference = self.relation_difference(shards, collations, types);
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
            row_security: false,
            parent: None,
            difference: None,
        }));
        relations
    }

    /// How the shards differ on a relation; the first difference that is found.
    fn relation_difference(
        &self,
        shards: &PerShard<'_, facts::ShardRelation>,
        collations: &BTreeMap<&str, Collation>,
        types: &BTreeMap<&str, DataType>,
    ) -> Option<String> {
        let first = shards.iter().copied().flatten().next()?;
        let label = format!("{}.{}", first.schema, first.name);
        if let Some(missing) = self.missing(&label, shards) {
            return Some(missing);
        }
        let all = |read: &dyn Fn(&facts::ShardRelation) -> String| -> Vec<Option<String>> {
            shards.iter().map(|it| it.map(read)).collect()
        };
        let differ = |what: &str, values: Vec<Option<String>>| self.differ(what, &values);
        let of_relation = differ("kind of relation", all(&|it| kind_name(it.kind).to_owned()))
            .or_else(|| self.view_difference(shards))
            .or_else(|| {
                // Their order too: `SELECT *` gives them in it.
                differ("list of columns", {
                    all(&|it| {
                        let names: Vec<&str> =
                            it.columns.iter().map(|column| &*column.quoted).collect();
                        names.join(", ")
                    })
                })
            });
        let of_column = |(place, column): (usize, &facts::Column)| {
            let read = |read: &dyn Fn(&facts::Column) -> String| -> Vec<Option<String>> {
                let columns = shards
                    .iter()
                    .map(|it| it.and_then(|it| it.columns.get(place)));
                columns.map(|column| column.map(read)).collect()
            };
            let what = |what: &str| format!("{what} of column {}", column.name);
            let collation = || {
                collations
                    .get(column.collation.as_deref()?)?
                    .difference
                    .clone()
            };
            let used = || {
                let mut names = [Some(column.base.as_str()), column.domain.as_deref()]
                    .into_iter()
                    .flatten();
                names.find_map(|name| types.get(element_name(name))?.difference.clone())
            };
            differ(&what("type"), read(&|it| it.data_type.clone()))
                // Domains of one name may hide different base types.
                .or_else(|| differ(&what("base type"), read(&|it| it.base.clone())))
                .or_else(|| {
                    differ(&what("collation"), {
                        read(&|it| it.collation.clone().unwrap_or_else(|| "none".to_owned()))
                    })
                })
                .or_else(|| Some(format!("column {}: {}", column.name, collation()?)))
                .or_else(|| Some(format!("column {}: {}", column.name, used()?)))
        };
        of_relation
            .or_else(|| first.columns.iter().enumerate().find_map(of_column))
            .map(|difference| format!("{label}: {difference}"))
    }

    /// How the shards differ on the query of a view: on the first line that is not the same.
    fn view_difference(&self, shards: &PerShard<'_, facts::ShardRelation>) -> Option<String> {
        let definitions: Vec<&str> = shards
            .iter()
            .flatten()
            .map(|it| it.definition.as_deref().unwrap_or_default())
            .collect();
        if definitions.windows(2).all(|pair| pair[0] == pair[1]) {
            return None;
        }
        let all = |read: &dyn Fn(&str) -> String| -> Vec<Option<String>> {
            definitions.iter().map(|it| Some(read(it))).collect()
        };
        let lines = definitions.iter().map(|it| it.split('\n').count()).max()?;
        let on_a_line = (0..lines).find_map(|place| {
            let shown = all(&|definition| {
                let line = definition.split('\n').nth(place).unwrap_or("nothing");
                line.trim().trim_end_matches(';').to_owned()
            });
            self.differ(&format!("line {} of the view's query", place + 1), &shown)
        });
        // The spaces around a line may belong to a literal.
        on_a_line.or_else(|| self.differ("query of the view", &all(&str::to_owned)))
    }
}

/// What all shards have of a relation.
fn merge_relation<'a>(
    shards: &PerShard<'_, facts::ShardRelation>,
    collation: impl Fn(&str) -> Option<&'a Collation>,
) -> Option<Relation> {
    let present: Vec<&facts::ShardRelation> = shards.iter().copied().flatten().collect();
    let first = *present.first()?;
    let columns: Vec<ColumnFacts> = first
        .columns
        .iter()
        .map(|column| {
            let is_not_null = |it: &&facts::ShardRelation| {
                let mut columns = it.columns.iter();
                columns.any(|other| other.name == column.name && other.not_null)
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
    Some(Relation {
        schema: first.schema.clone(),
        name: first.name.clone(),
        kind: relation_kind(first),
        keys: keys.map(|key| key.columns.clone()).collect(),
        columns,
        row_security: present.iter().any(|it| it.row_security),
        parent: present.iter().find_map(|it| it.parent.clone()),
        difference: None,
    })
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

fn kind_name(relkind: char) -> &'static str {
    match relkind {
        'r' | 'p' => "table",
        'v' => "view",
        'm' => "materialized view",
        'f' => "foreign table",
        'S' => "sequence",
        _ => "other",
    }
}
