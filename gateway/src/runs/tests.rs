//! The service over a real store and a provider whose every word the test decides.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, broadcast, mpsc};

use super::*;
use crate::events::{BroadcastSink, DomainEvent, EventSink};
use crate::sessions::{
    AgentId, ChangeReason, Message, Role, SessionEvent, SessionKey, Sessions, Span, Usage,
};
use crate::store::{RunStore, Store};

mod flaky;
mod killed;
mod reset;
mod unstored;

const DEADLINE: Duration = Duration::from_secs(30);

/// What a test tells its model to do next.
enum Word {
    Say(&'static str),
    End,
    Fail(&'static str),
}

/// A model that says what the test sends it, and tells which requests it got.
struct Puppet {
    words: Mutex<mpsc::Receiver<Word>>,
    asked: mpsc::Sender<ModelRequest>,
}

#[async_trait]
impl Provider for Puppet {
    async fn stream(
        &self,
        request: ModelRequest,
        tx: mpsc::Sender<ModelEvent>,
    ) -> Result<(), ProviderError> {
        self.asked.send(request).await.unwrap();
        let mut words = self.words.lock().await;
        loop {
            match words.recv().await {
                Some(Word::Say(text)) => {
                    let _ = tx.send(ModelEvent::Text(text.to_owned())).await;
                }
                Some(Word::Fail(why)) => return Err(ProviderError::other(why)),
                Some(Word::End) | None => {
                    let usage = Usage {
                        input: 2,
                        output: 3,
                        total: 5,
                        ..Usage::default()
                    };
                    let _ = tx.send(ModelEvent::Usage(usage)).await;
                    return Ok(());
                }
            }
        }
    }
}

struct World {
    runs: Runs,
    sessions: Sessions,
    store: Store,
    events: broadcast::Receiver<DomainEvent>,
    words: mpsc::Sender<Word>,
    asked: mpsc::Receiver<ModelRequest>,
}

async fn world(home: &Path) -> World {
    let store = Store::open(&home.join("gateway.db")).await.unwrap();
    let runs = store.runs();
    world_over(store, runs).await
}

async fn world_over(store: Store, runs: Arc<dyn RunStore>) -> World {
    let (words, word_rx) = mpsc::channel(64);
    let (asked_tx, asked) = mpsc::channel(64);
    let puppet = Puppet {
        words: Mutex::new(word_rx),
        asked: asked_tx,
    };
    let sink = Arc::new(BroadcastSink::new(1024));
    let events = sink.subscribe();
    let models = Arc::new(Models::for_test(Arc::new(puppet)));
    World {
        runs: Runs::over(runs, &store, models, sink.clone())
            .await
            .unwrap(),
        sessions: Sessions::new(&store, sink, AgentId::main()),
        store,
        events,
        words,
        asked,
    }
}

fn id(text: &str) -> RunId {
    RunId::parse(text).unwrap()
}

impl World {
    fn key(&self, name: &str) -> SessionKey {
        self.sessions.resolve(name).unwrap()
    }

    fn message(&self, session: &str, run: &str, text: &str) -> Submit {
        Submit {
            idempotency_key: id(run),
            session_key: self.key(session),
            message: text.to_owned(),
            kind: RunKind::Chat,
            params_canonical_json: format!("{{\"message\":{text:?},\"session\":{session:?}}}"),
            options: RunOptions::default(),
        }
    }

    async fn send(&self, session: &str, run: &str, text: &str) -> SubmitStatus {
        let submit = self.message(session, run, text);
        self.runs.submit(submit).await.unwrap().status
    }

    async fn say(&self, word: Word) {
        self.words.send(word).await.unwrap();
    }

    async fn asked(&mut self) -> Vec<String> {
        let asked = tokio::time::timeout(DEADLINE, self.asked.recv()).await;
        let request = asked.expect("the model is asked").unwrap();
        request.messages.into_iter().map(|m| m.text).collect()
    }

    async fn step(&mut self) -> RunEvent {
        loop {
            let event = tokio::time::timeout(DEADLINE, self.events.recv()).await;
            if let DomainEvent::Run(event) = event.expect("an event").unwrap() {
                return event;
            }
        }
    }

    async fn outcome(&self, run: &str) -> RunOutcome {
        let ended = self.runs.wait(&id(run), DEADLINE).await.unwrap();
        ended.expect("the run ends")
    }

    async fn transcript(&self, session: &str) -> Vec<Message> {
        let key = self.key(session);
        let history = self.sessions.history(&key, Span::Last, 100).await.unwrap();
        history.messages
    }
}

fn texts(messages: &[Message]) -> Vec<(Role, String)> {
    messages.iter().map(|m| (m.role, m.text())).collect()
}

fn user(text: &str) -> (Role, String) {
    (Role::User, text.to_owned())
}

fn model(text: &str) -> (Role, String) {
    (Role::Assistant, text.to_owned())
}

#[tokio::test]
async fn a_run_streams_and_tells_each_step_once() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    assert_eq!(world.send("main", "r1", "hi").await, SubmitStatus::Started);
    let started = world.step().await;
    assert_eq!(started.seq, 1);
    assert!(matches!(&started.step, RunStep::Started { model, .. } if model == "model"));
    world.say(Word::Say("hel")).await;
    let delta = world.step().await;
    assert!(
        matches!(&delta.step, RunStep::Delta { text, delta } if &**text == "hel" && delta == "hel")
    );
    let active = world.runs.active(&world.key("main"));
    assert_eq!((active.len(), active[0].text.as_str()), (1, "hel"));
    world.say(Word::Say("lo")).await;
    world.say(Word::End).await;
    let delta = world.step().await;
    assert!(
        matches!(&delta.step, RunStep::Delta { text, delta } if &**text == "hello" && delta == "lo")
    );
    let last = world.step().await;
    assert_eq!(last.seq, 4);
    let RunStep::Final { message, usage, .. } = last.step else {
        panic!("not final: {:?}", last.step);
    };
    assert_eq!((message.text(), message.seq), ("hello".to_owned(), 2));
    assert_eq!(usage.unwrap().total, 5);
    let key = world.key("main");
    let session = world.sessions.describe(&key).await.unwrap().unwrap();
    assert_eq!((session.tokens.input, session.tokens.total), (2, 5));
    assert_eq!(session.last_run.unwrap().state, "done");
    assert!(world.runs.active(&key).is_empty());
}

#[tokio::test]
async fn session_events_surround_the_run() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    world.say(Word::Say("x")).await;
    world.say(Word::End).await;
    world.send("main", "r1", "hi").await;
    let mut seen = Vec::new();
    loop {
        let event = tokio::time::timeout(DEADLINE, world.events.recv()).await;
        match event.unwrap().unwrap() {
            DomainEvent::Session(SessionEvent::Changed { reason, .. }) => {
                seen.push(reason.as_str())
            }
            DomainEvent::Session(SessionEvent::Message { message, .. }) => {
                seen.push(message.role.as_str());
            }
            DomainEvent::Run(event) => match event.step {
                RunStep::Started { .. } => seen.push("started"),
                RunStep::Final { .. } => break,
                _ => {}
            },
        }
    }
    assert_eq!(
        seen,
        [
            "create",
            "user",
            "send",
            ChangeReason::RunStarted.as_str(),
            "started",
            "assistant",
            "end"
        ]
    );
}

#[tokio::test]
async fn the_same_key_answers_from_the_stored_run_and_another_body_is_a_conflict() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    assert_eq!(world.send("main", "r1", "hi").await, SubmitStatus::Started);
    assert_eq!(world.send("main", "r1", "hi").await, SubmitStatus::InFlight);
    for changed in [
        world.message("main", "r1", "other"),
        world.message("elsewhere", "r1", "hi"),
        Submit {
            kind: RunKind::Agent,
            ..world.message("main", "r1", "hi")
        },
    ] {
        let error = world.runs.submit(changed).await.unwrap_err();
        assert!(matches!(error, RunError::Conflict { .. }), "{error}");
    }
    world.asked().await;
    world.say(Word::Say("yes")).await;
    world.say(Word::End).await;
    assert_eq!(world.outcome("r1").await.text, "yes");
    let SubmitStatus::Ok(outcome) = world.send("main", "r1", "hi").await else {
        panic!("the run is done");
    };
    assert_eq!((outcome.state, &*outcome.text), (RunState::Done, "yes"));

    world.send("main", "r2", "again").await;
    world.asked().await;
    world.say(Word::Fail("model exploded")).await;
    let SubmitStatus::Error(outcome) = ({
        world.outcome("r2").await;
        world.send("main", "r2", "again").await
    }) else {
        panic!("the run failed");
    };
    assert_eq!(outcome.error.as_deref(), Some("test/model: model exploded"));
    let transcript = world.transcript("main").await;
    assert_eq!(
        texts(&transcript),
        [user("hi"), model("yes"), user("again"), model("")]
    );
    assert_eq!(
        transcript[3].error.as_deref(),
        Some("test/model: model exploded")
    );
}

#[tokio::test]
async fn one_key_sent_from_many_sides_at_once_runs_once() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    let all = (0..16).map(|_| world.runs.submit(world.message("main", "r1", "hi")));
    let answers = futures_util::future::join_all(all).await;
    let started = answers
        .iter()
        .filter(|answer| answer.as_ref().unwrap().status == SubmitStatus::Started)
        .count();
    assert_eq!(started, 1);
    assert_eq!(texts(&world.transcript("main").await), [user("hi")]);
}

#[tokio::test]
async fn what_cannot_run_is_refused_before_anything_is_stored() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    let error = world.runs.submit(world.message("main", "r1", " \n")).await;
    assert!(matches!(error, Err(RunError::EmptyMessage)));
    let error = world
        .runs
        .submit(world.message("agent:nope:x", "r1", "hi"))
        .await;
    assert!(matches!(error, Err(RunError::UnknownAgent { id }) if id == "nope"));
    assert!(world.runs.get(&id("r1")).await.unwrap().is_none());
    assert_eq!(world.sessions.count(None).await.unwrap(), 0);
}

#[tokio::test]
async fn a_session_answers_in_order_while_others_run_beside_it() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    for (run, text) in [("r1", "one"), ("r2", "two"), ("r3", "three")] {
        world.send("main", run, text).await;
    }
    assert_eq!(world.asked().await, ["one"]);
    let key = world.key("main");
    let queued: Vec<bool> = world.runs.active(&key).iter().map(|r| r.queued).collect();
    assert_eq!(queued, [false, true, true]);
    world.send("side", "s1", "beside").await;
    assert_eq!(world.asked().await, ["beside"]);
    assert_eq!(world.runs.counts(), (2, 2));

    // The puppet serves one request at a time: the first one has the word.
    world.say(Word::Say("1")).await;
    world.say(Word::End).await;
    assert_eq!(world.outcome("r1").await.text, "1");
    // Each question is seen with the answers of those before it, and not with those after it.
    assert_eq!(world.asked().await, ["one", "1", "two"]);
    world.say(Word::End).await;
    world.outcome("s1").await;
    world.say(Word::Say("2")).await;
    world.say(Word::End).await;
    assert_eq!(world.outcome("r2").await.text, "2");
    assert_eq!(world.asked().await, ["one", "1", "two", "2", "three"]);
}

#[tokio::test]
async fn an_abort_keeps_the_partial_text_and_spares_other_sessions() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    world.send("main", "r1", "hi").await;
    world.asked().await;
    world.say(Word::Say("half an ans")).await;
    loop {
        if let RunStep::Delta { .. } = world.step().await.step {
            break;
        }
    }
    world.send("main", "r2", "waits").await;
    world.send("side", "s1", "side").await;
    let key = world.key("main");
    let mut aborted = world.runs.abort(&key, None).await.unwrap();
    aborted.sort();
    assert_eq!(aborted, [id("r1"), id("r2")]);
    assert_eq!(world.runs.active(&world.key("side")).len(), 1);
    let transcript = world.transcript("main").await;
    assert_eq!(
        texts(&transcript),
        [user("hi"), user("waits"), model("half an ans")]
    );
    assert!(transcript[2].aborted && !transcript[2].interrupted);
    let SubmitStatus::Ok(outcome) = world.send("main", "r1", "hi").await else {
        panic!("an aborted run has ended");
    };
    assert_eq!(outcome.state, RunState::Aborted);
    assert_eq!(outcome.stop_reason.as_deref(), Some("rpc"));
    let nothing = world.runs.abort(&key, None).await.unwrap();
    assert!(nothing.is_empty());
    let unknown = world.runs.abort(&world.key("side"), Some(&id("r1"))).await;
    assert!(unknown.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_to_a_conversation_that_was_reset_stays_with_the_old_one() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    world.send("main", "r1", "hi").await;
    world.asked().await;
    let key = world.key("main");
    let old = world.sessions.describe(&key).await.unwrap().unwrap();
    let reset = world.store.sessions();
    reset.reset(&key, Vec::new(), 1).await.unwrap();
    world.say(Word::Say("late")).await;
    world.say(Word::End).await;
    assert_eq!(world.outcome("r1").await.state, RunState::Done);
    assert!(world.transcript("main").await.is_empty());
    let (kept, _) = world
        .store
        .sessions()
        .messages(&old.session_id, Span::Last, 10)
        .await
        .unwrap();
    assert_eq!(texts(&kept), [user("hi"), model("late")]);
}

#[tokio::test]
async fn waiting_has_an_end_also_for_a_run_that_is_not_there() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    let soon = Duration::from_millis(10);
    assert_eq!(world.runs.wait(&id("nope"), soon).await.unwrap(), None);
    world.send("main", "r1", "hi").await;
    assert_eq!(world.runs.wait(&id("r1"), soon).await.unwrap(), None);
}

#[tokio::test]
async fn a_stop_interrupts_what_runs_and_keeps_what_waits() {
    let home = tempfile::tempdir().unwrap();
    let mut first = world(home.path()).await;
    first.send("main", "r1", "one").await;
    first.send("main", "r2", "two").await;
    first.asked().await;
    first.say(Word::Say("half")).await;
    loop {
        if let RunStep::Delta { .. } = first.step().await.step {
            break;
        }
    }
    first.runs.stop(Duration::from_millis(1)).await;
    let refused = first
        .runs
        .submit(first.message("main", "r3", "three"))
        .await;
    assert!(matches!(refused, Err(RunError::Stopping)));
    first.store.close().await;

    let mut second = world(home.path()).await;
    assert!(second.store.was_stopped_cleanly());
    assert_eq!(second.outcome("r1").await.state, RunState::Interrupted);
    assert_eq!(second.asked().await, ["one", "half", "two"]);
    second.say(Word::End).await;
    assert_eq!(second.outcome("r2").await.state, RunState::Done);
    let transcript = second.transcript("main").await;
    assert!(transcript[2].interrupted);
    assert_eq!(transcript[2].text(), "half");
}

#[tokio::test]
async fn old_keys_are_forgotten_and_unfinished_ones_are_not() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    let before = crate::store::now_ms();
    world.send("main", "done", "one").await;
    world.asked().await;
    world.say(Word::End).await;
    world.outcome("done").await;
    world.send("main", "running", "two").await;
    world.asked().await;
    let store = world.store.runs();
    let now = crate::store::now_ms();
    assert_eq!(store.expire(before - 1000, 10).await.unwrap(), 0);
    assert_eq!(store.expire(now + 1000, 10).await.unwrap(), 1);
    assert!(world.runs.get(&id("done")).await.unwrap().is_none());
    assert!(world.runs.get(&id("running")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_timeout_without_measure_is_no_danger_to_the_session() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    let mut submit = world.message("main", "r1", "one");
    submit.options.timeout = Some(Duration::from_secs(u64::MAX));
    world.runs.submit(submit).await.unwrap();
    world.asked().await;
    world.say(Word::End).await;
    assert_eq!(world.outcome("r1").await.state, RunState::Done);
    world.send("main", "r2", "two").await;
    world.asked().await;
    world.say(Word::End).await;
    assert_eq!(world.outcome("r2").await.state, RunState::Done);
}

/// Breaks when the first run starts.
struct Brittle(std::sync::atomic::AtomicBool);

impl EventSink for Brittle {
    fn emit(&self, event: DomainEvent) {
        let is_start = matches!(&event, DomainEvent::Run(run) if run.seq == 1);
        if is_start && !self.0.swap(true, std::sync::atomic::Ordering::SeqCst) {
            panic!("the first start breaks the sink");
        }
    }
}

#[tokio::test]
async fn a_run_that_breaks_ends_in_an_error_and_the_next_one_runs() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    let models = Models::new(&ModelsConfig::default(), &AgentsConfig::default());
    let sink = Arc::new(Brittle(false.into()));
    world.runs = Runs::start(&world.store, Arc::new(models.unwrap()), sink)
        .await
        .unwrap();
    world.send("main", "r1", "one").await;
    world.send("main", "r2", "two").await;
    let broken = world.outcome("r1").await;
    assert_eq!(broken.state, RunState::Error);
    assert!(broken.error.unwrap().contains("failed inside"));
    assert_eq!(world.outcome("r2").await.state, RunState::Done);
}
