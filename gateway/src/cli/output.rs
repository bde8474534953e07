//! The one place that prints.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the program prints"
)]

/// A line of what was asked for.
pub(super) fn line(text: &str) {
    println!("{text}");
}

/// A line about what happens, for the person who watches.
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}

/// What went wrong.
pub(super) fn error(text: &str) {
    eprintln!("clawline-gateway: {text}");
}
