//! `devices`: who may connect, decided on the host itself: through the running daemon, or on its
//! store while it is stopped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Subcommand;
use clawline::layer::printable;
use clawline::protocol::scope::Role;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::{Common, Exit, Failure, output};
use crate::auth::DeviceTokens;
use crate::control::{self, Answer, Request};
use crate::lock::{LockError, StateLock};
use crate::nodes::Nodes;
use crate::pairing::Pairing;
use crate::settings::SilentScopes;
use crate::store::{Store, now_ms};

/// How long the holder of the lock may be without a control socket.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// What can be done to devices.
#[derive(Debug, Subcommand)]
pub(super) enum DevicesCommand {
    /// Requests that wait, and paired devices.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let a device in.
    Approve {
        /// The request, or the beginning of its id; may be left out when only one waits.
        request: Option<String>,
    },
    /// Turn a request down.
    Reject {
        /// The request, or the beginning of its id; may be left out when only one waits.
        request: Option<String>,
    },
    /// Make a device's token void; it gets a new one when it connects with the shared secret.
    Rotate {
        /// The device, or the beginning of its id.
        device: String,
        /// operator or node.
        #[arg(long, default_value = "operator", value_parser = role)]
        role: Role,
    },
    /// Take a device's role away until it is approved again.
    Revoke {
        /// The device, or the beginning of its id.
        device: String,
        /// operator or node.
        #[arg(long, default_value = "operator", value_parser = role)]
        role: Role,
    },
    /// Forget a device: its token is void, its connections are closed.
    Remove {
        /// The device, or the beginning of its id.
        device: String,
    },
}

pub(super) fn run(common: &Common, command: &DevicesCommand) -> Result<Exit, Failure> {
    let read = common.load(Vec::new())?;
    let state_dir = read.paths().gateway_state_dir();
    let list = ask(state_dir, Request::List)?;
    let done = match command {
        DevicesCommand::List { json } => {
            if *json {
                output::line(&list.to_string());
            } else {
                show(&list);
            }
            return Ok(Exit::Good);
        }
        DevicesCommand::Approve { request } => {
            let request_id = pick("devices", &list["pending"], "requestId", request.as_deref())?;
            ask(state_dir, Request::Approve { request_id })?;
            "approved; the device may connect now"
        }
        DevicesCommand::Reject { request } => {
            let request_id = pick("devices", &list["pending"], "requestId", request.as_deref())?;
            ask(state_dir, Request::Reject { request_id })?;
            "rejected"
        }
        DevicesCommand::Rotate { device, role } => {
            let device_id = pick("devices", &list["paired"], "deviceId", Some(device))?;
            let role = *role;
            ask(state_dir, Request::Rotate { device_id, role })?;
            "its old token is void"
        }
        DevicesCommand::Revoke { device, role } => {
            let device_id = pick("devices", &list["paired"], "deviceId", Some(device))?;
            let role = *role;
            ask(state_dir, Request::Revoke { device_id, role })?;
            "revoked; it has to be approved again"
        }
        DevicesCommand::Remove { device } => {
            let device_id = pick("devices", &list["paired"], "deviceId", Some(device))?;
            ask(state_dir, Request::Remove { device_id })?;
            "removed; its token is void"
        }
    };
    output::line(done);
    Ok(Exit::Good)
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "operator or node".to_owned())
}

/// The one row that is meant, by the beginning of its id.
pub(super) fn pick(
    what: &str,
    rows: &Value,
    member: &str,
    given: Option<&str>,
) -> Result<String, Failure> {
    let ids: Vec<&str> = rows
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row[member].as_str())
        .filter(|id| given.is_none_or(|given| id.starts_with(given)))
        .collect();
    match (ids.as_slice(), given) {
        ([one], _) => Ok((*one).to_owned()),
        ([], None) => Err(Failure::failed("nothing waits for an approval")),
        ([], Some(given)) => Err(Failure::failed(format!(
            "there is no such {member}: {}",
            printable(given, 80)
        ))),
        (several, None) => Err(Failure::usage(format!(
            "{} requests wait; say which one (clawline-gateway {what} list)",
            several.len()
        ))),
        (several, Some(given)) => Err(Failure::usage(format!(
            "{} begins {} ids; write more of it",
            printable(given, 80),
            several.len()
        ))),
    }
}

/// Asks the running daemon, or the store when none runs.
pub(super) fn ask(state_dir: &Path, request: Request) -> Result<Value, Failure> {
    if !state_dir.join("gateway.db").exists() && !StateLock::is_held(state_dir) {
        return Ok(serde_json::json!({"pending": [], "paired": []}));
    }
    let until = Instant::now() + PATIENCE;
    loop {
        match StateLock::take(state_dir) {
            Ok(_lock) => return offline(state_dir, request),
            Err(LockError::Held { .. }) => {}
            Err(error) => return Err(Failure::failed(error)),
        }
        // The holder may be a command like this one, or a daemon that starts or stops just now.
        match UnixStream::connect(control::path(state_dir)) {
            Err(_) if Instant::now() < until => std::thread::sleep(RETRY),
            connected => return online(state_dir, connected, &request),
        }
    }
}

pub(super) fn online(
    state_dir: &Path,
    connected: std::io::Result<UnixStream>,
    request: &Request,
) -> Result<Value, Failure> {
    let exchange = || -> std::io::Result<String> {
        let mut stream = connected?;
        stream.set_read_timeout(Some(control::DEADLINE))?;
        stream.set_write_timeout(Some(control::DEADLINE))?;
        let mut text = serde_json::to_string(request)?;
        text.push('\n');
        stream.write_all(text.as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    };
    let line = exchange().map_err(|error| {
        let path = control::path(state_dir);
        Failure::failed(format!(
            "the gateway runs, but its control socket {} does not answer: {error}",
            path.display()
        ))
    })?;
    match serde_json::from_str(&line) {
        Ok(Answer::Ok(value)) => Ok(value),
        Ok(Answer::Error(text)) => Err(Failure::failed(printable(&text, 300))),
        Err(error) => Err(Failure::failed(format!(
            "the gateway's answer is not understood: {error}"
        ))),
    }
}

fn offline(state_dir: &Path, request: Request) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    runtime.block_on(async {
        let store = Store::open(&state_dir.join("gateway.db"))
            .await
            .map_err(Failure::failed)?;
        let pairing = Pairing::new(
            store.devices(),
            store.pairing(),
            store.setup_codes(),
            DeviceTokens::new(store.gateway_secret().clone()),
            SilentScopes::default(),
            Arc::default(),
            Arc::default(),
        );
        let nodes = Nodes::new(
            store.nodes(),
            store.devices(),
            pairing.clone(),
            Arc::default(),
            TaskTracker::new(),
            Arc::default(),
        );
        let done = control::carry_out(&pairing, &nodes, request).await;
        store.close().await;
        done.map_err(Failure::failed)
    })
}

fn show(list: &Value) {
    let text = |row: &Value, member: &str| printable(row[member].as_str().unwrap_or("-"), 40);
    let scopes = |row: &Value| {
        let scopes = row["scopes"].as_array().into_iter().flatten();
        let scopes: Vec<String> = scopes
            .filter_map(Value::as_str)
            .map(|scope| printable(scope.strip_prefix("operator.").unwrap_or(scope), 40))
            .collect();
        scopes.join(",")
    };
    let pending = list["pending"].as_array().map_or(&[][..], Vec::as_slice);
    let paired = list["paired"].as_array().map_or(&[][..], Vec::as_slice);
    if pending.is_empty() {
        output::line("nothing waits for an approval");
    }
    for row in pending {
        let left = row["expiresAtMs"].as_i64().unwrap_or(0) - now_ms();
        output::line(&format!(
            "waits   {}  {} ({}, {})  {}  asks for {}  from {}  {} s left",
            text(row, "requestId"),
            text(row, "displayName"),
            text(row, "clientId"),
            text(row, "platform"),
            text(row, "role"),
            scopes(row),
            text(row, "remoteIp"),
            left.max(0) / 1000
        ));
    }
    for row in paired {
        let state = if row["connected"] == true {
            "online"
        } else {
            "paired"
        };
        let id: String = text(row, "deviceId").chars().take(12).collect();
        output::line(&format!(
            "{state}  {id}  {} ({}, {})  {}  may {}",
            text(row, "displayName"),
            text(row, "clientId"),
            text(row, "platform"),
            text(row, "role"),
            scopes(row),
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_is_named_by_the_beginning_of_its_id_or_by_being_the_only_one() {
        let one = json!([{"requestId": "abc"}]);
        let two = json!([{"requestId": "abc"}, {"requestId": "abd"}]);
        let pick = |rows: &Value, given| pick("devices", rows, "requestId", given);
        assert_eq!(pick(&one, None).unwrap(), "abc");
        assert_eq!(pick(&two, Some("abd")).unwrap(), "abd");
        assert_eq!(pick(&two, None).unwrap_err().exit, Exit::Usage);
        assert_eq!(pick(&two, Some("ab")).unwrap_err().exit, Exit::Usage);
        assert_eq!(pick(&two, Some("x")).unwrap_err().exit, Exit::Failed);
        assert_eq!(pick(&json!([]), None).unwrap_err().exit, Exit::Failed);
    }
}
