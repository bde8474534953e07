//! A new conversation under an old key: everybody is told of it before anything that comes into it.

use super::*;
use crate::store::CommandEffect;

fn reset(world: &World, run: &str) -> CommandSubmit {
    CommandSubmit {
        message: Some("/new".to_owned()),
        ..world.command(run, CommandEffect::Reset)
    }
}

/// What the next event is of, in one word.
fn word(event: &DomainEvent) -> String {
    match event {
        DomainEvent::Session(SessionEvent::Changed { reason, .. }) => reason.as_str().to_owned(),
        DomainEvent::Session(SessionEvent::Message { message, .. }) => message.text(),
        DomainEvent::Run(event) => match &event.step {
            RunStep::Aborted { .. } => "aborted".to_owned(),
            RunStep::Answered { .. } => "answered".to_owned(),
            _ => "run".to_owned(),
        },
    }
}

/// Everything that is told until something is, that included.
async fn told_until(world: &mut World, last: &str) -> Vec<String> {
    let mut words = Vec::new();
    while words.last().is_none_or(|word| word != last) {
        let next = tokio::time::timeout(DEADLINE, world.events.recv()).await;
        words.push(word(&next.unwrap().unwrap()));
    }
    words
}

#[tokio::test]
async fn what_another_client_says_during_a_reset_is_told_after_it() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    world.send("main", "old", "the old question").await;
    world.asked().await;
    told_until(&mut world, "run").await;
    // The answer under way has to end first, which leaves time for another client.
    let (command, message) = (
        reset(&world, "new"),
        world.message("main", "other", "hello"),
    );
    let (done, other) = tokio::join!(world.runs.command(command), world.runs.submit(message));
    let (done, other) = (done.unwrap(), other.unwrap());
    assert_eq!(
        done.session_id, other.session_id,
        "both are of the new conversation"
    );
    let told = told_until(&mut world, "hello").await;
    let place = |word: &str| told.iter().position(|told| told == word).unwrap();
    assert!(place("aborted") < place("reset"), "{told:?}");
    assert!(place("reset") < place("/new"), "{told:?}");
    assert!(place("/new") < place("hello"), "{told:?}");
}

#[tokio::test]
async fn a_session_that_is_held_takes_nothing_and_others_go_on() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    let held = world.runs.hold(&world.key("main")).await;
    let runs = world.runs.clone();
    let message = world.message("main", "r1", "for the held one");
    let waiting = tokio::spawn(async move { runs.submit(message).await });
    let (runs, command) = (world.runs.clone(), reset(&world, "new"));
    let resetting = tokio::spawn(async move { runs.command(command).await });
    world.send("side", "s1", "for another").await;
    let told = told_until(&mut world, "for another").await;
    assert!(
        !told
            .iter()
            .any(|word| word == "reset" || word == "for the held one"),
        "{told:?}"
    );
    assert!(!waiting.is_finished() && !resetting.is_finished());
    drop(held);
    for submitted in [waiting, resetting] {
        let done = tokio::time::timeout(DEADLINE, submitted).await;
        assert_eq!(
            done.unwrap().unwrap().unwrap().status,
            SubmitStatus::Started
        );
    }
    // Whoever gives up waiting leaves nothing held.
    let held = world.runs.hold(&world.key("main")).await;
    let key = world.key("main");
    let given_up = tokio::time::timeout(Duration::ZERO, world.runs.hold(&key)).await;
    assert!(given_up.is_err());
    drop(held);
    let free = tokio::time::timeout(DEADLINE, world.runs.hold(&key)).await;
    assert!(free.is_ok());
}

#[tokio::test]
async fn a_reset_and_a_delete_stop_everything_and_are_told_after_the_ends() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    let (main, side) = (world.key("main"), world.key("side"));
    let refused = world.runs.delete(&main, true).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "Cannot delete the main session (agent:main:main)."
    );
    for (session, last) in [("main", "reset"), ("side", "delete")] {
        for run in ["1", "2"] {
            world.send(session, &format!("{session}{run}"), run).await;
        }
        world.asked().await;
        if session == "main" {
            let fresh = world.runs.start_over(&main).await.unwrap();
            assert_eq!((fresh.revision, fresh.message_count), (2, 0));
        } else {
            let deleted = world.runs.delete(&side, true).await.unwrap();
            assert!(deleted.deleted);
        }
        let told = told_until(&mut world, last).await;
        let ends = told.iter().filter(|word| *word == "aborted").count();
        assert_eq!(ends, 2, "{told:?}");
        for run in ["1", "2"] {
            let run = format!("{session}{run}");
            assert_eq!(world.outcome(&run).await.state, RunState::Aborted, "{run}");
        }
    }
    assert!(world.transcript("main").await.is_empty());
    assert_eq!(world.sessions.describe(&side).await.unwrap(), None);
    // Both are free again.
    for session in ["main", "side"] {
        world.send(session, &format!("{session}3"), "3").await;
        assert_eq!(world.asked().await, ["3"]);
        world.say(Word::End).await;
        let run = format!("{session}3");
        assert_eq!(world.outcome(&run).await.state, RunState::Done);
    }
}
