//! The service commands, against a stand-in `systemctl` that notes what it is told, and without one.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Command;

use crate::support::program::{program, put_program, said};

/// A home with a `systemctl` of our own in its `bin`.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let script = "#!/bin/sh\necho \"$*\" >> \"$HOME/told\"\n\
                      case \"$*\" in *is-active*) cat \"$HOME/state\" 2>/dev/null || echo inactive;; esac\n";
        let path = bin.join("systemctl");
        put_program(&path, script);
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program(self.path(), args);
        let bin = self.path().join("bin");
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        command
    }

    fn unit(&self, name: &str) -> PathBuf {
        self.path().join(".config/systemd/user").join(name)
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.path().join("told")).unwrap_or_default()
    }
}

#[tokio::test]
async fn install_writes_a_unit_of_the_profile_and_uninstall_takes_it_away() {
    let home = Home::new();
    let (code, text) = said(home.command(&["install", "--print"])).await;
    assert_eq!(code, 0, "{text}");
    assert!(!home.unit("clawline-gateway.service").exists());
    assert!(!home.told().contains("enable"), "{}", home.told());
    for line in [
        "Type=notify",
        "RestartPreventExitStatus=2",
        "Restart=on-failure",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} in {text}");
    }
    let (code, text) = said(home.command(&["--profile", "work", "install"])).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("loginctl enable-linger"), "{text}");
    let unit = std::fs::read_to_string(home.unit("clawline-gateway-work.service")).unwrap();
    let program = env!("CARGO_BIN_EXE_clawline-gateway");
    assert!(
        unit.contains(&format!("ExecStart={program} run --profile work\n")),
        "{unit}"
    );
    let (code, _) = said(home.command(&["install"])).await;
    assert_eq!(code, 0);
    for told in [
        "--user daemon-reload",
        "--user enable clawline-gateway-work.service",
        "--user restart --no-block clawline-gateway-work.service",
        "--user enable clawline-gateway.service",
    ] {
        assert!(
            home.told().lines().any(|line| line == told),
            "{told} in {}",
            home.told()
        );
    }
    let (code, text) = said(home.command(&["--profile", "work", "uninstall"])).await;
    assert_eq!(code, 0, "{text}");
    assert!(!home.unit("clawline-gateway-work.service").exists());
    assert!(home.unit("clawline-gateway.service").exists());
}

#[tokio::test]
async fn a_unit_of_somebody_else_is_left_alone_and_a_bad_config_installs_nothing() {
    let home = Home::new();
    let unit = home.unit("clawline-gateway.service");
    std::fs::create_dir_all(unit.parent().unwrap()).unwrap();
    std::fs::write(&unit, "[Service]\nExecStart=/bin/true\n").unwrap();
    for command in ["install", "uninstall"] {
        let (code, text) = said(home.command(&[command])).await;
        assert_eq!(code, 2, "{text}");
        assert!(text.contains("did not write it"), "{text}");
    }
    assert!(
        std::fs::read_to_string(&unit)
            .unwrap()
            .contains("/bin/true")
    );
    let config = home.path().join("bad.json5");
    std::fs::write(&config, "{gateway: {prot: 1}}").unwrap();
    let config = config.to_str().unwrap();
    let (code, text) = said(home.command(&["--dev", "install", "--config", config])).await;
    assert_eq!(code, 2, "{text}");
    assert!(!home.unit("clawline-gateway-dev.service").exists());
}

#[tokio::test]
async fn start_stop_and_restart_go_through_the_service_where_there_is_one() {
    let home = Home::new();
    said(home.command(&["install", "--no-start"])).await;
    assert!(!home.told().contains("enable"), "{}", home.told());
    std::fs::write(home.path().join("state"), "active\n").unwrap();
    for verb in ["start", "stop", "restart"] {
        let (code, text) = said(home.command(&[verb])).await;
        assert_eq!(code, 0, "{text}");
        let told = format!("--user {verb} clawline-gateway.service");
        assert!(
            home.told().lines().any(|line| line == told),
            "{}",
            home.told()
        );
    }
    let (_, text) = said(home.command(&["status", "--json"])).await;
    let status: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status["service"]["state"], "active", "{status}");
}

#[tokio::test]
async fn without_a_service_the_program_runs_itself_in_the_background() {
    let home = tempfile::tempdir().unwrap();
    // Not from the range out of which the system gives ports to others, so that it stays free.
    let mut ports = std::iter::repeat_with(|| 10_000 + rand::random::<u16>() % 20_000);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = ports.find(is_free).unwrap().to_string();
    let command = |args: &[&str]| {
        let mut command = program(home.path(), args);
        command.env("CLAWLINE_GATEWAY_PORT", &port);
        command
    };
    let status = async || -> Value {
        let (_, text) = said(command(&["status", "--json"])).await;
        serde_json::from_str(&text).unwrap()
    };
    let (code, text) = said(command(&["stop"])).await;
    assert_eq!((code, text.trim()), (0, "it does not run"));
    let (code, text) = said(command(&["start"])).await;
    assert_eq!(code, 0, "{text}");
    let first = status().await;
    assert_eq!(
        (&first["running"], &first["ready"]),
        (&true.into(), &true.into())
    );
    let pid = i32::try_from(first["pid"].as_i64().unwrap()).unwrap();
    // It outlives the terminal that it was started from.
    kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
    let (code, text) = said(command(&["start"])).await;
    assert!(code == 0 && text.contains("runs already"), "{text}");
    let (code, text) = said(command(&["restart"])).await;
    assert_eq!(code, 0, "{text}");
    let second = status().await;
    assert_ne!(first["pid"], second["pid"]);
    let (code, text) = said(command(&["stop"])).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(status().await["running"], false);
    let (code, text) = said(command(&["start", "--config", "/does/not/exist.json5"])).await;
    assert_eq!(code, 2, "{text}");
}
