use super::*;

const RTT: Duration = Duration::from_millis(20);
const PULSE: Pulse = Pulse {
    interval: INTERVAL,
    count_max: COUNT_MAX,
};
const MS: Duration = Duration::from_millis(1);

/// A link, in virtual time.
struct World {
    vigil: Vigil,
    now: Instant,
    start: Instant,
    signs: Signs,
    rtt: Duration,
    answers: bool,
    pings: u32,
    answer_at: Option<Instant>,
}

impl World {
    fn new(pulse: Pulse, rtt: Duration) -> Self {
        let now = Instant::now();
        let mut world = Self {
            vigil: Vigil::new(pulse, now),
            now,
            start: now,
            signs: Signs {
                seen: now,
                asked: None,
                used: now - IN_USE,
                stalled_reader: false,
                path: None,
            },
            rtt,
            answers: true,
            pings: 0,
            answer_at: None,
        };
        // The first pings settle the margin.
        for _ in 0..20 {
            world.vigil.answered(rtt);
        }
        world.run(Duration::from_secs(1));
        world
    }

    fn ask(&mut self) {
        self.signs.used = self.now;
        self.signs.asked.get_or_insert(self.now);
        if self.answers {
            self.answer_at.get_or_insert(self.now + self.rtt);
        }
    }

    fn look(&mut self) -> Look {
        let look = self.vigil.look(&self.signs, self.now);
        assert!(look.next > self.now, "{look:?}");
        if look.ping {
            self.pings += 1;
            if self.answers {
                self.answer_at.get_or_insert(self.now + self.rtt);
            }
        }
        look
    }

    /// Runs for a time; stops at a verdict that is not [`Verdict::Fine`].
    fn run(&mut self, long: Duration) -> Verdict {
        let end = self.now + long;
        while self.now < end {
            let look = self.look();
            if look.verdict != Verdict::Fine {
                return look.verdict;
            }
            let answer = self.answer_at.unwrap_or(end);
            self.now = look.next.min(answer).min(end).max(self.now + MS);
            if self.answer_at.take_if(|at| *at <= self.now).is_some() {
                self.signs.seen = self.now;
                self.signs.asked = None;
            }
        }
        Verdict::Fine
    }

    fn until(&mut self, wanted: impl Fn(Verdict) -> bool) -> Duration {
        let from = self.now;
        for _ in 0..100_000 {
            let look = self.look();
            if wanted(look.verdict) {
                return self.now - from;
            }
            self.now = look.next;
        }
        panic!("never");
    }
}

fn is_lost(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Lost(_))
}

fn is_doubt(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Doubt(_))
}

#[test]
fn a_healthy_link_is_pinged_at_the_interval_and_left_alone() {
    let mut world = World::new(PULSE, RTT);
    let before = world.pings;
    assert_eq!(world.run(Duration::from_secs(100)), Verdict::Fine);
    let pings = world.pings - before;
    assert!((18..=21).contains(&pings), "{pings}");
}

#[test]
fn an_idle_link_that_dies_is_given_up_after_the_pulse_and_doubted_much_sooner() {
    let mut world = World::new(PULSE, RTT);
    world.answers = false;
    let doubt = world.until(is_doubt);
    assert!(doubt < INTERVAL + 2 * DOUBT, "{doubt:?}");
    let silent = world.now - world.signs.seen;
    let lost = silent + world.until(is_lost);
    assert!(
        lost >= INTERVAL * 4 && lost < INTERVAL * 4 + DOUBT,
        "{lost:?}"
    );
}

#[test]
fn a_question_without_an_answer_is_asked_again_then_doubted_and_then_given_up() {
    let mut world = World::new(PULSE, RTT);
    world.answers = false;
    let before = world.pings;
    world.ask();
    let doubt = world.until(is_doubt);
    assert!(doubt > DOUBT && doubt < DOUBT + 20 * RTT, "{doubt:?}");
    assert_eq!(world.pings, before + 1);
    let lost = doubt + world.until(is_lost);
    assert!(lost > LOSE && lost < LOSE + 50 * RTT, "{lost:?}");
}

#[test]
fn a_short_pulse_of_the_user_is_kept() {
    let pulse = Pulse {
        interval: Duration::from_millis(300),
        count_max: 2,
    };
    let mut world = World::new(pulse, RTT);
    world.answers = false;
    world.ask();
    let lost = world.until(is_lost);
    assert!(lost <= 4 * pulse.interval + DOUBTFUL_TICK, "{lost:?}");
}

#[test]
fn no_pulse_means_no_ping_without_use_and_still_no_silence_in_use() {
    let pulse = Pulse {
        interval: Duration::ZERO,
        count_max: 3,
    };
    let mut world = World::new(pulse, RTT);
    let before = world.pings;
    assert_eq!(world.run(Duration::from_secs(600)), Verdict::Fine);
    assert_eq!(world.pings, before);
    world.answers = false;
    world.ask();
    let lost = world.until(is_lost);
    assert!(lost < LOSE + 50 * RTT);
}

#[test]
fn a_slow_link_gets_the_time_that_it_needs() {
    let mut world = World::new(PULSE, Duration::from_millis(800));
    for _ in 0..100 {
        world.ask();
        assert_eq!(world.run(Duration::from_secs(3)), Verdict::Fine);
    }
}

#[test]
fn data_that_gets_through_slowly_is_no_silence() {
    let mut world = World::new(PULSE, RTT);
    world.answers = false;
    world.ask();
    let acked = |ms| {
        Some(PathFacts {
            unacked: 10,
            round_trip: RTT,
            last_ack: Duration::from_millis(ms),
            retransmitted: 3,
        })
    };
    world.signs.path = acked(200);
    for _ in 0..300 {
        assert_eq!(world.look().verdict, Verdict::Fine);
        world.now += Duration::from_millis(100);
    }
    // All is delivered, and sshd says nothing to it.
    world.signs.path = acked(100).map(|path| PathFacts { unacked: 0, ..path });
    let doubt = world.until(is_doubt);
    assert!(doubt < DOUBT + 20 * RTT, "{doubt:?}");
}

#[test]
fn a_process_that_stood_still_does_not_blame_the_other_end() {
    let mut world = World::new(PULSE, RTT);
    world.answers = false;
    world.ask();
    world.now += Duration::from_secs(120);
    assert_eq!(world.look().verdict, Verdict::Fine);
    // An answer that waited in the socket is read a moment later.
    world.now += MS;
    world.signs.seen = world.now;
    world.signs.asked = None;
    assert_eq!(world.look().verdict, Verdict::Fine);
}

#[test]
fn after_a_sleep_the_doubt_comes_at_once() {
    let mut world = World::new(PULSE, RTT);
    world.answers = false;
    world.now += Duration::from_secs(120);
    let before = world.pings;
    world.vigil.hurry(Hurry::Woke, world.now);
    assert!(world.look().ping);
    assert_eq!(world.pings, before + 1);
    let doubt = world.until(is_doubt);
    assert!(doubt < DOUBT_AWAKE + 20 * RTT, "{doubt:?}");
    let mut spare = Spare::new(world.now);
    let from = world.now;
    while !world.vigil.may_replace(&mut spare, &world.signs, world.now) {
        world.now += 10 * MS;
    }
    assert!(world.now - from < Duration::from_secs(2));
}

#[test]
fn a_reader_of_ours_that_stalls_is_not_the_other_ends_silence() {
    let mut world = World::new(PULSE, RTT);
    world.answers = false;
    world.ask();
    world.signs.stalled_reader = true;
    assert_eq!(world.run(Duration::from_secs(60)), Verdict::Fine);
    world.signs.stalled_reader = false;
    let doubt = world.until(is_doubt);
    assert!(doubt >= DOUBT - INTERVAL / 8, "{doubt:?}");
}

#[test]
fn a_second_connection_takes_over_only_after_the_silent_one_had_its_chance() {
    let facts = |retransmitted| {
        Some(PathFacts {
            unacked: 2,
            round_trip: RTT,
            last_ack: Duration::from_secs(30),
            retransmitted,
        })
    };
    let mut world = World::new(PULSE, RTT);
    world.answers = false;
    world.ask();
    world.signs.path = facts(4);
    world.until(is_doubt);
    world.now = world.start + Duration::from_secs(5);
    // The path works again from here on: nothing was sent again yet.
    let mut spare = Spare::new(world.now);
    let may =
        |world: &World, spare: &mut Spare| world.vigil.may_replace(spare, &world.signs, world.now);
    assert!(!may(&world, &mut spare));
    world.now += Duration::from_secs(1);
    assert!(!may(&world, &mut spare));
    world.signs.path = facts(5);
    assert!(!may(&world, &mut spare));
    world.now += Duration::from_millis(300);
    assert!(may(&world, &mut spare));
    // And never one that has spoken.
    world.signs.seen = world.now;
    world.signs.asked = None;
    world.look();
    assert!(!may(&world, &mut spare));
}

proptest::proptest! {
    #[test]
    fn every_look_names_a_later_moment_and_an_answered_link_is_never_lost(
        rtt_ms in 1_u64..1500,
        questions in proptest::collection::vec((0_u64..20_000, proptest::bool::ANY), 1..60),
        interval in 0_u64..60,
    ) {
        let pulse = Pulse { interval: Duration::from_secs(interval), count_max: 3 };
        let mut world = World::new(pulse, Duration::from_millis(rtt_ms));
        for (pause, hurry) in questions {
            if hurry {
                world.vigil.hurry(Hurry::Moved, world.now);
            } else {
                world.ask();
            }
            let long = Duration::from_millis(pause);
            proptest::prop_assert!(!is_lost(world.run(long)));
        }
    }
}
