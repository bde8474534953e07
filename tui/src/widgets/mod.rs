//! Small painters and text helpers shared by the panes.

pub(crate) mod text;
pub(crate) mod wrap;
