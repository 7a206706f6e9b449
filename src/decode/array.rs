//! What all column decoders have in common.

use arrow::array::{ArrayRef, NullBufferBuilder};
use arrow::buffer::NullBuffer;

use super::fault::{Fault, ValueFault};
use super::frame::FieldRange;
use crate::types::Unrepresentable;

/// Appends the fields of one column, and in the end gives the array.
///
/// A decoder is chosen once for each column; its `append` is one loop over one type.
pub(crate) trait ArrayDecoder: Send {
    /// Appends `fields`, whose bytes are in `data`.
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault>;

    /// The array of all that was appended since the last call.
    fn finish(&mut self) -> Result<ArrayRef, ValueFault>;

    /// The bytes of text that were written for values whose form on the wire may be much shorter,
    /// since the last array; nothing for all others, which are about as long as on the wire.
    fn written(&self) -> usize {
        0
    }
}

/// The validity of a column, and what to do with values that Arrow cannot hold.
pub(crate) struct Nulls {
    builder: NullBufferBuilder,
    /// How many values there are, as long as none is NULL; the builder knows of none of them yet.
    /// Most columns have no NULL, and counting is less than a call for each value.
    only_valid: Option<usize>,
    policy: Unrepresentable,
}

impl Nulls {
    pub(crate) fn new(policy: Unrepresentable) -> Self {
        Self {
            builder: NullBufferBuilder::new(0),
            only_valid: Some(0),
            policy,
        }
    }

    #[inline]
    pub(crate) fn append(&mut self, valid: bool) {
        match &mut self.only_valid {
            None => self.builder.append(valid),
            Some(count) if valid => *count += 1,
            Some(_) => self.append_first_null(),
        }
    }

    #[cold]
    fn append_first_null(&mut self) {
        if let Some(count) = self.only_valid.take() {
            self.builder.append_n_non_nulls(count);
        }
        self.builder.append_null();
    }

    pub(crate) fn finish(&mut self) -> Option<NullBuffer> {
        match self.only_valid.replace(0) {
            Some(_) => None,
            None => self.builder.finish(),
        }
    }

    /// The value of `field`, or `None` for NULL, and for what Arrow cannot hold where the option
    /// makes that NULL. Does not append.
    #[inline]
    pub(crate) fn value<T>(
        &self,
        data: &[u8],
        field: &FieldRange,
        row: usize,
        read: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<Option<T>, ValueFault> {
        let Some(bytes) = field.bytes(data) else {
            return Ok(None);
        };
        match read(bytes) {
            Ok(value) => Ok(Some(value)),
            Err(fault) => self.settle(fault, row),
        }
    }

    /// NULL for an unrepresentable value, if that is the option; else its fault.
    #[cold]
    pub(crate) fn settle<T>(&self, fault: Fault, row: usize) -> Result<Option<T>, ValueFault> {
        match (&fault, self.policy) {
            (Fault::Unrepresentable { .. }, Unrepresentable::Null) => Ok(None),
            _ => Err(fault.at(row)),
        }
    }
}

/// Takes what was gathered for a batch and leaves room for as much again: batches are much alike,
/// and growing step by step copies.
pub(crate) fn take_batch<T>(values: &mut Vec<T>) -> Vec<T> {
    // Lengths of text vary a little; numbers do not.
    let slack = if size_of::<T>() == 1 {
        values.len() / 16
    } else {
        0
    };
    let room = (values.len() + slack).min(MOST_ROOM_BYTES / size_of::<T>());
    std::mem::replace(values, Vec::with_capacity(room))
}

/// What one long value took is not taken again for the next batch.
const MOST_ROOM_BYTES: usize = 1 << 20;
