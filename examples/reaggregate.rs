//! A `GROUP BY` over all shards: each groups its own rows, and the groups are grouped once more.
//!
//! ```text
//! cargo run --example reaggregate -- postgresql://db0/sales postgresql://db1/sales
//! ```

use std::env;

use merganser::export::{self, Destination, ExportOptions, Format, Progress};
use merganser::{Cluster, Result, Topology};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let topology = match arguments.as_slice() {
        [path] if path.ends_with(".toml") => Topology::from_path(path)?,
        urls => Topology::from_urls(urls.iter().cloned())?,
    };
    let cluster = Cluster::new(topology)?;

    let query = cluster
        // What each shard runs. Every group comes once from each shard, so these are parts only.
        .fan_out(
            "select x % 3 as remainder, count(*) as n, sum(x) as total \
             from generate_series(1, 1000) x group by 1",
        )
        // What combines the parts, which are the table `shards`: counts and sums are summed. An
        // average is the sum of all sums divided by the sum of all counts, never an average of
        // averages.
        .reaggregate(
            "select remainder, sum(n) as n, \
             cast(sum(total) as double precision) / sum(n) as average \
             from shards group by remainder order by remainder",
        );
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
