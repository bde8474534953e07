//! `clawline-gateway`: over to the library, and its exit code back.

use std::process::ExitCode;

/// Gives memory back to the system within a second of its last use where it was built in this tree, whose
/// `.cargo/config.toml` has its settings, and else after ten; the system's allocator keeps the peak of each
/// thread for good.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    clawline_gateway::cli::main()
}
