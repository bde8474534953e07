//! Connecting, waiting for approval, being asked, and coming back.

use nix::sys::signal::Signal;
use serde_json::json;

use super::gateway::Gateway;
use crate::support::Home;
use crate::tunnel::world::DEADLINE;

#[test]
fn a_node_connects_as_one_and_says_what_it_can_be_asked() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let mut process = gateway.start(&home, &["--display-name", "pi\u{1b}[2J"]);
    let mut node = gateway.accept();
    let connect = &node.connect;
    assert_eq!(connect["role"], "node");
    assert_eq!(connect["client"]["id"], "node-host");
    assert_eq!(connect["client"]["mode"], "node");
    assert_eq!(connect["client"]["displayName"], "pi\\u{1b}[2J");
    assert_eq!(connect["scopes"], json!([]));
    assert_eq!(connect["caps"], json!(["system"]));
    let commands = [
        "system.execApprovals.get",
        "system.execApprovals.set",
        "system.run",
        "system.run.prepare",
        "system.which",
    ];
    let offered = connect["commands"].as_array().unwrap();
    assert!(
        commands
            .iter()
            .all(|command| offered.contains(&json!(command))),
        "{offered:?}"
    );
    process.until("state=up");
    let stats = node.next_request();
    assert_eq!(stats["method"], "node.event");
    assert_eq!(stats["params"]["event"], "node.host.stats");
    process.until("state=approved");
    let which = node
        .invoke("system.which", &json!({"bins": ["sh", "nowhere-at-all"]}))
        .unwrap();
    assert_eq!(which["bins"].as_object().unwrap().len(), 1);
    assert!(
        process
            .until("state=asked")
            .contains("command=system.which")
    );
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended().0, Some(143));
}

#[test]
fn the_key_is_the_node_s_own_and_stays_the_same() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let first = {
        let _process = gateway.start(&home, &[]);
        gateway.accept().id
    };
    let _process = gateway.start(&home, &["--json"]);
    assert_eq!(gateway.accept().id, first);
    let key = home.path().join(".local/state/clawline/identity/node.json");
    assert!(key.exists());
    assert!(
        !home
            .path()
            .join(".local/state/clawline/identity/device.json")
            .exists()
    );
}

#[test]
fn a_pairing_request_is_told_with_the_command_that_approves_it() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let mut process = gateway.start(&home, &[]);
    let request = "449a65e8-71cf-4e68-a388-29aacfcfaa41";
    gateway.refuse(json!({"code": "NOT_PAIRED", "message": "pairing required",
        "details": {"code": "PAIRING_REQUIRED", "requestId": request}}));
    let line = process.until("state=pairing");
    assert!(
        line.contains(request) && line.contains("devices approve"),
        "{line}"
    );
    assert!(process.exit_if_ended().is_none());
    process.signal(Signal::SIGINT);
    assert_eq!(process.ended().0, Some(130));
}

#[test]
fn commands_that_wait_for_approval_are_told_and_their_approval_is_noticed_at_once() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let mut process = gateway.start(&home, &[]);
    let mut node = gateway.accept();
    let request = "449a65e8-71cf-4e68-a388-29aacfcfaa41";
    node.refuse("node.event", "not now", &json!({"code": "PAIRING_CHANGED"}));
    let words = format!("awaiting operator approval; run `openclaw nodes approve {request}`");
    node.refuse("node.runnerInventory.update", &words, &json!(null));
    let line = process.until("state=unapproved");
    assert!(
        line.contains(&format!("clawline nodes approve {request}")),
        "{line}"
    );
    let id = node.id.clone();
    node.push(
        "node.pair.resolved",
        json!({"requestId": request, "nodeId": id, "decision": "approved"}),
    );
    assert_eq!(node.next_request()["params"]["event"], "node.host.stats");
    process.until("state=approved");
}

#[test]
fn a_refusal_that_merely_speaks_of_approval_is_none_of_the_node_s_commands() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let mut process = gateway.start(&home, &[]);
    let mut node = gateway.accept();
    let words = "unknown event; approval of pairing changed nothing";
    node.refuse("node.event", words, &json!({"code": "UNKNOWN_EVENT"}));
    process.until("state=approved");
}

#[test]
fn a_gateway_that_goes_away_and_comes_back_finds_the_node_again() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let mut process = gateway.start(&home, &["--json"]);
    for _ in 0..3 {
        let mut node = gateway.accept();
        process.until("\"state\":\"up\"");
        node.invoke("system.which", &json!({"bins": ["sh"]}))
            .unwrap();
        // Cut, as a gateway that is killed.
        drop(node);
    }
    gateway.accept();
    assert!(process.exit_if_ended().is_none());
}

#[test]
fn what_is_not_offered_is_refused_and_a_foreign_node_s_command_is_nobody_s() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let _process = gateway.start(&home, &["--allow", "system.which"]);
    let mut node = gateway.accept();
    assert_eq!(node.connect["commands"], json!(["system.which"]));
    for command in ["system.run", "file.fetch", "camera.snap"] {
        let refused = node.invoke(command, &json!({"command": ["id"], "path": "/etc/passwd"}));
        assert_eq!(refused.unwrap_err(), "command not supported");
    }
    node.push(
        "node.invoke.request",
        json!({"id": "x", "nodeId": "other", "command": "system.which"}),
    );
    // The next answer is that of the next command.
    node.invoke("system.which", &json!({"bins": []})).unwrap();
    let bad = node.invoke("system.which", &json!({})).unwrap_err();
    assert!(bad.contains("bins"), "{bad}");
}

#[test]
fn files_below_an_allowed_directory_are_read_and_no_others() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    home.write("open/a.txt", "inside");
    home.write("shut/b.txt", "outside");
    let open = home.path().join("open");
    let _process = gateway.start(&home, &["--allow-root", open.to_str().unwrap()]);
    let mut node = gateway.accept();
    assert_eq!(node.connect["caps"], json!(["file", "system"]));
    let read = node
        .invoke("file.fetch", &json!({"path": open.join("a.txt")}))
        .unwrap();
    assert_eq!(
        (&read["base64"], &read["size"]),
        (&json!("aW5zaWRl"), &json!(6))
    );
    for path in ["open/../shut/b.txt", "shut/b.txt"] {
        let path = home.path().join(path);
        let refused = node
            .invoke("file.fetch", &json!({ "path": path }))
            .unwrap_err();
        assert!(refused.contains("PATH_NOT_ALLOWED"), "{refused}");
    }
}

#[test]
fn a_result_that_no_message_of_the_gateway_holds_is_refused_with_the_limit_and_costs_nothing_else()
{
    let (home, mut gateway) = (Home::new(), Gateway::new(4));
    gateway.max_payload = 100_000;
    home.write("open/small.txt", &"x".repeat(50_000));
    home.write("open/large.txt", &"x".repeat(80_000));
    let open = home.path().join("open");
    let mut process = gateway.start(&home, &["--allow-root", open.to_str().unwrap()]);
    let mut node = gateway.accept();
    let mut fetch = |name| node.invoke("file.fetch", &json!({"path": open.join(name)}));
    let refused = fetch("large.txt").unwrap_err();
    assert!(refused.starts_with("RESULT_TOO_LARGE"), "{refused}");
    assert!(refused.contains("100000"), "{refused}");
    assert_eq!(fetch("small.txt").unwrap()["size"], 50_000);
    // The line says that it was done, and that nobody has it.
    let line = process.until("state=asked");
    assert!(line.contains("unsent="), "{line}");
    assert!(!line.contains("refused="), "{line}");
    let line = process.until("state=asked");
    assert!(!line.contains("unsent="), "{line}");
}

#[test]
fn what_cannot_be_offered_and_a_second_node_are_wrong_usage() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let url = gateway.url();
    let run = |more: &[&str]| {
        let mut args = vec!["node", "run", "--url", &url, "--token", "t"];
        args.extend(more);
        home.run(&args)
    };
    for (more, why) in [
        (&["--allow", "camera.snap"][..], "cannot be offered here"),
        (&["--allow-root", "/nowhere"], "/nowhere"),
        (&["--ask-at", "terminal"], "no terminal"),
    ] {
        let ran = run(more);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    }
    let process = gateway.start(&home, &[]);
    let _node = gateway.accept();
    let ran = run(&[]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains(&process.pid().to_string()),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_list_is_made_on_the_node_and_holds_no_wrapper() {
    let home = Home::new();
    let ran = home.run(&["node", "allow", "--", "uname", "-s"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let refused = home.run(&["node", "allow", "--", "env", "id"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("always asked about"),
        "{}",
        refused.stderr
    );
    let listed = home.run(&["node", "allowed", "--json"]).json();
    assert_eq!(listed["allow"][0]["argv"], json!(["uname", "-s"]));
    let id = listed["allow"][0]["id"].as_str().unwrap();
    assert_eq!(home.run(&["node", "disallow", id]).code, Some(0));
    assert_eq!(home.run(&["node", "disallow", id]).code, Some(2));
    assert_eq!(
        home.run(&["node", "allowed", "--json"]).json()["allow"],
        json!([])
    );
}

#[test]
fn a_token_that_was_never_right_ends_the_node_with_the_gateway_s_exit_code() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let mut process = gateway.start(&home, &[]);
    gateway.refuse(
        json!({"code": "INVALID_REQUEST", "message": "unauthorized: gateway token mismatch",
        "details": {"code": "AUTH_TOKEN_MISMATCH"}}),
    );
    let (code, said) = process.ended();
    assert_eq!(code, Some(7), "{said}");
}

#[test]
fn a_node_that_is_stopped_says_goodbye() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let mut process = gateway.start(&home, &[]);
    let mut node = gateway.accept();
    process.until("state=up");
    process.signal(Signal::SIGTERM);
    assert!(node.is_closed_within(DEADLINE));
    process.until("state=stopped");
}
