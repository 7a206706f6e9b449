//! `hstore` to `Map(Utf8, Utf8)`.
//!
//! ```text
//! count:i32  { length:i32  key  length:i32  value }*      length -1 of a value: NULL
//! ```
//! Source: `hstore_send` in `contrib/hstore/hstore_io.c`.

use std::sync::Arc;

use arrow::array::{ArrayRef, MapArray, StructArray};
use arrow::datatypes::FieldRef;

use super::array::{ArrayDecoder, Nulls};
use super::fault::{Fault, ValueFault, parent_row};
use super::frame::FieldRange;
use super::offsets::Offsets;
use super::reader::Reader;
use super::string;
use crate::types::{Unrepresentable, hstore_entries, hstore_fields};

pub(crate) struct HstoreDecoder {
    entries: FieldRef,
    keys: Box<dyn ArrayDecoder>,
    values: Box<dyn ArrayDecoder>,
    offsets: Offsets,
    nulls: Nulls,
    /// Reused between calls.
    key_ranges: Vec<FieldRange>,
    value_ranges: Vec<FieldRange>,
    ends: Vec<usize>,
}

impl HstoreDecoder {
    pub(crate) fn new(policy: Unrepresentable) -> Self {
        Self {
            entries: Arc::new(hstore_entries()),
            keys: string::text(false, policy, None),
            values: string::text(false, policy, None),
            offsets: Offsets::new(),
            nulls: Nulls::new(policy),
            key_ranges: Vec::new(),
            value_ranges: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn read(&mut self, mut reader: Reader<'_>) -> Result<(), Fault> {
        // Two lengths.
        let count = reader.count(8)?;
        for _ in 0..count {
            let key = reader.field()?;
            if key == (FieldRange { len: -1, ..key }) {
                return Err(Fault::bad("a key of an hstore is NULL"));
            }
            self.key_ranges.push(key);
            self.value_ranges.push(reader.field()?);
        }
        reader.end()
    }
}

impl ArrayDecoder for HstoreDecoder {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        self.key_ranges.clear();
        self.value_ranges.clear();
        self.ends.clear();
        for (row, field) in fields.iter().enumerate() {
            let reader = Reader::new(data, field);
            self.nulls.append(reader.is_some());
            let before = self.key_ranges.len();
            if let Some(reader) = reader {
                self.read(reader).map_err(|fault| explain(&fault).at(row))?;
            }
            self.offsets
                .push(self.key_ranges.len() - before)
                .map_err(|fault| fault.at(row))?;
            self.ends.push(self.key_ranges.len());
        }
        self.keys
            .append(data, &self.key_ranges)
            .and_then(|()| self.values.append(data, &self.value_ranges))
            .map_err(|fault| parent_row(fault, &self.ends))
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        let arrays = vec![self.keys.finish()?, self.values.finish()?];
        let bad = |error: arrow::error::ArrowError| Fault::bad(error.to_string()).at(0);
        let entries = StructArray::try_new(hstore_fields(), arrays, None).map_err(bad)?;
        MapArray::try_new(
            self.entries.clone(),
            self.offsets.finish(),
            entries,
            self.nulls.finish(),
            false,
        )
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(bad)
    }
}

/// `hstore_send` gives each length before it converts the text to UTF-8, so that the lengths of text
/// that changes are wrong. Surplus bytes are never zero, and so make the next length absurd: what
/// is read wrongly does not go unnoticed.
#[cold]
fn explain(fault: &Fault) -> Fault {
    Fault::bad(format!(
        "{}; from a database that is not in UTF8, PostgreSQL sends an hstore with wrong lengths: cast the column to text or json in the query",
        fault.message()
    ))
}
