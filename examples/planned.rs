//! One statement, written as if one PostgreSQL held all rows: how it would run, and the answer.
//!
//! ```text
//! merganser demo --keep --dir demo
//! cargo run --example planned -- demo/merganser.toml
//! ```

use std::env;

use merganser::export::{self, Destination, ExportOptions, Format, Progress};
use merganser::{Cluster, ErrorKind, Result, Topology};

/// An average over all shards, which no average of averages is, and the groups above a bound.
const SQL: &str = "
    SELECT o_orderstatus, count(*) AS orders, avg(o_totalprice) AS mean
    FROM orders
    GROUP BY o_orderstatus
    HAVING count(*) > 1
    ORDER BY o_orderstatus";

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().unwrap_or("merganser.toml".to_owned());
    let sql = arguments.next().unwrap_or(SQL.to_owned());
    let cluster = Cluster::new(Topology::from_path(path)?)?;

    // Nothing runs for this but a question to one shard. A query that cannot be answered exactly is
    // refused here already, with the construct, the reason and a way out.
    let plan = match cluster.query(&sql).plan().await {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            println!("{error}");
            return Ok(());
        }
        plan => plan?,
    };
    println!("{plan}\n");

    let rows = cluster.query(&sql).stream().await?;
    let output = Destination::Stdout.open()?;
    let options = ExportOptions::new();
    export::write(rows, output, Format::Table, &options, &Progress::default()).await?;

    cluster.close().await;
    Ok(())
}
