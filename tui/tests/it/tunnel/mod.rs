//! `--tunnel-only` as a service, and the subcommands that talk to it.

mod install;
mod one_holder;
mod service;
mod subcommands;
pub mod world;
