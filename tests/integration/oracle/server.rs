//! Statements about a server, which one shard answers of itself where that is asked for.

use merganser::{Cluster, Error, ErrorKind, Query};

use super::refusals::of;
use crate::support;
use crate::texts::texts_of;

/// What is answered, and what the first shard says of it where it is asked alone.
const ANSWERED: &[&str] = &[
    "select version()",
    "select current_setting('server_version_num'), current_database(), current_user, pg_backend_pid() > 0",
    "select 1 + 1 as two, now() = statement_timestamp() or now() < clock_timestamp()",
    "select relname, relkind::text from pg_class where relname in ('sale', 'region') order by 1",
    "select c.oid = 'sale'::regclass, pg_table_size(c.oid) > 0, c.relkind::text from pg_catalog.pg_class c
     where c.relname operator(pg_catalog.~) '^(sale)$' collate pg_catalog.default and pg_table_is_visible(c.oid)",
    "with t as (select table_name, table_type from information_schema.tables where table_schema = 'public')
     select * from t order by table_name",
    "select a.attname, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum)
     from pg_attribute a where a.attrelid = 'public.sale'::regclass and a.attnum > 0 order by a.attnum",
    "select name, setting from pg_settings where name = 'TimeZone'",
    "select twice(2), slug('A B')",
    "select count(*) > 0 from pg_stat_activity a join pg_locks l on l.pid = a.pid",
];

/// What is not, and a part of the reason.
const REFUSED: &[(&str, &str)] = &[
    ("select relname from pg_class, sale limit 1", "pg_class"),
    (
        "select (select count(*) from sale), count(*) from pg_class",
        "pg_class",
    ),
    ("select count(*) from pg_class, paid_sale", "pg_class"),
    (
        "with sale as (select 1) select 1 from pg_class, sale",
        "pg_class",
    ),
    ("select count(*) from pg_class, only (sale)", "pg_class"),
    ("select relname, sale_count() from pg_class", "sale_count"),
    ("select noisy(1)", "noisy"),
    (
        "select query_to_xml('select * from sale', true, true, '')",
        "query_to_xml",
    ),
    (
        "select table_to_xml('sale', true, true, '')",
        "table_to_xml",
    ),
    ("select nextval('ticket')", "nextval"),
    (
        "select pg_terminate_backend(pid) from pg_stat_activity",
        "pg_terminate_backend",
    ),
    ("select set_config('work_mem', '1MB', false)", "set_config"),
    ("select pg_advisory_lock(1)", "pg_advisory_lock"),
    ("select data from pg_largeobject", "pg_largeobject"),
    (
        "select c.relname, c.rows_of_sale from pg_class c",
        "rows_of_sale",
    ),
];

async fn rows(query: Query) -> Result<Vec<Vec<Option<String>>>, Error> {
    let batches = query.collect().await?;
    Ok(batches.iter().flat_map(texts_of).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_shard_answers_of_itself_what_reads_no_table() {
    let Some(urls) = support::shards(3) else {
        return;
    };
    for url in &urls {
        support::execute(url, SETUP);
    }
    let cluster = of(&urls, &["sale"], &["region"]);
    let alone = of(&urls[..1], &["sale"], &["region"]);
    for sql in ANSWERED {
        let found = rows(cluster.query(*sql).with_system_catalogs(true)).await;
        let found = found.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let one = rows(alone.query(*sql).with_system_catalogs(true)).await;
        assert_eq!(found, one.unwrap(), "{sql}");
        assert!(!found.is_empty(), "{sql}");
    }
    let plan = cluster.query("select version()").with_system_catalogs(true);
    let plan = plan.plan().await.unwrap().to_string();
    assert!(plan.contains("s0 answers, of itself"), "{plan}");
    refuses(&cluster).await;
    cluster.close().await;
    alone.close().await;
}

async fn refuses(cluster: &Cluster) {
    for (sql, part) in REFUSED {
        let found = rows(cluster.query(*sql).with_system_catalogs(true)).await;
        let error = found.expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}: {error}");
        assert!(error.to_string().contains(part), "{sql}: {error}");
        assert!(error.hint().is_some(), "{sql}");
    }
    // It has to be asked for.
    for sql in ["select version()", "select relname from pg_class"] {
        let error = rows(cluster.query(sql)).await.expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}: {error}");
    }
}

const SETUP: &str = "
    create table sale (k int8 primary key, note text);
    create table region (id int4 primary key);
    insert into region select generate_series(1, 9);
    create view paid_sale as select k from sale;
    create sequence ticket;
    create function twice(n int4) returns int4 language sql immutable as 'select n * 2';
    create function slug(t text) returns text language sql stable as $$select lower(replace(t, ' ', '-'))$$;
    create function noisy(n int4) returns int4 language plpgsql volatile as 'begin return n + 1; end';
    create function sale_count() returns int8 language sql stable as 'select count(*) from public.sale';
    create function rows_of_sale(c pg_class) returns int8 language sql stable as 'select count(*) from public.sale';
";
