//! The ends of forwards: sockets on both sides, SOCKS, who holds a socket, and what happens to programs
//! while nothing can be reached.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use clawline::loopback_ssh::LoopbackOptions;
use clawline::tunnel::forward::{BindError, BindRules, Forward};
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::{LocalEnd, RemoteEnd};
use clawline::tunnel::{BULK_CONNECTIONS, Tunnel, TunnelOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{BUSY, Echo, PATIENCE, SshWorld, echo_works, free_port, until_up, view_where};

fn any_port() -> LocalEnd {
    LocalEnd::Tcp(([127, 0, 0, 1], 0).into())
}

fn address(forward: &Forward) -> SocketAddr {
    let LocalEnd::Tcp(address) = *forward.local() else {
        panic!("{}", forward.local());
    };
    address
}

fn start(world: &SshWorld) -> Tunnel {
    let options = TunnelOptions {
        bulk_connections: BULK_CONNECTIONS,
        ..TunnelOptions::default()
    };
    Tunnel::start(world.spec(), Prompter::nobody(), options)
}

fn served(forward: Forward, tunnel: &Tunnel, remote: RemoteEnd) -> JoinHandle<()> {
    let tunnel = tunnel.clone();
    tokio::spawn(async move { forward.serve(&tunnel, &remote).await })
}

/// What a program gets that connects, says something and waits for the end.
async fn turned_away(local: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut program = TcpStream::connect(local).await?;
    program.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
    let mut got = Vec::new();
    let reading = program.read_to_end(&mut got);
    tokio::time::timeout(PATIENCE, reading).await.unwrap()?;
    Ok(got)
}

#[tokio::test]
async fn a_socket_here_leads_to_a_socket_there() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let directory = TempDir::new().unwrap();
    let (near, far) = (directory.path().join("near"), directory.path().join("far"));
    let listener = UnixListener::bind(&far).unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = socket.into_split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let tunnel = start(&world);
    let forward = Forward::bind(&LocalEnd::Unix(near.clone())).unwrap();
    let remote = RemoteEnd::Unix(far.to_str().unwrap().into());
    let _serving = served(forward, &tunnel, remote);
    let mut program = UnixStream::connect(&near).await.unwrap();
    assert!(echo_works(&mut program).await);
}

#[tokio::test]
async fn a_second_instance_is_told_who_holds_the_socket_and_gets_it_when_that_is_gone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.sock");
    let end = LocalEnd::Unix(path.clone());
    let first = Forward::bind(&end).unwrap();
    let Err(BindError::Taken { holder, .. }) = Forward::bind(&end) else {
        panic!("it was bound twice");
    };
    assert_eq!(holder.unwrap().process.unwrap().0, std::process::id());
    drop(first);
    drop(Forward::bind(&end).unwrap());
    // What holds it without a lock is found too.
    let _other = UnixListener::bind(&path).unwrap();
    let Err(BindError::Taken { holder, .. }) = Forward::bind(&end) else {
        panic!("a live socket was replaced");
    };
    assert_eq!(holder.unwrap().process.unwrap().0, std::process::id());
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 1);
    // Whoever says so takes it away.
    let rules = BindRules {
        socket_mask: 0o117,
        socket_unlink: true,
        ..BindRules::default()
    };
    let _ours = Forward::bind_by(&end, rules).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn what_other_machines_could_reach_is_bound_only_when_asked_for_twice() {
    let anywhere = LocalEnd::Tcp(([0, 0, 0, 0], 0).into());
    let error = Forward::bind(&anywhere).unwrap_err();
    assert!(matches!(error, BindError::Open(_)), "{error}");
    assert!(error.next_step().contains("--allow-other-users"));
    let rules = BindRules {
        anybody: true,
        ..BindRules::default()
    };
    drop(Forward::bind_by(&anywhere, rules).unwrap());
}

#[tokio::test]
async fn programs_say_by_socks_where_they_want_to_go() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let tunnel = start(&world);
    let forward = Forward::bind(&any_port()).unwrap();
    let local = address(&forward);
    let serving = {
        let tunnel = tunnel.clone();
        tokio::spawn(async move { forward.serve_socks(&tunnel).await })
    };
    let port = echo.addr.port().to_be_bytes();
    let mut five = vec![5, 1, 0, 5, 1, 0, 3, 9];
    five.extend(b"localhost");
    five.extend(port);
    let mut four = vec![4, 1];
    four.extend(port);
    four.extend([127, 0, 0, 1, 0]);
    for (asked, answer) in [
        (five, &[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0][..]),
        (four, &[0, 0x5a, 0, 0, 0, 0, 0, 0][..]),
    ] {
        let mut program = TcpStream::connect(local).await.unwrap();
        program.write_all(&asked).await.unwrap();
        let mut got = vec![0; answer.len()];
        program.read_exact(&mut got).await.unwrap();
        assert_eq!(got, answer);
        assert!(echo_works(&mut program).await);
    }
    // The server lets nobody out of loopback.
    let mut program = TcpStream::connect(local).await.unwrap();
    let forbidden = [5, 1, 0, 5, 1, 0, 1, 192, 0, 2, 1, 0, 80];
    program.write_all(&forbidden).await.unwrap();
    let mut got = Vec::new();
    program.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, [5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(turned_away(local).await.unwrap(), b"");
    serving.abort();
}

#[tokio::test]
async fn either_side_may_end_its_half_first() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let far = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"that is all from me").await.unwrap();
        socket.shutdown().await.unwrap();
        let mut got = Vec::new();
        socket.read_to_end(&mut got).await.unwrap();
        got.len()
    });
    let tunnel = start(&world);
    let forward = Forward::bind(&any_port()).unwrap();
    let local = address(&forward);
    let _serving = served(forward, &tunnel, RemoteEnd::loopback(port));
    let mut program = TcpStream::connect(local).await.unwrap();
    let mut got = Vec::new();
    program.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"that is all from me");
    program.write_all(&vec![1; 1_000_000]).await.unwrap();
    program.shutdown().await.unwrap();
    assert_eq!(far.await.unwrap(), 1_000_000);
}

#[tokio::test]
async fn a_thousand_connections_at_a_time_are_served() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let tunnel = start(&world);
    until_up(&mut tunnel.view()).await;
    let forward = Forward::bind(&any_port()).unwrap();
    let local = address(&forward);
    let _serving = served(forward, &tunnel, echo.remote());
    // Who comes waits for a way through for 10 s at most, which is not enough for all of them at once on
    // a machine that is busy with other things.
    let mut programs = Vec::new();
    for _ in 0..20 {
        let mut coming = JoinSet::new();
        for _ in 0..50 {
            coming.spawn(async move {
                let mut program = TcpStream::connect(local).await.unwrap();
                assert!(echo_works(&mut program).await);
                program
            });
        }
        programs.extend(coming.join_all().await);
    }
    for program in &mut programs {
        assert!(echo_works(program).await);
    }
}

#[tokio::test]
async fn while_the_far_end_refuses_programs_are_turned_away_plainly_and_few_channels_are_tried() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let far = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let tunnel = start(&world);
    until_up(&mut tunnel.view()).await;
    let forward = Forward::bind(&any_port()).unwrap();
    let local = address(&forward);
    let _serving = served(forward, &tunnel, RemoteEnd::loopback(far.port()));
    let started = Instant::now();
    let mut programs = JoinSet::new();
    for _ in 0..300 {
        programs.spawn(turned_away(local));
    }
    for got in programs.join_all().await {
        assert_eq!(got.unwrap(), b"");
    }
    assert!(started.elapsed() < Duration::from_secs(10) + BUSY);
    // It is back: nobody waits longer than a second.
    let listener = TcpListener::bind(far).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"hello").await;
        }
    });
    let started = Instant::now();
    assert_eq!(turned_away(local).await.unwrap(), b"hello");
    assert!(started.elapsed() < Duration::from_secs(3) + BUSY);
}

#[tokio::test]
async fn who_waits_too_long_for_the_tunnel_is_turned_away_plainly() {
    let world = SshWorld::new(LoopbackOptions {
        port: free_port(),
        ..LoopbackOptions::default()
    })
    .await;
    let tunnel = start(&world);
    let mut view = tunnel.view();
    until_up(&mut view).await;
    world.server.stop().await;
    view_where(&mut view, "down", |view| !view.status.is_up()).await;
    let forward = Forward::bind(&any_port()).unwrap();
    let local = address(&forward);
    let _serving = served(forward, &tunnel, RemoteEnd::loopback(1));
    let started = Instant::now();
    let mut programs = JoinSet::new();
    for _ in 0..20 {
        programs.spawn(turned_away(local));
    }
    for got in programs.join_all().await {
        assert_eq!(got.unwrap(), b"");
    }
    let waited = started.elapsed();
    assert!(
        waited > Duration::from_secs(9) && waited < Duration::from_secs(10) + BUSY,
        "{waited:?}"
    );
}
