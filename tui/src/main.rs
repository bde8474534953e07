//! `clawline`: parse flags, then a subcommand or the full-screen app.

fn main() {}
