//! Sockets: TCP or Unix, with TLS or without.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::certificate;
use crate::config::{ConnectParams, Endpoint, Host};
use crate::error::{Error, ErrorKind, Phase, Result};

/// An open connection to a server, before PostgreSQL's protocol.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// An endpoint with its name resolved: one place to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// All addresses of an endpoint, in the resolver's order.
pub(crate) async fn resolve(endpoint: &Endpoint) -> Result<Vec<Address>> {
    match &endpoint.host {
        Host::Unix(directory) => Ok(vec![Address::Unix(
            directory.join(format!(".s.PGSQL.{}", endpoint.port)),
        )]),
        Host::Tcp {
            addr: Some(addr), ..
        } => Ok(vec![tcp(*addr, endpoint.port)]),
        Host::Tcp { name, addr: None } => {
            let found = tokio::net::lookup_host((name.as_str(), endpoint.port)).await;
            let addresses: Vec<_> = found
                .map_err(|error| {
                    // What a resolver that cannot be reached says may pass; that there is no such
                    // name does not.
                    let kind = match is_passing(&error) {
                        true => ErrorKind::Connect,
                        false => ErrorKind::Config,
                    };
                    Error::new(kind, format!("cannot look up the host {name:?}"))
                        .with_phase(Phase::Resolve)
                        .with_source(error)
                        .with_hint("check the host name in the shard's URL")
                })?
                .map(Address::Tcp)
                .collect();
            Ok(addresses)
        }
    }
}

/// Whether a name could not be looked up now (`EAI_AGAIN`, and errors of the system). The standard library
/// has no way but the text of `gai_strerror` to tell it: that of glibc and macOS, that of musl.
fn is_passing(error: &io::Error) -> bool {
    let text = error.to_string();
    error.raw_os_error().is_some()
        || ["emporary failure", "Try again"]
            .iter()
            .any(|it| text.contains(it))
}

fn tcp(addr: IpAddr, port: u16) -> Address {
    Address::Tcp(SocketAddr::new(addr, port))
}

impl Socket {
    /// Opens a socket without TLS.
    pub(crate) async fn open(address: &Address, params: &ConnectParams) -> io::Result<Self> {
        match address {
            Address::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                set_options(&stream, params)?;
                Ok(Self::Tcp(stream))
            }
        }
    }
}

impl Socket {
    /// What a login over it can be bound to; `None` without TLS, and for certificates without.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Tls(stream) => {
                let (_, session) = stream.get_ref();
                certificate::end_point(session.peer_certificates()?.first()?)
            }
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }
}

/// Keepalives and the like. An option that the platform lacks is passed over, as in libpq.
fn set_options(stream: &TcpStream, params: &ConnectParams) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    if let Some(keepalives) = &params.keepalives {
        let mut options = socket2::TcpKeepalive::new();
        if let Some(idle) = keepalives.idle {
            options = options.with_time(idle);
        }
        if let Some(interval) = keepalives.interval {
            options = options.with_interval(interval);
        }
        if let Some(count) = keepalives.count {
            options = options.with_retries(count);
        }
        socket.set_tcp_keepalive(&options)?;
    }
    #[cfg(target_os = "linux")]
    if params.tcp_user_timeout.is_some() {
        socket.set_tcp_user_timeout(params.tcp_user_timeout)?;
    }
    Ok(())
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, out),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, out),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The socket of a cancel request: to shut it down is to wait until the server has closed it, as
/// libpq does, because only then the request was dealt with. A pooler forgets one whose client has
/// gone.
pub(super) struct CancelSocket(pub(super) Socket);

impl AsyncRead for CancelSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl AsyncWrite for CancelSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 64];
        loop {
            let mut answer = ReadBuf::new(&mut scratch);
            // That it ends in an error is no news: TLS is seldom closed in good order here.
            match ready!(Pin::new(&mut self.0).poll_read(cx, &mut answer)) {
                Ok(()) if !answer.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
