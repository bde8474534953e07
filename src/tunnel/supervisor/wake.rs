//! Notices that the machine slept, or that this process was stopped and continued.

use std::time::Duration;

use tokio::time::Instant;

/// How often the clocks are compared.
const TICK: Duration = Duration::from_millis(800);
/// A jump of this size is a sleep, not scheduling.
const JUMP: Duration = Duration::from_secs(3);

/// Two clocks: one stands still while the machine sleeps, the other one does not.
#[derive(Debug)]
pub(super) struct SleepDetector {
    through_sleep: Duration,
    clock: Instant,
}

impl SleepDetector {
    pub(super) fn new() -> Self {
        Self {
            through_sleep: clock_through_sleep(),
            clock: Instant::now(),
        }
    }

    /// Returns after the machine woke up from a sleep. Cancel safe: the next call goes on where a
    /// dropped one was.
    pub(super) async fn woke_up(&mut self) {
        loop {
            tokio::time::sleep_until(self.clock + TICK).await;
            let now = Self::new();
            let through_sleep = now.through_sleep.saturating_sub(self.through_sleep);
            let clock = now.clock.saturating_duration_since(self.clock);
            *self = now;
            if jumped(through_sleep, clock) {
                return;
            }
        }
    }
}

/// Both clocks measured one tick.
fn jumped(through_sleep: Duration, clock: Duration) -> bool {
    through_sleep.saturating_sub(clock) > JUMP || clock > TICK + JUMP
}

/// A clock that runs on while the machine sleeps, and that nobody sets.
#[cfg(target_os = "linux")]
fn clock_through_sleep() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default()
}

/// The wall clock: a person may set it, which then looks like a sleep and costs one ping.
#[cfg(not(target_os = "linux"))]
fn clock_through_sleep() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_shows_between_the_clocks_or_as_a_late_timer() {
        let second = Duration::from_secs(1);
        assert!(!jumped(second, second));
        assert!(!jumped(2 * second, second));
        assert!(jumped(600 * second, second));
        assert!(jumped(120 * second, 120 * second));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_given_up_do_not_add_up_to_a_sleep() {
        let mut sleep = SleepDetector::new();
        for _ in 0..1000 {
            let woke = tokio::time::timeout(Duration::from_millis(30), sleep.woke_up());
            assert!(woke.await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_stopped_notices_at_once() {
        let mut sleep = SleepDetector::new();
        let _ = tokio::time::timeout(Duration::from_secs(1), sleep.woke_up()).await;
        tokio::time::advance(Duration::from_secs(120)).await;
        let noticed = tokio::time::timeout(Duration::from_millis(10), sleep.woke_up());
        assert!(noticed.await.is_ok());
    }
}
