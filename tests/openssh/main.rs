//! The tunnel against a real `sshd`, and our reading of its files against the real `ssh`.
//!
//! Needs OpenSSH's server and client, so every test is ignored unless asked for:
//! `cargo test --test openssh -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod support;

mod forwards;
mod host_keys;
mod hostile;
mod kills;
mod leaks;
mod sign_in;
mod sign_in_account;
mod sign_in_trouble;
mod ssh_config;
mod tunnel;
mod ways;
