//! `status`: whether the daemon of this profile runs, and what its probe says.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;
use clawline::notice::GatewayNotice;
use serde_json::{Value, json};

use super::{Common, Exit, Failure, output};
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
    let read = common.load(Vec::new())?;
    let is_running = StateLock::is_held(read.paths().gateway_state_dir());
    let profile = read.loaded.profile.as_ref().map(|profile| profile.name());
    let notice = std::fs::read_to_string(read.paths().gateway_notice())
        .ok()
        .and_then(|text| GatewayNotice::parse(&text).ok())
        .filter(|notice| is_running && notice.profile.as_deref() == profile);
    let port = notice
        .as_ref()
        .map_or(read.loaded.config.gateway.port, |notice| notice.port);
    let probe = is_running.then(|| probe(port));
    let is_ready = matches!(&probe, Some(Ok(body)) if body["ready"] == true);
    if args.json {
        let report = json!({
            "v": 1,
            "running": is_running,
            "ready": is_ready,
            "pid": notice.as_ref().map(|notice| notice.pid),
            "port": port,
            "stateDir": read.paths().gateway_state_dir(),
            "probe": probe.as_ref().and_then(|probe| probe.as_ref().ok()),
            "error": probe.as_ref().and_then(|probe| probe.as_ref().err()),
        });
        output::line(&report.to_string());
    } else {
        output::line(&words(port, probe.as_ref()));
    }
    Ok(if is_ready { Exit::Good } else { Exit::Failed })
}

fn words(port: u16, probe: Option<&Result<Value, String>>) -> String {
    match probe {
        None => "not running; start it with clawline-gateway run".to_owned(),
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

/// Asks `/readyz` without an HTTP stack: one request, one short answer.
fn probe(port: u16) -> Result<Value, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PROBE_DEADLINE)?;
        stream.set_read_timeout(Some(PROBE_DEADLINE))?;
        stream.set_write_timeout(Some(PROBE_DEADLINE))?;
        let request =
            format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("it does not speak HTTP")?;
    serde_json::from_str(body).map_err(|_| "its answer is not a gateway's".to_owned())
}
