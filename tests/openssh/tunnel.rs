//! The tunnel comes up through a real sshd and survives what happens to it.

use std::time::{Duration, Instant};

use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::RemoteEnd;
use clawline::tunnel::{Tunnel, TunnelOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::relay::Relay;
use crate::support::sshd::{Sshd, spec_of};
use crate::support::{BUSY, PATIENCE, eventually};

/// An echo server, as a far end.
async fn echo() -> RemoteEnd {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.into_split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    RemoteEnd::loopback(port)
}

async fn echo_works(tunnel: &Tunnel, remote: &RemoteEnd) -> bool {
    let Ok(mut stream) = tunnel.open(remote).await else {
        return false;
    };
    let talk = async {
        stream.write_all(b"hello there").await?;
        stream.flush().await?;
        let mut back = [0; 11];
        stream.read_exact(&mut back).await?;
        Ok::<_, std::io::Error>(&back == b"hello there")
    };
    matches!(tokio::time::timeout(PATIENCE, talk).await, Ok(Ok(true)))
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_killed_session_process_is_replaced_and_the_listener_alone_is_not_missed() {
    let mut sshd = Sshd::start("");
    let remote = echo().await;
    let tunnel = Tunnel::start(sshd.spec(), Prompter::nobody(), TunnelOptions::default());
    assert!(echo_works(&tunnel, &remote).await);

    let sessions = sshd.sessions();
    sshd.kill_listener();
    assert!(echo_works(&tunnel, &remote).await);
    assert_eq!(tunnel.view().borrow().generation, 1);

    sshd.start_again();
    for pid in sessions {
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    let started = Instant::now();
    eventually("a second connection", || {
        tunnel.view().borrow().generation > 1
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(5) + BUSY);
    assert!(echo_works(&tunnel, &remote).await);
    tunnel.stop().await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_cut_path_is_replaced() {
    let sshd = Sshd::start("");
    let server = ([127, 0, 0, 1], sshd.port()).into();
    let relay = Relay::start(server, Duration::ZERO).await;
    let remote = echo().await;
    let spec = spec_of(sshd.hop_through(relay.addr.port()));
    let tunnel = Tunnel::start(spec, Prompter::nobody(), TunnelOptions::default());
    assert!(echo_works(&tunnel, &remote).await);
    assert_eq!(relay.open(), 1);
    relay.cut_old_ones();
    eventually("a second connection", || {
        tunnel.view().borrow().generation > 1
    })
    .await;
    assert!(echo_works(&tunnel, &remote).await);
    tunnel.stop().await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_session_process_that_is_stopped_is_noticed_in_time_idle_and_with_a_busy_writer() {
    const INTERVAL: Duration = Duration::from_millis(300);
    const COUNT_MAX: u32 = 2;
    for is_busy in [false, true] {
        let sshd = Sshd::start("");
        let remote = echo().await;
        let mut hop = sshd.hop();
        hop.alive_interval = Some(INTERVAL);
        hop.alive_count_max = Some(COUNT_MAX);
        let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
        assert!(echo_works(&tunnel, &remote).await);
        let writer = match is_busy {
            false => None,
            true => {
                let mut stream = tunnel.open(&remote).await.unwrap();
                Some(tokio::spawn(async move {
                    while stream.write_all(&[7; 64 * 1024]).await.is_ok() {}
                }))
            }
        };
        assert!(sshd.signal_sessions(nix::sys::signal::Signal::SIGSTOP) > 0);
        let stopped = Instant::now();
        eventually("another connection", || {
            tunnel.view().borrow().generation > 1
        })
        .await;
        let noticed = stopped.elapsed();
        assert!(
            noticed < INTERVAL * (COUNT_MAX + 1) + Duration::from_secs(1) + BUSY,
            "{noticed:?}"
        );
        assert!(echo_works(&tunnel, &remote).await);
        tunnel.stop().await;
        if let Some(writer) = writer {
            writer.await.unwrap();
        }
    }
}
