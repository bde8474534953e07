//! The agent of a service for launchd (macOS), as text. Made on every platform, run on none of ours.

use super::Service;

/// The label that launchd knows it by.
pub(super) fn label(name: &str) -> String {
    format!("net.clawline.{name}")
}

/// The property list. launchd knows no exit codes that need a person, so a failure is tried again, a
/// minute later at the earliest; an end that was asked for stays one.
pub(super) fn agent(service: &Service, log: &str) -> String {
    let mut words = format!(
        "    <string>{}</string>\n",
        escaped(&service.program.display().to_string())
    );
    for argument in &service.arguments {
        words.push_str(&format!("    <string>{}</string>\n", escaped(argument)));
    }
    let mut environment = String::new();
    if !service.environment.is_empty() {
        environment.push_str("  <key>EnvironmentVariables</key>\n  <dict>\n");
        for (name, value) in &service.environment {
            environment.push_str(&format!(
                "    <key>{}</key>\n    <string>{}</string>\n",
                escaped(name),
                escaped(value)
            ));
        }
        environment.push_str("  </dict>\n");
    }
    format!(
        "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">
<!-- {mark}, which changes it the next time. -->
<plist version=\"1.0\">
<dict>
  <key>Label</key>
  <string>{label}</string>
  <key>ProgramArguments</key>
  <array>
{words}  </array>
{environment}  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ThrottleInterval</key>
  <integer>60</integer>
  <key>ProcessType</key>
  <string>Background</string>
  <key>Umask</key>
  <integer>63</integer>
  <key>StandardOutPath</key>
  <string>{log}</string>
  <key>StandardErrorPath</key>
  <string>{log}</string>
</dict>
</plist>
",
        label = escaped(&label(&service.name)),
        mark = service.mark,
        log = escaped(log),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_a_property_list_with_every_word_of_its_own() {
        let service = Service {
            name: "clawline-tunnel-me".into(),
            description: String::new(),
            program: "/opt/clawline".into(),
            arguments: vec!["--tunnel-only".into(), "-o".into(), "User=<a&b>".into()],
            environment: vec![("NAME".into(), "<v>".into())],
            mark: "Written by a test",
            needs_a_person: &[2],
            watchdog_seconds: None,
            stop_seconds: 10,
        };
        let text = agent(&service, "/Users/me/Library/Logs/x.log");
        assert!(text.starts_with("<?xml"));
        assert!(text.contains("Written by a test"));
        assert!(text.contains("<key>NAME</key>\n    <string>&lt;v&gt;</string>"));
        assert!(text.contains("<string>net.clawline.clawline-tunnel-me</string>"));
        let words = "    <string>/opt/clawline</string>\n    <string>--tunnel-only</string>\n    \
                     <string>-o</string>\n    <string>User=&lt;a&amp;b&gt;</string>\n";
        assert!(text.contains(words), "{text}");
        let opened = text.matches("<key>").count();
        assert_eq!(opened, text.matches("</key>").count());
        assert_eq!(
            text.matches("<dict>").count(),
            text.matches("</dict>").count()
        );
    }
}
