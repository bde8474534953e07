//! `status`: whether the daemon of this profile runs, and what its probe says.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clawline::client::Fingerprint;
use clawline::service::{self, Manager};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use super::{Common, Exit, Failure, daemon, output};
use crate::lock::StateLock;

/// How long the probe may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(3);
/// Most of an answer that is looked at, in bytes.
const MAX_ANSWER: u64 = 16 * 1024;

/// Options of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, args: &StatusArgs) -> Result<Exit, Failure> {
    let (profile, paths) = common.place()?;
    let state_dir = paths.gateway_state_dir();
    // A daemon may be asked how it is while its config file is broken.
    let read = common.load(Vec::new());
    if let Err(error) = std::fs::read_dir(state_dir)
        && error.kind() == ErrorKind::PermissionDenied
    {
        return Err(Failure::failed(format!(
            "{} is another user's: ask as that user",
            state_dir.display()
        )));
    }
    let is_running = StateLock::is_held(state_dir);
    let profile = profile.as_ref().map(|profile| profile.name());
    let notice = daemon::notice(&paths, profile);
    let inside = is_running.then(|| daemon::status(state_dir)).flatten();
    let told = |member: &str| inside.as_ref().and_then(|inside| inside[member].as_u64());
    let told_port = told("port").and_then(|port| u16::try_from(port).ok());
    let pid = told("pid").or(notice.as_ref().map(|notice| notice.pid.into()));
    let port = told_port
        .or(notice.as_ref().map(|notice| notice.port))
        .or(read
            .as_ref()
            .ok()
            .map(|read| read.loaded.config.gateway.port))
        .unwrap_or(clawline::config::DEFAULT_PORT);
    let config_path = match &read {
        Ok(read) => read.config_file(),
        Err(_) => paths.config_file().to_owned(),
    };
    if let (Err(problem), false) = (&read, is_running) {
        output::note(&problem.text);
    }
    let reload = inside.as_ref().map(|inside| &inside["configReload"]);
    let service = service_state(profile)?;
    let pin = notice
        .as_ref()
        .and_then(|notice| notice.tls_fingerprint.as_deref())
        .and_then(Fingerprint::parse);
    let probe = is_running.then(|| probe(port, pin));
    let is_ready = matches!(&probe, Some(Ok(body)) if body["ready"] == true);
    if args.json {
        let report = json!({
            "v": 1,
            "running": is_running,
            "ready": is_ready,
            "pid": pid,
            "service": service,
            "port": port,
            "configPath": config_path,
            "configReload": reload,
            "stateDir": state_dir,
            "probe": probe.as_ref().and_then(|probe| probe.as_ref().ok()),
            "error": probe.as_ref().and_then(|probe| probe.as_ref().err()),
        });
        output::line(&report.to_string());
    } else {
        output::line(&words(port, probe.as_ref()));
        if let Some(state) = service["state"].as_str() {
            output::line(&format!(
                "service {}: {state}",
                super::service::name(profile)
            ));
        }
        for line in reload.map(config_words).unwrap_or_default() {
            output::line(&line);
        }
    }
    Ok(if is_ready { Exit::Good } else { Exit::Failed })
}

/// The service of this profile, as its manager sees it; null where none is installed.
fn service_state(profile: Option<&str>) -> Result<Value, Failure> {
    let env = clawline::config::Environment::of_process().map_err(Failure::usage)?;
    let manager = Manager::of_this_system(&env);
    let name = super::service::name(profile);
    let path = manager.path(&name);
    if !service::ours(&path, super::service::MARK).is_ok_and(|text| text.is_some()) {
        return Ok(Value::Null);
    }
    let state = super::wait(manager.state(&name))?;
    Ok(json!({"name": name, "path": path, "state": state.unwrap_or_else(|| "unknown".into())}))
}

/// What is wrong with the configuration of a running daemon, and what of it waits.
fn config_words(reload: &Value) -> Vec<String> {
    let texts = |member: &str| -> Vec<String> {
        let texts = reload[member].as_array().into_iter().flatten();
        texts
            .filter_map(Value::as_str)
            .map(|text| clawline::layer::printable(text, 400))
            .collect()
    };
    let mut lines = Vec::new();
    let problems = texts("problems");
    if !problems.is_empty() {
        lines.push("the config file cannot be used; the one before stays in force:".to_owned());
        lines.extend(problems.iter().map(|problem| format!("  {problem}")));
    }
    let waits = texts("needsRestart");
    if !waits.is_empty() {
        let keys = waits.join(", ");
        lines.push(format!(
            "changed, and needs a restart (clawline-gateway restart): {keys}"
        ));
    }
    lines
}

fn words(port: u16, probe: Option<&Result<Value, String>>) -> String {
    match probe {
        None => "not running; start it with clawline-gateway start".to_owned(),
        Some(Ok(body)) if body["ready"] == true => {
            let seconds = body["uptimeMs"].as_u64().unwrap_or(0) / 1000;
            format!("running on 127.0.0.1:{port} for {seconds} s, ready")
        }
        Some(Ok(body)) => format!(
            "running on 127.0.0.1:{port}, not ready: {}",
            clawline::layer::printable(&body["failing"].to_string(), 200)
        ),
        Some(Err(why)) => format!("running, but 127.0.0.1:{port} does not answer: {why}"),
    }
}

fn exchange(stream: &mut (impl Read + Write), request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Asks `/readyz` without an HTTP stack: one request, one short answer.
fn probe(port: u16, pin: Option<Fingerprint>) -> Result<Value, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PROBE_DEADLINE)?;
        stream.set_read_timeout(Some(PROBE_DEADLINE))?;
        stream.set_write_timeout(Some(PROBE_DEADLINE))?;
        let request =
            format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        match pin {
            None => exchange(&mut stream, &request),
            Some(pin) => {
                let name = ServerName::from(address.ip());
                let config = clawline::client::pinned(&pin).map_err(std::io::Error::other)?;
                let session = rustls::ClientConnection::new(Arc::new(config), name)
                    .map_err(std::io::Error::other)?;
                exchange(&mut rustls::StreamOwned::new(session, stream), &request)
            }
        }
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("it does not speak HTTP")?;
    serde_json::from_str(body).map_err(|_| "its answer is not a gateway's".to_owned())
}
