//! Where a server answered: an address we dialled, or a name that an earlier server dialled for us.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PeerAddress {
    /// Dialled from here.
    Direct(SocketAddr),
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
            Self::Through { .. } => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(address) => write!(f, "{address}"),
            Self::Through { far, hop } => write!(f, "{far} through {hop}"),
        }
    }
}
