//! What the tunnel tells systemd, the status file and whoever sends it a signal.

use nix::sys::signal::Signal;

use super::world::{Systemd, World, echoes, eventually, file_says};

#[test]
fn systemd_hears_ready_alive_reloading_and_stopping() {
    let world = World::new();
    let end = world.socket("end");
    let path = world.home.path().join("notify");
    let mut systemd = Systemd::at(&path);
    let mut command = world.tunnel_command("me@127.0.0.1", &["--listen", &end]);
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", "400000");
    let mut tunnel = super::world::Process::start(command);
    let ready = systemd.until("READY=1");
    assert!(ready.contains("STATUS=up"), "{ready}");
    systemd.until("WATCHDOG=1");
    echoes(&end, "hello");

    tunnel.signal(Signal::SIGHUP);
    let reloading = systemd.until("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    systemd.until("READY=1");
    assert!(world.ssh.accepted() >= 2);
    echoes(&end, "hello again");

    tunnel.signal(Signal::SIGTERM);
    systemd.until("STOPPING=1");
    let (code, said) = tunnel.ended();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(world.left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_server_that_is_down_makes_it_ready_and_one_with_another_key_does_not() {
    let world = World::new();
    let path = world.home.path().join("notify");
    let mut systemd = Systemd::at(&path);
    let end = world.socket("end");
    let mut command = world.tunnel_command("me@127.0.0.1", &["--listen", &end]);
    command.env("NOTIFY_SOCKET", &path);
    let home = world.stop_ssh();
    let mut tunnel = super::world::Process::start(command);
    let ready = systemd.until("READY=1");
    assert!(ready.contains("STATUS=waiting: tcp"), "{ready}");
    tunnel.signal(Signal::SIGINT);
    assert_eq!(tunnel.ended().0, Some(130));
    drop(home);

    let world = World::new();
    let other = clawline::loopback_ssh::fresh_key().unwrap();
    world.know(&other.public_key().to_openssh().unwrap());
    let path = world.home.path().join("notify");
    let mut systemd = Systemd::at(&path);
    let (end, file) = (world.socket("end"), world.socket("status.json"));
    let more = ["--listen", &end, "--status-file", &file];
    let mut command = world.tunnel_command("me@127.0.0.1", &more);
    command.env("NOTIFY_SOCKET", &path);
    let mut tunnel = super::world::Process::start(command);
    let stopping = systemd.until("STOPPING=1");
    assert!(stopping.contains("hostkey"), "{stopping}");
    assert!(systemd.heard.iter().all(|heard| !heard.contains("READY")));
    let (code, said) = tunnel.ended();
    assert_eq!(code, Some(4), "{said}");
    let left = file_says(&file, |_| true);
    assert_eq!(left["state"], "stopped");
    assert_eq!(
        (&left["layer"], &left["exit"]),
        (&"hostkey".into(), &4.into())
    );
    assert_ne!(left["why"], "");
}

#[test]
fn the_status_file_follows_the_tunnel_and_goes_with_it() {
    let world = World::new();
    let (end, file) = (world.socket("end"), world.socket("status.json"));
    let mut tunnel = world.tunnel(&["--listen", &end, "--status-file", &file]);
    let up = file_says(&file, |state| state["state"] == "up");
    assert_eq!((&up["v"], &up["pid"]), (&1.into(), &tunnel.pid().into()));
    assert!(up["start_time"].is_u64(), "{up}");
    assert_eq!(up["target"], "me@127.0.0.1");
    assert_eq!(up["forwards"][0]["local"], end.as_str());
    assert_eq!(up["reconnects"], 0);
    world.ssh.kill_connections();
    file_says(&file, |state| state["reconnects"].as_u64() > Some(0));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    tunnel.signal(Signal::SIGTERM);
    assert_eq!(tunnel.ended().0, Some(0));
    assert!(!std::path::Path::new(&file).exists());
    assert!(!std::path::Path::new(&end).exists());
}

#[test]
fn sigusr1_prints_everything_as_lines_or_json() {
    let world = World::new();
    let end = world.socket("end");
    let mut tunnel = world.tunnel(&["--listen", &end]);
    tunnel.until("state=up");
    let _open = echoes(&end, "12345");
    // The program has its bytes a moment before they are counted.
    eventually("all bytes are counted", || {
        tunnel.signal(Signal::SIGUSR1);
        let line = tunnel.until("generation=1");
        assert!(
            line.starts_with("state=up target=me@127.0.0.1 pid="),
            "{line}"
        );
        tunnel.until("layer=ssh state=ok");
        let line = tunnel.until("forward=");
        assert!(
            line.contains(" open=1 total=1 refused=0 bytes_up=5 "),
            "{line}"
        );
        line.ends_with(" bytes_down=5").then_some(())
    });

    let other = world.socket("other");
    let mut tunnel = world.tunnel(&["--listen", &other, "--json"]);
    tunnel.until(r#""state":"up""#);
    eventually("a report", || {
        tunnel.signal(Signal::SIGUSR1);
        let line = tunnel.until(r#""v":1"#);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        value["rows"].is_array().then_some(())
    });
}

#[test]
fn in_a_terminal_sighup_ends_it() {
    let world = World::new();
    let end = world.socket("end");
    let pty = nix::pty::openpty(None, None).unwrap();
    let plain = world.tunnel_command("me@127.0.0.1", &["--listen", &end]);
    // Whoever runs the tests may have been told to ignore the signal (nohup), and children inherit that.
    let mut command = std::process::Command::new("env");
    // The terminal becomes the controlling one.
    command.args(["--default-signal=HUP", "setsid", "--ctty"]);
    command.args(plain.get_args());
    command.env_clear().envs(
        plain
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command.stdin(pty.slave);
    let mut tunnel = super::world::Process::start(command);
    tunnel.until("state=up");
    tunnel.signal(Signal::SIGHUP);
    let (code, said) = tunnel.ended();
    assert_eq!(code, Some(129), "{said}");
    assert!(world.left().is_empty());
}
