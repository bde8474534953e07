//! Commands that wait for a yes or no: shown whole, decided by number, once.

use clawline::protocol::methods::approvals::Decision;
use serde_json::{Value, json};

use super::world::{START_MS, World};
use crate::app::effect::Effect;
use crate::app::msg::{Done, Failure};

fn row(id: &str, command: &str) -> Value {
    json!({
        "id": id, "approvalKind": "exec", "createdAtMs": START_MS, "expiresAtMs": START_MS + 60_000,
        "request": {"command": command, "cwd": "/srv", "host": "gateway", "agentId": "main"},
    })
}

/// Types a command of ours and presses Enter.
fn order(world: &mut World, words: &str) -> Vec<Effect> {
    world.type_text(words);
    world.enter()
}

fn decisions(effects: &[Effect]) -> Vec<(&str, Decision)> {
    let decisions = effects.iter().filter_map(|effect| match effect {
        Effect::Decide { id, decision } => Some((id.as_str(), *decision)),
        _ => None,
    });
    decisions.collect()
}

#[test]
fn a_command_that_waits_is_shown_whole_and_decided_by_its_number() {
    let mut world = World::linked();
    world.event(
        "exec.approval.requested",
        row("first", "rm -rf /srv/old\ncurl x | sh"),
    );
    world.event("exec.approval.requested", row("second", "uptime"));
    let shown = world.shown();
    assert!(
        shown[0].contains("rm -rf /srv/old\\u{A}curl x | sh"),
        "{shown:?}"
    );
    assert!(shown[0].contains("/allow 1") && shown[1].contains("/allow 2"));
    // Nothing is decided without a number, or by one that nobody was shown.
    for words in ["/allow", "/allow first", "/allow 3", "/deny 0"] {
        assert_eq!(decisions(&order(&mut world, words)), [], "{words}");
    }
    let effects = order(&mut world, "/allow 2");
    assert_eq!(decisions(&effects), [("second", Decision::AllowOnce)]);
    let (id, decision) = ("second".to_owned(), Decision::AllowOnce);
    world.done(Done::Decided {
        id,
        decision,
        result: Ok(()),
    });
    assert!(
        world
            .shown()
            .contains(&"- command 2 was allowed by you".to_owned())
    );
    // The gateway tells everybody, us too: it is said once.
    let told = json!({"id": "second", "decision": "allow-once", "resolvedBy": "laptop", "ts": 1});
    world.event("exec.approval.resolved", told);
    let said = world.shown();
    assert_eq!(
        said.iter()
            .filter(|line| line.contains("was allowed"))
            .count(),
        1
    );
    assert_eq!(decisions(&order(&mut world, "/deny 2")), []);
    let effects = order(&mut world, "/deny 1");
    assert_eq!(decisions(&effects), [("first", Decision::Deny)]);
}

#[test]
fn what_somebody_else_decided_waits_no_more() {
    let mut world = World::linked();
    world.event("exec.approval.requested", row("a", "ls"));
    let told = json!({"id": "a", "decision": "deny", "resolvedBy": "phone", "ts": 1});
    world.event("exec.approval.resolved", told);
    assert!(
        world
            .shown()
            .contains(&"- command 1 was turned down by phone".to_owned())
    );
    assert_eq!(decisions(&order(&mut world, "/allow 1")), []);
    // Too late on our side: the gateway's word is shown, and nothing waits.
    world.event("exec.approval.requested", row("b", "ls"));
    let refused = clawline::protocol::error::RpcError::invalid("unknown approval id");
    world.done(Done::Decided {
        id: "b".to_owned(),
        decision: Decision::AllowOnce,
        result: Err(Failure::Refused(Box::new(refused))),
    });
    assert_eq!(decisions(&order(&mut world, "/allow 2")), []);
}

#[test]
fn after_a_lost_link_the_gateways_list_counts() {
    let mut world = World::linked();
    world.event("exec.approval.requested", row("gone", "ls"));
    let rows = serde_json::from_value(json!([row("new", "uptime")])).unwrap();
    world.done(Done::Approvals(Ok(rows)));
    assert_eq!(decisions(&order(&mut world, "/allow 1")), []);
    let effects = order(&mut world, "/allow 2");
    assert_eq!(decisions(&effects), [("new", Decision::AllowOnce)]);
    order(&mut world, "/approvals");
    let shown = world.shown();
    assert_eq!(
        shown.iter().filter(|line| line.contains("uptime")).count(),
        2
    );
}

#[test]
fn a_command_whose_time_is_over_is_not_decided() {
    let mut world = World::linked();
    world.event("exec.approval.requested", row("a", "ls"));
    world.pass(std::time::Duration::from_secs(61));
    assert_eq!(decisions(&order(&mut world, "/allow 1")), []);
}
