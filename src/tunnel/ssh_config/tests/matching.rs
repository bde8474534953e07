//! `Match`: what is judged, and when.

use super::*;

#[test]
fn a_final_match_reads_everything_again_under_the_real_name() {
    let world = World::new(
        "Host home\n  HostName desktop.lan\nHost desktop.lan\n  Port 5\nMatch final host *.lan\n  User late\n\
         Match final originalhost home user me\n  BatchMode yes\n",
    );
    let hop = world.hop("home");
    assert_eq!(
        (&*hop.host, hop.port, &*hop.user),
        ("desktop.lan", 5, "late")
    );
    assert!(!hop.batch_mode, "the user was known by then");
}

#[test]
fn a_criterion_that_cannot_be_judged_stops_with_its_line() {
    let world = World::new("Host a\n  Port 5\nMatch tagged home\n  User x\n");
    let error = world.error("a");
    assert!(
        error.starts_with("CONFIG:3: \"Match tagged\" is not supported"),
        "{error}"
    );
    // It would not be looked at where an earlier criterion failed.
    let world = World::new("Match host b tagged x\n  User x\nMatch all\n  Port 9\n");
    assert_eq!(world.hop("a").port, 9);
    assert!(world.error("b").starts_with("CONFIG:1:"));
}

#[test]
fn the_commands_of_match_run_only_when_they_are_allowed() {
    let config = "Match host b exec \"test %h = b -a %n = b -a %p = 22 -a %r = $ME\"\n  Port 7\n\
                  Match exec \"exit 3\"\n  User no\n";
    let world = World::new(config);
    let error = world.error("b");
    assert!(
        error.starts_with("CONFIG:1: \"Match exec\" would run a command"),
        "{error}"
    );
    assert!(world.error("a").starts_with("CONFIG:3:"));
    let world = World::new(&config.replace("$ME", "me"));
    let flags = Flags {
        allow_match_exec: true,
        ..Flags::default()
    };
    let hop = |target: &str| {
        let resolved = world.resolve_with(target, &flags).unwrap();
        resolved.spec.destination().unwrap().clone()
    };
    assert_eq!((hop("b").port, &*hop("b").user), (7, "me"));
    assert_eq!(hop("a").port, 22);
    let world = World::new("Match exec \"test %z\"\n");
    let error = world.resolve_with("a", &flags).unwrap_err();
    assert!(error.to_string().contains("means nothing here"), "{error}");
}
