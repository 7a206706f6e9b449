//! The offsets of one level of lists.

use arrow::buffer::{OffsetBuffer, ScalarBuffer};

use super::array::take_batch;
use super::fault::Fault;

/// Where each list ends among the items.
///
/// Every item takes four bytes or more of a batch that is bounded below 2 GiB, so 32 bits do not
/// overflow; should that ever be wrong, it is an error and not a wrapped offset.
pub(crate) struct Offsets(Vec<i32>);

impl Offsets {
    pub(crate) fn new() -> Self {
        Self(vec![0])
    }

    /// Adds a list of `len` items.
    pub(crate) fn push(&mut self, len: usize) -> Result<(), Fault> {
        let last = self.0.last().copied().unwrap_or_default();
        let next = i32::try_from(len)
            .ok()
            .and_then(|len| last.checked_add(len))
            .ok_or_else(|| Fault::bad("the column has more than 2^31 elements in one batch"))?;
        self.0.push(next);
        Ok(())
    }

    /// What was added since the last call.
    pub(crate) fn finish(&mut self) -> OffsetBuffer<i32> {
        let offsets = take_batch(&mut self.0);
        self.0.push(0);
        OffsetBuffer::new(ScalarBuffer::from(offsets))
    }
}
