//! The sessions: the list beside the chat, its one-line strip, and the picker.

pub(crate) mod state;
pub(crate) mod view;
