//! The rows of one run of a query.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use futures::TryStreamExt;
use futures::future::ready;
use merganser::arrow::array::RecordBatch;
use merganser::arrow::datatypes::SchemaRef;
use merganser::{CancelHandle, Error, QueryStream};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyList};

use crate::capsule::{self, Exported, ToCome};
use crate::decimals::Decimals;
use crate::engine::{Engine, forked};
use crate::error::{Failure, interface, raised};
use crate::rows::RowMaker;
use crate::runs::Run;
use crate::runtime::Local;
use crate::schema::{Schema, Types};
use crate::views::{view_schema, with_views};
use crate::wait::{hear_signals_in_time, wait_and_look};

/// The rows of one run, read once: row by row, batch by batch, or handed over to another library.
///
/// Every row is given once. After an error every call repeats it: the rows that came before are no
/// answer.
#[pyclass(frozen, module = "merganser._merganser")]
pub(crate) struct Reader {
    schema: SchemaRef,
    types: Types,
    engine: Arc<Engine>,
    cancel: CancelHandle,
    closed: AtomicBool,
    unread: Mutex<Unread>,
}

struct Unread {
    /// Batches that have come; of the first, rows before `at` were given.
    here: VecDeque<RecordBatch>,
    at: usize,
    to_come: Option<ToCome>,
    given: u64,
    failure: Option<Failure>,
    maker: Option<RowMaker>,
}

impl Reader {
    /// The rows of a query that runs.
    pub(crate) fn running(
        stream: QueryStream,
        runs: (Run, Run),
        types: Types,
        engine: Arc<Engine>,
        cancel: CancelHandle,
    ) -> Self {
        let schema = stream.schema();
        let to_come = ToCome {
            stream: Local::new(stream),
            _runs: runs,
        };
        Self::new(
            schema,
            VecDeque::new(),
            Some(to_come),
            types,
            engine,
            cancel,
        )
    }

    /// All rows of a query that has ended.
    pub(crate) fn finished(
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        types: Types,
        engine: Arc<Engine>,
    ) -> Self {
        let cancel = CancelHandle::default();
        Self::new(schema, batches.into(), None, types, engine, cancel)
    }

    fn new(
        schema: SchemaRef,
        here: VecDeque<RecordBatch>,
        to_come: Option<ToCome>,
        types: Types,
        engine: Arc<Engine>,
        cancel: CancelHandle,
    ) -> Self {
        Self {
            schema,
            types,
            engine,
            cancel,
            closed: AtomicBool::new(false),
            unread: Mutex::new(Unread {
                here,
                at: 0,
                to_come,
                given: 0,
                failure: None,
                maker: None,
            }),
        }
    }

    /// Waits for the first batch, so that what fails at once fails here, with an exception that tells
    /// all, and not where only a text gets through.
    pub(crate) fn into_exported(self, py: Python<'_>) -> PyResult<Exported> {
        let mut unread = self.lock(py)?;
        self.fill(py, &mut unread)?;
        Ok(unread.take(&self.schema))
    }

    fn lock(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Unread>> {
        let unread = match self.unread.try_lock() {
            Ok(unread) => unread,
            Err(TryLockError::Poisoned(unread)) => unread.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(interface(
                    py,
                    "another thread is reading these rows",
                    "let each thread run a query, or have a cursor, of its own",
                ));
            }
        };
        if self.closed.load(Ordering::Acquire) {
            return Err(interface(
                py,
                "the rows were given up or handed over",
                "run the query again",
            ));
        }
        match &unread.failure {
            Some(failure) => Err(failure.raise(py)),
            None => Ok(unread),
        }
    }

    /// Sees to it that there is a batch with rows, if there are rows. `false`: there are no more.
    fn fill(&self, py: Python<'_>, unread: &mut Unread) -> PyResult<bool> {
        loop {
            match unread.here.front() {
                Some(batch) if unread.at < batch.num_rows() => return Ok(true),
                Some(_) => {
                    unread.here.pop_front();
                    unread.at = 0;
                }
                None => match self.next(py, unread)? {
                    Some(batch) => unread.here.push_back(batch),
                    None => return Ok(false),
                },
            }
        }
    }

    /// The rows that are left, as a reader of their own, each batch converted as it comes.
    fn converted(
        &self,
        py: Python<'_>,
        schema: SchemaRef,
        convert: impl Fn(&RecordBatch) -> Result<RecordBatch, Error> + Send + 'static,
    ) -> PyResult<Self> {
        let mut unread = self.lock(py)?;
        self.closed.store(true, Ordering::Release);
        let (here, mut to_come) = unread.take(&self.schema).into_parts();
        let here = here
            .into_iter()
            .map(|batch| convert(&batch).map_err(|error| raised(py, &error)))
            .collect::<PyResult<_>>()?;
        if let Some(stream) = to_come.as_mut().and_then(|rest| rest.stream.get_mut()) {
            let none = QueryStream::new(self.schema.clone(), futures::stream::empty());
            let batches = std::mem::replace(stream, none);
            *stream = converted(batches, schema.clone(), convert);
        }
        Ok(Self::new(
            schema,
            here,
            to_come,
            self.types.clone(),
            self.engine.clone(),
            self.cancel.clone(),
        ))
    }

    fn next(&self, py: Python<'_>, unread: &mut Unread) -> PyResult<Option<RecordBatch>> {
        let Some(to_come) = &mut unread.to_come else {
            return Ok(None);
        };
        let process = to_come.stream.process();
        let Some(stream) = to_come.stream.get_mut() else {
            return Err(forked(py, process));
        };
        let (failure, error) = match wait_and_look(py, stream.try_next(), |_| Ok(())) {
            Ok(Ok(Some(batch))) => return Ok(Some(batch)),
            Ok(Ok(None)) => {
                unread.to_come = None;
                return Ok(None);
            }
            Ok(Err(error)) => {
                let failure = match self.engine.is_closed() || self.closed.load(Ordering::Acquire) {
                    true => closed_meanwhile(),
                    false => Failure::from(&error),
                };
                let error = failure.raise(py);
                (failure, error)
            }
            Err(raised) => (interrupted(), raised),
        };
        unread.give_up();
        unread.failure = Some(failure);
        Err(error)
    }
}

/// The rows of another schema that are made of these.
pub(crate) fn converted(
    batches: QueryStream,
    schema: SchemaRef,
    convert: impl Fn(&RecordBatch) -> Result<RecordBatch, Error> + Send + 'static,
) -> QueryStream {
    QueryStream::new(
        schema,
        batches.and_then(move |batch| ready(convert(&batch))),
    )
}

impl Unread {
    fn give_up(&mut self) {
        // Cancels what still runs.
        self.to_come = None;
        self.here.clear();
        self.at = 0;
    }

    /// The rest, for somebody else.
    fn take(&mut self, schema: &SchemaRef) -> Exported {
        let mut here = std::mem::take(&mut self.here);
        if let Some(first) = here.front_mut() {
            *first = first.slice(self.at, first.num_rows() - self.at);
        }
        self.at = 0;
        Exported::new(schema.clone(), here, self.to_come.take())
    }
}

fn closed_meanwhile() -> Failure {
    Failure::new(
        "interface",
        "the connection or the rows were closed while rows were to come",
        Some("read all rows before closing"),
    )
}

fn interrupted() -> Failure {
    Failure::new(
        "cancelled",
        "the query was cancelled when a signal interrupted the reading of its rows",
        None,
    )
}

#[pymethods]
impl Reader {
    /// Names and types of the columns.
    #[getter]
    fn schema(&self) -> Schema {
        Schema::new(self.schema.clone(), self.types.clone())
    }

    /// Name, PostgreSQL's type and Arrow's type of each column.
    #[getter]
    fn columns(&self) -> Vec<(String, String, String)> {
        self.schema().columns()
    }

    /// How many rows were given.
    #[getter]
    fn rownumber(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.lock(py)?.given)
    }

    #[getter]
    fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The next rows as tuples; all that are left for `None`; fewer only at the end.
    #[pyo3(signature = (limit=None))]
    fn fetch_rows<'py>(
        &self,
        py: Python<'py>,
        limit: Option<usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut unread = self.lock(py)?;
        let rows = PyList::empty(py);
        let mut wanted = limit.unwrap_or(usize::MAX);
        while wanted > 0 && self.fill(py, &mut unread)? {
            let unread = &mut *unread;
            let Some(batch) = unread.here.front() else {
                break;
            };
            if unread.maker.is_none() {
                unread.maker = Some(RowMaker::new(py, &self.schema)?);
            }
            let Some(maker) = &unread.maker else { break };
            let end = batch.num_rows().min(unread.at.saturating_add(wanted));
            let made = maker.append(py, batch, unread.at..end, &rows);
            if let Err(error) = made.and_then(|()| hear_signals_in_time(py)) {
                // The rows that were made so far are lost with it: going on would hide that.
                unread.give_up();
                unread.failure = Some(Failure::of(py, &error).unwrap_or_else(interrupted));
                return Err(error);
            }
            wanted -= end - unread.at;
            unread.given += (end - unread.at) as u64;
            unread.at = end;
        }
        Ok(rows)
    }

    /// Reads all rows that are left into memory, so that whoever takes them over never waits and meets
    /// no error.
    fn load(&self, py: Python<'_>) -> PyResult<()> {
        let mut unread = self.lock(py)?;
        while let Some(batch) = self.next(py, &mut unread)? {
            unread.here.push_back(batch);
        }
        Ok(())
    }

    /// The rows that are left, as a reader of their own, with decimals where numbers are text.
    #[pyo3(signature = (nan_is_null=false))]
    fn with_decimals(&self, py: Python<'_>, nan_is_null: bool) -> PyResult<Self> {
        let decimals = Decimals::new(&self.schema, nan_is_null);
        self.converted(py, decimals.schema(), move |batch| decimals.convert(batch))
    }

    /// The rows that are left, as a reader of their own, with text as Polars holds it.
    fn with_views(&self, py: Python<'_>) -> PyResult<Self> {
        let schema = view_schema(&self.schema);
        self.converted(py, schema.clone(), move |batch| with_views(batch, &schema))
    }

    /// The next batch that has rows, or what is left of the one that rows were read of; `None` at the
    /// end.
    fn next_batch(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        let mut unread = self.lock(py)?;
        if !self.fill(py, &mut unread)? {
            return Ok(None);
        }
        let at = std::mem::take(&mut unread.at);
        let Some(batch) = unread.here.pop_front() else {
            return Ok(None);
        };
        let batch = batch.slice(at, batch.num_rows() - at);
        unread.given += batch.num_rows() as u64;
        Ok(Some(Batch(batch)))
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        self.next_batch(py)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        capsule::schema(py, &self.schema)
    }

    /// Hands over the rows that are left; there are none here from then on.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // To give another schema is left to the receiver, as Arrow allows.
        let _ = requested_schema;
        let mut unread = self.lock(py)?;
        self.fill(py, &mut unread)?;
        self.closed.store(true, Ordering::Release);
        let rows = unread.take(&self.schema);
        capsule::stream(py, rows)
    }

    /// Ends the query, from any thread; reading on is an error then.
    fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Gives up the rows that are left, and cancels the query on every shard if it still runs.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        match self.unread.try_lock() {
            Ok(mut unread) => unread.give_up(),
            Err(TryLockError::Poisoned(unread)) => unread.into_inner().give_up(),
            // Another thread is waiting for rows: it will find out.
            Err(TryLockError::WouldBlock) => self.cancel.cancel(),
        }
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyAny>) {
        self.close();
    }
}

/// Some rows, as a record batch of Arrow.
#[pyclass(frozen, module = "merganser._merganser")]
pub(crate) struct Batch(RecordBatch);

#[pymethods]
impl Batch {
    #[getter]
    fn num_rows(&self) -> usize {
        self.0.num_rows()
    }

    #[getter]
    fn num_columns(&self) -> usize {
        self.0.num_columns()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.0.get_array_memory_size()
    }

    fn __len__(&self) -> usize {
        self.0.num_rows()
    }

    /// The rows as tuples.
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let rows = PyList::empty(py);
        let maker = RowMaker::new(py, &self.0.schema())?;
        maker.append(py, &self.0, 0..self.0.num_rows(), &rows)?;
        Ok(rows)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        capsule::schema(py, &self.0.schema())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema;
        capsule::array(py, &self.0)
    }

    fn __repr__(&self) -> String {
        format!(
            "<merganser.Batch of {} rows and {} columns>",
            self.0.num_rows(),
            self.0.num_columns()
        )
    }
}
