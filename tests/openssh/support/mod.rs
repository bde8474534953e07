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
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a machine that is busy with other things may add to a time that is promised. Where nobody keeps
/// the promise it takes longer than both.
#[allow(dead_code)]
pub const BUSY: Duration = Duration::from_secs(10);

/// Time between two looks at something that another task or process does.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until something holds; fails the test when it does not.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(LOOK);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        looks.tick().await;
    }
}

/// The same where no runtime is at hand; says at the failure what `told` knows.
pub fn wait_until(what: &str, holds: impl Fn() -> bool, told: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}: {}", told());
        std::thread::park_timeout(LOOK);
    }
}

/// Lets a time pass that is itself what a test is about: how long a fault lasts, or how long nothing may
/// happen. What another task or process brings about is waited for with [`eventually`].
#[allow(dead_code)]
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// True where the long form of a test is asked for; `.ci/soak` does.
#[allow(dead_code)]
pub fn soak() -> bool {
    std::env::var_os("CLAWLINE_SOAK").is_some()
}
