//! `chat.*`: reading and sending in one session.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::agents::{CommandRow, ModelRow};
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// The last messages of a session, oldest first; an unknown session is empty, not an error.
    ChatHistory = "chat.history", |_, _| Needs::Operator(Scope::Read), ChatHistoryParams => ChatHistoryReply;
    /// Sends a message; the idempotency key becomes the run id.
    ChatSend = "chat.send", |_, _| Needs::Operator(Scope::Write), ChatSendParams => ChatSendReply;
    /// Stops a run; nothing to stop is no error.
    ChatAbort = "chat.abort", |_, _| Needs::Operator(Scope::Write), ChatAbortParams => ChatAbortReply;
    /// Adds an assistant's note to a transcript; no model sees the call.
    ChatInject = "chat.inject", |_, _| Needs::Operator(Scope::Admin), ChatInjectParams => ChatInjectReply;
    /// `chat.history` and `chat.metadata` in one (version 4).
    ChatStartup = "chat.startup", |_, _| Needs::Operator(Scope::Read), ChatHistoryParams => ChatHistoryReply;
    /// The models and commands to choose from in a session (version 4).
    ChatMetadata = "chat.metadata", |_, _| Needs::Operator(Scope::Read), ChatMetadataParams => ChatMetadataReply;
}

/// Parameters of `chat.history`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatHistoryParams {
    /// Session key.
    pub session_key: String,
    /// 1..1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Skip so many from the newest end (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Only what came after this `deltaCursor` (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Longest text of a message, 1..500000; OpenClaw cuts at 8,000 when nothing is said (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<u64>,
    /// The agent of a bare session name (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// What OpenClaw puts behind a text that it cut for `chat.history`.
const CUT_MARK: &str = "\n...(truncated)...";

/// Whether `shown` is `whole`, or the beginning of it that a gateway cut for `chat.history`.
pub fn is_cut_of(shown: &str, whole: &str) -> bool {
    shown == whole
        || shown
            .strip_suffix(CUT_MARK)
            .is_some_and(|kept| whole.starts_with(kept))
}

/// Reply of `chat.history`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatHistoryReply {
    /// Session key, as asked for.
    pub session_key: String,
    /// Id of the transcript; absent for an unknown session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Oldest first.
    pub messages: Vec<ChatMessage>,
    /// Level of thinking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<String>,
    /// Level of detail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbose_level: Option<String>,
    /// For the next gap (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_cursor: Option<String>,
    /// Where older messages start (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// Whether there are older ones (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_more: Option<bool>,
    /// How many there are (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_messages: Option<u64>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// One message of a transcript.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatMessage {
    /// `user`, `assistant`, `toolResult`, `system`.
    pub role: String,
    /// A text, or an array of parts.
    pub content: Value,
    /// ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// Provider of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Model of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Why an answer ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// `<key>:user` on a message that was sent with a key (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Version 4's own members: `seq`, `id`, `runId`, …
    #[serde(rename = "__openclaw", skip_serializing_if = "Option::is_none")]
    pub origin: Option<MessageOrigin>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Where a message stands in its transcript (version 4).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageOrigin {
    /// Position, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Id of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The run that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// `<key>:user` on a message that was sent with a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl ChatMessage {
    /// A message with one text part.
    pub fn text_message(role: &str, text: &str, timestamp: i64) -> Self {
        Self {
            role: role.to_owned(),
            content: serde_json::json!([{"type": "text", "text": text}]),
            timestamp: Some(timestamp),
            ..Self::default()
        }
    }

    /// The visible text: the content itself or its text parts, one after the other, without the
    /// envelope that version 3 puts around what a person typed.
    pub fn text(&self) -> String {
        let text = self.raw_text();
        match (self.role.as_str(), Envelope::of(&text)) {
            ("user", Some(envelope)) => envelope.typed.to_owned(),
            _ => text,
        }
    }

    fn raw_text(&self) -> String {
        match &self.content {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                let texts: Vec<&str> = parts
                    .iter()
                    .filter(|part| part.get("type").and_then(Value::as_str) == Some("text"))
                    .filter_map(|part| part.get("text").and_then(Value::as_str))
                    .collect();
                texts.join("\n")
            }
            _ => String::new(),
        }
    }

    /// The idempotency key this message was sent with: version 4 adds `:user` to it, version 3 has it as
    /// `message_id` in its envelope.
    pub fn sent_key(&self) -> Option<String> {
        let key = self
            .idempotency_key
            .as_deref()
            .or_else(|| self.origin.as_ref()?.idempotency_key.as_deref());
        match key {
            Some(key) => Some(key.strip_suffix(":user").unwrap_or(key).to_owned()),
            None if self.role == "user" => Envelope::of(&self.raw_text())?.message_id(),
            None => None,
        }
    }

    /// Position in the transcript, where the gateway tells it.
    pub fn seq(&self) -> Option<u64> {
        self.origin.as_ref()?.seq
    }
}

/// What version 3 stores around a typed message: metadata in a fenced block, then `[time] text`.
struct Envelope<'a> {
    metadata: &'a str,
    typed: &'a str,
}

impl<'a> Envelope<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("Conversation info (untrusted metadata):\n```json\n")?;
        let (metadata, rest) = rest.split_once("\n```\n\n")?;
        let typed = match rest
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] "))
        {
            Some((time, typed)) if time.ends_with("UTC") || time.contains(':') => typed,
            _ => rest,
        };
        Some(Self { metadata, typed })
    }

    fn message_id(&self) -> Option<String> {
        let metadata: Value = serde_json::from_str(self.metadata).ok()?;
        Some(metadata.get("message_id")?.as_str()?.to_owned())
    }
}

/// Parameters of `chat.send`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatSendParams {
    /// Session key.
    pub session_key: String,
    /// The text.
    pub message: String,
    /// Becomes the run id; the same key never runs twice.
    pub idempotency_key: String,
    /// Level of thinking for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// Whether to deliver the answer to a channel too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver: Option<bool>,
    /// How long the run may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Files: `[{type?, mimeType, fileName?, content}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Vec<Value>>,
    /// The agent of a bare session name (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// Reply of `chat.send`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatSendReply {
    /// The run.
    pub run_id: String,
    /// `started`, `in_flight`, `ok` or `error`.
    pub status: String,
    /// Words of a failed run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Parameters of `chat.abort`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatAbortParams {
    /// Session key.
    pub session_key: String,
    /// One run; every run of the session when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

/// Reply of `chat.abort`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatAbortReply {
    /// Always true.
    pub ok: bool,
    /// Whether something was stopped.
    pub aborted: bool,
    /// What was stopped.
    pub run_ids: Vec<String>,
}

/// Parameters of `chat.inject`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatInjectParams {
    /// Session key.
    pub session_key: String,
    /// The text.
    pub message: String,
    /// Stands in brackets before the text; at most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// Reply of `chat.inject`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatInjectReply {
    /// Always true.
    pub ok: bool,
    /// Id of the new message.
    pub message_id: String,
}

/// Parameters of `chat.metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatMetadataParams {
    /// Session key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// Reply of `chat.metadata`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatMetadataReply {
    /// The models.
    pub models: Vec<ModelRow>,
    /// The slash commands.
    pub commands: Vec<CommandRow>,
    /// Several agents in one run; not here.
    pub swarm_enabled: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_from_both_spellings_of_content() {
        let plain: ChatMessage =
            serde_json::from_str(r#"{"role":"user","content":"hi"}"#).expect("message");
        let parts: ChatMessage = serde_json::from_str(
            r#"{"role":"assistant","content":[{"type":"thinking","text":"no"},{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#,
        )
        .expect("message");
        assert_eq!(
            (plain.text().as_str(), parts.text().as_str()),
            ("hi", "a\nb")
        );
    }

    #[test]
    fn the_key_of_a_sent_message_is_found_in_version_4_spelling() {
        let message: ChatMessage = serde_json::from_str(
            r#"{"role":"user","content":"x","idempotencyKey":"k1:user","__openclaw":{"seq":3}}"#,
        )
        .expect("message");
        assert_eq!(message.sent_key().as_deref(), Some("k1"));
        assert_eq!(message.seq(), Some(3));
    }

    #[test]
    fn a_text_that_was_cut_for_history_is_told_from_another_one() {
        assert!(is_cut_of("whole", "whole"));
        assert!(is_cut_of("who\n...(truncated)...", "whole"));
        assert!(!is_cut_of("whu\n...(truncated)...", "whole"));
        assert!(!is_cut_of("who", "whole"));
    }

    #[test]
    fn the_envelope_of_version_3_is_opened() {
        let stored = "Conversation info (untrusted metadata):\n```json\n{\n  \"message_id\": \"k2\",\n  \"sender\": \"gateway-client\"\n}\n```\n\n[Sun 2026-11-22 16:42 UTC] [a] hello";
        let message = ChatMessage::text_message("user", stored, 1);
        assert_eq!(message.text(), "[a] hello");
        assert_eq!(message.sent_key().as_deref(), Some("k2"));
        let said = ChatMessage::text_message("assistant", stored, 1);
        assert_eq!((said.text().as_str(), said.sent_key()), (stored, None));
    }
}
