//! `models.*` and `agents.*`: what the gateway's agents think with.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::layers::{Node, Place, Reader, read_list, section};
pub use super::leaf::Dollars;
use super::leaf::choice;
use crate::secret::Secret;

section! {
    /// `models.*`.
    pub struct ModelsConfig {
        /// `provider/model` for sessions and agents that name none.
        default: Option<String> = "default";
        /// Providers by the name that stands before the slash.
        providers: BTreeMap<String, ProviderConfig> = "providers";
    }
}

section! {
    /// `models.providers.NAME`.
    pub struct ProviderConfig {
        /// How it is spoken to.
        kind: ProviderKind = "kind";
        /// Where the API answers; each kind has its public address as default.
        base_url: Option<String> = "baseUrl";
        /// The key of its API.
        api_key: Option<Secret> = "apiKey";
        /// The environment variable that holds the key.
        api_key_env: Option<String> = "apiKeyEnv";
        /// Its models.
        models: Vec<ModelConfig> = "models";
    }
}

choice! {
    /// `models.providers.NAME.kind`.
    pub enum ProviderKind {
        /// OpenAI's chat completions, as most servers offer them.
        #[default]
        Openai = "openai",
        /// Anthropic's messages.
        Anthropic = "anthropic",
        /// Ollama's own API.
        Ollama = "ollama",
        /// The built-in echo, for trying things without a model.
        Echo = "echo",
    }
}

section! {
    /// `models.providers.NAME.models[]`: an id, or an object with more.
    pub struct ModelConfig {
        /// The id that the provider knows.
        id: String = "id";
        /// The name that people see; the id when absent.
        name: Option<String> = "name";
        /// Tokens that fit into the context.
        context_window: Option<u32> = "contextWindow";
        /// The longest answer, in tokens.
        max_tokens: Option<u32> = "maxTokens";
        /// The model can show its reasoning.
        reasoning: bool = "reasoning";
        /// What its tokens cost.
        cost: CostConfig = "cost";
    }
}

section! {
    /// `models.providers.NAME.models[].cost`: dollars for a million tokens.
    pub struct CostConfig {
        /// What is sent.
        input: Option<Dollars> = "input";
        /// What is answered.
        output: Option<Dollars> = "output";
        /// What is read from the provider's cache; as `input` when absent.
        cache_read: Option<Dollars> = "cacheRead";
        /// What is put into the provider's cache; as `input` when absent.
        cache_write: Option<Dollars> = "cacheWrite";
    }
}

section! {
    /// `agents.*`.
    pub struct AgentsConfig {
        /// Empty means one agent, `main`.
        list: Vec<AgentConfig> = "list";
    }
}

section! {
    /// `agents.list[]`.
    pub struct AgentConfig {
        /// `[a-z0-9][a-z0-9_-]{0,63}`.
        id: String = "id";
        /// The name that people see.
        name: Option<String> = "name";
        /// `provider/model`.
        model: Option<String> = "model";
        /// The agent of bare session names; the first one when none says so.
        default: bool = "default";
    }
}

impl Node for Vec<AgentConfig> {
    fn read(reader: &mut Reader<'_>, place: &Place<'_>, default: Self) -> Self {
        read_list(reader, place).unwrap_or(default)
    }
}

impl Node for Vec<ModelConfig> {
    fn read(reader: &mut Reader<'_>, place: &Place<'_>, default: Self) -> Self {
        let Some(Value::Array(items)) = place.value else {
            return read_list(reader, place).unwrap_or(default);
        };
        let full = items.iter().map(|item| match item {
            Value::String(id) => json!({ "id": id }),
            other => other.clone(),
        });
        let full = Value::Array(full.collect());
        let place = Place {
            path: place.path.clone(),
            value: Some(&full),
            env: place.env,
            has_env: place.has_env,
        };
        read_list(reader, &place).unwrap_or(default)
    }
}
