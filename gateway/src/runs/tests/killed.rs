//! What a kill leaves behind: runs that go on or are marked, and commands that act once.

use super::flaky::{Stall, flaky_world};
use super::*;
use crate::sessions::Day;
use crate::store::{CommandEffect, now_ms};

#[test]
fn after_a_crash_the_accepted_runs_and_the_given_is_interrupted() {
    let home = tempfile::tempdir().unwrap();
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    };
    let crashed = runtime();
    crashed.block_on(async {
        let mut world = world(home.path()).await;
        world.send("main", "given", "one").await;
        world.send("main", "accepted", "two").await;
        world.asked().await;
        world.say(Word::Say("half")).await;
        // Until the text so far was stored, about a second later.
        let stored = async {
            loop {
                let run = world.runs.get(&id("given")).await.unwrap().unwrap();
                if run.text == "half" {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, stored).await.unwrap();
        // Nothing of this world gets to say good-bye.
        std::mem::forget(world);
    });
    crashed.shutdown_background();

    runtime().block_on(async {
        let mut world = world(home.path()).await;
        assert!(!world.store.was_stopped_cleanly());
        let SubmitStatus::Error(outcome) = world.send("main", "given", "one").await else {
            panic!("what was given is not given again");
        };
        assert_eq!(outcome.state, RunState::Interrupted);
        assert_eq!(outcome.text, "half");
        // "two" runs by itself; "one" is not asked again.
        assert_eq!(world.asked().await, ["one", "half", "two"]);
        assert_eq!(
            world.send("main", "accepted", "two").await,
            SubmitStatus::InFlight
        );
        world.say(Word::Say("2")).await;
        world.say(Word::End).await;
        assert_eq!(world.outcome("accepted").await.text, "2");
        let transcript = world.transcript("main").await;
        assert_eq!(
            texts(&transcript),
            [user("one"), user("two"), model("half"), model("2")]
        );
        let mut health = world.store.health();
        let sound = health.wait_for(|health| *health == crate::store::StoreHealth::Ok);
        tokio::time::timeout(DEADLINE, sound)
            .await
            .unwrap()
            .unwrap();
        world.runs.stop(DEADLINE).await;
        world.store.close().await;
    });
}

impl World {
    /// Commits a command, and does nothing more.
    async fn commit(&self, command: CommandSubmit) {
        let inner = &self.runs.inner;
        let turn = inner.turn(&command.session_key).await;
        let committed = command::commit(inner, command, &turn).await.unwrap();
        assert!(matches!(committed, command::Committed::New(..)));
    }

    pub(super) fn command(&self, run: &str, effect: CommandEffect) -> CommandSubmit {
        CommandSubmit {
            idempotency_key: id(run),
            session_key: self.key("main"),
            kind: RunKind::Chat,
            params_canonical_json: run.to_owned(),
            message: None,
            effect,
            answer: "done".to_owned(),
        }
    }
}

/// Runs `before` in a process's worth of tasks that never gets further.
fn crashed<F: Future<Output = World>>(before: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Nothing of this world gets to say good-bye.
        std::mem::forget(before.await);
    });
    runtime.shutdown_background();
}

/// One run with the model and one that waits.
async fn busy(home: &Path) -> World {
    let mut world = world(home).await;
    world.send("main", "r1", "one").await;
    world.send("main", "r2", "two").await;
    world.asked().await;
    world
}

/// The start after a kill, stopped properly.
fn next_start(home: &Path, then: impl AsyncFnOnce(&mut World)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut world = world(home).await;
        then(&mut world).await;
        world.runs.stop(Duration::ZERO).await;
        world.store.close().await;
    });
}

#[test]
fn a_stop_that_was_killed_after_its_commit_stops_what_it_was_about_and_nothing_later() {
    let home = tempfile::tempdir().unwrap();
    crashed(async {
        let world = busy(home.path()).await;
        let stop = world.command("s1", CommandEffect::Stop);
        world.commit(stop).await;
        world
    });
    next_start(home.path(), async |world| {
        assert_eq!(world.outcome("r1").await.state, RunState::Interrupted);
        assert_eq!(world.outcome("r2").await.state, RunState::Aborted);
        world.send("main", "r3", "three").await;
        assert_eq!(world.asked().await.last().unwrap(), "three");
        let stop = world.command("s1", CommandEffect::Stop);
        let stopped = world.runs.halt(stop).await.unwrap();
        assert_eq!(stopped, [id("r1"), id("r2")]);
        assert_eq!(world.runs.active(&world.key("main")).len(), 1);
        let stop = world.command("s2", CommandEffect::Stop);
        assert_eq!(world.runs.halt(stop).await.unwrap(), [id("r3")]);
        assert_eq!(world.outcome("r3").await.state, RunState::Aborted);
    });
}

#[test]
fn a_reset_that_was_killed_after_its_commit_is_not_done_again() {
    let home = tempfile::tempdir().unwrap();
    crashed(async {
        let world = busy(home.path()).await;
        let reset = world.command("n1", CommandEffect::Reset);
        world.commit(reset).await;
        world
    });
    next_start(home.path(), async |world| {
        // What waited in the old conversation is not answered in the new one.
        assert_eq!(world.outcome("r2").await.state, RunState::Aborted);
        world.send("main", "r3", "three").await;
        assert_eq!(world.asked().await, ["three"]);
        let reset = world.command("n1", CommandEffect::Reset);
        let again = world.runs.command(reset).await.unwrap();
        assert!(matches!(again.status, SubmitStatus::Ok(_)), "{again:?}");
        assert_eq!(world.runs.active(&world.key("main")).len(), 1);
        assert_eq!(texts(&world.transcript("main").await), [user("three")]);
    });
}

#[test]
fn a_kill_never_leaves_a_run_stopped_whose_session_is_not_reset_or_deleted() {
    for stall in [Stall::Before, Stall::After] {
        let home = tempfile::tempdir().unwrap();
        crashed(async {
            let (mut world, flaky) = flaky_world(home.path()).await;
            for session in ["main", "side"] {
                for run in ["1", "2"] {
                    world.send(session, &format!("{session}{run}"), run).await;
                }
                assert_eq!(world.asked().await, ["1"]);
            }
            flaky.stall(stall);
            let (runs, main, side) = (world.runs.clone(), world.key("main"), world.key("side"));
            tokio::spawn(async move { runs.start_over(&main).await });
            let runs = world.runs.clone();
            tokio::spawn(async move { runs.delete(&side, true).await });
            // Of both sessions the run that is being answered has come to the kill.
            flaky.failed(2).await;
            world
        });
        next_start(home.path(), async |world| {
            let (main, side) = (world.key("main"), world.key("side"));
            let session = world.sessions.describe(&main).await.unwrap().unwrap();
            assert_eq!(
                (session.revision, session.message_count),
                (2, 0),
                "{stall:?}"
            );
            assert_eq!(world.sessions.describe(&side).await.unwrap(), None);
            let given = match stall {
                Stall::Before => RunState::Interrupted,
                Stall::After => RunState::Aborted,
            };
            for session in ["main", "side"] {
                for (run, state) in [("1", given), ("2", RunState::Aborted)] {
                    let run = format!("{session}{run}");
                    assert_eq!(world.outcome(&run).await.state, state, "{run} {stall:?}");
                }
            }
            let today = Day::of(now_ms());
            let (from, to) = (today.before(1), today.before(-1));
            let used = world.sessions.usage_of(&[&side], from, to).await.unwrap();
            assert!(used.is_empty(), "{used:?}");
        });
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_committed_stops_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path()).await;
    world.send("main", "r1", "one").await;
    world.asked().await;
    world.store.break_for_test();
    for effect in [CommandEffect::Stop, CommandEffect::Reset] {
        let refused = world.runs.halt(world.command("s1", effect)).await;
        assert!(matches!(refused, Err(RunError::Store(_))), "{refused:?}");
    }
    let refused = world.runs.start_over(&world.key("main")).await;
    assert!(matches!(refused, Err(RunError::Store(_))), "{refused:?}");
    assert_eq!(world.runs.active(&world.key("main")).len(), 1);
}
