//! One holder for a target with its ends: told apart, raced for, killed and replaced.

use nix::sys::signal::Signal;

use super::world::{Process, World, eventually};

#[test]
fn the_second_one_is_told_who_holds_it_and_ends_with_2() {
    let world = World::new();
    let end = world.socket("end");
    let mut first = world.tunnel(&["--listen", &end]);
    first.until("state=up");
    let (code, said) = world.tunnel(&["--listen", &end]).ended();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("pid {}", first.pid())), "{said}");
    assert!(said.contains(&end), "{said}");
    assert!(said.contains("clawline tunnel status"), "{said}");

    // Another target on the same end is another tunnel, which cannot have it.
    let other = world.tunnel_command("you@127.0.0.1", &["--listen", &end]);
    let (code, said) = Process::start(other).ended();
    assert_eq!(code, Some(8), "{said}");
    let words = format!("the clawline tunnel to me@127.0.0.1 (pid {})", first.pid());
    assert!(said.contains(&words), "{said}");
    assert!(said.contains("clawline tunnel stop me@127.0.0.1"), "{said}");
    // Other ends to the same target are another tunnel, too.
    let second = world.socket("second");
    world.tunnel(&["--listen", &second]).until("state=up");
}

#[test]
fn of_two_that_race_exactly_one_wins_each_time() {
    let world = World::new();
    let end = world.socket("end");
    let command = || world.tunnel_command("me@127.0.0.1", &["--listen", &end]);
    for round in 0..20 {
        let mut racers = [Process::start(command()), Process::start(command())];
        let loser = eventually("one of them ends", || {
            racers
                .iter_mut()
                .position(|racer| racer.exit_if_ended().is_some())
        });
        let (code, said) = racers[loser].ended();
        assert_eq!(code, Some(2), "round {round}: {said}");
        assert!(
            said.contains("is held already by pid"),
            "round {round}: {said}"
        );
        let winner = &mut racers[1 - loser];
        winner.until("state=up");
        winner.signal(Signal::SIGTERM);
        assert_eq!(winner.ended().0, Some(0), "round {round}");
    }
    assert!(world.left().is_empty());
}

#[test]
fn after_kill_9_the_next_one_starts_at_once() {
    let world = World::new();
    let (end, file) = (world.socket("end"), world.socket("status.json"));
    let more = ["--listen", end.as_str(), "--status-file", &file];
    let mut first = world.tunnel(&more);
    first.until("state=up");
    super::world::file_says(&file, |state| state["state"] == "up");
    first.signal(Signal::SIGKILL);
    first.ended();
    // What it left is known to be of a process that is gone.
    assert_eq!(world.left().len(), 2);
    let stale = super::world::file_says(&file, |_| true);
    assert_eq!(stale["pid"], first.pid());
    assert!(!std::path::Path::new(&format!("/proc/{}", first.pid())).exists());
    let mut next = world.tunnel(&more);
    next.until("state=up");
    super::world::file_says(&file, |state| state["pid"] == next.pid());
    let status = world.run(&["tunnel", "status", "--json"]);
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    assert_eq!(status.json()["tunnels"][0]["pid"], next.pid());
}

#[test]
fn without_a_runtime_directory_the_state_directory_does() {
    let world = World::new();
    let end = world.socket("end");
    let mut command = world.tunnel_command("me@127.0.0.1", &["--listen", &end]);
    command.env("XDG_RUNTIME_DIR", "/proc/none");
    let mut tunnel = Process::start(command);
    tunnel.until("state=up");
    let ran = world.run(&["tunnel", "status", "me@127.0.0.1"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}
