//! Where a tunnel stands, and what follows from what happens: pure, one value, one function.
//!
//! Every state but those in which a person has to act has a moment at which it ends by itself
//! ([`Machine::until`]); the owner's loop waits for that moment beside everything else, so that no state
//! can be forgotten.

use std::time::{Duration, Instant};

use crate::layer::{Layer, LayerError, Retry};
use crate::tunnel::plan::{self, Next, Pace};

/// How long an attempt may take in all, a hop, not counting the time in which a person is asked. Every
/// step has a deadline of its own; this one catches what has been forgotten.
const ATTEMPT: Duration = Duration::from_secs(90);
/// How often a connection that is up is looked at, at least.
const LOOK: Duration = Duration::from_secs(60);
/// So often since it was last up may new addresses of the server's name begin the tries anew. Past that it
/// is a name that answers differently every time, which says nothing about the server.
const RENAMES: u32 = 3;

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// An attempt is under way.
    Connecting {
        /// Its number; what is told about another one is ignored.
        id: u64,
        /// When it is given up.
        until: Instant,
    },
    /// Up.
    Up {
        /// The attempt that brought it up.
        id: u64,
        since: Instant,
        /// When it is looked at.
        until: Instant,
    },
    /// Down; the next attempt starts by itself.
    Waiting {
        until: Instant,
        why: LayerError,
        /// Whether another network, or a wake, is a reason to try at once.
        wakes: bool,
        /// Whether a key or a certificate that changes is one.
        reads: bool,
    },
    /// Down until a person acts; without a person, a try now and then.
    Attention {
        until: Option<Instant>,
        why: LayerError,
        wakes: bool,
        reads: bool,
    },
    Paused,
    Failed {
        why: LayerError,
    },
}

/// What happens.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A connection is wanted now.
    Kick,
    /// No connection is wanted.
    Pause,
    /// The attempt with this number is through.
    Opened(u64),
    /// The attempt with this number came to nothing.
    Refused(u64, LayerError),
    /// The connection of this attempt was lost; whether it ever carried a channel.
    Lost {
        id: u64,
        served: bool,
        why: LayerError,
    },
    /// The connection of this attempt was replaced by the one of that.
    Replaced(u64, u64),
    /// The machine woke up, or is in another network. The attempt under way may be of before.
    Elsewhere,
    /// The server's name has other addresses than before.
    Renamed,
    /// A key or a certificate of the sign-in changed.
    NewFiles,
    /// The moment of [`Machine::until`] has come.
    Due,
    /// The moment has come while a person is asked.
    Asking,
}

/// The state, and what it takes to find the next one.
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    pace: Pace,
    /// The number of the last attempt.
    last_id: u64,
    /// Tries since it was last up.
    tries: u32,
    /// How often the name's new addresses began them anew.
    renames: u32,
    /// Whether the next attempt is one of many quick ones.
    quiet: bool,
    limit: Duration,
}

impl Machine {
    /// Begins with an attempt through so many hops.
    pub(super) fn new(pace: Pace, hops: usize, now: Instant) -> Self {
        let limit = ATTEMPT * u32::try_from(hops.max(1)).unwrap_or(u32::MAX);
        Self {
            state: State::Connecting {
                id: 1,
                until: now + limit,
            },
            pace,
            last_id: 1,
            tries: 1,
            renames: 0,
            quiet: false,
            limit,
        }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The number of the try, 1 for the first since it was last up.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }

    /// Whether the attempt is one of many quick ones, not worth showing.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A number for an attempt that runs beside the connection.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// When the state ends by itself; `None` where a person has to act.
    pub(super) fn until(&self) -> Option<Instant> {
        match &self.state {
            State::Connecting { until, .. }
            | State::Up { until, .. }
            | State::Waiting { until, .. } => Some(*until),
            State::Attention { until, .. } => *until,
            State::Paused | State::Failed { .. } => None,
        }
    }

    /// Whether a key or a certificate that changes ends the wait: a person did what was asked.
    pub(super) fn reads(&self) -> bool {
        matches!(
            self.state,
            State::Waiting { reads: true, .. } | State::Attention { reads: true, .. }
        )
    }

    /// Whether other addresses of the server's name are a reason to try at once.
    pub(super) fn asks_names(&self) -> bool {
        self.renames < RENAMES && matches!(self.state, State::Waiting { wakes: true, .. })
    }

    /// Takes note of what happened.
    pub(super) fn on(&mut self, event: Event, now: Instant) {
        match event {
            Event::Kick => self.kick(now),
            Event::Pause => self.state = State::Paused,
            Event::Opened(id) => {
                if matches!(self.state, State::Connecting { id: current, .. } if current == id) {
                    self.up(id, now);
                }
            }
            Event::Refused(id, why) => {
                if matches!(self.state, State::Connecting { id: current, .. } if current == id) {
                    let why = self.pace.in_context(why);
                    let next = self.pace.failed(&why, now);
                    self.down(why, next, now);
                }
            }
            Event::Lost { id, served, why } => {
                if let State::Up {
                    id: current, since, ..
                } = self.state
                    && current == id
                {
                    let mut next = self.pace.lost(now.saturating_duration_since(since), served);
                    if why.retry == Retry::Attention {
                        next = self.pace.failed(&why, now);
                    }
                    self.down(why, next, now);
                }
            }
            Event::Replaced(id, by) => {
                if matches!(self.state, State::Up { id: current, .. } if current == id) {
                    self.up(by, now);
                }
            }
            Event::Elsewhere => self.elsewhere(now),
            Event::Renamed => {
                if self.asks_names() {
                    let renames = self.renames + 1;
                    self.start_over();
                    self.renames = renames;
                    self.connect(now);
                }
            }
            Event::NewFiles => {
                if self.reads() {
                    self.start_over();
                    self.connect(now);
                }
            }
            Event::Due => self.due(now),
            Event::Asking => {
                if let State::Connecting { until, .. } = &mut self.state {
                    *until = now + self.limit;
                } else {
                    self.due(now);
                }
            }
        }
    }

    fn kick(&mut self, now: Instant) {
        self.start_over();
        // One attempt at a time: the one under way is what is wanted.
        if !matches!(self.state, State::Connecting { .. }) {
            self.connect(now);
        }
    }

    fn elsewhere(&mut self, now: Instant) {
        match &self.state {
            State::Waiting { wakes: true, .. } | State::Attention { wakes: true, .. } => {
                // What the network before this one did says nothing about this one.
                self.start_over();
                self.connect(now);
            }
            State::Connecting { .. } => self.connect(now),
            _ => {}
        }
    }

    fn due(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting { .. } | State::Attention { .. } => self.connect(now),
            State::Up { until, .. } => *until = now + LOOK,
            State::Connecting { id, .. } => {
                let why = LayerError::new(Layer::Ssh, "the attempt came to no end");
                let id = *id;
                self.on(Event::Refused(id, why), now);
            }
            State::Paused | State::Failed { .. } => {}
        }
    }

    fn start_over(&mut self) {
        self.pace.reset();
        self.tries = 1;
        self.renames = 0;
        self.quiet = false;
    }

    fn connect(&mut self, now: Instant) {
        let id = self.next_id();
        self.state = State::Connecting {
            id,
            until: now + self.limit,
        };
    }

    fn up(&mut self, id: u64, now: Instant) {
        self.tries = 1;
        self.renames = 0;
        self.quiet = false;
        self.state = State::Up {
            id,
            since: now,
            until: now + LOOK,
        };
    }

    fn down(&mut self, why: LayerError, next: Next, now: Instant) {
        self.tries = self.tries.saturating_add(1);
        self.quiet = why.retry == Retry::Soon;
        let wakes = plan::may_wake(&why, next);
        let reads = plan::may_be_renewed(&why, next);
        self.state = match next {
            Next::Wait(pause) => State::Waiting {
                until: now + pause,
                why,
                wakes,
                reads,
            },
            Next::Attention(pause) => State::Attention {
                until: pause.map(|pause| now + pause),
                why,
                wakes,
                reads,
            },
            Next::Fail => State::Failed { why },
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(layer: Layer, retry: Retry) -> LayerError {
        LayerError::new(layer, "no").retry(retry)
    }

    fn id_of(machine: &Machine) -> Option<u64> {
        match machine.state() {
            State::Connecting { id, .. } | State::Up { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// Only where a person has to act does a state stay for ever.
    fn needs_a_person(machine: &Machine) -> bool {
        matches!(
            machine.state(),
            State::Paused | State::Failed { .. } | State::Attention { until: None, .. }
        )
    }

    #[test]
    fn what_is_told_about_an_older_attempt_is_ignored() {
        let now = Instant::now();
        let mut machine = Machine::new(Pace::new(true, false), 1, now);
        machine.on(Event::Elsewhere, now);
        assert_eq!(id_of(&machine), Some(2));
        let before = machine.state().clone();
        machine.on(Event::Opened(1), now);
        machine.on(Event::Refused(1, error(Layer::Tcp, Retry::Never)), now);
        let lost = Event::Lost {
            id: 1,
            served: true,
            why: error(Layer::Ssh, Retry::Backoff),
        };
        machine.on(lost, now);
        assert_eq!(machine.state(), &before);
        machine.on(Event::Opened(2), now);
        assert!(matches!(machine.state(), State::Up { id: 2, .. }));
    }

    #[test]
    fn an_attempt_without_an_end_is_given_up_but_not_while_a_person_is_asked() {
        let now = Instant::now();
        let mut machine = Machine::new(Pace::new(true, false), 2, now);
        let until = machine.until().unwrap();
        assert_eq!(until, now + 2 * ATTEMPT);
        machine.on(Event::Asking, until);
        assert_eq!(machine.until(), Some(until + 2 * ATTEMPT));
        machine.on(Event::Due, until + 2 * ATTEMPT);
        assert!(matches!(machine.state(), State::Waiting { .. }));
    }

    #[test]
    fn another_network_ends_a_wait_but_not_the_one_after_a_refused_sign_in() {
        let now = Instant::now();
        let mut machine = Machine::new(Pace::new(true, false), 1, now);
        machine.on(Event::Refused(1, error(Layer::Tcp, Retry::Backoff)), now);
        machine.on(Event::Elsewhere, now);
        assert_eq!(id_of(&machine), Some(2));
        machine.on(
            Event::Refused(2, error(Layer::SignIn, Retry::Attention)),
            now,
        );
        machine.on(Event::Elsewhere, now);
        assert!(matches!(machine.state(), State::Attention { .. }));
        machine.on(Event::Kick, now);
        assert_eq!(id_of(&machine), Some(3));
    }

    #[test]
    fn a_name_that_answers_differently_every_time_does_not_keep_the_tries_quick() {
        let now = Instant::now();
        let mut machine = Machine::new(Pace::new(true, false), 1, now);
        let timeout = || error(Layer::Tcp, Retry::Backoff);
        let mut ended_early = 0;
        for _ in 0..50 {
            let id = id_of(&machine).unwrap();
            machine.on(Event::Refused(id, timeout()), now);
            machine.on(Event::Renamed, now);
            match machine.state() {
                State::Connecting { .. } => ended_early += 1,
                _ => machine.on(Event::Due, now),
            }
        }
        assert_eq!(ended_early, RENAMES);
        assert_eq!(machine.tries(), 50 - RENAMES + 1);
        // In another network the name may lead to the server again.
        let id = id_of(&machine).unwrap();
        machine.on(Event::Refused(id, timeout()), now);
        machine.on(Event::Elsewhere, now);
        let id = id_of(&machine).unwrap();
        machine.on(Event::Refused(id, timeout()), now);
        assert!(machine.asks_names());
    }

    fn any_error() -> impl Strategy<Value = LayerError> {
        let layers = prop::sample::select(Layer::ALL.to_vec());
        let retries = prop::sample::select(vec![
            Retry::Soon,
            Retry::Backoff,
            Retry::Later,
            Retry::Attention,
            Retry::Never,
        ]);
        (layers, retries).prop_map(|(layer, retry)| error(layer, retry))
    }

    #[derive(Debug, Clone)]
    enum Step {
        Kick,
        Pause,
        /// By how much the number is off; zero is the current attempt.
        Opened(u64),
        Refused(u64, LayerError),
        Lost(u64, bool, LayerError),
        Replaced(u64),
        Elsewhere,
        Renamed,
        NewFiles,
        Due,
        Asking,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let off = || prop_oneof![3 => Just(0_u64), 1 => 1_u64..4];
        prop_oneof![
            Just(Step::Kick),
            Just(Step::Pause),
            off().prop_map(Step::Opened),
            (off(), any_error()).prop_map(|(off, why)| Step::Refused(off, why)),
            (off(), any::<bool>(), any_error())
                .prop_map(|(off, served, why)| Step::Lost(off, served, why)),
            off().prop_map(Step::Replaced),
            Just(Step::Elsewhere),
            Just(Step::Renamed),
            Just(Step::NewFiles),
            Just(Step::Due),
            Just(Step::Asking),
        ]
    }

    fn take(machine: &mut Machine, step: Step, now: Instant) {
        let id = |off| machine.last_id.saturating_sub(off);
        let event = match step {
            Step::Kick => Event::Kick,
            Step::Pause => Event::Pause,
            Step::Opened(off) => Event::Opened(id(off)),
            Step::Refused(off, why) => Event::Refused(id(off), why),
            Step::Lost(off, served, why) => Event::Lost {
                id: id(off),
                served,
                why,
            },
            Step::Replaced(off) => {
                let id = id(off);
                Event::Replaced(id, machine.next_id())
            }
            Step::Elsewhere => Event::Elsewhere,
            Step::Renamed => Event::Renamed,
            Step::NewFiles => Event::NewFiles,
            Step::Due => Event::Due,
            Step::Asking => Event::Asking,
        };
        machine.on(event, now);
    }

    proptest! {
        #[test]
        fn every_state_ends_by_itself_or_waits_for_a_person_and_a_healthy_peer_brings_it_up(
            attended in any::<bool>(),
            steps in prop::collection::vec((any_step(), 0_u64..100_000), 0..80),
        ) {
            let mut now = Instant::now();
            let mut machine = Machine::new(Pace::new(attended, false), 1, now);
            for (step, ms) in steps {
                let before = id_of(&machine);
                take(&mut machine, step, now);
                // An attempt's number is never used again.
                prop_assert!(id_of(&machine) >= before || id_of(&machine).is_none());
                match machine.until() {
                    Some(until) => prop_assert!(until >= now),
                    None => prop_assert!(needs_a_person(&machine)),
                }
                now += Duration::from_millis(ms);
                // As the owner does: nothing outlives its moment.
                if machine.until().is_some_and(|until| until <= now) {
                    machine.on(Event::Due, now);
                }
            }
            // The peer is healthy from here on; where a person is needed, one acts.
            let healthy = now;
            if needs_a_person(&machine) {
                machine.on(Event::Kick, now);
            }
            for _ in 0..4 {
                match machine.state().clone() {
                    State::Up { .. } => break,
                    State::Connecting { id, .. } => {
                        now += Duration::from_secs(1);
                        machine.on(Event::Opened(id), now);
                    }
                    _ => {
                        now = machine.until().unwrap_or(now);
                        machine.on(Event::Due, now);
                    }
                }
            }
            prop_assert!(matches!(machine.state(), State::Up { .. }), "{:?}", machine.state());
            // Nobody waits longer than the longest pause after refused sign-ins.
            prop_assert!(now - healthy <= Duration::from_secs(15 * 60 + 1));
        }

        #[test]
        fn trouble_of_the_network_alone_never_waits_longer_than_half_a_minute(
            retries in prop::collection::vec(any::<bool>(), 1..60),
        ) {
            let mut now = Instant::now();
            let mut machine = Machine::new(Pace::new(false, false), 1, now);
            for soon in retries {
                let retry = if soon { Retry::Soon } else { Retry::Backoff };
                let id = machine.last_id;
                machine.on(Event::Refused(id, error(Layer::Tcp, retry)), now);
                let until = machine.until();
                prop_assert!(until.is_some_and(|until| until - now <= Duration::from_secs(30)));
                now = until.unwrap_or(now);
                machine.on(Event::Due, now);
            }
        }
    }
}
