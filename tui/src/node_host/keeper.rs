//! A process of its own beside each program that runs: it starts the program from the descriptors that
//! the node holds, and ends it with everything it started as soon as the node says so, or is gone.
//!
//! The node and the keeper talk over the keeper's standard input, a socket: one line each way to begin
//! with, then its end means "kill". So a node that is killed outright leaves nothing behind.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// The first argument of the process.
pub(crate) const NAME: &str = "__keep-program";
/// How long what the program left running may take to die of SIGKILL.
const REAP: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// The node.
    pub node_pid: u32,
    /// The node's descriptors of program and directory, and the program's device and inode.
    pub exe: i32,
    pub cwd: i32,
    pub exe_id: (u64, u64),
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
}

/// What the keeper says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// It runs.
    Started { pid: i32 },
    /// It cannot be started.
    Failed { why: String },
    /// It ended by itself or was killed.
    Ended {
        code: Option<i32>,
        signal: Option<i32>,
    },
}

/// Runs the process when the command line says so; `None` otherwise.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != NAME {
        return None;
    }
    Some(match keep() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

/// The program, until it was waited for. Its id means nothing afterwards.
type Running = Arc<Mutex<Option<Pid>>>;

fn keep() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut from_node = BufReader::new(socket.try_clone()?);
    let mut to_node = socket;
    let mut line = String::new();
    from_node.by_ref().take(1 << 20).read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line)?;
    set_child_subreaper(true)?;
    let pid = match start(&order) {
        Ok(pid) => pid,
        Err(error) => {
            return say(
                &mut to_node,
                &Said::Failed {
                    why: error.to_string(),
                },
            );
        }
    };
    let running: Running = Arc::new(Mutex::new(Some(pid)));
    let killed = Arc::clone(&running);
    // The thread ends with the process.
    std::thread::spawn(move || {
        let _ = from_node.read(&mut [0]);
        let running = killed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *running {
            let _ = killpg(pid, Signal::SIGKILL);
        }
    });
    say(&mut to_node, &Said::Started { pid: pid.as_raw() })?;
    let ended = wait(pid, &running);
    reap_the_rest();
    say(&mut to_node, &ended?)
}

fn say(to_node: &mut UnixStream, said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_string(said)?;
    line.push('\n');
    // A node that is gone hears nothing, and that is no reason to leave anything running.
    let _ = to_node.write_all(line.as_bytes());
    Ok(())
}

/// Starts the program in a process group of its own. The kernel opens the node's descriptors again, so
/// no name is looked up.
fn start(order: &Order) -> io::Result<Pid> {
    let held = |fd: i32| File::open(format!("/proc/{}/fd/{fd}", order.node_pid));
    let (exe, cwd) = (held(order.exe)?, held(order.cwd)?);
    let found = exe.metadata()?;
    if (found.dev(), found.ino()) != order.exe_id {
        return Err(io::Error::other("the program is another one"));
    }
    // By our own number and not `self`: the interpreter of a script opens it as well.
    let own = std::process::id();
    let child = Command::new(format!("/proc/{own}/fd/{}", exe.as_raw_fd()))
        .arg0(&order.argv[0])
        .args(&order.argv[1..])
        .env_clear()
        .envs(&order.env)
        .current_dir(format!("/proc/{own}/fd/{}", cwd.as_raw_fd()))
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()?;
    // The interpreter of a script opens it after the start.
    std::mem::forget(exe);
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(Pid::from_raw(pid))
}

/// Waits for the program. Its whole group ends with it, before its id can be given out again.
fn wait(pid: Pid, running: &Running) -> io::Result<Said> {
    loop {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(pid), flags) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => break,
        }
    }
    let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = killpg(pid, Signal::SIGKILL);
    *running = None;
    let (code, signal) = match waitpid(pid, None)? {
        WaitStatus::Exited(_, code) => (Some(code), None),
        WaitStatus::Signaled(_, signal, _) => (None, Some(signal as i32)),
        _ => (None, None),
    };
    Ok(Said::Ended { code, signal })
}

/// Kills what left the program's group: orphans come to us, since we are their reaper.
fn reap_the_rest() {
    let until = Instant::now() + REAP;
    let tasks = format!("/proc/self/task/{}/children", std::process::id());
    while Instant::now() < until {
        let children = fs::read_to_string(&tasks).unwrap_or_default();
        let pids = children
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok());
        let mut any = false;
        for pid in pids.map(Pid::from_raw) {
            any = true;
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
        if !any {
            return;
        }
    }
}
