//! What the daemon is told: one plain value, filled from flags, environment and config.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clawline::protocol::scope::{Scope, Scopes};
use clawline::secret::Secret;
use serde_json::Value;

use crate::runs::{AgentsConfig, ModelsConfig};

/// Everything that [`crate::Gateway::bind`] needs.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Where database, token, lock and logs live.
    pub state_dir: PathBuf,
    /// The profile's name; the plain one when absent.
    pub profile: Option<String>,
    /// TCP port on 127.0.0.1 and `[::1]`; 0 takes a free one.
    pub port: u16,
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
    /// Defaults over a state directory: a free port, token mode, no advert.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            profile: None,
            port: 0,
            auth: AuthSettings::default(),
            token_file_given: None,
            silent_scopes: SilentScopes::default(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            payload_v1: false,
            rate_limit: RateLimit::default(),
            models: ModelsConfig::default(),
            agents: AgentsConfig::default(),
            config: ConfigView::default(),
            advert: None,
            grace: Duration::from_secs(5),
        }
    }

    /// The file that holds the shared token, unless it came from elsewhere.
    pub fn token_file(&self) -> PathBuf {
        self.token_file_given
            .clone()
            .unwrap_or_else(|| self.state_dir.join("token"))
    }
}

/// `gateway.auth.*`.
#[derive(Debug, Clone, Default)]
pub struct AuthSettings {
    /// What is asked for.
    pub mode: AuthMode,
    /// The shared token; read from, or created in, the token file when absent.
    pub token: Option<Secret>,
    /// The shared password of mode `password`.
    pub password: Option<Secret>,
}

/// `gateway.auth.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// A shared token, in an owner-only file.
    #[default]
    Token,
    /// A shared password.
    Password,
    /// Nothing; on loopback only.
    None,
}

impl AuthMode {
    /// The name in config files and in hello.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Password => "password",
            Self::None => "none",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Token, Self::Password, Self::None]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

/// `gateway.auth.silentScopes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SilentScopes {
    /// Whatever was asked for, admin included: unmodified official clients need that.
    #[default]
    Asked,
    /// Reading and writing at most; more needs an approval on the host.
    ReadWrite,
}

impl SilentScopes {
    /// What of `asked` is given silently.
    pub fn limit(self, asked: &Scopes) -> Scopes {
        match self {
            Self::Asked => asked.clone(),
            Self::ReadWrite => [Scope::Read, Scope::Write]
                .into_iter()
                .filter(|scope| asked.grants(*scope))
                .collect(),
        }
    }
}

/// `gateway.auth.rateLimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Failures within the window before it locks.
    pub max_attempts: usize,
    /// The window.
    pub window: Duration,
    /// How long it stays locked.
    pub lockout: Duration,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            max_attempts: 10,
            window: Duration::from_secs(60),
            lockout: Duration::from_secs(300),
        }
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

/// An address, or a network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRange {
    base: IpAddr,
    bits: u8,
}

impl IpRange {
    /// Reads `10.0.0.0/8`, `::1`, …
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let base: IpAddr = address.trim().parse().ok()?;
        let widest = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(widest);
        (bits <= widest).then_some(Self { base, bits })
    }

    /// Whether the address lies inside.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.bits);
                let cut = |a: std::net::Ipv4Addr| u64::from(a.to_bits()) >> shift;
                cut(base) == cut(address)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.bits);
                let cut = |a: std::net::Ipv6Addr| a.to_bits().checked_shr(shift).unwrap_or(0);
                cut(base) == cut(address)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_addresses_and_no_others() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.9.9.9", "11.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "203.0.113.1", "::1"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::/0", "::1", "127.0.0.1"),
        ] {
            let range = IpRange::parse(range).unwrap();
            assert!(range.contains(inside.parse().unwrap()), "{range:?}");
            assert!(!range.contains(outside.parse().unwrap()), "{range:?}");
        }
        for bad in ["", "x", "10.0.0.0/33", "::1/129", "10.0.0.0/-1"] {
            assert_eq!(IpRange::parse(bad), None, "{bad}");
        }
    }
}
