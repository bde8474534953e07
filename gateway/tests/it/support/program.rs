//! The program itself, run in a home of its own.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use clawline::notice::GatewayNotice;
use nix::sys::signal::Signal;
use tokio::process::{Child, Command};

use super::TestGateway;

/// Longest wait for anything.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Time between two looks at something that another process does.
const LOOK: Duration = Duration::from_millis(20);

pub fn program(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clawline-gateway"));
    command
        .args(args)
        .env_clear()
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A command over the state directory of a gateway that runs inside the test, to its end.
pub async fn command(gateway: &TestGateway, args: &[&str]) -> Output {
    let base = gateway.settings.state_dir.parent().unwrap();
    let mut command = program(base, args);
    command.env("CLAWLINE_STATE_DIR", base);
    tokio::time::timeout(DEADLINE, command.output())
        .await
        .unwrap()
        .unwrap()
}

/// Runs to its end: exit code and everything it said.
pub async fn said(mut command: Command) -> (i32, String) {
    let output = tokio::time::timeout(DEADLINE, command.output())
        .await
        .unwrap()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Looks again and again until there is something to see, which another process brings about: it fails
/// at the deadline, and goes on as soon as it is there.
pub async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut looks = tokio::time::interval(LOOK);
    let seen = tokio::time::timeout(DEADLINE, async {
        loop {
            looks.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    });
    seen.await.unwrap_or_else(|_| panic!("waited for {what}"))
}

/// The whole lines of what a daemon of the default profile has logged: the last one may be half written.
pub fn log_in(home: &Path) -> String {
    let path = home.join(".local/state/clawline-gateway/logs/gateway.jsonl");
    let mut log = std::fs::read_to_string(path).unwrap_or_default();
    log.truncate(log.rfind('\n').map_or(0, |end| end + 1));
    log
}

/// Puts a program of the tests' own at this path. Another process writes it: as long as a child that is just being
/// started has a descriptor of ours to which it is written, the system would not start it.
pub fn put_program(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    let copied = std::process::Command::new("cp")
        .arg(&draft)
        .arg(path)
        .status();
    assert!(copied.unwrap().success());
    std::fs::remove_file(draft).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
}

/// Where a daemon of the default profile says that it is there.
pub const NOTICE: &str = ".clawline/gateway.json";

/// A daemon of the default profile on a free port.
pub struct Daemon {
    pub child: Child,
    pub notice: GatewayNotice,
    pub home: PathBuf,
}

impl Daemon {
    pub async fn start(home: &Path) -> Self {
        Self::start_with(home, &[]).await
    }

    pub async fn start_with(home: &Path, args: &[&str]) -> Self {
        Self::start_in(home, home, args).await
    }

    /// As [`Daemon::start_with`], in this working directory.
    pub async fn start_in(home: &Path, cwd: &Path, args: &[&str]) -> Self {
        let all = [&["run", "--port", "0"], args].concat();
        let mut command = program(home, &all);
        command.current_dir(cwd);
        Self::started(home, command).await
    }

    /// A command that runs the daemon in this home.
    pub async fn started(home: &Path, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let file = home.join(NOTICE);
        let pid = child.id();
        let notice = wait_for("the daemon's notice", async || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the daemon ended: {status}");
            }
            let text = std::fs::read_to_string(&file).ok()?;
            let notice = GatewayNotice::parse(&text).ok()?;
            (Some(notice.pid) == pid).then_some(notice)
        })
        .await;
        Self {
            child,
            notice,
            home: home.to_owned(),
        }
    }

    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.notice.port).into()
    }

    pub fn token(&self) -> String {
        std::fs::read_to_string(self.notice.token_file.as_ref().unwrap()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    /// The whole lines of the log up to now.
    pub fn log(&self) -> String {
        log_in(&self.home)
    }

    /// The log, once it holds these words.
    pub async fn logs(&self, words: &str) -> String {
        wait_for(words, async || {
            let log = self.log();
            log.contains(words).then_some(log)
        })
        .await
    }

    /// Writes the config file as editors do: another file is put in its place.
    pub fn configure(home: &Path, text: &str) {
        let path = home.join(".config/clawline/clawline.json5");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let staged = path.with_extension("new");
        std::fs::write(&staged, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&staged, mode).unwrap();
        std::fs::rename(staged, path).unwrap();
    }
}
