//! Growing delays with full jitter, shared by the client and the tunnel.

use std::time::Duration;

use rand::RngExt;

/// Steps that double from `floor` to `cap`; each delay is drawn uniformly from half the floor to the
/// whole step (full jitter), so that many clients do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    floor: Duration,
    cap: Duration,
    step: Duration,
}

impl Backoff {
    /// Starts at `floor`, never beyond `cap`.
    pub fn new(floor: Duration, cap: Duration) -> Self {
        Self {
            floor,
            cap,
            step: floor,
        }
    }

    /// The next delay, with randomness from the operating system's generator.
    pub fn next_delay(&mut self) -> Duration {
        let random: f64 = rand::rng().random();
        self.next_with(random)
    }

    /// The next delay for a given `random` in `0.0..1.0`; pure, for tests.
    pub fn next_with(&mut self, random: f64) -> Duration {
        let least = self.floor / 2;
        let delay = least + (self.step - least).mul_f64(random.clamp(0.0, 1.0));
        self.step = (self.step * 2).min(self.cap);
        delay.min(self.cap)
    }

    /// Back to the floor; call it once the link has proved itself.
    pub fn reset(&mut self) {
        self.step = self.floor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap_and_reset() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2));
        let longest: Vec<_> = (0..4).map(|_| backoff.next_with(1.0).as_millis()).collect();
        assert_eq!(longest, [500, 1000, 2000, 2000]);
        backoff.reset();
        assert_eq!(backoff.next_with(0.0).as_millis(), 250);
    }
}
