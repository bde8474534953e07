//! From an open WebSocket to a connection that is somebody: challenge, `connect`, the checks in the
//! order of PROTOCOL.md §4.1, hello. Every refusal is told before the close.

use std::sync::Arc;

use clawline::protocol::device_auth;
use clawline::protocol::error::RpcError;
use clawline::protocol::frame::{Event, Frame, FrameError, Request, Response};
use clawline::protocol::hello::{CHALLENGE, CONNECT, Challenge, ClientInfo, ConnectParams};
use clawline::protocol::limits::{self, close};
use clawline::protocol::scope::{Role, Scopes};
use clawline::protocol::{Protocol, v3};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::socket::{Socket, Turn};
use super::{Conn, Principal, Seat, connect_params, hello};
use crate::auth::{Attempt, AuthMethod, Caller, Refusal, SignedIn};
use crate::nodes::Claims;
use crate::pairing::{Admission, Ask};
use crate::redact::redacted;
use crate::settings::GatewaySettings;
use crate::state::App;
use crate::store::now_ms;

/// Browser clients, which have to say where their page came from.
const BROWSER_IDS: [&str; 3] = ["openclaw-control-ui", "webchat", "webchat-ui"];
/// Challenge capability of version 4's current release.
const CHALLENGE_CAPABILITY: &str = "model-catalog-snapshot";
/// What the log shows of the parameters of a connect at level trace, in characters.
const MAX_TRACED: usize = 4096;
/// Longest text that a client may say about itself, in characters; the rest is cut.
const MAX_CLIENT_TEXT: usize = 64;

/// Why there is no connection: what to tell, and how to close.
#[derive(Debug)]
pub(crate) struct Farewell {
    /// The answer to the connect, where it gets one.
    answer: Option<Box<Response>>,
    /// Close code and reason; `None` when the peer is gone already.
    pub(crate) close: Option<(u16, String)>,
}

impl Farewell {
    /// A close without an answer.
    pub(crate) fn silent(code: u16, reason: &str) -> Self {
        Self {
            answer: None,
            close: Some((code, reason.to_owned())),
        }
    }

    fn gone() -> Self {
        Self {
            answer: None,
            close: None,
        }
    }

    fn told(id: &str, version: Protocol, error: RpcError, code: u16) -> Self {
        let reason = error.message.clone();
        let error = v3::render_error(version, error);
        Self {
            answer: Some(Box::new(Response::error(id, error))),
            close: Some((code, reason)),
        }
    }
}

/// Greets a peer, or says why not. `accepted` is when the TCP connection was.
///
/// The hello is the first thing in the outbox of the connection that comes back.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    app: &App,
    socket: &mut Socket<S>,
    caller: Caller,
    seat: &Seat,
    accepted: Instant,
) -> Result<Arc<Conn>, Farewell> {
    let nonce = uuid::Uuid::new_v4().to_string();
    let challenge = Challenge {
        nonce: nonce.clone(),
        ts: now_ms(),
        capabilities: vec![CHALLENGE_CAPABILITY.to_owned()],
    };
    let event = Frame::Event(Event {
        event: CHALLENGE.to_owned(),
        payload: json!(challenge),
        seq: None,
        state_version: None,
    });
    socket
        .write(event.to_text())
        .map_err(|_| Farewell::gone())?;
    let too_late = |_| Farewell::silent(close::NORMAL, "");
    let first = first_text(socket);
    let text = timeout_at(
        accepted + app.policy.time(limits::FIRST_FRAME_DEADLINE),
        first,
    )
    .await
    .map_err(too_late)??;
    seat.spoke();
    let decided = decide(app, &text, caller, &nonce);
    let conn = timeout_at(accepted + app.policy.time(limits::HELLO_DEADLINE), decided)
        .await
        .map_err(too_late)??;
    // Who may do nothing has nothing long to say.
    let is_guest = conn.principal.is_guest();
    if !is_guest || !app.policy.long_words {
        socket.raise_limit();
    }
    if is_guest && app.policy.few_guests {
        app.registry.make_room_for_guest();
    }
    Ok(Arc::new(conn))
}

impl Farewell {
    /// Tells it and closes; the caller drains the socket afterwards.
    pub(crate) fn tell<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: &mut Socket<S>) {
        if let Some(answer) = &self.answer {
            let _ = socket.write(Frame::Response((**answer).clone()).to_text());
        }
        if let Some((code, reason)) = &self.close {
            socket.close(*code, reason);
        }
    }
}

async fn first_text<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
) -> Result<String, Farewell> {
    loop {
        match socket.turn(true).await {
            Turn::Text(text) => return Ok(text),
            Turn::Garbage => return Err(Farewell::silent(close::NORMAL, "")),
            Turn::TooLarge => return Err(Farewell::silent(close::TOO_LARGE, "")),
            Turn::Violation(code, reason) => return Err(Farewell::silent(code, reason)),
            Turn::Closed | Turn::Broken(_) => return Err(Farewell::gone()),
            Turn::Sign | Turn::Flushed => {}
        }
    }
}

fn first_request(text: &str) -> Result<Request, Farewell> {
    match Frame::parse(text) {
        Ok(Frame::Request(request)) => Ok(request),
        Err(FrameError::NotJson(_)) => Err(Farewell::silent(close::NORMAL, "")),
        Ok(_) | Err(FrameError::NotAFrame { .. }) => {
            Err(Farewell::silent(close::POLICY, "invalid request frame"))
        }
    }
}

async fn decide(app: &App, text: &str, caller: Caller, nonce: &str) -> Result<Conn, Farewell> {
    let request = first_request(text)?;
    let id = request.id.as_str();
    let version = connect_params::version_of(&request.params);
    let refuse = |error| Farewell::told(id, version, error, close::POLICY);
    if app.policy.first_is_connect && request.method != CONNECT {
        let error = RpcError::invalid("invalid handshake: first request must be connect");
        return Err(refuse(error));
    }
    if tracing::enabled!(tracing::Level::TRACE) {
        let shown = match app.policy.masked_log {
            true => redacted(&request.params).to_string(),
            false => request.params.to_string(),
        };
        let shown = clawline::layer::printable(&shown, MAX_TRACED);
        tracing::trace!(peer = %caller.peer, params = %shown, "connect");
    }
    let mut params = connect_params::read(request.params, version)
        .map_err(|why| refuse(RpcError::invalid_params(CONNECT, why)))?;
    if Protocol::pick(params.min_protocol, params.max_protocol).is_none() {
        let error = RpcError::invalid("protocol mismatch").details(json!({
            "code": "PROTOCOL_MISMATCH",
            "clientMinProtocol": params.min_protocol,
            "clientMaxProtocol": params.max_protocol,
            "expectedProtocol": Protocol::MAX,
            "minimumProbeProtocol": Protocol::MIN,
        }));
        return Err(Farewell::told(id, version, error, close::PROTOCOL));
    }
    let role = match params.role.as_deref() {
        None => Role::Operator,
        Some("worker") if version == Protocol::V4 => {
            return Err(Farewell::silent(close::POLICY, "invalid-handshake"));
        }
        Some(text) => Role::parse(text).ok_or_else(|| refuse(RpcError::invalid("invalid role")))?,
    };
    let client = if app.policy.clean_names {
        harmless(&params.client)
    } else {
        params.client.clone()
    };
    let signed_in = sign_in(app, &params, &client, version, role, &caller, nonce).await;
    let (signed_in, admission) = signed_in.map_err(|refusal| {
        let error = refusal.render(version, role, caller.is_local());
        let reason = refusal.close_reason(version, &error);
        app.metrics.refused(refusal_kind(&error));
        tracing::info!(peer = %caller.peer, client = %clawline::layer::printable(&params.client.id, 40), why = %error.message, "connect refused");
        Farewell {
            answer: Some(Box::new(Response::error(id, v3::render_error(version, error)))),
            close: Some((close::POLICY, reason)),
        }
    })?;
    let asked = params.scopes.clone().unwrap_or_default();
    params.client = client;
    let generation = admission.as_ref().map(|admission| admission.generation);
    let is_own = admission.as_ref().is_some_and(|a| a.is_own_user);
    let mut conn = connection(app, version, role, caller, &params, signed_in, generation);
    if role == Role::Node {
        let commands = params.commands.as_deref().unwrap_or_default();
        let path_env = params.path_env.as_deref();
        let claims = Claims::new(&params.caps, commands, params.permissions, path_env, is_own);
        let claims = match app.policy.clean_names {
            true => claims.with_clean_permissions(),
            false => claims,
        };
        conn.node = Some(Box::new(claims));
        let admitted = app.nodes.admit(&conn, &app.settings().nodes).await;
        admitted.map_err(|error| {
            tracing::error!(%error, "a node could not be written down");
            refuse(RpcError::unavailable(error.to_string()).retry_after(1000))
        })?;
    }
    let payload = hello::payload(app, &conn, admission.as_ref(), &asked).await;
    conn.answer(&Response::ok(id, payload), None);
    Ok(conn)
}

/// The code that tells refusals apart; version 3 has none.
fn refusal_kind(error: &RpcError) -> &str {
    let details = error.details.as_ref();
    let code = details.and_then(|details| details["code"].as_str());
    code.unwrap_or_else(|| error.code.as_str())
}

/// What a client says about itself, fit to be stored and shown to others: the device may be anybody's
/// until it is approved, and a person decides by these texts. Only the proof needs them as they came.
fn harmless(client: &ClientInfo) -> ClientInfo {
    let text = |text: &String| -> String {
        let shown = clawline::layer::printable(text, MAX_CLIENT_TEXT);
        shown.chars().take(MAX_CLIENT_TEXT).collect()
    };
    ClientInfo {
        id: client.id.clone(),
        mode: client.mode.clone(),
        version: text(&client.version),
        platform: text(&client.platform),
        display_name: client.display_name.as_ref().map(text),
        device_family: client.device_family.as_ref().map(text),
        model_identifier: client.model_identifier.as_ref().map(text),
        instance_id: client.instance_id.as_ref().map(text),
    }
}

/// Credential, proof, pairing; `client` is what is kept of the parameters' own.
async fn sign_in(
    app: &App,
    params: &ConnectParams,
    client: &ClientInfo,
    version: Protocol,
    role: Role,
    caller: &Caller,
    nonce: &str,
) -> Result<(SignedIn, Option<Admission>), Refusal> {
    let is_browser = BROWSER_IDS.contains(&params.client.id.as_str());
    if is_browser && role == Role::Node {
        return Err(Refusal::DeviceRequired);
    }
    if is_browser && !caller.has_origin {
        return Err(Refusal::OriginRequired);
    }
    let uid = peer_uid(app, caller).await;
    let known = match &params.device {
        Some(device) => app.pairing.device(&device.id).await.map_err(|error| {
            tracing::error!(%error, "a device could not be looked up");
            Refusal::Store
        })?,
        None => None,
    };
    let authority = app.authority();
    let attempt = Attempt {
        params,
        version,
        role,
        caller,
        uid,
        nonce,
        known: known.as_ref(),
    };
    let signed_in = authority.sign_in(attempt)?;
    let Some(device) = &params.device else {
        return Ok((signed_in, None));
    };
    let ask = Ask {
        device_id: device.id.clone(),
        public_key: canonical(&device.public_key),
        display_name: client.display_name.clone(),
        platform: client.platform.clone(),
        device_family: client.device_family.clone(),
        client_id: client.id.clone(),
        client_mode: client.mode.clone(),
        remote_ip: caller.client.to_string(),
        role,
        scopes: signed_in.scopes.clone(),
        generation: signed_in.generation,
        may_be_silent: !matches!(
            signed_in.method,
            AuthMethod::DeviceToken | AuthMethod::SetupCode
        ) && (!app.policy.silent_for_owner
            || !caller.has_origin
                && may_be_silent(&app.settings(), role, caller, authority.is_own(uid))),
    };
    let mut admission = if signed_in.method == AuthMethod::SetupCode {
        let auth = params.auth.as_ref();
        let code = auth.and_then(|auth| auth.bootstrap_token.as_deref());
        let redeemed = app.pairing.redeem(&ask, code.unwrap_or_default()).await;
        let admission = redeemed.map_err(|refusal| authority.wrong_code(attempt, refusal))?;
        authority.right_code(attempt);
        admission
    } else {
        app.pairing.admit(&ask).await?
    };
    admission.is_own_user = ask.may_be_silent && caller.is_local() && authority.is_own(uid);
    Ok((signed_in, Some(admission)))
}

/// The one spelling of a key that is stored and compared; the proof has shown that it is one.
fn canonical(public_key: &str) -> String {
    let key = device_auth::parse_public_key(public_key);
    key.map_or_else(
        || public_key.to_owned(),
        |key| device_auth::encode(key.as_bytes()),
    )
}

/// Whether who calls is known well enough to be let in without a question: the gateway's own user,
/// or a node of a network that the owner named.
fn may_be_silent(settings: &GatewaySettings, role: Role, caller: &Caller, is_own: bool) -> bool {
    let nodes = &settings.nodes;
    let is_named = || {
        let ip = caller.peer.ip();
        !caller.via_proxy
            && nodes
                .auto_approve_cidrs
                .iter()
                .any(|range| range.contains(ip))
    };
    let is_local = caller.is_local() && is_own;
    match role {
        Role::Operator => is_local,
        Role::Node => (is_local && nodes.auto_approve_local) || is_named(),
    }
}

/// The kernel's tables can be long: they are read off the loop.
async fn peer_uid(app: &App, caller: &Caller) -> Option<u32> {
    if !caller.is_local() {
        return None;
    }
    let peers = app.authority().peers.clone();
    let (local, peer) = (caller.local, caller.peer);
    tokio::task::spawn_blocking(move || peers.uid(local, peer))
        .await
        .ok()
        .flatten()
}

fn connection(
    app: &App,
    version: Protocol,
    role: Role,
    caller: Caller,
    params: &ConnectParams,
    signed_in: SignedIn,
    generation: Option<i64>,
) -> Conn {
    let device_id = params.device.as_ref().map(|device| device.id.clone());
    let scopes = match role {
        Role::Operator => signed_in.scopes,
        Role::Node => Scopes::default(),
    };
    let principal = Principal {
        role,
        scopes,
        device_id,
        generation,
        method: signed_in.method,
        shared_tag: signed_in.shared_tag,
    };
    Conn::new(
        version,
        principal,
        params.client.clone(),
        &params.caps,
        caller,
        &app.stop,
    )
}
