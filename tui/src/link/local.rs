//! This machine's own gateway: where its files say it is, looked up again at each try.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use clawline::client::dial::{Credentials, Dialed, Dialer, Dialing};
use clawline::client::tcp::{Endpoint, TcpDialer};
use clawline::config::Source;
use clawline::config::gateway::AuthMode;
use clawline::config::paths::Paths;
use clawline::gateway_id::GatewayId;
use clawline::layer::LayerError;
use clawline::notice::GatewayNotice;
use clawline::peer;
use clawline::secret::Secret;

use super::Shared;
use super::discovery::{self, Found, Part, Parts};
use super::request::LocalWay;

/// Longest file that is looked at.
const MAX_FILE: u64 = 256 * 1024;

/// What the files of this machine say now.
pub(super) fn find(way: &LocalWay, paths: &Paths) -> Found {
    let parts = parts(paths);
    let mut found = discovery::choose(&parts, None, "");
    let config = &way.loaded.config.gateway;
    let said = |key: &str| way.loaded.source(key).clone();
    if let Some(port) = way.port {
        if port != found.port {
            found.credentials = Credentials::default();
        }
        found.port = port;
        found.notes = vec![format!("port {port} from {}", said("gateway.port"))];
    } else if !parts.alive && matches!(said("gateway.port"), Source::File(_)) {
        found.port = config.port;
    }
    let from_environment = matches!(said("gateway.auth.token"), Source::Environment(_))
        || matches!(said("gateway.auth.password"), Source::Environment(_));
    let wants_password = config.auth.mode == Some(AuthMode::Password);
    if found.credentials.is_empty() || from_environment || wants_password {
        let configured = Credentials {
            token: config.auth.token.clone().filter(|_| !wants_password),
            password: config.auth.password.clone(),
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
    if !way.explicit.is_empty() {
        found.credentials = way.explicit.clone();
    }
    found
}

fn parts(paths: &Paths) -> Parts {
    let notice_path = paths.gateway_notice();
    let notice = read(&notice_path);
    let parsed = match &notice {
        Part::Text(text) => GatewayNotice::parse(text.expose()).ok(),
        Part::Absent | Part::Unreadable => None,
    };
    let token = parsed
        .as_ref()
        .and_then(|notice| notice.token_file.as_deref())
        .map_or(Part::Absent, read);
    Parts {
        alive: parsed.as_ref().is_some_and(|notice| is_alive(notice.pid)),
        notice,
        token,
        openclaw: read(paths.openclaw_config()),
        openclaw_path: paths.openclaw_config().display().to_string(),
        ports: listening_ports(),
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

#[cfg(not(unix))]
fn is_alive(_pid: u32) -> bool {
    false
}

fn listening_ports() -> Option<Vec<u16>> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let texts: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .collect();
    let ports = texts
        .iter()
        .flat_map(|text| peer::parse_table(text))
        .filter(|entry| entry.is_listening)
        .map(|entry| entry.local.port());
    let ports: Vec<u16> = ports.collect();
    (!ports.is_empty()).then_some(ports)
}

/// Dials this machine's gateway.
pub(super) struct LocalDialer {
    pub way: LocalWay,
    pub shared: Arc<Shared>,
}

impl LocalDialer {
    async fn open(&self) -> Result<Dialed, LayerError> {
        let found = find(&self.way, &self.shared.paths);
        let endpoint = endpoint(&found);
        self.shared
            .found(GatewayId::direct(&endpoint.identity()), found.notes);
        TcpDialer::new(endpoint, found.credentials).dial().await
    }
}

/// Where a found gateway of this machine is dialled.
pub(super) fn endpoint(found: &Found) -> Endpoint {
    Endpoint::loopback(found.port)
}

impl Dialer for LocalDialer {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(self.open())
    }
}
