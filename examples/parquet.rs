//! The rows of all shards into one Parquet file, in bounded memory.
//!
//! ```text
//! cargo run --example parquet -- rows.parquet postgresql://db0/sales postgresql://db1/sales
//! ```

use std::env;
use std::path::PathBuf;

use merganser::export::{self, Compression, Destination, ExportOptions, Format, Progress};
use merganser::{Cluster, Result, Topology};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let path = PathBuf::from(arguments.next().unwrap_or("rows.parquet".to_owned()));
    let arguments: Vec<String> = arguments.collect();
    let topology = match arguments.as_slice() {
        [path] if path.ends_with(".toml") => Topology::from_path(path)?,
        urls => Topology::from_urls(urls.iter().cloned())?,
    };
    let cluster = Cluster::new(topology)?;

    // Opened before the query runs, so that a wrong path is known at once. The file appears under
    // its name only when it is complete.
    let output = Destination::from(path.clone()).open()?;

    // Types come from PostgreSQL: `price` is a decimal of scale 2 in the file, too.
    let stream = cluster
        .fan_out(
            "select x as id, (x * 1.25)::numeric(10,2) as price, md5(x::text) as name \
             from generate_series(1, 10000) x",
        )
        .stream()
        .await?;
    let options = ExportOptions::new().with_compression(Compression::Zstd);
    let progress = Progress::default();
    let summary = export::write(stream, output, Format::Parquet, &options, &progress).await?;
    println!("{} rows in {}", summary.rows, path.display());

    cluster.close().await;
    Ok(())
}
