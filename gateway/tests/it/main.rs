//! The daemon over its own port: one module a subject, one gateway a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where; helpers are shared"
)]

mod approvals;
mod backup;
mod bad_frames;
mod bad_http;
mod bind;
mod chat;
mod commands;
mod config;
mod config_write;
mod doctor;
mod drain;
mod handshake;
mod invite;
mod life;
mod limits;
mod logs;
mod methods;
mod metrics;
mod migrations;
mod node_pairing;
mod nodes;
mod pages;
mod pairing;
mod program;
mod recorded;
mod reload;
mod schema;
mod security;
mod service;
mod sessions;
mod slash;
mod support;
mod tailscale;
mod tls;
mod usage;
