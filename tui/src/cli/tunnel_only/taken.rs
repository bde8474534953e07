//! A local end that somebody else has: what that is, and what to do about it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use clawline::tunnel::forward::BindError;
use clawline::tunnel::spec::LocalEnd;
use serde::Deserialize;

use super::claim::Held;
use crate::cli::failure::Failure;
use crate::cli::process;

/// How long a port may take to say whether a gateway is behind it.
const PROBE_DEADLINE: Duration = Duration::from_millis(800);
/// How much of its answer is looked at.
const PROBE_BYTES: u64 = 8 * 1024;

/// Who has a local end.
#[derive(Debug, PartialEq, Eq)]
enum Owner {
    /// Another tunnel of ours.
    Tunnel { target: String, pid: u32 },
    /// A gateway on this machine; its process and program.
    Gateway(Option<(u32, String)>),
    /// An `ssh`; nobody waits for an orphan any more.
    Ssh {
        pid: u32,
        command: String,
        is_orphan: bool,
    },
    /// Anything else.
    Other,
}

/// The failure to bind `wanted`, in words that name who has it.
pub(super) fn explain(
    error: &BindError,
    wanted: &LocalEnd,
    tunnels: &[Held],
    gateway_notice: &Path,
) -> Failure {
    let free = match error {
        BindError::Taken {
            free_port: Some(port),
            ..
        } => format!("choose another: --listen {port} is free"),
        BindError::Taken { .. } => "choose another".to_owned(),
        other => {
            return Failure::Bind {
                what: other.to_string(),
                next: other.next_step(),
            };
        }
    };
    let (what, next) = match owner(error, wanted, tunnels, gateway_notice) {
        Owner::Tunnel { target, pid } => (
            format!("{wanted} is held by the clawline tunnel to {target} (pid {pid})"),
            format!(
                "`clawline tunnel status` shows it, `clawline tunnel stop {target}` ends it; or {free}"
            ),
        ),
        Owner::Gateway(process) => {
            let who = process.map_or(String::new(), |(pid, name)| format!(" ({name}, pid {pid})"));
            (
                format!("{wanted} belongs to a gateway on this machine{who}"),
                format!("`clawline local` talks to that one; for the tunnel {free}"),
            )
        }
        Owner::Ssh {
            pid,
            command,
            is_orphan: true,
        } => (
            format!("{wanted} is held by an ssh that was left behind (pid {pid}: {command})"),
            format!("`kill {pid}` ends it; or {free}"),
        ),
        Owner::Ssh { pid, command, .. } => (
            format!("{wanted} is held by an ssh (pid {pid}: {command})"),
            format!("end it where it was started; or {free}"),
        ),
        Owner::Other => (error.to_string(), format!("stop it, or {free}")),
    };
    Failure::Bind { what, next }
}

fn owner(error: &BindError, wanted: &LocalEnd, tunnels: &[Held], notice: &Path) -> Owner {
    let BindError::Taken { holder, .. } = error else {
        return Owner::Other;
    };
    let process = holder.as_ref().and_then(|holder| holder.process.clone());
    let local = wanted.to_string();
    let tunnel = tunnels.iter().map(|held| &held.holder).find(|tunnel| {
        let is_it = process.as_ref().map(|(pid, _)| *pid == tunnel.pid);
        is_it.unwrap_or_else(|| tunnel.ends.contains(&local))
    });
    if let Some(tunnel) = tunnel {
        return Owner::Tunnel {
            target: tunnel.target.clone(),
            pid: tunnel.pid,
        };
    }
    if let Some((pid, name)) = &process
        && matches!(name.as_str(), "ssh" | "autossh")
    {
        return Owner::Ssh {
            pid: *pid,
            command: process::command_line(*pid).unwrap_or_else(|| name.clone()),
            is_orphan: is_orphan(*pid),
        };
    }
    let LocalEnd::Tcp(address) = wanted else {
        return Owner::Other;
    };
    // The kernel keeps 15 characters of a name.
    let is_ours = |name: &str| "clawline-gateway".starts_with(name) && name.len() == 15;
    let noticed = noticed(notice, address.port());
    match process {
        Some((pid, name)) if is_ours(&name) || noticed == Some(pid) => {
            Owner::Gateway(Some((pid, "clawline-gateway".into())))
        }
        process if speaks_gateway(*address) => Owner::Gateway(process),
        _ => Owner::Other,
    }
}

/// The process of this machine's own gateway, when it says that it listens on `port`.
fn noticed(path: &Path, port: u16) -> Option<u32> {
    #[derive(Deserialize)]
    struct Notice {
        pid: u32,
        port: u16,
    }
    let text = std::fs::read_to_string(path).ok()?;
    let notice: Notice = serde_json::from_str(&text).ok()?;
    (notice.port == port).then_some(notice.pid)
}

/// Whoever started it is gone, and the first process of the system or of the session has taken it.
fn is_orphan(pid: u32) -> bool {
    let Some(parent) = process::parent(pid) else {
        return false;
    };
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    parent == 1 || name.trim() == "systemd"
}

/// Whether the program behind a port greets as a gateway does: with a challenge, before it is asked.
fn speaks_gateway(address: SocketAddr) -> bool {
    greeting(address).is_some_and(|text| text.contains("connect.challenge"))
}

fn greeting(address: SocketAddr) -> Option<String> {
    let until = Instant::now() + PROBE_DEADLINE;
    let mut stream = TcpStream::connect_timeout(&address, PROBE_DEADLINE).ok()?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.set_write_timeout(Some(PROBE_DEADLINE)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = Vec::new();
    let mut reader = stream.try_clone().ok()?.take(PROBE_BYTES);
    let mut piece = [0; 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            break;
        }
        match reader.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(read) => text.extend_from_slice(&piece[..read]),
        }
        if text.windows(17).any(|part| part == b"connect.challenge") {
            break;
        }
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use clawline::tunnel::forward::Holder as PortHolder;

    use super::super::claim::Holder;
    use super::*;

    fn taken(process: Option<(u32, &str)>) -> BindError {
        BindError::Taken {
            local: "127.0.0.1:18789".into(),
            holder: Some(PortHolder {
                uid: 0,
                process: process.map(|(pid, name)| (pid, name.to_owned())),
            }),
            free_port: Some(18790),
        }
    }

    fn words(error: &BindError, port: u16, tunnels: &[Held], notice: &Path) -> (String, String) {
        let wanted = LocalEnd::Tcp(([127, 0, 0, 1], port).into());
        let failure = explain(error, &wanted, tunnels, notice);
        (failure.to_string(), failure.next().to_owned())
    }

    #[test]
    fn another_tunnel_is_named_with_its_target_and_how_to_end_it() {
        let wanted = LocalEnd::Tcp(([127, 0, 0, 1], 18789).into());
        let holder = Holder::ours("home", None, &[wanted]);
        let pid = holder.pid;
        let held = Held {
            holder,
            socket: "/x".into(),
            lock: "/y".into(),
        };
        let error = taken(Some((pid, "clawline")));
        let (what, next) = words(&error, 18789, &[held], Path::new("/none"));
        assert!(
            what.contains(&format!("tunnel to home (pid {pid})")),
            "{what}"
        );
        assert!(next.contains("clawline tunnel stop home"), "{next}");
        assert!(next.contains("18790 is free"), "{next}");
    }

    #[test]
    fn an_ssh_is_shown_with_its_command() {
        let pid = std::process::id();
        let (what, next) = words(&taken(Some((pid, "ssh"))), 18789, &[], Path::new("/none"));
        assert!(what.contains(&format!("an ssh (pid {pid}: ")), "{what}");
        assert!(next.contains("where it was started"), "{next}");
    }

    #[test]
    fn this_machine_s_gateway_is_known_by_its_notice() {
        let dir = tempfile::tempdir().unwrap();
        let notice = dir.path().join("gateway.json");
        std::fs::write(&notice, r#"{"pid":77,"port":18789,"profile":null}"#).unwrap();
        let (what, next) = words(&taken(Some((77, "x"))), 18789, &[], &notice);
        assert!(what.contains("a gateway on this machine"), "{what}");
        assert!(next.contains("clawline local"), "{next}");
    }

    #[test]
    fn a_gateway_is_known_by_its_challenge_and_others_are_not_taken_for_one() {
        for (answer, is_gateway) in [
            (
                "HTTP/1.1 101 X\r\n\r\n{\"event\":\"connect.challenge\"}",
                true,
            ),
            ("HTTP/1.1 404 Not Found\r\n\r\n", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = std::thread::spawn(move || {
                let (mut socket, _) = listener.accept().unwrap();
                let _ = socket.read(&mut [0; 1024]);
                socket.write_all(answer.as_bytes()).unwrap();
            });
            let (what, _) = words(&taken(Some((7, "node"))), port, &[], Path::new("/none"));
            assert_eq!(what.contains("gateway"), is_gateway, "{what}");
            server.join().unwrap();
        }
    }
}
