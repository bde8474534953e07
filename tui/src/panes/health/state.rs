//! What the last `health` calls said.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clawline::protocol::methods::system::HealthReply;

/// Time between two calls while the pane is visible.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// Round trips that are drawn.
const DRAWN: usize = 60;

/// The pane.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    /// The last answer.
    pub(crate) last: Option<HealthReply>,
    /// Why the last call gave nothing.
    pub(crate) trouble: Option<String>,
    /// Round trips, oldest first.
    pub(crate) round_trips: VecDeque<Duration>,
    /// Who is connected, as the gateway pushed it.
    pub(crate) present: usize,
    /// A call is under way.
    asking: bool,
    /// When the last call went out.
    asked: Option<Instant>,
}

impl Health {
    /// Whether it is time for a call; then one is taken to be under way.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = !self.asking
            && self
                .asked
                .is_none_or(|asked| now.saturating_duration_since(asked) >= INTERVAL);
        if due {
            self.asking = true;
            self.asked = Some(now);
        }
        due
    }

    /// Takes an answer.
    pub(crate) fn take(&mut self, result: Result<HealthReply, String>, took: Duration) {
        self.asking = false;
        match result {
            Ok(reply) => {
                self.last = Some(reply);
                self.trouble = None;
                self.add_round_trip(took);
            }
            Err(words) => self.trouble = Some(words),
        }
    }

    fn add_round_trip(&mut self, took: Duration) {
        self.round_trips.push_back(took);
        if self.round_trips.len() > DRAWN {
            self.round_trips.pop_front();
        }
    }

    /// The connection is gone: what was said is old.
    pub(crate) fn disconnected(&mut self) {
        self.asking = false;
        self.asked = None;
        self.trouble = Some("no link".to_owned());
    }
}
