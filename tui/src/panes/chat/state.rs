//! What the chat pane knows.

use std::collections::VecDeque;

use super::composer::Composer;
use super::entry::{Entry, EntryId};
use super::layout::Visible;
use super::runs::Run;
use super::transcript::Transcript;

/// Whether the transcript has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Load {
    /// Not asked for: there is no link.
    Waiting,
    /// On its way.
    Loading,
    /// Read on this connection.
    Read,
    /// Could not be read, in words.
    Failed(String),
}

/// Where the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scroll {
    /// At the end, following what comes.
    Follow,
    /// This row of this entry is on top; what comes below moves nothing.
    At {
        /// The entry.
        entry: EntryId,
        /// The row of it.
        row: usize,
    },
}

/// The pane.
#[derive(Debug)]
pub(crate) struct Chat {
    /// Session key.
    pub(crate) session: String,
    /// The key is our guess: no gateway has told its main session yet.
    pub(crate) guessed: bool,
    /// What is shown.
    pub(crate) transcript: Transcript,
    /// Runs under way.
    pub(crate) runs: Vec<Run>,
    /// Runs that ended, the last ones.
    pub(super) ended: VecDeque<String>,
    /// Whether the transcript has been read.
    pub(crate) load: Load,
    /// A reading of the newest page is on its way; and another is wanted after it.
    pub(crate) reading: Option<bool>,
    /// Where the next gap starts, where the gateway says so.
    pub(crate) cursor: Option<String>,
    /// Where older messages start, if there are any.
    pub(crate) older: Option<u64>,
    /// Older ones are on their way.
    pub(crate) reading_older: bool,
    /// Where the reader stands.
    pub(crate) scroll: Scroll,
    /// Entries that came while the reader was further up.
    pub(crate) new_below: usize,
    /// Columns and rows of the transcript on screen.
    pub(crate) columns: u16,
    /// See `columns`.
    pub(crate) rows: u16,
    /// Results of tools are shown.
    pub(crate) expanded: bool,
    /// What is on screen, made by `layout`.
    pub(super) visible: Visible,
    /// The input.
    pub(crate) composer: Composer,
}

impl Chat {
    /// An empty pane.
    pub(crate) fn new(session: String, guessed: bool) -> Self {
        Self {
            session,
            guessed,
            transcript: Transcript::default(),
            runs: Vec::new(),
            ended: VecDeque::new(),
            load: Load::Waiting,
            reading: None,
            cursor: None,
            older: None,
            reading_older: false,
            scroll: Scroll::Follow,
            new_below: 0,
            columns: 80,
            rows: 20,
            expanded: false,
            visible: Visible::default(),
            composer: Composer::default(),
        }
    }

    /// The agent's id, from the session key.
    pub(crate) fn agent(&self) -> &str {
        agent_of(&self.session)
    }

    /// Whether there is nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.transcript.entries().is_empty()
    }

    /// An entry by its place.
    pub(crate) fn entry(&self, at: usize) -> Option<&Entry> {
        self.transcript.entries().get(at)
    }
}

/// `agent:main:work` → `main`; a bare key has the default agent.
pub(crate) fn agent_of(session: &str) -> &str {
    session
        .strip_prefix("agent:")
        .and_then(|rest| rest.split_once(':'))
        .map_or("main", |(agent, _)| agent)
}
