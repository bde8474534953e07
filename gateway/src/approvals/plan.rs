//! What exactly a person approves: one command, in one place, for one agent. Pure.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::nodes::SystemRun;

/// The plan that an approval is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Plan {
    /// The command as one text.
    pub(crate) text: String,
    /// Its arguments; version 3 names none.
    pub(crate) argv: Option<Vec<String>>,
    pub(crate) cwd: Option<String>,
    /// The variables, each by [`variable`], sorted.
    pub(crate) env: Vec<String>,
    pub(crate) agent_id: Option<String>,
    pub(crate) session_key: Option<String>,
    /// The node; version 3 names none.
    pub(crate) node_id: Option<String>,
    /// Version 3 asked, which has nothing but the text.
    pub(crate) is_by_text: bool,
}

impl Plan {
    /// The digest in hexadecimal: every part with its length, so that no two plans read the same.
    pub(crate) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |text: Option<&str>| {
            let text = text.map(str::as_bytes);
            let length = text.map_or(u64::MAX, |text| {
                u64::try_from(text.len()).unwrap_or(u64::MAX)
            });
            hash.update(length.to_le_bytes());
            hash.update(text.unwrap_or_default());
        };
        part(Some(&self.text));
        for list in [self.argv.as_deref(), Some(&self.env)] {
            part(list.map(|list| list.len().to_string()).as_deref());
            for text in list.into_iter().flatten() {
                part(Some(text));
            }
        }
        for text in [&self.cwd, &self.agent_id, &self.session_key, &self.node_id] {
            part(text.as_deref());
        }
        part(self.is_by_text.then_some("by text"));
        let digest = hash.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it says enough to let something run on a node: its arguments and the node, or, of
    /// version 3, the text.
    pub(crate) fn is_for_nodes(&self) -> bool {
        self.is_by_text || (self.argv.is_some() && self.node_id.is_some())
    }

    /// The plan of a command that is about to run; `None` where this one is not for nodes, or has
    /// another text.
    pub(crate) fn of_run(&self, run: &SystemRun, node_id: &str) -> Option<Self> {
        if !self.is_for_nodes() || (self.is_by_text && !run.is_approved_as(&self.text)) {
            return None;
        }
        Some(Self {
            // The arguments say it; the text is how they were shown.
            text: self.text.clone(),
            argv: self.argv.as_ref().map(|_| run.argv.clone()),
            cwd: run.cwd.clone(),
            env: run.env.clone(),
            agent_id: run.agent_id.clone(),
            session_key: run.session_key.clone(),
            node_id: self.node_id.as_ref().map(|_| node_id.to_owned()),
            is_by_text: self.is_by_text,
        })
    }
}

/// A variable as a plan names it: its name, and the digest of its value, which may be a secret.
pub(crate) fn variable(name: &str, value: &str) -> String {
    let digest = Sha256::digest(value);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}={hex}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(params: serde_json::Value) -> SystemRun {
        SystemRun::read(Some(&params)).unwrap()
    }

    #[test]
    fn an_approval_covers_the_very_command_and_no_other() {
        let plan = Plan {
            text: "rm x".into(),
            argv: Some(vec!["rm".into(), "x".into()]),
            cwd: Some("/tmp".into()),
            env: vec![variable("A", "1")],
            agent_id: Some("main".into()),
            session_key: Some("agent:main:main".into()),
            node_id: Some("n".into()),
            is_by_text: false,
        };
        let good = json!({
            "command": ["rm", "x"], "cwd": "/tmp", "env": {"A": "1"}, "agentId": "main",
            "sessionKey": "agent:main:main",
        });
        let covers = |params, node| plan.of_run(&run(params), node).as_ref() == Some(&plan);
        assert!(covers(good.clone(), "n"));
        assert!(!covers(good.clone(), "other"), "another node");
        for (member, value) in [
            ("command", json!(["rm", "x", "y"])),
            ("command", json!(["rm x"])),
            ("cwd", json!("/")),
            ("cwd", json!(null)),
            ("env", json!({"A": "1", "LD_PRELOAD": "x"})),
            ("env", json!({"A": "2"})),
            ("agentId", json!("other")),
            ("sessionKey", json!(null)),
        ] {
            let mut other = good.clone();
            other[member] = value;
            assert!(!covers(other.clone(), "n"), "{other}");
        }
    }

    #[test]
    fn a_plan_of_version_3_is_bound_to_its_text() {
        let plan = Plan {
            text: "echo hi".into(),
            agent_id: Some("main".into()),
            is_by_text: true,
            ..Plan::default()
        };
        let covers = |params| plan.of_run(&run(params), "n").as_ref() == Some(&plan);
        assert!(covers(
            json!({"command": ["echo", "hi"], "agentId": "main"})
        ));
        assert!(covers(json!({
            "command": ["/bin/sh", "-lc", "echo hi"], "rawCommand": "echo hi", "agentId": "main",
        })));
        for other in [
            json!(["echo", "ho"]),
            json!(["/opt/evil/sh", "-c", "echo hi"]),
        ] {
            assert!(!covers(json!({"command": other, "agentId": "main"})));
        }
        assert!(!covers(
            json!({"command": ["echo", "hi"], "agentId": "main", "env": {"A": "1"}})
        ));
    }

    #[test]
    fn two_plans_never_read_the_same() {
        let plan = Plan {
            text: "ls".into(),
            ..Plan::default()
        };
        let others = [
            Plan {
                is_by_text: true,
                ..plan.clone()
            },
            Plan {
                argv: Some(vec!["ls".into()]),
                ..plan.clone()
            },
            Plan {
                cwd: Some(String::new()),
                ..plan.clone()
            },
        ];
        for other in others {
            assert_ne!(other.digest(), plan.digest(), "{other:?}");
        }
    }

    #[test]
    fn a_plan_without_arguments_or_node_lets_nothing_run_unless_version_3_asked() {
        let whole = Plan {
            text: "ls".into(),
            argv: Some(vec!["ls".into()]),
            node_id: Some("n".into()),
            ..Plan::default()
        };
        let run = run(json!({"command": ["ls"]}));
        assert!(whole.of_run(&run, "n").is_some());
        let without_arguments = Plan {
            argv: None,
            ..whole.clone()
        };
        let without_node = Plan {
            node_id: None,
            ..whole
        };
        for part in [without_arguments, without_node] {
            assert_eq!(part.of_run(&run, "n"), None, "{part:?}");
        }
    }
}
