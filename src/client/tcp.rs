//! The direct way: `ws://` to loopback or a private address, `wss://` with a pinned certificate or one
//! that a public authority signed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::Url;

use super::dial::{BoxedStream, CameUp, Credentials, DialError, Dialed, Dialer, Dialing};
use super::tls::{self, Fingerprint};
use crate::gateway_id::GatewayId;
use crate::layer::{Layer, LayerError, Retry};
use crate::look_alike;
use crate::protocol::limits::DEFAULT_PORT;

/// For resolving the name.
const DNS_DEADLINE: Duration = Duration::from_secs(10);
/// For connecting to one address.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Where a gateway is reached directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As it is looked up: a dot at its end keeps search domains away.
    looked_up: String,
    port: u16,
    tls: Option<Option<Fingerprint>>,
    allow_public_plain: bool,
}

/// Why a URL is not one of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It cannot be read.
    #[error("{url} is not a URL: {why}")]
    Unreadable {
        /// As given.
        url: String,
        /// Why.
        why: String,
    },
    /// Neither `ws` nor `wss` (nor `http` or `https`, which mean the same here).
    #[error("{url} must start with ws:// or wss://")]
    Scheme {
        /// As given.
        url: String,
    },
    /// It holds a user name, a password, a query or a fragment.
    #[error("a gateway URL is only scheme, host and port; give secrets with --token or --password")]
    Extras,
    /// The pin is no SHA-256.
    #[error("a TLS fingerprint is 64 hex digits, with or without colons")]
    Fingerprint,
    /// A pin without TLS protects nothing.
    #[error("a TLS fingerprint needs a wss:// URL")]
    PinWithoutTls,
}

impl Endpoint {
    /// Reads a URL and, where given, a certificate fingerprint to pin.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn parse(url: &str, fingerprint: Option<&str>) -> Result<Self, EndpointError> {
        let parsed = Url::parse(url).map_err(|error| EndpointError::Unreadable {
            url: url.to_owned(),
            why: error.to_string(),
        })?;
        let with_tls = match parsed.scheme() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => {
                return Err(EndpointError::Scheme {
                    url: url.to_owned(),
                });
            }
        };
        let extras = !parsed.username().is_empty()
            || parsed.password().is_some()
            || !matches!(parsed.path(), "" | "/")
            || parsed.query().is_some()
            || parsed.fragment().is_some();
        if extras {
            return Err(EndpointError::Extras);
        }
        let host = parsed.host_str().unwrap_or_default();
        let bare = look_alike::without_dot(host);
        if bare.is_empty() || bare.ends_with('.') {
            return Err(EndpointError::Unreadable {
                url: url.to_owned(),
                why: "no host".into(),
            });
        }
        let pin = fingerprint
            .map(|text| Fingerprint::parse(text).ok_or(EndpointError::Fingerprint))
            .transpose()?;
        if pin.is_some() && !with_tls {
            return Err(EndpointError::PinWithoutTls);
        }
        Ok(Self {
            looked_up: host.trim_matches(['[', ']']).to_owned(),
            port: parsed.port().unwrap_or_else(|| typed_port(url, &parsed)),
            tls: with_tls.then_some(pin),
            allow_public_plain: false,
        })
    }

    /// A gateway on this machine.
    pub fn loopback(port: u16) -> Self {
        Self {
            looked_up: "127.0.0.1".into(),
            port,
            tls: None,
            allow_public_plain: false,
        }
    }

    /// Speaks TLS there, with exactly this certificate.
    #[must_use]
    pub fn pinned(mut self, pin: Fingerprint) -> Self {
        self.tls = Some(Some(pin));
        self
    }

    /// Lets `ws://` go to public addresses: everything, secrets included, is then readable on the way.
    #[must_use]
    pub fn allow_public_plain(mut self) -> Self {
        self.allow_public_plain = true;
        self
    }

    /// The name or address. A name with a dot at its end is the same one without; certificates never have it.
    pub fn host(&self) -> &str {
        look_alike::without_dot(&self.looked_up)
    }

    /// `host:port`, with brackets where they are needed.
    pub fn authority(&self) -> String {
        let host = self.host();
        if host.contains(':') {
            format!("[{host}]:{}", self.port)
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// The URL, normalised; with the pin it is the identity of a direct gateway.
    pub fn identity(&self) -> String {
        match &self.tls {
            None => format!("ws://{}", self.authority()),
            Some(None) => format!("wss://{}", self.authority()),
            Some(Some(pin)) => format!("wss://{}#{pin}", self.authority()),
        }
    }
}

/// The scheme's own port (80, 443) when it was typed, which the parsed URL does not tell; else a gateway's.
fn typed_port(url: &str, parsed: &Url) -> u16 {
    let authority = url
        .split_once("://")
        .map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    let typed = authority
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok());
    match (typed, parsed.port_or_known_default()) {
        (Some(typed), Some(default)) if typed == default => typed,
        _ => DEFAULT_PORT,
    }
}

/// Dials an [`Endpoint`].
#[derive(Debug, Clone)]
pub struct TcpDialer {
    endpoint: Endpoint,
    credentials: Credentials,
}

impl TcpDialer {
    /// Shows these credentials there.
    pub fn new(endpoint: Endpoint, credentials: Credentials) -> Self {
        Self {
            endpoint,
            credentials,
        }
    }

    async fn open(&self) -> Result<Dialed, DialError> {
        let mut layers = Vec::new();
        match self.open_layers(&mut layers).await {
            Ok(stream) => Ok(Dialed {
                gateway: GatewayId::direct(&self.endpoint.identity()).to_string(),
                stream,
                host: self.endpoint.authority(),
                credentials: self.credentials.clone(),
                layers,
            }),
            Err(error) => Err(DialError { error, layers }),
        }
    }

    /// Notes each layer that came up, also when a later one does not.
    async fn open_layers(&self, layers: &mut Vec<CameUp>) -> Result<BoxedStream, LayerError> {
        let endpoint = &self.endpoint;
        let started = Instant::now();
        let addresses = resolve(endpoint).await?;
        let resolved = Instant::now();
        let name = |address: &SocketAddr| format!("{} → {}", endpoint.host(), address.ip());
        let (stream, address) = match connect(endpoint, &addresses).await {
            Ok(connected) => connected,
            Err((address, error)) => {
                layers.push((Layer::Dns, resolved - started, name(&address)));
                if error.layer == Layer::Port {
                    let answered = format!("{} answers", address.ip());
                    layers.push((Layer::Tcp, resolved.elapsed(), answered));
                }
                return Err(error);
            }
        };
        layers.push((Layer::Dns, resolved - started, name(&address)));
        layers.push((Layer::Tcp, resolved.elapsed(), address.to_string()));
        layers.push((Layer::Port, resolved.elapsed(), address.to_string()));
        Ok(match &endpoint.tls {
            None => Box::new(stream),
            Some(pin) => {
                let handshake = Instant::now();
                let stream = tls::connect(stream, endpoint.host(), pin.as_ref()).await?;
                layers.push((Layer::Port, handshake.elapsed(), format!("{address}, TLS")));
                stream
            }
        })
    }
}

impl Dialer for TcpDialer {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(self.open())
    }
}

async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, LayerError> {
    let host = endpoint.looked_up.as_str();
    let fail = |why: String| LayerError::new(Layer::Dns, format!("cannot resolve {host}: {why}"));
    let found = timeout(DNS_DEADLINE, lookup_host((host, endpoint.port)))
        .await
        .map_err(|_| fail(format!("no answer within {} s", DNS_DEADLINE.as_secs())))?
        .map_err(|error| {
            fail(error.to_string()).next("check the name and this machine's network")
        })?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() {
        return Err(fail("it has no address".into()));
    }
    let public = addresses.iter().find(|address| !is_private(address.ip()));
    if let (None, false, Some(address)) = (&endpoint.tls, endpoint.allow_public_plain, public) {
        return Err(LayerError::new(
            Layer::Tcp,
            format!(
                "{host} is {}, a public address: everything sent there with ws:// could be read on the way",
                address.ip()
            ),
        )
        .next("use wss://, or reach the gateway over SSH: clawline user@host")
        .retry(Retry::Attention));
    }
    Ok(addresses)
}

/// The first address that takes a connection, else the last one and why it did not.
async fn connect(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), (SocketAddr, LayerError)> {
    let mut last = None;
    for address in addresses {
        let error = match timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok((stream, *address));
            }
            Ok(Err(error)) => refused(*address, &error),
            Err(_) => LayerError::new(
                Layer::Tcp,
                format!(
                    "{address} did not answer within {} s",
                    CONNECT_DEADLINE.as_secs()
                ),
            ),
        };
        last = Some((*address, error));
    }
    Err(last.unwrap_or_else(|| {
        let none = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), endpoint.port);
        let why = format!("{} has no address", endpoint.host());
        (none, LayerError::new(Layer::Tcp, why))
    }))
}

fn refused(address: SocketAddr, error: &io::Error) -> LayerError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            LayerError::new(Layer::Port, format!("nothing listens on {address}"))
                .next("is the gateway running?  clawline-gateway start")
                .retry(Retry::Soon)
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            LayerError::new(Layer::Tcp, format!("no route to {address}: {error}"))
                .retry(Retry::Soon)
        }
        _ => LayerError::new(Layer::Tcp, format!("cannot connect to {address}: {error}")),
    }
}

/// Loopback, private, link-local, or the range that private overlay networks use (RFC 1918, 3927,
/// 4193, 4291, 6598).
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_what_is_none_is_refused() {
        let loopback = Endpoint::parse("ws://127.0.0.1:19001/", None).expect("loopback");
        assert_eq!(loopback.identity(), "ws://127.0.0.1:19001");
        let v6 = Endpoint::parse("wss://[::1]", None).expect("v6");
        assert_eq!(v6.identity(), "wss://[::1]:18789");
        for (url, identity) in [
            ("wss://box:443", "wss://box:443"),
            ("ws://box:80/", "ws://box:80"),
            ("ws://[::1]:80", "ws://[::1]:80"),
            ("ws://[::80]", "ws://[::80]:18789"),
        ] {
            let endpoint = Endpoint::parse(url, None).expect(url);
            assert_eq!(endpoint.identity(), identity);
        }
        let pin = "AB:".repeat(31) + "ab";
        let pinned = Endpoint::parse("https://box", Some(&pin)).expect("pinned");
        assert!(pinned.identity().ends_with(&"ab".repeat(32)));
        for (url, pin) in [
            ("", None),
            ("127.0.0.1:18789", None),
            ("ftp://x", None),
            ("ws://user:pw@x", None),
            ("ws://x/?token=t", None),
            ("ws://x:99999", None),
            ("wss://shared/~me/", None),
            ("wss://x", Some("12")),
            ("ws://x", Some(pin.as_str())),
        ] {
            assert!(Endpoint::parse(url, pin).is_err(), "{url}");
        }
    }

    /// B17.
    #[test]
    fn a_host_of_a_url_has_one_name_however_it_is_written() {
        for (url, identity) in [
            ("wss://HOST.example.:1/", "wss://host.example:1"),
            ("wss://host。example:1", "wss://host.example:1"),
            ("wss://ХОСТ.example。:1", "wss://xn--n1agdj.example:1"),
            ("wss://xn--n1agdj.example:1", "wss://xn--n1agdj.example:1"),
        ] {
            let endpoint = Endpoint::parse(url, None).expect(url);
            assert_eq!(endpoint.identity(), identity, "{url}");
        }
        let whole = Endpoint::parse("wss://DB.:1", None).expect("whole");
        assert_eq!((whole.looked_up.as_str(), whole.host()), ("db.", "db"));
        for url in ["wss://host..:1", "wss://.:1", "wss://。:1"] {
            assert!(Endpoint::parse(url, None).is_err(), "{url}");
        }
    }

    #[test]
    fn only_loopback_and_private_addresses_may_be_reached_in_the_clear() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "100.64.0.9",
            "::1",
            "fd00::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_private(ip.parse().expect("ip")), "{ip}");
        }
        for ip in [
            "8.8.8.8",
            "100.128.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
            "172.32.0.1",
        ] {
            assert!(!is_private(ip.parse().expect("ip")), "{ip}");
        }
    }

    #[tokio::test]
    async fn a_public_address_is_refused_before_anything_is_sent() {
        let endpoint = Endpoint::parse("ws://192.0.2.1", None).expect("endpoint");
        let error = resolve(&endpoint).await.expect_err("refused");
        assert_eq!((error.layer, error.retry), (Layer::Tcp, Retry::Attention));
    }
}
