//! Streaming, ends, and what a lost link does to a transcript.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use serde_json::json;

use super::world::{SESSION, World, reads};
use crate::app::effect::Effect;
use crate::app::msg::{Done, Msg, Reading};
use crate::panes::chat::entry::{End, Kind};

fn asked() -> World {
    let mut world = World::linked();
    world.say("why?");
    world.sent("key-1");
    world
}

#[test]
fn an_answer_grows_in_place_and_ends_once() {
    let mut world = asked();
    world.delta("key-1", 1, "Be");
    world.delta("key-1", 2, "Because");
    assert_eq!(world.shown(), ["you: why?", "agent: Because"]);
    let effects = world.end("key-1", "final", Some("Because so."));
    assert!(reads(&effects), "history is read after the end");
    world.end("key-1", "error", None);
    world.delta("key-1", 3, "late");
    assert_eq!(world.shown(), ["you: why?", "agent: Because so."]);
    assert!(world.model.chat.runs.is_empty());
}

#[test]
fn history_after_the_end_shows_everything_once() {
    let mut world = asked();
    world.delta("key-1", 1, "Because");
    world.end("key-1", "final", Some("Because so."));
    world.history(json!([
        {"role":"user","content":"why?","idempotencyKey":"key-1:user","timestamp":1,"__openclaw":{"id":"m1","seq":1}},
        {"role":"assistant","content":[{"type":"text","text":"Because  so."}],"timestamp":2,"__openclaw":{"id":"m2","seq":2,"runId":"key-1"}},
    ]));
    assert_eq!(world.shown(), ["you: why?", "agent: Because  so."]);
}

#[test]
fn version_3_without_names_shows_everything_once_too() {
    let mut world = World::linked_to_other();
    world.say("why?");
    world.sent("key-1");
    world.delta("key-1", 1, "let me check");
    world.event("agent", json!({"runId":"key-1","sessionKey":SESSION,"stream":"tool","data":{"phase":"start","name":"exec","toolCallId":"c1","args":{"command":"du"}}}));
    world.delta("key-1", 9, "It is full.");
    assert_eq!(
        world.shown(),
        [
            "you: why?",
            "agent: let me check",
            "tool: exec du",
            "agent: It is full."
        ]
    );
    world.end("key-1", "final", Some("It is full."));
    let page = json!([
        {"role":"user","content":"why?","timestamp":super::world::START_MS},
        {"role":"assistant","content":[{"type":"text","text":"let me check"},{"type":"toolCall","id":"c1","name":"exec","arguments":{"command":"du"}}],"timestamp":5},
        {"role":"toolResult","toolCallId":"c1","toolName":"exec","content":[{"type":"text","text":"81G"}],"timestamp":6},
        {"role":"assistant","content":[{"type":"text","text":"It is full."}],"timestamp":7},
    ]);
    world.history(page.clone());
    world.history(page);
    assert_eq!(
        world.shown(),
        [
            "you: why?",
            "agent: let me check",
            "tool: exec du",
            "agent: It is full."
        ]
    );
}

#[test]
fn text_before_a_tool_stays_even_when_no_tool_was_heard_of() {
    let mut world = asked();
    world.delta("key-1", 1, "let me check");
    world.delta("key-1", 2, "The tool said");
    assert_eq!(
        world.shown(),
        ["you: why?", "agent: let me check", "agent: The tool said"]
    );
}

#[test]
fn a_final_without_words_leaves_no_empty_answer() {
    let mut world = asked();
    world.end("key-1", "final", None);
    assert_eq!(world.shown(), ["you: why?"]);
}

#[test]
fn a_stopped_answer_keeps_its_words_and_says_so() {
    let mut world = asked();
    world.delta("key-1", 1, "Because of");
    let effects = world.press(KeyCode::Esc, KeyModifiers::NONE);
    let stop = Effect::Abort {
        session: SESSION.into(),
        run: Some("key-1".into()),
    };
    assert_eq!(effects, [stop]);
    world.end("key-1", "aborted", None);
    let last = world
        .model
        .chat
        .transcript
        .entries()
        .last()
        .map(|entry| entry.kind.clone());
    let Some(Kind::Assistant { text, end, .. }) = last else {
        panic!("{last:?}")
    };
    assert_eq!((text.as_str(), end), ("Because of", End::Stopped));
}

#[test]
fn a_failed_answer_shows_the_words_of_the_gateway() {
    let mut world = asked();
    world.end("key-1", "error", None);
    world.end("key-1", "error", None);
    let screen = world.screen(80, 24);
    assert!(screen.contains("failed: 400 model exploded"), "{screen}");
    assert_eq!(screen.matches("exploded").count(), 1, "{screen}");
}

#[test]
fn a_link_lost_in_mid_answer_repeats_and_loses_nothing() {
    let mut world = asked();
    world.delta("key-1", 1, "Because of the");
    world.disconnect();
    world.pass(Duration::from_secs(12));
    world.link_up();
    let effects = world.connect(true);
    assert!(reads(&effects), "history first: {effects:?}");
    assert!(super::world::sends(&effects).is_empty());
    let effects = world.history(json!([
        {"role":"user","content":"why?","idempotencyKey":"key-1:user","timestamp":1,"__openclaw":{"id":"m1","seq":1}},
    ]));
    assert!(
        effects.contains(&Effect::AskRun {
            run: "key-1".into()
        }),
        "{effects:?}"
    );
    world.delta("key-1", 7, "Because of the moon.");
    world.end("key-1", "final", Some("Because of the moon."));
    world.history(json!([
        {"role":"user","content":"why?","idempotencyKey":"key-1:user","timestamp":1,"__openclaw":{"id":"m1","seq":1}},
        {"role":"assistant","content":[{"type":"text","text":"Because of the moon."}],"timestamp":2,"__openclaw":{"id":"m2","seq":2,"runId":"key-1"}},
    ]));
    assert_eq!(
        world.shown(),
        [
            "you: why?",
            "agent: Because of the moon.",
            "- link back, 12 s missed"
        ]
    );
}

#[test]
fn a_line_about_the_link_stays_where_it_was_while_history_is_still_empty() {
    // Version 3 writes its transcript when the run has ended.
    let mut world = World::linked_to_other();
    world.say("why?");
    world.sent("key-1");
    world.delta("key-1", 1, "Because");
    world.disconnect();
    world.link_up();
    world.connect(false);
    world.history(json!([]));
    let missed = "- link back, less than a second missed";
    assert_eq!(world.shown(), ["you: why?", "agent: Because", missed]);
    world.end("key-1", "final", Some("Because so."));
    world.history(json!([
        {"role":"user","content":"why?","timestamp":super::world::START_MS},
        {"role":"assistant","content":"Because so.","timestamp":super::world::START_MS + 1},
    ]));
    assert_eq!(world.shown(), ["you: why?", "agent: Because so.", missed]);
}

#[test]
fn an_answer_that_ended_while_the_link_was_down_is_complete_and_no_longer_runs() {
    let mut world = asked();
    world.delta("key-1", 1, "Because");
    world.disconnect();
    world.link_up();
    world.connect(true);
    let effects = world.history(json!([
        {"role":"user","content":"why?","idempotencyKey":"key-1:user","timestamp":1,"__openclaw":{"id":"m1","seq":1}},
        {"role":"assistant","content":[{"type":"text","text":"Because of the moon."}],"timestamp":2,"__openclaw":{"id":"m2","seq":2,"runId":"key-1"}},
    ]));
    assert!(effects.contains(&Effect::AskRun {
        run: "key-1".into()
    }));
    world.done(Done::RunStatus {
        run: "key-1".into(),
        result: Ok(("ok".into(), None)),
    });
    assert!(world.model.chat.runs.is_empty());
    let answers = world
        .shown()
        .iter()
        .filter(|text| text.starts_with("agent:"))
        .cloned()
        .collect::<Vec<_>>();
    assert_eq!(answers, ["agent: Because of the moon."]);
}

#[test]
fn more_missed_than_a_page_holds_replaces_what_is_shown() {
    let mut world = World::linked();
    world.page(
        Reading::Newest,
        json!([{"role":"user","content":"old","timestamp":1,"__openclaw":{"id":"m1","seq":1}}]),
    );
    world.page(
        Reading::Newest,
        json!([{"role":"user","content":"new","timestamp":9,"__openclaw":{"id":"m900","seq":900}}]),
    );
    assert_eq!(world.shown(), ["you: new"]);
}

#[test]
fn a_message_from_elsewhere_appears_before_its_answer() {
    let mut world = World::linked();
    world.delta("other", 1, "Sure");
    world.event("session.message", json!({"sessionKey":SESSION,"messageSeq":1,"message":{"role":"user","content":"from the phone","idempotencyKey":"other:user","__openclaw":{"id":"m1","seq":1}}}));
    assert_eq!(world.shown(), ["you: from the phone", "agent: Sure"]);
    world.event("session.message", json!({"sessionKey":SESSION,"messageSeq":1,"message":{"role":"user","content":"from the phone","idempotencyKey":"other:user","__openclaw":{"id":"m1","seq":1}}}));
    assert_eq!(world.shown().len(), 2);
}

#[test]
fn another_session_only_gets_a_mark() {
    let mut world = World::linked();
    world.event("chat", json!({"runId":"r","sessionKey":"agent:main:research","seq":1,"state":"delta","message":{"role":"assistant","content":"x"}}));
    assert!(world.model.sessions.is_running("agent:main:research"));
    world.event(
        "chat",
        json!({"runId":"r","sessionKey":"agent:main:research","seq":2,"state":"final"}),
    );
    assert!(world.model.sessions.unread.contains("agent:main:research"));
    assert!(world.shown().is_empty());
}

#[test]
fn a_gap_reads_history_and_one_reading_follows_another() {
    let mut world = World::linked();
    assert!(reads(&world.send(Msg::Gap)));
    assert!(!reads(&world.send(Msg::Gap)), "one at a time");
    assert!(reads(&world.history(json!([]))), "the second one follows");
}

#[test]
fn a_long_answer_that_history_cuts_stays_whole() {
    let mut world = asked();
    let whole = "word ".repeat(3000);
    let whole = whole.trim_end();
    world.delta("key-1", 1, whole);
    world.end("key-1", "final", Some(whole));
    let cut = format!("{}\n...(truncated)...", &whole[..8000]);
    world.history(json!([
        {"role":"user","content":"why?","idempotencyKey":"key-1:user","__openclaw":{"id":"m1","seq":1}},
        {"role":"assistant","content":cut,"timestamp":2,"__openclaw":{"id":"m2","seq":2,"runId":"key-1"}},
    ]));
    assert_eq!(
        world.shown(),
        ["you: why?".to_owned(), format!("agent: {whole}")]
    );
}

#[test]
fn older_messages_come_when_the_reader_reaches_the_first_one_and_nothing_jumps() {
    let mut world = World::linked();
    let page = |from: u64, to: u64| {
        let message = |i| json!({"role":"user","content":format!("line {i}"),"timestamp":i+1,"__openclaw":{"id":format!("m{i}"),"seq":i}});
        let messages: Vec<_> = (from..to).map(message).collect();
        serde_json::from_value::<Vec<clawline::protocol::methods::chat::ChatMessage>>(json!(
            messages
        ))
        .expect("messages")
    };
    let came = |world: &mut World, reading, messages, next_offset: Option<u64>| {
        let reply = clawline::protocol::methods::chat::ChatHistoryReply {
            messages,
            has_more: Some(next_offset.is_some()),
            next_offset,
            ..Default::default()
        };
        world.done(Done::History {
            session: SESSION.into(),
            reading,
            result: Ok(Box::new(reply)),
        })
    };
    came(&mut world, Reading::Newest, page(20, 60), Some(40));
    world.screen(80, 24);
    let effects = world.press(KeyCode::Home, KeyModifiers::CONTROL);
    let wanted = Effect::ReadHistory {
        session: SESSION.into(),
        reading: Reading::Older,
        offset: Some(40),
        cursor: None,
    };
    assert_eq!(effects, [wanted]);
    assert!(
        world.press(KeyCode::PageUp, KeyModifiers::NONE).is_empty(),
        "asked once"
    );
    let before = world.screen(80, 24);
    // One message more came in between, so the page repeats one.
    came(&mut world, Reading::Older, page(0, 21), None);
    assert_eq!(world.model.chat.transcript.entries().len(), 60);
    assert_eq!(before.lines().nth(5), world.screen(80, 24).lines().nth(5));
    world.press(KeyCode::Home, KeyModifiers::CONTROL);
    assert!(world.screen(80, 24).contains("line 0"));
}

#[test]
fn a_reader_further_up_is_not_moved_and_is_told_what_came() {
    let mut world = World::linked();
    let messages: Vec<_> = (0..60)
        .map(|i| json!({"role":"user","content":format!("line {i}"),"timestamp":i+1,"__openclaw":{"id":format!("m{i}"),"seq":i}}))
        .collect();
    world.page(Reading::Newest, json!(messages));
    world.screen(80, 24);
    world.press(KeyCode::PageUp, KeyModifiers::NONE);
    world.press(KeyCode::PageUp, KeyModifiers::NONE);
    let before = world.screen(80, 24);
    world.delta("r", 1, "an answer");
    let after = world.screen(80, 24);
    assert!(after.contains("1 new ↓"), "{after}");
    assert_eq!(before.lines().nth(3), after.lines().nth(3));
    world.press(KeyCode::End, KeyModifiers::CONTROL);
    let end = world.screen(80, 24);
    assert!(end.contains("an answer") && !end.contains("new ↓"), "{end}");
}

#[test]
fn a_transcript_of_100_000_lines_is_scrolled_and_painted_quickly() {
    let mut world = World::linked();
    let text =
        "one line of an answer that is long enough to wrap once on a narrow screen, as most are\n"
            .repeat(10);
    let messages: Vec<_> = (0..10_000)
        .map(|i| json!({"role":"assistant","content":text,"timestamp":i+1,"__openclaw":{"id":format!("m{i}"),"seq":i}}))
        .collect();
    world.page(Reading::Newest, json!(messages));
    world.screen(110, 30);
    let started = std::time::Instant::now();
    const STEPS: u32 = 40;
    for _ in 0..STEPS {
        world.press(KeyCode::PageUp, KeyModifiers::NONE);
        crate::app::view::layout(&mut world.model);
    }
    // Generous, as this is an unoptimised build on a busy machine; wrapping all of it takes seconds.
    let each = started.elapsed() / STEPS;
    assert!(each < Duration::from_millis(500), "{each:?}");
}
