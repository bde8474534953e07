//! Whatever happens to the link, the transcript ends as the gateway's: everything once, in order.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{SESSION, START_MS, World};
use crate::app::effect::Effect;
use crate::app::msg::{Done, Failure, Msg};

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    /// The person says something here.
    Say,
    /// Somebody says something elsewhere.
    Elsewhere,
    /// An answer grows.
    Grow,
    /// An answer ends.
    Finish,
    /// An event is lost on the way, and noticed.
    Lose,
    /// The link goes.
    Down,
    /// The link comes back.
    Up,
    /// One answer of the gateway arrives.
    Arrive,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Say),
        1 => Just(Step::Elsewhere),
        4 => Just(Step::Grow),
        3 => Just(Step::Finish),
        1 => Just(Step::Lose),
        2 => Just(Step::Down),
        2 => Just(Step::Up),
        5 => Just(Step::Arrive),
    ]
}

/// A gateway, as far as a chat needs one.
struct Gateway {
    /// Messages carry ids, keys and runs (version 4).
    named: bool,
    transcript: Vec<Value>,
    running: VecDeque<(String, usize)>,
    count: usize,
}

impl Gateway {
    fn add(&mut self, role: &str, text: &str, run: &str) -> Value {
        let seq = self.transcript.len() + 1;
        let at = START_MS + i64::try_from(seq).expect("small");
        let mut message = json!({"role": role, "content": text, "timestamp": at});
        if self.named {
            message["__openclaw"] = json!({"id": format!("m{seq}"), "seq": seq});
            if role == "user" {
                message["idempotencyKey"] = json!(format!("{run}:user"));
            } else {
                message["__openclaw"]["runId"] = json!(run);
            }
        }
        self.transcript.push(message.clone());
        message
    }

    fn text(&self, run: &str, words: usize) -> String {
        let words: Vec<String> = (0..=words).map(|i| format!("{run}-{i}")).collect();
        words.join(" ")
    }
}

struct Play {
    world: World,
    gateway: Gateway,
    is_up: bool,
    /// Calls that the gateway has not answered yet.
    calls: VecDeque<Effect>,
}

impl Play {
    fn new(named: bool) -> Self {
        let mut play = Self {
            world: World::offline(),
            gateway: Gateway {
                named,
                transcript: Vec::new(),
                running: VecDeque::new(),
                count: 0,
            },
            is_up: false,
            calls: VecDeque::new(),
        };
        play.step(&Step::Up);
        play
    }

    /// Effects become calls; the disk answers at once.
    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Store(message) => {
                    let effects = self.world.done(Done::Stored(message, Ok(())));
                    self.take(effects);
                }
                Effect::ReadHistory { .. } | Effect::Send(_) | Effect::AskRun { .. } => {
                    self.calls.push_back(effect)
                }
                Effect::Wake { .. } => {
                    let effects = self.world.done(Done::Awake);
                    self.take(effects);
                }
                _ => {}
            }
        }
    }

    fn push(&mut self, name: &str, payload: Value) {
        if self.is_up {
            let effects = self.world.event(name, payload);
            self.take(effects);
        }
    }

    fn chat(&mut self, run: &str, seq: usize, state: &str, text: &str) {
        let message = json!({"role": "assistant", "content": [{"type": "text", "text": text}]});
        self.push("chat", json!({"runId": run, "sessionKey": SESSION, "seq": seq + 1, "state": state, "message": message}));
    }

    fn accept(&mut self, text: &str, run: &str) {
        // The same key never runs twice.
        let known = self.gateway.running.iter().any(|(known, _)| known == run)
            || self
                .gateway
                .transcript
                .iter()
                .any(|message| message["content"] == json!(text));
        if known {
            return;
        }
        let message = self.gateway.add("user", text, run);
        self.gateway.running.push_back((run.to_owned(), 0));
        if self.gateway.named {
            self.push(
                "session.message",
                json!({"sessionKey": SESSION, "message": message}),
            );
        }
    }

    fn step(&mut self, step: &Step) {
        self.world.pass(Duration::from_millis(200));
        match step {
            Step::Say => {
                self.gateway.count += 1;
                let text = format!("said {}", self.gateway.count);
                self.world.type_text(&text);
                let effects = self.world.enter();
                self.take(effects);
            }
            Step::Elsewhere => {
                self.gateway.count += 1;
                let text = format!("elsewhere {}", self.gateway.count);
                let run = format!("other-{}", self.gateway.count);
                self.accept(&text, &run);
            }
            Step::Grow | Step::Lose => {
                let Some((run, words)) = self.gateway.running.front_mut() else {
                    return;
                };
                *words += 1;
                let (run, words) = (run.clone(), *words);
                if matches!(step, Step::Lose) {
                    if self.is_up {
                        let effects = self.world.send(Msg::Gap);
                        self.take(effects);
                    }
                    return;
                }
                let text = self.gateway.text(&run, words);
                self.chat(&run, words, "delta", &text);
            }
            Step::Finish => {
                let Some((run, words)) = self.gateway.running.pop_front() else {
                    return;
                };
                let text = self.gateway.text(&run, words);
                self.gateway.add("assistant", &text, &run);
                self.chat(&run, words, "final", &text);
            }
            Step::Down if self.is_up => {
                self.is_up = false;
                let lost = std::mem::take(&mut self.calls);
                self.world.disconnect();
                for (number, call) in lost.into_iter().enumerate() {
                    self.lose(call, number % 2 == 0);
                }
            }
            Step::Up if !self.is_up => {
                self.is_up = true;
                self.world.link_up();
                let effects = self.world.connect(self.gateway.named);
                self.take(effects);
            }
            Step::Down | Step::Up => {}
            Step::Arrive => {
                if let Some(call) = self.calls.pop_front() {
                    self.answer(call);
                }
            }
        }
    }

    /// A call whose answer never comes; the gateway may have done it all the same.
    fn lose(&mut self, call: Effect, was_done: bool) {
        let lost = || Failure::Unknown("the connection was lost".into());
        let effects = match call {
            Effect::Send(message) => {
                if was_done {
                    self.accept(&message.text, &message.key);
                }
                self.world.done(Done::Sent {
                    key: message.key,
                    result: Err(lost()),
                })
            }
            Effect::ReadHistory {
                session, reading, ..
            } => self.world.done(Done::History {
                session,
                reading,
                result: Err(lost()),
            }),
            Effect::AskRun { run } => self.world.done(Done::RunStatus {
                run,
                result: Err(lost()),
            }),
            _ => vec![],
        };
        self.take(effects);
    }

    fn answer(&mut self, call: Effect) {
        let effects = match call {
            Effect::Send(message) => {
                self.accept(&message.text, &message.key);
                self.world.sent(&message.key)
            }
            Effect::ReadHistory { reading, .. } => {
                let page = Value::Array(self.gateway.transcript.clone());
                self.world.page(reading, page)
            }
            Effect::AskRun { run } => {
                let runs = self.gateway.running.iter().any(|(known, _)| *known == run);
                let status = if runs { "timeout" } else { "ok" };
                self.world.done(Done::RunStatus {
                    run,
                    result: Ok((status.into(), None)),
                })
            }
            _ => vec![],
        };
        self.take(effects);
    }

    /// Everything comes to its end with the link up.
    fn rest(&mut self) {
        self.step(&Step::Up);
        for _ in 0..400 {
            self.step(&Step::Arrive);
            self.step(&Step::Finish);
        }
    }

    fn expected(&self) -> Vec<String> {
        let line = |message: &Value| {
            let who = if message["role"] == "user" {
                "you"
            } else {
                "agent"
            };
            format!("{who}: {}", message["content"].as_str().unwrap_or_default())
        };
        self.gateway.transcript.iter().map(line).collect()
    }
}

fn check(named: bool, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut play = Play::new(named);
    for step in steps {
        play.step(step);
    }
    play.rest();
    let shown: Vec<String> = play
        .world
        .shown()
        .into_iter()
        .filter(|line| !line.starts_with("- "))
        .collect();
    prop_assert_eq!(shown, play.expected());
    prop_assert_eq!(play.world.model.outbox.waiting(), 0);
    prop_assert!(play.world.model.chat.runs.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn with_named_messages(steps in proptest::collection::vec(step(), 0..60)) {
        check(true, &steps)?;
    }

    #[test]
    fn with_messages_that_have_no_names(steps in proptest::collection::vec(step(), 0..60)) {
        check(false, &steps)?;
    }
}
