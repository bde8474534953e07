//! The one place that prints. Nobody reading any more, as after `| head -1`, is no failure; a file that
//! takes nothing is.

use std::io::{self, BufRead as _, ErrorKind, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// Most that is read of an answer, in bytes.
const MAX_ANSWER: u64 = 100;

/// True once something of an answer could not be written although somebody wants it.
static LOST: AtomicBool = AtomicBool::new(false);

/// A line of what was asked for.
pub(super) fn line(text: &str) {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    if let Err(failure) = written
        && failure.kind() != ErrorKind::BrokenPipe
        && !LOST.swap(true, Ordering::Relaxed)
    {
        error(&format!("the answer cannot be written: {failure}"));
    }
}

/// A line about what happens, for the person who watches.
pub(super) fn note(text: &str) {
    // Where nobody can be told, there is nobody to tell that.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Asks whoever sits there; anything but a yes is a no.
pub(super) fn confirmed(question: &str) -> bool {
    let mut asked = io::stderr().lock();
    if write!(asked, "{question} [y/N] ")
        .and_then(|()| asked.flush())
        .is_err()
    {
        return false;
    }
    let mut answer = String::new();
    let read = io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES")
}

/// What went wrong.
pub(super) fn error(text: &str) {
    note(&format!("clawline-gateway: {text}"));
}

/// True when part of an answer is missing.
pub(super) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}
