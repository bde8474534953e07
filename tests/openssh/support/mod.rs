//! What these tests share: a real sshd, a relay that misbehaves, and waiting with a deadline.

pub mod account;
pub mod alone;
pub mod far_end;
pub mod figures;
pub mod keys;
pub mod person;
pub mod program;
pub mod relay;
pub mod sshd;

use std::time::{Duration, Instant};

/// Longer than anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something holds; fails the test when it does not.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// True where the long form of a test is asked for; `.ci/soak` does.
#[allow(dead_code)]
pub fn soak() -> bool {
    std::env::var_os("CLAWLINE_SOAK").is_some()
}
