//! Against real servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::catalog::cache::{Cache, Kept};
use crate::catalog::circumstances::{self, Circumstances, RIGHTS};
use crate::catalog::facts::{self, Facts};
use crate::catalog::identity::{self, Identity};
use crate::catalog::settings;
use crate::catalog::{
    Catalog, ColumnFacts, Function, FunctionKind, Origin, RelationKind, Volatility,
};
use crate::cluster::Cluster;
use crate::config::{PINNED, SessionSettings, Topology, UNLIMITED};
use crate::connect::Opening;
use merganser_local::{Binaries, Server, Tpch};

/// The server of these tests; without an installation they say so and pass, unless they must not.
fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(start).as_ref()
}

/// One on which nobody makes roles, of which all databases of a server know.
fn calm_server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(start).as_ref()
}

fn start() -> Option<Server> {
    match Binaries::find() {
        Ok(binaries) => Some(
            Server::builder()
                .with_binaries(binaries)
                .start()
                .expect("a server starts"),
        ),
        Err(error) => {
            let is_required = ["CI", "MERGANSER_REQUIRE_POSTGRES"]
                .iter()
                .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
            assert!(!is_required, "{error}");
            eprintln!("SKIPPED: no PostgreSQL");
            None
        }
    }
}

/// A cluster of new databases, in each of which one of these texts has run.
fn cluster(server: &Server, name: &str, sqls: &[&str]) -> Cluster {
    let urls: Vec<String> = sqls
        .iter()
        .enumerate()
        .map(|(shard, sql)| {
            let name = format!("{name}{shard}");
            let url = server.create_database(&name).expect("a database");
            server.execute(&name, sql).expect("the tables");
            url
        })
        .collect();
    Cluster::new(Topology::from_urls(urls).expect("a topology")).expect("a cluster")
}

const SCHEMA: &str = r#"
    create schema app;
    create collation app.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create type app.mood as enum ('low', 'high');
    create domain app.price as numeric(10,2) check (value >= 0);
    create domain app.dear as app.price not null;
    create type app.pair as (a app.mood, b text);
    create type app.span as range (subtype = app.price);
    create table "T ""1""" (
        id bigint primary key,
        gone int,
        a int unique,
        b int not null unique,
        c int not null,
        d int not null unique deferrable,
        e text collate app.ci not null,
        f text collate "C",
        g varchar(10),
        h app.dear,
        i app.mood[],
        j app.pair,
        k numeric(5,1)[][],
        l int generated always as (b + 1) stored,
        m name,
        unique (b, c));
    alter table "T ""1""" drop column gone;
    create unique index on "T ""1""" (c) where c > 0;
    create unique index on "T ""1""" (c, (b + 1));
    create unique index on "T ""1""" (e collate "C");
    create table parted (id int not null, primary key (id)) partition by range (id);
    create table child partition of parted for values from (0) to (10);
    create table base (id int primary key);
    create table heir () inherits (base);
    create view v as select t.id, upper(e) as u from "T ""1""" t;
    create view app.w as select * from v;
    create materialized view mv as select 1 as one;
    create sequence s;
    create function app.f(a int, b text default 'x') returns int language sql immutable as 'select a';
    create function app.f(a bigint) returns bigint language sql stable as 'select a';
    create function g() returns int volatile begin atomic select 1; end;
    create procedure p() language sql as 'select 1';
    create aggregate agg(int) (sfunc = int4pl, stype = int, initcond = '0');
"#;

fn column<'a>(catalog: &'a Catalog, table: &str, name: &str) -> &'a ColumnFacts {
    let relation = catalog.relation(None, table).expect("a relation");
    relation.column(name).expect("a column")
}

fn one<'a>(catalog: &'a Catalog, schema: Option<&str>, name: &str) -> &'a Function {
    let found: Vec<&Function> = catalog.functions(schema, name).collect();
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found[0]
}

#[tokio::test]
async fn equal_databases_are_described_and_do_not_differ() {
    let Some(server) = server() else { return };
    let cluster = cluster(server, "equal", &[SCHEMA, SCHEMA]);
    let catalog = cluster.catalog(cluster.pools().opening()).await.unwrap();
    assert_eq!(catalog.difference(), None);

    let t = catalog.relation(None, "T \"1\"").unwrap();
    assert_eq!((&*t.schema, &t.kind), ("public", &RelationKind::Table));
    assert_eq!(t.difference, None);
    let names: Vec<&str> = t.columns.iter().map(|column| &*column.name).collect();
    assert_eq!(
        names,
        [
            "id", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"
        ]
    );
    // Not (a), which may be NULL; (c), which is partial; (d), which is deferrable; (c, b + 1); nor
    // (e), in another collation than the column has.
    assert_eq!(t.keys, [vec!["id"], vec!["b", "c"], vec!["b"]]);

    let types: Vec<(&str, &str, char, i32)> = t
        .columns
        .iter()
        .map(|it| {
            let base = &it.base_type;
            (&*it.type_name, &*base.name, base.kind, it.type_modifier)
        })
        .collect();
    assert_eq!(types[0], ("bigint", "int8", 'b', -1));
    assert_eq!(types[7], ("character varying(10)", "varchar", 'b', 14));
    assert_eq!(types[8], ("app.dear", "numeric", 'b', (10 << 16) + 2 + 4));
    assert_eq!(types[9], ("app.mood[]", "_mood", 'b', -1));
    assert_eq!(types[10], ("app.pair", "pair", 'c', -1));
    assert_eq!(
        types[11],
        ("numeric(5,1)[]", "_numeric", 'b', (5 << 16) + 1 + 4)
    );
    let element = column(&catalog, "T \"1\"", "i").element.as_ref().unwrap();
    assert_eq!(
        (&*element.schema, &*element.name, element.kind),
        ("app", "mood", 'e')
    );
    assert_eq!(t.columns[8].domain.as_deref(), Some("app.dear"));
    assert_eq!(t.columns[11].dimensions, 2);
    assert!(t.columns[12].is_generated && !t.columns[11].is_generated);

    let collation = |name| column(&catalog, "T \"1\"", name).collation.clone();
    let ci = collation("e").unwrap();
    assert_eq!(ci.sql.as_deref(), Some("\"app\".\"ci\""));
    assert!(!ci.deterministic && !ci.bytewise);
    let c = collation("f").unwrap();
    assert_eq!(c.sql.as_deref(), Some("\"pg_catalog\".\"C\""));
    assert!(c.deterministic && c.bytewise);
    assert_eq!(collation("g").as_ref(), Some(catalog.default_collation()));
    assert!(collation("m").unwrap().bytewise);
    assert_eq!(collation("id"), None);
    assert!(catalog.collation(None, "POSIX").unwrap().bytewise);
    assert!(!catalog.collation(None, "und-x-icu").unwrap().bytewise);

    let kind = |schema, name| &catalog.relation(schema, name).unwrap().kind;
    let RelationKind::View { definition } = kind(Some("app"), "w") else {
        panic!("no view")
    };
    assert!(definition.contains("FROM public.v"), "{definition}");
    assert_eq!(catalog.relation(None, "w"), None);
    assert_eq!(kind(None, "mv"), &RelationKind::MaterializedView);
    assert_eq!(kind(None, "s"), &RelationKind::Sequence);
    assert_eq!(kind(None, "pg_class"), &RelationKind::Other);
    let parted = catalog.relation(None, "parted").unwrap();
    assert_eq!(
        (&parted.kind, &*parted.keys),
        (&RelationKind::Table, &[vec!["id".to_owned()]][..])
    );
    let child = catalog.relation(None, "child").unwrap();
    assert_eq!(
        child.parent,
        Some(("public".to_owned(), "parted".to_owned()))
    );
    // Its heir may have the same key once more.
    let base = catalog.relation(None, "base").unwrap();
    assert!(base.keys.is_empty() && !base.columns[0].not_null);

    let f: Vec<&Function> = catalog.functions(Some("app"), "f").collect();
    assert_eq!(f.len(), 2);
    assert!(
        f.iter()
            .all(|it| it.difference.is_none() && it.origin == Origin::User)
    );
    assert_eq!(catalog.functions(None, "f").count(), 0);
    assert_eq!(one(&catalog, None, "g").volatility, Volatility::Volatile);
    assert_eq!(one(&catalog, None, "p").kind, FunctionKind::Procedure);
    assert_eq!(one(&catalog, None, "agg").kind, FunctionKind::Aggregate);
    let upper: Vec<&Function> = catalog.functions(None, "upper").collect();
    assert!(upper.iter().all(|it| it.origin == Origin::System));
    assert_eq!(one(&catalog, None, "now").volatility, Volatility::Stable);
    assert_eq!(one(&catalog, None, "row_number").kind, FunctionKind::Window);
    assert_eq!(
        one(&catalog, Some("pg_catalog"), "plpgsql_call_handler").origin,
        Origin::Extension
    );
    cluster.close().await;
}

#[tokio::test]
async fn differences_are_found_and_a_refresh_forgets_them() {
    let Some(server) = server() else { return };
    let changed = SCHEMA
        .replace("('low', 'high')", "('high', 'low')")
        .replace("'select a'", "'select a + 0'")
        .replace("atomic select 1", "atomic select 2")
        .replace("upper(e)", "lower(e)")
        .replace("initcond = '0'", "initcond = '1'");
    let cluster = cluster(server, "changed", &[SCHEMA, &changed]);
    let catalog = cluster.catalog(cluster.pools().opening()).await.unwrap();
    let relation = |name| catalog.relation(None, name).unwrap().any_difference();
    assert_eq!(
        relation("T \"1\""),
        Some(
            "public.T \"1\": column i: type app.mood differs: enum low, high on s0; enum high, \
             low on s1"
        )
    );
    assert!(
        relation("v")
            .unwrap()
            .contains("of the view's query differs")
    );
    assert_eq!(relation("parted"), None);
    assert!(
        catalog
            .data_type(Some("app"), "pair")
            .unwrap()
            .difference
            .is_some()
    );
    assert_eq!(
        catalog.data_type(Some("app"), "price").unwrap().difference,
        None
    );
    for (schema, name) in [(Some("app"), "f"), (None, "g"), (None, "agg")] {
        for function in catalog.functions(schema, name) {
            let difference = function.difference.as_deref().unwrap();
            assert!(
                difference.starts_with("definition of function"),
                "{difference}"
            );
        }
    }
    assert_eq!(one(&catalog, None, "p").difference, None);

    server.execute("changed1", "drop table heir").unwrap();
    let same = cluster
        .clone()
        .catalog(cluster.pools().opening())
        .await
        .unwrap();
    assert!(Arc::ptr_eq(&catalog, &same));
    cluster.refresh().await;
    let catalog = cluster
        .clone()
        .catalog(cluster.pools().opening())
        .await
        .unwrap();
    let heir = catalog.relation(None, "heir").unwrap();
    assert_eq!(
        heir.difference.as_deref(),
        Some("public.heir is missing on s1")
    );
    cluster.close().await;
}

#[tokio::test]
async fn an_error_is_not_kept() {
    let Some(server) = server() else { return };
    let urls = [server.url("late0")];
    let cluster = Cluster::new(Topology::from_urls(urls).expect("a topology")).expect("a cluster");
    assert_eq!(
        cluster
            .catalog(cluster.pools().opening())
            .await
            .unwrap_err()
            .sql_state(),
        Some("3D000")
    );
    server.create_database("late0").unwrap();
    cluster.catalog(cluster.pools().opening()).await.unwrap();
    cluster.close().await;
}

#[tokio::test]
async fn who_may_not_ask_for_the_system_knows_the_database_all_the_same() {
    let Some(server) = server() else { return };
    let url = server.create_database("hosted").unwrap();
    let revoked =
        "revoke execute on function pg_control_system() from public; create role guest login";
    server.execute("hosted", revoked).unwrap();
    let urls = [url.clone(), url.replace("postgres@", "guest@")];
    let cluster = Cluster::new(Topology::from_urls(urls).expect("a topology")).expect("a cluster");
    let query = format!("SELECT {}", identity::EXPRESSION);
    let mut identities = Vec::new();
    for shard in 0..2 {
        let mut session = cluster.session(shard).await.unwrap();
        let (_, identity) = super::read::<Identity>(&mut session, &query).await.unwrap();
        session.finish().await;
        identities.push(identity);
    }
    let [owner, guest] = identities.as_slice() else {
        panic!("{identities:?}")
    };
    assert!(owner.system.is_some() && guest.system.is_none());
    assert_eq!(owner.sameness(guest), Some("one database"));
    cluster.close().await;
}

#[tokio::test]
async fn encodings_and_collations_of_databases_are_compared() {
    let Some(server) = server() else { return };
    let mut others = vec![("ascii", "encoding 'SQL_ASCII' locale 'C'", "encoding")];
    // Older ones take no ICU locale for a whole database.
    if server.binaries().major_version() >= 15 {
        let icu = "locale_provider icu icu_locale 'de' locale 'C' encoding 'UTF8'";
        others.push(("icu", icu, "collation"));
    }
    server
        .execute(
            "postgres",
            "create database utf8 template template0 encoding 'UTF8' locale 'C'",
        )
        .unwrap();
    for (name, options, what) in others {
        let sql = format!("create database {name} template template0 {options}");
        server.execute("postgres", &sql).unwrap();
        let urls = [server.url("utf8"), server.url(name)];
        let cluster =
            Cluster::new(Topology::from_urls(urls).expect("a topology")).expect("a cluster");
        let catalog = cluster.catalog(cluster.pools().opening()).await.unwrap();
        let difference = catalog.difference().unwrap();
        assert!(
            difference.starts_with(&format!("{what} of the databases differs: ")),
            "{difference}"
        );
        let is_c = name == "ascii";
        assert_eq!(catalog.default_collation().bytewise, is_c);
        cluster.close().await;
    }
}

#[tokio::test]
async fn a_tpc_h_database_over_four_shards_is_loaded_quickly() {
    let Some(server) = server() else { return };
    let urls: Vec<String> = (0..4)
        .map(|shard| server.create_database(&format!("tpch{shard}")).unwrap())
        .collect();
    Tpch::new(0.001).load(&urls).await.unwrap();
    let cluster = Cluster::new(Topology::from_urls(urls).expect("a topology")).expect("a cluster");
    let begin = Instant::now();
    let catalog = cluster.catalog(cluster.pools().opening()).await.unwrap();
    eprintln!("with connecting: {:?}", begin.elapsed());
    let again = Instant::now();
    cluster.refresh().await;
    cluster.catalog(cluster.pools().opening()).await.unwrap();
    eprintln!("with connections that are there: {:?}", again.elapsed());
    // Generous: the machine may be busy.
    assert!(begin.elapsed().as_secs() < 20);
    let lineitem = catalog.relation(None, "lineitem").unwrap();
    assert_eq!(lineitem.columns.len(), 16);
    assert_eq!(lineitem.keys, [["l_orderkey", "l_linenumber"]]);
    assert_eq!(lineitem.difference, None);
    cluster.close().await;
}

/// A new version's settings are looked at: each cannot change an answer, is pinned, or is compared.
#[tokio::test]
async fn every_setting_of_the_server_is_in_a_list() {
    let Some(server) = server() else { return };
    let cluster = cluster(server, "settings", &[""]);
    let mut session = cluster.session(0).await.unwrap();
    let query = circumstances::query(&[]).unwrap();
    let answers = super::ask(&mut session, &format!("{}; {query}", super::PATH)).await;
    let found: Circumstances = super::parse(session.shard(), &answers.unwrap()[1]).unwrap();
    session.finish().await;
    assert!(found.settings.len() > 300, "{}", found.settings.len());
    assert_eq!(settings::unknown(&found), [""; 0]);
    for (name, value) in PINNED {
        let found = found.settings.get(&name.to_lowercase()).cloned().flatten();
        assert_eq!(found.as_deref(), Some(value), "{name}");
    }
    for name in UNLIMITED {
        let found = found.settings.get(name).cloned().flatten();
        assert!(found.is_none_or(|value| value == "0"), "{name}");
    }
    cluster.close().await;
}

/// The fingerprint of a database, and its facts and rights as the cache would have them.
async fn fingerprint_and_documents(cluster: &Cluster) -> (String, String) {
    let mut session = cluster.session(0).await.unwrap();
    let all = [super::PATH, super::FINGERPRINT, facts::QUERY, RIGHTS].join("; ");
    let asked = super::ask(&mut session, &all).await.unwrap();
    let [_, fingerprint, facts, rights] = super::answers(&session, asked).unwrap();
    session.finish().await;
    (fingerprint, [facts, rights].join(super::BETWEEN))
}

#[tokio::test]
async fn the_fingerprint_is_over_all_catalogs_that_facts_and_rights_are_read_from() {
    let Some(server) = server() else { return };
    let names = "select relname from pg_class where relnamespace = 'pg_catalog'::regnamespace";
    let names = server.query("postgres", names).unwrap();
    let names: Vec<String> = names.into_iter().flatten().flatten().collect();
    let without_comments = |sql: &str| {
        let lines = sql
            .lines()
            .map(|line| line.split("--").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    };
    let words = |sql: &str| {
        let words = without_comments(sql);
        let words = words.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        words.map(str::to_owned).collect::<HashSet<_>>()
    };
    let (mut facts, fingerprint) = (words(facts::QUERY), words(super::FINGERPRINT));
    facts.extend(words(RIGHTS));
    let mut read = 0;
    for name in names.iter().filter(|name| facts.contains(*name)) {
        assert!(
            fingerprint.contains(name),
            "{name} is not in fingerprint.sql"
        );
        read += 1;
    }
    assert!(read > 25, "{read}");
}

/// Each changes facts or rights, by another catalog or in another way.
const CHANGES: &[&str] = &[
    "create table n (a int, b text collate \"C\")",
    "alter table n add c text",
    "alter table n rename c to d",
    "alter table n alter d type varchar(3)",
    "alter table n alter d set not null",
    "alter table n drop column b",
    "alter table n add constraint n_key primary key (a)",
    "create view of_index as select 'n_key'::regclass as index",
    "alter index n_key rename to n_other",
    "create unique index i on n (d)",
    "drop index i",
    "alter table n rename to m",
    "alter table m enable row level security",
    "create role reader; grant select on m to reader; create view as_reader as select a from m; \
     alter view as_reader owner to reader",
    "revoke select on m from reader",
    "grant pg_read_all_data to reader",
    "revoke pg_read_all_data from reader",
    "alter role reader superuser",
    "alter role reader nosuperuser",
    "alter role reader bypassrls",
    "create table of_m (m int not null references m (a))",
    "drop table of_m",
    "drop view as_reader; drop role reader",
    "create table child_of_m () inherits (m)",
    "alter table child_of_m no inherit m",
    "alter table child rename to kid",
    "alter table parted detach partition kid",
    "alter table \"T \"\"1\"\"\" alter l drop expression",
    "alter table \"T \"\"1\"\"\" rename e to renamed",
    "create or replace view v as select t.id, lower(t.renamed) as u from \"T \"\"1\"\"\" t",
    "alter view v rename u to w",
    "alter type app.mood add value 'between' before 'high'",
    "alter type app.mood rename value 'between' to 'middle'",
    "alter domain app.price add constraint most check (value < 1000)",
    "alter domain app.price drop constraint most",
    "alter type app.pair add attribute c int",
    "create type app.letters as range (subtype = text, collation = \"C\")",
    "alter collation app.ci rename to nocase",
    "create or replace function app.f(a int, b text default 'y') returns int language sql immutable as 'select a'",
    "create or replace function app.f(a int, b text default 'y') returns int language sql immutable as 'select a + 1'",
    "alter function app.f(int, text) stable",
    "create or replace aggregate agg(int) (sfunc = int4pl, stype = int, initcond = '1')",
    "create operator app.### (function = int4pl, leftarg = int, rightarg = int)",
    "drop operator app.### (int, int)",
    "create cast (app.pair as text) with inout as implicit",
    "drop cast (app.pair as text)",
    "create function app.same(app.pair, app.pair) returns bool immutable language sql as 'select true'; \
     create operator app.=== (function = app.same, leftarg = app.pair, rightarg = app.pair)",
    "create function app.hash(app.pair) returns int immutable language sql as 'select 1'; \
     create operator class app.pairs default for type app.pair using hash as operator 1 app.===, function 1 app.hash(app.pair)",
    "create text search parser app.words (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, lextypes = prsd_lextype); \
     create text search configuration app.c (parser = app.words)",
    "alter text search parser app.words rename to tokens",
    "create text search template app.plain (init = dsimple_init, lexize = dsimple_lexize); \
     create text search dictionary app.d (template = app.plain)",
    "alter text search template app.plain rename to bare",
    "alter text search dictionary app.d (accept = false)",
    "alter text search configuration app.c add mapping for word with app.d",
    "create view searched as select to_tsvector('app.c', 'a b') as words",
    "alter text search configuration app.c rename to found",
    "create role tom; create view of_roles as select '{tom}'::regrole[] as roles",
    "alter role tom rename to tim",
    "create function in_plpgsql() returns int language plpgsql as 'begin return 1; end'",
    "alter language plpgsql rename to procedural",
    "alter extension plpgsql drop function plpgsql_validator(oid)",
    "alter function pg_catalog.lower(text) volatile",
    "alter schema app rename to elsewhere",
    "drop function in_plpgsql(); drop extension plpgsql",
    "drop table m cascade",
];

/// Each changes the rights of the role `limited`, or policies that it falls under.
const CHANGES_OF_RIGHTS: &[&str] = &[
    "grant select on m to limited",
    "create policy own on m using (a > 0)",
    "alter policy own on m using (a > 1)",
    "alter policy own on m rename to other",
    "create policy strict on m as restrictive using (a < current_setting('app.most')::int)",
    "alter policy strict on m to postgres",
    "drop policy other on m",
    "alter role limited bypassrls",
    "alter role limited nobypassrls",
    "revoke select on m from limited",
    "grant pg_read_all_data to limited",
    "alter role limited noinherit",
    "alter role limited superuser",
    "alter role limited nosuperuser inherit",
    "alter table m disable row level security",
    "revoke pg_read_all_data from limited",
    "alter table m owner to limited",
    "revoke usage on schema public from public",
];

/// Holds the fingerprint of a database against its documents, while these run there.
async fn assert_each_changes_the_fingerprint(
    server: &Server,
    cluster: &Cluster,
    database: &str,
    changes: &[&str],
) {
    let (mut fingerprint, mut documents) = fingerprint_and_documents(cluster).await;
    let mut seen = HashMap::from([(fingerprint.clone(), documents.clone())]);
    for change in changes {
        server.execute(database, change).unwrap();
        let changed = fingerprint_and_documents(cluster).await;
        assert!(changed.1 != documents, "nothing has changed: {change}");
        assert!(changed.0 != fingerprint, "{change}");
        (fingerprint, documents) = changed;
        // Where all that had come has gone again, it is what it was.
        let before = seen.entry(fingerprint.clone()).or_insert(documents.clone());
        assert!(*before == documents, "{change}");
    }
    assert!(seen.len() > changes.len() * 3 / 4, "{}", seen.len());
}

#[tokio::test]
async fn whatever_changes_facts_or_rights_changes_the_fingerprint() {
    let Some(server) = server() else { return };
    let cluster = cluster(server, "fingerprints", &[SCHEMA]);
    assert_each_changes_the_fingerprint(server, &cluster, "fingerprints0", CHANGES).await;
    cluster.close().await;

    let url = server.create_database("limited").unwrap();
    let table = "create role limited login; create table m (a int); alter table m enable row level security";
    server.execute("limited", table).unwrap();
    let urls = [url.replace("postgres@", "limited@")];
    let cluster = Cluster::new(Topology::from_urls(urls).expect("a topology")).expect("a cluster");
    assert_each_changes_the_fingerprint(server, &cluster, "limited", CHANGES_OF_RIGHTS).await;
    cluster.close().await;
}

#[tokio::test]
async fn rows_and_statistics_do_not_change_the_fingerprint() {
    let Some(server) = calm_server() else { return };
    let cluster = cluster(
        server,
        "calm",
        &["create table n (a int primary key); create role guest_of_calm"],
    );
    let (fingerprint, _) = fingerprint_and_documents(&cluster).await;
    for change in [
        "insert into n select generate_series(1, 5000)",
        "update n set a = -a where a < 100",
        "analyze n",
        "vacuum (freeze) n",
        "vacuum (freeze) pg_class",
        "vacuum (freeze, analyze) pg_attribute",
    ] {
        server.execute("calm0", change).unwrap();
        assert_eq!(
            fingerprint_and_documents(&cluster).await.0,
            fingerprint,
            "{change}"
        );
    }
    cluster.close().await;
}

/// The facts of shard 0, by way of this cache.
async fn facts_by(cluster: &Cluster, cache: &Arc<Cache>) -> Facts {
    let opening = cluster.pools().opening();
    facts_in(cluster, opening, cache).await
}

async fn facts_in(cluster: &Cluster, opening: &Opening, cache: &Arc<Cache>) -> Facts {
    let mut session = cluster.session_with(0, opening).await.unwrap();
    let query = circumstances::query(&[]).unwrap();
    let read = super::read_by(&mut session, opening, &query, Some(cache)).await;
    let facts = read.unwrap().0.facts(session.shard()).unwrap();
    session.finish().await;
    facts
}

/// Keeps facts with one type more: who reads that has it from the cache.
async fn mark(cluster: &Cluster, cache: &Arc<Cache>) {
    let (fingerprint, documents) = fingerprint_and_documents(cluster).await;
    let mut session = cluster.session(0).await.unwrap();
    let moment = format!("{}; {}", super::PATH, circumstances::query(&[]).unwrap());
    let asked = super::ask(&mut session, &moment).await.unwrap();
    let circumstances = super::parse(session.shard(), &asked[1]).unwrap();
    session.finish().await;
    let kept = Kept {
        key: super::key(&circumstances),
        fingerprint,
    };
    let (before, after) = documents.split_once("\"system_types\" : [").unwrap();
    let marked = format!("{before}\"system_types\" : [\"mark\", {after}");
    cache.put(kept, marked).await;
}

fn is_marked(facts: &Facts) -> bool {
    facts.system_types.contains(&"mark".to_owned())
}

#[tokio::test]
async fn facts_come_from_the_cache_while_they_hold_and_the_settings_are_the_same() {
    let Some(server) = calm_server() else { return };
    let cluster = cluster(server, "cached", &[SCHEMA]);
    let folder = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::new(folder.path().to_owned()));
    let fresh = facts_by(&cluster, &cache).await;
    let again = facts_by(&cluster, &cache).await;
    assert_eq!(format!("{fresh:?}"), format!("{again:?}"));
    mark(&cluster, &cache).await;
    assert!(is_marked(&facts_by(&cluster, &cache).await));

    // Other settings have other facts; the path is none of them, and is asked for each time.
    let zone = cluster.opening(Some(
        &SessionSettings::default().with_timezone("Asia/Tokyo"),
    ));
    assert!(!is_marked(
        &facts_in(&cluster, &zone.unwrap(), &cache).await
    ));
    let path = cluster.opening(Some(&SessionSettings::default().with_search_path("app")));
    let facts = facts_in(&cluster, &path.unwrap(), &cache).await;
    assert!(is_marked(&facts));
    assert_eq!(facts.search_path, ["pg_catalog", "app"]);
    let named = SessionSettings::default().with_setting("application_name", "another run");
    let named = cluster.opening(Some(&named)).unwrap();
    assert!(is_marked(&facts_in(&cluster, &named, &cache).await));

    server
        .execute("cached0", "create table more (a int)")
        .unwrap();
    let facts = facts_by(&cluster, &cache).await;
    assert!(!is_marked(&facts) && facts.relations.iter().any(|it| it.name == "more"));
    cluster.close().await;
}
