//! Forwards through a real sshd: what it forbids and how that is told, sockets, keys renewed on the way,
//! channels that it closes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clawline::layer::{Layer, LayerError};
use clawline::tunnel::forward::Forward;
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::{LocalEnd, RekeyLimit, RemoteEnd};
use clawline::tunnel::{BULK_CONNECTIONS, BULK_WINDOW, Tunnel, TunnelOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};

use crate::support::alone::{alone, resident_kb};
use crate::support::sshd::{Sshd, spec_of};
use crate::support::{BUSY, PATIENCE, eventually, soak};

/// How soon a refusal must be on the screen, and what a busy machine may add.
const SOON: Duration = Duration::from_secs(2 + BUSY.as_secs());

fn start(sshd: &Sshd) -> Tunnel {
    let options = TunnelOptions {
        window: BULK_WINDOW,
        bulk_connections: BULK_CONNECTIONS,
        ..TunnelOptions::default()
    };
    Tunnel::start(sshd.spec(), Prompter::nobody(), options)
}

fn start_with_one_connection(sshd: &Sshd) -> Tunnel {
    Tunnel::start(sshd.spec(), Prompter::nobody(), TunnelOptions::default())
}

/// A served forward to `remote`; where it listens.
fn forwarded(tunnel: &Tunnel, remote: &RemoteEnd) -> SocketAddr {
    let any_port = LocalEnd::Tcp(([127, 0, 0, 1], 0).into());
    let forward = Forward::bind(&any_port).unwrap();
    let LocalEnd::Tcp(address) = *forward.local() else {
        panic!("{}", forward.local());
    };
    let (tunnel, remote) = (tunnel.clone(), remote.clone());
    tokio::spawn(async move { forward.serve(&tunnel, &remote).await });
    address
}

/// A server for every connection that comes.
async fn far_end<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> RemoteEnd
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            tokio::spawn(serve(socket));
        }
    });
    RemoteEnd::loopback(port)
}

async fn echo() -> RemoteEnd {
    far_end(|socket| async move {
        let (mut read, mut write) = socket.into_split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

/// A far end that refuses as long as the socket, which does not listen, keeps it from others.
fn closed() -> (TcpSocket, RemoteEnd) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, RemoteEnd::loopback(port))
}

async fn answers(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> bool {
    let talk = async {
        stream.write_all(b"hello there").await?;
        let mut back = [0; 11];
        stream.read_exact(&mut back).await?;
        Ok::<_, std::io::Error>(&back == b"hello there")
    };
    matches!(tokio::time::timeout(PATIENCE, talk).await, Ok(Ok(true)))
}

/// Why `remote` cannot be reached, and that it was told soon and over one connection.
async fn refusal(sshd: &Sshd, remote: &RemoteEnd) -> LayerError {
    let tunnel = start_with_one_connection(sshd);
    tunnel.wait_up(PATIENCE).await.unwrap();
    let started = Instant::now();
    let error = tunnel.open(remote).await.unwrap_err();
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    let again = tunnel.open(remote).await.unwrap_err();
    assert_eq!(error, again);
    assert_eq!(sshd.connections(), 1, "{}", sshd.log());
    tunnel.stop().await;
    error
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_server_that_forbids_forwarding_is_told_with_what_to_allow() {
    let remote = echo().await;
    for options in [
        "AllowTcpForwarding no",
        "AllowTcpForwarding remote",
        "DisableForwarding yes",
        "PermitOpen none",
        "PermitOpen 127.0.0.1:1",
    ] {
        let error = refusal(&Sshd::start(options), &remote).await;
        assert_eq!(error.layer, Layer::Forward, "{options}: {error}");
        assert!(
            error
                .what
                .ends_with(&format!("forbids forwarding to {remote}")),
            "{error}"
        );
        assert!(
            error.next.contains(&format!("PermitOpen {remote}")),
            "{}",
            error.next
        );
        assert!(!error.peer_text.is_empty(), "{options}");
    }
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_key_that_may_not_forward_is_told_and_the_line_to_paste_lets_it() {
    let remote = echo().await;
    let sshd = Sshd::start("");
    let mut asked = 0;
    for restriction in [
        "restrict",
        "no-port-forwarding",
        "permitopen=\"127.0.0.1:1\"",
    ] {
        let line = format!("{restriction} {}", sshd.authorized_key());
        std::fs::write(sshd.path("authorized_keys"), line).unwrap();
        let tunnel = start_with_one_connection(&sshd);
        let error = tunnel.open(&remote).await.unwrap_err();
        assert_eq!(error.layer, Layer::Forward, "{restriction}: {error}");
        let (_, paste) = error.next.split_once("in front of the key: ").unwrap();
        let line = format!("{paste} {}", sshd.authorized_key());
        std::fs::write(sshd.path("authorized_keys"), line).unwrap();
        tunnel.stop().await;
        let tunnel = start_with_one_connection(&sshd);
        assert!(
            answers(&mut tunnel.open(&remote).await.unwrap()).await,
            "{paste}"
        );
        tunnel.stop().await;
        asked += 2;
        assert_eq!(sshd.connections(), asked);
    }
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_far_end_that_cannot_be_reached_is_told_as_its_system_told_it() {
    let sshd = Sshd::start("");
    let (_place, closed) = closed();
    let error = refusal(&sshd, &closed).await;
    assert_eq!(
        (error.layer, error.peer_text.as_str()),
        (Layer::Port, "Connection refused")
    );
    assert!(
        error.next.contains("clawline-gateway start"),
        "{}",
        error.next
    );

    let unknown = RemoteEnd::Tcp {
        host: "nowhere.invalid".into(),
        port: 80,
    };
    let tunnel = start_with_one_connection(&sshd);
    let error = tunnel.open(&unknown).await.unwrap_err();
    assert_eq!(error.layer, Layer::Port);
    assert!(
        error.what.contains("cannot resolve"),
        "{error}: {}",
        error.peer_text
    );
    tunnel.stop().await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn sockets_are_reached_and_a_forbidden_one_names_the_setting() {
    let sshd = Sshd::start("");
    let path = sshd.path("far.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.into_split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let remote = RemoteEnd::Unix(path.to_str().unwrap().into());
    let tunnel = start(&sshd);
    let local = forwarded(&tunnel, &remote);
    let mut program = TcpStream::connect(local).await.unwrap();
    assert!(answers(&mut program).await);
    tunnel.stop().await;

    let missing = RemoteEnd::Unix("/nowhere/at.sock".into());
    let error = refusal(&Sshd::start(""), &missing).await;
    assert_eq!(error.layer, Layer::Port, "{error}");
    for options in [
        "AllowStreamLocalForwarding no",
        "AllowStreamLocalForwarding remote",
    ] {
        let error = refusal(&Sshd::start(options), &remote).await;
        let text = format!("{} {}", error.what, error.next);
        assert!(
            text.contains("AllowStreamLocalForwarding"),
            "{options}: {text}"
        );
    }
}

/// Sends `total` pseudo-random bytes each way at once, and checks every byte on both sides.
async fn both_ways(stream: TcpStream, total: usize, seeds: (u64, u64)) {
    let (mut read, mut write) = stream.into_split();
    let sending = async move {
        let mut pattern = Pattern(seeds.0);
        let mut left = total;
        while left > 0 {
            let piece = pattern.piece(left.min(100_003));
            write.write_all(&piece).await.unwrap();
            left -= piece.len();
        }
        write.shutdown().await.unwrap();
    };
    let reading = async move {
        let mut pattern = Pattern(seeds.1);
        let mut left = total;
        let mut piece = vec![0; 64 * 1024];
        while left > 0 {
            let length = read.read(&mut piece).await.unwrap();
            assert!(length > 0, "{left} bytes are missing");
            assert!(
                piece[..length] == pattern.piece(length),
                "{left} from the end"
            );
            left -= length;
        }
        assert_eq!(read.read(&mut piece).await.unwrap(), 0);
    };
    tokio::join!(sending, reading);
}

/// Bytes that differ everywhere, made a piece at a time (xorshift).
struct Pattern(u64);

impl Pattern {
    fn piece(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                self.0.to_le_bytes()[0]
            })
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH"]
async fn every_byte_arrives_while_both_sides_renew_their_keys_all_the_time() {
    let total: usize = if soak() { 10_000_000_000 } else { 50_000_000 };
    let sshd = Sshd::start("LogLevel DEBUG1\nRekeyLimit 1M");
    let remote = far_end(move |socket| both_ways(socket, total, (7, 9))).await;
    let mut hop = sshd.hop();
    hop.rekey_limit = RekeyLimit {
        bytes: Some(1024 * 1024),
        ..RekeyLimit::default()
    };
    let options = TunnelOptions {
        window: BULK_WINDOW,
        ..TunnelOptions::default()
    };
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), options);
    let local = forwarded(&tunnel, &remote);
    let program = TcpStream::connect(local).await.unwrap();
    both_ways(program, total, (9, 7)).await;
    assert_eq!(tunnel.view().borrow().generation, 1);
    let renewed = sshd.log().matches("SSH2_MSG_NEWKEYS sent").count();
    eprintln!("{total} bytes each way, keys renewed {renewed} times");
    assert!(renewed > 20);
    tunnel.stop().await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_channel_that_the_server_closes_for_idleness_is_opened_again_on_the_same_connection() {
    let sshd = Sshd::start("ChannelTimeout direct-tcpip=3s");
    let remote = echo().await;
    let tunnel = start_with_one_connection(&sshd);
    let mut kept_busy = tunnel.open(&remote).await.unwrap();
    let mut idle = tunnel.open(&remote).await.unwrap();
    let started = Instant::now();
    let mut piece = [0; 16];
    let mut use_it = tokio::time::interval(Duration::from_millis(300));
    let closing = tokio::time::timeout(PATIENCE, idle.read(&mut piece));
    tokio::pin!(closing);
    let closed = loop {
        tokio::select! {
            closed = &mut closing => break closed,
            // What is used is left alone.
            _ = use_it.tick() => {
                assert!(answers(&mut kept_busy).await);
            }
        }
    };
    assert!(matches!(closed.unwrap(), Ok(0) | Err(_)));
    assert!(started.elapsed() < Duration::from_secs(10) + BUSY);
    let started = Instant::now();
    let mut again = tunnel.open(&remote).await.unwrap();
    assert!(answers(&mut again).await);
    assert!(started.elapsed() < Duration::from_millis(500) + BUSY);
    assert!(answers(&mut kept_busy).await);
    assert_eq!(
        (sshd.connections(), tunnel.view().borrow().generation),
        (1, 1)
    );
    tunnel.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH"]
async fn a_program_that_never_reads_slows_nobody_and_is_held_back_instead_of_filling_memory() {
    if !alone(
        "forwards::a_program_that_never_reads_slows_nobody_and_is_held_back_instead_of_filling_memory",
    ) {
        return;
    }
    let total: usize = if soak() { 2_000_000_000 } else { 200_000_000 };
    let sshd = Sshd::start("");
    let flood = far_end(move |mut socket| async move {
        let piece = vec![7; 1_000_000];
        for _ in 0..total / piece.len() {
            if socket.write_all(&piece).await.is_err() {
                return;
            }
        }
    })
    .await;
    let tunnel = start(&sshd);
    let (stuck, lively) = (
        forwarded(&tunnel, &flood),
        forwarded(&tunnel, &echo().await),
    );
    eventually("a connection for forwards", || {
        tunnel.bulk_connections() == 1
    })
    .await;
    let before = resident_kb();
    let mut never_reads = TcpStream::connect(stuck).await.unwrap();
    eventually("a connection for the others", || {
        tunnel.bulk_connections() == 2
    })
    .await;
    let mut other = TcpStream::connect(lively).await.unwrap();
    let mut took = Vec::new();
    for _ in 0..500 {
        let started = Instant::now();
        assert!(answers(&mut other).await);
        took.push(started.elapsed());
    }
    took.sort();
    let grown = resident_kb().saturating_sub(before);
    eprintln!(
        "echo p50 {:?} p99 {:?}, {grown} kB more",
        took[250], took[494]
    );
    // Half of them at least, however busy the machine is, and none waits for who never reads.
    assert!(took[250] < Duration::from_millis(500), "{:?}", took[250]);
    assert!(took[499] < BUSY, "{:?}", took[499]);
    assert!(grown < 40_000, "{grown} kB");
    // It was only held back: all of it is still there.
    let mut got = 0;
    let mut piece = vec![0; 1_000_000];
    loop {
        match never_reads.read(&mut piece).await.unwrap() {
            0 => break,
            length => got += length,
        }
    }
    assert_eq!(got, total);
    tunnel.stop().await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn refused_channels_cost_no_memory_in_the_long_run() {
    if !alone("forwards::refused_channels_cost_no_memory_in_the_long_run") {
        return;
    }
    let opens = if soak() { 100_000 } else { 20_000 };
    let sshd = Sshd::start("");
    let (_place, closed) = closed();
    let tunnel = start_with_one_connection(&sshd);
    let refused = async |count: usize| {
        for _ in 0..count {
            assert!(tunnel.open(&closed).await.is_err());
        }
    };
    refused(500).await;
    let before = resident_kb();
    refused(opens).await;
    let grown = resident_kb().saturating_sub(before);
    eprintln!(
        "{opens} refused opens: {grown} kB more, generation {}",
        tunnel.view().borrow().generation
    );
    assert!(grown < 5 * 1024, "{grown} kB");
    tunnel.stop().await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn who_holds_others_up_for_half_a_minute_is_reset_and_they_go_on() {
    if !soak() {
        return;
    }
    let sshd = Sshd::start("");
    let flood = far_end(|mut socket| async move {
        let piece = vec![7; 1_000_000];
        while socket.write_all(&piece).await.is_ok() {}
    })
    .await;
    let tunnel = start_with_one_connection(&sshd);
    let (stuck, lively) = (
        forwarded(&tunnel, &flood),
        forwarded(&tunnel, &echo().await),
    );
    let mut other = TcpStream::connect(lively).await.unwrap();
    assert!(answers(&mut other).await);
    let mut never_reads = TcpStream::connect(stuck).await.unwrap();
    let started = Instant::now();
    let mut longest = Duration::ZERO;
    let mut words = tokio::time::interval(Duration::from_millis(50));
    while started.elapsed() < Duration::from_secs(60) {
        let asked = Instant::now();
        other.write_all(b"!").await.unwrap();
        let answered = tokio::time::timeout(Duration::from_secs(45), other.read_u8());
        answered.await.unwrap().unwrap();
        longest = longest.max(asked.elapsed());
        words.tick().await;
    }
    eprintln!("the others waited {longest:?}");
    assert!(
        longest > Duration::from_secs(20) && longest < Duration::from_secs(35) + BUSY,
        "{longest:?}"
    );
    let mut piece = vec![0; 1_000_000];
    let end = loop {
        match never_reads.read(&mut piece).await {
            Ok(0) => panic!("it ended as if that had been all"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(tunnel.view().borrow().generation, 1);
    tunnel.stop().await;
}
