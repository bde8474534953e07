//! What waits to be sent on one connection: answers and events in order, bounded by bytes.
//!
//! Numbers are given when an event leaves the queue, after filtering and merging, so a connection
//! never sees a gap. Newer state replaces older state of its kind, and an unsent delta of a run
//! takes up the next one; what cannot be merged and does not fit makes the connection a slow
//! consumer. Answers are never dropped: their number is bounded by the calls under way, and large ones
//! are not made while too many bytes wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use clawline::protocol::frame::StateVersion;
use clawline::protocol::{Protocol, limits, v3};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::delta::TextDelta;

/// Members around an event's payload, in bytes, for the account.
const ENVELOPE: usize = 96;

/// An event as it is sent to many connections: the payload is written once and shared.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    pub(crate) name: &'static str,
    pub(crate) payload: Payload,
    /// What a state is the state of, where each of several things has one of its own.
    pub(crate) subject: Option<Arc<str>>,
    pub(crate) state_version: Option<StateVersion>,
    /// False for direct pushes, which carry no number.
    pub(crate) is_numbered: bool,
}

/// The payload of a push.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// JSON text that stands for itself.
    Plain(Arc<Text>),
    /// State: a newer one makes an unsent older one of the same name and subject worthless.
    Latest(Arc<Text>),
    /// A piece of a run's text.
    Delta(Arc<TextDelta>),
}

/// JSON text of a payload, as version 4 has it.
#[derive(Debug)]
pub(crate) struct Text {
    full: Arc<str>,
    /// As version 3 has it; made when the first such connection needs it.
    v3: OnceLock<Arc<str>>,
}

impl Text {
    fn of(payload: &impl serde::Serialize) -> Arc<Self> {
        Arc::new(Self {
            full: json(payload),
            v3: OnceLock::new(),
        })
    }

    fn v3(&self, name: &str) -> Arc<str> {
        if !v3::is_event_changed(name) {
            return self.full.clone();
        }
        let made = self.v3.get_or_init(|| {
            let mut payload = serde_json::from_str(&self.full).unwrap_or_default();
            v3::event(name, &mut payload);
            json(&payload)
        });
        made.clone()
    }
}

impl Push {
    /// An event that is sent to everybody as it is.
    pub(crate) fn plain(name: &'static str, payload: &impl serde::Serialize) -> Self {
        Self::with(name, Payload::Plain(Text::of(payload)), None)
    }

    /// An event that tells a state.
    pub(crate) fn latest(
        name: &'static str,
        payload: &impl serde::Serialize,
        state_version: Option<StateVersion>,
    ) -> Self {
        Self::with(name, Payload::Latest(Text::of(payload)), state_version)
    }

    /// An event that tells the state of one thing among several: others keep theirs.
    pub(crate) fn latest_of(
        name: &'static str,
        subject: &str,
        payload: &impl serde::Serialize,
    ) -> Self {
        Self {
            subject: Some(subject.into()),
            ..Self::latest(name, payload, None)
        }
    }

    /// The same without a number: sent to one connection for itself.
    pub(crate) fn direct(&self) -> Self {
        Self {
            is_numbered: false,
            ..self.clone()
        }
    }

    /// A piece of a run's text.
    pub(crate) fn delta(delta: TextDelta) -> Self {
        Self::with(delta.event(), Payload::Delta(Arc::new(delta)), None)
    }

    fn with(name: &'static str, payload: Payload, state_version: Option<StateVersion>) -> Self {
        Self {
            name,
            payload,
            subject: None,
            state_version,
            is_numbered: true,
        }
    }

    fn cost(&self) -> usize {
        ENVELOPE
            + match &self.payload {
                Payload::Plain(text) | Payload::Latest(text) => text.full.len(),
                Payload::Delta(delta) => delta.payload().len(),
            }
    }

    /// The frame, with its number on this connection.
    pub(crate) fn frame(&self, version: Protocol, seq: Option<u64>) -> String {
        use std::fmt::Write as _;
        let payload = match (&self.payload, version) {
            (Payload::Plain(text) | Payload::Latest(text), Protocol::V3) => text.v3(self.name),
            (Payload::Plain(text) | Payload::Latest(text), Protocol::V4) => text.full.clone(),
            (Payload::Delta(delta), Protocol::V3) => delta.v3_payload(),
            (Payload::Delta(delta), Protocol::V4) => delta.payload(),
        };
        let mut out = String::with_capacity(payload.len() + ENVELOPE + self.name.len());
        let _ = write!(
            out,
            r#"{{"type":"event","event":"{}","payload":{payload}"#,
            self.name
        );
        if let Some(seq) = seq {
            let _ = write!(out, r#","seq":{seq}"#);
        }
        if let Some(version) = self.state_version {
            let _ = write!(
                out,
                r#","stateVersion":{{"presence":{},"health":{}}}"#,
                version.presence, version.health
            );
        }
        out.push('}');
        out
    }
}

/// JSON text of a value that always serialises.
pub(crate) fn json(value: &impl serde::Serialize) -> Arc<str> {
    serde_json::to_string(value).unwrap_or_default().into()
}

/// One thing to send.
#[derive(Debug)]
pub(crate) enum Item {
    /// An answer; the call counts as under way until it is written.
    Answer {
        text: String,
        permit: Option<OwnedSemaphorePermit>,
    },
    /// An event.
    Push(Push),
}

/// The queue of one connection. Any task may put, the connection's own task takes.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    wake: Notify,
    has_room: Notify,
}

/// Events that were not sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// A newer one says what they said.
    pub(crate) merged: u64,
    /// The connection was too slow for them.
    pub(crate) overrun: u64,
}

impl std::ops::AddAssign for Dropped {
    fn add_assign(&mut self, more: Self) {
        self.merged += more.merged;
        self.overrun += more.overrun;
    }
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Item>,
    event_bytes: usize,
    dropped: Dropped,
    answer_bytes: usize,
    is_overrun: bool,
    is_closed: bool,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an answer.
    pub(crate) fn answer(&self, text: String, permit: Option<OwnedSemaphorePermit>) {
        let mut inner = self.lock();
        if inner.is_closed {
            return;
        }
        inner.answer_bytes += text.len();
        inner.queue.push_back(Item::Answer { text, permit });
        drop(inner);
        self.wake.notify_one();
    }

    /// Puts an event, merged with an older one where it can be.
    pub(crate) fn push(&self, push: &Push) {
        let mut inner = self.lock();
        if inner.is_closed || inner.is_overrun {
            inner.dropped.overrun += u64::from(inner.is_overrun);
            return;
        }
        let push = inner.merge(push);
        let cost = push.cost();
        if inner.event_bytes > 0 && inner.event_bytes + cost > limits::MAX_BUFFERED {
            inner.is_overrun = true;
            inner.dropped.overrun += 1;
        } else {
            inner.event_bytes += cost;
            inner.queue.push_back(Item::Push(push));
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Takes the next thing, if there is one.
    pub(crate) fn take(&self) -> Option<Item> {
        let mut inner = self.lock();
        let item = inner.queue.pop_front()?;
        match &item {
            Item::Answer { text, .. } => inner.answer_bytes -= text.len(),
            Item::Push(push) => inner.event_bytes -= push.cost(),
        }
        if inner.answer_bytes <= limits::MAX_BUFFERED {
            self.has_room.notify_waiters();
        }
        // An idle connection keeps no more than it needs.
        if inner.queue.is_empty() && inner.queue.capacity() > 64 {
            inner.queue = VecDeque::new();
        }
        Some(item)
    }

    /// Waits until there is too much, or, for a caller that can take, something. Safe to drop.
    pub(crate) async fn ready(&self, can_take: bool) {
        loop {
            {
                let inner = self.lock();
                if inner.is_overrun || (can_take && !inner.queue.is_empty()) {
                    return;
                }
            }
            self.wake.notified().await;
        }
    }

    /// What was not sent so far.
    pub(crate) fn dropped(&self) -> Dropped {
        self.lock().dropped
    }

    /// True once an event did not fit any more.
    pub(crate) fn is_overrun(&self) -> bool {
        self.lock().is_overrun
    }

    /// True while so much is waiting that no further call should be read.
    pub(crate) fn is_full_of_answers(&self) -> bool {
        self.lock().answer_bytes > limits::MAX_BUFFERED
    }

    /// Waits until a large answer may be made: not while too much waits already. Safe to drop.
    pub(crate) async fn room(&self) {
        loop {
            let room = self.has_room.notified();
            {
                let inner = self.lock();
                if inner.is_closed || inner.answer_bytes <= limits::MAX_BUFFERED {
                    return;
                }
            }
            room.await;
        }
    }

    /// Nothing is taken in any more, and what waits is let go.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        inner.queue = VecDeque::new();
        drop(inner);
        self.has_room.notify_waiters();
    }
}

impl Inner {
    /// Takes an older event of the same kind out of the queue, and what is new of it into `push`.
    fn merge(&mut self, push: &Push) -> Push {
        let mut push = push.clone();
        let at = match &push.payload {
            Payload::Plain(_) => None,
            Payload::Latest(_) => self.queue.iter().position(|item| {
                matches!(item, Item::Push(old)
                    if old.name == push.name
                        && old.subject == push.subject
                        && matches!(old.payload, Payload::Latest(_)))
            }),
            Payload::Delta(delta) => self.queue.iter().rposition(|item| {
                matches!(item, Item::Push(Push { payload: Payload::Delta(old), .. })
                    if delta.continues(old))
            }),
        };
        if let Some(Item::Push(old)) = at.and_then(|at| self.queue.remove(at)) {
            self.event_bytes -= old.cost();
            self.dropped.merged += 1;
            if let (Payload::Delta(old), Payload::Delta(new)) = (&old.payload, &push.payload) {
                push.payload = Payload::Delta(Arc::new(old.merged(new)));
            }
        }
        push
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::json;

    use super::*;

    fn names(outbox: &Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.take())
            .map(|item| match item {
                Item::Push(push) => push.frame(Protocol::V4, None),
                Item::Answer { text, .. } => text,
            })
            .collect()
    }

    #[test]
    fn a_frame_has_only_the_members_that_clients_know() {
        let push = Push::latest(
            "health",
            &json!({"ok": true}),
            Some(StateVersion {
                presence: 1,
                health: 2,
            }),
        );
        assert_eq!(
            push.frame(Protocol::V4, Some(7)),
            r#"{"type":"event","event":"health","payload":{"ok":true},"seq":7,"stateVersion":{"presence":1,"health":2}}"#
        );
        assert_eq!(
            Push::plain("tick", &json!({"ts": 1})).frame(Protocol::V3, None),
            r#"{"type":"event","event":"tick","payload":{"ts":1}}"#
        );
    }

    #[test]
    fn version_3_is_sent_an_event_without_what_version_4_added() {
        let push = Push::plain(
            "presence",
            &json!({"presence": [{"ts": 1, "clientId": "cli"}]}),
        );
        assert_eq!(
            push.frame(Protocol::V3, None),
            r#"{"type":"event","event":"presence","payload":{"presence":[{"ts":1}]}}"#
        );
        assert!(push.frame(Protocol::V4, None).contains("clientId"));
        let push = Push::delta(delta_of("r1", 1, "He", "He"));
        let frame: serde_json::Value =
            serde_json::from_str(&push.frame(Protocol::V3, None)).unwrap();
        let payload = frame["payload"].as_object().unwrap();
        for added in ["agentId", "deltaText"] {
            assert!(!payload.contains_key(added), "{frame}");
        }
        assert_eq!(payload["message"]["content"][0]["text"], "He");
    }

    #[test]
    fn newer_state_replaces_older_and_other_events_stay() {
        let outbox = Outbox::default();
        outbox.push(&Push::latest("tick", &1, None));
        outbox.push(&Push::plain("chat", &2));
        outbox.push(&Push::plain("chat", &3));
        outbox.push(&Push::latest("tick", &4, None));
        let texts: Vec<String> = names(&outbox);
        assert_eq!(texts.len(), 3);
        assert!(texts[2].contains(r#""payload":4"#), "{texts:?}");
        assert_eq!(outbox.lock().event_bytes, 0);
    }

    #[test]
    fn each_of_several_things_keeps_its_newest_state() {
        let outbox = Outbox::default();
        for number in 0..100 {
            for node in ["a", "b"] {
                let payload = json!({"node": node, "number": number});
                outbox.push(&Push::latest_of("node.hostStats", node, &payload));
            }
        }
        let texts = names(&outbox);
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains(r#""node":"a","number":99"#), "{texts:?}");
        assert!(texts[1].contains(r#""node":"b","number":99"#), "{texts:?}");
    }

    #[test]
    fn too_many_events_overrun_but_one_large_one_and_answers_do_not() {
        let outbox = Outbox::default();
        let large = "x".repeat(limits::MAX_BUFFERED + 1);
        outbox.answer(large.clone(), None);
        assert!(outbox.is_full_of_answers() && !outbox.is_overrun());
        outbox.push(&Push::plain("chat", &large));
        assert!(!outbox.is_overrun());
        outbox.push(&Push::plain("chat", &1));
        assert!(outbox.is_overrun());
    }

    #[test]
    fn an_unsent_delta_takes_up_the_next_and_keeps_what_is_new() {
        let outbox = Outbox::default();
        for (seq, text, delta) in [(1, "He", "He"), (2, "Hell", "ll"), (3, "Hello", "o")] {
            outbox.push(&Push::delta(delta_of("r1", seq, text, delta)));
            outbox.push(&Push::delta(delta_of("r2", seq, text, delta)));
        }
        let frames = names(&outbox);
        assert_eq!(frames.len(), 2);
        let frame: serde_json::Value = serde_json::from_str(&frames[0]).unwrap();
        assert_eq!(frame["payload"]["runId"], "r1");
        assert_eq!(frame["payload"]["deltaText"], "Hello");
        assert_eq!(frame["payload"]["seq"], 3);
        assert_eq!(frame["payload"]["message"]["content"][0]["text"], "Hello");
        assert_eq!(outbox.lock().event_bytes, 0);
    }

    fn delta_of(run: &str, seq: u64, text: &str, delta: &str) -> TextDelta {
        use crate::runs::{RunEvent, RunId, RunKind, RunStep};
        let text: Arc<str> = text.into();
        let event = RunEvent {
            run_id: RunId::parse(run).unwrap(),
            session_key: crate::sessions::SessionKey::parse("agent:main:main").unwrap(),
            session_id: "s".into(),
            kind: RunKind::Chat,
            seq,
            at: 1,
            step: RunStep::Delta {
                text: text.clone(),
                delta: delta.to_owned(),
            },
        };
        TextDelta::new(super::super::delta::Stream::Chat, &event, &text, delta)
    }

    #[tokio::test]
    async fn a_large_answer_waits_until_there_is_room_or_nobody_to_take_it() {
        let outbox = Outbox::default();
        outbox.room().await;
        for end in [|outbox: &Outbox| drop(outbox.take()), Outbox::close] {
            outbox.answer("x".repeat(limits::MAX_BUFFERED + 1), None);
            let mut waiting = Box::pin(outbox.room());
            assert!((&mut waiting).now_or_never().is_none());
            end(&outbox);
            assert!((&mut waiting).now_or_never().is_some());
        }
    }

    #[tokio::test]
    async fn what_was_put_before_waiting_is_noticed() {
        let outbox = Outbox::default();
        outbox.push(&Push::plain("chat", &1));
        outbox.ready(true).await;
        assert!(outbox.take().is_some() && outbox.take().is_none());
    }
}
