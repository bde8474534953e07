//! From command line, environment and config to [`GatewaySettings`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use clawline::config::gateway::{
    AuthMode as ConfigAuthMode, NodesConfig, ReloadMode as ConfigReload,
    SilentScopes as ConfigSilent, V3Commands as ConfigV3Commands,
};
use clawline::config::models::Dollars;
use clawline::config::{
    self, Config, Environment, FlagValue, LoadRequest, Loaded, Paths, Profile, Program,
};

use super::{Common, Failure, output, reach};
use crate::runs::{
    AgentConfig, AgentsConfig, ModelConfig, ModelsConfig, ProviderConfig, ProviderKind,
};
use crate::sessions::Price;
use crate::settings::{
    AuthMode, AuthSettings, ConfigView, GatewaySettings, IpRange, LogSettings, NodesSettings,
    RateLimit, ReloadMode, SilentScopes, TrustedProxySettings, V3Commands,
};

/// What was read, and from where.
pub(super) struct Read {
    pub(super) env: Environment,
    pub(super) loaded: Loaded,
}

impl Common {
    fn chosen_profile(&self) -> Result<Option<Profile>, Failure> {
        if self.dev {
            return Ok(Some(Profile::dev()));
        }
        self.profile
            .as_deref()
            .map(|name| name.parse().map_err(Failure::usage))
            .transpose()
    }

    /// The profile in force and its paths, which do not depend on the config file.
    pub(super) fn place(&self) -> Result<(Option<Profile>, Paths), Failure> {
        let env = Environment::of_process().map_err(Failure::usage)?;
        let profile = match (self.chosen_profile()?, env.var("CLAWLINE_PROFILE")) {
            (None, Some(name)) => Some(name.parse().map_err(Failure::usage)?),
            (profile, _) => profile,
        };
        let paths = Paths::new(&env, profile.as_ref());
        Ok((profile, paths))
    }

    /// Reads the configuration under these options.
    pub(super) fn load(&self, flags: Vec<FlagValue>) -> Result<Read, Failure> {
        let read = self.load_quietly(flags)?;
        for warning in &read.loaded.warnings {
            output::note(&format!("note: {warning}"));
        }
        Ok(read)
    }

    /// As [`Common::load`], without a word about what is merely odd.
    pub(super) fn load_quietly(&self, flags: Vec<FlagValue>) -> Result<Read, Failure> {
        let env = Environment::of_process().map_err(Failure::usage)?;
        let request = LoadRequest {
            program: Program::Gateway,
            file: self.config.clone(),
            profile: self.chosen_profile()?,
            flags,
        };
        let loaded = config::load(&env, &request).map_err(Failure::usage)?;
        Ok(Read { env, loaded })
    }
}

impl Common {
    /// As [`Common::load_quietly`], if the config file at `path` held this text.
    pub(super) fn load_draft(
        &self,
        flags: Vec<FlagValue>,
        path: &Path,
        text: &str,
    ) -> Result<Read, config::ConfigErrors> {
        let env = Environment::of_process().map_err(|error| told(Failure::usage(error)))?;
        let profile = self.chosen_profile().map_err(told)?;
        let request = LoadRequest {
            program: Program::Gateway,
            file: self.config.clone(),
            profile,
            flags,
        };
        let loaded = config::load_text(&env, &request, path, text)?;
        Ok(Read { env, loaded })
    }
}

impl Read {
    pub(super) fn paths(&self) -> &Paths {
        &self.loaded.paths
    }

    /// The file that says how the daemon is to be, whether it is there or not.
    pub(super) fn config_file(&self) -> PathBuf {
        let read = self.loaded.file.as_ref().map(|(path, _)| path.clone());
        read.unwrap_or_else(|| self.paths().config_file().to_owned())
    }

    /// The settings of a daemon that is to serve.
    pub(super) fn settings(&self) -> Result<GatewaySettings, Failure> {
        let config = &self.loaded.config;
        let judged = reach::with_made_token(config, &self.paths().gateway_token());
        let problems = config::check::check_serving(&judged, &self.loaded.values);
        if !problems.is_empty() {
            return Err(Failure::usage(config::ConfigErrors(problems)));
        }
        let gateway = &config.gateway;
        let limit = &gateway.auth.rate_limit;
        let mut settings = GatewaySettings::new(self.paths().gateway_state_dir());
        settings.profile = self.loaded.profile.as_ref().map(|p| p.name().to_owned());
        settings.bind = reach::bind_to(config)?;
        settings.port = gateway.port;
        settings.tls = reach::tls(config, settings.bind, &self.env)?;
        settings.tailscale = reach::tailscale(config);
        settings.auth = AuthSettings {
            mode: auth_mode(config)?,
            token: gateway.auth.token.clone(),
            password: gateway.auth.password.clone(),
            trusted_proxy: trusted_proxy(&gateway.auth.trusted_proxy)?,
        };
        settings.silent_scopes = match gateway.auth.silent_scopes {
            ConfigSilent::Requested => SilentScopes::Asked,
            ConfigSilent::ReadWrite => SilentScopes::ReadWrite,
        };
        settings.allowed_hosts.clone_from(&gateway.allowed_hosts);
        settings
            .allowed_origins
            .clone_from(&gateway.control_ui.allowed_origins);
        settings.trusted_proxies = ranges("gateway.trustedProxies", &gateway.trusted_proxies)?;
        settings.payload_v1 = config.compat.payload_v1;
        settings.rate_limit = RateLimit {
            max_attempts: usize::try_from(limit.max_attempts).unwrap_or(usize::MAX),
            window: Duration::from_millis(limit.window_ms),
            lockout: Duration::from_millis(limit.lockout_ms),
        };
        settings.reload = match gateway.reload.mode {
            ConfigReload::Off => ReloadMode::Off,
            ConfigReload::Hybrid => ReloadMode::Hybrid,
        };
        settings.log = LogSettings {
            level: config.logging.level.word().to_owned(),
            max_file_bytes: config.logging.max_file_bytes.into(),
            max_files: config.logging.max_files,
        };
        settings.nodes = nodes(&gateway.nodes)?;
        settings.models = models(&config.models);
        settings.agents = agents(&config.agents);
        settings.config = self.view();
        settings.advert = Some(self.paths().gateway_notice());
        Ok(settings)
    }

    fn view(&self) -> ConfigView {
        let file = self.loaded.file.as_ref().map(|(path, _)| path.clone());
        let path = file
            .clone()
            .unwrap_or_else(|| self.paths().config_file().to_owned());
        let parsed = file
            .and_then(|path| config::read_text(&path).ok())
            .and_then(|text| json5::from_str(&text).ok());
        let mut effective = serde_json::Value::Object(serde_json::Map::new());
        for shown in &self.loaded.values {
            insert(&mut effective, &shown.key, shown.value.clone());
        }
        ConfigView {
            path,
            parsed,
            effective,
        }
    }
}

/// A failure as problems of the configuration, one a line.
pub(super) fn told(failure: Failure) -> config::ConfigErrors {
    let problem = |line: &str| config::Problem {
        file: None,
        position: None,
        key: None,
        what: line.to_owned(),
        next: String::new(),
    };
    config::ConfigErrors(failure.text.lines().map(problem).collect())
}

/// `a.b.c` into nested objects; list positions stay part of the name.
fn insert(into: &mut serde_json::Value, key: &str, value: serde_json::Value) {
    let mut at = into;
    for part in key.split('.') {
        if !at.is_object() {
            return;
        }
        at = &mut at[part];
        if at.is_null() {
            *at = serde_json::Value::Object(serde_json::Map::new());
        }
    }
    *at = value;
}

fn trusted_proxy(
    config: &config::gateway::TrustedProxyConfig,
) -> Result<TrustedProxySettings, Failure> {
    let proxy_uid = config.proxy_user.as_deref().map(user_id).transpose()?;
    let secret = match (&config.secret_header, &config.secret) {
        (Some(header), Some(secret)) => Some((header.to_ascii_lowercase(), secret.clone())),
        (None, None) => None,
        _ => {
            return Err(Failure::usage(
                "gateway.auth.trustedProxy: secretHeader and secret belong together; set both or none",
            ));
        }
    };
    Ok(TrustedProxySettings {
        user_header: config.user_header.clone().unwrap_or_default(),
        required_headers: config.required_headers.clone(),
        allow_users: config.allow_users.clone(),
        allow_loopback: config.allow_loopback,
        proxy_uid,
        secret,
    })
}

/// A user by name or number.
fn user_id(text: &str) -> Result<u32, Failure> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    match nix::unistd::User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => Err(Failure::usage(format!(
            "gateway.auth.trustedProxy.proxyUser: there is no user \"{}\" here",
            clawline::layer::printable(text, 80)
        ))),
    }
}

fn auth_mode(config: &Config) -> Result<AuthMode, Failure> {
    let auth = &config.gateway.auth;
    Ok(match auth.mode {
        Some(ConfigAuthMode::Token) => AuthMode::Token,
        Some(ConfigAuthMode::Password) => AuthMode::Password,
        Some(ConfigAuthMode::None) => AuthMode::None,
        Some(ConfigAuthMode::TrustedProxy) => AuthMode::TrustedProxy,
        None if auth.password.is_some() && auth.token.is_none() => AuthMode::Password,
        None => AuthMode::Token,
    })
}

fn ranges(key: &str, texts: &[String]) -> Result<Vec<IpRange>, Failure> {
    let range = |text: &String| {
        IpRange::parse(text).ok_or_else(|| {
            Failure::usage(format!(
                "{key}: \"{text}\" is neither an address nor a network"
            ))
        })
    };
    texts.iter().map(range).collect()
}

fn nodes(config: &NodesConfig) -> Result<NodesSettings, Failure> {
    let both = |new: &[String], old: &[String]| [new, old].concat();
    let cidrs = &config.pairing.auto_approve_cidrs;
    Ok(NodesSettings {
        allow: both(&config.commands.allow, &config.allow_commands),
        deny: both(&config.commands.deny, &config.deny_commands),
        auto_approve_local: config.pairing.auto_approve_local,
        auto_approve_cidrs: ranges("gateway.nodes.pairing.autoApproveCidrs", cidrs)?,
        v3_commands: match config.pairing.v3_commands {
            ConfigV3Commands::Allow => V3Commands::Allow,
            ConfigV3Commands::Ask => V3Commands::Ask,
        },
    })
}

fn models(config: &config::ModelsConfig) -> ModelsConfig {
    use clawline::config::models::ProviderKind as Kind;
    ModelsConfig {
        default: config.default.clone(),
        providers: config
            .providers
            .iter()
            .map(|(name, provider)| {
                let kind = match provider.kind {
                    Kind::Openai => ProviderKind::Openai,
                    Kind::Anthropic => ProviderKind::Anthropic,
                    Kind::Ollama => ProviderKind::Ollama,
                    Kind::Echo => ProviderKind::Echo,
                };
                let models = provider.models.iter().map(|model| ModelConfig {
                    id: model.id.clone(),
                    name: model.name.clone(),
                    context_window: model.context_window.map(i64::from),
                    max_tokens: model.max_tokens,
                    reasoning: model.reasoning,
                    price: price(&model.cost),
                });
                let provider = ProviderConfig {
                    kind,
                    base_url: provider.base_url.clone(),
                    api_key: provider.api_key.clone(),
                    api_key_env: provider.api_key_env.clone(),
                    models: models.collect(),
                };
                (name.clone(), provider)
            })
            .collect(),
    }
}

/// A price where both of its halves are configured.
fn price(cost: &config::models::CostConfig) -> Option<Price> {
    let dollars = |dollars: Dollars| dollars.to_f64();
    Price::per_million(
        dollars(cost.input?),
        dollars(cost.output?),
        cost.cache_read.map(dollars),
        cost.cache_write.map(dollars),
    )
}

fn agents(config: &config::AgentsConfig) -> AgentsConfig {
    AgentsConfig {
        list: config
            .list
            .iter()
            .map(|agent| AgentConfig {
                id: agent.id.clone(),
                name: agent.name.clone(),
                model: agent.model.clone(),
                default: agent.default,
            })
            .collect(),
    }
}
