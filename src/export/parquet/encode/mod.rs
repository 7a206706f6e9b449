//! Row groups, encoded by several threads: one column of one row group at a time by each.
//!
//! ```text
//!              column a: batch 7, 8, 9 ─► worker ─► pages ─┐
//! batch ─────► column b: batch 8, 9    ─► worker ─► pages ─┼─► closed row group ─► file, in order
//!              column c: batch 9       ─► worker ─► pages ─┘
//! ```
//! Each column takes its batches in their order, and no column waits for another; row groups are
//! written in their order. What is encoded never depends on which thread was faster: row groups end by
//! numbers of rows, and by sizes after a batch that is known to be through.

use std::any::Any;
use std::collections::VecDeque;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{FieldRef, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::writer::SerializedFileWriter;

use crate::export::workers::Workers;

/// The most bytes of batches that wait for the encoders, besides the one that is taken last.
const MOST_WAITING: usize = 16 << 20;
/// Of a row group's bytes, so much may wait at most: sizes of what waits are estimated.
const WAITING_SHARE: usize = 4;
/// How many row groups may be under way besides the one that takes rows.
const MOST_CLOSED: usize = 2;

/// What ends a row group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// At most so many rows, at least 1.
    pub(super) rows: usize,
    /// About as many bytes in memory.
    pub(super) bytes: usize,
}

/// Takes batches, and writes them as row groups of a Parquet file.
pub(super) struct Encoder<W: Write + Send> {
    file: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    /// How many columns of Parquet each field has.
    widths: Vec<usize>,
    bounds: Bounds,
    workers: Arc<Workers>,
    signal: Arc<Signal>,
    /// The row group that takes rows.
    open: Option<Open>,
    /// Those that are full, in their order in the file.
    closed: VecDeque<Arc<RowGroup>>,
    created: usize,
    /// Batches that are not known to be through, in their order.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
}

/// The row group that takes rows.
struct Open {
    group: Arc<RowGroup>,
    rows: usize,
    /// What the rows that are known to be encoded take.
    measured: usize,
    /// The bytes of the others, as they came.
    waiting: usize,
}

struct Waiting {
    batch: Arc<Passage>,
    bytes: usize,
    /// The row group that it belongs to, by number.
    group: usize,
}

/// A batch on its way through the columns.
struct Passage {
    /// How many columns have not encoded it.
    columns: AtomicUsize,
    /// What the columns hold after it.
    bytes: AtomicUsize,
}

/// A row group under way.
struct RowGroup {
    number: usize,
    columns: Vec<Column>,
    /// How many columns are not closed.
    unfinished: AtomicUsize,
}

/// One field of a row group. One thread at a time has it.
struct Column {
    field: FieldRef,
    tasks: Mutex<Tasks>,
    state: Mutex<State>,
}

#[derive(Default)]
struct Tasks {
    waiting: VecDeque<Task>,
    /// Whether a thread has the column, or is about to.
    taken: bool,
}

enum Task {
    Encode(ArrayRef, Arc<Passage>),
    Close,
}

enum State {
    Open(Vec<ArrowColumnWriter>),
    Closed(Vec<ArrowColumnChunk>),
}

/// What threads tell the one that writes.
#[derive(Default)]
struct Signal {
    /// The first.
    failure: Mutex<Option<Failure>>,
    changed: Condvar,
}

enum Failure {
    Error(ParquetError),
    Panic(Box<dyn Any + Send>),
    /// It was told already.
    Told,
}

impl<W: Write + Send> Encoder<W> {
    pub(super) fn new(
        file: SerializedFileWriter<W>,
        factory: ArrowRowGroupWriterFactory,
        schema: SchemaRef,
        bounds: Bounds,
        workers: Arc<Workers>,
    ) -> Self {
        let parquet = file.schema_descr();
        let mut widths = vec![0; schema.fields().len()];
        for leaf in 0..parquet.num_columns() {
            if let Some(width) = widths.get_mut(parquet.get_column_root_idx(leaf)) {
                *width += 1;
            }
        }
        Self {
            file,
            factory,
            schema,
            widths,
            bounds,
            workers,
            signal: Arc::default(),
            open: None,
            closed: VecDeque::new(),
            created: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Takes a batch; waits while too much is under way.
    ///
    /// # Errors
    /// Those of any batch before; then nothing more is encoded.
    ///
    /// # Panics
    /// When an encoder did.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        let row_bytes = batch_bytes(batch) / rows.max(1);
        let mut from = 0;
        while from < rows {
            self.make_room()?;
            let taken = self.room_for(rows - from, row_bytes);
            if taken == 0 {
                self.end_row_group()?;
                continue;
            }
            self.submit(&batch.slice(from, taken))?;
            from += taken;
        }
        Ok(())
    }

    /// Ends the row group that takes rows, if there is one.
    pub(super) fn end_row_group(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        for index in 0..open.group.columns.len() {
            self.give(&open.group, index, Task::Close)?;
        }
        self.closed.push_back(open.group);
        self.write_finished(MOST_CLOSED)
    }

    /// Adds to the metadata at the end of the file.
    pub(super) fn append_key_value_metadata(&mut self, metadata: KeyValue) {
        self.file.append_key_value_metadata(metadata);
    }

    /// Writes what is left, and the end of the file.
    pub(super) fn close(mut self) -> Result<ParquetMetaData> {
        self.end_row_group()?;
        self.write_finished(0)?;
        self.file.finish()
    }

    /// About how many bytes are held for rows of row groups that are not written.
    pub(super) fn held_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, Open::held_bytes)
    }

    /// About how many bytes the file would have if it ended here. Waits for full row groups.
    pub(super) fn file_bytes(&mut self) -> Result<usize> {
        self.write_finished(0)?;
        Ok(self.file.bytes_written() + self.held_bytes())
    }

    /// For how many of so many rows of this size the row group that takes rows has room.
    fn room_for(&self, rows: usize, row_bytes: usize) -> usize {
        let fit = |bytes: usize| bytes / row_bytes.max(1);
        match &self.open {
            // A row that is larger than a row group makes one by itself.
            None => rows
                .min(self.bounds.rows)
                .min(fit(self.bounds.bytes).max(1)),
            Some(open) => {
                let left = self.bounds.bytes.saturating_sub(open.held_bytes());
                rows.min(self.bounds.rows - open.rows).min(fit(left))
            }
        }
    }

    /// Waits until few enough bytes are under way.
    fn make_room(&mut self) -> Result<()> {
        let most = MOST_WAITING.min(self.bounds.bytes / WAITING_SHARE);
        while self.waiting_bytes > most {
            let Some(first) = self.waiting.pop_front() else {
                break;
            };
            self.signal
                .wait(|| first.batch.columns.load(Ordering::Acquire) == 0)?;
            self.waiting_bytes -= first.bytes;
            if let Some(open) = &mut self.open
                && open.group.number == first.group
            {
                open.measured = first.batch.bytes.load(Ordering::Acquire);
                open.waiting -= first.bytes;
            }
        }
        self.write_finished(MOST_CLOSED)
    }

    /// Hands the columns of a batch, for which there is room, to the threads.
    fn submit(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.new_row_group()?,
        };
        let bytes = batch_bytes(batch);
        open.rows += batch.num_rows();
        open.waiting += bytes;
        let passage = Arc::new(Passage {
            columns: AtomicUsize::new(batch.num_columns()),
            bytes: AtomicUsize::new(0),
        });
        for (index, array) in batch.columns().iter().enumerate() {
            let task = Task::Encode(Arc::clone(array), Arc::clone(&passage));
            self.give(&open.group, index, task)?;
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(Waiting {
            batch: passage,
            bytes,
            group: open.group.number,
        });
        let is_full = open.rows >= self.bounds.rows;
        self.open = Some(open);
        match is_full {
            true => self.end_row_group(),
            false => Ok(()),
        }
    }

    fn new_row_group(&mut self) -> Result<Open> {
        let number = self.created;
        let mut writers = self.factory.create_column_writers(number)?.into_iter();
        let fields = self.schema.fields().iter().zip(&self.widths);
        let columns: Vec<_> = fields
            .map(|(field, width)| Column {
                field: Arc::clone(field),
                tasks: Mutex::default(),
                state: Mutex::new(State::Open(writers.by_ref().take(*width).collect())),
            })
            .collect();
        self.created += 1;
        let unfinished = AtomicUsize::new(columns.len());
        Ok(Open {
            group: Arc::new(RowGroup {
                number,
                columns,
                unfinished,
            }),
            rows: 0,
            measured: 0,
            waiting: 0,
        })
    }

    fn give(&self, group: &Arc<RowGroup>, index: usize, task: Task) -> Result<()> {
        let Some(column) = group.columns.get(index) else {
            return Err(ParquetError::General(
                "a batch of another schema".to_owned(),
            ));
        };
        let mut tasks = lock(&column.tasks);
        tasks.waiting.push_back(task);
        if std::mem::replace(&mut tasks.taken, true) {
            return Ok(());
        }
        drop(tasks);
        let (group, signal) = (Arc::clone(group), Arc::clone(&self.signal));
        self.workers
            .run(move || group.work(index, &signal))
            .map_err(|error| ParquetError::External(error.into()))
    }

    /// Writes row groups in their order, and waits for the first ones while there are more than this.
    fn write_finished(&mut self, most: usize) -> Result<()> {
        self.signal.check()?;
        while let Some(first) = self.closed.front() {
            let is_finished = || first.unfinished.load(Ordering::Acquire) == 0;
            if self.closed.len() > most {
                self.signal.wait(is_finished)?;
            } else if !is_finished() {
                break;
            }
            let Some(group) = self.closed.pop_front() else {
                break;
            };
            let mut writer = self.file.next_row_group()?;
            for column in &group.columns {
                let state = &mut *lock(&column.state);
                if let State::Closed(chunks) = state {
                    for chunk in chunks.drain(..) {
                        chunk.append_to_row_group(&mut writer)?;
                    }
                }
            }
            writer.close()?;
        }
        Ok(())
    }
}

impl<W: Write + Send> Drop for Encoder<W> {
    /// Spares the threads what nobody waits for.
    fn drop(&mut self) {
        self.signal.give_up();
    }
}

impl Open {
    /// About how many bytes it has: of what waits as many as before.
    fn held_bytes(&self) -> usize {
        self.measured + self.waiting
    }
}

impl RowGroup {
    /// Does what there is to do for a column.
    fn work(&self, index: usize, signal: &Signal) {
        let Some(column) = self.columns.get(index) else {
            return;
        };
        while let Some(task) = column.next() {
            if !signal.is_failed() {
                match catch_unwind(AssertUnwindSafe(|| column.perform(&task))) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => signal.fail(Failure::Error(error)),
                    Err(panic) => signal.fail(Failure::Panic(panic)),
                }
            }
            let left = match &task {
                Task::Encode(_, passage) => &passage.columns,
                Task::Close => &self.unfinished,
            };
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                signal.tell();
            }
        }
    }
}

impl Column {
    fn next(&self) -> Option<Task> {
        let mut tasks = lock(&self.tasks);
        let next = tasks.waiting.pop_front();
        tasks.taken = next.is_some();
        next
    }

    fn perform(&self, task: &Task) -> Result<()> {
        let mut state = lock(&self.state);
        let State::Open(writers) = &mut *state else {
            return Err(ParquetError::General(
                "a column is closed already".to_owned(),
            ));
        };
        match task {
            Task::Encode(array, passage) => {
                let leaves = compute_leaves(&self.field, array)?;
                if leaves.len() != writers.len() {
                    return Err(ParquetError::General(
                        "a batch of another schema".to_owned(),
                    ));
                }
                for (writer, leaf) in writers.iter_mut().zip(&leaves) {
                    writer.write(leaf)?;
                }
                let bytes = writers.iter().map(ArrowColumnWriter::memory_size).sum();
                passage.bytes.fetch_add(bytes, Ordering::AcqRel);
            }
            Task::Close => {
                let writers = std::mem::take(writers).into_iter();
                let chunks = writers.map(ArrowColumnWriter::close);
                *state = State::Closed(chunks.collect::<Result<_>>()?);
            }
        }
        Ok(())
    }
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, Option<Failure>> {
        lock(&self.failure)
    }

    fn is_failed(&self) -> bool {
        self.lock().is_some()
    }

    fn fail(&self, failure: Failure) {
        self.lock().get_or_insert(failure);
        self.changed.notify_all();
    }

    fn give_up(&self) {
        self.lock().get_or_insert(Failure::Told);
    }

    fn tell(&self) {
        // Whoever is about to wait has looked before, or hears of it.
        drop(self.lock());
        self.changed.notify_all();
    }

    fn check(&self) -> Result<()> {
        tell_failure(&mut self.lock())
    }

    fn wait(&self, is_done: impl Fn() -> bool) -> Result<()> {
        let mut failure = self.lock();
        loop {
            tell_failure(&mut failure)?;
            if is_done() {
                return Ok(());
            }
            failure = self
                .changed
                .wait(failure)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn tell_failure(failure: &mut Option<Failure>) -> Result<()> {
    if failure.is_none() {
        return Ok(());
    }
    match failure.replace(Failure::Told) {
        Some(Failure::Error(error)) => Err(error),
        Some(Failure::Panic(panic)) => resume_unwind(panic),
        Some(Failure::Told) | None => Err(ParquetError::General(
            "the file has failed before".to_owned(),
        )),
    }
}

/// The bytes of a batch's own rows: the same each time, however they lie in memory.
fn batch_bytes(batch: &RecordBatch) -> usize {
    let bytes = |array: &ArrayRef| {
        let own = array.to_data().get_slice_memory_size();
        own.unwrap_or_else(|_| array.get_array_memory_size())
    };
    batch.columns().iter().map(bytes).sum()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
