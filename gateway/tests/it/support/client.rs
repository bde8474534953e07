//! A client that does as it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use clawline::identity::Identity;
use clawline::protocol::device_auth::{Payload, PayloadVersion};
use clawline::protocol::limits::MAX_MESSAGE;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::schema;

/// Nothing in these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Client {
    ws: WebSocketStream<TcpStream>,
    /// Of the challenge.
    pub nonce: String,
    pub ts: i64,
    /// Frames that came while another one was waited for.
    pub skipped: Vec<Value>,
    /// Every frame that came.
    pub seen: Vec<Value>,
    next_id: u64,
    /// Methods of the calls that were sent, by id: what is received is held against the schema.
    methods: HashMap<String, String>,
    /// The version that hello named.
    version: Option<u64>,
}

/// A `connect` to be changed before it is sent.
#[derive(Clone)]
pub struct Connect {
    pub params: Value,
    pub device: Option<Device>,
}

#[derive(Clone)]
pub struct Device {
    pub identity: Identity,
    pub version: PayloadVersion,
    /// Another id than the key's own.
    pub claimed_id: Option<String>,
}

impl Device {
    pub fn new(seed: u8) -> Self {
        Self {
            identity: Identity::from_seed([seed; 32]),
            version: PayloadVersion::V3,
            claimed_id: None,
        }
    }
}

impl Connect {
    /// The official command line's: no device, all scopes that were named.
    pub fn cli(version: u32, token: &str, scopes: &[&str]) -> Self {
        Self {
            params: json!({
                "minProtocol": version, "maxProtocol": version,
                "client": {"id": "cli", "mode": "cli", "version": "1", "platform": "linux"},
                "caps": [], "role": "operator", "scopes": scopes, "auth": {"token": token},
            }),
            device: None,
        }
    }

    pub fn with_device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Sets a member by its path.
    pub fn set(mut self, path: &str, value: Value) -> Self {
        let (parent, name) = path.rsplit_once('/').unwrap();
        self.params.pointer_mut(parent).unwrap()[name] = value;
        self
    }

    /// Removes a member by its path.
    pub fn without(mut self, path: &str) -> Self {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = self.params.pointer_mut(parent).unwrap();
        parent.as_object_mut().unwrap().remove(name);
        self
    }

    /// The parameters with the device's proof for a challenge.
    pub fn signed(&self, nonce: &str, ts: i64) -> Value {
        let mut params = self.params.clone();
        let Some(device) = &self.device else {
            return params;
        };
        let text = |pointer: &str| {
            let value = params.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let scopes: Vec<String> = params["scopes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|scope| scope.as_str().map(str::to_owned))
            .collect();
        let role = text("/role");
        let token = ["/auth/token", "/auth/deviceToken", "/auth/bootstrapToken"]
            .into_iter()
            .map(text)
            .find(|token| !token.is_empty())
            .unwrap_or_default();
        // Members that a test has set stay as they are; what is signed of them is what was set.
        let set = params["device"].clone();
        let signed_at = set["signedAt"].as_i64().unwrap_or(ts);
        let signed_nonce = set["nonce"].as_str().unwrap_or(nonce);
        let own_id = device.identity.device_id();
        let device_id = device.claimed_id.as_deref().unwrap_or(own_id);
        let payload = Payload {
            device_id,
            client_id: &text("/client/id"),
            client_mode: &text("/client/mode"),
            role: if role.is_empty() { "operator" } else { &role },
            scopes: &scopes,
            signed_at,
            token: &token,
            nonce: signed_nonce,
            platform: &text("/client/platform"),
            device_family: &text("/client/deviceFamily"),
        };
        let proof = json!({
            "id": device_id, "publicKey": device.identity.public_key(),
            "signature": device.identity.sign(&payload, device.version),
            "signedAt": ts, "nonce": nonce,
        });
        params["device"] = proof;
        for (name, value) in set.as_object().into_iter().flatten() {
            params["device"][name] = value.clone();
        }
        params["device"]
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        params
    }
}

impl Client {
    /// An open socket that has seen its challenge.
    pub async fn open(address: SocketAddr) -> Self {
        Self::try_open(address, &[]).await.unwrap()
    }

    /// As [`Client::open`], with a system that buffers next to nothing for it.
    pub async fn open_with_small_buffer(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(address).await.unwrap();
        Self::over(stream, address, "/", &[]).await.unwrap()
    }

    /// As [`Client::open`], with headers; a refusal is the HTTP status and body.
    pub async fn try_open(
        address: SocketAddr,
        headers: &[(&str, &str)],
    ) -> Result<Self, (u16, String)> {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(stream, address, "/", headers).await
    }

    /// As [`Client::open`], with a path and a query of its own.
    pub async fn open_at(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(stream, address, path, &[]).await.unwrap()
    }

    async fn over(
        stream: TcpStream,
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, (u16, String)> {
        let mut request = http::Request::builder()
            .uri(format!("ws://{address}{path}"))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let host = address.to_string();
        for (name, value) in [("host", host.as_str()), ("sec-websocket-version", "13")] {
            if !headers.iter().any(|(given, _)| *given == name) {
                request = request.header(name, value);
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        // As large as official clients take it.
        let config = WebSocketConfig::default().max_frame_size(Some(MAX_MESSAGE));
        let opened =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let ws = match opened {
            Ok((ws, _)) => ws,
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                let body = String::from_utf8(body).unwrap();
                return Err((response.status().as_u16(), body));
            }
            Err(error) => panic!("{error}"),
        };
        let mut client = Self {
            ws,
            nonce: String::new(),
            ts: 0,
            skipped: Vec::new(),
            seen: Vec::new(),
            next_id: 0,
            methods: HashMap::new(),
            version: None,
        };
        let challenge = client.frame().await;
        assert_eq!(challenge["event"], "connect.challenge");
        client.nonce = challenge["payload"]["nonce"].as_str().unwrap().to_owned();
        client.ts = challenge["payload"]["ts"].as_i64().unwrap();
        Ok(client)
    }

    /// A greeted client, and its hello.
    pub async fn connect(address: SocketAddr, connect: &Connect) -> (Self, Value) {
        let mut client = Self::open(address).await;
        let response = client.greet(connect).await;
        assert_eq!(response["ok"], true, "{response}");
        (client, response["payload"].clone())
    }

    /// The answer to a `connect`, and the close that followed a refusal.
    pub async fn refused(address: SocketAddr, connect: &Connect) -> (Value, u16, String) {
        let mut client = Self::open(address).await;
        let response = client.greet(connect).await;
        assert_eq!(response["ok"], false, "{response}");
        let (code, reason) = client.closed().await;
        (response["error"].clone(), code, reason)
    }

    /// Sends a `connect` for this challenge; the answer.
    pub async fn greet(&mut self, connect: &Connect) -> Value {
        let params = connect.signed(&self.nonce, self.ts);
        self.send(&json!({"type": "req", "id": "c1", "method": "connect", "params": params}))
            .await;
        self.frame().await
    }

    /// As [`Client::greet`], where the connection may have been closed: then there is no answer.
    pub async fn try_greet(&mut self, connect: &Connect) -> Option<Value> {
        let params = connect.signed(&self.nonce, self.ts);
        let call = json!({"type": "req", "id": "c1", "method": "connect", "params": params});
        self.expect_answer("c1", "connect");
        self.ws.send(Message::text(call.to_string())).await.ok()?;
        loop {
            let next = tokio::time::timeout(DEADLINE, self.ws.next()).await;
            match next.expect("nothing came in time")?.ok()? {
                Message::Text(text) => return serde_json::from_str(&text).ok(),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    pub async fn send(&mut self, frame: &Value) {
        if let (Some(id), Some(method)) = (frame["id"].as_str(), frame["method"].as_str()) {
            self.expect_answer(id, method);
        }
        self.send_text(frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: String) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.ws.send(message).await.unwrap();
    }

    /// The next frame, whatever it is.
    pub async fn frame(&mut self) -> Value {
        match self.message().await {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                self.seen.push(frame.clone());
                frame
            }
            other => panic!("a text was expected, not {other:?}"),
        }
    }

    async fn message(&mut self) -> Message {
        tokio::time::timeout(DEADLINE, self.message_at_last())
            .await
            .expect("nothing came in time")
    }

    async fn message_at_last(&mut self) -> Message {
        loop {
            match self.ws.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => {
                    if let Message::Text(text) = &message {
                        self.check(text);
                    }
                    return message;
                }
                other => panic!("the socket ended: {other:?}"),
            }
        }
    }

    /// Fails the test when a frame is not what a client of this version may be sent.
    fn check(&mut self, text: &str) {
        let frame: Value = serde_json::from_str(text).unwrap();
        if let Err(why) = self.verdict(&frame) {
            panic!("a frame that no client should see: {why}");
        }
    }

    /// An answer with this id is one to this method.
    pub fn expect_answer(&mut self, id: &str, method: &str) {
        self.methods.insert(id.to_owned(), method.to_owned());
    }

    /// What is wrong with a frame, for the version of this connection.
    pub fn verdict(&mut self, frame: &Value) -> Result<(), String> {
        schema::check_frame(frame)?;
        let payload = &frame["payload"];
        let method = frame["id"].as_str().and_then(|id| self.methods.get(id));
        if method.is_some_and(|method| method == "connect") && frame["ok"] == true {
            self.version = payload["protocol"].as_u64();
        }
        if self.version == Some(3) {
            return schema::check_v3(frame);
        }
        match (frame["event"].as_str(), method) {
            (Some(event), _) => schema::check_event(event, payload),
            (None, Some(method)) if frame["ok"] == true => schema::check_answer(method, payload),
            _ => Ok(()),
        }
    }

    /// The close, however long it takes: for a clock that is paused.
    pub async fn closed_at_last(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(Some(close)) = self.message_at_last().await {
                return (close.code.into(), close.reason.as_str().to_owned());
            }
        }
    }

    /// The next answer, or the close.
    pub async fn frame_or_close(&mut self) -> Result<Value, (u16, String)> {
        loop {
            match self.message().await {
                Message::Close(close) => {
                    let close = close.unwrap();
                    return Err((close.code.into(), close.reason.as_str().to_owned()));
                }
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["type"] == "res" {
                        return Ok(frame);
                    }
                }
                _ => {}
            }
        }
    }

    /// The close, after whatever still comes.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.message().await {
                Message::Close(Some(close)) => {
                    return (close.code.into(), close.reason.as_str().to_owned());
                }
                Message::Close(None) => return (1005, String::new()),
                _ => {}
            }
        }
    }

    /// Whether a call is answered: not once the connection has been closed, however it was.
    pub async fn is_answered(&mut self) -> bool {
        let call = json!({"type": "req", "id": "still", "method": "health"});
        if self.ws.send(Message::text(call.to_string())).await.is_err() {
            return false;
        }
        loop {
            let next = tokio::time::timeout(DEADLINE, self.ws.next()).await;
            match next.expect("nothing came in time") {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["id"] == "still" {
                        return true;
                    }
                    self.seen.push(frame);
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Calls a method; the whole response frame.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.start(method, params).await;
        self.response(&id).await
    }

    /// Calls a method that must succeed; the payload.
    pub async fn ok(&mut self, method: &str, params: Value) -> Value {
        let response = self.call(method, params).await;
        assert_eq!(response["ok"], true, "{method}: {response}");
        response["payload"].clone()
    }

    /// Calls a method that must fail; the error.
    pub async fn error(&mut self, method: &str, params: Value) -> Value {
        let response = self.call(method, params).await;
        assert_eq!(response["ok"], false, "{method}: {response}");
        response["error"].clone()
    }

    /// Sends a call without waiting; its id.
    pub async fn start(&mut self, method: &str, params: Value) -> String {
        self.next_id += 1;
        let id = format!("t{}", self.next_id);
        self.send(&json!({"type": "req", "id": id, "method": method, "params": params}))
            .await;
        id
    }

    /// The (next) response to a call.
    pub async fn response(&mut self, id: &str) -> Value {
        self.until(|frame| frame["type"] == "res" && frame["id"] == id)
            .await
    }

    /// The next event of this name.
    pub async fn event(&mut self, name: &str) -> Value {
        self.until(|frame| frame["type"] == "event" && frame["event"] == name)
            .await
    }

    /// The next frame that fits; others are kept in `skipped`.
    pub async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.skipped.iter().position(&fits) {
            return self.skipped.remove(at);
        }
        loop {
            let frame = self.frame().await;
            if fits(&frame) {
                return frame;
            }
            self.skipped.push(frame);
        }
    }
}
