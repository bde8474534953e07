//! The tunnel against an SSH server of our own.

mod connect;
mod forward;
mod half_open;
mod sign_in;
