//! Rows without servers: batches like those of TPC-H's `lineitem`, made once, given as often as wanted.

use std::sync::Arc;

use futures::stream;
use merganser::QueryStream;
use merganser::arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, StringArray};
use merganser::arrow::record_batch::RecordBatch;

use super::cost::Result;

const BATCH_ROWS: usize = 8_192;
/// So many are made; a Parquet dictionary that has seen them all learns nothing new.
const BATCHES: usize = 32;

/// So many rows, the same each time.
pub(crate) fn lineitem(rows: usize) -> Result<QueryStream> {
    let mut random = Random(0x6d65_7267_616e_7365);
    let made = (0..BATCHES).map(|_| batch(&mut random));
    let made = made.collect::<Result<Vec<_>>>()?;
    let schema = made.first().ok_or("no batch")?.schema();
    let batches = made.into_iter().cycle().take(rows.div_ceil(BATCH_ROWS));
    Ok(QueryStream::new(schema, stream::iter(batches.map(Ok))))
}

fn batch(random: &mut Random) -> Result<RecordBatch> {
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (name, most) in [
        ("l_orderkey", 6_000_000),
        ("l_partkey", 200_000),
        ("l_suppkey", 10_000),
        ("l_linenumber", 7),
    ] {
        let keys = (0..BATCH_ROWS).map(|_| random.below(most) as i32);
        columns.push((name, Arc::new(Int32Array::from_iter_values(keys))));
    }
    for (name, most) in [
        ("l_quantity", 5_000),
        ("l_extendedprice", 10_000_000),
        ("l_discount", 11),
        ("l_tax", 9),
    ] {
        let amounts = (0..BATCH_ROWS).map(|_| random.below(most) as i128);
        let amounts = Decimal128Array::from_iter_values(amounts);
        columns.push((name, Arc::new(amounts.with_precision_and_scale(15, 2)?)));
    }
    for (name, words) in [
        ("l_returnflag", &["A", "N", "R"][..]),
        ("l_linestatus", &["F", "O"]),
        (
            "l_shipinstruct",
            &["COLLECT COD", "DELIVER IN PERSON", "NONE"],
        ),
        (
            "l_shipmode",
            &["AIR", "FOB", "MAIL", "RAIL", "SHIP", "TRUCK"],
        ),
    ] {
        let chosen = (0..BATCH_ROWS).map(|_| words[random.below(words.len() as u64) as usize]);
        columns.push((name, Arc::new(StringArray::from_iter_values(chosen))));
    }
    for name in ["l_shipdate", "l_commitdate", "l_receiptdate"] {
        let days = (0..BATCH_ROWS).map(|_| random.below(2_500) as i32 + 8_000);
        columns.push((name, Arc::new(Date32Array::from_iter_values(days))));
    }
    let comments = (0..BATCH_ROWS).map(|_| random.text());
    columns.push((
        "l_comment",
        Arc::new(StringArray::from_iter_values(comments)),
    ));
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// xorshift64*: enough for data that compresses like text and numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    /// 10 to 43 letters, in words of a few.
    fn text(&mut self) -> String {
        const WORDS: [&str; 8] = [
            "carefully",
            "final",
            "deposits",
            "sleep",
            "furiously",
            "ironic",
            "requests",
            "haggle",
        ];
        let length = self.below(34) as usize + 10;
        let mut text = String::new();
        while text.len() < length {
            text.push_str(WORDS[self.below(8) as usize]);
            text.push(char::from(b'a' + self.below(26) as u8));
            text.push(' ');
        }
        text.truncate(length);
        text
    }
}
