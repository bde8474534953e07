//! One run as a pure state machine: what came in, when, and what is to be done about it.
//!
//! It owns no task, no socket and no clock. The driver feeds it and carries out what it answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::event::RunErrorKind;
use super::model::RunState;
use super::provider::{ModelEvent, ProviderError};
use crate::sessions::Usage;

/// Text pieces are joined to about one event in this time.
const DELTA_PACE: Duration = Duration::from_millis(75);
/// The answer so far is stored about this often.
const SAVE_PACE: Duration = Duration::from_secs(1);
/// No run lasts longer, whatever its caller asked for.
const LONGEST_RUN: Duration = Duration::from_secs(24 * 3600);
/// The longest answer that is kept, in bytes.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// How long the model may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// Until the first piece; a local model may have to be loaded first.
    pub(super) first_piece: Duration,
    /// Between two pieces.
    pub(super) idle: Duration,
    /// For the whole run.
    pub(super) whole: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            first_piece: Duration::from_secs(300),
            idle: Duration::from_secs(120),
            whole: Duration::from_secs(3600),
        }
    }
}

/// What can happen to a run that was given to the model.
#[derive(Debug)]
pub(super) enum Input {
    Model(ModelEvent),
    /// The provider's stream ended.
    Ended(Result<(), ProviderError>),
    /// Somebody asked to stop it.
    Abort,
    /// The gateway stops.
    Shutdown,
    /// The time of [`Machine::wake_at`] has come.
    Wake,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    Delta {
        seq: u64,
        text: Arc<str>,
        delta: String,
    },
    Thinking {
        seq: u64,
        text: Arc<str>,
        delta: String,
    },
    /// Keep the answer so far.
    Save(Arc<str>),
    End(Ending),
}

/// The last word about the run; nothing comes after it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ending {
    /// The number of the last event.
    pub(super) seq: u64,
    pub(super) state: RunState,
    pub(super) text: String,
    pub(super) thinking: String,
    pub(super) usage: Option<Usage>,
    pub(super) stop_reason: String,
    pub(super) error: Option<(RunErrorKind, String)>,
}

/// Text that grows, and how much of it was told already.
#[derive(Debug, Default)]
struct Growing {
    text: String,
    told: usize,
}

impl Growing {
    fn take_new(&mut self) -> Option<(Arc<str>, String)> {
        if self.told == self.text.len() {
            return None;
        }
        let delta = self.text[self.told..].to_owned();
        self.told = self.text.len();
        Some((Arc::from(self.text.as_str()), delta))
    }
}

/// The run between "given" and its end.
#[derive(Debug)]
pub(super) struct Machine {
    deadlines: Deadlines,
    answer: Growing,
    thinking: Growing,
    saved: usize,
    usage: Option<Usage>,
    stop_reason: Option<String>,
    seq: u64,
    started: Instant,
    last_piece: Option<Instant>,
    last_delta: Option<Instant>,
    last_save: Instant,
    ended: bool,
}

impl Machine {
    /// A run that was just given to the model; its first event (`seq` 1) says so.
    ///
    /// The deadline of the whole run is cut to a day: a caller can ask for more than a clock holds.
    pub(super) fn new(now: Instant, deadlines: Deadlines) -> Self {
        Self {
            deadlines: Deadlines {
                whole: deadlines.whole.min(LONGEST_RUN),
                ..deadlines
            },
            answer: Growing::default(),
            thinking: Growing::default(),
            saved: 0,
            usage: None,
            stop_reason: None,
            seq: 1,
            started: now,
            last_piece: None,
            last_delta: None,
            last_save: now,
            ended: false,
        }
    }

    /// Takes one input and says what to do, in order. After an ending it says nothing.
    pub(super) fn on(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        if self.ended {
            return Vec::new();
        }
        match input {
            Input::Model(event) => self.on_model(event, now),
            Input::Ended(Ok(())) => self.end(RunState::Done, "stop", None),
            Input::Ended(Err(error)) => {
                let error = (error.kind, error.text);
                self.end(RunState::Error, "error", Some(error))
            }
            Input::Abort => self.end(RunState::Aborted, "rpc", None),
            Input::Shutdown => self.end(RunState::Interrupted, "interrupted", None),
            Input::Wake => self.on_wake(now),
        }
    }

    /// When to come back with [`Input::Wake`].
    pub(super) fn wake_at(&self) -> Instant {
        let mut at = self.silent_until().min(self.started + self.deadlines.whole);
        if self.has_news() {
            at = at.min(self.delta_due());
        }
        if self.answer.text.len() > self.saved {
            at = at.min(self.last_save + SAVE_PACE);
        }
        at
    }

    fn on_model(&mut self, event: ModelEvent, now: Instant) -> Vec<Effect> {
        self.last_piece = Some(now);
        match event {
            ModelEvent::Text(piece) => self.answer.text.push_str(&piece),
            ModelEvent::Thinking(piece) => self.thinking.text.push_str(&piece),
            ModelEvent::Usage(usage) => self.usage = Some(usage),
            ModelEvent::Stop(reason) => self.stop_reason = Some(reason),
        }
        if self.answer.text.len() + self.thinking.text.len() > MAX_ANSWER_BYTES {
            self.stop_reason = Some("length".to_owned());
            return self.end(RunState::Done, "length", None);
        }
        // A model that never pauses must not outrun the deadline of the whole run.
        self.on_wake(now)
    }

    fn on_wake(&mut self, now: Instant) -> Vec<Effect> {
        let late = |what: &str, limit: Duration| {
            let text = format!("{what} within {} s", limit.as_secs_f64());
            Some((RunErrorKind::Timeout, text))
        };
        if now >= self.started + self.deadlines.whole {
            let error = late("the answer was not complete", self.deadlines.whole);
            return self.end(RunState::Error, "timeout", error);
        }
        if now >= self.silent_until() {
            let error = match self.last_piece {
                None => late("the model sent nothing", self.deadlines.first_piece),
                Some(_) => late("the model fell silent: nothing more", self.deadlines.idle),
            };
            return self.end(RunState::Error, "timeout", error);
        }
        self.due(now)
    }

    /// Deltas and saves whose time has come.
    fn due(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.has_news() && now >= self.delta_due() {
            self.tell(&mut effects);
            self.last_delta = Some(now);
        }
        if self.answer.text.len() > self.saved && now >= self.last_save + SAVE_PACE {
            self.saved = self.answer.text.len();
            self.last_save = now;
            effects.push(Effect::Save(Arc::from(self.answer.text.as_str())));
        }
        effects
    }

    fn tell(&mut self, effects: &mut Vec<Effect>) {
        if let Some((text, delta)) = self.thinking.take_new() {
            self.seq += 1;
            let seq = self.seq;
            effects.push(Effect::Thinking { seq, text, delta });
        }
        if let Some((text, delta)) = self.answer.take_new() {
            self.seq += 1;
            let seq = self.seq;
            effects.push(Effect::Delta { seq, text, delta });
        }
    }

    fn end(
        &mut self,
        state: RunState,
        stop_reason: &str,
        error: Option<(RunErrorKind, String)>,
    ) -> Vec<Effect> {
        self.ended = true;
        let mut effects = Vec::new();
        self.tell(&mut effects);
        self.seq += 1;
        let told = self.stop_reason.take().filter(|_| state == RunState::Done);
        effects.push(Effect::End(Ending {
            seq: self.seq,
            state,
            text: std::mem::take(&mut self.answer.text),
            thinking: std::mem::take(&mut self.thinking.text),
            usage: self.usage,
            stop_reason: told.unwrap_or_else(|| stop_reason.to_owned()),
            error,
        }));
        effects
    }

    fn has_news(&self) -> bool {
        self.answer.told < self.answer.text.len() || self.thinking.told < self.thinking.text.len()
    }

    fn delta_due(&self) -> Instant {
        self.last_delta.map_or(self.started, |at| at + DELTA_PACE)
    }

    fn silent_until(&self) -> Instant {
        match self.last_piece {
            None => self.started + self.deadlines.first_piece,
            Some(at) => at + self.deadlines.idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(piece: &str) -> Input {
        Input::Model(ModelEvent::Text(piece.to_owned()))
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn ending(effects: &[Effect]) -> &Ending {
        match effects.last() {
            Some(Effect::End(ending)) => ending,
            other => panic!("no ending but {other:?}"),
        }
    }

    #[test]
    fn pieces_are_joined_and_flushed_before_the_end() {
        let start = Instant::now();
        let mut machine = Machine::new(start, Deadlines::default());
        assert_eq!(
            machine.on(text("a"), start),
            [Effect::Delta {
                seq: 2,
                text: "a".into(),
                delta: "a".to_owned()
            }]
        );
        assert_eq!(machine.on(text("b"), start + ms(10)), []);
        assert_eq!(machine.on(text("c"), start + ms(20)), []);
        assert_eq!(machine.wake_at(), start + DELTA_PACE);
        assert_eq!(
            machine.on(Input::Wake, start + DELTA_PACE),
            [Effect::Delta {
                seq: 3,
                text: "abc".into(),
                delta: "bc".to_owned()
            }]
        );
        machine.on(text("d"), start + ms(80));
        let effects = machine.on(Input::Ended(Ok(())), start + ms(81));
        assert_eq!(
            effects[0],
            Effect::Delta {
                seq: 4,
                text: "abcd".into(),
                delta: "d".to_owned()
            }
        );
        let ending = ending(&effects);
        assert_eq!((ending.seq, ending.state), (5, RunState::Done));
        assert_eq!((&*ending.text, &*ending.stop_reason), ("abcd", "stop"));
        assert_eq!(machine.on(Input::Abort, start + ms(82)), []);
    }

    #[test]
    fn the_answer_so_far_is_saved_about_once_a_second() {
        let start = Instant::now();
        let mut machine = Machine::new(start, Deadlines::default());
        let mut saves = 0;
        for at in 0..=30 {
            let effects = machine.on(text("x"), start + ms(at * 100));
            saves += effects
                .iter()
                .filter(|effect| matches!(effect, Effect::Save(_)))
                .count();
        }
        assert_eq!(saves, 3);
    }

    #[test]
    fn an_abort_keeps_what_had_arrived() {
        let start = Instant::now();
        let mut machine = Machine::new(start, Deadlines::default());
        machine.on(text("half an"), start);
        let effects = machine.on(Input::Abort, start);
        let ending = ending(&effects);
        assert_eq!(ending.state, RunState::Aborted);
        assert_eq!((&*ending.text, &*ending.stop_reason), ("half an", "rpc"));
    }

    #[test]
    fn silence_and_slowness_end_in_an_error() {
        let start = Instant::now();
        let limits = Deadlines {
            first_piece: ms(1000),
            idle: ms(500),
            whole: ms(2000),
        };
        let mut machine = Machine::new(start, limits);
        assert_eq!(machine.wake_at(), start + ms(1000));
        let effects = machine.on(Input::Wake, start + ms(1000));
        let (kind, why) = ending(&effects).error.clone().unwrap();
        assert_eq!(kind, RunErrorKind::Timeout);
        assert_eq!(why, "the model sent nothing within 1 s");

        let mut machine = Machine::new(start, limits);
        machine.on(text("x"), start + ms(900));
        let effects = machine.on(Input::Wake, start + ms(1400));
        assert_eq!(
            ending(&effects).error.clone().unwrap().1,
            "the model fell silent: nothing more within 0.5 s"
        );

        let mut machine = Machine::new(start, limits);
        for at in (0..2000).step_by(400) {
            machine.on(text("x"), start + ms(at));
        }
        let effects = machine.on(Input::Wake, start + ms(2000));
        assert_eq!(ending(&effects).state, RunState::Error);
        assert_eq!(ending(&effects).text, "xxxxx");
    }

    #[test]
    fn no_run_is_given_more_than_a_day() {
        let start = Instant::now();
        let limits = Deadlines {
            whole: Duration::MAX,
            ..Deadlines::default()
        };
        let mut machine = Machine::new(start, limits);
        machine.on(text("x"), start);
        let effects = machine.on(text("y"), start + LONGEST_RUN);
        assert_eq!(
            ending(&effects).error.clone().unwrap().0,
            RunErrorKind::Timeout
        );
    }

    #[test]
    fn an_endless_answer_is_cut() {
        let start = Instant::now();
        let mut machine = Machine::new(start, Deadlines::default());
        let piece = "x".repeat(MAX_ANSWER_BYTES + 1);
        let effects = machine.on(text(&piece), start);
        assert_eq!(ending(&effects).stop_reason, "length");
    }
}
