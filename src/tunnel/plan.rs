//! When to try again: pure, without a clock or sockets of its own.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::layer::{Layer, LayerError, Retry, Sign};

/// Pause between tries while the far side refuses or has no route: both answers are cheap.
const SOON: Duration = Duration::from_millis(250);
/// For how long that pause is kept.
const SOON_FOR: Duration = Duration::from_secs(60);
/// The same while a name does not resolve: name servers are asked less often.
const SOON_DNS: Duration = Duration::from_secs(1);
/// The pause after that.
const LATER: Duration = Duration::from_secs(5);
const LATER_DNS: Duration = Duration::from_secs(3);
/// Growing pauses after timeouts and resets.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A connection that lasted this long was good: its loss is tried again at once.
const PROVEN: Duration = Duration::from_secs(10);
/// Growing pauses after the loss of a younger one that had served somebody: a server that lets us in and
/// opens channels is there, and is asked a few times a second at most.
const SERVED: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// The first unattended try after somebody should have looked, and the longest pause between them.
/// Servers count refused sign-ins and lock out who comes too often.
const UNATTENDED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15 * 60));

/// Pause between looks at a server on which sign-in is shut for everybody.
const STEADY: Duration = Duration::from_secs(30);
/// So many connections dropped without a word after a refused sign-in are no accident.
const DROPS: u32 = 3;

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again after a pause.
    Wait(Duration),
    /// Wait for a person; when nobody is there to act in the app, try again after the pause.
    Attention(Option<Duration>),
    /// Do not try again by itself.
    Fail,
}

/// The state between tries.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Whether a person sees the questions and can press a key.
    attended: bool,
    /// Whether the first failure is the last.
    once: bool,
    backoff: Backoff,
    served: Backoff,
    unattended: Duration,
    refused_since: Option<Instant>,
    /// A sign-in failed, and none has worked since.
    sign_in_failed: bool,
    /// Connections dropped before the banner, one after the other.
    drops: u32,
}

impl Pace {
    pub(crate) fn new(attended: bool, once: bool) -> Self {
        Self {
            attended,
            once,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            served: Backoff::new(SERVED.0, SERVED.1),
            unattended: UNATTENDED.0,
            refused_since: None,
            sign_in_failed: false,
            drops: 0,
        }
    }

    /// Somebody asked for a try now, or the machine woke up: what was, was. The server remembers a
    /// refused sign-in all the same.
    pub(crate) fn reset(&mut self) {
        *self = Self {
            sign_in_failed: self.sign_in_failed,
            drops: self.drops,
            ..Self::new(self.attended, self.once)
        };
    }

    /// What a failure means after those before it: a server that drops every connection since a sign-in
    /// failed is penalising this address (`PerSourcePenalties` of sshd).
    pub(crate) fn in_context(&mut self, error: LayerError) -> LayerError {
        self.sign_in_failed |= error.layer == Layer::SignIn;
        self.drops = match error.sign {
            Sign::Dropped => self.drops.saturating_add(1),
            Sign::None | Sign::Penalty => 0,
        };
        if !self.sign_in_failed || self.drops < DROPS {
            return error;
        }
        LayerError {
            what: format!("{}: it is penalising this address", error.what),
            ..error
        }
        .penalty()
    }

    /// A connection that was up for `uptime` was lost; `served` when it had opened a channel.
    pub(crate) fn lost(&mut self, uptime: Duration, served: bool) -> Next {
        if self.once {
            return Next::Fail;
        }
        self.sign_in_failed = false;
        if uptime >= PROVEN {
            self.reset();
            return Next::Wait(Duration::ZERO);
        }
        if served {
            self.backoff.reset();
            return Next::Wait(self.served.next_delay());
        }
        Next::Wait(self.backoff.next_delay())
    }

    /// A try failed.
    pub(crate) fn failed(&mut self, error: &LayerError, now: Instant) -> Next {
        if self.once {
            return Next::Fail;
        }
        match error.retry {
            Retry::Never => Next::Fail,
            Retry::Soon => {
                let since = *self.refused_since.get_or_insert(now);
                if now.saturating_duration_since(since) < SOON_FOR {
                    Next::Wait(match error.layer {
                        Layer::Dns => SOON_DNS,
                        _ => SOON,
                    })
                } else {
                    Next::Wait(match error.layer {
                        Layer::Dns => LATER_DNS,
                        _ => LATER,
                    })
                }
            }
            Retry::Backoff => {
                self.refused_since = None;
                Next::Wait(self.backoff.next_delay())
            }
            Retry::Steady => Next::Wait(STEADY),
            Retry::Later => {
                self.refused_since = None;
                Next::Wait(match error.layer {
                    Layer::SignIn => self.unattended_pause(),
                    _ => UNATTENDED.0,
                })
            }
            Retry::Attention => {
                // A host key that was turned down is a decision, and no time changes it.
                if self.attended || error.layer == Layer::HostKey {
                    return Next::Attention(None);
                }
                Next::Attention(Some(self.unattended_pause()))
            }
        }
    }

    fn unattended_pause(&mut self) -> Duration {
        let pause = self.unattended;
        self.unattended = (pause * 2).min(UNATTENDED.1);
        pause
    }
}

/// Whether a machine that wakes up tries again at once: it may be in another network now. A host key or
/// a sign-in that was refused stays refused there, and the next try could ask or lock out somebody.
pub(crate) fn may_wake(error: &LayerError, next: Next) -> bool {
    let is_refusal = matches!(error.layer, Layer::HostKey | Layer::SignIn)
        && matches!(error.retry, Retry::Later | Retry::Attention | Retry::Never);
    // Each try lengthens a penalty.
    next != Next::Fail && !is_refusal && error.sign != Sign::Penalty
}

/// Whether a wait ends when a key or a certificate of the sign-in changes: a person did what was asked.
pub(crate) fn may_be_renewed(error: &LayerError, next: Next) -> bool {
    error.layer == Layer::SignIn
        && next != Next::Fail
        && matches!(error.retry, Retry::Later | Retry::Attention)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(layer: Layer, retry: Retry) -> LayerError {
        LayerError::new(layer, "no").retry(retry)
    }

    #[test]
    fn a_refusal_is_tried_often_for_a_minute_and_then_every_five_seconds() {
        let start = Instant::now();
        let mut pace = Pace::new(true, false);
        let refused = error(Layer::Tcp, Retry::Soon);
        assert_eq!(pace.failed(&refused, start), Next::Wait(SOON));
        let later = start + Duration::from_secs(59);
        assert_eq!(pace.failed(&refused, later), Next::Wait(SOON));
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.failed(&refused, later), Next::Wait(LATER));
        pace.reset();
        assert_eq!(pace.failed(&refused, later), Next::Wait(SOON));
    }

    #[test]
    fn a_name_that_does_not_resolve_is_tried_every_second_and_then_every_three() {
        let start = Instant::now();
        let mut pace = Pace::new(true, false);
        let unknown = error(Layer::Dns, Retry::Soon);
        assert_eq!(pace.failed(&unknown, start), Next::Wait(SOON_DNS));
        let later = start + SOON_FOR;
        assert_eq!(pace.failed(&unknown, later), Next::Wait(LATER_DNS));
    }

    #[test]
    fn timeouts_grow_to_half_a_minute() {
        let mut pace = Pace::new(true, false);
        let timeout = error(Layer::Tcp, Retry::Backoff);
        for _ in 0..20 {
            let Next::Wait(pause) = pace.failed(&timeout, Instant::now()) else {
                panic!("a timeout is tried again");
            };
            assert!(pause >= BACKOFF.0 / 2 && pause <= BACKOFF.1);
        }
    }

    #[test]
    fn a_refused_sign_in_waits_for_the_person_or_a_minute_when_nobody_is_there() {
        let refused = error(Layer::SignIn, Retry::Attention);
        let now = Instant::now();
        assert_eq!(
            Pace::new(true, false).failed(&refused, now),
            Next::Attention(None)
        );
        let mut alone = Pace::new(false, false);
        let pauses: Vec<_> = (0..6).map(|_| alone.failed(&refused, now)).collect();
        let minutes = [1, 2, 4, 8, 15, 15];
        assert_eq!(
            pauses,
            minutes.map(|m| Next::Attention(Some(Duration::from_secs(m * 60))))
        );
    }

    #[test]
    fn a_server_that_is_closed_for_all_is_looked_at_every_half_minute() {
        let closed = error(Layer::SignIn, Retry::Steady);
        let mut pace = Pace::new(true, false);
        for _ in 0..3 {
            let next = pace.failed(&closed, Instant::now());
            assert_eq!(next, Next::Wait(Duration::from_secs(30)));
        }
    }

    #[test]
    fn a_penalty_is_waited_out_whatever_the_network_does() {
        let portal = error(Layer::Ssh, Retry::Later);
        assert!(may_wake(&portal, Next::Wait(LATER)));
        assert!(!may_wake(&portal.penalty(), Next::Wait(LATER)));
    }

    #[test]
    fn drops_after_a_refused_sign_in_are_a_penalty_and_waited_out() {
        let drop = || LayerError::new(Layer::Ssh, "10.0.0.1:22 closed").sign(Sign::Dropped);
        let mut pace = Pace::new(false, false);
        for _ in 0..5 {
            assert_eq!(pace.in_context(drop()), drop());
        }
        pace.in_context(error(Layer::SignIn, Retry::Attention));
        assert_eq!(pace.in_context(drop()), drop());
        // A person who tries again changes nothing about it.
        pace.reset();
        assert_eq!(pace.in_context(drop()), drop());
        let penalty = pace.in_context(drop());
        assert!(
            penalty.what.contains("penalising this address"),
            "{penalty}"
        );
        assert_eq!(
            pace.failed(&penalty, Instant::now()),
            Next::Wait(Duration::from_secs(60))
        );
        pace.lost(Duration::from_secs(60), true);
        assert_eq!(pace.in_context(drop()), drop());
    }

    #[test]
    fn trouble_that_may_pass_is_looked_at_every_minute_with_or_without_a_person() {
        let portal = error(Layer::Ssh, Retry::Later);
        for attended in [true, false] {
            let mut pace = Pace::new(attended, false);
            for _ in 0..5 {
                let next = pace.failed(&portal, Instant::now());
                assert_eq!(next, Next::Wait(Duration::from_secs(60)));
            }
        }
        let mut pace = Pace::new(true, true);
        assert_eq!(pace.failed(&portal, Instant::now()), Next::Fail);
    }

    #[test]
    fn refused_keys_are_shown_again_after_ever_longer_minutes() {
        let refused = error(Layer::SignIn, Retry::Later);
        let mut pace = Pace::new(true, false);
        let pauses: Vec<_> = (0..3)
            .map(|_| pace.failed(&refused, Instant::now()))
            .collect();
        let minutes = [1, 2, 4];
        assert_eq!(
            pauses,
            minutes.map(|m| Next::Wait(Duration::from_secs(m * 60)))
        );
    }

    #[test]
    fn waking_up_ends_every_wait_but_the_one_after_a_refused_key_or_sign_in() {
        for (layer, retry, next, wakes) in [
            (Layer::Tcp, Retry::Soon, Next::Wait(LATER), true),
            (Layer::Ssh, Retry::Attention, Next::Attention(None), true),
            (Layer::Ssh, Retry::Later, Next::Wait(UNATTENDED.0), true),
            (Layer::SignIn, Retry::Backoff, Next::Wait(LATER), true),
            (Layer::SignIn, Retry::Later, Next::Wait(UNATTENDED.0), false),
            (
                Layer::SignIn,
                Retry::Attention,
                Next::Attention(None),
                false,
            ),
            (
                Layer::HostKey,
                Retry::Attention,
                Next::Attention(None),
                false,
            ),
            (Layer::Ssh, Retry::Never, Next::Fail, false),
        ] {
            assert_eq!(
                may_wake(&error(layer, retry), next),
                wakes,
                "{layer} {retry:?}"
            );
        }
    }

    #[test]
    fn a_changed_host_key_is_never_tried_again() {
        let changed = error(Layer::HostKey, Retry::Never);
        let mut pace = Pace::new(false, false);
        assert_eq!(pace.failed(&changed, Instant::now()), Next::Fail);
    }

    #[test]
    fn a_good_connection_comes_back_at_once_and_a_flapping_one_waits() {
        let mut pace = Pace::new(true, false);
        assert_eq!(
            pace.lost(Duration::from_secs(600), true),
            Next::Wait(Duration::ZERO)
        );
        let Next::Wait(pause) = pace.lost(Duration::from_millis(10), false) else {
            panic!("a lost connection is tried again");
        };
        assert!(pause >= BACKOFF.0 / 2);
    }

    #[test]
    fn a_server_that_lets_us_in_and_serves_is_never_waited_for_longer_than_half_a_second() {
        let mut pace = Pace::new(true, false);
        for _ in 0..50 {
            let Next::Wait(pause) = pace.lost(Duration::from_millis(300), true) else {
                panic!("a lost connection is tried again");
            };
            assert!(pause >= SERVED.0 / 2 && pause <= SERVED.1, "{pause:?}");
        }
    }

    #[test]
    fn one_try_is_one_try() {
        let mut pace = Pace::new(false, true);
        let refused = error(Layer::Tcp, Retry::Soon);
        assert_eq!(pace.failed(&refused, Instant::now()), Next::Fail);
    }
}
