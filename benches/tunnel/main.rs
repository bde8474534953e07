//! The tunnel against `ssh -N -L`, side by side in one run: the same sshd, the same far end, turn and turn
//! about. Prints a table with ratios.
//!
//! `cargo bench --bench tunnel` measures everything (about ten minutes on two cores); after `--` it takes
//! names of sections and `--quick`, `--json`, `--rounds N`, `--clawline FILE`. Needs OpenSSH's client and
//! server, and autossh for the section `reconnect`. Linux only, for it reads /proc.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod far_end;
mod line;
mod measure;
mod options;
mod process;
mod sections;
mod stand;
mod table;
mod tunnel;

/// A real sshd in a directory of its own, as the tests use it.
#[path = "../../tests/openssh/support/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, clippy::expect_used)]
mod support;

use std::process::ExitCode;

use options::{Options, Role};

fn main() -> ExitCode {
    let result = match Options::from_args() {
        Ok(Role::Nothing) => Ok(()),
        Ok(Role::FarEnd) => far_end::run(),
        Ok(Role::Line(server, nature)) => line::run(server, nature),
        Ok(Role::Bench(options)) => sections::run(&options),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tunnel bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
