//! `node.list`, `node.describe`, `node.invoke`, `node.rename`.

use clawline::protocol::Protocol;
use clawline::protocol::error::RpcError;
use clawline::protocol::methods::nodes::{
    NodeDescribe, NodeDescribeReply, NodeInvoke, NodeInvokeReply, NodeList, NodeListReply,
    NodeRename, NodeRenameReply,
};
use serde_json::json;

use super::{Call, Failure, Table};
use crate::conn::Conn;
use crate::nodes::{Caller, InvokeError, MAX_RESULT, NodeError};
use crate::shape;
use crate::state::App;
use crate::store::now_ms;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<NodeList, _>(list)
        .on::<NodeDescribe, _>(describe)
        .on_long::<NodeInvoke, _>(|_, _| None, invoke)
        .on::<NodeRename, _>(rename)
}

async fn list(app: App, call: Call<NodeList>) -> Result<NodeListReply, Failure> {
    let settings = app.settings();
    let nodes = app.nodes.list(call.conn.version, &settings.nodes).await;
    Ok(NodeListReply {
        ts: now_ms(),
        nodes: nodes.map_err(|error| node_error(error.into()))?,
    })
}

async fn describe(app: App, call: Call<NodeDescribe>) -> Result<NodeDescribeReply, Failure> {
    let settings = app.settings();
    let nodes = app.nodes.list(call.conn.version, &settings.nodes).await;
    let nodes = nodes.map_err(|error| node_error(error.into()))?;
    let wanted = call.params.node_id.trim();
    let node = nodes.into_iter().find(|node| node.node_id == wanted);
    Ok(NodeDescribeReply {
        ts: now_ms(),
        node: node.ok_or_else(|| node_error(NodeError::UnknownNode))?,
    })
}

async fn invoke(app: App, call: Call<NodeInvoke>) -> Result<NodeInvokeReply, Failure> {
    let command = call.params.command.trim();
    if command.is_empty() {
        return Err(RpcError::invalid("nodeId and command required").into());
    }
    let is_policy = command
        .to_ascii_lowercase()
        .starts_with("system.execapprovals.");
    if is_policy && app.policy.node_policy {
        let text = "node.invoke does not allow system.execApprovals.*; use exec.approvals.node.*";
        let error = RpcError::invalid(text);
        return Err(error.details(json!({"command": command})).into());
    }
    let command = command.to_owned();
    let caller = caller(&call.conn);
    let settings = app.settings();
    let done = app
        .nodes
        .invoke(&app.approvals, &caller, call.params, &settings.nodes)
        .await;
    Ok(done.map_err(|error| invoke_error(error, &command, call.conn.version))?)
}

async fn rename(app: App, call: Call<NodeRename>) -> Result<NodeRenameReply, Failure> {
    let node_id = call.params.node_id;
    let (name, by) = (&call.params.display_name, &call.conn.principal);
    let renamed = app.nodes.rename(&node_id, name, by).await;
    Ok(NodeRenameReply {
        display_name: renamed.map_err(node_error)?,
        node_id,
    })
}

/// On whose behalf a connection's commands are.
pub(super) fn caller(conn: &Conn) -> Caller {
    Caller {
        device_id: conn.principal.device_id.clone(),
    }
}

/// What cannot be done to nodes, on the wire.
pub(super) fn node_error(error: NodeError) -> RpcError {
    match error {
        NodeError::MissingScope(scope) => RpcError::missing_scope(scope),
        NodeError::UnknownRequest | NodeError::UnknownNode | NodeError::Bad(_) => {
            RpcError::invalid(error.to_string())
        }
        NodeError::Full | NodeError::Store(_) => {
            RpcError::unavailable(error.to_string()).retry_after(1000)
        }
        NodeError::Pairing(error) => shape::pairing_error(error),
    }
}

/// Why a command has no result, on the wire.
pub(super) fn invoke_error(error: InvokeError, command: &str, version: Protocol) -> RpcError {
    let unavailable = |text: &str, code: &str| {
        RpcError::unavailable(text).details(json!({
            "code": code, "nodeError": {"code": code, "message": text},
        }))
    };
    match error {
        InvokeError::NotConnected => RpcError::unavailable("node not connected")
            .details(json!({"code": "NOT_CONNECTED"}))
            .retry_after(1000),
        InvokeError::NotApproved { request } => {
            let next = match &request {
                Some(id) => format!(
                    "run `openclaw nodes approve {id}`, or `clawline-gateway nodes approve` on the gateway's host"
                ),
                None => "let the node connect again, then see `openclaw nodes pending`".to_owned(),
            };
            let text = format!("node command not approved: {next}");
            RpcError::unavailable(text).details(json!({
                "code": "NODE_COMMAND_NOT_APPROVED", "command": command, "requestId": request,
            }))
        }
        InvokeError::Refused { why, hint } => {
            let text = match version {
                Protocol::V3 => "node command not allowed".to_owned(),
                Protocol::V4 => hint,
            };
            RpcError::invalid(text).details(json!({"reason": why.as_str(), "command": command}))
        }
        InvokeError::BadParams { code, text } => {
            RpcError::invalid(text).details(json!({"code": code, "command": command}))
        }
        InvokeError::KeyConflict => {
            RpcError::invalid("idempotencyKey was used for another command")
                .details(json!({"code": "IDEMPOTENCY_CONFLICT"}))
        }
        InvokeError::Busy => RpcError::unavailable("node is busy with too many commands")
            .details(json!({"code": "NODE_BUSY"}))
            .retry_after(1000),
        InvokeError::TimedOut => unavailable("node invoke timed out", "TIMEOUT"),
        InvokeError::Gone => unavailable(
            "node gone: it disconnected before it answered",
            "NOT_CONNECTED",
        ),
        InvokeError::GivenUp => unavailable("the caller of this command went away", "CANCELLED"),
        InvokeError::NotKept => unavailable(
            "this command was carried out, but its result was not kept",
            "RESULT_NOT_KEPT",
        ),
        InvokeError::TooLarge { size } => {
            let text = format!(
                "the node's result has {size} bytes, and at most {MAX_RESULT} are passed on; ask \
                 for less, as with maxBytes of file.fetch"
            );
            unavailable(&text, "RESULT_TOO_LARGE")
        }
        InvokeError::TooMany { max_values } => {
            let text = format!(
                "the node's result holds more than {max_values} values, and no more are passed on; \
                 ask for less"
            );
            unavailable(&text, "RESULT_TOO_LARGE")
        }
        InvokeError::Node { code, message } => {
            let text = message.clone().or_else(|| code.clone());
            let text = text.unwrap_or_else(|| "node invoke failed".to_owned());
            let mut said = serde_json::Map::new();
            for (name, value) in [("code", code), ("message", message)] {
                if let Some(value) = value {
                    said.insert(name.to_owned(), value.into());
                }
            }
            RpcError::unavailable(text).details(json!({"nodeError": said}))
        }
        InvokeError::Store(text) => RpcError::unavailable(text).retry_after(1000),
    }
}
