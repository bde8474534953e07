//! Large answers: rows of sessions, pages of history, a run's last answer, `status`, and lists.

use serde_json::json;

use super::super::replay::Part;
use super::super::table::{Row, added, free, less, missing, outcome, words};
use super::super::{ended, gateway, person, say};
use super::session_rows::{AS_A_ROW, HISTORY, LEVELS, NO_HARNESS, SESSIONS, WHERE_SET};
use super::{ALL, MORE, NO_LOOP, replay};

/// Rows that many answers have.
const PARTS: &[Part] = &[
    ("chat.history", "/defaults", "defaults"),
    ("chat.history", "/messages/*", "message"),
    ("chat.history", "/sessionInfo", "session"),
    ("chat.metadata", "/commands/*", "command"),
    ("chat.metadata", "/models/*", "model"),
    ("chat.startup", "/defaults", "defaults"),
    ("chat.startup", "/messages/*", "message"),
    ("chat.startup", "/metadata/commands/*", "command"),
    ("chat.startup", "/metadata/models/*", "model"),
    ("chat.startup", "/sessionInfo", "session"),
    ("commands.list", "/commands/*", "command"),
    ("models.list", "/models/*", "model"),
    ("sessions.create", "/entry", "entry"),
    ("sessions.describe", "/session", "session"),
    ("sessions.list", "/defaults", "defaults"),
    ("sessions.list", "/sessions/*", "session"),
    ("sessions.patch", "/entry", "entry"),
    ("sessions.reset", "/entry", "entry"),
    ("sessions.subscribe", "/list/defaults", "defaults"),
    ("sessions.subscribe", "/list/sessions/*", "session"),
    ("status", "/sessions/byAgent/*/recent/*", "status row"),
    ("status", "/sessions/recent/*", "status row"),
];

const WORK: &str = "agent:main:work";
const WORK2: &str = "agent:main:work2";

const CHOICES: &[Row] = &[
    missing(
        "agents.list",
        &[
            "/agents/*/agentRuntime",
            "/agents/*/defaultPermissionMode",
            "/agents/*/kind",
            "/agents/*/workspace",
            "/agents/*/workspaceGit",
        ],
        NO_HARNESS,
    ),
    missing(
        "chat.metadata",
        &["/accountSelection", "/runtimeSelectionLocked"],
        NO_HARNESS,
    ),
    missing(
        "chat.startup",
        &[
            "/metadata/accountSelection",
            "/metadata/runtimeSelectionLocked",
        ],
        NO_HARNESS,
    ),
    missing("models.list", &["/accountSelection"], NO_HARNESS),
    missing(
        "defaults",
        &["/agentRuntime", "/modelSelectionTarget"],
        NO_HARNESS,
    ),
    missing(
        "defaults",
        &["/thinkingDefault", "/thinkingLevels", "/thinkingOptions"],
        LEVELS,
    ),
    missing(
        "command",
        &["/args/*/choices", "/args/*/required"],
        "where a command has them",
    ),
    missing(
        "model",
        &["/contextWindow"],
        "where it is known: not of the built-in echo",
    ),
    missing(
        "model",
        &["/local"],
        "nothing here runs models on this machine",
    ),
    missing("skills.status", &["/skills/*"], "its agent has no skills"),
    missing(
        "tools.catalog",
        &["/groups/*", "/profiles/*"],
        "its agent has no tools",
    ),
    free(
        "config.schema",
        &["/schema", "/uiHints"],
        "cut in the recording",
    ),
];

const LAST_ANSWER: &[Row] = &[
    less(
        "agent",
        &["/result"],
        "reports on the prompt, tools and billing; the answer, its model and its tokens are there",
    ),
    added(
        "agent",
        &[
            "/result/meta/agentMeta/usage/cost/cacheRead",
            "/result/meta/agentMeta/usage/cost/cacheWrite",
            "/result/meta/agentMeta/usage/cost/input",
            "/result/meta/agentMeta/usage/cost/output",
        ],
        MORE,
    ),
];

const SYSTEM: &[Row] = &[
    words("approval.get", "`kind` may be left to us"),
    added(
        "approval.get refused",
        &["/details"],
        "more in `details` is harmless",
    ),
    outcome(
        "gateway.restart.preflight",
        "nothing restarts it from outside",
    ),
    outcome("gateway.suspend.status", "without parameters too"),
    missing("channels.status", &["/eventLoop"], NO_LOOP),
    missing(
        "status",
        &["/eventLoop", "/processMemory", "/workerPools"],
        NO_LOOP,
    ),
    missing("system.info", &["/eventLoop", "/processMemory"], NO_LOOP),
    missing("system.info", &["/disks"], "`doctor` looks at them"),
    missing(
        "system.info",
        &["/defaultAgentUtilityModel"],
        "it uses one model",
    ),
    missing(
        "status",
        &[
            "/degradedPlugins",
            "/degradedSecretOwners",
            "/heartbeat/agents/*/waitingForRoute",
            "/hostDesktop",
            "/modelRuntime",
            "/shutdownBudget",
            "/taskAudit",
            "/tasks",
        ],
        "there are neither plugins nor channels, desktops nor background tasks here",
    ),
    added(
        "status",
        &[
            "/connections",
            "/sessions/defaults/modelProvider",
            "/startedAtMs",
            "/uptimeMs",
        ],
        MORE,
    ),
    missing(
        "status row",
        &[
            "/configuredModel",
            "/modelSelectionReason",
            "/runtime",
            "/selectedModel",
        ],
        "`model` and `modelProvider` are the chosen ones already",
    ),
    missing(
        "status row",
        &["/cacheRead", "/cacheWrite"],
        "in `sessions.usage`",
    ),
    missing("status row", &["/verboseLevel"], WHERE_SET),
    added(
        "status row",
        &[
            "/archived",
            "/chatType",
            "/createdAt",
            "/endedAt",
            "/estimatedCostUsd",
            "/hasActiveRun",
            "/isMain",
            "/lastRunId",
            "/lifecycleRevision",
            "/messageCount",
            "/modelProvider",
            "/pinned",
            "/startedAt",
            "/status",
            "/unread",
        ],
        AS_A_ROW,
    ),
];

#[tokio::test]
async fn large_answers_have_the_recorded_members() {
    let gateway = gateway().await;
    let mut replay = replay("rows").with_parts(PARTS);
    let mut client = person(&gateway, 4, 1, ALL).await;
    for (run, key) in [("r-1", "main"), ("r-2", WORK2), ("r-3", WORK)] {
        let hello = json!({"sessionKey": key, "message": "hello there", "idempotencyKey": run});
        client.ok("chat.send", hello).await;
        ended(&mut client, run).await;
    }
    replay.until(&mut client, Some("sessions.create")).await;
    replay.next(&mut client, "sessions.create").await;
    replay.until(&mut client, Some("sessions.create")).await;
    let created = replay.next(&mut client, "sessions.create").await;
    let key = created["payload"]["key"].as_str().unwrap();
    say(&mut client, key, "r-4").await;
    replay.until(&mut client, None).await;
    replay.settle(&[SESSIONS, HISTORY, CHOICES, LAST_ANSWER, SYSTEM]);
}
