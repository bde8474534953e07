//! The service manager of this system: where its files are, and how it is told about them.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::{Service, launchd, systemd};
use crate::config::Environment;
use crate::layer::printable;

/// How long one of its commands may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// How much of what it says is shown.
const MAX_WORDS: usize = 300;

/// A service manager.
#[derive(Debug, Clone)]
pub enum Manager {
    /// systemd's user manager; the directory of its units.
    Systemd(PathBuf),
    /// launchd; the home directory.
    Launchd(PathBuf),
}

/// What came of telling it.
#[derive(Debug)]
pub enum Reached {
    /// It does what it was told.
    Done(String),
    /// Nobody is there to be told.
    Nobody(String),
    /// It did not want to.
    Refused {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
}

/// What a service that is there can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// To run.
    Start,
    /// To end.
    Stop,
    /// To end and run again.
    Restart,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

impl Manager {
    /// The one that this platform has.
    pub fn of_this_system(env: &Environment) -> Self {
        if cfg!(target_os = "macos") {
            Self::Launchd(env.home.clone())
        } else {
            Self::Systemd(env.config_dir.join("systemd/user"))
        }
    }

    /// Where the file of a service belongs.
    pub fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Systemd(units) => units.join(unit_name(name)),
            Self::Launchd(home) => {
                let name = format!("{}.plist", launchd::label(name));
                home.join("Library/LaunchAgents").join(name)
            }
        }
    }

    /// What belongs into it.
    pub fn text(&self, service: &Service) -> String {
        match self {
            Self::Systemd(_) => systemd::unit(service),
            Self::Launchd(home) => {
                let name = format!("{}.log", service.name);
                let log = home.join("Library/Logs").join(name);
                launchd::agent(service, &log.display().to_string())
            }
        }
    }

    /// Enables and starts it; what has changed takes effect.
    pub async fn start(&self, name: &str, is_new: bool) -> Reached {
        let unit = unit_name(name);
        match self {
            Self::Systemd(_) => {
                if let Err(why) = user_manager().await {
                    return Reached::Nobody(why);
                }
                // Starting ends when the service is ready, which may take longer than a person waits.
                let verb = if is_new { "restart" } else { "start" };
                let steps: [&[&str]; 3] = [
                    &["--user", "daemon-reload"],
                    &["--user", "enable", &unit],
                    &["--user", verb, "--no-block", &unit],
                ];
                for step in steps {
                    if let Err(refused) = run("systemctl", step).await {
                        return refused;
                    }
                }
                Reached::Done(format!("{unit} is enabled and starts now"))
            }
            Self::Launchd(_) => {
                let path = self.path(name).display().to_string();
                if is_new {
                    // Not loaded before is no failure.
                    let _ = run("launchctl", &["unload", &path]).await;
                }
                match run("launchctl", &["load", "-w", &path]).await {
                    Ok(()) => Reached::Done(format!("{} is loaded", launchd::label(name))),
                    Err(refused) => refused,
                }
            }
        }
    }

    /// Ends and disables it.
    pub async fn stop(&self, name: &str) -> Reached {
        match self {
            Self::Systemd(_) => {
                if let Err(why) = user_manager().await {
                    return Reached::Nobody(why);
                }
                let unit = unit_name(name);
                match run("systemctl", &["--user", "disable", "--now", &unit]).await {
                    Ok(()) => Reached::Done(format!("{unit} has ended and is disabled")),
                    Err(refused) => refused,
                }
            }
            Self::Launchd(_) => {
                let path = self.path(name).display().to_string();
                match run("launchctl", &["unload", "-w", &path]).await {
                    Ok(()) => Reached::Done(format!("{} is unloaded", launchd::label(name))),
                    Err(refused) => refused,
                }
            }
        }
    }

    /// Tells one that is installed to run, to end or to begin anew; it stays enabled as it is. Waits
    /// until that is done.
    pub async fn tell(&self, name: &str, verb: Verb) -> Reached {
        let unit = unit_name(name);
        let did = match verb {
            Verb::Start => "has started",
            Verb::Stop => "has ended",
            Verb::Restart => "has started anew",
        };
        let told = match self {
            Self::Systemd(_) => match user_manager().await {
                Err(why) => return Reached::Nobody(why),
                Ok(()) => run("systemctl", &["--user", verb.word(), &unit]).await,
            },
            Self::Launchd(_) => {
                let label = launchd::label(name);
                match verb {
                    Verb::Restart => {
                        let _ = run("launchctl", &["stop", &label]).await;
                        run("launchctl", &["start", &label]).await
                    }
                    verb => run("launchctl", &[verb.word(), &label]).await,
                }
            }
        };
        match told {
            Ok(()) => Reached::Done(format!("{unit} {did}")),
            Err(refused) => refused,
        }
    }

    /// How the manager says that it is, in one word; `None` when nobody can be asked.
    pub async fn state(&self, name: &str) -> Option<String> {
        let Self::Systemd(_) = self else { return None };
        let unit = unit_name(name);
        let asked = Command::new("systemctl")
            .args(["--user", "is-active", &unit])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(DEADLINE, asked).await.ok()?.ok()?;
        let word = String::from_utf8_lossy(&output.stdout);
        let word = printable(word.trim(), 40);
        (!word.is_empty()).then_some(word)
    }

    /// After the file is gone.
    pub async fn forget(&self) {
        if let Self::Systemd(_) = self
            && user_manager().await.is_ok()
        {
            // It forgets by itself at the next login.
            let _ = run("systemctl", &["--user", "daemon-reload"]).await;
        }
    }

    /// Commands for a person.
    pub fn next_steps(&self, name: &str, no_start: bool) -> Vec<(String, &'static str)> {
        let mut steps = Vec::new();
        match self {
            Self::Systemd(_) => {
                let unit = unit_name(name);
                if no_start {
                    steps.push((format!("systemctl --user enable --now {unit}"), "starts it"));
                }
                steps.push((
                    format!("systemctl --user status {unit}"),
                    "how the service is",
                ));
                steps.push((format!("journalctl --user -u {unit}"), "what it said"));
                let linger = "loginctl enable-linger".to_owned();
                steps.push((linger, "keeps it while you are not signed in"));
            }
            Self::Launchd(_) => {
                let path = self.path(name).display().to_string();
                if no_start {
                    steps.push((
                        format!("launchctl load -w {}", shell_word(&path)),
                        "starts it",
                    ));
                }
                let label = launchd::label(name);
                steps.push((format!("launchctl list {label}"), "how the service is"));
            }
        }
        steps
    }
}

fn unit_name(name: &str) -> String {
    format!("{name}.service")
}

/// Why this user's manager cannot be told anything.
async fn user_manager() -> Result<(), String> {
    match run("systemctl", &["--user", "show-environment"]).await {
        Ok(()) => Ok(()),
        Err(Reached::Refused { said, .. }) => Err(format!(
            "systemd's user manager cannot be reached ({said}); it comes with the next login"
        )),
        Err(Reached::Nobody(why)) => Err(why),
        Err(Reached::Done(_)) => Ok(()),
    }
}

async fn run(program: &str, arguments: &[&str]) -> Result<(), Reached> {
    let command = format!("{program} {}", arguments.join(" "));
    let refused = |said: &str| {
        Err(Reached::Refused {
            command: command.clone(),
            said: printable(said.trim(), MAX_WORDS),
        })
    };
    let running = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match timeout(DEADLINE, running).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => refused(&String::from_utf8_lossy(&output.stderr)),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Err(Reached::Nobody(
            format!("there is no {program} on this system"),
        )),
        Ok(Err(error)) => refused(&error.to_string()),
        Err(_) => refused(&format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

/// A word that a shell takes as it is.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@:./_-".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
