//! The parts of one value.

use super::fault::Fault;
use super::frame::FieldRange;

/// A cursor over one value's bytes; every read is checked.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// Where `bytes` starts in the scanned data, so that children can be found there again.
    offset: u32,
}

impl<'a> Reader<'a> {
    /// Over the bytes of a field; `None` for NULL.
    pub(crate) fn new(data: &'a [u8], field: &FieldRange) -> Option<Self> {
        Some(Self {
            bytes: field.bytes(data)?,
            offset: field.offset,
        })
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (head, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or_else(Fault::truncated)?;
        self.bytes = rest;
        self.offset += N as u32;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        Ok(u8::from_be_bytes(self.take()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Fault> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    /// A count of things that take at least `least` bytes each, so that no room is made for more
    /// of them than there are bytes.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, Fault> {
        let count = self.i32()?;
        match usize::try_from(count) {
            Ok(known) if known.saturating_mul(least) <= self.remaining() => Ok(known),
            _ => Err(Fault::bad(format!(
                "a count of {count} does not fit the {} bytes that follow",
                self.remaining()
            ))),
        }
    }

    /// A length and that many bytes; a length of -1 is NULL.
    #[inline]
    pub(crate) fn field(&mut self) -> Result<FieldRange, Fault> {
        let len = self.i32()?;
        let field = FieldRange {
            offset: self.offset,
            len,
        };
        match usize::try_from(len) {
            Ok(known) => {
                self.bytes = self.bytes.get(known..).ok_or_else(Fault::truncated)?;
                self.offset += len.cast_unsigned();
            }
            Err(_) if len == -1 => {}
            Err(_) => return Err(Fault::bad(format!("invalid field length {len}"))),
        }
        Ok(field)
    }

    /// Nothing may be left over.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(Fault::bad(format!("{left} bytes follow the value"))),
        }
    }
}
