//! Is the other end still there? Pings with deadlines, watched from outside the session.
//!
//! russh's own keepalive is blind while a write is stuck, so it is off.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use russh::client::Handle;
use tokio::time::Instant;

use crate::layer::{Layer, LayerError};
use crate::tunnel::spec::HopSpec;
use crate::tunnel::transport::Lifeline;

use super::Hook;

/// `ServerAliveInterval` when nothing was said.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// `ServerAliveCountMax` when nothing was said.
pub(crate) const COUNT_MAX: u32 = 3;
/// How long an answer may take while a person waits.
pub(crate) const PROBE: Duration = Duration::from_secs(2);
/// How long the first answer of a new connection may take; it measures the round trip.
pub(crate) const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// How often the clocks are compared, to notice that the machine slept.
const CLOCK_TICK: Duration = Duration::from_secs(1);
/// A jump of this size is a sleep, not scheduling.
const JUMP: Duration = Duration::from_secs(3);

/// How often to ask, and how many answers may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// Silence of this length asks a question; zero for never.
    pub(crate) interval: Duration,
    /// This many intervals without an answer end the connection.
    pub(crate) count_max: u32,
}

impl Pulse {
    /// As `ServerAliveInterval` and `ServerAliveCountMax` of the last server say.
    pub(crate) fn of(hop: Option<&HopSpec>) -> Self {
        Self {
            interval: hop.and_then(|hop| hop.alive_interval).unwrap_or(INTERVAL),
            count_max: hop.and_then(|hop| hop.alive_count_max).unwrap_or(COUNT_MAX),
        }
    }
}

/// Watches until the connection is over; ends it when the other end is silent for
/// `interval * (count_max + 1)`.
pub(crate) async fn watch(handle: Arc<Handle<Hook>>, life: Lifeline, pulse: Pulse, server: String) {
    if pulse.interval.is_zero() {
        return life.over().await;
    }
    let mut ping = std::pin::pin!(futures_util::future::Fuse::terminated());
    let mut missed = 0;
    let mut tick = Instant::now() + pulse.interval;
    loop {
        use futures_util::FutureExt;
        tokio::select! {
            () = life.over() => return,
            () = &mut ping => missed = 0,
            () = tokio::time::sleep_until(tick) => {
                let silent = life.last_seen().elapsed();
                if silent < pulse.interval || life.has_stalled_reader() {
                    missed = 0;
                    let wait = pulse.interval.saturating_sub(silent).max(pulse.interval / 8);
                    tick = Instant::now() + wait;
                    continue;
                }
                if missed >= pulse.count_max.max(1) {
                    return life.end(silence(&server, silent));
                }
                missed += 1;
                let handle = handle.clone();
                ping.set(async move { drop(handle.send_ping().await) }.fuse());
                tick = Instant::now() + pulse.interval;
            }
        }
    }
}

fn silence(server: &str, silent: Duration) -> LayerError {
    LayerError::new(
        Layer::Ssh,
        format!(
            "{server} went silent ({:.1} s without a sign)",
            silent.as_secs_f32()
        ),
    )
}

/// Asks once and ends the connection when nothing at all comes back in time; how long it took
/// otherwise. Cancel safe.
pub(crate) async fn probe(
    handle: &Handle<Hook>,
    life: &Lifeline,
    server: &str,
    limit: Duration,
) -> Option<Duration> {
    let started = Instant::now();
    tokio::select! {
        () = life.over() => None,
        answer = tokio::time::timeout(limit, handle.send_ping()) => {
            let alive = answer.is_ok() || life.last_seen() > started || life.has_stalled_reader();
            if alive && !life.is_over() {
                return Some(started.elapsed());
            }
            life.end(silence(server, limit));
            None
        }
    }
}

/// Notices that the machine slept: the wall clock ran on while ours stood still, or a timer came
/// much too late.
pub(crate) struct SleepDetector {
    wall: SystemTime,
    clock: Instant,
}

impl SleepDetector {
    pub(crate) fn new() -> Self {
        Self {
            wall: SystemTime::now(),
            clock: Instant::now(),
        }
    }

    /// Returns after the machine woke up from a sleep. Cancel safe: a dropped call loses at most the
    /// tick under way.
    pub(crate) async fn woke_up(&mut self) {
        loop {
            tokio::time::sleep(CLOCK_TICK).await;
            let wall = self.wall.elapsed().unwrap_or_default();
            let clock = self.clock.elapsed();
            *self = Self::new();
            if jumped(wall, clock) {
                return;
            }
        }
    }
}

/// Both clocks measured one tick.
fn jumped(wall: Duration, clock: Duration) -> bool {
    wall.saturating_sub(clock) > JUMP || clock > CLOCK_TICK + JUMP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_shows_on_the_wall_clock_or_as_a_late_timer() {
        let second = Duration::from_secs(1);
        assert!(!jumped(second, second));
        assert!(!jumped(2 * second, second));
        assert!(jumped(600 * second, second));
        assert!(jumped(120 * second, 120 * second));
    }
}
