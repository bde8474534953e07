//! `clawline nodes invoke`: has a node carry out a command, and shows what came of it.

use std::time::Duration;

use clawline::layer::printable;
use clawline::protocol::methods::nodes::{NodeInvoke, NodeInvokeParams};
use serde_json::Value;

use super::ask::ask_and_run;
use super::{Invoke, find};
use crate::cli::connect::{Answer, Connected};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::sessions::several_lines;

/// Beyond the node's own time: the way there and back.
pub(super) const ON_THE_WAY: Duration = Duration::from_secs(10);

pub(super) async fn invoke(
    context: &Context,
    gateway: &Connected,
    args: &Invoke,
    params: Value,
) -> Result<Answer, Failure> {
    let node = find(gateway, &args.node).await?;
    let timeout = Duration::from_millis(args.timeout);
    let payload = if args.ask {
        ask_and_run(context, gateway, &node.node_id, params, timeout).await?
    } else {
        call(gateway, &node.node_id, &args.command, params, timeout).await?
    };
    Ok(result_of(&args.command, &node.node_id, payload))
}

/// Has `node_id` carry out `command`.
pub(super) async fn call(
    gateway: &Connected,
    node_id: &str,
    command: &str,
    params: Value,
    timeout: Duration,
) -> Result<Value, Failure> {
    let params = NodeInvokeParams {
        node_id: node_id.to_owned(),
        command: command.to_owned(),
        params: Some(params),
        timeout_ms: u64::try_from(timeout.as_millis()).ok(),
        idempotency_key: uuid::Uuid::new_v4().to_string(),
        session_key: None,
    };
    let reply = gateway
        .client
        .call_within::<NodeInvoke>(params, timeout + ON_THE_WAY)
        .await?;
    let written = reply.payload_json.as_deref();
    let value = written.and_then(|text| serde_json::from_str(text).ok());
    Ok(value.unwrap_or(reply.payload))
}

/// The output of a program as it was, everything else as JSON.
fn result_of(command: &str, node_id: &str, payload: Value) -> Answer {
    let mut answer = Answer::default();
    let ran = command == "system.run" && payload.get("exitCode").is_some();
    if ran {
        for stream in ["stdout", "stderr"] {
            let text = payload[stream].as_str().unwrap_or_default();
            if !text.is_empty() {
                answer.say(several_lines(text.trim_end_matches('\n')));
            }
        }
        answer.exit = u8::from(payload["success"] != true);
        if answer.exit != 0 {
            answer.say(how_it_ended(&payload));
        }
    } else {
        let text = serde_json::to_string_pretty(&payload).unwrap_or_default();
        answer.say(several_lines(&text));
    }
    answer
        .with("nodeId", node_id)
        .with("command", command)
        .with("payload", payload)
}

fn how_it_ended(payload: &Value) -> String {
    if payload["timedOut"] == true {
        return "it did not end in time and was stopped".to_owned();
    }
    match (payload["error"].as_str(), payload["exitCode"].as_i64()) {
        (Some(error), _) => printable(error, 200),
        (None, Some(code)) => format!("it ended with exit code {code}"),
        (None, None) => "it was stopped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_failed_is_exit_code_1_and_says_how() {
        let payload = serde_json::json!({"exitCode": 3, "success": false, "timedOut": false,
            "stdout": "out\n", "stderr": "", "error": null});
        let answer = result_of("system.run", "id", payload);
        assert_eq!(answer.exit, 1);
        assert_eq!(answer.text, ["out", "it ended with exit code 3"]);
    }
}
