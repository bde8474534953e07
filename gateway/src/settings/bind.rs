//! `gateway.bind` and `gateway.customBindHost`: which addresses are listened on.

use std::net::IpAddr;

/// Where the port is opened. 127.0.0.1 is always part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BindTo {
    /// 127.0.0.1 and `[::1]`.
    #[default]
    Loopback,
    /// Every address of this machine.
    Lan,
    /// The machine's Tailscale address, and loopback.
    Tailnet,
    /// This address, and 127.0.0.1.
    Custom(IpAddr),
}

impl BindTo {
    /// Whether only this machine can connect.
    pub fn is_loopback(self) -> bool {
        match self {
            Self::Loopback => true,
            Self::Lan | Self::Tailnet => false,
            Self::Custom(address) => address.to_canonical().is_loopback(),
        }
    }
}
