//! Text: the bytes as they are, or rendered from a binary form.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};

use super::array::{ArrayDecoder, Nulls};
use super::binary::VariableBytes;
use super::fault::{Fault, ValueFault};
use super::frame::FieldRange;
use super::primitive::fixed;
use crate::types::Unrepresentable;

/// Values whose bytes are their text, behind a version byte where the type has one.
///
/// UTF-8 is checked once for a whole array, when it is finished: much faster than value by value.
pub(crate) struct StringDecoder {
    bytes: VariableBytes,
    nulls: Nulls,
    version: Option<u8>,
}

impl StringDecoder {
    pub(crate) fn new(policy: Unrepresentable, version: Option<u8>) -> Self {
        Self {
            bytes: VariableBytes::new(),
            nulls: Nulls::new(policy),
            version,
        }
    }
}

impl ArrayDecoder for StringDecoder {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        self.bytes.reserve(fields.len());
        match self.version {
            None => {
                for field in fields {
                    let value = field.bytes(data);
                    self.bytes
                        .values
                        .extend_from_slice(value.unwrap_or_default());
                    self.bytes.end_value();
                    self.nulls.append(value.is_some());
                }
            }
            Some(version) => {
                for (row, field) in fields.iter().enumerate() {
                    let value = self
                        .nulls
                        .value(data, field, row, |bytes| strip_version(bytes, version))?;
                    if let Some(range) = value {
                        let bytes = field.bytes(data).unwrap_or_default();
                        self.bytes.values.extend_from_slice(&bytes[range..]);
                    }
                    self.bytes.end_value();
                    self.nulls.append(value.is_some());
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        finish_text(&mut self.bytes, &mut self.nulls)
    }
}

/// Where the text starts behind its version byte.
fn strip_version(bytes: &[u8], version: u8) -> Result<usize, Fault> {
    match bytes.first() {
        Some(found) if *found == version => Ok(1),
        Some(found) => Err(Fault::bad(format!(
            "expected version {version} of the binary form, found {found}"
        ))),
        None => Err(Fault::length(1, 0)),
    }
}

fn finish_text(bytes: &mut VariableBytes, nulls: &mut Nulls) -> Result<ArrayRef, ValueFault> {
    if bytes.overflows() {
        return Err(Fault::bad("the column has more than 2 GiB in one batch").at(0));
    }
    let (offsets, values) = bytes.finish();
    let row_of_bad_value = |_| {
        let row = offsets
            .windows(2)
            .position(|pair| {
                let value = values.get(pair[0] as usize..pair[1] as usize);
                value.is_none_or(|value| std::str::from_utf8(value).is_err())
            })
            .unwrap_or_default();
        Fault::bad("the text is not valid UTF-8 (is the database's encoding SQL_ASCII?)").at(row)
    };
    StringArray::try_new(offsets.clone(), values.clone(), nulls.finish())
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(row_of_bad_value)
}

/// Values whose text is written from their binary form.
struct RenderedDecoder<F> {
    bytes: VariableBytes,
    nulls: Nulls,
    scratch: String,
    write: F,
}

/// A decoder that writes the text of each value with `write`.
pub(crate) fn rendered<F>(policy: Unrepresentable, write: F) -> Box<dyn ArrayDecoder>
where
    F: Fn(&[u8], &mut String) -> Result<(), Fault> + Send + 'static,
{
    Box::new(RenderedDecoder {
        bytes: VariableBytes::new(),
        nulls: Nulls::new(policy),
        scratch: String::new(),
        write,
    })
}

impl<F> ArrayDecoder for RenderedDecoder<F>
where
    F: Fn(&[u8], &mut String) -> Result<(), Fault> + Send,
{
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        self.bytes.reserve(fields.len());
        for (row, field) in fields.iter().enumerate() {
            self.scratch.clear();
            let scratch = &mut self.scratch;
            let value = self
                .nulls
                .value(data, field, row, |bytes| (self.write)(bytes, scratch))?;
            if value.is_some() {
                self.bytes.values.extend_from_slice(self.scratch.as_bytes());
            }
            self.bytes.end_value();
            self.nulls.append(value.is_some());
            if self.bytes.overflows() {
                return Err(Fault::bad("the column has more than 2 GiB in one batch").at(row));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        finish_text(&mut self.bytes, &mut self.nulls)
    }

    fn written(&self) -> usize {
        self.bytes.values.len()
    }
}

/// `"char"`: one byte, nothing for zero, and octal above 127, where it is no character in UTF-8.
/// Source: `charout` in `src/backend/utils/adt/char.c` of PostgreSQL 16; older servers send the
/// bare byte as text.
pub(crate) fn write_char(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    let [byte] = fixed(bytes)?;
    match byte {
        0 => {}
        1..=0x7f => out.push(char::from(byte)),
        0x80.. => {
            // Writing to a String does not fail.
            let _ = write!(out, "\\{byte:03o}");
        }
    }
    Ok(())
}

/// `bit` and `varbit`: the number of bits, then the bits, most significant first.
/// Source: `varbit_send` in `src/backend/utils/adt/varbit.c`.
pub(crate) fn write_bits(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    let (count, bits) = bytes
        .split_first_chunk::<4>()
        .ok_or_else(Fault::truncated)?;
    let count = i32::from_be_bytes(*count);
    let expected = usize::try_from(count)
        .map_err(|_| Fault::bad(format!("invalid number of bits {count}")))?;
    if bits.len() != expected.div_ceil(8) {
        return Err(Fault::length(expected.div_ceil(8), bits.len()));
    }
    out.extend(
        (0..expected).map(|index| match bits[index / 8] & (0x80 >> (index % 8)) {
            0 => '0',
            _ => '1',
        }),
    );
    Ok(())
}

/// `pg_lsn`: the halves of its 64 bits in upper-case hexadecimal.
/// Source: `pg_lsn_out` in `src/backend/utils/adt/pg_lsn.c`.
pub(crate) fn write_lsn(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    let lsn = u64::from_be_bytes(fixed(bytes)?);
    // Writing to a String does not fail.
    let _ = write!(out, "{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff);
    Ok(())
}
