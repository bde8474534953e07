//! `gateway.tailscale.*`: whether Tailscale publishes the gateway, and whether its word for who somebody is
//! counts.

use std::path::PathBuf;

/// `gateway.tailscale.*` and `gateway.auth.allowTailscale`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailscaleSettings {
    /// Whether and to whom the gateway is published.
    pub mode: TailscaleMode,
    /// Whether a user whom Tailscale names needs no shared secret.
    pub allow_identity: bool,
    /// The program `tailscale`.
    pub program: PathBuf,
}

impl Default for TailscaleSettings {
    fn default() -> Self {
        Self {
            mode: TailscaleMode::default(),
            allow_identity: false,
            program: PathBuf::from("tailscale"),
        }
    }
}

/// `gateway.tailscale.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TailscaleMode {
    /// Not at all.
    #[default]
    Off,
    /// To the tailnet.
    Serve,
    /// To the internet.
    Funnel,
}

impl TailscaleMode {
    /// The name in config files, and of the subcommand of `tailscale`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Serve => "serve",
            Self::Funnel => "funnel",
        }
    }
}
