//! What a request of the private listener must pass. Only Tailscale is told of its port, and the kernel says
//! whether the one who connects is Tailscale: other users of this machine could find the port, and would
//! name themselves as they like.

use std::net::{IpAddr, SocketAddr};

use http::Request;
use http::header::HeaderMap;

use super::guard::{self, Addressed, Passed, Refused};
use crate::auth::{AuthMethod, ProxyUser};
use crate::state::App;
use crate::tailscale::Exposure;

const CLIENT: &str = "x-forwarded-for";
const LOGIN: &str = "tailscale-user-login";
/// What Tailscale sets on each request.
const NEEDED: [&str; 3] = [CLIENT, "x-forwarded-proto", "x-forwarded-host"];
/// Tailscale's daemon, where it is not the gateway's own user.
const ROOT: u32 = 0;

/// Checks a request of the private listener; who it is comes with it.
pub(super) async fn check<B>(
    app: &App,
    (local, peer): (SocketAddr, SocketAddr),
    request: &Request<B>,
) -> Result<(Passed, Option<ProxyUser>), Refused> {
    let headers = request.headers();
    let client = one(headers, CLIENT).and_then(|text| text.parse::<IpAddr>().ok());
    let (Some(client), true) = (
        client,
        NEEDED.iter().all(|name| one(headers, name).is_some()),
    ) else {
        return Err(guard::unattributed());
    };
    let peers = app.authority().peers.clone();
    let own = peers.own();
    let uid = tokio::task::spawn_blocking(move || peers.uid(local, peer)).await;
    let uid = uid.ok().flatten();
    if app.policy.tailscale_peer && uid.is_some_and(|uid| uid != ROOT && uid != own) {
        return Err(guard::unattributed());
    }
    let name = match &*app.exposure.borrow() {
        Exposure::Up { name } => Some(name.clone()),
        Exposure::Off | Exposure::Starting | Exposure::Down { .. } => None,
    };
    let has_origin = guard::check_name_and_page(
        &app.settings(),
        &app.policy,
        // Its pages are shown elsewhere in the tailnet.
        (Addressed::to(local), false),
        request,
        name.as_deref(),
    )?;
    let login = one(headers, LOGIN).filter(|_| uid.is_some());
    let identity = match (login, &app.whois) {
        (Some(login), Some(whois)) if app.settings().tailscale.allow_identity => {
            let known = whois.login(client).await;
            let is_same = known.is_some_and(|known| known.eq_ignore_ascii_case(login));
            (is_same || !app.policy.tailscale_whois).then(|| ProxyUser {
                login: login.to_owned(),
                by: AuthMethod::Tailscale,
            })
        }
        _ => None,
    };
    let passed = Passed {
        has_origin,
        via_proxy: true,
        peer: peer.ip(),
        client,
        word: None,
    };
    Ok((passed, identity))
}

/// The text of a header that is there once and holds something.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value
            .to_str()
            .ok()
            .map(str::trim)
            .filter(|text| !text.is_empty()),
        _ => None,
    }
}
