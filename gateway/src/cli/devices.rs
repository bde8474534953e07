//! `devices`: who may connect, decided on the host itself: through the running daemon, or on its
//! store while it is stopped.

use clap::{Args, Subcommand};
use clawline::layer::printable;
use clawline::protocol::scope::Role;
use serde_json::Value;

use super::waiting::{Known, ListArgs, RequestArgs, short, text, texts, who};
use super::{Common, Exit, Failure, output};
use crate::control::Request;
use crate::store::now_ms;

/// What can be done to devices.
#[derive(Debug, Subcommand)]
pub(super) enum DevicesCommand {
    /// Requests that wait, and paired devices.
    List(ListArgs),
    /// Let a device in.
    Approve(RequestArgs),
    /// Turn a request down.
    Reject(RequestArgs),
    /// Make a device's token void; it gets a new one when it connects with the shared secret.
    Rotate(RoleArgs),
    /// Take a device's role away until it is approved again.
    Revoke(RoleArgs),
    /// Forget a device: its token is void, its connections are closed.
    Remove {
        /// The device, or the beginning of its id.
        device: String,
    },
}

/// Which role of which device is meant.
#[derive(Debug, Args)]
pub(super) struct RoleArgs {
    /// The device, or the beginning of its id.
    device: String,
    /// operator or node.
    #[arg(long, default_value = "operator", value_parser = role)]
    role: Role,
}

pub(super) fn run(common: &Common, command: &DevicesCommand) -> Result<Exit, Failure> {
    // Who may connect does not wait for a config file to be mended.
    let (_, paths) = common.place()?;
    let known = Known::ask(paths.gateway_state_dir(), "devices", Request::List)?;
    let device = |given: &str| known.paired("deviceId", given);
    let (request, done) = match command {
        DevicesCommand::List(args) => {
            known.show(args, waiting_line, paired_line);
            return Ok(Exit::Good);
        }
        DevicesCommand::Approve(args) => {
            let approving = known.to_approve(args, asked_for)?;
            known.carry_out(Request::Approve {
                request_id: approving.request_id,
            })?;
            output::line(&format!("approved: {}", approving.line));
            output::line("the device may connect now");
            return Ok(Exit::Good);
        }
        DevicesCommand::Reject(args) => (
            Request::Reject {
                request_id: known.pending(args)?,
            },
            "rejected",
        ),
        DevicesCommand::Rotate(args) => (
            Request::Rotate {
                device_id: device(&args.device)?,
                role: args.role,
            },
            "its old token is void",
        ),
        DevicesCommand::Revoke(args) => (
            Request::Revoke {
                device_id: device(&args.device)?,
                role: args.role,
            },
            "revoked; a request of it waits for an approval when it comes back",
        ),
        DevicesCommand::Remove { device: given } => (
            Request::Remove {
                device_id: device(given)?,
            },
            "removed; its token is void. Through SSH, as the gateway's own user, it is let in again; revoke keeps it out",
        ),
    };
    known.carry_out(request)?;
    output::line(done);
    Ok(Exit::Good)
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "operator or node".to_owned())
}

fn scopes(row: &Value) -> String {
    let scopes: Vec<String> = texts(row, "scopes")
        .map(|scope| printable(scope.strip_prefix("operator.").unwrap_or(scope), 40))
        .collect();
    scopes.join(",")
}

/// Who asks for what from where, without the time that is left.
fn asked_for(row: &Value) -> String {
    format!(
        "{}  {}  asks for {}  from {}  ({})",
        who(row),
        text(row, "role"),
        scopes(row),
        text(row, "remoteIp"),
        text(row, "requestId"),
    )
}

fn waiting_line(row: &Value) -> String {
    let left = row["expiresAtMs"].as_i64().unwrap_or(0) - now_ms();
    format!(
        "waits   {}  {}  {}  asks for {}  from {}  {} s left",
        text(row, "requestId"),
        who(row),
        text(row, "role"),
        scopes(row),
        text(row, "remoteIp"),
        left.max(0) / 1000
    )
}

fn paired_line(row: &Value) -> String {
    let held = row["tokens"].as_array().map_or(&[][..], Vec::as_slice);
    let is_out = !held.is_empty() && held.iter().all(|role| role["revokedAtMs"].is_number());
    let state = match row["connected"] == true {
        true => "online",
        false if is_out => "revoked",
        false => "paired",
    };
    let roles: Vec<String> = held.iter().map(role_words).collect();
    format!(
        "{state:<7} {}  {}  {}  {}",
        short(row, "deviceId"),
        who(row),
        roles.join("; "),
        seen(row, now_ms()),
    )
}

/// What a device may do in one of its roles: "operator may read,write", "node: revoked".
fn role_words(held: &Value) -> String {
    let role = text(held, "role");
    if held["revokedAtMs"].is_number() {
        return format!("{role}: revoked");
    }
    match scopes(held) {
        scopes if scopes.is_empty() => role,
        scopes => format!("{role} may {scopes}"),
    }
}

/// When it was here last.
fn seen(row: &Value, now: i64) -> String {
    let Some(at) = row["lastSeenAtMs"].as_i64() else {
        return "never here".to_owned();
    };
    let seconds = (now - at).max(0) / 1000;
    match seconds {
        0..60 => format!("here {seconds} s ago"),
        60..3600 => format!("here {} min ago", seconds / 60),
        3600..172_800 => format!("here {} h ago", seconds / 3600),
        _ => format!("here {} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_says_what_the_device_may_do_now() {
        let operator = json!({"role": "operator", "scopes": ["operator.read", "operator.write"]});
        let mut row = json!({
            "deviceId": "0123456789abcdef", "displayName": "laptop", "clientId": "cli",
            "platform": "linux", "tokens": [operator, {"role": "node", "scopes": []}],
            "lastSeenAtMs": now_ms() - 7_200_000,
        });
        assert_eq!(
            paired_line(&row),
            "paired  0123456789ab  laptop (cli, linux)  operator may read,write; node  here 2 h ago"
        );
        row["tokens"][0]["revokedAtMs"] = json!(5);
        assert!(paired_line(&row).contains("operator: revoked; node  here"));
        row["tokens"][1]["revokedAtMs"] = json!(5);
        assert!(paired_line(&row).starts_with("revoked 0123456789ab"));
        row["connected"] = json!(true);
        assert!(paired_line(&row).starts_with("online "));
    }
}
