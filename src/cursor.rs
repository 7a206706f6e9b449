//! A cursor in the shape of Python's DB-API (PEP 249), over [`blocking`](crate::blocking).

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

#[cfg(feature = "datafusion")]
use crate::blocking::Query;
use crate::blocking::{Cluster, FanOut, QueryReader};
use crate::error::{Error, ErrorKind, Result};
use crate::query::CancelHandle;
use crate::text::TextFormatter;

/// Executes queries one after the other, and hands out the rows of the last one: one by one, some
/// at a time, batch by batch, or all at once.
///
/// The ways to fetch may be mixed: every row is handed out exactly once, in order. When a shard
/// fails, the call that meets the failure fails, and so does every fetch after it until something
/// else is executed: the rows that came before are not an answer.
///
/// SQL is answered as one PostgreSQL with all rows would, as by [`Cluster::query`]; a fan-out is asked
/// for by name. Each execution is a read-only transaction of its own on every shard. It ends when all rows are
/// fetched, and when the result is given up: by the next execution, [`commit`](Self::commit),
/// [`rollback`](Self::rollback), [`close`](Self::close) or a drop, which cancel what still runs.
///
/// ```no_run
/// # fn example(cluster: merganser::blocking::Cluster) -> merganser::Result<()> {
/// let mut cursor = cluster.cursor();
/// cursor.execute("select o_orderkey, o_comment from orders")?;
/// while let Some(row) = cursor.fetch_one()? {
///     println!("{:?} {:?}", row.text(0)?, row.text(1)?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cursor {
    cluster: Cluster,
    state: State,
    arraysize: usize,
    cancel: CancelHandle,
}

impl Cluster {
    /// A cursor. Any number of cursors may live at once.
    ///
    /// A cursor with rows still to fetch may hold a connection to each shard. While all connections
    /// are held, the next execution waits for one. So a single thread that has more such cursors
    /// than
    /// [`with_connections_per_shard`](crate::ClusterBuilder::with_connections_per_shard) says would
    /// wait for itself: raise that number, or give the query a timeout.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            cluster: self.clone(),
            state: State::NoResult,
            arraysize: 1,
            cancel: CancelHandle::default(),
        }
    }
}

impl Cursor {
    /// Runs SQL as if one PostgreSQL held all rows, as [`Cluster::query`]. What was executed before
    /// is given up first.
    ///
    /// The query is planned and has run up to its last step then; the shards begin to deliver its
    /// rows with the first fetch.
    ///
    /// # Errors
    /// As [`Query::stream`]; [`ErrorKind::Config`] when the topology names no table, so that nothing
    /// can be planned: [`execute_fan_out`](Self::execute_fan_out) asks every shard as it is.
    /// [`ErrorKind::Usage`] for a closed cursor.
    #[cfg(feature = "datafusion")]
    pub fn execute(&mut self, sql: &str) -> Result<()> {
        self.execute_with(sql, [])
    }

    /// Runs SQL with values for `$1`, `$2`, ... in PostgreSQL's text form; `None` is NULL.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), and [`ErrorKind::Config`] when the number of values is not
    /// that of the parameters.
    #[cfg(feature = "datafusion")]
    pub fn execute_with<I>(&mut self, sql: &str, params: I) -> Result<()>
    where
        I: IntoIterator<Item = Option<String>>,
    {
        let query = self.cluster.query(sql);
        self.execute_query(query.with(|query| query.with_params(params)))
    }

    /// Runs a query with options of its own.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    #[cfg(feature = "datafusion")]
    pub fn execute_query(&mut self, query: Query) -> Result<()> {
        self.discard()?;
        if self.cluster.topology().tables().is_empty() {
            return self.start(|| Err(no_tables()));
        }
        self.cancel.follow(&query.cancel_handle());
        self.start(|| query.stream())
    }

    /// Runs the same SQL on every shard: `cursor.execute_fan_out(cluster.fan_out(sql))`. What was
    /// executed before is given up first.
    ///
    /// The shards are asked for their columns; they begin to deliver rows with the first fetch.
    ///
    /// # Errors
    /// As [`FanOut::stream`], and [`ErrorKind::Usage`] for a closed cursor.
    pub fn execute_fan_out(&mut self, fan_out: FanOut) -> Result<()> {
        self.discard()?;
        self.cancel.follow(&fan_out.cancel_handle());
        self.start(|| fan_out.stream())
    }

    /// What ends that which the cursor executes at that moment, from another thread, also while a
    /// call waits. It stays of use for everything that the cursor executes later.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// The next row; `None` when all were fetched.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when there is no result or the cursor is closed; and those of reading
    /// the rows, which every further fetch repeats.
    pub fn fetch_one(&mut self) -> Result<Option<Row>> {
        self.fetch(Unread::row)
    }

    /// The next rows: `limit` of them, or [`arraysize`](Self::arraysize) for `None`; fewer only
    /// when no more are left.
    ///
    /// # Errors
    /// As [`fetch_one`](Self::fetch_one).
    pub fn fetch_many(&mut self, limit: impl Into<Option<usize>>) -> Result<Vec<Row>> {
        let limit = limit.into().unwrap_or(self.arraysize);
        self.fetch(|unread| unread.rows(limit))
    }

    /// All rows that are left.
    ///
    /// # Errors
    /// As [`fetch_one`](Self::fetch_one).
    ///
    /// # Memory
    /// Holds all of them.
    pub fn fetch_all(&mut self) -> Result<Vec<Row>> {
        self.fetch(|unread| unread.rows(usize::MAX))
    }

    /// The next rows as they are, without taking them apart: those left of the batch that the
    /// cursor is in, or the next batch, never one without rows; `None` when all were fetched.
    ///
    /// # Errors
    /// As [`fetch_one`](Self::fetch_one).
    pub fn fetch_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.fetch(Unread::rest_of_batch)
    }

    /// The columns of the result; `None` when there is none.
    pub fn description(&self) -> Option<SchemaRef> {
        match &self.state {
            State::Result(unread) => Some(unread.reader.schema()),
            _ => None,
        }
    }

    /// The number of rows of the result, known once a fetch has found its end; `None` (-1 in PEP
    /// 249) until then, and when there is no result.
    pub fn rowcount(&self) -> Option<u64> {
        match &self.state {
            State::Result(unread) if unread.ended => Some(unread.received),
            _ => None,
        }
    }

    /// The SQL text with the values in place, as it would run on the first shard.
    ///
    /// PostgreSQL itself is asked for the types of the parameters, and each value is written as a
    /// literal that is cast to its type. The result of the cursor stays as it is.
    ///
    /// # Errors
    /// As [`FanOut::mogrify`], and [`ErrorKind::Usage`] for a closed cursor.
    pub fn mogrify<I>(&self, sql: &str, params: I) -> Result<String>
    where
        I: IntoIterator<Item = Option<String>>,
    {
        match self.state {
            State::Closed => Err(closed()),
            _ => {
                let statement = self.cluster.fan_out(sql);
                statement.with(|it| it.with_params(params)).mogrify()
            }
        }
    }

    /// Ends the transaction of the result, and gives up rows that are not fetched; there is no
    /// result from then on.
    ///
    /// Nothing was changed that could be made permanent: this is here because programs written for
    /// PEP 249 call it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a closed cursor.
    pub fn commit(&mut self) -> Result<()> {
        self.discard()
    }

    /// The same as [`commit`](Self::commit).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a closed cursor.
    pub fn rollback(&mut self) -> Result<()> {
        self.discard()
    }

    /// Gives up the result; every use of the cursor is an error from then on. Closing it again is
    /// none.
    pub fn close(&mut self) {
        self.state = State::Closed;
    }

    /// How many rows [`fetch_many`](Self::fetch_many) fetches unless it is told; 1 at first.
    pub fn arraysize(&self) -> usize {
        self.arraysize
    }

    /// Sets how many rows [`fetch_many`](Self::fetch_many) fetches unless it is told; at least 1.
    pub fn set_arraysize(&mut self, rows: usize) {
        self.arraysize = rows.max(1);
    }

    fn start(&mut self, stream: impl FnOnce() -> Result<QueryReader>) -> Result<()> {
        match stream() {
            Ok(reader) => {
                self.state = State::Result(Unread::new(reader));
                Ok(())
            }
            Err(error) => {
                self.state = State::Failed(error.copy());
                Err(error)
            }
        }
    }

    fn discard(&mut self) -> Result<()> {
        match self.state {
            State::Closed => Err(closed()),
            _ => {
                self.state = State::NoResult;
                Ok(())
            }
        }
    }

    fn fetch<T>(&mut self, read: impl FnOnce(&mut Unread) -> Result<T>) -> Result<T> {
        let result = match &mut self.state {
            State::Result(unread) => read(unread),
            State::NoResult => return Err(no_result()),
            State::Failed(error) => return Err(error.copy()),
            State::Closed => return Err(closed()),
        };
        if let Err(error) = &result {
            self.state = State::Failed(error.copy());
        }
        result
    }
}

/// One row of a result. Cheap to clone.
///
/// # Memory
/// Keeps the batch that it is part of.
#[derive(Clone)]
pub struct Row {
    batch: Arc<RecordBatch>,
    index: usize,
}

impl Row {
    /// The columns. Names may repeat; [`Schema::index_of`](arrow::datatypes::Schema::index_of)
    /// finds the first of a name.
    pub fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }

    /// The value of a column, counted from 0, as an array of this one value; no bytes are copied.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when there is no such column.
    pub fn column(&self, column: usize) -> Result<ArrayRef> {
        Ok(self.whole_column(column)?.slice(self.index, 1))
    }

    /// The value of a column, counted from 0, in PostgreSQL's text form; `None` is NULL.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when there is no such column; [`ErrorKind::Export`] for an Arrow type
    /// that PostgreSQL has no text for, which only a merge can give.
    pub fn text(&self, column: usize) -> Result<Option<String>> {
        let array = self.whole_column(column)?;
        let schema = self.batch.schema_ref();
        let formatter = TextFormatter::try_new(schema.field(column), array)?;
        if formatter.is_null(self.index) {
            return Ok(None);
        }
        let mut text = String::new();
        formatter.write(self.index, &mut text);
        Ok(Some(text))
    }

    /// The row as a batch of this one row; no bytes are copied.
    pub fn to_batch(&self) -> RecordBatch {
        self.batch.slice(self.index, 1)
    }

    fn whole_column(&self, column: usize) -> Result<&dyn Array> {
        let columns = self.batch.columns();
        columns.get(column).map(AsRef::as_ref).ok_or_else(|| {
            Error::new(
                ErrorKind::Usage,
                format!("no column {column}: the row has {} columns", columns.len()),
            )
            .with_hint("columns are counted from 0")
        })
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.batch.schema_ref();
        let names = schema.fields().iter().map(|field| field.name());
        f.debug_map()
            .entries(names.enumerate().map(|(column, name)| {
                let text = self.text(column);
                (name, text.unwrap_or_else(|error| Some(error.to_string())))
            }))
            .finish()
    }
}

/// What there is to fetch from.
#[derive(Debug)]
enum State {
    NoResult,
    Result(Unread),
    /// The result has failed with this error.
    Failed(Error),
    Closed,
}

/// The rows that are not handed out yet.
#[derive(Debug)]
struct Unread {
    reader: QueryReader,
    /// The batch that the cursor is in; the rows from `next` on are not handed out.
    batch: Arc<RecordBatch>,
    next: usize,
    /// Rows of all batches so far.
    received: u64,
    ended: bool,
}

impl Unread {
    fn new(reader: QueryReader) -> Self {
        Self {
            batch: Arc::new(RecordBatch::new_empty(reader.schema())),
            reader,
            next: 0,
            received: 0,
            ended: false,
        }
    }

    /// Makes sure that `next` is a row; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        while self.next >= self.batch.num_rows() {
            let Some(batch) = self.reader.next_batch()? else {
                self.ended = true;
                self.batch = Arc::new(RecordBatch::new_empty(self.reader.schema()));
                self.next = 0;
                return Ok(false);
            };
            self.received += batch.num_rows() as u64;
            self.batch = Arc::new(batch);
            self.next = 0;
        }
        Ok(true)
    }

    fn row(&mut self) -> Result<Option<Row>> {
        if !self.advance()? {
            return Ok(None);
        }
        let row = Row {
            batch: self.batch.clone(),
            index: self.next,
        };
        self.next += 1;
        Ok(Some(row))
    }

    fn rows(&mut self, limit: usize) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        while rows.len() < limit
            && let Some(row) = self.row()?
        {
            rows.push(row);
        }
        Ok(rows)
    }

    fn rest_of_batch(&mut self) -> Result<Option<RecordBatch>> {
        if !self.advance()? {
            return Ok(None);
        }
        let rest = self.batch.num_rows() - self.next;
        let batch = self.batch.slice(self.next, rest);
        self.next += rest;
        Ok(Some(batch))
    }
}

fn no_result() -> Error {
    Error::new(ErrorKind::Usage, "the cursor has no result")
        .with_hint("execute a query first; commit and rollback give its result up")
}

#[cfg(feature = "datafusion")]
fn no_tables() -> Error {
    Error::new(
        ErrorKind::Config,
        "a planned query needs a topology that says how the tables are spread over the shards",
    )
    .with_hint(
        "`merganser inspect` writes one; or run the text as it is on every shard, with \
         Cursor::execute_fan_out",
    )
}

fn closed() -> Error {
    Error::new(ErrorKind::Usage, "the cursor is closed").with_hint("make a new one with cursor()")
}
