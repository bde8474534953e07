//! A configuration's models and agents: read as a whole, every problem told at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use clawline::layer::printable;
use genai::Client;
use tokio::sync::OnceCell;

use super::config::{AgentConfig, AgentsConfig, ModelConfig, ModelsConfig, ProviderKind};
use super::provider::{Echo, Genai, Provider, Target};
use crate::sessions::{AgentId, MAIN_AGENT, Price};

/// The provider and the model that answer when nothing is configured.
pub const ECHO_PROVIDER: &str = "builtin";
/// The model id of the built-in echo.
pub const ECHO_MODEL: &str = "echo";
const ECHO_NAME: &str = "Built-in echo (answers offline, no model)";
const MAX_SHOWN_CHARS: usize = 120;

/// One wrong value in the configuration of models and agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key path, such as `models.default`.
    pub key: String,
    pub text: String,
}

/// No such model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no model \"{name}\"; configured providers: {known}")]
pub struct UnknownModel {
    pub name: String,
    pub known: String,
}

/// An agent that can be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentInfo {
    pub id: AgentId,
    pub name: Option<String>,
    /// `provider/model`, where the agent names one.
    pub model: Option<String>,
    pub is_default: bool,
}

/// A configured provider with its models.
pub(super) struct Entry {
    pub(super) provider: Arc<dyn Provider>,
    pub(super) models: Vec<ModelConfig>,
}

/// All models and agents of a configuration. Nothing is connected until a run needs it.
pub(super) struct Catalog {
    pub(super) providers: BTreeMap<String, Entry>,
    pub(super) default: (String, String),
    pub(super) agents: Arc<[AgentInfo]>,
}

/// What outlives a change of the configuration.
#[derive(Default)]
pub(super) struct Kept {
    /// The built-in echo, at the speed that it was given at the start.
    pub(super) echo: Arc<Echo>,
    /// One for all providers and for good: the addresses and keys are in the requests, and a new one
    /// would read its certificates and fill its pools again.
    pub(super) client: Arc<OnceCell<Client>>,
}

impl Catalog {
    /// Reads it; problems are all told.
    pub(super) fn read(
        models: &ModelsConfig,
        agents: &AgentsConfig,
        kept: &Kept,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let mut problems = Vec::new();
        let mut made = Self {
            providers: providers(models, kept, &mut problems),
            default: (ECHO_PROVIDER.to_owned(), ECHO_MODEL.to_owned()),
            agents: agent_list(agents, &mut problems).into(),
        };
        if let Some(default) = made.first_configured(models) {
            made.default = default;
        }
        if let Some(name) = &models.default {
            match made.find(name) {
                Ok(default) => made.default = default,
                Err(error) => problems.push(problem("models.default", error)),
            }
        }
        for (at, agent) in agents.list.iter().enumerate() {
            if let Some(Err(error)) = agent.model.as_deref().map(|model| made.find(model)) {
                problems.push(problem(&format!("agents.list[{at}].model"), error));
            }
        }
        if problems.is_empty() {
            Ok(made)
        } else {
            Err(problems)
        }
    }

    /// Provider and model of a name, which is `provider/model` or a model's alone.
    pub(super) fn find(&self, name: &str) -> Result<(String, String), UnknownModel> {
        if let Some((provider, model)) = name.split_once('/')
            && self.providers.contains_key(provider)
            && !model.is_empty()
        {
            return Ok((provider.to_owned(), model.to_owned()));
        }
        self.providers
            .iter()
            .find(|(_, entry)| entry.models.iter().any(|model| model.id == name))
            .map(|(provider, _)| (provider.clone(), name.to_owned()))
            .ok_or_else(|| UnknownModel {
                name: printable(name, MAX_SHOWN_CHARS),
                known: self
                    .providers
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// What the session names, else the agent, else the default; unknown names are passed over.
    pub(super) fn resolve(&self, session_model: Option<&str>, agent_id: &str) -> (String, String) {
        let agent_model = self
            .agents
            .iter()
            .find(|agent| agent.id.as_str() == agent_id)
            .and_then(|agent| agent.model.as_deref());
        [session_model, agent_model]
            .into_iter()
            .flatten()
            .find_map(|name| self.find(name).ok())
            .unwrap_or_else(|| self.default.clone())
    }

    #[cfg(test)]
    pub(super) fn for_test(provider: Arc<dyn Provider>) -> Self {
        let entry = Entry {
            provider,
            models: vec![plain("model", None)],
        };
        Self {
            providers: BTreeMap::from([("test".to_owned(), entry)]),
            default: ("test".to_owned(), "model".to_owned()),
            agents: agent_list(&AgentsConfig::default(), &mut Vec::new()).into(),
        }
    }

    fn first_configured(&self, config: &ModelsConfig) -> Option<(String, String)> {
        config.providers.keys().find_map(|name| {
            let model = self.providers.get(name)?.models.first()?;
            Some((name.clone(), model.id.clone()))
        })
    }
}

fn providers(
    config: &ModelsConfig,
    kept: &Kept,
    problems: &mut Vec<ConfigProblem>,
) -> BTreeMap<String, Entry> {
    let mut made = BTreeMap::new();
    for (name, provider) in &config.providers {
        let key = format!("models.providers.{name}");
        if name.is_empty() || name.contains('/') {
            problems.push(problem(
                &key,
                "a provider's name has no slash and is not empty",
            ));
            continue;
        }
        if let Some(url) = &provider.base_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            let key = format!("{key}.baseUrl");
            problems.push(problem(&key, "it must start with http:// or https://"));
        }
        if provider.models.iter().any(|model| model.id.is_empty()) {
            problems.push(problem(&format!("{key}.models"), "a model needs an id"));
        }
        let mut models = provider.models.clone();
        let answers: Arc<dyn Provider> = match provider.kind {
            ProviderKind::Echo => {
                if models.is_empty() {
                    models.push(echo_model());
                }
                kept.echo.clone()
            }
            kind => Arc::new(Genai::new(
                Target {
                    name: name.clone(),
                    kind,
                    base_url: provider.base_url.clone(),
                    api_key: provider.api_key.clone(),
                    api_key_env: provider.api_key_env.clone(),
                },
                kept.client.clone(),
            )),
        };
        let entry = Entry {
            provider: answers,
            models,
        };
        made.insert(name.clone(), entry);
    }
    made.entry(ECHO_PROVIDER.to_owned())
        .or_insert_with(|| Entry {
            provider: kept.echo.clone(),
            models: vec![echo_model()],
        });
    made
}

fn agent_list(config: &AgentsConfig, problems: &mut Vec<ConfigProblem>) -> Vec<AgentInfo> {
    let mut made: Vec<AgentInfo> = Vec::new();
    for (at, agent) in config.list.iter().enumerate() {
        let key = format!("agents.list[{at}].id");
        match AgentId::parse(&agent.id) {
            Err(error) => problems.push(problem(&key, error)),
            Ok(id) if made.iter().any(|known| known.id == id) => {
                problems.push(problem(&key, format!("there is another agent \"{id}\"")));
            }
            Ok(id) => made.push(agent_info(id, agent)),
        }
    }
    if made.is_empty() {
        made.push(AgentInfo {
            id: AgentId::main(),
            name: None,
            model: None,
            is_default: true,
        });
    }
    if !made.iter().any(|agent| agent.is_default) {
        let main = made
            .iter()
            .position(|agent| agent.id.as_str() == MAIN_AGENT);
        made[main.unwrap_or(0)].is_default = true;
    }
    made
}

fn agent_info(id: AgentId, agent: &AgentConfig) -> AgentInfo {
    AgentInfo {
        id,
        name: agent.name.clone(),
        model: agent.model.clone(),
        is_default: agent.default,
    }
}

pub(super) fn plain(id: &str, name: Option<&str>) -> ModelConfig {
    ModelConfig {
        id: id.to_owned(),
        name: name.map(str::to_owned),
        context_window: None,
        max_tokens: None,
        reasoning: false,
        price: None,
    }
}

/// The built-in echo, which costs nothing.
fn echo_model() -> ModelConfig {
    ModelConfig {
        price: Some(Price::default()),
        ..plain(ECHO_MODEL, Some(ECHO_NAME))
    }
}

fn problem(key: &str, text: impl ToString) -> ConfigProblem {
    ConfigProblem {
        key: key.to_owned(),
        text: text.to_string(),
    }
}
