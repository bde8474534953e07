//! A gateway of its own for each test, and a client that shows every frame.

mod client;
pub mod schema;
pub mod schema_table;
mod world;

pub use client::{Client, Connect, Device};
pub use world::{OWN_UID, TestGateway};
