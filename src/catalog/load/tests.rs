//! Against real servers.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::catalog::circumstances::{self, Circumstances};
use crate::catalog::identity::{self, Identity};
use crate::catalog::settings;
use crate::catalog::{
    Catalog, ColumnFacts, Function, FunctionKind, Origin, RelationKind, Volatility,
};
use crate::cluster::Cluster;
use crate::config::{PINNED, Topology, UNLIMITED};
use merganser_local::{Binaries, Server, Tpch};

/// The server of these tests; without an installation they say so and pass, unless they must not.
fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| match Binaries::find() {
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
    });
    server.as_ref()
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
    let found: Circumstances = super::parse(&session, answers.unwrap().get(1)).unwrap();
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
