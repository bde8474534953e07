//! The chat pane: one session's transcript, its runs, and the composer.

pub(crate) mod composer;
pub(crate) mod entry;
mod history;
mod layout;
pub(crate) mod merge;
mod runs;
pub(crate) mod state;
mod tools;
pub(crate) mod transcript;
pub(crate) mod update;
pub(crate) mod view;
