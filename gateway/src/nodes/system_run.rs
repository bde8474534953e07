//! The parameters of `system.run`: checked before any node sees them, and reduced to what a caller
//! may say. What says that somebody approved it is the gateway's to write, never the caller's.

use super::command_text;
use crate::approvals::variable;
use clawline::protocol::methods::approvals::Decision;
use serde_json::{Map, Value, json};

/// Most arguments of one command.
const MAX_ARGS: usize = 4096;
/// Longest argument, in bytes: what Linux takes.
const MAX_ARG: usize = 128 * 1024;
/// All arguments together, in bytes.
const MAX_ARGV: usize = 512 * 1024;
/// Most variables.
const MAX_ENV: usize = 256;
/// Longest working directory and longest id, in bytes.
const MAX_TEXT: usize = 4096;
/// What a caller may say, beside the command.
const FORWARDED: [&str; 5] = [
    "timeoutMs",
    "needsScreenRecording",
    "suppressNotifyOnExit",
    "rawCommand",
    "env",
];

/// A command that is fit to be asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SystemRun {
    pub(crate) argv: Vec<String>,
    pub(crate) cwd: Option<String>,
    /// The variables as plans name them, sorted.
    pub(crate) env: Vec<String>,
    pub(crate) agent_id: Option<String>,
    pub(crate) session_key: Option<String>,
    /// The approval that the caller refers to, and the decision that it claims.
    pub(crate) approval: Option<String>,
    forwarded: Map<String, Value>,
}

/// What is wrong: "params.command[1]: …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRun {
    pub(crate) text: String,
    /// For programs.
    pub(crate) code: &'static str,
}

fn bad(code: &'static str, text: impl Into<String>) -> BadRun {
    BadRun {
        text: text.into(),
        code,
    }
}

impl SystemRun {
    /// Reads the parameters of `system.run` and `system.run.prepare`.
    ///
    /// # Errors
    /// [`BadRun`] names the member, and the position in it.
    pub(crate) fn read(params: Option<&Value>) -> Result<Self, BadRun> {
        let Some(Value::Object(params)) = params else {
            return Err(bad("BAD_PARAMS", "params: an object is needed"));
        };
        let argv = argv(params.get("command"))?;
        let raw = text(params, "rawCommand")?.map(|raw| raw.trim().to_owned());
        if let Some(raw) = raw.filter(|raw| !raw.is_empty())
            && !command_text::is_raw_of(&raw, &argv)
        {
            let text = "rawCommand does not match command";
            return Err(bad("RAW_COMMAND_MISMATCH", text));
        }
        let cwd = text(params, "cwd")?;
        if let Some(cwd) = &cwd {
            check_cwd(cwd)?;
        }
        let env = variables(params.get("env"))?;
        let mut forwarded = Map::new();
        for name in FORWARDED {
            if let Some(value) = params.get(name).filter(|value| !value.is_null()) {
                forwarded.insert(name.to_owned(), value.clone());
            }
        }
        Ok(Self {
            approval: approval(params)?,
            agent_id: text(params, "agentId")?,
            session_key: text(params, "sessionKey")?,
            argv,
            cwd,
            env,
            forwarded,
        })
    }

    /// Whether somebody who approved this text alone approved this command.
    pub(crate) fn is_approved_as(&self, text: &str) -> bool {
        command_text::is_approved_as(text, &self.argv)
    }

    /// What the node is sent: the run's id is ours, and an approval is only there when it was used.
    pub(crate) fn params(&self, run_id: &str, decision: Option<Decision>) -> Value {
        let mut params = self.forwarded.clone();
        params.insert("command".into(), json!(self.argv));
        for (name, value) in [
            ("cwd", &self.cwd),
            ("agentId", &self.agent_id),
            ("sessionKey", &self.session_key),
        ] {
            if let Some(value) = value {
                params.insert(name.into(), json!(value));
            }
        }
        params.insert("runId".into(), json!(run_id));
        if let Some(decision) = decision {
            params.insert("approved".into(), json!(true));
            params.insert("approvalDecision".into(), json!(decision));
        }
        Value::Object(params)
    }
}

fn argv(value: Option<&Value>) -> Result<Vec<String>, BadRun> {
    let code = "BAD_COMMAND";
    let Some(Value::Array(items)) = value else {
        return Err(bad(code, "params.command: a list of texts is needed"));
    };
    if items.is_empty() {
        return Err(bad(code, "params.command[0]: a program is needed"));
    }
    if items.len() > MAX_ARGS {
        let text = format!("params.command[{MAX_ARGS}]: at most {MAX_ARGS} arguments are taken");
        return Err(bad(code, text));
    }
    let mut argv = Vec::with_capacity(items.len());
    let mut bytes = 0;
    for (at, item) in items.iter().enumerate() {
        let wrong = |what: &str| Err(bad(code, format!("params.command[{at}]: {what}")));
        let Value::String(text) = item else {
            return wrong("a text is needed");
        };
        bytes += text.len();
        if text.len() > MAX_ARG || bytes > MAX_ARGV {
            return wrong("the command is too long");
        }
        if at == 0 && text.trim().is_empty() {
            return wrong("a program is needed");
        }
        if text.contains(['\0', '\r']) {
            return wrong("NUL and carriage return are not taken");
        }
        argv.push(text.clone());
    }
    Ok(argv)
}

fn text(params: &Map<String, Value>, name: &str) -> Result<Option<String>, BadRun> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > MAX_ARGV => {
            Err(bad("BAD_PARAMS", format!("params.{name}: too long")))
        }
        Some(Value::String(text)) if text.contains('\0') => Err(bad(
            "BAD_PARAMS",
            format!("params.{name}: NUL is not taken"),
        )),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(bad(
            "BAD_PARAMS",
            format!("params.{name}: a text is needed"),
        )),
    }
}

fn check_cwd(cwd: &str) -> Result<(), BadRun> {
    let bytes = cwd.as_bytes();
    let is_drive = bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    if cwd.starts_with('/') || cwd.starts_with("\\\\") || is_drive {
        if cwd.len() > MAX_TEXT {
            return Err(bad("BAD_CWD", "params.cwd: too long"));
        }
        Ok(())
    } else {
        Err(bad("BAD_CWD", "params.cwd: an absolute path is needed"))
    }
}

fn variables(env: Option<&Value>) -> Result<Vec<String>, BadRun> {
    let code = "BAD_ENV";
    let env = match env {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(env)) => env,
        Some(_) => return Err(bad(code, "params.env: an object is needed")),
    };
    if env.len() > MAX_ENV {
        return Err(bad(
            code,
            format!("params.env: at most {MAX_ENV} variables"),
        ));
    }
    let mut variables = Vec::with_capacity(env.len());
    for (name, value) in env {
        let shown = clawline::layer::printable(name, 40);
        if name.is_empty() || name.contains(['=', '\0']) || name.chars().any(char::is_whitespace) {
            return Err(bad(
                code,
                format!("params.env[\"{shown}\"]: no name of a variable"),
            ));
        }
        let value = value
            .as_str()
            .filter(|text| !text.contains('\0') && text.len() <= MAX_ARG);
        let Some(value) = value else {
            return Err(bad(
                code,
                format!("params.env[\"{shown}\"]: a text is needed"),
            ));
        };
        variables.push(variable(name, value));
    }
    variables.sort_unstable();
    Ok(variables)
}

/// The approval that is claimed. `approved: false` says nothing; every other word about an approval
/// needs the id of one. A `runId` alone is the caller's own name for the run, as official agents
/// send it: it claims nothing, and the node is sent an id of ours instead.
fn approval(params: &Map<String, Value>) -> Result<Option<String>, BadRun> {
    let run_id = text(params, "runId")?.filter(|id| !id.trim().is_empty());
    let is_claimed = match params.get("approved") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => return Err(bad("BAD_PARAMS", "params.approved: true or false")),
    };
    let has_decision = params
        .get("approvalDecision")
        .is_some_and(|value| !value.is_null());
    match (is_claimed || has_decision, run_id) {
        (false, _) => Ok(None),
        (true, None) => Err(bad(
            "MISSING_RUN_ID",
            "approval override requires params.runId",
        )),
        (true, Some(id)) if id.len() > MAX_TEXT => Err(bad("BAD_PARAMS", "params.runId: too long")),
        (true, Some(id)) => Ok(Some(id)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(params: Value) -> String {
        SystemRun::read(Some(&params)).unwrap_err().text
    }

    #[test]
    fn a_bad_command_is_refused_and_the_place_named() {
        let long = "x".repeat(MAX_ARG + 1);
        for (params, at) in [
            (json!({}), "params.command:"),
            (json!({"command": []}), "params.command[0]:"),
            (json!({"command": [""]}), "params.command[0]:"),
            (json!({"command": "ls"}), "params.command:"),
            (json!({"command": ["ls", null]}), "params.command[1]:"),
            (json!({"command": ["ls", "a\0b"]}), "params.command[1]:"),
            (json!({"command": ["ls", "a\rb"]}), "params.command[1]:"),
            (
                json!({"command": vec!["x"; 100_000]}),
                "params.command[4096]:",
            ),
            (json!({"command": ["ls", long]}), "params.command[1]:"),
            (json!({"command": ["ls"], "cwd": "tmp"}), "params.cwd:"),
            (json!({"command": ["ls"], "cwd": ""}), "params.cwd:"),
            (
                json!({"command": ["ls"], "env": {"A=B": "1"}}),
                "params.env[\"A=B\"]:",
            ),
            (
                json!({"command": ["ls"], "env": {"": "1"}}),
                "params.env[\"\"]:",
            ),
            (
                json!({"command": ["ls"], "env": {"A": 1}}),
                "params.env[\"A\"]:",
            ),
            (json!({"command": ["ls"], "env": []}), "params.env:"),
        ] {
            let text = refused(params.clone());
            assert!(text.starts_with(at), "{text}");
        }
        assert_eq!(SystemRun::read(None).unwrap_err().code, "BAD_PARAMS");
    }

    #[test]
    fn a_raw_command_says_what_the_arguments_do() {
        for (argv, is_good) in [
            (json!(["/bin/sh", "-lc", "ls | wc"]), true),
            (json!(["/tmp/sh", "-lc", "ls | wc"]), false),
        ] {
            let params = json!({"command": argv, "rawCommand": "ls | wc"});
            assert_eq!(SystemRun::read(Some(&params)).is_ok(), is_good, "{params}");
        }
    }

    #[test]
    fn only_the_gateway_writes_that_something_is_approved() {
        let sent = json!({
            "command": ["id"], "approved": false, "runId": "x", "systemRunBinding": {}, "ask": "off",
            "env": {"A": "1"},
        });
        let run = SystemRun::read(Some(&sent)).unwrap();
        assert_eq!(run.approval, None);
        assert_eq!(
            run.params("r", None),
            json!({"command": ["id"], "runId": "r", "env": {"A": "1"}})
        );
        let approved = run.params("r", Some(Decision::AllowOnce));
        assert_eq!(approved["approved"], true);
        assert_eq!(approved["approvalDecision"], "allow-once");
        for (claim, code) in [
            (
                json!({"command": ["id"], "approved": true}),
                "MISSING_RUN_ID",
            ),
            (
                json!({"command": ["id"], "approvalDecision": "allow-once"}),
                "MISSING_RUN_ID",
            ),
            (json!({"command": ["id"], "approved": "yes"}), "BAD_PARAMS"),
        ] {
            assert_eq!(
                SystemRun::read(Some(&claim)).unwrap_err().code,
                code,
                "{claim}"
            );
        }
        let claim = json!({"command": ["id"], "approved": true, "runId": "x"});
        assert_eq!(
            SystemRun::read(Some(&claim)).unwrap().approval.as_deref(),
            Some("x")
        );
    }

    proptest! {
        #[test]
        fn any_json_is_a_command_or_an_error(text in "\\PC{0,80}") {
            let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            let _ = SystemRun::read(Some(&value));
            let _ = SystemRun::read(Some(&json!({"command": value})));
        }
    }
}
