//! The part of the configuration that says which models and agents there are.

use std::collections::BTreeMap;

use clawline::secret::Secret;
use serde::Deserialize;

use crate::sessions::Price;

/// `models.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelsConfig {
    /// `provider/model` for sessions and agents that name none.
    pub default: Option<String>,
    /// Providers by the name that stands before the slash.
    pub providers: BTreeMap<String, ProviderConfig>,
}

/// `models.providers.NAME`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderConfig {
    pub kind: ProviderKind,
    /// Where the API answers; each kind has its public address as default.
    pub base_url: Option<String>,
    pub api_key: Option<Secret>,
    /// The environment variable that holds the key.
    pub api_key_env: Option<String>,
    pub models: Vec<ModelConfig>,
}

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// OpenAI's chat completions, as most servers offer them.
    #[default]
    Openai,
    Anthropic,
    Ollama,
    /// The built-in echo, for trying things without a model.
    Echo,
}

/// `models.providers.NAME.models[]`: an id, or an object with more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "ModelEntry")]
pub struct ModelConfig {
    /// The id that the provider knows.
    pub id: String,
    /// The name that people see; the id when absent.
    pub name: Option<String>,
    /// Tokens that fit into the context.
    pub context_window: Option<i64>,
    /// The longest answer, in tokens.
    pub max_tokens: Option<u32>,
    /// The model can show its reasoning.
    pub reasoning: bool,
    /// What its tokens cost, where that is configured.
    pub price: Option<Price>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ModelEntry {
    Id(String),
    #[serde(rename_all = "camelCase")]
    Full {
        id: String,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        context_window: Option<i64>,
        #[serde(default)]
        max_tokens: Option<u32>,
        #[serde(default)]
        reasoning: bool,
        #[serde(default)]
        cost: Option<Prices>,
    },
}

/// `cost` of a model: dollars for a million tokens.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prices {
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

impl Prices {
    fn price(&self) -> Option<Price> {
        Price::per_million(self.input, self.output, self.cache_read, self.cache_write)
    }
}

impl From<ModelEntry> for ModelConfig {
    fn from(entry: ModelEntry) -> Self {
        match entry {
            ModelEntry::Id(id) => Self {
                id,
                name: None,
                context_window: None,
                max_tokens: None,
                reasoning: false,
                price: None,
            },
            ModelEntry::Full {
                id,
                name,
                context_window,
                max_tokens,
                reasoning,
                cost,
            } => Self {
                id,
                name,
                context_window,
                max_tokens,
                reasoning,
                price: cost.and_then(|cost| cost.price()),
            },
        }
    }
}

/// `agents.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentsConfig {
    /// Empty means one agent, `main`.
    pub list: Vec<AgentConfig>,
}

/// `agents.list[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentConfig {
    /// `[a-z0-9][a-z0-9_-]{0,63}`.
    pub id: String,
    /// The name that people see.
    pub name: Option<String>,
    /// `provider/model`.
    pub model: Option<String>,
    /// The agent of bare session names; the first one when none says so.
    pub default: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_ids_or_objects_and_unknown_keys_do_no_harm() {
        let config: ModelsConfig = serde_json::from_value(serde_json::json!({
            "default": "home/qwen",
            "providers": {"home": {
                "kind": "openai", "baseUrl": "http://127.0.0.1:1/v1", "apiKey": "k", "later": 1,
                "models": ["qwen", {"id": "big", "contextWindow": 128000, "cost": {"input": 3, "output": 15}}],
            }},
        }))
        .unwrap();
        let home = &config.providers["home"];
        assert_eq!(home.models[0].id, "qwen");
        assert_eq!(home.models[1].context_window, Some(128_000));
        assert_eq!(home.models[1].price.map(|price| price.output), Some(15_000));
        assert!(!format!("{config:?}").contains("\"k\""));
        assert!(serde_json::from_str::<ProviderConfig>(r#"{"kind":"smoke"}"#).is_err());
    }
}
