//! Enums to `Dictionary(Int32, Utf8)`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, StringArray};

use super::array::{ArrayDecoder, Nulls};
use super::fault::{Fault, ValueFault};
use super::frame::FieldRange;
use crate::types::Unrepresentable;

/// The dictionary is the type's labels in their order, the same for every batch, so batches can be
/// put together without rewriting keys.
pub(crate) struct EnumDecoder {
    keys: Vec<i32>,
    nulls: Nulls,
    labels: ArrayRef,
    key_of: HashMap<Vec<u8>, i32>,
}

impl EnumDecoder {
    pub(crate) fn new(labels: &[String], policy: Unrepresentable) -> Self {
        Self {
            keys: Vec::new(),
            nulls: Nulls::new(policy),
            labels: Arc::new(StringArray::from_iter_values(labels)),
            key_of: labels
                .iter()
                .map(|label| label.clone().into_bytes())
                .zip(0..)
                .collect(),
        }
    }
}

impl ArrayDecoder for EnumDecoder {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        for (row, field) in fields.iter().enumerate() {
            let key = self.nulls.value(data, field, row, |label| {
                self.key_of.get(label).copied().ok_or_else(|| {
                    Fault::bad(format!(
                        "the label {:?} was not in the enum when the query began",
                        String::from_utf8_lossy(label)
                    ))
                })
            })?;
            self.keys.push(key.unwrap_or_default());
            self.nulls.append(key.is_some());
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        let keys = std::mem::take(&mut self.keys);
        let keys = Int32Array::new(keys.into(), self.nulls.finish());
        DictionaryArray::try_new(keys, self.labels.clone())
            .map(|array| Arc::new(array) as ArrayRef)
            .map_err(|error| Fault::bad(error.to_string()).at(0))
    }
}
