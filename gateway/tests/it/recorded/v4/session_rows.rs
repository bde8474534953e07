//! How rows of sessions, their entries and pages of history differ, wherever an answer has them.

use super::super::table::{Row, added, missing, outcome, words};
use super::MORE;

const NO_USERS: &str = "sessions belong to no user profile here";
pub const NO_HARNESS: &str = "its agent runs in one way and in one place, and starts no others";
pub const LEVELS: &str = "the levels of a model are in `models.list`";
pub const WHERE_SET: &str = "where it is set";
pub const AS_A_ROW: &str = "as rows of sessions have it: here both are the same";

pub const SESSIONS: &[Row] = &[
    missing(
        "session",
        &[
            "/createdActor",
            "/createdVia",
            "/expandedParticipants",
            "/hiddenFromInvolvingMe",
            "/owner",
            "/participantCount",
            "/participants",
            "/sharingRole",
            "/visibility",
        ],
        NO_USERS,
    ),
    missing("sessions.list", &["/owners/*"], NO_USERS),
    missing("sessions.subscribe", &["/list/owners/*"], NO_USERS),
    missing(
        "session",
        &[
            "/activeLeafEntryId",
            "/activitySummary",
            "/agentRuntime",
            "/childSessions",
            "/classification",
            "/contextBudgetStatus",
            "/effectiveFastMode",
            "/effectiveFastModeSource",
            "/effectiveQueueMode",
            "/fastAutoOnSeconds",
            "/isBackground",
            "/parentSessionId",
            "/parentSessionKey",
            "/permissionModePending",
            "/placement",
            "/runtimeSelectionLocked",
            "/spawnDepth",
        ],
        NO_HARNESS,
    ),
    missing(
        "session",
        &[
            "/lastActivityAt",
            "/lastInteractionAt",
            "/runtimeMs",
            "/snapshotAt",
        ],
        "`updatedAt`, `startedAt` and `endedAt` tell it",
    ),
    missing(
        "session",
        &["/activeRunIds"],
        "`hasActiveRun` and `lastRunId` tell it",
    ),
    missing(
        "session",
        &["/displayName"],
        "`label` and `derivedTitle` are its names",
    ),
    missing(
        "session",
        &["/thinkingDefault", "/thinkingLevels", "/thinkingOptions"],
        LEVELS,
    ),
    missing(
        "session",
        &[
            "/effectiveResponseUsage",
            "/modelOverrideSource",
            "/verboseLevel",
        ],
        WHERE_SET,
    ),
    missing(
        "session",
        &[
            "/endedAt",
            "/estimatedCostUsd",
            "/lastMessagePreview",
            "/lastRunId",
            "/startedAt",
            "/status",
        ],
        "where something was said in it",
    ),
    added(
        "session",
        &[
            "/derivedTitle",
            "/lifecycleRevision",
            "/messageCount",
            "/thinkingLevel",
        ],
        MORE,
    ),
    missing(
        "entry",
        &[
            "/agentHarnessId",
            "/cacheRead",
            "/cacheWrite",
            "/compactionCount",
            "/contextBudgetStatus",
            "/contextTokensSource",
            "/createdActor",
            "/createdVia",
            "/delivery",
            "/lastActivityAt",
            "/lastInteractionAt",
            "/liveModelSwitchPending",
            "/modelOverride",
            "/modelOverrideRouteResolution",
            "/modelOverrideSource",
            "/parentSessionId",
            "/parentSessionKey",
            "/providerOverride",
            "/runtimeMs",
            "/sessionRoot",
            "/sessionStartedAt",
            "/skillLibrarySelections",
            "/skillsSnapshot",
            "/spawnDepth",
            "/systemPromptReport",
            "/totalTokensVersion",
        ],
        "what their store keeps of a session; ours answers with its row",
    ),
    added(
        "entry",
        &[
            "/agentId",
            "/archived",
            "/hasActiveRun",
            "/isMain",
            "/kind",
            "/lastRunId",
            "/messageCount",
            "/pinned",
            "/thinkingLevel",
            "/unread",
        ],
        AS_A_ROW,
    ),
    added("sessions.create", &["/resolved/contextTokens"], MORE),
    added("sessions.patch", &["/resolved/contextTokens"], MORE),
    added("sessions.reset", &["/resolved/contextTokens"], MORE),
    missing(
        "sessions.patch",
        &["/resolved/agentRuntime", "/resolved/runtimeSelectionLocked"],
        NO_HARNESS,
    ),
    missing(
        "sessions.patch",
        &["/resolved/thinkingLevel", "/resolved/thinkingLevels"],
        LEVELS,
    ),
    outcome(
        "sessions.patch",
        "any level may be kept: a model without thinking does not look at it",
    ),
    words("sessions.patch", "so that all levels are named"),
    missing(
        "sessions.delete",
        &["/archived/*"],
        "a deleted transcript is gone, there is no file to name",
    ),
];

pub const HISTORY: &[Row] = &[
    missing(
        "chat.history",
        &["/messages/*"],
        "a session that was made from another one begins empty",
    ),
    missing("chat.history", &["/nextOffset"], "where there are more"),
    missing(
        "chat.history",
        &["/thinkingLevel", "/verboseLevel"],
        WHERE_SET,
    ),
    missing(
        "chat.startup",
        &["/thinkingLevel", "/verboseLevel"],
        WHERE_SET,
    ),
    missing(
        "message",
        &[
            "/__openclaw/senderId",
            "/__openclaw/senderIdentity",
            "/__openclaw/senderIsOwner",
            "/__openclaw/senderProfileAvatarUrl",
        ],
        NO_USERS,
    ),
    missing(
        "message",
        &[
            "/__openclaw/contextFreeCommand",
            "/__openclaw/kind",
            "/__openclaw/transport",
            "/api",
            "/responseId",
        ],
        NO_HARNESS,
    ),
    missing(
        "message",
        &[
            "/__openclaw/recordTimestampMs",
            "/__openclaw/transcriptPosition",
        ],
        "`timestamp` and `__openclaw.seq` tell it",
    ),
    missing("message", &["/excludeFromContext"], WHERE_SET),
];
