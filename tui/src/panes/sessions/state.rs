//! The sessions of the gateway, the latest first, and which of them have something new.

use std::collections::{HashMap, HashSet};

use clawline::protocol::event::SessionsChangedEvent;
use clawline::protocol::methods::sessions::{SessionRow, SessionsListReply, short_key};

use crate::widgets::text::one_line;

/// One session, as far as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Session key.
    pub(crate) key: String,
    /// Its name for people.
    pub(crate) name: String,
    /// Last change, ms since the epoch.
    pub(crate) at: i64,
    /// Model in use.
    pub(crate) model: String,
    /// Tokens in the context, and how many fit.
    pub(crate) tokens: Option<(u64, u64)>,
    /// Kept on top.
    pub(crate) pinned: bool,
}

/// The pane.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    /// The latest first.
    pub(crate) items: Vec<Item>,
    /// Sessions with something new.
    pub(crate) unread: HashSet<String>,
    /// Runs under way by session.
    running: HashMap<String, String>,
    /// The chosen row.
    pub(crate) selected: usize,
    /// Why the list could not be read.
    pub(crate) trouble: Option<String>,
}

impl Sessions {
    /// Takes a new list.
    pub(crate) fn take(&mut self, reply: &SessionsListReply) {
        self.trouble = None;
        let default_model = reply.defaults.model.clone().unwrap_or_default();
        self.items = reply
            .sessions
            .iter()
            .filter(|row| row.archived != Some(true))
            .map(|row| item(row, &default_model))
            .collect();
        for row in &reply.sessions {
            if row.unread == Some(true) {
                self.unread.insert(row.key.clone());
            }
        }
        self.sort();
    }

    /// Takes a change of one session. False when the whole list has to be read again.
    pub(crate) fn change(&mut self, event: &SessionsChangedEvent) -> bool {
        let Some(key) = &event.session_key else {
            // A note about something else than a session.
            return event.reason.as_deref() == Some("runner-availability");
        };
        if event.reason.as_deref() == Some("delete") {
            self.items.retain(|item| &item.key != key);
            self.unread.remove(key);
            return true;
        }
        let Some(row) = &event.session else {
            return false;
        };
        let known = self.items.iter().position(|item| &item.key == key);
        let model = known
            .and_then(|at| self.items.get(at))
            .map(|item| item.model.clone())
            .unwrap_or_default();
        let new = item(row, &model);
        match known.and_then(|at| self.items.get_mut(at)) {
            Some(old) => *old = new,
            None if row.archived == Some(true) => {}
            None => self.items.push(new),
        }
        self.sort();
        true
    }

    /// A run of a session is under way.
    pub(crate) fn run_started(&mut self, session: &str, run: &str, at: i64) {
        self.running.insert(session.to_owned(), run.to_owned());
        self.touch(session, at);
    }

    /// A run of a session ended.
    pub(crate) fn run_ended(&mut self, session: &str, run: &str, at: i64) {
        if self.running.get(session).is_some_and(|known| known == run) {
            self.running.remove(session);
        }
        self.touch(session, at);
    }

    /// Nothing is known to run any more: the link is gone.
    pub(crate) fn forget_runs(&mut self) {
        self.running.clear();
    }

    /// Whether a session has a run under way.
    pub(crate) fn is_running(&self, session: &str) -> bool {
        self.running.contains_key(session)
    }

    /// Makes sure that a session is in the list, at the top.
    pub(crate) fn touch(&mut self, session: &str, at: i64) {
        match self.items.iter_mut().find(|item| item.key == session) {
            Some(item) => item.at = item.at.max(at),
            None => {
                let row = SessionRow {
                    key: session.to_owned(),
                    updated_at: Some(at),
                    ..SessionRow::default()
                };
                self.items.push(item(&row, ""));
            }
        }
        self.sort();
    }

    /// A session by its key.
    pub(crate) fn get(&self, key: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.key == key)
    }

    /// Puts the mark on a session.
    pub(crate) fn select(&mut self, key: &str) {
        if let Some(at) = self.items.iter().position(|item| item.key == key) {
            self.selected = at;
        }
    }

    /// Moves the mark.
    pub(crate) fn step(&mut self, down: bool) {
        let last = self.items.len().saturating_sub(1);
        self.selected = if down {
            (self.selected + 1).min(last)
        } else {
            self.selected.saturating_sub(1)
        };
    }

    fn sort(&mut self) {
        let marked = self.items.get(self.selected).map(|item| item.key.clone());
        self.items.sort_by(|a, b| {
            b.pinned
                .cmp(&a.pinned)
                .then(b.at.cmp(&a.at))
                .then(a.key.cmp(&b.key))
        });
        if let Some(key) = marked {
            self.select(&key);
        }
        self.selected = self.selected.min(self.items.len().saturating_sub(1));
    }
}

/// A person's label; else the main session is called after its key, as its first words say little of it.
fn name_of(row: &SessionRow) -> &str {
    let short = short_key(&row.key);
    match &row.label {
        None if short == "main" || row.is_main == Some(true) => short,
        _ => row.name(),
    }
}

fn item(row: &SessionRow, default_model: &str) -> Item {
    let tokens = row
        .total_tokens
        .zip(row.context_tokens.filter(|tokens| *tokens > 0));
    Item {
        key: row.key.clone(),
        name: one_line(name_of(row)),
        at: row.updated_at.unwrap_or(0),
        model: one_line(row.model.as_deref().unwrap_or(default_model)),
        tokens,
        pinned: row.pinned == Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(keys: &[(&str, i64)]) -> SessionsListReply {
        SessionsListReply {
            sessions: keys
                .iter()
                .map(|(key, at)| SessionRow {
                    key: (*key).to_owned(),
                    updated_at: Some(*at),
                    ..SessionRow::default()
                })
                .collect(),
            ..SessionsListReply::default()
        }
    }

    fn names(sessions: &Sessions) -> Vec<&str> {
        sessions
            .items
            .iter()
            .map(|item| item.name.as_str())
            .collect()
    }

    #[test]
    fn the_mark_stays_on_its_session_when_another_one_moves_up() {
        let mut sessions = Sessions::default();
        sessions.take(&list(&[
            ("agent:main:a", 3),
            ("agent:main:b", 2),
            ("agent:main:c", 1),
        ]));
        sessions.select("agent:main:b");
        sessions.run_started("agent:main:c", "r", 9);
        assert_eq!(names(&sessions), ["c", "a", "b"]);
        assert_eq!(sessions.selected, 2);
    }

    #[test]
    fn a_change_adds_updates_and_removes_without_reading_the_list_again() {
        let mut sessions = Sessions::default();
        sessions.take(&list(&[("agent:main:a", 3)]));
        let mut event = SessionsChangedEvent {
            session_key: Some("agent:main:b".into()),
            session: list(&[("agent:main:b", 7)]).sessions.into_iter().next(),
            ..SessionsChangedEvent::default()
        };
        assert!(sessions.change(&event));
        assert_eq!(names(&sessions), ["b", "a"]);
        event.reason = Some("delete".into());
        assert!(sessions.change(&event));
        assert_eq!(names(&sessions), ["a"]);
        event.reason = None;
        event.session = None;
        assert!(
            !sessions.change(&event),
            "without the row the list has to be read"
        );
    }
}
