//! What all column decoders have in common.

use arrow::array::{ArrayRef, NullBufferBuilder};
use arrow::buffer::NullBuffer;

use super::frame::FieldRange;
use super::{
    binary, boolean, composite, decimal, enumeration, hstore, list, network, primitive, range,
    string, temporal, vector,
};
use crate::types::{PgType, Shape, Unrepresentable};

/// Appends the fields of one column, and in the end gives the array.
///
/// A decoder is chosen once for each column; its `append` is one loop over one type.
pub(crate) trait ArrayDecoder: Send {
    /// Appends `fields`, whose bytes are in `data`.
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault>;

    /// The array of all that was appended since the last call.
    fn finish(&mut self) -> Result<ArrayRef, ValueFault>;

    /// The bytes of text that were written for values whose form on the wire may be much shorter,
    /// since the last array; nothing for all others, which are about as long as on the wire.
    fn written(&self) -> usize {
        0
    }
}

/// What is wrong with a value's bytes.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The bytes do not have the form of the type.
    Bad(String),
    /// A right value that the Arrow type chosen for the column cannot hold exactly, though another
    /// could: an error whatever the option for unrepresentable values.
    Inexact { what: String, hint: &'static str },
    /// A right value that the Arrow type cannot hold.
    Unrepresentable {
        what: String,
        /// What to do, where it is not the option for unrepresentable values.
        hint: Option<&'static str>,
    },
}

/// A [`Fault`] and the index of the field, among those given to `append`, that has it.
#[derive(Debug)]
pub(crate) struct ValueFault {
    pub(crate) row: usize,
    pub(crate) fault: Fault,
}

impl Fault {
    #[cold]
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::Bad(message.into())
    }

    #[cold]
    pub(crate) fn length(expected: usize, found: usize) -> Self {
        Self::Bad(format!("expected {expected} bytes, found {found}"))
    }

    #[cold]
    pub(crate) fn truncated() -> Self {
        Self::Bad("the value ends too early".to_owned())
    }

    #[cold]
    pub(crate) fn unrepresentable(what: impl Into<String>) -> Self {
        Self::Unrepresentable {
            what: what.into(),
            hint: None,
        }
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Bad(message) => message,
            Self::Inexact { what, .. } | Self::Unrepresentable { what, .. } => what,
        }
    }

    #[cold]
    pub(crate) fn at(self, row: usize) -> ValueFault {
        ValueFault { row, fault: self }
    }
}

/// The validity of a column, and what to do with values that Arrow cannot hold.
pub(crate) struct Nulls {
    builder: NullBufferBuilder,
    /// How many values there are, as long as none is NULL; the builder knows of none of them yet.
    /// Most columns have no NULL, and counting is less than a call for each value.
    only_valid: Option<usize>,
    policy: Unrepresentable,
}

impl Nulls {
    pub(crate) fn new(policy: Unrepresentable) -> Self {
        Self {
            builder: NullBufferBuilder::new(0),
            only_valid: Some(0),
            policy,
        }
    }

    #[inline]
    pub(crate) fn append(&mut self, valid: bool) {
        match &mut self.only_valid {
            None => self.builder.append(valid),
            Some(count) if valid => *count += 1,
            Some(_) => self.append_first_null(),
        }
    }

    #[cold]
    fn append_first_null(&mut self) {
        if let Some(count) = self.only_valid.take() {
            self.builder.append_n_non_nulls(count);
        }
        self.builder.append_null();
    }

    pub(crate) fn finish(&mut self) -> Option<NullBuffer> {
        match self.only_valid.replace(0) {
            Some(_) => None,
            None => self.builder.finish(),
        }
    }

    /// The value of `field`, or `None` for NULL, and for what Arrow cannot hold where the option
    /// makes that NULL. Does not append.
    #[inline]
    pub(crate) fn value<T>(
        &self,
        data: &[u8],
        field: &FieldRange,
        row: usize,
        read: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<Option<T>, ValueFault> {
        let Some(bytes) = field.bytes(data) else {
            return Ok(None);
        };
        match read(bytes) {
            Ok(value) => Ok(Some(value)),
            Err(fault) => self.settle(fault, row),
        }
    }

    /// NULL for an unrepresentable value, if that is the option; else its fault.
    #[cold]
    pub(crate) fn settle<T>(&self, fault: Fault, row: usize) -> Result<Option<T>, ValueFault> {
        match (&fault, self.policy) {
            (Fault::Unrepresentable { .. }, Unrepresentable::Null) => Ok(None),
            _ => Err(fault.at(row)),
        }
    }
}

/// Takes what was gathered for a batch and leaves room for as much again: batches are much alike,
/// and growing step by step copies.
pub(crate) fn take_batch<T>(values: &mut Vec<T>) -> Vec<T> {
    // Lengths of text vary a little; numbers do not.
    let slack = if size_of::<T>() == 1 {
        values.len() / 16
    } else {
        0
    };
    let room = (values.len() + slack).min(MOST_ROOM_BYTES / size_of::<T>());
    std::mem::replace(values, Vec::with_capacity(room))
}

/// What one long value took is not taken again for the next batch.
const MOST_ROOM_BYTES: usize = 1 << 20;

/// The decoder for a type: the one place where a type is looked at.
pub(crate) fn make_decoder(pg_type: &PgType, policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    match &pg_type.shape {
        Shape::Bool => Box::new(boolean::BooleanDecoder::new(policy)),
        Shape::Int2 => primitive::int2(policy),
        Shape::Int4 => primitive::int4(policy),
        Shape::Int8 => primitive::int8(policy),
        Shape::Oid => primitive::oid(policy),
        Shape::Xid8 => primitive::xid8(policy),
        Shape::Float4 => primitive::float4(policy),
        Shape::Float8 => primitive::float8(policy),
        // Options were applied before; what they would choose by default stands here.
        Shape::Numeric => decimal::decimal(38, 20, policy),
        Shape::Decimal { precision, scale } => decimal::decimal(*precision, *scale, policy),
        Shape::NumericFloat => decimal::float(policy),
        Shape::NumericText { finite: false } => string::rendered(policy, decimal::write_text),
        Shape::NumericText { finite: true } => string::rendered(policy, decimal::write_finite),
        Shape::Text { version, .. } => Box::new(string::StringDecoder::new(policy, *version)),
        Shape::Cast => Box::new(string::StringDecoder::new(policy, None)),
        Shape::Char => string::rendered(policy, string::write_char),
        Shape::Bit => string::rendered(policy, string::write_bits),
        Shape::TimeTz => string::rendered(policy, temporal::write_timetz),
        Shape::Inet { cidr: false } => string::rendered(policy, network::write_inet),
        Shape::Inet { cidr: true } => string::rendered(policy, network::write_cidr),
        Shape::MacAddr => string::rendered(policy, network::write_macaddr),
        Shape::Lsn => string::rendered(policy, string::write_lsn),
        Shape::Bytea | Shape::Geometry => Box::new(binary::BinaryDecoder::new(policy)),
        Shape::Uuid => Box::new(binary::UuidDecoder::new(policy)),
        Shape::Date => temporal::date(policy),
        Shape::Time => temporal::time(policy),
        Shape::Timestamp { utc } => temporal::timestamp(*utc, policy),
        Shape::Interval => temporal::interval(policy),
        Shape::Enum { labels } => Box::new(enumeration::EnumDecoder::new(labels, policy)),
        Shape::Array {
            element,
            dimensions,
            lower_bound,
        } => Box::new(list::ListDecoder::new(
            element,
            *dimensions,
            *lower_bound,
            policy,
        )),
        Shape::Composite { fields } => Box::new(composite::StructDecoder::new(fields, policy)),
        Shape::Range { element } => Box::new(range::RangeDecoder::new(element, policy)),
        Shape::Multirange { element } => Box::new(range::MultirangeDecoder::new(element, policy)),
        Shape::Hstore => Box::new(hstore::HstoreDecoder::new(policy)),
        Shape::Vector { dimensions } => Box::new(vector::VectorDecoder::new(*dimensions, policy)),
    }
}

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

/// Gives a fault of a child its parent's row: `ends[i]` is how many children the parents up to the
/// `i`-th, of those given to this call of `append`, had in all.
pub(crate) fn parent_row(fault: ValueFault, ends: &[usize]) -> ValueFault {
    ValueFault {
        row: ends.partition_point(|end| *end <= fault.row),
        fault: fault.fault,
    }
}
