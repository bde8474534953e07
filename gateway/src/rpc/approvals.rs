//! `exec.approval.*`, `approval.*`: a person decides about one command. `exec.approvals.*`: the standing
//! policies.

use clawline::protocol::Protocol;
use clawline::protocol::error::RpcError;
use clawline::protocol::methods::approvals::Decision;
use clawline::protocol::methods::approvals::{
    ApprovalGet, ApprovalOkReply, ApprovalResolve, ExecApprovalDetail, ExecApprovalGet,
    ExecApprovalList, ExecApprovalReply, ExecApprovalRequest, ExecApprovalResolve, ExecApprovalRow,
    ExecApprovalWaitDecision, ExecApprovalsGet, ExecApprovalsNodeGet, ExecApprovalsNodeSet,
    ExecApprovalsSet, ExecApprovalsSnapshot,
};
use clawline::protocol::methods::nodes::NodeInvokeParams;
use serde_json::{Value, json};

use super::call::off_the_runtime;
use super::nodes::{caller, invoke_error};
use super::{Call, Failure, Table};
use crate::approvals::{ApprovalError, New, PolicyError};
use crate::conn::Conn;
use crate::state::App;
use crate::store::{Approval, ApprovalState};

pub(crate) fn rows(table: Table) -> Table {
    table
        .on_long::<ExecApprovalRequest, _>(|_, _| None, request)
        .on_long::<ExecApprovalWaitDecision, _>(|_, _| None, wait)
        .on::<ExecApprovalResolve, _>(resolve)
        .on::<ExecApprovalList, _>(list)
        .on::<ExecApprovalGet, _>(get)
        .on::<ApprovalGet, _>(any_get)
        .on::<ApprovalResolve, _>(any_resolve)
        .on::<ExecApprovalsGet, _>(policy_get)
        .on::<ExecApprovalsSet, _>(policy_set)
        .on_long::<ExecApprovalsNodeGet, _>(|_, _| None, node_policy_get)
        .on_long::<ExecApprovalsNodeSet, _>(|_, _| None, node_policy_set)
}

async fn request(app: App, call: Call<ExecApprovalRequest>) -> Result<ExecApprovalReply, Failure> {
    let version = call.conn.version;
    let is_two_phase = call.params.two_phase == Some(true);
    let new =
        New::read(call.params, version, &app.policy).map_err(|bad| error(bad.into(), version))?;
    let asked = app.approvals.request(new, &call.conn).await;
    let (approval, has_route) = asked.map_err(|why| error(why, version))?;
    if is_two_phase && has_route {
        call.replier.accept(&ExecApprovalReply {
            status: Some("accepted".to_owned()),
            delivery_route: (version == Protocol::V4).then(|| "approval-client".to_owned()),
            ..reply(&approval)
        });
    }
    let ended = app.approvals.wait(&approval.id).await;
    let ended = ended.map_err(|why| error(why, version))?;
    Ok(ExecApprovalReply {
        decision: Some(decision(&ended)),
        ..reply(&ended)
    })
}

async fn wait(
    app: App,
    call: Call<ExecApprovalWaitDecision>,
) -> Result<ExecApprovalReply, Failure> {
    let version = call.conn.version;
    let known = app.approvals.get(&call.params.id, &call.conn.principal);
    let known = known.await.map_err(|why| error(why, version))?;
    let ended = app.approvals.wait(&known.id).await;
    let ended = ended.map_err(|why| error(why, version))?;
    let reason = match ended.state {
        ApprovalState::Expired => "timeout",
        ApprovalState::NoRoute => "no-route",
        _ => "user",
    };
    Ok(ExecApprovalReply {
        decision: Some(decision(&ended)),
        terminal_reason: (version == Protocol::V4).then(|| reason.to_owned()),
        ..reply(&ended)
    })
}

fn reply(approval: &Approval) -> ExecApprovalReply {
    ExecApprovalReply {
        id: approval.id.clone(),
        created_at_ms: approval.created_at,
        expires_at_ms: approval.expires_at,
        ..ExecApprovalReply::default()
    }
}

fn decision(approval: &Approval) -> Option<Decision> {
    approval.decision.as_deref().and_then(Decision::parse)
}

async fn resolve(app: App, call: Call<ExecApprovalResolve>) -> Result<ApprovalOkReply, Failure> {
    let params = &call.params;
    let done = app
        .approvals
        .resolve(&params.id, &params.decision, &call.conn);
    done.await.map_err(|why| error(why, call.conn.version))?;
    Ok(ApprovalOkReply { ok: true })
}

async fn list(app: App, call: Call<ExecApprovalList>) -> Result<Vec<ExecApprovalRow>, Failure> {
    let (by, version) = (&call.conn.principal, call.conn.version);
    let listed = app.approvals.list(by, version).await;
    Ok(listed.map_err(|why| error(why, version))?)
}

async fn get(app: App, call: Call<ExecApprovalGet>) -> Result<ExecApprovalDetail, Failure> {
    let approval = waiting(&app, &call.conn, &call.params.id).await?;
    let request: Value = serde_json::from_str(&approval.request).unwrap_or_default();
    let text = |name: &str| request[name].as_str().map(str::to_owned);
    Ok(ExecApprovalDetail {
        id: approval.id,
        command_text: text("command").unwrap_or_default(),
        command_preview: None,
        allowed_decisions: serde_json::from_value(request["allowedDecisions"].clone())
            .unwrap_or_default(),
        host: text("host"),
        node_id: text("nodeId"),
        agent_id: text("agentId"),
        expires_at_ms: approval.expires_at,
        more: ["warningText", "commandLength", "commandSha256"]
            .into_iter()
            .filter(|name| !request[*name].is_null())
            .map(|name| (name.to_owned(), request[name].clone()))
            .collect(),
    })
}

/// One that waits and that the caller may see.
async fn waiting(app: &App, conn: &Conn, id: &str) -> Result<Approval, RpcError> {
    let known = app.approvals.get(id, &conn.principal).await;
    known
        .and_then(|approval| {
            let is_waiting = approval.state == ApprovalState::Pending
                && approval.expires_at > crate::store::now_ms();
            is_waiting
                .then_some(approval)
                .ok_or(ApprovalError::NotFound)
        })
        .map_err(|why| error(why, conn.version))
}

async fn any_get(app: App, call: Call<ApprovalGet>) -> Result<Value, Failure> {
    let known = app.approvals.get(&call.params.id, &call.conn.principal);
    let approval = known.await.map_err(|why| error(why, call.conn.version))?;
    Ok(json!({"approval": snapshot(&approval)}))
}

async fn any_resolve(app: App, call: Call<ApprovalResolve>) -> Result<Value, Failure> {
    let (params, version) = (&call.params, call.conn.version);
    if params.kind != "exec" {
        return Err(error(ApprovalError::NotFound, version).into());
    }
    let done = app
        .approvals
        .resolve(&params.id, &params.decision, &call.conn);
    let approval = done.await.map_err(|why| error(why, version))?;
    Ok(json!({"applied": true, "approval": snapshot(&approval)}))
}

/// An approval of any kind, as version 4 shows it.
fn snapshot(approval: &Approval) -> Value {
    let request: Value = serde_json::from_str(&approval.request).unwrap_or_default();
    let mut shown = json!({
        "id": approval.id, "urlPath": format!("/approvals/{}", approval.id),
        "createdAtMs": approval.created_at, "expiresAtMs": approval.expires_at,
        "presentation": {
            "kind": "exec", "commandText": request["command"], "commandPreview": null,
            "warningText": request["warningText"], "host": request["host"],
            "nodeId": request["nodeId"], "agentId": request["agentId"],
            "allowedDecisions": request["allowedDecisions"],
        },
    });
    let (status, reason) = match approval.state {
        ApprovalState::Pending => ("pending", None),
        ApprovalState::Allowed | ApprovalState::Used => ("allowed", Some("user")),
        ApprovalState::Denied => ("denied", Some("user")),
        ApprovalState::NoRoute => ("denied", Some("no-route")),
        ApprovalState::Expired => ("expired", Some("timeout")),
        ApprovalState::Restarted => ("cancelled", Some("gateway-restart")),
    };
    shown["status"] = json!(status);
    if let Some(reason) = reason {
        shown["reason"] = json!(reason);
        shown["resolvedAtMs"] = json!(approval.resolved_at.unwrap_or(approval.created_at));
        match status {
            "allowed" => shown["decision"] = json!(approval.decision),
            "denied" => shown["decision"] = json!("deny"),
            _ => {}
        }
    }
    shown
}

async fn policy_get(
    app: App,
    call: Call<ExecApprovalsGet>,
) -> Result<ExecApprovalsSnapshot, Failure> {
    let policy = app.approvals.policy.clone();
    let done = off_the_runtime(move || policy.get()).await?;
    policy_reply(done, call.conn.version)
}

async fn policy_set(
    app: App,
    call: Call<ExecApprovalsSet>,
) -> Result<ExecApprovalsSnapshot, Failure> {
    let (policy, params) = (app.approvals.policy.clone(), call.params);
    let hash = params.base_hash.clone();
    let work = move || policy.set(&params.file, hash.as_deref());
    let done = off_the_runtime(work).await?;
    policy_reply(done, call.conn.version)
}

fn policy_reply(
    done: Result<ExecApprovalsSnapshot, PolicyError>,
    version: Protocol,
) -> Result<ExecApprovalsSnapshot, Failure> {
    let mut snapshot = done.map_err(|error| match error {
        PolicyError::Changed | PolicyError::Bad(_) => RpcError::invalid(error.to_string()),
        PolicyError::Io { .. } | PolicyError::Broken { .. } => {
            RpcError::unavailable(error.to_string())
        }
    })?;
    if version == Protocol::V4 {
        // What applies where the file says nothing: this host runs nothing for anybody.
        let said = &snapshot.file["defaults"];
        let or = |name: &str, default: Value| match &said[name] {
            Value::Null => default,
            said => said.clone(),
        };
        snapshot.resolved_defaults = Some(json!({
            "security": or("security", json!("deny")), "ask": or("ask", json!("always")),
            "askFallback": or("askFallback", json!("deny")),
            "autoAllowSkills": or("autoAllowSkills", json!(false)),
        }));
    }
    Ok(snapshot)
}

async fn node_policy_get(app: App, call: Call<ExecApprovalsNodeGet>) -> Result<Value, Failure> {
    let node_id = call.params.node_id.clone();
    ask_node(
        &app,
        &call.conn,
        node_id,
        "system.execApprovals.get",
        json!({}),
    )
    .await
}

async fn node_policy_set(app: App, call: Call<ExecApprovalsNodeSet>) -> Result<Value, Failure> {
    let node_id = call.params.node_id.clone();
    let policy = Value::Object(call.params.policy);
    ask_node(
        &app,
        &call.conn,
        node_id,
        "system.execApprovals.set",
        policy,
    )
    .await
}

async fn ask_node(
    app: &App,
    conn: &Conn,
    node_id: String,
    command: &str,
    params: Value,
) -> Result<Value, Failure> {
    let asked = NodeInvokeParams {
        node_id,
        command: command.to_owned(),
        params: Some(params),
        idempotency_key: uuid::Uuid::new_v4().to_string(),
        ..NodeInvokeParams::default()
    };
    let settings = app.settings();
    let done = app
        .nodes
        .invoke(&app.approvals, &caller(conn), asked, &settings.nodes)
        .await;
    let reply = done.map_err(|error| invoke_error(error, command, conn.version))?;
    Ok(reply.payload)
}

/// What cannot be done, on the wire. One text for every approval that is not there for the caller.
fn error(error: ApprovalError, version: Protocol) -> RpcError {
    match error {
        ApprovalError::NotFound => not_found(version),
        ApprovalError::BadDecision
        | ApprovalError::NotShown
        | ApprovalError::NotForNodes
        | ApprovalError::BadRequest(_) => RpcError::invalid(error.to_string()),
        ApprovalError::IdUsed | ApprovalError::TooMany => RpcError::unavailable(error.to_string()),
        ApprovalError::Store(error) => RpcError::unavailable(error.to_string()).retry_after(1000),
    }
}

/// Unknown, over, used, or somebody else's.
fn not_found(version: Protocol) -> RpcError {
    let text = match version {
        Protocol::V3 => "unknown approval id",
        Protocol::V4 => "unknown or expired approval id",
    };
    RpcError::invalid(text).details(json!({
        "reason": "APPROVAL_NOT_FOUND",
        "remediation": "Re-request the action; pending approvals are cleared after expiry or restart.",
    }))
}
