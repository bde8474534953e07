//! This machine's own gateway: where its files say it is, looked up again at each try.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use clawline::client::dial::{Credentials, DialError, Dialed, Dialer, Dialing};
use clawline::client::tcp::{Endpoint, TcpDialer};
use clawline::config::gateway::AuthMode;
use clawline::config::paths::Paths;
use clawline::config::{Dialect, GatewayKind, Profile, Source};
use clawline::gateway_id::GatewayId;
use clawline::notice::GatewayNotice;
use clawline::peer;
use clawline::secret::Secret;

use super::Shared;
use super::discovery::{self, Found, Part, Parts, Wanted};
use super::listeners::{Listener, Listeners};
use super::request::LocalWay;

/// Longest file that is looked at.
const MAX_FILE: u64 = 256 * 1024;

/// What the files of this machine say now.
pub(super) fn find(way: &LocalWay, paths: &Paths) -> Found {
    let profile = way.loaded.profile.as_ref().map(Profile::name);
    judge(way, &parts(paths, profile))
}

fn judge(way: &LocalWay, parts: &Parts) -> Found {
    let profile = way.loaded.profile.as_ref().map(Profile::name);
    let wanted = Wanted {
        kind: None,
        profile,
    };
    let mut found = discovery::choose(parts, wanted, "");
    let config = &way.loaded.config.gateway;
    let said = |key: &str| way.loaded.source(key).clone();
    let is_theirs = found.kind == Some(GatewayKind::Openclaw);
    // OpenClaw's file says nothing of a profile of ours.
    let is_about_it = profile.is_none()
        || matches!(&way.loaded.file, Some((_, dialect)) if *dialect == Dialect::Ours);
    let configured_port = matches!(said("gateway.port"), Source::File(_)).then_some(config.port);
    let configured_port = configured_port.filter(|_| is_about_it);
    if let Some(port) = way.port {
        found = at_port(found, port);
        found.notes = vec![format!("port {port} from {}", said("gateway.port"))];
    } else if let Some(port) = configured_port.filter(|_| !parts.alive && !is_theirs) {
        found = at_port(found, port);
    }
    let from_environment = matches!(said("gateway.auth.token"), Source::Environment(_))
        || matches!(said("gateway.auth.password"), Source::Environment(_));
    let wants_password = config.auth.mode == Some(AuthMode::Password);
    if found.credentials.is_empty() || from_environment || wants_password {
        // What a file says is for the gateway that reads this file.
        let belongs = |key: &str| match (said(key), &way.loaded.file) {
            (Source::File(_), Some((_, Dialect::OpenClaw))) => {
                found.kind != Some(GatewayKind::Clawline)
            }
            (Source::File(_), _) => !is_theirs,
            _ => true,
        };
        let token = config.auth.token.clone();
        let password = config.auth.password.clone();
        let configured = Credentials {
            token: token.filter(|_| !wants_password && belongs("gateway.auth.token")),
            password: password.filter(|_| belongs("gateway.auth.password")),
        };
        if !configured.is_empty() {
            let key = if configured.token.is_some() {
                "gateway.auth.token"
            } else {
                "gateway.auth.password"
            };
            found.notes.push(format!("{key} from {}", said(key)));
            found.credentials = configured;
        }
    }
    let (credentials, note) =
        found
            .listeners
            .permit(&found.credentials, "127.0.0.1", found.port, "");
    found.credentials = credentials;
    found.notes.extend(note);
    if !way.explicit.is_empty() {
        found.credentials = way.explicit.clone();
    }
    found
}

/// The same gateway on another port: what was found is not for that one.
fn at_port(mut found: Found, port: u16) -> Found {
    // Who says where it is knows which gateway that is.
    found.missing = None;
    if port != found.port {
        found.credentials = Credentials::default();
        found.pin = None;
        found.port = port;
    }
    found
}

fn parts(paths: &Paths, profile: Option<&str>) -> Parts {
    let parse = |notice: &Part| match notice {
        Part::Text(text) => GatewayNotice::parse(text.expose()).ok(),
        Part::Absent | Part::Unreadable => None,
    };
    // The file of the profile; the common one says nothing of another gateway than its own.
    let mut notice_path = paths.own_gateway_notice();
    let mut notice = read(&notice_path);
    if notice == Part::Absent && profile.is_some() {
        let common = read(&paths.gateway_notice());
        if parse(&common).is_some_and(|notice| notice.profile.as_deref() == profile) {
            notice_path = paths.gateway_notice();
            notice = common;
        }
    }
    let parsed = parse(&notice);
    let notice_name = notice_path.file_name().unwrap_or_default();
    let token = parsed
        .as_ref()
        .and_then(|notice| notice.token_file.as_deref())
        .map_or(Part::Absent, read);
    Parts {
        notice_name: notice_name.to_string_lossy().into_owned(),
        alive: parsed.as_ref().is_some_and(|notice| is_alive(notice.pid)),
        notice,
        token,
        openclaw: read(paths.openclaw_config()),
        openclaw_path: paths.openclaw_config().display().to_string(),
        listeners: listeners(),
    }
}

fn read(path: &Path) -> Part {
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Part::Absent,
        Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_FILE => {}
        Ok(_) | Err(_) => return Part::Unreadable,
    }
    fs::read_to_string(path).map_or(Part::Unreadable, |text| Part::Text(Secret::new(text)))
}

#[cfg(unix)]
fn is_alive(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else {
        return false;
    };
    pid > 0 && nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok()
}

/// Nobody can be asked: the notice is believed.
#[cfg(not(unix))]
fn is_alive(_pid: u32) -> bool {
    true
}

fn listeners() -> Listeners {
    let sockets = peer::listeners().into_iter().map(|entry| Listener {
        ip: entry.local.ip(),
        port: entry.local.port(),
        uid: entry.uid,
    });
    let sockets: Vec<Listener> = sockets.collect();
    Listeners {
        own: own_uid(),
        sockets: (!sockets.is_empty()).then_some(sockets),
    }
}

#[cfg(unix)]
fn own_uid() -> Option<u32> {
    Some(nix::unistd::getuid().as_raw())
}

#[cfg(not(unix))]
fn own_uid() -> Option<u32> {
    None
}

/// Dials this machine's gateway.
pub(super) struct LocalDialer {
    pub way: LocalWay,
    pub shared: Arc<Shared>,
}

impl LocalDialer {
    async fn open(&self) -> Result<Dialed, DialError> {
        let found = find(&self.way, &self.shared.paths);
        if let Some(missing) = &found.missing {
            return Err(missing.error().into());
        }
        let endpoint = endpoint(&found);
        if found.is_stale && self.way.explicit.is_empty() {
            self.shared.note_may_differ();
        }
        self.shared
            .found(GatewayId::direct(&endpoint.identity()), found.notes);
        TcpDialer::new(endpoint, found.credentials).dial().await
    }
}

/// Where a found gateway of this machine is dialled.
pub(super) fn endpoint(found: &Found) -> Endpoint {
    let endpoint = Endpoint::loopback(found.port);
    match found.pin {
        Some(pin) => endpoint.pinned(pin),
        None => endpoint,
    }
}

impl Dialer for LocalDialer {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(self.open())
    }
}
