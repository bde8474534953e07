//! `nodes`: which commands of nodes may be used, decided on the host itself, as [`super::devices`]
//! decides who may connect.

use clap::Subcommand;
use clawline::layer::printable;
use serde_json::Value;

use super::waiting::{Known, ListArgs, RequestArgs, short, text, texts, who};
use super::{Common, Exit, Failure, output};
use crate::control::Request;

/// What can be done to nodes.
#[derive(Debug, Subcommand)]
pub(super) enum NodesCommand {
    /// Requests that wait, and nodes whose commands are approved.
    List(ListArgs),
    /// Approve the commands that a node asks for.
    Approve(RequestArgs),
    /// Turn a request down; what was approved before stays.
    Reject(RequestArgs),
    /// Forget a node: nothing of it is approved, its connections are closed.
    Remove {
        /// The node, or the beginning of its id.
        node: String,
    },
}

pub(super) fn run(common: &Common, command: &NodesCommand) -> Result<Exit, Failure> {
    // What a node may do does not wait for a config file to be mended.
    let (_, paths) = common.place()?;
    let known = Known::ask(paths.gateway_state_dir(), "nodes", Request::NodesList)?;
    let (request, done) = match command {
        NodesCommand::List(args) => {
            known.show(args, waiting_line, approved_line);
            return Ok(Exit::Good);
        }
        NodesCommand::Approve(args) => {
            let approving = known.to_approve(args, asked_for)?;
            known.carry_out(Request::NodesApprove {
                request_id: approving.request_id,
            })?;
            output::line(&format!("approved: {}", approving.line));
            output::line("its commands may be used now");
            return Ok(Exit::Good);
        }
        NodesCommand::Reject(args) => (
            Request::NodesReject {
                request_id: known.pending(args)?,
            },
            "rejected",
        ),
        NodesCommand::Remove { node } => (
            Request::NodesRemove {
                node_id: known.paired("nodeId", node)?,
            },
            "removed; nothing of it is approved any more",
        ),
    };
    known.carry_out(request)?;
    output::line(done);
    Ok(Exit::Good)
}

fn commands(row: &Value) -> String {
    let commands: Vec<String> = texts(row, "commands")
        .map(|command| printable(command, 60))
        .collect();
    commands.join(" ")
}

fn waiting_line(row: &Value) -> String {
    format!("waits     {}  {}", text(row, "requestId"), asked_for(row))
}

/// Which node asks for which commands.
fn asked_for(row: &Value) -> String {
    format!("{}  asks for {}", who(row), commands(row))
}

fn approved_line(row: &Value) -> String {
    format!(
        "approved  {}  {}  may {}",
        short(row, "nodeId"),
        who(row),
        commands(row),
    )
}
