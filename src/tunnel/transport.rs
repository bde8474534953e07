//! The byte stream under russh: it can be ended from outside, notices a writer that is stuck, and
//! remembers when bytes came last.
//!
//! russh races no timer against its own writes, keeps the socket of a cancelled connect open, and waits
//! for ever inside some prompts. A stream that fails on demand cures all three.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::layer::LayerError;

use super::socket::Path;

/// A write that makes no progress for this long ends the connection.
pub const WRITE_STALL: Duration = Duration::from_secs(20);
/// How much is read at once: several of the largest packets that servers send. russh asks for the four bytes
/// of a packet's length, then for its body; each would be a call to the kernel.
const READ_AHEAD: usize = 128 * 1024;
/// How much of what the peer says first is kept, to tell an SSH server from another program.
const HEAD_BYTES: usize = 512;

/// The life of one SSH connection: when bytes came last, and the switch that ends it.
///
/// Clones share one life. Ending it wakes every read and write of the transports that carry it.
#[derive(Debug, Clone, Default)]
pub struct Lifeline(Arc<Life>);

#[derive(Debug)]
struct Life {
    ended: CancellationToken,
    why: OnceLock<LayerError>,
    started: Instant,
    /// Microseconds after the start, like the two below it.
    seen: AtomicU64,
    /// The first question since then; not after `seen` when nothing is open.
    asked: AtomicU64,
    /// The last piece of data that was sent.
    used: AtomicU64,
    /// Woken by a question after a time without one.
    question: Notify,
    stalled_readers: AtomicU64,
    in_doubt: AtomicBool,
    path: Mutex<Option<Path>>,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            ended: CancellationToken::new(),
            why: OnceLock::new(),
            started: Instant::now(),
            seen: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            used: AtomicU64::new(0),
            question: Notify::new(),
            stalled_readers: AtomicU64::new(0),
            in_doubt: AtomicBool::new(false),
            path: Mutex::new(None),
        }
    }
}

impl Lifeline {
    /// Ends the connection and says why; only the first reason counts.
    pub fn end(&self, why: LayerError) {
        let _ = self.0.why.set(why);
        self.cut();
    }

    /// Ends the connection without a word of its own.
    pub fn cut(&self) {
        self.0.ended.cancel();
        drop(self.path().take());
    }

    /// True once it was ended.
    pub fn is_over(&self) -> bool {
        self.0.ended.is_cancelled()
    }

    /// Waits for the end. Cancel safe.
    pub async fn over(&self) {
        self.0.ended.cancelled().await;
    }

    /// Why it ended, when somebody said so.
    pub fn why(&self) -> Option<LayerError> {
        self.0.why.get().cloned()
    }

    /// When bytes came last; the start of the connection before the first.
    pub fn last_seen(&self) -> Instant {
        self.at(self.0.seen.load(Ordering::Relaxed))
    }

    /// Somebody sent something that the far side will answer, or at least take: silence is strange
    /// from now on.
    pub fn ask(&self) {
        let now = self.now();
        self.0.used.store(now, Ordering::Relaxed);
        let seen = self.0.seen.load(Ordering::Relaxed);
        if self.0.asked.load(Ordering::Relaxed) <= seen {
            self.0.asked.store(now.max(seen + 1), Ordering::Relaxed);
            self.0.question.notify_one();
        }
    }

    /// Since when a question is open: no byte at all has come since.
    pub fn asked_since(&self) -> Option<Instant> {
        let asked = self.0.asked.load(Ordering::Relaxed);
        (asked > self.0.seen.load(Ordering::Relaxed)).then(|| self.at(asked))
    }

    /// When data was last sent; the start of the connection before the first.
    pub fn last_used(&self) -> Instant {
        self.at(self.0.used.load(Ordering::Relaxed))
    }

    /// Waits for a question after a time without one. Cancel safe; may return for one that has been
    /// answered meanwhile. One waiter at a time.
    pub async fn asked(&self) {
        self.0.question.notified().await;
    }

    /// Says whether it is silent where an answer was due.
    pub(crate) fn set_in_doubt(&self, in_doubt: bool) {
        self.0.in_doubt.store(in_doubt, Ordering::Relaxed);
    }

    /// True while it is silent where an answer was due.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.0.in_doubt.load(Ordering::Relaxed)
    }

    /// The socket that carries it; let go when it ends.
    pub(crate) fn set_path(&self, path: Path) {
        *self.path() = Some(path);
        if self.is_over() {
            drop(self.path().take());
        }
    }

    /// What the kernel knows of the way.
    pub(crate) fn with_path<T>(&self, look: impl FnOnce(&Path) -> Option<T>) -> Option<T> {
        self.path().as_ref().and_then(look)
    }

    fn path(&self) -> MutexGuard<'_, Option<Path>> {
        self.0.path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, micros: u64) -> Instant {
        self.0.started + Duration::from_micros(micros)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Marks a reader of ours that has stopped taking data, and so keeps russh from reading at all;
    /// silence is no sign of a dead link until the mark is dropped.
    pub fn stalled_reader(&self) -> StalledReader {
        self.0.stalled_readers.fetch_add(1, Ordering::Relaxed);
        StalledReader(self.clone())
    }

    /// True while one of our own readers holds the connection up.
    pub fn has_stalled_reader(&self) -> bool {
        self.0.stalled_readers.load(Ordering::Relaxed) > 0
    }

    fn saw_bytes(&self) {
        self.0.seen.store(self.now(), Ordering::Relaxed);
    }

    pub(crate) fn ended(&self) -> WaitForCancellationFutureOwned {
        self.0.ended.clone().cancelled_owned()
    }
}

/// Held while a reader of ours stalls.
#[derive(Debug)]
pub struct StalledReader(Lifeline);

impl Drop for StalledReader {
    fn drop(&mut self) {
        self.0.0.stalled_readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the peer said first, before russh made sense of it.
#[derive(Debug, Clone, Default)]
pub struct Head(Arc<FirstWords>);

#[derive(Debug, Default)]
struct FirstWords {
    bytes: Mutex<Vec<u8>>,
    grew: Notify,
}

impl Head {
    /// The first bytes, as text.
    pub fn text(&self) -> String {
        let bytes = self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `judge` makes something of the first bytes. Cancel safe.
    pub async fn once<T>(&self, judge: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            let grown = self.0.grew.notified();
            if let Some(found) = judge(self) {
                return found;
            }
            grown.await;
        }
    }

    /// The SSH identification line, once it was seen whole.
    pub fn ssh_id(&self) -> Option<String> {
        let text = self.text();
        let complete = &text[..=text.rfind('\n')?];
        complete
            .lines()
            .find(|line| line.starts_with("SSH-"))
            .map(str::to_owned)
    }

    /// Keeps what still fits; true while there is room.
    fn push(&self, bytes: &[u8]) -> bool {
        let mut head = self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let room = HEAD_BYTES.saturating_sub(head.len()).min(bytes.len());
        head.extend_from_slice(&bytes[..room]);
        self.0.grew.notify_waiters();
        head.len() < HEAD_BYTES
    }
}

/// What was read from the stream and not asked for yet.
#[derive(Default)]
struct Ahead {
    /// Made at the first read, so that a connection that never comes costs nothing.
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.to - self.from)
    }
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    /// Reads what is there; nothing at the end of the stream. Only for one that is empty.
    fn poll_fill(
        &mut self,
        stream: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; READ_AHEAD].into();
        }
        let mut buf = ReadBuf::new(&mut self.buffer);
        let result = stream.poll_read(cx, &mut buf);
        if matches!(result, Poll::Ready(Ok(()))) {
            (self.from, self.to) = (0, buf.filled().len());
        }
        result
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.rest().len().min(buf.remaining());
        buf.put_slice(&self.rest()[..count]);
        self.from += count;
    }
}

/// A stream with a [`Lifeline`].
#[derive(Debug)]
pub struct Transport<S> {
    stream: S,
    life: Lifeline,
    head: Option<Head>,
    counted: bool,
    ahead: Ahead,
    write_stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    read_end: Pin<Box<WaitForCancellationFutureOwned>>,
    write_end: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Transport<S> {
    /// Wraps `stream`; `write_stall` bounds how long a write may make no progress.
    pub fn new(stream: S, life: Lifeline, write_stall: Duration) -> Self {
        Self {
            stream,
            head: None,
            counted: true,
            ahead: Ahead::default(),
            write_stall,
            stalled: None,
            read_end: Box::pin(life.ended()),
            write_end: Box::pin(life.ended()),
            life,
        }
    }

    /// Keeps what the peer says first in `head`.
    #[must_use]
    pub fn with_head(mut self, head: Head) -> Self {
        self.head = Some(head);
        self
    }

    /// Lets bytes pass without counting them as a sign of life.
    #[must_use]
    pub fn uncounted(mut self) -> Self {
        self.counted = false;
        self
    }

    /// Turns a pending write into an error when the connection is over or the write is stuck.
    fn pending_write<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.write_end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(over()));
        }
        let limit = self.write_stall;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if stalled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("a write made no progress for {} s", limit.as_secs_f32()),
            )));
        }
        Poll::Pending
    }
}

fn over() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the SSH connection is over",
    )
}

impl<S: AsyncRead + Unpin> AsyncRead for Transport<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.life.is_over() {
            return Poll::Ready(Err(over()));
        }
        if this.ahead.is_empty() {
            match this.ahead.poll_fill(Pin::new(&mut this.stream), cx) {
                Poll::Pending if this.read_end.as_mut().poll(cx).is_ready() => {
                    return Poll::Ready(Err(over()));
                }
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            let new = this.ahead.rest();
            if !new.is_empty() {
                if this.counted {
                    this.life.saw_bytes();
                }
                if this.head.as_ref().is_some_and(|head| !head.push(new)) {
                    this.head = None;
                }
            }
        }
        this.ahead.give(buf);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.life.is_over() {
            return Poll::Ready(Err(over()));
        }
        match Pin::new(&mut this.stream).poll_write(cx, buf) {
            Poll::Pending => this.pending_write(cx),
            ready => {
                this.stalled = None;
                ready
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.life.is_over() {
            return Poll::Ready(Err(over()));
        }
        match Pin::new(&mut this.stream).poll_flush(cx) {
            Poll::Pending => this.pending_write(cx),
            ready => ready,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // A connection that is over is closed by dropping it; there is nothing left to say.
        if this.life.is_over() {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.stream).poll_shutdown(cx) {
            Poll::Pending => this.pending_write(cx),
            ready => ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::layer::Layer;

    #[tokio::test]
    async fn ending_the_life_wakes_a_waiting_reader_and_a_waiting_writer() {
        let (ours, _theirs) = tokio::io::duplex(1);
        let life = Lifeline::default();
        let (mut read, mut write) =
            tokio::io::split(Transport::new(ours, life.clone(), WRITE_STALL));
        let reader = tokio::spawn(async move { read.read_u8().await.unwrap_err().kind() });
        let writer = tokio::spawn(async move { write.write_all(b"abc").await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        life.end(LayerError::new(Layer::Ssh, "enough"));
        assert_eq!(reader.await.unwrap(), io::ErrorKind::ConnectionAborted);
        assert_eq!(writer.await.unwrap(), io::ErrorKind::ConnectionAborted);
        assert_eq!(life.why().unwrap().what, "enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_is_open_until_any_byte_comes() {
        let life = Lifeline::default();
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut transport = Transport::new(ours, life.clone(), WRITE_STALL);
        let step = Duration::from_secs(1);
        assert_eq!(life.asked_since(), None);
        tokio::time::sleep(step).await;
        let asked = Instant::now();
        life.ask();
        life.asked().await;
        tokio::time::sleep(step).await;
        life.ask();
        assert_eq!(life.asked_since(), Some(asked));
        assert_eq!(life.last_used(), asked + step);
        theirs.write_u8(1).await.unwrap();
        tokio::time::sleep(step).await;
        transport.read_u8().await.unwrap();
        assert_eq!(life.asked_since(), None);
        assert_eq!(life.last_seen(), asked + 2 * step);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_without_progress_fails_after_the_limit() {
        let (ours, _theirs) = tokio::io::duplex(1);
        let mut transport = Transport::new(ours, Lifeline::default(), Duration::from_secs(3));
        let started = Instant::now();
        let error = transport.write_all(b"abc").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_write_that_moves_is_left_alone() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let mut transport = Transport::new(ours, Lifeline::default(), Duration::from_secs(3));
        let writer = tokio::spawn(async move { transport.write_all(b"abcdef").await.is_ok() });
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            theirs.read_u8().await.unwrap();
        }
        assert!(writer.await.unwrap());
    }

    #[tokio::test]
    async fn bytes_arrive_whole_and_in_order_however_they_are_asked_for() {
        let sent: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let (ours, mut theirs) = tokio::io::duplex(10_000);
        let mut transport = Transport::new(ours, Lifeline::default(), WRITE_STALL);
        let copy = sent.clone();
        let writer = tokio::spawn(async move { theirs.write_all(&copy).await.unwrap() });
        let mut got = Vec::new();
        for size in [0, 4, 1, 32_768, 300_000].into_iter().cycle() {
            let size = size.min(sent.len() - got.len());
            let start = got.len();
            got.resize(start + size, 0);
            transport.read_exact(&mut got[start..]).await.unwrap();
            if got.len() == sent.len() {
                break;
            }
        }
        writer.await.unwrap();
        assert!(got == sent);
        assert_eq!(transport.read(&mut [0; 4]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn the_first_words_of_the_peer_are_kept() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let head = Head::default();
        let mut transport =
            Transport::new(ours, Lifeline::default(), WRITE_STALL).with_head(head.clone());
        theirs
            .write_all(b"hello\r\nSSH-2.0-OpenSSH_9.2\r\n")
            .await
            .unwrap();
        let mut buffer = [0; 64];
        let _ = transport.read(&mut buffer).await.unwrap();
        assert_eq!(head.ssh_id().unwrap(), "SSH-2.0-OpenSSH_9.2");
    }
}
