//! A model that answers when a test says so.

use std::time::Duration;

use clawline_gateway::runs::ModelsConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Nothing in these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// Its server.
pub struct HeldModel(TcpListener);

/// A question that waits for its answer.
pub struct Asked(TcpStream);

impl HeldModel {
    pub async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// Settings that have it as their only model.
    pub fn settings(&self) -> ModelsConfig {
        let url = format!("http://{}/v1", self.0.local_addr().unwrap());
        let held = json!({"kind": "openai", "baseUrl": url, "apiKey": "k", "models": ["m"]});
        serde_json::from_value(json!({"default": "held/m", "providers": {"held": held}})).unwrap()
    }

    /// The next question, once it is asked.
    pub async fn asked(&mut self) -> Asked {
        let asked = async {
            let (mut stream, _) = self.0.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.unwrap().parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            Asked(stream)
        };
        let asked = tokio::time::timeout(DEADLINE, asked).await;
        asked.expect("the model was not asked")
    }
}

impl Asked {
    /// Answers it with this text.
    pub async fn answer(mut self, text: &str) {
        let piece = json!({"choices": [
            {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": "stop"},
        ]});
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {piece}\n\ndata: [DONE]\n\n"
        );
        self.0.write_all(answer.as_bytes()).await.unwrap();
        self.0.shutdown().await.unwrap();
    }
}
