//! From a byte stream to a hello: WebSocket upgrade, challenge, `connect` (PROTOCOL.md §2.2's recipe,
//! which both versions accept).

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use uuid::Uuid;

use super::ClientOptions;
use super::dial::{BoxedStream, Credentials, Dialed};
use super::refusal::{Refusal, RefusalKind};
use super::sniff::{FirstBytes, Sniffed};
use crate::layer::{Layer, LayerError, Retry};
use crate::protocol::Protocol;
use crate::protocol::device_auth::{Payload, PayloadVersion};
use crate::protocol::frame::{Frame, Request, Response};
use crate::protocol::hello::{
    AuthParams, CHALLENGE, CONNECT, Challenge, ConnectParams, DeviceProof, HelloOk,
};
use crate::protocol::limits::{MAX_BUFFERED, MAX_MESSAGE};
use crate::secret::Secret;

/// From a stream to the answer of the upgrade.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(10);
/// From the upgrade to the challenge.
const CHALLENGE_DEADLINE: Duration = Duration::from_secs(10);
/// From `connect` to its answer.
const HELLO_DEADLINE: Duration = Duration::from_secs(15);
/// tungstenite's buffers of one connection; a client has one, so they may be larger than a gateway's.
const BUFFER: usize = 16 * 1024;

pub(super) type Socket = WebSocketStream<Sniffed<BoxedStream>>;

/// A connection that got its hello.
pub(super) struct Greeted {
    pub(super) socket: Socket,
    pub(super) hello: HelloOk,
    /// How long the upgrade and the hello took.
    pub(super) upgrade: Duration,
    pub(super) connect: Duration,
}

/// Why there is no hello.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The way there failed.
    Link(LayerError),
    /// The gateway said no.
    Refused(Box<Refusal>),
}

impl From<LayerError> for HandshakeError {
    fn from(error: LayerError) -> Self {
        Self::Link(error)
    }
}

/// What goes into `connect.auth`.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    pub(super) token: Option<Secret>,
    pub(super) password: Option<Secret>,
}

impl Shown {
    /// The explicit credentials, or else the device token (PROTOCOL.md §3.6).
    pub(super) fn choose(explicit: &Credentials, device_token: Option<Secret>) -> Self {
        if explicit.is_empty() {
            Self {
                token: device_token,
                password: None,
            }
        } else {
            Self {
                token: explicit.token.clone(),
                password: explicit.password.clone(),
            }
        }
    }
}

/// Runs the handshake. Dropping the future closes the stream.
pub(super) async fn greet(
    dialed: Dialed,
    shown: &Shown,
    options: &ClientOptions,
) -> Result<Greeted, HandshakeError> {
    let started = Instant::now();
    let (mut socket, first) = upgrade(dialed).await?;
    let upgraded = Instant::now();
    let challenge = timeout(CHALLENGE_DEADLINE, read_challenge(&mut socket))
        .await
        .map_err(|_| no_challenge(&first))??;
    let request = connect_request(&challenge, shown, options);
    let id = request.id.clone();
    let text = Frame::Request(request).to_text();
    socket
        .send(Message::text(text))
        .await
        .map_err(|error| lost(Layer::Hello, &error))?;
    let hello = timeout(HELLO_DEADLINE, read_hello(&mut socket, &id))
        .await
        .map_err(|_| {
            LayerError::new(
                Layer::Hello,
                format!(
                    "the gateway did not answer connect within {} s",
                    HELLO_DEADLINE.as_secs()
                ),
            )
        })??;
    Ok(Greeted {
        socket,
        hello,
        upgrade: upgraded - started,
        connect: upgraded.elapsed(),
    })
}

async fn upgrade(dialed: Dialed) -> Result<(Socket, FirstBytes), LayerError> {
    let (stream, first) = Sniffed::new(dialed.stream);
    let request = format!("ws://{}/", dialed.host)
        .into_client_request()
        .map_err(|error| {
            LayerError::new(
                Layer::Websocket,
                format!("{} is not a host that can be asked: {error}", dialed.host),
            )
            .retry(Retry::Never)
        })?;
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(MAX_MESSAGE + MAX_BUFFERED)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let upgrading = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    match timeout(UPGRADE_DEADLINE, upgrading).await {
        Ok(Ok((socket, _))) => Ok((socket, first)),
        Ok(Err(error)) => Err(not_a_gateway(&dialed.host, &error, &first)),
        Err(_) => Err(LayerError::new(
            Layer::Websocket,
            format!(
                "{} accepts connections but said nothing within {} s; that is not a gateway, or it is stuck",
                dialed.host,
                UPGRADE_DEADLINE.as_secs()
            ),
        )
        .next("check which program listens there")),
    }
}

/// Names what answered instead of a gateway, or how the connection was lost.
fn not_a_gateway(host: &str, error: &WsError, first: &FirstBytes) -> LayerError {
    let line = first.line();
    let next = "check which program listens there, or name the gateway's port with --remote";
    if let WsError::Io(io) = error
        && line.is_empty()
    {
        // Over an SSH channel a far port that nobody listens on can also end like this.
        return LayerError::new(
            Layer::Websocket,
            format!("{host} closed the connection before answering: {io}"),
        );
    }
    let what = if line.starts_with("HTTP/") {
        format!("{host} is a web server, not a gateway")
    } else if line.starts_with("SSH-") {
        format!("{host} is an SSH server, not a gateway")
    } else if line.is_empty() {
        return LayerError::new(
            Layer::Websocket,
            format!("{host} closed the connection before answering: {error}"),
        );
    } else {
        format!("{host} is not a gateway")
    };
    LayerError::new(Layer::Websocket, what)
        .peer(&line)
        .next(next)
        .retry(Retry::Backoff)
}

fn no_challenge(first: &FirstBytes) -> LayerError {
    LayerError::new(
        Layer::Hello,
        format!(
            "a WebSocket server answered, but sent no gateway challenge within {} s",
            CHALLENGE_DEADLINE.as_secs()
        ),
    )
    .peer(&first.line())
    .next("check which program listens there")
}

pub(super) fn lost(layer: Layer, error: &WsError) -> LayerError {
    LayerError::new(
        layer,
        format!("the connection to the gateway was lost: {error}"),
    )
}

/// The next frame that is a text (or a binary message of the same content).
async fn next_frame(socket: &mut Socket) -> Result<Frame, LayerError> {
    loop {
        let message = match socket.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(lost(Layer::Hello, &error)),
            None => {
                return Err(LayerError::new(
                    Layer::Hello,
                    "the gateway closed the connection",
                ));
            }
        };
        let frame = match &message {
            Message::Text(text) => Frame::parse(text.as_str()),
            Message::Binary(bytes) => Frame::parse(&String::from_utf8_lossy(bytes)),
            Message::Close(close) => {
                let words = close
                    .as_ref()
                    .map(|close| format!("{} {}", u16::from(close.code), close.reason));
                return Err(
                    LayerError::new(Layer::Hello, "the gateway closed the connection")
                        .peer(words.as_deref().unwrap_or_default()),
                );
            }
            _ => continue,
        };
        return frame.map_err(|error| {
            LayerError::new(
                Layer::Hello,
                format!("what answers is a WebSocket server, but not a gateway: {error}"),
            )
            .next("check which program listens there")
        });
    }
}

async fn read_challenge(socket: &mut Socket) -> Result<Challenge, LayerError> {
    let not_one = |why: &str| {
        // Nothing secret is ever sent before a well-formed challenge.
        LayerError::new(
            Layer::Hello,
            format!("what answers is a WebSocket server, but not a gateway: {why}"),
        )
        .next("check which program listens there")
    };
    let Frame::Event(event) = next_frame(socket).await? else {
        return Err(not_one("its first frame is not a challenge"));
    };
    if event.event != CHALLENGE {
        return Err(not_one("its first event is not a challenge"));
    }
    let challenge: Challenge = serde_json::from_value(event.payload)
        .map_err(|error| not_one(&format!("bad challenge: {error}")))?;
    if challenge.nonce.trim().is_empty() {
        return Err(not_one("its challenge is blank"));
    }
    Ok(challenge)
}

async fn read_hello(socket: &mut Socket, id: &str) -> Result<HelloOk, HandshakeError> {
    loop {
        match next_frame(socket).await? {
            Frame::Response(response) if response.id == id => return hello_of(response),
            // Events may come before the answer; they mean nothing yet.
            _ => {}
        }
    }
}

fn hello_of(response: Response) -> Result<HelloOk, HandshakeError> {
    if let Some(error) = &response.error {
        return Err(HandshakeError::Refused(Box::new(Refusal::from_rpc(error))));
    }
    let bad = |why: String| {
        HandshakeError::Refused(Box::new(Refusal {
            kind: RefusalKind::Protocol,
            error: LayerError::new(Layer::Hello, why)
                .next("update the older side")
                .retry(Retry::Attention),
            request_id: None,
            may_use_device_token: false,
            retry_after: None,
        }))
    };
    if !response.ok {
        return Err(bad(
            "the gateway refused the connection without a word".into()
        ));
    }
    serde_json::from_value(response.payload)
        .map_err(|error| bad(format!("the gateway's hello cannot be read: {error}")))
}

fn connect_request(challenge: &Challenge, shown: &Shown, options: &ClientOptions) -> Request {
    let token = shown.token.as_ref().map(Secret::expose);
    let payload = Payload {
        device_id: options.identity.device_id(),
        client_id: &options.client.id,
        client_mode: &options.client.mode,
        role: options.role.as_str(),
        scopes: &options.scopes,
        signed_at: challenge.ts,
        token: token.unwrap_or_default(),
        nonce: &challenge.nonce,
        platform: &options.client.platform,
        device_family: options.client.device_family.as_deref().unwrap_or_default(),
    };
    let device = DeviceProof {
        id: options.identity.device_id().to_owned(),
        public_key: options.identity.public_key(),
        signature: options.identity.sign(&payload, PayloadVersion::V2),
        signed_at: challenge.ts,
        nonce: Some(challenge.nonce.clone()),
    };
    let params = ConnectParams {
        min_protocol: Protocol::MIN,
        max_protocol: Protocol::MAX,
        client: options.client.clone(),
        caps: options.caps.clone(),
        commands: options.commands.clone(),
        permissions: None,
        path_env: options.path_env.clone(),
        role: Some(options.role.as_str().to_owned()),
        scopes: Some(options.scopes.clone()),
        device: Some(device),
        auth: Some(AuthParams {
            token: token.map(str::to_owned),
            password: shown
                .password
                .as_ref()
                .map(|password| password.expose().to_owned()),
            ..AuthParams::default()
        }),
        locale: None,
        user_agent: None,
    };
    Request {
        id: Uuid::new_v4().to_string(),
        method: CONNECT.to_owned(),
        params: serde_json::to_value(params).unwrap_or_default(),
    }
}
