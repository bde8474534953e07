//! How a command reaches the gateway of its host: the running daemon over its control socket, or the
//! store while none runs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clawline::config::Paths;
use clawline::layer::printable;
use clawline::notice::GatewayNotice;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::Failure;
use crate::auth::DeviceTokens;
use crate::control::{self, Answer, Request};
use crate::lock::{LockError, StateLock};
use crate::nodes::Nodes;
use crate::pairing::Pairing;
use crate::settings::SilentScopes;
use crate::store::Store;

/// How long the holder of the lock may be without a control socket.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two tries.
const RETRY: Duration = Duration::from_millis(100);

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

/// What the running daemon of this profile has written for clients; `None` where none runs.
pub(super) fn notice(paths: &Paths, profile: Option<&str>) -> Option<GatewayNotice> {
    let notice = GatewayNotice::read(&paths.own_gateway_notice())?;
    let is_its = notice.profile.as_deref() == profile;
    // One that was killed has left its notice behind.
    (is_its && StateLock::is_held(paths.gateway_state_dir())).then_some(notice)
}

/// What the running daemon says of itself; `None` where none answers, or one of another release that
/// does not know the question.
pub(super) fn status(state_dir: &Path) -> Option<Value> {
    let connected = UnixStream::connect(control::path(state_dir));
    online(state_dir, connected, &Request::Status).ok()
}

fn online(
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
    super::wait(async {
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
    })?
}
