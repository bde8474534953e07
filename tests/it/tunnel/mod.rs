//! The tunnel against an SSH server of our own.

mod connect;
mod forward;
mod forward_bulk;
mod forward_ends;
mod half_open;
#[cfg(unix)]
mod proxy_command;
mod sign_in;
mod sign_in_asked;
mod sign_in_refused;
mod strictness;
mod supervise;
