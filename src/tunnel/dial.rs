//! Opens the TCP connection: resolves anew each time, races the addresses, sets the socket's options.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::layer::{Layer, LayerError, Retry};

use super::socket;
use super::spec::{AddressFamily, HopSpec};

/// How long a name may take to resolve.
const RESOLVE: Duration = Duration::from_secs(10);
/// How long one address may take, unless `ConnectTimeout` says otherwise.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// How often a name is looked up while a try is waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(4);
/// The head start of an address over the next one (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);
/// The pause between the attempts of `ConnectionAttempts`; ssh's.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);
/// How many addresses of a name are tried; more is a mistake or an attack.
const MAX_ADDRESSES: usize = 16;

/// A name and what it resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The addresses in the order in which they are tried.
    pub addresses: Vec<SocketAddr>,
    /// How long it took.
    pub took: Duration,
}

/// Resolves the hop's host. Cancel safe.
///
/// # Errors
/// [`Layer::Dns`] when the name is unknown, has no address of the wanted family, or nobody answers.
pub async fn resolve(hop: &HopSpec) -> Result<Resolved, LayerError> {
    let host = &hop.host;
    let error = |what: String| LayerError::new(Layer::Dns, what);
    let started = Instant::now();
    let found = timeout(RESOLVE, tokio::net::lookup_host((host.as_str(), hop.port)))
        .await
        .map_err(|_| {
            error(format!(
                "no name server answered for {host} within {} s",
                RESOLVE.as_secs()
            ))
            .next("is this machine online?")
        })?
        .map_err(|cause| {
            error(format!("the name {host} is not known"))
                .peer(&cause.to_string())
                .next("check the spelling, and that this machine is online")
        })?;
    let addresses = in_order(found, hop.address_family);
    if addresses.is_empty() {
        let family = match hop.address_family {
            AddressFamily::Inet => "IPv4 ",
            AddressFamily::Inet6 => "IPv6 ",
            AddressFamily::Any => "",
        };
        // The next network may have name servers that know one.
        return Err(error(format!("{host} has no {family}address")).retry(Retry::Later));
    }
    Ok(Resolved {
        addresses,
        took: started.elapsed(),
    })
}

/// Returns when the hop's name resolves to other addresses than it does now; never for an address.
/// Cancel safe: a dropped call forgets what it knew.
pub async fn renamed(hop: Option<&HopSpec>) {
    let hop = match hop {
        Some(hop) if hop.host.parse::<IpAddr>().is_err() => hop,
        _ => return std::future::pending().await,
    };
    let mut known: Option<Vec<SocketAddr>> = None;
    loop {
        if let Ok(found) = resolve(hop).await {
            let mut now = found.addresses;
            now.sort_unstable();
            if known.as_ref().is_some_and(|known| *known != now) {
                return;
            }
            known = Some(now);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Keeps one family or alternates both, IPv6 first, without doubles.
fn in_order(found: impl Iterator<Item = SocketAddr>, family: AddressFamily) -> Vec<SocketAddr> {
    let (mut v6, mut v4) = (Vec::new(), Vec::new());
    for address in found {
        let list = if address.is_ipv6() { &mut v6 } else { &mut v4 };
        if !list.contains(&address) {
            list.push(address);
        }
    }
    match family {
        AddressFamily::Inet => v6.clear(),
        AddressFamily::Inet6 => v4.clear(),
        AddressFamily::Any => {}
    }
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut order = Vec::new();
    loop {
        let before = order.len();
        order.extend(v6.next());
        order.extend(v4.next());
        if order.len() == before || order.len() >= MAX_ADDRESSES {
            order.truncate(MAX_ADDRESSES);
            return order;
        }
    }
}

/// Dials the addresses, each with a head start over the next one, and keeps the first that answers;
/// all of it as often as `ConnectionAttempts` says.
/// Cancel safe: dropping the call closes every socket it opened.
///
/// # Errors
/// [`Layer::Tcp`] when no address answers: [`Retry::Soon`] when all refused or had no route,
/// [`Retry::Backoff`] when one timed out or reset.
pub async fn dial(
    hop: &HopSpec,
    resolved: &Resolved,
) -> Result<(TcpStream, SocketAddr), LayerError> {
    let mut attempt = 1;
    loop {
        match dial_once(hop, resolved).await {
            Err(_) if attempt < hop.connection_attempts => {
                attempt += 1;
                sleep(BETWEEN_ATTEMPTS).await;
            }
            result => return result,
        }
    }
}

/// One attempt over all addresses.
async fn dial_once(
    hop: &HopSpec,
    resolved: &Resolved,
) -> Result<(TcpStream, SocketAddr), LayerError> {
    let limit = hop.connect_timeout.unwrap_or(CONNECT);
    let mut waiting = resolved.addresses.iter().copied();
    let mut racing = FuturesUnordered::new();
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    let mut next_start = Instant::now();
    loop {
        let more = waiting.len() > 0;
        if !more && racing.is_empty() {
            return Err(nobody(&failures));
        }
        tokio::select! {
            biased;
            Some((address, result)) = racing.next() => match result {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => {
                    failures.push((address, error));
                    next_start = Instant::now();
                }
            },
            () = sleep_until(next_start), if more => {
                if let Some(address) = waiting.next() {
                    racing.push(async move {
                        let attempt = timeout(limit, dial_one(hop, address)).await;
                        let timed_out = |_| Err(io::ErrorKind::TimedOut.into());
                        (address, attempt.unwrap_or_else(timed_out))
                    });
                }
                next_start = Instant::now() + HEAD_START;
            }
        }
    }
}

async fn dial_one(hop: &HopSpec, address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = if address.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    if let Some(from) = &hop.bind_address {
        let from: IpAddr = from.parse().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("BindAddress {from} is not an IP address"),
            )
        })?;
        tcp.bind(SocketAddr::new(from, 0))?;
    }
    socket::prepare(&tcp);
    let stream = tcp.connect(address).await?;
    socket::set_options(&stream, hop.tcp_keepalive)?;
    Ok(stream)
}

/// The one error for all addresses.
fn nobody(failures: &[(SocketAddr, io::Error)]) -> LayerError {
    let retry = if failures.iter().all(|(_, error)| is_quick(error)) {
        Retry::Soon
    } else {
        Retry::Backoff
    };
    let list: Vec<String> = failures
        .iter()
        .map(|(address, error)| format!("{address} {}", in_words(error)))
        .collect();
    let refused = |(_, error): &(_, io::Error)| error.kind() == io::ErrorKind::ConnectionRefused;
    let next = if failures.iter().any(refused) {
        "is sshd running there, and on this port?"
    } else {
        "is that machine on, and reachable from this network?"
    };
    LayerError::new(Layer::Tcp, list.join("; "))
        .retry(retry)
        .next(next)
}

fn is_quick(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::AddrNotAvailable
    )
}

fn in_words(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "refuses connections".into(),
        Kind::TimedOut => "does not answer".into(),
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
            "cannot be reached (no route)".into()
        }
        Kind::ConnectionReset => "reset the connection".into(),
        _ => format!("failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn hop(host: &str, port: u16) -> HopSpec {
        HopSpec::bare(host, port, "me")
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_alternate_and_doubles_go() {
        let found = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.1:1", "[::1]:1"].map(address);
        let order = in_order(found.into_iter(), AddressFamily::Any);
        assert_eq!(order, ["[::1]:1", "10.0.0.1:1", "10.0.0.2:1"].map(address));
        let found = ["10.0.0.1:1", "[::1]:1"].map(address);
        assert_eq!(
            in_order(found.into_iter(), AddressFamily::Inet),
            [address("10.0.0.1:1")]
        );
    }

    #[tokio::test]
    async fn an_address_that_refuses_does_not_hide_one_that_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = {
            let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
            other.local_addr().unwrap()
        };
        let resolved = Resolved {
            addresses: vec![closed, open],
            took: Duration::ZERO,
        };
        let (stream, answered) = dial(&hop("127.0.0.1", 1), &resolved).await.unwrap();
        assert_eq!(answered, open);
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_closed_port_is_tcp_and_soon() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let hop = hop("127.0.0.1", port);
        let error = dial(&hop, &resolve(&hop).await.unwrap()).await.unwrap_err();
        assert_eq!((error.layer, error.retry), (Layer::Tcp, Retry::Soon));
        assert_eq!(error.what, format!("127.0.0.1:{port} refuses connections"));
    }

    #[tokio::test]
    async fn connection_attempts_are_made_one_after_the_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let hop = HopSpec {
            connection_attempts: 3,
            ..hop("127.0.0.1", port)
        };
        let resolved = resolve(&hop).await.unwrap();
        // The server comes up while the second attempt is waited for.
        let server = async {
            sleep(BETWEEN_ATTEMPTS / 2).await;
            let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
            listener.accept().await.unwrap();
        };
        let (dialled, ()) = tokio::join!(dial(&hop, &resolved), server);
        assert!(dialled.is_ok());
    }

    #[tokio::test]
    async fn a_name_that_cannot_exist_is_dns() {
        let error = resolve(&hop("no-such-host.invalid", 22)).await.unwrap_err();
        assert_eq!(error.layer, Layer::Dns);
        assert!(error.what.contains("no-such-host.invalid"), "{error}");
    }

    #[test]
    fn one_timeout_among_refusals_means_growing_delays() {
        let mixed = [
            (address("10.0.0.1:22"), io::ErrorKind::TimedOut.into()),
            (
                address("10.0.0.2:22"),
                io::ErrorKind::ConnectionRefused.into(),
            ),
        ];
        let error = nobody(&mixed);
        assert_eq!(error.retry, Retry::Backoff);
        assert_eq!(
            error.what,
            "10.0.0.1:22 does not answer; 10.0.0.2:22 refuses connections"
        );
    }
}
