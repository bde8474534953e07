//! Looking at sessions: subscribing, describing, previews, finding.

use serde::{Deserialize, Serialize};

use super::{SessionRow, SessionsListReply};

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

/// Parameters of `sessions.search`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsSearchParams {
    /// Words that a message has all of.
    pub query: String,
    /// Of one agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// In these sessions alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_keys: Option<Vec<String>>,
    /// 1..25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Reply of `sessions.search`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsSearchReply {
    /// The best first.
    pub results: Vec<SearchHit>,
    /// There are more than are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,
}

/// One message that was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SearchHit {
    /// Session key.
    pub session_key: String,
    /// Id of the transcript.
    pub session_id: String,
    /// Id of the message.
    pub message_id: String,
    /// `user` or `assistant`.
    pub role: String,
    /// ms since the epoch.
    pub timestamp: i64,
    /// The words and what stands around them.
    pub snippet: String,
    /// Higher is better.
    pub score: f64,
}
