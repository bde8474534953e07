//! The gateway daemon as a library: tests start it exactly as `main` does.

pub mod events;
pub mod runs;
pub mod sessions;
pub mod store;
