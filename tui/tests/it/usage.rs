//! Bad input is answered with words, a next step and exit code 2; a layer that is down with its own code.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;

use crate::support::Home;

#[test]
fn help_takes_the_words_of_a_command() {
    for (args, words) in [
        (&["help"][..], "Usage: clawline"),
        (&["help", "health"], "--watch"),
        (&["help", "node", "run"], "--allow-root"),
    ] {
        let ran = Home::new().run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
        assert!(ran.stdout.contains(words), "{args:?}: {}", ran.stdout);
    }
    let ran = Home::new().run(&["help", "healthy"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("there is no command healthy"));
}

#[test]
fn words_and_a_program_path_that_are_no_text_are_answered_too() {
    let no_text = OsStr::from_bytes(b"\xff");
    for (args, words) in [
        (&["help"][..], "there is no command \u{fffd}"),
        (&["--no-such-option"], "unexpected argument"),
    ] {
        let home = Home::new();
        let mut command = home.command(args);
        let output = command.arg0(no_text).arg(no_text).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn bad_targets_say_what_is_wrong_and_exit_with_2() {
    for (args, words) in [
        (&["--", "-oProxyCommand=x"][..], "must not start with '-'"),
        (&["user@"], "the host is missing"),
        (&["host:99999"], "the port must be a number from 1 to 65535"),
        (&[""], "the target is empty"),
        (&["health", "user@"], "the host is missing"),
        (&["status", "-H", "host:99999"], "the port must be"),
        (&["explain", "wss://gate"], "is not reached over SSH"),
        (&["http://gate"], "only ws:// and wss://"),
        (
            &["--url", "ws://127.0.0.1:1"],
            "--url needs --token or --password",
        ),
        (
            &["health", "--url", "ws://127.0.0.1:1", "--token", ""],
            "--token is empty",
        ),
        (
            &["health", "local", "-p", "22"],
            "-p is for connections over SSH",
        ),
        (&["health", "me@desktop", "-H", "other"], "both say where"),
        (&["me@desktop", "health"], "stands before a subcommand"),
        (
            &["health", "-F", "none", "desktop", "--remote", "x"],
            "--remote: the port must be",
        ),
        (
            &["gateway", "call", "x", "--params", "{"],
            "--params is not JSON",
        ),
        (
            &["gateway", "call", "x", "--params", "[]"],
            "must be a JSON object",
        ),
        (&["agent", "--message", " "], "the message is empty"),
        (&["health", "--profile", "../x"], "is no profile name"),
        (&["--no-such-option"], "unexpected argument"),
        (&["health", "--watch=0"], "0 is not in"),
        (&["-p", "99999", "desktop"], "99999 is not in"),
    ] {
        let ran = Home::new().run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}

#[test]
fn without_anything_configured_the_help_is_one_line_away() {
    let help = Home::new().run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for word in [
        "clawline me@desktop",
        "health",
        "explain",
        "Exit codes",
        "--tunnel-only",
        "install-tunnel",
        "doctor",
    ] {
        assert!(help.stdout.contains(word), "{word}");
    }
    let version = Home::new().run(&["--version"]);
    assert!(version.stdout.starts_with("clawline "));
}

#[test]
fn a_gateway_that_is_not_there_is_exit_6_and_the_json_says_the_layer() {
    // Bound, so that nobody else gets it, and not listened on.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let closed = socket.local_addr().unwrap().port();
    let url = format!("ws://127.0.0.1:{closed}");
    let args = ["health", "--url", &url, "--token", "t", "--json"];
    let ran = Home::new().run(&args);
    assert_eq!(ran.code, Some(6), "{}{}", ran.stdout, ran.stderr);
    let json = ran.json();
    assert_eq!((&json["v"], &json["layer"]), (&1.into(), &"port".into()));
    assert_eq!((&json["ok"], &json["exit"]), (&false.into(), &6.into()));
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 11);
    let state = |layer| rows.iter().find(|row| row["layer"] == layer).unwrap()["state"].clone();
    assert_eq!(
        [state("dns"), state("tcp"), state("port")],
        ["ok", "ok", "failed"]
    );
    assert!(
        json["next"]
            .as_str()
            .unwrap()
            .contains("clawline-gateway start")
    );

    let home = Home::new();
    home.write(
        ".openclaw/openclaw.json",
        &format!("{{gateway: {{port: {closed}}}}}"),
    );
    for args in [&["health"][..], &["health", "local"]] {
        let ran = home.run(args);
        assert_eq!(ran.code, Some(6), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("there is no gateway.auth.token in it"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn something_that_is_no_gateway_is_exit_7() {
    use std::io::{Read as _, Write as _};
    for answer in [
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(answer.as_bytes()).unwrap();
            let _ = socket.read(&mut [0; 4096]);
        });
        let ran = Home::new().run(&["health", "--url", &url, "--token", "t", "--json"]);
        assert_eq!(ran.code, Some(7), "{answer}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.json()["layer"], "websocket", "{answer}");
        server.join().unwrap();
    }
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Home::new().run(&["completions", shell]);
        assert_eq!(ran.code, Some(0));
        assert!(ran.stdout.contains("clawline"), "{shell}");
    }
}

#[test]
fn a_mistyped_command_is_told_and_no_known_host_is_in_its_way() {
    let home = Home::new();
    let ran = home.run(&["statuss"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    for words in ["clawline status?", "clawline -H statuss"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    let ran = home.run(&["statuss", "--deep"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("clawline status?"), "{}", ran.stderr);

    // Each of these goes on to the app, which wants a terminal.
    home.write(
        "ssh",
        "Host statuss\n  User me\nHost helth\n  HostName 127.0.0.1\n",
    );
    home.write(
        ".config/clawline/clawline.json5",
        "{hosts: {docter: {ssh: \"me@desktop\"}}}",
    );
    let config = home.path().join("ssh");
    let config = config.to_str().unwrap();
    for target in [
        "statuss",
        "helth",
        "docter",
        "me@log",
        "log.lan",
        "ssh://log",
    ] {
        let ran = home.run(&["-F", config, target]);
        assert!(ran.stderr.contains("terminal"), "{target}: {}", ran.stderr);
        assert!(!ran.stderr.contains("did you mean"), "{}", ran.stderr);
    }
    let ran = home.run(&["-F", config, "log"]);
    assert!(ran.stderr.contains("clawline logs?"), "{}", ran.stderr);
    let ran = home.run(&["-F", config, "-H", "log"]);
    assert!(ran.stderr.contains("terminal"), "{}", ran.stderr);
}
