//! The things that `doctor` looks at.

use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use clawline::config::{Environment, Paths, Warning};
use clawline::owner_file;
use clawline::service::{self, Manager};
use clawline::tunnel::forward::holder_of;
use nix::unistd::{AccessFlags, access};

use super::Row;
use crate::cli::config::unset_keys;
use crate::cli::options::Read;
use crate::cli::{Common, Failure, daemon, service as unit, wait};
use crate::lock::StateLock;
use crate::pairing::MAX_SILENT;
use crate::start_check::check_start;
use crate::{state_dir, store};

/// Less room than this is bad, and than the other is worth a word; in bytes.
const BAD_ROOM: u64 = 64 << 20;
const ODD_ROOM: u64 = 1 << 30;
/// So many devices that nobody was asked about are worth a word.
const MANY_DEVICES: u64 = MAX_SILENT as u64 / 2;
/// No clock that is right shows a time before this: 2026-01-01, in seconds since the epoch.
const EARLIEST: u64 = 1_767_225_600;
/// A file may be this far ahead of the clock.
const SKEW: Duration = Duration::from_secs(300);

pub(super) fn all(common: &Common, fix: bool) -> Result<Vec<Row>, Failure> {
    let (profile, paths) = common.place()?;
    let read = common.load_quietly(Vec::new());
    let is_running = StateLock::is_held(paths.gateway_state_dir());
    let mut rows = Vec::new();
    config(&read, fix, &mut rows);
    files(&paths, fix, &mut rows);
    rows.push(token(&paths, &read));
    let name = profile.as_ref().map(|profile| profile.name());
    let configured = read.as_ref().map(|read| read.loaded.config.gateway.port);
    match daemon::notice(&paths, name) {
        Some(notice) => rows.push(served(notice.port, configured.ok())),
        None => rows.extend(
            configured
                .ok()
                .map(|configured| port(configured, is_running)),
        ),
    }
    rows.push(clock(&paths));
    rows.push(room(paths.gateway_state_dir()));
    rows.push(database(&paths, is_running));
    rows.push(service_row(name)?);
    Ok(rows)
}

fn config(read: &Result<Read, Failure>, fix: bool, rows: &mut Vec<Row>) {
    const ID: &str = "config";
    let read = match read {
        Ok(read) => read,
        Err(failure) => {
            rows.push(Row::bad(ID, &failure.text).fix("clawline-gateway config check"));
            return;
        }
    };
    let path = read.config_file();
    let settings = read.settings();
    let startable = settings.and_then(|settings| {
        check_start(&settings)?;
        let unset = unset_keys(&settings, &read.env).into_iter();
        rows.extend(unset.map(|note| Row::odd(ID, note)));
        Ok(())
    });
    match startable {
        Err(failure) => {
            rows.push(Row::bad(ID, failure.text).fix("clawline-gateway config check"));
        }
        Ok(_) if read.loaded.file.is_none() => {
            let what = format!("no {}: every value is the default", path.display());
            rows.push(Row::good(ID, what));
        }
        Ok(_) => rows.push(Row::good(ID, format!("{} is good", path.display()))),
    }
    for warning in &read.loaded.warnings {
        match warning {
            Warning::OpenToOthers { file, .. } if fix && close(file, 0o600) => {
                rows.push(Row::good(ID, format!("closed {}", file.display())));
            }
            Warning::OpenToOthers { file, .. } => rows.push(
                Row::bad(ID, warning.to_string()).fix(format!("chmod 600 {}", file.display())),
            ),
            warning => rows.push(Row::odd(ID, warning.to_string())),
        }
    }
}

fn close(path: &Path, mode: u32) -> bool {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).is_ok()
}

fn files(paths: &Paths, fix: bool, rows: &mut Vec<Row>) {
    const ID: &str = "state";
    let dir = paths.gateway_state_dir();
    if !dir.exists() && !dir.is_symlink() {
        let there = nearest(dir);
        rows.push(match access(there, AccessFlags::W_OK | AccessFlags::X_OK) {
            Ok(()) => {
                let what = format!("no {} yet; the first start makes it", dir.display());
                Row::good(ID, what)
            }
            Err(error) => {
                let (dir, there) = (dir.display(), there.display());
                Row::bad(
                    ID,
                    format!("{dir} cannot be made: {there}: {}", error.desc()),
                )
                .fix("make it writable for this user, or choose another with CLAWLINE_STATE_DIR")
            }
        });
        return;
    }
    match state_dir::check(dir) {
        Ok(()) => {}
        Err(state_dir::StateDirError::OpenToOthers { path, .. }) if fix && close(&path, 0o700) => {
            rows.push(Row::good(ID, format!("closed {}", path.display())));
        }
        Err(error) => rows.push(Row::bad(ID, error.to_string())),
    }
    let mut is_closed = true;
    for open in state_dir::too_open(dir) {
        let shown = open.path.display();
        if fix && close(&open.path, open.wanted) {
            rows.push(Row::good(ID, format!("closed {shown}")));
            continue;
        }
        is_closed = false;
        let what = format!("other users can see into {shown} (mode {:04o})", open.mode);
        rows.push(Row::bad(ID, what).fix(format!("chmod {:o} {shown}", open.wanted)));
    }
    if is_closed {
        let what = format!("everything in {} is closed to others", dir.display());
        rows.push(Row::good(ID, what));
    }
}

fn token(paths: &Paths, read: &Result<Read, Failure>) -> Row {
    const ID: &str = "token";
    let path = paths.gateway_token();
    let auth = read
        .as_ref()
        .ok()
        .map(|read| &read.loaded.config.gateway.auth);
    if auth.is_some_and(|auth| auth.token.is_some() || auth.password.is_some()) {
        return Row::good(ID, "the secret is in the configuration");
    }
    match owner_file::is_open_to_others(&path) {
        Err(_) => Row::good(ID, "none yet; the first start makes one"),
        // The walk through the state directory has told it, and how to close it; what others may have
        // read stays read.
        Ok(true) => Row::bad(ID, format!("{} could be read by others", path.display()))
            .fix("close it, then change its content: it takes effect at once"),
        Ok(false) => match crate::auth::read(&path) {
            Ok(_) => Row::good(ID, format!("{} is closed to others", path.display())),
            Err(error) => Row::bad(ID, error.to_string()),
        },
    }
}

/// The port that the running gateway has, which may be another than the one it is told by now.
fn served(port: u16, configured: Option<u16>) -> Row {
    let what = format!("{port}: the gateway of this profile runs");
    match configured {
        Some(configured) if configured != port => {
            Row::odd("port", format!("{what}, and {configured} is configured"))
                .fix("clawline-gateway restart takes what is configured")
        }
        _ => Row::good("port", what),
    }
}

fn port(port: u16, is_running: bool) -> Row {
    const ID: &str = "port";
    if is_running {
        return Row::good(ID, format!("{port}: the gateway of this profile runs"));
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Row::good(ID, format!("{port} is free")),
        Err(error) => {
            let what = match holder_of((Ipv4Addr::LOCALHOST, port).into()) {
                Some(holder) => format!("{port} is taken by {holder}"),
                None => format!("{port} cannot be had: {error}"),
            };
            Row::bad(ID, what).fix("end it, or choose another with gateway.port or --port")
        }
    }
}

fn clock(paths: &Paths) -> Row {
    const ID: &str = "clock";
    let now = SystemTime::now();
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    if since.as_secs() < EARLIEST {
        return Row::bad(ID, "the clock of this machine is years behind")
            .fix("set it; device signatures and certificates are refused while it is wrong");
    }
    let written = std::fs::metadata(paths.gateway_database()).and_then(|file| file.modified());
    match written {
        Ok(at) if at.duration_since(now).is_ok_and(|ahead| ahead > SKEW) => Row::bad(
            ID,
            "the store was written at a time that has not come yet: the clock was, or is, wrong",
        )
        .fix("set the clock"),
        _ => Row::good(ID, "plausible"),
    }
}

/// The directory, or the nearest one above it that is there.
fn nearest(dir: &Path) -> &Path {
    let mut above = dir.ancestors();
    above.find(|path| path.exists()).unwrap_or(dir)
}

fn room(dir: &Path) -> Row {
    const ID: &str = "disk";
    match nix::sys::statvfs::statvfs(nearest(dir)) {
        Err(error) => Row::bad(ID, format!("{}: {error}", dir.display())),
        Ok(found) => {
            #[allow(
                clippy::useless_conversion,
                reason = "on macOS the count of blocks has 32 bits"
            )]
            let free = u64::from(found.blocks_available()).saturating_mul(found.fragment_size());
            let what = format!("{} MiB free for {}", free >> 20, dir.display());
            match free {
                free if free < BAD_ROOM => {
                    Row::bad(ID, what).fix("make room: messages are refused when nothing is left")
                }
                free if free < ODD_ROOM => Row::odd(ID, what),
                _ => Row::good(ID, what),
            }
        }
    }
}

fn database(paths: &Paths, is_running: bool) -> Row {
    const ID: &str = "store";
    let path = paths.gateway_database();
    if !path.exists() {
        return Row::good(ID, "none yet; the first start makes it");
    }
    match wait(store::inspect(&path)) {
        Err(failure) => Row::bad(ID, failure.text),
        Ok(Err(error)) => Row::bad(ID, error.to_string()),
        Ok(Ok(found)) => match found.damage {
            Some(damage) => Row::bad(ID, format!("{} is damaged: {damage}", path.display()))
                .fix("clawline-gateway stop, then clawline-gateway restore BACKUP"),
            None if found.schema > found.known => Row::bad(
                ID,
                format!(
                    "{} was written by a newer clawline-gateway (schema {}, this one knows {})",
                    path.display(),
                    found.schema,
                    found.known
                ),
            )
            .fix("run that version"),
            None if found.silent_devices >= MANY_DEVICES => Row::odd(
                ID,
                format!(
                    "{} devices were paired without a question, and the longest unseen of more than {MAX_SILENT} are forgotten: does a program make a new key for each of its runs?",
                    found.silent_devices
                ),
            )
            .fix("clawline-gateway devices list"),
            None if is_running => Row::good(ID, "sound, and served"),
            None => Row::good(ID, format!("sound (schema {})", found.schema)),
        },
    }
}

fn service_row(profile: Option<&str>) -> Result<Row, Failure> {
    const ID: &str = "service";
    let env = Environment::of_process().map_err(Failure::usage)?;
    let manager = Manager::of_this_system(&env);
    let name = unit::name(profile);
    let path = manager.path(&name);
    let text = match service::ours(&path, unit::MARK) {
        Ok(None) => {
            return Ok(Row::good(ID, "none is installed")
                .fix("clawline-gateway install runs it from every login on"));
        }
        Err(error) => return Ok(Row::odd(ID, error.to_string())),
        Ok(Some(text)) => text,
    };
    let own = std::env::current_exe().unwrap_or_default();
    if !text.contains(&own.display().to_string()) {
        return Ok(Row::odd(
            ID,
            format!("{} runs another program than this one", path.display()),
        )
        .fix("clawline-gateway install"));
    }
    let state = wait(manager.state(&name))?;
    Ok(match state.as_deref() {
        Some("failed") => Row::bad(ID, format!("{name} has failed"))
            .fix(format!("journalctl --user -u {name}.service")),
        Some(state) => Row::good(ID, format!("{name} is {state}")),
        None => Row::odd(ID, format!("{name}: its manager cannot be asked")),
    })
}
