//! Arrow for other libraries of the process: the PyCapsule interface of Arrow's C data interface.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::TryStreamExt;
use merganser::QueryStream;
use merganser::arrow::array::{Array, RecordBatch, StructArray};
use merganser::arrow::datatypes::{Schema, SchemaRef};
use merganser::arrow::error::ArrowError;
use merganser::arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use merganser::arrow::ffi_stream::FFI_ArrowArrayStream;
use merganser::arrow::record_batch::RecordBatchReader;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::error::Failure;
use crate::runs::Run;
use crate::runtime::Local;
use crate::wait::{Interrupted, look_for_main_thread, wait_for_consumer};

/// What `__arrow_c_schema__` gives.
pub(crate) fn schema<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(schema).map_err(not_exported)?;
    PyCapsule::new_with_value(py, schema, c"arrow_schema")
}

/// What `__arrow_c_array__` gives.
pub(crate) fn array<'py>(
    py: Python<'py>,
    batch: &RecordBatch,
) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
    let rows = StructArray::from(batch.clone());
    let array = FFI_ArrowArray::new(&rows.to_data());
    Ok((
        schema(py, &batch.schema())?,
        PyCapsule::new_with_value(py, array, c"arrow_array")?,
    ))
}

/// What `__arrow_c_stream__` gives.
pub(crate) fn stream<'py>(py: Python<'py>, rows: Exported) -> PyResult<Bound<'py, PyCapsule>> {
    look_for_main_thread(py)?;
    let stream = FFI_ArrowArrayStream::new(Box::new(rows));
    PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
}

fn not_exported(error: ArrowError) -> PyErr {
    PyValueError::new_err(format!(
        "Arrow's C interface has no form for this schema: {error}"
    ))
}

/// The rows of a query as a consumer in C reads them: batches that are here, and those still to come.
pub(crate) struct Exported {
    schema: SchemaRef,
    here: VecDeque<RecordBatch>,
    to_come: Option<ToCome>,
}

/// The part of a running query that was not read yet.
pub(crate) struct ToCome {
    pub(crate) stream: Local<QueryStream>,
    /// Ends with it.
    pub(crate) _runs: (Run, Run),
}

impl Exported {
    pub(crate) fn new(
        schema: SchemaRef,
        here: VecDeque<RecordBatch>,
        to_come: Option<ToCome>,
    ) -> Self {
        Self {
            schema,
            here,
            to_come,
        }
    }

    pub(crate) fn into_parts(self) -> (VecDeque<RecordBatch>, Option<ToCome>) {
        (self.here, self.to_come)
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if let Some(batch) = self.here.pop_front() {
            return Ok(Some(batch));
        }
        let Some(to_come) = &mut self.to_come else {
            return Ok(None);
        };
        let Some(stream) = to_come.stream.get_mut() else {
            return Err(external(
                "the stream was opened by another process".to_owned(),
            ));
        };
        let next = match wait_for_consumer(stream.try_next()) {
            Ok(Ok(Some(batch))) => return Ok(Some(batch)),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(external(Failure::from(&error).text_for_c())),
            Err(Interrupted) => Err(external("interrupted by a signal".to_owned())),
        };
        // Cancels what still runs.
        self.to_come = None;
        next
    }
}

impl Iterator for Exported {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        // A panic that reaches C ends the process.
        let read = catch_unwind(AssertUnwindSafe(|| self.read()));
        let read = read.unwrap_or_else(|_| {
            self.to_come = None;
            Err(external(
                "a fault of merganser: please report it with the query".to_owned(),
            ))
        });
        read.transpose()
    }
}

impl RecordBatchReader for Exported {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

fn external(text: String) -> ArrowError {
    ArrowError::ExternalError(text.into())
}
