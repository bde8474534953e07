//! Where a server answered: an address we dialled, or a name that an earlier server dialled for us.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PeerAddress {
    /// Dialled from here.
    Direct(SocketAddr),
    /// Reached by a command of the user's.
    Command {
        /// `host:port` as asked for.
        far: String,
    },
    /// Dialled by an earlier hop.
    Through {
        /// `host:port` as sent.
        far: String,
        /// The earlier hop.
        hop: String,
    },
}

impl PeerAddress {
    /// The address, when we know it.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Direct(address) => Some(address.ip()),
            Self::Command { .. } | Self::Through { .. } => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(address) => write!(f, "{address}"),
            Self::Command { far } => write!(f, "{far} through ProxyCommand"),
            Self::Through { far, hop } => write!(f, "{far} through {hop}"),
        }
    }
}
