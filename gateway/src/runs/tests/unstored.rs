//! What becomes of runs while their store fails, for a time or for good.

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

#[tokio::test]
async fn an_answer_that_finds_the_disk_full_is_stored_when_there_is_room() {
    let home = tempfile::tempdir().unwrap();
    let (mut world, flaky) = flaky_world(home.path()).await;
    world.send("main", "r1", "hi").await;
    world.asked().await;
    flaky.fail("finish", || StoreError::Full);
    world.say(Word::Say("all of it")).await;
    world.say(Word::End).await;
    flaky.failed(2).await;
    // Until then it has not ended, for nobody.
    assert_eq!(world.runs.active(&world.key("main")).len(), 1);
    assert_eq!(world.send("main", "r1", "hi").await, SubmitStatus::InFlight);
    let soon = Duration::from_millis(1);
    assert_eq!(world.runs.wait(&id("r1"), soon).await.unwrap(), None);

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
    let session = world.sessions.describe(&world.key("main")).await.unwrap();
    let row = listed_session(&session.unwrap(), &world.runs, RowParts::ALL);
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
