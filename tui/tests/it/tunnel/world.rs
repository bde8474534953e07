//! A desktop with an SSH server and an echo, and tunnels to it in processes of their own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use clawline::loopback_ssh::{LoopbackOptions, LoopbackSsh, fresh_key};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::{Home, Ran};

/// Everything here happens within this, or the test has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Time between two looks at something that another process does.
const LOOK: Duration = Duration::from_millis(10);

/// Laptop and desktop.
pub struct World {
    pub home: Home,
    pub ssh: LoopbackSsh,
    pub echo: SocketAddr,
    runtime: Runtime,
}

impl World {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let home = Home::new();
        let key = fresh_key().unwrap();
        let text = key.to_openssh(Default::default()).unwrap();
        home.write("key", &text);
        let path = home.path().join("key");
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path, owner_only).unwrap();
        std::fs::create_dir(home.path().join("run")).unwrap();
        let options = LoopbackOptions {
            client_key: Some(key.public_key().clone()),
            ..LoopbackOptions::default()
        };
        let ssh = runtime.block_on(LoopbackSsh::start(options)).unwrap();
        let world = Self {
            home,
            echo: echo(),
            ssh,
            runtime,
        };
        world.know(&world.ssh.host_key.to_openssh().unwrap());
        world
    }

    /// The laptop's known_hosts says exactly this about the desktop.
    pub fn know(&self, key: &str) {
        let port = self.ssh.addr.port();
        self.home
            .write("known_hosts", &format!("[127.0.0.1]:{port} {key}\n"));
    }

    /// A local end in the home directory.
    pub fn socket(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    /// A command of the laptop.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.home.command(args);
        command.env("XDG_RUNTIME_DIR", self.home.path().join("run"));
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// `--tunnel-only` to the desktop, not started yet.
    pub fn tunnel_command(&self, target: &str, more: &[&str]) -> Command {
        let file = |name: &str| self.home.path().join(name).display().to_string();
        let port = self.ssh.addr.port().to_string();
        let known_hosts = format!("UserKnownHostsFile={}", file("known_hosts"));
        let echo = self.echo.to_string();
        let key = file("key");
        let mut args = vec!["--tunnel-only", "-F", "none", "-i", &key, "-p", &port];
        args.extend(["-o", &known_hosts, "-o", "GlobalKnownHostsFile=none"]);
        args.extend(["--remote", &echo]);
        args.extend(more);
        args.push(target);
        let mut command = Command::new("setsid");
        command
            .arg(env!("CARGO_BIN_EXE_clawline"))
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/bin:/bin")
            .env("XDG_RUNTIME_DIR", self.home.path().join("run"))
            .stdin(Stdio::null());
        command
    }

    pub fn tunnel(&self, more: &[&str]) -> Process {
        Process::start(self.tunnel_command("me@127.0.0.1", more))
    }

    /// What is left in the runtime directory.
    pub fn left(&self) -> Vec<PathBuf> {
        match std::fs::read_dir(self.home.path().join("run/clawline")) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// The SSH server goes away.
    pub fn stop_ssh(self) -> Home {
        self.runtime.block_on(self.ssh.stop());
        self.home
    }
}

/// Answers every byte with itself.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                let _ = std::io::copy(&mut from, &mut to);
            });
        }
    });
    address
}

/// Says `text` through a local end and waits for it to come back.
pub fn echoes(socket: &str, text: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text.as_bytes());
    stream
}

/// Waits until it holds; fails at the deadline.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "never: {what}");
        std::thread::park_timeout(LOOK);
    }
}

/// A process of its own; killed when it is dropped.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    pub seen: Vec<String>,
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tx, lines) = channel();
        let readers: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for reader in readers {
            let tx = tx.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(reader).lines().map_while(Result::ok) {
                    let _ = tx.send(line);
                }
            });
        }
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    /// Waits for a line that contains `text`.
    pub fn until(&mut self, text: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("{text:?} never came: {:#?}", self.seen),
            }
        }
    }

    pub fn exit_if_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end; the exit code and all that was said.
    pub fn ended(&mut self) -> (Option<i32>, String) {
        let status = eventually("its end", || self.child.try_wait().unwrap());
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            self.seen.push(line);
        }
        (status.code(), self.seen.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A place that hears what systemd would.
pub struct Systemd {
    socket: UnixDatagram,
    pub heard: Vec<String>,
}

impl Systemd {
    pub fn at(path: &std::path::Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        Self {
            socket,
            heard: Vec::new(),
        }
    }

    /// Waits for a message with this line; returns the whole message.
    pub fn until(&mut self, line: &str) -> String {
        let until = Instant::now() + DEADLINE;
        let mut text = [0; 4096];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{line:?} never came: {:#?}", self.heard);
            self.socket.set_read_timeout(Some(left)).unwrap();
            let Ok(length) = self.socket.recv(&mut text) else {
                continue;
            };
            let message = String::from_utf8_lossy(&text[..length]).into_owned();
            self.heard.push(message.clone());
            if message.lines().any(|heard| heard.starts_with(line)) {
                return message;
            }
        }
    }
}

/// The status file, once it says what is waited for.
pub fn file_says(path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually("the status file says it", || {
        let text = std::fs::read_to_string(path).ok()?;
        // Whole at every moment.
        let value: Value = serde_json::from_str(&text).unwrap();
        wanted(&value).then_some(value)
    })
}
