//! How much memory the forwards of one tunnel may use together for what programs have not read yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// For all connections of a tunnel together, beyond the small share that each one has anyway.
pub(crate) const ROOM: usize = 64 * 1024 * 1024;

/// Memory that is shared; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    left: AtomicUsize,
    crowded: AtomicBool,
}

impl Default for Room {
    fn default() -> Self {
        Self::of(ROOM)
    }
}

impl Room {
    pub(crate) fn of(bytes: usize) -> Self {
        Self(Arc::new(Inner {
            left: AtomicUsize::new(bytes),
            crowded: AtomicBool::new(false),
        }))
    }

    /// Takes `bytes` if they are left.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        self.0
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .is_ok()
    }

    /// Gives `bytes` back.
    pub(crate) fn give(&self, bytes: usize) {
        self.0.left.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether every SSH connection is held up by a program that does not read, while others wait.
    pub(crate) fn is_crowded(&self) -> bool {
        self.0.crowded.load(Ordering::Relaxed)
    }

    pub(crate) fn set_crowded(&self, crowded: bool) {
        self.0.crowded.store(crowded, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let room = Room::of(10);
        assert!(room.take(6));
        assert!(!room.take(6));
        room.give(2);
        assert!(room.take(6));
        assert!(!room.take(1));
    }
}
