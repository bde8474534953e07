//! Finding the gateway on the far side: what one fixed script prints, read and judged (DESIGN §9).
//!
//! Only files that the signed-in user can read are looked at. Nothing that was typed becomes part of
//! the script. A token that was found stays in memory.

use std::path::Path;

use clawline::client::dial::Credentials;
use clawline::config::gateway::AuthMode;
use clawline::config::{DEFAULT_PORT, GatewayKind, Warning, parse_openclaw};
use clawline::layer::printable;
use clawline::notice::GatewayNotice;
use clawline::secret::Secret;

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
            kind: Some(GatewayKind::Clawline),
            ..Found::nothing(note)
        },
        is_usable: true,
    })
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
        Warning::Unusable { .. } | Warning::OpenToOthers { .. } => None,
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
    let token = text.expose().trim();
    let good =
        !token.is_empty() && token.len() < MAX_TOKEN && token.chars().all(|c| c.is_ascii_graphic());
    good.then(|| Secret::new(token))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::super::listeners::{Holder, Listener};
    use super::*;

    const OURS: GatewayKind = GatewayKind::Clawline;
    const THEIRS: GatewayKind = GatewayKind::Openclaw;

    fn text(text: &str) -> Part {
        Part::Text(Secret::new(text))
    }

    fn openclaw(content: &str) -> Parts {
        Parts {
            openclaw: text(content),
            openclaw_path: "~/.openclaw/openclaw.json".into(),
            ..Parts::default()
        }
    }

    const NOTICE: &str = r#"{"version":1,"pid":7,"port":19001,"tokenFile":"/s/token"}"#;

    #[test]
    fn openclaw_s_token_is_used_or_it_is_said_why_not() {
        for (content, port, token, note) in [
            (
                "{gateway:{port:5,auth:{token:'t'}}}",
                5,
                Some("t"),
                "port 5 and token from ~/.openclaw/openclaw.json on desktop",
            ),
            (
                "{gateway:{auth:{mode:'token',token:'t'}}}",
                18789,
                Some("t"),
                "default port 18789 and token from",
            ),
            (
                "{gateway:{auth:{token:{source:'env',provider:'x',id:'Y'}}}}",
                18789,
                None,
                "gateway.auth.token is a reference to a secret",
            ),
            (
                "{gateway:{auth:{token:'${TOKEN}'}}}",
                18789,
                None,
                "gateway.auth.token holds ${…}",
            ),
            (
                "{'$include':'./other.json5',gateway:{port:6}}",
                6,
                None,
                "$include",
            ),
            (
                "{gateway:{auth:{mode:'password',password:'p',token:'t'}}}",
                18789,
                None,
                "wants its password",
            ),
            (
                "{gateway:{auth:{mode:'none'}}}",
                18789,
                None,
                "asks for no token",
            ),
            ("{}", 18789, None, "there is no gateway.auth.token in it"),
            (
                "{gateway:",
                18789,
                None,
                "cannot be read as JSON5; trying port 18789",
            ),
        ] {
            let found = choose(&openclaw(content), None, " on desktop");
            assert_eq!(found.port, port, "{content}");
            assert_eq!(
                found.credentials.token.as_ref().map(Secret::expose),
                token,
                "{content}"
            );
            assert!(
                found.notes[0].contains(note),
                "{content}: {:?}",
                found.notes
            );
        }
    }

    #[test]
    fn what_may_not_be_read_is_said_and_nothing_is_guessed() {
        let parts = Parts {
            openclaw: Part::Unreadable,
            ..Parts::default()
        };
        let found = choose(&parts, None, " on desktop");
        assert!(found.credentials.is_empty());
        assert!(
            found.notes[0].contains("may not be read"),
            "{:?}",
            found.notes
        );
        let found = choose(&Parts::default(), None, " on desktop");
        assert_eq!(
            found.notes,
            ["no gateway is configured on desktop; trying port 18789"]
        );
        let parts = Parts {
            notice: text(NOTICE),
            token: Part::Unreadable,
            alive: true,
            ..Parts::default()
        };
        let found = choose(&parts, None, "");
        assert_eq!((found.port, found.credentials.is_empty()), (19001, true));
        assert!(
            found.notes[0].contains("/s/token may not be read"),
            "{:?}",
            found.notes
        );
    }

    /// Listeners of user 1000, who we are, and of others.
    fn listeners(sockets: &[(u16, u32)]) -> Listeners {
        let listener = |&(port, uid): &(u16, u32)| Listener {
            ip: Ipv4Addr::LOCALHOST.into(),
            port,
            uid,
        };
        let sockets: Vec<Listener> = sockets.iter().map(listener).collect();
        Listeners {
            own: Some(1000),
            sockets: (!sockets.is_empty()).then_some(sockets),
        }
    }

    const SHARED: &str = r#"{"version":1,"pid":7,"port":18789,"tokenFile":"/s/token"}"#;

    #[test]
    fn of_two_gateways_the_live_one_is_taken_else_ours_unless_told() {
        let both = |notice, alive, ports: &[u16]| {
            let sockets: Vec<_> = ports.iter().map(|port| (*port, 1000)).collect();
            Parts {
                notice,
                token: text("ours\n"),
                alive,
                listeners: listeners(&sockets),
                ..openclaw("{gateway:{auth:{token:'theirs'}}}")
            }
        };
        // A token of ours is shown only while the process that wrote the notice runs.
        let (ours, theirs) = (Some("ours"), Some("theirs"));
        let notice = || text(NOTICE);
        let told = |kind| Some(kind);
        for (parts, wanted, kind, token) in [
            (both(notice(), true, &[18789, 19001]), None, OURS, ours),
            (both(notice(), false, &[18789]), None, THEIRS, theirs),
            (both(notice(), false, &[18789, 19001]), None, THEIRS, theirs),
            (both(notice(), false, &[]), None, OURS, None),
            (both(notice(), false, &[22]), None, OURS, None),
            (both(notice(), true, &[]), told(THEIRS), THEIRS, theirs),
            (both(notice(), false, &[18789]), told(OURS), OURS, None),
            // Both products have the same port unless somebody changes it.
            (both(text(SHARED), true, &[18789]), None, OURS, ours),
            (both(text(SHARED), false, &[18789]), None, THEIRS, theirs),
            (both(text(SHARED), false, &[]), None, THEIRS, theirs),
            (both(text(SHARED), false, &[22]), None, OURS, None),
            // A notice that says nothing is no reason to leave out what does.
            (both(text("{"), false, &[]), None, THEIRS, theirs),
            (
                both(Part::Unreadable, false, &[18789]),
                None,
                THEIRS,
                theirs,
            ),
        ] {
            let found = choose(&parts, wanted, "");
            let shown = found.credentials.token.as_ref().map(Secret::expose);
            assert_eq!((found.kind, shown), (Some(kind), token), "{parts:?}");
            assert!(
                found.notes.iter().any(|n| n.contains("configured too")),
                "{:?}",
                found.notes
            );
        }
    }

    #[test]
    fn a_found_token_is_not_shown_to_another_user_who_holds_the_port() {
        let at = |sockets: &[(u16, u32)]| {
            let parts = Parts {
                notice: text(NOTICE),
                token: text("ours"),
                alive: true,
                listeners: listeners(sockets),
                ..Parts::default()
            };
            let found = choose(&parts, None, " on desktop");
            let (shown, note) =
                found
                    .listeners
                    .permit(&found.credentials, "127.0.0.1", found.port, " on desktop");
            (shown.token.is_some(), note)
        };
        assert_eq!(at(&[(19001, 1000), (22, 0)]), (true, None));
        assert_eq!(at(&[(19001, 0)]), (true, None));
        assert_eq!(at(&[(22, 0)]), (true, None));
        let (shown, note) = at(&[(19001, 1001)]);
        assert!(!shown && note.unwrap().contains("another user (uid 1001)"));
        let (shown, note) = at(&[]);
        assert!(shown && note.unwrap().contains("cannot be told"));
    }

    #[test]
    fn the_script_says_what_is_there() {
        let home = tempfile::tempdir().unwrap();
        let run = || {
            let output = std::process::Command::new("sh")
                .args(["-c", COMMAND])
                .env_clear()
                .env("PATH", "/usr/bin:/bin")
                .env("HOME", home.path())
                .output()
                .unwrap();
            split(&String::from_utf8(output.stdout).unwrap()).unwrap()
        };
        let nothing = run();
        assert_eq!(
            (nothing.notice, nothing.openclaw),
            (Part::Absent, Part::Absent)
        );
        assert_eq!(nothing.openclaw_path, "~/.openclaw/openclaw.json");

        let at = |path: &str| home.path().join(path);
        std::fs::create_dir(at(".clawline")).unwrap();
        std::fs::create_dir(at(".openclaw")).unwrap();
        let notice = GatewayNotice {
            version: 1,
            profile: None,
            pid: std::process::id(),
            port: 19001,
            token_file: Some(at("token")),
            tls: false,
        };
        std::fs::write(at(".clawline/gateway.json"), notice.to_text()).unwrap();
        std::fs::write(at("token"), "s3cret\n").unwrap();
        std::fs::write(at(".openclaw/openclaw.json"), "{gateway:{}}").unwrap();
        let parts = run();
        assert!(parts.alive);
        #[cfg(target_os = "linux")]
        {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let us = nix::unistd::getuid().as_raw();
            let listeners = run().listeners;
            assert_eq!(listeners.own, Some(us));
            let sockets = listeners.sockets.as_ref().unwrap();
            let ours = sockets.iter().find(|socket| socket.port == port);
            assert_eq!(ours.map(|socket| socket.uid), Some(us));
            assert_eq!(listeners.holder("127.0.0.1", port), Holder::Trusted);
        }
        assert_eq!(parts.notice, text(&notice.to_text()));
        assert_eq!(parts.openclaw, text("{gateway:{}}"));
        let found = choose(&parts, None, "");
        assert_eq!(found.credentials.token, Some(Secret::new("s3cret")));
        assert!(!format!("{parts:?} {found:?}").contains("s3cret"));
    }

    #[test]
    fn every_login_shell_takes_the_command_as_it_stands() {
        let inner = COMMAND
            .strip_prefix("exec sh -c '")
            .and_then(|c| c.strip_suffix('\''));
        assert!(!inner.unwrap().contains(['\'', '!', '\n']));
    }

    #[test]
    fn a_script_that_did_not_finish_is_no_answer() {
        assert_eq!(split(""), None);
        assert_eq!(split("Welcome!\n--clawline-found-- notice\n{}"), None);
        let banner = "Welcome!\n\n--clawline-found-- notice\n{}\n--clawline-found-- end\n";
        assert_eq!(split(banner).unwrap().notice, text("{}"));
    }

    proptest! {
        #[test]
        fn any_output_is_read_or_refused(
            noise in any::<String>(),
            body in any::<String>(),
            head in "(notice|token|openclaw|ports|uid|path|home|alive)( .*)?",
        ) {
            let _ = split(&noise);
            let output = format!("{noise}\n{MARKER}{head}\n{body}\n{MARKER}end\n");
            if let Some(parts) = split(&output) {
                let _ = choose(&parts, None, " on desktop");
            }
        }
    }
}
