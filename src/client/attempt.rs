//! One try: dial, greet, and the one second chance with a stored device token.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::dial::{CameUp, Dialed, Dialer};
use super::handshake::{Greeted, HandshakeError, Shown, greet};
use super::refusal::{Refusal, RefusalKind};
use super::typed::Typed;
use super::{ClientOptions, ClientView};
use crate::layer::{Layer, LayerError, Retry, RowState};
use crate::protocol::hello::HelloOk;
use crate::secret::Secret;
use crate::tunnel::status::TunnelStatus;

/// Why a try failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: LayerError,
    /// The pairing request that waits for a person.
    pub(super) pairing_request: Option<String>,
    /// When the gateway will listen again.
    pub(super) retry_after: Option<Duration>,
}

impl From<LayerError> for Failure {
    fn from(error: LayerError) -> Self {
        Self {
            error,
            pairing_request: None,
            retry_after: None,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            error: refusal.error,
            pairing_request: refusal.request_id,
            retry_after: refusal.retry_after,
        }
    }
}

/// Runs one try. Cancel safe: dropping it closes what was opened.
pub(super) async fn run(
    dialer: Arc<dyn Dialer>,
    options: Arc<ClientOptions>,
    typed: Typed,
    view: watch::Sender<ClientView>,
    attempt: u32,
) -> Result<Greeted, Failure> {
    let dialed = dialer.dial().await.map_err(|failed| {
        show_layers(&view, &failed.layers);
        failed.error
    })?;
    show_dialed(&view, &dialed, attempt);
    let gateway = dialed.gateway.clone();
    let typed = typed.at(&gateway);
    let explicit = typed.unwrap_or_else(|| dialed.credentials.clone());
    let device_token = options.tokens.get(options.role.as_str());
    let has_token = device_token.is_some();
    let shown = Shown::choose(&explicit, device_token);
    let first = greet(dialed, &shown, &options).await;
    let outcome = match first {
        Err(HandshakeError::Refused(refusal))
            if has_token && !explicit.is_empty() && wants_second_chance(&refusal) =>
        {
            second_chance(&*dialer, &options, &gateway, refusal).await
        }
        first => first,
    };
    match outcome {
        Ok(greeted) => {
            remember(&options, &greeted.hello);
            show_greeted(&view, &greeted, &shown);
            Ok(greeted)
        }
        Err(HandshakeError::Refused(refusal)) => {
            if explicit.is_empty() && refusal.kind == RefusalKind::DeviceTokenWrong {
                forget_device_token(&options);
            }
            Err((*refusal).into())
        }
        Err(HandshakeError::Link(error)) => Err(error.into()),
    }
}

/// A wrong shared token may have a good device token beside it: version 4 says so, version 3 words it
/// as a device token mismatch.
fn wants_second_chance(refusal: &Refusal) -> bool {
    match refusal.kind {
        RefusalKind::TokenWrong => refusal.may_use_device_token,
        RefusalKind::DeviceTokenWrong => true,
        _ => false,
    }
}

/// Once, to the same gateway, with the device token it gave us. The dialer may have found another one
/// meanwhile, whose turn comes with the next try. The first refusal is what a person needs to read when
/// this fails too.
async fn second_chance(
    dialer: &dyn Dialer,
    options: &ClientOptions,
    gateway: &str,
    refusal: Box<Refusal>,
) -> Result<Greeted, HandshakeError> {
    let dialed = dialer.dial().await.map_err(|failed| failed.error)?;
    if dialed.gateway != gateway {
        let moved = LayerError::new(Layer::Port, "the gateway moved").retry(Retry::Soon);
        return Err(HandshakeError::Link(moved));
    }
    // The store points at the gateway that was dialled just now.
    let token = options.tokens.get(options.role.as_str());
    if token.is_none() {
        return Err(HandshakeError::Refused(refusal));
    }
    let shown = Shown {
        token,
        password: None,
    };
    match greet(dialed, &shown, options).await {
        Ok(greeted) => Ok(greeted),
        Err(_) => Err(HandshakeError::Refused(refusal)),
    }
}

fn remember(options: &ClientOptions, hello: &HelloOk) {
    let Some(auth) = &hello.auth else { return };
    let Some(token) = &auth.device_token else {
        return;
    };
    if auth.role == options.role.as_str() {
        store_device_token(options, Some(Secret::new(token.clone())));
    }
}

pub(super) fn forget_device_token(options: &ClientOptions) {
    store_device_token(options, None);
}

fn store_device_token(options: &ClientOptions, token: Option<Secret>) {
    let device = options.identity.device_id();
    if let Err(error) = options.tokens.set(device, options.role.as_str(), token) {
        tracing::warn!(%error, "the device token could not be stored; this run still uses it");
    }
}

fn show_layers(view: &watch::Sender<ClientView>, layers: &[CameUp]) {
    view.send_modify(|view| {
        for (layer, took, detail) in layers {
            view.rows.set(*layer, RowState::Ok, Some(*took), detail);
        }
    });
}

fn show_dialed(view: &watch::Sender<ClientView>, dialed: &Dialed, attempt: u32) {
    show_layers(view, &dialed.layers);
    view.send_modify(|view| {
        view.rows.set(Layer::Websocket, RowState::Busy, None, "");
        view.status = TunnelStatus::Connecting {
            layer: Layer::Websocket,
            attempt,
        };
    });
}

fn show_greeted(view: &watch::Sender<ClientView>, greeted: &Greeted, shown: &Shown) {
    let hello = &greeted.hello;
    let server = format!(
        "gateway {}, protocol {}",
        hello.server.version,
        hello.protocol.number()
    );
    let granted = hello.auth.as_ref();
    let method = granted.and_then(|auth| auth.method.as_deref());
    let how = match (method, &shown.password, &shown.token) {
        (Some(method), _, _) => method,
        (None, Some(_), _) => "password",
        (None, None, Some(_)) => "token",
        (None, None, None) => "none asked for",
    };
    let scopes = granted.map(|auth| auth.scopes.len()).unwrap_or_default();
    view.send_modify(|view| {
        let none = Duration::ZERO;
        let rows = &mut view.rows;
        rows.set(Layer::Websocket, RowState::Ok, Some(greeted.upgrade), "");
        rows.set(Layer::Hello, RowState::Ok, Some(greeted.connect), &server);
        rows.set(Layer::Token, RowState::Ok, Some(none), how);
        let device = format!("this device, {scopes} scopes");
        rows.set(Layer::Pairing, RowState::Ok, Some(none), &device);
    });
}
