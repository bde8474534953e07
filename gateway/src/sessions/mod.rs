//! Conversations: their keys, their pages, their transcripts, over the store.

mod cursor;
mod day;
mod event;
mod key;
mod model;
mod search;
mod service;
mod usage;

pub use day::Day;
pub use event::{ChangeReason, SessionEvent};
pub use key::{AgentId, KeyError, MAIN_AGENT, MAIN_SESSION, MAX_KEY_BYTES, SessionKey};
pub use model::{
    Archived, Change, Deleted, History, HistoryDelta, LastRun, ListCursor, ListQuery, Message,
    NewMessage, Part, Role, Session, SessionPage, SessionPatch, Settings, Span, text_of,
};
pub use search::{DEFAULT_SEARCH_LIMIT, Finds, MAX_SEARCH_LIMIT, SearchQuery, score, snippet};
pub use service::{SessionError, Sessions};
pub use usage::{Cost, Price, Usage, UsageRow, UsageSums};

/// Sessions on a page when the caller does not say.
pub const DEFAULT_LIST_LIMIT: usize = 100;
/// The most sessions on a page.
pub const MAX_LIST_LIMIT: usize = 1000;
/// Messages on a page when the caller does not say.
pub const DEFAULT_HISTORY_LIMIT: usize = 200;
/// The most messages on a page, and in a gap that is filled.
pub const MAX_HISTORY_LIMIT: usize = 1000;
/// The most content on a page, in bytes as it is stored; a single message may be larger.
pub const MAX_HISTORY_BYTES: usize = 6 * 1024 * 1024;

#[cfg(test)]
mod tests;
