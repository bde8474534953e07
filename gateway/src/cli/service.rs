//! `install` and `uninstall`: a service of this user that runs the gateway from every login on.

use clap::Args;
use clawline::layer::printable;
use clawline::service::{self, FileError, Manager, Reached, Service};

use super::options::Read;
use super::{Common, Exit, Failure, output};

/// What every file that we write says, and nobody else's does.
pub(super) const MARK: &str = "Written by clawline-gateway install";
/// Seconds that the end may take: running answers get their time.
const STOP_SECONDS: u32 = 20;
/// Variables that say where things are; the service has to find the same.
const PLACES: [&str; 3] = ["CLAWLINE_STATE_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"];

/// Options of `install`.
#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    /// Print the service, and do nothing
    #[arg(long, alias = "dry-run")]
    print: bool,
    /// Write it, and neither enable nor start it
    #[arg(long, conflicts_with = "print")]
    no_start: bool,
}

/// Options of `uninstall`.
#[derive(Debug, Args)]
pub(super) struct UninstallArgs {
    /// Say what would be removed, and do nothing
    #[arg(long, alias = "print")]
    dry_run: bool,
}

/// The service's name; one a profile.
pub(super) fn name(profile: Option<&str>) -> String {
    match profile {
        Some(profile) => format!("clawline-gateway-{profile}"),
        None => "clawline-gateway".to_owned(),
    }
}

impl Common {
    /// The arguments that lead to the same configuration from anywhere.
    pub(super) fn arguments(&self, read: &Read) -> Result<Vec<String>, Failure> {
        let mut arguments = Vec::new();
        if let Some(profile) = &read.loaded.profile {
            arguments.extend(["--profile".to_owned(), profile.name().to_owned()]);
        }
        if self.config.is_some() || read.env.var("CLAWLINE_CONFIG").is_some() {
            let path = std::path::absolute(read.config_file()).map_err(Failure::usage)?;
            let text = path.to_str().ok_or_else(|| {
                let shown = printable(&path.display().to_string(), 200);
                Failure::usage(format!("{shown} cannot stand in a service"))
            })?;
            arguments.extend(["--config".to_owned(), text.to_owned()]);
        }
        Ok(arguments)
    }
}

fn service(common: &Common, read: &Read) -> Result<Service, Failure> {
    let profile = read.loaded.profile.as_ref().map(|profile| profile.name());
    let mut arguments = vec!["run".to_owned()];
    arguments.extend(common.arguments(read)?);
    let odd = arguments
        .iter()
        .find(|text| text.contains(clawline::layer::is_unsafe_to_show));
    if let Some(odd) = odd {
        let odd = printable(odd, 120);
        return Err(Failure::usage(format!(
            "\"{odd}\" cannot stand in a service"
        )));
    }
    let environment = PLACES.iter().filter_map(|name| {
        let value = read.env.var(name)?;
        let is_plain = !value.contains(clawline::layer::is_unsafe_to_show);
        is_plain.then(|| ((*name).to_owned(), value.to_owned()))
    });
    Ok(Service {
        name: name(profile),
        description: match profile {
            Some(profile) => format!("clawline gateway, profile {profile}"),
            None => "clawline gateway".to_owned(),
        },
        program: std::env::current_exe().map_err(Failure::failed)?,
        arguments,
        environment: environment.collect(),
        mark: MARK,
        needs_a_person: &[2],
        watchdog_seconds: None,
        stop_seconds: STOP_SECONDS,
    })
}

/// A file of another is wrong usage, the rest is a failure.
impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Foreign { .. } => Self::usage(error),
            FileError::Io { .. } => Self::failed(error),
        }
    }
}

pub(super) fn install(common: &Common, args: &InstallArgs) -> Result<Exit, Failure> {
    let read = common.load(Vec::new())?;
    // A service that cannot start is told now, while somebody is there.
    read.settings()?;
    let service = service(common, &read)?;
    let manager = Manager::of_this_system(&read.env);
    let text = manager.text(&service);
    if args.print {
        output::line(text.trim_end());
        return Ok(Exit::Good);
    }
    let path = manager.path(&service.name);
    let shown = printable(&path.display().to_string(), 300);
    let before = service::ours(&path, MARK)?;
    let is_new = before.as_deref() != Some(&text);
    if is_new {
        service::write(&path, &text)?;
        let verb = if before.is_some() { "changed" } else { "wrote" };
        output::line(&format!("{verb} {shown}"));
    } else {
        output::line(&format!("{shown} is as it should be"));
    }
    let mut exit = Exit::Good;
    if args.no_start {
        output::line("it was not started");
    } else {
        match super::wait(manager.start(&service.name, is_new))? {
            Reached::Done(what) => output::line(&what),
            Reached::Nobody(why) => {
                output::line(&format!("it was not started: {why}"));
                output::line(
                    "without a service manager, clawline-gateway start runs it in the background",
                );
            }
            Reached::Refused { command, said } => {
                output::error(&format!("{shown} is there, but `{command}` failed: {said}"));
                exit = Exit::Failed;
            }
        }
    }
    let mut steps = manager.next_steps(&service.name, args.no_start);
    steps.push(("clawline-gateway status".to_owned(), "how the gateway is"));
    let width = steps.iter().map(|(command, _)| command.len()).max();
    let width = width.unwrap_or_default();
    for (command, what) in steps {
        output::line(&format!("  {command:<width$}  {what}"));
    }
    Ok(exit)
}

pub(super) fn uninstall(common: &Common, args: &UninstallArgs) -> Result<Exit, Failure> {
    let (profile, _) = common.place()?;
    let env = clawline::config::Environment::of_process().map_err(Failure::usage)?;
    let name = name(profile.as_ref().map(|profile| profile.name()));
    let manager = Manager::of_this_system(&env);
    let path = manager.path(&name);
    let shown = printable(&path.display().to_string(), 300);
    if service::ours(&path, MARK)?.is_none() {
        output::line(&format!("there is no {shown}"));
        return Ok(Exit::Good);
    }
    if args.dry_run {
        output::line(&format!("would end the service and remove {shown}"));
        return Ok(Exit::Good);
    }
    match super::wait(manager.stop(&name))? {
        Reached::Done(what) => output::line(&what),
        Reached::Nobody(why) => output::line(&format!("nothing was ended: {why}")),
        Reached::Refused { command, said } => {
            output::line(&format!("`{command}` failed: {said}"));
        }
    }
    service::remove(&path)?;
    output::line(&format!("removed {shown}; state and config stay"));
    super::wait(manager.forget())?;
    Ok(Exit::Good)
}
