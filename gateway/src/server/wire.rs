//! The bytes of a connection: plain, or inside TLS. What came is looked at first, so that who speaks the
//! other one is told so instead of seeing garbage.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::tls::Tls;

/// First byte of a TLS handshake; no HTTP method begins with it.
const TLS_HANDSHAKE: u8 = 0x16;
/// How long somebody who was told may take to hang up.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(2);
/// Most that is still read from them, in bytes.
const MAX_GOODBYE: u64 = 64 * 1024;
const WANTS_TLS: &str = "This port speaks TLS. Use wss:// (or https://) and the fingerprint that the gateway printed at its start.\n";
const WANTS_PLAIN: &str = "This port does not speak TLS. Use ws:// (or http://), or set gateway.tls.enabled on the gateway.\n";

/// A connection's bytes.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(TcpStream),
    /// Boxed: most connections are plain, and wait in great number.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Waits for the first byte and makes the handshake that it needs. `None` when the peer is gone, or
    /// speaks what this port does not and was told so. The caller sets the deadline.
    pub(super) async fn open(stream: TcpStream, tls: Option<&Tls>) -> Option<Self> {
        let mut first = [0];
        let is_tls = match stream.peek(&mut first).await {
            Ok(1..) => first[0] == TLS_HANDSHAKE,
            Ok(0) | Err(_) => return None,
        };
        match (tls, is_tls) {
            (None, false) => Some(Self::Plain(stream)),
            (Some(tls), true) => match tls.accept(stream).await {
                Ok(stream) => Some(Self::Tls(Box::new(stream))),
                Err(error) => {
                    tracing::debug!(%error, "TLS handshake ended early");
                    None
                }
            },
            (Some(_), false) => {
                refuse(stream, WANTS_TLS).await;
                None
            }
            (None, true) => {
                refuse(stream, WANTS_PLAIN).await;
                None
            }
        }
    }
}

/// A plain 400 with these words.
async fn refuse(mut stream: TcpStream, words: &str) {
    let length = words.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{words}"
    );
    let goodbye = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would reset the connection before the words are read.
        let mut rest = stream.take(MAX_GOODBYE);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    let _ = timeout(GOODBYE_DEADLINE, goodbye).await;
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
