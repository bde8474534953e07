//! Is the other end still there? A pure timer: the task asks it what to do and when to ask again.

use std::time::{Duration, Instant};

/// Time between two pings; they also measure the round trip.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How long an answer to a ping may take.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// The same when a person waits for an answer.
const PROBE_WITHIN: Duration = Duration::from_millis(2500);

/// What the timer asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Send a ping with this content.
    Ping(u64),
    /// No answer to a ping within this time.
    NoPong(Duration),
    /// No message of the gateway for this long; it sends a tick twice as often.
    NoTick(Duration),
}

/// Watches one connection.
#[derive(Debug)]
pub(super) struct Liveness {
    silence: Duration,
    last_message: Instant,
    last_movement: Instant,
    next_ping: Instant,
    outstanding: Option<Ping>,
    count: u64,
    hurried: bool,
}

#[derive(Debug)]
struct Ping {
    id: u64,
    sent: Instant,
    within: Duration,
}

impl Liveness {
    /// Starts at hello; the first ping is due at once and proves the link.
    pub(super) fn new(tick_interval: Duration, now: Instant) -> Self {
        Self {
            silence: tick_interval * 2,
            last_message: now,
            last_movement: now,
            next_ping: now,
            outstanding: None,
            count: 0,
            hurried: false,
        }
    }

    /// A text or binary message came.
    pub(super) fn message(&mut self, now: Instant) {
        self.last_message = now;
    }

    /// Bytes last moved at `at`: a pong behind a large message is late, not missing.
    pub(super) fn movement(&mut self, at: Instant) {
        self.last_movement = self.last_movement.max(at);
    }

    /// A pong came; the round trip, when it answers our ping.
    pub(super) fn pong(&mut self, id: u64, now: Instant) -> Option<Duration> {
        let ping = self.outstanding.take_if(|ping| ping.id == id)?;
        Some(now.saturating_duration_since(ping.sent))
    }

    /// A person waits: ask now, and give up sooner.
    pub(super) fn probe(&mut self, now: Instant) {
        match &mut self.outstanding {
            Some(ping) => {
                let left = now.saturating_duration_since(ping.sent) + PROBE_WITHIN;
                ping.within = ping.within.min(left);
            }
            None => {
                self.next_ping = now;
                self.hurried = true;
            }
        }
    }

    /// When to ask again.
    pub(super) fn next_wake(&self) -> Instant {
        let silent = self.silent_at();
        match &self.outstanding {
            Some(ping) => silent.min(self.pong_due(ping)),
            None => silent.min(self.next_ping),
        }
    }

    fn silent_at(&self) -> Instant {
        let quiet = self.last_message + self.silence;
        // A message that is still arriving counts while it moves.
        quiet.max(self.last_movement + PONG_WITHIN)
    }

    fn pong_due(&self, ping: &Ping) -> Instant {
        self.last_movement.max(ping.sent) + ping.within
    }

    /// What is due at `now`.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        if let Some(ping) = &self.outstanding {
            if now >= self.pong_due(ping) {
                return Due::NoPong(ping.within);
            }
        } else if now >= self.next_ping {
            let within = if std::mem::take(&mut self.hurried) {
                PROBE_WITHIN
            } else {
                PONG_WITHIN
            };
            self.count += 1;
            let id = self.count;
            self.outstanding = Some(Ping {
                id,
                sent: now,
                within,
            });
            self.next_ping = now + PING_EVERY;
            return Due::Ping(id);
        }
        if now >= self.silent_at() {
            return Due::NoTick(self.silence);
        }
        Due::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(30);

    #[test]
    fn the_first_ping_is_due_at_once_and_its_pong_is_the_round_trip() {
        let start = Instant::now();
        let mut liveness = Liveness::new(TICK, start);
        assert_eq!(liveness.due(start), Due::Ping(1));
        assert_eq!(liveness.due(start), Due::Nothing);
        let later = start + Duration::from_millis(24);
        assert_eq!(liveness.pong(7, later), None);
        assert_eq!(liveness.pong(1, later), Some(Duration::from_millis(24)));
        assert_eq!(liveness.next_wake(), start + PING_EVERY);
    }

    #[test]
    fn a_missing_pong_ends_the_connection() {
        let start = Instant::now();
        let mut liveness = Liveness::new(TICK, start);
        assert_eq!(liveness.due(start), Due::Ping(1));
        assert_eq!(liveness.due(start + PONG_WITHIN), Due::NoPong(PONG_WITHIN));
    }

    #[test]
    fn a_waiting_person_gets_an_answer_sooner() {
        let start = Instant::now();
        let mut liveness = Liveness::new(TICK, start);
        assert_eq!(liveness.due(start), Due::Ping(1));
        liveness.pong(1, start);
        liveness.probe(start);
        assert_eq!(liveness.due(start), Due::Ping(2));
        assert_eq!(liveness.next_wake(), start + PROBE_WITHIN);
        // The same when a ping is under way already.
        let mut busy = Liveness::new(TICK, start);
        assert_eq!(busy.due(start), Due::Ping(1));
        busy.probe(start + Duration::from_secs(1));
        assert_eq!(
            busy.next_wake(),
            start + Duration::from_secs(1) + PROBE_WITHIN
        );
    }

    #[test]
    fn pongs_alone_do_not_replace_ticks() {
        let start = Instant::now();
        let mut liveness = Liveness::new(TICK, start);
        let mut now = start;
        let mut due = liveness.due(now);
        while let Due::Ping(id) = due {
            liveness.pong(id, now);
            now = liveness.next_wake();
            due = liveness.due(now);
        }
        assert_eq!(due, Due::NoTick(TICK * 2));
        assert_eq!(now, start + TICK * 2);
    }

    #[test]
    fn a_slow_link_that_moves_is_alive_and_one_that_stops_is_not() {
        let start = Instant::now();
        let mut liveness = Liveness::new(TICK, start);
        assert_eq!(liveness.due(start), Due::Ping(1));
        let mut now = start;
        for _ in 0..20 {
            now += Duration::from_secs(9);
            liveness.movement(now);
            assert_eq!(liveness.due(now), Due::Nothing);
        }
        assert_eq!(liveness.next_wake(), now + PONG_WITHIN);
        assert_eq!(liveness.due(now + PONG_WITHIN), Due::NoPong(PONG_WITHIN));
    }
}
