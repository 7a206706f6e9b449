//! The decoder alone: bytes of COPY BINARY in memory to Arrow, next to what is least to be done
//! with these bytes.
//!
//! The bytes are made here, the same every time, in chunks as they come from a connection: whole
//! rows, about 128 KiB. An argument picks the cases whose names contain it; `instructions` counts
//! instructions instead of time. See `benches/README.md`.

#[path = "decode/instructions.rs"]
mod instructions;
#[path = "support/report.rs"]
mod report;

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use merganser::decode::DecoderBuilder;
use merganser::types::Column;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Makes the fields of one row.
type MakeRow = fn(&mut Row<'_>);

const CHUNK_BYTES: usize = 128 << 10;

fn main() -> Result<()> {
    let arguments = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'));
    let arguments: Vec<String> = arguments.collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let filter = match arguments[..] {
        [instructions::COUNTED, name, passes] => {
            return instructions::decode(name, passes.parse()?);
        }
        ["instructions", ..] => return instructions::check(),
        [filter, ..] => filter,
        [] => "",
    };
    let (bytes, runs) = match report::is_smoke() {
        true => (1 << 20, 1),
        false => (24 << 20, 31),
    };
    let mut rows = Vec::new();
    for (name, types, make_row) in cases() {
        if name.contains(filter) {
            rows.push(measure(&Case::new(name, &types, make_row, bytes)?, runs)?);
        }
    }
    println!("{runs} runs of {} MiB each, medians\n", bytes >> 20);
    let header = [
        "", "columns", "M rows/s", "MB/s", "ns/field", "/ copy", "/ walk",
    ];
    report::print_table(&header, &rows);
    Ok(())
}

fn cases() -> Vec<(&'static str, Vec<&'static str>, MakeRow)> {
    vec![
        ("lineitem", lineitem_types(), lineitem),
        ("wide", ["int4", "int8", "float8", "date"].repeat(10), wide),
        ("text", vec!["text"; 4], text),
        ("numeric", vec!["numeric(15,2)"; 8], numeric),
        ("nulls", ["int4", "text"].repeat(8), nulls),
        ("lists", vec!["int4", "int4[]", "float8[]", "text[]"], lists),
    ]
}

/// The columns of TPC-H's `lineitem`.
fn lineitem_types() -> Vec<&'static str> {
    let mut types = vec!["int4"; 4];
    types.extend(["numeric(15,2)"; 4]);
    types.extend(["bpchar"; 2]);
    types.extend(["date"; 3]);
    types.extend(["bpchar", "bpchar", "varchar"]);
    types
}

fn lineitem(row: &mut Row<'_>) {
    let order = row.random.below(6_000_000);
    row.int4(order as i32);
    for most in [200_000, 10_000, 7] {
        let key = row.random.below(most);
        row.int4(key as i32 + 1);
    }
    let (quantity, price) = (row.random.below(50) + 1, row.random.below(10_000_000));
    row.numeric(quantity as i64 * 100);
    row.numeric(price as i64 + 90_000);
    for most in [11, 9] {
        let hundredths = row.random.below(most);
        row.numeric(hundredths as i64);
    }
    row.text(1);
    row.text(1);
    let day = row.random.below(2500) as i32 - 2922;
    for days in [0, 30, 45] {
        row.int4(day + days);
    }
    // char(25) and char(10)
    row.text(25);
    row.text(10);
    let length = row.random.below(34) + 10;
    row.text(length as usize);
}

fn wide(row: &mut Row<'_>) {
    for _ in 0..10 {
        let value = row.random.next();
        row.int4(value as i32);
        row.field(&value.to_be_bytes());
        row.field(&(value as f64).to_be_bytes());
        row.int4(value as i32 >> 16);
    }
}

fn text(row: &mut Row<'_>) {
    for most in [10, 40, 100, 400] {
        let length = row.random.below(most);
        row.text(length as usize);
    }
}

fn numeric(row: &mut Row<'_>) {
    for digits in 1..=8 {
        let value = row.random.below(10_u64.pow(digits + 2)) as i64;
        row.numeric(if value % 3 == 0 { -value } else { value });
    }
}

/// Half of the fields are NULL.
fn nulls(row: &mut Row<'_>) {
    for _ in 0..8 {
        match row.random.below(4) {
            0 => row.int4(1),
            1 => row.null(),
            which => row.int4(which as i32),
        }
        match row.random.below(4) {
            0 => row.text(8),
            _ => row.null(),
        }
    }
}

fn lists(row: &mut Row<'_>) {
    row.int4(1);
    let count = row.random.below(20) as usize;
    row.array(count, |random, out| {
        out.extend((random.next() as i32).to_be_bytes());
    });
    row.array(count, |random, out| out.extend(random.next().to_be_bytes()));
    row.array(count, |_, out| out.extend(b"a tag"));
}

/// The bytes of a result, as they come.
struct Case {
    name: &'static str,
    columns: Vec<Column>,
    chunks: Vec<Vec<u8>>,
    bytes: usize,
    rows: usize,
}

impl Case {
    fn new(name: &'static str, types: &[&str], make_row: MakeRow, bytes: usize) -> Result<Self> {
        let columns = types
            .iter()
            .enumerate()
            .map(|(index, pg_type)| Ok(Column::new(format!("c{index}"), pg_type.parse()?)))
            .collect::<Result<Vec<_>>>()?;
        let mut chunk = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let (mut chunks, mut full, mut rows) = (Vec::new(), 0, 0);
        while full < bytes {
            chunk.extend((columns.len() as i16).to_be_bytes());
            make_row(&mut Row {
                out: &mut chunk,
                random: &mut random,
            });
            rows += 1;
            if chunk.len() >= CHUNK_BYTES {
                full += chunk.len();
                chunks.push(std::mem::take(&mut chunk));
            }
        }
        chunk.extend((-1_i16).to_be_bytes());
        chunks.push(chunk);
        Ok(Self {
            name,
            columns,
            bytes: chunks.iter().map(Vec::len).sum(),
            chunks,
            rows,
        })
    }

    /// All rows to Arrow; each batch is dropped when the next one is made.
    fn decode(&self) -> Result<usize> {
        let mut decoder = DecoderBuilder::new(self.columns.clone()).build();
        let mut rows = 0;
        for chunk in &self.chunks {
            let mut rest = chunk.as_slice();
            while !rest.is_empty() {
                rest = &rest[decoder.decode(rest)?..];
                if !rest.is_empty()
                    && let Some(batch) = black_box(decoder.flush()?)
                {
                    rows += batch.num_rows();
                }
            }
        }
        let last = black_box(decoder.finish()?);
        Ok(rows + last.map_or(0, |batch| batch.num_rows()))
    }

    /// Copies the bytes once, into one buffer that stays.
    fn copy(&self, buffer: &mut Vec<u8>) {
        for chunk in &self.chunks {
            buffer.clear();
            buffer.extend_from_slice(chunk);
            black_box(&mut *buffer);
        }
    }

    /// Goes from field to field by their lengths, and looks at nothing else.
    fn walk(&self) -> Result<usize> {
        let mut fields = 0;
        for (index, chunk) in self.chunks.iter().enumerate() {
            let mut rest = chunk
                .get(if index == 0 { 19 } else { 0 }..)
                .ok_or("short")?;
            while let Some((count, tuple)) = rest.split_first_chunk() {
                rest = tuple;
                for _ in 0..i16::from_be_bytes(*count) {
                    let (len, value) = rest.split_first_chunk().ok_or("no length")?;
                    let len = i32::from_be_bytes(*len).max(0) as usize;
                    rest = value.get(len..).ok_or("no value")?;
                    fields += 1;
                }
            }
        }
        Ok(black_box(fields))
    }
}

fn measure(case: &Case, runs: usize) -> Result<Vec<String>> {
    let mut buffer = Vec::new();
    let mut times = Vec::new();
    // Once more, unmeasured, at the start.
    for _ in 0..=runs {
        let start = Instant::now();
        case.copy(&mut buffer);
        let copied = start.elapsed();
        let fields = case.walk()?;
        let walked = start.elapsed();
        let rows = case.decode()?;
        let decoded = start.elapsed();
        if (rows, fields) != (case.rows, case.rows * case.columns.len()) {
            return Err(format!("{}: {rows} of {} rows", case.name, case.rows).into());
        }
        times.push([copied, walked - copied, decoded - walked].map(|time| time.as_secs_f64()));
    }
    times.remove(0);
    let seconds = report::median(times.iter().map(|[_, _, decode]| *decode));
    let over_copy = report::median(times.iter().map(|[copy, _, decode]| decode / copy));
    let over_walk = report::median(times.iter().map(|[_, walk, decode]| decode / walk));
    let fields = (case.rows * case.columns.len()) as f64;
    Ok(vec![
        case.name.to_owned(),
        case.columns.len().to_string(),
        format!("{:.2}", case.rows as f64 / seconds / 1e6),
        format!("{:.0}", case.bytes as f64 / seconds / 1e6),
        format!("{:.2}", seconds * 1e9 / fields),
        format!("{over_copy:.1}"),
        format!("{over_walk:.1}"),
    ])
}

/// A row that is being made.
struct Row<'a> {
    out: &'a mut Vec<u8>,
    random: &'a mut Random,
}

impl Row<'_> {
    fn field(&mut self, bytes: &[u8]) {
        self.out.extend((bytes.len() as i32).to_be_bytes());
        self.out.extend(bytes);
    }

    fn null(&mut self) {
        self.out.extend((-1_i32).to_be_bytes());
    }

    fn int4(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    fn text(&mut self, length: usize) {
        self.out.extend((length as i32).to_be_bytes());
        for _ in 0..length {
            let letter = self.random.below(26) as u8;
            self.out.push(b'a' + letter);
        }
    }

    /// A `numeric` of scale 2, as the server writes it: digits to the base of 10,000, without zeros
    /// at either end.
    fn numeric(&mut self, hundredths: i64) {
        let value = hundredths.unsigned_abs();
        let mut digits = vec![(value % 100 * 100) as u16];
        let mut integer = value / 100;
        while integer > 0 {
            digits.insert(0, (integer % 10_000) as u16);
            integer /= 10_000;
        }
        let mut weight = digits.len() as i16 - 2;
        while digits.last() == Some(&0) {
            digits.pop();
        }
        while digits.first() == Some(&0) {
            digits.remove(0);
            weight -= 1;
        }
        let sign = if hundredths < 0 { 0x4000 } else { 0_u16 };
        let header = [digits.len() as u16, weight as u16, sign, 2];
        let words = header.iter().chain(&digits);
        let bytes: Vec<u8> = words.flat_map(|word| word.to_be_bytes()).collect();
        self.field(&bytes);
    }

    /// An array of one dimension, without NULL.
    fn array(&mut self, count: usize, mut element: impl FnMut(&mut Random, &mut Vec<u8>)) {
        let dimensions = i32::from(count > 0);
        // Dimensions, flags, and the OID of the elements, which is not looked at.
        let mut bytes: Vec<u8> = [dimensions, 0, 0]
            .into_iter()
            .flat_map(i32::to_be_bytes)
            .collect();
        if count > 0 {
            bytes.extend((count as i32).to_be_bytes());
            bytes.extend(1_i32.to_be_bytes());
        }
        for _ in 0..count {
            let start = bytes.len();
            bytes.extend([0; 4]);
            element(self.random, &mut bytes);
            let length = (bytes.len() - start - 4) as i32;
            bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        self.field(&bytes);
    }
}

/// Xorshift: plain, and the same numbers every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
