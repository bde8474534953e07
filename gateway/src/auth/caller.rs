//! Who is at the other end of a connection, as far as socket and headers tell.

use std::net::{IpAddr, SocketAddr};

use super::AuthMethod;

/// What is known of a caller before its first frame.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Our end.
    pub local: SocketAddr,
    /// Their end of the socket; a proxy's, where one stands between.
    pub peer: SocketAddr,
    /// The address of the client itself: the peer's, or what a trusted proxy says it is.
    pub client: IpAddr,
    /// The listener that it came through.
    pub listener: Listener,
    /// An (allowed) `Origin` was sent.
    pub has_origin: bool,
    /// A trusted proxy speaks for somebody else.
    pub via_proxy: bool,
    /// Whom a trusted proxy or Tailscale vouches for; checked before it is set.
    pub identity: Option<ProxyUser>,
    /// Why a trusted proxy's headers name nobody; only looked at in mode `trusted-proxy`.
    pub identity_fault: Option<IdentityFault>,
}

/// Which of the gateway's listeners a connection came through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Listener {
    /// The one that everybody knows.
    #[default]
    Main,
    /// The private one that only Tailscale is told of: its identity headers count there, and there only.
    Tailscale,
}

/// A user that somebody else has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyUser {
    /// The name there.
    pub login: String,
    /// Who vouches: [`AuthMethod::TrustedProxy`] or [`AuthMethod::Tailscale`].
    pub by: AuthMethod,
}

/// Why the headers of a request name no user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityFault {
    /// A header that every request of the proxy has; in lower case.
    MissingHeader(String),
    /// The header with the user is missing or blank.
    NoUser,
    /// A user who is not on the list.
    NotAllowed,
    /// The peer is not a proxy that may name users.
    NotTheProxy,
}

impl Caller {
    /// Somebody at the end of a plain socket.
    pub fn direct(local: SocketAddr, peer: SocketAddr, listener: Listener) -> Self {
        Self {
            local,
            peer,
            client: peer.ip().to_canonical(),
            listener,
            has_origin: false,
            via_proxy: false,
            identity: None,
            identity_fault: None,
        }
    }

    /// On this machine, as far as the socket can tell.
    pub fn is_local(&self) -> bool {
        self.listener == Listener::Main
            && self.peer.ip().to_canonical().is_loopback()
            && !self.via_proxy
            && self.identity.is_none()
    }
}
