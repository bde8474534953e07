//! The state of a tunnel as one value, published by `watch`; screen and command line read nothing else.

use std::time::Instant;

use crate::layer::{Layer, LayerError, LayerRows};

/// Where a tunnel is (DESIGN §9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TunnelStatus {
    /// Not wanted any more.
    Stopped,
    /// On the way up.
    Connecting {
        /// The layer being worked on.
        layer: Layer,
        /// 1 for the first try since it was last up.
        attempt: u32,
    },
    /// Up.
    Up {
        /// Since when.
        since: Instant,
    },
    /// Down; tries again by itself.
    Waiting {
        /// When the next try starts.
        until: Instant,
        /// Why it is down.
        why: LayerError,
        /// The number of the next try.
        attempt: u32,
    },
    /// Down until a person does something.
    Attention {
        /// What they need to know.
        why: LayerError,
    },
    /// Down because the user said so.
    Paused,
    /// Down for good.
    Failed {
        /// Why.
        why: LayerError,
    },
}

impl TunnelStatus {
    /// True while channels can be opened.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }
}

/// What the tunnel publishes: its status, the rows of its layers, and the number of reconnects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelView {
    /// Where it is.
    pub status: TunnelStatus,
    /// The rows from `dns` to `forward`; later layers belong to the client.
    pub rows: LayerRows,
    /// Rises with every connection that came up; 1 for the first.
    pub generation: u64,
}
