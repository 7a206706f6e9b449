//! `sum` that is right or an error.
//!
//! DataFusion's wraps around when a sum leaves its type. This one has the same signature and the
//! same result types, but adds in a wider type and checks the total once, at the end: so it does not
//! depend on the order of the rows either whether a sum fits.

use std::fmt;
use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Field, FieldRef, Int64Type, IntervalUnit, TimeUnit, UInt64Type,
};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err, not_impl_err};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::wide::{By128, By256, ByField, Native, Wide};
use crate::error::{Error, ErrorKind, Phase};

/// Takes the place of DataFusion's `sum`.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct CheckedSum {
    /// Does what cannot overflow: sums of floating-point numbers.
    plain: Sum,
}

/// Calls `$call` with the [`Wide`] type of a result type, or goes on if there is none.
macro_rules! with_wide {
    ($data_type:expr, $call:ident ( $($arg:expr),* )) => {
        match $data_type {
            DataType::Int64 => return $call::<By128<Int64Type>>($($arg),*),
            DataType::UInt64 => return $call::<By128<UInt64Type>>($($arg),*),
            DataType::Duration(TimeUnit::Second) => return $call::<By128<DurationSecondType>>($($arg),*),
            DataType::Duration(TimeUnit::Millisecond) => return $call::<By128<DurationMillisecondType>>($($arg),*),
            DataType::Duration(TimeUnit::Microsecond) => return $call::<By128<DurationMicrosecondType>>($($arg),*),
            DataType::Duration(TimeUnit::Nanosecond) => return $call::<By128<DurationNanosecondType>>($($arg),*),
            DataType::Decimal32(..) => return $call::<By128<Decimal32Type>>($($arg),*),
            DataType::Decimal64(..) => return $call::<By128<Decimal64Type>>($($arg),*),
            // Ten digits of room, which is what the result type gives, are enough for 10^10 rows.
            DataType::Decimal128(0..38, _) => return $call::<By128<Decimal128Type>>($($arg),*),
            DataType::Decimal128(..) => return $call::<By256<Decimal128Type>>($($arg),*),
            DataType::Decimal256(..) => return $call::<By256<Decimal256Type>>($($arg),*),
            DataType::Interval(IntervalUnit::MonthDayNano) => return $call::<ByField>($($arg),*),
            _ => {}
        }
    };
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.plain.name()
    }

    fn signature(&self) -> &Signature {
        self.plain.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.plain.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        fn state<W: Wide>(name: &str, result: &DataType) -> Result<Vec<FieldRef>> {
            let name = format_state_name(name, "sum");
            Ok(vec![Arc::new(Field::new(
                name,
                W::state_type(result),
                true,
            ))])
        }
        if !args.is_distinct {
            with_wide!(args.return_type(), state(args.name, args.return_type()));
        }
        self.plain.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        fn total<W: Wide>(result: &DataType) -> Result<Box<dyn Accumulator>> {
            Ok(Box::new(Total::<W>::new(result)))
        }
        let result = args.return_field.data_type().clone();
        if args.is_distinct {
            fn distinct<W: Wide>(
                values: Box<dyn Accumulator>,
                result: &DataType,
            ) -> Result<Box<dyn Accumulator>> {
                let total = Total::<W>::new(result);
                Ok(Box::new(Distinct { values, total }))
            }
            let values = self.plain.accumulator(args)?;
            with_wide!(&result, distinct(values, &result));
            return Ok(values);
        }
        with_wide!(&result, total(&result));
        self.plain.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.plain.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        fn totals<W: Wide>(result: &DataType) -> Result<Box<dyn GroupsAccumulator>> {
            Ok(Box::new(Totals::<W>::new(result)))
        }
        let result = args.return_field.data_type().clone();
        with_wide!(&result, totals(&result));
        self.plain.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return not_impl_err!("sum(DISTINCT ..) over a moving window frame");
        }
        match args.return_field.data_type() {
            // Taking off what was added leaves the rounding errors, and NaN after an infinity.
            DataType::Float64 => {
                not_impl_err!("sum of floating-point numbers over a moving window frame")
            }
            _ => self.accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// One sum: without groups, or of a window frame that moves.
struct Total<W: Wide> {
    sum: Native<W::Sum>,
    /// How many values are in the sum; of none it is NULL.
    values: u64,
    result: DataType,
}

impl<W: Wide> Total<W> {
    fn new(result: &DataType) -> Self {
        Self {
            sum: Default::default(),
            values: 0,
            result: result.clone(),
        }
    }

    fn add_all<T: ArrowPrimitiveType>(
        &mut self,
        values: &[ArrayRef],
        widen: impl Fn(T::Native) -> Native<W::Sum>,
    ) -> Result<()> {
        for value in only(values)?.as_primitive::<T>().iter().flatten() {
            self.sum = W::add(self.sum, widen(value)).ok_or_else(|| out_of_range(&self.result))?;
            self.values += 1;
        }
        Ok(())
    }
}

impl<W: Wide> Accumulator for Total<W> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add_all::<W::In>(values, W::widen)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add_all::<W::Sum>(states, |sum| sum)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in only(values)?.as_primitive::<W::In>().iter().flatten() {
            self.sum =
                W::subtract(self.sum, W::widen(value)).ok_or_else(|| out_of_range(&self.result))?;
            self.values = self.values.saturating_sub(1);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = (self.values > 0).then_some(self.sum);
        let state = ScalarValue::new_primitive::<W::Sum>(sum, &W::state_type(&self.result))?;
        Ok(vec![state])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = match self.values {
            0 => None,
            _ => Some(W::narrow(self.sum, &self.result).ok_or_else(|| out_of_range(&self.result))?),
        };
        ScalarValue::new_primitive::<W::In>(sum, &self.result)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

impl<W: Wide> fmt::Debug for Total<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Total({})", self.result)
    }
}

/// The sum of each value once: DataFusion finds the values, we add them.
struct Distinct<W: Wide> {
    values: Box<dyn Accumulator>,
    total: Total<W>,
}

impl<W: Wide> Accumulator for Distinct<W> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.values.state()?;
        let [ScalarValue::List(list)] = state.as_slice() else {
            return internal_err!("the state of sum(DISTINCT ..) is not a list");
        };
        let mut total = Total::<W>::new(&self.total.result);
        total.update_batch(&[list.value(0)])?;
        total.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(&self.total) + self.values.size()
    }
}

impl<W: Wide> fmt::Debug for Distinct<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distinct({})", self.total.result)
    }
}

/// A sum for each group.
struct Totals<W: Wide> {
    sums: Vec<Native<W::Sum>>,
    /// Whether the group had any value; without one its sum is NULL.
    seen: Vec<bool>,
    result: DataType,
}

impl<W: Wide> Totals<W> {
    fn new(result: &DataType) -> Self {
        Self {
            sums: Vec::new(),
            seen: Vec::new(),
            result: result.clone(),
        }
    }

    fn add_all<T: ArrowPrimitiveType>(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
        widen: impl Fn(T::Native) -> Native<W::Sum>,
    ) -> Result<()> {
        self.sums.resize(total_groups, Default::default());
        self.seen.resize(total_groups, false);
        let values = only(values)?.as_primitive::<T>();
        for (row, (&group, value)) in groups.iter().zip(values.values()).enumerate() {
            if values.is_null(row) || filter.is_some_and(|filter| !passes(filter, row)) {
                continue;
            }
            let sum = W::add(self.sums[group], widen(*value));
            self.sums[group] = sum.ok_or_else(|| out_of_range(&self.result))?;
            self.seen[group] = true;
        }
        Ok(())
    }

    fn take(&mut self, emit_to: EmitTo) -> impl Iterator<Item = Option<Native<W::Sum>>> {
        let sums = emit_to.take_needed(&mut self.sums);
        let seen = emit_to.take_needed(&mut self.seen);
        sums.into_iter()
            .zip(seen)
            .map(|(sum, seen)| seen.then_some(sum))
    }
}

impl<W: Wide> GroupsAccumulator for Totals<W> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.add_all::<W::In>(values, groups, filter, total_groups, W::widen)
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        total_groups: usize,
    ) -> Result<()> {
        self.add_all::<W::Sum>(states, groups, None, total_groups, |sum| sum)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let result = self.result.clone();
        let sums: PrimitiveArray<W::In> = self
            .take(emit_to)
            .map(|sum| match sum {
                Some(sum) => match W::narrow(sum, &result) {
                    Some(sum) => Ok(Some(sum)),
                    None => Err(out_of_range(&result)),
                },
                None => Ok(None),
            })
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .collect();
        Ok(Arc::new(sums.with_data_type(result)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let sums: PrimitiveArray<W::Sum> = self.take(emit_to).collect();
        let data_type = W::state_type(&self.result);
        Ok(vec![Arc::new(sums.with_data_type(data_type))])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = only(values)?.as_primitive::<W::In>();
        let states: PrimitiveArray<W::Sum> = values
            .iter()
            .enumerate()
            .map(|(row, value)| {
                let kept = filter.is_none_or(|filter| passes(filter, row));
                value.filter(|_| kept).map(W::widen)
            })
            .collect();
        let data_type = W::state_type(&self.result);
        Ok(vec![Arc::new(states.with_data_type(data_type))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Native<W::Sum>>() + self.seen.capacity()
    }
}

fn passes(filter: &BooleanArray, row: usize) -> bool {
    filter.is_valid(row) && filter.value(row)
}

fn only(values: &[ArrayRef]) -> Result<&dyn Array> {
    match values {
        [values] => Ok(values.as_ref()),
        other => internal_err!("sum of {} columns", other.len()),
    }
}

#[cold]
fn out_of_range(result: &DataType) -> DataFusionError {
    let error = Error::new(
        ErrorKind::Execute,
        format!("a sum is out of the range of its type {result}"),
    )
    .with_phase(Phase::Merge);
    DataFusionError::External(Box::new(match result {
        DataType::Int64 | DataType::UInt64 => {
            error.with_hint("sum it as a decimal: sum(column::decimal(38))")
        }
        DataType::Decimal128(_, scale) => error.with_hint(format!(
            "sum it with more digits: sum(column::decimal(76,{scale}))"
        )),
        _ => error,
    }))
}
