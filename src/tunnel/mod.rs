//! The supervised, in-process SSH tunnel.
//!
//! `ssh_config` and flags become a [`spec::TunnelSpec`]; `connection` opens one SSH connection from it;
//! `supervisor` keeps one open and publishes a [`status::TunnelView`]; `forward` holds local listeners.

pub mod ends;
pub mod host_key;
pub mod prompt;
pub mod spec;
pub mod status;
pub mod target;
pub mod transport;
mod wildcard;
