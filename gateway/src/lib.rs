//! The gateway daemon as a library: tests start it exactly as `main` does.
//!
//! Start reading at [`Gateway`]; `state` shows what hangs on what, `server` is where bytes come
//! in, `rpc` where calls are answered.

mod advert;
mod approvals;
pub mod auth;
pub mod backup;
pub mod cli;
mod conn;
mod control;
mod descriptors;
pub mod events;
mod fanout;
mod gateway;
mod health;
pub mod lock;
pub mod logging;
mod machine;
mod metrics;
mod moved_secret;
mod nodes;
pub mod pairing;
#[doc(hidden)]
pub mod policy;
mod redact;
pub mod reload;
mod rpc;
pub mod runs;
mod server;
pub mod sessions;
pub mod settings;
mod shape;
mod shutdown;
mod start_check;
mod start_error;
mod state;
pub mod state_dir;
pub mod store;
mod tailscale;
mod tls;
mod whereabouts;

pub use gateway::Gateway;
pub use server::ListenError;
pub use shutdown::Broken;
pub use start_error::StartError;
pub use tailscale::{Exposure, TailscaleError};
pub use tls::TlsError;
