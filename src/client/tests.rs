//! The client against a scripted gateway on a loopback port.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::dial::{Credentials, Dialer, Dialing};
use super::tcp::{Endpoint, TcpDialer};
use super::tokens::TokenStore;
use super::*;
use crate::protocol::methods::system::{Health, HealthParams};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(60);

/// The gateway's side of one connection.
struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.expect("accepted");
        Self(
            tokio_tungstenite::accept_async(stream)
                .await
                .expect("upgraded"),
        )
    }

    async fn send(&mut self, frame: Value) {
        self.0
            .send(Message::text(frame.to_string()))
            .await
            .expect("sent");
    }

    /// The next request; pings are answered while waiting.
    async fn request(&mut self) -> Value {
        loop {
            match self.0.next().await.expect("open").expect("message") {
                Message::Text(text) => return serde_json::from_str(&text).expect("json"),
                _ => continue,
            }
        }
    }

    async fn challenge(&mut self) -> Value {
        self.send(
            json!({"type":"event","event":"connect.challenge","payload":{"nonce":"n1","ts":1000}}),
        )
        .await;
        self.request().await
    }

    async fn greet(&mut self) -> Value {
        let connect = self.challenge().await;
        let auth = json!({"deviceToken":"dt","role":"operator","scopes":["operator.admin"]});
        let hello = json!({"type":"hello-ok","protocol":4,"server":{"version":"9","connId":"c"},"auth":auth});
        self.answer(&connect, hello).await;
        connect
    }

    async fn answer(&mut self, request: &Value, payload: Value) {
        self.send(json!({"type":"res","id":request["id"],"ok":true,"payload":payload}))
            .await;
    }

    async fn refuse(&mut self, request: &Value, error: Value) {
        self.send(json!({"type":"res","id":request["id"],"ok":false,"error":error}))
            .await;
    }
}

struct World {
    listener: TcpListener,
    tokens: Arc<TokenStore>,
    port: u16,
}

impl World {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("address").port();
        Self {
            listener,
            tokens: Arc::new(TokenStore::in_memory()),
            port,
        }
    }

    fn client(&self, token: Option<&str>) -> Client {
        let credentials = Credentials {
            token: token.map(Secret::new),
            password: None,
        };
        let dialer = TcpDialer::new(Endpoint::loopback(self.port), credentials);
        let identity = Arc::new(Identity::from_seed([1; 32]));
        let options = ClientOptions::operator(identity, Arc::clone(&self.tokens));
        Client::start(Arc::new(dialer), options)
    }
}

use crate::secret::Secret;

async fn next(events: &mut Receiver<ClientEvent>) -> ClientEvent {
    timeout(SOON, events.recv())
        .await
        .expect("an event in time")
        .expect("an event")
}

#[tokio::test]
async fn a_call_is_answered_and_events_come_in_order_with_gaps_told() {
    let world = World::new().await;
    let client = world.client(Some("t"));
    let mut events = client.events();
    let mut peer = Peer::accept(&world.listener).await;
    let connect = peer.greet().await;
    assert_eq!(connect["params"]["auth"], json!({"token":"t"}));
    assert_eq!(connect["params"]["device"]["signedAt"], json!(1000));
    assert!(connect["params"]["device"]["nonce"] == "n1");
    assert!(client.wait_up(SOON).await.is_ok());

    let asking = client.clone();
    let call = tokio::spawn(async move { asking.call::<Health>(HealthParams::default()).await });
    let request = peer.request().await;
    assert_eq!(request["method"], "health");
    peer.answer(&request, json!({"ok":true,"ts":5})).await;
    assert!(call.await.expect("joined").expect("reply").ok);

    for seq in [1, 2, 5] {
        peer.send(json!({"type":"event","event":"tick","payload":{"ts":seq},"seq":seq}))
            .await;
    }
    assert!(matches!(
        next(&mut events).await,
        ClientEvent::Connected { generation: 1 }
    ));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(match next(&mut events).await {
            ClientEvent::Event(event) => event.seq.expect("seq").to_string(),
            ClientEvent::Gap { expected, received } => format!("gap {expected}..{received}"),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["1", "2", "gap 3..5", "5"]);
}

#[tokio::test]
async fn the_second_answer_of_agent_is_the_one_that_counts() {
    let world = World::new().await;
    let client = world.client(Some("t"));
    let mut peer = Peer::accept(&world.listener).await;
    peer.greet().await;
    client.wait_up(SOON).await.expect("up");
    let asking = client.clone();
    let run = tokio::spawn(async move { asking.agent(AgentParams::default(), SOON).await });
    let request = peer.request().await;
    peer.answer(&request, json!({"runId":"r","status":"accepted"}))
        .await;
    let result = json!({"payloads":[{"text":"done"}]});
    peer.answer(&request, json!({"runId":"r","status":"ok","result":result}))
        .await;
    assert_eq!(run.await.expect("joined").expect("reply").text(), "done");
}

#[tokio::test]
async fn a_lost_connection_fails_its_calls_and_comes_back_by_itself() {
    let world = World::new().await;
    let client = world.client(Some("t"));
    let mut peer = Peer::accept(&world.listener).await;
    peer.greet().await;
    client.wait_up(SOON).await.expect("up");
    let asking = client.clone();
    let call = tokio::spawn(async move { asking.call::<Health>(HealthParams::default()).await });
    peer.request().await;
    drop(peer);
    let error = call.await.expect("joined").expect_err("lost");
    assert!(matches!(error, CallError::Disconnected { .. }), "{error}");
    let mut peer = Peer::accept(&world.listener).await;
    peer.greet().await;
    let mut view = client.view();
    let back = view.wait_for(|view| view.generation == 2 && view.hello.is_some());
    timeout(SOON, back).await.expect("in time").expect("view");
}

#[tokio::test]
async fn a_wrong_token_stops_and_waits_for_a_person() {
    let world = World::new().await;
    let client = world.client(Some("wrong"));
    let mut peer = Peer::accept(&world.listener).await;
    let connect = peer.challenge().await;
    let details = json!({"code":"AUTH_TOKEN_MISMATCH","canRetryWithDeviceToken":true});
    let error = json!({"code":"INVALID_REQUEST","message":"unauthorized: gateway token mismatch","details":details});
    peer.refuse(&connect, error).await;
    let error = client.wait_up(SOON).await.expect_err("refused");
    assert_eq!((error.layer, error.retry), (Layer::Token, Retry::Attention));
    assert!(!error.next.is_empty() && error.peer_text.contains("token mismatch"));

    client
        .use_credentials(Credentials::token(Secret::new("right")))
        .await;
    let mut peer = Peer::accept(&world.listener).await;
    let connect = peer.greet().await;
    assert_eq!(connect["params"]["auth"]["token"], "right");
}

#[tokio::test]
async fn a_device_token_is_kept_used_and_forgotten_when_it_is_refused() {
    let world = World::new().await;
    let first = world.client(Some("t"));
    let mut peer = Peer::accept(&world.listener).await;
    peer.greet().await;
    first.wait_up(SOON).await.expect("up");
    first.stop().await;
    drop(peer);

    let second = world.client(None);
    let mut peer = Peer::accept(&world.listener).await;
    let connect = peer.challenge().await;
    assert_eq!(connect["params"]["auth"], json!({"token":"dt"}));
    let error = json!({"code":"INVALID_REQUEST","message":"unauthorized: device token mismatch (rotate/reissue device token)"});
    peer.refuse(&connect, error).await;
    assert_eq!(
        second.wait_up(SOON).await.expect_err("refused").layer,
        Layer::Token
    );
    assert_eq!(world.tokens.get("operator"), None);
}

/// Leads to another gateway with each dial: `first` once, then `then`.
struct Moving {
    first: Mutex<Option<TcpDialer>>,
    then: TcpDialer,
}

impl Moving {
    fn client(first: &World, then: &World, token: &str) -> Client {
        let dialer = |world: &World| {
            let credentials = Credentials::token(Secret::new(token));
            TcpDialer::new(Endpoint::loopback(world.port), credentials)
        };
        let moving = Self {
            first: Mutex::new(Some(dialer(first))),
            then: dialer(then),
        };
        let identity = Arc::new(Identity::from_seed([1; 32]));
        let options = ClientOptions::operator(identity, Arc::clone(&first.tokens));
        Client::start(Arc::new(moving), options)
    }
}

impl Dialer for Moving {
    fn dial(&self) -> Dialing<'_> {
        let first = self.first.lock().expect("not poisoned").take();
        Box::pin(async move {
            match first {
                Some(first) => first.dial().await,
                None => self.then.dial().await,
            }
        })
    }
}

fn token_mismatch() -> Value {
    let details = json!({"code":"AUTH_TOKEN_MISMATCH","canRetryWithDeviceToken":true});
    json!({"code":"INVALID_REQUEST","message":"unauthorized: gateway token mismatch","details":details})
}

#[tokio::test]
async fn what_was_typed_for_one_gateway_is_not_shown_to_the_next() {
    let (first, then) = (World::new().await, World::new().await);
    let client = Moving::client(&first, &then, "found");
    let mut peer = Peer::accept(&first.listener).await;
    let connect = peer.challenge().await;
    peer.refuse(&connect, token_mismatch()).await;
    client.wait_up(SOON).await.expect_err("refused");
    client
        .use_credentials(Credentials::token(Secret::new("typed")))
        .await;
    let mut peer = Peer::accept(&then.listener).await;
    let connect = peer.greet().await;
    assert_eq!(connect["params"]["auth"], json!({"token":"found"}));
}

#[tokio::test]
async fn a_second_chance_with_a_device_token_is_for_the_same_gateway_only() {
    let (first, then) = (World::new().await, World::new().await);
    let device_token = Some(Secret::new("dt"));
    let kept = first.tokens.set("device", "operator", device_token);
    kept.expect("kept");
    let client = Moving::client(&first, &then, "wrong");
    let mut peer = Peer::accept(&first.listener).await;
    let connect = peer.challenge().await;
    peer.refuse(&connect, token_mismatch()).await;
    // The stream to the other gateway was opened and closed, and nothing was said there.
    let (mut stream, _) = then.listener.accept().await.expect("accepted");
    let mut said = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut said)).await;
    assert_eq!((read.expect("closed").ok(), said.len()), (Some(0), 0));
    // Its turn comes with the next try.
    let mut peer = Peer::accept(&then.listener).await;
    peer.greet().await;
    client.wait_up(SOON).await.expect("up");
}

/// What the client says about a port where something else answers.
async fn said_of(answer: &'static [u8]) -> LayerError {
    let world = World::new().await;
    let client = world.client(Some("secret-token"));
    let (mut stream, _) = world.listener.accept().await.expect("accepted");
    let mut head = [0; 1024];
    let count = stream.read(&mut head).await.expect("request");
    let head = String::from_utf8_lossy(&head[..count]).into_owned();
    assert!(
        !head.contains("secret-token") && !head.contains("Origin"),
        "{head}"
    );
    stream.write_all(answer).await.expect("answered");
    drop(stream);
    let mut view = client.view();
    let waiting = view.wait_for(|view| matches!(view.status, TunnelStatus::Waiting { .. }));
    let view = timeout(SOON, waiting)
        .await
        .expect("in time")
        .expect("view");
    let TunnelStatus::Waiting { why, .. } = &view.status else {
        unreachable!()
    };
    why.clone()
}

#[tokio::test]
async fn what_is_no_gateway_is_named() {
    let web = said_of(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    assert!(web.what.contains("is a web server"), "{web:?}");
    assert_eq!(
        (web.layer, web.peer_text.as_str()),
        (Layer::Websocket, "HTTP/1.1 404 Not Found")
    );
    let ssh = said_of(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    assert!(ssh.what.contains("is an SSH server"), "{ssh:?}");
    let other = said_of(b"\x00\x01garbage\r\n").await;
    assert!(other.what.contains("is not a gateway"), "{other:?}");
    let silent = said_of(b"").await;
    assert!(silent.what.contains("closed the connection"), "{silent:?}");
}

#[tokio::test]
async fn nothing_is_shown_to_a_websocket_server_that_sends_no_challenge() {
    let world = World::new().await;
    let client = world.client(Some("secret-token"));
    let mut peer = Peer::accept(&world.listener).await;
    peer.send(json!({"hello":"world"})).await;
    let rest = timeout(SOON, peer.0.next()).await.expect("in time");
    assert!(!matches!(rest, Some(Ok(Message::Text(_)))), "{rest:?}");
    let mut view = client.view();
    let waiting = view.wait_for(|view| matches!(view.status, TunnelStatus::Waiting { .. }));
    timeout(SOON, waiting)
        .await
        .expect("in time")
        .expect("view");
}

#[tokio::test]
async fn a_call_without_a_connection_fails_at_once_and_was_not_done() {
    let world = World::new().await;
    drop(world.listener);
    let dialer = TcpDialer::new(Endpoint::loopback(world.port), Credentials::default());
    let identity = Arc::new(Identity::from_seed([1; 32]));
    let client = Client::start(
        Arc::new(dialer),
        ClientOptions::operator(identity, world.tokens),
    );
    let error = client
        .call::<Health>(HealthParams::default())
        .await
        .expect_err("no connection");
    assert!(matches!(error, CallError::NotConnected(_)), "{error}");
    client.stop().await;
    let error = client
        .call::<Health>(HealthParams::default())
        .await
        .expect_err("stopped");
    assert_eq!(error, CallError::Stopped);
}
