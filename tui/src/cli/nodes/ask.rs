//! `clawline nodes invoke … system.run --ask`: the node freezes what it would run, whoever approves
//! commands at the gateway decides about exactly that, and then it is run.

use std::time::Duration;

use clawline::layer::printable;
use clawline::protocol::methods::approvals::{
    ApprovalIdParams, Decision, ExecApprovalReply, ExecApprovalRequest, ExecApprovalRequestParams,
    ExecApprovalWaitDecision,
};
use serde_json::{Map, Value};

use super::invoke::{ON_THE_WAY, call};
use crate::cli::connect::{Connected, print_note};
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// How long a person may think about it.
const DECISION: Duration = Duration::from_secs(5 * 60);

/// Asks about `params` and has them carried out; returns the node's result.
pub(super) async fn ask_and_run(
    context: &Context,
    gateway: &Connected,
    node_id: &str,
    params: Value,
    timeout: Duration,
) -> Result<Value, Failure> {
    let prepared = call(
        gateway,
        node_id,
        "system.run.prepare",
        params.clone(),
        timeout,
    )
    .await?;
    let plan = &prepared["plan"];
    let text = |name: &str| plan[name].as_str().map(str::to_owned);
    let argv: Option<Vec<String>> = serde_json::from_value(plan["argv"].clone()).ok();
    let (Some(argv), Some(command)) = (argv, text("commandText")) else {
        return Err(Failure::Other(
            "the node did not say what it would run".into(),
        ));
    };
    let id = uuid::Uuid::new_v4().to_string();
    let request = ExecApprovalRequestParams {
        id: Some(id.clone()),
        command: Some(command.clone()),
        command_argv: Some(argv.clone()),
        system_run_plan: Some(plan.clone()),
        env: params["env"].as_object().cloned(),
        cwd: text("cwd"),
        node_id: Some(node_id.to_owned()),
        host: Some("node".into()),
        security: Some("allowlist".into()),
        ask: Some("always".into()),
        agent_id: text("agentId"),
        session_key: text("sessionKey"),
        timeout_ms: u64::try_from(DECISION.as_millis()).ok(),
        two_phase: Some(true),
        ..ExecApprovalRequestParams::default()
    };
    print_note(
        context,
        &format!(
            "waiting for somebody to approve {} ({id})",
            printable(&command, 400)
        ),
    );
    if decision(gateway, request, &id).await? != Some(Decision::AllowOnce) {
        return Err(Failure::Other(format!(
            "nobody approved {}",
            printable(&command, 200)
        )));
    }
    call(
        gateway,
        node_id,
        "system.run",
        approved(params, plan, &id),
        timeout,
    )
    .await
}

/// What was approved, under the approval's id.
fn approved(params: Value, plan: &Value, id: &str) -> Value {
    let mut object: Map<String, Value> = match params {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    for (to, from) in [
        ("command", "argv"),
        ("cwd", "cwd"),
        ("agentId", "agentId"),
        ("sessionKey", "sessionKey"),
    ] {
        match &plan[from] {
            Value::Null => object.remove(to),
            value => object.insert(to.to_owned(), value.clone()),
        };
    }
    object.insert("approved".into(), true.into());
    object.insert("approvalDecision".into(), "allow-once".into());
    object.insert("runId".into(), id.into());
    Value::Object(object)
}

async fn decision(
    gateway: &Connected,
    request: ExecApprovalRequestParams,
    id: &str,
) -> Result<Option<Decision>, Failure> {
    let deadline = DECISION + ON_THE_WAY;
    let first = gateway
        .client
        .call_within::<ExecApprovalRequest>(request, deadline)
        .await?;
    let reply: ExecApprovalReply = if first.decision.is_some() {
        first
    } else {
        let params = ApprovalIdParams { id: id.to_owned() };
        gateway
            .client
            .call_within::<ExecApprovalWaitDecision>(params, deadline)
            .await?
    };
    Ok(reply.decision.flatten())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_run_is_the_node_s_plan_and_not_what_was_typed() {
        let typed = json!({"command": ["ls"], "cwd": "/tmp/link", "env": {"A": "b"}});
        let plan = json!({"argv": ["ls"], "cwd": "/real", "commandText": "ls", "agentId": null});
        let sent = approved(typed, &plan, "id");
        assert_eq!(sent["cwd"], "/real");
        assert_eq!(sent["env"], json!({"A": "b"}));
        assert_eq!(
            (&sent["approved"], &sent["runId"]),
            (&json!(true), &json!("id"))
        );
        assert!(sent.get("agentId").is_none());
    }
}
