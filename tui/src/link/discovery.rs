//! Finding the gateway on the far side: what one fixed script prints, read and judged (DESIGN §9).
//!
//! Only files that the signed-in user can read are looked at. Nothing that was typed becomes part of
//! the script. A token that was found stays in memory.

use std::path::Path;

use clawline::client::Fingerprint;
use clawline::client::dial::Credentials;
use clawline::config::gateway::AuthMode;
use clawline::config::{DEFAULT_PORT, GatewayKind, Warning, parse_openclaw};
use clawline::layer::{Layer, LayerError, printable};
use clawline::notice::GatewayNotice;
use clawline::secret::Secret;
use clawline::secret_text::{self, Kind};

use super::listeners::Listeners;

/// The command. No single quote, exclamation mark or line break inside, so that every login shell hands
/// it to `sh` as it stands.
pub(crate) const COMMAND: &str = concat!(
    "exec sh -c '",
    "m=--clawline-found--; say() { printf \"\\n%s %s\\n\" \"$m\" \"$*\"; }; ",
    "for n in \"$HOME\"/.clawline/gateway.json \"$HOME\"/.clawline/gateway-*.json; do ",
    "if [ -r \"$n\" ]; then say notice \"${n##*/}\"; head -c 16384 \"$n\"; ",
    "p=$(sed -n \"s/.*\\\"pid\\\"[^0-9]*\\([0-9][0-9]*\\).*/\\1/p\" \"$n\" | head -n 1); ",
    "if [ -n \"$p\" ] && kill -0 \"$p\" 2>/dev/null; then say alive; fi; ",
    "t=$(sed -n \"s/.*\\\"tokenFile\\\"[^\\\"]*\\\"\\([^\\\"]*\\)\\\".*/\\1/p\" \"$n\" | head -n 1); ",
    "if [ -n \"$t\" ]; then if [ -r \"$t\" ]; then say token; head -c 4096 \"$t\"; else say token-unreadable; fi; fi; ",
    "elif [ -e \"$n\" ]; then say notice-unreadable \"${n##*/}\"; fi; done; ",
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

/// The notice that clients read who are told no profile.
pub(super) const COMMON_NOTICE: &str = "gateway.json";

/// The longest token that is believed to be one.
const MAX_TOKEN: usize = 4096;

/// The parts of the output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Where the notice is, below `~/.clawline/`.
    pub notice_name: String,
    /// What our gateway says of itself: that of the profile that was asked for.
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

/// What one gateway of ours says of itself.
#[derive(Debug, Default)]
struct Told {
    name: String,
    notice: Part,
    alive: bool,
    token: Part,
}

impl Told {
    /// Of this profile: the file that only its gateway writes, or the common one while it stands there.
    fn is_of(&self, profile: Option<&str>) -> bool {
        let Some(profile) = profile else {
            return self.name == COMMON_NOTICE;
        };
        self.name == format!("gateway-{profile}.json") || {
            let parsed = match &self.notice {
                Part::Text(text) => GatewayNotice::parse(text.expose()).ok(),
                Part::Absent | Part::Unreadable => None,
            };
            self.name == COMMON_NOTICE
                && parsed.is_some_and(|notice| notice.profile.as_deref() == Some(profile))
        }
    }
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
    /// The profile that was asked for, and of which no gateway is there. The port is a guess then, and
    /// may be another gateway's.
    pub missing: Option<MissingProfile>,
    /// For the person.
    pub notes: Vec<String>,
}

/// A profile without a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingProfile {
    profile: String,
    place: String,
    /// Why it cannot be known.
    why: Option<String>,
}

impl MissingProfile {
    /// As the failure of a try. The gateway may be starting.
    pub fn error(&self) -> LayerError {
        let Self {
            profile,
            place,
            why,
        } = self;
        let (what, next) = match why {
            None => (
                format!("no gateway of the profile {profile} runs{}", here(place)),
                format!(
                    "start it there: clawline-gateway --profile {profile} start; without --profile you get the gateway that has none"
                ),
            ),
            Some(why) => (
                format!(
                    "where the gateway of the profile {profile} is cannot be looked up{place}: {why}"
                ),
                "say it with --remote 127.0.0.1:PORT and CLAWLINE_GATEWAY_TOKEN".to_owned(),
            ),
        };
        LayerError::new(Layer::Port, what).next(next)
    }
}

fn here(place: &str) -> &str {
    match place {
        "" => " here",
        place => place,
    }
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
            missing: None,
            notes: vec![note.into()],
        }
    }

    /// Nobody could be asked, for this reason; where a profile was named, nothing stands for it.
    pub fn unasked(profile: Option<&str>, place: &str, why: &str) -> Self {
        let note = format!(
            "the gateway's config could not be looked up{place}: {why}; trying port {DEFAULT_PORT}"
        );
        Self {
            missing: profile.map(|profile| MissingProfile {
                profile: profile.to_owned(),
                place: place.to_owned(),
                why: Some(why.to_owned()),
            }),
            ..Self::nothing(note)
        }
    }
}

/// Splits the output of [`COMMAND`]; of our gateways' it keeps what is about this profile. `None` when the
/// script did not run to its end.
pub(crate) fn split(output: &str, profile: Option<&str>) -> Option<Parts> {
    let mut parts = Parts::default();
    let mut told: Vec<Told> = Vec::new();
    let mut home = String::new();
    let mut complete = false;
    // Whatever a login script printed before the first marker is none of our business.
    for (head, body) in sections(output) {
        let text = || Part::Text(Secret::new(body.strip_suffix('\n').unwrap_or(body)));
        let (word, rest) = head.split_once(' ').unwrap_or((head, ""));
        // What stands below a notice is about the gateway that wrote it.
        match (word, told.last_mut()) {
            ("notice", _) => told.push(Told {
                name: printable(rest, 100),
                notice: text(),
                ..Told::default()
            }),
            ("notice-unreadable", _) => told.push(Told {
                name: printable(rest, 100),
                notice: Part::Unreadable,
                ..Told::default()
            }),
            ("alive", Some(told)) => told.alive = true,
            ("token", Some(told)) => told.token = text(),
            ("token-unreadable", Some(told)) => told.token = Part::Unreadable,
            _ => {}
        }
        match (word, rest) {
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
    // The profile's own file comes after the common one, and says more.
    if let Some(told) = told.into_iter().rfind(|told| told.is_of(profile)) {
        parts.notice_name = told.name;
        parts.notice = told.notice;
        parts.alive = told.alive;
        parts.token = told.token;
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

/// What was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// Which of the two, where both are there.
    pub kind: Option<GatewayKind>,
    /// `--profile`: no gateway without it, or with another one, stands for this.
    pub profile: Option<&'a str>,
}

/// Chooses the gateway: the live one, else ours; `wanted` decides where both are there.
/// `place` names the far side in notes, e.g. ` on desktop`; empty for this machine.
pub(crate) fn choose(parts: &Parts, wanted: Wanted<'_>, place: &str) -> Found {
    let ours = ours(parts, place);
    let mut theirs = theirs(parts, place);
    let is_theirs_named = wanted.kind == Some(GatewayKind::Openclaw);
    // Profiles are ours: OpenClaw's gateway has none.
    if let (Some(profile), false) = (wanted.profile, is_theirs_named) {
        if ours.is_none() {
            return Found {
                missing: Some(MissingProfile {
                    profile: profile.to_owned(),
                    place: place.to_owned(),
                    why: None,
                }),
                listeners: parts.listeners.clone(),
                ..Found::nothing(format!(
                    "no gateway of the profile {profile} runs{}",
                    here(place)
                ))
            };
        }
        theirs = None;
    }
    let mut found = match (ours, theirs) {
        (Some(ours), Some(theirs)) => {
            let take_theirs = match wanted.kind {
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
    let file = &format!("~/.clawline/{}", parts.notice_name);
    let unusable = |why: &str| Candidate {
        found: Found {
            kind: Some(GatewayKind::Clawline),
            ..Found::nothing(format!("{file}{place} {why}; trying port {DEFAULT_PORT}"))
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
        return Some(stale(&notice, file, place));
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
                format!("port {port} and token from {file}{place}"),
            ),
            None => (
                Credentials::default(),
                format!(
                    "port {port} from {file}{place}; its token file {token_file} holds no token"
                ),
            ),
        },
        (Part::Unreadable | Part::Absent, false) => (
            Credentials::default(),
            format!("port {port} from {file}{place}; its token file {token_file} may not be read"),
        ),
        (Part::Unreadable | Part::Absent, true) => (
            Credentials::default(),
            format!("port {port} from {file}{place}, which names no token"),
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
