//! Compares the catalogs of all shards. Plain code: no I/O.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::{Catalog, ForeignKey, InspectedRelation};
use super::drift::{Drift, DriftKind, RelationKind};
use crate::catalog::facts::{Collation, Column, Type};
use crate::catalog::{differences, name_list};
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
            let present: Vec<&InspectedRelation> = shards.iter().copied().flatten().collect();
            let first = present.first()?;
            Some(Merged {
                schema: schema.to_owned(),
                name: name.to_owned(),
                kind: RelationKind::from_relkind(first.kind),
                columns: merge_columns(catalogs, &shards, first, &present),
                keys: first
                    .keys
                    .iter()
                    .filter(|key| present.iter().all(|relation| relation.keys.contains(key)))
                    .cloned()
                    .collect(),
                has_primary_key: present.iter().all(|relation| relation.has_primary_key),
                foreign_keys: first
                    .foreign_keys
                    .iter()
                    .filter(|key| present.iter().all(|it| it.foreign_keys.contains(key)))
                    .cloned()
                    .collect(),
                estimates: shards
                    .iter()
                    .map(|relation| relation.map_or(0.0, |relation| relation.estimate))
                    .collect(),
                missing: places(&shards, |relation| relation.is_none()),
                unreadable: places(&shards, |relation| {
                    relation.is_some_and(|relation| !relation.readable)
                }),
                hidden: places(&shards, |relation| {
                    relation.is_some_and(|relation| relation.hides_rows)
                }),
            })
        })
        .collect()
}

fn merge_columns(
    catalogs: &[Catalog],
    shards: &[Option<&InspectedRelation>],
    first: &InspectedRelation,
    present: &[&InspectedRelation],
) -> Vec<MergedColumn> {
    let find = |relation: &InspectedRelation, name: &str| -> Option<Column> {
        let mut columns = relation.columns.iter();
        columns.find(|column| column.name == name).cloned()
    };
    let merged = first.columns.iter().filter_map(|column| {
        let all: Vec<Column> = present
            .iter()
            .map(|relation| find(relation, &column.name))
            .collect::<Option<_>>()?;
        let deterministic = catalogs
            .iter()
            .zip(shards)
            .filter_map(|(catalog, relation)| {
                let collation = find((*relation)?, &column.name)?.collation?;
                catalog.collations.get(&collation)
            })
            .all(|collation| collation.deterministic);
        Some(MergedColumn {
            name: column.name.clone(),
            quoted: column.quoted.clone(),
            base: column.base.clone(),
            is_enum: column.base_kind == 'e',
            not_null: all.iter().all(|other| other.not_null),
            same_type: all.iter().all(|other| other.base == column.base),
            deterministic,
        })
    });
    merged.collect()
}

/// How the catalogs differ where answers depend on them.
pub(super) fn drift(names: &[String], catalogs: &[Catalog]) -> Vec<Drift> {
    let mut found = Findings {
        names,
        drift: Vec::new(),
    };
    found.servers(catalogs);
    found.named(
        DriftKind::Extension,
        "extension",
        catalogs.iter().map(|catalog| &catalog.extensions),
        |version| format!("version {version}"),
        Absence::Differs,
    );
    found.named(
        DriftKind::Collation,
        "collation",
        catalogs.iter().map(|catalog| &catalog.collations),
        Collation::describe,
        Absence::Ignored,
    );
    found.named(
        DriftKind::Type,
        "type",
        catalogs.iter().map(|catalog| &catalog.types),
        Type::describe,
        Absence::Ignored,
    );
    for ((schema, name), shards) in by_name(catalogs) {
        found.relation(&label(schema, name), &shards);
    }
    found.drift
}

/// Whether it is a difference that some shards do not have a thing at all.
#[derive(Clone, Copy, PartialEq)]
enum Absence {
    Differs,
    /// Where it matters, the columns that use it differ too.
    Ignored,
}

struct Findings<'a> {
    names: &'a [String],
    drift: Vec<Drift>,
}

impl Findings<'_> {
    fn servers(&mut self, catalogs: &[Catalog]) {
        self.compare(DriftKind::Server, None, "major version of PostgreSQL", {
            catalogs
                .iter()
                .map(|catalog| Some((catalog.version / 10_000).to_string()))
        });
        self.compare(DriftKind::Server, None, "encoding of the database", {
            catalogs
                .iter()
                .map(|catalog| Some(catalog.database.encoding.clone()))
        });
        self.compare(DriftKind::Collation, None, "collation of the database", {
            catalogs
                .iter()
                .map(|catalog| Some(catalog.database.collation()))
        });
        self.compare(DriftKind::Setting, None, "schemas of the search path", {
            catalogs
                .iter()
                .map(|catalog| Some(catalog.search_path.join(", ")))
        });
        let settings: BTreeSet<&String> = catalogs
            .iter()
            .flat_map(|catalog| catalog.settings.keys())
            .collect();
        for setting in settings {
            self.compare(DriftKind::Setting, None, &format!("setting {setting}"), {
                catalogs
                    .iter()
                    .map(|catalog| catalog.settings.get(setting).cloned().flatten())
            });
        }
    }

    /// Compares things that have a name.
    fn named<'a, T: 'a>(
        &mut self,
        kind: DriftKind,
        what: &str,
        things: impl Iterator<Item = &'a BTreeMap<String, T>>,
        show: impl Fn(&T) -> String,
        absence: Absence,
    ) {
        let things: Vec<&BTreeMap<String, T>> = things.collect();
        let names: BTreeSet<&String> = things.iter().flat_map(|things| things.keys()).collect();
        for name in names {
            let shown = things.iter().map(|things| match things.get(name) {
                Some(thing) => Some(show(thing)),
                None if absence == Absence::Differs => Some("missing".to_owned()),
                None => None,
            });
            self.compare(kind, None, &format!("{what} {name}"), shown);
        }
    }

    fn relation(&mut self, table: &str, shards: &[Option<&InspectedRelation>]) {
        let missing = places(shards, |relation| relation.is_none());
        if !missing.is_empty() {
            self.push(
                DriftKind::MissingTable,
                Some(table),
                format!("missing on {}", name_list(self.names, &missing)),
            );
        }
        let all = |read: &dyn Fn(&InspectedRelation) -> String| -> Vec<Option<String>> {
            shards.iter().map(|relation| relation.map(read)).collect()
        };
        let kinds = all(&|relation| RelationKind::from_relkind(relation.kind).to_string());
        self.compare(
            DriftKind::Definition,
            Some(table),
            "kind of relation",
            kinds,
        );
        self.compare(DriftKind::Definition, Some(table), "query of the view", {
            all(&|relation| relation.definition.clone().unwrap_or_default())
        });
        self.compare(DriftKind::Definition, Some(table), "row security", {
            all(&|relation| match relation.row_security {
                true => "on".to_owned(),
                false => "off".to_owned(),
            })
        });
        self.compare(DriftKind::Definition, Some(table), "list of policies", {
            // They say nothing where row security is off.
            all(
                &|relation| match relation.row_security && !relation.policies.is_empty() {
                    true => relation.policies.join(", "),
                    false => "none".to_owned(),
                },
            )
        });
        self.columns(table, shards);
        self.compare(DriftKind::Definition, Some(table), "unique keys", {
            all(&|relation| match relation.keys.is_empty() {
                true => "none".to_owned(),
                false => {
                    let keys = relation
                        .keys
                        .iter()
                        .map(|key| format!("({})", key.join(", ")));
                    keys.collect::<Vec<_>>().join(" ")
                }
            })
        });
    }

    fn columns(&mut self, table: &str, shards: &[Option<&InspectedRelation>]) {
        let mut names: Vec<&str> = Vec::new();
        for column in shards
            .iter()
            .flatten()
            .flat_map(|relation| &relation.columns)
        {
            if !names.contains(&column.name.as_str()) {
                names.push(&column.name);
            }
        }
        let mut same_columns = true;
        for name in names {
            let columns: Vec<Option<&Column>> = shards
                .iter()
                .map(|relation| relation.and_then(|r| r.columns.iter().find(|c| c.name == name)))
                .collect();
            let missing: Vec<usize> = columns
                .iter()
                .zip(shards)
                .enumerate()
                .filter(|(_, (column, relation))| column.is_none() && relation.is_some())
                .map(|(shard, _)| shard)
                .collect();
            if !missing.is_empty() {
                same_columns = false;
                let message = format!(
                    "column {name} is missing on {}",
                    name_list(self.names, &missing)
                );
                self.push(DriftKind::Column, Some(table), message);
            }
            let all = |read: &dyn Fn(&Column) -> String| -> Vec<Option<String>> {
                columns.iter().map(|column| column.map(read)).collect()
            };
            let what = |what: &str| format!("{what} of column {name}");
            self.compare(DriftKind::Column, Some(table), &what("type"), {
                all(&|column| column.data_type.clone())
            });
            self.compare(DriftKind::Column, Some(table), &what("nullability"), {
                all(&|column| match column.not_null {
                    true => "not null".to_owned(),
                    false => "nullable".to_owned(),
                })
            });
            self.compare(DriftKind::Column, Some(table), &what("expression"), {
                all(&|column| column.generated.clone().unwrap_or("none".to_owned()))
            });
            self.compare(DriftKind::Collation, Some(table), &what("collation"), {
                all(&|column| column.collation.clone().unwrap_or("none".to_owned()))
            });
        }
        if same_columns {
            // `SELECT *` gives them in this order.
            self.compare(DriftKind::Column, Some(table), "order of columns", {
                shards.iter().map(|relation| {
                    let columns = relation.map(|relation| relation.columns.iter());
                    columns.map(|columns| {
                        let names: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
                        names.join(", ")
                    })
                })
            });
        }
    }

    fn compare(
        &mut self,
        kind: DriftKind,
        table: Option<&str>,
        what: &str,
        values: impl IntoIterator<Item = Option<String>>,
    ) {
        let values: Vec<Option<String>> = values.into_iter().collect();
        if let Some(differences) = differences(self.names, &values) {
            self.push(kind, table, format!("{what} differs: {differences}"));
        }
    }

    fn push(&mut self, kind: DriftKind, table: Option<&str>, message: String) {
        self.drift.push(Drift::new(kind, table, message));
    }
}

fn label(schema: &str, name: &str) -> String {
    format!("{schema}.{name}")
}

fn places(
    shards: &[Option<&InspectedRelation>],
    matches: impl Fn(&Option<&InspectedRelation>) -> bool,
) -> Vec<usize> {
    let found = shards.iter().enumerate().filter(|(_, r)| matches(r));
    found.map(|(shard, _)| shard).collect()
}

fn by_name(catalogs: &[Catalog]) -> BTreeMap<(&str, &str), Vec<Option<&InspectedRelation>>> {
    let mut relations: BTreeMap<(&str, &str), Vec<Option<&InspectedRelation>>> = BTreeMap::new();
    for (shard, catalog) in catalogs.iter().enumerate() {
        for relation in &catalog.relations {
            let shards = relations
                .entry((&relation.schema, &relation.name))
                .or_insert_with(|| vec![None; catalogs.len()]);
            if let Some(place) = shards.get_mut(shard) {
                *place = Some(relation);
            }
        }
    }
    relations
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::catalog::facts::Database;

    pub(in crate::inspect) fn column(name: &str, data_type: &str) -> Column {
        Column {
            name: name.to_owned(),
            quoted: name.to_owned(),
            data_type: data_type.to_owned(),
            base: data_type.to_owned(),
            base_schema: "pg_catalog".to_owned(),
            base_name: data_type.to_owned(),
            base_kind: 'b',
            element: None,
            domain: None,
            modifier: -1,
            dimensions: 0,
            not_null: true,
            generated: None,
            collation: None,
        }
    }

    pub(in crate::inspect) fn relation(name: &str, columns: &[Column]) -> InspectedRelation {
        InspectedRelation {
            schema: "public".to_owned(),
            name: name.to_owned(),
            kind: 'r',
            readable: true,
            row_security: false,
            hides_rows: false,
            policies: Vec::new(),
            estimate: 10.0,
            definition: None,
            columns: columns.to_vec(),
            keys: Vec::new(),
            has_primary_key: false,
            foreign_keys: Vec::new(),
        }
    }

    pub(in crate::inspect) fn catalog(relations: &[InspectedRelation]) -> Catalog {
        Catalog {
            version: 150_004,
            database: Database {
                encoding: "UTF8".to_owned(),
                collate: Some("C".to_owned()),
                ctype: Some("C".to_owned()),
                provider: "c".to_owned(),
                locale: None,
                version: None,
            },
            settings: BTreeMap::new(),
            extensions: BTreeMap::new(),
            collations: BTreeMap::new(),
            types: BTreeMap::new(),
            relations: relations.to_vec(),
            search_path: vec!["public".to_owned()],
            partitions: BTreeMap::new(),
            role: "app".to_owned(),
        }
    }

    fn messages(catalogs: &[Catalog]) -> Vec<String> {
        let names: Vec<String> = (0..catalogs.len()).map(|i| format!("s{i}")).collect();
        let drift = drift(&names, catalogs);
        drift.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn equal_catalogs_have_no_drift() {
        let one = catalog(&[relation("t", &[column("a", "integer")])]);
        assert_eq!(messages(&[one.clone(), one.clone(), one]), [""; 0]);
    }

    #[test]
    fn a_missing_table_and_a_missing_column_name_the_shards() {
        let both = relation("t", &[column("a", "integer"), column("b", "text")]);
        let one = relation("t", &[column("a", "integer")]);
        let other = relation("u", &[]);
        assert_eq!(
            messages(&[
                catalog(&[both, other]),
                catalog(std::slice::from_ref(&one)),
                catalog(&[one])
            ]),
            [
                "public.t: column b is missing on s1 and s2",
                "public.u: missing on s1 and s2",
            ]
        );
    }

    #[test]
    fn types_nullability_and_order_of_columns_are_compared() {
        let mut nullable = column("b", "text");
        nullable.not_null = false;
        let here = relation("t", &[column("a", "integer"), column("b", "text")]);
        let there = relation("t", &[nullable, column("a", "bigint")]);
        assert_eq!(
            messages(&[catalog(&[here]), catalog(&[there])]),
            [
                "public.t: type of column a differs: integer on s0; bigint on s1",
                "public.t: nullability of column b differs: not null on s0; nullable on s1",
                "public.t: order of columns differs: a, b on s0; b, a on s1",
            ]
        );
    }

    #[test]
    fn servers_collations_enums_and_extensions_are_compared() {
        let here = {
            let mut it = catalog(&[]);
            it.extensions.insert("hstore".into(), "1.8".into());
            it
        };
        let mut there = catalog(&[]);
        there.version = 160_001;
        there.database.encoding = "LATIN1".to_owned();
        there.database.version = Some("2.36".to_owned());
        let enumeration = |labels: &[&str]| Type {
            schema: "app".to_owned(),
            name: "mood".to_owned(),
            kind: 'e',
            parts: None,
            calls: None,
            check: None,
            definition: Some(labels.iter().map(|label| (*label).to_owned()).collect()),
        };
        let collation = |version: &str| Collation {
            schema: "public".to_owned(),
            name: "x".to_owned(),
            ctype: None,
            rules: None,
            is_used: true,
            provider: "i".to_owned(),
            locale: Some("de".to_owned()),
            deterministic: true,
            version: Some(version.to_owned()),
        };
        let mut third = here.clone();
        third
            .types
            .insert("app.mood".into(), enumeration(&["a", "b"]));
        third.collations.insert("x".into(), collation("1"));
        there
            .types
            .insert("app.mood".into(), enumeration(&["b", "a"]));
        there.collations.insert("x".into(), collation("2"));
        assert_eq!(
            messages(&[here, there, third]),
            [
                "major version of PostgreSQL differs: 15 on s0 and s2; 16 on s1",
                "encoding of the database differs: UTF8 on s0 and s2; LATIN1 on s1",
                "collation of the database differs: provider c, locale none, collate C, ctype C, \
                 version none on s0 and s2; provider c, locale none, collate C, ctype C, version \
                 2.36 on s1",
                "extension hstore differs: version 1.8 on s0 and s2; missing on s1",
                "collation x differs: provider i, locale de, version 2 on s1; provider i, locale \
                 de, version 1 on s2",
                "type app.mood differs: enum b, a on s1; enum a, b on s2",
            ]
        );
    }

    #[test]
    fn what_all_shards_have_is_merged() {
        let mut here = relation("t", &[column("a", "integer"), column("b", "text")]);
        here.keys = vec![vec!["a".to_owned()], vec!["b".to_owned()]];
        let mut there = relation("t", &[column("a", "bigint")]);
        there.keys = vec![vec!["a".to_owned()]];
        there.readable = false;
        there.estimate = 20.0;
        let merged = merge(&[catalog(&[here]), catalog(&[there]), catalog(&[])]);
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
