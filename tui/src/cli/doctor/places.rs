//! Files and directories of ours and of ssh: are they there, and who may touch them?

use std::collections::BTreeSet;
use std::path::Path;

use clawline::tunnel::checkup::{Finding, Health};
use clawline::tunnel::ssh_config::{Env, Resolved, Source};

use super::super::context::Context;

/// The config file, which was read before anything else.
pub(super) fn config(context: &Context) -> Vec<Finding> {
    let loaded = context.loaded();
    let mut findings = Vec::new();
    match &loaded.file {
        None => findings.push(Finding::new(
            "config",
            Health::Good,
            "no config file; defaults are in force",
        )),
        Some((file, _)) => findings.push(match open_to_others(file, 0o022) {
            Some(mode) => Finding::new(
                "config",
                Health::Bad,
                format!(
                    "{} can be changed by others (mode {mode:04o})",
                    file.display()
                ),
            )
            .next(format!("chmod go-w {}", file.display())),
            None => Finding::new("config", Health::Good, format!("{}: good", file.display())),
        }),
    }
    let warnings = loaded.warnings.iter();
    findings.extend(warnings.map(|w| Finding::new("config", Health::Note, w.to_string())));
    findings
}

/// The state directory: device key, tokens, logs.
pub(super) fn state(context: &Context) -> Vec<Finding> {
    let directory = context.loaded().paths.state_dir();
    let shown = directory.display();
    vec![match std::fs::metadata(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Finding::new(
            "state",
            Health::Good,
            format!("{shown} is made when it is needed"),
        ),
        Err(error) => Finding::new("state", Health::Bad, format!("{shown}: {error}"))
            .next("make it a directory of yours"),
        Ok(meta) if !meta.is_dir() => {
            Finding::new("state", Health::Bad, format!("{shown} is no directory"))
                .next("move it out of the way")
        }
        Ok(_) => match (open_to_others(directory, 0o077), is_writable(directory)) {
            (_, false) => Finding::new("state", Health::Bad, format!("{shown} cannot be written"))
                .next(format!("make {shown} yours: chown and chmod 700")),
            (Some(mode), true) => {
                let what = format!("{shown} is open to others (mode {mode:04o})");
                Finding::new("state", Health::Bad, what).next(format!("chmod 700 {shown}"))
            }
            (None, true) => Finding::new("state", Health::Good, format!("{shown}: yours alone")),
        },
    }]
}

/// `~/.ssh`, where it is there.
pub(super) fn ssh_directory() -> Vec<Finding> {
    let Ok(env) = Env::of_process() else {
        return Vec::new();
    };
    let directory = env.home.join(".ssh");
    let Some(mode) = open_to_others(&directory, 0o022) else {
        return Vec::new();
    };
    let shown = directory.display();
    vec![
        Finding::new(
            "ssh_config",
            Health::Bad,
            format!("{shown} can be changed by others (mode {mode:04o})"),
        )
        .next(format!("chmod 700 {shown}")),
    ]
}

/// Which files said something.
pub(super) fn files_of(resolved: &Resolved) -> String {
    let files: BTreeSet<&Path> = resolved
        .explain
        .iter()
        .filter_map(|setting| match &setting.source {
            Source::File { path, .. } => Some(path.as_path()),
            _ => None,
        })
        .collect();
    if files.is_empty() {
        return "no file says anything about it; defaults are in force".to_owned();
    }
    let files: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    format!("followed: {}", files.join(", "))
}

/// The mode of what is there, when others have any of the permissions in `mask`.
#[cfg(unix)]
fn open_to_others(path: &Path, mask: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    (mode & mask != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_: &Path, _: u32) -> Option<u32> {
    None
}

#[cfg(unix)]
fn is_writable(directory: &Path) -> bool {
    use nix::unistd::{AccessFlags, access};
    access(directory, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

#[cfg(not(unix))]
fn is_writable(_: &Path) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_others_may_change_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        std::fs::write(&file, "").unwrap();
        let with = |mode| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            open_to_others(&file, 0o022)
        };
        assert_eq!(with(0o600), None);
        assert_eq!(with(0o644), None);
        assert_eq!(with(0o664), Some(0o664));
        assert_eq!(open_to_others(Path::new("/nonexistent"), 0o022), None);
        assert!(is_writable(directory.path()));
    }
}
