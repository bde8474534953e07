//! Which message may go out when: in order, once, and never a second time before the gateway's
//! transcript was read (DESIGN §2).

use std::collections::{HashMap, HashSet};

use clawline::protocol::methods::chat::{ChatMessage, is_cut_of};

use super::{Delivery, Message};

/// How much earlier than typed here a message may stand in the gateway's transcript: its clock is
/// another one.
const CLOCK_SKEW_MS: i64 = 10 * 60 * 1000;

/// The messages that are not settled, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    messages: Vec<Message>,
    /// Whether a connection is up.
    connected: bool,
    /// Sessions whose transcript was read on this connection.
    read: HashSet<String>,
    /// Sessions whose transcript has been asked for on this connection, only for the queue.
    asked: HashSet<String>,
    /// Keys whose call is under way, and whether it is a further try.
    calling: HashMap<String, bool>,
    /// Keys sent and answered on this connection.
    answered: HashSet<String>,
    /// Keys that the gateway asked to send later.
    held: HashSet<String>,
}

/// What the queue wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read the transcript of this session first.
    Read {
        /// Session key.
        session: String,
    },
    /// Mark it as sent on disk, then send it.
    Send(Message),
}

/// What came of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The gateway has it; `durable` when its answer means that it is on disk there.
    Taken {
        /// Capability `clawline-durable-ack`.
        durable: bool,
    },
    /// The gateway will not take it.
    Refused(String),
    /// Nothing was sent, or the gateway asks to come again: it stays as it was until [`Queue::wake`].
    NotSent,
    /// It may or may not have arrived: the transcript is read, and it waits for [`Queue::wake`].
    Unknown,
}

impl Queue {
    /// Takes over what is on disk, in place of what is known. Transcripts read before count no more: they
    /// were not compared with these messages.
    pub(crate) fn replace(&mut self, messages: Vec<Message>) {
        self.messages = messages;
        self.messages.sort_by_key(|message| message.at);
        self.read.clear();
        self.asked.clear();
    }

    /// Adds a message that is on disk now.
    pub(crate) fn push(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// Messages that are not in the gateway's transcript yet.
    pub(crate) fn waiting(&self) -> usize {
        self.messages.len()
    }

    /// The messages of a session.
    pub(crate) fn of_session<'a>(&'a self, session: &'a str) -> impl Iterator<Item = &'a Message> {
        self.messages
            .iter()
            .filter(move |message| message.session == session)
    }

    /// The session of a message that is on its way.
    pub(crate) fn session_of(&self, key: &str) -> Option<String> {
        let message = self.messages.iter().find(|message| message.key == key)?;
        Some(message.session.clone())
    }

    /// A connection came up: nothing is known about it yet.
    pub(crate) fn connected(&mut self) {
        self.connected = true;
        self.read.clear();
        self.asked.clear();
        self.answered.clear();
        self.held.clear();
    }

    /// The time to wait has passed: what was held may be tried again.
    pub(crate) fn wake(&mut self) {
        self.held.clear();
        let read = &self.read;
        self.asked.retain(|session| read.contains(session));
    }

    /// Gives the messages of one session to another: the gateway told its real name.
    pub(crate) fn rename_session(&mut self, from: &str, to: &str) {
        for message in &mut self.messages {
            if message.session == from {
                message.session = to.to_owned();
            }
        }
    }

    /// The connection is gone. Calls under way report by themselves.
    pub(crate) fn disconnected(&mut self) {
        self.connected = false;
        self.read.clear();
    }

    /// What can be done now. Per session: the transcript first, then one message after the other.
    pub(crate) fn steps(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        if !self.connected {
            return steps;
        }
        let mut busy: HashSet<&str> = HashSet::new();
        for message in &mut self.messages {
            let session = message.session.as_str();
            if busy.contains(session)
                || matches!(message.delivery, Delivery::Failed(_) | Delivery::Accepted)
            {
                continue;
            }
            if self.calling.contains_key(&message.key) || self.held.contains(&message.key) {
                busy.insert(session);
                continue;
            }
            if self.answered.contains(&message.key) {
                continue;
            }
            busy.insert(session);
            if self.read.contains(session) {
                let again = message.delivery == Delivery::Sent;
                self.calling.insert(message.key.clone(), again);
                message.delivery = Delivery::Sent;
                steps.push(Step::Send(message.clone()));
            } else if self.asked.insert(session.to_owned()) {
                steps.push(Step::Read {
                    session: session.to_owned(),
                });
            }
        }
        steps
    }

    /// The transcript of a session was read: messages it holds are done. Returns their keys.
    pub(crate) fn read(&mut self, session: &str, messages: &[ChatMessage]) -> Vec<String> {
        if self.connected {
            self.read.insert(session.to_owned());
        }
        let mut found: Vec<String> = Vec::new();
        let mut used: HashSet<usize> = HashSet::new();
        for message in self
            .messages
            .iter()
            .filter(|message| message.session == session)
        {
            let place = messages
                .iter()
                .position(|theirs| theirs.sent_key().as_deref() == Some(message.key.as_str()))
                .or_else(|| {
                    let nameless = |(i, theirs): (usize, &ChatMessage)| {
                        let same = theirs.role == "user"
                            && theirs.sent_key().is_none()
                            && !used.contains(&i)
                            && message.delivery == Delivery::Sent
                            && is_same_message(
                                &message.text,
                                Some(message.at),
                                &theirs.text(),
                                theirs.timestamp,
                            );
                        same.then_some(i)
                    };
                    messages.iter().enumerate().find_map(nameless)
                });
            if let Some(place) = place {
                used.insert(place);
                found.push(message.key.clone());
            }
        }
        self.messages
            .retain(|message| !found.contains(&message.key));
        found
    }

    /// The call that sent a message is over. Returns how far the message is now, where it changed.
    pub(crate) fn answered(&mut self, key: &str, answer: Answer) -> Option<Delivery> {
        let again = self.calling.remove(key)?;
        let message = self
            .messages
            .iter_mut()
            .find(|message| message.key == key)?;
        match answer {
            Answer::Taken { durable: true } => {
                self.messages.retain(|message| message.key != key);
                Some(Delivery::Accepted)
            }
            Answer::Taken { durable: false } => {
                self.answered.insert(key.to_owned());
                Some(Delivery::Sent)
            }
            Answer::Refused(why) => {
                message.delivery = Delivery::Failed(why.clone());
                Some(Delivery::Failed(why))
            }
            // A further try that did not go out changes nothing about the first.
            Answer::NotSent => {
                self.held.insert(key.to_owned());
                if again {
                    return None;
                }
                message.delivery = Delivery::Queued;
                Some(Delivery::Queued)
            }
            Answer::Unknown => {
                self.held.insert(key.to_owned());
                self.read.remove(&message.session.clone());
                self.asked.remove(&message.session.clone());
                None
            }
        }
    }

    /// The gateway finished the run of a message, so it had the message. True when that settles it.
    pub(crate) fn run_over(&mut self, key: &str) -> bool {
        let before = self.messages.len();
        self.messages.retain(|message| message.key != key);
        self.messages.len() < before
    }

    /// Puts refused messages of a session back into the queue; returns their keys.
    pub(crate) fn retry(&mut self, session: &str) -> Vec<String> {
        let mut keys = Vec::new();
        for message in &mut self.messages {
            if message.session == session && matches!(message.delivery, Delivery::Failed(_)) {
                message.delivery = Delivery::Queued;
                keys.push(message.key.clone());
            }
        }
        keys
    }

    /// Throws away what has not been given to the gateway in a session; returns those messages.
    pub(crate) fn discard(&mut self, session: &str) -> Vec<Message> {
        let (gone, kept) =
            std::mem::take(&mut self.messages)
                .into_iter()
                .partition(|message: &Message| {
                    message.session == session
                        && matches!(message.delivery, Delivery::Queued | Delivery::Failed(_))
                });
        self.messages = kept;
        gone
    }
}

/// Whether a message without a name in the gateway's transcript is the one typed here: the same
/// words, perhaps with the gateway's notes in front, and not from long before.
pub(crate) fn is_same_message(
    ours: &str,
    at: Option<i64>,
    theirs: &str,
    their_at: Option<i64>,
) -> bool {
    let (ours, theirs) = (ours.trim(), theirs.trim());
    let in_time = match (at, their_at) {
        (Some(at), Some(their_at)) if their_at > 0 => their_at >= at - CLOCK_SKEW_MS,
        _ => true,
    };
    in_time && !ours.is_empty() && (theirs.ends_with(ours) || is_cut_of(theirs, ours))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(key: &str, delivery: Delivery) -> Message {
        Message {
            key: key.into(),
            session: "s".into(),
            text: format!("text {key}"),
            at: 1_000_000,
            delivery,
        }
    }

    fn history(value: serde_json::Value) -> Vec<ChatMessage> {
        serde_json::from_value(value).expect("messages")
    }

    fn sends(steps: &[Step]) -> Vec<&str> {
        steps
            .iter()
            .filter_map(|step| match step {
                Step::Send(message) => Some(message.key.as_str()),
                Step::Read { .. } => None,
            })
            .collect()
    }

    #[test]
    fn nothing_goes_out_before_the_transcript_was_read() {
        let mut queue = Queue::default();
        queue.push(message("a", Delivery::Queued));
        assert_eq!(queue.steps(), []);
        queue.connected();
        assert_eq!(
            queue.steps(),
            [Step::Read {
                session: "s".into()
            }]
        );
        assert_eq!(queue.steps(), []);
        assert_eq!(queue.read("s", &[]), Vec::<String>::new());
        assert_eq!(sends(&queue.steps()), ["a"]);
        assert_eq!(queue.steps(), [], "not twice while the call is under way");
    }

    #[test]
    fn messages_go_out_in_order_one_answer_after_the_other() {
        let mut queue = Queue::default();
        queue.push(message("a", Delivery::Queued));
        queue.push(message("b", Delivery::Queued));
        queue.connected();
        queue.read("s", &[]);
        assert_eq!(sends(&queue.steps()), ["a"]);
        assert_eq!(
            queue.answered("a", Answer::Taken { durable: true }),
            Some(Delivery::Accepted)
        );
        assert_eq!(sends(&queue.steps()), ["b"]);
        assert_eq!(queue.waiting(), 1);
    }

    #[test]
    fn a_gateway_without_durable_answers_has_it_when_its_transcript_shows_it() {
        let mut queue = Queue::default();
        queue.push(message("a", Delivery::Queued));
        queue.connected();
        queue.read("s", &[]);
        queue.steps();
        assert_eq!(
            queue.answered("a", Answer::Taken { durable: false }),
            Some(Delivery::Sent)
        );
        assert_eq!(
            queue.steps(),
            [],
            "answered, so not sent again on this connection"
        );
        let shown = history(json!([{"role":"user","content":"text a","idempotencyKey":"a:user"}]));
        assert_eq!(queue.read("s", &shown), ["a"]);
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn after_a_lost_answer_the_transcript_decides_and_the_key_stays() {
        let mut queue = Queue::default();
        queue.push(message("a", Delivery::Queued));
        queue.connected();
        queue.read("s", &[]);
        queue.steps();
        queue.disconnected();
        assert_eq!(queue.answered("a", Answer::Unknown), None);
        assert_eq!(queue.steps(), []);
        queue.connected();
        assert_eq!(
            queue.steps(),
            [Step::Read {
                session: "s".into()
            }]
        );
        // Version 3: no key in the transcript, and a note of the gateway in front of the words.
        let shown = history(json!([
            {"role":"user","content":"text a","timestamp":1},
            {"role":"user","content":"[Sun 14:22 UTC] text a","timestamp":1_000_500},
        ]));
        assert_eq!(queue.clone().read("s", &shown), ["a"]);
        let without = history(json!([{"role":"user","content":"text a","timestamp":1}]));
        assert_eq!(queue.read("s", &without), Vec::<String>::new());
        assert_eq!(
            sends(&queue.steps()),
            ["a"],
            "not there: the same key goes out again"
        );
    }

    #[test]
    fn a_transcript_that_cannot_be_read_is_asked_for_again_only_after_a_while() {
        let mut queue = Queue::default();
        queue.push(message("a", Delivery::Queued));
        queue.connected();
        assert_eq!(queue.steps().len(), 1);
        assert_eq!(queue.steps(), [], "asked once");
        queue.wake();
        assert_eq!(
            queue.steps(),
            [Step::Read {
                session: "s".into()
            }]
        );
    }

    #[test]
    fn one_line_of_a_transcript_settles_one_message() {
        let mut queue = Queue::default();
        for key in ["a", "b"] {
            let mut same = message(key, Delivery::Sent);
            same.text = "hi".into();
            queue.push(same);
        }
        queue.connected();
        let shown = history(json!([{"role":"user","content":"hi","timestamp":1_000_001}]));
        assert_eq!(queue.read("s", &shown), ["a"]);
        assert_eq!(queue.waiting(), 1);
    }

    #[test]
    fn a_refused_message_waits_for_a_person_and_lets_others_pass() {
        let mut queue = Queue::default();
        queue.push(message("a", Delivery::Queued));
        queue.push(message("b", Delivery::Queued));
        queue.connected();
        queue.read("s", &[]);
        queue.steps();
        let answer = queue.answered("a", Answer::Refused("too long".into()));
        assert_eq!(answer, Some(Delivery::Failed("too long".into())));
        assert_eq!(sends(&queue.steps()), ["b"]);
        assert_eq!(queue.retry("s"), ["a"]);
        queue.answered("b", Answer::Taken { durable: true });
        assert_eq!(sends(&queue.steps()), ["a"]);
    }

    #[test]
    fn a_gateway_that_asks_for_patience_gets_it() {
        let mut queue = Queue::default();
        queue.push(message("a", Delivery::Queued));
        queue.connected();
        queue.read("s", &[]);
        queue.steps();
        assert_eq!(queue.answered("a", Answer::NotSent), Some(Delivery::Queued));
        assert_eq!(queue.steps(), []);
        queue.wake();
        assert_eq!(sends(&queue.steps()), ["a"]);
    }

    #[test]
    fn the_end_of_its_run_proves_that_the_gateway_had_it() {
        let mut queue = Queue::default();
        queue.push(message("a", Delivery::Sent));
        assert!(queue.run_over("a"));
        assert!(!queue.run_over("a"));
    }
}
