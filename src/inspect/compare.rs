//! How the catalogs of all shards differ. Plain code: no I/O.

use std::collections::BTreeMap;

use super::catalog::{Catalog, InspectedRelation};
use super::drift::{Drift, DriftKind};
use super::merged::{by_name, label};
use crate::catalog::facts::{Collation, Type};
use crate::catalog::{Aspect, Comparison, PerShard, by_key};

/// How the catalogs differ where answers depend on them.
pub(super) fn drift(names: &[String], catalogs: &[Catalog]) -> Vec<Drift> {
    let mut found = Findings {
        catalogs,
        comparison: Comparison::new(names, catalogs.iter().map(|it| &it.facts)),
        drift: Vec::new(),
    };
    found.servers();
    let settings = by_key(catalogs.iter().map(|it| &it.details.settings));
    found.named(DriftKind::Setting, "setting", settings, |it| it?.clone());
    let extensions = by_key(catalogs.iter().map(|it| &it.details.extensions));
    found.named(DriftKind::Extension, "extension", extensions, |it| {
        Some(it.map_or("missing".to_owned(), |version| format!("version {version}")))
    });
    // Where it matters that some shards lack a collation or type, the columns that use it differ too.
    let collations = by_key(catalogs.iter().map(|it| {
        let collations = it.facts.collations.iter();
        collations.filter(|(_, collation)| collation.is_used)
    }));
    found.named(DriftKind::Collation, "collation", collations, |it| {
        it.map(Collation::describe)
    });
    let types = by_key(catalogs.iter().map(|it| {
        let types = it.facts.types.iter();
        // A multirange type comes with its range type.
        types.filter(|(_, data_type)| data_type.kind != 'm')
    }));
    found.named(DriftKind::Type, "type", types, |it| it.map(Type::describe));
    for ((schema, name), shards) in by_name(catalogs) {
        found.relation(&label(schema, name), &shards);
    }
    let functions = found.comparison.function_differences().into_iter();
    let functions = functions.map(|difference| Drift::new(DriftKind::Function, None, difference));
    found.drift.extend(functions);
    found.drift
}

struct Findings<'a> {
    catalogs: &'a [Catalog],
    comparison: Comparison<'a>,
    drift: Vec<Drift>,
}

impl Findings<'_> {
    fn servers(&mut self) {
        self.each(DriftKind::Server, "major version of PostgreSQL", |it| {
            (it.facts.version / 10_000).to_string()
        });
        self.each(DriftKind::Server, "encoding of the database", |it| {
            it.facts.database.encoding.clone()
        });
        self.each(DriftKind::Collation, "collation of the database", |it| {
            it.facts.database.collation()
        });
        self.each(DriftKind::Setting, "schemas of the search path", |it| {
            it.search_path().collect::<Vec<_>>().join(", ")
        });
    }

    fn relation(&mut self, table: &str, shards: &PerShard<InspectedRelation<'_>>) {
        let facts = shards.iter().map(|it| it.map(|it| it.facts)).collect();
        let differences = self.comparison.relation_differences(&facts);
        let differences = differences.into_iter().map(|it| {
            let kind = match it.aspect {
                Aspect::Missing => DriftKind::MissingTable,
                Aspect::Definition => DriftKind::Definition,
                Aspect::Column => DriftKind::Column,
                Aspect::Collation => DriftKind::Collation,
            };
            Drift::new(kind, Some(table), it.message)
        });
        self.drift.extend(differences);
        let policies = shards.iter().map(|it| it.as_ref().map(policies));
        self.compare(
            DriftKind::Definition,
            Some(table),
            "list of policies",
            policies,
        );
    }

    /// Compares things that have a name.
    fn named<T>(
        &mut self,
        kind: DriftKind,
        what: &str,
        things: BTreeMap<&String, PerShard<&T>>,
        show: impl Fn(Option<&T>) -> Option<String>,
    ) {
        for (name, shards) in things {
            let shown = shards.into_iter().map(&show);
            self.compare(kind, None, &format!("{what} {name}"), shown);
        }
    }

    /// Compares what each database says.
    fn each(&mut self, kind: DriftKind, what: &str, read: impl Fn(&Catalog) -> String) {
        let shown = self.catalogs.iter().map(|it| Some(read(it)));
        self.compare(kind, None, what, shown);
    }

    fn compare(
        &mut self,
        kind: DriftKind,
        table: Option<&str>,
        what: &str,
        values: impl Iterator<Item = Option<String>>,
    ) {
        let difference = self.comparison.differ(what, &values.collect::<Vec<_>>());
        let difference = difference.map(|message| Drift::new(kind, table, message));
        self.drift.extend(difference);
    }
}

fn policies(relation: &InspectedRelation<'_>) -> String {
    // They say nothing where row security is off.
    match relation.facts.row_security && !relation.details.policies.is_empty() {
        true => relation.details.policies.join(", "),
        false => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::facts::fixture::{column, relation};
    use crate::inspect::catalog::fixture::catalog;

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
                "public.t: order of columns differs: a, b on s0; b, a on s1",
                "public.t: type of column a differs: integer on s0; bigint on s1",
                "public.t: nullability of column b differs: not null on s0; nullable on s1",
            ]
        );
    }

    #[test]
    fn servers_collations_enums_and_extensions_are_compared() {
        let here = {
            let mut it = catalog(&[]);
            it.details.extensions.insert("hstore".into(), "1.8".into());
            it
        };
        let mut there = catalog(&[]);
        there.facts.version = 160_001;
        there.facts.database.encoding = "LATIN1".to_owned();
        there.facts.database.version = Some("2.36".to_owned());
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
            .facts
            .types
            .insert("app.mood".into(), enumeration(&["a", "b"]));
        third.facts.collations.insert("x".into(), collation("1"));
        there
            .facts
            .types
            .insert("app.mood".into(), enumeration(&["b", "a"]));
        there.facts.collations.insert("x".into(), collation("2"));
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
}
