//! Remembers the first bytes a peer sent, so that "this is no gateway" can say what it is instead.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

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

/// A stream that fills [`FirstBytes`] while it is read.
#[derive(Debug)]
pub(super) struct Sniffed<S> {
    inner: S,
    seen: FirstBytes,
    full: bool,
}

impl<S> Sniffed<S> {
    pub(super) fn new(inner: S) -> (Self, FirstBytes) {
        let seen = FirstBytes::default();
        let sniffed = Self {
            inner,
            seen: seen.clone(),
            full: false,
        };
        (sniffed, seen)
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
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
