//! Programs are not run where the kernel cannot start them from a descriptor.

use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Refused;
use super::plan::Prepared;

/// Whether programs can run here at all.
pub(super) const CAN_RUN: bool = false;

/// How a run ended; there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {}

impl Outcome {
    /// As OpenClaw's node hosts say it.
    pub fn to_json(&self) -> Value {
        match *self {}
    }

    /// Ended well.
    pub fn is_good(&self) -> bool {
        match *self {}
    }

    /// The exit code.
    pub fn code(&self) -> Option<i32> {
        match *self {}
    }
}

/// Refuses.
pub(super) async fn run(
    _prepared: Prepared,
    _deadline: Duration,
    _stop: &CancellationToken,
) -> Result<Outcome, Refused> {
    Err(Refused::unavailable(
        "SYSTEM_RUN_DISABLED: programs run on Linux nodes only",
    ))
}
