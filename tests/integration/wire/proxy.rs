//! A proxy before a real server that understands its messages: it counts them, and lets a connection
//! fail at a point of its next query.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::server::{Fault, Point, error};

/// How long a server is away while round trips are counted: what comes meanwhile has waited for no answer.
const DISTANCE: Duration = Duration::from_millis(30);

/// A running proxy; it ends when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    /// What is to happen, once.
    armed: Mutex<Option<(Point, Fault)>>,
    /// Whether round trips are counted.
    is_far: AtomicBool,
    trips: AtomicUsize,
    connections: AtomicUsize,
}

impl Proxy {
    /// A proxy before the server that listens at this port.
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let of_all = shared.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let shared = of_all.clone();
                connections.spawn(async move {
                    // It ends by what was asked for, or because one of both went away.
                    let _ = relay(client, server, &shared).await;
                });
            }
        });
        Self {
            port,
            shared,
            _tasks: tasks,
        }
    }

    /// The URL of a server's database, by way of this proxy.
    pub(crate) fn url(&self, url: &str, server: u16) -> String {
        let there = format!("127.0.0.1:{server}/");
        assert!(url.contains(&there), "{url}");
        let here = format!("127.0.0.1:{}/", self.port);
        format!("{}?sslmode=disable", url.replace(&there, &here))
    }

    /// Lets the next connection that comes to this point fail.
    pub(crate) fn arm(&self, point: Point, fault: Fault) {
        *self.shared.armed.lock().unwrap() = Some((point, fault));
    }

    /// Nothing is to happen; whether anything still was.
    pub(crate) fn disarm(&self) -> bool {
        self.shared.armed.lock().unwrap().take().is_some()
    }

    /// Puts the server at a distance from now on; how many round trips there were since this was called for
    /// the last time.
    pub(crate) fn trips(&self) -> usize {
        self.shared.is_far.store(true, Ordering::SeqCst);
        self.shared.trips.swap(0, Ordering::SeqCst)
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

async fn relay(client: TcpStream, server: u16, shared: &Shared) -> io::Result<()> {
    let upstream = TcpStream::connect(("127.0.0.1", server)).await?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = upstream.into_split();
    let up = async {
        let mut sent = Vec::new();
        while from_client.read_buf(&mut sent).await? > 0 {
            if shared.is_far.load(Ordering::SeqCst) {
                tokio::time::sleep(DISTANCE).await;
                while from_client
                    .try_read_buf(&mut sent)
                    .is_ok_and(|read| read > 0)
                {}
                shared.trips.fetch_add(1, Ordering::SeqCst);
            }
            to_server.write_all(&sent).await?;
            sent.clear();
        }
        to_server.shutdown().await
    };
    let mut down = Down {
        server: from_server,
        client: to_client,
        shared,
        is_copy: false,
        rows: 0,
    };
    tokio::select! {
        ended = down.run() => ended,
        // The server answers what it was asked before, or closes.
        ended = up => {
            ended?;
            down.run().await
        }
    }
}

/// What the server sends, message by message.
struct Down<'a> {
    server: OwnedReadHalf,
    client: OwnedWriteHalf,
    shared: &'a Shared,
    /// Within a COPY, up to ReadyForQuery.
    is_copy: bool,
    rows: usize,
}

impl Down<'_> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            let mut message = vec![0; 5];
            if let Err(error) = self.server.read_exact(&mut message).await {
                self.client.shutdown().await?;
                return Err(error);
            }
            let length = u32::from_be_bytes(message[1..5].try_into().unwrap()) as usize;
            message.resize(1 + length, 0);
            self.server.read_exact(&mut message[5..]).await?;
            if let Some(point) = self.point_before(&message) {
                self.at(point).await?;
            }
            self.client.write_all(&message).await?;
            if let Some(point) = self.point_behind(&message) {
                self.at(point).await?;
            }
        }
    }

    fn point_before(&mut self, message: &[u8]) -> Option<Point> {
        let body = &message[5..];
        match message[0] {
            b'C' if body.starts_with(b"BEGIN") => Some(Point::Begin),
            // ParseComplete
            b'1' => Some(Point::Describe),
            b'H' => {
                (self.is_copy, self.rows) = (true, 0);
                Some(Point::Execute)
            }
            b'd' if body == [255, 255] => Some(Point::LastRow),
            b'c' => Some(Point::Trailer),
            b'C' if self.is_copy => Some(Point::Done),
            b'Z' if self.is_copy => {
                self.is_copy = false;
                Some(Point::Complete)
            }
            _ => None,
        }
    }

    fn point_behind(&mut self, message: &[u8]) -> Option<Point> {
        match message[0] {
            b'H' => Some(Point::Copy),
            b'd' => {
                self.rows += 1;
                (self.rows == 1).then_some(Point::FirstRow)
            }
            _ => None,
        }
    }

    async fn at(&mut self, point: Point) -> io::Result<()> {
        let fault = {
            let mut armed = self.shared.armed.lock().unwrap();
            match &*armed {
                Some((at, _)) if *at == point => armed.take().map(|(_, fault)| fault),
                _ => None,
            }
        };
        match fault {
            None => return Ok(()),
            Some(Fault::Hang) => std::future::pending::<()>().await,
            Some(Fault::Reset) => self.client.as_ref().set_zero_linger()?,
            Some(Fault::Fatal(code)) => {
                self.client.write_all(&error(code)).await?;
                self.client.shutdown().await?;
            }
            Some(Fault::Close) => self.client.shutdown().await?,
            Some(other) => panic!("no fault of a proxy: {other:?}"),
        }
        Err(ErrorKind::ConnectionAborted.into())
    }
}
