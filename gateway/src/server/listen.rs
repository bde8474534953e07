//! Opening the port on every address that `gateway.bind` means.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clawline::tunnel::forward::{Holder, holder_of};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::settings::BindTo;

/// Free ports that are tried when the one that the first address gave is taken on another.
const TRIES: usize = 16;
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Why the port cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody listens there already.
    #[error(
        "port {} on {} is taken by {}; stop it, or choose another port with gateway.port or run --port",
        address.port(),
        address.ip(),
        holder.as_ref().map_or_else(|| "another program".to_owned(), ToString::to_string)
    )]
    Taken {
        /// The address.
        address: SocketAddr,
        /// By whom, as far as the system tells.
        holder: Option<Holder>,
    },
    /// The address is none of this machine's.
    #[error(
        "{} is not an address of this machine; correct gateway.customBindHost, or set gateway.bind to \"lan\" or \"loopback\"",
        address.ip()
    )]
    NotOurs {
        /// The address.
        address: SocketAddr,
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

/// The addresses that `bind` means; `tailnet` is this machine's in its Tailscale network. 127.0.0.1, or
/// every address of IPv4, comes first. Those that may be missing are marked: IPv6 beside IPv4.
fn addresses(bind: BindTo, tailnet: Option<IpAddr>) -> Vec<(IpAddr, bool)> {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let loopback6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let any6 = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    match bind {
        BindTo::Loopback => vec![(loopback, false), (loopback6, true)],
        BindTo::Lan => vec![(any, false), (any6, true)],
        BindTo::Tailnet => [(loopback, false), (loopback6, true)]
            .into_iter()
            .chain(tailnet.map(|address| (address, false)))
            .collect(),
        BindTo::Custom(address) if address == loopback || address == any => vec![(address, false)],
        BindTo::Custom(address) => vec![(loopback, false), (address, false)],
    }
}

/// Listens on everything that `bind` means, at the same port.
///
/// # Errors
/// [`ListenError`]; a port that is free on some of the addresses only is an error, because a client that
/// says `localhost` may get any of them.
pub(crate) async fn bind(
    bind: BindTo,
    tailnet: Option<IpAddr>,
    port: u16,
) -> Result<Vec<TcpListener>, ListenError> {
    let wanted = addresses(bind, tailnet);
    let mut tries = if port == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        match all(&wanted, port) {
            Err(ListenError::Taken { .. }) if tries > 0 => {}
            Err(ListenError::Taken { address, .. }) => {
                // Finding out who it is walks through /proc.
                let holder = tokio::task::spawn_blocking(move || holder_of(address)).await;
                let holder = holder.unwrap_or_default();
                return Err(ListenError::Taken { address, holder });
            }
            done => return done,
        }
    }
}

/// A free port on 127.0.0.1 alone.
///
/// # Errors
/// [`ListenError`].
pub(crate) fn bind_private() -> Result<TcpListener, ListenError> {
    listen((Ipv4Addr::LOCALHOST, 0).into())
}

/// Whether an address is one of this machine's: nothing else can be listened on.
///
/// # Errors
/// [`ListenError`].
pub(crate) fn check_ours(address: IpAddr) -> Result<(), ListenError> {
    let address = (address, 0).into();
    match std::net::UdpSocket::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Err(ListenError::NotOurs { address })
        }
        Err(source) => Err(ListenError::Io { address, source }),
    }
}

fn all(wanted: &[(IpAddr, bool)], port: u16) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut port = port;
    for (ip, may_be_missing) in wanted {
        let listener = match listen((*ip, port).into()) {
            Ok(listener) => listener,
            Err(ListenError::NotOurs { .. }) if *may_be_missing => continue,
            Err(ListenError::Io { source, .. }) if *may_be_missing && has_no_ipv6(&source) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        port = listener.local_addr().map_or(port, |bound| bound.port());
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    open(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken {
            address,
            holder: None,
        },
        io::ErrorKind::AddrNotAvailable => ListenError::NotOurs { address },
        _ => ListenError::Io { address, source },
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // IPv4 has a socket of its own, so that addresses are never of the mixed kind.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn has_no_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bind: BindTo, tailnet: Option<&str>) -> Vec<String> {
        let tailnet = tailnet.map(|text| text.parse().unwrap());
        let all = addresses(bind, tailnet).into_iter();
        all.map(|(address, _)| address.to_string()).collect()
    }

    #[test]
    fn each_way_to_bind_has_its_addresses_and_loopback_is_always_among_them() {
        let custom = |text: &str| BindTo::Custom(text.parse().unwrap());
        assert_eq!(texts(BindTo::Loopback, None), ["127.0.0.1", "::1"]);
        assert_eq!(texts(BindTo::Lan, None), ["0.0.0.0", "::"]);
        let tailnet = texts(BindTo::Tailnet, Some("100.64.0.7"));
        assert_eq!(tailnet, ["127.0.0.1", "::1", "100.64.0.7"]);
        let private = texts(custom("192.168.1.5"), None);
        assert_eq!(private, ["127.0.0.1", "192.168.1.5"]);
        assert_eq!(texts(custom("0.0.0.0"), None), ["0.0.0.0"]);
        assert_eq!(texts(custom("127.0.0.1"), None), ["127.0.0.1"]);
    }

    #[tokio::test]
    async fn all_addresses_get_the_same_free_port_and_who_holds_a_taken_one_is_named() {
        for to in [BindTo::Loopback, BindTo::Custom([127, 0, 0, 1].into())] {
            let listeners = bind(to, None, 0).await.unwrap();
            let ports: Vec<u16> = listeners
                .iter()
                .map(|l| l.local_addr().unwrap().port())
                .collect();
            assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
            let error = bind(BindTo::Loopback, None, ports[0]).await.unwrap_err();
            assert!(
                matches!(error, ListenError::Taken { address, .. } if address.port() == ports[0])
            );
            if cfg!(target_os = "linux") {
                let us = format!("(pid {})", std::process::id());
                assert!(error.to_string().contains(&us), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_by_name() {
        let far = BindTo::Custom("192.0.2.77".parse().unwrap());
        let error = bind(far, None, 0).await.unwrap_err().to_string();
        assert!(
            error.contains("192.0.2.77 is not an address of this machine"),
            "{error}"
        );
        assert!(error.contains("gateway.customBindHost"), "{error}");
    }
}
