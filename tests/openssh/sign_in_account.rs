//! What the account there decides: questions in several rounds, expired passwords and accounts, sign-in
//! shut for everybody. Makes local users, so it needs root, and sshd with PAM.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clawline::layer::{Layer, LayerError, Retry};
use clawline::secret::Secret;
use clawline::tunnel::prompt::{Answer, Prompt, Prompter};
use clawline::tunnel::spec::{HopSpec, RemoteEnd};
use clawline::tunnel::status::TunnelStatus;
use clawline::tunnel::{Tunnel, TunnelOptions};

use crate::support::account::Account;
use crate::support::person::{person, secret};
use crate::support::relay::Relay;
use crate::support::sshd::{Sshd, spec_of};
use crate::support::{BUSY, PATIENCE, eventually, pass};

/// Password and questions as PAM asks them.
const PAM: &str = "UsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication yes";

fn hop_of(sshd: &Sshd, account: &Account) -> HopSpec {
    sshd.open_to_others();
    HopSpec {
        user: account.name.clone(),
        ..sshd.hop()
    }
}

async fn refusal(tunnel: &Tunnel) -> LayerError {
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert_eq!(error.layer, Layer::SignIn, "{error:?}");
    error
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn questions_come_in_four_rounds_and_an_expired_password_is_changed_with_them() {
    let account = Account::new();
    account.chage("-d", "0");
    let sshd = Sshd::start(PAM);
    let mut hop = hop_of(&sshd, &account);
    hop.identity_files.clear();
    let old = account.password.clone();
    let (prompter, asked) = person(move |prompt| {
        let Prompt::KeyboardInteractive { questions, .. } = prompt else {
            panic!("asked: {prompt:?}");
        };
        let answers = questions.iter().map(|(question, shown)| {
            assert!(!shown, "{question}");
            let is_new = question.contains("ew password");
            Secret::new(if is_new { "a-new-pass-Word-17" } else { &old })
        });
        Answer::Texts(answers.collect())
    });
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    assert_eq!(sshd.connections(), 1);

    // Lost, it waits for the person: the questions are theirs.
    sshd.kill_sessions();
    eventually("in need of a person", || {
        matches!(
            tunnel.view().borrow().status,
            TunnelStatus::Attention { .. }
        )
    })
    .await;
    pass(Duration::from_secs(2)).await;
    assert_eq!(sshd.connections(), 1);
    tunnel.stop().await;
    drop(tunnel);
    let asked = asked.await.unwrap();
    assert!(asked.len() >= 3, "{asked:?}");
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_key_with_an_expired_password_is_told_to_log_in_once() {
    let account = Account::new();
    account.chage("-d", "0");
    let sshd = Sshd::start(PAM);
    let hop = hop_of(&sshd, &account);
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    let started = Instant::now();
    let error = tunnel.open(&RemoteEnd::loopback(1)).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(3) + BUSY);
    assert_eq!(
        (error.layer, error.retry),
        (Layer::Forward, Retry::Attention)
    );
    assert!(error.what.contains("forbids forwarding"), "{error}");
    let said = error.peer_text.to_lowercase();
    assert!(said.contains("password"), "{error:?}");
    assert!(error.next.contains("log in once with ssh"), "{error:?}");
    tunnel.stop().await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn an_expired_account_is_named_and_not_tried_again() {
    let account = Account::new();
    account.chage("-E", "2020-01-01");
    let sshd = Sshd::start(PAM);
    let hop = hop_of(&sshd, &account);
    let started = Instant::now();
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    let error = refusal(&tunnel).await;
    assert!(started.elapsed() < Duration::from_secs(3) + BUSY);
    let account = format!("the account {} at 127.0.0.1 has expired", account.name);
    assert_eq!((error.what, error.retry), (account, Retry::Attention));
    assert!(error.peer_text.contains("expired"), "{}", error.peer_text);
    pass(Duration::from_secs(3)).await;
    assert_eq!(sshd.connections(), 1);
}

/// A PAM service of its own, removed when dropped.
struct Service(PathBuf);

impl Service {
    fn new(name: &str, lines: &str) -> Self {
        let path = Path::new("/etc/pam.d").join(name);
        std::fs::write(&path, lines).unwrap();
        Self(path)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_machine_on_which_sign_in_is_shut_is_looked_at_every_half_minute() {
    // sshd's PAM service is named like its program.
    let home = tempfile::TempDir::with_prefix("clawline-nologin-").unwrap();
    let name = format!("clawline-sshd-{:08x}", rand::random::<u32>());
    let (program, nologin) = (home.path().join(&name), home.path().join("nologin"));
    std::fs::copy("/usr/sbin/sshd", &program).unwrap();
    std::fs::write(&nologin, "Back at nine.\n").unwrap();
    let _service = Service::new(
        &name,
        &format!(
            "auth required pam_permit.so\naccount required pam_nologin.so file={}\n\
             account required pam_permit.so\nsession required pam_permit.so\n",
            nologin.display()
        ),
    );
    let account = Account::new();
    let sshd = Sshd::start_program(&program, PAM);
    let hop = hop_of(&sshd, &account);
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    eventually("turned away", || {
        matches!(tunnel.view().borrow().status, TunnelStatus::Waiting { .. })
    })
    .await;
    let TunnelStatus::Waiting { until, why, .. } = tunnel.view().borrow().status.clone() else {
        panic!("no longer waiting");
    };
    assert_eq!((why.layer, why.retry), (Layer::SignIn, Retry::Steady));
    assert!(why.peer_text.contains("Back at nine."), "{why:?}");
    let pause = until.saturating_duration_since(Instant::now());
    assert!(pause > Duration::from_secs(30) - BUSY && pause <= Duration::from_secs(30));
    assert_eq!(sshd.connections(), 1);
    std::fs::remove_file(&nologin).unwrap();
    tunnel.reconnect_now();
    eventually("let in", || tunnel.view().borrow().status.is_up()).await;
    tunnel.stop().await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_connection_that_is_cut_while_the_server_decides_is_lost_and_not_refused() {
    let account = Account::new();
    // PAM thinks for two seconds about a wrong password.
    let sshd = Sshd::start("UsePAM yes\nPasswordAuthentication yes");
    let server = ([127, 0, 0, 1], sshd.port()).into();
    let relay = Relay::start(server, Duration::ZERO).await;
    let mut hop = sshd.hop_through(relay.addr.port());
    sshd.open_to_others();
    hop.user.clone_from(&account.name);
    hop.identity_files.clear();
    let (prompter, mut questions) = Prompter::channel();
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    let question = questions.recv().await.unwrap();
    let asked = relay.forwarded();
    question.reply.send(secret("wrong")).unwrap();
    // The password is on its way to the server, which takes its two seconds to answer.
    eventually("the password", || relay.forwarded() > asked).await;
    relay.cut_old_ones();
    let error = refusal(&tunnel).await;
    assert!(error.what.contains("was lost while signing in"), "{error}");
    assert!(!error.what.contains("refused"), "{error}");
    // The password may have counted as a try: coming back by itself could lock the account.
    assert_eq!(error.retry, Retry::Attention);
    pass(Duration::from_secs(3)).await;
    assert_eq!(sshd.connections(), 1);
}
