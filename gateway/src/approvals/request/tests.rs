//! What may be asked, and what a person is shown of it.

use super::*;

#[test]
fn the_arguments_say_what_is_shown_however_the_text_is_written() {
    let params = |text: &str| ExecApprovalRequestParams {
        command: Some(text.to_owned()),
        command_argv: Some(vec!["sh".into(), "-c".into(), "a; b".into()]),
        ..ExecApprovalRequestParams::default()
    };
    for text in ["sh -c 'a; b'", "sh -c \"a; b\"", "sh -c a; b", "ls"] {
        let new = New::read(params(text), Protocol::V4, &Policy::default()).unwrap();
        assert_eq!(new.request["command"], "sh -c 'a; b'", "{text}");
    }
}

#[test]
fn what_is_no_command_is_refused() {
    for (command, argv) in [
        (None, None),
        (Some(" "), None),
        (Some("ls"), Some(vec!["a\0b".to_owned()])),
        (Some("l\rs"), None),
    ] {
        let params = ExecApprovalRequestParams {
            command: command.map(str::to_owned),
            command_argv: argv,
            ..ExecApprovalRequestParams::default()
        };
        let read = New::read(params, Protocol::V4, &Policy::default());
        assert!(read.is_err(), "{command:?}");
    }
}

fn of_node(change: impl FnOnce(&mut ExecApprovalRequestParams)) -> Result<New, BadRequest> {
    let mut params = ExecApprovalRequestParams {
        command: Some("ls".into()),
        command_argv: Some(vec!["ls".into()]),
        host: Some("node".into()),
        node_id: Some("n".into()),
        ..ExecApprovalRequestParams::default()
    };
    change(&mut params);
    New::read(params, Protocol::V4, &Policy::default())
}

#[test]
fn version_4_names_the_arguments_and_the_node_of_what_is_to_run_on_one() {
    let whole = of_node(|_| {}).unwrap().plan;
    assert!(whole.is_for_nodes() && !whole.is_by_text);
    for (without, name) in [
        (of_node(|params| params.command_argv = None), "commandArgv"),
        (of_node(|params| params.node_id = None), "nodeId"),
    ] {
        let refused = without.unwrap_err().0;
        assert_eq!(refused, format!("{name} is required for host=node"));
    }
    // Another host is not said to be a node, and lets nothing run there.
    let elsewhere = of_node(|params| {
        params.host = None;
        params.command_argv = None;
    });
    assert!(!elsewhere.unwrap().plan.is_for_nodes());
    let by_text = ExecApprovalRequestParams {
        command: Some("ls".into()),
        host: Some("node".into()),
        ..ExecApprovalRequestParams::default()
    };
    let asked = New::read(by_text, Protocol::V3, &Policy::default());
    assert!(asked.unwrap().plan.is_by_text);
}

#[test]
fn the_plan_that_a_node_made_says_what_is_asked() {
    let plan = json!({
        "argv": ["/bin/sh", "-lc", "ls"], "cwd": "/real", "commandText": "ls", "agentId": null,
    });
    let asked = of_node(|params| {
        params.command = None;
        params.command_argv = None;
        params.cwd = Some("/link".into());
        params.agent_id = Some("main".into());
        params.system_run_plan = Some(plan.clone());
    });
    let asked = asked.unwrap();
    assert_eq!(asked.request["command"], "/bin/sh -lc ls");
    assert_eq!(asked.plan.argv.unwrap()[2], "ls");
    assert_eq!(asked.plan.cwd.as_deref(), Some("/real"));
    assert_eq!(asked.plan.agent_id.as_deref(), Some("main"));
}

#[test]
fn what_a_person_could_not_be_shown_whole_is_not_asked_about() {
    let long = |chars: usize| Some("/".repeat(chars));
    let fits = of_node(|params| params.cwd = long(MAX_TEXT)).unwrap();
    assert_eq!(fits.request["cwd"].as_str().map(str::len), Some(MAX_TEXT));
    for (asked, name) in [
        (of_node(|params| params.cwd = long(MAX_TEXT + 1)), "cwd"),
        (
            of_node(|params| params.resolved_path = long(MAX_TEXT + 1)),
            "resolvedPath",
        ),
        (
            of_node(|params| params.session_key = long(MAX_TEXT + 1)),
            "sessionKey",
        ),
        (
            of_node(|params| {
                let warning = "x".repeat(MAX_WARNING + 1);
                params.more.insert("warningText".into(), json!(warning));
            }),
            "warningText",
        ),
        (
            of_node(|params| {
                let many = (0..=MAX_ENV).map(|at| (at.to_string(), json!("")));
                params.env = Some(many.collect());
            }),
            "env",
        ),
    ] {
        let refused = asked.unwrap_err().0;
        assert!(refused.starts_with(&format!("{name}: ")), "{refused}");
    }
}
