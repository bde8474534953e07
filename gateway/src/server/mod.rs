//! The port: accepting connections, HTTP on it, and the upgrade to WebSocket.

mod guard;
mod head;
mod listen;
mod path;
mod reserve;
mod routes;
mod tailnet;
mod upgrade;
mod wire;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::IntoResponse as _;
use clawline::protocol::limits;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt as _;

use crate::auth::{Caller, Listener, ProxyUser, trusted_proxy};
use crate::conn::{self, Seat, Socket};
use crate::state::App;
use guard::Addressed;
use head::Headed;
use reserve::Reserve;
use wire::Wire;

pub use listen::ListenError;
pub(crate) use listen::{bind, bind_private, check_ours};

use routes::Visitor;

/// Largest HTTP head, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Accepts connections until the gateway has stopped; while it is stopping they are told so.
pub(crate) async fn accept(app: App, listener: TcpListener, door: Listener) {
    let router = routes::router(app.clone());
    let mut reserve = Reserve::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let seat = app.lobby.enter(whose(&app, peer, door));
                let work = connection(app.clone(), router.clone(), stream, (peer, door), seat);
                app.tasks.spawn(work);
            }
            Err(error) => {
                if reserve::is_exhausted(&error) {
                    app.lobby.shed();
                }
                reserve.recover(&listener, &error).await;
            }
        }
    }
}

/// Whose place a socket takes before its head is read: a proxy's is nobody's until it names its client.
fn whose(app: &App, peer: SocketAddr, door: Listener) -> Option<IpAddr> {
    let is_proxy = || {
        let trusted = &app.settings().trusted_proxies;
        trusted.iter().any(|range| range.contains(peer.ip()))
    };
    let is_nobodys = app.policy.places_behind_proxy && (door == Listener::Tailscale || is_proxy());
    (!is_nobodys).then_some(peer.ip())
}

/// What a request that was accepted for upgrade leaves behind.
struct Upgrading {
    on_upgrade: OnUpgrade,
    passed: guard::Passed,
    identity: Option<ProxyUser>,
}

/// One TCP connection: one plain HTTP exchange, or a WebSocket.
async fn connection(
    app: App,
    router: axum::Router,
    stream: TcpStream,
    (peer, door): (SocketAddr, Listener),
    seat: Seat,
) {
    let accepted = Instant::now();
    let Ok(local) = stream.local_addr() else {
        return;
    };
    // Small frames must not wait for each other.
    let _ = stream.set_nodelay(true);
    let slot = Arc::new(Mutex::new(None));
    let deadline = accepted + app.policy.time(limits::HTTP_HEAD_DEADLINE);
    // Answers are short: the deadline of the head holds for the whole exchange.
    let served = {
        let ends = (local, peer);
        let work = Box::pin(async {
            // Tailscale ends TLS itself.
            let tls = app.tls.as_deref().filter(|_| door == Listener::Main);
            if let Some(wire) = Wire::open(stream, tls).await {
                http(&app, router, wire, (ends, door), &seat, slot.clone()).await;
            }
        });
        tokio::select! {
            served = timeout_at(deadline, work) => served.is_ok(),
            () = seat.evicted() => false,
            () = app.stop.cancelled() => return,
        }
    };
    let upgrading = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (true, Some(upgrading)) = (served, upgrading) else {
        return;
    };
    let upgraded = tokio::select! {
        upgraded = timeout_at(deadline, opened(&app, upgrading, (local, peer), door)) => upgraded,
        () = seat.evicted() => return,
        () = app.stop.cancelled() => return,
    };
    let Ok(Some((upgraded, caller))) = upgraded else {
        return;
    };
    // Back to the socket itself: no box, no second buffer for the life of the connection.
    let Ok(parts) = upgraded.downcast::<TokioIo<Headed<Wire>>>() else {
        return;
    };
    let (stream, unread) = parts.io.into_inner().into_parts();
    let first = [&parts.read_buf, unread.as_slice()].concat();
    let socket = Socket::server(stream, first, &app.policy, &app.intake);
    conn::serve(app, socket, caller, seat, accepted).await;
}

/// The stream behind a request that was upgraded, and who is on its other end.
async fn opened(
    app: &App,
    upgrading: Upgrading,
    (local, peer): (SocketAddr, SocketAddr),
    door: Listener,
) -> Option<(Upgraded, Caller)> {
    let Upgrading {
        on_upgrade,
        passed,
        identity,
    } = upgrading;
    let mut caller = Caller {
        has_origin: passed.has_origin,
        via_proxy: passed.via_proxy,
        client: passed.client.to_canonical(),
        identity,
        ..Caller::direct(local, SocketAddr::new(passed.peer, peer.port()), door)
    };
    if let Some(word) = passed.word {
        let settings = app.settings();
        let proxy = &settings.auth.trusted_proxy;
        let peers = app.authority().peers.clone();
        match trusted_proxy::vouch(proxy, peers, (local, peer), word, &app.policy).await {
            Ok(user) => caller.identity = Some(user),
            Err(fault) => caller.identity_fault = Some(fault),
        }
    }
    Some((on_upgrade.await.ok()?, caller))
}

async fn http(
    app: &App,
    router: axum::Router,
    wire: Wire,
    (ends, door): ((SocketAddr, SocketAddr), Listener),
    seat: &Seat,
    slot: Arc<Mutex<Option<Upgrading>>>,
) {
    let (max_head, max_headers) = match app.policy.head_limits {
        true => (MAX_HEAD, MAX_HEADERS),
        false => (MAX_HEAD * 16, MAX_HEADERS * 16),
    };
    let Some(stream) = Headed::read(wire, app.policy.strict_heads).await else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let (app, router, slot) = (app.clone(), router.clone(), slot.clone());
        async move {
            let ends = (ends, door);
            Ok::<_, Infallible>(answer(&app, router, request, ends, seat, &slot).await)
        }
    });
    let served = http1::Builder::new()
        .max_buf_size(max_head)
        .max_headers(max_headers)
        .timer(TokioTimer::new())
        .header_read_timeout(app.policy.time(limits::HTTP_HEAD_DEADLINE))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(peer = %ends.1, %error, "HTTP exchange ended early");
    }
}

/// Refusals first, then the upgrade, then the plain routes.
async fn answer(
    app: &App,
    router: axum::Router,
    mut request: Request<Incoming>,
    ((local, peer), door): ((SocketAddr, SocketAddr), Listener),
    seat: &Seat,
    slot: &Mutex<Option<Upgrading>>,
) -> Response<Body> {
    let checked = match door {
        Listener::Main => {
            let here = Addressed::to(local);
            let passed = guard::check(&app.settings(), &app.policy, here, &request, peer.ip());
            passed.map(|passed| (passed, None))
        }
        Listener::Tailscale => tailnet::check(app, (local, peer), &request).await,
    };
    let (passed, identity) = match checked {
        Ok(checked) => checked,
        Err(refused) => return refused.into_response(),
    };
    if passed.via_proxy && app.policy.places_behind_proxy {
        seat.is_of(passed.client);
    }
    if app.drain.is_cancelled() && !routes::is_probe(&request) {
        return routes::stopping();
    }
    if app.policy.plain_paths && !path::is_plain(request.uri().path()) {
        let message = "the path of the request is malformed";
        return guard::Refused::new(StatusCode::BAD_REQUEST, "bad_request", message)
            .into_response();
    }
    if upgrade::is_wanted(&request) {
        return match upgrade::accept(&request) {
            Ok(response) => {
                let upgrading = Upgrading {
                    on_upgrade: hyper::upgrade::on(&mut request),
                    passed,
                    identity,
                };
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrading);
                response
            }
            Err(refused) => refused.into_response(),
        };
    }
    request.extensions_mut().insert(Visitor {
        local,
        peer,
        via_proxy: passed.via_proxy,
        client: passed.client,
    });
    if !app.policy.body_unread {
        let _ = http_body_util::BodyExt::collect(request.body_mut()).await;
    }
    if !app.policy.secret_in_header {
        secret_from_query(&mut request);
    }
    match router.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Takes `?token=` for a secret that was shown: what a gateway without the check would do.
fn secret_from_query<B>(request: &mut Request<B>) {
    let query = request.uri().query().unwrap_or_default();
    let token = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="));
    let bearer = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
    if let Some(bearer) = bearer {
        request.headers_mut().entry(AUTHORIZATION).or_insert(bearer);
    }
}
