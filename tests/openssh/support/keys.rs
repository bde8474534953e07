//! Real ssh-agents, and certificates made by ssh-keygen.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clawline::loopback_ssh::fresh_key;
use russh::keys::PrivateKey;
use tempfile::TempDir;

use super::sshd::write_key;
use super::wait_until;

/// A running ssh-agent with keys; ends when dropped.
pub struct SshAgent {
    directory: TempDir,
    child: Child,
}

#[allow(dead_code)]
impl SshAgent {
    /// One that holds `count` keys that nobody knows, and then `keys`.
    pub fn start(count: usize, keys: &[&PrivateKey]) -> Self {
        let directory = TempDir::with_prefix("clawline-agent-").unwrap();
        let socket = directory.path().join("agent");
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ssh-agent is installed");
        // The file is there a moment before anybody listens at it.
        let listens = || UnixStream::connect(&socket).is_ok();
        wait_until("an ssh-agent that listens", listens, String::new);
        let agent = Self { directory, child };
        let strangers: Vec<PrivateKey> = (0..count).map(|_| fresh_key().unwrap()).collect();
        let mut files = Vec::new();
        for (number, key) in strangers.iter().chain(keys.iter().copied()).enumerate() {
            let file = agent.directory.path().join(format!("key{number}"));
            write_key(&file, key);
            files.push(file);
        }
        if !files.is_empty() {
            agent.add(&files);
        }
        agent
    }

    /// Adds key files, each with the certificate beside it.
    pub fn add(&self, files: &[PathBuf]) {
        let added = Command::new("ssh-add")
            .env("SSH_AUTH_SOCK", self.socket())
            .args(files)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(added.success());
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("agent")
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Signs the public key of `file` (`FILE.pub`) for `user` into `FILE-cert.pub`; `validity` as
/// `ssh-keygen -V` takes it.
#[allow(dead_code)]
pub fn certify(authority: &Path, file: &Path, user: &str, validity: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-I", "test", "-n", user, "-V", validity, "-s"])
        .arg(authority)
        .arg(file.with_extension("pub"))
        .stderr(Stdio::null())
        .status()
        .expect("ssh-keygen is installed");
    assert!(made.success());
}

/// Makes a key of a kind (`ed25519`, `rsa`), with its public half beside it.
#[allow(dead_code)]
pub fn keygen(kind: &str, file: &Path, passphrase: &str) {
    assert!(can_keygen(kind, file, passphrase), "ssh-keygen -t {kind}");
}

/// The same for a kind that newer ssh-keygens no longer make.
#[allow(dead_code)]
pub fn can_keygen(kind: &str, file: &Path, passphrase: &str) -> bool {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"])
        .arg(file)
        .stderr(Stdio::null())
        .status()
        .expect("ssh-keygen is installed");
    made.success()
}
