//! `backup` and `restore`.

use std::path::PathBuf;

use clap::Args;

use super::{Common, Exit, Failure, output};
use crate::backup::{self, BackupError, Devices, Policy};
use crate::state_dir;

/// Options of `backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The directory to make; it holds secrets, and is readable for its owner only
    directory: PathBuf,
}

/// Options of `restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// A directory that `backup` made
    directory: PathBuf,
    /// Forget every device: each has to be paired again, and no device token of the past counts
    #[arg(long)]
    forget_devices: bool,
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Running(_)
            | BackupError::Taken { .. }
            | BackupError::Inside { .. }
            | BackupError::NoState { .. }
            | BackupError::Manifest(_)
            | BackupError::Newer { .. } => Self::usage(error),
            BackupError::Damaged { .. } | BackupError::Store(_) | BackupError::Io { .. } => {
                Self::failed(error)
            }
        }
    }
}

pub(super) fn save(common: &Common, args: &BackupArgs) -> Result<Exit, Failure> {
    let (_, paths) = common.place()?;
    // A broken config file is worth saving, too.
    let config = match common.load(Vec::new()) {
        Ok(read) => read.config_file(),
        Err(_) => paths.config_file().to_owned(),
    };
    let saving = backup::save(paths.gateway_state_dir(), Some(&config), &args.directory);
    super::wait(saving)??;
    let shown = args.directory.display();
    output::line(&format!(
        "saved to {shown}, and checked; it holds secrets: keep it as safe as the gateway itself"
    ));
    Ok(Exit::Good)
}

pub(super) fn restore(common: &Common, args: &RestoreArgs) -> Result<Exit, Failure> {
    let (_, paths) = common.place()?;
    let state_dir = paths.gateway_state_dir();
    state_dir::check(state_dir).map_err(Failure::usage)?;
    let config = match &common.config {
        Some(config) => config.clone(),
        None => paths.config_file().to_owned(),
    };
    let restoring = backup::restore(&args.directory, state_dir, &config, args.forget_devices);
    let done = super::wait(restoring)??;
    output::line(&format!("restored to {}", state_dir.display()));
    if let Some(aside) = done.aside {
        output::line(&format!("the state before is in {}", aside.display()));
    }
    output::line(&devices_line(&done.devices));
    if let Some(line) = policy_line(done.policy) {
        output::line(line);
    }
    if done.config {
        output::line(&format!("the config file is {}", config.display()));
    } else if args.directory.join("clawline.json5").exists() {
        output::line(&format!(
            "{} is as it was; the one of the backup is in {}",
            config.display(),
            args.directory.display()
        ));
    }
    Ok(Exit::Good)
}

/// Who may connect now, in words for a person.
fn devices_line(devices: &Devices) -> String {
    match devices {
        Devices::Carried(done) if done.removed + done.revoked == 0 => {
            "devices: none was removed or revoked since the backup".to_owned()
        }
        Devices::Carried(done) => format!(
            "devices: removed since the backup and still removed: {}; tokens revoked or replaced \
             since, and still void: {}",
            done.removed, done.revoked
        ),
        Devices::Unknown(why) => unknown_devices(why),
        Devices::OfAnotherGateway => unknown_devices("the state before was another gateway's"),
        Devices::Forgotten => "devices: all are forgotten; each has to be paired again".to_owned(),
    }
}

fn unknown_devices(why: &str) -> String {
    format!(
        "devices: whoever was removed or revoked since the backup CAN COME IN AGAIN, because \
         nothing says who that is ({why}); look at `clawline-gateway devices list`, or restore \
         with --forget-devices and pair each again"
    )
}

/// Which commands are allowed now, in words for a person.
fn policy_line(policy: Policy) -> Option<&'static str> {
    match policy {
        Policy::Absent => None,
        Policy::Saved => Some(
            "policy of commands: that of the backup; if something was taken back since, take it \
             back again",
        ),
        Policy::Kept => Some(
            "policy of commands: that of the state before, so that nothing that was taken back \
             since is allowed again",
        ),
        Policy::Removed => Some(
            "policy of commands: none, because the state before had none any more; that of the \
             backup is in its state/exec-approvals.json",
        ),
    }
}
