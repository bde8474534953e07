//! `install-tunnel`: the unit, and what is done with it.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Home, Ran};

const UNIT: &str = ".config/systemd/user/clawline-tunnel-desktop.service";

/// Runs it with a `systemctl` that notes what it was told and answers with `code`.
fn install(home: &Home, code: u8, args: &[&str]) -> Ran {
    let log = home.path().join("told");
    let script = format!("#!/bin/sh\necho \"$@\" >>{}\nexit {code}\n", log.display());
    home.write_program("bin/systemctl", &script);
    let mut all = vec!["install-tunnel", "-F", "none"];
    all.extend(args);
    let path = format!("{}:/usr/bin:/bin", home.path().join("bin").display());
    let output = home.command(&all).env("PATH", path).output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn told(home: &Home) -> Vec<String> {
    let text = std::fs::read_to_string(home.path().join("told")).unwrap_or_default();
    let _ = std::fs::remove_file(home.path().join("told"));
    text.lines().map(str::to_owned).collect()
}

fn unit(home: &Home) -> PathBuf {
    home.path().join(UNIT)
}

#[test]
fn a_service_is_written_started_left_alone_changed_and_removed() {
    let home = Home::new();
    let args = [
        "desktop",
        "-i",
        "key",
        "--listen",
        "18800",
        "--socket",
        "/run/x.sock",
    ];
    let ran = install(&home, 0, &args);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("wrote "), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("loginctl enable-linger"),
        "{}",
        ran.stdout
    );
    let text = std::fs::read_to_string(unit(&home)).unwrap();
    let here = std::env::current_dir().unwrap();
    let command = format!(
        "ExecStart={} --tunnel-only -F none -i {}/key --listen 18800 --listen /run/x.sock -- desktop",
        env!("CARGO_BIN_EXE_clawline"),
        here.display()
    );
    assert!(
        text.lines().any(|line| line == command),
        "{command}\n{text}"
    );
    assert_eq!(
        told(&home),
        [
            "--user show-environment",
            "--user daemon-reload",
            "--user enable clawline-tunnel-desktop.service",
            "--user restart --no-block clawline-tunnel-desktop.service",
        ]
    );

    let again = install(&home, 0, &args);
    assert!(
        again.stdout.contains("is as it should be"),
        "{}",
        again.stdout
    );
    assert!(
        told(&home)
            .iter()
            .any(|line| line.starts_with("--user start"))
    );
    let other = install(&home, 0, &["desktop", "--no-start", "--json"]);
    assert_eq!(other.json()["did"][1], "it was not started");
    assert!(told(&home).is_empty());

    let gone = install(&home, 0, &["desktop", "--uninstall"]);
    assert_eq!(gone.code, Some(0), "{}", gone.stderr);
    assert!(!unit(&home).exists());
    assert!(told(&home).contains(&"--user disable --now clawline-tunnel-desktop.service".into()));
    let none = install(&home, 0, &["desktop", "--uninstall"]);
    assert!(none.stdout.contains("there is no"), "{}", none.stdout);
}

#[test]
fn without_a_user_manager_it_is_written_and_that_is_said() {
    let home = Home::new();
    let ran = install(&home, 1, &["desktop"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.contains("user manager cannot be reached"),
        "{}",
        ran.stdout
    );
    assert!(unit(&home).exists());
    assert_eq!(told(&home), ["--user show-environment"]);
}

#[test]
fn what_somebody_else_wrote_stays_as_it_is() {
    let home = Home::new();
    home.write(UNIT, "[Service]\nExecStart=/bin/true\n");
    for args in [&["desktop"][..], &["desktop", "--uninstall"]] {
        let ran = install(&home, 0, args);
        assert_eq!(ran.code, Some(2), "{}", ran.stdout);
        assert!(
            ran.stderr.contains("clawline did not write it"),
            "{}",
            ran.stderr
        );
    }
    let text = std::fs::read_to_string(unit(&home)).unwrap();
    assert_eq!(text, "[Service]\nExecStart=/bin/true\n");
}

#[test]
fn printing_writes_nothing_and_secrets_and_bad_ends_are_refused() {
    let home = Home::new();
    let ran = install(&home, 0, &["me@desktop", "--print"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("Description=clawline tunnel to me@desktop")
    );
    assert!(!home.path().join(".config").exists());
    for (args, words) in [
        (&["desktop", "--token", "t0p"][..], "are not for a tunnel"),
        (&["desktop", "--listen", "x"], "--listen"),
        (&["desktop", "--remote", "x"], "--remote"),
        (&["wss://gate"], "is not reached over SSH"),
        (&[], "takes one TARGET"),
    ] {
        let ran = install(&home, 0, args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stdout);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
    assert!(told(&home).is_empty());
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        return;
    }
    let home = Home::new();
    let odd = [
        "desktop",
        "-o",
        "ProxyCommand=sh -c 'nc %h $PORT \"x\"'",
        "--no-start",
    ];
    assert_eq!(install(&home, 0, &odd).code, Some(0));
    let checked = Command::new("systemd-analyze")
        .args(["--user", "--man=no", "--generators=no", "verify"])
        .arg(unit(&home))
        .env("XDG_RUNTIME_DIR", home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    let about_it = said.lines().filter(|line| line.contains("clawline-tunnel"));
    assert_eq!(about_it.count(), 0, "{said}");
    assert!(checked.status.success(), "{said}");
}
