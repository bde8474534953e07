//! Remembers the first bytes a peer sent, so that "this is no gateway" can say what it is instead, and
//! when bytes last moved, so that a slow link is not taken for a dead one.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes are kept.
const KEPT: usize = 160;

/// The bytes seen so far.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstBytes(Arc<Mutex<Vec<u8>>>);

impl FirstBytes {
    /// The first line, as text.
    pub(super) fn line(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = bytes
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        String::from_utf8_lossy(line).trim().to_owned()
    }
}

/// When bytes last moved, in either direction.
#[derive(Debug, Clone)]
pub(super) struct Movement {
    start: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Movement {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            last_ms: Arc::default(),
        }
    }

    fn now(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    /// The moment of the last movement, to the millisecond.
    pub(super) fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}

/// A stream that fills [`FirstBytes`] and notes every [`Movement`].
#[derive(Debug)]
pub(super) struct Sniffed<S> {
    inner: S,
    seen: FirstBytes,
    full: bool,
    movement: Movement,
}

impl<S> Sniffed<S> {
    pub(super) fn new(inner: S) -> (Self, FirstBytes) {
        let seen = FirstBytes::default();
        let sniffed = Self {
            inner,
            seen: seen.clone(),
            full: false,
            movement: Movement::new(),
        };
        (sniffed, seen)
    }

    pub(super) fn movement(&self) -> Movement {
        self.movement.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sniffed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.movement.now();
        }
        if !self.full {
            let new = &buf.filled()[before..];
            let mut seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
            let room = KEPT.saturating_sub(seen.len());
            seen.extend_from_slice(&new[..new.len().min(room)]);
            let full = seen.len() >= KEPT;
            drop(seen);
            self.full = full;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sniffed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(1..)) = polled {
            self.movement.now();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
