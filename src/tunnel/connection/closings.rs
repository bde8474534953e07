//! Which channels the server has closed: a stream of russh shows that as an ordinary end of its data,
//! and lets writes vanish. Also keeps the books of what russh leaks, so that a session can be renewed, and
//! of what goes through it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::ChannelId;
use tokio_util::sync::CancellationToken;

/// What russh 0.65 keeps for ever of a channel that we close before the server does. [measured]
const LEAK_OF_EARLY_CLOSE: usize = 3500;
/// What it keeps of a channel that the server refused. [measured]
const LEAK_OF_REFUSAL: usize = 545;
/// A session that leaked this much is renewed when no channel is open.
const LEAK_BUDGET: usize = 4 * 1024 * 1024;
/// The same where signing in takes a person.
const LEAK_LIMIT: usize = 64 * 1024 * 1024;
/// So is one that opened this many channels, whatever it leaked.
const OPENS: usize = 50_000;

/// Held while a channel's reader is so far behind that the session may soon have to wait for it.
pub(crate) struct Swollen(Closings);

impl Drop for Swollen {
    fn drop(&mut self) {
        self.0.0.swollen.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The books of one session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closings(Arc<Books>);

#[derive(Debug, Default)]
struct Books {
    closed: Mutex<HashMap<ChannelId, CancellationToken>>,
    leaked: AtomicUsize,
    in_use: AtomicUsize,
    any_opened: AtomicBool,
    opens: AtomicUsize,
    moved: AtomicU64,
    forwards_only: AtomicBool,
    swollen: AtomicUsize,
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
        self.0.opens.fetch_add(1, Ordering::Relaxed);
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

    /// Bytes of a channel went by, either way.
    pub(crate) fn moved(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.0.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes went through its channels so far.
    pub(crate) fn traffic(&self) -> u64 {
        self.0.moved.load(Ordering::Relaxed)
    }

    /// How many channels are open.
    pub(crate) fn in_use(&self) -> usize {
        self.0.in_use.load(Ordering::Relaxed)
    }

    /// Marks a channel whose reader is far behind.
    pub(crate) fn swell(&self) -> Swollen {
        self.0.swollen.fetch_add(1, Ordering::Relaxed);
        Swollen(self.clone())
    }

    /// Whether any channel's reader is far behind.
    pub(crate) fn is_swollen(&self) -> bool {
        self.0.swollen.load(Ordering::Relaxed) > 0
    }

    /// Nothing but forwarded connections uses this session.
    pub(crate) fn set_forwards_only(&self) {
        self.0.forwards_only.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_for_forwards(&self) -> bool {
        self.0.forwards_only.load(Ordering::Relaxed)
    }

    /// Whether a channel that is not read would keep others waiting.
    pub(crate) fn has_company(&self) -> bool {
        !self.is_for_forwards() || self.in_use() > 1
    }

    /// True when the session should be renewed as soon as nobody would notice.
    pub(crate) fn is_worn(&self) -> bool {
        self.0.leaked.load(Ordering::Relaxed) > LEAK_BUDGET
            || self.0.opens.load(Ordering::Relaxed) > OPENS
    }

    /// True when it leaked so much that it is worth asking a person to sign in again.
    pub(crate) fn is_worn_out(&self) -> bool {
        self.0.leaked.load(Ordering::Relaxed) > LEAK_LIMIT
    }
}
