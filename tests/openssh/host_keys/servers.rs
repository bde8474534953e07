//! Real sshds, each with a host key or certificate of another kind.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::sshd::{free_port, wait_until_listening};

/// What a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// Plain keys of three kinds.
    Plain,
    /// Ed25519 alone.
    OnlyEd,
    /// ECDSA alone.
    OnlyEc,
    /// A plain RSA key of 2048 bits.
    OnlyRsa,
    /// A certificate for `host` and `h2`, serial number 5.
    Certified,
    /// One that names nobody.
    ForAll,
    /// One for `*.example`.
    Wildcard,
    /// One that expired.
    Expired,
    /// One of the future.
    Early,
    /// One by the RSA authority.
    ByRsa,
    /// One by the RSA authority with SHA-1.
    BySha1,
    /// One with a demand.
    Demanding,
    /// An RSA key with a certificate.
    RsaCertified,
}

/// The options of `ssh-keygen -s` for each certificate: which key, which authority, what else.
const CERTIFICATES: &[(Server, &str, &str, &[&str])] = &[
    (Server::Certified, "ed", "ca", &["-n", "host,h2", "-z", "5"]),
    (Server::ForAll, "ed", "ca", &[]),
    (Server::Wildcard, "ed", "ca", &["-n", "*.example"]),
    (
        Server::Expired,
        "ed",
        "ca",
        &["-n", "host", "-V", "20200101:20210101"],
    ),
    (
        Server::Early,
        "ed",
        "ca",
        &["-n", "host", "-V", "20400101:20410101"],
    ),
    (Server::ByRsa, "ed", "rsaca", &["-n", "host"]),
    (
        Server::BySha1,
        "ed",
        "rsaca",
        &["-n", "host", "-t", "ssh-rsa"],
    ),
    (
        Server::Demanding,
        "ed",
        "ca",
        &["-n", "host", "-O", "critical:force@x=1"],
    ),
    (Server::RsaCertified, "rsa", "ca", &["-n", "host"]),
];

/// Keys that the cases name: `{ed}` and so on.
const KEYS: &[(&str, &[&str])] = &[
    ("ed", &["-t", "ed25519"]),
    ("ec", &["-t", "ecdsa"]),
    ("rsa", &["-t", "rsa", "-b", "2048"]),
    ("other", &["-t", "ed25519"]),
    ("ec2", &["-t", "ecdsa"]),
    ("ca", &["-t", "ed25519"]),
    ("ca2", &["-t", "ed25519"]),
    ("rsaca", &["-t", "rsa", "-b", "2048"]),
];

/// Takes bytes from standard input to a port and back, and ends when either side does.
const PROXY: &str = "#!/bin/bash\nexec 2>/dev/null 3<>/dev/tcp/127.0.0.1/$1 || exit 1\n\
    cat <&3 & back=$!\nexec >&-\ncat >&3\nkill $back\n";

/// Every server; they end when this is dropped.
pub struct Servers {
    dir: TempDir,
    running: HashMap<Server, (u16, Child)>,
    keys: Vec<(String, String)>,
}

impl Servers {
    pub fn start() -> Self {
        let dir = TempDir::with_prefix("clawline-hosts-").unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("proxy"), PROXY).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path("proxy"), mode).unwrap();
        let mut keys = Vec::new();
        for (name, options) in KEYS {
            keygen(|command| {
                command
                    .args(*options)
                    .args(["-N", "", "-f"])
                    .arg(path(name))
            });
            let public = std::fs::read_to_string(path(&format!("{name}.pub"))).unwrap();
            let mut words = public.split(' ');
            let text = format!("{} {}", words.next().unwrap(), words.next().unwrap());
            keys.push((format!("{{{name}}}"), text));
        }
        let mut servers = Self {
            dir,
            running: HashMap::new(),
            keys,
        };
        for (server, names) in [
            (Server::Plain, &["ed", "ec", "rsa"][..]),
            (Server::OnlyEd, &["ed"]),
            (Server::OnlyEc, &["ec"]),
            (Server::OnlyRsa, &["rsa"]),
        ] {
            let lines = names
                .iter()
                .map(|name| format!("HostKey {}\n", servers.path(name).display()));
            servers.run(server, &lines.collect::<String>());
        }
        for (server, key, authority, options) in CERTIFICATES {
            let (public, certificate) = (
                servers.path(&format!("{server:?}.pub")),
                servers.path(&format!("{server:?}-cert.pub")),
            );
            std::fs::copy(servers.path(&format!("{key}.pub")), &public).unwrap();
            keygen(|command| {
                command
                    .args(["-h", "-I", "desk", "-s"])
                    .arg(servers.path(authority))
                    .args(*options)
                    .arg(&public)
            });
            let text = std::fs::read_to_string(&certificate).unwrap();
            servers.keys.push((format!("{{cert:{server:?}}}"), text));
            let lines = format!(
                "HostKey {}\nHostCertificate {}\n",
                servers.path(key).display(),
                certificate.display()
            );
            servers.run(*server, &lines);
        }
        servers.revocation_lists();
        servers
    }

    /// Binary lists: of a key, of a serial number, and of an authority.
    fn revocation_lists(&self) {
        let list = |name: &str, signed: bool, spec: &str| {
            let file = self.path(&format!("{name}.spec"));
            std::fs::write(&file, spec).unwrap();
            keygen(|command| {
                command.arg("-k").arg("-f").arg(self.path(name));
                if signed {
                    command.arg("-s").arg(self.path("ca.pub"));
                }
                command.arg(file)
            });
        };
        list("krl-key", false, &self.fill("key: {ed}\n"));
        list("krl-sha256", false, &self.fill("sha256: {ed}\n"));
        list("krl-sha1", false, &self.fill("sha1: {ed}\n"));
        list("krl-other", false, &self.fill("key: {other}\n"));
        list("krl-authority", false, &self.fill("key: {ca}\n"));
        list("krl-serial", true, "serial: 5\n");
        list("krl-range", true, "serial: 2-9\n");
        list(
            "krl-bitmap",
            true,
            "serial: 1\nserial: 3\nserial: 5\nserial: 9\n",
        );
        list("krl-serial-6", true, "serial: 6\n");
        list("krl-id", true, "id: desk\n");
    }

    /// Replaces `{ed}` and the like by keys, and `KEYS` by the directory with the lists.
    pub fn fill(&self, text: &str) -> String {
        let mut text = text.replace("KEYS", &self.dir.path().display().to_string());
        for (name, key) in &self.keys {
            text = text.replace(name, key.trim_end());
        }
        text
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn proxy(&self) -> PathBuf {
        self.path("proxy")
    }

    pub fn port(&self, server: Server) -> u16 {
        self.running[&server].0
    }

    fn run(&mut self, server: Server, lines: &str) {
        let port = free_port();
        let config = self.path(&format!("{server:?}.conf"));
        let log = self.path(&format!("{server:?}.log"));
        std::fs::write(
            &config,
            format!(
                "{lines}Port {port}\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\n\
                 AuthorizedKeysFile none\nMaxStartups 200\nStrictModes no\n"
            ),
        )
        .unwrap();
        let child = sshd(&config, &log);
        self.running.insert(server, (port, child));
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for (_, child) in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn keygen(arguments: impl FnOnce(&mut Command) -> &mut Command) {
    let mut command = Command::new("ssh-keygen");
    command.arg("-q");
    let made = arguments(&mut command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    assert!(made.unwrap().success(), "{command:?}");
}

/// Starts an sshd and waits until it listens.
fn sshd(config: &Path, log: &Path) -> Child {
    let _ = std::fs::create_dir_all("/run/sshd");
    let child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-f"])
        .arg(config)
        .arg("-E")
        .arg(log)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sshd is installed");
    wait_until_listening(log);
    child
}
