//! Planned queries on four servers, next to one PostgreSQL that has all rows.
//!
//! Four parts, of which an argument picks one: `planning`, `speed`, `groups`, `tpch`. See
//! `benches/README.md`.

#[path = "support/cost.rs"]
mod cost;
#[path = "support/report.rs"]
mod report;
#[path = "support/shards.rs"]
mod shards;

#[path = "query/groups.rs"]
mod groups;

use std::env;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cost::Result;
use futures::TryStreamExt;
use futures::future::try_join_all;
use merganser::text::TextFormatter;
use merganser::types::TypeOptions;
use merganser::{Cluster, ErrorKind, Query};
use shards::Shards;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Without it PostgreSQL reads all of `lineitem` for each row of a part or supplier, in Q17 and
/// Q20: it would take hours for them.
const INDEX: &str =
    "create index if not exists bench_part_supplier on lineitem (l_partkey, l_suppkey)";
/// The longest that one of TPC-H's queries may take, on either side.
const PATIENCE: Duration = Duration::from_secs(60);

/// A row as the text that PostgreSQL prints.
type Row = Vec<Option<String>>;

fn main() -> Result<()> {
    if let Some(arguments) = cost::child_arguments() {
        return cost::runtime()?.block_on(groups::child(&arguments));
    }
    let filter = env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let is_wanted = |part: &str| filter.as_deref().is_none_or(|wanted| part.contains(wanted));
    let (shards, whole) = (Shards::start()?, Shards::start_whole()?);
    let whole = whole.urls.first().ok_or("no server")?;
    let runtime = cost::runtime()?;
    runtime.block_on(async {
        for url in shards.urls.iter().chain([whole]) {
            connect(url).await?.batch_execute(INDEX).await?;
        }
        let cluster = Cluster::new(shards::topology(&shards.urls)?)?;
        if is_wanted("planning") {
            planning(&cluster).await?;
        }
        if is_wanted("speed") {
            speed(&cluster, &shards.urls, whole).await?;
        }
        if is_wanted("tpch") {
            tpch(&cluster, whole).await?;
        }
        cluster.close().await;
        Result::Ok(())
    })?;
    if is_wanted("groups") {
        // In processes of their own, so not on the threads of this one.
        groups::compare(&shards.urls, whole, &runtime)?;
    }
    Ok(())
}

/// How long it takes to plan each query, all catalogs known.
async fn planning(cluster: &Cluster) -> Result<()> {
    let runs = if report::is_smoke() { 3 } else { 41 };
    // The catalogs, and a connection to each server.
    cluster
        .query("select count(*) from orders")
        .collect()
        .await?;
    let mut rows = Vec::new();
    for (name, sql) in queries()? {
        let mut times = Vec::new();
        let mut arm = String::new();
        for _ in 0..=runs {
            let start = Instant::now();
            let plan = cluster.query(&sql).plan().await?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            arm = format!("{:?}", plan.arm());
        }
        let first = times.remove(0);
        let most = times.iter().copied().fold(0.0, f64::max);
        rows.push(vec![
            name,
            arm,
            format!("{first:.2}"),
            format!("{:.2}", report::median(times)),
            format!("{most:.2}"),
        ]);
    }
    println!("planning: {runs} runs behind the first, milliseconds\n");
    report::print_table(&["", "arm", "first", "median", "max"], &rows);
    Ok(())
}

/// Q1 and Q6, whose work is all in the servers.
async fn speed(cluster: &Cluster, urls: &[String], whole: &str) -> Result<()> {
    let runs = if report::is_smoke() { 1 } else { 7 };
    let client = connect(whole).await?;
    let clients = try_join_all(urls.iter().map(|url| connect(url))).await?;
    let mut rows = Vec::new();
    for (name, sql) in queries()? {
        if !["q01", "q06"].contains(&name.as_str()) {
            continue;
        }
        let mut times = Vec::new();
        // Once more, unmeasured, at the start.
        for _ in 0..=runs {
            let start = Instant::now();
            let expected = ask(&client, &sql).await?;
            let one = start.elapsed();
            let found = texts(cluster.query(&sql)).await?;
            let all = start.elapsed() - one;
            // What no planner could do without.
            let start = Instant::now();
            try_join_all(clients.iter().map(|client| ask(client, &sql))).await?;
            let four = start.elapsed();
            if expected != found {
                return Err(format!("{name}: the answers differ").into());
            }
            times.push([one, four, all].map(|time| time.as_secs_f64()));
        }
        times.remove(0);
        rows.push(vec![
            name,
            format!("{:.3}", report::median(times.iter().map(|t| t[0]))),
            format!("{:.3}", report::median(times.iter().map(|t| t[1]))),
            format!("{:.3}", report::median(times.iter().map(|t| t[2]))),
            format!("{:.2}", report::median(times.iter().map(|t| t[1] / t[0]))),
            format!("{:.2}", report::median(times.iter().map(|t| t[2] / t[0]))),
        ]);
    }
    println!(
        "speed: one PostgreSQL, {0} by themselves, and {0} planned over, {runs} runs, medians\n",
        shards::SHARDS
    );
    report::print_table(
        &[
            "",
            "one s",
            "apart s",
            "planned s",
            "apart / one",
            "planned / one",
        ],
        &rows,
    );
    Ok(())
}

/// All queries with the bounds that a user gets, held against the one PostgreSQL.
async fn tpch(cluster: &Cluster, whole: &str) -> Result<()> {
    let client = connect(whole).await?;
    let patience = format!("set statement_timeout = {}", PATIENCE.as_millis());
    client.batch_execute(&patience).await?;
    let mut rows = Vec::new();
    for (name, sql) in queries()? {
        let start = Instant::now();
        let expected = ask(&client, &sql).await;
        let one = start.elapsed().as_secs_f64();
        let found = texts(cluster.query(&sql).with_timeout(PATIENCE)).await;
        let planned = start.elapsed().as_secs_f64() - one;
        let count = match (&expected, &found) {
            (Ok(rows), _) | (_, Ok(rows)) => rows.len().to_string(),
            _ => String::new(),
        };
        let verdict = match (&expected, &found) {
            (_, Err(error)) if error.kind() == ErrorKind::Unsupported => {
                format!("refused: {}", error.message())
            }
            (_, Err(error)) => format!("failed: {error}"),
            (Err(error), Ok(_)) => format!("not compared: {error}"),
            (Ok(expected), Ok(found)) => verdict(expected, found).to_owned(),
        };
        rows.push(vec![
            name,
            count,
            format!("{one:.2}"),
            format!("{planned:.2}"),
            format!("{:.2}", planned / one),
            verdict,
        ]);
    }
    println!("tpch: one run each, default bounds\n");
    report::print_table(
        &["", "rows", "one s", "planned s", "/ one", "answer"],
        &rows,
    );
    Ok(())
}

fn verdict(expected: &[Row], found: &[Row]) -> &'static str {
    if expected == found {
        return "equal";
    }
    let sorted = |rows: &[Row]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    match sorted(expected) == sorted(found) {
        true => "equal, rows in another order",
        false => "DIFFERENT",
    }
}

fn queries() -> Result<Vec<(String, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tpch");
    (1..=22)
        .map(|number| {
            let name = format!("q{number:02}");
            let sql = fs::read_to_string(folder.join(format!("{name}.sql")))?;
            Ok((name, sql))
        })
        .collect()
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The plainest client that there is: all rows as text.
async fn ask(client: &Client, sql: &str) -> Result<Vec<Row>> {
    let messages = client.simple_query(sql).await?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows
        .map(|row| {
            (0..row.len())
                .map(|i| row.get(i).map(str::to_owned))
                .collect()
        })
        .collect())
}

/// All rows, as the text that PostgreSQL would print.
async fn texts(query: Query) -> merganser::Result<Vec<Row>> {
    let options = TypeOptions::LOSSLESS;
    let mut stream = query.with_types(options).stream().await?;
    let mut rows = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let formatters = columns
            .map(|(field, column)| TextFormatter::try_new(field, column))
            .collect::<merganser::Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let values = formatters.iter().map(|formatter| {
                (!formatter.is_null(row)).then(|| {
                    let mut text = String::new();
                    formatter.write(row, &mut text);
                    text
                })
            });
            rows.push(values.collect());
        }
    }
    Ok(rows)
}
