//! The tunnels that are compared, each a process that listens on a port of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::measure;
use crate::process::Process;
use crate::stand::Stand;
use crate::support::sshd::free_port;

/// How long a tunnel may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether a port is served.
const LOOK: Duration = Duration::from_millis(1);

/// Which program holds the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Clawline,
    Ssh,
    Autossh,
}

/// A tunnel that runs.
pub struct Tunnel {
    pub kind: Kind,
    pub port: u16,
    pub process: Process,
}

impl Tunnel {
    /// Starts one to the sshd behind `ssh_port`; it need not be usable yet.
    pub fn start(kind: Kind, stand: &Stand, ssh_port: u16) -> anyhow::Result<Self> {
        let port = free_port();
        let forward = format!("127.0.0.1:{port}:127.0.0.1:{}", stand.far_port);
        let mut command = match kind {
            Kind::Clawline => {
                let mut command = stand.client(&stand.clawline, ssh_port);
                command.arg("--tunnel-only");
                command
            }
            Kind::Ssh => {
                let mut command = stand.client(Path::new("ssh"), ssh_port);
                command.arg("-N");
                command
            }
            Kind::Autossh => autossh(stand, ssh_port),
        };
        command.args(["-L", &forward, &stand.target()]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::spawn(&mut command)?;
        Ok(Self {
            kind,
            port,
            process,
        })
    }

    /// Starts one and waits until bytes pass through it.
    pub fn start_usable(kind: Kind, stand: &Stand, ssh_port: u16) -> anyhow::Result<Self> {
        let mut tunnel = Self::start(kind, stand, ssh_port)?;
        tunnel.wait_until_usable()?;
        Ok(tunnel)
    }

    /// Waits until a byte comes back through it; how long that took.
    pub fn wait_until_usable(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            if measure::first_byte(self.port).is_ok() {
                return Ok(started.elapsed());
            }
            ensure!(!self.process.has_ended(), "{:?} has ended", self.kind);
            if started.elapsed() > PATIENCE {
                bail!("{:?} does not come up", self.kind);
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// autossh as it is used without its monitoring port.
fn autossh(stand: &Stand, ssh_port: u16) -> Command {
    let mut command = Command::new("autossh");
    command.args(["-M", "0"]);
    let ssh = stand.client(Path::new("ssh"), ssh_port);
    command.args(ssh.get_args()).arg("-N");
    command.args(["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]);
    command.args(["-o", "ExitOnForwardFailure=yes"]);
    for (name, value) in ssh.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // Otherwise an ssh that ends within 30 s of the first start is taken for a mistake.
    command.env("AUTOSSH_GATETIME", "0");
    command
}
