//! Tests of `discovery`.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::listeners::{Holder, Listener};
use super::*;

const OURS: GatewayKind = GatewayKind::Clawline;
const THEIRS: GatewayKind = GatewayKind::Openclaw;

const ANY: Wanted<'_> = Wanted {
    kind: None,
    profile: None,
};

fn kind_of(kind: Option<GatewayKind>) -> Wanted<'static> {
    Wanted { kind, ..ANY }
}

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
        let found = choose(&openclaw(content), ANY, " on desktop");
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
    let found = choose(&parts, ANY, " on desktop");
    assert!(found.credentials.is_empty());
    assert!(
        found.notes[0].contains("may not be read"),
        "{:?}",
        found.notes
    );
    let found = choose(&Parts::default(), ANY, " on desktop");
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
    let found = choose(&parts, ANY, "");
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
        let found = choose(&parts, kind_of(wanted), "");
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
        let found = choose(&parts, ANY, " on desktop");
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
    let run_for = |profile| {
        let output = std::process::Command::new("sh")
            .args(["-c", COMMAND])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", home.path())
            .output()
            .unwrap();
        split(&String::from_utf8(output.stdout).unwrap(), profile).unwrap()
    };
    let run = || run_for(None);
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
        tls_fingerprint: None,
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
    let found = choose(&parts, ANY, "");
    assert_eq!(found.credentials.token, Some(Secret::new("s3cret")));
    assert!(!format!("{parts:?} {found:?}").contains("s3cret"));

    // A gateway of a profile, beside the one that has none.
    let work = GatewayNotice {
        profile: Some("work".into()),
        port: 19002,
        token_file: Some(at("work-token")),
        ..notice
    };
    std::fs::write(at("work-token"), "w0rk\n").unwrap();
    std::fs::write(at(".clawline/gateway-work.json"), work.to_text()).unwrap();
    let found_of = |profile| {
        let wanted = Wanted { profile, ..ANY };
        choose(&run_for(profile), wanted, " on desktop")
    };
    let found = found_of(Some("work"));
    assert_eq!((found.port, found.missing), (19002, None));
    assert_eq!(found.credentials.token, Some(Secret::new("w0rk")));
    assert!(
        found.notes[0].contains("~/.clawline/gateway-work.json"),
        "{:?}",
        found.notes
    );
    assert_eq!(found_of(None).port, 19001);
    // The common file may be the profile's, too, and nothing else stands for a profile.
    std::fs::write(at(".clawline/gateway.json"), work.to_text()).unwrap();
    std::fs::remove_file(at(".clawline/gateway-work.json")).unwrap();
    assert_eq!(found_of(Some("work")).port, 19002);
    let found = found_of(Some("play"));
    assert!(found.credentials.is_empty());
    let error = found.missing.unwrap().error();
    assert_eq!(error.layer, Layer::Port);
    assert_eq!(error.what, "no gateway of the profile play runs on desktop");
    assert!(
        error.next.contains("clawline-gateway --profile play start"),
        "{}",
        error.next
    );
    let theirs = Wanted {
        kind: Some(THEIRS),
        profile: Some("play"),
    };
    let found = choose(&run_for(Some("play")), theirs, "");
    assert_eq!((found.kind, found.missing), (Some(THEIRS), None));
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
    assert_eq!(split("", None), None);
    assert_eq!(split("Welcome!\n--clawline-found-- notice\n{}", None), None);
    let banner = "Welcome!\n\n--clawline-found-- notice gateway.json\n{}\n--clawline-found-- end\n";
    assert_eq!(split(banner, None).unwrap().notice, text("{}"));
}

proptest! {
    #[test]
    fn any_output_is_read_or_refused(
        noise in any::<String>(),
        body in any::<String>(),
        head in "(notice|token|openclaw|ports|uid|path|home|alive)( .*)?",
    ) {
        let _ = split(&noise, None);
        let output = format!("{noise}\n{MARKER}{head}\n{body}\n{MARKER}end\n");
        if let Some(parts) = split(&output, None) {
            let _ = choose(&parts, ANY, " on desktop");
        }
    }
}
