//! `gateway.auth.*`: what callers must show, what they get silently, when guessing locks.

use std::time::Duration;

use clawline::protocol::scope::{Scope, Scopes};
use clawline::secret::Secret;

/// `gateway.auth.*`.
#[derive(Debug, Clone, Default)]
pub struct AuthSettings {
    /// What is asked for.
    pub mode: AuthMode,
    /// The shared token; read from, or created in, the token file when absent.
    pub token: Option<Secret>,
    /// The shared password of mode `password`.
    pub password: Option<Secret>,
    /// Of mode `trusted-proxy`.
    pub trusted_proxy: TrustedProxySettings,
}

/// `gateway.auth.trustedProxy.*`.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxySettings {
    /// The header that names the user.
    pub user_header: String,
    /// Headers that every request of the proxy has.
    pub required_headers: Vec<String>,
    /// Who is let in; everybody whom the proxy names when empty.
    pub allow_users: Vec<String>,
    /// The proxy may run on this machine, where it has to prove itself by one of the two below.
    pub allow_loopback: bool,
    /// The user id that the proxy runs under.
    pub proxy_uid: Option<u32>,
    /// A header and the secret in it, which the proxy adds to every request.
    pub secret: Option<(String, Secret)>,
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
    /// The word of a proxy in front.
    TrustedProxy,
}

impl AuthMode {
    /// The name in config files and in hello.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Password => "password",
            Self::None => "none",
            Self::TrustedProxy => "trusted-proxy",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Token, Self::Password, Self::None, Self::TrustedProxy]
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
