//! Local ends for other programs.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use clawline::loopback_ssh::{LoopbackOptions, LoopbackSsh};
use clawline::tunnel::forward::{BindError, Forward};
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::{LocalEnd, RemoteEnd, StrictHostKey};
use clawline::tunnel::{Tunnel, TunnelOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

use crate::support::{BUSY, Echo, PATIENCE, SshWorld, echo_works, free_port, spec_of, view_where};

fn any_port() -> LocalEnd {
    LocalEnd::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn address(forward: &Forward) -> SocketAddr {
    match forward.local() {
        LocalEnd::Tcp(address) => *address,
        LocalEnd::Unix(path) => panic!("{}", path.display()),
    }
}

fn served(forward: Forward, tunnel: &Tunnel, remote: RemoteEnd) -> JoinHandle<()> {
    let tunnel = tunnel.clone();
    tokio::spawn(async move { forward.serve(&tunnel, &remote).await })
}

fn start(world: &SshWorld) -> Tunnel {
    Tunnel::start(world.spec(), Prompter::nobody(), TunnelOptions::default())
}

#[tokio::test]
async fn many_programs_reach_the_far_end_through_one_port() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let tunnel = start(&world);
    let forward = Forward::bind(&any_port()).unwrap();
    let local = address(&forward);
    let _serving = served(forward, &tunnel, echo.remote());
    let mut programs = Vec::new();
    for _ in 0..20 {
        programs.push(TcpStream::connect(local).await.unwrap());
    }
    for program in &mut programs {
        assert!(echo_works(program).await);
    }
    assert_eq!(world.server.accepted(), 1);
}

#[tokio::test]
async fn the_end_of_a_program_s_data_is_passed_on_and_the_answer_comes_back() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let far = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        socket.read_to_end(&mut got).await.unwrap();
        socket.write_all(&got.len().to_be_bytes()).await.unwrap();
    });
    let tunnel = start(&world);
    let forward = Forward::bind(&any_port()).unwrap();
    let local = address(&forward);
    let _serving = served(forward, &tunnel, RemoteEnd::loopback(port));
    let mut program = TcpStream::connect(local).await.unwrap();
    program.write_all(&vec![1; 3_000_000]).await.unwrap();
    program.shutdown().await.unwrap();
    let mut answer = Vec::new();
    program.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, 3_000_000_usize.to_be_bytes());
    far.await.unwrap();
}

#[tokio::test]
async fn the_port_outlives_the_connection_and_a_program_waits_for_the_next_one() {
    let world = SshWorld::new(LoopbackOptions {
        port: free_port(),
        ..LoopbackOptions::default()
    })
    .await;
    let echo = Echo::start().await;
    let options = LoopbackOptions {
        client_key: Some(world.key.public_key().clone()),
        port: world.server.addr.port(),
        ..LoopbackOptions::default()
    };
    let mut hop = world.hop();
    hop.strict_host_key = StrictHostKey::AcceptNew;
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    let forward = Forward::bind(&any_port()).unwrap();
    let local = address(&forward);
    let _serving = served(forward, &tunnel, echo.remote());
    let mut before = TcpStream::connect(local).await.unwrap();
    assert!(echo_works(&mut before).await);

    let SshWorld { home, server, .. } = world;
    server.stop().await;
    let mut view = tunnel.view();
    view_where(&mut view, "down", |view| !view.status.is_up()).await;
    assert!(!echo_works(&mut before).await);
    let mut waiting = TcpStream::connect(local).await.unwrap();
    waiting.write_all(b"hello there").await.unwrap();
    // The new server has a key of its own.
    std::fs::write(home.path().join("known_hosts"), "").unwrap();
    let _server = LoopbackSsh::start(options).await.unwrap();
    let mut back = [0; 11];
    tokio::time::timeout(PATIENCE, waiting.read_exact(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&back, b"hello there");
}

#[tokio::test]
async fn a_program_waits_for_the_far_end_to_be_found_and_goes_where_it_moved_to() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let (first, second) = (Echo::start().await, Echo::start().await);
    let tunnel = start(&world);
    let forward = Forward::bind(&any_port()).unwrap();
    let local = address(&forward);
    let (found, far_end) = tokio::sync::watch::channel(None);
    let serving = tokio::spawn({
        let tunnel = tunnel.clone();
        async move { forward.serve_found(&tunnel, far_end).await }
    });
    let mut early = TcpStream::connect(local).await.unwrap();
    early.write_all(b"hello there").await.unwrap();
    found.send_replace(Some(first.remote()));
    let mut back = [0; 11];
    let answered = tokio::time::timeout(PATIENCE, early.read_exact(&mut back)).await;
    answered.unwrap().unwrap();
    drop(first);
    found.send_replace(Some(second.remote()));
    let mut later = TcpStream::connect(local).await.unwrap();
    assert!(echo_works(&mut later).await);
    serving.abort();
}

#[tokio::test]
async fn what_ends_before_its_answer_is_reset_and_what_ends_after_it_is_closed() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let tunnel = start(&world);
    let forward = Forward::bind(&any_port()).unwrap();
    let local = address(&forward);
    let serving = served(forward, &tunnel, echo.remote());
    let mut whole = TcpStream::connect(local).await.unwrap();
    assert!(echo_works(&mut whole).await);
    whole.shutdown().await.unwrap();
    let end = tokio::time::timeout(PATIENCE, whole.read(&mut [0; 1])).await;
    assert_eq!(end.unwrap().unwrap(), 0);

    let mut cut = TcpStream::connect(local).await.unwrap();
    assert!(echo_works(&mut cut).await);
    serving.abort();
    let end = tokio::time::timeout(PATIENCE, cut.read(&mut [0; 1])).await;
    let error = end.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_refused_far_port_closes_the_program_s_connection_at_once() {
    let world = SshWorld::new(LoopbackOptions {
        refuse_forwarding: true,
        ..LoopbackOptions::default()
    })
    .await;
    let tunnel = start(&world);
    let forward = Forward::bind(&any_port()).unwrap();
    let local = address(&forward);
    let _serving = served(forward, &tunnel, RemoteEnd::loopback(1));
    let started = Instant::now();
    let mut program = TcpStream::connect(local).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, program.read_u8()).await;
    assert!(end.unwrap().is_err());
    assert!(started.elapsed() < Duration::from_secs(5) + BUSY);
}

#[tokio::test]
async fn a_taken_port_names_its_holder_and_a_free_one() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = LocalEnd::Tcp(holder.local_addr().unwrap());
    let error = Forward::bind(&taken).unwrap_err();
    let BindError::Taken {
        holder: Some(who),
        free_port,
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(who.process.as_ref().unwrap().0, std::process::id());
    assert!(
        error
            .to_string()
            .contains(&format!("(pid {})", std::process::id()))
    );
    assert!(error.next_step().contains(&free_port.unwrap().to_string()));
}

#[tokio::test]
async fn a_unix_end_is_owner_only_replaces_a_stale_one_and_goes_with_its_listener() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let tunnel = start(&world);
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.sock");
    // A socket that nobody listens on. A program that another test starts in this moment would go on
    // listening for one that was dropped.
    let stale = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    stale
        .bind(&socket2::SockAddr::unix(&path).unwrap())
        .unwrap();
    drop(stale);
    let forward = Forward::bind(&LocalEnd::Unix(path.clone())).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(matches!(
        Forward::bind(&LocalEnd::Unix(path.clone())),
        Err(BindError::Taken { .. })
    ));
    let serving = served(forward, &tunnel, echo.remote());
    let mut program = UnixStream::connect(&path).await.unwrap();
    assert!(echo_works(&mut program).await);
    serving.abort();
    let _ = serving.await;
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(
        Forward::bind(&LocalEnd::Unix(path)),
        Err(BindError::NotASocket(_))
    ));
}

#[tokio::test]
async fn a_program_that_never_reads_does_not_slow_the_others() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flood = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.write_all(&vec![0; 3 * 1024 * 1024]).await;
        std::future::pending::<()>().await;
    });
    let echo = Echo::start().await;
    let tunnel = start(&world);
    let flooded = Forward::bind(&any_port()).unwrap();
    let echoing = Forward::bind(&any_port()).unwrap();
    let (stuck, lively) = (address(&flooded), address(&echoing));
    let _flooding = served(flooded, &tunnel, RemoteEnd::loopback(flood));
    let _serving = served(echoing, &tunnel, echo.remote());
    let _never_reads = TcpStream::connect(stuck).await.unwrap();
    let mut other = TcpStream::connect(lively).await.unwrap();
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        assert!(echo_works(&mut other).await);
    }
}
