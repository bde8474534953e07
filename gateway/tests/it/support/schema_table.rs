//! Which definition of the official schema describes which payload of ours.
//!
//! Answers: the schema's own `methods` table says it. What stands here is what that table lacks.

/// Nothing in the official schema describes it.
pub const ANY: &str = "";

/// Methods of ours that are missing in the schema's `methods`, with the definition of their answer.
pub const METHODS: &[(&str, &str)] = &[
    ("config.apply", ANY),
    ("node.pair.request", ANY),
    ("node.pair.verify", ANY),
    ("skills.status", ANY),
];

/// Events, with the definition of their payload.
pub const EVENTS: &[(&str, &str)] = &[
    ("agent", "AgentEvent"),
    ("chat", "ChatEvent"),
    ("chat.metadata.changed", ANY),
    ("config.changed", ANY),
    ("connect.challenge", ANY),
    ("cron", ANY),
    ("device.pair.changed", ANY),
    ("device.pair.requested", "DevicePairRequestedEvent"),
    ("device.pair.resolved", "DevicePairResolvedEvent"),
    (
        "device.pair.setup.completed",
        "DevicePairSetupCompletedEvent",
    ),
    ("exec.approval.requested", ANY),
    ("exec.approval.resolved", ANY),
    ("health", ANY),
    ("heartbeat", ANY),
    ("node.hostStats", ANY),
    ("node.invoke.cancel", ANY),
    ("node.invoke.input", "NodeInvokeInputEvent"),
    ("node.invoke.request", "NodeInvokeRequestEvent"),
    ("node.pair.requested", ANY),
    ("node.pair.resolved", ANY),
    ("node.presence", ANY),
    ("node.runnerInventory.changed", ANY),
    ("presence", "PRESENCE"),
    ("session.message", ANY),
    ("session.operation", "SessionOperationEvent"),
    ("session.tool", ANY),
    ("sessions.changed", ANY),
    ("shutdown", "ShutdownEvent"),
    ("tick", "TickEvent"),
    ("voicewake.changed", ANY),
    ("voicewake.routing.changed", ANY),
];

/// Members that real frames carry and the published schema lacks (PROTOCOL.md §1.2): of a method's
/// or event's payload, at a path in which `*` stands for every item. They are taken out before the
/// check, the rest has to fit.
pub const EXTRA: &[(&str, &str, &[&str])] = &[
    (
        "agent",
        "",
        &["agentId", "sessionKey", "sessionId", "lane", "session"],
    ),
    ("models.list", "/models/*", &["local", "accountSelection"]),
    // Not in that list, but in every recorded frame of 2026.9.6 (PROTOCOL.md §2.7, §7.3).
    ("channels.status", "", &["statusIssues"]),
    ("connect", "", &["controlUiLinkReaders"]),
    ("connect", "/auth", &["method"]),
    ("connect", "/snapshot/presence/*", &["clientId"]),
    ("presence", "/presence/*", &["clientId"]),
];
