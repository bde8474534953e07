//! `sessions.list`: a page of rows.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
    pub archived: Option<Which>,
    /// Fill `derivedTitle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_derived_titles: Option<bool>,
    /// Fill `lastMessagePreview`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_last_message: Option<bool>,
}

/// Which sessions by their archive mark: false, true, or the word `all`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Which {
    /// Only the archived ones, or only the others.
    Archived(bool),
    /// `all`
    Named(String),
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn archived_is_a_flag_or_the_word_all() {
        for (text, which) in [
            (r#"{"archived":true}"#, Which::Archived(true)),
            (r#"{"archived":"all"}"#, Which::Named("all".into())),
        ] {
            let params: SessionsListParams = serde_json::from_str(text).expect("parameters");
            assert_eq!(params.archived, Some(which));
        }
    }
}
