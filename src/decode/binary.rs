//! `bytea` and `geometry` to `Binary`, `uuid` to `FixedSizeBinary(16)`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, FixedSizeBinaryArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use super::array::{ArrayDecoder, Nulls, take_batch};
use super::fault::ValueFault;
use super::frame::FieldRange;
use super::primitive::fixed;
use crate::types::Unrepresentable;

/// Bytes and where each value ends: what text and binary columns are made of.
///
/// Offsets are 32 bits: the decoder ends a batch long before 2 GiB of any column, see
/// [`DecoderBuilder::with_batch_bytes`](super::DecoderBuilder::with_batch_bytes).
pub(crate) struct VariableBytes {
    pub(crate) values: Vec<u8>,
    offsets: Vec<i32>,
}

impl VariableBytes {
    pub(crate) fn new() -> Self {
        Self {
            values: Vec::new(),
            offsets: vec![0],
        }
    }

    pub(crate) fn reserve(&mut self, values: usize) {
        self.offsets.reserve(values);
    }

    /// Ends a value at the end of the bytes.
    #[inline]
    pub(crate) fn end_value(&mut self) {
        self.offsets.push(self.values.len() as i32);
    }

    /// How many bytes there are; beyond `i32::MAX` offsets would wrap.
    pub(crate) fn overflows(&self) -> bool {
        i32::try_from(self.values.len()).is_err()
    }

    pub(crate) fn finish(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let offsets = take_batch(&mut self.offsets);
        self.offsets.push(0);
        let values = take_batch(&mut self.values);
        (
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from_vec(values),
        )
    }
}

pub(crate) struct BinaryDecoder {
    bytes: VariableBytes,
    nulls: Nulls,
}

impl BinaryDecoder {
    pub(crate) fn new(policy: Unrepresentable) -> Self {
        Self {
            bytes: VariableBytes::new(),
            nulls: Nulls::new(policy),
        }
    }
}

impl ArrayDecoder for BinaryDecoder {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        self.bytes.reserve(fields.len());
        for field in fields {
            let value = field.bytes(data);
            self.bytes
                .values
                .extend_from_slice(value.unwrap_or_default());
            self.bytes.end_value();
            self.nulls.append(value.is_some());
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        let (offsets, values) = self.bytes.finish();
        Ok(Arc::new(BinaryArray::new(
            offsets,
            values,
            self.nulls.finish(),
        )))
    }
}

pub(crate) struct UuidDecoder {
    values: Vec<u8>,
    nulls: Nulls,
}

const UUID_LEN: usize = 16;

impl UuidDecoder {
    pub(crate) fn new(policy: Unrepresentable) -> Self {
        Self {
            values: Vec::new(),
            nulls: Nulls::new(policy),
        }
    }
}

impl ArrayDecoder for UuidDecoder {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        for (row, field) in fields.iter().enumerate() {
            let value = self.nulls.value(data, field, row, fixed::<UUID_LEN>)?;
            self.values.extend(value.unwrap_or_default());
            self.nulls.append(value.is_some());
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        let values = Buffer::from_vec(take_batch(&mut self.values));
        Ok(Arc::new(FixedSizeBinaryArray::new(
            UUID_LEN as i32,
            values,
            self.nulls.finish(),
        )))
    }
}
