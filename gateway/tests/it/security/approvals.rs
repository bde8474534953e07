//! SECURITY.md S52–S54, S59, B38: what a person is shown, and what an approval is good for.

use clawline_gateway::policy::Policy;
use serde_json::{Value, json};

use super::nodes::reaches;
use super::{Outcome, no_change, outcome, refused_unless};
use crate::approvals::{approver, ask, decision};
use crate::nodes::{answer, approved, invoke, node_id, operator};
use crate::support::{Client, TestGateway};

const ADMIN: [&str; 2] = ["operator.admin", "operator.approvals"];

/// Asks for a command, and what a person is shown of it.
async fn shown(asker: &mut Client, person: &mut Client, id: &str, argv: &[&str]) -> Value {
    asker.start("exec.approval.request", ask(id, argv)).await;
    person.event("exec.approval.requested").await["payload"]["request"].clone()
}

#[tokio::test]
async fn s54_text_that_hides_reaches_nobody_who_decides() {
    let refusal = refused_unless(
        |policy| policy.visible_commands = false,
        no_change,
        async |gateway| {
            let mut asker = operator(gateway, 4).await;
            let mut person = approver(gateway, 7, &ADMIN).await;
            let argv = ["echo", "a\u{202e}b"];
            let request = shown(&mut asker, &mut person, "a1", &argv).await;
            match request["command"].as_str().unwrap().contains('\u{202e}') {
                true => Ok(request),
                false => Err(request),
            }
        },
    )
    .await;
    assert_eq!(refusal["warningText"], "contains invisible characters");
}

/// A command for a node that gets these variables.
fn with_variables(names: &[String]) -> Value {
    let mut request = ask("a1", &["ls\u{3164}"]);
    let env = names
        .iter()
        .map(|name| (name.clone(), json!("/tmp/evil.so")));
    request["env"] = env.collect();
    request["host"] = json!("node");
    request["nodeId"] = json!(node_id(1));
    request
}

#[tokio::test]
async fn s53_version_3_is_shown_the_variables_the_node_and_the_warning_in_the_command() {
    let refusal = refused_unless(
        |policy| policy.whole_in_v3 = false,
        no_change,
        async |gateway| {
            let mut asker = operator(gateway, 4).await;
            let mut person = operator(gateway, 3).await;
            let names = ["LD_PRELOAD".to_owned(), "A ] ls".to_owned()];
            asker
                .start("exec.approval.request", with_variables(&names))
                .await;
            let told = person.event("exec.approval.requested").await;
            let request = told["payload"]["request"].clone();
            let is_named = |part| request["command"].as_str().unwrap().contains(part);
            match ["LD_PRELOAD", "invisible", &node_id(1)]
                .into_iter()
                .all(is_named)
            {
                false => Ok(request),
                true => Err(request),
            }
        },
    )
    .await;
    let shown = format!(
        "[warning 'contains invisible characters'] [node {}] [env 'A ] ls' LD_PRELOAD] ls\\u{{3164}}",
        node_id(1)
    );
    assert_eq!(refusal["command"], shown);
    assert_eq!(refusal.as_object().unwrap().len(), 8, "{refusal}");
}

#[tokio::test]
async fn s53_what_version_3_cannot_be_shown_whole_it_neither_sees_nor_allows() {
    let refusal = refused_unless(
        |policy| policy.whole_in_v3 = false,
        no_change,
        async |gateway| {
            let mut asker = operator(gateway, 4).await;
            let mut newer = approver(gateway, 7, &ADMIN).await;
            let mut person = operator(gateway, 3).await;
            let names: Vec<String> = (0..200).map(|at| format!("{at:0100}")).collect();
            asker
                .start("exec.approval.request", with_variables(&names))
                .await;
            newer.event("exec.approval.requested").await;
            let listed = person.ok("exec.approval.list", json!({})).await;
            let decide = decision("a1", "allow-once");
            let allowed = outcome(&person.call("exec.approval.resolve", decide).await);
            if allowed.is_err() {
                assert_eq!(listed, json!([]));
                let deny = decision("a1", "deny");
                person.ok("exec.approval.resolve", deny).await;
            }
            allowed
        },
    )
    .await;
    let words = refusal["message"].as_str().unwrap();
    assert!(words.contains("allow it with a newer client"), "{words}");
    // Nor is it somebody who can be asked.
    let gateway = TestGateway::start().await;
    let mut asker = operator(&gateway, 4).await;
    let _person = operator(&gateway, 3).await;
    let names: Vec<String> = (0..200).map(|at| format!("{at:0100}")).collect();
    let asked = asker
        .ok("exec.approval.request", with_variables(&names))
        .await;
    assert_eq!(asked["decision"], Value::Null, "nobody was there");
}

#[tokio::test]
async fn s54_what_stands_beside_the_command_hides_nothing_either() {
    let refusal = refused_unless(
        |policy| policy.visible_commands = false,
        no_change,
        async |gateway| {
            let mut asker = operator(gateway, 4).await;
            let mut person = approver(gateway, 7, &ADMIN).await;
            let mut request = ask("a1", &["ls"]);
            for member in ["sessionId", "runId", "toolCallId", "turnSourceTo"] {
                request[member] = json!("a\u{202e}\u{1b}[2Jb");
            }
            asker.start("exec.approval.request", request).await;
            let told = person.event("exec.approval.requested").await;
            let request = told["payload"]["request"].clone();
            let hides = |member: &str| request[member].as_str().unwrap().contains('\u{202e}');
            match hides("sessionId") || hides("turnSourceTo") {
                true => Ok(request),
                false => Err(request),
            }
        },
    )
    .await;
    for member in ["sessionId", "runId", "toolCallId", "turnSourceTo"] {
        assert_eq!(refusal[member], "a\\u{202E}\\u{1B}[2Jb", "{member}");
    }
}

#[tokio::test]
async fn s53_a_command_that_cannot_be_shown_whole_is_not_asked_about() {
    let refusal = refused_unless(
        |policy| policy.whole_commands = false,
        no_change,
        async |gateway| {
            let mut asker = operator(gateway, 4).await;
            let _person = approver(gateway, 7, &ADMIN).await;
            let long = "x".repeat(9 * 1024);
            let call = asker
                .start("exec.approval.request", ask("a1", &["echo", &long]))
                .await;
            outcome(&asker.response(&call).await)
        },
    )
    .await;
    assert_eq!(refusal["code"], "INVALID_REQUEST");
}

#[tokio::test]
async fn s59_an_approval_that_was_used_lets_nothing_run_again() {
    let refusal = refused_unless(
        |policy| policy.run_approval = false,
        no_change,
        async |gateway| {
            let (mut host, mut asker) = approved(gateway, 1).await;
            let mut person = approver(gateway, 7, &ADMIN).await;
            let mut request = ask("a1", &["id"]);
            request["nodeId"] = json!(node_id(1));
            asker.start("exec.approval.request", request).await;
            person.event("exec.approval.requested").await;
            let decide = decision("a1", "allow-once");
            person.ok("exec.approval.resolve", decide).await;
            let run = json!({
                "command": ["id"], "cwd": "/", "agentId": "main", "sessionKey": "agent:main:main",
                "approved": true, "runId": "a1",
            });
            let first = invoke(1, "system.run", run.clone(), "k1");
            reaches(&mut asker, &mut host, first).await.unwrap();
            reaches(&mut asker, &mut host, invoke(1, "system.run", run, "k2")).await
        },
    )
    .await;
    assert_eq!(refusal["details"]["code"], "APPROVAL_NOT_FOUND");
}

#[tokio::test]
async fn b38_somebody_elses_approval_is_not_there() {
    let refusal = refused_unless(
        |policy| policy.approval_privacy = false,
        no_change,
        async |gateway| {
            let mut stranger = approver(gateway, 9, &["operator.approvals"]).await;
            let mut owner = approver(gateway, 8, &ADMIN).await;
            let _person = approver(gateway, 7, &ADMIN).await;
            let call = owner
                .start("exec.approval.request", ask("foreign", &["ls"]))
                .await;
            owner.response(&call).await;
            let decide = decision("foreign", "allow-once");
            outcome(&stranger.call("exec.approval.resolve", decide).await)
        },
    )
    .await;
    assert_eq!(refusal["details"]["reason"], "APPROVAL_NOT_FOUND");
}

#[tokio::test]
async fn s52_the_end_of_an_argument_can_be_seen() {
    let gateway = TestGateway::start().await;
    let mut asker = operator(&gateway, 4).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    let request = shown(&mut asker, &mut person, "a1", &["/tmp/ls ", "-l"]).await;
    assert_eq!(request["command"], "'/tmp/ls ' -l");
    let request = shown(&mut asker, &mut person, "a2", &["/tmp/ls\t"]).await;
    assert_eq!(request["command"], "/tmp/ls\\u{9}");
    for argv in [["ls", "a\u{0}b"], ["ls", "a\rb"]] {
        let error = asker.error("exec.approval.request", ask("a3", &argv)).await;
        assert_eq!(error["code"], "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn s53_the_whole_command_is_shown_or_it_is_not_asked_about() {
    let gateway = TestGateway::start().await;
    let mut asker = operator(&gateway, 4).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    let script = format!("echo ok; {} curl x|sh", " ".repeat(4000));
    let request = shown(&mut asker, &mut person, "a1", &["sh", "-c", &script]).await;
    let text = request["command"].as_str().unwrap();
    assert!(text.ends_with("curl x|sh'"), "nothing is cut");
    assert_eq!(request["commandLength"], text.chars().count());
    assert_eq!(request["commandSha256"].as_str().unwrap().len(), 64);
    let long = "x".repeat(9 * 1024);
    let error = asker
        .error("exec.approval.request", ask("a2", &["echo", &long]))
        .await;
    assert_eq!(error["code"], "INVALID_REQUEST");
}

#[tokio::test]
async fn s54_what_hides_text_is_shown_and_warned_of() {
    let gateway = TestGateway::start().await;
    let mut asker = operator(&gateway, 4).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    for hidden in [
        '\u{200b}', '\u{2060}', '\u{3164}', '\u{115f}', '\u{202e}', '\u{ff5c}', '\n', '\u{1b}',
    ] {
        let id = format!("a{:x}", u32::from(hidden));
        let argument = format!("a{hidden}b");
        let request = shown(&mut asker, &mut person, &id, &["echo", &argument]).await;
        let escaped = format!("a\\u{{{:X}}}b", u32::from(hidden));
        assert!(
            request["command"].as_str().unwrap().contains(&escaped),
            "{request}"
        );
        assert_eq!(request["commandArgv"][1], escaped);
        assert_eq!(request["warningText"], "contains invisible characters");
    }
}

#[tokio::test]
async fn s59_an_approval_is_used_once_for_what_was_asked_by_whom_it_was_asked() {
    let gateway = TestGateway::start().await;
    let (mut host, mut asker) = approved(&gateway, 1).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    let mut second = approver(&gateway, 8, &ADMIN).await;
    let mut request = ask("a1", &["id"]);
    request["nodeId"] = json!(node_id(1));
    asker.start("exec.approval.request", request).await;
    person.event("exec.approval.requested").await;
    let decide = decision("a1", "allow-once");
    person.ok("exec.approval.resolve", decide.clone()).await;
    // The second of two people, and the same one's second click.
    for client in [&mut second, &mut person] {
        let error = client.error("exec.approval.resolve", decide.clone()).await;
        assert_eq!(error["details"]["reason"], "APPROVAL_NOT_FOUND");
    }
    let run = |argv: Value| {
        json!({
            "command": argv, "cwd": "/", "agentId": "main", "sessionKey": "agent:main:main",
            "approved": true, "approvalDecision": "allow-once", "runId": "a1",
        })
    };
    let other = invoke(1, "system.run", run(json!(["rm", "x"])), "k1");
    let error = asker.error("node.invoke", other).await;
    assert_eq!(
        error["details"]["code"], "APPROVAL_NOT_FOUND",
        "another command"
    );
    let same = |key: &str| invoke(1, "system.run", run(json!(["id"])), key);
    let error = second.error("node.invoke", same("k2")).await;
    assert_eq!(
        error["details"]["code"], "APPROVAL_NOT_FOUND",
        "another device"
    );
    let call = asker.start("node.invoke", same("k3")).await;
    answer(&mut host, json!({"payloadJSON": "{}"})).await;
    assert_eq!(asker.response(&call).await["ok"], true);
    let error = asker.error("node.invoke", same("k4")).await;
    assert_eq!(
        error["details"]["code"], "APPROVAL_NOT_FOUND",
        "a second time"
    );
}

#[tokio::test]
async fn s59_version_4_approves_no_text_but_arguments_on_one_node() {
    let gateway = TestGateway::start().await;
    let (_host, mut asker) = approved(&gateway, 1).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    let mut by_text = ask("text", &["id"]);
    by_text["nodeId"] = json!(node_id(1));
    by_text.as_object_mut().unwrap().remove("commandArgv");
    for (id, request) in [
        ("text", by_text.clone()),
        ("nowhere", ask("nowhere", &["id"])),
    ] {
        asker.start("exec.approval.request", request).await;
        person.event("exec.approval.requested").await;
        let decide = json!({"id": id, "decision": "allow-once"});
        person.ok("exec.approval.resolve", decide).await;
        let run = json!({
            "command": ["id"], "cwd": "/", "agentId": "main", "sessionKey": "agent:main:main",
            "approved": true, "runId": id,
        });
        let error = asker
            .error("node.invoke", invoke(1, "system.run", run, id))
            .await;
        assert_eq!(error["details"]["code"], "APPROVAL_NOT_FOUND", "{id}");
        let text = error["message"].as_str().unwrap();
        assert!(text.contains("ask again with commandArgv"), "{text}");
    }
    // Asked for as a node's, nobody is even shown it.
    by_text["id"] = json!("other");
    by_text["host"] = json!("node");
    let error = asker.error("exec.approval.request", by_text).await;
    assert_eq!(error["code"], "INVALID_REQUEST");
}

#[tokio::test]
async fn s59_a_text_that_version_3_approved_lets_no_other_program_run() {
    let gateway = TestGateway::start().await;
    let (mut host, admin) = approved(&gateway, 1).await;
    let mut asker = operator(&gateway, 3).await;
    drop(admin);
    let request = json!({
        "id": "a1", "command": "ls", "cwd": "/", "host": "node", "agentId": "main",
        "timeoutMs": 600_000,
    });
    let asked = asker.start("exec.approval.request", request).await;
    asker.event("exec.approval.requested").await;
    let decide = json!({"id": "a1", "decision": "allow-once"});
    asker.ok("exec.approval.resolve", decide).await;
    asker.response(&asked).await;
    let run = |argv: Value| {
        json!({
            "command": argv, "rawCommand": "ls", "cwd": "/", "agentId": "main", "approved": true,
            "approvalDecision": "allow-once", "runId": "a1",
        })
    };
    let evil = run(json!(["/opt/evil/sh", "-c", "ls"]));
    let mut silent = evil.clone();
    silent.as_object_mut().unwrap().remove("rawCommand");
    for (at, run) in [evil, silent].into_iter().enumerate() {
        let params = invoke(1, "system.run", run, &format!("k{at}"));
        let error = asker.error("node.invoke", params).await;
        assert_eq!(error["code"], "INVALID_REQUEST");
    }
    let good = run(json!(["/bin/sh", "-lc", "ls"]));
    let call = asker
        .start("node.invoke", invoke(1, "system.run", good, "k"))
        .await;
    answer(&mut host, json!({"payloadJSON": "{}"})).await;
    assert_eq!(asker.response(&call).await["ok"], true);
}

#[tokio::test]
async fn s59_a_restart_denies_what_waits_and_what_was_not_used() {
    let gateway = TestGateway::start().await;
    let (_host, mut asker) = approved(&gateway, 1).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    for id in ["waits", "allowed"] {
        let mut request = ask(id, &["id"]);
        request["nodeId"] = json!(node_id(1));
        let call = asker.start("exec.approval.request", request).await;
        asker.response(&call).await;
    }
    let decide = decision("allowed", "allow-once");
    person.ok("exec.approval.resolve", decide).await;
    drop((asker, person, _host));
    let gateway = gateway.restart().await;
    let mut asker = operator(&gateway, 4).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    for id in ["waits", "allowed"] {
        let waited = asker
            .ok("exec.approval.waitDecision", json!({"id": id}))
            .await;
        assert_eq!(waited["decision"], "deny", "{id}");
        let decide = decision(id, "allow-once");
        let error = person.error("exec.approval.resolve", decide).await;
        assert_eq!(error["details"]["reason"], "APPROVAL_NOT_FOUND");
        let error = asker.error("exec.approval.request", ask(id, &["id"])).await;
        assert_eq!(
            error["message"], "this approval id was used before; ask again with another one",
            "an id is used once"
        );
    }
    let (_host, _) =
        Client::connect(gateway.address, &crate::nodes::node(4, &gateway.secret, 1)).await;
    let run = json!({
        "command": ["id"], "cwd": "/", "agentId": "main", "sessionKey": "agent:main:main",
        "approved": true, "runId": "allowed",
    });
    let error = asker
        .error("node.invoke", invoke(1, "system.run", run, "k"))
        .await;
    assert_eq!(error["details"]["code"], "APPROVAL_NOT_FOUND");
}

#[tokio::test]
async fn b38_an_approval_that_is_not_there_for_somebody_is_not_there() {
    let gateway = TestGateway::start().await;
    let mut asker = operator(&gateway, 4).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    // With the scope, but another device and no admin.
    let mut stranger = approver(&gateway, 9, &["operator.approvals"]).await;
    let mut owner = approver(&gateway, 8, &ADMIN).await;
    asker
        .start("exec.approval.request", ask("used", &["ls"]))
        .await;
    person.event("exec.approval.requested").await;
    let decide = decision("used", "deny");
    person.ok("exec.approval.resolve", decide).await;
    let call = owner
        .start("exec.approval.request", ask("foreign", &["ls"]))
        .await;
    owner.response(&call).await;
    let mut texts = std::collections::BTreeSet::new();
    for id in ["foreign", "used", "f3b1c2d4", ""] {
        for method in [
            "exec.approval.resolve",
            "exec.approval.get",
            "exec.approval.waitDecision",
        ] {
            let params = json!({"id": id, "decision": "allow-once"});
            let error = stranger.error(method, params).await;
            texts.insert(error.to_string());
        }
    }
    assert_eq!(texts.len(), 1, "one text for all of them: {texts:?}");
    assert!(texts.first().unwrap().contains("APPROVAL_NOT_FOUND"));
    assert_eq!(
        stranger.ok("exec.approval.list", json!({})).await,
        json!([])
    );
    let is_shown = |frame: &Value| frame["event"] == "exec.approval.requested";
    assert!(!stranger.seen.iter().any(is_shown), "nor was it told");
}

#[tokio::test]
async fn s52_blanks_and_breaks_are_shown_or_refused_by_the_check() {
    for argv in [["/tmp/ls ", "-l"], ["/tmp/ls\t", "-l"], ["ls", "a\rb"]] {
        refused_unless(
            |policy| policy.visible_commands = false,
            no_change,
            async |gateway| {
                let mut asker = operator(gateway, 4).await;
                let mut person = approver(gateway, 7, &ADMIN).await;
                let call = asker.start("exec.approval.request", ask("a1", &argv)).await;
                let answer = asker.response(&call).await;
                if answer["ok"] == false {
                    return Err(answer["error"].clone());
                }
                let told = person.event("exec.approval.requested").await;
                let request = told["payload"]["request"].clone();
                // Plain is what cannot be told from other arguments.
                match request["command"] == argv.join(" ") {
                    true => Ok(request),
                    false => Err(request),
                }
            },
        )
        .await;
    }
}

/// A node, whoever asked for `id` on it, and whoever has allowed that once.
async fn approved_id(gateway: &TestGateway) -> (Client, Client, Client) {
    let (host, mut asker) = approved(gateway, 1).await;
    let mut person = approver(gateway, 7, &ADMIN).await;
    let mut request = ask("a1", &["id"]);
    request["nodeId"] = json!(node_id(1));
    let call = asker.start("exec.approval.request", request).await;
    asker.response(&call).await;
    person
        .ok("exec.approval.resolve", decision("a1", "allow-once"))
        .await;
    (host, asker, person)
}

fn claimed(argv: &[&str]) -> Value {
    json!({
        "command": argv, "cwd": "/", "agentId": "main", "sessionKey": "agent:main:main",
        "approved": true, "runId": "a1",
    })
}

#[tokio::test]
async fn s59_it_is_the_check_that_ties_an_approval_to_its_command_and_device() {
    let other_command = refused_unless(
        |policy| policy.run_approval = false,
        no_change,
        async |gateway| {
            let (mut host, mut asker, _) = approved_id(gateway).await;
            let run = claimed(&["rm", "x"]);
            reaches(&mut asker, &mut host, invoke(1, "system.run", run, "k")).await
        },
    );
    let other_device = refused_unless(
        |policy| policy.run_approval = false,
        no_change,
        async |gateway| {
            let (mut host, _, mut person) = approved_id(gateway).await;
            let run = claimed(&["id"]);
            reaches(&mut person, &mut host, invoke(1, "system.run", run, "k")).await
        },
    );
    for refusal in [other_command.await, other_device.await] {
        assert_eq!(refusal["details"]["code"], "APPROVAL_NOT_FOUND");
    }
}

/// An approval that was given and not used, and a restart: whether it lets its command run then.
async fn used_after_restart(policy: Policy) -> Outcome {
    let gateway = TestGateway::start_under(policy, no_change).await;
    drop(approved_id(&gateway).await);
    let gateway = gateway.restart().await;
    let connect = crate::nodes::node(4, &gateway.secret, 1);
    let (mut host, _) = Client::connect(gateway.address, &connect).await;
    let mut asker = operator(&gateway, 4).await;
    reaches(
        &mut asker,
        &mut host,
        invoke(1, "system.run", claimed(&["id"]), "k"),
    )
    .await
}

#[tokio::test]
async fn s59_it_is_the_restart_that_denies_what_was_not_used() {
    let refusal = used_after_restart(Policy::default()).await.unwrap_err();
    assert_eq!(refusal["details"]["code"], "APPROVAL_NOT_FOUND");
    let open = Policy::leaving_out(|policy| policy.denied_by_restart = false);
    used_after_restart(open).await.unwrap();
}
