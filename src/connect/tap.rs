//! Takes COPY data and descriptions out of a connection before the client library sees them.
//!
//! ```text
//! socket --> Tap --(everything else)--> tokio-postgres
//!             |
//!             +-----(CopyData payloads, the row count, ReadyForQuery)--> decoder
//!             +-----(ParameterDescription, RowDescription)--> whoever asked for a description
//! socket <-- Tap <--(CopyData, CopyDone)-- whoever has rows for a COPY FROM STDIN
//! ```
//!
//! Why descriptions are taken, [`describe`] tells; why rows are sent from here, [`upload`]. COPY data is
//! taken for two reasons. The library hands each row on as a message of its own, through a channel and a
//! reference-counted buffer, which costs more than decoding it; here rows travel a chunk at a time.
//! And its stream ends at CopyDone, so that neither the row count of `COPY n` nor ReadyForQuery
//! can be waited for, without which a result is not known to be complete.
//!
//! It also bounds what a server can make us hold: the library's codec has no limit on a message.
//!
//! Framing, for all messages from the server: `tag:u8 length:i32 body`, the length counting itself
//! and the body. Source: PostgreSQL documentation, "Message Formats".

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;

use super::auth::AuthCheck;
use super::describe::{self, Described, Describing};
use super::upload::{self, CopyInput};

/// What happens to a COPY, in this order: any number of `Data`, then `Complete`. If the channel
/// ends without `Complete`, the COPY failed, and the client library knows why.
#[derive(Debug)]
pub(crate) enum CopyEvent {
    /// Payloads of CopyData messages, one behind the other: whole rows, but for rows that are
    /// longer than a chunk.
    Data(Vec<u8>),
    /// CopyDone, CommandComplete and ReadyForQuery have been seen.
    Complete {
        /// The rows that the server says it sent.
        rows: u64,
    },
}

/// The most bytes read from the socket at once, and the most in a chunk.
const CHUNK: usize = 128 << 10;
/// No chunk has to be smaller; as much is read at once before there is a COPY.
const SMALL_CHUNK: usize = 16 << 10;
/// After so long a chunk is handed on at the next occasion, however short: rows that come slowly
/// are to be seen coming.
const PATIENCE: Duration = Duration::from_millis(20);
/// Chunks waiting to be decoded, per connection: when there are as many, the socket is not read.
const QUEUE: usize = 4;
/// tag and length.
const HEADER: usize = 5;
/// Limits of libpq (`src/interfaces/libpq/fe-protocol3.c`): these types may be long, others not.
const LONG_TYPES: &[u8] = b"TtDdVENAS";
const LONG: usize = 0x3fff_ffff;
const SHORT: usize = 30_000;
/// The most bytes of a login, up to the first ReadyForQuery: a few hundred are usual. The library
/// keeps notices that come before it.
const LOGIN: usize = 1 << 20;
/// The most bytes of a message that is no row, and that the library therefore holds whole. An error may quote a
/// value; descriptions are the longest of the others.
const MESSAGE: usize = describe::LONGEST;
/// The most bytes of the rows of an answer that is no COPY, which the library and we hold: they answer questions
/// of ours. The longest is a catalog, of which a million columns of tables take as much.
const ANSWER: usize = 256 << 20;

/// Chunks of a COPY besides those that wait to be decoded: what comes from the socket, what is being
/// filled, what is being decoded.
const OTHERS: usize = 3;

/// How much of a COPY may be between its socket and the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    chunk: usize,
    queue: usize,
}

impl Flow {
    /// As much as fits into so many bytes, from 64 KiB; more than 896 KiB make nothing faster.
    pub(crate) fn within(bytes: usize) -> Self {
        let chunk = (bytes / (OTHERS + 1)).clamp(SMALL_CHUNK, CHUNK);
        let queue = (bytes / chunk).saturating_sub(OTHERS).clamp(1, QUEUE);
        Self { chunk, queue }
    }
}

#[cfg(test)]
impl Default for Flow {
    fn default() -> Self {
        Self::within(usize::MAX)
    }
}

/// Where the payloads of a COPY go.
type Outlet = PollSender<CopyEvent>;

/// Switches a [`Tap`] on.
#[derive(Clone)]
pub(super) struct TapHandle(Arc<Mutex<Orders>>);

/// What is wanted of the next answer. Without a tap, that is, when the connection has ended, orders
/// are dropped at once, and whoever waits is told that nothing comes.
#[derive(Default)]
struct Orders {
    copy: Option<(Outlet, Flow)>,
    describe: Option<describe::Recipient>,
    upload: Option<upload::Source>,
    ended: bool,
}

impl TapHandle {
    /// Sends the next COPY to the returned channel. To be called before the COPY is sent.
    pub(super) fn copy(&self, flow: Flow) -> mpsc::Receiver<CopyEvent> {
        let (sender, receiver) = mpsc::channel(flow.queue);
        let mut orders = self.orders();
        if !orders.ended {
            orders.copy = Some((PollSender::new(sender), flow));
        }
        receiver
    }

    /// Sends what goes into the returned channel behind the next COPY FROM STDIN. To be called before
    /// that is sent. The channel closes when the server has given up.
    #[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
    pub(super) fn upload(&self) -> mpsc::Sender<CopyInput> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut orders = self.orders();
        if !orders.ended {
            orders.upload = Some(receiver);
        }
        sender
    }

    /// Turns the next Query with a [marked](describe::marked) text into a request for a description, and
    /// gives that to the returned channel. To be called before the query is sent.
    pub(super) fn describe(&self) -> oneshot::Receiver<Described> {
        let (sender, receiver) = oneshot::channel();
        self.orders().describe = Some(sender);
        receiver
    }

    /// Takes back the order for a description, should its query never have been sent.
    pub(super) fn forget_description(&self) {
        self.orders().describe = None;
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the message that is being read goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Library,
    Outlet,
    /// Collected for whoever asked for a description, by the message's tag.
    Description(u8),
    Nowhere,
}

/// A stream of bytes that gives up its COPY data; writing goes through.
pub(super) struct Tap<S> {
    inner: S,
    handle: TapHandle,
    /// Set while a COPY is going on.
    outlet: Option<Outlet>,
    /// Bytes from the socket; `buffer[start..end]` are not dealt with yet.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// What is left of the message that is being read, and where it goes.
    left: usize,
    target: Target,
    chunk: Vec<u8>,
    /// The most bytes of a chunk, and of what is read at once.
    most: usize,
    /// Up to where the chunk holds whole payloads.
    whole: usize,
    /// When a chunk was handed on for the last time.
    sent: Instant,
    /// What a login may still send; `None` after it.
    login_left: Option<usize>,
    /// What the answer may still hold that is no COPY.
    answer_left: usize,
    /// How the server may find out who we are; not looked at after the login.
    auth: Option<AuthCheck>,
    /// CopyDone was seen.
    done: bool,
    /// The row count of the CommandComplete behind it, until ReadyForQuery.
    rows: Option<u64>,
    /// An event that waits for room in the channel.
    completed: Option<CopyEvent>,
    /// What the next call says.
    fault: Option<io::Error>,
    /// Set while a description is awaited.
    describing: Option<Describing>,
    /// Set while a COPY FROM STDIN is going on.
    upload: Option<upload::Source>,
    /// A message that may become another one, as far as the library has written it.
    query: Vec<u8>,
    /// What became of it, or a message with rows; `unsent[written..]` is still to be written.
    unsent: Vec<u8>,
    written: usize,
}

impl<S> Drop for Tap<S> {
    fn drop(&mut self) {
        *self.handle.orders() = Orders {
            ended: true,
            ..Orders::default()
        };
    }
}

impl<S> Tap<S> {
    pub(super) fn new(inner: S) -> (Self, TapHandle) {
        let handle = TapHandle(Arc::default());
        let tap = Self {
            inner,
            handle: handle.clone(),
            outlet: None,
            buffer: vec![0; SMALL_CHUNK].into_boxed_slice(),
            start: 0,
            end: 0,
            left: 0,
            target: Target::Library,
            chunk: Vec::new(),
            most: SMALL_CHUNK,
            whole: 0,
            sent: Instant::now(),
            login_left: Some(LOGIN),
            answer_left: ANSWER,
            auth: None,
            done: false,
            rows: None,
            completed: None,
            fault: None,
            describing: None,
            upload: None,
            query: Vec::new(),
            unsent: Vec::new(),
            written: 0,
        };
        (tap, handle)
    }

    /// Holds the login to what was asked for.
    pub(super) fn with_auth_check(mut self, check: AuthCheck) -> Self {
        self.auth = Some(check);
        self
    }

    /// Looks at the message that starts at `start`; `false` if more of it has to be read first.
    fn begin_message(&mut self) -> io::Result<bool> {
        let unread = &self.buffer[self.start..self.end];
        let Some(&[tag, l0, l1, l2, l3]) = unread.first_chunk::<HEADER>() else {
            return Ok(false);
        };
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let limit = if LONG_TYPES.contains(&tag) {
            LONG
        } else {
            SHORT
        };
        if !(4..=limit).contains(&length) {
            return Err(invalid(format!(
                "message {:?} of invalid length {length}",
                char::from(tag)
            )));
        }
        self.check_length(tag, length)?;
        // What is looked into has to be whole, before anything of it counts: it comes again when it is. It
        // is short, so that is soon.
        let body = unread.get(HEADER..length + 1);
        let is_looked_into = match tag {
            b'R' => self.login_left.is_some() && self.auth.is_some(),
            b'C' => self.outlet.is_some(),
            _ => false,
        };
        if is_looked_into && body.is_none() {
            return Ok(false);
        }
        if let (b'R', Some(_), Some(auth), Some(body)) =
            (tag, self.login_left, &mut self.auth, body)
        {
            let refused = |refused| io::Error::new(io::ErrorKind::PermissionDenied, refused);
            auth.message(body).map_err(refused)?;
        }
        if let Some(left) = self.login_left {
            self.login_left = match (tag, left.checked_sub(length)) {
                (b'Z', _) => None,
                (_, Some(left)) => Some(left),
                (_, None) => return Err(invalid("the login is too long".to_owned())),
            };
        }
        match tag {
            b'D' => self.answer_left -= length,
            b'Z' => self.answer_left = ANSWER,
            _ => {}
        }
        self.target = match self.is_passed_over(tag, length) {
            true => Target::Nowhere,
            false => Target::Library,
        };
        match tag {
            // CopyOutResponse
            b'H' => {
                if let Some((outlet, flow)) = self.handle.orders().copy.take() {
                    (self.outlet, self.most) = (Some(outlet), flow.chunk);
                }
            }
            // CopyInResponse
            b'G' => {
                self.upload = self.handle.orders().upload.take();
                if self.upload.is_some() {
                    self.target = Target::Nowhere;
                }
            }
            // An answer that is no COPY, or its end: the server reads no more rows.
            b'E' | b'Z' => {
                self.upload = None;
                let mut orders = self.handle.orders();
                (orders.copy, orders.upload) = (None, None);
            }
            _ => {}
        }
        if self.outlet.is_some() {
            match tag {
                b'H' => self.target = Target::Nowhere,
                b'd' if self.done => {
                    return Err(invalid("data behind CopyDone".to_owned()));
                }
                b'd' => self.target = Target::Outlet,
                b'c' => {
                    self.target = Target::Nowhere;
                    self.done = true;
                }
                b'C' => self.rows = body.and_then(copied_rows).filter(|_| self.done),
                // An error: the channel ends, and the library tells what it is.
                b'E' => self.close(),
                b'Z' => {
                    self.completed = self.rows.take().map(|rows| CopyEvent::Complete { rows });
                    if self.completed.is_none() {
                        self.close();
                    }
                }
                _ => {}
            }
        }
        if let Some(describing) = &mut self.describing {
            match tag {
                // ParseComplete
                b'1' => {
                    describing.begin();
                    self.target = Target::Nowhere;
                }
                // Also one of the query before it: without that nobody wants the description.
                b'E' => self.describing = None,
                b'Z' if describing.has_begun() => {
                    self.describing.take().map_or(Ok(()), Describing::end)?;
                }
                tag if describing.part(tag).is_some() => {
                    self.target = Target::Description(tag);
                }
                _ => {}
            }
        }
        (self.start, self.left) = match self.target {
            Target::Library => (self.start, length + 1),
            _ => (self.start + HEADER, length - 4),
        };
        Ok(true)
    }

    /// Whether nobody misses the message: ParameterStatus, which the library would keep, whatever its name, and
    /// notices of which a log would be full. A login has bounds of its own.
    fn is_passed_over(&self, tag: u8, length: usize) -> bool {
        self.login_left.is_none() && (tag == b'S' || tag == b'N' && length > MESSAGE)
    }

    /// Holds what the library is to have to its bounds.
    fn check_length(&self, tag: u8, length: usize) -> io::Result<()> {
        let (most, too_long) = match tag {
            b'd' if self.outlet.is_some() => return Ok(()),
            b'D' | b'd' => (self.answer_left, TooLong::Rows),
            b'E' => (MESSAGE, TooLong::Error),
            _ if self.is_passed_over(tag, length) => return Ok(()),
            _ => (MESSAGE, TooLong::Other(tag)),
        };
        match length <= most {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, too_long)),
        }
    }

    /// Gives the buffer, whose bytes are at its beginning, the room that is right for this COPY.
    fn fit_buffer(&mut self) {
        let room = self.most.max(self.end + 1);
        if self.buffer.len() != room {
            let mut buffer = vec![0; room];
            buffer[..self.end].copy_from_slice(&self.buffer[..self.end]);
            self.buffer = buffer.into_boxed_slice();
        }
    }

    /// Ends the channel; what was not sent is dropped.
    fn close(&mut self) {
        self.outlet = None;
        self.completed = None;
        self.done = false;
        self.rows = None;
        self.chunk = Vec::new();
        self.whole = 0;
    }

    /// Hands on the chunk, and the completion behind it. `all`: also a payload that is not whole.
    fn poll_send(&mut self, cx: &mut Context<'_>, all: bool) -> Poll<()> {
        while let Some(outlet) = &mut self.outlet {
            let sendable = if all { self.chunk.len() } else { self.whole };
            if sendable == 0 && self.completed.is_none() {
                break;
            }
            if ready!(outlet.poll_reserve(cx)).is_err() {
                // Nobody wants the rows any more; the connection is about to be closed.
                self.close();
                break;
            }
            let event = if sendable > 0 {
                let mut rest = Vec::with_capacity(self.most);
                rest.extend_from_slice(&self.chunk[sendable..]);
                self.chunk.truncate(sendable);
                self.whole = 0;
                self.sent = Instant::now();
                Some(CopyEvent::Data(std::mem::replace(&mut self.chunk, rest)))
            } else {
                self.completed.take()
            };
            let last = matches!(event, Some(CopyEvent::Complete { .. }) | None);
            let sent = event.is_some_and(|event| outlet.send_item(event).is_ok());
            if last || !sent {
                self.close();
            }
        }
        Poll::Ready(())
    }

    /// Takes the CopyData messages that come next, as far as they are whole and the chunk has room: what has to
    /// be looked at for other messages costs more than a short row.
    fn take_rows(&mut self) {
        if self.outlet.is_none() || self.done {
            return;
        }
        let mut unread = &self.buffer[self.start..self.end];
        while let Some((&[b'd', l0, l1, l2, l3], rest)) = unread.split_first_chunk::<HEADER>() {
            let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
            let payload = length.checked_sub(4).and_then(|length| rest.get(..length));
            let Some(payload) = payload.filter(|it| self.chunk.len() + it.len() <= self.most)
            else {
                break;
            };
            self.chunk.extend_from_slice(payload);
            self.whole = self.chunk.len();
            unread = &rest[payload.len()..];
        }
        self.start = self.end - unread.len();
    }

    /// Deals with the bytes in the buffer; `Ready` when all that can be is done.
    fn poll_process(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.left == 0 {
                self.take_rows();
                if !self.begin_message()? {
                    return Poll::Ready(Ok(()));
                }
            }
            let mut available = self.left.min(self.end - self.start);
            if self.target == Target::Outlet {
                // The buffer may have room for more still.
                available = available.min(self.most);
            }
            let bytes = self.start..self.start + available;
            match self.target {
                Target::Outlet => {
                    // Before the chunk would outgrow its room: making more would copy all of it.
                    while self.chunk.len() + available > self.most {
                        let only_part_of_a_row = self.whole == 0;
                        ready!(self.poll_send(cx, only_part_of_a_row));
                    }
                    if self.outlet.is_some() {
                        self.chunk.extend_from_slice(&self.buffer[bytes]);
                    }
                    self.start += available;
                    self.left -= available;
                    if self.left == 0 {
                        self.whole = self.chunk.len();
                    }
                }
                Target::Description(tag) => {
                    let part = self.describing.as_mut().and_then(|it| it.part(tag));
                    if let Some(part) = part {
                        part.extend_from_slice(&self.buffer[bytes]);
                    }
                    self.start += available;
                    self.left -= available;
                }
                Target::Nowhere => {
                    self.start += available;
                    self.left -= available;
                }
                Target::Library => {
                    // What comes behind the data must not overtake it.
                    ready!(self.poll_send(cx, true));
                    let len = available.min(out.remaining());
                    out.put_slice(&self.buffer[self.start..self.start + len]);
                    self.start += len;
                    self.left -= len;
                    if out.remaining() == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            if self.start == self.end {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tap = &mut *self;
        let before = out.filled().len();
        loop {
            if let Some(fault) = tap.fault.take() {
                return Poll::Ready(Err(fault));
            }
            if tap.start < tap.end {
                let processed = tap.poll_process(cx, out);
                if out.filled().len() > before {
                    // A fault comes at the next call, so that what stands before it is not lost.
                    if let Poll::Ready(Err(fault)) = processed {
                        tap.fault = Some(fault);
                    }
                    return Poll::Ready(Ok(()));
                }
                ready!(processed)?;
            }
            // Bytes that are left are the start of a message.
            tap.buffer.copy_within(tap.start..tap.end, 0);
            (tap.start, tap.end) = (0, tap.end - tap.start);
            tap.fit_buffer();
            let mut unread = ReadBuf::new(&mut tap.buffer[tap.end..]);
            let Poll::Ready(read) = Pin::new(&mut tap.inner).poll_read(cx, &mut unread) else {
                // Nothing more for now: what there is can be decoded meanwhile. But a server sends
                // 8 KiB at a time, and to wake the decoder for each costs more than it gains.
                if tap.chunk.len() >= tap.most / 2 || tap.sent.elapsed() > PATIENCE {
                    ready!(tap.poll_send(cx, false));
                }
                tap.poll_upload(cx)?;
                return Poll::Pending;
            };
            let len = unread.filled().len();
            match read {
                Ok(()) if len > 0 => tap.end += len,
                ended => {
                    tap.close();
                    return Poll::Ready(ended);
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Tap<S> {
    /// Takes what of this belongs to one message; once that is whole, it is sent as it is, or a request for a
    /// description in its place, which is awaited then.
    fn take_query(&mut self, data: &[u8]) -> io::Result<usize> {
        let before = self.query.len();
        self.query.extend_from_slice(data);
        let length = match self.query.get(1..HEADER).and_then(<[u8]>::first_chunk) {
            Some(length) => 1 + u32::from_be_bytes(*length) as usize,
            None => return Ok(data.len()),
        };
        if self.query.len() < length {
            return Ok(data.len());
        }
        self.query.truncate(length);
        let message = std::mem::take(&mut self.query);
        self.unsent = match describe::instead_of_query(&message)? {
            Some(request) => {
                self.describing = self.handle.orders().describe.take().map(Describing::new);
                request
            }
            None => message,
        };
        self.written = 0;
        Ok(length - before)
    }

    /// Sends as much of an upload as there is, and as the socket takes. Nobody has to be told: its end
    /// is the server's answer.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.poll_unsent(cx)?.is_ready() {
            let Some(source) = &mut self.upload else {
                break;
            };
            let Poll::Ready(input) = source.poll_recv(cx) else {
                break;
            };
            if !matches!(input, Some(CopyInput::Data(_))) {
                self.upload = None;
            }
            self.unsent = upload::message(input)?;
        }
        // TLS may hold bytes back.
        match Pin::new(&mut self.inner).poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.unsent.len() {
            let unsent = &self.unsent[self.written..];
            match ready!(Pin::new(&mut self.inner).poll_write(cx, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        self.unsent = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tap = &mut *self;
        ready!(tap.poll_unsent(cx))?;
        let describe = tap.handle.orders().describe.is_some();
        match describe {
            true => Poll::Ready(tap.take_query(data)),
            false => Pin::new(&mut tap.inner).poll_write(cx, data),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What a server sent more of than is held, which is a fault of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooLong {
    Rows,
    Error,
    /// By its tag.
    Other(u8),
}

impl TooLong {
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Rows => {
                "if the database has so many tables, ask without its catalog: --fan-out (Cluster::fan_out)"
            }
            Self::Error => "it may quote a value that the query makes; the server's log has it",
            Self::Other(_) => "check host and port of the shard's URL",
        }
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows => write!(
                f,
                "more than {ANSWER} bytes of rows that are no data of the query"
            ),
            Self::Error => write!(f, "an error of more than {MESSAGE} bytes"),
            Self::Other(tag) => {
                write!(
                    f,
                    "a message {:?} of more than {MESSAGE} bytes",
                    char::from(*tag)
                )
            }
        }
    }
}

impl std::error::Error for TooLong {}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The count in the tag `COPY n` of CommandComplete.
fn copied_rows(body: &[u8]) -> Option<u64> {
    let tag = std::str::from_utf8(body.strip_suffix(b"\0")?).ok()?;
    tag.strip_prefix("COPY ")?.parse().ok()
}

/// What fuzzing begins with: a byte for how much comes at once, one for what is asked, and what a server
/// sends. How it comes changes nothing, and nothing is made up.
#[cfg(fuzzing)]
pub(crate) fn fuzz(input: &[u8]) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let Some((&[step, asked], sent)) = input.split_first_chunk::<2>() else {
        return;
    };
    let run = async |step: usize| {
        let (near, far) = tokio::io::duplex(step);
        let (mut asking, mut answering) = tokio::io::split(far);
        let (mut tap, handle) = Tap::new(near);
        tap.auth = (asked & 4 != 0).then(super::auth::AuthCheck::any);
        let mut events = handle.copy(Flow::within(usize::MAX));
        let mut description = (asked & 1 != 0).then(|| handle.describe());
        // At the same time, as a socket does: neither side waits for the other to read.
        let take = async move {
            let _ = tokio::io::copy(&mut asking, &mut tokio::io::sink()).await;
        };
        let answer = async move {
            let _ = answering.write_all(sent).await;
            let _ = answering.shutdown().await;
        };
        let read = async move {
            let _ = tap
                .write_all(b"Q\0\0\0\x0Abegin\0Q\0\0\0\x09\x01sql\0")
                .await;
            let _ = tap.flush().await;
            let mut passed = Vec::new();
            let ended = tap.read_to_end(&mut passed).await;
            (ended.map_err(|error| error.kind()), passed)
        };
        let collect = async move {
            let (mut data, mut complete) = (Vec::new(), None);
            while let Some(event) = events.recv().await {
                match event {
                    CopyEvent::Data(chunk) => data.extend(chunk),
                    CopyEvent::Complete { rows } => complete = Some(rows),
                }
            }
            (data, complete)
        };
        drop(handle);
        let ((), (), passed, collected) = tokio::join!(take, answer, read, collect);
        let described = description.as_mut().map(|one| one.try_recv().is_ok());
        (passed, collected, described)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    let whole = runtime.block_on(run(1 << 20));
    let ((ended, passed), (data, complete), _) = &whole;
    assert!(passed.len() + data.len() <= sent.len());
    assert!(complete.is_none() || sent.windows(5).any(|five| five == b"COPY "));
    let pieces = runtime.block_on(run(usize::from(step).max(1)));
    // With an error, how far the rest had come is not said; nor is it of rows that were not completed, which
    // are handed on when some time has passed.
    assert_eq!(&pieces.0.0, ended);
    if ended.is_ok() {
        let (handed_on, completed) = &pieces.1;
        assert_eq!(
            (&pieces.0, completed, pieces.2),
            (&whole.0, complete, whole.2)
        );
        assert!(complete.is_none() || handed_on == data);
        assert!(handed_on.starts_with(data) || data.starts_with(handed_on));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend((body.len() as i32 + 4).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn copy(rows: usize, tail: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = message(b'H', &[1, 0, 0]);
        for row in 0..rows {
            bytes.extend(message(b'd', row.to_string().as_bytes()));
        }
        bytes.extend(tail.concat());
        bytes
    }

    /// Reads all through a tap, from a socket that delivers `step` bytes at a time.
    async fn run(bytes: Vec<u8>, step: usize) -> (io::Result<Vec<u8>>, Vec<u8>, Option<u64>) {
        let (near, far) = tokio::io::duplex(step);
        drive(Tap::new(near), far, bytes).await
    }

    /// The same behind the login.
    async fn run_logged_in(
        bytes: Vec<u8>,
        step: usize,
    ) -> (io::Result<Vec<u8>>, Vec<u8>, Option<u64>) {
        let (near, far) = tokio::io::duplex(step);
        let (mut tap, handle) = Tap::new(near);
        tap.login_left = None;
        drive((tap, handle), far, bytes).await
    }

    async fn drive(
        (mut tap, handle): (Tap<DuplexStream>, TapHandle),
        mut far: DuplexStream,
        bytes: Vec<u8>,
    ) -> (io::Result<Vec<u8>>, Vec<u8>, Option<u64>) {
        let mut events = handle.copy(Flow::default());
        drop(handle);
        let writer = async move {
            use tokio::io::AsyncWriteExt;
            // The reader may have given up.
            let _ = far.write_all(&bytes).await;
        };
        let reader = async move {
            let mut passed = Vec::new();
            tap.read_to_end(&mut passed).await.map(|_| passed)
        };
        let collector = async move {
            let (mut data, mut complete) = (Vec::new(), None);
            while let Some(event) = events.recv().await {
                match event {
                    CopyEvent::Data(chunk) => data.extend(chunk),
                    CopyEvent::Complete { rows } => complete = Some(rows),
                }
            }
            (data, complete)
        };
        let ((), passed, (data, complete)) = tokio::join!(writer, reader, collector);
        (passed, data, complete)
    }

    fn complete(rows: usize) -> [Vec<u8>; 3] {
        [
            message(b'c', b""),
            message(b'C', format!("COPY {rows}\0").as_bytes()),
            message(b'Z', b"T"),
        ]
    }

    #[tokio::test]
    async fn data_goes_to_the_outlet_and_the_rest_through() {
        let expected: String = (0..1000).map(|row| row.to_string()).collect();
        for step in [1, 3, 7, 100, 1 << 20] {
            let (passed, data, rows) = run(copy(1000, &complete(1000)), step).await;
            assert_eq!(data, expected.as_bytes(), "step {step}");
            assert_eq!(rows, Some(1000));
            assert_eq!(passed.unwrap(), complete(1000)[1..].concat());
        }
    }

    #[test]
    fn flow_is_within_its_bytes() {
        for bytes in [
            64 << 10,
            100_000,
            300_000,
            512 << 10,
            700_000,
            896 << 10,
            usize::MAX,
        ] {
            let flow = Flow::within(bytes);
            assert!(
                (OTHERS + flow.queue) * flow.chunk <= bytes,
                "{bytes}: {flow:?}"
            );
            assert!(flow.queue >= 1 && flow.chunk >= SMALL_CHUNK);
        }
        assert_eq!(Flow::within(0), Flow::within(64 << 10));
        assert_eq!(Flow::default(), Flow::within(896 << 10));
    }

    #[tokio::test]
    async fn a_connection_goes_on_with_smaller_chunks() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut tap, handle) = Tap::new(near);
        let server = async move {
            let mut received = 0;
            for bytes in [usize::MAX, 0, usize::MAX] {
                let mut events = handle.copy(Flow::within(bytes));
                use tokio::io::AsyncWriteExt;
                let row = message(b'd', &[7; 50_000]);
                let rows = [message(b'H', &[1, 0, 0]), row.repeat(5)].concat();
                far.write_all(&rows).await.unwrap();
                far.write_all(&complete(5).concat()).await.unwrap();
                while let Some(event) = events.recv().await {
                    if let CopyEvent::Data(chunk) = event {
                        assert!(chunk.len() <= Flow::within(bytes).chunk);
                        received += chunk.len();
                    }
                }
            }
            received
        };
        let mut passed = Vec::new();
        let (received, read) = tokio::join!(server, tap.read_to_end(&mut passed));
        read.unwrap();
        assert_eq!(received, 3 * 5 * 50_000);
    }

    #[tokio::test]
    async fn nothing_is_complete_before_ready_for_query() {
        let whole = complete(5);
        for messages in 0..3 {
            let (_, _, rows) = run(copy(5, &whole[..messages]), 64).await;
            assert_eq!(rows, None, "after {messages} messages");
        }
        let error = [message(b'E', b"SERROR\0\0"), message(b'Z', b"E")];
        let (passed, _, rows) = run(copy(5, &error), 64).await;
        assert_eq!(rows, None);
        assert_eq!(passed.unwrap(), error.concat());
    }

    #[tokio::test]
    async fn the_end_comes_in_its_order() {
        let [done, command, ready] = complete(5);
        for tail in [
            vec![command.clone(), ready.clone()],
            vec![command.clone(), done.clone(), ready.clone()],
            vec![done.clone(), message(b'C', b"COPY x\0"), ready.clone()],
            vec![done.clone(), message(b'C', b"COPY 5"), ready.clone()],
            vec![done.clone(), command.clone(), message(b'E', b"\0"), ready],
        ] {
            let (_, _, rows) = run(copy(5, &tail), 64).await;
            assert_eq!(rows, None, "{tail:?}");
        }
        let (passed, _, rows) = run(copy(5, &[done, message(b'd', b"x"), command]), 64).await;
        assert_eq!(rows, None);
        assert!(passed.unwrap_err().to_string().contains("behind CopyDone"));
    }

    /// A description of this answer, which the server sends `step` bytes at a time, to a query that
    /// the library writes likewise; and what the library and the server saw.
    async fn described(answer: &[u8], step: usize) -> (Option<Described>, Vec<u8>, Vec<u8>) {
        use tokio::io::AsyncWriteExt;

        let (near, mut far) = tokio::io::duplex(1 << 16);
        let (mut tap, handle) = Tap::new(near);
        let mut description = handle.describe();
        let before = message(b'Q', b"begin\0");
        let query = message(b'Q', b"\x01select 1\0");
        for piece in [before.clone(), query].concat().chunks(step) {
            tap.write_all(piece).await.unwrap();
        }
        tap.flush().await.unwrap();
        let mut sent = vec![0; before.len() + 29];
        far.read_exact(&mut sent).await.unwrap();
        for piece in answer.chunks(step) {
            far.write_all(piece).await.unwrap();
        }
        drop(far);
        let mut passed = Vec::new();
        let read = tap.read_to_end(&mut passed).await;
        (
            read.ok().and_then(|_| description.try_recv().ok()),
            passed,
            sent.split_off(before.len()),
        )
    }

    #[tokio::test]
    async fn a_query_is_described_instead_of_run() {
        let ready = message(b'Z', b"T");
        let notice = message(b'N', b"\0");
        let column = b"\0\x01n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
        let answer = [
            message(b'1', b""),
            message(b't', b"\0\x01\0\0\0\x19"),
            notice.clone(),
            message(b'T', column),
            ready.clone(),
        ];
        for step in [1, 2, 5, 1000] {
            let (description, passed, sent) = described(&answer.concat(), step).await;
            let description = description.unwrap();
            assert_eq!(description.parameters, [25]);
            assert_eq!(description.columns[0].name, "n");
            assert_eq!(description.columns[0].type_oid, 23);
            assert_eq!(passed, [notice.clone(), ready.clone()].concat());
            assert!(sent.starts_with(b"P\0\0\0\x10\0select 1\0"), "{sent:?}");
            assert!(sent.ends_with(b"S\0\0\0\x04"), "{sent:?}");
        }
        // What is asked before it has rows of its own.
        let before = [
            message(b'T', b"\0\0"),
            message(b'D', b"\0\0"),
            message(b'C', b"SELECT 1\0"),
            ready.clone(),
        ];
        let both = [before.concat(), answer.concat()].concat();
        let (description, passed, _) = described(&both, 7).await;
        assert_eq!(description.unwrap().parameters, [25]);
        let rest = [before.concat(), notice.clone(), ready.clone()].concat();
        assert_eq!(passed, rest);
        let error = [message(b'E', b"SERROR\0\0"), ready.clone()].concat();
        let (description, passed, _) = described(&error, 3).await;
        assert_eq!((description, passed), (None, error));
        // No answer is no description, and nor is half of one.
        let (description, _, _) = described(&answer[..4].concat(), 1000).await;
        assert_eq!(description, None);
        let (description, _, _) = described(&[&*answer[3], &*ready].concat(), 1000).await;
        assert_eq!(description, None);
        // A broken one is a fault, also behind what is passed on.
        let mut broken = answer.clone();
        broken[3] = message(b'T', b"\0\x05");
        for step in [1, 1000] {
            let (description, passed, _) = described(&broken.concat(), step).await;
            assert_eq!((description, &passed), (None, &notice), "{step}");
        }
        let long = [b'T', 0, 0x20, 0, 0];
        let (description, passed, _) = described(&long, 1000).await;
        assert_eq!((description, passed), (None, Vec::new()));
    }

    #[tokio::test]
    async fn who_waits_is_told_of_the_end() {
        let (near, _far) = tokio::io::duplex(64);
        let (tap, handle) = Tap::new(near);
        let mut before = handle.copy(Flow::default());
        drop(tap);
        assert!(before.recv().await.is_none());
        assert!(handle.copy(Flow::default()).recv().await.is_none());
    }

    #[tokio::test]
    async fn a_login_is_bounded() {
        let notice = message(b'N', &[b'x'; 1000]);
        let notices = notice.repeat(LOGIN / 1000 + 1);
        let (passed, _, _) = run(notices.clone(), 1 << 16).await;
        assert!(passed.unwrap_err().to_string().contains("login"));
        let (passed, _, _) = run([message(b'Z', b"I"), notices].concat(), 1 << 16).await;
        passed.unwrap();
    }

    /// The start of a message of this length, whose body never comes.
    fn head(tag: u8, length: usize) -> Vec<u8> {
        [vec![tag], (length as u32).to_be_bytes().to_vec()].concat()
    }

    #[tokio::test]
    async fn what_the_library_would_hold_whole_is_bounded() {
        let ready = message(b'Z', b"I");
        for (tag, length, too_long) in [
            (b'E', MESSAGE + 1, TooLong::Error),
            (b'T', MESSAGE + 1, TooLong::Other(b'T')),
            (b'A', LONG, TooLong::Other(b'A')),
            (b'D', ANSWER + 1, TooLong::Rows),
            (b'd', LONG, TooLong::Rows),
        ] {
            for before in [Vec::new(), ready.clone(), copy(3, &complete(3))] {
                let sent = [before, head(tag, length)].concat();
                let (passed, _, _) = run_logged_in(sent, 1 << 16).await;
                let error = passed.unwrap_err();
                let found = error.get_ref().and_then(|it| it.downcast_ref::<TooLong>());
                assert_eq!(found, Some(&too_long), "{error}");
            }
        }
        // Also while a COPY goes on, whose rows may be as long as they like.
        let (passed, _, _) = run_logged_in(copy(3, &[head(b'E', LONG)]), 64).await;
        assert!(passed.unwrap_err().to_string().contains("an error of more"));
        let (passed, _, _) = run_logged_in(copy(3, &[head(b'd', LONG)]), 64).await;
        assert!(passed.is_ok());
    }

    #[tokio::test]
    async fn rows_of_an_answer_are_bounded_together() {
        let row = message(b'D', &[7; 1000]);
        let ready = message(b'Z', b"T");
        for (rows, is_within) in [(3, true), (4, false)] {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            let (mut tap, _handle) = Tap::new(near);
            (tap.login_left, tap.answer_left) = (None, 3500);
            let sent = [row.repeat(rows), ready.clone()].concat();
            tokio::io::AsyncWriteExt::write_all(&mut far, &sent)
                .await
                .unwrap();
            drop(far);
            let mut passed = Vec::new();
            let read = tap.read_to_end(&mut passed).await;
            assert_eq!(read.is_ok(), is_within, "{rows}: {read:?}");
            if is_within {
                // The next answer has as much again.
                assert_eq!((passed, tap.answer_left), (sent, ANSWER));
            }
        }
    }

    #[tokio::test]
    async fn what_nobody_asks_for_is_passed_over() {
        let status = message(b'S', b"TimeZone\0UTC\0");
        let notice = message(b'N', b"SNOTICE\0\0");
        let others = [&*status, &notice, &message(b'N', &[b'x'; MESSAGE]), &status].concat();
        let [done, command, ready] = complete(2);
        let within = [
            status.clone(),
            done,
            status.clone(),
            command.clone(),
            ready.clone(),
        ];
        let sent = [others, copy(2, &within)].concat();
        for step in [1000, 1 << 16] {
            let (passed, data, rows) = run_logged_in(sent.clone(), step).await;
            assert_eq!(
                passed.unwrap(),
                [&*notice, &command, &ready].concat(),
                "{step}"
            );
            assert_eq!((&*data, rows), (&b"01"[..], Some(2)));
        }
        // The library asks for it in a login.
        let sent = [status, message(b'Z', b"I")].concat();
        assert_eq!(run(sent.clone(), 1000).await.0.unwrap(), sent);
    }

    #[tokio::test]
    async fn a_message_counts_once_however_it_comes() {
        let long = message(b'C', &[b'x'; 20_000]);
        let sent = copy(1, &[message(b'c', b""), long.clone()]);
        for step in [100, 1 << 16] {
            let (passed, _, complete) = run(sent.clone(), step).await;
            assert_eq!((passed.unwrap(), complete), (long.clone(), None), "{step}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            cases: 300,
            failure_persistence: None,
            ..Default::default()
        })]

        #[test]
        fn nothing_makes_it_panic_or_loses_a_byte(
            parts in proptest::collection::vec(part(), 0..40),
            step in 1_usize..300,
        ) {
            let bytes = parts.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (passed, data, complete) = runtime.block_on(run(bytes.clone(), step));
            if let Ok(passed) = passed {
                // All that is missing are headers, and payloads that the reader did not want.
                proptest::prop_assert!(passed.len() + data.len() <= bytes.len());
            }
            if complete.is_some() {
                proptest::prop_assert!(bytes.windows(5).any(|five| five == b"COPY "));
            }
        }
    }

    /// A message, also such as no server sends, or mere bytes.
    fn part() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::collection::vec;
        use proptest::prelude::*;
        let tag = proptest::sample::select(b"HdddcCZENSTR".to_vec());
        prop_oneof![
            8 => (tag, vec(any::<u8>(), 0..200)).prop_map(|(tag, body)| message(tag, &body)),
            4 => Just([message(b'c', b""), message(b'C', b"COPY 3\0"), message(b'Z', b"T")].concat()),
            1 => vec(any::<u8>(), 0..20),
            1 => (any::<u8>(), any::<u32>()).prop_map(|(tag, length)| {
                [vec![tag], length.to_be_bytes().to_vec()].concat()
            }),
        ]
    }

    #[tokio::test]
    async fn messages_of_invalid_length_are_errors() {
        for bytes in [
            vec![b'Z', 0, 0, 0, 3],
            vec![b'Z', 0, 1, 0, 0],
            vec![b'd', 0x7f, 0xff, 0xff, 0xff],
        ] {
            let (passed, _, _) = run(bytes, 64).await;
            assert!(passed.unwrap_err().to_string().contains("invalid length"));
        }
    }

    #[tokio::test]
    async fn rows_that_come_slowly_do_not_wait_for_each_other() {
        use tokio::io::AsyncWriteExt;

        let (near, mut far) = tokio::io::duplex(1024);
        let (mut tap, handle) = Tap::new(near);
        let mut events = handle.copy(Flow::default());
        let reader = tokio::spawn(async move { tap.read_to_end(&mut Vec::new()).await });
        for row in 0..3 {
            tokio::time::sleep(2 * PATIENCE).await;
            let head = if row == 0 { copy(0, &[]) } else { Vec::new() };
            let bytes = [head, message(b'd', b"row")].concat();
            far.write_all(&bytes).await.unwrap();
            let event = events.recv().await;
            assert!(matches!(event, Some(CopyEvent::Data(data)) if data == b"row"));
        }
        drop(far);
        reader.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_row_larger_than_a_chunk_arrives_whole() {
        let body = vec![7; 3 * CHUNK + 1];
        let tail = [vec![message(b'd', &body)], complete(1).to_vec()].concat();
        let (_, data, rows) = run(copy(0, &tail), 1 << 16).await;
        assert_eq!((data, rows), (body, Some(1)));
    }
}
