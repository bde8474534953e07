//! One open channel as a byte stream, whole or in halves. It fails when the session dies, and is closed
//! when it is dropped.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::tunnel::transport::{Lifeline, StalledReader};

use super::closings::{Closings, Swollen};

/// The largest piece handed to russh at once; it cuts to the packet size itself.
const MAX_PIECE: usize = 32 * 1024;

type Writer = Pin<Box<dyn AsyncWrite + Send + Sync>>;
type Ending = Pin<Box<WaitForCancellationFutureOwned>>;

/// A channel that is open. Its drop closes it on the server too.
struct Open {
    write: Arc<ChannelWriteHalf<Msg>>,
    life: Lifeline,
    closings: Closings,
    closed: CancellationToken,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.closings.forget(self.write.id());
        if self.closed.is_cancelled() || self.life.is_over() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (write, life) = (self.write.clone(), self.life.clone());
        runtime.spawn(async move {
            tokio::select! {
                _ = write.close() => {}
                () = life.over() => {}
            }
        });
    }
}

/// The reading half: what the far side sends, piece by piece, without a copy.
pub(crate) struct FarReader {
    read: ChannelReadHalf,
    open: Arc<Open>,
    ending: Ending,
    ended: bool,
}

impl FarReader {
    /// The next piece; `None` at the end of the far side's data. Cancel safe.
    ///
    /// # Errors
    /// When the session died, which is no end of the data.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next piece if it is here already.
    pub(crate) fn next_if_here(&mut self) -> Option<io::Result<Option<Bytes>>> {
        self.next().now_or_never()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        while !self.ended {
            match pin!(self.read.wait()).poll(cx) {
                Poll::Ready(Some(ChannelMsg::Data { data })) if !data.is_empty() => {
                    self.open.closings.moved(data.len());
                    return Poll::Ready(Ok(Some(data)));
                }
                Poll::Ready(Some(ChannelMsg::Eof | ChannelMsg::Close)) => self.ended = true,
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) if self.open.life.is_over() => {
                    return Poll::Ready(Err(session_over()));
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending if self.ending.as_mut().poll(cx).is_ready() => {
                    return Poll::Ready(Err(session_over()));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(None))
    }

    /// Marks that our side does not take what comes, so that silence is not taken for a dead link.
    pub(crate) fn stalled(&self) -> StalledReader {
        self.open.life.stalled_reader()
    }

    /// Marks that our side is far behind, so that nobody new comes to the same SSH connection.
    pub(crate) fn swollen(&self) -> Swollen {
        self.open.closings.swell()
    }

    /// Whether others use the same SSH connection, and so wait when this reader does not read.
    pub(crate) fn has_company(&self) -> bool {
        self.open.closings.has_company()
    }
}

/// The writing half.
pub(crate) struct FarWriter {
    open: Arc<Open>,
}

impl FarWriter {
    /// Sends all of `data`, as fast as the far side takes it. A call that is given up has sent an
    /// unknown part.
    ///
    /// # Errors
    /// When the session died or the far side closed the channel.
    pub(crate) async fn send(&self, data: Bytes) -> io::Result<()> {
        let length = data.len();
        if self.open.closed.is_cancelled() {
            return Err(far_side_closed());
        }
        // Silence is strange from here on, be it that nothing answers or that no window opens.
        self.open.life.ask();
        tokio::select! {
            biased;
            sent = self.open.write.data_bytes(data) => {
                self.open.closings.moved(length);
                sent.map_err(|_| session_over())
            }
            () = self.open.closed.cancelled() => Err(far_side_closed()),
            () = self.open.life.over() => Err(session_over()),
        }
    }

    /// Says that no more will be sent; reading goes on.
    ///
    /// # Errors
    /// When the session died.
    pub(crate) async fn finish(&self) -> io::Result<()> {
        if self.open.closed.is_cancelled() {
            return Ok(());
        }
        tokio::select! {
            biased;
            sent = self.open.write.eof() => sent.map_err(|_| session_over()),
            () = self.open.closed.cancelled() => Ok(()),
            () = self.open.life.over() => Err(session_over()),
        }
    }

    /// Cancelled when the far side has closed the channel in both directions.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.open.closed.clone()
    }
}

/// A byte stream to the far end. Dropping it closes the channel; when the SSH session dies, reads and
/// writes fail instead of looking like an end of the stream.
pub struct ChannelStream {
    reader: FarReader,
    rest: Bytes,
    /// Made by the first write.
    writer: Option<Writer>,
    write_end: Ending,
    write_closed: Ending,
    /// What the last pending write wanted to send. russh keeps such a piece and sends it whatever
    /// the next call says, so the next call must say the same.
    stuck: Vec<u8>,
}

impl std::fmt::Debug for ChannelStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChannelStream")
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
    pub(super) fn new(channel: Channel<Msg>, closings: Closings, life: Lifeline) -> Self {
        let (read, write) = channel.split();
        let closed = closings.watch(write.id());
        let open = Arc::new(Open {
            write: Arc::new(write),
            life: life.clone(),
            closings,
            closed: closed.clone(),
        });
        Self {
            reader: FarReader {
                read,
                open,
                ending: Box::pin(life.ended()),
                ended: false,
            },
            rest: Bytes::new(),
            writer: None,
            write_end: Box::pin(life.ended()),
            write_closed: Box::pin(closed.cancelled_owned()),
            stuck: Vec::new(),
        }
    }

    /// Its two halves, for carrying pieces without copies. To be called before anything was read or
    /// written.
    pub(crate) fn into_halves(self) -> (FarReader, FarWriter) {
        let open = self.reader.open.clone();
        (self.reader, FarWriter { open })
    }

    fn open(&self) -> &Open {
        &self.reader.open
    }

    fn poll_russh(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
        let open = &self.reader.open;
        let writer = self
            .writer
            .get_or_insert_with(|| Box::pin(open.write.make_writer()));
        writer.as_mut().poll_write(cx, piece)
    }

    /// Sends what an earlier pending write left in russh's hands.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stuck = std::mem::take(&mut self.stuck);
        match self.poll_russh(cx, &stuck) {
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
}

impl AsyncRead for ChannelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.rest.is_empty() {
            match ready!(this.reader.poll_next(cx))? {
                Some(piece) => this.rest = piece,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest[..length]);
        this.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.open().life.is_over() {
            return Poll::Ready(Err(session_over()));
        }
        if this.open().closed.is_cancelled() {
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
        this.open().life.ask();
        match this.poll_russh(cx, piece) {
            Poll::Pending => {
                this.stuck = piece.to_vec();
                this.pending(cx)
            }
            ready => ready,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // russh queues what it accepted; there is nothing to push.
        Poll::Ready(if self.open().life.is_over() {
            Err(session_over())
        } else {
            Ok(())
        })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.open().life.is_over() {
            return Poll::Ready(Err(session_over()));
        }
        if this.open().closed.is_cancelled() {
            return Poll::Ready(Ok(()));
        }
        // russh would put the end of the stream in the place of a write it still holds.
        while !this.stuck.is_empty() {
            ready!(this.poll_stuck(cx))?;
        }
        let open = &this.reader.open;
        let writer = this
            .writer
            .get_or_insert_with(|| Box::pin(open.write.make_writer()));
        match writer.as_mut().poll_shutdown(cx) {
            Poll::Pending => this.pending(cx),
            ready => ready,
        }
    }
}
