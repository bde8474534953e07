//! Host keys against the real `ssh`: the same files, servers and options, and the same verdict.

mod cases;
mod rotation;
mod servers;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clawline::layer::{Layer, LayerError};
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::ssh_config::{self, ConfigFile, Env, Flags};
use clawline::tunnel::{Tunnel, TunnelOptions};
use tempfile::TempDir;

use crate::support::PATIENCE;
use cases::{Case, cases};
use servers::Servers;

/// What becomes of a host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is trusted.
    Accepted,
    /// Nothing is known, and nobody can be asked.
    Unknown,
    /// Another key is known.
    Changed,
    /// It is revoked.
    Revoked,
    /// `RevokedHostKeys` cannot be read.
    RevocationsBroken,
    /// The only line about the host cannot be read.
    Unreadable,
    /// The RSA key is too short.
    TooShort,
    /// Anything else.
    Other,
}

/// Cases that run at once.
const WORKERS: usize = 4;

#[test]
#[ignore = "needs OpenSSH"]
fn every_verdict_on_a_host_key_is_that_of_ssh() {
    let cases: Vec<&Case> = cases().collect();
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let servers = Servers::start();
    let wrong = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = compare(case, &servers) {
                        wrong.lock().unwrap().push(format!("{}: {why}", case.what));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn compare(case: &Case, servers: &Servers) -> Result<(), String> {
    let (theirs, said) = ssh(case, servers);
    let (ours, error) = clawline(case, servers);
    let expected = case.differs.map_or(theirs, |(outcome, _)| outcome);
    if ours != expected {
        return Err(format!("ours {ours:?} ({error}), ssh {theirs:?}\n{said}"));
    }
    if theirs != case.ssh {
        return Err(format!("ssh {theirs:?}, expected {:?}\n{said}", case.ssh));
    }
    if case.differs.is_some() && ours == theirs {
        return Err(format!("no difference any more: {ours:?}"));
    }
    Ok(())
}

/// A directory with the files of a case, and the configuration that both read.
fn prepare(case: &Case, servers: &Servers) -> (TempDir, PathBuf) {
    let dir = TempDir::with_prefix("clawline-keys-").unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), servers.fill(text)).unwrap();
    write("user", case.user);
    write("global", case.global);
    write("revoked", case.revoked);
    if case.hashed {
        let hashed = Command::new("ssh-keygen")
            .args(["-q", "-H", "-f"])
            .arg(path("user"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(hashed.unwrap().success());
    }
    let here = |text: &str| text.replace("DIR", &dir.path().display().to_string());
    let config = format!(
        "{options}\nUserKnownHostsFile {user}\nGlobalKnownHostsFile {global}\nUpdateHostKeys no\n\
         ProxyCommand {proxy} {port}\nPort {named}\nUser nobody\nBatchMode yes\n\
         PreferredAuthentications publickey\nPubkeyAuthentication yes\nIdentitiesOnly yes\n\
         IdentityFile {none}\nIdentityAgent none\n",
        options = here(&servers.fill(case.options)),
        user = path("user").display(),
        global = path("global").display(),
        none = path("no-such-key").display(),
        proxy = servers.proxy().display(),
        port = servers.port(case.server),
        named = case.port,
    );
    std::fs::write(path("config"), config).unwrap();
    let config = path("config");
    (dir, config)
}

fn ssh(case: &Case, servers: &Servers) -> (Outcome, String) {
    let (_dir, config) = prepare(case, servers);
    let ran = Command::new("ssh")
        .arg("-vF")
        .arg(config)
        .args([case.name, "true"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let has = |words: &str| said.contains(words);
    let outcome = if has("Authentications that can continue") {
        Outcome::Accepted
    } else if has("REVOKED HOST KEY DETECTED") || has(" revoked by file ") {
        Outcome::Revoked
    } else if has("Error checking host key") {
        Outcome::RevocationsBroken
    } else if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        Outcome::Changed
    } else if has("Bad server host key") {
        Outcome::TooShort
    } else if has("host key is known for") || has("Host key verification failed") {
        Outcome::Unknown
    } else {
        Outcome::Other
    };
    let last = said.lines().rev().take(12).collect::<Vec<_>>();
    (
        outcome,
        last.into_iter().rev().collect::<Vec<_>>().join("\n"),
    )
}

fn clawline(case: &Case, servers: &Servers) -> (Outcome, String) {
    let (_dir, config) = prepare(case, servers);
    match connect(case.name, &config) {
        Ok(()) => (Outcome::Accepted, String::new()),
        Err(error) => (outcome(&error), format!("{}: {}", error.layer, error.what)),
    }
}

/// The whole way: our reading of the configuration, a connection, and what stopped it.
fn connect(name: &str, config: &Path) -> Result<(), LayerError> {
    let flags = Flags {
        config: ConfigFile::from_flag(config.to_str().unwrap()),
        ..Flags::default()
    };
    let env = Env::of_process().unwrap();
    let spec = ssh_config::resolve(&name.parse().unwrap(), &flags, &env)
        .unwrap()
        .spec;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = TunnelOptions {
            once: true,
            ..TunnelOptions::default()
        };
        let tunnel = Tunnel::start(spec, Prompter::nobody(), options);
        tunnel.wait_up(PATIENCE).await
    })
}

fn outcome(error: &LayerError) -> Outcome {
    let has = |words: &str| error.what.contains(words);
    match error.layer {
        Layer::SignIn => return Outcome::Accepted,
        Layer::HostKey => {}
        _ => return Outcome::Other,
    }
    assert_eq!(error.layer.exit_code(), 4);
    if has("is not known yet") {
        Outcome::Unknown
    } else if has("has changed") || has("is known by another kind") {
        assert!(
            error.next.contains("clawline hosts trust"),
            "{}",
            error.next
        );
        Outcome::Changed
    } else if has("nobody can say") || has("cannot read the revoked") {
        Outcome::RevocationsBroken
    } else if has("is revoked") {
        Outcome::Revoked
    } else if has("the only known host key of") {
        Outcome::Unreadable
    } else if has("RequiredRSASize") {
        Outcome::TooShort
    } else {
        Outcome::Other
    }
}
