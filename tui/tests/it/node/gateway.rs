//! A gateway of one node: it says hello and hands out commands.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept};

use crate::support::Home;
use crate::tunnel::world::{DEADLINE, Process};

/// The listening end.
pub struct Gateway {
    listener: TcpListener,
    pub protocol: u32,
    /// The largest message that it says it takes.
    pub max_payload: u64,
}

/// A node that has connected.
pub struct Node {
    socket: WebSocket<TcpStream>,
    /// The parameters of its `connect`.
    pub connect: Value,
    pub id: String,
    next: u32,
}

impl Gateway {
    pub fn new(protocol: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            listener,
            protocol,
            max_payload: 26_214_400,
        }
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.listener.local_addr().unwrap())
    }

    /// Starts `clawline node run` for this gateway.
    pub fn start(&self, home: &Home, more: &[&str]) -> Process {
        let url = self.url();
        let mut args = vec!["node", "run", "--url", &url, "--token", "t"];
        args.extend(more);
        Process::start(home.command(&args))
    }

    /// Takes a connection up to its `connect`.
    fn greet(&self) -> (WebSocket<TcpStream>, Value, String) {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut socket = accept(stream).unwrap();
        let challenge = json!({"type": "event", "event": "connect.challenge",
            "payload": {"nonce": "n-1", "ts": 1_795_357_120_302_i64}});
        socket.send(Message::text(challenge.to_string())).unwrap();
        let request = read(&mut socket);
        assert_eq!(request["method"], "connect");
        let id = request["id"].as_str().unwrap().to_owned();
        (socket, request["params"].clone(), id)
    }

    /// Lets the node in.
    pub fn accept(&self) -> Node {
        let (mut socket, connect, id) = self.greet();
        let hello = json!({"type": "res", "id": id, "ok": true, "payload": {
            "type": "hello-ok", "protocol": self.protocol,
            "server": {"version": "2026.9.6", "connId": "c"},
            "auth": {"role": "node", "scopes": [], "deviceToken": "dt"},
            "policy": {"maxPayload": self.max_payload, "maxBufferedBytes": 52_428_800, "tickIntervalMs": 30_000},
        }});
        socket.send(Message::text(hello.to_string())).unwrap();
        let id = connect["device"]["id"].as_str().unwrap().to_owned();
        Node {
            socket,
            connect,
            id,
            next: 0,
        }
    }

    /// Turns the node away.
    pub fn refuse(&self, error: Value) {
        let (mut socket, _, id) = self.greet();
        let refusal = json!({"type": "res", "id": id, "ok": false, "error": error});
        socket.send(Message::text(refusal.to_string())).unwrap();
        let _ = socket.close(None);
        let _ = socket.flush();
    }
}

fn read(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => return serde_json::from_str(text.as_str()).unwrap(),
            Message::Close(_) => panic!("the node closed the connection"),
            _ => {}
        }
    }
}

impl Node {
    pub fn push(&mut self, event: &str, payload: Value) {
        let frame = json!({"type": "event", "event": event, "payload": payload});
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }

    /// Hands out a command; returns its id.
    pub fn begin(&mut self, command: &str, params: &Value, timeout_ms: u64) -> String {
        self.next += 1;
        let id = format!("i-{}", self.next);
        self.push(
            "node.invoke.request",
            json!({"id": id, "nodeId": self.id, "command": command, "paramsJSON": params.to_string(),
                "timeoutMs": timeout_ms, "idempotencyKey": id}),
        );
        id
    }

    /// Waits for a result, answering everything else; `Ok` is the payload.
    pub fn result(&mut self, id: &str) -> Result<Value, String> {
        let until = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < until, "no result of {id}");
            let request = self.next_request();
            if request["method"] != "node.invoke.result" || request["params"]["id"] != id {
                continue;
            }
            let params = &request["params"];
            assert_eq!(params["nodeId"], self.id.as_str());
            if params["ok"] == true {
                return Ok(serde_json::from_str(params["payloadJSON"].as_str().unwrap()).unwrap());
            }
            return Err(params["error"]["message"].as_str().unwrap().to_owned());
        }
    }

    /// The next request of the node, which is answered with `{ok: true}`.
    pub fn next_request(&mut self) -> Value {
        let request = read(&mut self.socket);
        let reply =
            json!({"type": "res", "id": request["id"], "ok": true, "payload": {"ok": true}});
        self.socket.send(Message::text(reply.to_string())).unwrap();
        request
    }

    /// Answers the next request, which is `method`, and returns its parameters.
    pub fn answer(&mut self, method: &str, payload: &Value) -> Value {
        let request = read(&mut self.socket);
        assert_eq!(request["method"], method, "{request}");
        let reply = json!({"type": "res", "id": request["id"], "ok": true, "payload": payload});
        self.socket.send(Message::text(reply.to_string())).unwrap();
        request["params"].clone()
    }

    /// Answers the node's next `method` with an error.
    pub fn refuse(&mut self, method: &str, message: &str, details: &Value) {
        loop {
            let request = read(&mut self.socket);
            if request["method"] == method {
                let error = json!({"code": "UNAVAILABLE", "message": message, "details": details});
                let reply =
                    json!({"type": "res", "id": request["id"], "ok": false, "error": error});
                self.socket.send(Message::text(reply.to_string())).unwrap();
                return;
            }
        }
    }

    pub fn invoke(&mut self, command: &str, params: &Value) -> Result<Value, String> {
        let id = self.begin(command, params, 20_000);
        self.result(&id)
    }

    /// Prepares a program, and runs it as a gateway does that somebody approved it at.
    pub fn run_approved(&mut self, params: &Value) -> Result<Value, String> {
        let prepared = self.invoke("system.run.prepare", params)?;
        let id = self.begin("system.run", &approved(params, &prepared), 20_000);
        self.result(&id)
    }

    /// Whether the node ends the connection within `limit`.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        self.socket.get_ref().set_read_timeout(Some(limit)).unwrap();
        while Instant::now() < until {
            if self.socket.read().is_err() {
                return true;
            }
        }
        false
    }
}

/// The parameters of `system.run` once somebody approved what was prepared.
pub fn approved(params: &Value, prepared: &Value) -> Value {
    let mut params = params.clone();
    params["command"] = prepared["plan"]["argv"].clone();
    params["rawCommand"] = prepared["plan"]["commandText"].clone();
    params["cwd"] = prepared["plan"]["cwd"].clone();
    params["approved"] = true.into();
    params["approvalDecision"] = "allow-once".into();
    params["runId"] = prepared["digest"].clone();
    params
}
