//! The decoder and the text form against bytes that a PostgreSQL 15 server sent.
//!
//! A capture is three files of `testdata/copy`: `x.sql`, a query whose columns are named after
//! their types; `x.copy`, the bytes of `COPY (query) TO STDOUT (FORMAT binary)`; and `x.json`, the
//! types and the rows as the server prints them. `MERGANSER_REGENERATE=1 cargo test --test
//! integration captures` writes the last two from the first; it needs a server, the test does not.

use std::fs;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use merganser::arrow::array::Array;
use merganser::arrow::compute::concat_batches;
use merganser::arrow::datatypes::SchemaRef;
use merganser::arrow::record_batch::RecordBatch;
use merganser::decode::DecoderBuilder;
use merganser::types::{Column, Unrepresentable};
use merganser::{ErrorKind, Result};
use serde_json::{Value, json};
use tokio_postgres::SimpleQueryMessage;

use crate::support;
use crate::texts::{texts_of, without_trailing_zeros};

/// How many captures there are, so that one that is lost is noticed.
const CAPTURES: usize = 43;

#[test]
fn captures_decode_to_what_the_server_prints() {
    if std::env::var_os("MERGANSER_REGENERATE").is_some() {
        regenerate();
    }
    let mut captures = 0;
    for sql in files("sql") {
        captures += 1;
        let name = sql.file_stem().unwrap().to_str().unwrap().to_owned();
        let (data, expected) = read(&sql);
        let types = types_of(&expected);
        let whole = decode(builder(&types), &data, usize::MAX).expect(&name);
        assert_eq!(whole.num_rows(), list(&expected["rows"]).len(), "{name}");
        for (ours, servers) in rows_of(&whole, &types).iter().zip(list(&expected["rows"])) {
            assert_eq!(ours, servers, "{name}");
        }
        for chunk in [1, 3, 7, 100] {
            for batch_rows in [1, 4, 8192] {
                let builder = builder(&types).with_batch_rows(batch_rows);
                let batch = decode(builder, &data, chunk).unwrap();
                let place = format!("{name}, chunks of {chunk} bytes, batches of {batch_rows}");
                assert_eq!(batch.num_rows(), whole.num_rows(), "{place}");
                for (left, right) in batch.columns().iter().zip(whole.columns()) {
                    // Array data is compared by its bytes, in which NaN is equal to itself.
                    assert_eq!(left.to_data(), right.to_data(), "{place}");
                }
            }
        }
    }
    assert_eq!(captures, CAPTURES);
    for extension in ["copy", "json"] {
        for file in files(extension) {
            let sql = file.with_extension("sql");
            assert!(sql.exists(), "{} has no {}", file.display(), sql.display());
            let size = fs::metadata(&file).unwrap().len();
            assert!(size < 20_000, "{} has {size} bytes", file.display());
        }
    }
}

/// Every capture cut off anywhere is an error, never fewer rows.
#[test]
fn a_capture_that_is_cut_off_is_an_error() {
    for sql in files("sql") {
        let (data, expected) = read(&sql);
        let types = types_of(&expected);
        let step = data.len().div_ceil(500);
        for end in (0..data.len()).step_by(step).chain([data.len() - 1]) {
            let error = decode(builder(&types), &data[..end], 100).unwrap_err();
            assert!(error.message().contains("without the trailer"), "{error}");
        }
    }
}

/// Damage inside a value may give another value; anything else has to be an error. What is decoded
/// is valid, and can be printed.
#[test]
fn a_damaged_capture_is_never_a_panic() {
    // Knuth's MMIX generator: the same damage in every run.
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for sql in files("sql") {
        let (data, expected) = read(&sql);
        let types = types_of(&expected);
        for _ in 0..200 {
            let mut data = data.clone();
            for _ in 0..=random(3) {
                let place = HEADER_LEN + random(data.len() - HEADER_LEN);
                match random(8) {
                    0 => data[place] = 0,
                    1 => data[place] = 0x7f,
                    2 => data[place] = 0x80,
                    3 => data[place] = 0xff,
                    4 => data[place] ^= 1 << random(8),
                    5 => data.insert(place, random(256) as u8),
                    6 if data.len() > HEADER_LEN + 1 => drop(data.remove(place)),
                    _ => data[place] = random(256) as u8,
                }
            }
            let policy = [Unrepresentable::Error, Unrepresentable::Null][random(2)];
            let builder = builder(&types).with_unrepresentable(policy);
            match decode(
                builder.with_batch_rows(1 + random(5)),
                &data,
                1 + random(64),
            ) {
                Ok(batch) => {
                    for column in batch.columns() {
                        column.to_data().validate_full().unwrap();
                    }
                    texts_of(&batch);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Decode, "{error}"),
            }
        }
    }
}

/// Signature, flags and length of the extension.
const HEADER_LEN: usize = 19;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/copy")
}

/// The files of this extension, by name.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// The bytes and the expectation that belong to a query.
fn read(sql: &Path) -> (Vec<u8>, Value) {
    let file = |extension| {
        let path = sql.with_extension(extension);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    (file("copy"), serde_json::from_slice(&file("json")).unwrap())
}

fn types_of(expected: &Value) -> Vec<&str> {
    let columns = list(&expected["columns"]).iter();
    columns.map(|name| name.as_str().unwrap()).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn builder(types: &[&str]) -> DecoderBuilder {
    let column = |name: &&str| Column::new(*name, name.parse().expect(name));
    DecoderBuilder::new(types.iter().map(column).collect())
}

/// Feeds `data` in chunks of `chunk` bytes; all rows in one batch.
fn decode(builder: DecoderBuilder, data: &[u8], chunk: usize) -> Result<RecordBatch> {
    let mut decoder = builder.build();
    let schema: SchemaRef = decoder.schema();
    let mut batches = Vec::new();
    for mut piece in data.chunks(chunk) {
        while !piece.is_empty() {
            let taken = decoder.decode(piece)?;
            piece = &piece[taken..];
            if !piece.is_empty() {
                batches.extend(decoder.flush()?);
            }
        }
    }
    batches.extend(decoder.finish()?);
    // Without columns, a concatenation has lost count of the rows.
    if let [batch] = batches.as_slice() {
        return Ok(batch.clone());
    }
    if schema.fields().is_empty() {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let options = merganser::arrow::record_batch::RecordBatchOptions::new();
        let options = options.with_row_count(Some(rows));
        return Ok(RecordBatch::try_new_with_options(schema, Vec::new(), &options).unwrap());
    }
    Ok(concat_batches(&schema, &batches).unwrap())
}

fn rows_of(batch: &RecordBatch, types: &[&str]) -> Vec<Value> {
    let rows = texts_of(batch);
    rows.into_iter()
        .map(|row| {
            let fields = row.into_iter().zip(types);
            Value::Array(fields.map(|(text, name)| value(text, name)).collect())
        })
        .collect()
}

/// A value as the JSON file has it. A `numeric` that declares no scale has the scale of its Arrow
/// type, which the server does not know of.
fn value(text: Option<String>, pg_type: &str) -> Value {
    match (text, pg_type) {
        (None, _) => Value::Null,
        (Some(text), "numeric" | "numrange" | "nummultirange") => {
            Value::String(without_trailing_zeros(&text))
        }
        (Some(text), _) => Value::String(text),
    }
}

fn regenerate() {
    let url = support::database().expect("a server to capture from");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
            .batch_execute(
                "SET TimeZone = 'UTC'; SET DateStyle = ISO; SET IntervalStyle = postgres",
            )
            .await
            .unwrap();
        for path in files("sql") {
            let sql = fs::read_to_string(&path).unwrap();
            let copy = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
            let chunks = client.copy_out(&copy).await.expect(&sql);
            let chunks: Vec<_> = chunks.try_collect().await.expect(&sql);
            fs::write(path.with_extension("copy"), chunks.concat()).unwrap();
            let statement = client.prepare(&sql).await.unwrap();
            let types: Vec<_> = statement.columns().iter().map(|c| c.name()).collect();
            let mut rows = Vec::new();
            for message in client.simple_query(&sql).await.unwrap() {
                if let SimpleQueryMessage::Row(row) = message {
                    let texts = (0..row.len()).map(|i| row.get(i).map(str::to_owned));
                    let values = texts.zip(&types).map(|(text, name)| value(text, name));
                    rows.push(values.collect());
                }
            }
            let rows: Vec<Value> = rows;
            let mut text = format!("{{\"columns\": {},\n\"rows\": [\n", json!(types));
            for (index, row) in rows.iter().enumerate() {
                let comma = if index + 1 == rows.len() { "" } else { "," };
                text.push_str(&format!("{row}{comma}\n"));
            }
            text.push_str("]}\n");
            fs::write(path.with_extension("json"), text).unwrap();
        }
    });
}
