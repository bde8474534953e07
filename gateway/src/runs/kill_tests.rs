//! A process of its own is killed while it accepts messages; what it acknowledged must be there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::events::BroadcastSink;
use crate::sessions::{AgentId, Role, SessionKey, Span};
use crate::store::{Store, StoreHealth};

const HOME: &str = "CLAWLINE_TEST_KILLED_HOME";
const ROUND: &str = "CLAWLINE_TEST_KILLED_ROUND";
const ROUNDS: u64 = 5;
const DEADLINE: Duration = Duration::from_secs(60);
const SESSIONS: usize = 3;

fn key(session: usize) -> SessionKey {
    SessionKey::resolve(&format!("s{session}"), &AgentId::main()).unwrap()
}

async fn start(home: &Path) -> (Store, Runs) {
    let store = Store::open(&home.join("gateway.db")).await.unwrap();
    let models = Models::with_echo_delay(
        &ModelsConfig::default(),
        &AgentsConfig::default(),
        Some(Duration::from_millis(1)),
    );
    let models = Arc::new(models.ok().unwrap());
    let runs = Runs::start(&store, models, Arc::new(BroadcastSink::new(16)))
        .await
        .unwrap();
    (store, runs)
}

fn message(run: &str, session: usize) -> Submit {
    Submit {
        idempotency_key: RunId::parse(run).unwrap(),
        session_key: key(session),
        message: format!("this is {run} and some more words"),
        kind: RunKind::Chat,
        params_canonical_json: run.to_owned(),
        options: RunOptions::default(),
    }
}

/// Not a test by itself: the process that is killed. It says each acknowledged key on a line.
#[tokio::test]
async fn the_process_that_is_killed() {
    let (Ok(home), Ok(round)) = (std::env::var(HOME), std::env::var(ROUND)) else {
        return;
    };
    let (_store, runs) = start(Path::new(&home)).await;
    let mut stdout = std::io::stdout();
    for n in 0.. {
        let run = format!("r{round}-{n}");
        match runs.submit(message(&run, n % SESSIONS)).await {
            Ok(_) => {
                writeln!(stdout, "\nack {run} {}", n % SESSIONS).unwrap();
                stdout.flush().unwrap();
            }
            Err(RunError::Busy) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Runs the other process until some time after it acknowledged something for each session; returns what it
/// said.
fn killed_after(home: &Path, round: u64, after: Duration) -> Vec<(String, usize)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "runs::kill_tests::the_process_that_is_killed"])
        .args(["--nocapture", "--test-threads", "1"])
        .env(HOME, home)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acks = Vec::new();
    let mut killer = None;
    // A line that the kill cut in two was not read by anybody.
    for line in lines.map_while(Result::ok) {
        let Some((run, session)) = line
            .strip_prefix("ack ")
            .and_then(|ack| ack.split_once(' '))
        else {
            continue;
        };
        if let Ok(session) = session.parse() {
            acks.push((run.to_owned(), session));
        }
        if killer.is_none() && acks.len() >= SESSIONS {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            killer = Some(std::thread::spawn(move || {
                std::thread::sleep(after);
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            }));
        }
    }
    killer.expect("it acknowledged something").join().unwrap();
    child.wait().unwrap();
    acks
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_once_and_ends() {
    let home = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        // Different moments of the work, the same in each run of this test.
        let after = Duration::from_millis(3 + 37 * round);
        acknowledged.extend(killed_after(home.path(), round, after));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(check(home.path(), &acknowledged));
}

async fn check(home: &Path, acknowledged: &[(String, usize)]) {
    let (store, runs) = start(home).await;
    assert!(!store.was_stopped_cleanly());
    for (run, session) in acknowledged {
        let id = RunId::parse(run).unwrap();
        let ended = runs.wait(&id, DEADLINE).await.unwrap();
        let ended = ended.unwrap_or_else(|| panic!("{run} was acknowledged and did not end"));
        assert!(
            matches!(ended.state, RunState::Done | RunState::Interrupted),
            "{run}: {ended:?}"
        );
        let again = runs.submit(message(run, *session)).await.unwrap();
        assert!(
            !matches!(again.status, SubmitStatus::Started | SubmitStatus::InFlight),
            "{run} is not begun again"
        );
    }
    // A run's end is told a moment before its place in the queue is free.
    let is_empty = async {
        while runs.counts() != (0, 0) {
            tokio::task::yield_now().await;
        }
    };
    let emptied = tokio::time::timeout(DEADLINE, is_empty).await;
    assert!(emptied.is_ok(), "{:?} are left", runs.counts());
    for session in 0..SESSIONS {
        let row = store.sessions().get(&key(session)).await.unwrap().unwrap();
        let (messages, _) = store
            .sessions()
            .messages(&row.session_id, Span::Last, 1_000_000)
            .await
            .unwrap();
        let mut seen: BTreeMap<(String, bool), usize> = BTreeMap::new();
        for (at, message) in messages.iter().enumerate() {
            assert_eq!(message.seq, i64::try_from(at).unwrap() + 1);
            let run = message.run_id.clone().unwrap();
            *seen.entry((run, message.role == Role::User)).or_default() += 1;
        }
        assert!(seen.values().all(|&count| count == 1), "{seen:?}");
        for (run, _) in acknowledged.iter().filter(|(_, of)| *of == session) {
            assert!(seen.contains_key(&(run.clone(), true)), "{run} is lost");
        }
    }
    let mut health = store.health();
    let sound = health.wait_for(|health| *health != StoreHealth::Checking);
    let sound = tokio::time::timeout(DEADLINE, sound).await.unwrap();
    assert_eq!(*sound.unwrap(), StoreHealth::Ok);
    runs.stop(DEADLINE).await;
}
