//! Which models and agents there are, and which one answers a run.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::catalog::{AgentInfo, Catalog, ConfigProblem, Kept, UnknownModel, plain};
use super::config::{AgentsConfig, ModelConfig, ModelsConfig};
use super::provider::{Echo, Provider};
use crate::sessions::AgentId;

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

/// The model that answers a run.
#[derive(Clone)]
pub(super) struct Chosen {
    pub(super) provider_name: String,
    pub(super) model: ModelConfig,
    pub(super) provider: Arc<dyn Provider>,
}

/// The models and agents in force. A run that has begun keeps the model that it was given.
pub struct Models {
    live: ArcSwap<Catalog>,
    /// What does not change with the configuration.
    kept: Kept,
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
        Self::of(Catalog::for_test(provider), Kept::default())
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

#[cfg(test)]
mod tests {
    use super::super::config::AgentConfig;
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
