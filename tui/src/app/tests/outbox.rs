//! Messages on their way to the gateway.

use clawline::protocol::error::{ErrorCode, RpcError};
use serde_json::json;

use super::world::{SESSION, START_MS, World, reads, sends};
use crate::app::effect::Effect;
use crate::app::msg::{Done, Failure};
use crate::outbox::{Delivery, Message};
use crate::panes::chat::entry::Kind;

fn delivery(world: &World) -> Vec<Option<Delivery>> {
    let entries = world.model.chat.transcript.entries().iter();
    entries
        .filter_map(|entry| match &entry.kind {
            Kind::User { delivery, .. } => Some(delivery.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_message_is_on_disk_before_it_is_sent_and_accepted_with_the_answer() {
    let mut world = World::linked();
    world.type_text("hello");
    let effects = world.enter();
    let Some(Effect::Store(message)) = effects.first() else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (message.text.as_str(), message.key.as_str()),
        ("hello", "key-1")
    );
    assert!(sends(&effects).is_empty());
    assert_eq!(delivery(&world), [Some(Delivery::Queued)]);
    let effects = world.store(effects);
    assert_eq!(sends(&effects).len(), 1);
    assert_eq!(delivery(&world), [Some(Delivery::Sent)]);
    let effects = world.sent("key-1");
    let accepted = Effect::Note {
        key: "key-1".into(),
        delivery: Delivery::Accepted,
    };
    assert!(effects.contains(&accepted), "{effects:?}");
    assert_eq!(delivery(&world), [Some(Delivery::Accepted)]);
    assert_eq!(world.model.outbox.waiting(), 0);
}

#[test]
fn another_gateway_s_answer_is_not_enough_its_transcript_is() {
    let mut world = World::linked_to_other();
    world.say("hello");
    world.sent("key-1");
    assert_eq!(delivery(&world), [Some(Delivery::Sent)]);
    assert_eq!(world.model.outbox.waiting(), 1);
    world.event("session.message", json!({"sessionKey":SESSION,"message":{"role":"user","content":"hello","idempotencyKey":"key-1:user"}}));
    assert_eq!(delivery(&world), [Some(Delivery::Accepted)]);
    assert_eq!(world.model.outbox.waiting(), 0);
}

#[test]
fn what_is_typed_offline_waits_and_goes_out_once_after_history() {
    let mut world = World::offline();
    let effects = world.say("later");
    assert!(sends(&effects).is_empty());
    assert_eq!(delivery(&world), [Some(Delivery::Queued)]);
    world.link_up();
    let effects = world.connect(true);
    assert!(reads(&effects) && sends(&effects).is_empty(), "{effects:?}");
    let effects = world.history(json!([]));
    assert_eq!(sends(&effects).len(), 1);
    assert!(sends(&world.send(crate::app::msg::Msg::Tick)).is_empty());
    assert_eq!(world.shown(), ["you: later"]);
}

#[test]
fn after_a_lost_answer_the_same_key_goes_out_only_if_history_does_not_show_it() {
    for arrived in [true, false] {
        let mut world = World::linked();
        world.say("hello");
        world.disconnect();
        let lost = Failure::Unknown("the connection was lost".into());
        assert!(
            sends(&world.done(Done::Sent {
                key: "key-1".into(),
                result: Err(lost)
            }))
            .is_empty()
        );
        world.link_up();
        assert!(sends(&world.connect(true)).is_empty());
        let page = if arrived {
            json!([{"role":"user","content":"hello","idempotencyKey":"key-1:user","__openclaw":{"id":"m1","seq":1}}])
        } else {
            json!([])
        };
        let effects = world.history(page);
        let again: Vec<&str> = sends(&effects)
            .iter()
            .map(|message| message.key.as_str())
            .collect();
        let expected: &[&str] = if arrived { &[] } else { &["key-1"] };
        assert_eq!(again, expected);
        assert_eq!(
            world
                .shown()
                .iter()
                .filter(|text| *text == "you: hello")
                .count(),
            1
        );
    }
}

#[test]
fn what_the_disk_refuses_goes_back_to_the_input() {
    let mut world = World::linked();
    world.type_text("precious");
    let effects = world.enter();
    let Some(Effect::Store(message)) = effects.first() else {
        panic!("{effects:?}")
    };
    world.done(Done::Stored(message.clone(), Err("disk full".into())));
    assert_eq!(world.model.chat.composer.text(), "precious");
    assert!(world.shown().is_empty());
}

#[test]
fn a_refusal_is_shown_and_retry_sends_again() {
    let mut world = World::linked();
    world.say("hello");
    let refused = Failure::Refused(Box::new(RpcError::invalid("too long")));
    world.done(Done::Sent {
        key: "key-1".into(),
        result: Err(refused),
    });
    assert_eq!(
        delivery(&world),
        [Some(Delivery::Failed("too long".into()))]
    );
    assert!(world.screen(80, 24).contains("not sent: too long"));
    let effects = world.say("/retry");
    assert!(effects.is_empty(), "nothing to store");
    assert_eq!(
        delivery(&world),
        [Some(Delivery::Sent)],
        "it went out again"
    );
}

#[test]
fn a_gateway_that_asks_to_wait_is_asked_again_later() {
    let mut world = World::linked();
    world.say("hello");
    let busy = RpcError::new(ErrorCode::Unavailable, "starting").retry_after(700);
    let effects = world.done(Done::Sent {
        key: "key-1".into(),
        result: Err(Failure::Refused(Box::new(busy))),
    });
    assert!(
        effects.contains(&Effect::Wake { after_ms: 700 }),
        "{effects:?}"
    );
    assert!(sends(&effects).is_empty());
    assert_eq!(sends(&world.done(Done::Awake)).len(), 1);
}

#[test]
fn what_was_on_disk_at_start_is_shown_and_checked_before_it_goes_out() {
    let mut world = World::offline();
    let kept = Message {
        key: "old".into(),
        session: SESSION.into(),
        text: "from yesterday".into(),
        at: START_MS - 1000,
        delivery: Delivery::Sent,
    };
    world.done(Done::Outbox(Ok(vec![kept])));
    assert_eq!(world.shown(), ["you: from yesterday"]);
    world.link_up();
    world.connect(true);
    let effects = world.history(json!([{"role":"user","content":"from yesterday","idempotencyKey":"old:user","__openclaw":{"id":"m1","seq":1}}]));
    assert!(sends(&effects).is_empty());
    assert_eq!(world.shown(), ["you: from yesterday"]);
    assert_eq!(world.model.outbox.waiting(), 0);
}

#[test]
fn messages_of_a_session_that_is_not_open_are_checked_on_their_own() {
    let mut world = World::offline();
    let kept = Message {
        key: "old".into(),
        session: "agent:main:other".into(),
        text: "x".into(),
        at: START_MS,
        delivery: Delivery::Queued,
    };
    world.done(Done::Outbox(Ok(vec![kept])));
    world.link_up();
    let effects = world.connect(true);
    let read = effects.iter().any(|effect| {
        matches!(effect, Effect::ReadHistory { session, reading: crate::app::msg::Reading::Outbox, .. } if session == "agent:main:other")
    });
    assert!(read, "{effects:?}");
}
