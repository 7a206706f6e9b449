//! Every statement of the library's own suites: what the cluster answers is what one PostgreSQL answers, and
//! everything else is refused before anything is sent.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use merganser::{Error, ErrorKind, PartitionOptions, Topology};
use merganser_ballista::client::Scheduler;
use merganser_ballista::descriptors;
use merganser_ballista::read::ShardReadExec;
use merganser_local::fixture;

use crate::local::{Cluster, Particulars, shards, tpch};

/// The sharded tables of `schema.sql`: name, key, colocation, and a hash of the key.
const SHARDED: [(&str, &str, &str, &str); 6] = [
    ("sale", "id", "sale", "hashint8(id)"),
    ("item", "sale_id", "sale", "hashint8(sale_id)"),
    ("visit", "visitor", "visitor", "hashtext(visitor)"),
    ("profile", "visitor", "visitor", "hashtext(visitor)"),
    ("reading", "device", "device", "hashtext(device)"),
    ("zoo", "k", "zoo", "hashint4(k)"),
];

const REPLICATED: [&str; 4] = ["region", "customer", "product", "calendar"];

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_the_oracle_are_answered_as_by_postgresql_or_refused() {
    let Some(server) = fixture::server() else {
        return;
    };
    let schema = fs::read_to_string(testdata("oracle/schema.sql")).unwrap();
    let mut urls = Vec::new();
    for shard in 0..4 {
        // The last holds all rows.
        let name = format!("statements_{shard}");
        let create = format!(
            "create database {name} template template0 encoding utf8 locale 'C' \
             locale_provider icu icu_locale 'en-US'"
        );
        server.execute("postgres", &create).unwrap();
        server.execute(&name, &schema).unwrap();
        for (table, key, _, hash) in SHARDED {
            let delete = format!(
                "delete from {table} where coalesce({hash} & 2147483647, 0) % 3 <> {shard}"
            );
            if shard < 3 {
                server.execute(&name, &delete).unwrap();
            }
            assert!(hash.contains(key));
        }
        urls.push(server.url(&name));
    }
    let mut topology = format!(
        "[session]\ntimezone = \"Europe/Vienna\"\n{}",
        shards(&urls[..3])
    );
    for (table, key, colocation, _) in SHARDED {
        topology.push_str(&format!(
            "[[table]]\nname = {table:?}\nshard_key = {key:?}\ncolocation = {colocation:?}\n"
        ));
    }
    for table in REPLICATED {
        topology.push_str(&format!("[[table]]\nname = {table:?}\nreplicated = true\n"));
    }
    let mut statements = Vec::new();
    let mut files: Vec<_> = fs::read_dir(testdata("oracle"))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    files.sort_by_key(|file| file.path());
    for file in files.iter().filter(|file| file.file_name() != "schema.sql") {
        let name = file.file_name().into_string().unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        statements.extend(of(&text).map(|(number, sql)| (format!("{name}:{number}"), sql)));
    }
    assert!(statements.len() > 400, "{}", statements.len());
    let answered = hold(&topology, &urls[3], statements).await;
    assert!(answered > 40, "only {answered} were answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_tpch_are_answered_as_by_postgresql_or_refused() {
    let Some(data) = fixture::tpch_of(10, 4) else {
        return;
    };
    let queries = (1..=22).map(|number| {
        let name = format!("q{number:02}.sql");
        let sql = fs::read_to_string(testdata("tpch").join(&name)).unwrap();
        (name, sql)
    });
    let answered = hold(&tpch(&data.shards), &data.oracle, queries.collect()).await;
    assert!(answered > 0, "none was answered");
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../testdata")
        .join(name)
}

/// The statements of a file, by number, that have one right answer: see `tests/integration/oracle/case.rs`.
fn of(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut statements = Vec::new();
    let mut sql = String::new();
    let mut is_open = false;
    let mut number = 0;
    for line in text.lines() {
        if sql.is_empty() && (line.starts_with("--") || line.is_empty()) {
            is_open |= ["-- subset of", "-- representative", "-- error"]
                .iter()
                .any(|word| line.starts_with(word));
            continue;
        }
        sql.push_str(line);
        sql.push('\n');
        if line.ends_with(';') {
            number += 1;
            let statement = std::mem::take(&mut sql)
                .trim()
                .trim_end_matches(';')
                .to_owned();
            if !std::mem::take(&mut is_open) && !statement.is_empty() {
                statements.push((number, statement));
            }
        }
    }
    statements.into_iter()
}

/// How many of the statements were answered, each as by the database that holds all rows.
async fn hold(topology: &str, oracle: &str, statements: Vec<(String, String)>) -> usize {
    let processes = Cluster::start(topology, &[Particulars::default(); 2]);
    let scheduler = Scheduler::connect(&processes.scheduler).await.unwrap();
    let cluster = merganser::Cluster::new(Topology::from_toml(topology).unwrap()).unwrap();
    let (mut answered, mut unrepresentable) = (0, 0);
    let mut faults = Vec::new();
    for (name, sql) in statements {
        match answer(&scheduler, &cluster, oracle, &sql).await {
            Ok(()) => answered += 1,
            Err(error) if is_refused(&error) => {}
            // Infinity, or more digits than Arrow's decimals have.
            Err(error) if error.kind() == ErrorKind::Decode => unrepresentable += 1,
            Err(error) => faults.push(format!("{name}: {error} {:?}\n{sql}", error.hint())),
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n\n")
    );
    assert!(
        unrepresentable < 10,
        "{unrepresentable} have values that Arrow does not hold"
    );
    fixture::tell(&format!(
        "{answered} statements were answered by the cluster"
    ));
    answered
}

/// Before anything was sent: refused, or PostgreSQL's own error.
fn is_refused(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unsupported | ErrorKind::Syntax => true,
        ErrorKind::Server => error.shard().is_some(),
        _ => false,
    }
}

async fn answer(
    scheduler: &Scheduler,
    cluster: &merganser::Cluster,
    oracle: &str,
    sql: &str,
) -> Result<(), Error> {
    let query = cluster.query(sql);
    let verifier = query.verifier(oracle)?;
    let cut = query.partial_partitions(&PartitionOptions::new()).await?;
    let parts = descriptors::plan(&cut.partitions.parts, b"").unwrap();
    let rows = ShardReadExec::try_new(parts, cut.partitions.schema.clone(), None).unwrap();
    let plan = cut.merge.plan(Arc::new(rows), 3).await?;
    let job = scheduler.submit(plan).await.map_err(as_fault)?;
    let done = job.run(std::future::pending()).await.map_err(as_fault)?;
    let rows = cut.merge.finish(done.rows()).await?;
    verifier.check(rows).await?.collect().await?;
    Ok(())
}

/// What was planned to be sent has to be answered.
fn as_fault(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Decode => error,
        _ => Error::new(ErrorKind::Internal, error.to_string()),
    }
}
