//! A gateway of its own for each test, and a client that shows every frame.

mod client;
mod clock;
mod log;
mod model;
mod network;
pub mod program;
pub mod raw;
pub mod schema;
pub mod schema_table;
mod world;

pub use client::{Client, Connect, Device};
pub use clock::Stopped;
pub use log::log;
pub use model::HeldModel;
pub use network::{ELSEWHERE, is_inside};
pub use world::{OWN_UID, TestGateway};
