//! A socket that sends whatever bytes it is told to.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Connect;

/// Nothing in these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// First byte of a frame: text, binary, ping, and the rest of a message.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const PING: u8 = 0x89;

/// Sends these bytes as they are; all that comes back until the end.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other end may stop reading before all is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the connection did not end in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer; 0 when there was none.
pub fn status(answer: &str) -> u16 {
    let word = answer.split(' ').nth(1).unwrap_or_default();
    word.parse().unwrap_or(0)
}

/// A frame as clients send it: masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..65536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend(u64::try_from(len).unwrap().to_be_bytes());
        }
    }
    let mask = [0x11, 0x22, 0x33, 0x44];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

/// The next frame of a stream: its first byte and its payload; `None` at the end.
async fn next(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    timeout(DEADLINE, async {
        let first = stream.read_u8().await.ok()?;
        let len = match stream.read_u8().await.ok()? {
            126 => u64::from(stream.read_u16().await.ok()?),
            127 => stream.read_u64().await.ok()?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        Some((first, payload))
    })
    .await
    .expect("nothing came in time")
}

fn close_of(payload: &[u8]) -> (u16, String) {
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    (code, String::from_utf8(payload[2..].to_vec()).unwrap())
}

/// An upgraded connection.
pub struct Raw {
    stream: TcpStream,
    challenge: Value,
}

impl Raw {
    /// Upgrades, and has seen its challenge.
    pub async fn open(address: SocketAddr) -> Self {
        Self::open_offering(address, "").await.0
    }

    /// As [`Raw::open`], with more header lines; the head of the answer comes back too.
    pub async fn open_offering(address: SocketAddr, lines: &str) -> (Self, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        let mut raw = Self {
            stream,
            challenge: Value::Null,
        };
        raw.challenge = raw.json().await;
        (raw, answer)
    }

    /// An upgraded connection that was greeted.
    pub async fn greeted(address: SocketAddr, connect: &Connect) -> Self {
        let mut raw = Self::open(address).await;
        raw.text(&raw.connect_text(connect)).await;
        let answer = raw.json().await;
        assert_eq!(answer["ok"], true, "{answer}");
        raw
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // Whoever is refused in the middle cannot send the rest.
        let _ = self.stream.write_all(bytes).await;
    }

    pub async fn text(&mut self, text: &str) {
        self.send(&frame(TEXT, text.as_bytes())).await;
    }

    /// The next frame: its first byte and its payload; `None` at the end.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        next(&mut self.stream).await
    }

    /// Sends these bytes while it listens for a refusal: code 0 once any text comes, or the close.
    pub async fn send_until_told(&mut self, bytes: &[u8]) -> (u16, String) {
        let (mut read, mut write) = self.stream.split();
        let told = async {
            loop {
                match next(&mut read).await {
                    None => return (1006, String::new()),
                    Some((TEXT, _)) => return (0, String::new()),
                    Some((0x88, payload)) => return close_of(&payload),
                    Some(_) => {}
                }
            }
        };
        tokio::pin!(told);
        tokio::select! {
            told = &mut told => told,
            // Whoever is refused in the middle cannot send the rest.
            _ = write.write_all(bytes) => told.await,
        }
    }

    /// The text of a `connect` for this challenge.
    pub fn connect_text(&self, connect: &Connect) -> String {
        let payload = &self.challenge["payload"];
        let nonce = payload["nonce"].as_str().unwrap();
        let params = connect.signed(nonce, payload["ts"].as_i64().unwrap());
        json!({"type": "req", "id": "c1", "method": "connect", "params": params}).to_string()
    }

    /// The next text as JSON; pings and pongs are passed over.
    pub async fn json(&mut self) -> Value {
        loop {
            let (first, payload) = self.next().await.expect("a text was expected, not the end");
            match first {
                TEXT => return serde_json::from_slice(&payload).unwrap(),
                0x88 => panic!("a text was expected, not a close: {payload:?}"),
                _ => {}
            }
        }
    }

    /// The answer to a call: other texts are passed over.
    pub async fn answer(&mut self, id: &str) -> Value {
        loop {
            let frame = self.json().await;
            if frame["type"] == "res" && frame["id"] == id {
                return frame;
            }
        }
    }

    /// The next answer, whatever it answers.
    pub async fn any_answer(&mut self) -> Value {
        loop {
            let frame = self.json().await;
            if frame["type"] == "res" {
                return frame;
            }
        }
    }

    /// The code and reason of the close; code 0 when the connection ended without one.
    pub async fn close(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                None => return (0, String::new()),
                Some((0x88, payload)) if payload.len() >= 2 => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
                }
                Some((0x88, _)) => return (1005, String::new()),
                Some(_) => {}
            }
        }
    }

    /// Code 0 once any text comes, or the close.
    pub async fn close_or_text(&mut self) -> (u16, String) {
        self.close_or(|_| true).await
    }

    /// Code 0 once this call is answered, or the close.
    pub async fn close_or_answer(&mut self, id: &str) -> (u16, String) {
        self.close_or(|frame| frame["id"] == id).await
    }

    async fn close_or(&mut self, fits: impl Fn(&Value) -> bool) -> (u16, String) {
        loop {
            match self.next().await {
                None => return (1006, String::new()),
                Some((TEXT, payload)) => {
                    if fits(&serde_json::from_slice(&payload).unwrap()) {
                        return (0, String::new());
                    }
                }
                Some((0x88, payload)) => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
                }
                Some(_) => {}
            }
        }
    }

    /// Pongs until a text comes, or the end: whether it was a text.
    pub async fn pongs(&mut self) -> (usize, bool) {
        let mut count = 0;
        loop {
            match self.next().await {
                Some((0x8a, _)) => count += 1,
                Some((TEXT, _)) => return (count, true),
                None | Some((0x88, _)) => return (count, false),
                Some(_) => {}
            }
        }
    }
}
