//! The link: its one line on top of the screen, and its page with a row a layer.

pub(crate) mod state;
pub(crate) mod view;
