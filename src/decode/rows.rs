//! Rows that are not decoded: the bytes of each, as another server takes them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, RecordBatch};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::frame::FieldRange;

/// What stands before the rows of `COPY ... (FORMAT binary)`: signature, no flags, no extension.
pub(crate) const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind them.
pub(crate) const COPY_TRAILER: &[u8] = b"\xff\xff";

/// The number of fields, and the length of the first one.
const BEFORE_FIRST_FIELD: usize = 2 + 4;

/// The schema of batches of undecoded rows: one column, `row`.
pub(crate) fn undecoded_schema() -> SchemaRef {
    let field = Field::new("row", DataType::Binary, false);
    Arc::new(Schema::new(vec![field]))
}

/// The bytes of the undecoded rows of a batch, one behind the other; `None` for another batch.
pub(crate) fn undecoded_bytes(batch: &RecordBatch) -> Option<&[u8]> {
    let rows = batch.columns().first()?.as_any();
    let rows = rows.downcast_ref::<BinaryArray>()?;
    let offset = |index: usize| usize::try_from(*rows.value_offsets().get(index)?).ok();
    rows.value_data().get(offset(0)?..offset(rows.len())?)
}

/// Collects rows.
#[derive(Debug)]
pub(super) struct RowBytes {
    bytes: Vec<u8>,
    /// Where each row begins, and behind them where the last one ends.
    offsets: Vec<i32>,
}

impl Default for RowBytes {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![0],
        }
    }
}

impl RowBytes {
    /// Appends the rows in `data` that have these fields, given as one list for each column: whole
    /// rows, one behind the other.
    pub(super) fn append(&mut self, data: &[u8], fields: &[Vec<FieldRange>]) {
        let (Some(first), Some(last)) = (fields.first(), fields.last()) else {
            return;
        };
        for (first, last) in first.iter().zip(last) {
            let start = (first.offset as usize).saturating_sub(BEFORE_FIRST_FIELD);
            let end = last.offset as usize + usize::try_from(last.len).unwrap_or(0);
            // The scanner only makes ranges inside its data.
            let row = data.get(start..end).unwrap_or_default();
            self.bytes.extend_from_slice(row);
            // A batch is far shorter than 2 GiB.
            self.offsets.push(self.bytes.len() as i32);
        }
    }

    /// The array of all rows since the last call.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let rows = std::mem::take(self);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(rows.offsets));
        Arc::new(BinaryArray::new(offsets, rows.bytes.into(), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::DecoderBuilder;
    use crate::types::Column;

    /// A row of these fields.
    fn row(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let count = i16::try_from(fields.len()).unwrap();
        let mut bytes = count.to_be_bytes().to_vec();
        for field in fields {
            let length = field.map_or(-1, |field| i32::try_from(field.len()).unwrap());
            bytes.extend(length.to_be_bytes());
            bytes.extend(field.unwrap_or_default());
        }
        bytes
    }

    #[test]
    fn rows_are_passed_on_as_they_came_in_pieces_of_any_size() {
        let rows = [
            row(&[Some(b"abc"), None]),
            row(&[None, None]),
            row(&[Some(b""), Some(&[7; 300])]),
        ];
        let data = [COPY_HEADER, &rows.concat(), COPY_TRAILER].concat();
        let columns = ["a", "b"].map(|name| Column::new(name, "text".parse().unwrap()));
        for size in [1, 2, 7, 1000] {
            let mut decoder = DecoderBuilder::new(columns.to_vec())
                .with_batch_rows(2)
                .build_undecoded();
            let mut found = Vec::new();
            let mut counts = Vec::new();
            let mut take = |batch: Option<RecordBatch>| {
                let Some(batch) = batch else { return };
                assert_eq!(batch.schema(), undecoded_schema());
                found.extend_from_slice(undecoded_bytes(&batch).unwrap());
                counts.push(batch.num_rows());
                // A part of a batch is a part of its rows.
                if batch.num_rows() == 2 {
                    let second = batch.slice(1, 1);
                    assert_eq!(undecoded_bytes(&second), Some(&*rows[1]));
                }
            };
            for piece in data.chunks(size) {
                let mut taken = 0;
                while taken < piece.len() {
                    taken += decoder.decode(&piece[taken..]).unwrap();
                    if taken < piece.len() {
                        take(decoder.flush().unwrap());
                    }
                }
            }
            assert_eq!(decoder.rows(), 3);
            take(decoder.finish().unwrap());
            assert_eq!(found, rows.concat(), "pieces of {size}");
            assert_eq!(counts.iter().sum::<usize>(), 3);
        }
    }

    #[test]
    fn damaged_rows_are_not_passed_on() {
        let columns = vec![Column::new("a", "text".parse().unwrap())];
        let data = [COPY_HEADER, &row(&[None, None])].concat();
        let mut decoder = DecoderBuilder::new(columns.clone()).build_undecoded();
        assert!(decoder.decode(&data).is_err());
        let cut = [COPY_HEADER, &row(&[Some(b"abc")])].concat();
        let mut decoder = DecoderBuilder::new(columns).build_undecoded();
        decoder.decode(&cut).unwrap();
        // There is no trailer.
        assert!(decoder.finish().is_err());
    }
}
