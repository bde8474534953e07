//! A server that changes its host keys with notice is followed (UpdateHostKeys), as by ssh.

use clawline::tunnel::host_key::{HostName, KnownHosts, fingerprint};
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::{HopSpec, UpdateHostKeys};
use clawline::tunnel::{Tunnel, TunnelOptions};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};

use crate::support::sshd::{Sshd, spec_of, write_key};
use crate::support::{PATIENCE, eventually};

const ECDSA: Algorithm = Algorithm::Ecdsa {
    curve: EcdsaCurve::NistP256,
};

fn hop(sshd: &Sshd, update: UpdateHostKeys) -> HopSpec {
    HopSpec {
        update_host_keys: update,
        ..sshd.hop()
    }
}

fn fingerprints(sshd: &Sshd) -> Vec<String> {
    let mut known = KnownHosts::default();
    known.add(
        &sshd.path("known_hosts"),
        &std::fs::read(sshd.path("known_hosts")).unwrap(),
    );
    let name = HostName::new("127.0.0.1", sshd.port());
    let keys = known.about(&name);
    keys.into_iter()
        .map(|line| line.key.unwrap().fingerprint)
        .collect()
}

async fn up(hop: HopSpec) -> Tunnel {
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    tunnel
}

/// The announcement comes right after the sign-in, before any answer.
async fn answered(tunnel: &Tunnel) {
    // On a machine that stood still for two seconds the first answer comes too late.
    let answered = async { while tunnel.probe_now().await.is_none() {} };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_new_key_is_learned_over_a_trusted_session_and_the_old_one_forgotten_when_it_goes() {
    let second = PrivateKey::random(&mut rand::rng(), ECDSA).unwrap();
    let mut sshd = Sshd::start("");
    write_key(&sshd.path("second"), &second);
    let (old, new) = (
        fingerprint(sshd.host_key.public_key()),
        fingerprint(second.public_key()),
    );
    // The server gets a second key.
    sshd.kill_listener();
    sshd.set_options(&format!("HostKey {}", sshd.path("second").display()));
    sshd.start_again();
    let unasked = up(hop(&sshd, UpdateHostKeys::No)).await;
    answered(&unasked).await;
    unasked.stop().await;
    let nobody_asked = up(hop(&sshd, UpdateHostKeys::Ask)).await;
    answered(&nobody_asked).await;
    nobody_asked.stop().await;
    assert_eq!(fingerprints(&sshd), std::slice::from_ref(&old));

    let tunnel = up(hop(&sshd, UpdateHostKeys::Yes)).await;
    let both = [old.clone(), new.clone()];
    eventually("both keys known", || fingerprints(&sshd) == both).await;
    tunnel.stop().await;

    // The first key goes; the server is known by the second one.
    std::fs::copy(sshd.path("second"), sshd.path("host_key")).unwrap();
    sshd.kill_listener();
    sshd.set_options("");
    sshd.start_again();
    let tunnel = up(hop(&sshd, UpdateHostKeys::Yes)).await;
    eventually("the old key forgotten", || {
        fingerprints(&sshd) == std::slice::from_ref(&new)
    })
    .await;
    tunnel.stop().await;
    let kept = std::fs::read_to_string(sshd.path("known_hosts.old")).unwrap();
    assert_eq!(kept.lines().count(), 2);
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_file_that_says_more_about_the_host_is_left_alone() {
    let second = PrivateKey::random(&mut rand::rng(), ECDSA).unwrap();
    let mut sshd = Sshd::start("");
    write_key(&sshd.path("second"), &second);
    sshd.kill_listener();
    sshd.set_options(&format!("HostKey {}", sshd.path("second").display()));
    sshd.start_again();
    let key = sshd.host_key.public_key().to_openssh().unwrap();
    let text = format!("[127.0.0.*]:{} {key}\n", sshd.port());
    std::fs::write(sshd.path("known_hosts"), &text).unwrap();
    let tunnel = up(hop(&sshd, UpdateHostKeys::Yes)).await;
    answered(&tunnel).await;
    tunnel.stop().await;
    assert_eq!(
        std::fs::read_to_string(sshd.path("known_hosts")).unwrap(),
        text
    );
}
