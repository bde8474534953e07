//! Sockets that have not said hello yet: a bounded number, and the oldest silent one makes room, so
//! that nobody can lock the owner out by opening sockets and saying nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// The sockets before their hello.
#[derive(Debug, Clone)]
pub(crate) struct Lobby {
    inner: Arc<Mutex<Inner>>,
    max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    evict: CancellationToken,
    has_spoken: bool,
}

/// A place in the lobby; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    inner: Arc<Mutex<Inner>>,
    number: u64,
    evict: CancellationToken,
}

impl Lobby {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            inner: Arc::default(),
            max,
        }
    }

    /// Takes a place, which may cost the oldest silent socket its own.
    pub(crate) fn enter(&self) -> Seat {
        let evict = CancellationToken::new();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.waiting.len() >= self.max {
            let mut numbers = inner.waiting.iter();
            let loser = numbers
                .clone()
                .find(|(_, waiting)| !waiting.has_spoken)
                .or_else(|| numbers.next())
                .map(|(number, _)| *number);
            if let Some(waiting) = loser.and_then(|number| inner.waiting.remove(&number)) {
                waiting.evict.cancel();
            }
        }
        let number = inner.next;
        inner.next += 1;
        inner.waiting.insert(
            number,
            Waiting {
                evict: evict.clone(),
                has_spoken: false,
            },
        );
        Seat {
            inner: self.inner.clone(),
            number,
            evict,
        }
    }
}

impl Seat {
    /// Ends when somebody else needs the place.
    pub(crate) async fn evicted(&self) {
        self.evict.cancelled().await;
    }

    /// The socket is not silent any more.
    pub(crate) fn spoke(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = inner.waiting.get_mut(&self.number) {
            waiting.has_spoken = true;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_silent_socket_makes_room_and_a_speaking_one_stays() {
        let lobby = Lobby::new(3);
        let speaking = lobby.enter();
        speaking.spoke();
        let silent = lobby.enter();
        let younger = lobby.enter();
        let newest = lobby.enter();
        assert!(silent.evict.is_cancelled());
        for seat in [&speaking, &younger, &newest] {
            assert!(!seat.evict.is_cancelled());
        }
    }

    #[test]
    fn a_place_that_was_given_back_costs_nobody_anything() {
        let lobby = Lobby::new(1);
        drop(lobby.enter());
        let first = lobby.enter();
        assert!(!first.evict.is_cancelled());
        first.spoke();
        let _second = lobby.enter();
        assert!(
            first.evict.is_cancelled(),
            "when all speak, the oldest goes"
        );
    }
}
