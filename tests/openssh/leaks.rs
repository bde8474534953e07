//! What is refused, given up or dropped leaves nothing behind: no memory, no descriptor, no socket on the
//! far side, no connection at sshd.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::{Tunnel, TunnelOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::far_end::{FarEnd, Talk, bytes, talk};
use crate::support::figures::figure;
use crate::support::program::{Holds, TunnelOnly, open_files};
use crate::support::relay::Relay;
use crate::support::sshd::{Sshd, free_port, spec_of};
use crate::support::{BUSY, PATIENCE, eventually, pass, soak};

/// What memory may grow, in kB, however often an open is refused.
const GROWTH: u64 = 5 * 1024;
/// What it may grow while programs drop what was opened: the budget of a connection for what russh leaks
/// of a channel that we close first, and the allocator's slack.
const GROWTH_OF_DROPS: u64 = 10 * 1024;
/// Programs that come at the same time.
const AT_ONCE: usize = 8;
/// As many as are refused at the same time: a far end that refuses is asked once for all who wait.
const REFUSED_AT_ONCE: usize = 400;

fn times(short: usize, long: usize) -> usize {
    if soak() { long } else { short }
}

/// Connects from another loopback address every so often: a closed connection keeps its pair of ports for
/// a minute, and there are only 28,000 of them.
async fn visit(local: SocketAddr, number: usize) -> std::io::Result<TcpStream> {
    let from = 2 + u8::try_from(number / 10_000 % 200).unwrap();
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, from], 0)))?;
    socket.connect(local).await
}

/// Runs `one` so often, so many at a time.
async fn repeat<F>(times: usize, at_once: usize, one: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    for number in 0..times {
        if running.len() == at_once {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(one(number));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

/// The descriptors of every process that serves a connection at sshd.
fn files_at_sshd(sshd: &Sshd) -> usize {
    let pids = sshd.sessions().into_iter();
    pids.filter_map(|pid| open_files(u32::try_from(pid.as_raw()).unwrap()))
        .sum()
}

async fn assert_size(what: &str, tunnel: &TunnelOnly, before: Holds, times: usize, growth: u64) {
    eventually("descriptors as before", || {
        tunnel.holds().files <= before.files
    })
    .await;
    let after = tunnel.holds();
    figure(
        what,
        format!(
            "{times} times, memory {} then {} kB, descriptors {} then {}",
            before.memory, after.memory, before.files, after.files
        ),
    );
    assert!(
        after.memory <= before.memory + growth,
        "{before:?} {after:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH"]
async fn opens_that_are_refused_leave_nothing() {
    let sshd = Sshd::start("");
    let nobody = free_port();
    let mut tunnel = TunnelOnly::start(&sshd, nobody);
    let local = tunnel.local;
    let refused = move |number| async move {
        let mut stream = visit(local, number).await.unwrap();
        let end = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
        assert!(end.expect("closed in time").is_err());
    };
    repeat(times(1000, 5000), REFUSED_AT_ONCE, refused).await;
    let (before, started) = (tunnel.holds(), Instant::now());
    let times = times(3000, 100_000);
    repeat(times, REFUSED_AT_ONCE, refused).await;
    let took = started.elapsed();
    assert_size("refused opens", &tunnel, before, times, GROWTH).await;
    figure(
        "refused opens: each",
        format!("{} µs", took.as_micros() / times as u128),
    );
    figure("refused opens: SSH connections", sshd.connections());
    assert!(tunnel.still_listens());
    // A renewal gives back what russh keeps of a refusal; nothing else may connect.
    assert!(sshd.connections() <= 3 + times / 2000, "{}", tunnel.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH"]
async fn connections_that_programs_drop_leave_nothing() {
    let sshd = Sshd::start("");
    let far = FarEnd::start().await;
    let tunnel = TunnelOnly::start(&sshd, far.port);
    let local = tunnel.local;
    let dropped = move |number: usize| async move {
        let mut stream = visit(local, number).await.unwrap();
        match number % 4 {
            // At once; after a word; after a word that was answered; with a reset.
            0 => {}
            1 => stream.write_all(b"hello").await.unwrap(),
            2 => {
                stream.write_all(b"hello").await.unwrap();
                let _ = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
            }
            _ => stream.set_zero_linger().unwrap(),
        }
    };
    repeat(times(500, 5000), AT_ONCE, dropped).await;
    eventually("the warm-up's sockets closed", || far.open() == 0).await;
    let (before, at_sshd) = (tunnel.holds(), files_at_sshd(&sshd));
    let times = times(2000, 50_000);
    repeat(times, AT_ONCE, dropped).await;
    let ended = Instant::now();
    eventually("no orphan on the far side", || far.open() == 0).await;
    assert!(ended.elapsed() < BUSY);
    assert_size("dropped channels", &tunnel, before, times, GROWTH_OF_DROPS).await;
    figure("dropped channels: SSH connections", sshd.connections());
    eventually("sshd's descriptors as before", || {
        files_at_sshd(&sshd) <= at_sshd
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH"]
async fn programs_that_said_their_last_word_and_stay_hold_nothing_once_they_go() {
    let sshd = Sshd::start("");
    let far = FarEnd::start().await;
    let tunnel = TunnelOnly::start(&sshd, far.port);
    assert_eq!(
        talk(
            TcpStream::connect(tunnel.local).await.unwrap(),
            bytes(1, 1000)
        )
        .await,
        Talk::Whole
    );
    eventually("nobody", || far.open() == 0).await;
    let (before, rounds) = (tunnel.holds(), times(5, 100));
    for _ in 0..rounds {
        let mut half_open = Vec::new();
        for _ in 0..100 {
            let mut stream = TcpStream::connect(tunnel.local).await.unwrap();
            stream.write_all(b"last word").await.unwrap();
            stream.shutdown().await.unwrap();
            half_open.push(stream);
        }
        // The echo server ends too, so each is over but for the program's own socket.
        eventually("the far side's half closed", || far.open() == 0).await;
        for mut stream in half_open {
            let mut back = String::new();
            stream.read_to_string(&mut back).await.unwrap();
            assert_eq!(back, "last word");
        }
    }
    assert_size("half-open programs", &tunnel, before, rounds * 100, GROWTH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH"]
async fn connects_that_are_given_up_during_the_key_exchange_leave_no_socket() {
    let sshd = Sshd::start("");
    // Late enough that the key exchange is under way for a while.
    let server = ([127, 0, 0, 1], sshd.port()).into();
    let relay = Relay::start(server, Duration::from_millis(20)).await;
    let spec = spec_of(sshd.hop_through(relay.addr.port()));
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let times = times(200, 2000);
    let mut signed_in = 0;
    for _ in 0..times {
        let tunnel = Tunnel::start(spec.clone(), Prompter::nobody(), TunnelOptions::default());
        // From the banner to the sign-in: 40 to 200 ms through this relay, and more on a busy machine.
        eventually("a connection", || relay.open() > 0).await;
        pass(Duration::from_millis(rand::random::<u64>() % 100)).await;
        signed_in += usize::from(tunnel.view().borrow().status.is_up());
        drop(tunnel);
    }
    let ended = Instant::now();
    eventually("no socket left", || relay.open() == 0).await;
    eventually("no session at sshd", || sshd.sessions().is_empty()).await;
    let took = ended.elapsed();
    eventually("tasks as before", || metrics.num_alive_tasks() <= before).await;
    figure(
        "connects given up",
        format!(
            "{times} times ({signed_in} were up), the last socket gone after {} ms",
            took.as_millis()
        ),
    );
    assert!(took < BUSY, "{took:?}");
    assert!(
        signed_in < times / 2,
        "{signed_in} were no longer connecting"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH"]
async fn opens_that_are_given_up_leave_no_channel() {
    let sshd = Sshd::start("");
    let far = FarEnd::start().await;
    let tunnel = Tunnel::start(sshd.spec(), Prompter::nobody(), TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    let at_sshd = files_at_sshd(&sshd);
    let metrics = tokio::runtime::Handle::current().metrics();
    let times = times(1000, 20_000);
    for number in 0..times {
        let limit = Duration::from_micros(20 + (number as u64 % 50) * 20);
        let opened = tokio::time::timeout(limit, tunnel.open(&far.remote())).await;
        drop(opened);
    }
    let ended = Instant::now();
    eventually("no orphan on the far side", || far.open() == 0).await;
    eventually("sshd's descriptors as before", || {
        files_at_sshd(&sshd) <= at_sshd
    })
    .await;
    let took = ended.elapsed();
    figure(
        "opens given up",
        format!(
            "{times} times, {} reached the far side, the last gone after {} ms, {} tasks left",
            far.served(),
            took.as_millis(),
            metrics.num_alive_tasks()
        ),
    );
    assert!(took < BUSY, "{took:?}");
    let stream = tunnel.open(&far.remote()).await.unwrap();
    assert_eq!(talk(stream, bytes(3, 100_000)).await, Talk::Whole);
}
