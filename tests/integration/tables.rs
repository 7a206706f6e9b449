//! What a cluster tells of its tables.

use merganser::arrow::array::AsArray;
use merganser::arrow::datatypes::Int64Type;
use merganser::config::{Shard, TableKind};
use merganser::{CancelHandle, Cluster, ErrorKind, Topology, blocking};

use crate::support;

fn cluster(urls: &[String], tables: &[(&str, TableKind)]) -> Cluster {
    let mut builder = Topology::builder();
    for (number, url) in urls.iter().enumerate() {
        builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
    }
    for (name, kind) in tables {
        builder = builder.with_table(name, kind.clone());
    }
    Cluster::new(builder.build().unwrap()).unwrap()
}

#[tokio::test]
async fn tables_and_views_are_told_as_the_shards_have_them() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    for (number, url) in urls.iter().enumerate() {
        support::execute(
            url,
            "create schema sales;
             create domain positive as int check (value > 0);
             create table sales.\"Order\" (id int8 primary key, n numeric(8,2) not null, p positive, tags text[]);
             create table nation (id int primary key, name varchar(20));
             create table undeclared (a int);
             create view sales.totals as select sum(n) as total from sales.\"Order\";",
        );
        if number == 1 {
            support::execute(url, "alter table nation alter name type text");
        }
    }
    let kinds = [
        ("sales.\"Order\"", TableKind::sharded("id")),
        ("nation", TableKind::Replicated),
    ];
    let shards = cluster(&urls, &kinds);
    let tables = shards.tables().await.unwrap();
    let names: Vec<_> = tables.iter().map(|t| (t.schema(), t.name())).collect();
    assert_eq!(
        names,
        [
            ("public", "nation"),
            ("sales", "Order"),
            ("sales", "totals")
        ]
    );
    let [nation, order, totals] = &tables[..] else {
        panic!("{tables:?}")
    };
    assert_eq!(order.kind(), Some(&TableKind::sharded("id")));
    assert_eq!(nation.kind(), Some(&TableKind::Replicated));
    assert_eq!(totals.kind(), None);
    let columns: Vec<_> = order
        .columns()
        .iter()
        .map(|c| (c.name(), c.type_name(), c.is_nullable()))
        .collect();
    assert_eq!(
        columns,
        [
            ("id", "bigint", false),
            ("n", "numeric(8,2)", false),
            ("p", "public.positive", true),
            ("tags", "text[]", true)
        ]
    );
    assert_eq!(totals.columns()[0].type_name(), "numeric");
    assert!(
        nation
            .difference()
            .is_some_and(|text| text.contains("name"))
    );
    let differing = nation.columns().iter().filter(|c| c.difference().is_some());
    assert_eq!(differing.map(|c| c.name()).collect::<Vec<_>>(), ["name"]);
    assert_eq!(order.difference(), None);
    shards.close().await;
}

#[tokio::test]
async fn a_table_that_the_shards_do_not_have_is_an_error_that_names_it() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    let shards = cluster(&urls, &[("app.ghost", TableKind::Replicated)]);
    let error = shards.tables().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("\"ghost\""), "{error}");
    assert!(error.message().contains("schema \"app\""), "{error}");
    assert!(error.hint().unwrap().contains("inspect"), "{error:?}");
    shards.close().await;
}

#[test]
fn reading_the_catalogs_can_be_cancelled() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    let shards = Topology::from_urls(urls.clone()).unwrap();
    let shards = blocking::Cluster::new(shards).unwrap();
    let cancel = CancelHandle::default();
    assert!(shards.tables_until(&cancel).unwrap().is_empty());
    cancel.cancel();
    let error = shards.tables_until(&cancel).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(support::none_active(&urls), "queries still run");
}

/// As PostgreSQL lets whoever names the database that he is connected to.
#[tokio::test]
async fn a_table_may_be_named_with_its_database() {
    let (Some(server), Some(binaries)) = (support::server(), support::binaries()) else {
        return;
    };
    let other = merganser_local::Server::builder().with_binaries(binaries.clone());
    let other = other.start().unwrap();
    let servers = [server, &other];
    let urls = servers.map(|server| server.create_database("sales_of_all").unwrap());
    for (number, server) in servers.iter().enumerate() {
        let sql = format!("create table orders (id int); insert into orders values ({number})");
        server.execute("sales_of_all", &sql).unwrap();
    }
    let shards = cluster(&urls, &[("orders", TableKind::sharded("id"))]);
    for sql in [
        "select count(*) from sales_of_all.public.orders",
        "select count(o.id) from sales_of_all.public.orders o where o.id >= 0",
        "select count(id) from sales_of_all.public.orders join public.orders o using (id)",
    ] {
        let batches = shards.query(sql).collect().await.unwrap();
        let counts = batches[0].column(0).as_primitive::<Int64Type>();
        assert_eq!(counts.value(0), 2, "{sql}");
    }
    let error = shards.query("select count(*) from sales.public.orders");
    let error = error.collect().await.unwrap_err();
    assert_eq!(error.sql_state(), Some("0A000"), "{error:?}");
}
