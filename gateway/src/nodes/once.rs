//! The same idempotency key with the same content is carried out once, also while it goes on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clawline::protocol::methods::nodes::NodeInvokeReply;
use tokio::sync::watch;

use super::InvokeError;

/// How long an outcome is kept.
const LIFETIME: Duration = Duration::from_secs(600);
/// Outcomes kept at the same time; the oldest makes room.
const MAX_KEPT: usize = 512;
/// A larger result is not kept: who asks again learns that it was carried out.
const MAX_RESULT: usize = 64 * 1024;

/// How a command ended.
pub(crate) type Outcome = Arc<Result<NodeInvokeReply, InvokeError>>;

/// A node and a caller's key.
type Key = (String, String);

/// Keys that were used.
#[derive(Default)]
pub(super) struct Once(Mutex<HashMap<Key, Slot>>);

struct Slot {
    hash: [u8; 32],
    outcome: watch::Receiver<Option<Outcome>>,
    since: Instant,
}

/// What a key stands for.
pub(super) enum Entry<'a> {
    /// Nothing yet: the caller carries it out.
    New(Turn<'a>),
    /// It is, or was, carried out already.
    Known(watch::Receiver<Option<Outcome>>),
    /// Something else.
    Conflict,
}

impl Once {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, node_id: &str, key: &str, hash: [u8; 32]) -> Entry<'_> {
        let key = (node_id.to_owned(), key.to_owned());
        let mut slots = self.lock();
        let now = Instant::now();
        slots.retain(|_, slot| {
            slot.outcome.borrow().is_none() || now.duration_since(slot.since) < LIFETIME
        });
        match slots.get(&key) {
            Some(slot) if slot.hash == hash => return Entry::Known(slot.outcome.clone()),
            Some(_) => return Entry::Conflict,
            None => {}
        }
        if slots.len() >= MAX_KEPT {
            let ended = slots
                .iter()
                .filter(|(_, slot)| slot.outcome.borrow().is_some());
            let oldest = ended
                .min_by_key(|(_, slot)| slot.since)
                .map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                slots.remove(&oldest);
            }
        }
        let (tx, outcome) = watch::channel(None);
        let slot = Slot {
            hash,
            outcome,
            since: now,
        };
        slots.insert(key.clone(), slot);
        Entry::New(Turn {
            once: self,
            key,
            tx,
            has_ended: false,
        })
    }
}

/// The right to carry a key out. Dropped without an end it counts as given up by its caller.
pub(super) struct Turn<'a> {
    once: &'a Once,
    key: Key,
    tx: watch::Sender<Option<Outcome>>,
    has_ended: bool,
}

impl Turn<'_> {
    /// It was refused before the node heard of it: the key is free again.
    pub(super) fn release(mut self, error: &InvokeError) {
        self.has_ended = true;
        self.once.lock().remove(&self.key);
        self.tx.send_replace(Some(Arc::new(Err(error.clone()))));
    }

    /// It has ended.
    pub(super) fn end(mut self, outcome: &Outcome) {
        self.has_ended = true;
        self.tx.send_replace(Some(outcome.clone()));
        // Who waits has its own receiver; only later callers look into the map.
        let size = outcome.as_ref().as_ref().map_or(0, size);
        if size > MAX_RESULT {
            let (_, kept) = watch::channel(Some(Arc::new(Err(InvokeError::NotKept))));
            if let Some(slot) = self.once.lock().get_mut(&self.key) {
                slot.outcome = kept;
            }
        }
    }
}

fn size(reply: &NodeInvokeReply) -> usize {
    match &reply.payload_json {
        Some(text) => text.len(),
        None => reply.payload.to_string().len(),
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let given_up = Arc::new(Err(InvokeError::GivenUp));
            self.tx.send_replace(Some(given_up));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: [u8; 32] = [1; 32];

    fn reply(text: &str) -> Outcome {
        Arc::new(Ok(NodeInvokeReply {
            payload_json: Some(text.to_owned()),
            ..NodeInvokeReply::default()
        }))
    }

    fn known(once: &Once) -> Option<Outcome> {
        match once.enter("n", "k", HASH) {
            Entry::Known(outcome) => outcome.borrow().clone(),
            _ => panic!("the key should be known"),
        }
    }

    #[test]
    fn a_key_is_carried_out_once_and_stands_for_one_content() {
        let once = Once::default();
        let Entry::New(turn) = once.enter("n", "k", HASH) else {
            panic!("a new key")
        };
        assert_eq!(known(&once), None, "still going on");
        assert!(matches!(once.enter("n", "k", [2; 32]), Entry::Conflict));
        assert!(matches!(once.enter("other", "k", HASH), Entry::New(_)));
        turn.end(&reply("{}"));
        assert_eq!(known(&once), Some(reply("{}")));
    }

    #[test]
    fn a_refused_key_is_free_and_a_dropped_one_is_given_up() {
        let once = Once::default();
        let Entry::New(turn) = once.enter("n", "k", HASH) else {
            panic!("a new key")
        };
        turn.release(&InvokeError::NotConnected);
        let Entry::New(turn) = once.enter("n", "k", HASH) else {
            panic!("a free key")
        };
        drop(turn);
        assert_eq!(known(&once), Some(Arc::new(Err(InvokeError::GivenUp))));
    }

    #[test]
    fn a_large_result_is_not_kept() {
        let once = Once::default();
        let Entry::New(turn) = once.enter("n", "k", HASH) else {
            panic!("a new key")
        };
        turn.end(&reply(&"x".repeat(MAX_RESULT + 1)));
        assert_eq!(known(&once), Some(Arc::new(Err(InvokeError::NotKept))));
    }
}
