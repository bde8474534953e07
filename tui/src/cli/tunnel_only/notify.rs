//! What systemd is told: ready, how it stands, that it is alive, that it reloads or stops.

use std::convert::Infallible;
use std::time::Duration;

use clawline::config::Environment;
use clawline::service::notify;
use clawline::tunnel::Tunnel;
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::state::State;

/// How long systemd may take to take a message.
const SEND_DEADLINE: Duration = Duration::from_secs(2);
/// The service counts as ready by then, whatever the first attempt came to.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// Shortest watchdog that is kept up with.
const SHORTEST_WATCHDOG: Duration = Duration::from_millis(20);

/// The way to systemd; without one every message goes nowhere.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: Option<UnixDatagram>,
    /// How often systemd wants to hear that we are alive, at least.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says.
    pub fn of(env: &Environment) -> Self {
        let socket = env.var("NOTIFY_SOCKET").and_then(|name| {
            connect(name)
                .inspect_err(
                    |error| tracing::warn!(%error, name, "systemd cannot be told anything"),
                )
                .ok()
        });
        Self {
            socket,
            watchdog: watchdog(env, std::process::id()),
        }
    }

    pub fn is_listening(&self) -> bool {
        self.socket.is_some()
    }

    async fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        match timeout(SEND_DEADLINE, socket.send(message.as_bytes())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "systemd was not told"),
            Err(_) => tracing::debug!("systemd took no message in time"),
        }
    }

    /// The last word.
    pub async fn stopping(&self, why: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={why}")).await;
    }

    /// Tells how it stands for as long as it lives. `reloads` brings the generation from before each
    /// request to connect anew.
    ///
    /// Ready means: the local ends are bound, and the first attempt has come to something: up, or down
    /// and trying again by itself. A tunnel that needs a person ends instead, and never was ready.
    pub async fn keep(
        &self,
        tunnel: &Tunnel,
        mut states: watch::Receiver<State>,
        mut reloads: mpsc::Receiver<u64>,
    ) -> Infallible {
        if !self.is_listening() {
            return std::future::pending().await;
        }
        let mut ready = Readiness::First(Instant::now() + READY_DEADLINE);
        let mut told = String::new();
        let pause = self.watchdog.unwrap_or(READY_DEADLINE) / 2;
        let mut alive = tokio::time::interval(pause.max(SHORTEST_WATCHDOG));
        alive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let state = states.borrow_and_update().clone();
            let sentence = state.sentence();
            if ready.is_over(&state) {
                ready = Readiness::Told;
                self.send(&format!("READY=1\nSTATUS={sentence}")).await;
                told = sentence;
            } else if told != sentence {
                self.send(&format!("STATUS={sentence}")).await;
                told = sentence;
            }
            let deadline = ready.deadline();
            tokio::select! {
                changed = states.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                Some(generation) = reloads.recv() => {
                    self.send(&reloading()).await;
                    ready = Readiness::Again(generation, Instant::now() + READY_DEADLINE);
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    ready = Readiness::Due;
                }
                _ = alive.tick(), if self.watchdog.is_some() => {
                    // Only what does the work can say that it is alive.
                    if tunnel.owner_answers(pause / 2).await {
                        self.send("WATCHDOG=1").await;
                    }
                }
            }
        }
    }
}

/// How far the service is from being ready.
enum Readiness {
    /// The first attempt is under way.
    First(Instant),
    /// A new connection was asked for, when this was the generation.
    Again(u64, Instant),
    /// It took long enough.
    Due,
    Told,
}

impl Readiness {
    fn is_over(&self, state: &State) -> bool {
        let is_outcome = matches!(
            state.state.as_str(),
            "up" | "waiting" | "paused" | "attention"
        );
        match self {
            Self::First(_) => is_outcome,
            Self::Again(generation, _) => {
                is_outcome && (state.state != "up" || state.generation > *generation)
            }
            Self::Due => true,
            Self::Told => false,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::First(until) | Self::Again(_, until) => Some(*until),
            Self::Due | Self::Told => None,
        }
    }
}

/// The socket that systemd named.
fn connect(name: &str) -> std::io::Result<UnixDatagram> {
    UnixDatagram::from_std(notify::connect(name)?)
}

/// How often systemd wants to hear of process `pid`, when it wants to.
fn watchdog(env: &Environment, pid: u32) -> Option<Duration> {
    let is_ours = env
        .var("WATCHDOG_PID")
        .is_none_or(|text| text.trim().parse() == Ok(pid));
    let micros: u64 = env.var("WATCHDOG_USEC")?.trim().parse().ok()?;
    (is_ours && micros > 0).then(|| Duration::from_micros(micros))
}

/// systemd wants to know when this was said, on the clock that no suspend moves.
fn reloading() -> String {
    use nix::time::{ClockId, clock_gettime};
    let micros = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        i128::from(time.tv_sec()) * 1_000_000 + i128::from(time.tv_nsec()) / 1000
    });
    format!("RELOADING=1\nMONOTONIC_USEC={micros}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
    use std::path::Path;

    use super::*;

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let env = Environment::below(Path::new("/")).with("WATCHDOG_USEC", "3000000");
        assert_eq!(watchdog(&env, 7), Some(Duration::from_secs(3)));
        let ours = env.clone().with("WATCHDOG_PID", "7");
        assert_eq!(watchdog(&ours, 7), Some(Duration::from_secs(3)));
        assert_eq!(watchdog(&ours, 8), None);
        let none = Environment::below(Path::new("/")).with("WATCHDOG_USEC", "0");
        assert_eq!(watchdog(&none, 7), None);
    }

    #[tokio::test]
    async fn paths_and_abstract_names_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = StdDatagram::bind(&path).unwrap();
        let notifier =
            |name: &str| Notifier::of(&Environment::below(dir.path()).with("NOTIFY_SOCKET", name));
        notifier(path.to_str().unwrap()).stopping("bye").await;
        let mut text = [0; 64];
        let length = by_path.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"STOPPING=1\nSTATUS=bye");
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt as _;
            let name = format!("clawline-test-{}", std::process::id());
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            let abstractly = StdDatagram::bind_addr(&address).unwrap();
            notifier(&format!("@{name}")).stopping("bye").await;
            assert_eq!(abstractly.recv(&mut text).unwrap(), length);
        }
        assert!(!notifier("/no/such/socket").is_listening());
    }
}
