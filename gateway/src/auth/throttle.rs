//! Slows down guessing: so many failed sign-ins of one user (or address), then a lock for a while.
//!
//! A lock never shuts the owner out: who shows the right secret from the gateway's own user id
//! passes ([`super::sign_in`] asks the lock only after it has looked at the secret).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::settings::RateLimit;

/// At most so many sources are remembered; the oldest makes room.
const MAX_SOURCES: usize = 4096;

/// Whose failures are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A user of this machine.
    Uid(u32),
    /// An address, where the user is unknown.
    Ip(IpAddr),
}

impl Source {
    /// Whom a caller is counted as: the user where the kernel tells, else the address. All addresses
    /// of an IPv6 /64 are one: whoever has one of them has them all.
    pub fn of(uid: Option<u32>, address: IpAddr) -> Self {
        match (uid, address.to_canonical()) {
            (Some(uid), _) => Self::Uid(uid),
            (None, IpAddr::V4(address)) => Self::Ip(address.into()),
            (None, IpAddr::V6(address)) => {
                let network = address.to_bits() & (u128::MAX << 64);
                Self::Ip(Ipv6Addr::from_bits(network).into())
            }
        }
    }
}

#[derive(Debug)]
struct Record {
    failures: Vec<Instant>,
    locked_until: Option<Instant>,
    touched: Instant,
}

/// Guesses that may fail at once, of all sources together, and how fast they come back.
const GUESSES: f64 = 20.0;
const GUESSES_PER_SECOND: f64 = 1.0;

/// What is left of the guesses of all.
#[derive(Debug)]
struct Budget {
    left: f64,
    at: Instant,
}

/// Failed sign-ins by source.
#[derive(Debug)]
pub struct Throttle {
    limit: RateLimit,
    records: Mutex<HashMap<Source, Record>>,
    budget: Mutex<Budget>,
}

impl Throttle {
    /// An empty record under these limits.
    pub fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            records: Mutex::default(),
            budget: Mutex::new(Budget {
                left: GUESSES,
                at: Instant::now(),
            }),
        }
    }

    /// Takes one guess from the budget of all sources, before it is compared: many sockets at once
    /// have no more of them than one.
    ///
    /// # Errors
    /// How long until the next one.
    pub fn take_guess(&self, now: Instant) -> Result<(), Duration> {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(budget.at).as_secs_f64();
        budget.left = (budget.left + since * GUESSES_PER_SECOND).min(GUESSES);
        budget.at = budget.at.max(now);
        if budget.left < 1.0 {
            return Err(Duration::from_secs_f64(
                (1.0 - budget.left) / GUESSES_PER_SECOND,
            ));
        }
        budget.left -= 1.0;
        Ok(())
    }

    /// Puts a guess back that was none.
    pub fn give_back(&self) {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.left = (budget.left + 1.0).min(GUESSES);
    }

    /// How long the source stays locked; `None` when it is free.
    pub fn locked_for(&self, source: Source, now: Instant) -> Option<Duration> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let until = records.get(&source)?.locked_until?;
        until.checked_duration_since(now).filter(|d| !d.is_zero())
    }

    /// Counts a wrong credential.
    pub fn failed(&self, source: Source, now: Instant) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() >= MAX_SOURCES && !records.contains_key(&source) {
            let oldest = records
                .iter()
                .min_by_key(|(_, r)| r.touched)
                .map(|(s, _)| *s);
            oldest.and_then(|oldest| records.remove(&oldest));
        }
        let record = records.entry(source).or_insert_with(|| Record {
            failures: Vec::new(),
            locked_until: None,
            touched: now,
        });
        record.touched = now;
        if record.locked_until.is_some_and(|until| until > now) {
            return;
        }
        let window = self.limit.window;
        record
            .failures
            .retain(|at| now.duration_since(*at) < window);
        record.failures.push(now);
        if record.failures.len() >= self.limit.max_attempts {
            record.failures.clear();
            record.locked_until = Some(now + self.limit.lockout);
        }
    }

    /// Forgets the failures of a source that has shown a right credential.
    pub fn succeeded(&self, source: Source) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.remove(&source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Source = Source::Uid(1000);
    const OTHER: Source = Source::Uid(1001);

    #[test]
    fn the_tenth_failure_locks_its_own_source_only_and_not_for_ever() {
        let throttle = Throttle::new(RateLimit::default());
        let start = Instant::now();
        for _ in 0..9 {
            throttle.failed(ONE, start);
        }
        assert_eq!(throttle.locked_for(ONE, start), None);
        throttle.failed(ONE, start);
        assert_eq!(
            throttle.locked_for(ONE, start),
            Some(Duration::from_secs(300))
        );
        assert_eq!(throttle.locked_for(OTHER, start), None);
        let later = start + Duration::from_secs(301);
        assert_eq!(throttle.locked_for(ONE, later), None);
    }

    #[test]
    fn old_failures_and_those_before_a_success_do_not_count() {
        let throttle = Throttle::new(RateLimit::default());
        let start = Instant::now();
        for second in 0..20 {
            throttle.failed(ONE, start + Duration::from_secs(second * 10));
        }
        assert_eq!(
            throttle.locked_for(ONE, start + Duration::from_secs(200)),
            None
        );
        for _ in 0..9 {
            throttle.failed(OTHER, start);
        }
        throttle.succeeded(OTHER);
        throttle.failed(OTHER, start);
        assert_eq!(throttle.locked_for(OTHER, start), None);
    }

    #[test]
    fn all_sources_share_twenty_guesses_and_one_more_a_second() {
        let throttle = Throttle::new(RateLimit::default());
        let start = Instant::now();
        let guesses = |at| (0..200).filter(|_| throttle.take_guess(at).is_ok()).count();
        assert_eq!(guesses(start), 20);
        let wait = throttle.take_guess(start).unwrap_err();
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
        assert_eq!(guesses(start + Duration::from_secs(5)), 5);
        throttle.give_back();
        assert_eq!(
            guesses(start + Duration::from_secs(5)),
            1,
            "a right one is put back"
        );
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_a_user_comes_before_an_address() {
        let of = |text: &str| Source::of(None, text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8:0:0:ffff::9"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(
            Source::of(Some(7), "192.0.2.1".parse().unwrap()),
            Source::Uid(7)
        );
    }

    #[test]
    fn the_record_stays_small() {
        let throttle = Throttle::new(RateLimit::default());
        let now = Instant::now();
        for uid in 0..10_000 {
            throttle.failed(Source::Uid(uid), now);
        }
        assert!(throttle.records.lock().unwrap().len() <= MAX_SOURCES);
    }
}
