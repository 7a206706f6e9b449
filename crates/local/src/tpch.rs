//! TPC-H data: generated once, split by key, and streamed into the shards.

use std::fmt::{self, Display, Write};
use std::mem;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::slice;
use std::str::FromStr;

use bytes::Bytes;
use futures::SinkExt;
use futures::future::try_join_all;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_postgres::{Client, Config};
use tpchgen::csv::{
    CustomerCsv, LineItemCsv, NationCsv, OrderCsv, PartCsv, PartSuppCsv, RegionCsv, SupplierCsv,
};
use tpchgen::distribution::Distributions;
use tpchgen::generators::{
    CustomerGenerator, LineItem, LineItemGenerator, NationGenerator, Order, OrderGenerator,
    PartGenerator, PartSupp, PartSuppGenerator, RegionGenerator, SupplierGenerator,
};
use tpchgen::text::TextPool;

use super::schema::TABLES;
use super::session::{Session, failure, sql_error};
use crate::error::{Error, ErrorKind, Result};

/// How many bytes of CSV go to a shard in one message.
const CHUNK_BYTES: usize = 64 * 1024;

/// How many messages wait for a shard before the generator waits for it.
const CHUNKS_IN_FLIGHT: usize = 8;

/// Below this scale factor, comments come from [`SMALL_TEXT_POOL_BYTES`] of text instead of the
/// 300 MiB of the specification, which would take longer to make than all rows.
const FULL_TEXT_SCALE_FACTOR: f64 = 0.1;
const SMALL_TEXT_POOL_BYTES: i32 = 4 * 1024 * 1024;

/// From a few rows in every table to the last keys for which `integer` has room.
const SCALE_FACTORS: RangeInclusive<f64> = 0.001..=10_000.0;

/// The TPC-H data of one scale factor, to be loaded into shards.
///
/// The same scale factor gives the same rows every time, those of `dbgen`, with two exceptions at
/// small ones: below 0.1 the comments are other text, and below 0.01 the pairs of part and supplier
/// that would then repeat in `partsupp` are left out.
#[must_use = "nothing is loaded before `load` is awaited"]
pub struct Tpch {
    scale_factor: f64,
    progress: Box<dyn Fn(Progress) + Send>,
}

impl Tpch {
    /// The data of a scale factor: 1 is 6 million rows in `lineitem` and about 1 GiB in all.
    pub fn new(scale_factor: f64) -> Self {
        Self {
            scale_factor,
            progress: Box::new(|_| ()),
        }
    }

    /// Calls this from the thread that generates the rows, several times per table.
    pub fn with_progress(mut self, progress: impl Fn(Progress) + Send + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Creates the [`TABLES`] in each database and fills them: a row of `orders` and `lineitem`
    /// goes to the database whose 0-based place in `urls` is its order key modulo their number,
    /// every other row to each of them. With one URL that database holds all rows.
    ///
    /// Each database is loaded in one transaction and analyzed. The URLs are used without TLS.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a scale factor below 0.001 or above 10,000, for no URL
    /// or a wrong one; [`ErrorKind::Connect`] and [`ErrorKind::Server`] with the name of the
    /// database at fault, for example when a table exists already.
    ///
    /// # Cancel safety
    /// When the future is dropped, databases whose transaction is not committed stay empty.
    ///
    /// # Memory
    /// About 1 MiB per database, and 300 MiB of text from scale factor 0.1.
    pub async fn load(self, urls: &[impl AsRef<str>]) -> Result<Loaded> {
        let Self {
            scale_factor,
            progress,
        } = self;
        if !SCALE_FACTORS.contains(&scale_factor) {
            let (min, max) = (SCALE_FACTORS.start(), SCALE_FACTORS.end());
            let message =
                format!("scale factor {scale_factor}: expected a number from {min} to {max}");
            return Err(Error::new(ErrorKind::Config, message));
        }
        if urls.is_empty() {
            return Err(Error::new(ErrorKind::Config, "no database to load into"));
        }
        let configs: Vec<Config> = urls.iter().map(parse).collect::<Result<_>>()?;
        let (feeds, receivers): (Vec<_>, Vec<_>) = configs
            .iter()
            .map(|_| mpsc::channel(CHUNKS_IN_FLIGHT))
            .unzip();
        let generator = tokio::task::spawn_blocking(move || {
            let mut spreader = Spreader {
                feeds,
                progress,
                rows: Vec::new(),
            };
            let sent = generate(scale_factor, &mut spreader);
            sent.map(|()| Loaded {
                rows: spreader.rows,
            })
        });
        // When one shard fails, this drops the receivers of all of them, which ends the generator.
        let fills = configs.iter().zip(receivers);
        let filled = try_join_all(fills.map(|(config, receiver)| async move {
            let name = config.get_dbname().unwrap_or_default();
            fill(config, receiver)
                .await
                .map_err(|error| error.with_database(name))
        }))
        .await;
        let generated = generator
            .await
            .map_err(|error| failure("the generator of TPC-H rows panicked").with_source(error))?;
        filled?;
        generated.map_err(|Closed| failure("the generator of TPC-H rows ended early"))
    }
}

impl fmt::Debug for Tpch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tpch")
            .field("scale_factor", &self.scale_factor)
            .finish_non_exhaustive()
    }
}

/// How far a load has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The table whose rows are being generated.
    pub table: &'static str,
    /// The rows of this table generated so far, each counted once.
    pub rows: u64,
    /// How many rows this table will have; exact but for `lineitem` and, at small scale factors,
    /// `partsupp`.
    pub estimated_rows: u64,
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// In the order of [`TABLES`].
    rows: Vec<u64>,
}

impl Loaded {
    /// The rows of a table over all shards, those of a replicated table counted once; `None` for a
    /// name that TPC-H does not have.
    pub fn rows(&self, table: &str) -> Option<u64> {
        self.tables()
            .find_map(|(name, rows)| (name == table).then_some(rows))
    }

    /// The name and number of rows of every table.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TABLES
            .iter()
            .map(|table| table.name)
            .zip(self.rows.iter().copied())
    }
}

/// What the generator tells every shard. Tables come in the order of [`TABLES`].
enum Message {
    /// Lines of CSV.
    Rows(Bytes),
    EndOfTable,
}

/// A shard takes no more rows: it failed, or nobody waits for it any longer.
struct Closed;

/// Loads what arrives into one database, all or nothing.
async fn fill(config: &Config, mut messages: Receiver<Message>) -> Result<()> {
    let session = Session::open(config).await?;
    let client = &session.client;
    execute(client, "BEGIN").await?;
    for table in &TABLES {
        execute(client, &table.create()).await?;
        // FREEZE: nobody can see the table yet, so its rows need no later rewrite by VACUUM.
        let copy = format!("COPY {} FROM STDIN (FORMAT csv, FREEZE)", table.name);
        let mut sink = pin!(client.copy_in(&copy).await.map_err(sql_error)?);
        loop {
            match messages.recv().await {
                Some(Message::Rows(csv)) => sink.send(csv).await.map_err(sql_error)?,
                Some(Message::EndOfTable) => break,
                None => return Err(failure("the generator of TPC-H rows ended early")),
            }
        }
        sink.finish().await.map_err(sql_error)?;
        execute(client, &table.add_primary_key()).await?;
    }
    execute(client, "COMMIT").await?;
    let names: Vec<_> = TABLES.iter().map(|table| table.name).collect();
    execute(client, &format!("ANALYZE {}", names.join(", "))).await
}

async fn execute(client: &Client, sql: &str) -> Result<()> {
    client.batch_execute(sql).await.map_err(sql_error)
}

/// Generates all tables, in the order of [`TABLES`].
fn generate(scale_factor: f64, to: &mut Spreader) -> Result<(), Closed> {
    let small_text;
    let words = Distributions::static_default();
    let text = if scale_factor < FULL_TEXT_SCALE_FACTOR {
        small_text = TextPool::new(SMALL_TEXT_POOL_BYTES, words);
        &small_text
    } else {
        TextPool::get_or_init_default()
    };
    // One part of one: the generators can also make a slice of the rows.
    macro_rules! rows {
        ($generator:ident) => {
            $generator::new_with_distributions_and_text_pool(scale_factor, 1, 1, words, text).iter()
        };
    }
    macro_rules! count {
        ($generator:ident) => {
            u64::try_from($generator::calculate_row_count(scale_factor, 1, 1)).unwrap_or(0)
        };
    }
    let regions = RegionGenerator::new_with_distributions_and_text_pool(words, text);
    let nations = NationGenerator::new_with_distributions_and_text_pool(words, text);
    let pairs = PartSuppGenerator::new_with_text_pool(scale_factor, 1, 1, text);
    let orders = count!(OrderGenerator);

    to.spread(5, regions.iter(), |_| None, RegionCsv::new)?;
    to.spread(25, nations.iter(), |_| None, NationCsv::new)?;
    let suppliers = count!(SupplierGenerator);
    to.spread(
        suppliers,
        rows!(SupplierGenerator),
        |_| None,
        SupplierCsv::new,
    )?;
    let customers = count!(CustomerGenerator);
    to.spread(
        customers,
        rows!(CustomerGenerator),
        |_| None,
        CustomerCsv::new,
    )?;
    let parts = count!(PartGenerator);
    to.spread(parts, rows!(PartGenerator), |_| None, PartCsv::new)?;
    let pairs = without_repeats(pairs.iter());
    to.spread(parts * 4, pairs, |_| None, PartSuppCsv::new)?;
    let order_key = |row: &Order| Some(row.o_orderkey);
    to.spread(orders, rows!(OrderGenerator), order_key, OrderCsv::new)?;
    let line_key = |row: &LineItem| Some(row.l_orderkey);
    to.spread(
        orders * 4,
        rows!(LineItemGenerator),
        line_key,
        LineItemCsv::new,
    )
}

/// At scale factors below 0.01 there are too few suppliers for four different ones per part.
fn without_repeats<'a>(
    rows: impl Iterator<Item = PartSupp<'a>>,
) -> impl Iterator<Item = PartSupp<'a>> {
    let mut part = None;
    let mut suppliers = Vec::with_capacity(4);
    rows.filter(move |row| {
        if part != Some(row.ps_partkey) {
            part = Some(row.ps_partkey);
            suppliers.clear();
        }
        let is_new = !suppliers.contains(&row.ps_suppkey);
        suppliers.push(row.ps_suppkey);
        is_new
    })
}

/// Sends every row to the shards that hold it.
struct Spreader {
    feeds: Vec<Sender<Message>>,
    progress: Box<dyn Fn(Progress) + Send>,
    /// The rows of the tables that are done, in the order of [`TABLES`].
    rows: Vec<u64>,
}

impl Spreader {
    /// Sends the next table. `key` is a row's value of the shard key, `None` for every shard.
    fn spread<R, L: Display>(
        &mut self,
        estimated_rows: u64,
        rows: impl Iterator<Item = R>,
        key: impl Fn(&R) -> Option<i64>,
        csv: impl Fn(R) -> L,
    ) -> Result<(), Closed> {
        let table = TABLES.get(self.rows.len()).map_or("", |table| table.name);
        let report = |rows| {
            (self.progress)(Progress {
                table,
                rows,
                estimated_rows,
            });
        };
        let shards = self.feeds.len() as i64;
        // One buffer of lines per shard, and one for what all shards get.
        let mut to_one = vec![String::new(); self.feeds.len()];
        let mut to_all = String::new();
        let mut done = 0;
        report(done);
        for row in rows {
            let place = key(&row).map(|key| key.rem_euclid(shards) as usize);
            let (lines, feeds) = match place {
                Some(i) => (&mut to_one[i], &self.feeds[i..=i]),
                None => (&mut to_all, &self.feeds[..]),
            };
            // Writing into a String cannot fail.
            let _ = writeln!(lines, "{}", csv(row));
            done += 1;
            if lines.len() >= CHUNK_BYTES {
                send(feeds, lines)?;
                report(done);
            }
        }
        for (lines, feed) in to_one.iter_mut().zip(&self.feeds) {
            send(slice::from_ref(feed), lines)?;
        }
        send(&self.feeds, &mut to_all)?;
        for feed in &self.feeds {
            feed.blocking_send(Message::EndOfTable)
                .map_err(|_| Closed)?;
        }
        report(done);
        self.rows.push(done);
        Ok(())
    }
}

/// Sends the lines and leaves none.
fn send(feeds: &[Sender<Message>], lines: &mut String) -> Result<(), Closed> {
    let bytes = Bytes::from(mem::take(lines));
    for feed in feeds {
        let message = Message::Rows(bytes.clone());
        feed.blocking_send(message).map_err(|_| Closed)?;
    }
    Ok(())
}

fn parse(url: &impl AsRef<str>) -> Result<Config> {
    Config::from_str(url.as_ref()).map_err(|error| {
        // The URL itself may hold a password.
        Error::new(ErrorKind::Config, "a URL of a database is wrong").with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    /// Generates everything for this many shards and returns the CSV of each table and shard.
    fn generated(scale_factor: f64, shards: usize) -> (Vec<u64>, Vec<Vec<String>>) {
        let (feeds, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(8)).unzip();
        let readers: Vec<_> = receivers
            .into_iter()
            .map(|mut receiver: Receiver<Message>| {
                thread::spawn(move || {
                    let mut tables = vec![String::new()];
                    while let Some(message) = receiver.blocking_recv() {
                        match message {
                            Message::EndOfTable => tables.push(String::new()),
                            Message::Rows(csv) => {
                                let csv = str::from_utf8(&csv).unwrap();
                                tables.last_mut().unwrap().push_str(csv);
                            }
                        }
                    }
                    tables
                })
            })
            .collect();
        let mut spreader = Spreader {
            feeds,
            progress: Box::new(|_| ()),
            rows: Vec::new(),
        };
        assert!(generate(scale_factor, &mut spreader).is_ok());
        let rows = mem::take(&mut spreader.rows);
        drop(spreader);
        let tables = readers.into_iter().map(|reader| reader.join().unwrap());
        (rows, tables.collect())
    }

    #[test]
    fn every_row_is_on_its_shard_and_nowhere_else() {
        let (rows, whole) = generated(0.001, 1);
        let (split_rows, shards) = generated(0.001, 3);
        assert_eq!(rows, split_rows);
        assert_eq!(rows[..5], [5, 25, 10, 150, 200]);
        for (i, table) in TABLES.iter().enumerate() {
            let all: Vec<&str> = whole[0][i].lines().collect();
            assert_eq!(all.len() as u64, rows[i], "{}", table.name);
            for (place, shard) in shards.iter().enumerate() {
                let expected: Vec<&str> = all
                    .iter()
                    .filter(|line| {
                        let key = line.split(',').next().unwrap().parse::<usize>().unwrap();
                        table.shard_key.is_none() || key % 3 == place
                    })
                    .copied()
                    .collect();
                assert!(!expected.is_empty(), "{}", table.name);
                assert!(
                    shard[i].lines().eq(expected),
                    "{} on shard {place}",
                    table.name
                );
            }
        }
    }

    #[test]
    fn a_pair_of_part_and_supplier_is_there_once() {
        let (rows, whole) = generated(0.001, 1);
        let pairs: HashSet<Vec<&str>> = whole[0][5]
            .lines()
            .map(|line| line.split(',').take(2).collect())
            .collect();
        assert_eq!(pairs.len() as u64, rows[5]);
        assert!(rows[5] < 800, "the case that this is about does not occur");
    }

    #[tokio::test]
    async fn bad_arguments_are_refused_before_anything_is_done() {
        let nothing: [&str; 0] = [];
        for (scale_factor, urls, message) in [
            (
                0.0,
                &["postgresql://x"][..],
                "scale factor 0: expected a number from 0.001 to 10000",
            ),
            (
                f64::NAN,
                &["postgresql://x"],
                "scale factor NaN: expected a number from 0.001 to 10000",
            ),
            (1.0, &nothing, "no database to load into"),
            (
                1.0,
                &["postgresql://u:secret@h:port/"],
                "a URL of a database is wrong",
            ),
        ] {
            let error = Tpch::new(scale_factor).load(urls).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(error.message(), message);
            assert!(!format!("{error:?}").contains("secret"));
        }
    }
}
