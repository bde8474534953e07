//! The demo as it is run: app, SSH and gateway in one process, typed at from a file.

use crate::support::Home;

fn last_screen(script: &str) -> String {
    let home = Home::new();
    home.write("script", script);
    let path = home.path().join("script");
    let ran = home.run(&["demo", "--script", path.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    // Nothing of the demo is kept in the home directory.
    let left = std::fs::read_dir(home.path()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["script"]);
    ran.stdout
}

#[test]
fn a_typed_message_is_answered_on_the_screen_over_ssh() {
    let screen = last_screen("hello from a script\n");
    assert!(screen.contains("linked"), "{screen}");
    assert!(
        screen.matches("hello from a script").count() >= 2,
        "{screen}"
    );
    let link = last_screen(":key ctrl+t\n:wait sign-in\n");
    assert!(link.contains("clawline-loopback"), "{link}");
}

#[test]
fn a_cut_connection_comes_back_and_the_transcript_is_complete_once() {
    // The line that says how long the link was away takes the place of the one that it was lost.
    let script = "first message\n:cut\nsecond message\n:wait link back\n";
    let screen = last_screen(script);
    for text in ["first message", "second message"] {
        let said = screen.lines().filter(|line| line.contains(text)).count();
        assert_eq!(said, 2, "once by us, once by the echo: {screen}");
    }
}

#[test]
fn a_script_that_cannot_be_read_is_exit_2() {
    let ran = Home::new().run(&["demo", "--script", "/no/such/script"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
}
