//! From what a caller sends to what is stored, shown and decided. Pure.

use clawline::protocol::Protocol;
use clawline::protocol::methods::approvals::{Decision, ExecApprovalRequestParams};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::plan::{Plan, variable};
use super::show;
use crate::policy::Policy;
use crate::store::{Approval, ApprovalState, now_ms};

/// How long version 3 waits when the caller does not say, in ms.
const DEFAULT_TIMEOUT_V3: i64 = 120_000;
/// The same for version 4.
const DEFAULT_TIMEOUT_V4: i64 = 30 * 60_000;
/// How long anybody waits at most, in ms.
const MAX_TIMEOUT: i64 = 24 * 3_600_000;
/// Longest id, in bytes.
const MAX_ID: usize = 128;
/// Longest text beside the command, in characters: a longer one is not asked about.
const MAX_TEXT: usize = 1024;
/// Longest warning that a caller gives, in characters.
const MAX_WARNING: usize = 4096;
/// Most variables.
const MAX_ENV: usize = 256;
/// Longest name of a variable, in characters.
const MAX_NAME: usize = 256;
/// What whoever decides is warned of.
const HIDDEN: &str = "contains invisible characters";
/// The members that version 3 knows.
const V3_MEMBERS: [&str; 8] = [
    "command",
    "cwd",
    "host",
    "security",
    "ask",
    "agentId",
    "resolvedPath",
    "sessionKey",
];
/// Members of version 4 that are shown as they came, or as null.
const PLAIN: [&str; 10] = [
    "systemRunBinding",
    "sessionId",
    "runId",
    "toolCallId",
    "turnSourceChannel",
    "turnSourceTo",
    "turnSourceAccountId",
    "turnSourceThreadId",
    "cronExecutionSource",
    "cronOperationBinding",
];

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid exec.approval.request params: {0}")]
pub(crate) struct BadRequest(pub(crate) String);

/// A request that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct New {
    id: String,
    plan: Plan,
    request: Value,
    timeout: i64,
}

impl New {
    /// Looks at a request.
    ///
    /// # Errors
    /// [`BadRequest`] names the member.
    pub(crate) fn read(
        params: ExecApprovalRequestParams,
        version: Protocol,
        checks: &Policy,
    ) -> Result<Self, BadRequest> {
        let bad = |text: &str| Err(BadRequest(text.to_owned()));
        let id = match params.id.as_deref().map(str::trim) {
            None | Some("") => uuid::Uuid::new_v4().to_string(),
            Some(id) => {
                let is_id = id.len() <= MAX_ID && id.chars().all(|c| c.is_ascii_graphic());
                if !is_id || matches!(id, "." | "..") {
                    return bad("id: at most 128 printable characters");
                }
                id.to_owned()
            }
        };
        let params = of_plan(params);
        let argv = params.command_argv.clone().filter(|argv| !argv.is_empty());
        if version == Protocol::V4 && params.host.as_deref().map(str::trim) == Some("node") {
            if argv.is_none() {
                return bad("commandArgv is required for host=node");
            }
            if params.node_id.as_deref().is_none_or(str::is_empty) {
                return bad("nodeId is required for host=node");
            }
        }
        let text = params.command.as_deref().map(str::trim).unwrap_or_default();
        let said = match &argv {
            Some(argv) => argv.join(" "),
            None => text.to_owned(),
        };
        if said.trim().is_empty() {
            return bad("command: a command is needed");
        }
        let parts = argv.iter().flatten().map(String::as_str).chain([text]);
        for (at, part) in parts.enumerate() {
            if checks.visible_commands && part.contains(['\0', '\r']) {
                let text = format!("command, part {at}: NUL and carriage return are not taken");
                return Err(BadRequest(text));
            }
        }
        // The arguments win: how callers write them as one text differs.
        let shown = match &argv {
            Some(argv) if checks.visible_commands => show::arguments(argv),
            Some(argv) => argv.join(" "),
            None => text.to_owned(),
        };
        if checks.whole_commands {
            if shown.len() > show::MAX_SHOWN {
                return bad("command: longer than the 8 KiB that a person can be shown");
            }
            are_shown_whole(&params)?;
        }
        let env = variables(&params)?;
        let timeout = params.timeout_ms.map_or(
            match version {
                Protocol::V3 => DEFAULT_TIMEOUT_V3,
                Protocol::V4 => DEFAULT_TIMEOUT_V4,
            },
            |ms| i64::try_from(ms).unwrap_or(i64::MAX).clamp(1, MAX_TIMEOUT),
        );
        let request = request(&params, &shown, argv.as_deref(), checks);
        let plan = Plan {
            text: said.trim().to_owned(),
            is_by_text: version == Protocol::V3 && argv.is_none(),
            argv,
            cwd: params.cwd,
            env,
            agent_id: params.agent_id,
            session_key: params.session_key,
            node_id: params.node_id,
        };
        Ok(Self {
            id,
            plan,
            request,
            timeout,
        })
    }

    /// What is stored; `device_id` asked for it.
    pub(super) fn approval(&self, device_id: Option<String>) -> Approval {
        let now = now_ms();
        Approval {
            id: self.id.clone(),
            state: ApprovalState::Pending,
            plan: json!(self.plan).to_string(),
            digest: self.plan.digest(),
            request: self.request.to_string(),
            device_id,
            decision: None,
            resolved_by: None,
            created_at: now,
            expires_at: now.saturating_add(self.timeout),
            resolved_at: None,
        }
    }
}

/// A request of version 4 for a node may say all of it in the plan that the node made.
fn of_plan(mut params: ExecApprovalRequestParams) -> ExecApprovalRequestParams {
    let is_for_node = params.host.as_deref().map(str::trim) == Some("node");
    let Some(plan) = params.system_run_plan.as_ref().filter(|_| is_for_node) else {
        return params;
    };
    let argv: Option<Vec<String>> = serde_json::from_value(plan["argv"].clone()).ok();
    if let Some(argv) = argv.filter(|argv| !argv.is_empty()) {
        params.command_argv = Some(argv);
    }
    for (name, member) in [
        ("cwd", &mut params.cwd),
        ("agentId", &mut params.agent_id),
        ("sessionKey", &mut params.session_key),
    ] {
        if let Some(text) = plan[name].as_str().filter(|text| !text.is_empty()) {
            *member = Some(text.to_owned());
        }
    }
    params
}

/// What stands beside the command is shown whole, or the command is not asked about.
fn are_shown_whole(params: &ExecApprovalRequestParams) -> Result<(), BadRequest> {
    for (name, text) in [
        ("cwd", &params.cwd),
        ("resolvedPath", &params.resolved_path),
        ("nodeId", &params.node_id),
        ("host", &params.host),
        ("security", &params.security),
        ("ask", &params.ask),
        ("agentId", &params.agent_id),
        ("sessionKey", &params.session_key),
    ] {
        if is_longer(text.as_deref(), MAX_TEXT) {
            return Err(BadRequest(format!(
                "{name}: longer than the {MAX_TEXT} characters that a person can be shown"
            )));
        }
    }
    if is_longer(warning(params), MAX_WARNING) {
        return Err(BadRequest(format!(
            "warningText: longer than {MAX_WARNING} characters"
        )));
    }
    Ok(())
}

fn is_longer(text: Option<&str>, max: usize) -> bool {
    text.is_some_and(|text| text.chars().nth(max).is_some())
}

fn warning(params: &ExecApprovalRequestParams) -> Option<&str> {
    params.more.get("warningText").and_then(Value::as_str)
}

/// The variables as plans name them, sorted.
fn variables(params: &ExecApprovalRequestParams) -> Result<Vec<String>, BadRequest> {
    let bad = |text: String| Err(BadRequest(text));
    let mut variables = Vec::new();
    for (name, value) in params.env.iter().flatten() {
        if variables.len() >= MAX_ENV {
            return bad(format!("env: at most {MAX_ENV} variables"));
        }
        if is_longer(Some(name), MAX_NAME) {
            return bad(format!("env: a name is longer than {MAX_NAME} characters"));
        }
        let Some(value) = value.as_str() else {
            return bad("env: each variable needs a text".to_owned());
        };
        variables.push(variable(name, value));
    }
    variables.sort_unstable();
    Ok(variables)
}

/// The request as version 4 shows it.
fn request(
    params: &ExecApprovalRequestParams,
    command: &str,
    argv: Option<&[String]>,
    checks: &Policy,
) -> Value {
    let mut env_keys: Vec<&String> = params.env.iter().flatten().map(|(name, _)| name).collect();
    env_keys.sort_unstable();
    let mut had_hidden = false;
    let mut visible = |text: &str, max: usize| {
        let cut: String = text.chars().take(max).collect();
        if !checks.visible_commands {
            return cut;
        }
        let shown = show::visible(&cut);
        had_hidden |= shown.had_hidden;
        shown.text
    };
    let shown = visible(command, show::MAX_SHOWN);
    let argv: Option<Vec<String>> = argv.map(|argv| {
        let each = argv.iter().map(|arg| visible(arg, show::MAX_SHOWN));
        each.collect()
    });
    let env_keys: Vec<String> = env_keys
        .into_iter()
        .map(|name| visible(name, MAX_NAME))
        .collect();
    let warning = warning(params).map(|text| visible(text, MAX_WARNING));
    let mut text = |value: &Option<String>| value.as_deref().map(|text| visible(text, MAX_TEXT));
    let mut request = json!({
        "command": shown, "commandArgv": argv, "systemRunPlan": null,
        "cwd": text(&params.cwd), "nodeId": text(&params.node_id), "host": text(&params.host),
        "security": text(&params.security), "ask": text(&params.ask), "scope": null,
        "agentId": text(&params.agent_id), "resolvedPath": text(&params.resolved_path),
        "sessionKey": text(&params.session_key),
        // So that whoever decides can tell two long commands apart.
        "commandLength": command.chars().count(),
        "commandSha256": sha256(command),
    });
    for member in PLAIN {
        let value = params.more.get(member).filter(|value| is_small(value));
        request[member] = match value {
            Some(Value::String(text)) => json!(visible(text, MAX_TEXT)),
            value => value.cloned().unwrap_or_default(),
        };
    }
    if !env_keys.is_empty() {
        request["envKeys"] = json!(env_keys);
    }
    let mut warnings: Vec<&str> = Vec::new();
    if had_hidden {
        warnings.push(HIDDEN);
    }
    request["commandAnalysis"] = json!({
        "commandCount": 1, "nestedCommandCount": 0, "riskKinds": [], "warningLines": warnings,
    });
    let warning: Vec<&str> = warnings.into_iter().chain(warning.as_deref()).collect();
    request["warningText"] = match warning.is_empty() {
        true => Value::Null,
        false => json!(warning.join("; ")),
    };
    request["allowedDecisions"] = json!(decisions(params));
    request
}

fn is_small(value: &Value) -> bool {
    !value.is_object() && !value.is_array() && value.to_string().len() <= MAX_TEXT
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What may be answered: who is to be asked every time cannot be told "always".
fn decisions(params: &ExecApprovalRequestParams) -> Vec<Decision> {
    let unavailable = params.more.get("unavailableDecisions");
    let is_unavailable = |decision: &Decision| {
        let named = unavailable.and_then(Value::as_array).into_iter().flatten();
        named.into_iter().any(|name| name == decision.as_str())
    };
    let asks_always = params.ask.as_deref() == Some("always");
    let is_offered = |decision: &Decision| match decision {
        Decision::Deny => true,
        Decision::AllowAlways => !asks_always && !is_unavailable(decision),
        Decision::AllowOnce => !is_unavailable(decision),
    };
    Decision::ALL.into_iter().filter(is_offered).collect()
}

/// The request of a stored approval, as a version shows it; `None` where that version could not show
/// all that is decided about.
pub(super) fn shown(approval: &Approval, version: Protocol, checks: &Policy) -> Option<Value> {
    let mut request: Value = serde_json::from_str(&approval.request).unwrap_or_default();
    match version {
        Protocol::V4 => Some(request),
        Protocol::V3 => {
            if checks.whole_in_v3 {
                request["command"] = json!(in_one_text(&request)?);
            }
            let members = V3_MEMBERS.into_iter();
            let known = members.map(|name| (name.to_owned(), request[name].take()));
            Some(Value::Object(known.collect()))
        }
    }
}

/// The command of a request, behind what version 3 has no member for: the warning, the node and the
/// names of the variables, each in brackets, which no plain word of a command holds. `None` when all
/// of it is longer than what is shown of a command.
fn in_one_text(request: &Value) -> Option<String> {
    let names = |name: &str| -> Vec<String> {
        let named = match &request[name] {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            Value::String(text) => vec![text.as_str()],
            _ => Vec::new(),
        };
        named.into_iter().map(str::to_owned).collect()
    };
    let mut text = String::new();
    for (word, values) in [
        ("warning", names("warningText")),
        ("node", names("nodeId")),
        ("env", names("envKeys")),
    ] {
        if !values.is_empty() {
            text.push_str(&format!("[{word} {}] ", show::arguments(&values)));
        }
    }
    text.push_str(request["command"].as_str().unwrap_or_default());
    (text.len() <= show::MAX_SHOWN).then_some(text)
}

/// What may be answered to a stored approval.
pub(super) fn allowed(approval: &Approval) -> Vec<Decision> {
    let request: Value = serde_json::from_str(&approval.request).unwrap_or_default();
    serde_json::from_value(request["allowedDecisions"].clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
