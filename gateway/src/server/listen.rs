//! Binding the port on both loopback addresses.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

/// Free ports that are tried when the one that IPv4 gave is taken on IPv6.
const TRIES: usize = 16;

/// Why the port cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody listens there already.
    #[error(
        "port {port} on {address} is taken by another program; stop it, or choose another with --port"
    )]
    Taken {
        /// The address.
        address: SocketAddr,
        /// The port.
        port: u16,
    },
    /// The system refused.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Listens on 127.0.0.1 and, where the machine has IPv6, on `[::1]`, at the same port.
///
/// # Errors
/// [`ListenError`]; a port that is free on one address only is an error, because a client that
/// says `localhost` may get either.
pub(crate) async fn bind(port: u16) -> Result<Vec<TcpListener>, ListenError> {
    let mut tries = if port == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        let v4 = listen((Ipv4Addr::LOCALHOST, port).into()).await?;
        let bound = v4.local_addr().map_or(port, |address| address.port());
        match listen((Ipv6Addr::LOCALHOST, bound).into()).await {
            Ok(v6) => return Ok(vec![v4, v6]),
            Err(ListenError::Io { source, .. }) if has_no_ipv6(&source) => return Ok(vec![v4]),
            Err(ListenError::Taken { .. }) if tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::Taken {
                address,
                port: address.port(),
            },
            _ => ListenError::Io { address, source },
        })
}

fn has_no_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_addresses_get_the_same_free_port_and_a_taken_one_is_named() {
        let listeners = bind(0).await.unwrap();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|l| l.local_addr().unwrap().port())
            .collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
        let error = bind(ports[0]).await.unwrap_err();
        assert!(matches!(error, ListenError::Taken { port, .. } if port == ports[0]));
    }
}
