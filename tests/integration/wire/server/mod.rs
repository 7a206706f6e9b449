//! A scripted server: as much of the protocol as a query needs, and faults where they are wanted.

mod login;

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use self::login::Scram;
pub(crate) use self::login::{LIES, Lie, PASSWORD};

/// Where in a connection's life a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// Instead of an answer to the request for TLS.
    Tls,
    /// Behind the answer that there is TLS, in place of a handshake.
    Handshake,
    /// Instead of an answer to the startup message.
    Startup,
    /// Instead of an answer to the first message of SCRAM.
    ScramFirst,
    /// Instead of an answer to the last message of SCRAM.
    ScramFinal,
    /// Behind that answer, before AuthenticationOk.
    ScramDone,
    /// Behind AuthenticationOk.
    Login,
    /// Instead of an answer to BEGIN.
    Begin,
    /// Instead of a description of the statement.
    Describe,
    /// Instead of CopyOutResponse.
    Execute,
    /// Behind CopyOutResponse.
    Copy,
    /// Behind the first row.
    FirstRow,
    /// In the middle of a row.
    WithinRow,
    /// Behind the last row, before the trailer.
    LastRow,
    /// Behind the trailer, before CopyDone.
    Trailer,
    /// Behind CopyDone.
    Done,
    /// Behind CommandComplete, before ReadyForQuery.
    Complete,
}

pub(crate) const POINTS: [Point; 17] = [
    Point::Tls,
    Point::Handshake,
    Point::Startup,
    Point::ScramFirst,
    Point::ScramFinal,
    Point::ScramDone,
    Point::Login,
    Point::Begin,
    Point::Describe,
    Point::Execute,
    Point::Copy,
    Point::FirstRow,
    Point::WithinRow,
    Point::LastRow,
    Point::Trailer,
    Point::Done,
    Point::Complete,
];

impl Point {
    /// Whether the connection is asked to have TLS there.
    pub(crate) fn is_of_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Handshake)
    }

    /// Whether a password is asked for there.
    fn is_of_scram(self) -> bool {
        matches!(self, Self::ScramFirst | Self::ScramFinal | Self::ScramDone)
    }

    /// Whether notices and settings may come there: not before the login, nor within a message.
    pub(crate) fn takes_notices(self) -> bool {
        let is_before = self.is_of_tls() || self.is_of_scram() || self == Self::Startup;
        !is_before && self != Self::WithinRow
    }
}

/// What happens there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// FIN.
    Close,
    /// RST.
    Reset,
    /// Nothing, for ever.
    Hang,
    /// Nothing for so long, and then what a healthy server sends.
    Pause(Duration),
    /// These bytes, and then what a healthy server sends.
    Bytes(Vec<u8>),
    /// These bytes, and nothing more.
    BytesAndHang(Vec<u8>),
    /// The same bytes again and again.
    Endless(Vec<u8>),
    /// The same, as fast as they are read.
    Flood(Vec<u8>),
    /// These bytes, so many zeros behind them, and then what a healthy server sends.
    Long(Vec<u8>, usize),
    /// Not what SCRAM asks for.
    Lie(Lie),
    /// An error of this SQLSTATE in place of the rest, and ReadyForQuery.
    Error(&'static str),
    /// An error of this SQLSTATE, and FIN.
    Fatal(&'static str),
}

/// What a server does.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) fault: Option<(Point, Fault)>,
    /// The rows, of one `int4` each; `None`: one every 5 ms, for ever.
    pub(crate) rows: Option<usize>,
    /// The value of the first row; each further one is one more.
    pub(crate) first: usize,
    /// What `COPY n` says where it is not the number of rows.
    pub(crate) counted: Option<usize>,
    /// How many bytes to send at once, with a pause behind them.
    pub(crate) step: Option<usize>,
    /// Only the first connection has the fault, and at BEGIN only after this many.
    pub(crate) first_after: Option<usize>,
}

pub(crate) const HEALTHY: Script = Script {
    fault: None,
    rows: Some(10),
    first: 0,
    counted: None,
    step: None,
    first_after: None,
};

pub(crate) const ENDLESS: Script = Script {
    rows: None,
    ..HEALTHY
};

/// How often what happened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicUsize,
    pub(crate) open: AtomicUsize,
    /// Connections in the middle of a COPY.
    pub(crate) copying: AtomicUsize,
    pub(crate) cancels: AtomicUsize,
    /// Statements that were prepared under a name.
    pub(crate) named: AtomicUsize,
}

/// A running server; it ends when it is dropped.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    has_tls: bool,
    pub(crate) counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        let has_tls = script.point().is_some_and(Point::is_of_tls);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                let mut script = script.clone();
                if number > 0 && script.first_after.is_some() {
                    script.fault = None;
                }
                let counts = shared.clone();
                connections.spawn(async move {
                    let _open = Counted::new(counts.clone(), |counts| &counts.open);
                    let connection = Connection {
                        stream: Either::Left(stream),
                        script,
                        counts,
                        begun: 0,
                    };
                    // It ends by what was asked for, or because the client went away.
                    let _ = connection.serve().await;
                });
            }
        });
        Self {
            port,
            has_tls,
            counts,
            _tasks: tasks,
        }
    }

    pub(crate) fn url(&self) -> String {
        let mode = match self.has_tls {
            true => "require",
            false => "disable",
        };
        format!(
            "postgresql://u:{PASSWORD}@127.0.0.1:{}/d?sslmode={mode}&connect_timeout=20",
            self.port
        )
    }
}

impl Script {
    fn point(&self) -> Option<Point> {
        self.fault.as_ref().map(|(point, _)| *point)
    }

    fn lie(&self) -> Option<Lie> {
        match &self.fault {
            Some((_, Fault::Lie(lie))) => Some(*lie),
            _ => None,
        }
    }
}

/// One more, for as long as this lives.
struct Counted(Arc<Counts>, fn(&Counts) -> &AtomicUsize);

impl Counted {
    fn new(counts: Arc<Counts>, which: fn(&Counts) -> &AtomicUsize) -> Self {
        which(&counts).fetch_add(1, Ordering::SeqCst);
        Self(counts, which)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::SeqCst);
    }
}

struct Connection {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    script: Script,
    counts: Arc<Counts>,
    /// Transactions until now.
    begun: usize,
}

// What stands in place of a startup message. Source: PostgreSQL documentation, "Message Formats".
const SSL_REQUEST: [u8; 4] = 80_877_103_i32.to_be_bytes();
const CANCEL_REQUEST: [u8; 4] = 80_877_102_i32.to_be_bytes();

pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend((body.len() as i32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

pub(crate) fn error(code: &str) -> Vec<u8> {
    message(
        b'E',
        format!("SERROR\0VERROR\0C{code}\0Mscripted\0\0").as_bytes(),
    )
}

pub(crate) fn notice() -> Vec<u8> {
    message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mscripted\0\0")
}

fn copy_row(row: usize) -> Vec<u8> {
    let mut body = vec![0, 1, 0, 0, 0, 4];
    body.extend((row as i32).to_be_bytes());
    message(b'd', &body)
}

impl Connection {
    async fn serve(mut self) -> io::Result<()> {
        let mut startup = self.receive().await?;
        if startup == SSL_REQUEST {
            self.at(Point::Tls).await?;
            self.send(b"S").await?;
            self.at(Point::Handshake).await?;
            self.stream = match self.stream {
                Either::Left(plain) => Either::Right(login::acceptor().accept(plain).await?),
                encrypted => encrypted,
            };
            startup = self.receive().await?;
        }
        if startup.starts_with(&CANCEL_REQUEST) {
            self.counts.cancels.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        self.at(Point::Startup).await?;
        if self.script.point().is_some_and(Point::is_of_scram) {
            self.scram().await?;
        }
        self.send(&message(b'R', &[0; 4])).await?;
        self.at(Point::Login).await?;
        let login = [
            message(b'S', b"server_version\x0015.0\0"),
            message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]),
            message(b'Z', b"I"),
        ];
        self.send(&login.concat()).await?;
        // After an error within the extended protocol, up to Sync.
        let mut skipping = false;
        loop {
            let tag = self.stream.read_u8().await?;
            let body = self.receive().await?;
            let answered = match tag {
                b'S' => {
                    skipping = false;
                    self.send(&message(b'Z', b"T")).await
                }
                _ if skipping => Ok(()),
                b'Q' => self.simple(&body).await,
                b'P' => {
                    if body.first() != Some(&0) {
                        self.counts.named.fetch_add(1, Ordering::SeqCst);
                    }
                    self.send(&message(b'1', b"")).await
                }
                b'D' => self.describe().await,
                b'X' => return Ok(()),
                _ => self.send(&error("08P01")).await,
            };
            match answered {
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    if tag == b'Q' {
                        self.send(&message(b'Z', b"E")).await?;
                    } else {
                        skipping = true;
                    }
                }
                other => other?,
            }
        }
    }

    /// The rest of a message: its length and what that counts.
    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let length = self.stream.read_i32().await?;
        let mut body = vec![0; length as usize - 4];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }

    async fn scram(&mut self) -> io::Result<()> {
        let lie = self.script.lie();
        let ask =
            |code: u8, text: &str| message(b'R', &[&[0, 0, 0, code][..], text.as_bytes()].concat());
        self.send(&ask(10, "SCRAM-SHA-256\0\0")).await?;
        self.stream.read_u8().await?;
        let first = self.receive().await?;
        // Behind the mechanism's name and a length.
        let first = first
            .splitn(2, |byte| *byte == 0)
            .last()
            .unwrap_or_default();
        let scram = Scram::new(first.get(4..).unwrap_or_default(), lie)?;
        self.at(Point::ScramFirst).await?;
        self.send(&ask(11, scram.server_first())).await?;
        self.stream.read_u8().await?;
        let last = self.receive().await?;
        let Some(answer) = scram.server_final(&last, lie) else {
            self.send(&error("28P01")).await?;
            return self.end().await;
        };
        self.at(Point::ScramFinal).await?;
        if lie != Some(Lie::NoSignature) {
            self.send(&ask(12, &answer)).await?;
        }
        self.at(Point::ScramDone).await
    }

    async fn simple(&mut self, sql: &[u8]) -> io::Result<()> {
        if sql.starts_with(b"BEGIN") {
            if self.begun >= self.script.first_after.unwrap_or(0) {
                self.at(Point::Begin).await?;
            }
            self.begun += 1;
            return self
                .send(&[message(b'C', b"BEGIN\0"), message(b'Z', b"T")].concat())
                .await;
        }
        if sql.starts_with(b"COPY") {
            self.copy().await?;
            return self.send(&message(b'Z', b"T")).await;
        }
        self.send(&[message(b'C', b"ROLLBACK\0"), message(b'Z', b"I")].concat())
            .await
    }

    async fn describe(&mut self) -> io::Result<()> {
        self.at(Point::Describe).await?;
        // One column "n" of type int4 (23).
        let mut columns = vec![0, 1];
        columns.extend(b"n\0");
        columns.extend([0; 6]);
        columns.extend([0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0]);
        self.send(&[message(b't', &[0, 0]), message(b'T', &columns)].concat())
            .await
    }

    async fn copy(&mut self) -> io::Result<()> {
        let _copying = Counted::new(self.counts.clone(), |counts| &counts.copying);
        self.at(Point::Execute).await?;
        self.send(&message(b'H', &[1, 0, 1, 0, 1])).await?;
        self.at(Point::Copy).await?;
        let mut first = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        first = message(b'd', &first);
        let Some(rows) = self.script.rows else {
            self.send(&first).await?;
            for row in 0.. {
                self.send(&copy_row(self.script.first + row)).await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            return Ok(());
        };
        for row in 0..rows {
            first.extend(copy_row(self.script.first + row));
            if row == rows / 2 {
                self.send(&first[..first.len() - 3]).await?;
                self.at(Point::WithinRow).await?;
                first.drain(..first.len() - 3);
            }
            self.send(&first).await?;
            first.clear();
            if row == 0 {
                self.at(Point::FirstRow).await?;
            }
        }
        // Where there is no row, the header is still to be sent.
        self.send(&first).await?;
        self.at(Point::LastRow).await?;
        self.send(&message(b'd', &[255, 255])).await?;
        self.at(Point::Trailer).await?;
        self.send(&message(b'c', b"")).await?;
        self.at(Point::Done).await?;
        let count = self.script.counted.unwrap_or(rows);
        self.send(&message(b'C', format!("COPY {count}\0").as_bytes()))
            .await?;
        self.at(Point::Complete).await
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(step) = self.script.step else {
            return self.stream.write_all(bytes).await;
        };
        self.tcp().set_nodelay(true)?;
        for piece in bytes.chunks(step) {
            self.stream.write_all(piece).await?;
            // Long enough for the client to read the piece on its own.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Does what is to be done at this point. `Interrupted`: an error takes the place of the rest.
    async fn at(&mut self, point: Point) -> io::Result<()> {
        let Some((_, fault)) = self.script.fault.clone().filter(|(at, _)| *at == point) else {
            return Ok(());
        };
        match fault {
            Fault::Close => self.end().await,
            Fault::Reset => {
                self.tcp().set_zero_linger()?;
                Err(ErrorKind::ConnectionAborted.into())
            }
            Fault::Hang => self.hang().await,
            Fault::Pause(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Fault::Bytes(bytes) => self.send(&bytes).await,
            Fault::BytesAndHang(bytes) => {
                self.send(&bytes).await?;
                self.hang().await
            }
            Fault::Endless(bytes) => {
                let bytes = bytes.repeat(100);
                loop {
                    self.stream.write_all(&bytes).await?;
                    // Not all of the processor: other tests run too.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            Fault::Flood(bytes) => {
                let bytes = bytes.repeat(1 + (64 << 10) / bytes.len());
                loop {
                    self.stream.write_all(&bytes).await?;
                }
            }
            Fault::Long(bytes, zeros) => {
                self.stream.write_all(&bytes).await?;
                let piece = vec![0; 64 << 10];
                let mut left = zeros;
                while left > 0 {
                    let length = left.min(piece.len());
                    self.stream.write_all(&piece[..length]).await?;
                    left -= length;
                }
                Ok(())
            }
            Fault::Lie(_) => Ok(()),
            Fault::Error(code) => {
                self.send(&error(code)).await?;
                Err(ErrorKind::Interrupted.into())
            }
            Fault::Fatal(code) => {
                self.send(&error(code)).await?;
                self.end().await
            }
        }
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Either::Left(plain) => plain,
            Either::Right(encrypted) => encrypted.get_ref().0,
        }
    }

    /// FIN. A socket that is closed with unread bytes sends RST instead, which may overtake what
    /// was sent before.
    async fn end(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        self.hang().await
    }

    /// Answers nothing; ends when the client does.
    async fn hang(&mut self) -> io::Result<()> {
        let mut unread = [0; 1024];
        while self.stream.read(&mut unread).await? > 0 {}
        Err(ErrorKind::ConnectionAborted.into())
    }
}
