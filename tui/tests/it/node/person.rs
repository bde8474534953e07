//! The person at the node's terminal, who is asked about programs.

use serde_json::json;

use super::gateway::{Gateway, Node};
use crate::support::screen::Screen;

fn begin(node: &mut Node, argv: &[&str]) -> String {
    node.begin(
        "system.run",
        &json!({ "command": argv, "cwd": "/" }),
        60_000,
    )
}

#[test]
fn a_person_sees_what_would_run_and_decides() {
    let gateway = Gateway::new(3);
    let (url, exec) = (gateway.url(), ["--exec", "allowlist"]);
    let node = ["node", "run", "--url", &url, "--token", "t"];
    let mut seat = Screen::run(&[&node[..], &exec].concat());
    let mut node = gateway.accept();
    seat.take_until("state=up");

    let id = begin(&mut node, &["echo", "a\u{202e}b"]);
    let question = seat.take_until("Run it?");
    assert!(
        question.contains("echo 'a\\u{202E}b'") && question.contains("invisible"),
        "{question}"
    );
    assert!(!question.contains('\u{202e}') && question.contains("/usr/bin/echo"));
    seat.types("y\r");
    assert_eq!(node.result(&id).unwrap()["stdout"], "a\u{202e}b\n");

    let id = begin(&mut node, &["uname", "-s"]);
    seat.take_until("[a] yes, and put it on the list");
    seat.types("\r");
    assert!(node.result(&id).unwrap_err().contains("said no"));

    let id = begin(&mut node, &["uname", "-s"]);
    seat.take_until("Run it?");
    seat.types("a\r");
    assert!(node.result(&id).is_ok());
    // From now on without a question, in that directory.
    assert_eq!(
        node.invoke(
            "system.run",
            &json!({"command": ["uname", "-s"], "cwd": "/"})
        )
        .unwrap()["stdout"],
        "Linux\n"
    );
}
