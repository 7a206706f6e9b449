//! Types of one fixed width, and all others that become one native value.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, UInt32Type, UInt64Type,
};

use super::array::{ArrayDecoder, Nulls, take_batch};
use super::fault::{Fault, ValueFault};
use super::frame::FieldRange;
use crate::types::Unrepresentable;

/// Reads each value with `read`, which is known when this is compiled: no call in the loop.
pub(crate) struct PrimitiveDecoder<T: ArrowPrimitiveType, F> {
    values: Vec<T::Native>,
    nulls: Nulls,
    data_type: DataType,
    read: F,
    // As a function, so that it is `Send` whatever `T` is.
    arrow_type: PhantomData<fn() -> T>,
}

/// A decoder into arrays of `T` with this `data_type` (time zone, precision and scale).
pub(crate) fn with<T, F>(
    data_type: DataType,
    policy: Unrepresentable,
    read: F,
) -> Box<dyn ArrayDecoder>
where
    T: ArrowPrimitiveType,
    F: Fn(&[u8]) -> Result<T::Native, Fault> + Send + 'static,
{
    Box::new(PrimitiveDecoder::<T, F> {
        values: Vec::new(),
        nulls: Nulls::new(policy),
        data_type,
        read,
        arrow_type: PhantomData,
    })
}

impl<T, F> ArrayDecoder for PrimitiveDecoder<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(&[u8]) -> Result<T::Native, Fault> + Send,
{
    fn append(&mut self, data: &[u8], fields: &[FieldRange]) -> Result<(), ValueFault> {
        self.values.reserve(fields.len());
        for (row, field) in fields.iter().enumerate() {
            let value = self.nulls.value(data, field, row, &self.read)?;
            self.values.push(value.unwrap_or_default());
            self.nulls.append(value.is_some());
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ValueFault> {
        let values = take_batch(&mut self.values);
        let array = PrimitiveArray::<T>::new(values.into(), self.nulls.finish());
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}

/// The bytes of a value of fixed width.
#[inline]
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::length(N, bytes.len()))
}

pub(crate) fn int2(policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    with::<Int16Type, _>(DataType::Int16, policy, |bytes| {
        fixed(bytes).map(i16::from_be_bytes)
    })
}

pub(crate) fn int4(policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    with::<Int32Type, _>(DataType::Int32, policy, |bytes| {
        fixed(bytes).map(i32::from_be_bytes)
    })
}

pub(crate) fn int8(policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    with::<Int64Type, _>(DataType::Int64, policy, |bytes| {
        fixed(bytes).map(i64::from_be_bytes)
    })
}

pub(crate) fn oid(policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    with::<UInt32Type, _>(DataType::UInt32, policy, |bytes| {
        fixed(bytes).map(u32::from_be_bytes)
    })
}

pub(crate) fn xid8(policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    with::<UInt64Type, _>(DataType::UInt64, policy, |bytes| {
        fixed(bytes).map(u64::from_be_bytes)
    })
}

pub(crate) fn float4(policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    with::<Float32Type, _>(DataType::Float32, policy, |bytes| {
        fixed(bytes).map(f32::from_be_bytes)
    })
}

pub(crate) fn float8(policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    with::<Float64Type, _>(DataType::Float64, policy, |bytes| {
        fixed(bytes).map(f64::from_be_bytes)
    })
}
