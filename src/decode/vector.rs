//! pgvector's `vector` to `FixedSizeList(Float32)`, or to `List` without a declared dimension.
//!
//! ```text
//! dimensions:u16  unused:u16  f32*
//! ```
//! Source: `vector_send` in pgvector's `src/vector.c`.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, ListArray};
use arrow::datatypes::{DataType, Field, FieldRef};

use super::array::{ArrayDecoder, Nulls};
use super::fault::{Fault, ValueFault};
use super::frame::FieldRange;
use super::offsets::Offsets;
use super::reader::Reader;
use crate::types::{LIST_ITEM, Unrepresentable};

pub(crate) struct VectorDecoder {
    /// As the column declares; `None`: each vector has its own.
    dimensions: Option<i32>,
    item: FieldRef,
    values: Vec<f32>,
    offsets: Offsets,
    nulls: Nulls,
}

impl VectorDecoder {
    pub(crate) fn new(dimensions: Option<i32>, policy: Unrepresentable) -> Self {
        Self {
            dimensions,
            item: Arc::new(Field::new(LIST_ITEM, DataType::Float32, true)),
            values: Vec::new(),
            offsets: Offsets::new(),
            nulls: Nulls::new(policy),
        }
    }

    /// Appends the values; returns how many.
    fn read(&mut self, mut reader: Reader<'_>) -> Result<usize, Fault> {
        let dimensions = reader.u16()?;
        let _unused = reader.u16()?;
        if let Some(declared) = self.dimensions
            && declared != i32::from(dimensions)
        {
            return Err(Fault::bad(format!(
                "expected {declared} dimensions, found {dimensions}"
            )));
        }
        let count = usize::from(dimensions);
        if reader.remaining() != 4 * count {
            return Err(Fault::length(4 * count, reader.remaining()));
        }
        for _ in 0..count {
            self.values
                .push(f32::from_bits(reader.i32()?.cast_unsigned()));
        }
        Ok(count)
    }
}

impl ArrayDecoder for VectorDecoder {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        for (row, field) in fields.iter().enumerate() {
            let reader = Reader::new(data, field);
            self.nulls.append(reader.is_some());
            let len = match (reader, self.dimensions) {
                (Some(reader), _) => self.read(reader).map_err(|fault| fault.at(row))?,
                // A NULL of fixed size has room for its values all the same.
                (None, Some(dimensions)) => {
                    let len = usize::try_from(dimensions).unwrap_or_default();
                    self.values.resize(self.values.len() + len, 0.0);
                    len
                }
                (None, None) => 0,
            };
            self.offsets.push(len).map_err(|fault| fault.at(row))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        let values = Arc::new(Float32Array::from(std::mem::take(&mut self.values)));
        let (offsets, nulls) = (self.offsets.finish(), self.nulls.finish());
        let item = self.item.clone();
        match self.dimensions {
            Some(dimensions) => FixedSizeListArray::try_new(item, dimensions, values, nulls)
                .map(|array| Arc::new(array) as ArrayRef),
            None => ListArray::try_new(item, offsets, values, nulls)
                .map(|array| Arc::new(array) as ArrayRef),
        }
        .map_err(|error| Fault::bad(error.to_string()).at(0))
    }
}
