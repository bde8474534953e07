//! sshd's session processes are killed again and again while bytes flow; nothing but those connections
//! notices, and nothing grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::{Tunnel, TunnelOptions};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::far_end::{FarEnd, Talk, bytes, talk, talk_until_cut};
use crate::support::figures::{figure, spread};
use crate::support::program::TunnelOnly;
use crate::support::sshd::Sshd;
use crate::support::{PATIENCE, eventually, pass, soak};

/// One stream of a round: long enough that a kill meets it half-way, short enough for a thousand rounds.
const STREAM: usize = 256 * 1024;
/// Streams that a kill cuts.
const STREAMS: usize = 4;
/// A block of the traffic that is cut.
const BLOCK: usize = 64 * 1024;
/// Rounds before anything is measured: caches and pools have their size then.
const WARM_UP: usize = 10;
/// What memory may grow over all rounds, in kB: the allocator's own slack.
const SLACK: u64 = 8 * 1024;

fn rounds(short: usize) -> usize {
    if soak() { 1000 } else { short }
}

async fn talk_through(tunnel: &TunnelOnly, seed: u64) -> Talk {
    match TcpStream::connect(tunnel.local).await {
        Ok(stream) => talk(stream, bytes(seed, STREAM)).await,
        Err(_) => Talk::Cut(0),
    }
}

/// Streams under way, each of them until it is cut.
struct Traffic {
    streams: JoinSet<Talk>,
    begun: Arc<AtomicUsize>,
}

impl Traffic {
    fn start(tunnel: &TunnelOnly, streams: usize) -> Self {
        let mut set = JoinSet::new();
        let begun = Arc::<AtomicUsize>::default();
        for seed in 0..streams {
            let begun = begun.clone();
            let local = tunnel.local;
            set.spawn(async move {
                match TcpStream::connect(local).await {
                    Ok(stream) => {
                        let block = bytes(seed as u64, BLOCK);
                        let begun = || {
                            begun.fetch_add(1, Ordering::SeqCst);
                        };
                        talk_until_cut(stream, block, begun).await
                    }
                    Err(_) => Talk::Cut(0),
                }
            });
        }
        Self {
            streams: set,
            begun,
        }
    }

    /// Those through which a block went and came back.
    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// How many were cut, which is all of them; the bytes that came back were right.
    async fn end(mut self) -> usize {
        let mut cut = 0;
        while !self.streams.is_empty() {
            let ended = tokio::time::timeout(PATIENCE, self.streams.join_next()).await;
            match ended.expect("a stream outlives its kill").unwrap().unwrap() {
                Talk::Cut(_) => cut += 1,
                other => panic!("a killed session showed a program {other:?}"),
            }
        }
        cut
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH"]
async fn kills_during_traffic_leave_the_process_its_port_and_its_size() {
    let sshd = Sshd::start("");
    let far = FarEnd::start().await;
    let mut tunnel = TunnelOnly::start(&sshd, far.port);
    assert_eq!(talk_through(&tunnel, 0).await, Talk::Whole);
    let (mut before, mut cut, mut back) = (tunnel.holds(), 0, Vec::new());
    let mut growth = Vec::new();
    let rounds = rounds(60);
    for round in 0..WARM_UP + rounds {
        if round == WARM_UP {
            eventually("the warm-up's sockets closed", || far.open() == 0).await;
            before = tunnel.holds();
            back.clear();
        }
        if round % (rounds / 10) == 0 {
            growth.push(tunnel.holds().memory);
        }
        let traffic = Traffic::start(&tunnel, STREAMS);
        // One that comes to the kill too late would wait for the next connection, and live.
        eventually("traffic", || traffic.begun() == STREAMS).await;
        pass(Duration::from_millis(rand::random::<u64>() % 20)).await;
        assert!(sshd.kill_sessions() > 0);
        let killed = Instant::now();
        // A program that comes at once may still meet the old connection; it comes again.
        while talk_through(&tunnel, 1).await != Talk::Whole {
            assert!(killed.elapsed() < PATIENCE, "{}", tunnel.said());
        }
        back.push(killed.elapsed());
        // From here on the connection is up, and what comes now is whole the first time.
        for seed in 2..4 {
            assert_eq!(talk_through(&tunnel, seed).await, Talk::Whole, "{round}");
        }
        cut += traffic.end().await;
        assert!(tunnel.still_listens());
    }
    eventually("no orphan on the far side", || far.open() == 0).await;
    // It may have been measured while one of the two SSH connections was still on its way back.
    eventually("descriptors as before", || {
        tunnel.holds().files <= before.files + 2
    })
    .await;
    let after = tunnel.holds();
    figure("kills", rounds);
    figure("kills: streams cut", cut);
    figure("kills: usable again after", spread(back));
    figure(
        "kills: descriptors",
        format!("{} then {}", before.files, after.files),
    );
    figure(
        "kills: memory kB",
        format!(
            "{} then {}, on the way {growth:?}",
            before.memory, after.memory
        ),
    );
    assert!(cut > 0);
    assert!(
        after.memory <= before.memory + SLACK,
        "{before:?} {after:?}"
    );
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn kills_leave_no_task_behind() {
    let sshd = Sshd::start("");
    let far = FarEnd::start().await;
    let tunnel = Tunnel::start(sshd.spec(), Prompter::nobody(), TunnelOptions::default());
    let metrics = tokio::runtime::Handle::current().metrics();
    let mut before = 0;
    let rounds = rounds(20);
    for round in 0..WARM_UP + rounds {
        let stream = tunnel.open(&far.remote()).await.unwrap();
        let cut = tokio::spawn(talk_until_cut(stream, bytes(round as u64, BLOCK), || {}));
        let generation = tunnel.view().borrow().generation;
        assert!(sshd.kill_sessions() > 0);
        assert!(matches!(cut.await.unwrap(), Talk::Cut(_)));
        eventually("the next connection", || {
            tunnel.view().borrow().generation > generation
        })
        .await;
        let stream = tunnel.open(&far.remote()).await.unwrap();
        assert_eq!(talk(stream, bytes(7, STREAM)).await, Talk::Whole);
        if round + 1 == WARM_UP {
            eventually("the warm-up's sockets closed", || far.open() == 0).await;
            before = metrics.num_alive_tasks();
        }
    }
    eventually("no orphan on the far side", || far.open() == 0).await;
    eventually("tasks as before", || metrics.num_alive_tasks() <= before).await;
    figure(
        "kills: tasks",
        format!("{before} then {}", metrics.num_alive_tasks()),
    );
    tunnel.stop().await;
}
