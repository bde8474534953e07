//! The words when there is no way in, and what happens after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clawline::layer::{Layer, Retry};
use clawline::loopback_ssh::{LoopbackOptions, fresh_key};
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::{AgentChoice, IdentityFile};
use clawline::tunnel::status::TunnelStatus;
use clawline::tunnel::{Tunnel, TunnelOptions};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::certificate;
use tokio::net::{TcpListener, TcpStream};

use crate::support::agent::TestAgent;
use crate::support::person::{nobody_asked, outcome};
use crate::support::{
    BUSY, PATIENCE, SshWorld, eventually, pass, spec_of, view_where, why, write_key,
};

#[tokio::test]
async fn the_banner_of_a_server_that_refuses_is_shown() {
    let world = SshWorld::new(LoopbackOptions {
        client_key: Some(fresh_key().unwrap().public_key().clone()),
        banner: Some("Staff only.\u{7}".into()),
        ..LoopbackOptions::default()
    })
    .await;
    let (result, _) = outcome(world.hop(), nobody_asked).await;
    assert_eq!(result.unwrap_err().peer_text, "Staff only.\\u{7}");
}

#[tokio::test]
async fn too_many_tries_are_named_as_such() {
    let world = SshWorld::new(LoopbackOptions {
        max_auth_tries: Some(2),
        client_key: Some(fresh_key().unwrap().public_key().clone()),
        ..LoopbackOptions::default()
    })
    .await;
    let keys: Vec<PrivateKey> = (0..5).map(|_| fresh_key().unwrap()).collect();
    let mut hop = world.hop();
    hop.identity_files = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let path = world.home.path().join(format!("key{index}"));
        write_key(&path, key);
        hop.identity_files.push(IdentityFile { path, named: true });
    }
    let (result, _) = outcome(hop, nobody_asked).await;
    let error = result.unwrap_err();
    assert_eq!(error.layer, Layer::SignIn);
    assert_eq!(error.retry, Retry::Attention, "{error:?}");
}

/// A certificate for the world's key that ended `ago` before now, or ends an hour from now.
fn certificate(world: &SshWorld, ago: Option<Duration>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let end = match ago {
        Some(ago) => now - ago,
        None => now + Duration::from_secs(3600),
    };
    let key = world.key.public_key().key_data().clone();
    let mut builder = certificate::Builder::new(vec![7; 16], key, 0, end.as_secs()).unwrap();
    builder.all_principals_valid().unwrap();
    let certificate = builder.sign(&fresh_key().unwrap()).unwrap();
    certificate.to_openssh().unwrap()
}

#[tokio::test]
async fn an_expired_certificate_is_named_and_a_renewed_one_is_tried_without_a_word() {
    let world = SshWorld::new(LoopbackOptions {
        client_key: Some(fresh_key().unwrap().public_key().clone()),
        ..LoopbackOptions::default()
    })
    .await;
    let path = world.home.path().join("id-cert.pub");
    let three_hours = Duration::from_secs(3 * 3600 + 60);
    std::fs::write(&path, certificate(&world, Some(three_hours))).unwrap();
    let tunnel = Tunnel::start(world.spec(), Prompter::nobody(), TunnelOptions::default());
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert!(
        error.what.contains("id-cert.pub expired 3 h ago"),
        "{error}"
    );
    assert!(error.next.contains("renew the certificate"), "{error:?}");
    assert_eq!(error.retry, Retry::Attention);
    assert_eq!(world.server.accepted(), 1);
    // Whole at once: what is half-way written is a change, too.
    let renewed = path.with_extension("new");
    std::fs::write(&renewed, certificate(&world, None)).unwrap();
    std::fs::rename(&renewed, &path).unwrap();
    eventually("a second try", || world.server.accepted() > 1).await;
    let mut view = tunnel.view();
    view_where(&mut view, "refused with the renewed certificate", |view| {
        why(view).is_some_and(|why| why.what.contains("tried certificate"))
    })
    .await;
}

#[tokio::test]
async fn few_keys_of_a_full_agent_are_offered_and_their_fingerprints_listed() {
    let world = SshWorld::new(LoopbackOptions {
        client_key: Some(fresh_key().unwrap().public_key().clone()),
        ..LoopbackOptions::default()
    })
    .await;
    let keys: Vec<PrivateKey> = (0..8).map(|_| fresh_key().unwrap()).collect();
    let agent = TestAgent::start(&keys).await;
    let mut hop = world.hop();
    hop.agent = AgentChoice::Socket(agent.socket());
    let (result, _) = outcome(hop, nobody_asked).await;
    let error = result.unwrap_err();
    // The named file and three of the agent.
    assert_eq!(error.what.matches("agent key ").count(), 3, "{error}");
    assert!(
        error.what.contains("5 more keys were not offered"),
        "{error}"
    );
    assert_eq!(world.server.accepted(), 1);
}

#[tokio::test]
async fn a_kind_of_key_that_the_config_leaves_out_is_not_offered() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let mut hop = world.hop();
    hop.pubkey_algorithms = Some(vec!["rsa-sha2-512".into()]);
    let (result, _) = outcome(hop, nobody_asked).await;
    let error = result.unwrap_err();
    assert!(error.what.contains("PubkeyAcceptedAlgorithms"), "{error}");
    assert!(error.what.contains("nothing to offer"), "{error}");
}

#[tokio::test]
async fn a_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let path = world.home.path().join("id");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (result, _) = outcome(world.hop(), nobody_asked).await;
    assert!(result.unwrap_err().what.contains("chmod 600"));
}

#[tokio::test]
async fn drops_after_a_refused_sign_in_are_told_as_a_penalty_and_waited_out() {
    let world = SshWorld::new(LoopbackOptions {
        client_key: Some(fresh_key().unwrap().public_key().clone()),
        ..LoopbackOptions::default()
    })
    .await;
    // In front of the server: the first connection goes through, the others are dropped, as sshd does
    // with an address that it penalises.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut hop = world.hop();
    hop.port = listener.local_addr().unwrap().port();
    hop.host_key_alias = Some(format!("[127.0.0.1]:{}", world.server.addr.port()));
    let (came, server) = (Arc::new(AtomicUsize::new(0)), world.server.addr);
    let counter = came.clone();
    let front = tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            if counter.fetch_add(1, Ordering::SeqCst) == 0 {
                let mut far = TcpStream::connect(server).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        }
    });
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert_eq!(error.layer, Layer::SignIn);
    assert_eq!(came.load(Ordering::SeqCst), 1);
    tunnel.reconnect_now();
    let mut view = tunnel.view();
    let penalty = view_where(&mut view, "penalised", |view| {
        why(view).is_some_and(|why| why.what.contains("penalising this address"))
    })
    .await;
    let TunnelStatus::Waiting { until, why, .. } = penalty.status else {
        panic!("{penalty:?}");
    };
    assert_eq!((why.layer, why.retry), (Layer::Ssh, Retry::Later));
    assert!(until.saturating_duration_since(Instant::now()) > Duration::from_secs(60) - BUSY);
    // And until then nobody comes.
    pass(Duration::from_secs(2)).await;
    assert_eq!(came.load(Ordering::SeqCst), 1 + 3);
    front.abort();
}
