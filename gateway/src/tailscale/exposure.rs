//! Publishing the gateway: `tailscale serve` or `funnel` as a child that ends with us, started again when it
//! ends before us. Tailscale takes the route away when that child ends, however it ends.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clawline::backoff::Backoff;
use clawline::bounded_file;
use clawline::owner_file;
use clawline::secret::Secret;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines, Take};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::program::failed;
use super::{Program, TailscaleError};
use crate::settings::TailscaleMode;

/// What the child says once the route stands.
const READY: &str = "Press Ctrl+C to exit.";
/// How long that may take.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// How long the child may take to end.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// Between two tries.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Most that is read of the child's output before it is ready, in bytes.
const MAX_SAID: u64 = 64 * 1024;
/// Longest note that is read, in bytes: a port.
const MAX_NOTE: u64 = 64;
/// Runs the child until our end of its input closes, which the kernel does for us when we are killed. Its
/// output ends when the child does.
const WATCHER: &str = r#""$@" </dev/null 2>&1 & child=$!
exec >/dev/null 2>&1
read -r _
kill "$child"
wait "$child""#;

/// How the gateway is published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Exposure {
    /// It is not asked for.
    #[default]
    Off,
    /// It is being tried.
    Starting,
    /// Others reach it under this name.
    Up {
        /// The machine's name in the tailnet.
        name: String,
    },
    /// It is not published; another try follows.
    Down {
        /// Why, and what to do.
        why: TailscaleError,
    },
}

/// What is published, and where it is told.
pub(crate) struct Publisher {
    pub(crate) program: Program,
    pub(crate) mode: TailscaleMode,
    /// Of the private listener.
    pub(crate) port: u16,
    /// Where the port is noted, so that a later daemon knows a left-over route as its own.
    pub(crate) note: PathBuf,
    pub(crate) state: watch::Sender<Exposure>,
}

/// Keeps the gateway published until `stop`, then takes the route back.
pub(crate) async fn publish(publisher: Publisher, stop: CancellationToken) {
    let mut pause = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        publisher.state.send_replace(Exposure::Starting);
        let why = match stop.run_until_cancelled(publisher.start()).await {
            None => return,
            Some(Ok((mut served, name))) => {
                pause.reset();
                tracing::info!(mode = publisher.mode.as_str(), %name, "published through Tailscale");
                publisher.state.send_replace(Exposure::Up { name });
                let is_over = stop.run_until_cancelled(served.ended()).await;
                served.end().await;
                if is_over.is_none() {
                    let _ = std::fs::remove_file(&publisher.note);
                    return;
                }
                failed(&[publisher.mode.as_str()], "it ended by itself")
            }
            Some(Err(why)) => why,
        };
        tracing::warn!(%why, "not published through Tailscale");
        publisher.state.send_replace(Exposure::Down { why });
        if stop
            .run_until_cancelled(sleep(pause.next_delay()))
            .await
            .is_none()
        {
            return;
        }
    }
}

impl Publisher {
    /// One try. Cancel safe: a child that was started ends.
    async fn start(&self) -> Result<(Served, String), TailscaleError> {
        let name = self.program.status().await?.name;
        if let Some(route) = self.program.root_route().await? {
            // Ours, of a life that was cut short, is known by the port that it noted.
            if !self.noted_port().is_some_and(|port| route.leads_to(port)) {
                return Err(TailscaleError::RouteTaken {
                    host: clawline::layer::printable(&route.host, 200),
                    target: clawline::layer::printable(&route.target, 200),
                });
            }
            self.program.take_back().await?;
        }
        let port = Secret::new(self.port.to_string());
        if let Err(error) = owner_file::replace(&self.note, &port) {
            tracing::warn!(path = %self.note.display(), %error, "a left-over route could not be known as ours");
        }
        let mut served = Served::spawn(&self.program, self.mode, self.port)?;
        match timeout(READY_DEADLINE, served.ready()).await {
            Ok(Ok(())) => Ok((served, name)),
            Ok(Err(said)) => {
                served.end().await;
                Err(failed(&[self.mode.as_str()], &said))
            }
            Err(_) => {
                served.end().await;
                Err(TailscaleError::Slow {
                    command: self.mode.as_str().to_owned(),
                })
            }
        }
    }

    fn noted_port(&self) -> Option<u16> {
        bounded_file::read_text(&self.note, MAX_NOTE)
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

/// The child and its output. Dropping it closes its input, which ends it.
struct Served {
    watcher: Child,
    lines: Lines<BufReader<Take<ChildStdout>>>,
}

impl Served {
    fn spawn(program: &Program, mode: TailscaleMode, port: u16) -> Result<Self, TailscaleError> {
        let fail = |error: std::io::Error| failed(&[mode.as_str()], &error.to_string());
        let mut watcher = Command::new("/bin/sh")
            .args(["-c", WATCHER, "clawline-tailscale"])
            .arg(program.path())
            .args([mode.as_str(), "--yes", "--bg=false", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal is for us: we end the child in order.
            .process_group(0)
            .spawn()
            .map_err(fail)?;
        let output = watcher
            .stdout
            .take()
            .ok_or_else(|| fail(std::io::Error::other("no output")))?;
        Ok(Self {
            watcher,
            lines: BufReader::new(output.take(MAX_SAID)).lines(),
        })
    }

    /// Waits until the route stands; what was said instead when it does not.
    async fn ready(&mut self) -> Result<(), String> {
        let mut said = String::new();
        while let Ok(Some(line)) = self.lines.next_line().await {
            if line.contains(READY) {
                return Ok(());
            }
            said.push_str(&line);
            said.push('\n');
        }
        Err(said)
    }

    /// Waits until the child ends by itself.
    async fn ended(&mut self) {
        loop {
            self.lines.get_mut().get_mut().set_limit(MAX_SAID);
            match self.lines.next_line().await {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Ends the child, in order where it lets itself be ended.
    async fn end(&mut self) {
        drop(self.watcher.stdin.take());
        if timeout(END_DEADLINE, self.watcher.wait()).await.is_err()
            && let Some(group) = self.watcher.id().and_then(|id| i32::try_from(id).ok())
        {
            tracing::warn!("tailscale did not end in time and was killed");
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            let _ = timeout(END_DEADLINE, self.watcher.wait()).await;
        }
    }
}
