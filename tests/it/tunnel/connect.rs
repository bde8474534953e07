//! Up, open, exec, and the layer that is named when one of them fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clawline::layer::{Layer, Retry, RowState};
use clawline::loopback_ssh::{ExecReply, LoopbackOptions, fresh_key};
use clawline::tunnel::prompt::{Answer, Prompt, Prompter};
use clawline::tunnel::spec::{RemoteEnd, StrictHostKey};
use clawline::tunnel::status::TunnelStatus;
use clawline::tunnel::{Tunnel, TunnelOptions};

use crate::support::{
    BUSY, Echo, PATIENCE, SshWorld, closed_port, echo_works, eventually, free_port, spec_of,
    until_up, view_where, why,
};

fn start(world: &SshWorld) -> Tunnel {
    Tunnel::start(world.spec(), Prompter::nobody(), TunnelOptions::default())
}

#[tokio::test]
async fn a_stream_through_the_tunnel_carries_bytes_both_ways() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let tunnel = start(&world);
    let mut stream = tunnel.open(&echo.remote()).await.unwrap();
    assert!(echo_works(&mut stream).await);

    let view = until_up(&mut tunnel.view()).await;
    assert_eq!(view.generation, 1);
    let detail = |layer| view.rows.row(layer).unwrap().detail.clone();
    let up_to_port = view
        .rows
        .rows()
        .iter()
        .filter(|row| row.layer <= Layer::Port);
    assert!(up_to_port.clone().all(|row| row.state == RowState::Ok));
    assert_eq!(
        detail(Layer::Ssh),
        "clawline-loopback · mlkem768x25519 · aes256-gcm · strict kex"
    );
    assert!(detail(Layer::HostKey).ends_with("known_hosts line 1"));
    assert!(detail(Layer::SignIn).starts_with("publickey, key "));
    assert!(detail(Layer::Forward).contains("over one channel"));
}

#[tokio::test]
async fn a_dropped_handle_ends_the_connection() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let tunnel = start(&world);
    tunnel.wait_up(PATIENCE).await.unwrap();
    assert_eq!(world.server.connections(), 1);
    drop(tunnel);
    eventually("no connection left", || world.server.connections() == 0).await;
}

#[tokio::test]
async fn stop_says_goodbye_and_publishes_it() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let tunnel = start(&world);
    tunnel.wait_up(PATIENCE).await.unwrap();
    tunnel.stop().await;
    assert_eq!(tunnel.view().borrow().status, TunnelStatus::Stopped);
    assert!(tunnel.open(&RemoteEnd::loopback(1)).await.is_err());
    eventually("no connection left", || world.server.connections() == 0).await;
}

#[tokio::test]
async fn the_owner_answers_while_up_and_while_waiting_and_not_once_it_is_stopped() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let tunnel = start(&world);
    tunnel.wait_up(PATIENCE).await.unwrap();
    assert!(tunnel.owner_answers(PATIENCE).await);
    assert_eq!(tunnel.view().borrow().generation, 1);
    tunnel.pause();
    assert!(tunnel.owner_answers(PATIENCE).await);
    tunnel.stop().await;
    assert!(!tunnel.owner_answers(Duration::from_millis(20)).await);
}

#[tokio::test]
async fn a_command_gives_its_output_and_status() {
    let exec = |command: &str| match command {
        "discover" => ExecReply::Done {
            stdout: b"port 18789\n".to_vec(),
            status: 3,
        },
        "hang" => ExecReply::Hangs,
        _ => ExecReply::Refused,
    };
    let world = SshWorld::new(LoopbackOptions {
        exec: Some(Arc::new(exec)),
        ..LoopbackOptions::default()
    })
    .await;
    let tunnel = start(&world);
    let output = tunnel.exec("discover", 1024, PATIENCE).await.unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.exit_status),
        (&b"port 18789\n"[..], Some(3))
    );
    let too_much = tunnel.exec("discover", 5, PATIENCE).await.unwrap_err();
    assert!(too_much.what.contains("more than 5 bytes"), "{too_much}");
    let refused = tunnel.exec("other", 10, PATIENCE).await.unwrap_err();
    assert!(refused.what.contains("runs no commands"), "{refused}");
    let hangs = tunnel.exec("hang", 10, Duration::from_secs(2)).await;
    assert!(hangs.unwrap_err().what.contains("did not end"));
}

#[tokio::test]
async fn a_server_that_forbids_forwarding_is_named_as_such() {
    let world = SshWorld::new(LoopbackOptions {
        refuse_forwarding: true,
        ..LoopbackOptions::default()
    })
    .await;
    let tunnel = start(&world);
    let remote = RemoteEnd::loopback(18789);
    let error = tunnel.open(&remote).await.unwrap_err();
    assert_eq!(
        (error.layer, error.retry),
        (Layer::Forward, Retry::Attention)
    );
    assert!(error.what.contains("forbids forwarding to 127.0.0.1:18789"));
    assert!(error.next.contains("AllowTcpForwarding"));
    let view = tunnel.view().borrow().clone();
    assert!(view.status.is_up());
    assert_eq!(
        view.rows.row(Layer::Forward).unwrap().state,
        RowState::Failed
    );
}

#[tokio::test]
async fn a_closed_far_port_is_the_port_s_fault_and_not_the_forward_s() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let (_closed, port) = closed_port();
    let tunnel = start(&world);
    let error = tunnel.open(&RemoteEnd::loopback(port)).await.unwrap_err();
    assert_eq!(error.layer, Layer::Port);
    assert!(error.next.contains("clawline-gateway start"), "{error:?}");
    let rows = tunnel.view().borrow().rows.clone();
    assert_eq!(rows.row(Layer::Forward).unwrap().state, RowState::Ok);
    assert_eq!(rows.row(Layer::Port).unwrap().state, RowState::Failed);
}

#[tokio::test]
async fn an_unknown_host_is_refused_when_nobody_can_be_asked() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    std::fs::write(world.known_hosts(), "").unwrap();
    let tunnel = start(&world);
    let error = tunnel.open(&RemoteEnd::loopback(1)).await.unwrap_err();
    assert_eq!(error.layer, Layer::HostKey);
    assert_eq!(error.layer.exit_code(), 4);
    eventually("no connection left", || world.server.connections() == 0).await;
}

#[tokio::test]
async fn an_unknown_host_is_stored_with_accept_new() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    std::fs::write(world.known_hosts(), "").unwrap();
    let mut hop = world.hop();
    hop.strict_host_key = StrictHostKey::AcceptNew;
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    let stored = std::fs::read_to_string(world.known_hosts()).unwrap();
    assert!(stored.starts_with("[127.0.0.1]:"), "{stored}");
}

#[tokio::test]
async fn trust_once_is_asked_once_and_not_stored() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    std::fs::write(world.known_hosts(), "").unwrap();
    let (prompter, mut questions) = Prompter::channel();
    let tunnel = Tunnel::start(world.spec(), prompter, TunnelOptions::default());
    let question = questions.recv().await.unwrap();
    let Prompt::UnknownHostKey {
        host, fingerprint, ..
    } = &question.prompt
    else {
        panic!("{:?}", question.prompt);
    };
    assert_eq!(host, &format!("[127.0.0.1]:{}", world.server.addr.port()));
    assert!(fingerprint.starts_with("SHA256:"));
    question.reply.send(Answer::TrustOnce).unwrap();
    tunnel.wait_up(PATIENCE).await.unwrap();
    world.server.kill_connections();
    let mut view = tunnel.view();
    view_where(&mut view, "up again", |view| view.generation > 1).await;
    assert!(questions.try_recv().is_err());
    assert_eq!(std::fs::read_to_string(world.known_hosts()).unwrap(), "");
}

/// B17.
#[tokio::test]
async fn whoever_is_asked_about_a_key_is_warned_of_a_name_that_may_deceive() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    std::fs::write(world.known_hosts(), "").unwrap();
    let (prompter, mut questions) = Prompter::channel();
    let mut hop = world.hop();
    hop.host_key_alias = Some("xn--pypal-4ve.example".into());
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    let question = questions.recv().await.unwrap();
    let Prompt::UnknownHostKey { host, note, .. } = &question.prompt else {
        panic!("{:?}", question.prompt);
    };
    assert_eq!(host, "xn--pypal-4ve.example");
    assert!(note.contains("mixes Cyrillic and Latin letters"), "{note}");
    question.reply.send(Answer::Cancel).unwrap();
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert_eq!(error.layer, Layer::HostKey);
    assert_eq!(std::fs::read_to_string(world.known_hosts()).unwrap(), "");
}

#[tokio::test]
async fn a_changed_host_key_fails_for_good() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let other = fresh_key().unwrap().public_key().to_openssh().unwrap();
    let line = format!("[127.0.0.1]:{} {other}\n", world.server.addr.port());
    std::fs::write(world.known_hosts(), line).unwrap();
    let (prompter, mut questions) = Prompter::channel();
    let mut hop = world.hop();
    hop.strict_host_key = StrictHostKey::AcceptNew;
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    let error = tunnel.open(&RemoteEnd::loopback(1)).await.unwrap_err();
    assert_eq!((error.layer, error.retry), (Layer::HostKey, Retry::Never));
    assert!(matches!(
        tunnel.view().borrow().status,
        TunnelStatus::Failed { .. }
    ));
    assert!(questions.try_recv().is_err());
    assert_eq!(world.server.accepted(), 1);
}

#[tokio::test]
async fn a_killed_connection_comes_back_and_the_generation_rises() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let tunnel = start(&world);
    let mut stream = tunnel.open(&echo.remote()).await.unwrap();
    assert!(echo_works(&mut stream).await);
    world.server.kill_connections();
    assert!(!echo_works(&mut stream).await);
    let mut view = tunnel.view();
    view_where(&mut view, "up again", |view| {
        view.generation > 1 && view.status.is_up()
    })
    .await;
    let mut stream = tunnel.open(&echo.remote()).await.unwrap();
    assert!(echo_works(&mut stream).await);
}

#[tokio::test]
async fn a_server_that_is_down_is_tried_until_it_is_back_and_at_once_when_it_is() {
    let world = SshWorld::new(LoopbackOptions {
        port: free_port(),
        ..LoopbackOptions::default()
    })
    .await;
    let spec = world.spec();
    let SshWorld { home, key, server } = world;
    let options = LoopbackOptions {
        client_key: Some(key.public_key().clone()),
        port: server.addr.port(),
        ..LoopbackOptions::default()
    };
    server.stop().await;
    let mut hop = spec.hops[0].clone();
    hop.strict_host_key = StrictHostKey::AcceptNew;
    std::fs::remove_file(home.path().join("known_hosts")).unwrap();
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    let mut view = tunnel.view();
    let waiting = view_where(&mut view, "waiting", |view| why(view).is_some()).await;
    assert_eq!(why(&waiting).unwrap().layer, Layer::Tcp);
    let _server = clawline::loopback_ssh::LoopbackSsh::start(options)
        .await
        .unwrap();
    let back = Instant::now();
    until_up(&mut view).await;
    assert!(
        back.elapsed() < Duration::from_secs(2) + BUSY,
        "{:?}",
        back.elapsed()
    );
}

#[tokio::test]
async fn once_means_one_try() {
    let (_closed, port) = closed_port();
    let hop = clawline::tunnel::spec::HopSpec::bare("127.0.0.1", port, "me");
    let options = TunnelOptions {
        once: true,
        ..TunnelOptions::default()
    };
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), options);
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert_eq!(error.layer, Layer::Tcp);
}

#[tokio::test]
async fn pause_disconnects_until_reconnect() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let tunnel = start(&world);
    tunnel.wait_up(PATIENCE).await.unwrap();
    tunnel.pause();
    let mut view = tunnel.view();
    view_where(&mut view, "paused", |view| {
        view.status == TunnelStatus::Paused
    })
    .await;
    eventually("no connection left", || world.server.connections() == 0).await;
    tunnel.reconnect_now();
    tunnel.wait_up(PATIENCE).await.unwrap();
    assert_eq!(tunnel.view().borrow().generation, 2);
}

#[tokio::test]
async fn an_open_while_the_connection_dies_waits_for_the_next_one() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let echo = Echo::start().await;
    let tunnel = start(&world);
    tunnel.wait_up(PATIENCE).await.unwrap();
    world.server.kill_connections();
    let mut stream = tunnel.open(&echo.remote()).await.unwrap();
    assert!(echo_works(&mut stream).await);
    assert!(tunnel.view().borrow().generation > 1);
}

#[tokio::test]
async fn quick_tries_do_not_flicker_between_waiting_and_connecting() {
    let (_closed, port) = closed_port();
    let hop = clawline::tunnel::spec::HopSpec::bare("127.0.0.1", port, "me");
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    let mut view = tunnel.view();
    view_where(&mut view, "waiting", |view| why(view).is_some()).await;
    let mut due = Instant::now();
    loop {
        let now = view.borrow_and_update().clone();
        match now.status {
            TunnelStatus::Waiting { attempt, until, .. } => {
                assert_eq!(now.rows.row(Layer::Tcp).unwrap().state, RowState::Failed);
                if attempt > 3 {
                    break;
                }
                due = until;
            }
            // One that takes a second is not quick, and shown.
            TunnelStatus::Connecting { .. } if due.elapsed() >= Duration::from_secs(1) => {}
            _ => panic!("{now:?}"),
        }
        view.changed().await.unwrap();
    }
}
