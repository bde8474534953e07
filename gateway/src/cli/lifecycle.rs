//! `start`, `stop`, `restart`: through the service where one is installed, else by ourselves.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clawline::config::{Environment, Paths, Profile};
use clawline::layer::printable;
use clawline::owner_file;
use clawline::service::{self, Manager, Reached, Verb};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::options::Read;
use super::{Common, Exit, Failure, daemon, output, service as unit};
use crate::lock::StateLock;

/// How long a daemon may take to be ready.
const START_DEADLINE: Duration = Duration::from_secs(15);
/// How long it may take to end: answers that are being written have their time.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(25);
/// What a daemon without a terminal says before its log is open.
const OUTPUT: &str = "logs/gateway.out";
/// Most of it that is shown after a failure, in bytes.
const SHOWN: usize = 2000;

/// Where the daemon is, and the service manager where it has the daemon. Nothing of it needs a config
/// file that can be used: what runs can be ended whatever the file says.
struct Place {
    paths: Paths,
    profile: Option<Profile>,
    name: String,
    manager: Manager,
    is_installed: bool,
}

impl Place {
    fn of(common: &Common) -> Result<Self, Failure> {
        let (profile, paths) = common.place()?;
        let env = Environment::of_process().map_err(Failure::usage)?;
        let name = unit::name(profile.as_ref().map(Profile::name));
        let manager = Manager::of_this_system(&env);
        // A service of somebody else's under our name is not ours to steer.
        let is_installed =
            service::ours(&manager.path(&name), unit::MARK).is_ok_and(|text| text.is_some());
        Ok(Self {
            paths,
            profile,
            name,
            manager,
            is_installed,
        })
    }

    fn state_dir(&self) -> &Path {
        self.paths.gateway_state_dir()
    }

    /// The daemon's process, when it runs.
    fn pid(&self) -> Option<i32> {
        if !StateLock::is_held(self.state_dir()) {
            return None;
        }
        let told = daemon::status(self.state_dir());
        let told = told.and_then(|status| status["pid"].as_i64());
        let written = || {
            let text = std::fs::read_to_string(self.paths.gateway_lock()).ok()?;
            text.trim().parse().ok()
        };
        told.or_else(written)
            .and_then(|pid| i32::try_from(pid).ok())
    }

    fn is_ready(&self) -> bool {
        daemon::status(self.state_dir()).is_some()
    }

    /// What is said of a daemon that serves now.
    fn started(&self, pid: u32) -> String {
        let profile = self.profile.as_ref().map(Profile::name);
        let port = daemon::notice(&self.paths, profile).map(|notice| notice.port);
        let port = port.map_or_else(String::new, |port| format!(" on port {port}"));
        let hint = match self.is_installed {
            // The manager could not be told, and that was said.
            true => "",
            false => "; clawline-gateway install makes it a service",
        };
        format!("it runs in the background{port} (pid {pid}), until the machine stops{hint}")
    }

    /// True when the service manager has it running.
    fn is_the_managers(&self) -> Result<bool, Failure> {
        if !self.is_installed {
            return Ok(false);
        }
        let state = super::wait(self.manager.state(&self.name))?;
        Ok(matches!(
            state.as_deref(),
            Some("active" | "activating" | "reloading")
        ))
    }

    /// Tells the manager; false when there is none to be told.
    fn tell(&self, verb: Verb) -> Result<bool, Failure> {
        match super::wait(self.manager.tell(&self.name, verb))? {
            Reached::Done(what) => {
                output::line(&what);
                Ok(true)
            }
            Reached::Nobody(why) => {
                output::note(&format!("note: {why}"));
                Ok(false)
            }
            Reached::Refused { command, said } => {
                Err(Failure::failed(format!("`{command}` failed: {said}")))
            }
        }
    }
}

pub(super) fn start(common: &Common) -> Result<Exit, Failure> {
    let place = Place::of(common)?;
    if let Some(pid) = place.pid() {
        output::line(&format!("it runs already (pid {pid})"));
        return Ok(Exit::Good);
    }
    let read = ready_to_serve(common)?;
    if place.is_installed && place.tell(Verb::Start)? {
        return Ok(Exit::Good);
    }
    in_background(common, &place, &read)
}

pub(super) fn stop(common: &Common) -> Result<Exit, Failure> {
    let place = Place::of(common)?;
    if place.is_the_managers()? && place.tell(Verb::Stop)? {
        return Ok(Exit::Good);
    }
    match place.pid() {
        None => output::line("it does not run"),
        Some(pid) => {
            end(&place, pid)?;
            output::line(&format!("it has ended (pid {pid})"));
        }
    }
    Ok(Exit::Good)
}

pub(super) fn restart(common: &Common) -> Result<Exit, Failure> {
    let place = Place::of(common)?;
    let read = ready_to_serve(common)?;
    let runs = place.pid();
    let by_manager = place.is_the_managers()? || (place.is_installed && runs.is_none());
    if by_manager && place.tell(Verb::Restart)? {
        return Ok(Exit::Good);
    }
    match runs {
        Some(pid) => end(&place, pid)?,
        None => output::note("it did not run"),
    }
    in_background(common, &place, &read)
}

/// The configuration of a daemon that is to serve. A mistake in it is told before anything is ended or
/// started.
fn ready_to_serve(common: &Common) -> Result<Read, Failure> {
    let read = common.load(Vec::new())?;
    read.settings()?;
    Ok(read)
}

/// Asks it to end, and waits until it has.
fn end(place: &Place, pid: i32) -> Result<(), Failure> {
    if pid <= 1 {
        return Err(Failure::failed("who holds the lock is unknown"));
    }
    kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(|error| {
        Failure::failed(format!("process {pid} cannot be told to end: {error}"))
    })?;
    let until = Instant::now() + STOP_DEADLINE;
    while StateLock::is_held(place.state_dir()) {
        if Instant::now() >= until {
            return Err(Failure::failed(format!(
                "process {pid} has not ended within {} s; a second SIGTERM makes it end at once",
                STOP_DEADLINE.as_secs()
            )));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Runs it in a session of its own, and waits until it serves.
fn in_background(common: &Common, place: &Place, read: &Read) -> Result<Exit, Failure> {
    let path = place.state_dir().join(OUTPUT);
    let spawned = || -> std::io::Result<Child> {
        if let Some(dir) = path.parent() {
            owner_file::create_dir(dir)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let said = options.open(&path)?;
        let arguments = common.arguments(read);
        let arguments = arguments.map_err(|failure| std::io::Error::other(failure.text))?;
        Command::new(std::env::current_exe()?)
            .args(["run", "--detached"])
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()
    };
    let mut child = spawned().map_err(|error| {
        let path = path.display();
        Failure::failed(format!("it cannot be started: {path}: {error}"))
    })?;
    let until = Instant::now() + START_DEADLINE;
    loop {
        if place.is_ready() {
            output::line(&place.started(child.id()));
            return Ok(Exit::Good);
        }
        let ended = child.try_wait().map_err(Failure::failed)?;
        if ended.is_some() || Instant::now() >= until {
            let said = std::fs::read_to_string(&path).unwrap_or_default();
            let why = match ended {
                Some(_) => "it has ended",
                None => "it is not ready yet",
            };
            let said = said.lines();
            // Its name stands before our own words already.
            let said = said.map(|line| line.strip_prefix("clawline-gateway: ").unwrap_or(line));
            let said: Vec<String> = said.map(|line| printable(line, SHOWN)).collect();
            let text = format!("{why}: {}", said.join("\n"));
            // Wrong usage stays wrong usage, and a taken port a taken port.
            return match ended.and_then(|status| status.code()) {
                Some(2) => Err(Failure::usage(text)),
                Some(8) => Err(Failure {
                    text,
                    exit: Exit::CannotBind,
                }),
                _ => Err(Failure::failed(text)),
            };
        }
        std::thread::sleep(LOOK);
    }
}
