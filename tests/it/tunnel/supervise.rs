//! A connection that falls silent is replaced by one that is up first; one that is only slow is left alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clawline::layer::Layer;
use clawline::loopback_ssh::{LoopbackOptions, LoopbackSsh};
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::{HopSpec, RemoteEnd};
use clawline::tunnel::status::TunnelStatus;
use clawline::tunnel::{ChannelStream, Tunnel, TunnelOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::relay::Relay;
use crate::support::{
    BUSY, Echo, PATIENCE, SshWorld, echo_works, eventually, free_port, pass, spec_of, view_where,
    why,
};

/// What is promised for a path that goes silent while it is used.
const IN_USE: Duration = Duration::from_secs(4);

struct World {
    ssh: SshWorld,
    relay: Relay,
    echo: Echo,
    tunnel: Tunnel,
}

impl World {
    /// A tunnel through a relay that delays each direction, with the keepalive that OpenSSH users set.
    async fn new(delay: Duration) -> Self {
        Self::with_interval(delay, Duration::from_secs(5)).await
    }

    async fn with_interval(delay: Duration, alive_interval: Duration) -> Self {
        let ssh = SshWorld::new(LoopbackOptions::default()).await;
        let relay = Relay::start(ssh.server.addr, delay).await;
        let hop = HopSpec {
            alive_interval: Some(alive_interval),
            ..hop_through(&ssh, relay.addr.port())
        };
        let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
        tunnel.wait_up(PATIENCE).await.unwrap();
        // From here on the margins are those of the measured round trip.
        eventually("a round trip", || tunnel.round_trip().is_some()).await;
        Self {
            ssh,
            relay,
            echo: Echo::start().await,
            tunnel,
        }
    }

    async fn open(&self) -> ChannelStream {
        self.tunnel.open(&self.echo.remote()).await.unwrap()
    }

    fn generation(&self) -> u64 {
        self.tunnel.view().borrow().generation
    }

    /// Waits for the next connection; the view must never say that it is down.
    async fn replaced(&self) -> Duration {
        let started = Instant::now();
        let mut view = self.tunnel.view();
        loop {
            let now = view.borrow_and_update().clone();
            assert!(now.status.is_up(), "{now:?}");
            if now.generation > 1 {
                return started.elapsed();
            }
            let changed = tokio::time::timeout(PATIENCE, view.changed());
            changed.await.unwrap().unwrap();
        }
    }
}

fn hop_through(ssh: &SshWorld, port: u16) -> HopSpec {
    let key = ssh.server.host_key.to_openssh().unwrap();
    std::fs::write(ssh.known_hosts(), format!("behind-relay {key}\n")).unwrap();
    HopSpec {
        host_key_alias: Some("behind-relay".into()),
        port,
        alive_interval: Some(Duration::from_secs(5)),
        alive_count_max: Some(3),
        ..ssh.hop()
    }
}

/// Says something ten times a second until the stream fails.
fn chatter(mut stream: ChannelStream) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut words = tokio::time::interval(Duration::from_millis(100));
        while stream.write_all(b"are you there?").await.is_ok() {
            words.tick().await;
        }
    })
}

#[tokio::test]
async fn a_path_that_goes_silent_in_use_is_replaced_within_seconds_and_is_never_down() {
    let world = World::new(Duration::ZERO).await;
    let talk = chatter(world.open().await);
    world.relay.silence_old_ones();
    let took = world.replaced().await;
    assert!(took < IN_USE + BUSY, "{took:?}");
    let mut stream = world.open().await;
    assert!(echo_works(&mut stream).await);
    // What hung on the silent one is told.
    tokio::time::timeout(PATIENCE, talk).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stuck_writer_on_a_silent_path_is_freed_as_fast() {
    let world = World::new(Duration::ZERO).await;
    let sink = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = RemoteEnd::loopback(sink.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (mut socket, _) = sink.accept().await.unwrap();
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
    });
    let mut stream = world.tunnel.open(&remote).await.unwrap();
    let written = Arc::<AtomicUsize>::default();
    let count = written.clone();
    let writer = tokio::spawn(async move {
        let piece = vec![0; 64 * 1024];
        while stream.write_all(&piece).await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    eventually("it writes", || written.load(Ordering::SeqCst) > 50).await;
    world.relay.silence_old_ones();
    let took = world.replaced().await;
    assert!(took < IN_USE + BUSY, "{took:?}");
    tokio::time::timeout(PATIENCE, writer)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_idle_path_that_goes_silent_is_replaced_at_the_next_ping() {
    let world = World::new(Duration::ZERO).await;
    world.relay.silence_old_ones();
    let took = world.replaced().await;
    assert!(took < Duration::from_secs(5) + IN_USE + BUSY, "{took:?}");
}

#[tokio::test]
async fn silence_of_three_seconds_costs_no_reconnect_and_no_byte() {
    let world = World::new(Duration::ZERO).await;
    let mut stream = world.open().await;
    assert!(echo_works(&mut stream).await);
    world.relay.silence_everything();
    stream.write_all(b"still here?").await.unwrap();
    pass(Duration::from_secs(3)).await;
    world.relay.heal();
    let mut back = [0; 11];
    let answer = tokio::time::timeout(PATIENCE, stream.read_exact(&mut back));
    answer.await.expect("an answer").unwrap();
    assert_eq!(&back, b"still here?");
    pass(Duration::from_secs(3)).await;
    assert!(echo_works(&mut stream).await);
    assert_eq!(world.generation(), 1);
    assert!(world.tunnel.view().borrow().status.is_up());
}

#[tokio::test]
async fn a_slow_path_gets_no_second_connection() {
    let world = World::new(Duration::from_millis(300)).await;
    let mut stream = world.open().await;
    for _ in 0..5 {
        assert!(echo_works(&mut stream).await);
    }
    assert_eq!((world.generation(), world.ssh.server.accepted()), (1, 1));
}

#[tokio::test]
async fn a_full_queue_in_front_of_a_slow_path_gets_no_second_connection() {
    let world = World::new(Duration::from_millis(150)).await;
    let stream = world.open().await;
    let (mut read, mut write) = tokio::io::split(stream);
    let writer = tokio::spawn(async move {
        let piece = vec![0; 64 * 1024];
        for _ in 0..200 {
            write.write_all(&piece).await.unwrap();
        }
        write
    });
    let mut left = 200 * 64 * 1024;
    let mut piece = vec![0; 64 * 1024];
    while left > 0 {
        left -= read.read(&mut piece).await.unwrap();
    }
    writer.await.unwrap();
    assert_eq!((world.generation(), world.ssh.server.accepted()), (1, 1));
}

#[tokio::test]
async fn silence_is_shown_before_the_connection_is_given_up() {
    // The keepalive alone would let it go on for four minutes.
    let world = World::with_interval(Duration::ZERO, PATIENCE).await;
    let _talk = chatter(world.open().await);
    world.relay.silence_everything();
    let mut view = world.tunnel.view();
    let shown = view_where(&mut view, "silence shown", |view| {
        let row = view.rows.row(Layer::Ssh).unwrap();
        view.status.is_up() && row.detail.starts_with("no answer for ")
    });
    shown.await;
    let down = view_where(&mut view, "down", |view| !view.status.is_up()).await;
    assert!(why(&down).is_none_or(|why| why.what.contains("went silent")));
    // And back as soon as there is a way.
    world.relay.heal();
    let mut stream = world.open().await;
    assert!(echo_works(&mut stream).await);
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_again_every_quarter_of_a_second_and_used_when_it_is_back() {
    let ssh = SshWorld::new(LoopbackOptions {
        port: free_port(),
        ..LoopbackOptions::default()
    })
    .await;
    let port = ssh.server.addr.port();
    let tunnel = Tunnel::start(ssh.spec(), Prompter::nobody(), TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    let host_key = clawline::loopback_ssh::fresh_key().unwrap();
    let key = host_key.public_key().to_openssh().unwrap();
    std::fs::write(ssh.known_hosts(), format!("[127.0.0.1]:{port} {key}\n")).unwrap();
    let SshWorld { home, key, server } = ssh;
    server.stop().await;
    let mut view = tunnel.view();
    // Some two seconds of tries.
    let away = view_where(
        &mut view,
        "refused again and again",
        |view| matches!(&view.status, TunnelStatus::Waiting { attempt, .. } if *attempt > 6),
    )
    .await;
    let TunnelStatus::Waiting { until, why, .. } = away.status else {
        panic!("{away:?}");
    };
    assert_eq!(why.layer, Layer::Tcp);
    let pause = until.saturating_duration_since(Instant::now());
    assert!(pause <= Duration::from_millis(250), "{pause:?}");
    let server = LoopbackSsh::start(LoopbackOptions {
        client_key: Some(key.public_key().clone()),
        host_key: Some(host_key),
        port,
        ..LoopbackOptions::default()
    })
    .await
    .unwrap();
    view_where(&mut view, "up", |view| view.status.is_up()).await;
    // One attempt at a time: nothing was left over to be accepted.
    assert_eq!(server.accepted(), 1);
    drop(home);
}

#[tokio::test]
async fn a_sign_in_that_needs_a_person_gets_no_second_connection_behind_their_back() {
    let ssh = SshWorld::new(LoopbackOptions {
        client_key: Some(
            clawline::loopback_ssh::fresh_key()
                .unwrap()
                .public_key()
                .clone(),
        ),
        questions: vec![clawline::loopback_ssh::QuestionRound {
            name: "code".into(),
            instructions: String::new(),
            questions: vec![("Code: ".into(), false, "1234".into())],
        }],
        ..LoopbackOptions::default()
    })
    .await;
    let relay = Relay::start(ssh.server.addr, Duration::ZERO).await;
    let (prompter, mut questions) = Prompter::channel();
    let person = tokio::spawn(async move {
        let mut asked = 0;
        while let Some(request) = questions.recv().await {
            asked += 1;
            let code = clawline::secret::Secret::from("1234".to_owned());
            let _ = request
                .reply
                .send(clawline::tunnel::prompt::Answer::Texts(vec![code]));
            if asked > 1 {
                break;
            }
        }
        asked
    });
    let hop = hop_through(&ssh, relay.addr.port());
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    let echo = Echo::start().await;
    let _talk = chatter(tunnel.open(&echo.remote()).await.unwrap());
    relay.silence_old_ones();
    let mut view = tunnel.view();
    let down = view_where(&mut view, "attention", |view| {
        matches!(view.status, TunnelStatus::Attention { .. })
    });
    down.await;
    assert_eq!(ssh.server.accepted(), 1);
    person.abort();
}
