//! Ranges to `Struct`, multiranges to `List` of it.
//!
//! ```text
//! range       flags:u8  [ length:i32  lower ]  [ length:i32  upper ]
//! multirange  count:i32  { length:i32  range }*
//! ```
//! Source: `range_send` in `src/backend/utils/adt/rangetypes.c`, `multirange_send` in
//! `multirangetypes.c`, flags in `src/include/utils/rangetypes.h`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, ListArray, StructArray};
use arrow::datatypes::{FieldRef, Fields};

use super::array::{ArrayDecoder, Nulls};
use super::composite::{Child, in_field};
use super::fault::{Fault, ValueFault, parent_row};
use super::frame::FieldRange;
use super::offsets::Offsets;
use super::reader::Reader;
use crate::types::{LIST_ITEM, PgType, Unrepresentable, range_fields, range_of};

const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

pub(crate) struct RangeDecoder {
    fields: Fields,
    lower: Child,
    upper: Child,
    lower_inclusive: BooleanBufferBuilder,
    upper_inclusive: BooleanBufferBuilder,
    empty: BooleanBufferBuilder,
    nulls: Nulls,
}

impl RangeDecoder {
    /// `bounds` are the decoders of the lower and the upper bound.
    pub(crate) fn new(
        element: &PgType,
        bounds: [Box<dyn ArrayDecoder>; 2],
        policy: Unrepresentable,
    ) -> Self {
        let [lower, upper] = bounds.map(Child::new);
        Self {
            fields: range_fields(element),
            lower,
            upper,
            lower_inclusive: BooleanBufferBuilder::new(0),
            upper_inclusive: BooleanBufferBuilder::new(0),
            empty: BooleanBufferBuilder::new(0),
            nulls: Nulls::new(policy),
        }
    }

    fn read(&mut self, mut reader: Reader<'_>) -> Result<u8, Fault> {
        let flags = reader.u8()?;
        let bound = |reader: &mut Reader<'_>, infinite: u8| match flags & (EMPTY | infinite) {
            0 => reader.field(),
            _ => Ok(FieldRange::NULL),
        };
        self.lower.ranges.push(bound(&mut reader, LOWER_INFINITE)?);
        self.upper.ranges.push(bound(&mut reader, UPPER_INFINITE)?);
        reader.end()?;
        Ok(flags)
    }
}

impl ArrayDecoder for RangeDecoder {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        self.lower.ranges.clear();
        self.upper.ranges.clear();
        for (row, field) in fields.iter().enumerate() {
            let reader = Reader::new(data, field);
            self.nulls.append(reader.is_some());
            let flags = match reader {
                Some(reader) => self.read(reader).map_err(|fault| fault.at(row))?,
                None => {
                    self.lower.ranges.push(FieldRange::NULL);
                    self.upper.ranges.push(FieldRange::NULL);
                    0
                }
            };
            self.lower_inclusive.append(flags & LOWER_INCLUSIVE != 0);
            self.upper_inclusive.append(flags & UPPER_INCLUSIVE != 0);
            self.empty.append(flags & EMPTY != 0);
        }
        for (child, name) in [(&mut self.lower, "lower"), (&mut self.upper, "upper")] {
            child
                .decoder
                .append(data, &child.ranges)
                .map_err(|fault| in_field(fault, name))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        let flags = |builder: &mut BooleanBufferBuilder| -> ArrayRef {
            Arc::new(BooleanArray::new(builder.finish(), None))
        };
        let arrays = vec![
            self.lower.decoder.finish()?,
            self.upper.decoder.finish()?,
            flags(&mut self.lower_inclusive),
            flags(&mut self.upper_inclusive),
            flags(&mut self.empty),
        ];
        StructArray::try_new(self.fields.clone(), arrays, self.nulls.finish())
            .map(|array| Arc::new(array) as ArrayRef)
            .map_err(|error| Fault::bad(error.to_string()).at(0))
    }
}

pub(crate) struct MultirangeDecoder {
    range: RangeDecoder,
    range_field: FieldRef,
    offsets: Offsets,
    nulls: Nulls,
    /// Reused between calls.
    ranges: Vec<FieldRange>,
    ends: Vec<usize>,
}

impl MultirangeDecoder {
    pub(crate) fn new(element: &PgType, range: RangeDecoder, policy: Unrepresentable) -> Self {
        Self {
            range,
            range_field: Arc::new(range_of(element).to_field(LIST_ITEM)),
            offsets: Offsets::new(),
            nulls: Nulls::new(policy),
            ranges: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn read(&mut self, mut reader: Reader<'_>) -> Result<(), Fault> {
        // A length, and at least the flags.
        let count = reader.count(5)?;
        for _ in 0..count {
            self.ranges.push(reader.field()?);
        }
        reader.end()
    }
}

impl ArrayDecoder for MultirangeDecoder {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        self.ranges.clear();
        self.ends.clear();
        for (row, field) in fields.iter().enumerate() {
            let reader = Reader::new(data, field);
            self.nulls.append(reader.is_some());
            let before = self.ranges.len();
            if let Some(reader) = reader {
                self.read(reader).map_err(|fault| fault.at(row))?;
            }
            self.offsets
                .push(self.ranges.len() - before)
                .map_err(|fault| fault.at(row))?;
            self.ends.push(self.ranges.len());
        }
        self.range
            .append(data, &self.ranges)
            .map_err(|fault| parent_row(fault, &self.ends))
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        let ranges = self.range.finish()?;
        ListArray::try_new(
            self.range_field.clone(),
            self.offsets.finish(),
            ranges,
            self.nulls.finish(),
        )
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| Fault::bad(error.to_string()).at(0))
    }
}
