//! What every request must pass before anything looks at it: the name it is addressed to, the page
//! it comes from, and whether a proxy speaks for somebody else.
//!
//! The first stops a web page whose name was pointed at loopback, the second any other web page,
//! the third a proxy that makes the world look local.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::response::IntoResponse;
use http::header::{HOST, HeaderMap, HeaderName, ORIGIN, UPGRADE};
use http::{Request, Response, StatusCode, Uri};
use serde_json::{Value, json};

use crate::auth::ORIGIN_REFUSED;
use crate::auth::trusted_proxy::{self, ProxyWord};
use crate::policy::Policy;
use crate::settings::{AuthMode, GatewaySettings};

/// Headers by which a proxy names the real client, beside all of `X-Forwarded-*` and `Tailscale-*`.
const PROXY_HEADERS: [&str; 4] = ["forwarded", "x-real-ip", "via", "cf-connecting-ip"];
const PROXY_PREFIXES: [&str; 2] = ["x-forwarded-", "tailscale-"];
/// The one route that answers behind any proxy; a WebSocket, which every path gives, is not it.
const PROBE: &str = "/healthz";

/// What is known of a request that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) has_origin: bool,
    pub(super) via_proxy: bool,
    /// The other end of the socket.
    pub(super) peer: IpAddr,
    /// The client's address, as far as trusted proxies tell.
    pub(super) client: IpAddr,
    /// What a proxy says about the user; in mode `trusted-proxy` only.
    pub(super) word: Option<ProxyWord>,
}

/// A request that is refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refused {
    status: StatusCode,
    body: Value,
}

impl Refused {
    pub(super) fn new(status: StatusCode, kind: &str, message: &str) -> Self {
        Self {
            status,
            body: json!({"error": {"message": message, "type": kind}}),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<axum::body::Body> {
        super::routes::json_response(self.status, &self.body)
    }
}

/// Our end of the connection that a request came over. Who writes this very address reaches us by no
/// name, so no name can have been pointed at us.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addressed {
    ip: IpAddr,
    port: u16,
}

impl Addressed {
    pub(super) fn to(local: SocketAddr) -> Self {
        Self {
            ip: local.ip().to_canonical(),
            port: local.port(),
        }
    }

    fn is(self, host: &str) -> bool {
        let host = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        host.parse::<IpAddr>().is_ok_and(|ip| ip == self.ip)
    }
}

/// Checks a request that came to `here` from `peer`.
pub(super) fn check<B>(
    settings: &GatewaySettings,
    policy: &Policy,
    here: Addressed,
    request: &Request<B>,
    peer: IpAddr,
) -> Result<Passed, Refused> {
    let from_proxy = request.headers().keys().any(is_proxy_header);
    let peer = match policy.socket_locality {
        true => peer,
        false => claimed(request, peer),
    };
    // What comes through a proxy may be shown anywhere, wherever the proxy stands.
    let is_here = peer.to_canonical().is_loopback() && !from_proxy;
    let has_origin = check_name_and_page(settings, policy, (here, is_here), request, None)?;
    let is_trusted = settings
        .trusted_proxies
        .iter()
        .any(|range| range.contains(peer));
    let is_probe = request.uri().path() == PROBE && !request.headers().contains_key(UPGRADE);
    if policy.proxy_headers && from_proxy && !is_trusted && !is_probe {
        return Err(unattributed());
    }
    let headers = request.headers();
    let client = if from_proxy && is_trusted {
        trusted_proxy::client_of(headers, peer, &settings.trusted_proxies, policy)
    } else {
        peer
    };
    let word = (settings.auth.mode == AuthMode::TrustedProxy)
        .then(|| trusted_proxy::read(headers, is_trusted, &settings.auth.trusted_proxy, policy));
    Ok(Passed {
        has_origin,
        via_proxy: from_proxy,
        peer,
        client,
        word,
    })
}

/// The name that a request is addressed to, and the page that it comes from, which is shown on this machine
/// or not; `name` is one more of ours, by https. Whether a page is behind it.
pub(super) fn check_name_and_page<B>(
    settings: &GatewaySettings,
    policy: &Policy,
    (here, is_here): (Addressed, bool),
    request: &Request<B>,
    name: Option<&str>,
) -> Result<bool, Refused> {
    let host = host(request.headers(), request.uri());
    let is_ours = host
        .as_deref()
        .is_some_and(|host| Some(host) == name || is_our_name(settings, here, host));
    if policy.host_name && !is_ours {
        return Err(Refused::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected_request",
            "this gateway is not known by that name; add it to gateway.allowedHosts",
        ));
    }
    let mut origins = request.headers().get_all(ORIGIN).iter();
    let origin = origins.next();
    if let Some(origin) = origin {
        let text = origin.to_str().unwrap_or("null");
        let is_named = name.is_some() && text.strip_prefix("https://") == name;
        let is_allowed = origins.next().is_none()
            && (is_named || is_allowed_origin(settings, here.port, is_here, text));
        if policy.web_origin && !is_allowed {
            let mut refused =
                Refused::new(StatusCode::FORBIDDEN, "origin_not_allowed", ORIGIN_REFUSED);
            refused.body["error"]["code"] = json!("CONTROL_UI_ORIGIN_NOT_ALLOWED");
            return Err(refused);
        }
    }
    Ok(origin.is_some())
}

/// Somebody speaks for others, and nobody knows whether they may.
pub(super) fn unattributed() -> Refused {
    Refused::new(
        StatusCode::FORBIDDEN,
        "proxy_attribution_required",
        "Proxy client attribution is required. Configure gateway.trustedProxies narrowly and make the proxy overwrite or safely rebuild forwarded client headers.",
    )
}

/// The host of `Host`, or of an absolute request target, without its port. More than one is none.
fn host(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let mut named = headers.get_all(HOST).iter();
    let header = match (named.next(), named.next()) {
        (Some(header), None) => Some(header.to_str().ok()?),
        (None, _) => None,
        (Some(_), Some(_)) => return None,
    };
    // A target with an authority must agree with the header.
    match (header, uri.authority()) {
        (Some(header), Some(authority)) if authority.as_str() != header => None,
        (Some(header), _) => Some(without_port(header)),
        (None, Some(authority)) => Some(without_port(authority.as_str())),
        (None, None) => None,
    }
}

fn without_port(host: &str) -> String {
    let host = host.trim().to_ascii_lowercase();
    if let Some(rest) = host.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((address, port)) if port.is_empty() || port.starts_with(':') => {
                format!("[{address}]")
            }
            _ => host,
        };
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.to_owned(),
        _ => host,
    }
}

fn is_our_name(settings: &GatewaySettings, here: Addressed, host: &str) -> bool {
    matches!(host, "127.0.0.1" | "[::1]" | "localhost")
        || here.is(host)
        || settings
            .allowed_hosts
            .iter()
            .any(|name| without_port(name) == host)
}

/// Where a request says that it comes from: `Host: localhost` makes it local where nobody looks at the socket.
fn claimed<B>(request: &Request<B>, peer: IpAddr) -> IpAddr {
    match host(request.headers(), request.uri()).as_deref() {
        Some("localhost" | "127.0.0.1") => Ipv4Addr::LOCALHOST.into(),
        _ => peer,
    }
}

fn is_proxy_header(name: &HeaderName) -> bool {
    let name = name.as_str();
    PROXY_HEADERS.contains(&name) || PROXY_PREFIXES.iter().any(|p| name.starts_with(p))
}

/// Our own pages, and what the configuration names. Pages of other programs on this machine are
/// not ours: loopback is no proof of anything.
fn is_allowed_origin(settings: &GatewaySettings, port: u16, is_here: bool, origin: &str) -> bool {
    let listed = settings
        .allowed_origins
        .iter()
        .any(|allowed| allowed == "*" || allowed.trim_end_matches('/') == origin);
    // A page of this machine's is shown on this machine.
    let own = is_here
        && ["http://", "https://"].iter().any(|scheme| {
            origin.strip_prefix(scheme).is_some_and(|host| {
                ["127.0.0.1", "[::1]", "localhost"]
                    .iter()
                    .any(|name| host == format!("{name}:{port}"))
            })
        });
    origin != "null" && (listed || own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(headers: &[(&str, &str)]) -> Result<Passed, u16> {
        let mut settings = GatewaySettings::new("/nowhere");
        settings.allowed_hosts = vec!["home.example".into()];
        settings.allowed_origins = vec!["https://ui.example".into()];
        settings.trusted_proxies = vec![crate::settings::IpRange::parse("10.0.0.0/8").unwrap()];
        let peer = match headers.iter().find(|(name, _)| *name == "peer") {
            Some((_, peer)) => peer.parse().unwrap(),
            None => "127.0.0.1".parse().unwrap(),
        };
        let path = headers.iter().find(|(name, _)| *name == "path");
        let mut request = Request::builder().uri(path.map_or("/", |(_, path)| path));
        for (name, value) in headers
            .iter()
            .filter(|(n, _)| !["peer", "path", "here"].contains(n))
        {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let here = headers.iter().find(|(name, _)| *name == "here");
        let here = here.map_or("127.0.0.1:18789", |(_, here)| here);
        let here = Addressed::to(here.parse().unwrap());
        check(&settings, &Policy::default(), here, &request, peer)
            .map_err(|refused| refused.status.as_u16())
    }

    const OURS: (&str, &str) = ("host", "127.0.0.1:18789");

    #[test]
    fn only_our_own_names_are_answered() {
        for host in [
            "127.0.0.1:18789",
            "localhost",
            "LOCALHOST:1",
            "[::1]:18789",
            "home.example",
        ] {
            assert!(verdict(&[("host", host)]).is_ok(), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "evil.example:127.0.0.1",
            "[::1]x",
            "0.0.0.0",
            "",
        ] {
            assert_eq!(verdict(&[("host", host)]), Err(421), "{host}");
        }
        assert_eq!(verdict(&[]), Err(421), "no Host at all");
        assert_eq!(verdict(&[OURS, OURS]), Err(421), "two of them");
    }

    #[test]
    fn the_address_that_was_dialled_is_a_name_of_ours_and_another_is_none() {
        let (here, here6) = ("192.168.1.5:18789", "[fd00::5]:18789");
        for (here, host) in [
            (here, "192.168.1.5"),
            (here, "192.168.1.5:18789"),
            (here6, "[fd00::5]:1"),
            (here, "home.example"),
        ] {
            assert!(verdict(&[("here", here), ("host", host)]).is_ok(), "{host}");
        }
        for (here, host) in [
            (here, "192.168.1.6"),
            (here, "192.168.1.5.evil.example"),
            (here, "[192.168.1.5"),
            (here6, "[fd00::6]"),
            (here, "0.0.0.0"),
        ] {
            assert_eq!(
                verdict(&[("here", here), ("host", host)]),
                Err(421),
                "{host}"
            );
        }
    }

    #[test]
    fn web_pages_are_refused_unless_they_are_ours_or_listed() {
        for origin in ["http://127.0.0.1:18789", "https://ui.example"] {
            let passed = verdict(&[OURS, ("origin", origin)]).unwrap();
            assert!(passed.has_origin, "{origin}");
        }
        for origin in [
            "https://evil.example",
            "http://localhost:3000",
            "http://127.0.0.1:18789.evil.example",
            "null",
            "file://",
            "",
        ] {
            assert_eq!(verdict(&[OURS, ("origin", origin)]), Err(403), "{origin}");
        }
        let far = [
            OURS,
            ("peer", "192.168.1.9"),
            ("origin", "http://127.0.0.1:18789"),
        ];
        assert_eq!(verdict(&far), Err(403), "a claim that the socket belies");
        let rebound = [
            ("host", "evil.example:18789"),
            ("origin", "http://evil.example:18789"),
        ];
        assert_eq!(verdict(&rebound), Err(421));
    }

    #[test]
    fn a_page_behind_a_proxy_is_not_ours_wherever_the_proxy_stands() {
        let own = ("origin", "http://127.0.0.1:18789");
        let mut settings = GatewaySettings::new("/nowhere");
        settings.trusted_proxies = vec![crate::settings::IpRange::parse("127.0.0.1").unwrap()];
        let here = Addressed::to("127.0.0.1:18789".parse().unwrap());
        let passes = |headers: &[(&str, &str)]| {
            let mut request = Request::builder().uri("/");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (request, peer) = (request.body(()).unwrap(), Ipv4Addr::LOCALHOST.into());
            check(&settings, &Policy::default(), here, &request, peer).is_ok()
        };
        assert!(passes(&[OURS, own]));
        assert!(passes(&[OURS, ("x-forwarded-for", "203.0.113.9")]));
        assert!(!passes(&[OURS, own, ("x-forwarded-for", "203.0.113.9")]));
        assert!(!passes(&[OURS, own, ("via", "1.1 proxy")]));
    }

    #[test]
    fn proxies_speak_for_others_only_when_they_are_trusted() {
        for name in [
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "forwarded",
            "x-real-ip",
            "via",
            "cf-connecting-ip",
            "tailscale-user-login",
        ] {
            assert_eq!(verdict(&[OURS, (name, "x")]), Err(403), "{name}");
            let probe = ("path", "/healthz");
            assert!(verdict(&[OURS, (name, "x"), probe]).is_ok());
            let upgrade = ("upgrade", "websocket");
            assert_eq!(verdict(&[OURS, (name, "x"), probe, upgrade]), Err(403));
            let passed = verdict(&[OURS, (name, "x"), ("peer", "10.1.1.1")]).unwrap();
            assert!(passed.via_proxy);
        }
    }
}
