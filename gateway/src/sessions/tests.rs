//! The service over a real store in a temporary directory.

use std::sync::Arc;

use super::*;
use crate::events::{BroadcastSink, DomainEvent};
use crate::store::Store;

struct World {
    sessions: Sessions,
    events: tokio::sync::broadcast::Receiver<DomainEvent>,
    store: Store,
    _home: tempfile::TempDir,
}

async fn world() -> World {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
    let sink = BroadcastSink::new(1024);
    let events = sink.subscribe();
    World {
        sessions: Sessions::new(&store, Arc::new(sink), AgentId::main()),
        events,
        store,
        _home: home,
    }
}

impl World {
    fn key(&self, text: &str) -> SessionKey {
        self.sessions.resolve(text).unwrap()
    }

    async fn say(&self, key: &str, text: &str, at: i64) -> Message {
        let message = NewMessage::text(Role::User, text, at);
        self.sessions.append(&self.key(key), message).await.unwrap()
    }

    async fn list(&self, query: ListQuery) -> SessionPage {
        self.sessions.list(&query).await.unwrap()
    }
}

fn names(page: &SessionPage) -> Vec<&str> {
    page.sessions.iter().map(|s| s.key.name()).collect()
}

fn seqs(messages: &[Message]) -> Vec<i64> {
    messages.iter().map(|m| m.seq).collect()
}

#[tokio::test]
async fn a_session_exists_from_its_first_use() {
    let mut world = world().await;
    let key = world.key("main");
    assert_eq!(world.sessions.describe(&key).await.unwrap(), None);
    let history = world.sessions.history(&key, Span::Last, 10).await.unwrap();
    assert_eq!((history.session, history.messages.len()), (None, 0));

    let made = world.sessions.ensure(&key).await.unwrap();
    let again = world.sessions.ensure(&key).await.unwrap();
    assert_eq!(made, again);
    assert!(matches!(
        world.events.try_recv().unwrap(),
        DomainEvent::Session(SessionEvent::Changed {
            reason: ChangeReason::Create,
            ..
        })
    ));
    assert!(world.events.try_recv().is_err());
}

#[tokio::test]
async fn pages_of_a_transcript_join_without_gap_or_repeat() {
    let world = world().await;
    for n in 1..=25 {
        world.say("main", &format!("message {n}"), n).await;
    }
    let key = world.key("main");
    let last = world.sessions.history(&key, Span::Last, 10).await.unwrap();
    assert_eq!(seqs(&last.messages), (16..=25).collect::<Vec<_>>());
    assert_eq!((last.total, last.has_more), (25, true));
    let mut seen = Vec::new();
    let mut span = Span::Last;
    loop {
        let page = world.sessions.history(&key, span, 10).await.unwrap();
        seen.splice(0..0, seqs(&page.messages));
        if !page.has_more {
            break;
        }
        span = Span::Before(page.messages[0].seq);
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    let skipped = world
        .sessions
        .history(&key, Span::Skip(20), 10)
        .await
        .unwrap();
    assert_eq!(seqs(&skipped.messages), [1, 2, 3, 4, 5]);
    assert!(!skipped.has_more);
    let beyond = world.sessions.history(&key, Span::Skip(99), 10).await;
    assert!(beyond.unwrap().messages.is_empty());
    let after = world
        .sessions
        .history(&key, Span::After(20), 3)
        .await
        .unwrap();
    assert_eq!(seqs(&after.messages), [21, 22, 23]);
    assert!(after.has_more);
    assert_eq!(last.messages[9].text(), "message 25");
}

#[tokio::test]
async fn a_cursor_gives_what_came_later_and_a_reset_says_so() {
    let world = world().await;
    world.say("main", "one", 1).await;
    let key = world.key("main");
    let page = world.sessions.history(&key, Span::Last, 10).await.unwrap();
    let cursor = page.delta_cursor.unwrap();
    world.say("main", "two", 2).await;
    world.say("main", "three", 3).await;
    let HistoryDelta::Delta {
        messages,
        delta_cursor,
        ..
    } = world.sessions.history_since(&key, &cursor).await.unwrap()
    else {
        panic!("the transcript is the same");
    };
    assert_eq!(seqs(&messages), [2, 3]);
    let HistoryDelta::Delta { messages, .. } = world
        .sessions
        .history_since(&key, &delta_cursor)
        .await
        .unwrap()
    else {
        panic!("nothing happened");
    };
    assert!(messages.is_empty());

    let before = world.sessions.describe(&key).await.unwrap().unwrap();
    let reset = world.store.sessions();
    let (fresh, _) = reset.reset(&key, Vec::new(), 1).await.unwrap();
    assert_ne!(fresh.session_id, before.session_id);
    assert_eq!((fresh.revision, fresh.message_count), (2, 0));
    for cursor in [delta_cursor.as_str(), "", "1.x.9", "nonsense"] {
        let delta = world.sessions.history_since(&key, cursor).await.unwrap();
        assert_eq!(delta, HistoryDelta::Reset, "{cursor:?}");
    }
    // The old transcript is kept.
    let (old, _) = world
        .store
        .sessions()
        .messages(&before.session_id, Span::Last, 10)
        .await
        .unwrap();
    assert_eq!(seqs(&old), [1, 2, 3]);
}

#[tokio::test]
async fn lists_are_newest_first_and_filters_narrow_them() {
    let world = world().await;
    for (n, key) in ["main", "a", "b", "agent:work:c", "agent:work:d"]
        .into_iter()
        .enumerate()
    {
        let n = i64::try_from(n).unwrap();
        world.say(key, &format!("Hello {key} 100%"), 1000 + n).await;
    }
    let all = world.list(ListQuery::default()).await;
    assert_eq!(names(&all), ["d", "c", "b", "a", "main"]);
    assert_eq!((all.total, all.has_more), (5, false));
    assert_eq!(
        all.sessions[0].title.as_deref(),
        Some("Hello agent:work:d 100%")
    );

    let first = world
        .list(ListQuery {
            limit: 2,
            ..Default::default()
        })
        .await;
    assert_eq!(names(&first), ["d", "c"]);
    assert_eq!((first.total, first.next_offset), (5, Some(2)));
    for query in [
        ListQuery {
            limit: 2,
            after: first.next.clone(),
            ..Default::default()
        },
        ListQuery {
            limit: 2,
            offset: 2,
            ..Default::default()
        },
    ] {
        assert_eq!(names(&world.list(query).await), ["b", "a"]);
    }
    let query = |change: fn(&mut ListQuery)| {
        let mut query = ListQuery::default();
        change(&mut query);
        world.list(query)
    };
    let work = query(|q| q.agent_id = Some("work".to_owned())).await;
    assert_eq!((names(&work), work.total), (vec!["d", "c"], 2));
    let recent = query(|q| q.active_since = Some(1003)).await;
    assert_eq!((names(&recent), recent.total), (vec!["d", "c"], 2));
    let found = query(|q| q.search = Some("HELLO B 100%".to_owned())).await;
    assert_eq!((names(&found), found.total), (vec!["b"], 1));
    let none = query(|q| q.search = Some("100_".to_owned())).await;
    assert_eq!(none.total, 0);
}

#[tokio::test]
async fn a_patch_sets_clears_and_refuses() {
    let world = world().await;
    let key = world.key("main");
    let patch = SessionPatch {
        label: Change::Set("home".to_owned()),
        thinking_level: Change::Set("low".to_owned()),
        ..Default::default()
    };
    let session = world.sessions.patch(&key, patch).await.unwrap();
    assert_eq!(session.settings.thinking_level.as_deref(), Some("low"));
    let patch = SessionPatch {
        thinking_level: Change::Clear,
        ..Default::default()
    };
    let session = world.sessions.patch(&key, patch).await.unwrap();
    assert_eq!(session.settings, Settings::default());
    assert_eq!(session.label.as_deref(), Some("home"));

    let patch = SessionPatch {
        thinking_level: Change::Set("hard".to_owned()),
        ..Default::default()
    };
    let error = world.sessions.patch(&key, patch).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid thinkingLevel (use off|minimal|low|medium|high)"
    );
    let patch = SessionPatch {
        label: Change::Set("home".to_owned()),
        ..Default::default()
    };
    let other = world.key("other");
    let error = world.sessions.patch(&other, patch).await.unwrap_err();
    assert!(error.to_string().contains("\"home\""), "{error}");
    assert_eq!(world.sessions.describe(&other).await.unwrap(), None);
    let patch = SessionPatch {
        label: Change::Set("\u{1b}[31m".to_owned()),
        ..Default::default()
    };
    assert!(world.sessions.patch(&key, patch).await.is_err());
}

#[tokio::test]
async fn archived_sessions_leave_the_list_and_the_count() {
    let world = world().await;
    world.say("a", "x", 1).await;
    world.say("b", "x", 2).await;
    let patch = SessionPatch {
        archived: Some(true),
        ..Default::default()
    };
    world.sessions.patch(&world.key("a"), patch).await.unwrap();
    for (archived, expected) in [
        (Archived::No, vec!["b"]),
        (Archived::Only, vec!["a"]),
        (Archived::All, vec!["a", "b"]),
    ] {
        let page = world
            .list(ListQuery {
                archived,
                ..Default::default()
            })
            .await;
        assert_eq!(names(&page), expected);
        assert_eq!(page.total, expected.len() as u64);
    }
    assert_eq!(world.sessions.count(None).await.unwrap(), 1);
}

#[tokio::test]
async fn delete_keeps_or_forgets_the_transcript_and_takes_an_unknown_session_calmly() {
    let world = world().await;
    world.say("main", "x", 1).await;
    let kept = world.say("a", "x", 2).await;
    let delete = async |name: &str, with_transcript| {
        let (key, sessions) = (world.key(name), world.store.sessions());
        let deleted = sessions.delete(&key, with_transcript, Vec::new(), 5).await;
        deleted.unwrap().0
    };
    assert_eq!(delete("nope", true).await, Deleted::default());
    let deleted = delete("a", false).await;
    assert_eq!(deleted.archived, [&*kept.session_id]);
    assert_eq!(world.list(ListQuery::default()).await.total, 1);

    let fresh = world.say("a", "y", 3).await;
    assert_ne!(fresh.session_id, kept.session_id);
    let deleted = delete("a", true).await;
    assert!(deleted.deleted && deleted.archived.is_empty());
    let (left, _) = world
        .store
        .sessions()
        .messages(&fresh.session_id, Span::Last, 10)
        .await
        .unwrap();
    assert!(left.is_empty());
}
