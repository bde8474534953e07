//! What a proxy in front of us says about the client: its address, and in mode `trusted-proxy` its user.
//!
//! Headers are written by whoever sends them, so only the part that a trusted proxy has added counts,
//! and a proxy on this machine has to prove that it is one: any process here could claim it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;

use super::{AuthMethod, IdentityFault, PeerLookup, ProxyUser, is_same};
use crate::policy::Policy;
use crate::settings::{IpRange, TrustedProxySettings};

/// Longest user name that is believed, in bytes.
const MAX_USER: usize = 256;
/// The list of hops, each written by the next one.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What the headers of one request say in mode `trusted-proxy`; nothing is proven yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProxyWord {
    pub(crate) user: Result<String, IdentityFault>,
    /// The secret that only the proxy knows was sent.
    pub(crate) shows_secret: bool,
}

/// The client's address: the rightmost hop that is no trusted proxy, for what stands left of it was
/// written by the client itself. A list that cannot be read names nobody but the peer.
pub(crate) fn client_of(
    headers: &HeaderMap,
    peer: IpAddr,
    trusted: &[IpRange],
    policy: &Policy,
) -> IpAddr {
    let mut hops = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        let Ok(text) = value.to_str() else {
            return peer;
        };
        hops.extend(text.split(','));
    }
    if !policy.rightmost_hop {
        return hops.first().and_then(|hop| address(hop)).unwrap_or(peer);
    }
    let mut client = peer;
    for hop in hops.into_iter().rev() {
        let Some(hop) = address(hop) else {
            return client;
        };
        client = hop;
        if !trusted.iter().any(|range| range.contains(hop)) {
            break;
        }
    }
    client
}

/// An address as proxies write it: bare, in quotes, in brackets, with a port.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim().trim_matches('"');
    if let Ok(ip) = hop.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    if let Ok(socket) = hop.parse::<SocketAddr>() {
        return Some(socket.ip().to_canonical());
    }
    let inner = hop.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// Reads the headers of a request that came from an address on the list of trusted proxies, or not.
pub(crate) fn read(
    headers: &HeaderMap,
    is_trusted: bool,
    settings: &TrustedProxySettings,
    policy: &Policy,
) -> ProxyWord {
    let shown = settings.secret.as_ref().is_some_and(|(name, secret)| {
        one(headers, name).is_some_and(|text| is_same(policy, secret, text))
    });
    ProxyWord {
        user: if is_trusted {
            user(headers, settings)
        } else {
            Err(IdentityFault::NotTheProxy)
        },
        shows_secret: shown,
    }
}

fn user(headers: &HeaderMap, settings: &TrustedProxySettings) -> Result<String, IdentityFault> {
    for name in &settings.required_headers {
        if one(headers, name).is_none() {
            return Err(IdentityFault::MissingHeader(name.to_ascii_lowercase()));
        }
    }
    let user = one(headers, &settings.user_header)
        .filter(|user| user.len() <= MAX_USER)
        .ok_or(IdentityFault::NoUser)?;
    let is_allowed = settings.allow_users.is_empty()
        || settings.allow_users.iter().any(|allowed| allowed == user);
    if is_allowed {
        Ok(user.to_owned())
    } else {
        Err(IdentityFault::NotAllowed)
    }
}

/// The value of a header that was sent once and is not blank; a second one may be somebody else's.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    (values.next().is_none() && !value.is_empty()).then_some(value)
}

/// The user whom the proxy vouches for, once it is sure that it is the proxy.
pub(crate) async fn vouch(
    settings: &TrustedProxySettings,
    peers: Arc<dyn PeerLookup>,
    (local, peer): (SocketAddr, SocketAddr),
    word: ProxyWord,
    policy: &Policy,
) -> Result<ProxyUser, IdentityFault> {
    let login = word.user?;
    // A machine has more addresses than loopback, and a process on it may come from any of them: the
    // kernel knows the user of each socket that is its own.
    let uid = tokio::task::spawn_blocking(move || peers.uid(local, peer)).await;
    let uid = uid.ok().flatten();
    let ip = peer.ip().to_canonical();
    let is_here = ip.is_loopback() || ip == local.ip().to_canonical() || uid.is_some();
    if is_here && policy.proxy_proves_itself {
        let is_proxy_user = settings.proxy_uid.is_some() && uid == settings.proxy_uid;
        let is_proven = settings.allow_loopback && (word.shows_secret || is_proxy_user);
        if !is_proven {
            return Err(IdentityFault::NotTheProxy);
        }
    } else if settings.secret.is_some() && !word.shows_secret && policy.proxy_proves_itself {
        return Err(IdentityFault::NotTheProxy);
    }
    Ok(ProxyUser {
        login,
        by: AuthMethod::TrustedProxy,
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        map
    }

    fn client(values: &[&str]) -> String {
        let pairs: Vec<_> = values.iter().map(|v| (FORWARDED_FOR, *v)).collect();
        let trusted = [IpRange::parse("10.0.0.0/8").unwrap()];
        let peer = "10.0.0.1".parse().unwrap();
        client_of(&headers(&pairs), peer, &trusted, &Policy::default()).to_string()
    }

    #[test]
    fn the_rightmost_hop_that_is_no_proxy_is_the_client() {
        for (values, expected) in [
            (&["1.1.1.1, 2.2.2.2"][..], "2.2.2.2"),
            (&["1.1.1.1, 2.2.2.2, 10.0.0.9"], "2.2.2.2"),
            (&["1.1.1.1", "2.2.2.2"], "2.2.2.2"),
            (&["1.1.1.1, garbage, 10.0.0.9"], "10.0.0.9"),
            (&["10.0.0.7"], "10.0.0.7"),
            (&["2.2.2.2:4711"], "2.2.2.2"),
            (&["\"[2001:db8::1]:443\""], "2001:db8::1"),
            (&["::ffff:2.2.2.2"], "2.2.2.2"),
            (&["unknown"], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client(values), expected, "{values:?}");
        }
    }

    fn settings() -> TrustedProxySettings {
        TrustedProxySettings {
            user_header: "x-forwarded-user".into(),
            required_headers: vec!["X-Forwarded-Proto".into()],
            allow_users: vec!["ana@x".into()],
            ..TrustedProxySettings::default()
        }
    }

    #[test]
    fn a_user_is_named_once_by_a_complete_request_of_the_proxy_and_allowed() {
        let proto = ("x-forwarded-proto", "https");
        let all = Policy::default();
        let user = |pairs: &[(&str, &str)]| read(&headers(pairs), true, &settings(), &all).user;
        let name = "x-forwarded-user";
        assert_eq!(user(&[proto, (name, "ana@x")]), Ok("ana@x".into()));
        for (pairs, fault) in [
            (
                vec![(name, "ana@x")],
                IdentityFault::MissingHeader("x-forwarded-proto".into()),
            ),
            (vec![proto], IdentityFault::NoUser),
            (vec![proto, (name, " ")], IdentityFault::NoUser),
            (
                vec![proto, (name, "ana@x"), (name, "bob@x")],
                IdentityFault::NoUser,
            ),
            (vec![proto, (name, "bob@x")], IdentityFault::NotAllowed),
        ] {
            assert_eq!(user(&pairs), Err(fault), "{pairs:?}");
        }
        let direct = read(
            &headers(&[proto, (name, "ana@x")]),
            false,
            &settings(),
            &all,
        );
        assert_eq!(direct.user, Err(IdentityFault::NotTheProxy));
    }

    proptest! {
        #[test]
        fn any_list_of_hops_gives_an_address(bytes in proptest::collection::vec(32u8..=255, 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut map = HeaderMap::new();
                map.append(FORWARDED_FOR, value);
                let trusted = [IpRange::parse("0.0.0.0/0").unwrap()];
                let _ = client_of(&map, "10.0.0.1".parse().unwrap(), &trusted, &Policy::default());
            }
        }
    }
}
