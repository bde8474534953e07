//! Where on this machine the gateway lives, and how the machine is called: whole for admins, and for
//! everybody else without directories and without the machine's name.

use std::path::{Path, PathBuf};

use clawline::protocol::methods::system::HealthReply;
use clawline::protocol::scope::{Needs, Scope};
use serde_json::Value;

use crate::conn::Principal;
use crate::state::App;

/// Stands in the place of the machine's name.
const NAMELESS: &str = "gateway";
/// What ends a path in a text.
const ENDS: &str = "\"'`\\,;:()[]{}<>|";

/// What a caller is told of it.
#[derive(Debug, Clone)]
pub(crate) struct Whereabouts {
    is_whole: bool,
    host: String,
    /// Directories of the gateway and of its user; longer ones first.
    dirs: Vec<String>,
}

impl App {
    /// For this caller.
    pub(crate) fn whereabouts(&self, principal: &Principal) -> Whereabouts {
        let is_admin = principal.satisfies(Needs::Operator(Scope::Admin));
        self.whereabouts_if(is_admin || !self.policy.private_machine)
    }

    /// For admins, or for everybody else.
    pub(crate) fn whereabouts_if(&self, is_whole: bool) -> Whereabouts {
        let settings = self.settings();
        let dirs = [
            Some(settings.state_dir.clone()),
            settings.config.path.parent().map(Path::to_owned),
            std::env::home_dir(),
        ];
        Whereabouts::new(is_whole, &settings.host, dirs.into_iter().flatten())
    }
}

impl Whereabouts {
    /// True for admins.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn new(is_whole: bool, host: &str, dirs: impl Iterator<Item = PathBuf>) -> Self {
        let mut dirs: Vec<String> = dirs
            .map(|dir| dir.to_string_lossy().trim_end_matches('/').to_owned())
            .filter(|dir| dir.starts_with('/'))
            .collect();
        dirs.sort_by_key(|dir| std::cmp::Reverse(dir.len()));
        dirs.dedup();
        Self {
            is_whole,
            host: host.to_owned(),
            dirs,
        }
    }

    /// The machine's name, or a word that says nothing.
    pub(crate) fn host(&self) -> &str {
        match self.is_whole {
            true => &self.host,
            false => NAMELESS,
        }
    }

    /// A path, or its last name.
    pub(crate) fn path(&self, path: &Path) -> String {
        let told = match self.is_whole {
            true => path.as_os_str(),
            false => path.file_name().unwrap_or_default(),
        };
        told.to_string_lossy().into_owned()
    }

    /// A text of ours, or that without the directories of its paths and without the machine's name.
    pub(crate) fn text(&self, text: &str) -> String {
        match self.is_whole {
            true => text.to_owned(),
            false => self.without_host(&last_names(&self.without_dirs(text))),
        }
    }

    /// A text with words of others in it: only what is ours is left out.
    pub(crate) fn foreign_text(&self, text: &str) -> String {
        match self.is_whole {
            true => text.to_owned(),
            false => self.without_dirs(text),
        }
    }

    /// A configuration, or that without directories and the machine's name in its values.
    pub(crate) fn value(&self, value: Value) -> Value {
        if self.is_whole {
            return value;
        }
        match value {
            Value::String(text) if text.starts_with('/') => self.path(Path::new(&text)).into(),
            Value::String(text) => self.text(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, member)| (name, self.value(member)))
                .collect(),
            other => other,
        }
    }

    /// A report, or that without the directories of the store and of what failed.
    pub(crate) fn health(&self, mut report: HealthReply) -> HealthReply {
        if self.is_whole {
            return report;
        }
        report.sessions.path = self.path(Path::new(&report.sessions.path));
        for agent in &mut report.agents {
            if let Some(Value::String(path)) = agent.pointer_mut("/sessions/path") {
                *path = self.path(Path::new(path.as_str()));
            }
        }
        for name in ["config", "store"] {
            if let Some(said) = report.more.get_mut(name) {
                *said = self.texts(said.take());
            }
        }
        report
    }

    /// Texts of ours in lists and members.
    fn texts(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.text(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.texts(item)).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, member)| (name, self.texts(member)))
                .collect(),
            other => other,
        }
    }

    fn without_dirs(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for dir in &self.dirs {
            let name = dir.rsplit('/').next().unwrap_or_default();
            text = replaced(&text, dir, |rest| match rest.strip_prefix('/') {
                Some(_) => ("", 1),
                None => (name, 0),
            });
        }
        text
    }

    /// The name goes as a whole, and as the first label of another: that is how networks call the machine,
    /// mostly in small letters.
    fn without_host(&self, text: &str) -> String {
        let small = self.host.to_ascii_lowercase();
        [self.host.as_str(), small.as_str()]
            .into_iter()
            .flat_map(|host| [host, host.split('.').next().unwrap_or_default()])
            .filter(|name| !name.is_empty())
            .fold(text.to_owned(), |text, name| {
                replaced(&text, name, |_| (NAMELESS, 0))
            })
    }
}

/// Puts something into the place of each `what` that stands for itself: no letter, digit, `-` or `_` before
/// or behind it. `with` sees the rest, and says how many bytes of it go, too.
fn replaced<'w>(text: &str, what: &str, with: impl Fn(&str) -> (&'w str, usize)) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(what) {
        let (before, found) = rest.split_at(at);
        let behind = found.get(what.len()..).unwrap_or_default();
        out.push_str(before);
        let is_part = out.ends_with(is_word) || behind.starts_with(is_word);
        let (new, more) = if is_part { (what, 0) } else { with(behind) };
        out.push_str(new);
        rest = behind.get(more..).unwrap_or_default();
    }
    out + rest
}

/// Leaves the last name of each absolute path in a text that has more than one. URLs stay.
fn last_names(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || ENDS.contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('/') {
        let (before, path) = rest.split_at(at);
        let begins = before
            .chars()
            .next_back()
            .or_else(|| out.chars().next_back())
            .is_none_or(|c| is_end(c) || c == '=');
        let length = path.find(is_end).unwrap_or(path.len());
        let (path, behind) = path.split_at(length);
        out.push_str(before);
        let whole = path.trim_end_matches('/');
        match whole.rsplit_once('/') {
            Some((dir, name)) if begins && !dir.is_empty() && !path.starts_with("//") => {
                out.push_str(name);
            }
            _ => out.push_str(path),
        }
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn told(is_whole: bool) -> Whereabouts {
        let dirs = ["/home/me/.local/state/gw", "/home/me", "/"].map(PathBuf::from);
        Whereabouts::new(is_whole, "box.lan", dirs.into_iter())
    }

    #[test]
    fn directories_are_for_admins_and_what_is_no_path_stays() {
        for (text, others) in [
            ("/home/me/.local/state/gw/db is damaged", "db is damaged"),
            (
                "cannot read /home/me/.local/state/gw: no",
                "cannot read gw: no",
            ),
            (
                "/home/me/a file.json5:1:2: gateway.port",
                "a file.json5:1:2: gateway.port",
            ),
            ("in /home/me, and /home/mean/x", "in me, and x"),
            (
                "cert=/etc/ssl/private/key.pem (/etc/x/y/)",
                "cert=key.pem (y)",
            ),
            (r#"{"1":"path=\"/etc/a/b\""}"#, r#"{"1":"path=\"b\""}"#),
            ("GET /healthz", "GET /healthz"),
            (
                "ws://127.0.0.1:1/v1/x and text/plain",
                "ws://127.0.0.1:1/v1/x and text/plain",
            ),
            ("1/2 and/or a / b //", "1/2 and/or a / b //"),
            (
                "published name=box.tailnet.ts.net, of box.lan",
                "published name=gateway.tailnet.ts.net, of gateway",
            ),
            ("a mailbox, a box-car", "a mailbox, a box-car"),
            ("", ""),
        ] {
            assert_eq!(told(true).text(text), text);
            assert_eq!(told(false).text(text), others, "{text}");
        }
        let peer = "/home/me/x: no /usr/bin/thing";
        assert_eq!(told(false).foreign_text(peer), "x: no /usr/bin/thing");
        let path = Path::new("/home/me/x");
        assert_eq!(
            (told(true).path(path), told(false).path(path)),
            ("/home/me/x".into(), "x".into())
        );
        assert_eq!(
            (told(true).host(), told(false).host()),
            ("box.lan", "gateway")
        );
    }

    #[test]
    fn a_name_in_capitals_is_known_in_small_letters_too() {
        let told = Whereabouts::new(false, "MyBox", std::iter::empty());
        let text = "MyBox, or mybox.tailnet.ts.net";
        assert_eq!(told.text(text), "gateway, or gateway.tailnet.ts.net");
    }

    #[test]
    fn a_configuration_keeps_its_keys_and_loses_paths_and_the_machine_s_name() {
        let config = json!({
            "/home/me/x": {"certPath": "/etc/ssl/my cert.pem", "n": 1},
            "allowedHosts": ["box.lan", "box", "box.other", "mailbox", "https://box.lan:1/"],
        });
        assert_eq!(told(true).value(config.clone()), config);
        assert_eq!(
            told(false).value(config),
            json!({
                "/home/me/x": {"certPath": "my cert.pem", "n": 1},
                "allowedHosts": ["gateway", "gateway", "gateway.other", "mailbox", "https://gateway:1/"],
            })
        );
    }

    proptest! {
        #[test]
        fn any_text_can_be_told(text in any::<String>(), path in "(/[a-z/.:]{0,9}){0,4}") {
            let told = told(false);
            let text = format!("{text}{path} /home/me/.local/state/gw/{text}");
            prop_assert!(!told.text(&text).contains("/home/me/.local/state/gw/"));
            prop_assert!(!told.foreign_text(&text).contains(" /home/me/.local/state/gw/"));
            let _ = told.value(json!([text, path]));
        }
    }
}
