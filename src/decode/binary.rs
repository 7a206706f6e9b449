//! `bytea` and `geometry` to `Binary` or `BinaryView`, `uuid` to `FixedSizeBinary(16)`.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray};
use arrow::buffer::Buffer;

use super::array::{ArrayDecoder, Nulls, take_batch};
use super::bytes::{ByteValues, OffsetBytes, ViewBytes};
use super::fault::ValueFault;
use super::frame::FieldRange;
use super::primitive::fixed;
use crate::types::Unrepresentable;

struct BinaryDecoder<B> {
    bytes: B,
    nulls: Nulls,
}

/// A decoder of values that are their bytes; `views` says how Arrow has them.
pub(crate) fn bytes(views: bool, policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    let nulls = Nulls::new(policy);
    match views {
        true => Box::new(BinaryDecoder {
            bytes: ViewBytes::default(),
            nulls,
        }),
        false => Box::new(BinaryDecoder {
            bytes: OffsetBytes::default(),
            nulls,
        }),
    }
}

impl<B: ByteValues> ArrayDecoder for BinaryDecoder<B> {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        self.bytes.reserve(fields.len());
        for field in fields {
            let value = field.bytes(data);
            self.bytes.push(value.unwrap_or_default());
            self.nulls.append(value.is_some());
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        self.bytes.finish_binary(self.nulls.finish())
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
