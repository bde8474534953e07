//! Every way in that takes keys: agents, certificates, encrypted files, two hops with nothing in common.

use std::path::Path;
use std::time::{Duration, Instant};

use clawline::layer::{Layer, LayerError, Retry};
use clawline::tunnel::prompt::{Prompt, Prompter};
use clawline::tunnel::spec::{AgentChoice, HopSpec, TunnelSpec};
use clawline::tunnel::ssh_config::{self, ConfigFile, Env, Flags};
use clawline::tunnel::status::TunnelStatus;
use clawline::tunnel::target::SshTarget;
use clawline::tunnel::{Tunnel, TunnelOptions};

use crate::support::account::Account;
use crate::support::keys::{SshAgent, can_keygen, certify, keygen};
use crate::support::person::{person, secret};
use crate::support::sshd::{Sshd, local_user, spec_of, write_key};
use crate::support::{BUSY, PATIENCE, eventually, pass};

/// Starts without a person and waits for the outcome: how it signed in, or why not.
async fn outcome(hop: HopSpec) -> (Tunnel, Result<String, LayerError>) {
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    let result = tunnel.wait_up(PATIENCE).await;
    let detail = sign_in_row(&tunnel);
    (tunnel, result.map(|()| detail))
}

fn sign_in_row(tunnel: &Tunnel) -> String {
    let rows = tunnel.view().borrow().rows.clone();
    rows.row(Layer::SignIn).unwrap().detail.clone()
}

fn resolved(config: &Path, host: &str) -> TunnelSpec {
    let target = SshTarget {
        user: None,
        host: host.into(),
        port: None,
    };
    let flags = Flags {
        config: ConfigFile::Only(config.into()),
        ..Flags::default()
    };
    let env = Env::of_process().unwrap();
    ssh_config::resolve(&target, &flags, &env).unwrap().spec
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn two_hops_with_another_user_key_and_known_hosts_each() {
    let (jump, far) = (Sshd::start(""), Sshd::start(""));
    let account = Account::new();
    far.open_to_others();
    let home = tempfile::TempDir::new().unwrap();
    let config = home.path().join("config");
    let text = format!(
        "Host far\n HostName 127.0.0.1\n Port {far_port}\n User {far_user}\n IdentityFile {far_key}\n\
         \x20UserKnownHostsFile {far_known}\n ProxyJump jump\n\
         Host jump\n HostName 127.0.0.1\n Port {jump_port}\n User {jump_user}\n IdentityFile {jump_key}\n\
         \x20UserKnownHostsFile {jump_known}\n\
         Host *\n IdentitiesOnly yes\n IdentityAgent none\n GlobalKnownHostsFile none\n",
        far_port = far.port(),
        far_user = account.name,
        far_key = far.path("id").display(),
        far_known = far.path("known_hosts").display(),
        jump_port = jump.port(),
        jump_user = local_user(),
        jump_key = jump.path("id").display(),
        jump_known = jump.path("known_hosts").display(),
    );
    std::fs::write(&config, text).unwrap();
    let spec = resolved(&config, "far");
    assert_eq!(spec.hops.len(), 2);
    let tunnel = Tunnel::start(spec, Prompter::nobody(), TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    // What watches over the sign-in writes its line after the answer to it.
    for (sshd, user) in [(&far, &account.name), (&jump, &local_user())] {
        let line = format!("Accepted publickey for {user} from");
        eventually(&line, || sshd.log().contains(&line)).await;
    }
    assert_eq!((jump.connections(), far.connections()), (1, 1));

    // The far key is of no use at the jump host, and the words name the right one of the two.
    std::fs::write(jump.path("authorized_keys"), "").unwrap();
    let refused = Tunnel::start(
        resolved(&config, "far"),
        Prompter::nobody(),
        TunnelOptions::default(),
    );
    let error = refused.wait_up(PATIENCE).await.unwrap_err();
    assert_eq!(error.layer, Layer::SignIn);
    assert!(error.what.starts_with("jump refused to let"), "{error}");
    assert_eq!(far.connections(), 1);
    tunnel.stop().await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_full_agent_with_identities_only_gets_in_where_two_tries_are_allowed() {
    let sshd = Sshd::start("MaxAuthTries 2");
    let agent = SshAgent::start(20, &[&sshd.key]);
    let mut hop = sshd.hop();
    // The private half is in the agent alone.
    std::fs::remove_file(sshd.path("id")).unwrap();
    std::fs::write(sshd.path("id.pub"), sshd.authorized_key()).unwrap();
    hop.agent = AgentChoice::Socket(agent.socket());
    hop.identities_only = true;
    let (_tunnel, result) = outcome(hop).await;
    assert!(result.unwrap().starts_with("publickey, agent key "));
    assert!(!sshd.log().contains("Failed publickey"), "{}", sshd.log());
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn an_agent_with_keys_of_every_kind_costs_no_try_for_those_that_are_too_old() {
    let sshd = Sshd::start("MaxAuthTries 4");
    let kinds = sshd.path("kinds");
    std::fs::create_dir(&kinds).unwrap();
    let agent = SshAgent::start(0, &[]);
    let mut files = Vec::new();
    for kind in ["dsa", "rsa", "ecdsa", "ed25519"] {
        let file = kinds.join(kind);
        if can_keygen(kind, &file, "") {
            files.push(file);
        }
    }
    agent.add(&files);
    std::fs::copy(kinds.join("ed25519.pub"), sshd.path("authorized_keys")).unwrap();
    let mut hop = sshd.hop();
    hop.identity_files.clear();
    hop.agent = AgentChoice::Socket(agent.socket());
    let (_tunnel, result) = outcome(hop).await;
    let how = result.unwrap();
    assert!(how.starts_with("publickey, agent key "), "{how}");
    assert_eq!(
        sshd.log().matches("Failed publickey").count(),
        2,
        "{}",
        sshd.log()
    );
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_full_agent_does_not_lock_out_the_key_that_the_config_names() {
    let sshd = Sshd::start("MaxAuthTries 2");
    let agent = SshAgent::start(20, &[]);
    let mut hop = sshd.hop();
    hop.agent = AgentChoice::Socket(agent.socket());
    let (_tunnel, result) = outcome(hop).await;
    assert!(result.unwrap().starts_with("publickey, key "));
    assert_eq!(sshd.connections(), 1);
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn too_many_wrong_keys_end_in_one_connection_and_a_list_of_them() {
    let sshd = Sshd::start("MaxAuthTries 2");
    let agent = SshAgent::start(20, &[]);
    let mut hop = sshd.hop();
    hop.identity_files.clear();
    hop.agent = AgentChoice::Socket(agent.socket());
    let (_tunnel, result) = outcome(hop).await;
    let error = result.unwrap_err();
    assert_eq!(
        (error.layer, error.retry),
        (Layer::SignIn, Retry::Attention)
    );
    assert!(error.what.contains("after too many tries"), "{error}");
    assert!(error.what.contains("SHA256:"), "{error}");
    assert!(
        error.what.contains("17 more keys were not offered"),
        "{error}"
    );
    assert!(error.peer_text.contains("Too many authentication failures"));
    pass(Duration::from_secs(5)).await;
    assert_eq!(sshd.connections(), 1, "{}", sshd.log());
}

/// A server that trusts an authority, and a key of `kind` that only a certificate lets in.
fn certified(kind: &str) -> (Sshd, std::path::PathBuf) {
    let home = tempfile::TempDir::new().unwrap().keep();
    keygen("ed25519", &home.join("ca"), "");
    let options = format!("TrustedUserCAKeys {}", home.join("ca.pub").display());
    let sshd = Sshd::start(&options);
    std::fs::write(sshd.path("authorized_keys"), "").unwrap();
    std::fs::remove_file(sshd.path("id")).unwrap();
    keygen(kind, &sshd.path("id"), "");
    for name in ["ca", "ca.pub"] {
        std::fs::copy(home.join(name), sshd.path(name)).unwrap();
    }
    (sshd, home)
}

/// Removes a directory at the end of a test.
struct Gone(std::path::PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_certificate_lets_in_from_file_and_agent_and_rsa_signs_with_sha2() {
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let (sshd, home) = certified(kind);
        let _gone = Gone(home);
        certify(&sshd.path("ca"), &sshd.path("id"), &local_user(), "-5m:+1h");
        let (tunnel, result) = outcome(sshd.hop()).await;
        let how = result.unwrap();
        assert!(how.starts_with("publickey, certificate "), "{kind}: {how}");
        tunnel.stop().await;

        // The agent holds the key alone, and the certificate is a file.
        let plain = SshAgent::start(0, &[]);
        std::fs::create_dir(sshd.path("apart")).unwrap();
        std::fs::copy(sshd.path("id"), sshd.path("apart/id")).unwrap();
        plain.add(&[sshd.path("apart/id")]);
        let mut hop = sshd.hop();
        hop.certificate_files = vec![sshd.path("id-cert.pub")];
        hop.identity_files.clear();
        hop.agent = AgentChoice::Socket(plain.socket());
        let (tunnel, result) = outcome(hop).await;
        let how = result.unwrap();
        assert!(how.starts_with("publickey, certificate "), "{kind}: {how}");
        tunnel.stop().await;

        // The agent holds both.
        let full = SshAgent::start(3, &[]);
        full.add(&[sshd.path("id")]);
        let mut hop = sshd.hop();
        hop.identity_files.clear();
        hop.agent = AgentChoice::Socket(full.socket());
        let (tunnel, result) = outcome(hop).await;
        let how = result.unwrap();
        assert!(
            how.starts_with("publickey, agent certificate "),
            "{kind}: {how}"
        );
        tunnel.stop().await;
    }
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn an_expired_certificate_is_named_and_a_renewed_one_comes_up_by_itself() {
    let (sshd, home) = certified("ed25519");
    let _gone = Gone(home);
    certify(&sshd.path("ca"), &sshd.path("id"), &local_user(), "-9h:-3h");
    let (tunnel, result) = outcome(sshd.hop()).await;
    let error = result.unwrap_err();
    assert!(
        error.what.contains("id-cert.pub expired 3 h ago"),
        "{error}"
    );
    assert!(error.next.contains("goes on by itself"), "{error:?}");
    assert_eq!(
        (error.layer, error.retry),
        (Layer::SignIn, Retry::Attention)
    );
    let tries = sshd.connections();
    // Whole at once: what is half-way written is a change, too.
    std::fs::copy(sshd.path("id.pub"), sshd.path("next.pub")).unwrap();
    certify(
        &sshd.path("ca"),
        &sshd.path("next"),
        &local_user(),
        "-5m:+1h",
    );
    std::fs::rename(sshd.path("next-cert.pub"), sshd.path("id-cert.pub")).unwrap();
    let renewed = Instant::now();
    eventually("up with the renewed certificate", || {
        tunnel.view().borrow().status.is_up()
    })
    .await;
    assert!(renewed.elapsed() < Duration::from_secs(5) + BUSY);
    assert_eq!(sshd.connections(), tries + 1);
    tunnel.stop().await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_certificate_for_somebody_else_is_named_with_whom_it_is_for() {
    let (sshd, home) = certified("ed25519");
    let _gone = Gone(home);
    certify(&sshd.path("ca"), &sshd.path("id"), "somebody", "-5m:+1h");
    let (_tunnel, result) = outcome(sshd.hop()).await;
    let error = result.unwrap_err();
    assert!(error.what.contains("is for somebody, not for"), "{error}");
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn an_encrypted_key_is_asked_for_once_over_three_reconnects() {
    let sshd = Sshd::start("");
    std::fs::remove_file(sshd.path("id")).unwrap();
    keygen("ed25519", &sshd.path("id"), "open sesame");
    std::fs::copy(sshd.path("id.pub"), sshd.path("authorized_keys")).unwrap();
    let (prompter, asked) = person(|_| secret("open sesame"));
    let tunnel = Tunnel::start(sshd.spec(), prompter, TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    for generation in 2..=4 {
        sshd.kill_sessions();
        eventually("up again", || {
            let view = tunnel.view();
            let view = view.borrow();
            view.generation >= generation && view.status.is_up()
        })
        .await;
    }
    tunnel.stop().await;
    drop(tunnel);
    let asked = asked.await.unwrap();
    let once = matches!(asked.as_slice(), [Prompt::Passphrase { attempt: 1, .. }]);
    assert!(once, "{asked:?}");
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn two_keys_are_two_factors_where_the_server_wants_two() {
    let sshd = Sshd::start("AuthenticationMethods publickey,publickey");
    let second = clawline::loopback_ssh::fresh_key().unwrap();
    write_key(&sshd.path("second"), &second);
    let public = second.public_key().to_openssh().unwrap();
    let both = format!("{}{public}\n", sshd.authorized_key());
    std::fs::write(sshd.path("authorized_keys"), both).unwrap();
    let mut hop = sshd.hop();
    let mut identity = hop.identity_files[0].clone();
    identity.path = sshd.path("second");
    hop.identity_files.push(identity);
    let (tunnel, result) = outcome(hop).await;
    let how = result.unwrap();
    assert!(how.starts_with("publickey + publickey, key "), "{how}");
    assert!(matches!(
        tunnel.view().borrow().status,
        TunnelStatus::Up { .. }
    ));
    assert_eq!(sshd.connections(), 1);
}
