//! Running `tailscale`, and what its failures mean to a person.

use std::ffi::OsStr;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use clawline::layer::printable;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::route::{self, Route};
use crate::policy::Policy;

/// For an answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most that is shown of what the program says, in characters.
const MAX_SAID: usize = 200;
/// The state in which Tailscale works.
const RUNNING: &str = "Running";

/// Why Tailscale does not do what it is asked. Each is one sentence with the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TailscaleError {
    /// No such program.
    #[error("the program {} is not there; install Tailscale, or set gateway.tailscale.mode to \"off\" and gateway.bind to \"loopback\"", .0.display())]
    Missing(PathBuf),
    /// Its daemon does not answer.
    #[error("Tailscale does not run on this machine; start it: sudo systemctl start tailscaled")]
    NotRunning,
    /// Nobody is signed in, or it was switched off.
    #[error("Tailscale is not connected ({state}); run: sudo tailscale up")]
    NotConnected {
        /// As it says itself.
        state: String,
    },
    /// This user may not change it.
    #[error(
        "Tailscale does not let this user change what it serves; run once: sudo tailscale set --operator=$USER"
    )]
    Denied,
    /// HTTPS or Funnel is not switched on for the tailnet.
    #[error("Tailscale does not allow it in this tailnet: {said}")]
    NotEnabled {
        /// In its own words, with the address to go to.
        said: String,
    },
    /// Somebody else's route is there already.
    #[error(
        "Tailscale serves {target} at https://{host}/ already; take that away with tailscale serve --https=443 off, or set gateway.tailscale.mode to \"off\""
    )]
    RouteTaken {
        /// The machine's name.
        host: String,
        /// Where its requests go now.
        target: String,
    },
    /// No address yet.
    #[error("Tailscale has given this machine no IPv4 address; look at tailscale status")]
    NoAddress,
    /// No answer in time.
    #[error("tailscale {command} gave no answer within {} s; look at tailscale status", DEADLINE.as_secs())]
    Slow {
        /// What was asked.
        command: String,
    },
    /// Anything else.
    #[error("tailscale {command} failed: {said}; look at tailscale status")]
    Failed {
        /// What was asked.
        command: String,
        /// In its own words.
        said: String,
    },
}

/// What `tailscale status` says of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// Its name in the tailnet, without the dot at the end.
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpAddr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawStatus {
    #[serde(default)]
    backend_state: String,
    #[serde(rename = "Self")]
    own: Option<RawSelf>,
}

#[derive(Deserialize)]
struct RawSelf {
    #[serde(rename = "DNSName", default)]
    name: String,
    #[serde(rename = "TailscaleIPs", default)]
    addresses: Option<Vec<IpAddr>>,
}

#[derive(Deserialize)]
struct RawWhois {
    #[serde(rename = "UserProfile")]
    user: Option<RawUser>,
}

#[derive(Deserialize)]
struct RawUser {
    #[serde(rename = "LoginName", default)]
    login: String,
}

/// The program.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    /// For an answer.
    deadline: Duration,
}

impl Program {
    pub(crate) fn new(path: &Path, policy: &Policy) -> Self {
        Self {
            path: path.to_owned(),
            deadline: policy.patiently(DEADLINE),
        }
    }

    pub(super) fn path(&self) -> &OsStr {
        self.path.as_os_str()
    }

    /// This machine in its tailnet; an error unless it is connected.
    pub(crate) async fn status(&self) -> Result<Status, TailscaleError> {
        const ARGS: [&str; 2] = ["status", "--json"];
        let output = self.output(&ARGS).await?;
        let raw: RawStatus = match serde_json::from_slice(&output.stdout) {
            Ok(raw) => raw,
            Err(_) => return Err(failed(&ARGS, &said(&output))),
        };
        if raw.backend_state != RUNNING {
            let state = printable(&raw.backend_state, MAX_SAID);
            return Err(TailscaleError::NotConnected { state });
        }
        let own = raw.own.ok_or(TailscaleError::NoAddress)?;
        Ok(Status {
            name: own.name.trim_end_matches('.').to_ascii_lowercase(),
            addresses: own.addresses.unwrap_or_default(),
        })
    }

    /// The IPv4 address of this machine in its tailnet.
    pub(crate) async fn address(&self) -> Result<IpAddr, TailscaleError> {
        let addresses = self.status().await?.addresses;
        let v4 = addresses.into_iter().find(IpAddr::is_ipv4);
        v4.ok_or(TailscaleError::NoAddress)
    }

    /// The login name of whoever has this address; `None` for a machine without a user.
    pub(crate) async fn whois(&self, address: IpAddr) -> Result<Option<String>, TailscaleError> {
        let address = address.to_string();
        let args = ["whois", "--json", &address];
        let output = self.good_output(&args).await?;
        let raw: RawWhois = serde_json::from_slice(&output.stdout)
            .map_err(|_| failed(&args, "its answer is no JSON"))?;
        let login = raw.user.map(|user| user.login.trim().to_owned());
        Ok(login.filter(|login| !login.is_empty()))
    }

    /// What is served at the root of this machine's name now, in the background or by a program in front.
    pub(super) async fn root_route(&self) -> Result<Option<Route>, TailscaleError> {
        let args = ["serve", "status", "--json"];
        let output = self.good_output(&args).await?;
        route::root(&output.stdout).ok_or_else(|| failed(&args, "its answer is no JSON"))
    }

    /// Takes the route at the root away.
    pub(super) async fn take_back(&self) -> Result<(), TailscaleError> {
        let args = ["serve", "--yes", "--https=443", "--set-path=/", "off"];
        self.good_output(&args).await.map(drop)
    }

    async fn good_output(&self, args: &[&str]) -> Result<Output, TailscaleError> {
        let output = self.output(args).await?;
        if output.status.success() {
            Ok(output)
        } else {
            Err(failed(args, &said(&output)))
        }
    }

    async fn output(&self, args: &[&str]) -> Result<Output, TailscaleError> {
        let running = Command::new(&self.path)
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        match timeout(self.deadline, running).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                Err(TailscaleError::Missing(self.path.clone()))
            }
            Ok(Err(error)) => Err(failed(args, &error.to_string())),
            Err(_) => Err(TailscaleError::Slow {
                command: args.join(" "),
            }),
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stderr[..], &output.stdout].concat()).into_owned()
}

/// What a failure means, by the words of the program.
pub(super) fn failed(args: &[&str], said: &str) -> TailscaleError {
    let low = said.to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|words| low.contains(words));
    let first = said.lines().map(str::trim).find(|line| !line.is_empty());
    let shown = printable(first.unwrap_or("it said nothing"), MAX_SAID);
    if is(&["access denied", "permission denied", "--operator="]) {
        TailscaleError::Denied
    } else if is(&[
        "failed to connect to local tailscale",
        "is tailscaled running",
        "tailscaled is not running",
    ]) {
        TailscaleError::NotRunning
    } else if is(&["logged out", "needslogin", "tailscale is stopped"]) {
        TailscaleError::NotConnected { state: shown }
    } else if is(&[
        "not enabled on your tailnet",
        "funnel not available",
        "not available",
    ]) {
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        TailscaleError::NotEnabled {
            said: printable(&said, MAX_SAID),
        }
    } else {
        TailscaleError::Failed {
            command: args.join(" "),
            said: shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_says_becomes_one_sentence_with_the_next_step() {
        for (said, next) in [
            (
                "failed to connect to local tailscaled; it doesn't appear to be running",
                "systemctl start",
            ),
            (
                "Access denied: serve config denied\n\nUse 'sudo tailscale serve'",
                "set --operator",
            ),
            ("Logged out.", "tailscale up"),
            (
                "\nServe is not enabled on your tailnet.\nTo enable, visit:\n\n  https://login.example/f",
                "https://login.example/f",
            ),
            ("some\nthing", "tailscale status"),
            ("", "it said nothing"),
        ] {
            let words = failed(&["serve"], said).to_string();
            assert!(words.contains(next), "{said}: {words}");
            assert_eq!(words.lines().count(), 1, "{words}");
        }
    }
}
