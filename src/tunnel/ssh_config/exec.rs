//! The commands of `Match exec`, run through the user's shell when our own configuration allows it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::env::Env;

/// How long a command may take; ssh waits for ever.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Runs `command` as ssh does (`$SHELL -c`, no input, no output) and answers whether it succeeded.
/// Blocks until it ends. An error says that it could not be started or did not end in time; it is
/// killed then, with what it started in its process group.
pub(super) fn succeeds(command: &str, env: &Env) -> Result<bool, String> {
    let shell = env.shell();
    let mut child = Command::new(shell);
    child
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut child, 0);
    let mut child = child
        .spawn()
        .map_err(|error| format!("cannot run {shell}: {error}"))?;
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if started.elapsed() < DEADLINE => std::thread::sleep(LOOK),
            outcome => {
                end(&mut child);
                return Err(match outcome {
                    Err(error) => format!("the command of Match exec was lost: {error}"),
                    Ok(_) => format!(
                        "the command of Match exec did not end within {} s",
                        DEADLINE.as_secs()
                    ),
                });
            }
        }
    }
}

fn end(child: &mut std::process::Child) {
    #[cfg(unix)]
    if let Ok(group) = i32::try_from(child.id()) {
        let group = nix::unistd::Pid::from_raw(group);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}
