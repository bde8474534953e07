//! Markdown of answers to styled lines: whole messages, and messages that are still growing.

mod render;
mod stream;
mod table;

pub(crate) use render::render;
pub(crate) use stream::Growing;
