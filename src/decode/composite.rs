//! Composites to `Struct`.
//!
//! ```text
//! fields:i32  { oid:u32  length:i32  bytes }*
//! ```
//! Source: `record_send` in `src/backend/utils/adt/rowtypes.c`.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::Fields;

use super::array::{ArrayDecoder, Nulls};
use super::fault::{Fault, ValueFault};
use super::frame::FieldRange;
use super::reader::Reader;
use crate::types::{Column, Unrepresentable};

pub(crate) struct StructDecoder {
    fields: Fields,
    children: Vec<Child>,
    nulls: Nulls,
    rows: usize,
}

pub(crate) struct Child {
    pub(crate) decoder: Box<dyn ArrayDecoder>,
    /// Reused between calls.
    pub(crate) ranges: Vec<FieldRange>,
}

impl Child {
    pub(crate) fn new(decoder: Box<dyn ArrayDecoder>) -> Self {
        Self {
            decoder,
            ranges: Vec::new(),
        }
    }
}

impl StructDecoder {
    /// `children` are the decoders of the fields, in order.
    pub(crate) fn new(
        fields: &[Column],
        children: Vec<Box<dyn ArrayDecoder>>,
        policy: Unrepresentable,
    ) -> Self {
        Self {
            fields: fields.iter().map(Column::to_field).collect(),
            children: children.into_iter().map(Child::new).collect(),
            nulls: Nulls::new(policy),
            rows: 0,
        }
    }

    fn read(&mut self, mut reader: Reader<'_>) -> Result<(), Fault> {
        let count = reader.i32()?;
        if usize::try_from(count) != Ok(self.children.len()) {
            return Err(Fault::bad(format!(
                "expected a composite of {} fields, found {count}",
                self.children.len()
            )));
        }
        for child in &mut self.children {
            let _type_oid = reader.i32()?;
            child.ranges.push(reader.field()?);
        }
        reader.end()
    }
}

impl ArrayDecoder for StructDecoder {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        for child in &mut self.children {
            child.ranges.clear();
        }
        for (row, field) in fields.iter().enumerate() {
            let reader = Reader::new(data, field);
            self.nulls.append(reader.is_some());
            match reader {
                Some(reader) => self.read(reader).map_err(|fault| fault.at(row))?,
                None => self
                    .children
                    .iter_mut()
                    .for_each(|child| child.ranges.push(FieldRange::NULL)),
            }
        }
        self.rows += fields.len();
        for (child, field) in self.children.iter_mut().zip(&self.fields) {
            child
                .decoder
                .append(data, &child.ranges)
                .map_err(|fault| in_field(fault, field.name()))?;
        }
        Ok(())
    }

    fn written(&self) -> usize {
        self.children
            .iter()
            .map(|child| child.decoder.written())
            .sum()
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        let arrays = self
            .children
            .iter_mut()
            .map(|child| child.decoder.finish())
            .collect::<Result<Vec<_>, _>>()?;
        let rows = std::mem::take(&mut self.rows);
        StructArray::try_new_with_length(self.fields.clone(), arrays, self.nulls.finish(), rows)
            .map(|array| Arc::new(array) as ArrayRef)
            .map_err(|error| Fault::bad(error.to_string()).at(0))
    }
}

/// Says in which field of the composite a fault is.
pub(crate) fn in_field(mut fault: ValueFault, field: &str) -> ValueFault {
    let (Fault::Bad(message)
    | Fault::Inexact { what: message, .. }
    | Fault::Unrepresentable { what: message, .. }) = &mut fault.fault;
    *message = format!("field {field:?}: {message}");
    fault
}
