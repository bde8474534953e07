//! The store's promises about files: what it refuses, what it notices, what it survives.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::runs::{RunId, RunKind, RunOptions, RunState};
use crate::sessions::{Day, MAX_HISTORY_BYTES, NewMessage, Role, SearchQuery, SessionKey, Span};

const DEADLINE: Duration = Duration::from_secs(60);

fn key() -> SessionKey {
    SessionKey::parse("agent:main:main").unwrap()
}

fn say(text: &str) -> NewMessage {
    NewMessage::text(Role::User, text, 1)
}

fn accept(run_id: &str) -> Accept {
    Accept {
        run_id: RunId::parse(run_id).unwrap(),
        session_key: key(),
        kind: RunKind::Chat,
        body_hash: [7; 32],
        options: RunOptions::default(),
        message: say(run_id),
        at: 1,
    }
}

async fn settled(store: &Store) -> StoreHealth {
    let mut health = store.health();
    let settled = health.wait_for(|health| *health != StoreHealth::Checking);
    let settled = tokio::time::timeout(DEADLINE, settled).await;
    settled.expect("the check ends").unwrap().clone()
}

/// Fills a database over several pages and closes it; `cleanly` says how.
async fn filled(path: &Path, cleanly: bool) {
    let store = Store::open(path).await.unwrap();
    for n in 0..50 {
        let long = format!("message {n} {}", "x".repeat(2000));
        store.sessions().append(&key(), say(&long)).await.unwrap();
    }
    store.db.close(cleanly).await;
}

#[tokio::test]
async fn the_secret_stays_and_a_clean_stop_is_noted() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state/gateway.db");
    let store = Store::open(&path).await.unwrap();
    assert!(store.was_stopped_cleanly());
    let secret = store.gateway_secret().expose().to_owned();
    assert_eq!(secret.len(), 43);
    store.close().await;
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.gateway_secret().expose(), secret);
    assert!(store.was_stopped_cleanly());
    assert_eq!(*store.health().borrow(), StoreHealth::Ok);
}

#[tokio::test]
async fn an_unclean_stop_is_followed_by_a_check() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("gateway.db");
    filled(&path, false).await;
    let store = Store::open(&path).await.unwrap();
    assert!(!store.was_stopped_cleanly());
    assert_eq!(settled(&store).await, StoreHealth::Ok);
    store.close().await;
    assert!(Store::open(&path).await.unwrap().was_stopped_cleanly());
}

#[tokio::test]
async fn damage_is_found_after_an_unclean_stop_and_nothing_is_written_any_more() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("gateway.db");
    filled(&path, false).await;
    // Pages in the middle: the first ones hold the schema and are read at once.
    let mut bytes = std::fs::read(&path).unwrap();
    let from = bytes.len() / 2;
    for byte in &mut bytes[from..from + 3 * 4096] {
        *byte ^= 0x5a;
    }
    std::fs::write(&path, &bytes).unwrap();
    let store = match Store::open(&path).await {
        Ok(store) => store,
        Err(error) => panic!("it opens, and the check tells: {error}"),
    };
    let StoreHealth::ReadOnly { why } = settled(&store).await else {
        panic!("the damage was not found");
    };
    assert!(
        why.contains("gateway.db") && why.contains("damaged"),
        "{why}"
    );
    let error = store.sessions().append(&key(), say("more")).await;
    assert!(matches!(error, Err(StoreError::ReadOnly { .. })));
}

#[tokio::test]
async fn a_file_that_is_cut_or_overwritten_is_named_and_never_taken_for_empty() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("gateway.db");
    filled(&path, true).await;
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, &good[..4096 + 512]).unwrap();
    let error = Store::open(&path).await.err().expect("a cut file");
    assert!(error.to_string().contains("gateway.db"), "{error}");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");

    std::fs::write(&path, "not a database at all").unwrap();
    let error = Store::open(&path).await.err().expect("another file");
    assert!(
        matches!(error, StoreError::NotADatabase { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_numbers() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("gateway.db");
    let store = Store::open(&path).await.unwrap();
    store.db.pretend_newer(99).await;
    store.close().await;
    let error = Store::open(&path).await.err().expect("a newer file");
    assert!(
        matches!(
            error,
            StoreError::Newer {
                found: 99,
                known: 1..,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("schema 99"), "{error}");
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_and_is_tried_again_later() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("gateway.db");
    let store = Store::open(&path).await.unwrap();
    store
        .sessions()
        .append(&key(), say("before"))
        .await
        .unwrap();
    store.db.limit_size(true).await;
    let mut refused = None;
    for n in 0..200 {
        let run = format!("run-{n}");
        let big = Accept {
            message: say(&"x".repeat(8000)),
            ..accept(&run)
        };
        if let Err(error) = store.runs().accept(big).await {
            refused = Some((run, error));
            break;
        }
    }
    let (run, error) = refused.expect("the disk is full at last");
    assert!(matches!(error, StoreError::Full), "{error:?}");
    let run = RunId::parse(&run).unwrap();
    assert!(store.runs().get(&run).await.unwrap().is_none());
    assert!(!store.health().borrow().is_writable());
    let again = store.runs().accept(accept("later")).await;
    assert!(matches!(again, Err(StoreError::Full)));

    store.db.limit_size(false).await;
    store.db.forget_pause();
    store.runs().accept(accept("later")).await.unwrap();
    assert_eq!(*store.health().borrow(), StoreHealth::Ok);
}

#[tokio::test]
async fn a_reader_that_cannot_be_opened_turns_no_write_off() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("gateway.db");
    let store = Store::open(&path).await.unwrap();
    store.runs().accept(accept("before")).await.unwrap();
    let id = RunId::parse("before").unwrap();
    let held = store.db.hold_readers().await;
    assert!(!held.is_empty(), "one reader is there from the start");
    // The engine says the same as when no descriptor is left.
    let away = home.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    let error = store.runs().get(&id).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy), "{error:?}");
    assert!(error.is_passing());
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(*store.health().borrow(), StoreHealth::Ok);
    assert!(store.runs().get(&id).await.unwrap().is_some());
    drop(held);
    store.runs().accept(accept("after")).await.unwrap();
}

#[tokio::test]
async fn a_writer_that_can_no_more_be_opened_is_waited_for_and_then_said() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("gateway.db");
    let store = Store::open(&path).await.unwrap();
    let away = home.path().join("away");
    for run in ["one", "two"] {
        store.db.close_writer().await;
        std::fs::rename(&path, &away).unwrap();
        let error = store.runs().accept(accept(run)).await.unwrap_err();
        assert!(matches!(error, StoreError::Busy), "{error:?}");
        assert_eq!(*store.health().borrow(), StoreHealth::Ok);
        std::fs::rename(&away, &path).unwrap();
        store.runs().accept(accept(run)).await.unwrap();
    }
    store.db.close_writer().await;
    std::fs::rename(&path, &away).unwrap();
    store.db.lose_patience();
    let error = store.runs().accept(accept("later")).await.unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    assert!(error.to_string().contains("cannot be opened"), "{error}");
    assert!(!store.health().borrow().is_writable());
}

#[tokio::test]
async fn a_rollback_that_the_driver_did_not_see_stops_no_later_write() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
    store.db.roll_back_unseen().await;
    assert!(store.runs().accept(accept("later")).await.is_ok());
}

#[tokio::test]
async fn a_run_goes_its_way_once() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
    let runs = store.runs();
    let id = RunId::parse("r").unwrap();
    assert!(matches!(
        runs.accept(accept("r")).await.unwrap(),
        AcceptOutcome::Accepted(_)
    ));
    assert!(matches!(
        runs.accept(accept("r")).await.unwrap(),
        AcceptOutcome::Existing(_)
    ));
    runs.save_partial(&id, "too early", 2).await.unwrap();
    assert!(runs.give(&id, "p", "m", 3).await.unwrap().is_some());
    assert!(runs.give(&id, "p", "m", 3).await.unwrap().is_none());
    runs.save_partial(&id, "so far", 4).await.unwrap();
    let stored = runs.get(&id).await.unwrap().unwrap();
    assert_eq!((stored.state, &*stored.text), (RunState::Given, "so far"));
    let end = RunEnd {
        run_id: id.clone(),
        state: RunState::Done,
        text: "all".to_owned(),
        message: Some(NewMessage::text(Role::Assistant, "all", 5)),
        usage: None,
        error: None,
        stop_reason: None,
        at: 5,
    };
    assert!(runs.finish(end.clone()).await.unwrap().is_some());
    assert!(runs.finish(end).await.unwrap().is_none());
    assert!(runs.unfinished().await.unwrap().is_empty());
    let (messages, _) = store
        .sessions()
        .messages(&stored.session_id, Span::Last, 10)
        .await
        .unwrap();
    assert_eq!(messages.len(), 2);
}

#[tokio::test]
async fn what_many_sessions_used_is_one_look_and_each_gets_its_own() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
    let runs = store.runs();
    let keys = ["a", "b", "unasked", "idle"]
        .map(|name| SessionKey::parse(&format!("agent:main:{name}")).unwrap());
    let at = Duration::from_secs(20 * 86_400).as_millis() as i64;
    for (n, key) in [&keys[0], &keys[0], &keys[1], &keys[2]].iter().enumerate() {
        let name = format!("r-{n}");
        let mut new = accept(&name);
        new.session_key = (*key).clone();
        runs.accept(new).await.unwrap();
        let run_id = RunId::parse(&name).unwrap();
        runs.give(&run_id, "p", "m", 2).await.unwrap();
        let end = RunEnd {
            run_id,
            state: RunState::Done,
            text: String::new(),
            message: None,
            usage: None,
            error: None,
            stop_reason: None,
            at,
        };
        runs.finish(end).await.unwrap();
    }
    let asked = [&keys[0], &keys[1], &keys[3]];
    let usage = store.usage();
    let day = Day::of(at);
    let used = usage.by_session(&asked, day, day).await.unwrap();
    let count = |key: &SessionKey| used.get(key).map(|rows| rows[0].sums.runs);
    let counts: Vec<_> = keys.iter().map(count).collect();
    assert_eq!(counts, [Some(2), Some(1), None, None]);
    let before = usage.by_session(&asked, day.before(9), day.before(1));
    assert!(before.await.unwrap().is_empty());
    assert!(usage.by_session(&[], day, day).await.unwrap().is_empty());
}

fn grant(device_id: &str, public_key: &str, role: &str, scopes: &[&str]) -> DeviceGrant {
    DeviceGrant {
        device_id: device_id.to_owned(),
        public_key: public_key.to_owned(),
        display_name: Some("laptop".to_owned()),
        platform: Some("linux".to_owned()),
        device_family: None,
        client_id: Some("gateway-client".to_owned()),
        client_mode: Some("ui".to_owned()),
        remote_ip: None,
        silent: false,
        role: role.to_owned(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
    }
}

#[tokio::test]
async fn a_token_generation_is_never_used_twice() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
    let devices = store.devices();
    let device = devices
        .grant(grant("d", "k", "operator", &["read"]), 1)
        .await
        .unwrap();
    assert_eq!(device.roles["operator"].token_generation, 1);
    let wider = grant("d", "k", "operator", &["read", "write"]);
    let device = devices.grant(wider.clone(), 2).await.unwrap();
    assert_eq!(device.roles["operator"].token_generation, 1);
    assert_eq!(device.roles["operator"].scopes, ["read", "write"]);
    let rotated = devices
        .rotate("d", "operator", None, 3)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((rotated.token_generation, rotated.revoked_at), (2, None));
    let revoked = devices.revoke("d", "operator", 4).await.unwrap().unwrap();
    assert_eq!((revoked.token_generation, revoked.revoked_at), (3, Some(4)));
    let device = devices.grant(wider.clone(), 5).await.unwrap();
    assert_eq!(device.roles["operator"].revoked_at, None);
    assert_eq!(device.roles["operator"].token_generation, 3);
    assert!(devices.remove("d").await.unwrap());
    assert!(!devices.remove("d").await.unwrap());
    let device = devices.grant(wider, 6).await.unwrap();
    assert_eq!(device.roles["operator"].token_generation, 4);
    assert!(
        devices
            .rotate("d", "node", None, 7)
            .await
            .unwrap()
            .is_none()
    );

    // Another key under the same id is another device: what was approved is gone.
    let other = devices
        .grant(grant("d", "other", "node", &[]), 8)
        .await
        .unwrap();
    assert_eq!(other.roles.keys().collect::<Vec<_>>(), ["node"]);
    devices.touch("d", "node", 9).await.unwrap();
    let seen = devices.get("d").await.unwrap().unwrap();
    assert_eq!(seen.last_seen_at, Some(9));
    assert_eq!(devices.list().await.unwrap(), [seen]);
}

#[tokio::test]
async fn a_pairing_request_keeps_its_id_until_it_asks_for_something_else() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
    let pairing = store.pairing();
    let new = |scopes: &[&str], at| NewPairing {
        grant: grant("d", "k", "operator", scopes),
        reason: "not-paired".to_owned(),
        at,
        expires_at: at + 100,
    };
    let (first, replaced) = pairing.request(new(&["read"], 1)).await.unwrap();
    assert!(replaced.is_empty());
    let (same, _) = pairing.request(new(&["read"], 50)).await.unwrap();
    assert_eq!(same, first);
    let (wider, replaced) = pairing.request(new(&["write"], 60)).await.unwrap();
    assert_eq!(replaced, [first.request_id.as_str()]);
    assert_eq!(pairing.pending(100).await.unwrap().first(), Some(&wider));
    assert!(pairing.get(&first.request_id, 100).await.unwrap().is_none());
    assert!(
        pairing
            .approve(&wider.request_id, 160)
            .await
            .unwrap()
            .is_none()
    );
    let (request, device) = pairing
        .approve(&wider.request_id, 159)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(request, wider);
    assert_eq!(device.roles["operator"].scopes, ["write"]);
    assert!(
        pairing
            .approve(&wider.request_id, 159)
            .await
            .unwrap()
            .is_none()
    );

    let (late, _) = pairing.request(new(&["read"], 200)).await.unwrap();
    assert!(pairing.expire(299).await.unwrap().is_empty());
    assert_eq!(pairing.expire(300).await.unwrap().first(), Some(&late));
    assert!(pairing.take(&late.request_id, 250).await.unwrap().is_none());
}

#[tokio::test]
async fn a_page_ends_before_what_does_not_fit_and_never_leaves_the_newest_out() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
    let sessions = store.sessions();
    let mut id = String::new();
    for bytes in [
        MAX_HISTORY_BYTES / 3,
        MAX_HISTORY_BYTES / 2,
        MAX_HISTORY_BYTES / 3,
        2 * MAX_HISTORY_BYTES,
    ] {
        let message = say(&"x".repeat(bytes));
        id = sessions.append(&key(), message).await.unwrap().0.session_id;
    }
    for (span, places, has_more) in [
        (Span::Last, vec![4], true),
        (Span::Before(4), vec![2, 3], true),
        (Span::Before(2), vec![1], false),
        (Span::After(0), vec![1, 2], true),
        (Span::After(3), vec![4], false),
    ] {
        let (page, more) = sessions.messages(&id, span, 10).await.unwrap();
        let seen: Vec<i64> = page.iter().map(|message| message.seq).collect();
        assert_eq!((seen, more), (places, has_more), "{span:?}");
    }
}

#[tokio::test]
async fn a_model_is_shown_what_fits_and_always_the_message_it_answers() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
    for n in 0..4 {
        let message = say(&format!("{n}{}", "x".repeat(1000)));
        store.sessions().append(&key(), message).await.unwrap();
    }
    let AcceptOutcome::Accepted(accepted) = store.runs().accept(accept("r1")).await.unwrap() else {
        panic!("it is new");
    };
    for (bytes, expected) in [(0, vec!["r1"]), (3000, vec!["2", "3", "r1"])] {
        let context = store.runs().context(&accepted.run, 100, bytes).await;
        let seen: Vec<String> = context.unwrap().iter().map(|m| m.text()).collect();
        let seen: Vec<&str> = seen.iter().map(|text| text.trim_end_matches('x')).collect();
        assert_eq!(seen, expected);
    }
}

/// Of a database with large messages, for the process below.
#[cfg(target_os = "linux")]
const LARGE: &str = "CLAWLINE_TEST_LARGE_MESSAGES";

/// The most memory that this process has had, in bytes.
#[cfg(target_os = "linux")]
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.unwrap().trim().trim_end_matches(" kB");
    1024 * kib.parse::<usize>().unwrap()
}

/// Not a test by itself: a process that reads pages of large messages, and nothing else.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_that_reads_large_messages() {
    let Ok(path) = std::env::var(LARGE) else {
        return;
    };
    let store = Store::open(Path::new(&path)).await.unwrap();
    let session = store.sessions().get(&key()).await.unwrap().unwrap();
    let run = store.runs().get(&RunId::parse("r1").unwrap()).await;
    let run = run.unwrap().unwrap();
    let before = peak();
    // The newest is small.
    for (span, count) in [(Span::Last, 6), (Span::After(0), 5)] {
        let sessions = store.sessions();
        let page = sessions.messages(&session.session_id, span, 100).await;
        assert_eq!(page.unwrap().0.len(), count, "{span:?}");
    }
    let context = store.runs().context(&run, 400, 400 << 10).await.unwrap();
    assert_eq!(context.len(), 1);
    println!("\nmore memory: {}", peak() - before);
    store.close().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_page_of_large_messages_takes_the_memory_of_a_page() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("gateway.db");
    let store = Store::open(&path).await.unwrap();
    // What a driver that reads ahead by 50 rows would hold is more than 60 MB.
    let text = "x".repeat(MAX_HISTORY_BYTES / 5 - 100);
    for _ in 0..50 {
        let sessions = store.sessions();
        sessions.append(&key(), say(&text)).await.unwrap();
    }
    store.runs().accept(accept("r1")).await.unwrap();
    store.close().await;
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::the_process_that_reads_large_messages",
        ])
        .args(["--nocapture", "--test-threads", "1"])
        .env(LARGE, &path)
        .output();
    let output = child.await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let more = said
        .lines()
        .find_map(|line| line.strip_prefix("more memory: "));
    let more: usize = more.expect(&said).parse().unwrap();
    println!("{more} bytes more");
    // Pages as rows and as messages, and what the allocator keeps of one for the next.
    assert!(more < 6 * MAX_HISTORY_BYTES, "{more} bytes");
}

#[tokio::test]
async fn a_search_reads_of_large_messages_what_can_be_found_and_no_more() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
    for n in 0..6 {
        let text = format!("quagga {n} {}", "word ".repeat(150_000 * (n % 2)));
        store.sessions().append(&key(), say(&text)).await.unwrap();
    }
    let query = SearchQuery {
        words: vec!["quagga".to_owned()],
        ..SearchQuery::default()
    };
    let found = store.sessions().search(&query).await.unwrap();
    let texts: Vec<String> = found.messages.iter().map(|(_, m)| m.text()).collect();
    assert!(!found.truncated);
    for (n, text) in texts.iter().rev().enumerate() {
        assert!(text.starts_with(&format!("quagga {n} ")), "{}", &text[..20]);
        assert!(text.len() <= 64 << 10, "{} bytes were kept", text.len());
    }
    assert_eq!(texts.len(), 6);
}

#[tokio::test]
async fn a_look_at_a_database_counts_the_devices_that_nobody_was_asked_about() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("gateway.db");
    let store = Store::open(&path).await.unwrap();
    for (id, silent) in [("a", true), ("b", false), ("c", true)] {
        let grant = DeviceGrant {
            device_id: id.to_owned(),
            silent,
            ..DeviceGrant::default()
        };
        store.devices().grant(grant, 1).await.unwrap();
    }
    store.close().await;
    assert_eq!(inspect(&path).await.unwrap().silent_devices, 2);
}
