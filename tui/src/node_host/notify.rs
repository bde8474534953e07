//! `system.notify`: a note on this machine's own screen, by whatever program there is for it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clawline::layer::printable;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Refused, programs};

/// How long the program may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest text, in characters.
const MAX_TEXT: usize = 1000;

/// The program that shows notes, where there is one.
pub(super) fn program() -> Option<PathBuf> {
    programs::resolve("notify-send", &programs::home())
}

/// Shows a note.
pub(super) async fn notify(params: &Value) -> Result<Value, Refused> {
    let text = |name: &str| {
        let text = params[name].as_str().unwrap_or_default();
        printable(text, MAX_TEXT)
    };
    let (title, body) = (text("title"), text("body"));
    if title.is_empty() && body.is_empty() {
        return Err(Refused::invalid("title and body are both empty"));
    }
    let Some(program) = program() else {
        return Err(Refused::unavailable(
            "NOTIFY_UNAVAILABLE: this machine has no notify-send, so nobody would see the note",
        ));
    };
    let mut command = Command::new(program);
    // Whatever the text begins with, it is no option.
    command.args(["--app-name=clawline", "--", &title, &body]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.kill_on_drop(true);
    let ended = tokio::time::timeout(DEADLINE, command.status()).await;
    match ended {
        Ok(Ok(status)) if status.success() => Ok(json!({ "ok": true })),
        Ok(Ok(_)) => Err(Refused::unavailable(
            "NOTIFY_UNAVAILABLE: notify-send failed; is anybody logged in at this machine's screen?",
        )),
        Ok(Err(error)) => Err(Refused::unavailable(format!("NOTIFY_UNAVAILABLE: {error}"))),
        Err(_) => Err(Refused::unavailable(
            "NOTIFY_UNAVAILABLE: notify-send did not end",
        )),
    }
}
