//! Why a command failed, in words and as an exit code.

use clawline::client::CallError;
use clawline::config::ConfigErrors;
use clawline::layer::LayerError;

use crate::link::UsageError;

/// Wrong usage or config.
pub(crate) const USAGE: u8 = 2;
/// A local end cannot be bound.
const BIND: u8 = 8;
/// SIGHUP, as shells count it.
pub(crate) const HUNG_UP: u8 = 129;
/// Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;
/// SIGTERM, as shells count it.
pub(crate) const TERMINATED: u8 = 143;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Wrong usage.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A layer did not come up.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The gateway did not do what was asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A local end cannot be bound.
    #[error("{what}")]
    Bind {
        /// What is in the way.
        what: String,
        /// What to do instead.
        next: String,
    },
    /// A tunnel that another process holds does not do what it is asked, or a service cannot be set up.
    #[error("{what}")]
    Tunnel {
        /// What does not work.
        what: String,
        /// What to do instead; may be empty.
        next: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The process exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) => USAGE,
            Self::Layer(error) => error.layer.exit_code(),
            Self::Call(CallError::NotConnected(error)) => error.layer.exit_code(),
            Self::Call(
                CallError::Disconnected { .. }
                | CallError::Timeout { .. }
                | CallError::Refused { .. }
                | CallError::Unreadable { .. }
                | CallError::Stopped,
            )
            | Self::Tunnel { .. }
            | Self::Other(_) => 1,
            Self::Bind { .. } => BIND,
            Self::Interrupted => INTERRUPTED,
        }
    }

    /// The layer, where one is to blame.
    pub fn layer(&self) -> Option<&LayerError> {
        match self {
            Self::Layer(error) | Self::Call(CallError::NotConnected(error)) => Some(error),
            Self::Call(CallError::Disconnected { why, .. }) => Some(why),
            Self::Usage(_)
            | Self::Config(_)
            | Self::Call(_)
            | Self::Bind { .. }
            | Self::Tunnel { .. }
            | Self::Interrupted
            | Self::Other(_) => None,
        }
    }

    /// What to do about it; may be empty.
    pub fn next(&self) -> &str {
        match self {
            Self::Usage(error) => &error.next,
            Self::Bind { next, .. } | Self::Tunnel { next, .. } => next,
            Self::Layer(_)
            | Self::Call(_)
            | Self::Config(_)
            | Self::Interrupted
            | Self::Other(_) => self.layer().map_or("", |error| &error.next),
        }
    }

    /// The peer's own words; may be empty.
    pub fn peer_text(&self) -> &str {
        match self {
            Self::Call(CallError::Refused { error, .. }) => &error.message,
            _ => self.layer().map_or("", |error| &error.peer_text),
        }
    }

    /// For people: what happened, in whose words, and what to do.
    pub fn lines(&self) -> Vec<String> {
        let what = match self {
            // Who pressed the keys knows.
            Self::Interrupted => return Vec::new(),
            Self::Layer(error) => format!("{}: {error}", error.layer),
            other => other.to_string(),
        };
        let mut lines: Vec<String> = what.lines().map(str::to_owned).collect();
        let peer = self.layer().map_or("", |error| error.peer_text.as_str());
        if !peer.is_empty() && !what.contains(peer) {
            lines.push(format!("  the other end said: {peer}"));
        }
        if !self.next().is_empty() {
            lines.push(format!("  next: {}", self.next()));
        }
        lines
    }
}
