//! From what was typed and configured to where the link leads: a target becomes one [`LinkRequest`].

use std::sync::Arc;

use clawline::client::dial::Credentials;
use clawline::client::tcp::Endpoint;
use clawline::config::gateway::{Mode, Transport};
use clawline::config::{Environment, GatewayKind, HostConfig, Loaded, Source, paths::Paths};
use clawline::gateway_id::GatewayId;
use clawline::layer::printable;
use clawline::look_alike;
use clawline::secret::Secret;
use clawline::tunnel::ends::parse_remote_end;
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::{HopSpec, RemoteEnd, TunnelSpec};
use clawline::tunnel::ssh_config::{self, ConfigFile, Flags, OwnSetting, Resolved};
use clawline::tunnel::target::{SshTarget, Target};
use clawline::tunnel::{Tunnel, TunnelOptions};

use super::ssh::FarSide;

/// The connection options of the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectOptions {
    /// `-p`, `-i`, `-J`, `-F`, `-o`, `--accept-new-host-key`.
    pub ssh: Flags,
    /// `--url`.
    pub url: Option<String>,
    /// `--token`.
    pub token: Option<Secret>,
    /// `--password`.
    pub password: Option<Secret>,
    /// `--tls-fingerprint`.
    pub tls_fingerprint: Option<String>,
    /// `--remote`.
    pub remote: Option<String>,
}

impl ConnectOptions {
    /// True when anything was typed that only means something for a connection.
    pub fn is_any_typed(&self) -> bool {
        self.ssh != Flags::default()
            || self.url.is_some()
            || self.remote.is_some()
            || self.tls_fingerprint.is_some()
            || !self.credentials().is_empty()
    }

    /// The secrets that were typed.
    pub fn credentials(&self) -> Credentials {
        Credentials {
            token: self.token.clone(),
            password: self.password.clone(),
        }
    }
}

/// The request cannot be carried out as it was typed or configured. Exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct UsageError {
    /// What is wrong.
    pub what: String,
    /// What to type instead; may be empty.
    pub next: String,
}

impl UsageError {
    /// With a next step.
    pub fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: next.into(),
        }
    }
}

/// Turns targets into requests; the app keeps one for its first-run screen.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    pub env: Arc<Environment>,
    pub loaded: Arc<Loaded>,
    pub options: ConnectOptions,
}

/// Where a link leads, checked.
#[derive(Debug, Clone)]
pub(crate) struct LinkRequest {
    /// The target as messages name it.
    pub label: String,
    /// The name a person gave it in the config, when it has one.
    pub name: Option<String>,
    /// The session that the config names for it.
    pub session: Option<String>,
    /// Local ends that the config names for it.
    pub listen: Vec<String>,
    /// What is worth saying before anything happens.
    pub notes: Vec<String>,
    pub(super) way: Way,
    pub(super) paths: Paths,
    /// Somebody typed a token or password: it is right or wrong, and nothing else is shown.
    pub(super) is_secret_typed: bool,
    /// Every failure is final: for commands that answer once and exit.
    pub once: bool,
}

/// How the gateway is reached.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// This machine's own gateway.
    Local(LocalWay),
    /// A URL.
    Direct(DirectWay),
    /// Over SSH.
    Ssh(Box<SshWay>),
}

#[derive(Debug, Clone)]
pub(super) struct LocalWay {
    pub explicit: Credentials,
    /// A port that flag or environment named.
    pub port: Option<u16>,
    /// The client's own config: what it says of this machine's gateway.
    pub loaded: Arc<Loaded>,
}

#[derive(Debug, Clone)]
pub(super) struct DirectWay {
    pub endpoint: Endpoint,
    pub credentials: Credentials,
}

#[derive(Debug, Clone)]
pub(super) struct SshWay {
    pub spec: TunnelSpec,
    /// The far end when somebody said it.
    pub remote: Option<RemoteEnd>,
    /// Beats what is found.
    pub explicit: Credentials,
    /// Used where nothing is found.
    pub fallback: Credentials,
    /// Which gateway, where both are there.
    pub wanted: Option<GatewayKind>,
    /// Whose gateway, where there are several of ours.
    pub profile: Option<String>,
}

impl SshWay {
    /// The id of the gateway at a far end.
    pub fn gateway_id(&self, far_end: &RemoteEnd) -> GatewayId {
        let hop = self.spec.destination();
        let (host, port, user) = hop.map_or(("", 0, ""), |hop| {
            let host = look_alike::without_dot(&hop.host);
            let host = hop.host_key_alias.as_deref().unwrap_or(host);
            (host, hop.port, hop.user.as_str())
        });
        GatewayId::over_ssh(host, port, user, &far_end.to_string())
    }
}

impl LinkRequest {
    /// The SSH server where the tunnel ends; `None` when it does not go over SSH.
    pub fn ssh_server(&self) -> Option<&HopSpec> {
        match &self.way {
            Way::Ssh(way) => way.spec.destination(),
            Way::Local(_) | Way::Direct(_) => None,
        }
    }

    /// Starts only the tunnel, for the programs of others; `None` when it does not go over SSH. Must be
    /// called inside a tokio runtime.
    pub fn tunnel_alone(&self, prompter: Prompter, options: TunnelOptions) -> Option<FarSide> {
        match &self.way {
            Way::Ssh(way) => Some(FarSide {
                tunnel: Tunnel::start(way.spec.clone(), prompter, options),
                way: (**way).clone(),
            }),
            Way::Local(_) | Way::Direct(_) => None,
        }
    }

    /// Where the laptop's files are.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }
}

impl Connector {
    /// The request for a target; `None` for the configured default.
    ///
    /// # Errors
    /// When it cannot be carried out as typed or configured.
    pub fn request(&self, target: Option<&str>) -> Result<LinkRequest, UsageError> {
        match (target, &self.options.url) {
            (Some(_), Some(_)) => Err(UsageError::new(
                "--url and TARGET both say where the gateway is",
                "leave one of them out",
            )),
            (None, Some(url)) => self.explicit_url(url),
            (Some(target), None) => self.typed(target),
            (None, None) => match self.configured()? {
                Some(request) => Ok(request),
                None => Err(UsageError::new(
                    "no TARGET was given and none is configured",
                    "clawline me@desktop, or name a host in clawline.json5",
                )),
            },
        }
    }

    /// The request of the configured default: `gateway.remote`, the only entry of `hosts`, or a gateway
    /// of this machine that is there. `None` when nothing is configured.
    ///
    /// # Errors
    /// When what is configured cannot be carried out.
    pub fn configured(&self) -> Result<Option<LinkRequest>, UsageError> {
        let gateway = &self.loaded.config.gateway;
        let remote = &gateway.remote;
        let wants_remote = gateway.mode == Mode::Remote || !self.loaded.is_set("gateway.mode");
        if wants_remote || matches!(self.url_source(), Source::Environment(_)) {
            let direct = remote.transport == Some(Transport::Direct) || remote.ssh_target.is_none();
            match (&remote.ssh_target, &remote.url) {
                (_, Some(url)) if direct => return self.configured_url(url).map(Some),
                (Some(target), _) => return self.configured_ssh(target).map(Some),
                (None, _) if gateway.mode == Mode::Remote => {
                    return Err(UsageError::new(
                        "gateway.mode is \"remote\", but gateway.remote names no gateway",
                        "set gateway.remote.url or gateway.remote.sshTarget",
                    ));
                }
                (None, _) => {}
            }
        }
        let mut hosts = self.loaded.config.hosts.iter();
        match (hosts.next(), hosts.next()) {
            (Some((name, host)), None) => self.host(name, host).map(Some),
            (Some(_), Some(_)) => {
                let names: Vec<&str> = self
                    .loaded
                    .config
                    .hosts
                    .keys()
                    .map(String::as_str)
                    .collect();
                Err(UsageError::new(
                    "several hosts are configured, and no TARGET says which",
                    format!("name one of {}", names.join(", ")),
                ))
            }
            (None, _) if self.has_local_gateway() => self.typed("local").map(Some),
            (None, _) => Ok(None),
        }
    }

    /// The request for this machine's own gateway.
    fn local(&self) -> LinkRequest {
        let named = match self.loaded.source("gateway.port") {
            Source::Flag(_) | Source::Environment(_) => Some(self.loaded.config.gateway.port),
            Source::File(_) | Source::Default => None,
        };
        self.build(
            "local",
            Way::Local(LocalWay {
                explicit: self.options.credentials(),
                port: named,
                loaded: Arc::clone(&self.loaded),
            }),
        )
    }

    fn profile(&self) -> Option<String> {
        let profile = self.loaded.profile.as_ref();
        profile.map(|profile| profile.name().to_owned())
    }

    fn has_local_gateway(&self) -> bool {
        let paths = &self.loaded.paths;
        paths.own_gateway_notice().exists()
            || paths.gateway_notice().exists()
            || paths.openclaw_config().exists()
    }

    fn typed(&self, text: &str) -> Result<LinkRequest, UsageError> {
        if let Some(host) = self.loaded.config.hosts.get(text) {
            return self.host(text, host);
        }
        match text.parse::<Target>() {
            Err(error) => Err(UsageError::new(error.to_string(), error.next())),
            Ok(Target::Local) => {
                self.refuse_ssh_options("the target local")?;
                Ok(self.local())
            }
            Ok(Target::Url(url)) => {
                let is_configured = self.loaded.config.gateway.remote.url.as_deref() == Some(text);
                if is_configured {
                    return self.configured_url(text);
                }
                let typed = self.options.credentials();
                let credentials = match typed.is_empty() {
                    true => self.environment_credentials(),
                    false => typed,
                };
                self.direct(url.as_str(), credentials)
            }
            Ok(Target::Ssh(target)) => self.ssh(text, None, &target, HostConfig::default()),
        }
    }

    fn explicit_url(&self, url: &str) -> Result<LinkRequest, UsageError> {
        let credentials = self.options.credentials();
        if credentials.is_empty() {
            return Err(UsageError::new(
                "--url needs --token or --password; neither config nor environment is asked for them",
                "to use what is configured, leave --url out",
            ));
        }
        self.direct(url, credentials)
    }

    fn direct(&self, url: &str, credentials: Credentials) -> Result<LinkRequest, UsageError> {
        self.refuse_ssh_options("a URL")?;
        let pin = self.options.tls_fingerprint.as_deref();
        let mut endpoint = Endpoint::parse(url, pin)
            .map_err(|error| UsageError::new(error.to_string(), "ws://HOST:PORT or wss://HOST"))?;
        if self.loaded.config.compat.insecure_ws {
            endpoint = endpoint.allow_public_plain();
        }
        let label = match url.is_ascii() {
            true => url.to_owned(),
            // The URL as it is dialled, without the pin.
            false => endpoint
                .identity()
                .split('#')
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
        let note = look_alike::note(endpoint.host());
        let mut request = self.build(
            &printable(&label, 200),
            Way::Direct(DirectWay {
                endpoint,
                credentials,
            }),
        );
        request.notes.extend(note);
        Ok(request)
    }

    /// `gateway.remote.url`, with the credentials that belong to it.
    fn configured_url(&self, url: &str) -> Result<LinkRequest, UsageError> {
        let remote = &self.loaded.config.gateway.remote;
        let mut with_pin = self.clone();
        if with_pin.options.tls_fingerprint.is_none() {
            // A pin that cannot be kept is a refusal, never a connection without it.
            with_pin.options.tls_fingerprint = remote.tls_fingerprint.clone();
        }
        // A URL of the environment goes with secrets of the environment only (PROTOCOL §9.4).
        let belongs = |key: &str| match self.url_source() {
            Source::Environment(_) => matches!(self.loaded.source(key), Source::Environment(_)),
            Source::Flag(_) | Source::File(_) | Source::Default => true,
        };
        let explicit = self.options.credentials();
        let credentials = if explicit.is_empty() {
            Credentials {
                token: remote
                    .token
                    .clone()
                    .filter(|_| belongs("gateway.remote.token")),
                password: remote
                    .password
                    .clone()
                    .filter(|_| belongs("gateway.remote.password")),
            }
        } else {
            explicit
        };
        with_pin.direct(url, credentials)
    }

    /// `CLAWLINE_GATEWAY_TOKEN` and `CLAWLINE_GATEWAY_PASSWORD`: the way to give a secret to any target
    /// without showing it to whoever lists processes. OpenClaw's own variables are for the gateway that
    /// is configured, and no other sees them.
    fn environment_credentials(&self) -> Credentials {
        let remote = &self.loaded.config.gateway.remote;
        let is_ours = |key: &str| matches!(self.loaded.source(key), Source::Environment(name) if name.starts_with("CLAWLINE_"));
        Credentials {
            token: remote
                .token
                .clone()
                .filter(|_| is_ours("gateway.remote.token")),
            password: remote
                .password
                .clone()
                .filter(|_| is_ours("gateway.remote.password")),
        }
    }

    fn url_source(&self) -> &Source {
        self.loaded.source("gateway.remote.url")
    }

    /// `gateway.remote.sshTarget`.
    fn configured_ssh(&self, target: &str) -> Result<LinkRequest, UsageError> {
        let remote = &self.loaded.config.gateway.remote;
        let parsed: SshTarget =
            target
                .parse()
                .map_err(|error: clawline::tunnel::target::TargetError| {
                    UsageError::new(format!("gateway.remote.sshTarget: {error}"), error.next())
                })?;
        let host = HostConfig {
            identity: remote.ssh_identity.clone().into_iter().collect(),
            remote: remote.remote_port.map(|port| port.to_string()),
            token: remote.token.clone(),
            ..HostConfig::default()
        };
        let mut request = self.ssh(target, None, &parsed, host)?;
        if let Way::Ssh(way) = &mut request.way
            && self.options.credentials().is_empty()
        {
            way.explicit.password = remote.password.clone();
        }
        Ok(request)
    }

    /// An entry of `hosts`.
    fn host(&self, name: &str, host: &HostConfig) -> Result<LinkRequest, UsageError> {
        let text = host.ssh.as_deref().unwrap_or(name);
        let target: SshTarget =
            text.parse()
                .map_err(|error: clawline::tunnel::target::TargetError| {
                    UsageError::new(format!("hosts.{name}.ssh: {error}"), error.next())
                })?;
        self.ssh(text, Some(name), &target, host.clone())
    }

    fn ssh(
        &self,
        label: &str,
        name: Option<&str>,
        target: &SshTarget,
        host: HostConfig,
    ) -> Result<LinkRequest, UsageError> {
        if self.options.tls_fingerprint.is_some() {
            return Err(UsageError::new(
                "--tls-fingerprint belongs to a wss:// URL; over SSH the host key is checked",
                "",
            ));
        }
        let resolved = self.resolve(target, &host)?;
        let remote = match self.options.remote.as_ref().or(host.remote.as_ref()) {
            None => None,
            Some(text) => Some(
                parse_remote_end(text)
                    .map_err(|error| UsageError::new(format!("--remote: {error}"), error.next()))?,
            ),
        };
        let mut explicit = self.options.credentials();
        if explicit.is_empty() {
            explicit.token = host.token;
        }
        let label = match label.is_ascii() {
            true => label,
            false => resolved.spec.target.as_str(),
        };
        let about = names_of(&resolved.spec);
        let label = match name {
            Some(name) if name.is_ascii() && name != label => format!("{name} ({label})"),
            _ => label.to_owned(),
        };
        let mut request = self.build(
            &printable(&label, 200),
            Way::Ssh(Box::new(SshWay {
                spec: resolved.spec,
                remote,
                explicit,
                fallback: self.environment_credentials(),
                wanted: host.gateway,
                profile: self.profile(),
            })),
        );
        request.name = name.map(str::to_owned);
        request.session = host.session;
        request.listen = host.listen;
        request.notes = resolved.notices.iter().map(ToString::to_string).collect();
        request.notes.extend(about);
        Ok(request)
    }

    /// ssh_config, flags and the host's own settings, folded.
    ///
    /// # Errors
    /// With the file and line that cannot be followed.
    pub fn resolve(&self, target: &SshTarget, host: &HostConfig) -> Result<Resolved, UsageError> {
        let flags = self.ssh_flags(host);
        let env = ssh_config::Env::of_process().map_err(|error| usage(&error))?;
        ssh_config::resolve(target, &flags, &env).map_err(|error| usage(&error))
    }

    /// The command line's SSH options and what our own configuration adds to them.
    pub fn ssh_flags(&self, host: &HostConfig) -> Flags {
        let own = |keyword, value, at: &str| OwnSetting {
            keyword,
            value,
            at: at.to_owned(),
        };
        let mut flags = self.options.ssh.clone();
        for path in &host.identity {
            let path = self.env.expand(path).to_string_lossy().into_owned();
            flags
                .own
                .push(own("IdentityFile", path, "hosts.*.identity"));
        }
        if !host.jump.is_empty() {
            let jumps = host.jump.join(",");
            flags.own.push(own("ProxyJump", jumps, "hosts.*.jump"));
        }
        let tunnel = &self.loaded.config.tunnel;
        if let Some(seconds) = tunnel.keepalive_seconds {
            let value = seconds.to_string();
            let at = "tunnel.keepaliveSeconds";
            flags.fallback.push(own("ServerAliveInterval", value, at));
        }
        if let Some(max) = tunnel.keepalive_max {
            let at = "tunnel.keepaliveMax";
            flags
                .fallback
                .push(own("ServerAliveCountMax", max.to_string(), at));
        }
        flags.allow_match_exec = tunnel.allow_match_exec;
        flags
    }

    /// The SSH target behind a typed one, for `explain`.
    ///
    /// # Errors
    /// When it is none.
    pub fn ssh_target(&self, text: &str) -> Result<(SshTarget, HostConfig), UsageError> {
        let (text, host) = match self.loaded.config.hosts.get(text) {
            Some(host) => (host.ssh.as_deref().unwrap_or(text), host.clone()),
            None => (text, HostConfig::default()),
        };
        match text.parse::<Target>() {
            Ok(Target::Ssh(target)) => Ok((target, host)),
            Ok(Target::Local | Target::Url(_)) => Err(UsageError::new(
                format!("{} is not reached over SSH", printable(text, 120)),
                "explain shows SSH settings; give it [USER@]HOST[:PORT]",
            )),
            Err(error) => Err(UsageError::new(error.to_string(), error.next())),
        }
    }

    fn refuse_ssh_options(&self, what: &str) -> Result<(), UsageError> {
        let ssh = &self.options.ssh;
        let typed = [
            (ssh.port.is_some(), "-p"),
            (!ssh.identities.is_empty(), "-i"),
            (ssh.jump.is_some(), "-J"),
            (!ssh.options.is_empty(), "-o"),
            (ssh.config != ConfigFile::Standard, "-F"),
            (self.options.remote.is_some(), "--remote"),
        ];
        match typed.into_iter().find(|(typed, _)| *typed) {
            None => Ok(()),
            Some((_, option)) => Err(UsageError::new(
                format!("{option} is for connections over SSH, and {what} is reached directly"),
                format!("leave {option} out, or write [USER@]HOST"),
            )),
        }
    }

    fn build(&self, label: &str, way: Way) -> LinkRequest {
        LinkRequest {
            label: label.to_owned(),
            name: None,
            session: None,
            listen: Vec::new(),
            notes: Vec::new(),
            way,
            paths: self.loaded.paths.clone(),
            is_secret_typed: !self.options.credentials().is_empty(),
            once: false,
        }
    }
}

/// What is worth saying of the names on the way.
fn names_of(spec: &TunnelSpec) -> Vec<String> {
    let notes = spec.hops.iter().flat_map(|hop| {
        let on_alias = match look_alike::is_written(&hop.alias, &hop.host) {
            true => None,
            false => look_alike::note_on_alias(&hop.alias),
        };
        look_alike::note(&hop.host).into_iter().chain(on_alias)
    });
    notes.collect()
}

fn usage(error: &ssh_config::SshConfigError) -> UsageError {
    UsageError::new(error.to_string(), error.next())
}

#[cfg(test)]
mod tests;
