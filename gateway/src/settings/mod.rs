//! What the daemon is told: one plain value, filled from flags, environment and config.

mod auth;
mod bind;
mod ip_range;
mod nodes;
mod tailscale;
mod tls;
mod upkeep;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::runs::{AgentsConfig, ModelsConfig};

pub use auth::{AuthMode, AuthSettings, RateLimit, SilentScopes, TrustedProxySettings};
pub use bind::BindTo;
pub use ip_range::IpRange;
pub use nodes::{NodesSettings, V3Commands};
pub use tailscale::{TailscaleMode, TailscaleSettings};
pub use tls::TlsSettings;
pub use upkeep::{LogSettings, ReloadMode};

/// Everything that [`crate::Gateway::bind`] needs.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Where database, token, lock and logs live.
    pub state_dir: PathBuf,
    /// How this machine is called; admins are told.
    pub host: String,
    /// The profile's name; the plain one when absent.
    pub profile: Option<String>,
    /// Which addresses are listened on.
    pub bind: BindTo,
    /// TCP port on each of them; 0 takes a free one.
    pub port: u16,
    /// Whether the port speaks TLS.
    pub tls: TlsSettings,
    /// Whether Tailscale publishes the gateway.
    pub tailscale: TailscaleSettings,
    /// How callers prove that they may come in.
    pub auth: AuthSettings,
    /// `--token-file`: the file from which `auth.token` was read.
    pub token_file_given: Option<PathBuf>,
    /// What a device of the same user gets without anybody being asked.
    pub silent_scopes: SilentScopes,
    /// Host names, beside the loopback ones, that a request may be addressed to.
    pub allowed_hosts: Vec<String>,
    /// Web origins that may open a WebSocket; `*` is every one.
    pub allowed_origins: Vec<String>,
    /// Proxies whose word about the real client counts.
    pub trusted_proxies: Vec<IpRange>,
    /// Accept device signatures without the challenge's nonce.
    pub payload_v1: bool,
    /// When failed sign-ins lock.
    pub rate_limit: RateLimit,
    /// `gateway.reload.mode`.
    pub reload: ReloadMode,
    /// `logging.*`.
    pub log: LogSettings,
    /// `gateway.nodes.*`.
    pub nodes: NodesSettings,
    /// `models.*`.
    pub models: ModelsConfig,
    /// `agents.*`.
    pub agents: AgentsConfig,
    /// What `config.get` shows.
    pub config: ConfigView,
    /// Where a running daemon tells the far-side discovery how to reach it; nowhere when absent.
    pub advert: Option<PathBuf>,
    /// How long connections and runs may take to end when the daemon stops.
    pub grace: Duration,
}

impl GatewaySettings {
    /// Defaults over a state directory: a free port on loopback, token mode, no advert.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            profile: None,
            bind: BindTo::default(),
            port: 0,
            tls: TlsSettings::default(),
            tailscale: TailscaleSettings::default(),
            auth: AuthSettings::default(),
            token_file_given: None,
            silent_scopes: SilentScopes::default(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            payload_v1: false,
            rate_limit: RateLimit::default(),
            reload: ReloadMode::default(),
            log: LogSettings::default(),
            nodes: NodesSettings::default(),
            models: ModelsConfig::default(),
            agents: AgentsConfig::default(),
            config: ConfigView::default(),
            advert: None,
            grace: Duration::from_secs(5),
        }
    }

    /// Where a certificate of our own is kept.
    pub fn tls_dir(&self) -> PathBuf {
        self.state_dir.join("tls")
    }

    /// The file that holds the shared token, unless it came from elsewhere.
    pub fn token_file(&self) -> PathBuf {
        self.token_file_given
            .clone()
            .unwrap_or_else(|| self.state_dir.join("token"))
    }
}

/// The configuration as `config.get` shows it.
#[derive(Debug, Clone, Default)]
pub struct ConfigView {
    /// The file, read or not.
    pub path: PathBuf,
    /// Its content; `None` when there is no file.
    pub parsed: Option<Value>,
    /// With defaults and overrides.
    pub effective: Value,
}
