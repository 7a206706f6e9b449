//! Tells the client library of TLS that is there already, and what a login can be bound to.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// What the library takes for a connector: it gives the stream back, with its channel binding.
pub(super) struct Secured {
    /// Of RFC 5929; `None` where there is none.
    pub(super) end_point: Option<Vec<u8>>,
}

impl Secured {
    /// Has the library call this, and send no SSLRequest of its own.
    pub(super) fn configure(config: &mut Config) {
        config
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<S> for Secured {
    type Stream = SecuredStream<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<SecuredStream<S>>>;

    fn connect(self, inner: S) -> Self::Future {
        let end_point = self.end_point;
        ready(Ok(SecuredStream { inner, end_point }))
    }
}

pub(super) struct SecuredStream<S> {
    inner: S,
    end_point: Option<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for SecuredStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.end_point {
            Some(hash) => ChannelBinding::tls_server_end_point(hash.clone()),
            None => ChannelBinding::none(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SecuredStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SecuredStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
