//! Nodes as lists show them.

use clawline::protocol::Protocol;
use clawline::protocol::methods::node_pairing::NodePairRow;
use clawline::protocol::methods::nodes::{ApprovalState, NodeRow};
use serde_json::{Value, json};

use super::live::Session;
use super::policy::{EXEC_APPROVALS, approve_scopes};
use crate::settings::NodesSettings;
use crate::store::{Device, Node, NodeRequest, Surface};

/// What a row is made from.
pub(super) struct Sources<'a> {
    pub(super) node: &'a Node,
    /// Absent for a node that was only named.
    pub(super) device: Option<&'a Device>,
    pub(super) session: Option<&'a Session>,
    pub(super) request: Option<&'a NodeRequest>,
    pub(super) settings: &'a NodesSettings,
    pub(super) version: Protocol,
}

/// One row of `node.list`.
pub(super) fn node_row(from: &Sources<'_>) -> NodeRow {
    let Sources {
        node,
        device,
        session,
        request,
        ..
    } = *from;
    let facts = &node.facts;
    let usable = usable(from);
    let row = NodeRow {
        node_id: node.node_id.clone(),
        display_name: node
            .name()
            .or_else(|| device?.display_name.as_deref())
            .map(str::to_owned),
        platform: facts.platform.clone().or_else(|| device?.platform.clone()),
        version: facts.version.clone(),
        device_family: facts.device_family.clone(),
        model_identifier: session.and_then(|s| s.conn.client.model_identifier.clone()),
        remote_ip: session
            .map(|session| session.conn.caller.peer.ip())
            .filter(|ip| !ip.is_loopback())
            .map(|ip| ip.to_string()),
        permissions: session.and_then(|s| s.claims.permissions.clone()),
        path_env: session.and_then(|s| s.claims.path_env.clone()),
        connected_at_ms: session.map(|session| session.conn.connected_at),
        caps: usable.caps,
        commands: usable.commands,
        paired: true,
        connected: session.is_some(),
        ..NodeRow::default()
    };
    match from.version {
        Protocol::V3 => NodeRow {
            commands: without_policy(row.commands),
            ..row
        },
        Protocol::V4 => NodeRow {
            client_id: facts.client_id.clone(),
            client_mode: facts.client_mode.clone(),
            session_host: Some(false),
            host_stats: host_stats(node, session),
            node_plugin_tools: session.map(|s| s.said(|said| said.plugin_tools.clone())),
            approval_state: Some(state(node, request)),
            pending_request_id: request.map(|request| request.request_id.clone()),
            pending_declared_caps: request.map(|request| request.asked.caps.clone()),
            pending_declared_commands: request.map(|request| request.asked.commands.clone()),
            last_connected_at_ms: node.last_connected_at,
            last_disconnected_at_ms: node.last_disconnected_at.filter(|_| session.is_none()),
            last_seen_at_ms: node.last_connected_at,
            last_seen_reason: node.last_connected_at.map(|_| "connect".to_owned()),
            approved_at_ms: node.approved_at.or_else(|| device.map(|d| d.approved_at)),
            ..row
        },
    }
}

/// What may be asked for: approved, declared where the node is here, and allowed by the
/// configuration of today.
fn usable(from: &Sources<'_>) -> Surface {
    let Some(approved) = &from.node.approved else {
        return Surface::default();
    };
    let policy = super::policy(&from.node.facts, from.settings);
    let is_declared = |held: &[String], declared: fn(&Session) -> &[String]| -> Vec<String> {
        let kept = held.iter().filter(|name| {
            from.session
                .is_none_or(|session| declared(session).contains(name))
        });
        kept.cloned().collect()
    };
    let commands = is_declared(&approved.commands, |session| &session.claims.commands);
    Surface {
        caps: is_declared(&approved.caps, |session| &session.claims.caps),
        commands: policy.filter(&commands),
    }
}

/// Version 3 does not count the standing policy among a node's commands.
fn without_policy(mut commands: Vec<String>) -> Vec<String> {
    commands.retain(|command| !EXEC_APPROVALS.contains(&command.as_str()));
    commands
}

fn state(node: &Node, request: Option<&NodeRequest>) -> ApprovalState {
    match (&node.approved, request) {
        (Some(_), None) => ApprovalState::Approved,
        (Some(_), Some(_)) => ApprovalState::PendingReapproval,
        (None, Some(_)) => ApprovalState::PendingApproval,
        (None, None) => ApprovalState::Unapproved,
    }
}

fn host_stats(node: &Node, session: Option<&Session>) -> Option<Value> {
    session
        .and_then(|session| session.said(|said| said.host_stats.clone()))
        .or_else(|| serde_json::from_str(node.host_stats.as_deref()?).ok())
}

/// A request that waits, as `node.pair.list` and `node.pair.requested` show it.
pub(super) fn request_row(request: &NodeRequest) -> NodePairRow {
    let facts = &request.facts;
    let mut row = NodePairRow {
        request_id: Some(request.request_id.clone()),
        node_id: request.node_id.clone(),
        client_id: facts.client_id.clone(),
        client_mode: facts.client_mode.clone(),
        display_name: facts.display_name.clone(),
        platform: facts.platform.clone(),
        version: facts.version.clone(),
        device_family: facts.device_family.clone(),
        caps: Some(request.asked.caps.clone()),
        commands: Some(request.asked.commands.clone()),
        silent: request.silent.then_some(true),
        ts: Some(request.created_at),
        ..NodePairRow::default()
    };
    let scopes = approve_scopes(&request.asked.commands);
    row.required_approve_scopes = Some(scopes.into_iter().map(str::to_owned).collect());
    if request.by_name {
        row.is_repair = Some(false);
    }
    row
}

/// An approved node, as `node.pair.list` and `node.pair.approve` show it.
pub(super) fn paired_row(node: &Node) -> NodePairRow {
    let facts = &node.facts;
    let approved = node.approved.clone().unwrap_or_default();
    let mut row = NodePairRow {
        node_id: node.node_id.clone(),
        client_id: facts.client_id.clone(),
        client_mode: facts.client_mode.clone(),
        display_name: node.name().map(str::to_owned),
        platform: facts.platform.clone(),
        version: facts.version.clone(),
        device_family: facts.device_family.clone(),
        caps: Some(approved.caps),
        commands: Some(approved.commands),
        created_at_ms: Some(node.created_at),
        approved_at_ms: node.approved_at,
        ..NodePairRow::default()
    };
    for (name, value) in [
        ("lastConnectedAtMs", node.last_connected_at),
        ("lastDisconnectedAtMs", node.last_disconnected_at),
        ("lastSeenAtMs", node.last_connected_at),
    ] {
        if let Some(value) = value {
            row.more.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(stats) = host_stats(node, None) {
        row.more.insert("lastHostStats".into(), stats);
    }
    if node.last_connected_at.is_some() {
        row.more.insert("lastSeenReason".into(), json!("connect"));
    }
    row
}
