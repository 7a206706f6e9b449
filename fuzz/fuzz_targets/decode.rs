//! Any bytes are decoded without a panic, to the same rows or the same error in any chunks and
//! batches, and what is decoded is valid and can be printed.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use merganser::arrow::array::Array;
use merganser::arrow::record_batch::RecordBatch;
use merganser::decode::DecoderBuilder;
use merganser::text::TextFormatter;
use merganser::types::{Column, Unrepresentable};
use merganser::{ErrorKind, Result};
use merganser_fuzz::{MAX_COLUMNS, TYPES};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((&[chunk, batch_rows, policy, count], rest)) = input.split_first_chunk::<4>() else {
        return Corpus::Reject;
    };
    let Some((types, data)) = rest.split_at_checked(usize::from(count)) else {
        return Corpus::Reject;
    };
    if types.len() > MAX_COLUMNS {
        return Corpus::Reject;
    }
    let made = merganser::fuzzing::made_types();
    let columns: Vec<_> = types
        .iter()
        .map(|index| usize::from(*index) % (TYPES.len() + made.len()))
        .map(|index| match TYPES.get(index) {
            Some(name) => Column::new(*name, name.parse().expect("a known type")),
            None => Column::new("made", made[index - TYPES.len()].clone()),
        })
        .collect();
    let policy = match policy % 2 {
        0 => Unrepresentable::Error,
        _ => Unrepresentable::Null,
    };
    let builder = || DecoderBuilder::new(columns.clone()).with_unrepresentable(policy);
    let whole = decode(builder(), data, usize::MAX);
    let pieces = builder().with_batch_rows(usize::from(batch_rows));
    let pieces = decode(pieces, data, usize::from(chunk).max(1));
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            for batch in whole.iter().chain(&pieces) {
                for column in batch.columns() {
                    column.to_data().validate_full().expect("a valid array");
                }
            }
            assert_eq!(texts(&whole), texts(&pieces));
        }
        // A text that is not valid UTF-8 is told when its batch ends, other errors at once: with
        // several faults in the data, which is told first depends on the batches.
        (Err(whole), Err(pieces)) => {
            assert_eq!(whole.kind(), ErrorKind::Decode);
            assert_eq!(pieces.kind(), ErrorKind::Decode);
        }
        (whole, pieces) => panic!("whole: {whole:?}, in pieces: {pieces:?}"),
    }
    Corpus::Keep
});

fn decode(builder: DecoderBuilder, data: &[u8], chunk: usize) -> Result<Vec<RecordBatch>> {
    let mut decoder = builder.build();
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
    Ok(batches)
}

/// Every row as text; the number of rows, where there are no columns.
fn texts(batches: &[RecordBatch]) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        let formatters: Vec<_> = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| TextFormatter::try_new(field, column).expect("a text form"))
            .collect();
        for row in 0..batch.num_rows() {
            let text = |formatter: &TextFormatter<'_>| {
                let mut text = String::new();
                (!formatter.is_null(row)).then(|| {
                    formatter.write(row, &mut text);
                    text
                })
            };
            rows.push(formatters.iter().map(text).collect());
        }
    }
    rows
}
