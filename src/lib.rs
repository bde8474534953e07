//! What the `clawline` app and `clawline-gateway` share: the wire protocol, the client that speaks
//! it over any byte stream, and the supervised in-process SSH tunnel that carries it.
//!
//! Start reading at [`layer`] (what can go wrong, in order), then [`tunnel`] and [`protocol`].

pub mod backoff;
pub mod bounded_file;
pub mod client;
pub mod config;
pub mod gateway_id;
pub mod identity;
pub mod layer;
pub mod look_alike;
#[cfg(feature = "loopback-ssh")]
pub mod loopback_ssh;
pub mod notice;
pub mod owner_file;
pub mod peer;
#[cfg(unix)]
pub mod process_lock;
pub mod protocol;
pub mod secret;
pub mod secret_text;
#[cfg(unix)]
pub mod service;
pub mod tunnel;
