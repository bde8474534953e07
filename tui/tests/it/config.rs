//! The configuration as the command line shows and checks it.

use crate::support::Home;

const FILE: &str = ".config/clawline/clawline.json5";

#[test]
fn a_broken_configuration_is_told_whole_and_exits_with_2() {
    let home = Home::new();
    home.write(FILE, "{gatway: {}, gateway: {port: 'x'}}");
    for args in [&["config", "check"][..], &["health"], &["config", "show"]] {
        let ran = home.run(args);
        assert_eq!(ran.code, Some(2), "{args:?}");
        assert!(
            ran.stderr.contains("did you mean \"gateway\"?"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("gateway.port: must be"),
            "{}",
            ran.stderr
        );
    }
    home.write(FILE, "{\n  gateway: }");
    let ran = home.run(&["config", "check"]);
    assert!(ran.stderr.contains("clawline.json5:2:"), "{}", ran.stderr);
    let ran = home.run(&["config", "check", "--config", "/no/such.json5", "--json"]);
    assert_eq!((ran.code, &ran.json()["exit"]), (Some(2), &2.into()));
}

#[test]
fn show_says_where_each_value_came_from_and_masks_secrets() {
    let home = Home::new();
    home.write(FILE, "{gateway: {port: 5, auth: {token: 'hunter2'}}}");
    let ran = home.run(&["config", "show", "--sources"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let path = home.path().join(FILE);
    let line = format!("gateway.port = 5  ({})", path.display());
    assert!(ran.stdout.contains(&line), "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains("gateway.bind = \"loopback\"  (default)")
    );
    assert!(ran.stdout.contains("gateway.auth.token = \"***\""));
    assert!(!ran.stdout.contains("hunter2"));
    let all = home
        .command(&["config", "show", "--json"])
        .env("CLAWLINE_GATEWAY_PORT", "6")
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    let port = &json["values"]["gateway.port"];
    assert_eq!(port["source"], "environment CLAWLINE_GATEWAY_PORT");
}

#[cfg(unix)]
#[test]
fn a_secret_in_a_file_that_others_can_read_is_warned_about() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    home.write(FILE, "{gateway: {auth: {token: 'x'}}}");
    let path = home.path().join(FILE);
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let ran = home.run(&["config", "check"]);
        assert_eq!(ran.code, Some(0));
        assert_eq!(
            ran.stdout.contains("other users can read it"),
            warned,
            "{}",
            ran.stdout
        );
    }
}

/// B23.
#[test]
fn white_space_around_a_secret_is_told_or_refused_and_the_secret_is_not_shown() {
    let home = Home::new();
    let ran = |name: &str, value: &str, args: &[&str]| {
        let output = home.command(args).env(name, value).output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(told).unwrap())
    };
    let check = &["config", "check"];
    for name in ["OPENCLAW_GATEWAY_TOKEN", "CLAWLINE_GATEWAY_TOKEN"] {
        let (code, told) = ran(name, "hunter2\n", check);
        assert_eq!(code, Some(0), "{told}");
        let words = format!("environment {name}: the line break at its end is left out");
        assert_eq!(told.matches(&words).count(), 1, "{told}");
        for value in [" hunter2\n", "hunter2 ", "hun ter2"] {
            let (code, refused) = ran(name, value, check);
            assert_eq!(code, Some(2), "{value:?}: {refused}");
            assert!(
                refused.contains(&format!("environment {name} ")),
                "{refused}"
            );
            assert!(refused.contains("white space"), "{refused}");
            assert!(!refused.contains("ter2"), "{refused}");
        }
        assert!(!told.contains("hunter2"), "{told}");
    }
    let (code, told) = ran("CLAWLINE_GATEWAY_PASSWORD", "two words", check);
    assert_eq!(code, Some(0), "{told}");
    let typed = home.run(&["health", "--url", "ws://127.0.0.1:9", "--token", "hun ter2"]);
    assert_eq!(typed.code, Some(2), "{}", typed.stderr);
    assert!(
        typed.stderr.contains("--token has white space in it"),
        "{}",
        typed.stderr
    );
}

#[test]
fn openclaw_s_file_is_read_where_ours_is_absent() {
    let home = Home::new();
    home.write(".openclaw/openclaw.json", "{gateway: {port: 5}, later: {}}");
    let ran = home.run(&["config", "path"]);
    assert!(ran.stdout.trim().ends_with(".openclaw/openclaw.json"));
    assert_eq!(home.run(&["config", "check"]).code, Some(0));
}
