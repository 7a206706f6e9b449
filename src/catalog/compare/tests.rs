use super::*;
use crate::catalog::facts::fixture::{column, facts, key, relation};
use crate::catalog::{BaseType, Function, FunctionKind, Origin, RelationKind, Volatility};

fn function(name: &str, volatility: char, fingerprint: &str) -> facts::Function {
    facts::Function {
        schema: "app".to_owned(),
        name: name.to_owned(),
        kind: 'f',
        volatility,
        is_member: false,
        least: 1,
        most: Some(1),
        language: "sql".to_owned(),
        body: None,
        calls: None,
        types: None,
        outputs: None,
        gives_rows: false,
        gives_values: true,
        signature: Some("(integer) returns integer".to_owned()),
        fingerprint: Some(fingerprint.to_owned()),
    }
}

fn compared(facts: &[Facts]) -> Catalog {
    let names: Vec<String> = (0..facts.len()).map(|shard| format!("s{shard}")).collect();
    Comparison::new(&names, facts).catalog()
}

/// How the shards differ on the relation `t`.
fn difference(relations: &[&facts::ShardRelation]) -> Option<String> {
    let facts: Vec<Facts> = relations
        .iter()
        .map(|relation| facts(&[(*relation).clone()]))
        .collect();
    let catalog = compared(&facts);
    let t = catalog.relation(None, "t").unwrap();
    t.any_difference().map(str::to_owned)
}

#[test]
fn equal_shards_do_not_differ() {
    let mut t = relation("t", &[column("a", "integer")]);
    t.keys = vec![key(&["a"])];
    let catalog = compared(&[
        facts(std::slice::from_ref(&t)),
        facts(std::slice::from_ref(&t)),
        facts(&[t]),
    ]);
    assert_eq!(catalog.difference(), None);
    assert!(catalog.default_collation().bytewise);
    let t = catalog.relation(None, "t").unwrap();
    assert_eq!((&t.kind, &t.difference), (&RelationKind::Table, &None));
    assert_eq!(t.keys, [["a"]]);
    let a = t.column("a").unwrap();
    assert_eq!((&*a.type_name, a.not_null), ("integer", true));
    let system = catalog.relation(None, "pg_class").unwrap();
    assert_eq!(system.kind, RelationKind::Other);
    let sum: Vec<&Function> = catalog.functions(None, "sum").collect();
    assert_eq!(sum.len(), 1);
    assert_eq!(
        (sum[0].kind, sum[0].volatility, sum[0].origin),
        (
            FunctionKind::Aggregate,
            Volatility::Immutable,
            Origin::System
        )
    );
}

#[test]
fn differences_of_relations_name_shards_and_values() {
    let t = relation("t", &[column("a", "integer"), column("b", "text")]);
    let shorter = relation("t", &[column("a", "integer")]);
    let other_type = relation("t", &[column("a", "bigint"), column("b", "text")]);
    let mut collated = t.clone();
    collated.columns[1].collation = Some("\"C\"".to_owned());
    let mut view = t.clone();
    view.kind = 'v';
    view.definition = Some("SELECT 1\n  FROM a;".to_owned());
    let mut other_view = view.clone();
    other_view.definition = Some("SELECT 1\n  FROM b;".to_owned());
    for (shards, expected) in [
        (
            [&t, &t, &shorter],
            "public.t: list of columns differs: a, b on s0 and s1; a on s2",
        ),
        (
            [&t, &other_type, &t],
            "public.t: type of column a differs: integer on s0 and s2; bigint on s1",
        ),
        (
            [&t, &collated, &collated],
            "public.t: collation of column b differs: none on s0; \"C\" on s1 and s2",
        ),
        (
            [&t, &t, &view],
            "public.t: kind of relation differs: table on s0 and s1; view on s2",
        ),
        (
            [&view, &other_view, &view],
            "public.t: line 2 of the view's query differs: FROM a on s0 and s2; FROM b on s1",
        ),
    ] {
        assert_eq!(difference(&shards).as_deref(), Some(expected));
    }
    let catalog = compared(&[facts(&[t]), facts(&[]), facts(&[])]);
    assert_eq!(
        catalog.relation(None, "t").unwrap().difference.as_deref(),
        Some("public.t is missing on s1 and s2")
    );
}

#[test]
fn a_column_that_differs_is_a_difference_of_its_own() {
    let text = || column("c", "text");
    let here = relation(
        "t",
        &[column("a", "integer"), column("b", "integer"), text()],
    );
    let mut there = relation("t", &[column("a", "integer"), text(), column("d", "date")]);
    there.columns[1].collation = Some("\"C\"".to_owned());
    let catalog = compared(&[facts(std::slice::from_ref(&here)), facts(&[there])]);
    let t = catalog.relation(None, "t").unwrap();
    let columns: Vec<(&str, Option<&str>)> = t
        .columns
        .iter()
        .map(|it| (&*it.name, it.difference.as_deref()))
        .collect();
    assert_eq!(
        columns,
        [
            ("a", None),
            ("b", Some("public.t: column b is missing on s1")),
            (
                "c",
                Some("public.t: collation of column c differs: none on s0; \"C\" on s1")
            ),
            ("d", Some("public.t: column d is missing on s0")),
        ]
    );
    assert_eq!(t.difference, None);
    let list = "public.t: list of columns differs: a, b, c on s0; a, c, d on s1";
    assert_eq!(t.row_difference(), Some(list));
    #[cfg(feature = "datafusion")]
    {
        assert!(catalog.has_columns_that_differ());
        assert_eq!(catalog.type_difference("public.t"), Some(list));
    }

    // Where the order alone differs, each column is the same.
    let mut other = here.clone();
    other.columns.reverse();
    let catalog = compared(&[facts(std::slice::from_ref(&here)), facts(&[other])]);
    let t = catalog.relation(None, "t").unwrap();
    assert!(t.columns.iter().all(|column| column.difference.is_none()));
    assert!(t.difference.is_none() && t.list_difference.is_some());

    // The columns of a view are made by its query.
    let view = |mut relation: facts::ShardRelation| {
        relation.kind = 'v';
        relation.definition = Some("SELECT 1".to_owned());
        relation
    };
    let mut other = here.clone();
    other.columns[0].data_type = "bigint".to_owned();
    let catalog = compared(&[facts(&[view(here)]), facts(&[view(other)])]);
    let t = catalog.relation(None, "t").unwrap();
    let told = "public.t: type of column a differs: integer on s0; bigint on s1";
    assert_eq!(t.difference.as_deref(), Some(told));
}

#[test]
fn only_what_all_shards_promise_is_promised() {
    let mut here = relation("t", &[column("a", "integer"), column("b", "integer")]);
    here.keys = vec![key(&["a", "b"]), key(&["a"]), key(&["b"])];
    let mut there = here.clone();
    there.columns[1].not_null = false;
    there.keys = vec![key(&["b"]), key(&["a"])];
    there.row_security = true;
    assert_eq!(difference(&[&here, &there]), None);
    let catalog = compared(&[facts(std::slice::from_ref(&here)), facts(&[there])]);
    let t = catalog.relation(None, "t").unwrap();
    assert_eq!(t.keys, [["a"]]);
    assert!(t.row_security && !t.columns[1].not_null);

    let mut deferred = here.clone();
    deferred.keys[1].is_plain = false;
    let catalog = compared(&[facts(&[here]), facts(&[deferred])]);
    let t = catalog.relation(None, "t").unwrap();
    assert_eq!(t.keys, [vec!["a", "b"], vec!["b"]]);
}

#[test]
fn what_changes_no_answer_is_a_difference_and_no_refusal() {
    let here = relation("t", &[column("a", "integer"), column("b", "integer")]);
    let mut there = here.clone();
    there.kind = 'p';
    there.row_security = true;
    there.keys = vec![key(&["a", "b"]), key(&["b"])];
    there.columns[0].not_null = false;
    there.columns[1].generated = Some("(a + 1)".to_owned());
    let names = ["s0".to_owned(), "s1".to_owned()];
    let comparison = Comparison::new(&names, []);
    let all = |shards: &[&facts::ShardRelation]| -> Vec<String> {
        let shards = shards.iter().map(|it| Some(*it)).collect();
        let found = comparison.relation_differences(&shards).into_iter();
        found.map(|it| it.message).collect()
    };
    assert_eq!(all(&[&here, &here]), [""; 0]);
    assert_eq!(
        all(&[&here, &there]),
        [
            "kind of relation differs: table on s0; partitioned table on s1",
            "row security differs: off on s0; on on s1",
            "unique keys differs: none on s0; (a, b) (b) on s1",
            "nullability of column a differs: not null on s0; nullable on s1",
            "expression of column b differs: none on s0; (a + 1) on s1",
        ]
    );
    assert_eq!(difference(&[&here, &there]), None);
    there.columns[1].data_type = "bigint".to_owned();
    let refused = "type of column b differs: integer on s0; bigint on s1";
    assert!(all(&[&here, &there]).contains(&refused.to_owned()));
    assert_eq!(
        difference(&[&here, &there]),
        Some(format!("public.t: {refused}"))
    );
}

#[test]
fn tables_differ_with_the_types_of_their_columns() {
    let enumeration = |labels: &[&str]| facts::Type {
        schema: "app".to_owned(),
        name: "mood".to_owned(),
        kind: 'e',
        definition: Some(labels.iter().map(|label| (*label).to_owned()).collect()),
        parts: None,
        calls: None,
        check: None,
    };
    let pair = facts::Type {
        schema: "app".to_owned(),
        name: "pair".to_owned(),
        kind: 'c',
        definition: Some(vec!["a app.mood[]".to_owned()]),
        parts: Some(vec!["app.mood[]".to_owned(), "app.pair[]".to_owned()]),
        calls: None,
        check: None,
    };
    let make = |labels: &[&str]| {
        let mut row = column("r", "public.t");
        (row.base_schema, row.base_name) = ("public".to_owned(), "_t".to_owned());
        row.element = Some(BaseType {
            schema: "public".to_owned(),
            name: "t".to_owned(),
            kind: 'c',
        });
        let mut facts = facts(&[
            relation("t", &[column("p", "app.pair[]")]),
            relation("u", &[row]),
            relation("v", &[column("a", "integer")]),
        ]);
        facts
            .types
            .insert("app.mood".to_owned(), enumeration(labels));
        facts.types.insert("app.pair".to_owned(), pair.clone());
        facts
    };
    let catalog = compared(&[make(&["a", "b"]), make(&["b", "a"])]);
    let difference = |name: &str| {
        let relation = catalog.relation(None, name).unwrap();
        relation.row_difference().map(str::to_owned)
    };
    let mood = "type app.mood differs: enum a, b on s0; enum b, a on s1";
    assert_eq!(difference("t"), Some(format!("public.t: column p: {mood}")));
    assert_eq!(
        difference("u"),
        Some(format!("public.u: column r: public.t: column p: {mood}"))
    );
    assert_eq!(difference("v"), None);
    let pair = catalog.data_type(Some("app"), "pair").unwrap();
    assert_eq!((pair.kind, pair.difference.as_deref()), ('c', Some(mood)));
    assert_eq!(catalog.data_type(None, "pair"), None);
}

#[test]
fn collations_are_compared_with_their_versions() {
    let make = |version: &str, encoding: &str| {
        let icu = |locale: &str, deterministic, version: &str| facts::Collation {
            schema: "app".to_owned(),
            name: locale.to_owned(),
            provider: "i".to_owned(),
            locale: Some(locale.to_owned()),
            ctype: None,
            rules: None,
            deterministic,
            version: Some(version.to_owned()),
            is_used: true,
        };
        let c = facts::Collation {
            provider: "c".to_owned(),
            locale: Some("C".to_owned()),
            ..icu("C", true, "")
        };
        let mut text = column("a", "text");
        text.collation = Some("app.de".to_owned());
        let mut plain = column("b", "text");
        plain.collation = Some(DEFAULT_COLLATION.to_owned());
        let mut facts = facts(&[
            relation("t", &[text]),
            relation("u", std::slice::from_ref(&plain)),
        ]);
        facts.database.encoding = encoding.to_owned();
        facts
            .collations
            .insert("app.de".to_owned(), icu("de", false, version));
        facts.collations.insert("app.\"C\"".to_owned(), c);
        facts
    };
    let catalog = compared(&[make("1", "UTF8"), make("2", "UTF8")]);
    let expected = "collation app.de differs: provider i, locale de, version 1, not deterministic \
                    on s0; provider i, locale de, version 2, not deterministic on s1";
    let t = catalog.relation(None, "t").unwrap();
    assert_eq!(
        t.columns[0].difference,
        Some(format!("public.t: column a: {expected}"))
    );
    let de = catalog.collation(Some("app"), "de").unwrap();
    assert_eq!(t.columns[0].collation.as_ref(), Some(de));
    assert_eq!(de.sql.as_deref(), Some("\"app\".\"de\""));
    assert_eq!(de.difference.as_deref(), Some(expected));
    assert!(!de.deterministic && !de.bytewise);
    assert!(catalog.collation(Some("app"), "C").unwrap().bytewise);
    let u = catalog.relation(None, "u").unwrap();
    assert_eq!(
        u.columns[0].collation.as_ref(),
        Some(catalog.default_collation())
    );
    assert_eq!((u.any_difference(), catalog.difference()), (None, None));

    let catalog = compared(&[make("1", "UTF8"), make("1", "EUC_JP")]);
    assert_eq!(
        catalog.difference(),
        Some("encoding of the databases differs: UTF8 on s0; EUC_JP on s1")
    );
    // Its bytes have another order than those of UTF-8.
    assert!(!catalog.collation(Some("app"), "C").unwrap().bytewise);
    assert!(!catalog.default_collation().bytewise);
}

#[test]
fn the_default_collation_is_compared_and_versions_of_servers_are_not() {
    let mut there = facts(&[]);
    there.version = 170_001;
    assert_eq!(compared(&[facts(&[]), there.clone()]).difference(), None);
    there.database.collate = Some("de_DE.utf8".to_owned());
    let catalog = compared(&[facts(&[]), there.clone()]);
    let expected = "collation of the databases differs: provider c, locale none, collate C, ctype \
                    C, version none on s0; provider c, locale none, collate de_DE.utf8, ctype C, \
                    version none on s1";
    assert_eq!(catalog.difference(), Some(expected));
    assert_eq!(
        catalog.default_collation().difference.as_deref(),
        Some(expected)
    );
    assert!(!catalog.default_collation().bytewise);
    // PostgreSQL's own provider compares bytes in all of its locales.
    there.database.provider = "b".to_owned();
    assert!(compared(&[there]).default_collation().bytewise);
}

#[test]
fn functions_of_users_are_compared() {
    let with = |functions: &[facts::Function]| {
        let mut facts = facts(&[]);
        facts.functions = functions.to_vec();
        facts
    };
    let mut member = function("m", 'v', "");
    (member.is_member, member.fingerprint) = (true, None);
    let catalog = compared(&[
        with(&[
            function("same", 'i', "0123456789"),
            function("body", 'i', "0123456789"),
            function("kind", 'i', "0123456789"),
            function("gone", 'i', "0123456789"),
            member,
        ]),
        with(&[
            function("same", 'i', "0123456789"),
            function("body", 'i', "abcdef0123"),
            function("kind", 'v', "0123456789"),
        ]),
    ]);
    let differences = |name: &str| -> Vec<Option<&str>> {
        let found = catalog.functions(Some("app"), name);
        found.map(|it| it.difference.as_deref()).collect()
    };
    assert_eq!(differences("same"), [None]);
    assert_eq!(
        differences("body"),
        [Some(
            "definition of function app.body differs: hash 01234567 on s0; hash abcdef01 on s1"
        )]
    );
    assert_eq!(
        differences("kind"),
        [Some(
            "function app.kind differs: (integer) returns integer immutable on s0; (integer) \
             returns integer volatile on s1"
        ); 2]
    );
    assert_eq!(
        differences("gone"),
        [Some("function app.gone is missing on s1")]
    );
    assert_eq!(differences("m"), [None]);
    let member = catalog.functions(Some("app"), "m").next().unwrap();
    assert_eq!(member.origin, Origin::Extension);
}

#[test]
fn names_that_mean_different_things_without_a_schema_are_noted() {
    let mut other = relation("t", &[]);
    other.schema = "app".to_owned();
    let here = facts(&[relation("t", &[]), other, relation("u", &[])]);
    let mut there = here.clone();
    there.search_path.insert(1, "app".to_owned());
    let catalog = compared(&[here, there]);
    let difference = |schema, name| {
        let relation = catalog.relation(schema, name).unwrap();
        relation.difference.as_deref()
    };
    assert_eq!(
        difference(None, "t"),
        Some("what the search path makes of t differs: public.t on s0; app.t on s1")
    );
    assert_eq!(difference(Some("app"), "t"), None);
    assert_eq!(difference(None, "u"), None);
}
