//! What went through a local end so far.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The counts of a local end since it was bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that are open now.
    pub open: u64,
    /// Connections that came, those that were turned away among them.
    pub total: u64,
    /// Connections that were closed before they reached the far end: another user's, too many at a
    /// time, or no way through in time.
    pub refused: u64,
    /// Bytes that programs here sent.
    pub bytes_up: u64,
    /// Bytes that programs here were given.
    pub bytes_down: u64,
}

/// The counters behind [`Counts`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    open: AtomicU64,
    total: AtomicU64,
    refused: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

impl Counters {
    pub(super) fn now(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            open: get(&self.open),
            total: get(&self.total),
            refused: get(&self.refused),
            bytes_up: get(&self.up),
            bytes_down: get(&self.down),
        }
    }

    /// A connection came; it counts as open until the mark is dropped.
    pub(super) fn came(self: &Arc<Self>) -> OpenMark {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenMark(Arc::clone(self))
    }
}

/// One open connection.
#[derive(Debug)]
pub(super) struct OpenMark(Arc<Counters>);

impl OpenMark {
    /// It never reached the far end.
    pub(super) fn refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The program's half that is read from, counted.
    pub(super) fn up<T>(&self, inner: T) -> Counted<T> {
        Counted(inner, Arc::clone(&self.0))
    }

    /// The program's half that is written to, counted.
    pub(super) fn down<T>(&self, inner: T) -> Counted<T> {
        Counted(inner, Arc::clone(&self.0))
    }
}

impl Drop for OpenMark {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A half of a connection whose bytes are counted.
pub(super) struct Counted<T>(T, Arc<Counters>);

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.0).poll_read(cx, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        this.1.up.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.0).poll_write(cx, bytes))?;
        this.1.down.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.0).poll_write_vectored(cx, pieces))?;
        this.1.down.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_are_counted_each_way_and_a_connection_until_it_ends() {
        let counters = Arc::new(Counters::default());
        let mark = counters.came();
        let mut sent = mark.up(io::Cursor::new(b"abc"));
        let mut text = Vec::new();
        sent.read_to_end(&mut text).await.unwrap();
        let mut given = mark.down(Vec::new());
        given.write_all(b"defgh").await.unwrap();
        let now = counters.now();
        assert_eq!((now.bytes_up, now.bytes_down), (3, 5));
        assert_eq!((now.open, now.total, now.refused), (1, 1, 0));
        mark.refused();
        drop(mark);
        let now = counters.now();
        assert_eq!((now.open, now.total, now.refused), (0, 1, 1));
    }
}
