//! When to dial again: a pure state machine without sockets and without a clock of its own.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::layer::{Layer, LayerError, Retry};

/// Tries that come quickly after a refusal, and how long they do (DESIGN §9).
const SOON: Duration = Duration::from_millis(250);
const SOON_FOR: Duration = Duration::from_secs(60);
const SOON_LATER: Duration = Duration::from_secs(5);
/// Growing delays after timeouts and resets.
const BACKOFF_FLOOR: Duration = Duration::from_millis(500);
const BACKOFF_CAP: Duration = Duration::from_secs(30);
/// The pause before a look at trouble that may pass by itself.
const MUCH_LATER: Duration = Duration::from_secs(60);
/// While a pairing request waits for a person, one look this often; the request stays the same.
const PAIRING_POLL: Duration = Duration::from_secs(15);
/// Where a person is needed but nothing can be locked by asking again (a newer gateway, another network),
/// one look this often. A refused token is never shown again by itself.
const CALM_LOOK: Duration = Duration::from_secs(60);

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Dial again after this long.
    Wait(Duration),
    /// Tell a person; look again after this long, or not at all by itself.
    Attention(Option<Duration>),
    /// Trying again cannot help.
    Stop,
}

/// The state between two connections.
#[derive(Debug)]
pub struct Reconnect {
    attempt: u32,
    refused_since: Option<Instant>,
    backoff: Backoff,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            attempt: 1,
            refused_since: None,
            backoff: Backoff::new(BACKOFF_FLOOR, BACKOFF_CAP),
        }
    }
}

impl Reconnect {
    /// Number of the try that runs or comes next; 1 is the first since the link was last good.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The link has proved itself (first pong): later failures start from the beginning.
    pub fn proved(&mut self) {
        *self = Self::default();
    }

    /// A person asked for a try: the next delays start from the beginning, the count goes on.
    pub fn hurry(&mut self) {
        self.refused_since = None;
        self.backoff.reset();
    }

    /// A try failed at `now`; `random` is in `0.0..1.0`.
    pub fn failed(&mut self, why: &LayerError, now: Instant, random: f64) -> Next {
        self.attempt = self.attempt.saturating_add(1);
        match why.retry {
            Retry::Soon => {
                let since = *self.refused_since.get_or_insert(now);
                let quick = now.saturating_duration_since(since) < SOON_FOR;
                Next::Wait(if quick { SOON } else { SOON_LATER })
            }
            Retry::Backoff => {
                self.refused_since = None;
                Next::Wait(self.backoff.next_with(random))
            }
            Retry::Later | Retry::Steady => {
                self.refused_since = None;
                Next::Wait(MUCH_LATER)
            }
            Retry::Attention if why.layer == Layer::Pairing => Next::Attention(Some(PAIRING_POLL)),
            Retry::Attention if why.layer == Layer::Token => Next::Attention(None),
            Retry::Attention => Next::Attention(Some(CALM_LOOK)),
            Retry::Never => Next::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(layer: Layer, retry: Retry) -> LayerError {
        LayerError::new(layer, "x").retry(retry)
    }

    #[test]
    fn refusals_are_tried_quickly_for_a_minute_and_then_calmly() {
        let mut reconnect = Reconnect::default();
        let start = Instant::now();
        let refused = error(Layer::Port, Retry::Soon);
        assert_eq!(reconnect.failed(&refused, start, 0.5), Next::Wait(SOON));
        let later = start + Duration::from_secs(59);
        assert_eq!(reconnect.failed(&refused, later, 0.5), Next::Wait(SOON));
        let much_later = start + Duration::from_secs(61);
        assert_eq!(
            reconnect.failed(&refused, much_later, 0.5),
            Next::Wait(SOON_LATER)
        );
        assert_eq!(reconnect.attempt(), 4);
    }

    #[test]
    fn resets_back_off_until_the_link_proves_itself() {
        let mut reconnect = Reconnect::default();
        let reset = error(Layer::Websocket, Retry::Backoff);
        let now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..8 {
            let Next::Wait(delay) = reconnect.failed(&reset, now, 1.0) else {
                panic!("a reset is tried again")
            };
            delays.push(delay);
        }
        assert_eq!(delays.first(), Some(&BACKOFF_FLOOR));
        assert_eq!(delays.last(), Some(&BACKOFF_CAP));
        reconnect.proved();
        assert_eq!(reconnect.attempt(), 1);
        assert_eq!(
            reconnect.failed(&reset, now, 1.0),
            Next::Wait(BACKOFF_FLOOR)
        );
    }

    #[test]
    fn a_refused_token_waits_for_a_person_and_a_pairing_request_is_looked_after() {
        let mut reconnect = Reconnect::default();
        let now = Instant::now();
        let token = error(Layer::Token, Retry::Attention);
        let pairing = error(Layer::Pairing, Retry::Attention);
        let older = error(Layer::Hello, Retry::Attention);
        let never = error(Layer::Hello, Retry::Never);
        assert_eq!(reconnect.failed(&token, now, 0.0), Next::Attention(None));
        assert_eq!(
            reconnect.failed(&pairing, now, 0.0),
            Next::Attention(Some(PAIRING_POLL))
        );
        assert_eq!(
            reconnect.failed(&older, now, 0.0),
            Next::Attention(Some(CALM_LOOK))
        );
        assert_eq!(reconnect.failed(&never, now, 0.0), Next::Stop);
    }
}
