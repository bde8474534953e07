//! A server on the far side that sends back what it gets and counts who is there, and the other half of
//! that talk: bytes that cannot be mistaken for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clawline::tunnel::spec::RemoteEnd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An echo server on a loopback port of its own. Ends when dropped.
pub struct FarEnd {
    /// Its port.
    pub port: u16,
    open: Arc<AtomicUsize>,
    served: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

#[allow(dead_code)]
impl FarEnd {
    /// Starts it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, served) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (here, all) = (open.clone(), served.clone());
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let here = here.clone();
                here.fetch_add(1, Ordering::SeqCst);
                all.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let (mut read, mut write) = socket.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    let _ = write.shutdown().await;
                    here.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            port,
            open,
            served,
            task,
        }
    }

    /// As the far side's loopback sees it.
    pub fn remote(&self) -> RemoteEnd {
        RemoteEnd::loopback(self.port)
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `length` bytes that no other `seed` has, and that differ wherever they are shifted.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut all = Vec::with_capacity(length + 8);
    while all.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend_from_slice(&state.to_le_bytes());
    }
    all.truncate(length);
    all
}

/// What came back of a talk.
#[derive(Debug, PartialEq, Eq)]
pub enum Talk {
    /// Every byte, and then the end.
    Whole,
    /// The connection failed after so many right bytes.
    Cut(usize),
    /// It ended as if whole, with bytes missing.
    Short(usize),
    /// Other bytes than were sent.
    Wrong,
}

/// Sends `sent`, ends the sending half, and reads everything back.
pub async fn talk<S>(stream: S, sent: Vec<u8>) -> Talk
where
    S: AsyncRead + AsyncWrite,
{
    let (mut read, mut write) = tokio::io::split(stream);
    let mut back = Vec::with_capacity(sent.len());
    let sending = async {
        write.write_all(&sent).await?;
        write.shutdown().await
    };
    // The kernel tells a reset to one of both halves only; the other one sees an end.
    let (was_sent, was_read) = tokio::join!(sending, read.read_to_end(&mut back));
    match (was_sent, was_read) {
        _ if sent.get(..back.len()) != Some(back.as_slice()) => Talk::Wrong,
        (Ok(()), Ok(_)) if back.len() == sent.len() => Talk::Whole,
        (Ok(()), Ok(_)) => Talk::Short(back.len()),
        _ => Talk::Cut(back.len()),
    }
}

/// Sends a block and reads it back, again and again, until the connection ends; `begun` is called once,
/// when the first one is back.
pub async fn talk_until_cut<S>(mut stream: S, block: Vec<u8>, begun: impl FnOnce()) -> Talk
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut done = 0;
    let mut begun = Some(begun);
    let mut back = vec![0; block.len()];
    loop {
        if stream.write_all(&block).await.is_err() {
            return Talk::Cut(done);
        }
        match stream.read_exact(&mut back).await {
            Ok(_) if back == block => {
                done += block.len();
                if let Some(begun) = begun.take() {
                    begun();
                }
            }
            Ok(_) => return Talk::Wrong,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Talk::Short(done);
            }
            Err(_) => return Talk::Cut(done),
        }
    }
}
