//! Which models and agents there are, and which one answers a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
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

/// A model that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    pub provider: String,
    pub id: String,
    pub name: String,
    pub context_window: Option<i64>,
    pub reasoning: bool,
    pub is_default: bool,
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

/// The model that answers a run.
#[derive(Clone)]
pub(super) struct Chosen {
    pub(super) provider_name: String,
    pub(super) model: ModelConfig,
    pub(super) provider: Arc<dyn Provider>,
}

/// A configured provider with its models.
struct Entry {
    provider: Arc<dyn Provider>,
    models: Vec<ModelConfig>,
}

/// All models and agents of a configuration. Nothing is connected until a run needs it.
struct Catalog {
    providers: BTreeMap<String, Entry>,
    default: (String, String),
    agents: Arc<[AgentInfo]>,
}

/// The models and agents in force. A run that has begun keeps the model that it was given.
pub struct Models {
    live: ArcSwap<Catalog>,
    /// What does not change with the configuration.
    kept: Kept,
}

/// What outlives a change of the configuration.
#[derive(Default)]
struct Kept {
    /// The built-in echo, at the speed that it was given at the start.
    echo: Arc<Echo>,
    /// One for all providers and for good: the addresses and keys are in the requests, and a new one
    /// would read its certificates and fill its pools again.
    client: Arc<OnceCell<Client>>,
}

impl Catalog {
    fn read(
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

    fn find(&self, name: &str) -> Result<(String, String), UnknownModel> {
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

    fn resolve(&self, session_model: Option<&str>, agent_id: &str) -> (String, String) {
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

    fn first_configured(&self, config: &ModelsConfig) -> Option<(String, String)> {
        config.providers.keys().find_map(|name| {
            let model = self.providers.get(name)?.models.first()?;
            Some((name.clone(), model.id.clone()))
        })
    }
}

impl Models {
    /// Reads the configuration; returns every problem in it at once.
    pub fn new(models: &ModelsConfig, agents: &AgentsConfig) -> Result<Self, Vec<ConfigProblem>> {
        Self::with_echo_delay(models, agents, None)
    }

    /// The same with another speed of the built-in echo, for tests and demos.
    pub fn with_echo_delay(
        models: &ModelsConfig,
        agents: &AgentsConfig,
        echo_delay: Option<Duration>,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let kept = Kept {
            echo: Arc::new(echo_delay.map_or_else(Echo::default, Echo::with_delay)),
            client: Arc::default(),
        };
        Ok(Self::of(Catalog::read(models, agents, &kept)?, kept))
    }

    fn of(catalog: Catalog, kept: Kept) -> Self {
        Self {
            live: ArcSwap::from_pointee(catalog),
            kept,
        }
    }

    /// From now on these models and agents are used; with problems everything stays as it is.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub fn replace(
        &self,
        models: &ModelsConfig,
        agents: &AgentsConfig,
    ) -> Result<(), Vec<ConfigProblem>> {
        let catalog = Catalog::read(models, agents, &self.kept)?;
        self.live.store(Arc::new(catalog));
        Ok(())
    }

    /// One model `test/model` behind a provider of the test's own.
    #[cfg(test)]
    pub(super) fn for_test(provider: Arc<dyn Provider>) -> Self {
        let entry = Entry {
            provider,
            models: vec![plain("model", None)],
        };
        let catalog = Catalog {
            providers: BTreeMap::from([("test".to_owned(), entry)]),
            default: ("test".to_owned(), "model".to_owned()),
            agents: agent_list(&AgentsConfig::default(), &mut Vec::new()).into(),
        };
        Self::of(catalog, Kept::default())
    }

    /// Every model, the default first.
    pub fn list(&self) -> Vec<ModelInfo> {
        let live = self.live.load();
        let mut all: Vec<ModelInfo> = live
            .providers
            .iter()
            .flat_map(|(provider, entry)| entry.models.iter().map(move |model| (provider, model)))
            .map(|(provider, model)| ModelInfo {
                provider: provider.clone(),
                id: model.id.clone(),
                name: model.name.clone().unwrap_or_else(|| model.id.clone()),
                context_window: model.context_window,
                reasoning: model.reasoning,
                is_default: (provider, &model.id) == (&live.default.0, &live.default.1),
            })
            .collect();
        all.sort_by_key(|model| !model.is_default);
        all
    }

    /// Every agent, in the order of the configuration; never empty.
    pub fn agents(&self) -> Arc<[AgentInfo]> {
        self.live.load().agents.clone()
    }

    /// The agent of bare session names.
    pub fn default_agent(&self) -> AgentId {
        let agents = self.agents();
        // There is always one: an empty list was replaced by `main`.
        let marked = agents.iter().find(|agent| agent.is_default);
        marked.unwrap_or(&agents[0]).id.clone()
    }

    /// True for a configured agent.
    pub fn has_agent(&self, id: &str) -> bool {
        self.agents().iter().any(|agent| agent.id.as_str() == id)
    }

    /// Provider and model of `provider/model`, or of a model id that a provider lists.
    pub fn find(&self, name: &str) -> Result<(String, String), UnknownModel> {
        self.live.load().find(name)
    }

    /// Provider and model that would answer: the session's, else the agent's, else the default.
    pub fn resolve(&self, session_model: Option<&str>, agent_id: &str) -> (String, String) {
        self.live.load().resolve(session_model, agent_id)
    }

    /// The context window of a model, where the configuration says one.
    pub fn context_window(&self, provider: &str, model: &str) -> Option<i64> {
        let live = self.live.load();
        let models = &live.providers.get(provider)?.models;
        models
            .iter()
            .find(|known| known.id == model)?
            .context_window
    }

    /// Like [`Self::resolve`], but an unknown name that was asked for is an error, not passed over.
    pub(super) fn choose(
        &self,
        run_model: Option<&str>,
        session_model: Option<&str>,
        agent_id: &str,
    ) -> Result<Chosen, UnknownModel> {
        let live = self.live.load();
        let (provider_name, model_id) = match run_model.or(session_model) {
            Some(name) => live.find(name)?,
            None => live.resolve(None, agent_id),
        };
        let entry = live
            .providers
            .get(&provider_name)
            .ok_or_else(|| UnknownModel {
                name: provider_name.clone(),
                known: String::new(),
            })?;
        let listed = entry.models.iter().find(|model| model.id == model_id);
        Ok(Chosen {
            provider: entry.provider.clone(),
            model: listed.cloned().unwrap_or_else(|| plain(&model_id, None)),
            provider_name,
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

fn plain(id: &str, name: Option<&str>) -> ModelConfig {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn models(models: serde_json::Value, agents: serde_json::Value) -> Result<Models, Vec<String>> {
        Models::new(
            &serde_json::from_value(models).unwrap(),
            &serde_json::from_value(agents).unwrap(),
        )
        .map_err(|problems| problems.into_iter().map(|p| p.key).collect())
    }

    fn pair(provider: &str, model: &str) -> (String, String) {
        (provider.to_owned(), model.to_owned())
    }

    #[test]
    fn with_nothing_configured_the_echo_answers_for_main() {
        let made = models(serde_json::json!({}), serde_json::json!({})).unwrap();
        assert_eq!(made.resolve(None, "main"), pair("builtin", "echo"));
        assert_eq!(made.default_agent().as_str(), "main");
        let list = made.list();
        assert_eq!(list.len(), 1);
        assert!(list[0].is_default && list[0].name.contains("Built-in echo"));
    }

    #[test]
    fn session_agent_and_default_choose_in_this_order() {
        let made = models(
            serde_json::json!({
                "default": "home/a",
                "providers": {"home": {"models": ["a", "b", "x/y"]}, "other": {"models": ["c"]}},
            }),
            serde_json::json!({"list": [{"id": "w"}, {"id": "v", "model": "c", "default": true}]}),
        )
        .unwrap();
        assert_eq!(made.resolve(Some("home/b"), "v"), pair("home", "b"));
        assert_eq!(made.resolve(Some("x/y"), "v"), pair("home", "x/y"));
        assert_eq!(made.resolve(None, "v"), pair("other", "c"));
        assert_eq!(made.resolve(None, "w"), pair("home", "a"));
        assert_eq!(made.default_agent().as_str(), "v");
        assert!(made.choose(None, Some("nope"), "w").is_err());
        assert_eq!(made.list()[0].id, "a");
        // A model that is not listed may exist all the same.
        assert_eq!(made.find("home/new").unwrap(), pair("home", "new"));
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let problems = models(
            serde_json::json!({
                "default": "nope/x",
                "providers": {"a/b": {}, "c": {"baseUrl": "ftp://c"}},
            }),
            serde_json::json!({"list": [{"id": "A"}, {"id": "m", "model": "gone"}, {"id": "m"}]}),
        )
        .err()
        .unwrap();
        assert_eq!(
            problems,
            [
                "models.providers.a/b",
                "models.providers.c.baseUrl",
                "agents.list[0].id",
                "agents.list[2].id",
                "models.default",
                "agents.list[1].model",
            ]
        );
    }

    #[test]
    fn a_new_configuration_takes_over_and_a_bad_one_changes_nothing() {
        let models = Models::new(&ModelsConfig::default(), &AgentsConfig::default()).unwrap();
        let agents = AgentsConfig {
            list: vec![AgentConfig {
                id: "v".into(),
                ..AgentConfig::default()
            }],
        };
        models.replace(&ModelsConfig::default(), &agents).unwrap();
        assert_eq!(models.default_agent().as_str(), "v");
        let bad = ModelsConfig {
            default: Some("nobody/x".into()),
            ..ModelsConfig::default()
        };
        assert!(models.replace(&bad, &AgentsConfig::default()).is_err());
        assert_eq!(models.default_agent().as_str(), "v");
    }

    #[test]
    fn a_new_configuration_keeps_the_http_client_and_the_echo() {
        let none = (ModelsConfig::default(), AgentsConfig::default());
        let slow = Some(Duration::from_millis(7));
        let models = Models::with_echo_delay(&none.0, &none.1, slow).unwrap();
        let home = serde_json::json!({"providers": {"home": {"models": ["a"]}}});
        let home: ModelsConfig = serde_json::from_value(home).unwrap();
        for _ in 0..3 {
            models.replace(&home, &none.1).unwrap();
            models.replace(&none.0, &none.1).unwrap();
        }
        models.replace(&home, &none.1).unwrap();
        // Ours, and that of the one provider in force; none of those before.
        assert_eq!(Arc::strong_count(&models.kept.client), 2);
        let echo = models.choose(Some("builtin/echo"), None, "main").unwrap();
        let kept: Arc<dyn Provider> = models.kept.echo.clone();
        assert!(Arc::ptr_eq(&echo.provider, &kept));
    }
}
