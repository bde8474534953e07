//! What the chat pane does with what it hears.

use clawline::protocol::event::{AgentEvent, ChatEvent, SessionMessageEvent};
use clawline::protocol::methods::chat::ChatHistoryReply;

use super::entry::{End, Kind, Source};
use super::runs::Heard;
use super::state::{Chat, Load};
use super::{history, merge};
use crate::app::effect::Effect;
use crate::app::msg::{Failure, Now, Reading};
use crate::outbox::{Delivery, Message};

/// `agent.wait` calls without news before a run is given up.
const PATIENCE: u64 = 4;

impl Chat {
    /// Wants the newest messages; one reading at a time.
    pub(crate) fn want_newest(&mut self, by_cursor: bool) -> Option<Effect> {
        if let Some(again) = &mut self.reading {
            *again = true;
            return None;
        }
        self.reading = Some(false);
        if self.load != Load::Read {
            self.load = Load::Loading;
        }
        let cursor = self
            .cursor
            .clone()
            .filter(|_| by_cursor && self.load == Load::Read);
        Some(Effect::ReadHistory {
            session: self.session.clone(),
            reading: if cursor.is_some() {
                Reading::After
            } else {
                Reading::Newest
            },
            offset: None,
            cursor,
        })
    }

    /// Wants older messages, when there are any.
    pub(crate) fn want_older(&mut self) -> Option<Effect> {
        let offset = self.older?;
        if self.reading_older {
            return None;
        }
        self.reading_older = true;
        Some(Effect::ReadHistory {
            session: self.session.clone(),
            reading: Reading::Older,
            offset: Some(offset),
            cursor: None,
        })
    }

    /// A page of history came for this session. True when another reading is wanted at once.
    pub(crate) fn on_history(
        &mut self,
        reading: Reading,
        result: Result<&ChatHistoryReply, &Failure>,
    ) -> bool {
        let reply = match (reading, result) {
            (Reading::Outbox, _) => return false,
            (Reading::Older, Err(_)) => {
                self.reading_older = false;
                return false;
            }
            (Reading::Newest | Reading::After, Err(failure)) => {
                self.reading = None;
                // A cursor that the gateway does not take any more must not be shown again.
                let had_cursor = self.cursor.take().is_some() && reading == Reading::After;
                let refused = matches!(failure, Failure::Refused(_));
                if self.load != Load::Read {
                    self.load = Load::Failed(failure.words());
                }
                return had_cursor && refused;
            }
            (_, Ok(reply)) => reply,
        };
        let entries = history::entries(&reply.messages);
        let before = self.transcript.entries().len();
        let older = match (reply.has_more, reply.next_offset) {
            (Some(false), _) => None,
            (_, next) => next,
        };
        let running: Vec<String> = self.runs.iter().map(|run| run.id.clone()).collect();
        let is_running = |run: &str| running.iter().any(|known| known == run);
        match reading {
            Reading::Older => {
                self.reading_older = false;
                self.older = older;
                merge::older(&mut self.transcript, entries);
                return false;
            }
            Reading::After => merge::tail(&mut self.transcript, entries, is_running),
            Reading::Newest | Reading::Outbox => {
                if merge::page(&mut self.transcript, entries, is_running) {
                    self.older = older;
                }
            }
        }
        let after = self.transcript.entries().len();
        if self.load == Load::Read && after > before {
            self.count_new();
        }
        self.load = Load::Read;
        self.cursor.clone_from(&reply.delta_cursor);
        self.reading.take() == Some(true)
    }

    /// `chat` for this session. True when the run is over.
    pub(crate) fn hear_chat(&mut self, event: &ChatEvent, now: Now) -> bool {
        let before = self.transcript.entries().len();
        let heard = self.on_chat(event, now);
        if self.transcript.entries().len() > before {
            self.count_new();
        }
        heard == Heard::Ended
    }

    /// `agent` for this session.
    pub(crate) fn hear_agent(&mut self, event: &AgentEvent, now: Now) {
        let before = self.transcript.entries().len();
        self.on_agent(event, now);
        if self.transcript.entries().len() > before {
            self.count_new();
        }
    }

    /// `session.message` for this session. True when history has to be read.
    pub(crate) fn hear_message(&mut self, event: &SessionMessageEvent) -> bool {
        if event.message.role != "user" {
            // An answer is shown as it streams; one without a run we know of is read.
            return self.runs.is_empty();
        }
        let mut message = event.message.clone();
        let origin = message.origin.get_or_insert_default();
        origin.seq = origin.seq.or(event.message_seq);
        if origin.id.is_none() {
            origin.id.clone_from(&event.message_id);
        }
        let entries = history::entries(&[message]);
        let before = self.transcript.entries().len();
        merge::last(&mut self.transcript, entries);
        if self.transcript.entries().len() > before {
            self.count_new();
        }
        false
    }

    /// Shows a message of the outbox; a known one is left as it is.
    pub(crate) fn show_message(&mut self, message: &Message) {
        let known = self.transcript.entries().iter().any(
            |entry| matches!(&entry.kind, Kind::User { key: Some(key), .. } if *key == message.key),
        );
        if known {
            return;
        }
        let kind = Kind::User {
            text: message.text.clone(),
            key: Some(message.key.clone()),
            delivery: Some(message.delivery.clone()),
        };
        self.transcript.push(kind, Source::Local, Some(message.at));
    }

    /// Says how far a message has come.
    pub(crate) fn set_delivery(&mut self, key: &str, delivery: &Delivery) {
        self.transcript.set_delivery(key, delivery);
    }

    /// Adds lines of ours.
    pub(crate) fn note(&mut self, text: String, bad: bool, now: Now) {
        let kind = Kind::Note {
            text,
            bad,
            link: false,
        };
        self.transcript.push(kind, Source::Local, Some(now.wall_ms));
        self.count_new();
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self, words: &str, now: Now) {
        self.reading = None;
        self.reading_older = false;
        for run in &mut self.runs {
            run.doubtful = true;
        }
        if self.load == Load::Read {
            let text = if words.is_empty() {
                "link lost".to_owned()
            } else {
                format!("link lost: {words}")
            };
            self.transcript.note_link(text, true, Some(now.wall_ms));
        } else {
            self.load = Load::Waiting;
        }
    }

    /// The connection is back after a while.
    pub(crate) fn reconnected(&mut self, missed: std::time::Duration, now: Now) {
        let seconds = missed.as_secs();
        let missed = match seconds {
            0 => "less than a second".to_owned(),
            1..=119 => format!("{seconds} s"),
            120..=7199 => format!("{} min", seconds / 60),
            _ => format!("{} h", seconds / 3600),
        };
        let text = format!("link back, {missed} missed");
        self.transcript.note_link(text, false, Some(now.wall_ms));
    }

    /// Runs that have to be asked about, as the link was lost since they were heard of.
    pub(crate) fn doubtful_runs(&self) -> Vec<String> {
        let doubtful = self.runs.iter().filter(|run| run.doubtful);
        doubtful.map(|run| run.id.clone()).collect()
    }

    /// The answer to a question about a run. What has to be asked or read next.
    pub(crate) fn on_run_status(
        &mut self,
        run: &str,
        result: &Result<(String, Option<String>), Failure>,
        now: Now,
    ) -> RunNews {
        let Some(known) = self.runs.iter_mut().find(|known| known.id == run) else {
            return RunNews::Nothing;
        };
        match result {
            Ok((status, _)) if status == "ok" => {
                self.end_run(run, &End::Done, now);
                RunNews::Over
            }
            Ok((status, words)) if status == "error" => {
                let words = words
                    .clone()
                    .unwrap_or_else(|| "no words were given".to_owned());
                self.end_run(run, &End::Failed(words), now);
                RunNews::Over
            }
            Ok(_) if !known.doubtful => RunNews::Nothing,
            Ok(_) => {
                known.asked += 1;
                if known.asked < PATIENCE {
                    return RunNews::AskAgain;
                }
                self.end_run(run, &End::Silent, now);
                // Should it live after all, its next word brings it back.
                self.ended.retain(|ended| ended != run);
                RunNews::Over
            }
            Err(Failure::Refused(error)) => {
                let words = format!(
                    "the gateway does not know this answer any more: {}",
                    error.message
                );
                self.end_run(run, &End::Failed(words), now);
                RunNews::Over
            }
            Err(Failure::NotSent(_) | Failure::Unknown(_)) => RunNews::Nothing,
        }
    }
}

/// What is known of a run after asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunNews {
    /// Nothing to do.
    Nothing,
    /// Still under way: ask again.
    AskAgain,
    /// It is over: read history.
    Over,
}
