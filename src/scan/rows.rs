//! The rows of a query on one shard: a COPY, decoded as it comes.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::stream;
use tokio::sync::{mpsc, oneshot};

use super::Retry;
use crate::connect::{Answer, Connection, CopyEvent, Flow, Row, Session, first_rows};
use crate::decode::{Decoder, DecoderBuilder};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::progress::{Counters, ShardState};
use crate::stream::QueryStream;
use crate::types::{Column, Unrepresentable};

/// How rows become batches.
#[derive(Debug, Clone)]
pub(crate) struct BatchOptions {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    /// What may be on its way to the decoder.
    pub(crate) flow: Flow,
    /// The most bytes of one row, about: it is held whole before it is decoded.
    pub(crate) longest_row: usize,
    pub(crate) unrepresentable: Unrepresentable,
    /// Whether values are decoded, or rows left as they are, for another server.
    pub(crate) decoded: bool,
}

/// A COPY, and what runs in the same message before it.
pub(crate) struct Command {
    before: Vec<Prelude>,
    copy: Arc<str>,
}

impl Command {
    #[cfg(feature = "datafusion")]
    pub(crate) fn behind(before: Vec<Prelude>, copy: Arc<str>) -> Self {
        Self { before, copy }
    }

    fn sql(&self) -> Cow<'_, str> {
        // With the rows of other steps it is long.
        if self.before.is_empty() {
            return Cow::Borrowed(&self.copy);
        }
        let before = self.before.iter().map(|it| &*it.sql);
        let all: Vec<_> = before.chain([&*self.copy]).collect();
        Cow::Owned(all.join(";\n"))
    }
}

impl From<Arc<str>> for Command {
    fn from(copy: Arc<str>) -> Self {
        Self {
            before: Vec::new(),
            copy,
        }
    }
}

impl From<String> for Command {
    fn from(copy: String) -> Self {
        Arc::<str>::from(copy).into()
    }
}

/// One statement of our own, and where its rows go, once.
#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
pub(crate) struct Prelude {
    sql: String,
    answer: Option<oneshot::Sender<Vec<Row>>>,
}

impl Prelude {
    /// One without rows.
    #[cfg(feature = "datafusion")]
    pub(crate) fn new(sql: String) -> Self {
        Self { sql, answer: None }
    }

    #[cfg(feature = "datafusion")]
    pub(crate) fn with_rows(sql: String) -> (Self, oneshot::Receiver<Vec<Row>>) {
        let (answer, rows) = oneshot::channel();
        let answer = Some(answer);
        (Self { sql, answer }, rows)
    }

    /// Runs it by itself.
    ///
    /// # Errors
    /// Those of the connection.
    #[cfg(feature = "datafusion")]
    pub(crate) async fn run(mut self, session: &mut Session) -> Result<()> {
        let rows = session.query(&self.sql).await?;
        self.answer(rows);
        Ok(())
    }

    fn answer(&mut self, rows: Vec<Row>) {
        if let Some(answer) = self.answer.take() {
            // Whoever asked may have gone.
            drop(answer.send(rows));
        }
    }
}

/// Streams the rows of a COPY. Nothing runs before the stream is polled; dropping it cancels the
/// query.
///
/// The stream ends only when the trailer, CopyDone, CommandComplete with the right row count, and
/// ReadyForQuery have been seen; anything else is an error. The session, which is ready for another
/// query then, goes back to the pool, or to `back` if somebody waits for it. Where it is lost before the
/// first batch was given, the COPY runs again as `retry` allows.
pub(crate) fn rows(
    session: Session,
    command: impl Into<Command>,
    columns: Vec<Column>,
    options: &BatchOptions,
    counters: Arc<Counters>,
    back: Option<oneshot::Sender<Session>>,
    retry: Option<Retry>,
) -> QueryStream {
    let builder = DecoderBuilder::new(columns)
        .with_batch_rows(options.rows)
        .with_batch_bytes(options.bytes)
        .with_unrepresentable(options.unrepresentable);
    let is_decoded = options.decoded;
    let decoder = move || match is_decoded {
        #[cfg(feature = "datafusion")]
        false => builder.clone().build_undecoded(),
        _ => builder.clone().build(),
    };
    let first = decoder();
    let schema = first.schema();
    let shard = session.shard().to_owned();
    let scan = Scan {
        session,
        decoder: first,
        new_decoder: Box::new(decoder),
        retry,
        back,
        counters: counters.clone(),
        chunk: Vec::new(),
        taken: 0,
        counted: 0,
        begun: 0,
        longest_row: options.longest_row,
        flow: options.flow,
    };
    let batches = stream::try_unfold(Step::Start(Box::new(scan), command.into()), Step::next);
    let batches = batches.map(move |batch| {
        batch.map_err(|error| {
            counters.set(ShardState::Failed);
            error.with_shard(&shard).with_phase(Phase::Stream)
        })
    });
    QueryStream::new(schema, batches)
}

/// Where a scan is.
enum Step {
    Start(Box<Scan>, Command),
    Running(Box<Scan>, Copy),
    /// The rows are complete; the last batch was handed out.
    End,
}

/// A COPY under way.
struct Copy {
    events: mpsc::Receiver<CopyEvent>,
    /// The client library's side, which has the error if there is one.
    driver: Answer,
}

impl Copy {
    async fn send(
        connection: &Connection,
        command: &Command,
        flow: Flow,
    ) -> std::result::Result<Self, tokio_postgres::Error> {
        let (events, driver) = connection.copy_out(&command.sql(), flow).await?;
        Ok(Self { events, driver })
    }

    /// Waits for what runs before it.
    async fn begin(
        &mut self,
        command: &mut Command,
    ) -> std::result::Result<(), tokio_postgres::Error> {
        for prelude in &mut command.before {
            prelude.answer(first_rows(&mut self.driver).await?);
        }
        Ok(())
    }
}

struct Scan {
    session: Session,
    decoder: Decoder,
    new_decoder: Box<dyn Fn() -> Decoder + Send>,
    retry: Option<Retry>,
    /// Who takes the session once the rows are complete.
    back: Option<oneshot::Sender<Session>>,
    counters: Arc<Counters>,
    /// Bytes received; `chunk[taken..]` are not decoded yet.
    chunk: Vec<u8>,
    taken: usize,
    /// Rows that the counters know of.
    counted: u64,
    /// Bytes decoded since then: of the row that has begun, and of a chunk at most before it.
    begun: usize,
    longest_row: usize,
    flow: Flow,
}

impl Step {
    async fn next(self) -> Result<Option<(RecordBatch, Self)>> {
        let (scan, copy, batch) = match self {
            Self::Start(mut scan, mut command) => loop {
                match scan.begin(&mut command).await {
                    Ok((copy, batch)) => break (scan, copy, batch),
                    Err(error) => {
                        let error = scan.session.blame(error);
                        scan = scan.again(error).await?;
                    }
                }
            },
            Self::Running(mut scan, mut copy) => {
                let batch = scan.next_batch(&mut copy).await;
                let batch = batch.map_err(|error| scan.session.blame(error))?;
                (scan, copy, batch)
            }
            Self::End => return Ok(None),
        };
        match batch {
            Some(batch) => Ok(Some((batch, Self::Running(scan, copy)))),
            None => {
                // The library has messages of the COPY to hand over still, for which it may wait,
                // and with it every answer behind them.
                drop(copy);
                let Scan {
                    session,
                    decoder,
                    back,
                    counters,
                    ..
                } = *scan;
                let last = decoder.finish().map_err(|error| session.blame(error))?;
                match back {
                    // Dropped where nobody waits for it any more, it goes back to the pool as well.
                    Some(back) => drop(back.send(session)),
                    None => session.finish().await,
                }
                counters.set(ShardState::Done);
                Ok(last.map(|batch| (batch, Self::End)))
            }
        }
    }
}

impl Scan {
    /// Runs the COPY up to its first batch.
    async fn begin(&mut self, command: &mut Command) -> Result<(Copy, Option<RecordBatch>)> {
        let mut copy = self.start(command).await?;
        let batch = self.next_batch(&mut copy).await?;
        Ok((copy, batch))
    }

    /// The same, to be begun anew in another session: rows that came from the one before are dropped.
    async fn again(self: Box<Self>, error: Error) -> Result<Box<Self>> {
        let scan = *self;
        let Some(mut retry) = scan.retry else {
            return Err(error);
        };
        let session = retry.session(scan.session, error).await?;
        scan.counters.forget(scan.counted);
        Ok(Box::new(Self {
            session,
            decoder: (scan.new_decoder)(),
            retry: Some(retry),
            chunk: Vec::new(),
            taken: 0,
            counted: 0,
            begun: 0,
            ..scan
        }))
    }

    async fn start(&mut self, command: &mut Command) -> Result<Copy> {
        self.counters.set(ShardState::Executing);
        let connection = self.session.begin_query()?;
        let mut copy = match Copy::send(connection, command, self.flow).await {
            Ok(copy) => copy,
            Err(error) => return self.server_error(error),
        };
        if self.back.is_none() {
            self.session.end_behind_query().await;
        }
        match copy.begin(command).await {
            Ok(()) => Ok(copy),
            Err(error) => self.server_error(error),
        }
    }

    /// The next full batch; `None` when all data has come and is decoded.
    async fn next_batch(&mut self, copy: &mut Copy) -> Result<Option<RecordBatch>> {
        loop {
            while self.taken < self.chunk.len() {
                let taken = self.decoder.decode(&self.chunk[self.taken..])?;
                self.taken += taken;
                let rows = self.decoder.rows();
                self.begun = match rows > self.counted {
                    true => 0,
                    false => self.begun + taken,
                };
                if self.begun > self.longest_row {
                    return Err(self.row_too_long());
                }
                self.counters.add(rows - self.counted, 0);
                self.counted = rows;
                if self.taken < self.chunk.len()
                    && let Some(batch) = self.decoder.flush()?
                {
                    return Ok(Some(batch));
                }
            }
            match copy.events.recv().await {
                Some(CopyEvent::Data(chunk)) => {
                    if self.counted == 0 {
                        self.counters.set(ShardState::Streaming);
                    }
                    self.counters.add(0, chunk.len() as u64);
                    self.chunk = chunk;
                    self.taken = 0;
                }
                Some(CopyEvent::Complete { rows }) => {
                    self.session.done();
                    if rows != self.decoder.rows() {
                        return Err(Error::new(
                            ErrorKind::Decode,
                            format!(
                                "the server says it sent {rows} rows, but {} were received",
                                self.decoder.rows()
                            ),
                        ));
                    }
                    return Ok(None);
                }
                // The client library knows what happened.
                None => return self.failure(copy).await,
            }
        }
    }

    fn row_too_long(&self) -> Error {
        Error::new(
            ErrorKind::Limit,
            format!(
                "a row is longer than {} bytes, which is what the memory of the query is enough for",
                self.longest_row
            ),
        )
        .with_hint(
            "give the query more memory (--memory on the command line), or read less of a long \
             value: substr(column, 1, 1000000)",
        )
    }

    /// The reason why the data ended early.
    async fn failure<T>(&mut self, copy: &mut Copy) -> Result<T> {
        // The library gives an error of its own for what it does not expect, and may have another
        // message behind it.
        let mut unexpected = None;
        for _ in 0..LAST_MESSAGES {
            match copy.driver.next().await {
                Some(Err(error)) if error.as_db_error().is_some() => {
                    return self.server_error(error);
                }
                // Either the connection ended, or only the messages of this query.
                Some(Err(error)) if error.is_closed() => {
                    if self.session.begin_query()?.is_closed() {
                        return self.server_error(error);
                    }
                    break;
                }
                Some(Err(error)) => unexpected = Some(error),
                Some(Ok(_)) | None => {}
            }
        }
        match unexpected {
            Some(error) => self.server_error(error),
            None => Err(Error::new(
                ErrorKind::Decode,
                "the server's answer is not in PostgreSQL's protocol: it does not confirm the rows",
            )),
        }
    }

    /// The error that ended a query. One that the server sent needs no cancelling.
    fn server_error<T>(&mut self, error: tokio_postgres::Error) -> Result<T> {
        let answered = error.as_db_error().is_some();
        let ours = self.session.begin_query()?.error(error, Phase::Stream);
        if answered {
            self.session.done();
        }
        Err(ours)
    }
}

/// What the tap passes on (CopyOutResponse, CopyDone) where no COPY was awaited, CommandComplete,
/// ReadyForQuery, and the end of the messages.
const LAST_MESSAGES: usize = 5;
