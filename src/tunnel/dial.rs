//! Opens the TCP connection: races the addresses, and those that the name gets meanwhile.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::layer::{Layer, LayerError, Retry};

use super::resolve::{self, MAX_ADDRESSES, Resolved};
use super::socket;
use super::spec::HopSpec;

/// How long one address may take, unless `ConnectTimeout` says otherwise.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// The head start of an address over the next one (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);
/// The pause between the attempts of `ConnectionAttempts`; ssh's.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);
/// How often a name is looked up anew while no address answers.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

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
    let mut known = resolved.addresses.clone();
    let mut waiting: VecDeque<SocketAddr> = known.iter().copied().collect();
    let mut looking = std::pin::pin!(look_again(hop));
    let mut racing = FuturesUnordered::new();
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    let mut next_start = Instant::now();
    loop {
        let more = !waiting.is_empty();
        if !more && racing.is_empty() {
            let error = nobody(&failures);
            return Err(match &resolved.remembered {
                None => error,
                // The address was a guess; what is wrong is the name.
                Some(why) => LayerError {
                    what: format!("{}, and where it was last: {}", why.what, error.what),
                    ..why.clone()
                },
            });
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
                if let Some(address) = waiting.pop_front() {
                    racing.push(async move {
                        let attempt = timeout(limit, dial_one(hop, address)).await;
                        let timed_out = |_| Err(io::ErrorKind::TimedOut.into());
                        (address, attempt.unwrap_or_else(timed_out))
                    });
                }
                next_start = Instant::now() + HEAD_START;
            }
            found = &mut looking => {
                let new = found.into_iter().filter(|address| !known.contains(address));
                let new: Vec<SocketAddr> = new.take(MAX_ADDRESSES).collect();
                if !new.is_empty() && known.len() < MAX_ADDRESSES {
                    next_start = Instant::now();
                    known.extend(&new);
                    waiting.extend(new);
                }
                looking.set(look_again(hop));
            }
        }
    }
}

/// What the name resolves to a moment later: a host that has moved answers at its new address.
async fn look_again(hop: &HopSpec) -> Vec<SocketAddr> {
    if !resolve::is_name(&hop.host) {
        return std::future::pending().await;
    }
    tokio::time::sleep(LOOK_AGAIN).await;
    let found = resolve::resolve(hop, None).await;
    found.map(|found| found.addresses).unwrap_or_default()
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

    /// An address that refuses as long as the socket, which does not listen, keeps it from others.
    fn closed() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address("127.0.0.1:0")).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[tokio::test]
    async fn an_address_that_refuses_does_not_hide_one_that_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let (_closed, closed) = closed();
        let resolved = Resolved {
            addresses: vec![closed, open],
            took: Duration::ZERO,
            remembered: None,
        };
        let (stream, answered) = dial(&hop("127.0.0.1", 1), &resolved).await.unwrap();
        assert_eq!(answered, open);
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_closed_port_is_tcp_and_soon() {
        let (_closed, address) = closed();
        let port = address.port();
        let hop = hop("127.0.0.1", port);
        let error = dial(&hop, &resolve::resolve(&hop, None).await.unwrap())
            .await
            .unwrap_err();
        assert_eq!((error.layer, error.retry), (Layer::Tcp, Retry::Soon));
        assert_eq!(error.what, format!("127.0.0.1:{port} refuses connections"));
    }

    #[tokio::test]
    async fn a_remembered_address_that_refuses_is_still_trouble_with_the_name() {
        let (_closed, last) = closed();
        let hop = hop("no-such-host.invalid", last.port());
        let resolved = resolve::resolve(&hop, Some(last)).await.unwrap();
        let error = dial(&hop, &resolved).await.unwrap_err();
        assert_eq!((error.layer, error.retry), (Layer::Dns, Retry::Soon));
        let words = format!("{last} refuses connections");
        assert!(error.what.ends_with(&words), "{error}");
    }

    #[tokio::test]
    async fn connection_attempts_are_made_one_after_the_other() {
        let (closed, address) = closed();
        let hop = HopSpec {
            connection_attempts: 3,
            ..hop("127.0.0.1", address.port())
        };
        let resolved = resolve::resolve(&hop, None).await.unwrap();
        // The server comes up while the second attempt is waited for.
        let server = async {
            sleep(BETWEEN_ATTEMPTS / 2).await;
            let listener = closed.listen(1).unwrap();
            listener.accept().await.unwrap();
        };
        let (dialled, ()) = tokio::join!(dial(&hop, &resolved), server);
        assert!(dialled.is_ok());
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
