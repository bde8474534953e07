//! Links that die without a word, peers that are no SSH servers, and attempts that are given up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clawline::layer::{Layer, LayerError, Retry};
use clawline::loopback_ssh::{LoopbackOptions, LoopbackSsh};
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::{HopSpec, RemoteEnd};
use clawline::tunnel::{Tunnel, TunnelOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::support::{
    BUSY, Echo, PATIENCE, SshWorld, closed_port, echo_works, eventually, spec_of, until_up,
    view_where, why,
};

/// A relay in front of a server that can stop carrying anything, in both directions, with its
/// sockets open: what a network does that drops packets.
struct Relay {
    addr: SocketAddr,
    frozen: Arc<AtomicBool>,
    thaw: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Relay {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let frozen = Arc::new(AtomicBool::new(false));
        let thaw = Arc::new(Notify::new());
        let (frozen_flag, thawed) = (frozen.clone(), thaw.clone());
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(server).await else {
                    continue;
                };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                for (read, write) in [(near_read, far_write), (far_read, near_write)] {
                    tokio::spawn(carry(read, write, frozen_flag.clone(), thawed.clone()));
                }
            }
        });
        Self {
            addr,
            frozen,
            thaw,
            task,
        }
    }

    fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    /// New connections work again; those from before the freeze stay dead.
    fn carry_new_ones(&self) {
        self.frozen.store(false, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        self.thaw.notify_waiters();
    }
}

async fn carry(
    mut read: tokio::net::tcp::OwnedReadHalf,
    mut write: tokio::net::tcp::OwnedWriteHalf,
    frozen: Arc<AtomicBool>,
    thaw: Arc<Notify>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(got) = read.read(&mut buffer).await else {
            return;
        };
        if frozen.load(Ordering::SeqCst) {
            // Holds both sockets open and moves nothing until the test ends.
            thaw.notified().await;
            return;
        }
        if got == 0 || write.write_all(&buffer[..got]).await.is_err() {
            return;
        }
    }
}

const INTERVAL: Duration = Duration::from_millis(300);
const COUNT_MAX: u32 = 2;
/// `interval * (max + 1) + 1 s`, the figure that is promised.
const NOTICED: Duration = Duration::from_millis(300 * 3 + 1000);

/// The way through the relay, with short intervals.
fn hop_through(world: &SshWorld, relay: &Relay) -> HopSpec {
    let mut hop = world.hop();
    hop.host_key_alias = Some("behind-relay".into());
    hop.port = relay.addr.port();
    hop.alive_interval = Some(INTERVAL);
    hop.alive_count_max = Some(COUNT_MAX);
    let key = world.server.host_key.to_openssh().unwrap();
    std::fs::write(world.known_hosts(), format!("behind-relay {key}\n")).unwrap();
    hop
}

async fn start_through(world: &SshWorld, relay: &Relay) -> Tunnel {
    let spec = spec_of(hop_through(world, relay));
    let tunnel = Tunnel::start(spec, Prompter::nobody(), TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    tunnel
}

async fn noticed_after(tunnel: &Tunnel) -> Duration {
    let frozen = Instant::now();
    let mut view = tunnel.view();
    let down = view_where(&mut view, "down", |view| !view.status.is_up()).await;
    if let Some(why) = why(&down) {
        assert_eq!(why.layer, Layer::Ssh, "{why}");
    }
    frozen.elapsed()
}

#[tokio::test]
async fn an_idle_half_open_link_is_noticed_and_replaced() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let relay = Relay::to(world.server.addr).await;
    let tunnel = start_through(&world, &relay).await;
    relay.freeze();
    let took = noticed_after(&tunnel).await;
    assert!(took < NOTICED + BUSY, "{took:?}");
    relay.carry_new_ones();
    let up = until_up(&mut tunnel.view()).await;
    assert!(up.generation > 1);
}

#[tokio::test]
async fn a_half_open_link_with_a_busy_writer_is_noticed_as_fast_and_wakes_the_writer() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let relay = Relay::to(world.server.addr).await;
    let sink = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = RemoteEnd::loopback(sink.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (mut socket, _) = sink.accept().await.unwrap();
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
    });
    let tunnel = start_through(&world, &relay).await;
    let mut stream = tunnel.open(&remote).await.unwrap();
    let writer = tokio::spawn(async move {
        let piece = vec![0; 64 * 1024];
        while stream.write_all(&piece).await.is_ok() {}
    });
    relay.freeze();
    let took = noticed_after(&tunnel).await;
    assert!(took < NOTICED + BUSY, "{took:?}");
    tokio::time::timeout(PATIENCE, writer)
        .await
        .expect("the writer was woken")
        .unwrap();
}

#[tokio::test]
async fn a_probe_notices_a_dead_link_in_two_seconds() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let relay = Relay::to(world.server.addr).await;
    let mut hop = hop_through(&world, &relay);
    hop.alive_interval = Some(Duration::from_secs(60));
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    // On a machine that stood still for two seconds the first answer comes too late.
    let healthy = async { while tunnel.probe_now().await.is_none() {} };
    tokio::time::timeout(PATIENCE, healthy).await.unwrap();
    assert!(tunnel.round_trip().is_some());
    relay.freeze();
    let asked = Instant::now();
    assert_eq!(tunnel.probe_now().await, None);
    assert!(asked.elapsed() < Duration::from_secs(2) + BUSY);
    relay.carry_new_ones();
    let mut view = tunnel.view();
    view_where(&mut view, "up again", |view| view.generation > 1).await;
}

/// What a tunnel says of a server that answers like this.
async fn said_of(answer: &'static [u8]) -> LayerError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 64];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(answer).await;
        }
    });
    let options = TunnelOptions {
        once: true,
        ..TunnelOptions::default()
    };
    let spec = spec_of(HopSpec::bare("127.0.0.1", port, "me"));
    let tunnel = Tunnel::start(spec, Prompter::nobody(), options);
    tunnel.wait_up(PATIENCE).await.unwrap_err()
}

#[tokio::test]
async fn what_is_no_ssh_server_is_named() {
    let table: [(&'static [u8], &str, Retry); 5] = [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "is an HTTP server",
            Retry::Later,
        ),
        (
            b"Exceeded MaxStartups\r\n",
            "has too many sign-ins under way",
            Retry::Backoff,
        ),
        (
            b"Not allowed at this time\r\n",
            "is penalising this address",
            Retry::Later,
        ),
        (
            b"220 mail ESMTP\r\n",
            "is a mail or FTP server",
            Retry::Later,
        ),
        (
            b"",
            "closed the connection before its SSH banner",
            Retry::Backoff,
        ),
    ];
    for (answer, words, retry) in table {
        let error = said_of(answer).await;
        assert_eq!((error.layer, error.retry), (Layer::Ssh, retry), "{error}");
        assert!(error.what.contains(words), "{error}");
    }
}

#[tokio::test]
async fn attempts_that_are_given_up_leave_no_socket() {
    let server = LoopbackSsh::start(LoopbackOptions {
        // Long enough for the client to be given up before the banner comes.
        delay: Duration::from_millis(300),
        ..LoopbackOptions::default()
    })
    .await
    .unwrap();
    let hop = HopSpec::bare("127.0.0.1", server.addr.port(), "me");
    for round in 0..20 {
        let tunnel = Tunnel::start(
            spec_of(hop.clone()),
            Prompter::nobody(),
            TunnelOptions::default(),
        );
        eventually("accepted", || server.accepted() > round).await;
        drop(tunnel);
    }
    eventually("no connection left", || server.connections() == 0).await;
}

#[tokio::test]
async fn an_open_that_is_given_up_closes_its_channel() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = RemoteEnd::loopback(listener.local_addr().unwrap().port());
    let tunnel = Tunnel::start(world.spec(), Prompter::nobody(), TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    for _ in 0..5 {
        let opening = tokio::time::timeout(Duration::from_micros(50), tunnel.open(&remote));
        let _ = opening.await;
    }
    // Each socket that was opened for an open that nobody waited for comes to its end.
    for _ in 0..world.server.opened_channels() {
        let (mut socket, _) = listener.accept().await.unwrap();
        let end = tokio::time::timeout(PATIENCE, socket.read_u8()).await;
        assert!(end.unwrap().is_err());
    }
}

#[tokio::test]
async fn a_far_side_that_closes_ends_reads_and_fails_writes() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = RemoteEnd::loopback(listener.local_addr().unwrap().port());
    let tunnel = Tunnel::start(world.spec(), Prompter::nobody(), TunnelOptions::default());
    let mut stream = tunnel.open(&remote).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.write_all(b"bye").await.unwrap();
    drop(socket);
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text, "bye");
    let piece = vec![0; 64 * 1024];
    let writing = async { while stream.write_all(&piece).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, writing).await.unwrap();
    assert!(tunnel.view().borrow().status.is_up());
}

#[tokio::test]
async fn a_jump_host_leads_to_the_server_behind_it() {
    let jump = SshWorld::new(LoopbackOptions::default()).await;
    let inner = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let mut spec = spec_of(inner.hop());
    spec.hops.insert(0, jump.hop());
    let tunnel = Tunnel::start(spec, Prompter::nobody(), TunnelOptions::default());
    let mut stream = tunnel.open(&echo.remote()).await.unwrap();
    assert!(echo_works(&mut stream).await);
    let rows = tunnel.view().borrow().rows.clone();
    let tcp = rows.row(Layer::Tcp).unwrap();
    assert!(tcp.detail.ends_with("through 127.0.0.1"), "{tcp:?}");
    assert_eq!(
        (jump.server.accepted(), inner.server.opened_channels()),
        (1, 1)
    );
    // The way ends with any of its parts, and comes back whole.
    jump.server.kill_connections();
    let mut view = tunnel.view();
    view_where(&mut view, "up again", |view| view.generation > 1).await;
    assert!(inner.server.accepted() > 1);
}

#[tokio::test]
async fn a_jump_host_that_cannot_reach_the_server_is_named() {
    let jump = SshWorld::new(LoopbackOptions::default()).await;
    let (_closed, port) = closed_port();
    let mut spec = spec_of(HopSpec::bare("127.0.0.1", port, "me"));
    spec.hops.insert(0, jump.hop());
    let options = TunnelOptions {
        once: true,
        ..TunnelOptions::default()
    };
    let tunnel = Tunnel::start(spec, Prompter::nobody(), options);
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert_eq!(error.layer, Layer::Tcp);
    let words = format!("127.0.0.1 cannot reach 127.0.0.1:{port}");
    assert_eq!(error.what, words);
}
