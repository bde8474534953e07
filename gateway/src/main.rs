//! `clawline-gateway`: over to the library, and its exit code back.

use std::process::ExitCode;

fn main() -> ExitCode {
    clawline_gateway::cli::main()
}
