//! The rows of all shards as one stream: UNION ALL.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use futures::stream::{Stream, StreamExt};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::{Order, same_schema};
use crate::error::{Error, Phase, Result};
use crate::stream::QueryStream;

/// Appends the rows of all streams, as SQL's `UNION ALL` does.
///
/// From the first poll on, every stream is read in a task of its own, so that shards are decoded in
/// parallel. The tasks together may be ahead of the reader by `memory` bytes
/// ([`RecordBatch::get_array_memory_size`]): half of them is divided among the streams, so that each
/// can always go on when its turn comes, and the other half is for whoever needs it. A task that
/// finds neither waits, and with it its server. A single stream is passed through without a task.
///
/// # Errors
/// At once if there is no stream, or if their schemas differ. Later the first error of any stream,
/// in time: also while rows of another shard are being read or wait in a queue, since no row is part
/// of an answer once a shard has failed. The other streams are dropped then.
///
/// # Panics
/// If the stream is first polled outside a tokio runtime.
///
/// # Cancel safety
/// Dropping the stream aborts the tasks, which drops the streams that they read.
///
/// # Memory
/// `memory`, or one batch of each stream where that is larger, and one more batch of each that waits
/// for its place in the queue.
pub(crate) fn union(
    mut streams: Vec<QueryStream>,
    order: Order,
    memory: usize,
) -> Result<QueryStream> {
    same_schema(&streams)?;
    // There is one at least: the check above refuses none.
    let Some(last) = streams.pop() else {
        return Err(lost_reader());
    };
    if streams.is_empty() {
        return Ok(last);
    }
    let schema = last.schema();
    streams.push(last);
    let waiting = Union::Waiting {
        streams,
        order,
        memory,
    };
    Ok(QueryStream::new(schema, waiting))
}

/// The reading end. Tasks begin with the first poll: that is when a runtime is there for certain,
/// and a stream that nobody polls does nothing.
enum Union {
    Waiting {
        streams: Vec<QueryStream>,
        order: Order,
        memory: usize,
    },
    Running(Readers),
    Done,
}

struct Readers {
    /// The queues still to be read, the current one in front: one for each shard, or one for all.
    queues: VecDeque<Queue>,
    /// Has room for one error: the first in time.
    errors: Receiver<Error>,
    /// Dropping it aborts the tasks.
    _tasks: JoinSet<()>,
}

struct Queue {
    receiver: Receiver<Message>,
    /// How many shards write to this queue and have not yet come to their end.
    open: usize,
}

/// What a task tells the reader. The end is said expressly, because a queue that merely closes may
/// also be that of a task that panicked.
enum Message {
    Batch(RecordBatch, OwnedSemaphorePermit),
    End,
}

impl Stream for Union {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Self::Waiting {
            streams,
            order,
            memory,
        } = &mut *self
        {
            let readers = Readers::start(std::mem::take(streams), *order, *memory);
            *self = Self::Running(readers);
        }
        let Self::Running(readers) = &mut *self else {
            return Poll::Ready(None);
        };
        let next = ready!(readers.poll_batch(cx));
        if !matches!(next, Some(Ok(_))) {
            *self = Self::Done;
        }
        Poll::Ready(next)
    }
}

impl Readers {
    fn start(streams: Vec<QueryStream>, order: Order, memory: usize) -> Self {
        let rooms = Room::divide(memory, streams.len());
        let messages = rooms.first().map_or(1, Room::messages);
        let (error_sender, errors) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let mut queues = VecDeque::new();
        let shared = match order {
            Order::Shard => None,
            Order::FirstCome => {
                let places = messages.saturating_mul(streams.len());
                let (sender, receiver) = mpsc::channel(places.min(MOST_MESSAGES));
                queues.push_back(Queue {
                    receiver,
                    open: streams.len(),
                });
                Some(sender)
            }
        };
        for (stream, room) in streams.into_iter().zip(rooms) {
            let sender = match &shared {
                Some(sender) => sender.clone(),
                None => {
                    let (sender, receiver) = mpsc::channel(messages.min(MOST_MESSAGES));
                    queues.push_back(Queue { receiver, open: 1 });
                    sender
                }
            };
            tasks.spawn(read(stream, sender, error_sender.clone(), room));
        }
        Self {
            queues,
            errors,
            _tasks: tasks,
        }
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        // First, so that an error overtakes the batches that wait.
        if let Poll::Ready(Some(error)) = self.errors.poll_recv(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        while let Some(queue) = self.queues.front_mut() {
            match ready!(queue.receiver.poll_recv(cx)) {
                Some(Message::Batch(batch, permit)) => {
                    drop(permit);
                    return Poll::Ready(Some(Ok(batch)));
                }
                Some(Message::End) => {
                    queue.open -= 1;
                    if queue.open == 0 {
                        self.queues.pop_front();
                    }
                }
                // A task that fails says so before it lets go of its queue.
                None => {
                    let error = self.errors.try_recv().unwrap_or_else(|_| lost_reader());
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        // Every shard came to its end, so none has failed.
        Poll::Ready(None)
    }
}

/// One stream, read in a task of its own from the first poll on, which may be ahead of the reader by
/// `queue_bytes`.
///
/// An error goes to `errors`, unless another one is there already; the stream then ends with an
/// error without meaning.
#[cfg(feature = "datafusion")]
pub(super) fn ahead(stream: QueryStream, errors: Sender<Error>, queue_bytes: usize) -> QueryStream {
    let schema = stream.schema();
    let room = Room::alone(queue_bytes);
    let start = move || {
        let (sender, receiver) = mpsc::channel(room.messages().min(MOST_MESSAGES));
        let mut tasks = JoinSet::new();
        tasks.spawn(read(stream, sender, errors, room));
        (receiver, tasks)
    };
    // The tasks are part of the state: dropping them aborts them.
    let state = (Some(start), None);
    let batches = futures::stream::unfold(state, |(start, running)| async move {
        let (mut receiver, tasks) = match start {
            Some(start) => start(),
            None => running?,
        };
        match receiver.recv().await {
            Some(Message::Batch(batch, _)) => Some((Ok(batch), (None, Some((receiver, tasks))))),
            Some(Message::End) => None,
            None => Some((Err(lost_reader()), (None, None))),
        }
    });
    QueryStream::new(schema, batches)
}

/// The task of one shard.
async fn read(mut stream: QueryStream, queue: Sender<Message>, errors: Sender<Error>, room: Room) {
    while let Some(next) = stream.next().await {
        let batch = match next {
            Ok(batch) => batch,
            Err(error) => {
                // No room means that another shard failed before.
                let _ = errors.try_send(error);
                return;
            }
        };
        let Ok(permit) = room.take(batch.get_array_memory_size()).await else {
            return;
        };
        if queue.send(Message::Batch(batch, permit)).await.is_err() {
            return;
        }
    }
    // Gives the connection back before the others have ended.
    drop(stream);
    let _ = queue.send(Message::End).await;
}

/// How far one stream may be ahead of the reader.
struct Room {
    own: Budget,
    /// What all streams of a union have together, on top.
    shared: Option<Budget>,
}

#[derive(Clone)]
struct Budget {
    free: Arc<Semaphore>,
    /// In kibibytes.
    size: u32,
}

impl Room {
    #[cfg(feature = "datafusion")]
    fn alone(bytes: usize) -> Self {
        Self {
            own: Budget::new(bytes),
            shared: None,
        }
    }

    fn divide(memory: usize, streams: usize) -> Vec<Self> {
        let half = memory / 2;
        let shared = Budget::new(half);
        let rooms = (0..streams).map(|_| Self {
            own: Budget::new(half / streams),
            shared: Some(shared.clone()),
        });
        rooms.collect()
    }

    /// The most messages in the queue: a batch takes at least one unit of room, and the end of the
    /// stream needs one place more.
    fn messages(&self) -> usize {
        let shared = self.shared.as_ref().map_or(0, |shared| shared.size);
        usize::try_from(self.own.size + shared).unwrap_or(MOST_MESSAGES) + 1
    }

    /// Waits for the room that a batch needs. One that is larger than all room of its stream's own
    /// goes through alone.
    async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
        let size = kibibytes(bytes);
        let own = self.own.take(size.min(self.own.size));
        match &self.shared {
            Some(shared) if size <= shared.size => tokio::select! {
                biased;
                permit = own => permit,
                permit = shared.take(size) => permit,
            },
            _ => own.await,
        }
    }
}

impl Budget {
    fn new(bytes: usize) -> Self {
        let size = kibibytes(bytes);
        Self {
            free: Arc::new(Semaphore::new(
                usize::try_from(size).unwrap_or(MOST_MESSAGES),
            )),
            size,
        }
    }

    fn take(&self, size: u32) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> {
        Arc::clone(&self.free).acquire_many_owned(size)
    }
}

fn lost_reader() -> Error {
    Error::fault("the task that reads a shard ended without an answer").with_phase(Phase::Merge)
}

/// The unit of the queues' budgets, as a semaphore counts in `u32`; at least one.
fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024))
        .unwrap_or(MOST_KIBIBYTES)
        .clamp(1, MOST_KIBIBYTES)
}

/// A quarter of a tebibyte: no queue comes near, and two of them are below a semaphore's limit on
/// 32-bit machines.
const MOST_KIBIBYTES: u32 = (1 << 28) - 2;
/// Below the limit of a channel on 32-bit machines; places cost nothing until they are used.
const MOST_MESSAGES: usize = (1 << 29) - 1;

#[cfg(test)]
mod tests;
