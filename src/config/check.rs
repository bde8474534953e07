//! What can be wrong with a configuration beyond its types; every problem at once.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::gateway::{AuthMode, Bind, Mode};
use super::{Config, ShownValue, Source};
use crate::tunnel::ends::{ListenSpec, parse_remote_end};
use crate::tunnel::target::{SshTarget, Target};

/// Texts that stand in examples in the place of a secret.
const PLACEHOLDERS: [&str; 8] = [
    "undefined",
    "null",
    "replace-me",
    "replace_me",
    "changeme",
    "change-me",
    "your-token",
    "your-token-here",
];

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, when the value came from one.
    pub file: Option<PathBuf>,
    /// Line and column, from 1, of a syntax error.
    pub position: Option<(usize, usize)>,
    /// The key's path.
    pub key: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do about it; may be empty.
    pub next: String,
}

impl Problem {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self {
            file: None,
            position: None,
            key: None,
            what: what.into(),
            next: String::new(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some((line, column)) = self.position {
                write!(f, ":{line}:{column}")?;
            }
            f.write_str(": ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.what)?;
        if !self.next.is_empty() {
            write!(f, "; {}", self.next)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration. Wrong usage, exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<Problem>);

/// Something worth saying that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A file with a secret can be read by other users.
    OpenToOthers {
        /// The file.
        file: PathBuf,
        /// The first key that holds a secret.
        key: String,
    },
    /// A secret was handed over with a line break at its end, which is not part of it.
    LineBreak {
        /// What handed it over.
        source: Source,
        /// The key.
        key: String,
    },
    /// A key was set that OpenClaw knows and that does nothing here.
    WithoutEffect {
        /// What set it.
        source: Source,
        /// The key.
        key: String,
        /// Why; the rest of a sentence.
        why: &'static str,
    },
    /// A value of OpenClaw's file cannot be used here and was left out.
    Unusable {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// Why; the rest of a sentence.
        why: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenToOthers { file, key } => write!(
                f,
                "{file}: other users can read it, and {key} is a secret; run chmod 600 {file}",
                file = file.display()
            ),
            Self::LineBreak {
                source: source @ Source::File(_),
                key,
            } => write!(
                f,
                "{source}: the line break at the end of {key} is left out"
            ),
            Self::LineBreak { source, .. } => {
                write!(f, "{source}: the line break at its end is left out")
            }
            Self::WithoutEffect { source, key, why } => {
                write!(f, "{source}: {key} has no effect: {why}")
            }
            Self::Unusable { file, key, why } => {
                write!(f, "{}: {key} {why}; left out", file.display())
            }
        }
    }
}

/// Checks that hold for both programs.
pub(super) fn check(config: &Config, shown: &[ShownValue]) -> Vec<Problem> {
    let mut checks = Checks {
        shown,
        problems: Vec::new(),
    };
    checks.gateway(config);
    checks.hosts(config);
    checks.models(config);
    checks.problems
}

/// Checks before the daemon listens: refuses what would be open to anybody.
pub fn check_serving(config: &Config, shown: &[ShownValue]) -> Vec<Problem> {
    let mut checks = Checks {
        shown,
        problems: Vec::new(),
    };
    let auth = &config.gateway.auth;
    let is_loopback = match config.gateway.bind {
        Bind::Loopback | Bind::Auto => true,
        Bind::Lan | Bind::Tailnet => false,
        Bind::Custom => config
            .gateway
            .custom_bind_host
            .as_deref()
            .and_then(|host| host.parse::<IpAddr>().ok())
            .is_some_and(|address| address.is_loopback()),
    };
    if config.gateway.mode == Mode::Remote {
        checks.add(
            "gateway.mode",
            "is remote: this configuration is for clients of a gateway elsewhere",
            "set it to \"local\" on the machine that runs the gateway",
        );
    }
    match auth.mode {
        Some(AuthMode::None) if !is_loopback => checks.add(
            "gateway.auth.mode",
            "\"none\" is possible on loopback alone",
            "set gateway.bind to \"loopback\", or a token",
        ),
        Some(AuthMode::Password) if auth.password.is_none() => checks.add(
            "gateway.auth.mode",
            "is \"password\", but there is no password",
            "set gateway.auth.password or CLAWLINE_GATEWAY_PASSWORD",
        ),
        Some(AuthMode::TrustedProxy) if auth.trusted_proxy.user_header.is_none() => checks.add(
            "gateway.auth.trustedProxy.userHeader",
            "is needed for gateway.auth.mode \"trusted-proxy\"",
            "name the header in which the proxy says who the user is",
        ),
        Some(AuthMode::TrustedProxy | AuthMode::None | AuthMode::Password) => {}
        Some(AuthMode::Token) | None => {
            if !is_loopback && auth.token.is_none() && auth.password.is_none() {
                checks.add(
                    "gateway.bind",
                    "is not loopback, and there is neither a token nor a password",
                    "run clawline-gateway token once (with the same --profile) to make a token, or set gateway.auth.token or CLAWLINE_GATEWAY_TOKEN",
                );
            }
        }
    }
    checks.problems
}

struct Checks<'a> {
    shown: &'a [ShownValue],
    problems: Vec<Problem>,
}

impl Checks<'_> {
    fn add(&mut self, key: &str, what: impl Into<String>, next: impl Into<String>) {
        let source = self.shown.iter().find(|shown| shown.key == key);
        let mut problem = Problem::new(what);
        match source.map(|shown| &shown.source) {
            Some(Source::File(path)) => problem.file = Some(path.clone()),
            Some(Source::Default) | None => {}
            Some(source) => problem.what = format!("(from {source}) {}", problem.what),
        }
        problem.key = Some(key.to_owned());
        problem.next = next.into();
        self.problems.push(problem);
    }

    fn gateway(&mut self, config: &Config) {
        let gateway = &config.gateway;
        let auth = &gateway.auth;
        for (key, secret) in [
            ("gateway.auth.token", &auth.token),
            ("gateway.auth.password", &auth.password),
        ] {
            let text = secret.as_ref().map(|secret| secret.expose().to_lowercase());
            if text.is_some_and(|text| PLACEHOLDERS.contains(&text.as_str())) {
                self.add(
                    key,
                    "is a placeholder that everybody knows",
                    "leave it out, and a token is made",
                );
            }
        }
        if auth.token.is_some() && auth.token == auth.password {
            self.add(
                "gateway.auth.password",
                "is the same as gateway.auth.token",
                "one secret is enough: leave one of them out",
            );
        }
        match (&gateway.custom_bind_host, gateway.bind) {
            (None, Bind::Custom) => self.add(
                "gateway.customBindHost",
                "is needed for gateway.bind \"custom\"",
                "set it to an address of this machine",
            ),
            (Some(host), _) if host.parse::<IpAddr>().is_err() => self.add(
                "gateway.customBindHost",
                "must be an IP address",
                "write it as 192.0.2.1 or fd00::1",
            ),
            (_, _) => {}
        }
        if gateway.tls.cert_path.is_some() != gateway.tls.key_path.is_some() {
            self.add(
                "gateway.tls.certPath",
                "certPath and keyPath belong together, and one is missing",
                "set both or none",
            );
        }
        let remote = &gateway.remote;
        if let Some(url) = &remote.url {
            match url.parse::<Target>() {
                Ok(Target::Url(_)) => {}
                Ok(Target::Local | Target::Ssh(_)) => self.add(
                    "gateway.remote.url",
                    "must be a ws:// or wss:// URL",
                    "an SSH host goes into gateway.remote.sshTarget",
                ),
                Err(error) => self.add("gateway.remote.url", error.to_string(), error.next()),
            }
        }
        if let Some(target) = &remote.ssh_target
            && let Err(error) = target.parse::<SshTarget>()
        {
            self.add("gateway.remote.sshTarget", error.to_string(), error.next());
        }
        if let Some(pin) = &remote.tls_fingerprint {
            let digits = pin.strip_prefix("sha256:").unwrap_or(pin);
            let digits = digits.chars().filter(|c| *c != ':');
            let good =
                digits.clone().count() == 64 && digits.clone().all(|c| c.is_ascii_hexdigit());
            if !good {
                self.add(
                    "gateway.remote.tlsFingerprint",
                    "must be the SHA-256 of the certificate, 64 hex digits",
                    "",
                );
            }
        }
    }

    fn hosts(&mut self, config: &Config) {
        for (name, host) in &config.hosts {
            let at = |key: &str| format!("hosts.{name}.{key}");
            if let Err(error) = SshTarget::from_str(name) {
                self.add(&format!("hosts.{name}"), error.to_string(), "");
            }
            if let Some(ssh) = &host.ssh
                && let Err(error) = ssh.parse::<SshTarget>()
            {
                self.add(&at("ssh"), error.to_string(), error.next());
            }
            for jump in host.jump.iter().filter(|jump| jump.as_str() != "none") {
                if let Err(error) = jump.parse::<SshTarget>() {
                    self.add(&at("jump"), error.to_string(), error.next());
                }
            }
            if let Some(remote) = &host.remote
                && let Err(error) = parse_remote_end(remote)
            {
                self.add(&at("remote"), error.to_string(), error.next());
            }
            for listen in &host.listen {
                if let Err(error) = listen.parse::<ListenSpec>() {
                    self.add(&at("listen"), error.to_string(), error.next());
                }
            }
        }
    }

    fn models(&mut self, config: &Config) {
        let known = |model: &str| {
            let provider = model.split_once('/').map(|(provider, _)| provider);
            provider.is_some_and(|p| p == "echo" || config.models.providers.contains_key(p))
        };
        let next = "write provider/model with a provider of models.providers, or echo/echo";
        if let Some(model) = config.models.default.as_deref().filter(|m| !known(m)) {
            self.add(
                "models.default",
                format!("\"{model}\" names no provider that is configured"),
                next,
            );
        }
        let mut ids = BTreeSet::new();
        for (index, agent) in config.agents.list.iter().enumerate() {
            let at = |key: &str| format!("agents.list[{index}].{key}");
            if agent.id.parse::<super::Profile>().is_err() {
                // The rule for names is the same one.
                self.add(
                    &at("id"),
                    "must be up to 64 lower-case letters, digits, '-' and '_'",
                    "",
                );
            } else if !ids.insert(&agent.id) {
                self.add(&at("id"), format!("\"{}\" is there twice", agent.id), "");
            }
            if let Some(model) = agent.model.as_deref().filter(|m| !known(m)) {
                self.add(
                    &at("model"),
                    format!("\"{model}\" names no provider that is configured"),
                    next,
                );
            }
        }
        if config.agents.list.iter().filter(|a| a.default).count() > 1 {
            self.add("agents.list", "only one agent can be the default", "");
        }
        for (name, provider) in &config.models.providers {
            let at = |key: &str| format!("models.providers.{name}.{key}");
            if let Some(url) = &provider.base_url
                && !url::Url::parse(url).is_ok_and(|u| matches!(u.scheme(), "http" | "https"))
            {
                self.add(&at("baseUrl"), "must be an http:// or https:// URL", "");
            }
            for (index, model) in provider.models.iter().enumerate() {
                if model.id.trim().is_empty() {
                    self.add(&at(&format!("models[{index}].id")), "is missing", "");
                }
            }
        }
    }
}

/// Keys that are read because OpenClaw's files have them, and why nothing comes of them.
const WITHOUT_EFFECT: [(&str, &str); 6] = [
    (
        "gateway.auth.rateLimit.exemptLoopback",
        "the gateway's own user is never locked out, and nobody else on this machine is spared",
    ),
    (
        "gateway.tls.caPath",
        "no certificates of clients are asked for",
    ),
    (
        "gateway.tailscale.resetOnExit",
        "what was published is always taken back at the end",
    ),
    ("gateway.controlUi.basePath", NO_CONTROL_UI),
    ("gateway.controlUi.root", NO_CONTROL_UI),
    ("gateway.controlUi.allowInsecureAuth", NO_CONTROL_UI),
];
const NO_CONTROL_UI: &str = "this gateway serves no browser interface";

/// Warnings about what somebody has set without effect.
pub(super) fn without_effect(shown: &[ShownValue]) -> impl Iterator<Item = Warning> {
    shown.iter().filter_map(|shown| {
        let (_, why) = WITHOUT_EFFECT.iter().find(|(key, _)| *key == shown.key)?;
        (shown.source != Source::Default).then(|| Warning::WithoutEffect {
            source: shown.source.clone(),
            key: shown.key.clone(),
            why,
        })
    })
}

/// A warning when a file that holds a secret can be read by others.
pub(super) fn open_file(path: &Path, key: Option<&String>) -> Option<Warning> {
    let key = key?;
    // A file that vanished meanwhile is not open to anybody.
    let open = crate::owner_file::is_open_to_others(path).unwrap_or(false);
    open.then(|| Warning::OpenToOthers {
        file: path.to_owned(),
        key: key.clone(),
    })
}
