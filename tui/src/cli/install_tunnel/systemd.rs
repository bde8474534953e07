//! The unit of a tunnel for systemd's user manager, as text.

use super::MARK;
use super::plan::Plan;

/// The unit.
///
/// An end that was asked for (`clawline tunnel stop`, SIGTERM) stays one. After a failure, a restart helps
/// against what passes by itself. What needs a person does not pass: wrong usage (2), a
/// refused host key (4), a refused sign-in (5), a forbidden forward (6).
pub(super) fn unit(plan: &Plan) -> String {
    let mut command = quoted(&plan.program.display().to_string(), false);
    for argument in &plan.arguments {
        command.push(' ');
        command.push_str(&quoted(argument, true));
    }
    let target = plan.target.replace('%', "%%");
    format!(
        "\
# {MARK}, which changes it the next time.
# Your own changes: systemctl --user edit {name}

[Unit]
Description=clawline tunnel to {target}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2 4 5 6
WatchdogSec=60
TimeoutStartSec=60
TimeoutStopSec=10
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=default.target
",
        name = plan.name,
    )
}

/// One word of a command line. `%` begins a specifier, and `$` a variable in arguments.
fn quoted(text: &str, is_argument: bool) -> String {
    let mut word = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    if is_argument {
        word = word.replace('$', "$$");
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@:./_-=,+%$".contains(c);
    if word.is_empty() || !word.chars().all(is_plain) {
        word = format!("\"{word}\"");
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Plan {
        Plan {
            target: "me@desktop".into(),
            name: "clawline-tunnel-me".into(),
            program: "/opt/claw line/clawline".into(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            asks_an_agent: false,
        }
    }

    #[test]
    fn the_unit_restarts_but_not_where_a_person_is_needed() {
        let unit = unit(&plan(&["--tunnel-only", "--", "me@desktop"]));
        for line in [
            "Type=notify",
            "Restart=on-failure",
            "RestartPreventExitStatus=2 4 5 6",
            "WatchdogSec=60",
            "ExecStart=\"/opt/claw line/clawline\" --tunnel-only -- me@desktop",
            "WantedBy=default.target",
        ] {
            assert!(unit.lines().any(|have| have == line), "{line}\n{unit}");
        }
        assert!(unit.contains(MARK));
    }

    #[test]
    fn nothing_in_a_word_is_read_by_systemd() {
        for (typed, written) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("%h/$HOME", "%%h/$$HOME"),
            ("a\"b\\c;d", "\"a\\\"b\\\\c;d\""),
        ] {
            assert_eq!(quoted(typed, true), written);
        }
    }
}
