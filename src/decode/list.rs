//! Arrays to `List`, one level for each dimension.
//!
//! ```text
//! ndim:i32  has_nulls:i32  element_oid:u32  { size:i32  lower_bound:i32 }[ndim]
//! { length:i32  bytes }*      the elements in row-major order
//! ```
//! Source: `array_send` in `src/backend/utils/adt/arrayfuncs.c`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::datatypes::{Field, FieldRef};

use super::array::{ArrayDecoder, Nulls};
use super::fault::{Fault, ValueFault, parent_row};
use super::frame::FieldRange;
use super::offsets::Offsets;
use super::reader::Reader;
use crate::types::{LIST_ITEM, PgType, Unrepresentable, element_field};

pub(crate) struct ListDecoder {
    /// One for each dimension, outermost first.
    levels: Vec<Offsets>,
    /// Of the outermost level: an array is NULL as a whole, its inner ones never are.
    nulls: Nulls,
    element: Box<dyn ArrayDecoder>,
    element_field: FieldRef,
    lower_bound: i32,
    /// Reused between calls: the elements found, and how many there were up to each row.
    elements: Vec<FieldRange>,
    ends: Vec<usize>,
}

/// MAXDIM of `src/include/utils/array.h`.
const MAX_DIMENSIONS: usize = 6;

impl ListDecoder {
    pub(crate) fn new(
        element: &PgType,
        decoder: Box<dyn ArrayDecoder>,
        dimensions: usize,
        lower_bound: i32,
        policy: Unrepresentable,
    ) -> Self {
        Self {
            levels: (0..dimensions).map(|_| Offsets::new()).collect(),
            nulls: Nulls::new(policy),
            element: decoder,
            element_field: Arc::new(element_field(element)),
            lower_bound,
            elements: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Reads one array: its sizes and, into `elements`, where its elements are.
    fn read(&mut self, mut reader: Reader<'_>) -> Result<(), Fault> {
        let dimensions = reader.i32()?;
        let flags = reader.i32()?;
        let _element_oid = reader.i32()?;
        if !matches!(flags, 0 | 1) {
            return Err(Fault::bad(format!("invalid flags {flags} of an array")));
        }
        let dimensions = usize::try_from(dimensions)
            .ok()
            .filter(|dimensions| *dimensions <= MAX_DIMENSIONS)
            .ok_or_else(|| Fault::bad(format!("invalid number of dimensions {dimensions}")))?;
        if dimensions == 0 {
            reader.end()?;
            return self.push_lists(&[0]);
        }
        let mut sizes = [0; MAX_DIMENSIONS];
        let mut bounds_fit = true;
        for size in &mut sizes[..dimensions] {
            let declared = reader.i32()?;
            *size = usize::try_from(declared)
                .map_err(|_| Fault::bad(format!("invalid size {declared} of an array")))?;
            bounds_fit &= reader.i32()? == self.lower_bound;
        }
        let sizes = &sizes[..dimensions];
        let count = sizes
            .iter()
            .try_fold(1_usize, |count, size| count.checked_mul(*size))
            .filter(|count| count.saturating_mul(4) <= reader.remaining())
            .ok_or_else(|| Fault::bad(format!("invalid sizes {sizes:?} of an array")))?;
        if dimensions != self.levels.len() {
            return Err(Fault::Unrepresentable {
                what: format!(
                    "an array of {dimensions} dimensions in a column of {}",
                    self.levels.len()
                ),
                hint: Some(
                    "declare the dimensions in the table (int[][]), or read the column as text (column::text)",
                ),
            });
        }
        if !bounds_fit {
            return Err(Fault::unrepresentable(format!(
                "an array with a lower bound other than {}",
                self.lower_bound
            )));
        }
        let start = self.elements.len();
        self.elements.reserve(count);
        for _ in 0..count {
            match reader.field() {
                Ok(field) => self.elements.push(field),
                Err(fault) => {
                    self.elements.truncate(start);
                    return Err(fault);
                }
            }
        }
        reader.end()?;
        self.push_lists(sizes)
    }

    /// One list of the first size at the first level, that many lists of the second size at the
    /// second, and so on. An empty array has no lists at inner levels.
    fn push_lists(&mut self, sizes: &[usize]) -> Result<(), Fault> {
        let mut lists = 1;
        for (level, size) in self.levels.iter_mut().zip(sizes) {
            for _ in 0..lists {
                level.push(*size)?;
            }
            lists *= *size;
        }
        Ok(())
    }
}

impl ArrayDecoder for ListDecoder {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        self.elements.clear();
        self.ends.clear();
        for (row, field) in fields.iter().enumerate() {
            let valid = match Reader::new(data, field).map(|reader| self.read(reader)) {
                None => false,
                Some(Ok(())) => true,
                Some(Err(fault)) => self.nulls.settle(fault, row)?.unwrap_or(false),
            };
            if !valid {
                self.push_lists(&[0]).map_err(|fault| fault.at(row))?;
            }
            self.nulls.append(valid);
            self.ends.push(self.elements.len());
        }
        self.element
            .append(data, &self.elements)
            .map_err(|fault| parent_row(fault, &self.ends))
    }

    fn written(&self) -> usize {
        self.element.written()
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        let mut array = self.element.finish()?;
        let mut item = self.element_field.clone();
        for (depth, level) in self.levels.iter_mut().enumerate().rev() {
            let nulls = match depth {
                0 => self.nulls.finish(),
                _ => None,
            };
            let list = ListArray::try_new(item, level.finish(), array, nulls)
                .map_err(|error| Fault::bad(error.to_string()).at(0))?;
            item = Arc::new(Field::new(LIST_ITEM, list.data_type().clone(), true));
            array = Arc::new(list);
        }
        Ok(array)
    }
}
