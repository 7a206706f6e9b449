//! Sealed parts of a query as the rows of a plan's only leaf.
//!
//! Ballista gives each task a share of a plan's partitions, and cuts the plan down to it: but only the
//! leaves that it knows. One of those is DataFusion's table in memory. A leaf of our own would be left
//! whole in every task, and be read as often as there are tasks (`tests/engine.rs` holds both). So the
//! leaf is a table of descriptors, one in each partition, and whoever reads shards stands above it.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::physical_plan::ExecutionPlan;
use merganser::Partition;

/// One descriptor, as it travels.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which part of the query it is, from 0.
    pub number: u32,
    /// [`Partition::seal`]'s bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    /// Without the bytes: the statement is in them, with its values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// A plan whose partitions have one descriptor each, in this order.
///
/// # Errors
/// None in practice: those of a table whose rows have another schema than it.
pub fn plan(parts: &[Partition], key: &[u8]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = schema();
    let rows = parts.iter().enumerate().map(|(number, part)| {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let sealed = part.seal(key);
        let batch = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(UInt32Array::from(vec![number])),
                Arc::new(BinaryArray::from_vec(vec![&sealed])),
            ],
        )?;
        Ok(vec![batch])
    });
    let rows: Vec<_> = rows.collect::<Result<_>>()?;
    Ok(MemorySourceConfig::try_new_exec(&rows, schema, None)?)
}

/// The descriptors of a batch of that plan.
///
/// # Errors
/// For a batch of another schema.
pub fn of(batch: &RecordBatch) -> Result<Vec<Sealed>> {
    if *batch.schema() != *schema() {
        return internal_err!("these are no descriptors: {}", batch.schema());
    }
    let numbers = batch.column(0).as_primitive::<UInt32Type>();
    let sealed = batch.column(1).as_binary::<i32>();
    let rows = numbers.values().iter().zip(sealed);
    Ok(rows
        .map(|(number, bytes)| Sealed {
            number: *number,
            bytes: bytes.unwrap_or_default().to_vec(),
        })
        .collect())
}

/// Whether a plan's rows are descriptors.
pub fn are_given_by(plan: &dyn ExecutionPlan) -> bool {
    plan.schema() == schema()
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("number", DataType::UInt32, false),
        Field::new("partition", DataType::Binary, false),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_a_descriptor_has_no_statement() {
        let sealed = Sealed {
            number: 7,
            bytes: b"SELECT 'secret'".to_vec(),
        };
        assert_eq!(format!("{sealed:?}"), "Sealed { number: 7, .. }");
    }
}
