//! The entries of one session in the order in which they are shown.

use super::entry::{Entry, EntryId, Kind, Source};
use crate::outbox::Delivery;

/// A transcript.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transcript {
    entries: Vec<Entry>,
    next: u64,
}

impl Transcript {
    /// The entries, first one first.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries, to change them; ids stay what they are.
    pub(crate) fn entries_mut(&mut self) -> &mut Vec<Entry> {
        &mut self.entries
    }

    /// A name for a new entry.
    pub(crate) fn new_id(&mut self) -> EntryId {
        self.next += 1;
        EntryId(self.next)
    }

    /// Where an entry stands.
    pub(crate) fn position(&self, id: EntryId) -> Option<usize> {
        // New entries are looked up most, and they stand at the end.
        self.entries.iter().rposition(|entry| entry.id == id)
    }

    /// An entry by its name.
    pub(crate) fn get_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        let at = self.position(id)?;
        self.entries.get_mut(at)
    }

    /// Adds at the end, but before what still waits to be sent.
    pub(crate) fn push(&mut self, kind: Kind, source: Source, at: Option<i64>) -> EntryId {
        let waiting = self
            .entries
            .iter()
            .rev()
            .take_while(|entry| is_unsent(entry));
        let place = match source {
            Source::Local if matches!(kind, Kind::User { .. }) => self.entries.len(),
            _ => self.entries.len() - waiting.count(),
        };
        self.insert(place, kind, source, at)
    }

    /// Adds behind everything that belongs to a run; at the end when nothing does.
    pub(crate) fn push_to_run(&mut self, run: &str, kind: Kind, at: Option<i64>) -> EntryId {
        let last = self
            .entries
            .iter()
            .rposition(|entry| entry.run() == Some(run));
        match last {
            Some(last) => self.insert(last + 1, kind, Source::Live, at),
            None => self.push(kind, Source::Live, at),
        }
    }

    fn insert(&mut self, place: usize, kind: Kind, source: Source, at: Option<i64>) -> EntryId {
        let id = self.new_id();
        self.entries.insert(place, Entry::new(id, kind, source, at));
        id
    }

    /// Removes an entry.
    pub(crate) fn remove(&mut self, id: EntryId) {
        self.entries.retain(|entry| entry.id != id);
    }

    /// Says how far a message of ours has come.
    pub(crate) fn set_delivery(&mut self, key: &str, delivery: &Delivery) {
        for entry in self.entries.iter_mut().rev() {
            if let Kind::User {
                key: Some(own),
                delivery: shown,
                ..
            } = &mut entry.kind
                && own == key
            {
                *shown = Some(delivery.clone());
                entry.touch();
                return;
            }
        }
    }

    /// Adds a line about the link; several without anything between become the last one.
    pub(crate) fn note_link(&mut self, text: String, bad: bool, at: Option<i64>) {
        let waiting = self
            .entries
            .iter()
            .rev()
            .take_while(|entry| is_unsent(entry));
        let last = self.entries.len() - waiting.count();
        let kind = Kind::Note {
            text,
            bad,
            link: true,
        };
        if let Some(entry) = last.checked_sub(1).and_then(|at| self.entries.get_mut(at))
            && matches!(entry.kind, Kind::Note { link: true, .. })
        {
            entry.kind = kind;
            entry.at = at;
            entry.touch();
        } else {
            self.push(kind, Source::Local, at);
        }
    }
}

fn is_unsent(entry: &Entry) -> bool {
    matches!(
        entry.kind,
        Kind::User {
            delivery: Some(Delivery::Queued | Delivery::Failed(_)),
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(key: &str, delivery: Delivery) -> Kind {
        Kind::User {
            text: key.to_owned(),
            key: Some(key.to_owned()),
            delivery: Some(delivery),
        }
    }

    #[test]
    fn an_answer_stands_behind_its_question_and_before_what_waits() {
        let mut transcript = Transcript::default();
        transcript.push(user("a", Delivery::Sent), Source::Local, None);
        transcript.push(user("b", Delivery::Queued), Source::Local, None);
        let answer = Kind::System("answer".into());
        transcript.push_to_run("a", answer.clone(), None);
        transcript.push_to_run("elsewhere", Kind::System("other".into()), None);
        let texts: Vec<&str> = transcript.entries().iter().map(Entry::text).collect();
        assert_eq!(texts, ["a", "answer", "other", "b"]);
    }

    #[test]
    fn a_link_that_comes_and_goes_leaves_one_line() {
        let mut transcript = Transcript::default();
        transcript.note_link("link lost".into(), true, None);
        transcript.note_link("link back after 3 s".into(), false, None);
        transcript.note_link("link lost".into(), true, None);
        assert_eq!(transcript.entries().len(), 1);
    }
}
