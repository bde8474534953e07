//! Our values beside those of the `ssh` that is installed, where one is.

use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use clawline::layer::printable;
use clawline::tunnel::checkup::{Finding, Health};
use clawline::tunnel::spec::HopSpec;
use clawline::tunnel::ssh_config::{ConfigFile, Difference, Env, Flags, Resolved, differences};
use clawline::tunnel::target::SshTarget;
use tokio::process::Command;
use tokio::time::timeout;

/// How long ssh may take to read its files.
const READING: Duration = Duration::from_secs(10);
/// What of a jump host ssh cannot know, since the host behind it says so.
const SAID_ELSEWHERE: [&str; 4] = ["ProxyJump", "ProxyCommand", "User", "Port"];

/// Asks `ssh -G` about every hop. The differences are those on purpose, too.
pub(super) async fn with_ssh(
    target: &SshTarget,
    flags: &Flags,
    resolved: &Resolved,
) -> (Finding, Vec<(String, Difference)>) {
    let finding = |health, what: String| Finding::new("ssh", health, what);
    let env = match Env::of_process() {
        Ok(env) => env,
        Err(error) => return (finding(Health::Bad, error.to_string()), Vec::new()),
    };
    let mut found = Vec::new();
    for (index, hop) in resolved.spec.hops.iter().enumerate() {
        let is_last = index + 1 == resolved.spec.hops.len();
        let arguments = if is_last {
            arguments(target, flags)
        } else {
            arguments_of_jump(hop, flags)
        };
        let output = match ask(&arguments).await {
            Ok(output) => output,
            Err(Unanswered::NoSsh) => {
                let what = "no ssh is installed to compare with; none is needed";
                return (finding(Health::Note, what.into()), Vec::new());
            }
            Err(Unanswered::Refused(words)) => {
                let what = format!("ssh does not follow this configuration: {words}");
                let next = "clawline does, but other programs on this machine will not";
                return (finding(Health::Note, what).next(next), Vec::new());
            }
        };
        let of_hop = differences(resolved, &hop.alias, &output, &env);
        found.extend(
            of_hop
                .into_iter()
                .map(|difference| because_of_home(difference, &env))
                .filter(|found| is_last || !SAID_ELSEWHERE.contains(&found.keyword))
                .map(|difference| (hop.alias.clone(), difference)),
        );
    }
    let surprises = found.iter().filter(|(_, d)| d.reason.is_none()).count();
    let own = found.len() - surprises;
    let result = match (surprises, own) {
        (0, 0) => finding(Health::Good, "ssh -G says the same".into()),
        (0, own) => finding(
            Health::Good,
            format!(
                "ssh -G says the same, but for {own} values that differ on purpose (see --json)"
            ),
        ),
        (1, _) => finding(Health::Bad, "ssh -G has another value for 1 option".into())
            .next("see below; if clawline is wrong, please report it"),
        (many, _) => finding(
            Health::Bad,
            format!("ssh -G has other values for {many} options"),
        )
        .next("see below; if clawline is wrong, please report it"),
    };
    (result, found)
}

/// A run with a HOME of its own has other files than ssh, which asks the password file.
fn because_of_home(mut difference: Difference, env: &Env) -> Difference {
    let home = env.home.display().to_string();
    let account = account_home().filter(|account| *account != home);
    if let Some(account) = account
        && difference.reason.is_none()
        && difference.ours.replace(&home, &account) == difference.theirs
    {
        difference.reason = Some("HOME names another directory than the password file");
    }
    difference
}

#[cfg(unix)]
fn account_home() -> Option<String> {
    let account = nix::unistd::User::from_uid(nix::unistd::getuid());
    Some(account.ok()??.dir.display().to_string())
}

#[cfg(not(unix))]
fn account_home() -> Option<String> {
    None
}

/// Why there is nothing to compare with.
enum Unanswered {
    NoSsh,
    Refused(String),
}

async fn ask(arguments: &[String]) -> Result<String, Unanswered> {
    let running = Command::new("ssh")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match timeout(READING, running).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => return Err(Unanswered::NoSsh),
        Ok(Err(error)) => return Err(Unanswered::Refused(error.to_string())),
        Err(_) => {
            let what = format!("no answer within {} s", READING.as_secs());
            return Err(Unanswered::Refused(what));
        }
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.trim().lines().next().unwrap_or_default();
    Err(Unanswered::Refused(printable(last, 300)))
}

/// What was typed, as ssh takes it.
fn arguments(target: &SshTarget, flags: &Flags) -> Vec<String> {
    let mut list = of_file(flags);
    let mut pair = |option: &str, value: String| list.extend([option.to_owned(), value]);
    if let Some(port) = flags.port.or(target.port) {
        pair("-p", port.to_string());
    }
    if let Some(user) = &target.user {
        pair("-l", user.clone());
    }
    for identity in &flags.identities {
        pair("-o", format!("IdentityFile={}", quoted(identity)));
    }
    if let Some(jump) = &flags.jump {
        pair("-J", jump.clone());
    }
    for option in &flags.options {
        pair("-o", option.clone());
    }
    for own in &flags.own {
        pair("-o", format!("{}={}", own.keyword, quoted(&own.value)));
    }
    list.extend(["--".to_owned(), target.host.clone()]);
    list
}

fn arguments_of_jump(hop: &HopSpec, flags: &Flags) -> Vec<String> {
    let mut list = of_file(flags);
    list.extend(["-p".to_owned(), hop.port.to_string()]);
    list.extend(["-l".to_owned(), hop.user.clone()]);
    list.extend(["--".to_owned(), hop.alias.clone()]);
    list
}

fn of_file(flags: &Flags) -> Vec<String> {
    let mut list = vec!["-G".to_owned()];
    match &flags.config {
        ConfigFile::Standard => {}
        ConfigFile::None => list.extend(["-F".to_owned(), "none".to_owned()]),
        ConfigFile::Only(path) => {
            list.extend(["-F".to_owned(), path.to_string_lossy().into_owned()]);
        }
    }
    list
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use clawline::tunnel::ssh_config::OwnSetting;

    use super::*;

    #[test]
    fn ssh_is_asked_about_what_was_typed() {
        let target: SshTarget = "me@desktop:2222".parse().unwrap();
        let flags = Flags {
            config: ConfigFile::Only("/c".into()),
            port: Some(99),
            identities: vec!["/a b".into()],
            jump: Some("door".into()),
            options: vec!["User=x".into()],
            own: vec![OwnSetting {
                keyword: "ProxyJump",
                value: "gate".into(),
                at: String::new(),
            }],
            ..Flags::default()
        };
        let asked = arguments(&target, &flags).join(" ");
        assert_eq!(
            asked,
            "-G -F /c -p 99 -l me -o IdentityFile=\"/a b\" -J door -o User=x -o ProxyJump=\"gate\" -- desktop"
        );
        let hop = HopSpec::bare("h", 22, "u");
        let asked = arguments_of_jump(&hop, &Flags::default()).join(" ");
        assert_eq!(asked, "-G -p 22 -l u -- h");
    }
}
