//! Finding the gateway on the far side: what one fixed script prints, read and judged (DESIGN §9).
//!
//! Only files that the signed-in user can read are looked at. Nothing that was typed becomes part of
//! the script. A token that was found stays in memory.

use std::path::Path;

use clawline::client::Fingerprint;
use clawline::client::dial::Credentials;
use clawline::config::gateway::AuthMode;
use clawline::config::{DEFAULT_PORT, GatewayKind, Warning, parse_openclaw};
use clawline::layer::printable;
use clawline::notice::GatewayNotice;
use clawline::secret::Secret;
use clawline::secret_text::{self, Kind};

use super::listeners::Listeners;

/// The command. No single quote, exclamation mark or line break inside, so that every login shell hands
/// it to `sh` as it stands.
pub(crate) const COMMAND: &str = concat!(
    "exec sh -c '",
    "m=--clawline-found--; say() { printf \"\\n%s %s\\n\" \"$m\" \"$*\"; }; ",
    "n=\"$HOME/.clawline/gateway.json\"; ",
    "if [ -r \"$n\" ]; then say notice; head -c 16384 \"$n\"; ",
    "p=$(sed -n \"s/.*\\\"pid\\\"[^0-9]*\\([0-9][0-9]*\\).*/\\1/p\" \"$n\" | head -n 1); ",
    "if [ -n \"$p\" ] && kill -0 \"$p\" 2>/dev/null; then say alive; fi; ",
    "t=$(sed -n \"s/.*\\\"tokenFile\\\"[^\\\"]*\\\"\\([^\\\"]*\\)\\\".*/\\1/p\" \"$n\" | head -n 1); ",
    "if [ -n \"$t\" ]; then if [ -r \"$t\" ]; then say token; head -c 4096 \"$t\"; else say token-unreadable; fi; fi; ",
    "elif [ -e \"$n\" ]; then say notice-unreadable; fi; ",
    "c=\"${OPENCLAW_CONFIG_PATH:-${OPENCLAW_STATE_DIR:-$HOME/.openclaw}/openclaw.json}\"; ",
    "say path \"$c\"; say home \"$HOME\"; ",
    "if [ -r \"$c\" ]; then say openclaw; head -c 196608 \"$c\"; ",
    "elif [ -e \"$c\" ]; then say openclaw-unreadable; fi; ",
    "say uid \"$(id -u)\"; say ports; ",
    "sed -n \"s/^ *[0-9]*: \\([0-9A-F]*:[0-9A-F]*\\) [0-9A-F]*:0000 0A [^ ]* [^ ]* [^ ]*  *\\([0-9]*\\) .*/\\1 \\2/p\" ",
    "/proc/net/tcp /proc/net/tcp6 2>/dev/null | sort -u; ",
    "say end'",
);

/// What starts the line between two parts of the output.
const MARKER: &str = "--clawline-found-- ";

/// The longest token that is believed to be one.
const MAX_TOKEN: usize = 4096;

/// The parts of the output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// `~/.clawline/gateway.json`.
    pub notice: Part,
    /// The process it names is there.
    pub alive: bool,
    /// The token file it names.
    pub token: Part,
    /// OpenClaw's config file.
    pub openclaw: Part,
    /// Where that is, with `~` for the home directory.
    pub openclaw_path: String,
    /// What listens there.
    pub listeners: Listeners,
}

/// One file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Part {
    /// There is none.
    #[default]
    Absent,
    /// There is one that may not be read.
    Unreadable,
    /// Its text.
    Text(Secret),
}

/// What to use, and how that came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The gateway's port on the far side.
    pub port: u16,
    /// What it may be shown; empty when a person has to be asked.
    pub credentials: Credentials,
    /// The port speaks TLS.
    pub tls: bool,
    /// Its certificate, where the notice says which.
    pub pin: Option<Fingerprint>,
    /// Whose it is; `None` when nothing was found.
    pub kind: Option<GatewayKind>,
    /// The process that said so is gone. It may be starting again: another look may find more.
    pub is_stale: bool,
    /// What listens there.
    pub listeners: Listeners,
    /// For the person.
    pub notes: Vec<String>,
}

impl Found {
    /// Nothing was found, for this reason.
    pub fn nothing(note: impl Into<String>) -> Self {
        Self {
            port: DEFAULT_PORT,
            credentials: Credentials::default(),
            tls: false,
            pin: None,
            kind: None,
            is_stale: false,
            listeners: Listeners::default(),
            notes: vec![note.into()],
        }
    }
}

/// Splits the output of [`COMMAND`]. `None` when the script did not run to its end.
pub(crate) fn split(output: &str) -> Option<Parts> {
    let mut parts = Parts::default();
    let mut home = String::new();
    let mut complete = false;
    // Whatever a login script printed before the first marker is none of our business.
    for (head, body) in sections(output) {
        let text = || Part::Text(Secret::new(body.strip_suffix('\n').unwrap_or(body)));
        match head.split_once(' ').unwrap_or((head, "")) {
            ("notice", _) => parts.notice = text(),
            ("notice-unreadable", _) => parts.notice = Part::Unreadable,
            ("alive", _) => parts.alive = true,
            ("token", _) => parts.token = text(),
            ("token-unreadable", _) => parts.token = Part::Unreadable,
            ("openclaw", _) => parts.openclaw = text(),
            ("openclaw-unreadable", _) => parts.openclaw = Part::Unreadable,
            ("path", path) => parts.openclaw_path = printable(path, 512),
            ("home", path) => home = printable(path, 512),
            ("uid", uid) => parts.listeners.own = uid.trim().parse().ok(),
            ("ports", _) => parts.listeners.sockets = Listeners::parse(body),
            ("end", _) => complete = true,
            _ => {}
        }
    }
    if let Some(rest) = parts.openclaw_path.strip_prefix(&home)
        && !home.is_empty()
        && rest.starts_with('/')
    {
        parts.openclaw_path = format!("~{rest}");
    }
    complete.then_some(parts)
}

/// The marked sections: what stands behind the marker, and the text up to the next one.
fn sections(output: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut starts: Vec<usize> = output
        .match_indices(MARKER)
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || output.as_bytes().get(at - 1) == Some(&b'\n'))
        .collect();
    starts.push(output.len());
    let ranges: Vec<_> = starts.windows(2).map(|w| (w[0], w[1])).collect();
    ranges.into_iter().filter_map(|(start, end)| {
        let section = output.get(start + MARKER.len()..end)?;
        Some(section.split_once('\n').unwrap_or((section, "")))
    })
}

/// Chooses the gateway: the live one, else ours; `wanted` decides where both are there.
/// `place` names the far side in notes, e.g. ` on desktop`; empty for this machine.
pub(crate) fn choose(parts: &Parts, wanted: Option<GatewayKind>, place: &str) -> Found {
    let ours = ours(parts, place);
    let theirs = theirs(parts, place);
    let mut found = match (ours, theirs) {
        (Some(ours), Some(theirs)) => {
            let take_theirs = match wanted {
                Some(kind) => kind == GatewayKind::Openclaw,
                None => is_theirs_better(parts, &ours, &theirs),
            };
            let (mut chosen, other, name) = if take_theirs {
                (theirs.found, ours.found, "clawline-gateway's")
            } else {
                (ours.found, theirs.found, "OpenClaw's")
            };
            chosen.notes.push(format!(
                "{name} gateway is configured{place} too, on port {}; hosts.NAME.gateway chooses",
                other.port
            ));
            // The other one may be starting again.
            chosen.is_stale |= other.is_stale;
            chosen
        }
        (Some(candidate), None) | (None, Some(candidate)) => candidate.found,
        (None, None) => Found::nothing(format!(
            "no gateway is configured{place}; trying port {DEFAULT_PORT}"
        )),
    };
    found.listeners = parts.listeners.clone();
    found
}

/// Both are there and nobody said which. A notice that cannot be read says nothing, and a notice whose
/// process is gone says less than a port that is served.
fn is_theirs_better(parts: &Parts, ours: &Candidate, theirs: &Candidate) -> bool {
    let is_served = parts.listeners.is_served(theirs.found.port);
    if !ours.is_usable {
        return theirs.is_usable || is_served == Some(true);
    }
    let is_same_port = ours.found.port == theirs.found.port;
    ours.found.is_stale && is_served.unwrap_or(is_same_port)
}

/// One of the two gateways.
struct Candidate {
    found: Found,
    /// Its file could be read.
    is_usable: bool,
}

fn ours(parts: &Parts, place: &str) -> Option<Candidate> {
    const FILE: &str = "~/.clawline/gateway.json";
    let unusable = |why: &str| Candidate {
        found: Found {
            kind: Some(GatewayKind::Clawline),
            ..Found::nothing(format!("{FILE}{place} {why}; trying port {DEFAULT_PORT}"))
        },
        is_usable: false,
    };
    let text = match &parts.notice {
        Part::Absent => return None,
        Part::Unreadable => return Some(unusable("may not be read")),
        Part::Text(text) => text,
    };
    let Ok(notice) = GatewayNotice::parse(text.expose()) else {
        return Some(unusable("is damaged"));
    };
    if !parts.alive {
        return Some(stale(&notice, FILE, place));
    }
    let port = notice.port;
    let token_file = notice
        .token_file
        .as_deref()
        .map(|path| printable(&path.to_string_lossy(), 200))
        .unwrap_or_default();
    let (credentials, note) = match (&parts.token, token_file.is_empty()) {
        (Part::Text(token), _) => match believable(token) {
            Some(token) => (
                Credentials::token(token),
                format!("port {port} and token from {FILE}{place}"),
            ),
            None => (
                Credentials::default(),
                format!(
                    "port {port} from {FILE}{place}; its token file {token_file} holds no token"
                ),
            ),
        },
        (Part::Unreadable | Part::Absent, false) => (
            Credentials::default(),
            format!("port {port} from {FILE}{place}; its token file {token_file} may not be read"),
        ),
        (Part::Unreadable | Part::Absent, true) => (
            Credentials::default(),
            format!("port {port} from {FILE}{place}, which names no token"),
        ),
    };
    Some(Candidate {
        found: Found {
            port,
            credentials,
            tls: notice.tls,
            pin: pin(&notice),
            kind: Some(GatewayKind::Clawline),
            ..Found::nothing(note)
        },
        is_usable: true,
    })
}

fn pin(notice: &GatewayNotice) -> Option<Fingerprint> {
    Fingerprint::parse(notice.tls_fingerprint.as_deref()?)
}

/// A notice whose process is gone: whatever listens on its port is something else, until it is written
/// anew. So its token stays where it is.
fn stale(notice: &GatewayNotice, file: &str, place: &str) -> Candidate {
    let note = format!(
        "port {} from {file}{place}; the clawline-gateway that wrote it (pid {}) is not running, so \
         its token is not shown",
        notice.port, notice.pid
    );
    Candidate {
        found: Found {
            port: notice.port,
            tls: notice.tls,
            pin: pin(notice),
            kind: Some(GatewayKind::Clawline),
            is_stale: true,
            ..Found::nothing(note)
        },
        is_usable: true,
    }
}

fn theirs(parts: &Parts, place: &str) -> Option<Candidate> {
    let file = match parts.openclaw_path.as_str() {
        "" => "openclaw.json",
        path => path,
    };
    let unusable = |why: &str| Candidate {
        found: Found {
            kind: Some(GatewayKind::Openclaw),
            ..Found::nothing(format!("{file}{place} {why}; trying port {DEFAULT_PORT}"))
        },
        is_usable: false,
    };
    let text = match &parts.openclaw {
        Part::Absent => return None,
        Part::Unreadable => return Some(unusable("may not be read")),
        Part::Text(text) => text,
    };
    let Ok(read) = parse_openclaw(text.expose(), Path::new(file)) else {
        return Some(unusable("cannot be read as JSON5"));
    };
    let port = read.gateway.port;
    let port_said = if read.set.iter().any(|key| key == "gateway.port") {
        format!("port {port}")
    } else {
        format!("default port {port}")
    };
    let auth = &read.gateway.auth;
    let unresolved = read.warnings.iter().find_map(|warning| match warning {
        Warning::Unusable { key, why, .. } if key.starts_with("gateway.auth.") => {
            Some(format!("{key} {why}"))
        }
        Warning::Unusable { .. }
        | Warning::LineBreak { .. }
        | Warning::OpenToOthers { .. }
        | Warning::WithoutEffect { .. } => None,
    });
    let mode = auth.mode.unwrap_or(match (&auth.token, &auth.password) {
        (None, Some(_)) => AuthMode::Password,
        _ => AuthMode::Token,
    });
    let (credentials, note) = match (mode, &auth.token) {
        (AuthMode::Token, Some(token)) => (
            Credentials::token(token.clone()),
            format!("{port_said} and token from {file}{place}"),
        ),
        (AuthMode::None, _) => (
            Credentials::default(),
            format!("{port_said} from {file}{place}, which asks for no token"),
        ),
        (AuthMode::Password, _) => (
            Credentials::default(),
            format!("{port_said} from {file}{place}; the gateway wants its password"),
        ),
        (AuthMode::TrustedProxy, _) => (
            Credentials::default(),
            format!(
                "{port_said} from {file}{place}; the gateway lets people in through a proxy only"
            ),
        ),
        (AuthMode::Token, None) => {
            let why = match unresolved {
                Some(why) => why,
                None if read.has_include => {
                    "part of it is in another file ($include), and the token is not in this one"
                        .into()
                }
                None => "there is no gateway.auth.token in it".into(),
            };
            (
                Credentials::default(),
                format!("{port_said} from {file}{place}; {why}"),
            )
        }
    };
    Some(Candidate {
        found: Found {
            port,
            credentials,
            tls: read.gateway.tls.enabled,
            kind: Some(GatewayKind::Openclaw),
            ..Found::nothing(note)
        },
        is_usable: true,
    })
}

/// A token file's content as a token.
fn believable(text: &Secret) -> Option<Secret> {
    let token = secret_text::read(text.expose(), Kind::Token).ok()?.secret;
    let good =
        token.expose().len() < MAX_TOKEN && token.expose().chars().all(|c| c.is_ascii_graphic());
    good.then_some(token)
}

#[cfg(test)]
mod tests;
