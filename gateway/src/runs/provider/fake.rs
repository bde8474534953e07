//! A model server of the tests: one HTTP answer after another, spelled out byte by byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// One answer.
pub(super) struct Reply {
    pub(super) status: &'static str,
    pub(super) content_type: &'static str,
    /// Where a redirect leads.
    pub(super) location: Option<String>,
    /// Sent as chunks of the body.
    pub(super) pieces: Vec<String>,
    /// The closing chunk follows; otherwise the socket is closed in the middle.
    pub(super) complete: bool,
}

impl Reply {
    /// An event stream of these data lines.
    pub(super) fn events(data: &[&str]) -> Self {
        Self {
            status: "200 OK",
            content_type: "text/event-stream",
            location: None,
            pieces: data
                .iter()
                .map(|data| format!("data: {data}\n\n"))
                .collect(),
            complete: true,
        }
    }

    /// A failure with a JSON body.
    pub(super) fn failure(status: &'static str, body: &str) -> Self {
        Self {
            status,
            content_type: "application/json",
            location: None,
            pieces: vec![body.to_owned()],
            complete: true,
        }
    }
}

/// The running server; stops when dropped.
pub(super) struct FakeModel {
    pub(super) url: String,
    /// Each request: head and body as they came.
    pub(super) requests: mpsc::Receiver<(String, String)>,
    task: JoinHandle<()>,
}

impl FakeModel {
    pub(super) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tx, requests) = mpsc::channel(16);
        let task = tokio::spawn(async move {
            for reply in replies {
                let (mut socket, _) = listener.accept().await.unwrap();
                let request = read_request(&mut socket).await;
                tx.send(request).await.unwrap();
                answer(&mut socket, &reply).await;
            }
        });
        Self {
            url,
            requests,
            task,
        }
    }
}

impl Drop for FakeModel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read_request(socket: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        read_more(socket, &mut bytes).await;
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length: usize = head
        .lines()
        .find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length:")
                .map(str::to_owned)
        })
        .map_or(0, |length| length.trim().parse().unwrap());
    while bytes.len() < head_end + length {
        read_more(socket, &mut bytes).await;
    }
    (head, String::from_utf8(bytes[head_end..].to_vec()).unwrap())
}

async fn read_more(socket: &mut TcpStream, bytes: &mut Vec<u8>) {
    let read = socket.read_buf(bytes).await.unwrap();
    assert!(read > 0, "the request ended early");
}

async fn answer(socket: &mut TcpStream, reply: &Reply) {
    let location = reply.location.as_ref();
    let location = location.map_or_else(String::new, |to| format!("location: {to}\r\n"));
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: {}\r\n{location}transfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        reply.status, reply.content_type
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    for piece in &reply.pieces {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        socket.write_all(chunk.as_bytes()).await.unwrap();
        socket.flush().await.unwrap();
    }
    if reply.complete {
        socket.write_all(b"0\r\n\r\n").await.unwrap();
    }
    socket.shutdown().await.unwrap();
}
