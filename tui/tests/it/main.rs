//! Claims about the binary as it is run.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod config;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "demo")]
mod hosts;
#[cfg(target_os = "linux")]
mod json;
#[cfg(all(target_os = "linux", feature = "demo"))]
mod node;
mod support;
mod terminal;
#[cfg(all(target_os = "linux", feature = "demo"))]
mod tunnel;
mod usage;
