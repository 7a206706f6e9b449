//! Values of any length, as Arrow lays them out: what text and binary columns are made of.

use std::str::from_utf8;
use std::sync::Arc;

use arrow::array::builder::make_view;
use arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, ByteView, StringArray, StringViewArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::error::ArrowError;

use super::array::take_batch;
use super::fault::{Fault, ValueFault};
use super::frame::FieldRange;

/// Values of a column, one after the other; an empty one stands where there is none.
pub(crate) trait ByteValues: Default + Send + 'static {
    /// Makes room for more values.
    fn reserve(&mut self, values: usize);

    fn push(&mut self, value: &[u8]);

    /// Pushes a field whose bytes are in `data`; `false` for NULL, for which an empty value is pushed.
    #[inline]
    fn push_field(&mut self, data: &[u8], field: &FieldRange) -> bool {
        let value = field.bytes(data);
        self.push(value.unwrap_or_default());
        value.is_some()
    }

    /// The bytes of all values since the last array.
    fn size(&self) -> usize;

    /// The array of all values since the last one, as bytes.
    fn finish_binary(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ValueFault>;

    /// The same as text, if it is valid UTF-8.
    fn finish_text(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ValueFault>;

    /// Whether there is more than offsets can count, which would wrap.
    fn overflows(&self) -> bool {
        i32::try_from(self.size()).is_err()
    }
}

/// Bytes and where each value ends: `Binary`, `Utf8`.
///
/// OffsetBytes are 32 bits: the decoder ends a batch long before 2 GiB of any column, see
/// [`DecoderBuilder::with_batch_bytes`](super::DecoderBuilder::with_batch_bytes).
///
/// UTF-8 is checked once for a whole array: much faster than value by value.
pub(crate) struct OffsetBytes {
    values: Vec<u8>,
    offsets: Vec<i32>,
}

/// So many bytes are copied for any value that is not longer, where there are as many: to copy a number that is
/// known takes no call.
const SHORT: usize = 32;

impl Default for OffsetBytes {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            offsets: vec![0],
        }
    }
}

impl OffsetBytes {
    fn finish(&mut self) -> Result<(OffsetBuffer<i32>, Buffer), ValueFault> {
        if self.overflows() {
            return Err(too_much());
        }
        let offsets = take_batch(&mut self.offsets);
        self.offsets.push(0);
        let values = take_batch(&mut self.values);
        Ok((
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from_vec(values),
        ))
    }
}

impl ByteValues for OffsetBytes {
    fn reserve(&mut self, values: usize) {
        self.offsets.reserve(values);
    }

    #[inline]
    fn push(&mut self, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.offsets.push(self.values.len() as i32);
    }

    #[inline]
    fn push_field(&mut self, data: &[u8], field: &FieldRange) -> bool {
        let Ok(len) = usize::try_from(field.len) else {
            self.push(&[]);
            return false;
        };
        let from_here = data.get(field.offset as usize..);
        match from_here.and_then(<[u8]>::first_chunk::<SHORT>) {
            Some(bytes) if len <= SHORT => {
                let end = self.values.len() + len;
                self.values.extend_from_slice(bytes);
                self.values.truncate(end);
                self.offsets.push(end as i32);
            }
            _ => self.push(field.bytes(data).unwrap_or_default()),
        }
        true
    }

    fn size(&self) -> usize {
        self.values.len()
    }

    fn finish_binary(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ValueFault> {
        let (offsets, values) = self.finish()?;
        Ok(Arc::new(BinaryArray::new(offsets, values, nulls)))
    }

    fn finish_text(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ValueFault> {
        let (offsets, values) = self.finish()?;
        let found = StringArray::try_new(offsets.clone(), values.clone(), nulls);
        found.map(|array| Arc::new(array) as ArrayRef).map_err(|_| {
            let value = |range: &[i32]| values.get(range[0] as usize..range[1] as usize);
            let is_bad = |range| value(range).is_none_or(|value| from_utf8(value).is_err());
            not_utf8(offsets.windows(2).position(is_bad))
        })
    }
}

/// ViewBytes, which hold short values themselves, and the bytes of long ones: `BinaryView`, `Utf8View`.
#[derive(Default)]
pub(crate) struct ViewBytes {
    views: Vec<u128>,
    /// Of the values that are longer than a view has room for.
    long: Vec<u8>,
    size: usize,
}

/// The longest value that a view itself holds (Arrow columnar format, "Variable-size Binary View
/// Layout").
const MOST_INLINE: usize = 12;

impl ViewBytes {
    fn finish<T>(
        &mut self,
        make: impl FnOnce(ScalarBuffer<u128>, Arc<[Buffer]>) -> Result<T, ArrowError>,
    ) -> Result<T, ValueFault> {
        if self.overflows() {
            return Err(too_much());
        }
        self.size = 0;
        let views = ScalarBuffer::from(take_batch(&mut self.views));
        let long = Buffer::from_vec(take_batch(&mut self.long));
        let buffers: Arc<[Buffer]> = match long.is_empty() {
            true => Arc::new([]),
            false => Arc::new([long.clone()]),
        };
        make(views.clone(), buffers).map_err(|_| {
            not_utf8(views.iter().position(|view| {
                let inline = view.to_le_bytes();
                let ByteView { length, offset, .. } = ByteView::from(*view);
                let (length, offset) = (length as usize, offset as usize);
                let value = match length <= MOST_INLINE {
                    true => inline.get(4..4 + length),
                    false => long.get(offset..offset + length),
                };
                value.is_none_or(|value| from_utf8(value).is_err())
            }))
        })
    }
}

impl ByteValues for ViewBytes {
    fn reserve(&mut self, values: usize) {
        self.views.reserve(values);
    }

    #[inline]
    fn push(&mut self, value: &[u8]) {
        let offset = self.long.len() as u32;
        if value.len() > MOST_INLINE {
            self.long.extend_from_slice(value);
        }
        self.size += value.len();
        self.views.push(make_view(value, 0, offset));
    }

    fn size(&self) -> usize {
        self.size
    }

    fn finish_binary(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ValueFault> {
        let array = self.finish(|views, long| BinaryViewArray::try_new(views, long, nulls))?;
        Ok(Arc::new(array))
    }

    fn finish_text(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ValueFault> {
        let array = self.finish(|views, long| StringViewArray::try_new(views, long, nulls))?;
        Ok(Arc::new(array))
    }
}

#[cold]
fn too_much() -> ValueFault {
    Fault::bad("the column has more than 2 GiB in one batch").at(0)
}

#[cold]
fn not_utf8(row: Option<usize>) -> ValueFault {
    Fault::bad("the text is not valid UTF-8 (is the database's encoding SQL_ASCII?)")
        .at(row.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes fields of all lengths from all places of `data`, and NULL between them.
    fn push_all<B: ByteValues>(data: &[u8]) {
        let mut by_field = B::default();
        let mut by_value = B::default();
        for start in 0..=data.len() {
            for end in start..=data.len() {
                let field = FieldRange {
                    offset: start as u32,
                    len: (end - start) as i32,
                };
                assert!(by_field.push_field(data, &field));
                by_value.push(&data[start..end]);
            }
            assert!(!by_field.push_field(data, &FieldRange::NULL));
            by_value.push(&[]);
        }
        assert_eq!(by_field.size(), by_value.size());
        let arrays = [by_field, by_value].map(|mut bytes| bytes.finish_binary(None).ok());
        assert!(arrays[0].is_some() && arrays[0] == arrays[1]);
    }

    #[test]
    fn a_field_is_pushed_as_its_bytes_are_wherever_it_ends() {
        let data: Vec<u8> = (0..2 * SHORT as u8 + 3).collect();
        push_all::<OffsetBytes>(&data);
        push_all::<ViewBytes>(&data);
    }
}
