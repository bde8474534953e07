//! What the link says of itself.

use std::time::Duration;

use clawline::layer::{Layer, LayerError, LayerRows};
use clawline::protocol::Protocol;
use clawline::tunnel::status::TunnelStatus;

/// The link as the app sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkState {
    /// The name that was typed, e.g. `home`.
    pub(crate) name: String,
    /// `user@host`, or a URL.
    pub(crate) target: String,
    /// Where it is.
    pub(crate) status: TunnelStatus,
    /// A row a layer.
    pub(crate) rows: LayerRows,
    /// What was found on the way, for the link page.
    pub(crate) notes: Vec<String>,
    /// The last round trip.
    pub(crate) rtt: Option<Duration>,
    /// The gateway's release.
    pub(crate) gateway: Option<String>,
    /// The protocol spoken.
    pub(crate) protocol: Option<Protocol>,
    /// The pairing request that waits for an approval.
    pub(crate) pairing_request: Option<String>,
}

impl LinkState {
    /// Before anything is known.
    pub(crate) fn new(name: String, target: String) -> Self {
        Self {
            name,
            target,
            status: TunnelStatus::Connecting {
                layer: Layer::Dns,
                attempt: 1,
            },
            rows: LayerRows::default(),
            notes: Vec::new(),
            rtt: None,
            gateway: None,
            protocol: None,
            pairing_request: None,
        }
    }

    /// Why it is down, where it says so.
    pub(crate) fn why(&self) -> Option<&LayerError> {
        match &self.status {
            TunnelStatus::Waiting { why, .. }
            | TunnelStatus::Attention { why }
            | TunnelStatus::Failed { why } => Some(why),
            TunnelStatus::Stopped
            | TunnelStatus::Connecting { .. }
            | TunnelStatus::Up { .. }
            | TunnelStatus::Paused => None,
        }
    }

    /// Whether the gateway wants a token that we do not have.
    pub(crate) fn wants_token(&self) -> bool {
        matches!(&self.status, TunnelStatus::Attention { why } if why.layer == Layer::Token)
    }
}
