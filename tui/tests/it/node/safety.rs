//! What runs is what was approved, and it ends when it has to.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::gateway::{Gateway, Node, approved};
use crate::support::{Home, write_program};
use crate::tunnel::world::{Process, eventually};

struct World {
    home: Home,
    gateway: Gateway,
    process: Process,
    node: Node,
}

fn world(more: &[&str]) -> World {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let process = gateway.start(&home, more);
    let node = gateway.accept();
    World {
        home,
        gateway,
        process,
        node,
    }
}

fn program(path: &Path, says: &str) {
    write_program(path, &format!("#!/bin/sh\necho {says}\n"));
}

impl World {
    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&mut self, argv: &[&str]) -> Result<Value, String> {
        self.node
            .run_approved(&json!({ "command": argv, "cwd": "/" }))
    }
}

/// The processes that have `mark` in their command line.
fn alive(mark: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ours = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    ours.map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(mark) && line.starts_with("sleep"))
        .collect()
}

#[test]
fn nothing_runs_without_an_approval_and_approved_true_is_none() {
    let mut world = world(&[]);
    let mark = world.at("ran");
    let touch = json!(["touch", mark]);
    for params in [
        json!({"command": touch}),
        json!({"command": touch, "approved": true}),
        json!({"command": touch, "approved": true, "approvalDecision": "allow-always", "runId": "x"}),
        json!({"command": touch, "approvalSource": "ask-fallback", "runId": "x"}),
        json!({"command": touch, "security": "full", "ask": "off"}),
    ] {
        let refused = world.node.invoke("system.run", &params).unwrap_err();
        let is_refusal =
            refused.contains("SYSTEM_RUN_DENIED") || refused.contains("INVALID_REQUEST");
        assert!(is_refusal, "{params}: {refused}");
    }
    assert!(!mark.exists());
}

#[test]
fn an_older_gateway_s_word_is_not_an_approval() {
    let (home, gateway) = (Home::new(), Gateway::new(3));
    let _process = gateway.start(&home, &[]);
    let mut node = gateway.accept();
    let refused = node
        .run_approved(&json!({"command": ["id"], "cwd": "/"}))
        .unwrap_err();
    assert_eq!(refused, "SYSTEM_RUN_DENIED: approval required");
}

#[test]
fn what_was_approved_runs_as_it_was_shown() {
    let mut world = world(&[]);
    let ran = world
        .run(&["printf", "%s|", "a b", "$(id)", "x;y"])
        .unwrap();
    assert_eq!(
        ran,
        json!({"exitCode": 0, "timedOut": false, "success": true, "stdout": "a b|$(id)|x;y|", "stderr": "", "error": null})
    );
    let failed = world.run(&["sh", "-c", "echo no >&2; exit 3"]).unwrap();
    assert_eq!(
        (&failed["exitCode"], &failed["success"], &failed["stderr"]),
        (&json!(3), &json!(false), &json!("no\n"))
    );
    let killed = world.run(&["sh", "-c", "kill -9 $$"]).unwrap();
    assert_eq!(
        (&killed["exitCode"], &killed["error"]),
        (&Value::Null, &json!("killed by signal 9"))
    );
    // A script is read from what was held, by its interpreter.
    let script = world.at("script");
    program(&script, "held");
    let ran = world.run(&[script.to_str().unwrap()]).unwrap();
    assert_eq!(ran["stdout"], "held\n", "{ran}");
    world.process.until("printf '%s|' 'a b'");
}

#[test]
fn a_program_gets_no_input_and_only_the_variables_that_were_shown() {
    let mut world = world(&[]);
    let params = json!({"command": ["env"], "cwd": "/", "env": {"SHOWN": "1"}});
    let ran = world.node.run_approved(&params).unwrap();
    let names: Vec<&str> = ran["stdout"]
        .as_str()
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .collect();
    for name in &names {
        let is_known = ["PATH", "HOME", "LANG", "TERM", "TZ", "USER", "SHOWN"].contains(name)
            || name.starts_with("LC_");
        assert!(is_known, "{name}");
    }
    assert!(names.contains(&"SHOWN"));
    let ran = world.run(&["cat"]).unwrap();
    assert_eq!((&ran["stdout"], &ran["exitCode"]), (&json!(""), &json!(0)));
}

#[test]
fn other_variables_another_directory_or_other_words_are_not_what_was_approved() {
    let mut world = world(&[]);
    let params = json!({"command": ["id", "-u"], "cwd": "/", "env": {"A": "1"}});
    let prepared = world.node.invoke("system.run.prepare", &params).unwrap();
    let right = approved(&params, &prepared);
    for (member, other) in [
        ("env", json!({"A": "1", "GIT_SSH_COMMAND": "id"})),
        ("env", json!({"A": "2"})),
        ("cwd", json!("/tmp")),
        ("command", json!(["id", "-u "])),
        ("sessionKey", json!("other")),
        ("agentId", json!("other")),
    ] {
        let mut wrong = right.clone();
        wrong[member] = other;
        if member == "command" {
            wrong.as_object_mut().unwrap().remove("rawCommand");
        }
        let refused = world.node.invoke("system.run", &wrong).unwrap_err();
        assert!(refused.contains("APPROVAL_NOT_FOUND"), "{wrong}: {refused}");
    }
    assert!(world.node.invoke("system.run", &right).is_ok());
    // Once.
    let again = world.node.invoke("system.run", &right).unwrap_err();
    assert!(again.contains("used before"), "{again}");
}

#[test]
fn an_approval_does_not_outlive_the_node() {
    let mut world = world(&[]);
    let params = json!({"command": ["id"], "cwd": "/"});
    let prepared = world.node.invoke("system.run.prepare", &params).unwrap();
    world.process.signal(Signal::SIGKILL);
    world.process.ended();
    let _process = world.gateway.start(&world.home, &[]);
    let mut node = world.gateway.accept();
    let refused = node
        .invoke("system.run", &approved(&params, &prepared))
        .unwrap_err();
    assert!(refused.contains("APPROVAL_NOT_FOUND"), "{refused}");
}

#[test]
fn what_is_exchanged_between_approval_and_run_does_not_run_100_times() {
    let mut world = world(&[]);
    let (good, evil, link) = (world.at("good"), world.at("evil"), world.at("dir"));
    fs::create_dir_all(world.at("a")).unwrap();
    for round in 0..100 {
        program(&good, "good");
        program(&evil, "evil");
        let _ = fs::remove_file(&link);
        let _ = fs::remove_dir_all(&link);
        fs::create_dir(&link).unwrap();
        let script = world.at("script.sh");
        fs::write(&script, "echo good\n").unwrap();
        let params = match round % 4 {
            2 => json!({"command": ["sh", "script.sh"], "cwd": world.home.path()}),
            _ => json!({"command": [good], "cwd": link}),
        };
        let prepared = world.node.invoke("system.run.prepare", &params).unwrap();
        match round % 4 {
            0 => fs::rename(&evil, &good).unwrap(),
            1 => {
                fs::remove_dir(&link).unwrap();
                symlink("a", &link).unwrap();
            }
            2 => fs::write(&script, "echo evil\n").unwrap(),
            _ => fs::write(&good, "#!/bin/sh\necho evil\n").unwrap(),
        }
        let refused = world
            .node
            .invoke("system.run", &approved(&params, &prepared))
            .unwrap_err();
        assert!(refused.contains("plan changed"), "{round}: {refused}");
    }
}

#[test]
fn a_program_that_is_exchanged_all_the_time_runs_as_approved_or_not_at_all() {
    let mut world = world(&[]);
    let (good, evil) = (world.at("good"), world.at("evil"));
    program(&good, "good");
    program(&evil, "evil");
    let over = AtomicBool::new(false);
    let params = json!({"command": [good], "cwd": "/"});
    let prepared: Vec<Value> = (0..16)
        .map(|_| world.node.invoke("system.run.prepare", &params).unwrap())
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = nix::fcntl::renameat2(
                    nix::fcntl::AT_FDCWD,
                    &good,
                    nix::fcntl::AT_FDCWD,
                    &evil,
                    nix::fcntl::RenameFlags::RENAME_EXCHANGE,
                );
            }
        });
        for (round, prepared) in prepared.iter().enumerate() {
            let mut params = approved(&params, prepared);
            params["runId"] = format!("run-{round}").into();
            match world.node.invoke("system.run", &params) {
                Ok(ran) => assert_eq!(ran["stdout"], "good\n"),
                Err(refused) => assert!(refused.contains("plan changed"), "{refused}"),
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn too_much_output_is_cut_and_said_so() {
    let mut world = world(&[]);
    let ran = world
        .run(&["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"])
        .unwrap();
    let stdout = ran["stdout"].as_str().unwrap();
    assert!(
        stdout.len() < 201_000 && stdout.ends_with("(truncated, 800000 bytes more)"),
        "{}",
        stdout.len()
    );
    assert_eq!(ran["exitCode"], 0);
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_everything_it_started() {
    let mut world = world(&[]);
    let mark = format!("331.{}", std::process::id());
    let script = format!("sleep {mark} & setsid sleep {mark} & sleep {mark}");
    let params = json!({"command": ["sh", "-c", script], "cwd": "/", "timeoutMs": 700});
    let ran = world.node.run_approved(&params).unwrap();
    assert_eq!(
        (&ran["timedOut"], &ran["success"], &ran["exitCode"]),
        (&json!(true), &json!(false), &Value::Null)
    );
    eventually("nothing is left", || alive(&mark).is_empty().then_some(()));
}

#[test]
fn what_a_program_leaves_running_ends_with_it() {
    let mut world = world(&[]);
    let mark = format!("332.{}", std::process::id());
    let script = format!("sleep {mark} & setsid sleep {mark} & echo done");
    let ran = world.run(&["sh", "-c", &script]).unwrap();
    assert_eq!(ran["stdout"], "done\n");
    eventually("nothing is left", || alive(&mark).is_empty().then_some(()));
}

/// Starts a program that lasts, and waits until it runs.
fn lasting(world: &mut World, mark: &str) -> String {
    let script = format!("sleep {mark} & sleep {mark}");
    let params = json!({"command": ["sh", "-c", script], "cwd": "/"});
    let prepared = world.node.invoke("system.run.prepare", &params).unwrap();
    let id = world
        .node
        .begin("system.run", &approved(&params, &prepared), 60_000);
    eventually("it runs", || (alive(mark).len() == 2).then_some(()));
    id
}

#[test]
fn a_caller_that_gives_up_ends_the_program() {
    let mut world = world(&[]);
    let mark = format!("333.{}", std::process::id());
    let invoke_id = lasting(&mut world, &mark);
    let node_id = world.node.id.clone();
    world.node.push(
        "node.invoke.cancel",
        json!({"invokeId": invoke_id, "nodeId": node_id}),
    );
    eventually("nothing is left", || alive(&mark).is_empty().then_some(()));
    assert!(
        world
            .node
            .invoke("system.which", &json!({"bins": []}))
            .is_ok()
    );
}

#[test]
fn a_lost_connection_ends_the_program() {
    let mut world = world(&[]);
    let mark = format!("334.{}", std::process::id());
    lasting(&mut world, &mark);
    drop(world.node);
    eventually("nothing is left", || alive(&mark).is_empty().then_some(()));
}

#[test]
fn a_node_that_is_killed_leaves_nothing_running() {
    let mut world = world(&[]);
    let mark = format!("335.{}", std::process::id());
    lasting(&mut world, &mark);
    world.process.signal(Signal::SIGKILL);
    eventually("nothing is left", || alive(&mark).is_empty().then_some(()));
}

#[test]
fn the_list_lets_exactly_its_commands_run() {
    let (home, gateway) = (Home::new(), Gateway::new(3));
    let allowed = home.run(&["node", "allow", "--", "uname", "-s"]);
    assert_eq!(allowed.code, Some(0), "{}", allowed.stderr);
    let _process = gateway.start(&home, &["--exec", "allowlist"]);
    let mut node = gateway.accept();
    let run =
        |node: &mut Node, argv: &[&str]| node.invoke("system.run", &json!({ "command": argv }));
    assert_eq!(
        run(&mut node, &["uname", "-s"]).unwrap()["stdout"],
        "Linux\n"
    );
    for argv in [
        &["uname"][..],
        &["uname", "-s", "-r"],
        &["sh", "-c", "uname -s"],
        &["uname", "-s;id"],
    ] {
        let refused = run(&mut node, argv).unwrap_err();
        assert_eq!(refused, "SYSTEM_RUN_DENIED: approval required", "{argv:?}");
    }
    let with_env = json!({"command": ["uname", "-s"], "env": {"LD_PRELOAD": "/tmp/x.so"}});
    assert!(node.invoke("system.run", &with_env).is_err());
    // The use is noted; what is revoked meanwhile stays revoked.
    let listed = home.run(&["node", "allowed", "--json"]).json();
    assert!(listed["allow"][0]["usedAtMs"].is_i64(), "{listed}");
    let id = listed["allow"][0]["id"].as_str().unwrap();
    assert_eq!(home.run(&["node", "disallow", id]).code, Some(0));
    assert!(run(&mut node, &["uname", "-s"]).is_err());
}

#[test]
fn a_gateway_reads_the_list_and_cannot_add_to_it() {
    let mut world = world(&[]);
    let got = world
        .node
        .invoke("system.execApprovals.get", &json!({}))
        .unwrap();
    assert_eq!(
        (&got["exists"], &got["file"]["version"]),
        (&json!(false), &json!(1))
    );
    let wanted = json!({"version": 1, "agents": {"*": {"allowlist": [{"pattern": "/usr/bin/id", "commandText": "id"}]}}});
    let params = json!({"file": wanted, "baseHash": got["hash"]});
    let refused = world
        .node
        .invoke("system.execApprovals.set", &params)
        .unwrap_err();
    assert!(refused.contains("--remote-policy"), "{refused}");
    let deny =
        json!({"file": {"version": 1, "defaults": {"security": "deny"}}, "baseHash": got["hash"]});
    let set = world
        .node
        .invoke("system.execApprovals.set", &deny)
        .unwrap();
    assert_eq!(set["file"]["defaults"]["security"], "deny");
    let refused = world
        .node
        .invoke("system.run", &json!({"command": ["id"]}))
        .unwrap_err();
    assert_eq!(refused, "SYSTEM_RUN_DISABLED: security=deny");
}
