//! Forwards with SSH connections of their own: when there are some, and what a program that does not read
//! does to the others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clawline::loopback_ssh::{LoopbackOptions, QuestionRound};
use clawline::secret::Secret;
use clawline::tunnel::forward::Forward;
use clawline::tunnel::prompt::{Answer, Prompter};
use clawline::tunnel::spec::{LocalEnd, RemoteEnd};
use clawline::tunnel::{BULK_CONNECTIONS, BULK_WINDOW, Tunnel, TunnelOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{BUSY, Echo, SshWorld, echo_works, eventually, until_up};

fn options() -> TunnelOptions {
    TunnelOptions {
        window: BULK_WINDOW,
        bulk_connections: BULK_CONNECTIONS,
        ..TunnelOptions::default()
    }
}

/// A served forward to `remote`; where it listens.
fn forwarded(tunnel: &Tunnel, remote: RemoteEnd) -> (SocketAddr, JoinHandle<()>) {
    let any_port = LocalEnd::Tcp(([127, 0, 0, 1], 0).into());
    let forward = Forward::bind(&any_port).unwrap();
    let LocalEnd::Tcp(address) = *forward.local() else {
        panic!("{}", forward.local());
    };
    let tunnel = tunnel.clone();
    let serving = tokio::spawn(async move { forward.serve(&tunnel, &remote).await });
    (address, serving)
}

/// 64 KiB that are unlike those of any other number.
fn pattern(number: u64) -> Vec<u8> {
    let count = |n: u64| (number * 8192 + n).to_be_bytes();
    (0..8192).flat_map(count).collect()
}

/// A server that sends a counting pattern without end; how much of it went out.
async fn flood() -> (RemoteEnd, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                for number in 0_u64.. {
                    if socket.write_all(&pattern(number)).await.is_err() {
                        return;
                    }
                    count.fetch_add(65536, Ordering::Relaxed);
                }
            });
        }
    });
    (RemoteEnd::loopback(port), sent)
}

/// Echo round trips through one connection, slowest last.
async fn round_trips(stream: &mut TcpStream, count: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..count {
        let started = Instant::now();
        assert!(echo_works(stream).await);
        took.push(started.elapsed());
    }
    took.sort();
    took
}

/// Waits until a counter stands still, which it did at five looks one after the other.
async fn until_still(counter: &AtomicU64) -> u64 {
    let (mut before, mut still) = (0, 0);
    let mut looks = tokio::time::interval(Duration::from_millis(200));
    for _ in 0..300 {
        looks.tick().await;
        let now = counter.load(Ordering::Relaxed);
        still = if now == before && now > 0 {
            still + 1
        } else {
            0
        };
        if still == 5 {
            return now;
        }
        before = now;
    }
    panic!("it never stood still: {before}");
}

/// That round trips are short: half of them at least, however busy the machine is, and none waits for a
/// program that does not read.
fn assert_quick(took: &[Duration]) {
    let (half, longest) = (took[took.len() / 2], took[took.len() - 1]);
    assert!(half < Duration::from_millis(500), "half {half:?}");
    assert!(longest < BUSY, "longest {longest:?}");
}

#[tokio::test]
async fn forwards_have_a_connection_of_their_own_and_outlive_the_tunnel_s() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let tunnel = Tunnel::start(world.spec(), Prompter::nobody(), options());
    until_up(&mut tunnel.view()).await;
    assert_eq!(world.server.accepted(), 1);
    let (local, serving) = forwarded(&tunnel, echo.remote());
    eventually("a second connection", || tunnel.bulk_connections() == 1).await;
    let mut program = TcpStream::connect(local).await.unwrap();
    assert!(echo_works(&mut program).await);
    let before = tunnel.view().borrow().generation;
    tunnel.reconnect_now();
    let mut view = tunnel.view();
    let again = view.wait_for(|view| view.generation > before);
    tokio::time::timeout(crate::support::PATIENCE, again)
        .await
        .unwrap()
        .unwrap();
    assert!(echo_works(&mut program).await);
    tunnel.stop().await;
    eventually("no connection", || world.server.connections() == 0).await;
    let _ = serving.await;
}

#[tokio::test]
async fn where_signing_in_takes_a_person_one_connection_does_all() {
    let world = SshWorld::new(LoopbackOptions {
        questions: vec![QuestionRound {
            questions: vec![("Code: ".into(), true, "123456".into())],
            ..QuestionRound::default()
        }],
        key_and_questions: true,
        ..LoopbackOptions::default()
    })
    .await;
    let (prompter, mut questions) = Prompter::channel();
    let person = tokio::spawn(async move {
        let mut asked = 0;
        while let Some(request) = questions.recv().await {
            asked += 1;
            let code = Answer::Texts(vec![Secret::from("123456".to_owned())]);
            request.reply.send(code).unwrap();
        }
        asked
    });
    let echo = Echo::start().await;
    let tunnel = Tunnel::start(world.spec(), prompter, options());
    let (local, serving) = forwarded(&tunnel, echo.remote());
    for _ in 0..5 {
        let mut program = TcpStream::connect(local).await.unwrap();
        assert!(echo_works(&mut program).await);
    }
    assert_eq!((world.server.accepted(), tunnel.bulk_connections()), (1, 0));
    tunnel.stop().await;
    let _ = serving.await;
    drop(tunnel);
    assert_eq!(person.await.unwrap(), 1);
}

#[tokio::test]
async fn a_program_that_never_reads_holds_up_nobody_and_nothing_grows() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let (flooding, sent) = flood().await;
    let tunnel = Tunnel::start(world.spec(), Prompter::nobody(), options());
    let (stuck, _one) = forwarded(&tunnel, flooding);
    let (lively, _other) = forwarded(&tunnel, echo.remote());
    eventually("a connection for forwards", || {
        tunnel.bulk_connections() == 1
    })
    .await;
    let mut never_reads = TcpStream::connect(stuck).await.unwrap();
    let held = until_still(&sent).await;
    assert!(held < 64 * 1024 * 1024, "{held} bytes went out");
    eventually("a connection for the others", || {
        tunnel.bulk_connections() == 2
    })
    .await;

    let mut other = TcpStream::connect(lively).await.unwrap();
    let took = round_trips(&mut other, 300).await;
    assert_quick(&took);

    // Nothing was lost on the way: it goes on where it stood.
    let mut piece = vec![0; 65536];
    for number in 0..(held / 65536 + 20) {
        never_reads.read_exact(&mut piece).await.unwrap();
        assert!(piece == pattern(number), "piece {number}");
    }
    assert!(echo_works(&mut other).await);
}

#[tokio::test]
async fn who_shares_the_connection_with_a_program_that_never_reads_goes_on_for_its_first_fifty_megabytes()
 {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flooding = RemoteEnd::loopback(listener.local_addr().unwrap().port());
    let flooded = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let piece = vec![7; 1024 * 1024];
        for _ in 0..50 {
            socket.write_all(&piece).await.unwrap();
        }
        socket
    });
    // No connections for forwards: all share one.
    let tunnel = Tunnel::start(world.spec(), Prompter::nobody(), TunnelOptions::default());
    let (lively, _one) = forwarded(&tunnel, echo.remote());
    let (stuck, _other) = forwarded(&tunnel, flooding);
    let mut other = TcpStream::connect(lively).await.unwrap();
    assert!(echo_works(&mut other).await);
    let _never_reads = TcpStream::connect(stuck).await.unwrap();
    let _socket = flooded.await.unwrap();
    let took = round_trips(&mut other, 300).await;
    assert_quick(&took);
    assert_eq!(world.server.accepted(), 1);
}
