//! What the server said on the way, kept for messages: russh tells it to its handler only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How much of a sign-in banner is kept.
const BANNER_BYTES: usize = 4096;
/// How many refusals of channels are kept for their askers.
const REFUSALS: usize = 64;
/// How long an asker waits for the text of its refusal; it comes in the same packet.
const REFUSAL_TEXT: Duration = Duration::from_millis(100);

/// The cell that handler and callers share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Diagnostics(Arc<Cell>);

#[derive(Debug, Default)]
struct Cell {
    inner: Mutex<Inner>,
    refused: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    banner: String,
    parting: Option<String>,
    negotiated: Option<String>,
    refusals: VecDeque<String>,
}

impl Diagnostics {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's sign-in banner.
    pub(crate) fn add_banner(&self, text: &str) {
        let mut inner = self.inner();
        let room = BANNER_BYTES.saturating_sub(inner.banner.len());
        let cut = text.floor_char_boundary(room.min(text.len()));
        inner.banner.push_str(&text[..cut]);
    }

    pub(crate) fn banner(&self) -> String {
        self.inner().banner.trim().to_owned()
    }

    /// Why the connection ended, in the server's or the transport's words; the first one counts.
    pub(crate) fn set_parting(&self, text: String) {
        self.inner().parting.get_or_insert(text);
    }

    pub(crate) fn parting(&self) -> Option<String> {
        self.inner().parting.clone()
    }

    /// The negotiated algorithms, as the status row shows them.
    pub(crate) fn set_negotiated(&self, text: String) {
        self.inner().negotiated = Some(text);
    }

    pub(crate) fn negotiated(&self) -> String {
        self.inner().negotiated.clone().unwrap_or_default()
    }

    /// The server's words about a channel that it refused.
    pub(crate) fn add_refusal(&self, text: &str) {
        let mut inner = self.inner();
        if inner.refusals.len() == REFUSALS {
            inner.refusals.pop_front();
        }
        inner.refusals.push_back(text.to_owned());
        self.0.refused.notify_one();
    }

    /// The words for a refusal that a caller just got. With several refusals at once two callers may
    /// get each other's words; russh does not say which channel was meant.
    pub(crate) async fn take_refusal(&self) -> String {
        let text = async {
            loop {
                if let Some(text) = self.inner().refusals.pop_front() {
                    return text;
                }
                self.0.refused.notified().await;
            }
        };
        tokio::time::timeout(REFUSAL_TEXT, text)
            .await
            .unwrap_or_default()
    }
}
