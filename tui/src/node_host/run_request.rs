//! The parameters of `system.run`, checked before anything is looked up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Refused, command_text};

/// Most words of a command.
const MAX_WORDS: usize = 4096;
/// Most variables that may be added.
const MAX_VARIABLES: usize = 64;
/// Longest value of a variable, and longest id.
const MAX_TEXT: usize = 4096;
/// The members that a gateway may send along; anything else is a mistake or an attempt.
const KNOWN: [&str; 14] = [
    "command",
    "rawCommand",
    "systemRunPlan",
    "cwd",
    "env",
    "timeoutMs",
    "needsScreenRecording",
    "agentId",
    "sessionKey",
    "runId",
    "suppressNotifyOnExit",
    "approved",
    "approvalDecision",
    "approvalSource",
];

/// A program that somebody wants to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunRequest {
    /// The command; the first word is the program.
    pub argv: Vec<String>,
    /// Where; the home directory when nothing was said.
    pub cwd: Option<PathBuf>,
    /// Variables that it gets besides the usual ones.
    pub env: BTreeMap<String, String>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// On whose behalf.
    pub agent: Option<String>,
    /// On whose behalf.
    pub session: Option<String>,
    /// The gateway says that somebody approved it, under this id.
    pub approval: Option<String>,
}

impl RunRequest {
    /// Reads the parameters of `system.run`.
    pub fn read(params: &Value) -> Result<Self, Refused> {
        let object = object(params)?;
        if let Some(name) = object.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            let name = clawline::layer::printable(name, 80);
            return Err(Refused::invalid(format!("unknown property \"{name}\"")));
        }
        Self::read_known(object)
    }

    /// Reads the parameters of `system.run.prepare`, where callers say more than we need to know.
    pub fn read_for_plan(params: &Value) -> Result<Self, Refused> {
        let mut request = Self::read_known(object(params)?)?;
        request.approval = None;
        Ok(request)
    }

    fn read_known(object: &Map<String, Value>) -> Result<Self, Refused> {
        let argv = argv(object.get("command"))?;
        raw_command(object.get("rawCommand"), &argv)?;
        if object.get("needsScreenRecording") == Some(&Value::Bool(true)) {
            return Err(Refused::unavailable("PERMISSION_MISSING: screenRecording"));
        }
        let is_approved = object.get("approved") == Some(&Value::Bool(true));
        let run_id = text(object, "runId")?;
        let timeout = match object.get("timeoutMs") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let ms = value.as_u64().filter(|ms| *ms > 0);
                let ms =
                    ms.ok_or_else(|| Refused::invalid("timeoutMs is not a positive number"))?;
                Some(Duration::from_millis(ms))
            }
        };
        Ok(Self {
            argv,
            cwd: cwd(text(object, "cwd")?)?,
            env: env(object.get("env"))?,
            timeout,
            agent: text(object, "agentId")?,
            session: text(object, "sessionKey")?,
            approval: run_id.filter(|_| is_approved),
        })
    }
}

fn object(params: &Value) -> Result<&Map<String, Value>, Refused> {
    params
        .as_object()
        .ok_or_else(|| Refused::invalid("the parameters are not an object"))
}

/// A text member; empty counts as absent.
fn text(object: &Map<String, Value>, name: &str) -> Result<Option<String>, Refused> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > MAX_TEXT || text.contains('\0') => Err(
            Refused::invalid(format!("{name} is too long or holds a NUL")),
        ),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(Refused::invalid(format!("{name} is not a text"))),
    }
}

fn argv(command: Option<&Value>) -> Result<Vec<String>, Refused> {
    let Some(words) = command.and_then(Value::as_array) else {
        return Err(Refused::invalid("command is not an array of texts"));
    };
    if words.is_empty() {
        return Err(Refused::invalid("command is empty"));
    }
    if words.len() > MAX_WORDS {
        let count = words.len();
        return Err(Refused::invalid(format!(
            "command[{MAX_WORDS}]: {count} words are more than {MAX_WORDS}"
        )));
    }
    let mut argv = Vec::with_capacity(words.len());
    let mut total = 0;
    for (index, word) in words.iter().enumerate() {
        let bad = |why: &str| Err(Refused::invalid(format!("command[{index}] {why}")));
        let Some(word) = word.as_str() else {
            return bad("is not a text");
        };
        total += word.len();
        if index == 0 && word.trim().is_empty() {
            return bad("is empty");
        }
        if word.contains('\0') {
            return bad("holds a NUL");
        }
        if word.contains('\r') {
            return bad("holds a carriage return");
        }
        if total > command_text::MAX_SHOWN {
            return bad("makes the command longer than 8 KiB, which nobody could read");
        }
        argv.push(word.to_owned());
    }
    if command_text::format(&argv).len() > command_text::MAX_SHOWN {
        return Err(Refused::invalid(
            "command is longer than 8 KiB when written out, which nobody could read",
        ));
    }
    Ok(argv)
}

/// The text that others were shown must be the text of this command (CVE-2026-26325).
fn raw_command(raw: Option<&Value>, argv: &[String]) -> Result<(), Refused> {
    let raw = match raw {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::String(raw)) => raw.trim(),
        Some(_) => return Err(Refused::invalid("rawCommand is not a text")),
    };
    let is_shell_text = matches!(argv, [shell, option, script]
        if matches!(shell.rsplit('/').next(), Some("sh" | "bash" | "dash" | "zsh" | "ksh"))
            && matches!(option.as_str(), "-c" | "-lc")
            && script.trim() == raw);
    if raw.is_empty()
        || is_shell_text
        || raw == command_text::format(argv)
        || raw == peer_text(argv)
    {
        return Ok(());
    }
    Err(Refused::invalid("rawCommand does not match command"))
}

/// How OpenClaw writes a command: words with white space or a quote stand in double quotes.
pub(super) fn peer_text(argv: &[String]) -> String {
    let word = |word: &String| {
        if !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c == '"') {
            return word.clone();
        }
        format!("\"{}\"", word.replace('"', "\\\""))
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn cwd(cwd: Option<String>) -> Result<Option<PathBuf>, Refused> {
    match cwd {
        Some(cwd) if !Path::new(&cwd).is_absolute() => {
            Err(Refused::invalid("cwd is not an absolute path"))
        }
        other => Ok(other.map(PathBuf::from)),
    }
}

fn env(env: Option<&Value>) -> Result<BTreeMap<String, String>, Refused> {
    let object = match env {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(Refused::invalid("env is not an object")),
    };
    if object.len() > MAX_VARIABLES {
        return Err(Refused::invalid(format!(
            "env has more than {MAX_VARIABLES} variables"
        )));
    }
    let mut out = BTreeMap::new();
    for (name, value) in object {
        let shown = clawline::layer::printable(name, 80);
        let bad = |why: &str| Err(Refused::invalid(format!("env[\"{shown}\"] {why}")));
        let mut letters = name.chars();
        let starts = letters
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return bad("is not the name of a variable");
        }
        if name == "PATH" {
            return bad("is fixed on this node");
        }
        match value.as_str() {
            Some(value) if value.len() > MAX_TEXT || value.contains('\0') => {
                return bad("is too long or holds a NUL");
            }
            Some(value) => out.insert(name.clone(), value.to_owned()),
            None => return bad("is not a text"),
        };
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(params: Value) -> String {
        let refused = RunRequest::read(&params).expect_err("refused");
        assert_eq!(refused.code, "INVALID_REQUEST", "{params}");
        refused.message
    }

    #[test]
    fn a_bad_command_is_refused_by_its_index() {
        let many = vec!["x"; 100_000];
        let long = "x".repeat(2 * 1024 * 1024);
        for (params, why) in [
            (json!({}), "command is not an array"),
            (json!({"command": []}), "command is empty"),
            (json!({"command": [""]}), "command[0] is empty"),
            (json!({"command": [" "]}), "command[0] is empty"),
            (json!({"command": ["ls", null]}), "command[1] is not a text"),
            (json!({"command": many}), "command[4096]"),
            (json!({"command": ["echo", long]}), "command[1]"),
            (
                json!({"command": ["echo", "a\u{0}b"]}),
                "command[1] holds a NUL",
            ),
            (
                json!({"command": ["echo\r"]}),
                "command[0] holds a carriage return",
            ),
            (
                json!({"command": ["ls"], "cwd": "tmp"}),
                "cwd is not an absolute path",
            ),
            (
                json!({"command": ["ls"], "env": {"A=B": "c"}}),
                "env[\"A=B\"]",
            ),
            (json!({"command": ["ls"], "env": {"": "c"}}), "env[\"\"]"),
            (
                json!({"command": ["ls"], "env": {"PATH": "/tmp"}}),
                "env[\"PATH\"] is fixed",
            ),
            (json!({"command": ["ls"], "timeoutMs": -1}), "timeoutMs"),
            (json!(["ls"]), "not an object"),
        ] {
            let message = refusal(params.clone());
            assert!(message.contains(why), "{message}");
        }
    }

    #[test]
    fn members_that_no_gateway_sends_are_refused() {
        let message = refusal(json!({"command": ["id"], "preApproved": true}));
        assert!(
            message.contains("unknown property \"preApproved\""),
            "{message}"
        );
    }

    #[test]
    fn an_approval_without_its_id_is_none() {
        let read = |params| RunRequest::read(&params).unwrap().approval;
        assert_eq!(read(json!({"command": ["id"], "approved": true})), None);
        assert_eq!(read(json!({"command": ["id"], "runId": "x"})), None);
        assert_eq!(
            read(json!({"command": ["id"], "approvalDecision": "allow-once", "runId": "x"})),
            None
        );
        let both = json!({"command": ["id"], "approved": true, "runId": "x"});
        assert_eq!(read(both), Some("x".into()));
    }

    #[test]
    fn the_text_that_was_shown_is_that_of_the_command() {
        let message = refusal(json!({"command": ["rm", "-rf", "x"], "rawCommand": "ls"}));
        assert!(message.contains("rawCommand does not match command"));
        for (argv, raw) in [
            (json!(["echo", "a b"]), "echo \"a b\""),
            (json!(["echo", "a b"]), "echo 'a b'"),
            (json!(["/bin/sh", "-lc", "ls | wc"]), "ls | wc"),
            (json!(["ls"]), " ls "),
        ] {
            let params = json!({"command": argv, "rawCommand": raw});
            assert!(RunRequest::read(&params).is_ok(), "{raw}");
        }
    }
}
