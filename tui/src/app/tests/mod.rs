//! Messages in, state and effects out; and what the screen shows then.

mod approvals;
mod chat;
mod keys;
mod once;
mod outbox;
mod screen;
#[cfg(feature = "demo")]
mod whole;
mod world;
