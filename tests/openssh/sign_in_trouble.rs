//! Servers that are busy, strict or gone in the middle of a sign-in: right words, and no hammering.

use std::time::{Duration, Instant};

use clawline::layer::{Layer, Retry};
use clawline::tunnel::prompt::{Prompt, Prompter};
use clawline::tunnel::status::TunnelStatus;
use clawline::tunnel::{Tunnel, TunnelOptions};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::keys::keygen;
use crate::support::person::{person, secret};
use crate::support::relay::Relay;
use crate::support::sshd::{Sshd, spec_of};
use crate::support::{BUSY, PATIENCE, eventually, pass};

/// How long a server's log is watched for connections that should not come.
const WATCHED: Duration = Duration::from_secs(5);

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_wrong_password_three_times_is_one_connection() {
    let sshd = Sshd::start("PasswordAuthentication yes");
    let mut hop = sshd.hop();
    hop.identity_files.clear();
    let (prompter, asked) = person(|_| secret("wrong"));
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert_eq!(
        (error.layer, error.retry),
        (Layer::SignIn, Retry::Attention)
    );
    assert!(error.what.contains("(tried password)"), "{error}");
    pass(WATCHED).await;
    assert_eq!(sshd.connections(), 1, "{}", sshd.log());
    tunnel.stop().await;
    drop(tunnel);
    let attempts: Vec<u32> = asked
        .await
        .unwrap()
        .iter()
        .map(|prompt| match prompt {
            Prompt::Password { attempt, .. } => *attempt,
            other => panic!("asked: {other:?}"),
        })
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn refused_keys_without_a_person_are_one_connection_a_minute() {
    let sshd = Sshd::start("");
    std::fs::write(sshd.path("authorized_keys"), "").unwrap();
    let tunnel = Tunnel::start(sshd.spec(), Prompter::nobody(), TunnelOptions::default());
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert_eq!(error.layer, Layer::SignIn);
    pass(WATCHED).await;
    assert_eq!(sshd.connections(), 1, "{}", sshd.log());
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_full_sshd_is_named_and_the_link_comes_up_soon_after_there_is_room() {
    let sshd = Sshd::start("MaxStartups 2:100:2");
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(("127.0.0.1", sshd.port()))
            .await
            .unwrap();
        let mut greeting = [0; 4];
        socket.read_exact(&mut greeting).await.unwrap();
        idle.push(socket);
    }
    let tunnel = Tunnel::start(sshd.spec(), Prompter::nobody(), TunnelOptions::default());
    eventually("turned away", || {
        matches!(tunnel.view().borrow().status, TunnelStatus::Waiting { .. })
    })
    .await;
    let TunnelStatus::Waiting { why, .. } = tunnel.view().borrow().status.clone() else {
        panic!("no longer waiting");
    };
    assert_eq!((why.layer, why.retry), (Layer::Ssh, Retry::Backoff));
    assert!(why.what.contains("too many sign-ins under way"), "{why:?}");
    assert!(why.peer_text.contains("MaxStartups"), "{why:?}");
    let words = format!("{} {}", why.what, why.next).to_lowercase();
    assert!(!words.contains("host key") && !words.contains("protocol"));
    drop(idle);
    let free = Instant::now();
    eventually("up", || tunnel.view().borrow().status.is_up()).await;
    assert!(free.elapsed() < Duration::from_secs(5) + BUSY);
    tunnel.stop().await;
}

/// A server and a key of it that is encrypted.
fn locked(options: &str) -> Sshd {
    let sshd = Sshd::start(options);
    std::fs::remove_file(sshd.path("id")).unwrap();
    keygen("ed25519", &sshd.path("id"), "open sesame");
    std::fs::copy(sshd.path("id.pub"), sshd.path("authorized_keys")).unwrap();
    sshd
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_question_ends_with_the_patience_of_the_server_and_is_not_asked_again() {
    let sshd = locked("LoginGraceTime 2");
    let (prompter, mut questions) = Prompter::channel();
    let tunnel = Tunnel::start(sshd.spec(), prompter, TunnelOptions::default());
    let mut question = questions.recv().await.unwrap();
    let asked = Instant::now();
    let withdrawn = tokio::time::timeout(PATIENCE, question.reply.closed());
    assert!(withdrawn.await.is_ok(), "the question stays open");
    assert!(asked.elapsed() < Duration::from_secs(4) + BUSY);
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert_eq!(
        (error.layer, error.retry),
        (Layer::SignIn, Retry::Attention)
    );
    assert!(
        error.what.contains("closed the connection while"),
        "{error}"
    );
    assert!(error.next.contains("LoginGraceTime"), "{error:?}");
    let again = tokio::time::timeout(WATCHED, questions.recv());
    assert!(again.await.is_err(), "asked again");
    assert_eq!(sshd.connections(), 1, "{}", sshd.log());
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_path_that_is_cut_while_a_question_is_open_takes_the_question_away() {
    let sshd = locked("");
    let server = ([127, 0, 0, 1], sshd.port()).into();
    let relay = Relay::start(server, Duration::ZERO).await;
    let mut hop = sshd.hop_through(relay.addr.port());
    hop.identity_files[0].path = sshd.path("id");
    let (prompter, mut questions) = Prompter::channel();
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    let mut question = questions.recv().await.unwrap();
    relay.cut_old_ones();
    let withdrawn = tokio::time::timeout(PATIENCE, question.reply.closed());
    assert!(withdrawn.await.is_ok(), "the question stays open");
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert_eq!(error.layer, Layer::SignIn);
    assert!(!error.what.contains("refused"), "{error}");
    // A person who has the time now gets the same question, and is let in.
    tunnel.reconnect_now();
    let question = questions.recv().await.unwrap();
    question.reply.send(secret("open sesame")).unwrap();
    tunnel.wait_up(PATIENCE).await.unwrap();
    tunnel.stop().await;
}
