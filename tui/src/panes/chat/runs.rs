//! Events of runs become entries: text as it grows, tool calls, and exactly one end a run.

use std::time::Instant;

use clawline::protocol::event::{AgentEvent, ChatEvent, ChatState};
use serde_json::Value;

use super::entry::{End, EntryId, Kind, Tool, ToolEnd};
use super::state::Chat;
use super::tools;
use crate::app::msg::Now;

/// Ended runs that are remembered, so that a late second end changes nothing.
const REMEMBERED: usize = 64;

/// A run that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Its id, which is the idempotency key of the message that started it.
    pub(crate) id: String,
    /// When we heard of it first.
    pub(crate) since: Instant,
    /// What it prepares, before the first word.
    pub(crate) phase: String,
    /// The message that grows now.
    pub(crate) part: Option<EntryId>,
    /// The highest number of a delta.
    pub(crate) seq: u64,
    /// The link was lost since it was heard of last: it has to be asked about.
    pub(crate) doubtful: bool,
    /// How often it was asked about without news.
    pub(crate) asked: u64,
}

/// What an event did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing that matters.
    Nothing,
    /// Something changed.
    Changed,
    /// The run came to its end.
    Ended,
}

impl Chat {
    /// Whether a run is under way.
    pub(crate) fn is_running(&self, run: &str) -> bool {
        self.runs.iter().any(|known| known.id == run)
    }

    /// Whether a run has ended while we listened.
    pub(crate) fn has_ended(&self, run: &str) -> bool {
        self.ended.iter().any(|known| known == run)
    }

    fn run_mut(&mut self, run: &str) -> Option<&mut Run> {
        self.runs.iter_mut().find(|known| known.id == run)
    }

    /// Notes that a run is under way; its answer gets a place at once.
    pub(crate) fn start_run(&mut self, run: &str, now: Now) {
        if self.is_running(run) || self.has_ended(run) || run.is_empty() {
            return;
        }
        self.runs.push(Run {
            id: run.to_owned(),
            since: now.at,
            phase: String::new(),
            part: None,
            seq: 0,
            doubtful: false,
            asked: 0,
        });
        self.open_part(run, now);
    }

    fn open_part(&mut self, run: &str, now: Now) -> EntryId {
        let kind = Kind::Assistant {
            text: String::new(),
            run: Some(run.to_owned()),
            end: End::Running,
        };
        let id = self.transcript.push_to_run(run, kind, Some(now.wall_ms));
        if let Some(run) = self.run_mut(run) {
            run.part = Some(id);
        }
        id
    }

    /// Ends the message that grows, so that the next text starts another one.
    fn close_part(&mut self, run: &str) {
        let Some(part) = self.run_mut(run).and_then(|run| run.part.take()) else {
            return;
        };
        let Some(entry) = self.transcript.get_mut(part) else {
            return;
        };
        if let Kind::Assistant { text, end, .. } = &mut entry.kind {
            if text.trim().is_empty() {
                self.transcript.remove(part);
            } else {
                *end = End::Done;
                entry.touch();
            }
        }
    }

    /// `chat`: text, or the end.
    pub(super) fn on_chat(&mut self, event: &ChatEvent, now: Now) -> Heard {
        if self.has_ended(&event.run_id) {
            return Heard::Nothing;
        }
        let message = event.message.as_ref().map(|message| message.text());
        match event.state {
            ChatState::Unknown => return Heard::Nothing,
            ChatState::Status => {
                self.start_run(&event.run_id, now);
                if let (Some(run), Some(phase)) = (self.run_mut(&event.run_id), &event.phase) {
                    run.phase = phase.replace('_', " ");
                }
            }
            ChatState::Delta => {
                self.start_run(&event.run_id, now);
                let Some(run) = self.run_mut(&event.run_id) else {
                    return Heard::Nothing;
                };
                if event.seq != 0 && event.seq < run.seq {
                    return Heard::Nothing;
                }
                run.seq = event.seq;
                run.phase.clear();
                run.doubtful = false;
                run.asked = 0;
                let replace = event.replace == Some(true);
                match (message, &event.delta_text) {
                    (Some(text), _) => self.grow(&event.run_id, &text, replace, now),
                    (None, Some(more)) => self.append(&event.run_id, more, replace, now),
                    (None, None) => {}
                }
            }
            ChatState::Final => {
                self.start_run(&event.run_id, now);
                if let Some(text) = message.filter(|text| !text.is_empty()) {
                    self.grow_to_end(&event.run_id, &text, now);
                }
                self.end_run(&event.run_id, &End::Done, now);
                return Heard::Ended;
            }
            ChatState::Aborted => {
                self.start_run(&event.run_id, now);
                self.end_run(&event.run_id, &End::Stopped, now);
                return Heard::Ended;
            }
            ChatState::Error => {
                self.start_run(&event.run_id, now);
                let words = event
                    .error_message
                    .as_deref()
                    .unwrap_or("no words were given");
                self.end_run(&event.run_id, &End::Failed(words.to_owned()), now);
                return Heard::Ended;
            }
        }
        Heard::Changed
    }

    fn part_text(&self, run: &str) -> Option<(EntryId, &str)> {
        let part = self.runs.iter().find(|known| known.id == run)?.part?;
        let at = self.transcript.position(part)?;
        Some((part, self.transcript.entries().get(at)?.text()))
    }

    /// Takes the whole text so far of the current message.
    fn grow(&mut self, run: &str, text: &str, replace: bool, now: Now) {
        let known = self.part_text(run).map(|(part, shown)| {
            // A text that does not go on from what is shown belongs to the next message: version 3
            // starts over after a tool call. A little less than what is shown is a late delta.
            let late = shown.starts_with(text) && text.len() * 2 >= shown.len();
            (part, replace || late || text.starts_with(shown))
        });
        let part = match known {
            Some((part, true)) => part,
            Some((_, false)) => {
                self.close_part(run);
                self.open_part(run, now)
            }
            None => self.open_part(run, now),
        };
        self.set_text(part, text);
    }

    fn append(&mut self, run: &str, more: &str, replace: bool, now: Now) {
        let (part, mut text) = match self.part_text(run) {
            Some((part, shown)) => (part, shown.to_owned()),
            None => (self.open_part(run, now), String::new()),
        };
        if replace {
            text.clear();
        }
        text.push_str(more);
        self.set_text(part, &text);
    }

    /// Takes the last message of a run, which may be what is shown already, spelled a little
    /// differently.
    fn grow_to_end(&mut self, run: &str, text: &str, now: Now) {
        if let Some((part, shown)) = self.part_text(run) {
            let shared = shown
                .char_indices()
                .zip(text.chars())
                .take_while(|((_, a), b)| a == b)
                .count();
            let shorter = shown.chars().count().min(text.chars().count());
            if shown.trim().is_empty() || shared * 2 >= shorter {
                self.set_text(part, text);
                return;
            }
            self.close_part(run);
        } else {
            let last = self.transcript.entries().iter().rev().find(|entry| {
                entry.run() == Some(run) && matches!(entry.kind, Kind::Assistant { .. })
            });
            if last.is_some_and(|entry| entry.text().trim() == text.trim()) {
                return;
            }
        }
        let part = self.open_part(run, now);
        self.set_text(part, text);
    }

    fn set_text(&mut self, part: EntryId, text: &str) {
        if let Some(entry) = self.transcript.get_mut(part)
            && let Kind::Assistant { text: shown, .. } = &mut entry.kind
            && shown != text
        {
            *shown = text.to_owned();
            entry.touch();
        }
    }

    /// Ends a run. An end without words leaves no empty answer behind.
    pub(super) fn end_run(&mut self, run: &str, how: &End, now: Now) {
        let part = match (self.part_text(run), how) {
            (Some((part, _)), _) => Some(part),
            (None, End::Done) => None,
            (None, _) => Some(self.open_part(run, now)),
        };
        if let Some(part) = part {
            let is_empty = self
                .transcript
                .get_mut(part)
                .is_none_or(|entry| entry.text().trim().is_empty());
            if is_empty && *how == End::Done {
                self.transcript.remove(part);
            } else if let Some(entry) = self.transcript.get_mut(part)
                && let Kind::Assistant { end, .. } = &mut entry.kind
            {
                *end = how.clone();
                entry.touch();
            }
        }
        for entry in self.transcript.entries_mut().iter_mut().rev() {
            if let Kind::Tool(tool) = &mut entry.kind
                && tool.run.as_deref() == Some(run)
                && matches!(tool.end, ToolEnd::Running(_))
            {
                tool.end = ToolEnd::Unknown;
            }
        }
        self.runs.retain(|known| known.id != run);
        self.ended.push_back(run.to_owned());
        if self.ended.len() > REMEMBERED {
            self.ended.pop_front();
        }
    }

    /// `agent`: tools, and what version 4 says before one.
    pub(super) fn on_agent(&mut self, event: &AgentEvent, now: Now) -> Heard {
        if self.has_ended(&event.run_id) {
            return Heard::Nothing;
        }
        let text = |name: &str| {
            event
                .data
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        match (event.stream.as_str(), text("phase")) {
            ("lifecycle", "start") => self.start_run(&event.run_id, now),
            ("tool", phase) => {
                self.start_run(&event.run_id, now);
                self.on_tool(event, phase, now);
            }
            ("item", _) if text("kind") == "preamble" => {
                let said = [text("progressText"), text("text")];
                let Some(said) = said.into_iter().find(|said| !said.trim().is_empty()) else {
                    return Heard::Nothing;
                };
                self.start_run(&event.run_id, now);
                self.grow(&event.run_id, said, false, now);
            }
            _ => return Heard::Nothing,
        }
        Heard::Changed
    }

    fn on_tool(&mut self, event: &AgentEvent, phase: &str, now: Now) {
        let text = |name: &str| {
            event
                .data
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let call = text("toolCallId");
        let known = self.transcript.entries().iter().rposition(
            |entry| matches!(&entry.kind, Kind::Tool(tool) if tool.call == call && !call.is_empty()),
        );
        let at = match (known, phase) {
            (Some(at), _) => at,
            (None, "start" | "result" | "update") => {
                self.close_part(&event.run_id);
                let kind = Kind::Tool(Tool {
                    call: call.to_owned(),
                    name: text("name").to_owned(),
                    arguments: tools::arguments(event.data.get("args").unwrap_or(&Value::Null)),
                    result: None,
                    end: ToolEnd::Running(now.at),
                    run: Some(event.run_id.clone()),
                });
                let id = self
                    .transcript
                    .push_to_run(&event.run_id, kind, Some(now.wall_ms));
                let Some(at) = self.transcript.position(id) else {
                    return;
                };
                at
            }
            _ => return,
        };
        let Some(entry) = self.transcript.entries_mut().get_mut(at) else {
            return;
        };
        let Kind::Tool(tool) = &mut entry.kind else {
            return;
        };
        let result = event
            .data
            .get("result")
            .or_else(|| event.data.get("partialResult"));
        if let Some(result) = result {
            tool.result = Some(tools::result(result));
        }
        if phase == "result" {
            let took = match tool.end {
                ToolEnd::Running(since) => {
                    let took = now.at.saturating_duration_since(since);
                    u64::try_from(took.as_millis()).ok()
                }
                _ => None,
            };
            let is_error = event.data.get("isError").and_then(Value::as_bool) == Some(true);
            tool.end = if is_error {
                ToolEnd::Bad(took)
            } else {
                ToolEnd::Good(took)
            };
        }
        entry.touch();
    }
}
