//! `clawline-gateway`: flags, logging, signals; then over to the library.

fn main() {}
