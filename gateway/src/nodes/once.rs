//! The same idempotency key with the same content is carried out once, also while it goes on.
//!
//! What is kept of the past is bounded by bytes. When they are used up the oldest results go first:
//! their keys stay, and who asks again learns that the command was carried out. Only when keys alone
//! fill the room is the oldest of them forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clawline::protocol::methods::nodes::NodeInvokeReply;
use tokio::sync::watch;

use super::InvokeError;

/// How long an outcome is kept.
const LIFETIME: Duration = Duration::from_secs(600);
/// All keys and results that are kept, in bytes.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// A larger result is not kept: who asks again learns that it was carried out.
const MAX_RESULT: usize = 64 * 1024;
/// A key beside its text, in bytes, for the account.
const KEY: usize = 256;

/// How a command ended.
pub(crate) type Outcome = Arc<Result<NodeInvokeReply, InvokeError>>;

/// A node and a caller's key.
type Key = Arc<(String, String)>;

/// Keys that were used.
#[derive(Default)]
pub(super) struct Once(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    slots: HashMap<Key, Slot>,
    /// Those that have ended, the oldest first.
    ended: VecDeque<(Instant, Key)>,
    /// Of these, in the same order, those whose result is kept.
    kept: VecDeque<Key>,
    bytes: usize,
}

struct Slot {
    hash: [u8; 32],
    state: State,
}

enum State {
    Running(watch::Receiver<Option<Outcome>>),
    Ended(Ended),
}

/// An outcome as it is kept.
#[derive(Clone)]
enum Ended {
    Done(Kept),
    Failed(InvokeError),
}

/// A reply as texts, which take what they count; the JSON in them is read again when it is asked for.
#[derive(Clone)]
struct Kept {
    node_id: String,
    command: String,
    payload: String,
    /// The node answered with a text.
    is_text: bool,
}

/// What a key stands for.
pub(super) enum Entry<'a> {
    /// Nothing yet: the caller carries it out.
    New(Turn<'a>),
    /// It is being carried out.
    Running(watch::Receiver<Option<Outcome>>),
    /// It was carried out.
    Known(Outcome),
    /// Something else.
    Conflict,
}

impl Once {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, node_id: &str, key: &str, hash: [u8; 32]) -> Entry<'_> {
        let key: Key = Arc::new((node_id.to_owned(), key.to_owned()));
        let mut inner = self.lock();
        inner.expire(Instant::now());
        if let Some(slot) = inner.slots.get(&key) {
            return match &slot.state {
                _ if slot.hash != hash => Entry::Conflict,
                State::Running(outcome) => Entry::Running(outcome.clone()),
                State::Ended(ended) => Entry::Known(Arc::new(ended.outcome())),
            };
        }
        let (tx, outcome) = watch::channel(None);
        let state = State::Running(outcome);
        inner.slots.insert(key.clone(), Slot { hash, state });
        Entry::New(Turn {
            once: self,
            key,
            tx,
            is_sent: false,
            has_ended: false,
        })
    }
}

impl Inner {
    /// Notes how a key has ended, and makes room for it.
    fn end(&mut self, key: &Key, ended: Ended) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if let Ended::Done(_) = &ended {
            self.kept.push_back(key.clone());
        }
        self.bytes += cost(key) + ended.cost();
        slot.state = State::Ended(ended);
        self.ended.push_back((Instant::now(), key.clone()));
        while self.bytes > MAX_BYTES {
            if let Some(oldest) = self.kept.pop_front() {
                self.replace(&oldest, Ended::Failed(InvokeError::NotKept));
            } else if let Some((_, oldest)) = self.ended.pop_front() {
                self.forget(&oldest);
            } else {
                return;
            }
        }
    }

    fn replace(&mut self, key: &Key, with: Ended) {
        if let Some(Slot {
            state: State::Ended(ended),
            ..
        }) = self.slots.get_mut(key)
        {
            self.bytes = self.bytes.saturating_sub(ended.cost()) + with.cost();
            *ended = with;
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(slot) = self.slots.remove(key)
            && let State::Ended(ended) = slot.state
        {
            self.bytes = self.bytes.saturating_sub(cost(key) + ended.cost());
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, key)) = self.ended.front() {
            if now.duration_since(*at) < LIFETIME {
                return;
            }
            let key = key.clone();
            self.ended.pop_front();
            if self.kept.front() == Some(&key) {
                self.kept.pop_front();
            }
            self.forget(&key);
        }
    }
}

/// What a key takes, whatever became of it.
fn cost(key: &Key) -> usize {
    KEY + key.0.len() + key.1.len()
}

impl Ended {
    fn new(outcome: &Result<NodeInvokeReply, InvokeError>) -> Self {
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => return Self::Failed(error.clone()),
        };
        let kept = Kept {
            node_id: reply.node_id.clone(),
            command: reply.command.clone(),
            payload: match &reply.payload_json {
                Some(text) => text.clone(),
                None => reply.payload.to_string(),
            },
            is_text: reply.payload_json.is_some(),
        };
        match kept.cost() > MAX_RESULT {
            true => Self::Failed(InvokeError::NotKept),
            false => Self::Done(kept),
        }
    }

    fn cost(&self) -> usize {
        match self {
            Self::Done(kept) => kept.cost(),
            Self::Failed(InvokeError::Node { code, message }) => {
                code.as_ref().map_or(0, String::len) + message.as_ref().map_or(0, String::len)
            }
            // Short texts of our own.
            Self::Failed(_) => 0,
        }
    }

    fn outcome(&self) -> Result<NodeInvokeReply, InvokeError> {
        let kept = match self {
            Self::Done(kept) => kept,
            Self::Failed(error) => return Err(error.clone()),
        };
        Ok(NodeInvokeReply {
            ok: true,
            node_id: kept.node_id.clone(),
            command: kept.command.clone(),
            payload: serde_json::from_str(&kept.payload).unwrap_or_default(),
            payload_json: kept.is_text.then(|| kept.payload.clone()),
        })
    }
}

impl Kept {
    fn cost(&self) -> usize {
        self.node_id.len() + self.command.len() + self.payload.len()
    }
}

/// The right to carry a key out. Dropped without an end it counts as given up by its caller, once the
/// node was told; before that, nothing happened under the key, and it is free again.
pub(super) struct Turn<'a> {
    once: &'a Once,
    key: Key,
    tx: watch::Sender<Option<Outcome>>,
    is_sent: bool,
    has_ended: bool,
}

impl Turn<'_> {
    /// It was refused before the node heard of it: the key is free again.
    pub(super) fn release(mut self, error: &InvokeError) {
        self.free(error);
    }

    /// From now on the node may have heard of it.
    pub(super) fn sent(&mut self) {
        self.is_sent = true;
    }

    fn free(&mut self, error: &InvokeError) {
        self.has_ended = true;
        self.once.lock().slots.remove(&self.key);
        self.tx.send_replace(Some(Arc::new(Err(error.clone()))));
    }

    /// It has ended.
    pub(super) fn end(mut self, outcome: &Outcome) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: &Outcome) {
        self.has_ended = true;
        self.once.lock().end(&self.key, Ended::new(outcome));
        // Who waits has its own receiver, and the whole outcome.
        self.tx.send_replace(Some(outcome.clone()));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        match (self.has_ended, self.is_sent) {
            (true, _) => {}
            (false, true) => self.finish(&Arc::new(Err(InvokeError::GivenUp))),
            (false, false) => self.free(&InvokeError::GivenUp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: [u8; 32] = [1; 32];

    fn reply(text: &str) -> Outcome {
        Arc::new(Ok(NodeInvokeReply {
            ok: true,
            node_id: "n".into(),
            command: "c".into(),
            payload: serde_json::from_str(text).unwrap_or_default(),
            payload_json: Some(text.to_owned()),
        }))
    }

    fn turn<'a>(once: &'a Once, key: &str) -> Turn<'a> {
        match once.enter("n", key, HASH) {
            Entry::New(turn) => turn,
            _ => panic!("a new key"),
        }
    }

    fn known(once: &Once, key: &str) -> Outcome {
        match once.enter("n", key, HASH) {
            Entry::Known(outcome) => outcome,
            _ => panic!("the key should be known"),
        }
    }

    #[test]
    fn a_key_is_carried_out_once_and_stands_for_one_content() {
        let once = Once::default();
        let first = turn(&once, "k");
        let Entry::Running(waiting) = once.enter("n", "k", HASH) else {
            panic!("still going on")
        };
        assert!(matches!(once.enter("n", "k", [2; 32]), Entry::Conflict));
        assert!(matches!(once.enter("other", "k", HASH), Entry::New(_)));
        first.end(&reply("{}"));
        assert_eq!(*waiting.borrow(), Some(reply("{}")));
        assert_eq!(known(&once, "k"), reply("{}"));
        assert!(matches!(once.enter("n", "k", [2; 32]), Entry::Conflict));
    }

    #[test]
    fn a_refused_key_is_free_and_one_dropped_after_the_node_was_told_is_given_up() {
        let once = Once::default();
        turn(&once, "k").release(&InvokeError::NotConnected);
        drop(turn(&once, "k"));
        let mut told = turn(&once, "k");
        told.sent();
        drop(told);
        assert_eq!(known(&once, "k"), Arc::new(Err(InvokeError::GivenUp)));
    }

    #[test]
    fn a_large_result_is_not_kept() {
        let once = Once::default();
        let first = turn(&once, "k");
        let Entry::Running(waiting) = once.enter("n", "k", HASH) else {
            panic!("still going on")
        };
        let large = reply(&format!("\"{}\"", "x".repeat(MAX_RESULT)));
        first.end(&large);
        assert_eq!(known(&once, "k"), Arc::new(Err(InvokeError::NotKept)));
        assert_eq!(*waiting.borrow(), Some(large), "who waited has it whole");
    }

    #[test]
    fn many_results_take_bounded_room_and_none_of_their_keys_is_carried_out_twice() {
        let once = Once::default();
        let result = format!("\"{}\"", "x".repeat(MAX_RESULT / 2));
        let many = 4 * MAX_BYTES / result.len();
        for at in 0..many {
            turn(&once, &at.to_string()).end(&reply(&result));
            assert!(once.lock().bytes <= MAX_BYTES);
        }
        assert_eq!(known(&once, "0"), Arc::new(Err(InvokeError::NotKept)));
        assert_eq!(known(&once, &(many - 1).to_string()), reply(&result));
    }

    #[test]
    fn keys_alone_take_bounded_room() {
        let once = Once::default();
        let many = MAX_BYTES / KEY + 1;
        for at in 0..many {
            turn(&once, &at.to_string()).end(&Arc::new(Err(InvokeError::TimedOut)));
        }
        let inner = once.lock();
        assert!(inner.bytes <= MAX_BYTES && inner.slots.len() == inner.ended.len());
        drop(inner);
        known(&once, &(many - 1).to_string());
    }

    #[test]
    fn what_is_old_is_forgotten_and_its_room_is_free() {
        let once = Once::default();
        turn(&once, "a").end(&reply("{}"));
        turn(&once, "b").end(&Arc::new(Err(InvokeError::TimedOut)));
        let mut inner = once.lock();
        inner.expire(Instant::now() + LIFETIME);
        assert!(inner.slots.is_empty() && inner.kept.is_empty() && inner.ended.is_empty());
        assert_eq!(inner.bytes, 0);
    }
}
