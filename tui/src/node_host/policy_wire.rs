//! `system.execApprovals.get` and `.set`: the list as OpenClaw's gateways and command lines know it.
//!
//! Their entries are patterns; ours are exact commands, written in `commandText`. A gateway may take
//! permissions away; it may add some only where the node was started with `--remote-policy`.

use std::path::Path;

use serde_json::{Value, json};

use super::policy::{Entry, Mode, Policy, PolicyError, PolicyFile, Snapshot};
use super::{Refused, command_text};

/// The agent under which the list stands: every one.
const EVERY_AGENT: &str = "*";

/// Answers `system.execApprovals.get`.
pub(super) fn get(file: &PolicyFile) -> Result<Value, Refused> {
    let snapshot = file.read().map_err(refused)?;
    Ok(shape(file.path(), &snapshot))
}

/// Answers `system.execApprovals.set`.
pub(super) fn set(file: &PolicyFile, params: &Value, may_add: bool) -> Result<Value, Refused> {
    let Some(wanted) = params["file"].as_object() else {
        return Err(Refused::invalid("file is missing"));
    };
    let base = params["baseHash"].as_str();
    if base.is_none() && file.read().map_err(refused)?.exists {
        return Err(refused(PolicyError::Changed));
    }
    let defaults = wanted.get("defaults").unwrap_or(&Value::Null);
    let mode = mode(defaults)?;
    let listed = &wanted.get("agents").unwrap_or(&Value::Null)[EVERY_AGENT]["allowlist"];
    let listed = listed.as_array().map(Vec::as_slice).unwrap_or_default();
    let snapshot = file.change(base, |policy| merge(policy, mode, listed, may_add));
    Ok(shape(file.path(), &snapshot.map_err(refused)?))
}

fn refused(error: PolicyError) -> Refused {
    match error {
        PolicyError::Changed | PolicyError::Refused(_) => Refused::invalid(error.to_string()),
        other => Refused::unavailable(other.to_string()),
    }
}

fn shape(path: &Path, snapshot: &Snapshot) -> Value {
    let (security, ask) = words(snapshot.policy.mode);
    let entries: Vec<Value> = snapshot.policy.allow.iter().map(entry).collect();
    json!({
        "path": path.to_string_lossy(),
        "exists": snapshot.exists,
        "hash": snapshot.hash,
        "file": {
            "version": 1,
            "defaults": {"security": security, "ask": ask},
            "agents": {EVERY_AGENT: {"allowlist": entries}},
        },
    })
}

fn entry(entry: &Entry) -> Value {
    let mut value = json!({
        "id": entry.id,
        "pattern": entry.exe.to_string_lossy(),
        "commandText": command_text::format(&entry.argv),
    });
    if let Some(at) = entry.used_at_ms {
        value["lastUsedAt"] = at.into();
    }
    value
}

/// A mode in OpenClaw's two words.
pub(super) fn words(mode: Mode) -> (&'static str, &'static str) {
    match mode {
        Mode::Deny => ("deny", "off"),
        Mode::Ask => ("allowlist", "always"),
        Mode::Allowlist => ("allowlist", "on-miss"),
    }
}

fn mode(defaults: &Value) -> Result<Option<Mode>, Refused> {
    match (defaults["security"].as_str(), defaults["ask"].as_str()) {
        (None, None) => Ok(None),
        (Some("deny"), _) => Ok(Some(Mode::Deny)),
        (_, Some("always")) => Ok(Some(Mode::Ask)),
        (Some("allowlist"), _) => Ok(Some(Mode::Allowlist)),
        _ => Err(Refused::invalid(
            "this node never runs programs without a list or a person: security deny or allowlist, \
             ask always or on-miss",
        )),
    }
}

/// Takes away what is not there any more, and adds what is new where that is allowed.
fn merge(
    policy: &mut Policy,
    mode: Option<Mode>,
    listed: &[Value],
    may_add: bool,
) -> Result<(), PolicyError> {
    let refuse = |what: &str| {
        Err(PolicyError::Refused(format!(
            "{what} only on the node itself, or where it was started with --remote-policy"
        )))
    };
    if let Some(mode) = mode {
        if mode as u8 > policy.mode as u8 && !may_add {
            return refuse("more is allowed");
        }
        policy.mode = mode;
    }
    let ids: Vec<&str> = listed
        .iter()
        .filter_map(|entry| entry["id"].as_str())
        .collect();
    policy
        .allow
        .retain(|entry| ids.contains(&entry.id.as_str()));
    for wanted in listed {
        let known = policy
            .allow
            .iter()
            .find(|entry| wanted["id"] == entry.id.as_str());
        let text = wanted["commandText"].as_str().unwrap_or_default();
        let pattern = wanted["pattern"].as_str().unwrap_or_default();
        match known {
            Some(known)
                if command_text::format(&known.argv) == text
                    && known.exe.as_os_str() == pattern => {}
            _ if !may_add => return refuse("a command is added"),
            Some(_) => {
                return Err(PolicyError::Refused(
                    "an entry is not changed: remove it and add another".into(),
                ));
            }
            None => policy.allow.push(new_entry(pattern, text)?),
        }
    }
    Ok(())
}

fn new_entry(pattern: &str, text: &str) -> Result<Entry, PolicyError> {
    let argv = command_text::parse(text).filter(|argv| !argv[0].is_empty());
    let Some(argv) = argv else {
        return Err(PolicyError::Refused(
            "this node allows exact commands only: write the whole command in commandText".into(),
        ));
    };
    let error = |why: String| PolicyError::Refused(why);
    super::desk::entry_for(&argv, None)
        .map_err(|refused| error(refused.message))
        .and_then(|entry| match entry.exe.as_os_str() == pattern {
            true => Ok(entry),
            false => Err(error(format!(
                "pattern is not the program of the command, {}",
                entry.exe.display()
            ))),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: &str) -> Entry {
        Entry {
            id: id.into(),
            argv: vec!["uptime".into(), "a b".into()],
            exe: "/usr/bin/uptime".into(),
            sha256: "00".into(),
            cwd: Some("/".into()),
            any_dir: false,
            added_at_ms: 1,
            used_at_ms: None,
        }
    }

    fn world() -> (tempfile::TempDir, PolicyFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = PolicyFile::below(dir.path());
        file.change(None, |policy| {
            policy.mode = Mode::Allowlist;
            policy.allow = vec![listed("a"), listed("b")];
            Ok(())
        })
        .unwrap();
        (dir, file)
    }

    #[test]
    fn a_gateway_may_take_away_and_not_add() {
        let (_dir, file) = world();
        let mut got = get(&file).unwrap();
        assert_eq!(
            got["file"]["defaults"],
            json!({"security": "allowlist", "ask": "on-miss"})
        );
        let list = &mut got["file"]["agents"]["*"]["allowlist"];
        assert_eq!(list[0]["commandText"], "uptime 'a b'");
        list.as_array_mut().unwrap().remove(0);
        let params = json!({"file": got["file"], "baseHash": got["hash"]});
        let after = set(&file, &params, false).unwrap();
        assert_eq!(after["file"]["agents"]["*"]["allowlist"][0]["id"], "b");
        // The hash that was seen is not the latest any more.
        let stale = set(&file, &params, false).expect_err("refused");
        assert!(
            stale.message.contains("changed since last load"),
            "{}",
            stale.message
        );
        let hash = &after["hash"];
        for (file_wanted, why) in [
            (
                json!({"agents": {"*": {"allowlist": [{"pattern": "/usr/bin/id", "commandText": "id"}]}}}),
                "--remote-policy",
            ),
            (
                json!({"defaults": {"security": "full", "ask": "off"}}),
                "never runs programs without",
            ),
        ] {
            let params = json!({"file": file_wanted, "baseHash": hash});
            let refused = set(&file, &params, false).expect_err("refused");
            assert!(refused.message.contains(why), "{}", refused.message);
        }
        assert_eq!(file.read().unwrap().policy.allow.len(), 1);
    }

    #[test]
    fn a_mode_is_made_stricter_and_not_laxer() {
        let (_dir, file) = world();
        let change = |security: &str, ask: &str, may_add| {
            let hash = get(&file).unwrap()["hash"].clone();
            let entries = get(&file).unwrap()["file"]["agents"].clone();
            let wanted = json!({"defaults": {"security": security, "ask": ask}, "agents": entries});
            set(&file, &json!({"file": wanted, "baseHash": hash}), may_add).map(drop)
        };
        change("deny", "off", false).unwrap();
        assert!(change("allowlist", "on-miss", false).is_err());
        assert_eq!(file.read().unwrap().policy.mode, Mode::Deny);
        change("allowlist", "on-miss", true).unwrap();
        assert_eq!(file.read().unwrap().policy.mode, Mode::Allowlist);
    }

    #[test]
    fn patterns_and_wrappers_are_not_added_even_where_a_gateway_may_add() {
        let (_dir, file) = world();
        for (pattern, text) in [
            ("/usr/bin/*", ""),
            ("/usr/bin/env", "env id"),
            ("/bin/sh", "sh -c id"),
            ("/nowhere", "uname"),
        ] {
            let hash = get(&file).unwrap()["hash"].clone();
            let wanted = json!({"agents": {"*": {"allowlist": [{"pattern": pattern, "commandText": text}]}}});
            let refused = set(&file, &json!({"file": wanted, "baseHash": hash}), true);
            assert_eq!(
                refused.expect_err("refused").code,
                "INVALID_REQUEST",
                "{pattern} {text}"
            );
        }
    }
}
