//! `sessions.*`: the list of conversations and what can be done to one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocol::Protocol;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// A page of sessions, latest first.
    SessionsList = "sessions.list", |_, _| Needs::Operator(Scope::Read), SessionsListParams => SessionsListReply;
    /// From now on `sessions.changed` and `session.message` come (version 4).
    SessionsSubscribe = "sessions.subscribe", |_, _| Needs::Operator(Scope::Read), Value => SubscribedReply;
    /// One session, or null.
    SessionsDescribe = "sessions.describe", |_, _| Needs::Operator(Scope::Read), SessionsDescribeParams => SessionsDescribeReply;
    /// Changes settings; null clears one. Creates the session when absent.
    SessionsPatch = "sessions.patch", patch_needs, SessionsPatchParams => SessionsPatchReply;
    /// Starts a session over under the same key; answers once the new one is stored.
    SessionsReset = "sessions.reset", |_, _| Needs::Operator(Scope::Admin), SessionsResetParams => SessionsResetReply;
    /// Deletes a session; an unknown key is no error.
    SessionsDelete = "sessions.delete", |_, _| Needs::Operator(Scope::Admin), SessionsDeleteParams => SessionsDeleteReply;
    /// From now on `session.message` comes for one session (version 4).
    SessionsMessagesSubscribe = "sessions.messages.subscribe", |_, _| Needs::Operator(Scope::Read), SessionKeyParams => SubscribedReply;
    /// The opposite of `sessions.messages.subscribe`.
    SessionsMessagesUnsubscribe = "sessions.messages.unsubscribe", |_, _| Needs::Operator(Scope::Read), SessionKeyParams => SubscribedReply;
    /// The last messages of several sessions, cut short.
    SessionsPreview = "sessions.preview", |_, _| Needs::Operator(Scope::Read), SessionsPreviewParams => Value;
    /// The full key of a session that is named by key, transcript id or label.
    SessionsResolve = "sessions.resolve", |_, _| Needs::Operator(Scope::Read), SessionsResolveParams => Value;
    /// Makes a session, or finds it when it is there (version 4).
    SessionsCreate = "sessions.create", create_needs, SessionsCreateParams => Value;
    /// `chat.send` by key (version 4).
    SessionsSend = "sessions.send", |_, _| Needs::Operator(Scope::Write), SessionsSendParams => Value;
    /// Stops the run of a session, or one run (version 4).
    SessionsAbort = "sessions.abort", |_, _| Needs::Operator(Scope::Write), SessionsAbortParams => Value;
}

fn create_needs(_: Protocol, params: &SessionsCreateParams) -> Needs {
    let is_special = ["execNode", "toolOverrides", "incognito"]
        .iter()
        .any(|name| params.more.get(*name).is_some_and(|value| !value.is_null()))
        || params
            .more
            .get("permissionMode")
            .is_some_and(|mode| mode == "full");
    Needs::Operator(if is_special {
        Scope::Admin
    } else {
        Scope::Write
    })
}

/// The members that `sessions.patch` lets a writer change; every other one needs admin (version 4).
const WRITER_MEMBERS: [&str; 17] = [
    "key",
    "agentId",
    "label",
    "autoLabel",
    "icon",
    "color",
    "category",
    "boardFace",
    "boardPresentation",
    "pinned",
    "archived",
    "unread",
    "model",
    "agentRuntime",
    "thinkingLevel",
    "fastMode",
    "permissionMode",
];

fn patch_needs(version: Protocol, params: &SessionsPatchParams) -> Needs {
    let writer_may = version == Protocol::V4
        && params.settings.iter().all(|(name, value)| {
            name.starts_with("expected")
                || (WRITER_MEMBERS.contains(&name.as_str())
                    && !(name == "permissionMode" && value == "full"))
        });
    Needs::Operator(if writer_may {
        Scope::Write
    } else {
        Scope::Admin
    })
}

/// Parameters of `sessions.list`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsListParams {
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Skip so many (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Changed within so many minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_minutes: Option<u64>,
    /// Of one agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Text in key, label or title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// With exactly this label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Archived ones (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    /// Fill `derivedTitle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_derived_titles: Option<bool>,
    /// Fill `lastMessagePreview`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_last_message: Option<bool>,
}

/// Reply of `sessions.list`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsListReply {
    /// When, ms since the epoch.
    pub ts: i64,
    /// Where they are stored.
    pub path: String,
    /// How many are in this answer.
    pub count: u64,
    /// How many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_count: Option<u64>,
    /// The limit that was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_applied: Option<u64>,
    /// Where the next page starts; null at the end.
    pub next_offset: Option<u64>,
    /// Whether there is a next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_more: Option<bool>,
    /// Who owns sessions here (version 4).
    pub owners: Vec<Value>,
    /// Model and context size of a session without its own.
    pub defaults: ModelDefaults,
    /// The sessions, latest first.
    pub sessions: Vec<SessionRow>,
}

/// Model and context size.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelDefaults {
    /// Provider.
    pub model_provider: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Context size in tokens.
    pub context_tokens: Option<u64>,
}

/// One session in a list.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionRow {
    /// Session key.
    pub key: String,
    /// `direct`, `group`, `global`, `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name given by a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Name made by the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Title made from the first message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub derived_title: Option<String>,
    /// The end of the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_message_preview: Option<String>,
    /// `direct` here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_type: Option<String>,
    /// Last change, ms since the epoch.
    pub updated_at: Option<i64>,
    /// Id of the transcript.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Its agent (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The main session of its agent (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_main: Option<bool>,
    /// Put away (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    /// Kept on top (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// Something new (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<bool>,
    /// `running`, `done`, `error`, … (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The last run (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_id: Option<String>,
    /// Created, ms since the epoch (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    /// The system prompt was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_sent: Option<bool>,
    /// The last run was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aborted_last_run: Option<bool>,
    /// Level of thinking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<String>,
    /// Level of detail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbose_level: Option<String>,
    /// Tokens in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Tokens in the context now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// `totalTokens` is of the last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens_fresh: Option<bool>,
    /// Provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_provider: Option<String>,
    /// Model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Context size in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl SessionRow {
    /// The best name for people: label, display name, title, or the end of the key.
    pub fn name(&self) -> &str {
        [&self.label, &self.derived_title, &self.display_name]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .find(|name| !name.trim().is_empty())
            .unwrap_or_else(|| short_key(&self.key))
    }
}

/// `agent:main:work` → `work`.
pub fn short_key(key: &str) -> &str {
    match key
        .strip_prefix("agent:")
        .and_then(|rest| rest.split_once(':'))
    {
        Some((_, name)) if !name.is_empty() => name,
        _ => key,
    }
}

/// A reply that says what is subscribed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscribedReply {
    /// Whether events come now.
    pub subscribed: bool,
    /// The session, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The list, when list parameters were given to `sessions.subscribe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<SessionsListReply>,
}

/// A session key and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionKeyParams {
    /// Session key.
    pub key: String,
}

/// Parameters of `sessions.describe`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsDescribeParams {
    /// Session key.
    pub key: String,
    /// Fill `derivedTitle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_derived_titles: Option<bool>,
    /// Fill `lastMessagePreview`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_last_message: Option<bool>,
}

/// Reply of `sessions.describe`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionsDescribeReply {
    /// The session; null when there is none.
    pub session: Option<SessionRow>,
}

/// Parameters of `sessions.patch`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsPatchParams {
    /// Session key.
    pub key: String,
    /// What is to change; null clears.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

/// Reply of `sessions.patch`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsPatchReply {
    /// Always true.
    pub ok: bool,
    /// Where it is stored.
    pub path: String,
    /// The full session key.
    pub key: String,
    /// The session as it is now.
    pub entry: Map<String, Value>,
    /// Model in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ModelDefaults>,
}

/// Parameters of `sessions.reset`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsResetParams {
    /// Session key.
    pub key: String,
    /// `new` or `reset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Reply of `sessions.reset`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsResetReply {
    /// Always true.
    pub ok: bool,
    /// The full session key.
    pub key: String,
    /// The session as it is now.
    pub entry: Map<String, Value>,
}

/// Parameters of `sessions.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsDeleteParams {
    /// Session key.
    pub key: String,
    /// The transcript too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_transcript: Option<bool>,
}

/// Reply of `sessions.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsDeleteReply {
    /// Always true.
    pub ok: bool,
    /// The full session key.
    pub key: String,
    /// Whether there was one.
    pub deleted: bool,
    /// What was kept, and where.
    pub archived: Vec<String>,
}

/// Parameters of `sessions.preview`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsPreviewParams {
    /// Session keys.
    pub keys: Vec<String>,
    /// Messages of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Characters of each message, at least 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<u64>,
}

/// Parameters of `sessions.resolve`; one of the first three.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsResolveParams {
    /// Session key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Id of the transcript.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Of one agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// Parameters of `sessions.create`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsCreateParams {
    /// Session key; a fresh one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A first message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Key of the first message's run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Parameters of `sessions.send`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsSendParams {
    /// Session key.
    pub key: String,
    /// The text.
    pub message: String,
    /// Becomes the run id; a fresh one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Level of thinking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// How long the run may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Vec<Value>>,
}

/// Parameters of `sessions.abort`; one of both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsAbortParams {
    /// Session key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// One run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::method::Method as _;

    fn patch(text: &str) -> SessionsPatchParams {
        serde_json::from_str(text).expect("patch parameters")
    }

    #[test]
    fn a_writer_may_relabel_but_not_change_execution_settings() {
        let label = patch(r#"{"key":"main","label":"x"}"#);
        let exec = patch(r#"{"key":"main","execHost":"x"}"#);
        let full = patch(r#"{"key":"main","permissionMode":"full"}"#);
        let needs = |p| SessionsPatch::needs(Protocol::V4, p);
        assert_eq!(needs(&label), Needs::Operator(Scope::Write));
        assert_eq!(needs(&exec), Needs::Operator(Scope::Admin));
        assert_eq!(needs(&full), Needs::Operator(Scope::Admin));
        assert_eq!(
            SessionsPatch::needs(Protocol::V3, &label),
            Needs::Operator(Scope::Admin)
        );
    }

    #[test]
    fn a_session_is_named_by_its_label_first_and_its_key_last() {
        let mut row = SessionRow {
            key: "agent:main:work".into(),
            ..SessionRow::default()
        };
        assert_eq!(row.name(), "work");
        row.derived_title = Some("Disk space".into());
        row.label = Some("home".into());
        assert_eq!(row.name(), "home");
    }
}
