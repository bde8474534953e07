//! `nodes`: which commands of nodes may be used, decided on the host itself, as [`super::devices`]
//! decides who may connect.

use clap::Subcommand;
use clawline::layer::printable;
use serde_json::Value;

use super::devices::{ask, pick};
use super::{Common, Exit, Failure, output};
use crate::control::Request;

/// What can be done to nodes.
#[derive(Debug, Subcommand)]
pub(super) enum NodesCommand {
    /// Requests that wait, and nodes whose commands are approved.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Approve the commands that a node asks for.
    Approve {
        /// The request, or the beginning of its id; may be left out when only one waits.
        request: Option<String>,
    },
    /// Turn a request down; what was approved before stays.
    Reject {
        /// The request, or the beginning of its id; may be left out when only one waits.
        request: Option<String>,
    },
    /// Forget a node: nothing of it is approved, its connections are closed.
    Remove {
        /// The node, or the beginning of its id.
        node: String,
    },
}

pub(super) fn run(common: &Common, command: &NodesCommand) -> Result<Exit, Failure> {
    let read = common.load(Vec::new())?;
    let state_dir = read.paths().gateway_state_dir();
    let list = ask(state_dir, Request::NodesList)?;
    let pending =
        |given: &Option<String>| pick("nodes", &list["pending"], "requestId", given.as_deref());
    let done = match command {
        NodesCommand::List { json } => {
            if *json {
                output::line(&list.to_string());
            } else {
                show(&list);
            }
            return Ok(Exit::Good);
        }
        NodesCommand::Approve { request } => {
            let request_id = pending(request)?;
            ask(state_dir, Request::NodesApprove { request_id })?;
            "approved; its commands may be used now"
        }
        NodesCommand::Reject { request } => {
            let request_id = pending(request)?;
            ask(state_dir, Request::NodesReject { request_id })?;
            "rejected"
        }
        NodesCommand::Remove { node } => {
            let node_id = pick("nodes", &list["paired"], "nodeId", Some(node))?;
            ask(state_dir, Request::NodesRemove { node_id })?;
            "removed; nothing of it is approved any more"
        }
    };
    output::line(done);
    Ok(Exit::Good)
}

fn show(list: &Value) {
    let text = |row: &Value, member: &str| printable(row[member].as_str().unwrap_or("-"), 40);
    let commands = |row: &Value| {
        let commands = row["commands"].as_array().into_iter().flatten();
        let commands: Vec<String> = commands
            .filter_map(Value::as_str)
            .map(|command| printable(command, 60))
            .collect();
        commands.join(" ")
    };
    let rows = |name: &str| list[name].as_array().cloned().unwrap_or_default();
    let pending = rows("pending");
    if pending.is_empty() {
        output::line("nothing waits for an approval");
    }
    for row in &pending {
        output::line(&format!(
            "waits     {}  {} ({}, {})  asks for {}",
            text(row, "requestId"),
            text(row, "displayName"),
            text(row, "clientId"),
            text(row, "platform"),
            commands(row),
        ));
    }
    for row in &rows("paired") {
        let id: String = text(row, "nodeId").chars().take(12).collect();
        output::line(&format!(
            "approved  {id}  {} ({}, {})  may {}",
            text(row, "displayName"),
            text(row, "clientId"),
            text(row, "platform"),
            commands(row),
        ));
    }
}
