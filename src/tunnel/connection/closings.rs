//! Which channels the server has closed: a stream of russh shows that as an ordinary end of its data,
//! and lets writes vanish. Also keeps the books of what russh leaks, so that a session can be renewed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::ChannelId;
use tokio_util::sync::CancellationToken;

/// What russh 0.65 keeps for ever of a channel that we close before the server does. [measured]
const LEAK_OF_EARLY_CLOSE: usize = 3500;
/// What it keeps of a channel that the server refused. [measured]
const LEAK_OF_REFUSAL: usize = 545;
/// A session that leaked this much is renewed when no channel is open.
const LEAK_BUDGET: usize = 4 * 1024 * 1024;

/// The books of one session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closings(Arc<Books>);

#[derive(Debug, Default)]
struct Books {
    closed: Mutex<HashMap<ChannelId, CancellationToken>>,
    leaked: AtomicUsize,
    in_use: AtomicUsize,
    any_opened: AtomicBool,
}

impl Closings {
    fn map(&self) -> MutexGuard<'_, HashMap<ChannelId, CancellationToken>> {
        self.0.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server opened a channel; called before it can close it.
    pub(crate) fn opened(&self, id: ChannelId) {
        self.0.any_opened.store(true, Ordering::Relaxed);
        self.map().entry(id).or_default();
    }

    /// True once the server has opened a channel.
    pub(crate) fn any_opened(&self) -> bool {
        self.0.any_opened.load(Ordering::Relaxed)
    }

    /// The server closed a channel.
    pub(crate) fn mark(&self, id: ChannelId) {
        if let Some(token) = self.map().get(&id) {
            token.cancel();
        }
    }

    /// A token that is cancelled when the server closes the channel.
    pub(crate) fn watch(&self, id: ChannelId) -> CancellationToken {
        self.0.in_use.fetch_add(1, Ordering::Relaxed);
        self.map().entry(id).or_default().clone()
    }

    /// The watched channel is gone on our side too.
    pub(crate) fn forget(&self, id: ChannelId) {
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
        let token = self.map().remove(&id);
        if token.is_none_or(|token| !token.is_cancelled()) {
            self.leak(LEAK_OF_EARLY_CLOSE);
        }
    }

    /// The server refused to open a channel.
    pub(crate) fn refused(&self) {
        self.leak(LEAK_OF_REFUSAL);
    }

    fn leak(&self, bytes: usize) {
        self.0.leaked.fetch_add(bytes, Ordering::Relaxed);
    }

    /// True when the session should be renewed now: it leaked enough, and nobody would notice.
    pub(crate) fn is_worn(&self) -> bool {
        self.0.leaked.load(Ordering::Relaxed) > LEAK_BUDGET
            && self.0.in_use.load(Ordering::Relaxed) == 0
    }
}
