//! Host name to addresses: asked anew for every attempt, and again while one is under way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout};

use crate::layer::{Layer, LayerError, Retry, printable};

use super::spec::{AddressFamily, HopSpec};

/// How long a name may take to resolve.
const RESOLVE: Duration = Duration::from_secs(10);
/// The same where the host's last address is known, which is tried then.
const LAST_AFTER: Duration = Duration::from_secs(2);
/// A lookup without an answer gets company: the system's resolver asks again only after five seconds.
const ASK_AGAIN: Duration = Duration::from_millis(1500);
/// How many lookups of one name run at a time; each holds a thread.
const MAX_LOOKUPS: usize = 5;
/// How often a name is looked up while a try is waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(4);
/// How many addresses of a name are tried; more is a mistake or an attack.
pub(super) const MAX_ADDRESSES: usize = 16;
/// Where the system's resolver is told whom to ask.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A name and what it resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The addresses in the order in which they are tried.
    pub addresses: Vec<SocketAddr>,
    /// How long it took.
    pub took: Duration,
    /// Why these are not what the name resolves to, but where its host was last.
    pub remembered: Option<LayerError>,
}

/// Resolves the hop's host; where that fails or takes long, its `last` address is tried. Cancel safe.
///
/// # Errors
/// [`Layer::Dns`] when the name is unknown, has no address of the wanted family, or nobody answers, and
/// no last address is known.
pub async fn resolve(hop: &HopSpec, last: Option<SocketAddr>) -> Result<Resolved, LayerError> {
    let started = Instant::now();
    let limit = if last.is_some() { LAST_AFTER } else { RESOLVE };
    let found = match timeout(limit, look_up(hop)).await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(cause)) => Err(unresolved(&hop.host, &cause)),
        Err(_) => Err(unanswered(&hop.host, limit)),
    };
    let took = started.elapsed();
    match (found, last) {
        (Ok(addresses), _) if addresses.is_empty() => {
            let family = match hop.address_family {
                AddressFamily::Inet => "IPv4 ",
                AddressFamily::Inet6 => "IPv6 ",
                AddressFamily::Any => "",
            };
            let what = format!("{} has no {family}address", hop.host);
            // The next network may have name servers that know one.
            Err(LayerError::new(Layer::Dns, what).retry(Retry::Later))
        }
        (Ok(addresses), _) => Ok(Resolved {
            addresses,
            took,
            remembered: None,
        }),
        (Err(why), Some(last)) => Ok(Resolved {
            addresses: vec![last],
            took,
            remembered: Some(why),
        }),
        (Err(why), None) => Err(why),
    }
}

/// Returns when the hop's name resolves to other addresses than it does now; never for an address.
/// Cancel safe: a dropped call forgets what it knew.
pub async fn renamed(hop: Option<&HopSpec>) {
    let hop = match hop {
        Some(hop) if is_name(&hop.host) => hop,
        _ => return std::future::pending().await,
    };
    let mut known: Option<Vec<SocketAddr>> = None;
    loop {
        if let Ok(found) = resolve(hop, None).await {
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

pub(super) fn is_name(host: &str) -> bool {
    host.parse::<IpAddr>().is_err()
}

/// The first answer of several lookups, each started when those before it are late.
async fn look_up(hop: &HopSpec) -> io::Result<Vec<SocketAddr>> {
    let mut asking = FuturesUnordered::new();
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            Some(answer) = asking.next() => return answer,
            () = sleep_until(next), if asking.len() < MAX_LOOKUPS => {
                next = Instant::now() + ASK_AGAIN;
                asking.push(async {
                    let found = tokio::net::lookup_host((hop.host.as_str(), hop.port)).await?;
                    Ok(in_order(found, hop.address_family))
                });
            }
        }
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

fn unanswered(host: &str, limit: Duration) -> LayerError {
    let what = format!(
        "cannot resolve {host}: no answer from {} within {} s",
        name_servers(),
        limit.as_secs()
    );
    LayerError::new(Layer::Dns, what)
        .next("is this machine online?")
        .retry(Retry::Soon)
}

/// What the resolver said; it tells a name that does not exist from name servers that do not answer
/// only in its words.
fn unresolved(host: &str, cause: &io::Error) -> LayerError {
    let words = cause.to_string();
    let what = if words.contains("Temporary failure") || words.contains("try again") {
        format!("cannot resolve {host}: {} gave no answer", name_servers())
    } else {
        format!("the name {host} is not known")
    };
    LayerError::new(Layer::Dns, what)
        .peer(&words)
        .next("check the spelling, and that this machine is online")
        .retry(Retry::Soon)
}

/// Whom the system asks, for messages.
fn name_servers() -> String {
    let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let servers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .map(str::trim)
        .collect();
    match servers.as_slice() {
        [] => "the name server".to_owned(),
        servers => printable(&format!("name server {}", servers.join(", ")), 120),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(host: &str) -> HopSpec {
        HopSpec::bare(host, 22, "me")
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
    async fn a_name_that_cannot_exist_is_dns_and_tried_again_soon() {
        let host = "no-such-host.invalid";
        let error = resolve(&hop(host), None).await.unwrap_err();
        assert_eq!((error.layer, error.retry), (Layer::Dns, Retry::Soon));
        assert!(error.what.contains(host), "{error}");
    }

    #[tokio::test]
    async fn where_a_host_was_last_is_tried_when_its_name_does_not_resolve() {
        let last = address("192.0.2.7:22");
        let found = resolve(&hop("no-such-host.invalid"), Some(last))
            .await
            .unwrap();
        assert_eq!(found.addresses, [last]);
        assert_eq!(found.remembered.unwrap().layer, Layer::Dns);
    }

    #[tokio::test]
    async fn an_address_is_itself_and_never_renamed() {
        let found = resolve(&hop("127.0.0.1"), None).await.unwrap();
        assert_eq!(found.addresses, [address("127.0.0.1:22")]);
        let hop = hop("127.0.0.1");
        let renamed = timeout(Duration::from_millis(50), renamed(Some(&hop)));
        assert!(renamed.await.is_err());
    }

    #[test]
    fn silent_name_servers_are_no_unknown_name() {
        let cause = io::Error::other(
            "failed to lookup address information: Temporary failure in name resolution",
        );
        let error = unresolved("box", &cause);
        assert!(error.what.starts_with("cannot resolve box: "), "{error}");
        let cause =
            io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(unresolved("box", &cause).what, "the name box is not known");
    }
}
