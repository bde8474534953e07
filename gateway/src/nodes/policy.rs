//! Which commands a node may be asked for at all: by platform, and by what the owner allows and
//! denies. Pure.

use std::collections::BTreeSet;

use crate::settings::NodesSettings;

/// On machines with a shell.
const SYSTEM: &[&str] = &[
    "system.run.prepare",
    "system.run",
    "system.which",
    "system.execApprovals.get",
    "system.execApprovals.set",
    "fs.listDir",
    "terminal.upload",
    "system.notify",
    "browser.proxy",
    "browser.proxy.upload.v1",
    "mcp.tools.call.v1",
    "agent.cli.claude.run.v1",
    "anthropic.claude.sessions.list.v1",
    "anthropic.claude.sessions.read.v1",
    "ollama.chat",
    "ollama.models",
    "screen.snapshot",
    "desktop.stream",
    "computer.act",
];
/// Where it is and what it is.
const WHEREABOUTS: &[&str] = &[
    "camera.list",
    "location.get",
    "device.info",
    "device.status",
];
/// What its person keeps on it.
const PERSONAL: &[&str] = &[
    "contacts.search",
    "calendar.events",
    "reminders.list",
    "photos.latest",
    "motion.activity",
    "motion.pedometer",
];
/// Of a Mac besides.
const MAC: &[&str] = &[
    "camera.ptz.status",
    "device.apps",
    "canvas.present",
    "canvas.hide",
    "canvas.navigate",
    "canvas.eval",
    "canvas.snapshot",
    "canvas.a2ui.push",
    "canvas.a2ui.pushJSONL",
    "canvas.a2ui.reset",
];
const IOS: &[&str] = &["system.notify"];
const ANDROID: &[&str] = &[
    "notifications.list",
    "notifications.actions",
    "system.notify",
    "device.permissions",
    "device.health",
    "device.apps",
    "callLog.search",
    "mobile.ui.observe",
    "mobile.ui.act",
];
const WATCHOS: &[&str] = &["device.info", "device.status", "system.notify"];
const UNKNOWN: &[&str] = &["camera.list", "location.get", "system.notify"];
/// Only where the owner's configuration names them.
const DANGEROUS: &[&str] = &[
    "camera.snap",
    "camera.clip",
    "camera.ptz.control",
    "screen.record",
    "contacts.add",
    "calendar.add",
    "reminders.add",
    "sms.send",
    "sms.search",
    "health.summary",
];
/// Commands that run programs, or reach as far as one: whoever approves them has to be admin.
const FAR_REACHING: &[&str] = &[
    "system.run",
    "system.run.prepare",
    "system.execApprovals.set",
    "terminal.upload",
    "fs.listDir",
    "computer.act",
    "agent.cli.claude.run.v1",
    "mcp.tools.call.v1",
    "browser.proxy",
    "browser.proxy.upload.v1",
];
/// A node's own standing policy: reached through `exec.approvals.node.*` only.
pub(super) const EXEC_APPROVALS: [&str; 2] =
    ["system.execApprovals.get", "system.execApprovals.set"];

/// Why a command is not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    NotAllowlisted,
    NotDeclared,
    NothingDeclared,
}

impl Refused {
    /// In the words of the official gateways.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotAllowlisted => "command not allowlisted",
            Self::NotDeclared => "command not declared by node",
            Self::NothingDeclared => "node did not declare commands",
        }
    }
}

/// The rules of one node.
pub(crate) struct CommandPolicy<'a> {
    base: &'static [&'static [&'static str]],
    settings: &'a NodesSettings,
}

impl<'a> CommandPolicy<'a> {
    /// For a node that says it is of this platform and family. Who says nothing that fits together
    /// gets the short list.
    pub(crate) fn new(
        platform: Option<&str>,
        family: Option<&str>,
        settings: &'a NodesSettings,
    ) -> Self {
        let lower = |text: Option<&str>| text.unwrap_or_default().trim().to_lowercase();
        let (platform, family) = (lower(platform), lower(family));
        let is_family = |wanted: &[&str]| family.is_empty() || wanted.contains(&family.as_str());
        let word = platform.split(' ').next().unwrap_or_default();
        let base: &'static [&'static [&'static str]] = match word {
            "linux" if is_family(&["linux"]) => &[SYSTEM],
            "darwin" | "macos" if is_family(&["mac", "darwin", "macos"]) => {
                &[SYSTEM, WHEREABOUTS, PERSONAL, MAC]
            }
            "win32" | "windows" if is_family(&["windows"]) => &[SYSTEM, WHEREABOUTS],
            "ios" | "ipados" if is_family(&["iphone", "ipad", "ios"]) => {
                &[WHEREABOUTS, PERSONAL, IOS]
            }
            "android" if is_family(&["android"]) => &[WHEREABOUTS, PERSONAL, ANDROID],
            "watchos" if is_family(&["apple watch", "watchos"]) => &[WATCHOS],
            _ => &[UNKNOWN],
        };
        Self { base, settings }
    }

    /// Whether the command may be asked for on this platform.
    pub(crate) fn allows(&self, command: &str) -> bool {
        let names = |list: &[String]| list.iter().any(|entry| entry.trim() == command);
        if names(&self.settings.deny) {
            return false;
        }
        if names(&self.settings.allow) {
            return true;
        }
        !DANGEROUS.contains(&command) && self.base.iter().any(|list| list.contains(&command))
    }

    /// What of the declared commands may be approved, sorted and without doubles.
    pub(crate) fn filter(&self, declared: &[String]) -> Vec<String> {
        let declared: BTreeSet<&str> = declared.iter().map(|text| text.trim()).collect();
        let allowed = declared.into_iter().filter(|command| self.allows(command));
        allowed.map(str::to_owned).collect()
    }

    /// Whether a command that the node declares may be asked for.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, command: &str, declared: &[String]) -> Result<(), Refused> {
        if !self.allows(command) {
            Err(Refused::NotAllowlisted)
        } else if declared.is_empty() {
            Err(Refused::NothingDeclared)
        } else if declared.iter().any(|text| text.trim() == command) {
            Ok(())
        } else {
            Err(Refused::NotDeclared)
        }
    }

    /// The refusal for a person who can change the configuration.
    pub(crate) fn hint(&self, command: &str, platform: Option<&str>, why: Refused) -> String {
        let shown = clawline::layer::printable(command, 80);
        let platform = clawline::layer::printable(platform.unwrap_or("unknown"), 40);
        let is_denied = self
            .settings
            .deny
            .iter()
            .any(|entry| entry.trim() == command);
        let text = match why {
            Refused::NotDeclared => {
                format!("the node (platform: {platform}) does not support \"{shown}\"")
            }
            Refused::NothingDeclared => {
                "the node did not declare any supported commands".to_owned()
            }
            Refused::NotAllowlisted if is_denied => {
                format!("\"{shown}\" is blocked by gateway.nodes.commands.deny")
            }
            Refused::NotAllowlisted if DANGEROUS.contains(&command) => {
                format!("\"{shown}\" requires explicit gateway.nodes.commands.allow opt-in")
            }
            Refused::NotAllowlisted => {
                format!(
                    "\"{shown}\" is not in the allowlist for platform \"{platform}\"; gateway.nodes.commands.allow adds it"
                )
            }
        };
        format!("node command not allowed: {text}")
    }
}

/// The scopes that somebody needs who approves these commands.
pub(crate) fn approve_scopes(commands: &[String]) -> Vec<&'static str> {
    use clawline::protocol::scope::Scope;
    let is_far = |command: &String| FAR_REACHING.contains(&command.as_str());
    let second = match commands {
        [] => None,
        some if some.iter().any(is_far) => Some(Scope::Admin.as_str()),
        _ => Some(Scope::Write.as_str()),
    };
    [Scope::Pairing.as_str()]
        .into_iter()
        .chain(second)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_platform_has_its_commands_and_dangerous_ones_need_an_explicit_word() {
        let plain = NodesSettings::default();
        let linux = CommandPolicy::new(Some("linux"), Some("Linux"), &plain);
        let declared = texts(&[
            "system.run",
            "camera.snap",
            "system.run",
            "file.write",
            "sms.send",
        ]);
        assert_eq!(linux.filter(&declared), ["system.run"]);
        let phone = CommandPolicy::new(Some("iOS 18.1"), Some("iPhone"), &plain);
        assert!(!phone.allows("system.run") && phone.allows("location.get"));
        let opened = NodesSettings {
            allow: texts(&["camera.snap", "file.write"]),
            deny: texts(&["system.run", "file.write"]),
            ..NodesSettings::default()
        };
        let opened = CommandPolicy::new(Some("linux"), None, &opened);
        assert_eq!(
            opened.filter(&declared),
            ["camera.snap"],
            "deny wins over allow"
        );
    }

    #[test]
    fn a_platform_that_does_not_fit_its_family_gets_the_short_list() {
        let plain = NodesSettings::default();
        for (platform, family) in [
            (Some("linux"), Some("iPhone")),
            (None, None),
            (Some("x"), None),
        ] {
            let policy = CommandPolicy::new(platform, family, &plain);
            assert!(!policy.allows("system.run") && policy.allows("system.notify"));
        }
    }

    #[test]
    fn a_refusal_says_what_is_missing() {
        let plain = NodesSettings::default();
        let linux = CommandPolicy::new(Some("linux"), None, &plain);
        let declared = texts(&["system.which"]);
        assert_eq!(linux.check("system.which", &declared), Ok(()));
        assert_eq!(linux.check("nope", &declared), Err(Refused::NotAllowlisted));
        assert_eq!(
            linux.check("system.run", &declared),
            Err(Refused::NotDeclared)
        );
        assert_eq!(
            linux.check("system.run", &[]),
            Err(Refused::NothingDeclared)
        );
    }

    #[test]
    fn running_programs_is_approved_by_an_admin_only() {
        assert_eq!(approve_scopes(&[]), ["operator.pairing"]);
        let notify = texts(&["system.notify"]);
        assert_eq!(
            approve_scopes(&notify),
            ["operator.pairing", "operator.write"]
        );
        let run = texts(&["system.notify", "system.run"]);
        assert_eq!(approve_scopes(&run), ["operator.pairing", "operator.admin"]);
    }
}
