//! The supervised, in-process SSH tunnel.
//!
//! `ssh_config` and flags become a [`spec::TunnelSpec`]; `connection` opens one SSH connection from it;
//! `supervisor` keeps one open and publishes a [`status::TunnelView`]; `forward` holds local listeners.

pub mod algorithms;
mod asker;
mod auth;
mod bulk;
pub mod connection;
mod dial;
pub mod ends;
pub mod forward;
mod hang_up;
pub mod host_key;
pub mod memory;
mod network;
mod plan;
pub mod prompt;
#[cfg(unix)]
mod proxy_command;
mod resolve;
mod socket;
pub mod spec;
pub mod ssh_config;
pub mod status;
pub mod supervisor;
pub mod target;
pub mod transport;
mod wildcard;

pub use auth::checkup;
pub use bulk::BULK_CONNECTIONS;
pub use connection::{ChannelStream, ExecOutput};
pub use memory::Memory;
pub use supervisor::{BULK_WINDOW, CONTROL_WINDOW, Tunnel, TunnelOptions};
