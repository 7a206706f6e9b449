//! The same without async: batches from an iterator, and rows from a cursor.
//!
//! ```text
//! cargo run --example blocking -- postgresql://db0/sales postgresql://db1/sales
//! ```

use std::env;
use std::error::Error;

use merganser::blocking::Cluster;
use merganser::{Order, Topology};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let topology = match arguments.as_slice() {
        [path] if path.ends_with(".toml") => Topology::from_path(path)?,
        urls => Topology::from_urls(urls.iter().cloned())?,
    };
    let cluster = Cluster::new(topology)?;

    // Arrow record batches, one at a time. `with` sets the options of a query.
    let query = cluster
        .fan_out("select x from generate_series(1, $1) x")
        .with(|query| query.with_params([Some("1000".to_owned())]));
    let mut rows = 0;
    for batch in query.stream()? {
        rows += batch?.num_rows();
    }
    println!("{rows} rows");

    // A cursor in the shape of Python's DB-API. An error of any shard is an error of the fetch:
    // `None` means that every row of every shard was there. With a topology that declares its tables,
    // `execute(sql)` answers as one PostgreSQL with all rows would.
    let mut cursor = cluster.cursor();
    let query = cluster.fan_out("select current_database(), now()");
    cursor.execute_fan_out(query.with(|query| query.with_order(Order::Shard)))?;
    while let Some(row) = cursor.fetch_one()? {
        let database = row.text(0)?.unwrap_or_default();
        println!(
            "{database} says that it is {}",
            row.text(1)?.unwrap_or_default()
        );
    }
    println!("{} shards", cursor.rowcount().unwrap_or_default());
    Ok(())
}
