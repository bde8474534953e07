//! The unit of a service for systemd's user manager, as text.

use super::Service;

/// The unit.
///
/// An end that was asked for (SIGTERM) stays one. After a failure, a restart helps against what passes by
/// itself; what needs a person does not pass.
pub(super) fn unit(service: &Service) -> String {
    let mut command = quoted(&service.program.display().to_string(), false);
    for argument in &service.arguments {
        command.push(' ');
        command.push_str(&quoted(argument, true));
    }
    let description = service.description.replace('%', "%%");
    let person = service
        .needs_a_person
        .iter()
        .map(u8::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    let watchdog = service
        .watchdog_seconds
        .map_or(String::new(), |seconds| format!("WatchdogSec={seconds}\n"));
    let environment: String = service
        .environment
        .iter()
        .map(|(name, value)| {
            format!(
                "Environment={}\n",
                quoted(&format!("{name}={value}"), false)
            )
        })
        .collect();
    format!(
        "\
# {mark}, which changes it the next time.
# Your own changes: systemctl --user edit {name}

[Unit]
Description={description}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
{environment}ExecStart={command}
ExecReload=kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
RestartPreventExitStatus={person}
{watchdog}TimeoutStartSec=60
TimeoutStopSec={stop}
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=default.target
",
        mark = service.mark,
        name = service.name,
        stop = service.stop_seconds,
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

    #[test]
    fn the_unit_restarts_but_not_where_a_person_is_needed() {
        let service = Service {
            name: "clawline-tunnel-me".into(),
            description: "clawline tunnel to me@desktop".into(),
            program: "/opt/claw line/clawline".into(),
            arguments: ["--tunnel-only", "--", "me@desktop"]
                .map(String::from)
                .into(),
            environment: vec![("CLAWLINE_STATE_DIR".into(), "/srv/a b/100%".into())],
            mark: "Written by a test",
            needs_a_person: &[2, 4, 5, 6],
            watchdog_seconds: Some(60),
            stop_seconds: 10,
        };
        let unit = unit(&service);
        for line in [
            "# Written by a test, which changes it the next time.",
            "Type=notify",
            "Restart=on-failure",
            "RestartPreventExitStatus=2 4 5 6",
            "WatchdogSec=60",
            "TimeoutStopSec=10",
            "Environment=\"CLAWLINE_STATE_DIR=/srv/a b/100%%\"",
            "ExecStart=\"/opt/claw line/clawline\" --tunnel-only -- me@desktop",
            "WantedBy=default.target",
        ] {
            assert!(unit.lines().any(|have| have == line), "{line}\n{unit}");
        }
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
