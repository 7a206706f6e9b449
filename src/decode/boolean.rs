//! `bool` to `Boolean`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder};

use super::array::{ArrayDecoder, Nulls};
use super::fault::{Fault, ValueFault};
use super::frame::FieldRange;
use crate::types::Unrepresentable;

pub(crate) struct BooleanDecoder {
    values: BooleanBufferBuilder,
    nulls: Nulls,
}

impl BooleanDecoder {
    pub(crate) fn new(policy: Unrepresentable) -> Self {
        Self {
            values: BooleanBufferBuilder::new(0),
            nulls: Nulls::new(policy),
        }
    }
}

impl ArrayDecoder for BooleanDecoder {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        for (row, field) in fields.iter().enumerate() {
            let value = self.nulls.value(data, field, row, |bytes| match bytes {
                [0] => Ok(false),
                [1] => Ok(true),
                [other] => Err(Fault::bad(format!("expected 0 or 1, found {other}"))),
                _ => Err(Fault::length(1, bytes.len())),
            })?;
            self.values.append(value.unwrap_or_default());
            self.nulls.append(value.is_some());
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        let values = self.values.finish();
        Ok(Arc::new(BooleanArray::new(values, self.nulls.finish())))
    }
}
