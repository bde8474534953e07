//! `agents.list`, `models.list`, `commands.list`: what there is to choose from.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NoParams;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// The agents.
    AgentsList = "agents.list", |_, _| Needs::Operator(Scope::Read), NoParams => AgentsListReply;
    /// Name and avatar of an agent.
    AgentIdentityGet = "agent.identity.get", |_, _| Needs::Operator(Scope::Read), Value => Value;
    /// The models of the configured providers.
    ModelsList = "models.list", |_, _| Needs::Operator(Scope::Read), ModelsListParams => ModelsListReply;
    /// The slash commands that `chat.send` understands (version 4).
    CommandsList = "commands.list", |_, _| Needs::Operator(Scope::Read), Value => CommandsListReply;
}

/// Reply of `agents.list`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentsListReply {
    /// The agent that answers when none is named.
    pub default_id: String,
    /// `main`.
    pub main_key: String,
    /// `per-sender` or `global`.
    pub scope: String,
    /// The agents.
    pub agents: Vec<AgentRow>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentRow {
    /// Agent id.
    pub id: String,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Parameters of `models.list`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelsListParams {
    /// For one agent (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// Reply of `models.list`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelsListReply {
    /// The models.
    pub models: Vec<ModelRow>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelRow {
    /// Model id.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Provider name.
    pub provider: String,
    /// Context size in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Whether it can think.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<bool>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Reply of `commands.list`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandsListReply {
    /// The commands.
    pub commands: Vec<CommandRow>,
}

/// One slash command of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CommandRow {
    /// Name without the slash.
    pub name: String,
    /// The same.
    pub native_name: String,
    /// With the slash.
    pub text_aliases: Vec<String>,
    /// What it does.
    pub description: String,
    /// Group in help.
    pub category: String,
    /// `native`.
    pub source: String,
    /// `text`, `native` or `both`.
    pub scope: String,
    /// Whether text may follow.
    pub accepts_args: bool,
    /// What may follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<CommandArg>>,
}

/// What may follow a slash command.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CommandArg {
    /// Name for people.
    pub name: String,
    /// What it does.
    pub description: String,
    /// `string`, `number` or `boolean`.
    pub r#type: String,
    /// What can be chosen; anything when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<CommandChoice>>,
}

/// One value of a [`CommandArg`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandChoice {
    /// What is sent.
    pub value: String,
    /// What people see.
    pub label: String,
}
