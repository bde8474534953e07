//! The plain HTTP routes: probes, and the page for Prometheus.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::routing::get;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::auth::BearerRefusal;
use crate::metrics;
use crate::state::App;
use crate::store::StoreHealth;

pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/healthz", get(live))
        .route("/health", get(live))
        .route("/readyz", get(ready))
        .route("/ready", get(ready))
        .route("/startup", get(started))
        .route("/metrics", get(prometheus))
        .fallback(|| async { text_response(StatusCode::NOT_FOUND, "Not Found") })
        .method_not_allowed_fallback(|| async {
            text_response(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        })
        .with_state(app)
}

/// Seconds after which somebody may come back while the gateway stops.
const RETRY_SECONDS: &str = "2";
/// Paths that answer until the very end.
const PROBES: [&str; 5] = ["/healthz", "/health", "/readyz", "/ready", "/startup"];

/// Who asks, as far as the socket tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visitor {
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) via_proxy: bool,
    /// The client's address, as far as trusted proxies tell.
    pub(super) client: IpAddr,
}

impl Visitor {
    fn is_local(self) -> bool {
        self.peer.ip().to_canonical().is_loopback() && !self.via_proxy
    }

    /// Checks the bearer secret, counted against the user on the other end where the kernel tells.
    async fn bearer(self, app: &App, headers: &HeaderMap) -> Result<(), BearerRefusal> {
        let authority = app.authority();
        let peers = authority.peers.clone();
        let uid = match self.is_local() {
            true => tokio::task::spawn_blocking(move || peers.uid(self.local, self.peer))
                .await
                .ok()
                .flatten(),
            false => None,
        };
        let header = headers
            .get(AUTHORIZATION)
            .and_then(|text| text.to_str().ok());
        authority.bearer(header, self.client, uid)
    }

    /// Whether details are for this visitor; an error when it has guessed too often.
    async fn may_know(self, app: &App, headers: &HeaderMap) -> Result<bool, Duration> {
        if self.is_local() || !headers.contains_key(AUTHORIZATION) {
            return Ok(self.is_local());
        }
        match self.bearer(app, headers).await {
            Ok(()) => Ok(true),
            Err(BearerRefusal::Unauthorized) => Ok(false),
            Err(BearerRefusal::Locked(remaining)) => Err(remaining),
        }
    }
}

/// A request that is answered while the gateway stops.
pub(super) fn is_probe<B>(request: &Request<B>) -> bool {
    PROBES.contains(&request.uri().path()) && !request.headers().contains_key(UPGRADE)
}

/// Come back later.
pub(super) fn stopping() -> Response<Body> {
    let body = json!({"error": {"message": "the gateway is stopping", "type": "stopping"}});
    let mut response = json_response(StatusCode::SERVICE_UNAVAILABLE, &body);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
    response
}

/// Everything that is served was ready before the port was.
async fn started(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Response<Body> {
    let mut body = json!({"ok": true, "status": "started"});
    let knows = match visitor.may_know(&app, &headers).await {
        Ok(knows) => knows,
        Err(remaining) => return too_many(&app, remaining),
    };
    if knows {
        body["version"] = json!(env!("CARGO_PKG_VERSION"));
        body["uptimeMs"] = json!(app.uptime_ms());
    }
    json_response(StatusCode::OK, &body)
}

/// The counters, for who shows the secret.
async fn prometheus(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Response<Body> {
    match visitor.bearer(&app, &headers).await {
        Ok(()) => response(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            metrics::page(&app).await,
        ),
        Err(BearerRefusal::Unauthorized) => {
            app.metrics.refused("HTTP_UNAUTHORIZED");
            let body = json!({"error": {"message": "Unauthorized", "type": "unauthorized"}});
            let mut response = json_response(StatusCode::UNAUTHORIZED, &body);
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Err(BearerRefusal::Locked(remaining)) => too_many(&app, remaining),
    }
}

/// Whoever has guessed too often may come back after this time.
fn too_many(app: &App, remaining: Duration) -> Response<Body> {
    app.metrics.refused("HTTP_RATE_LIMITED");
    let body = json!({"error": {
        "message": "Too many failed authentication attempts. Please try again later.",
        "type": "rate_limited",
    }});
    let mut response = json_response(StatusCode::TOO_MANY_REQUESTS, &body);
    let seconds = remaining.as_secs() + 1;
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// The process answers.
async fn live() -> Response<Body> {
    json_response(StatusCode::OK, &json!({"ok": true, "status": "live"}))
}

/// It can take messages.
async fn ready(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Response<Body> {
    let knows = match visitor.may_know(&app, &headers).await {
        Ok(knows) => knows,
        Err(remaining) => return too_many(&app, remaining),
    };
    let mut failing = Vec::new();
    if let StoreHealth::ReadOnly { .. } = &*app.store_health.borrow() {
        failing.push("store");
    }
    if app.drain.is_cancelled() {
        failing.push("stopping");
    }
    let status = if failing.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if !knows {
        return json_response(status, &json!({"ready": failing.is_empty()}));
    }
    let body = json!({
        "ready": failing.is_empty(),
        "failing": failing,
        "uptimeMs": app.uptime_ms(),
    });
    json_response(status, &body)
}

pub(super) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    response(status, "application/json; charset=utf-8", body.to_string())
}

fn text_response(status: StatusCode, text: &'static str) -> Response<Body> {
    response(status, "text/plain; charset=utf-8", text.to_owned())
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // One exchange a connection: the deadline of the whole is then simple.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
