//! A TCP relay that can delay, stall and cut what goes through it: the network between laptop and server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Bytes that are on the way at most, a direction: what a link of 1 GB/s and 64 ms holds.
const IN_FLIGHT_PIECES: usize = 1024;

/// What the relay does with connections. Each change ends one generation of connections and begins
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fate {
    generation: u64,
    /// Connections of this generation and older ones carry nothing more, with their sockets open.
    silent_up_to: u64,
    /// Connections of this generation and older ones are reset.
    cut_up_to: u64,
}

/// A relay on a loopback port of its own. Everything ends when it is dropped.
pub struct Relay {
    pub addr: SocketAddr,
    fate: watch::Sender<Fate>,
    open: Arc<AtomicUsize>,
    forwarded: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

#[allow(dead_code)]
impl Relay {
    /// In front of `server`, each direction `delay` late.
    pub async fn start(server: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let fate = watch::Sender::new(Fate {
            generation: 1,
            silent_up_to: 0,
            cut_up_to: 0,
        });
        let (open, forwarded) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (fates, counter, pieces) = (fate.subscribe(), open.clone(), forwarded.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let mut fates = fates.clone();
                let (counter, pieces) = (counter.clone(), pieces.clone());
                connections.spawn(async move {
                    let generation = fates.borrow_and_update().generation;
                    let Ok(far) = TcpStream::connect(server).await else {
                        return;
                    };
                    counter.fetch_add(1, Ordering::SeqCst);
                    tokio::select! {
                        () = both_ways(near, far, delay, generation, (fates.clone(), pieces)) => {}
                        _ = fates.wait_for(|fate| fate.cut_up_to >= generation) => {}
                    }
                    counter.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            addr,
            fate,
            open,
            forwarded,
            task,
        }
    }

    /// Connections from before this moment carry nothing more, their sockets stay open; new ones work.
    pub fn silence_old_ones(&self) {
        self.fate.send_modify(|fate| {
            fate.silent_up_to = fate.generation;
            fate.generation += 1;
        });
    }

    /// Nothing is carried until [`Relay::heal`], on no connection.
    pub fn silence_everything(&self) {
        self.fate.send_modify(|fate| fate.silent_up_to = u64::MAX);
    }

    /// What was held back by [`Relay::silence_everything`] or [`Relay::silence_old_ones`] goes on.
    pub fn heal(&self) {
        self.fate.send_modify(|fate| fate.silent_up_to = 0);
    }

    /// Ends the connections from before this moment; new ones work.
    pub fn cut_old_ones(&self) {
        self.fate.send_modify(|fate| {
            fate.cut_up_to = fate.generation;
            fate.generation += 1;
        });
    }

    /// Connections that it holds open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Pieces that went through it towards the server so far.
    pub fn forwarded(&self) -> usize {
        self.forwarded.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn both_ways(
    near: TcpStream,
    far: TcpStream,
    delay: Duration,
    generation: u64,
    (fates, to_server): (watch::Receiver<Fate>, Arc<AtomicUsize>),
) {
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(
        one_way(
            near_read,
            far_write,
            delay,
            generation,
            (fates.clone(), to_server)
        ),
        one_way(
            far_read,
            near_write,
            delay,
            generation,
            (fates, Arc::default())
        ),
    );
}

async fn one_way(
    mut read: tokio::net::tcp::OwnedReadHalf,
    mut write: tokio::net::tcp::OwnedWriteHalf,
    delay: Duration,
    generation: u64,
    (mut fates, pieces): (watch::Receiver<Fate>, Arc<AtomicUsize>),
) {
    let (into_line, mut line) = mpsc::channel::<(Instant, Vec<u8>)>(IN_FLIGHT_PIECES);
    let reading = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let got = read.read(&mut buffer).await.unwrap_or(0);
            let piece = buffer[..got].to_vec();
            if into_line
                .send((Instant::now() + delay, piece))
                .await
                .is_err()
                || got == 0
            {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = line.recv().await {
            tokio::time::sleep_until(due).await;
            let speaks = fates.wait_for(|fate| fate.silent_up_to < generation);
            if speaks.await.is_err() {
                return;
            }
            if piece.is_empty() {
                let _ = write.shutdown().await;
                return;
            }
            if write.write_all(&piece).await.is_err() {
                return;
            }
            pieces.fetch_add(1, Ordering::SeqCst);
        }
    };
    tokio::join!(reading, writing);
}
