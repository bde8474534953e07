//! What version 4 added to answers and events that version 3 already had. Connections of version 3 are sent them
//! without it: their shapes are pinned by recordings of the official gateway.

use serde_json::{Map, Value};

/// Where, as a path in which `*` is every item of a list, and which members.
type Place = (&'static str, &'static [&'static str]);

const EVENT_AGENT: &str = "agent";
const HEALTH: &[&str] = &[
    "plugins",
    "configReload",
    "modelRuntime",
    "eventLoop",
    "config",
    "runs",
    "connections",
    "nodes",
    "uptimeMs",
    "store",
];
const PRESENCE: &[&str] = &["clientId", "onlineSince"];
const SESSION: &[&str] = &[
    "isMain",
    "archived",
    "pinned",
    "unread",
    "status",
    "lastRunId",
    "hasActiveRun",
    "createdAt",
    "startedAt",
    "endedAt",
    "lifecycleRevision",
    "messageCount",
    "estimatedCostUsd",
];
/// A row of `status` has an agent in version 3 too, and other rows have these.
const STATUS_ROW: &[&str] = &["chatType", "modelProvider"];
const OTHER_ROW: &[&str] = &["agentId"];
const MESSAGE: &[&str] = &[
    "__openclaw",
    "idempotencyKey",
    "usage",
    "aborted",
    "interrupted",
    "excludeFromContext",
];
const DEVICE: &[&str] = &["approvedVia", "lastSeenAtMs", "lastSeenReason", "connected"];
const NODE: &[&str] = &[
    "clientId",
    "clientMode",
    "deviceFamily",
    "lastConnectedAtMs",
    "lastDisconnectedAtMs",
    "lastSeenAtMs",
    "lastSeenReason",
    "lastHostStats",
    "requiredApproveScopes",
    "silent",
];

/// Lists that version 3 leaves out of a node's request where they are empty.
const NODE_LISTS: &[&str] = &["caps", "commands"];

fn of_answer(method: &str) -> &'static [Place] {
    match method {
        "connect" => &[
            ("/features", &["capabilities"]),
            ("/snapshot/health", HEALTH),
            ("/snapshot/presence/*", PRESENCE),
        ],
        "health" => &[("", HEALTH)],
        "status" => &[
            (
                "",
                &[
                    "runtimeVersion",
                    "pid",
                    "uptimeMs",
                    "startedAtMs",
                    "connections",
                ],
            ),
            ("/sessions/defaults", &["modelProvider"]),
            ("/sessions/recent/*", SESSION),
            ("/sessions/recent/*", STATUS_ROW),
            ("/sessions/byAgent/*/recent/*", SESSION),
            ("/sessions/byAgent/*/recent/*", STATUS_ROW),
        ],
        "system-presence" => &[("/*", PRESENCE)],
        "channels.status" => &[("", &["statusIssues"])],
        "config.get" => &[("", &["sourceConfig", "runtimeConfig", "includedPaths"])],
        "cron.list" => &[(
            "",
            &[
                "total",
                "offset",
                "limit",
                "hasMore",
                "nextOffset",
                "snapshotRevision",
                "deliveryPreviews",
            ],
        )],
        "skills.status" => &[("", &["agentId"])],
        "agents.list" => &[
            ("", &["ownership", "selectionRequired"]),
            (
                "/agents/*",
                &[
                    "model",
                    "thinkingLevels",
                    "thinkingOptions",
                    "thinkingDefault",
                ],
            ),
        ],
        "agent.identity.get" => &[("", &["nameSource"])],
        "models.list" => &[(
            "/models/*",
            &["tags", "thinkingLevels", "thinkingDefault", "available"],
        )],
        "sessions.list" => &[
            (
                "",
                &[
                    "totalCount",
                    "limitApplied",
                    "nextOffset",
                    "hasMore",
                    "owners",
                ],
            ),
            ("/sessions/*", SESSION),
            ("/sessions/*", OTHER_ROW),
        ],
        "sessions.resolve" => &[("", &["agentId"])],
        "sessions.patch" => &[
            ("/entry", SESSION),
            ("/entry", OTHER_ROW),
            ("/entry", &["kind"]),
            ("/resolved", &["contextTokens"]),
        ],
        "sessions.reset" => &[
            ("/entry", SESSION),
            ("/entry", OTHER_ROW),
            ("/entry", &["kind"]),
            ("", &["resolved"]),
        ],
        "sessions.compact" => &[("", &["reason"])],
        "chat.history" => &[
            (
                "",
                &[
                    "defaults",
                    "pendingInputs",
                    "sessionInfo",
                    "inFlightRun",
                    "deltaCursor",
                    "hasMore",
                    "nextOffset",
                    "totalMessages",
                ],
            ),
            ("/messages/*", MESSAGE),
        ],
        "agent" => &[
            ("", &["sessionKey", "agentId"]),
            ("/result/meta", &["stopReason"]),
        ],
        "sessions.usage" => &[("/sessions/*", &["scope"]), ("/aggregates", &["byCreator"])],
        "agent.wait" => &[("", &["stopReason", "terminalReply"])],
        "device.pair.list" => &[
            ("/paired/*", DEVICE),
            ("/pending/*", &["reason", "expiresAtMs"]),
        ],
        "device.pair.approve" => &[("/device", DEVICE)],
        "node.pair.request" => &[("/request", NODE)],
        "node.pair.list" => &[("/pending/*", NODE), ("/paired/*", NODE)],
        "node.pair.approve" | "node.pair.verify" => &[("/node", NODE)],
        _ => &[],
    }
}

fn of_event(name: &str) -> &'static [Place] {
    match name {
        "health" => &[("", HEALTH)],
        "presence" => &[("/presence/*", PRESENCE)],
        EVENT_AGENT => &[
            ("", &["agentId", "sessionId"]),
            ("/data", &["provider", "model", "stopReason", "aborted"]),
        ],
        "chat" => &[
            ("", &["agentId", "deltaText", "errorKind"]),
            (
                "/message",
                &["__openclaw", "idempotencyKey", "aborted", "interrupted"],
            ),
        ],
        "node.pair.requested" => &[("", NODE)],
        _ => &[],
    }
}

/// Whether version 3 is answered otherwise than version 4 by this method.
pub fn is_answer_changed(method: &str) -> bool {
    !of_answer(method).is_empty()
}

/// Whether version 3 knows this event of version 4, where it is sent to everybody who may see it.
pub fn has_event(name: &str) -> bool {
    !matches!(
        name,
        "node.hostStats" | "node.runnerInventory.changed" | "voicewake.routing.changed"
    )
}

/// Whether this event looks otherwise in version 3.
pub fn is_event_changed(name: &str) -> bool {
    !of_event(name).is_empty()
}

/// Leaves out of a good answer what version 4 added to it.
pub fn answer(method: &str, payload: &mut Value) {
    leave_out(payload, of_answer(method));
}

/// Leaves out of an event's payload what version 4 added to it.
pub fn event(name: &str, payload: &mut Value) {
    leave_out(payload, of_event(name));
    let data = payload.get_mut("data").and_then(Value::as_object_mut);
    // Version 3 tells the start of a run when it starts, version 4 again when it ends.
    if let (EVENT_AGENT, Some(data)) = (name, data)
        && data.get("phase").is_some_and(|phase| phase != "start")
    {
        data.remove("startedAt");
    }
}

fn leave_out(payload: &mut Value, places: &[Place]) {
    for (path, members) in places {
        let steps: Vec<&str> = path.split('/').skip(1).collect();
        at_each(payload, &steps, &mut |object| {
            object.retain(|name, _| !members.contains(&name.as_str()));
            if *members == NODE {
                let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
                object
                    .retain(|name, value| !NODE_LISTS.contains(&name.as_str()) || !is_empty(value));
            }
        });
    }
}

fn at_each(value: &mut Value, steps: &[&str], change: &mut impl FnMut(&mut Map<String, Value>)) {
    match (steps, value) {
        ([], Value::Object(object)) => change(object),
        (["*", rest @ ..], Value::Array(items)) => {
            for item in items {
                at_each(item, rest, change);
            }
        }
        ([step, rest @ ..], Value::Object(object)) => {
            if let Some(value) = object.get_mut(*step) {
                at_each(value, rest, change);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_version_4_added_is_left_out_wherever_it_stands() {
        let mut list = json!({
            "count": 2, "hasMore": false,
            "sessions": [{"key": "a", "pinned": true}, {"key": "b", "label": "x", "isMain": false}],
        });
        answer("sessions.list", &mut list);
        assert_eq!(
            list,
            json!({"count": 2, "sessions": [{"key": "a"}, {"key": "b", "label": "x"}]})
        );
        let mut bare = json!([{"host": "h", "clientId": "cli"}, 7]);
        answer("system-presence", &mut bare);
        assert_eq!(bare, json!([{"host": "h"}, 7]));
    }

    #[test]
    fn a_run_tells_its_start_once() {
        for (phase, is_told) in [("start", true), ("end", false), ("error", false)] {
            let mut payload = json!({"stream": "lifecycle", "agentId": "main"});
            payload["data"] = json!({"phase": phase, "startedAt": 1});
            event("agent", &mut payload);
            assert_eq!(payload["data"]["startedAt"].is_number(), is_told, "{phase}");
            assert_eq!(payload.get("agentId"), None);
        }
    }

    #[test]
    fn what_is_the_same_in_both_versions_stays() {
        let mut reply = json!({"ok": true, "agentId": "main"});
        answer("chat.abort", &mut reply);
        event("tick", &mut reply);
        assert_eq!(reply, json!({"ok": true, "agentId": "main"}));
        assert!(!is_answer_changed("chat.abort") && !is_event_changed("tick"));
        assert!(has_event("tick") && !has_event("node.hostStats"));
        let mut text = json!("not an object");
        answer("health", &mut text);
        assert_eq!(text, json!("not an object"));
    }
}
