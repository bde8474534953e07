//! What a node declares, and whether it has to be approved. Pure.

use clawline::layer::printable;
use serde_json::Value;

use super::policy::CommandPolicy;
use crate::store::{Node, Surface};

/// Commands and capabilities that one node may declare; the rest is left out.
const MAX_DECLARED: usize = 256;
/// Longest name of a command or capability, in bytes.
const MAX_NAME: usize = 128;
/// Longest PATH that is kept, in characters.
const MAX_PATH_ENV: usize = 4096;
/// Largest `permissions` that are kept, in bytes.
const MAX_PERMISSIONS: usize = 8 * 1024;

/// What a connection of the node role says it can do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    pub(crate) caps: Vec<String>,
    pub(crate) commands: Vec<String>,
    pub(crate) permissions: Option<Value>,
    pub(crate) path_env: Option<String>,
    /// The gateway's own user, on this machine: its device was, or would be, paired silently.
    pub(crate) is_own: bool,
}

impl Claims {
    /// Bounded and harmless, from what was sent.
    pub(crate) fn new(
        caps: &[String],
        commands: &[String],
        permissions: Option<Value>,
        path_env: Option<&str>,
        is_own: bool,
    ) -> Self {
        let names = |texts: &[String]| -> Vec<String> {
            let is_name = |text: &&str| {
                !text.is_empty()
                    && text.len() <= MAX_NAME
                    && text.chars().all(|c| c.is_ascii_graphic())
            };
            let trimmed = texts.iter().map(|text| text.trim()).filter(is_name);
            let mut names: Vec<String> = trimmed.map(str::to_owned).collect();
            names.sort_unstable();
            names.dedup();
            names.truncate(MAX_DECLARED);
            names
        };
        Self {
            caps: names(caps),
            commands: names(commands),
            permissions: permissions.filter(|value| value.to_string().len() <= MAX_PERMISSIONS),
            path_env: path_env.map(|text| printable(text, MAX_PATH_ENV)),
            is_own,
        }
    }

    /// Permissions without what would hide or steer something on the screen of whoever looks.
    pub(crate) fn with_clean_permissions(mut self) -> Self {
        self.permissions = self.permissions.map(clean);
        self
    }

    /// What of it may be approved.
    pub(crate) fn surface(&self, policy: &CommandPolicy<'_>) -> Surface {
        Surface {
            caps: self.caps.clone(),
            commands: policy.filter(&self.commands),
        }
    }
}

/// A value that a node tells of itself, with every text and name in it fit to be shown.
pub(crate) fn clean(value: Value) -> Value {
    let shown = |text: &str| printable(text, usize::MAX);
    match value {
        Value::String(text) => Value::String(shown(&text)),
        Value::Array(items) => items.into_iter().map(clean).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, member)| (shown(&name), clean(member)))
            .collect(),
        other => other,
    }
}

/// What a node's connect asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing that is not approved already.
    Nothing,
    /// It is approved without anybody being asked.
    ApproveNow,
    /// Somebody has to approve it.
    Ask,
}

/// Decides about what a node declares; `needs_no_approval` is version 3 of the gateway's own user.
pub(super) fn decide(asked: &Surface, node: &Node, needs_no_approval: bool) -> Step {
    let is_covered = node.approved.as_ref().is_some_and(|held| {
        let has = |held: &[String], asked: &[String]| asked.iter().all(|name| held.contains(name));
        has(&held.commands, &asked.commands) && has(&held.caps, &asked.caps)
    });
    if is_covered || (asked.commands.is_empty() && asked.caps.is_empty()) {
        Step::Nothing
    } else if needs_no_approval {
        Step::ApproveNow
    } else {
        Step::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surface(commands: &[&str]) -> Surface {
        Surface {
            caps: vec!["system".into()],
            commands: commands.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn only_what_was_never_approved_is_asked_for() {
        let fresh = Node::default();
        let known = Node {
            approved: Some(surface(&["system.run", "system.which"])),
            ..Node::default()
        };
        let which = surface(&["system.which"]);
        let more = surface(&["system.notify", "system.which"]);
        for (asked, node, silent, step) in [
            (&which, &fresh, false, Step::Ask),
            (&which, &fresh, true, Step::ApproveNow),
            (&which, &known, false, Step::Nothing),
            (&more, &known, false, Step::Ask),
            (&Surface::default(), &fresh, false, Step::Nothing),
        ] {
            assert_eq!(decide(asked, node, silent), step, "{asked:?}");
        }
    }

    #[test]
    fn what_is_no_name_is_left_out() {
        let long = "x".repeat(MAX_NAME + 1);
        let sent = ["b", " a ", "", "a", "a b", "\u{1b}[2J", long.as_str()];
        let sent: Vec<String> = sent.iter().map(|text| (*text).to_owned()).collect();
        let claims = Claims::new(&sent, &sent, None, None, false);
        assert_eq!(claims.commands, ["a", "b"]);
    }
}
