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
    let read = common.load(Vec::new())?;
    let known = Known::ask(read.paths().gateway_state_dir(), "devices", Request::List)?;
    let device = |given: &str| known.paired("deviceId", given);
    let (request, done) = match command {
        DevicesCommand::List(args) => {
            known.show(args, waiting_line, paired_line);
            return Ok(Exit::Good);
        }
        DevicesCommand::Approve(args) => (
            Request::Approve {
                request_id: known.pending(args)?,
            },
            "approved; the device may connect now",
        ),
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
            "revoked; it has to be approved again",
        ),
        DevicesCommand::Remove { device: given } => (
            Request::Remove {
                device_id: device(given)?,
            },
            "removed; its token is void",
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
    let state = if row["connected"] == true {
        "online"
    } else {
        "paired"
    };
    format!(
        "{state}  {}  {}  {}  may {}",
        short(row, "deviceId"),
        who(row),
        text(row, "role"),
        scopes(row),
    )
}
