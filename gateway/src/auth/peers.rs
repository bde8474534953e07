//! Who is on the other end of a socket: asked of the kernel, or of a table in tests.

use std::net::SocketAddr;

/// Tells the user id of the far end of a connection.
pub trait PeerLookup: Send + Sync + 'static {
    /// The user id of the process at `peer`, which is connected to `local`. `None` when it cannot
    /// be known, which never counts as allowed. May read kernel tables, so call it off the loop.
    fn uid(&self, local: SocketAddr, peer: SocketAddr) -> Option<u32>;

    /// Our own user id.
    fn own(&self) -> u32;
}

/// The kernel's answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelPeers;

impl PeerLookup for KernelPeers {
    fn uid(&self, local: SocketAddr, peer: SocketAddr) -> Option<u32> {
        match clawline::peer::peer_uid(local, peer) {
            Ok(uid) => uid,
            Err(error) => {
                tracing::warn!(%error, "the kernel's socket tables cannot be read");
                None
            }
        }
    }

    fn own(&self) -> u32 {
        nix::unistd::geteuid().as_raw()
    }
}
