//! Is the other end still there? Pure: it is told what was seen, and says what to do and when to look
//! again. It has no clock and no socket.
//!
//! A *question* is open from the first data (or ping) that was sent after the last byte that came. Any
//! byte answers it, and so do acknowledgements while data is still on its way, which a slow link needs.
//! An open question is first repeated as a ping, then a second connection is opened beside the silent
//! one, and only when that one is up, and the silent one had its chance to speak on a path that is
//! known to work again, does it take its place. All times grow with the measured round trip.
//!
//! russh's own keepalive is blind while a write is stuck, so it is off.

use std::time::Duration;

use tokio::time::Instant;

use crate::layer::{Layer, LayerError};
use crate::tunnel::socket::PathFacts;
use crate::tunnel::spec::HopSpec;
use crate::tunnel::transport::Lifeline;

/// `ServerAliveInterval` when nothing was said.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// `ServerAliveCountMax` when nothing was said.
pub(crate) const COUNT_MAX: u32 = 3;
/// How long the answer to a question of a person may take.
pub(crate) const PROBE: Duration = Duration::from_secs(2);

/// An open question is asked again, as a ping that sshd itself answers.
const ASK: Duration = Duration::from_millis(500);
/// A second connection is opened.
const DOUBT: Duration = Duration::from_secs(1);
/// The second connection may take the place of the silent one.
const REPLACE: Duration = Duration::from_secs(2);
/// The connection is given up, whether there is another one or not.
const LOSE: Duration = Duration::from_secs(8);
/// The second and the third after the machine slept, when a dead connection is the likely case.
const DOUBT_AWAKE: Duration = Duration::from_millis(300);
const REPLACE_AWAKE: Duration = Duration::from_secs(1);
/// The interval of pings while the link is in use, and how long after the last data it is.
const INTERVAL_IN_USE: Duration = Duration::from_secs(2);
const IN_USE: Duration = Duration::from_secs(30);
/// How often to look while in doubt.
const DOUBTFUL_TICK: Duration = Duration::from_millis(100);
/// How long the silent one still gets once the path is known to work: with a packet that was sent again
/// since, with everything delivered, where nothing is known, and however often it was sent again.
const CHANCE: Duration = Duration::from_millis(500);
const CHANCE_UNKNOWN: Duration = Duration::from_millis(1500);
const CHANCE_UNSENT: Duration = Duration::from_millis(3500);
/// The margin until a round trip was measured.
const UNMEASURED: Duration = Duration::from_secs(1);
/// The longest margin. On a path that loses much, answers vary so much that without a limit a dead
/// connection would get minutes; what is only slow shows by what gets through.
const MARGIN_CAP: Duration = Duration::from_millis(1500);
/// A look that comes this late shows that we stood still, not the other end.
const LATE: Duration = Duration::from_secs(1);

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

    /// Silence of this length ends the connection.
    fn limit(self) -> Option<Duration> {
        (!self.interval.is_zero()).then(|| self.interval * (self.count_max.max(1) + 1))
    }
}

/// What is seen of a connection at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs {
    /// When a byte came last.
    pub(crate) seen: Instant,
    /// Since when data waits for any answer.
    pub(crate) asked: Option<Instant>,
    /// When data was last sent.
    pub(crate) used: Instant,
    /// A reader of ours keeps the session from reading: silence means nothing.
    pub(crate) stalled_reader: bool,
    /// What the kernel knows.
    pub(crate) path: Option<PathFacts>,
}

impl Signs {
    /// What is seen of it now.
    pub(crate) fn of(life: &Lifeline) -> Self {
        Self {
            seen: life.last_seen(),
            asked: life.asked_since(),
            used: life.last_used(),
            stalled_reader: life.has_stalled_reader(),
            path: life.with_path(|path| path.facts()),
        }
    }
}

/// Why a link is looked at without having been silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hurry {
    /// The machine or this process slept.
    Woke,
    /// The network is another one.
    Moved,
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is strange.
    Fine,
    /// Silent for so long that another connection should be tried.
    Doubt(Duration),
    /// Dead, after this silence.
    Lost(Duration),
}

/// A look's result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) verdict: Verdict,
    /// Send a ping now.
    pub(crate) ping: bool,
    /// When to look again, at the latest.
    pub(crate) next: Instant,
    /// No question is open; one that comes wants a look sooner than `next`.
    pub(crate) at_rest: bool,
}

/// What a second connection shows about the path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spare {
    /// When its TCP connection was made.
    connected: Instant,
    /// What the kernel had sent again for the silent one by then, and when that number rose.
    retransmitted: Option<u32>,
    sent_again: Option<Instant>,
}

impl Spare {
    pub(crate) fn new(connected: Instant) -> Self {
        Self {
            connected,
            retransmitted: None,
            sent_again: None,
        }
    }
}

/// Watches one connection.
#[derive(Debug)]
pub(crate) struct Vigil {
    pulse: Pulse,
    margin: Option<Margin>,
    /// Silence before this moment was ours.
    floor: Instant,
    /// When the kernel last got something through while data was on its way.
    progress: Option<Instant>,
    is_under_way: bool,
    pinged: Option<Instant>,
    hurry: Option<Hurry>,
    ask_now: bool,
    next: Instant,
}

impl Vigil {
    /// Begins with a ping, which measures the round trip.
    pub(crate) fn new(pulse: Pulse, now: Instant) -> Self {
        Self {
            pulse,
            margin: None,
            floor: now,
            progress: None,
            is_under_way: false,
            pinged: None,
            hurry: None,
            ask_now: true,
            next: now,
        }
    }

    /// A ping was answered after this time.
    pub(crate) fn answered(&mut self, took: Duration) {
        self.margin.get_or_insert(Margin::new(took)).add(took);
    }

    /// How much later than usual an answer may come.
    pub(crate) fn margin(&self) -> Duration {
        self.margin.as_ref().map_or(UNMEASURED, Margin::value)
    }

    /// Something happened that connections may not survive: ask now.
    pub(crate) fn hurry(&mut self, why: Hurry, now: Instant) {
        self.floor = now;
        self.hurry = Some(why);
        self.ask_now = true;
        self.pinged = None;
    }

    /// Looks; the answer to a ping that it asks for must be told to [`Vigil::answered`].
    pub(crate) fn look(&mut self, signs: &Signs, now: Instant) -> Look {
        if now > self.next + LATE {
            // What came meanwhile has not been read yet.
            self.floor = now;
        }
        self.note_progress(signs, now);
        if self.pinged.is_some_and(|pinged| pinged <= signs.seen) {
            self.pinged = None;
            self.hurry = None;
        }
        let look = if signs.stalled_reader {
            self.floor = now;
            self.pinged = None;
            self.at_rest(now + self.interval(signs, now).unwrap_or(INTERVAL) / 8)
        } else {
            self.judge(signs, now)
        };
        if look.ping {
            self.pinged = Some(now);
            self.ask_now = false;
        }
        self.next = look.next;
        look
    }

    fn at_rest(&self, next: Instant) -> Look {
        Look {
            verdict: Verdict::Fine,
            ping: false,
            next,
            at_rest: true,
        }
    }

    fn judge(&self, signs: &Signs, now: Instant) -> Look {
        let alive = self.alive(signs);
        let silent = now.saturating_duration_since(alive);
        let interval = self.interval(signs, now);
        let Some(since) = self.waiting_since(signs) else {
            let due = interval.map(|interval| alive + interval);
            let ping = self.ask_now || due.is_some_and(|due| due <= now);
            // Without an interval there is still something to wait for: a change of `used`.
            let next = due.filter(|due| *due > now).unwrap_or(now + INTERVAL);
            let next = if ping {
                now + self.patience(ASK, 1)
            } else {
                next
            };
            return Look {
                ping,
                at_rest: !ping,
                ..self.at_rest(next)
            };
        };
        let waited = now.saturating_duration_since(since);
        let ping = self.pinged.is_none() && (self.ask_now || waited >= self.patience(ASK, 1));
        let limit = self.pulse.limit();
        let was_asked = self
            .pinged
            .is_some_and(|pinged| now.saturating_duration_since(pinged) >= self.pulse.interval);
        let is_due = signs.asked.is_some() || self.hurry.is_some();
        let lost = (is_due && waited >= self.patience(LOSE, 8))
            || (was_asked && limit.is_some_and(|limit| silent >= limit));
        let (doubt, _) = self.steps();
        let verdict = if lost {
            Verdict::Lost(silent)
        } else if waited >= doubt {
            Verdict::Doubt(silent)
        } else {
            Verdict::Fine
        };
        let steps = [
            since + self.patience(ASK, 1),
            since + doubt,
            since + self.patience(LOSE, 8),
            limit.map_or(since + LOSE, |limit| alive + limit),
        ];
        let step = steps.into_iter().filter(|step| *step > now).min();
        let tick = match verdict {
            Verdict::Fine => now + INTERVAL,
            Verdict::Doubt(_) | Verdict::Lost(_) => now + DOUBTFUL_TICK,
        };
        Look {
            verdict,
            ping,
            next: step.map_or(tick, |step| step.min(tick)),
            at_rest: false,
        }
    }

    /// Whether a second connection that is up takes the place of this one now.
    pub(crate) fn may_replace(&self, spare: &mut Spare, signs: &Signs, now: Instant) -> bool {
        let Some(since) = self.waiting_since(signs) else {
            return false;
        };
        let (_, replace) = self.steps();
        let had = now.saturating_duration_since(spare.connected);
        let had_chance = match signs.path {
            None => had >= self.patience(CHANCE_UNKNOWN, 2),
            Some(path) if path.unacked == 0 => had >= self.patience(CHANCE, 2),
            Some(path) => {
                let before = *spare.retransmitted.get_or_insert(path.retransmitted);
                if path.retransmitted > before {
                    spare.sent_again.get_or_insert(now);
                }
                let answer_due = self.patience(DOUBTFUL_TICK, 1);
                let was_sent_again = spare
                    .sent_again
                    .is_some_and(|at| now.saturating_duration_since(at) >= answer_due);
                (had >= self.patience(CHANCE, 1) && was_sent_again)
                    || had >= self.patience(CHANCE_UNSENT, 2)
            }
        };
        had_chance && now.saturating_duration_since(since) >= replace
    }

    /// The last sign that the other end, or the way to it, works.
    fn alive(&self, signs: &Signs) -> Instant {
        let alive = signs.seen.max(self.floor);
        self.progress.map_or(alive, |at| alive.max(at))
    }

    /// Since when the oldest open question has been met by nothing at all.
    fn waiting_since(&self, signs: &Signs) -> Option<Instant> {
        let open = [signs.asked, self.pinged].into_iter().flatten().min()?;
        Some(open.max(self.alive(signs)))
    }

    /// Doubt, and replacement.
    fn steps(&self) -> (Duration, Duration) {
        match self.hurry {
            Some(Hurry::Woke) => (
                self.patience(DOUBT_AWAKE, 2),
                self.patience(REPLACE_AWAKE, 4),
            ),
            Some(Hurry::Moved) | None => (self.patience(DOUBT, 2), self.patience(REPLACE, 4)),
        }
    }

    fn patience(&self, base: Duration, margins: u32) -> Duration {
        base + self.margin() * margins
    }

    fn interval(&self, signs: &Signs, now: Instant) -> Option<Duration> {
        let idle = (!self.pulse.interval.is_zero()).then_some(self.pulse.interval);
        let in_use = now.saturating_duration_since(signs.used) < IN_USE;
        match idle {
            Some(idle) if in_use => Some(idle.min(INTERVAL_IN_USE)),
            other => other,
        }
    }

    fn note_progress(&mut self, signs: &Signs, now: Instant) {
        let Some(path) = signs.path else { return };
        // With nothing on its way an acknowledgement may be that of a full receive window.
        if path.unacked > 0 || self.is_under_way {
            let at = now.checked_sub(path.last_ack);
            self.progress = at.max(self.progress);
        }
        self.is_under_way = path.unacked > 0;
    }
}

/// How much longer than usual an answer may take: the round trip and four times its spread, as TCP
/// reckons (RFC 6298).
#[derive(Debug)]
struct Margin {
    usual: Duration,
    spread: Duration,
}

impl Margin {
    fn new(first: Duration) -> Self {
        Self {
            usual: first,
            spread: first / 2,
        }
    }

    fn add(&mut self, took: Duration) {
        let off = took.abs_diff(self.usual);
        self.spread = (self.spread * 3 + off) / 4;
        self.usual = (self.usual * 7 + took) / 8;
    }

    fn value(&self) -> Duration {
        (self.usual + self.spread * 4).min(MARGIN_CAP)
    }
}

/// The words for a link that ended in silence.
pub(crate) fn silence(server: &str, silent: Duration) -> LayerError {
    LayerError::new(
        Layer::Ssh,
        format!(
            "{server} went silent ({:.1} s without a sign)",
            silent.as_secs_f32()
        ),
    )
}

#[cfg(test)]
mod tests;
