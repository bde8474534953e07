//! What becomes of runs while their store fails, for a time or for good.

use clawline::protocol::methods::sessions::SessionRow;

use super::flaky::flaky_world;
use super::*;
use crate::shape::{RowParts, listed_session};
use crate::store::StoreError;

/// The run's steps up to its last one.
async fn last_step(world: &mut World, run: &str) -> RunStep {
    loop {
        let event = world.step().await;
        let is_last = !matches!(
            event.step,
            RunStep::Started { .. } | RunStep::Delta { .. } | RunStep::Thinking { .. }
        );
        if event.run_id == id(run) && is_last {
            return event.step;
        }
    }
}

/// What a client that asks is told about the session's last run.
async fn listed(world: &World, session: &str) -> SessionRow {
    let key = world.key(session);
    let session = world.sessions.describe(&key).await.unwrap();
    listed_session(&session.unwrap(), &world.runs, RowParts::ALL)
}

#[tokio::test]
async fn an_answer_that_finds_the_disk_full_has_ended_for_everybody_and_is_kept_as_that() {
    let home = tempfile::tempdir().unwrap();
    let (mut world, flaky) = flaky_world(home.path()).await;
    let key = world.key("main");
    world.send("main", "r1", "hi").await;
    world.asked().await;
    flaky.fail("finish", || StoreError::Full);
    world.say(Word::Say("all of it")).await;
    world.say(Word::End).await;
    let last = last_step(&mut world, "r1").await;
    let RunStep::Error { text: told, .. } = last else {
        panic!("{last:?}");
    };
    assert!(told.contains("could not be stored: the disk is full"));
    // The same to whoever asks, while the store has it as unfinished.
    let stored = world.runs.get(&id("r1")).await.unwrap().unwrap();
    assert_eq!(stored.state, RunState::Given);
    assert_eq!(world.runs.active(&key), []);
    assert_eq!(world.runs.counts(), (0, 0));
    assert!(!world.runs.is_active(&id("r1")).await);
    let outcome = world.outcome("r1").await;
    assert_eq!(
        (outcome.state, outcome.error.as_ref()),
        (RunState::Error, Some(&told))
    );
    let again = world.send("main", "r1", "hi").await;
    assert_eq!(again, SubmitStatus::Error(outcome.clone()));
    assert_eq!(world.runs.abort(&key, None).await.unwrap(), []);
    let row = listed(&world, "main").await;
    assert_eq!(row.status.as_deref(), Some("error"));
    assert_eq!(row.more["hasActiveRun"], false);
    assert_eq!(row.more["endedAt"].as_i64(), outcome.ended_at);

    // What comes after it waits, so that its model knows what was answered.
    world.send("main", "r2", "and now?").await;
    assert_eq!(world.runs.counts(), (0, 1));
    let failures = *flaky.failures.borrow();
    flaky.failed(failures + 1).await;
    flaky.heal();
    assert_eq!(world.asked().await, ["hi", "all of it", "and now?"]);
    let stored = world.runs.get(&id("r1")).await.unwrap().unwrap();
    assert_eq!(
        (stored.state, &*stored.text),
        (RunState::Error, "all of it")
    );
    assert_eq!(stored.error.as_ref(), Some(&told));
    assert_eq!(stored.ended_at, outcome.ended_at);
    assert_eq!(world.runs.lost("r1"), None);
    let answer = &world.transcript("main").await[2];
    assert_eq!(
        (answer.text().as_str(), answer.error.as_ref()),
        ("all of it", Some(&told))
    );
    // Its message is told when it is kept, and its end no second time.
    let (mut kept, mut ends) = (0, 0);
    while let Ok(event) = world.events.try_recv() {
        match event {
            DomainEvent::Session(SessionEvent::Message { message, .. }) => {
                kept += usize::from(message.id == answer.id);
            }
            DomainEvent::Run(event) => ends += usize::from(event.run_id == id("r1")),
            DomainEvent::Session(_) => {}
        }
    }
    assert_eq!((kept, ends), (1, 0));
    world.say(Word::Say("more")).await;
    world.say(Word::End).await;
    assert_eq!(world.outcome("r2").await.state, RunState::Done);
    assert_eq!(listed(&world, "main").await.status.as_deref(), Some("done"));
}

#[tokio::test]
async fn a_session_can_be_reset_while_an_answer_in_it_finds_the_disk_full() {
    let home = tempfile::tempdir().unwrap();
    let (mut world, flaky) = flaky_world(home.path()).await;
    let key = world.key("main");
    world.send("main", "r1", "hi").await;
    world.asked().await;
    let old = world.sessions.describe(&key).await.unwrap().unwrap();
    flaky.fail("finish", || StoreError::Full);
    world.say(Word::Fail("the model is out of order")).await;
    let last = last_step(&mut world, "r1").await;
    let RunStep::Error { text: told, .. } = last else {
        panic!("{last:?}");
    };
    assert!(told.contains("out of order") && told.contains("could not be stored"));
    world.runs.start_over(&key).await.unwrap();
    flaky.heal();
    world.send("main", "r2", "again").await;
    assert_eq!(world.asked().await, ["again"]);
    // It was not stopped; it had failed.
    let outcome = world.outcome("r1").await;
    assert_eq!(
        (outcome.state, outcome.error),
        (RunState::Error, Some(told.clone()))
    );
    let (kept, _) = world
        .store
        .sessions()
        .messages(&old.session_id, Span::Last, 10)
        .await
        .unwrap();
    assert_eq!(kept.last().unwrap().error, Some(told));
    assert_eq!(texts(&world.transcript("main").await), [user("again")]);
}

#[tokio::test]
async fn an_answer_that_finds_the_store_busy_is_stored_when_it_is_not() {
    let home = tempfile::tempdir().unwrap();
    let (mut world, flaky) = flaky_world(home.path()).await;
    world.send("main", "r1", "hi").await;
    world.asked().await;
    flaky.fail("finish", || StoreError::Busy);
    world.say(Word::Say("all of it")).await;
    world.say(Word::End).await;
    flaky.failed(2).await;
    flaky.heal();
    let outcome = world.outcome("r1").await;
    assert_eq!(
        (outcome.state, &*outcome.text),
        (RunState::Done, "all of it")
    );
    let last = last_step(&mut world, "r1").await;
    assert!(matches!(last, RunStep::Final { .. }), "{last:?}");
    assert_eq!(
        texts(&world.transcript("main").await),
        [user("hi"), model("all of it")]
    );
}

#[tokio::test]
async fn a_run_that_cannot_be_read_or_given_yet_is_answered_later() {
    let home = tempfile::tempdir().unwrap();
    let (mut world, flaky) = flaky_world(home.path()).await;
    world.send("main", "r0", "first").await;
    world.asked().await;
    let mut failures = 0;
    for (n, method) in ["get", "context", "give"].into_iter().enumerate() {
        let (this, text) = (format!("r{}", n + 1), format!("after {method}"));
        world.send("main", &this, &text).await;
        flaky.fail(method, || StoreError::Busy);
        // The one before ends, and this one's turn has come.
        world.say(Word::End).await;
        failures += 2;
        flaky.failed(failures).await;
        flaky.heal();
        failures = *flaky.failures.borrow();
        assert_eq!(world.asked().await.last(), Some(&text));
    }
    world.say(Word::End).await;
    assert_eq!(world.outcome("r3").await.state, RunState::Done);
}

#[tokio::test]
async fn a_stop_that_cannot_be_stored_is_not_said_and_the_model_never_sees_the_message() {
    let home = tempfile::tempdir().unwrap();
    let (mut world, flaky) = flaky_world(home.path()).await;
    world.send("main", "r1", "one").await;
    world.send("main", "r2", "two").await;
    assert_eq!(world.asked().await, ["one"]);
    flaky.fail("finish", || StoreError::Full);
    let key = world.key("main");
    let stopped = world.runs.abort(&key, Some(&id("r2"))).await.unwrap();
    assert_eq!(stopped, []);
    // It is what the store says that it is.
    let stored = world.runs.get(&id("r2")).await.unwrap().unwrap();
    assert_eq!(stored.state, RunState::Accepted);
    let active = world.runs.active(&key);
    assert!(active.len() == 2 && active[1].queued, "{active:?}");

    flaky.heal();
    world.say(Word::End).await;
    assert_eq!(world.outcome("r1").await.state, RunState::Done);
    assert_eq!(world.outcome("r2").await.state, RunState::Aborted);
    assert!(world.asked.try_recv().is_err());
}

#[tokio::test]
async fn an_end_that_will_never_be_stored_is_told_to_everybody_who_asks() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    world.send("main", "r1", "hi").await;
    world.asked().await;
    world.store.break_for_test();
    world.say(Word::End).await;
    let last = last_step(&mut world, "r1").await;
    let RunStep::Error { text, .. } = last else {
        panic!("{last:?}");
    };
    assert!(text.contains("could not be stored"), "{text}");
    let outcome = world.outcome("r1").await;
    assert_eq!(
        (outcome.state, outcome.error),
        (RunState::Error, Some(text))
    );
    let again = world.send("main", "r1", "hi").await;
    assert!(matches!(again, SubmitStatus::Error(_)), "{again:?}");
    let row = listed(&world, "main").await;
    assert_eq!(row.status.as_deref(), Some("error"));
    assert_eq!(row.more["hasActiveRun"], false);
    let ended_at = row.more["endedAt"].as_i64();
    assert!(ended_at.is_some(), "{row:?}");
    assert_eq!(ended_at, outcome.ended_at);
}

#[tokio::test]
async fn a_stop_of_the_gateway_does_not_wait_for_a_full_disk() {
    let home = tempfile::tempdir().unwrap();
    let (mut world, flaky) = flaky_world(home.path()).await;
    world.send("main", "r1", "one").await;
    world.send("main", "r2", "two").await;
    world.asked().await;
    flaky.fail("finish", || StoreError::Full);
    world.say(Word::Say("half")).await;
    world.say(Word::End).await;
    flaky.failed(1).await;
    let stop = world.runs.stop(Duration::ZERO);
    tokio::time::timeout(DEADLINE, stop)
        .await
        .expect("it stops");
    world.store.close().await;

    let mut second = super::world(home.path()).await;
    assert_eq!(second.outcome("r1").await.state, RunState::Interrupted);
    assert_eq!(second.asked().await.last().map(String::as_str), Some("two"));
}
