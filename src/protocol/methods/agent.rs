//! `agent` and `agent.wait`: one run from a command line or a script.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocol::Protocol;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// Runs the agent. Two answers come: accepted, then the result under the same id.
    Agent = "agent", agent_needs, AgentParams => AgentReply;
    /// Waits for a run to end; an unknown run is a timeout.
    AgentWait = "agent.wait", |_, _| Needs::Operator(Scope::Write), AgentWaitParams => AgentWaitReply;
}

fn agent_needs(_: Protocol, params: Option<&AgentParams>) -> Needs {
    let first = params.and_then(|params| params.message.split_whitespace().next());
    let starts_over = matches!(first, Some("/new" | "/reset"));
    Needs::Operator(if starts_over {
        Scope::Admin
    } else {
        Scope::Write
    })
}

/// Parameters of `agent`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentParams {
    /// The text.
    pub message: String,
    /// Becomes the run id; the same key never runs twice.
    pub idempotency_key: String,
    /// Which agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Which session; the agent's main one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// Which session, by transcript id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Whether to deliver the answer to a channel too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver: Option<bool>,
    /// Level of thinking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// How long the run may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Added to the system prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_system_prompt: Option<String>,
}

/// An answer of `agent`: the first has status `accepted`, the last `ok`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentReply {
    /// The run.
    pub run_id: String,
    /// `accepted`, `ok`, `error`, `timeout`, `in_flight`.
    pub status: String,
    /// `completed`, or the failure in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// When it was accepted, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<i64>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// `{payloads:[{text, mediaUrl}], meta:{…}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl AgentReply {
    /// The texts of the result, joined by an empty line.
    pub fn text(&self) -> String {
        let payloads = self
            .result
            .as_ref()
            .and_then(|result| result.get("payloads")?.as_array());
        let texts: Vec<&str> = payloads
            .into_iter()
            .flatten()
            .filter_map(|payload| payload.get("text")?.as_str())
            .collect();
        texts.join("\n\n")
    }
}

/// Parameters of `agent.wait`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentWaitParams {
    /// The run.
    pub run_id: String,
    /// How long to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Reply of `agent.wait`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentWaitReply {
    /// The run.
    pub run_id: String,
    /// `ok`, `error` or `timeout`.
    pub status: String,
    /// Start, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    /// End, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
    /// The failure in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}
