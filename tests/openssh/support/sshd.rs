//! A real sshd on a loopback port, with keys, configuration and log in a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use clawline::loopback_ssh::fresh_key;
use clawline::tunnel::spec::{HopSpec, IdentityFile, KnownHostsFiles, TunnelSpec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use tempfile::TempDir;

use super::wait_until;

/// Where Debian and most others install it; sshd insists on being called by its full path.
const SSHD: &str = "/usr/sbin/sshd";

/// A running sshd. Ends, with everything it started, when dropped.
pub struct Sshd {
    directory: TempDir,
    port: u16,
    options: String,
    program: PathBuf,
    /// The key that gets in.
    pub key: PrivateKey,
    /// The key it shows.
    pub host_key: PrivateKey,
    listener: Option<Child>,
    /// How many times it was started; each start has a log file of its own.
    starts: u32,
}

#[allow(dead_code)]
impl Sshd {
    /// Starts one with `options` (lines of sshd_config) before the usual ones, so that they win.
    pub fn start(options: &str) -> Self {
        Self::start_program(Path::new(SSHD), options)
    }

    /// The same with a copy of the program under another name, which is the name of its PAM service.
    pub fn start_program(program: &Path, options: &str) -> Self {
        let directory = TempDir::with_prefix("clawline-sshd-").unwrap();
        let (key, host_key) = (fresh_key().unwrap(), fresh_key().unwrap());
        let mut server = Self {
            port: free_port(),
            directory,
            options: options.to_owned(),
            program: program.to_owned(),
            key,
            host_key,
            listener: None,
            starts: 0,
        };
        write_key(&server.path("id"), &server.key);
        write_key(&server.path("host_key"), &server.host_key);
        std::fs::write(server.path("authorized_keys"), server.authorized_key()).unwrap();
        server.learn_host_key();
        server.start_again();
        server
    }

    /// Starts the listener after [`Sshd::kill_listener`], on the same port.
    pub fn start_again(&mut self) {
        std::fs::write(self.path("sshd_config"), self.config()).unwrap();
        // Made at boot by the service, which need not run here.
        let _ = std::fs::create_dir_all("/run/sshd");
        self.starts += 1;
        let log = self.log_file(self.starts);
        let child = Command::new(&self.program)
            .args(["-D", "-f"])
            .arg(self.path("sshd_config"))
            .arg("-E")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd is installed");
        self.listener = Some(child);
        wait_until_listening(&log);
    }

    fn config(&self) -> String {
        // Of MaxStartups the last line wins, of all others the first.
        format!(
            "MaxStartups 200\n{options}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\n\
             AuthorizedKeysFile {authorized}\nPidFile none\nLogLevel VERBOSE\nStrictModes no\n\
             PermitRootLogin yes\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nMaxSessions 200\n",
            options = self.options,
            port = self.port,
            host_key = self.path("host_key").display(),
            authorized = self.path("authorized_keys").display(),
        )
    }

    /// Replaces the options; takes effect at the next start of the listener.
    pub fn set_options(&mut self, options: &str) {
        options.clone_into(&mut self.options);
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A file in its directory: `id`, `host_key`, `authorized_keys`, `known_hosts` are there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Lets other users than the one of the tests read its directory, so that they can sign in.
    pub fn open_to_others(&self) {
        use std::os::unix::fs::PermissionsExt;
        let all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.directory.path(), all).unwrap();
    }

    /// The line that lets [`Sshd::key`] in.
    pub fn authorized_key(&self) -> String {
        format!("{}\n", self.key.public_key().to_openssh().unwrap())
    }

    /// Makes it known in `known_hosts`, as the only entry.
    pub fn learn_host_key(&self) {
        let key = self.host_key.public_key().to_openssh().unwrap();
        let line = format!("[127.0.0.1]:{} {key}\n", self.port);
        std::fs::write(self.path("known_hosts"), line).unwrap();
    }

    /// The way in: right user, key and known_hosts.
    pub fn hop(&self) -> HopSpec {
        HopSpec {
            identity_files: vec![IdentityFile {
                path: self.path("id"),
                named: true,
            }],
            known_hosts: KnownHostsFiles {
                user: vec![self.path("known_hosts")],
                ..KnownHostsFiles::default()
            },
            ..HopSpec::bare("127.0.0.1", self.port, &local_user())
        }
    }

    /// The way in through something on another loopback port, which the same host key is known for.
    pub fn hop_through(&self, port: u16) -> HopSpec {
        let alias = format!("[127.0.0.1]:{}", self.port);
        HopSpec {
            port,
            host_key_alias: Some(alias),
            ..self.hop()
        }
    }

    /// A tunnel of this one hop.
    pub fn spec(&self) -> TunnelSpec {
        spec_of(self.hop())
    }

    /// Everything it has logged, over all starts.
    pub fn log(&self) -> String {
        (1..=self.starts)
            .filter_map(|start| std::fs::read_to_string(self.log_file(start)).ok())
            .collect()
    }

    /// TCP connections it has accepted so far.
    pub fn connections(&self) -> usize {
        self.log().matches("Connection from ").count()
    }

    /// The processes that serve connections: all that descend from the listener.
    pub fn sessions(&self) -> Vec<Pid> {
        let Some(listener) = &self.listener else {
            return Vec::new();
        };
        descendants(listener.id())
    }

    /// SIGKILL to everything that serves a connection; the listener stays. The number of processes.
    pub fn kill_sessions(&self) -> usize {
        self.signal_sessions(Signal::SIGKILL)
    }

    /// A signal to everything that serves a connection. The number of processes.
    pub fn signal_sessions(&self, signal: Signal) -> usize {
        let sessions = self.sessions();
        for pid in &sessions {
            let _ = kill(*pid, signal);
        }
        sessions.len()
    }

    /// SIGKILL to the listener alone; connections that are up stay up. They are no longer found by
    /// [`Sshd::sessions`]: take those first.
    pub fn kill_listener(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            let _ = listener.kill();
            let _ = listener.wait();
        }
    }

    fn log_file(&self, start: u32) -> PathBuf {
        self.path(&format!("log.{start}"))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill_sessions();
        self.kill_listener();
    }
}

/// A tunnel of one hop.
pub fn spec_of(hop: HopSpec) -> TunnelSpec {
    TunnelSpec {
        target: hop.alias.clone(),
        hops: vec![hop],
        local_forwards: Vec::new(),
    }
}

/// Writes a private key as ssh-keygen does.
pub fn write_key(path: &Path, key: &PrivateKey) {
    key.write_openssh_file(path, LineEnding::LF).unwrap();
}

/// The user these tests run as.
pub fn local_user() -> String {
    let uid = nix::unistd::getuid();
    nix::unistd::User::from_uid(uid).unwrap().unwrap().name
}

/// Waits until an sshd that logs there listens.
pub fn wait_until_listening(log: &Path) {
    let said = || std::fs::read_to_string(log).unwrap_or_default();
    let listens = || said().contains("Server listening on");
    wait_until("an sshd that listens", listens, said);
}

/// A port that nobody listens on and that no other test is given, below the kernel's range for outgoing
/// connections.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::random()));
    loop {
        let port = 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 20_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Every process below `pid`, from /proc.
fn descendants(pid: u32) -> Vec<Pid> {
    let children = format!("/proc/{pid}/task/{pid}/children");
    let mut found = Vec::new();
    for child in std::fs::read_to_string(children)
        .unwrap_or_default()
        .split_whitespace()
    {
        let child: u32 = child.parse().unwrap();
        found.push(Pid::from_raw(i32::try_from(child).unwrap()));
        found.extend(descendants(child));
    }
    found
}
