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
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::IntoResponse as _;
use clawline::protocol::limits;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
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
pub(crate) use listen::{bind, bind_private};

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
                let seat = app.lobby.enter(peer.ip());
                let work = connection(app.clone(), router.clone(), stream, (peer, door), seat);
                app.tasks.spawn(work);
            }
            Err(error) => {
                app.lobby.shed();
                reserve.recover(&listener, &error).await;
            }
        }
    }
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
    // Answers are short: the deadline of the head holds for the whole exchange.
    let served = {
        let ends = (local, peer);
        let work = Box::pin(async {
            // Tailscale ends TLS itself.
            let tls = app.tls.as_deref().filter(|_| door == Listener::Main);
            if let Some(wire) = Wire::open(stream, tls).await {
                http(&app, router, wire, (ends, door), slot.clone()).await;
            }
        });
        tokio::select! {
            served = timeout_at(accepted + limits::HTTP_HEAD_DEADLINE, work) => served.is_ok(),
            () = seat.evicted() => false,
            () = app.stop.cancelled() => return,
        }
    };
    let upgrading = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (true, Some(upgrading)) = (served, upgrading) else {
        return;
    };
    let mut caller = Caller {
        has_origin: upgrading.passed.has_origin,
        via_proxy: upgrading.passed.via_proxy,
        client: upgrading.passed.client.to_canonical(),
        identity: upgrading.identity,
        ..Caller::direct(local, peer, door)
    };
    if let Some(word) = upgrading.passed.word {
        let settings = app.settings();
        let proxy = &settings.auth.trusted_proxy;
        let peers = app.authority().peers.clone();
        match trusted_proxy::vouch(proxy, peers, (local, peer), word, &app.policy).await {
            Ok(user) => caller.identity = Some(user),
            Err(fault) => caller.identity_fault = Some(fault),
        }
    }
    let Ok(upgraded) = upgrading.on_upgrade.await else {
        return;
    };
    // Back to the socket itself: no box, no second buffer for the life of the connection.
    let Ok(parts) = upgraded.downcast::<TokioIo<Headed<Wire>>>() else {
        return;
    };
    let (stream, unread) = parts.io.into_inner().into_parts();
    let first = [&parts.read_buf, unread.as_slice()].concat();
    let socket = Socket::server(stream, first, &app.policy);
    conn::serve(app, socket, caller, seat, accepted).await;
}

async fn http(
    app: &App,
    router: axum::Router,
    wire: Wire,
    (ends, door): ((SocketAddr, SocketAddr), Listener),
    slot: Arc<Mutex<Option<Upgrading>>>,
) {
    let Some(stream) = Headed::read(wire, app.policy.strict_heads).await else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let (app, router, slot) = (app.clone(), router.clone(), slot.clone());
        async move { Ok::<_, Infallible>(answer(&app, router, request, (ends, door), &slot).await) }
    });
    let served = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HTTP_HEAD_DEADLINE)
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
    match router.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
