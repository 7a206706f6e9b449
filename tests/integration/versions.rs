//! Shards of several versions of PostgreSQL at once: they answer as one, and say what differs.
//!
//! `MERGANSER_PG_BINDIRS` names the folders of their programs, as `PATH` would; `./dev versions` sets it.

use arrow::array::RecordBatch;
use merganser::{Cluster, Topology, arrow};
use merganser_local::{Binaries, Server};

use crate::support;

/// A table with types that all versions have, and rows whose place is told by their number.
fn fill(server: &Server, database: &str, of: usize, which: Option<usize>) {
    server.create_database(database).unwrap();
    let place = which.map_or(String::new(), |which| format!("where n % {of} = {which}"));
    let sql = format!(
        "create type mood as enum ('sad', 'so so', 'happy');
         create table t (
             id int8 primary key, kind int4 not null, price numeric(10, 2), name text, day date,
             at timestamptz, tags text[], mood mood, doc jsonb, share float8);
         insert into t
         select n, n % 7, n * 1.25, 'name ' || n % 11, date '2024-01-01' + n % 90,
                timestamptz '2024-01-01 00:00+00' + n * interval '1 hour', array['a', 'b' || n % 3],
                (array['sad', 'so so', 'happy']::mood[])[1 + n % 3],
                jsonb_build_object('n', n), n / 4.0
         from generate_series(1, 700) n {place};
         create table r (kind int4 primary key, label text);
         insert into r select n, 'kind ' || n from generate_series(0, 6) n"
    );
    server.execute(database, &sql).unwrap();
}

/// Of every arm; each orders its rows, or has one.
const QUERIES: &[&str] = &[
    "select * from t order by id",
    "select count(*), sum(price), avg(price), min(day), max(at) from t",
    "select kind, count(*), sum(id), avg(share) from t group by kind order by kind",
    "select label, sum(price) from t join r using (kind) group by 1 order by 1",
    "select mood, count(*) from t group by mood order by mood",
    "select id, tags, doc from t where id between 10 and 20 order by id",
    "select * from t where id = 42",
    "select distinct name from t order by name limit 5",
    "select kind, percentile_disc(0.5) within group (order by price) from t group by 1 order by 1",
    "select id, rank() over (partition by kind order by price desc) from t order by 1 limit 20",
    "select string_agg(name, ',' order by id) from t where id < 15",
    "select a.id, b.id from t a join t b on a.id = b.id - 1 where a.id < 9 order by 1",
    "select id, to_char(at, 'YYYY-MM-DD HH24') from t order by at desc limit 7",
    "with x as (select kind, max(id) as m from t group by 1) select t.* from t, x where t.id = m order by 1",
    "select id from t where doc @> '{\"n\": 5}' order by id",
    "select id from t where exists (select from r where r.kind = t.kind and label like '%3') order by 1 limit 9",
    "select id from t union all select kind from r order by 1 limit 9 offset 3",
];

fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| merganser::text::TextFormatter::try_new(field, column).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let mut text = String::new();
            for column in &columns {
                match column.is_null(row) {
                    true => text.push_str("NULL"),
                    false => column.write(row, &mut text),
                }
                text.push('|');
            }
            rows.push(text);
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_of_several_versions_answer_as_one() {
    let all: Vec<_> = match std::env::var_os("MERGANSER_PG_BINDIRS") {
        Some(folders) => std::env::split_paths(&folders)
            .map(|folder| Binaries::at(folder).unwrap())
            .collect(),
        None => match support::binaries() {
            // Of one version; that the queries are right is worth something, too.
            Some(binaries) => vec![binaries.clone(), binaries.clone()],
            None => return,
        },
    };
    let count = all.len();
    let servers: Vec<_> = all
        .into_iter()
        .map(|binaries| Server::builder().with_binaries(binaries).start().unwrap())
        .collect();
    for (which, server) in servers.iter().enumerate() {
        fill(server, "part", count, Some(which));
    }
    let mut same = 0;
    // Each version is the oracle once.
    for oracle in &servers {
        let whole = oracle.create_database("scratch").map(|_| "whole").unwrap();
        fill(oracle, whole, count, None);
        let version = oracle.binaries().version();
        let one = Topology::from_urls([oracle.url(whole)]).unwrap();
        let one = Cluster::new(one).unwrap();
        let mut urls: Vec<_> = servers.iter().map(|server| server.url("part")).collect();
        // And once the first shard, which describes and finishes.
        let first = servers
            .iter()
            .position(|server| server.port() == oracle.port());
        let shard_index = format!("(id % {count} + {count} - {}) % {count}", first.unwrap());
        urls.rotate_left(first.unwrap());
        let shards = Topology::from_urls(urls).unwrap().to_toml();
        let tables = format!(
            "\n[[table]]\nname = \"t\"\nshard_key = \"id\"\nshard_index = \"{shard_index}\"\n\
             [[table]]\nname = \"r\"\nreplicated = true\n"
        );
        let many = Cluster::new(Topology::from_toml(&(shards + &tables)).unwrap()).unwrap();
        for sql in QUERIES {
            let expected = one.fan_out(*sql).collect().await.unwrap();
            let found = many.query(*sql).collect().await;
            let found = found.unwrap_or_else(|error| panic!("{version}: {sql}: {error:?}"));
            assert_eq!(rows(&found), rows(&expected), "{version}: {sql}");
            same += 1;
        }
        many.close().await;
        one.close().await;
    }
    let versions: Vec<_> = servers
        .iter()
        .map(|server| server.binaries().version())
        .collect();
    support::tell(&format!("shards of {versions:?}: {same} answers as of one"));
}
