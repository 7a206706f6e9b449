//! Text: the bytes as they are, or rendered from a binary form.

use std::fmt::Write as _;

use arrow::array::ArrayRef;

use super::array::{ArrayDecoder, Nulls};
use super::bytes::{ByteValues, OffsetBytes, ViewBytes};
use super::fault::{Fault, ValueFault};
use super::frame::FieldRange;
use super::primitive::fixed;
use crate::types::Unrepresentable;

/// Values whose bytes are their text, behind a version byte where the type has one.
struct StringDecoder<B> {
    bytes: B,
    nulls: Nulls,
    version: Option<u8>,
}

/// A decoder of values whose bytes are their text, behind `version` where the type has one; `views` says
/// how Arrow has them.
pub(crate) fn text(
    views: bool,
    policy: Unrepresentable,
    version: Option<u8>,
) -> Box<dyn ArrayDecoder> {
    fn decoder<B: ByteValues>(
        policy: Unrepresentable,
        version: Option<u8>,
    ) -> Box<dyn ArrayDecoder> {
        Box::new(StringDecoder {
            bytes: B::default(),
            nulls: Nulls::new(policy),
            version,
        })
    }
    match views {
        true => decoder::<ViewBytes>(policy, version),
        false => decoder::<OffsetBytes>(policy, version),
    }
}

impl<B: ByteValues> ArrayDecoder for StringDecoder<B> {
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        self.bytes.reserve(fields.len());
        match self.version {
            None => {
                for field in fields {
                    let is_valid = self.bytes.push_field(data, field);
                    self.nulls.append(is_valid);
                }
            }
            Some(version) => {
                for (row, field) in fields.iter().enumerate() {
                    let value = self
                        .nulls
                        .value(data, field, row, |bytes| strip_version(bytes, version))?;
                    let text = match value {
                        Some(from) => field.bytes(data).unwrap_or_default().get(from..),
                        None => None,
                    };
                    self.bytes.push(text.unwrap_or_default());
                    self.nulls.append(value.is_some());
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        self.bytes.finish_text(self.nulls.finish())
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

/// Values whose text is written from their binary form.
struct RenderedDecoder<B, F> {
    bytes: B,
    nulls: Nulls,
    scratch: String,
    write: F,
}

/// A decoder that writes the text of each value with `write`; `views` says how Arrow has it.
pub(crate) fn rendered<F>(views: bool, policy: Unrepresentable, write: F) -> Box<dyn ArrayDecoder>
where
    F: Fn(&[u8], &mut String) -> Result<(), Fault> + Send + 'static,
{
    fn decoder<B, F>(policy: Unrepresentable, write: F) -> Box<dyn ArrayDecoder>
    where
        B: ByteValues,
        F: Fn(&[u8], &mut String) -> Result<(), Fault> + Send + 'static,
    {
        Box::new(RenderedDecoder {
            bytes: B::default(),
            nulls: Nulls::new(policy),
            scratch: String::new(),
            write,
        })
    }
    match views {
        true => decoder::<ViewBytes, F>(policy, write),
        false => decoder::<OffsetBytes, F>(policy, write),
    }
}

impl<B, F> ArrayDecoder for RenderedDecoder<B, F>
where
    B: ByteValues,
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
            let text = match value {
                Some(()) => self.scratch.as_bytes(),
                None => &[],
            };
            self.bytes.push(text);
            self.nulls.append(value.is_some());
            if self.bytes.overflows() {
                return Err(Fault::bad("the column has more than 2 GiB in one batch").at(row));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        self.bytes.finish_text(self.nulls.finish())
    }

    fn written(&self) -> usize {
        self.bytes.size()
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
