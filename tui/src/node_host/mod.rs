//! This machine as a node: what a gateway may have it do, and what a person says about it.
//!
//! A program runs only as an immutable [`plan::Plan`]: argv, the program's file and content, the
//! directory, the environment. Its digest is what is approved, and the descriptors that were opened when
//! it was made are what runs.

pub(crate) mod command_text;
mod desk;
mod files;
mod host;
#[cfg(target_os = "linux")]
pub(crate) mod keeper;
mod notify;
mod plan;
pub(crate) mod policy;
mod policy_wire;
mod programs;
mod run_request;
#[cfg(target_os = "linux")]
mod runner;
#[cfg(not(target_os = "linux"))]
#[path = "runner_elsewhere.rs"]
mod runner;
mod stats;
mod wrappers;

pub(crate) use desk::{Desk, DeskOptions, Person, Question, Said, add, entry_for};
pub(crate) use files::Roots;
pub(crate) use host::{Host, News};
pub(crate) use programs::PATH;

/// Why a command was not carried out, as the gateway is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    /// `INVALID_REQUEST`, `UNAVAILABLE`, `TIMEOUT`.
    pub code: &'static str,
    /// In words; never the content of a file or a secret.
    pub message: String,
}

impl Refused {
    /// What was asked cannot be asked like this.
    pub fn invalid(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code: "INVALID_REQUEST",
            message: format!("INVALID_REQUEST: {message}"),
        }
    }

    /// It could be asked, and is not done.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            code: "UNAVAILABLE",
            message: message.into(),
        }
    }

    /// A program may not run.
    pub fn denied(why: &str) -> Self {
        Self::unavailable(format!("SYSTEM_RUN_DENIED: {why}"))
    }

    /// The plan that was approved is not what would run now.
    pub fn plan_changed(what: &str) -> Self {
        Self::denied(&format!("plan changed: {what}"))
    }
}
