//! `tunnel status`, `stop` and `reconnect`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::world::{DEADLINE, Process, World, echoes, eventually};

fn status_socket(world: &World) -> PathBuf {
    eventually("a status socket", || {
        let is_socket = |path: &PathBuf| path.extension().is_some_and(|end| end == "sock");
        world.left().into_iter().find(is_socket)
    })
}

#[test]
fn a_tunnel_is_seen_connected_anew_and_ended_from_outside() {
    let world = World::new();
    let none = world.run(&["tunnel", "status"]);
    assert_eq!(none.code, Some(2), "{}", none.stdout);
    assert!(none.stderr.contains("no tunnel is held"), "{}", none.stderr);

    let end = world.socket("end");
    let mut tunnel = world.tunnel(&["--listen", &end]);
    tunnel.until("state=up");
    let _open = echoes(&end, "12345");
    let ran = world.run(&["tunnel", "status", "--json"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let json = ran.json();
    assert_eq!((&json["v"], &json["ok"]), (&1.into(), &true.into()));
    let told = &json["tunnels"][0];
    assert_eq!(
        (&told["state"], &told["pid"]),
        (&"up".into(), &tunnel.pid().into())
    );
    let forward = &told["forwards"][0];
    assert_eq!(
        (&forward["open"], &forward["total"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        (&forward["bytes_up"], &forward["bytes_down"]),
        (&5.into(), &5.into())
    );
    let text = world.run(&["tunnel", "status", "me@127.0.0.1"]);
    assert_eq!(text.code, Some(0));
    for words in ["me@127.0.0.1  up", &end, "1 open of 1", "5 B up, 5 B down"] {
        assert!(text.stdout.contains(words), "{words}: {}", text.stdout);
    }

    let ran = world.run(&["tunnel", "reconnect"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    eventually("a second connection", || {
        (world.ssh.accepted() >= 2).then_some(())
    });

    let unknown = world.run(&["tunnel", "stop", "elsewhere"]);
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown.stderr.contains("held are: me@127.0.0.1"),
        "{}",
        unknown.stderr
    );
    let ran = world.run(&["tunnel", "stop", "--json"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.json()["pid"], tunnel.pid());
    assert_eq!(tunnel.ended().0, Some(0));
    assert!(world.left().is_empty());
}

#[test]
fn several_are_told_together_and_ended_one_by_one() {
    let world = World::new();
    let (one, two) = (world.socket("one"), world.socket("two"));
    let mut first = world.tunnel(&["--listen", &one]);
    let other = world.tunnel_command("127.0.0.1", &["-o", "User=me", "--listen", &two]);
    let mut second = Process::start(other);
    first.until("state=up");
    second.until("state=up");
    let ran = world.run(&["tunnel", "status", "--json"]);
    assert_eq!(ran.json()["tunnels"].as_array().map(Vec::len), Some(2));
    let both = world.run(&["tunnel", "stop"]);
    assert_eq!(both.code, Some(2), "{}", both.stdout);
    assert!(
        both.stderr.contains("several tunnels are held"),
        "{}",
        both.stderr
    );
    assert_eq!(world.run(&["tunnel", "stop", "127.0.0.1"]).code, Some(0));
    assert_eq!(second.ended().0, Some(0));
    assert!(first.exit_if_ended().is_none());
}

#[test]
fn a_stopped_holder_is_told_within_two_seconds() {
    let world = World::new();
    let end = world.socket("end");
    let mut tunnel = world.tunnel(&["--listen", &end]);
    tunnel.until("state=up");
    tunnel.signal(Signal::SIGSTOP);
    let started = Instant::now();
    let ran = world.run(&["tunnel", "status"]);
    let took = started.elapsed();
    // Two seconds, and what a machine that is busy with other things adds; who waits for an answer waits
    // for ever.
    assert!(took < Duration::from_secs(2 + 10), "{took:?}");
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("does not answer"), "{}", ran.stdout);
    assert!(ran.stdout.contains(&end), "{}", ran.stdout);
    let ran = world.run(&["tunnel", "stop"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("kill -CONT"), "{}", ran.stderr);
    tunnel.signal(Signal::SIGCONT);
    tunnel.ended();
}

#[test]
fn a_tunnel_that_is_down_is_exit_1_with_the_reason() {
    let world = World::new();
    let end = world.socket("end");
    let command = world.tunnel_command("me@127.0.0.1", &["--listen", &end]);
    let mut status = world.command(&["tunnel", "status"]);
    let home = world.stop_ssh();
    let mut tunnel = Process::start(command);
    tunnel.until("state=waiting");
    let ran = status.output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("tcp"), "{said}");
    drop((tunnel, home));
}

#[test]
fn changes_are_watched_until_the_end() {
    let world = World::new();
    let end = world.socket("end");
    let mut tunnel = world.tunnel(&["--listen", &end]);
    tunnel.until("state=up");
    let mut watching = Process::start(world.command(&["tunnel", "status", "--watch"]));
    watching.until("me@127.0.0.1  up");
    let mut json = Process::start(world.command(&["tunnel", "status", "--watch", "--json"]));
    json.until(r#""generation":1"#);
    world.ssh.kill_connections();
    json.until(r#""generation":2"#);
    tunnel.signal(Signal::SIGTERM);
    watching.until("has ended");
    json.until(r#""state":"stopped""#);
    assert_eq!(watching.ended().0, Some(1));
}

#[test]
fn the_status_socket_is_the_owner_s_alone_and_takes_no_nonsense() {
    let world = World::new();
    let end = world.socket("end");
    let mut tunnel = world.tunnel(&["--listen", &end]);
    tunnel.until("state=up");
    let path = status_socket(&world);
    let mode = |path: &PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.parent().unwrap().to_owned()), 0o700);
    for nonsense in ["{}\n", "x\n", "{\"cmd\":\"rm\"}\n"] {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(nonsense.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(told["ok"], false, "{nonsense}: {told}");
    }
    // Those who ask nothing do not keep others from asking for long, nor do they pile up.
    let silent: Vec<UnixStream> = (0..16)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    let mut turned_away = UnixStream::connect(&path).unwrap();
    turned_away.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut line = String::new();
    BufReader::new(&mut turned_away)
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("too many"), "{line}");
    drop(silent);
    eventually("an answer again", || {
        let ran = world.run(&["tunnel", "status"]);
        (ran.code == Some(0)).then_some(())
    });
}
