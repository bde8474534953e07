//! Channels through the connection: opened so that nothing leaks, failing when the session dies.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{ChannelId, ChannelOpenFailure};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::layer::{Layer, LayerError, Retry};
use crate::tunnel::spec::RemoteEnd;
use crate::tunnel::transport::Lifeline;

use super::closings::Closings;
use super::{Connection, Hook};

/// How long a server may take to open a channel; it dials the far end meanwhile.
const OPEN_ANSWER: Duration = Duration::from_secs(20);
/// The largest piece handed to russh at once; it cuts to the packet size itself.
const MAX_PIECE: usize = 32 * 1024;

/// A byte stream to the far end. Dropping it closes the channel; when the SSH session dies, reads and
/// writes fail instead of looking like an end of the stream.
pub struct ChannelStream {
    stream: russh::ChannelStream<Msg>,
    life: Lifeline,
    read_end: Pin<Box<WaitForCancellationFutureOwned>>,
    write_end: Pin<Box<WaitForCancellationFutureOwned>>,
    id: ChannelId,
    closings: Closings,
    closed: CancellationToken,
    write_closed: Pin<Box<WaitForCancellationFutureOwned>>,
    /// What the last pending write wanted to send. russh keeps such a piece and sends it whatever
    /// the next call says, so the next call must say the same.
    stuck: Vec<u8>,
}

impl std::fmt::Debug for ChannelStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChannelStream")
    }
}

impl Drop for ChannelStream {
    fn drop(&mut self) {
        self.closings.forget(self.id);
    }
}

impl Connection {
    /// Opens a stream to `remote`, as the server sees it. Cancel safe: a channel that nobody waits
    /// for any more is closed when it opens.
    ///
    /// # Errors
    /// [`Layer::Forward`] when the server does not allow it, [`Layer::Port`] when nothing listens
    /// there, [`Layer::Ssh`] when the connection is gone or the server does not answer.
    pub(crate) async fn open_channel(
        &self,
        remote: &RemoteEnd,
    ) -> Result<ChannelStream, LayerError> {
        if self.life.is_over() {
            return Err(self.why_over());
        }
        let opening = open_in_background(
            self.handle.clone(),
            self.life.clone(),
            self.closings.clone(),
            remote.clone(),
        );
        let opened = tokio::time::timeout(OPEN_ANSWER, tokio::spawn(opening)).await;
        match opened {
            Ok(Ok(Ok(stream))) => Ok(stream),
            Ok(Ok(Err(russh::Error::ChannelOpenFailure(reason)))) => {
                let words = self.diagnostics.take_refusal().await;
                self.closings.refused();
                self.renew_if_worn();
                Err(refused(
                    &self.server,
                    remote,
                    &reason,
                    &words,
                    &self.diagnostics.banner(),
                ))
            }
            Ok(_) => Err(self.why_over()),
            Err(_) => Err(LayerError::new(
                Layer::Port,
                format!(
                    "{} did not open {remote} within {} s",
                    self.server,
                    OPEN_ANSWER.as_secs()
                ),
            )),
        }
    }
}

impl Connection {
    /// Ends a connection that has leaked its share while nobody uses it; the next one starts clean.
    fn renew_if_worn(&self) {
        if self.closings.is_worn() {
            self.life.end(LayerError::new(
                Layer::Ssh,
                format!("the connection to {} is renewed", self.server),
            ));
        }
    }
}

/// Runs to its end whoever waits: russh leaks a channel whose opening is given up.
async fn open_in_background(
    handle: Arc<Handle<Hook>>,
    life: Lifeline,
    closings: Closings,
    remote: RemoteEnd,
) -> Result<ChannelStream, russh::Error> {
    let opening = async {
        match remote {
            RemoteEnd::Tcp { host, port } => {
                let port = u32::from(port);
                handle
                    .channel_open_direct_tcpip(host, port, "127.0.0.1", 0)
                    .await
            }
            RemoteEnd::Unix(path) => handle.channel_open_direct_streamlocal(path).await,
        }
    };
    tokio::select! {
        () = life.over() => Err(russh::Error::Disconnect),
        opened = opening => opened.map(|channel| {
            let id = channel.id();
            ChannelStream::new(channel.into_stream(), id, closings, life.clone())
        }),
    }
}

/// What a refusal means for a person.
fn refused(
    server: &str,
    remote: &RemoteEnd,
    reason: &ChannelOpenFailure,
    words: &str,
    banner: &str,
) -> LayerError {
    match reason {
        ChannelOpenFailure::ConnectFailed => {
            let place = format!("nothing listens on {remote} at {server}");
            LayerError::new(Layer::Port, place)
                .peer(words)
                .next("is the gateway running there? clawline-gateway start")
                .retry(Retry::Soon)
        }
        ChannelOpenFailure::ResourceShortage => LayerError::new(
            Layer::Forward,
            format!("{server} has no room for another channel"),
        )
        .peer(words),
        _ => {
            // An expired password lets a key sign in and then forbids everything; only the banner
            // says so.
            let said = if banner.is_empty() { words } else { banner };
            LayerError::new(
                Layer::Forward,
                format!("sshd at {server} forbids forwarding to {remote}"),
            )
            .peer(said)
            .next(
                "check AllowTcpForwarding, PermitOpen and DisableForwarding in sshd_config, \
                 and restrict or no-port-forwarding in authorized_keys",
            )
            .retry(Retry::Attention)
        }
    }
}

fn session_over() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "the SSH connection was lost",
    )
}

fn far_side_closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the far side closed the connection",
    )
}

impl ChannelStream {
    fn new(
        stream: russh::ChannelStream<Msg>,
        id: ChannelId,
        closings: Closings,
        life: Lifeline,
    ) -> Self {
        let closed = closings.watch(id);
        Self {
            id,
            write_closed: Box::pin(closed.clone().cancelled_owned()),
            closed,
            closings,
            stream,
            read_end: Box::pin(life.ended()),
            write_end: Box::pin(life.ended()),
            life,
            stuck: Vec::new(),
        }
    }

    /// Sends what an earlier pending write left in russh's hands.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stuck = std::mem::take(&mut self.stuck);
        match Pin::new(&mut self.stream).poll_write(cx, &stuck) {
            Poll::Pending => {
                self.stuck = stuck;
                self.pending(cx)
            }
            ready => ready,
        }
    }

    /// A pending write; an error once the session is over or the far side has closed the channel,
    /// for russh wakes no writer then.
    fn pending<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.write_closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(far_side_closed()));
        }
        ready!(self.write_end.as_mut().poll(cx));
        Poll::Ready(Err(session_over()))
    }

    /// Cancelled when the far side has closed the channel in both directions.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// The life of the SSH connection that carries it.
    pub(crate) fn life(&self) -> Lifeline {
        self.life.clone()
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(()))
                if buf.filled().len() == before && buf.remaining() > 0 && this.life.is_over() =>
            {
                Poll::Ready(Err(session_over()))
            }
            Poll::Pending if this.read_end.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Err(session_over()))
            }
            other => other,
        }
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.life.is_over() {
            return Poll::Ready(Err(session_over()));
        }
        if this.closed.is_cancelled() {
            return Poll::Ready(Err(far_side_closed()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if !this.stuck.is_empty() {
            let stuck = this.stuck.clone();
            let sent = ready!(this.poll_stuck(cx))?;
            if buf.get(..sent) != stuck.get(..sent) {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a write that was given up cannot be followed by another one",
                )));
            }
            return Poll::Ready(Ok(sent));
        }
        let piece = &buf[..buf.len().min(MAX_PIECE)];
        match Pin::new(&mut this.stream).poll_write(cx, piece) {
            Poll::Pending => {
                this.stuck = piece.to_vec();
                this.pending(cx)
            }
            ready => ready,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // russh queues what it accepted; there is nothing to push.
        Poll::Ready(if self.life.is_over() {
            Err(session_over())
        } else {
            Ok(())
        })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.life.is_over() {
            return Poll::Ready(Err(session_over()));
        }
        if this.closed.is_cancelled() {
            return Poll::Ready(Ok(()));
        }
        // russh would put the end of the stream in the place of a write it still holds.
        while !this.stuck.is_empty() {
            ready!(this.poll_stuck(cx))?;
        }
        match Pin::new(&mut this.stream).poll_shutdown(cx) {
            Poll::Pending => this.pending(cx),
            ready => ready,
        }
    }
}
