//! One query on every shard, and the rows of all as one table on the terminal.
//!
//! ```text
//! cargo run --example quickstart -- postgresql://db0/sales postgresql://db1/sales
//! cargo run --example quickstart -- merganser.toml
//! ```

use std::env;

use merganser::export::{self, Destination, ExportOptions, Format, Progress};
use merganser::{Cluster, Order, Result, Topology};

#[tokio::main]
async fn main() -> Result<()> {
    // The shards: those of a topology file, or simply URLs.
    let arguments: Vec<String> = env::args().skip(1).collect();
    let topology = match arguments.as_slice() {
        [path] if path.ends_with(".toml") => Topology::from_path(path)?,
        urls => Topology::from_urls(urls.iter().cloned())?,
    };
    let cluster = Cluster::new(topology)?;

    // The text goes to each shard as it is. Rows come as they
    // arrive unless an order is asked for.
    let query = cluster.fan_out(
        "select current_database() as shard, count(*) as tables \
         from information_schema.tables where table_schema = $1",
    );
    let query = query
        .with_params([Some("pg_catalog".to_owned())])
        .with_order(Order::Shard);

    // A stream of Arrow record batches, which an export takes as they come. `query.collect()` would
    // give them all at once.
    let stream = query.stream().await?;
    let options = ExportOptions::new();
    let output = Destination::Stdout.open()?;
    export::write(
        stream,
        output,
        Format::Table,
        &options,
        &Progress::default(),
    )
    .await?;

    cluster.close().await;
    Ok(())
}
