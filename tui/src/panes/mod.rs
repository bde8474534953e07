//! The panes: state, update and view of each.

pub(crate) mod chat;
pub(crate) mod health;
pub(crate) mod link;
pub(crate) mod sessions;
