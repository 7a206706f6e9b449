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
            let start = first.offset as usize - BEFORE_FIRST_FIELD;
            let end = last.offset as usize + usize::try_from(last.len).unwrap_or(0);
            self.bytes.extend_from_slice(&data[start..end]);
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
