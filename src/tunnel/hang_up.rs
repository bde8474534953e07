//! Notices that the peer closed a connection while russh reads nothing from it: russh waits for a
//! person inside the packet that asked, and would find out only after the answer.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read ahead; a server that says more than this while a person is asked is still there.
const AHEAD: usize = 64 * 1024;
/// How much is read at once.
const PIECE: usize = 4096;

/// A stream whose end can be noticed from outside, see [`Watched::hang_up`].
#[derive(Debug)]
pub(crate) struct Watched<S>(Arc<Mutex<Shared<S>>>);

#[derive(Debug)]
struct Shared<S> {
    stream: S,
    /// What was read while looking for the end; the reader gets it first.
    ahead: VecDeque<u8>,
    ended: Option<End>,
    /// The reader that waits for more, for one stream remembers one waiter only.
    reader: Option<Waker>,
}

#[derive(Debug)]
enum End {
    Eof,
    Failed(io::Error),
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            stream,
            ahead: VecDeque::new(),
            ended: None,
            reader: None,
        })))
    }

    fn shared(&self) -> MutexGuard<'_, Shared<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + Unpin + Send + 'static> Watched<S> {
    /// The way to wait for its end.
    pub(crate) fn hang_up(&self) -> HangUp {
        HangUp(Some(self.0.clone()))
    }
}

impl<S> Shared<S> {
    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

trait Ends: Send + Sync {
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()>;
    fn stop_looking(&self);
}

impl<S: AsyncRead + Unpin + Send> Ends for Mutex<Shared<S>> {
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut shared = self.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &mut *shared;
        loop {
            if shared.ended.is_some() {
                return Poll::Ready(());
            }
            if shared.ahead.len() >= AHEAD {
                return Poll::Pending;
            }
            let mut piece = [0; PIECE];
            let mut buf = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut shared.stream).poll_read(cx, &mut buf)) {
                Ok(()) if buf.filled().is_empty() => shared.ended = Some(End::Eof),
                Ok(()) => shared.ahead.extend(buf.filled()),
                Err(error) => shared.ended = Some(End::Failed(error)),
            }
            shared.wake_reader();
        }
    }

    fn stop_looking(&self) {
        // The stream would wake us and not its reader.
        self.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wake_reader();
    }
}

/// Waits for the end of a [`Watched`] stream. The default never sees one.
#[derive(Clone, Default)]
pub(crate) struct HangUp(Option<Arc<dyn Ends>>);

impl std::fmt::Debug for HangUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HangUp")
    }
}

/// Gives the stream back to its reader.
struct StopLooking<'a>(&'a dyn Ends);

impl Drop for StopLooking<'_> {
    fn drop(&mut self) {
        self.0.stop_looking();
    }
}

impl HangUp {
    /// Returns when the peer has closed the connection or it broke. What the peer said before that is
    /// kept for the reader. Cancel safe.
    pub(crate) async fn happened(&self) {
        let Some(stream) = &self.0 else {
            return std::future::pending().await;
        };
        let _looking = StopLooking(&**stream);
        poll_fn(|cx| stream.poll_end(cx)).await;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = self.shared();
        let shared = &mut *shared;
        if !shared.ahead.is_empty() {
            let (first, _) = shared.ahead.as_slices();
            let taken = first.len().min(buf.remaining());
            buf.put_slice(&first[..taken]);
            shared.ahead.drain(..taken);
            return Poll::Ready(Ok(()));
        }
        match &mut shared.ended {
            Some(End::Eof) => return Poll::Ready(Ok(())),
            Some(End::Failed(error)) => {
                let again = io::Error::new(error.kind(), error.to_string());
                return Poll::Ready(Err(std::mem::replace(error, again)));
            }
            None => {}
        }
        let polled = Pin::new(&mut shared.stream).poll_read(cx, buf);
        if polled.is_pending() {
            match &mut shared.reader {
                Some(known) => known.clone_from(cx.waker()),
                unknown => *unknown = Some(cx.waker().clone()),
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.shared().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.shared().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.shared().stream).poll_shutdown(cx)) {
            // The peer was first. russh would keep its last words to itself over this.
            Err(error) if is_over(&error) => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

fn is_over(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::NotConnected | Kind::BrokenPipe | Kind::ConnectionReset | Kind::ConnectionAborted
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    // No clock but the one of tokio, which goes on once nothing is left to do.
    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn the_end_is_noticed_while_nobody_reads_and_the_last_words_are_kept() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut ours = Watched::new(ours);
        let hang_up = ours.hang_up();
        theirs.write_all(b"last words").await.unwrap();
        let early = timeout(Duration::from_millis(20), hang_up.happened());
        assert!(early.await.is_err());
        drop(theirs);
        timeout(SOON, hang_up.happened()).await.unwrap();
        let mut text = String::new();
        ours.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last words");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_waited_first_still_gets_what_comes() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut ours = Watched::new(ours);
        let hang_up = ours.hang_up();
        let reader = tokio::spawn(async move { ours.read_u8().await });
        tokio::task::yield_now().await;
        let watching = tokio::spawn(async move { hang_up.happened().await });
        tokio::task::yield_now().await;
        theirs.write_all(b"a").await.unwrap();
        assert_eq!(timeout(SOON, reader).await.unwrap().unwrap().unwrap(), b'a');
        watching.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_gets_the_stream_back_when_the_question_is_answered() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut ours = Watched::new(ours);
        let hang_up = ours.hang_up();
        let reader = tokio::spawn(async move { ours.read_u8().await });
        tokio::task::yield_now().await;
        let early = timeout(Duration::from_millis(20), hang_up.happened());
        assert!(early.await.is_err());
        theirs.write_all(b"b").await.unwrap();
        assert_eq!(timeout(SOON, reader).await.unwrap().unwrap().unwrap(), b'b');
    }

    #[tokio::test(start_paused = true)]
    async fn a_talkative_peer_is_read_ahead_only_so_far() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let ours = Watched::new(ours);
        let hang_up = ours.hang_up();
        let watching = tokio::spawn(async move { hang_up.happened().await });
        let flood = async {
            loop {
                theirs.write_all(&[0; 1024]).await.unwrap();
            }
        };
        assert!(timeout(Duration::from_millis(200), flood).await.is_err());
        let ahead = ours.shared().ahead.len();
        assert!((AHEAD..AHEAD + PIECE).contains(&ahead), "{ahead}");
        watching.abort();
    }
}
