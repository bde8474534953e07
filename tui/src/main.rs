//! `clawline`: parse flags, then a subcommand or the full-screen app.

#[allow(
    dead_code,
    reason = "used by the app and the subcommands as they arrive"
)]
mod link;
#[allow(dead_code, reason = "used by the app as it arrives")]
mod start;

fn main() {}
