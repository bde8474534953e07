//! The `clawline` program as a user runs it, with a home of its own, and what it holds of the system.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::sshd::{Sshd, free_port, local_user};
use super::wait_until;

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    /// Open descriptors.
    pub files: usize,
    /// Resident memory now, in kB.
    pub memory: u64,
    /// The most it ever was, in kB.
    pub peak: u64,
}

/// What a process holds at this moment; nothing once it is gone.
pub fn holds(pid: u32) -> Option<Holds> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Holds {
        files: open_files(pid)?,
        memory: kilobytes("VmRSS:")?,
        peak: kilobytes("VmHWM:")?,
    })
}

/// The open descriptors of a process.
pub fn open_files(pid: u32) -> Option<usize> {
    Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// The program, not started yet, in a home that holds nothing but this server's way in.
pub fn clawline(home: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .env_clear()
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("XDG_RUNTIME_DIR", home)
        .stdin(Stdio::null());
    command
}

/// Where cargo put the program: beside this test, unless `CLAWLINE_BIN` names another directory.
fn program() -> PathBuf {
    let directory = std::env::var_os("CLAWLINE_BIN").map_or_else(
        || {
            let test = std::env::current_exe().unwrap();
            test.parent().unwrap().parent().unwrap().to_owned()
        },
        PathBuf::from,
    );
    let program = directory.join("clawline");
    assert!(
        program.exists(),
        "{} is missing: cargo build --workspace",
        program.display()
    );
    program
}

/// A running `clawline --tunnel-only` with one local port. Killed when dropped.
pub struct TunnelOnly {
    child: Child,
    home: TempDir,
    /// The local port.
    pub local: SocketAddr,
}

#[allow(dead_code)]
impl TunnelOnly {
    /// Starts it, from a local port to `far_port` on the server's loopback, and waits until it listens.
    pub fn start(sshd: &Sshd, far_port: u16) -> Self {
        Self::start_through(sshd, sshd.port(), far_port)
    }

    /// As [`TunnelOnly::start`], reaching the server through another loopback port.
    pub fn start_through(sshd: &Sshd, ssh_port: u16, far_port: u16) -> Self {
        let home = TempDir::with_prefix("clawline-home-").unwrap();
        let local = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = std::fs::File::create(home.path().join("log")).unwrap();
        let child = clawline(home.path())
            .args(["--tunnel-only", "-L"])
            .arg(format!("{local}:127.0.0.1:{far_port}"))
            .args(["-p", &ssh_port.to_string(), "-i"])
            .arg(sshd.path("id"))
            .arg("-o")
            .arg(format!(
                "UserKnownHostsFile={}",
                sshd.path("known_hosts").display()
            ))
            .arg("-o")
            .arg(format!("HostKeyAlias=[127.0.0.1]:{}", sshd.port()))
            .arg(format!("{}@127.0.0.1", local_user()))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let program = Self { child, home, local };
        let is_up = || program.said().contains("state=up");
        wait_until("up", is_up, || program.said());
        program
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// What it holds now. Fails the test when it has ended.
    pub fn holds(&self) -> Holds {
        holds(self.pid()).unwrap_or_else(|| panic!("it has ended: {}", self.said()))
    }

    /// True while it runs and the local port is its own.
    pub fn still_listens(&mut self) -> bool {
        let runs = self.child.try_wait().unwrap().is_none();
        // Taken by it, and by nobody else: a bind fails and it is alive.
        runs && std::net::TcpListener::bind(self.local).is_err()
    }
}

impl Drop for TunnelOnly {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = kill(pid, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
