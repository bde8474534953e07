//! The OpenClaw gateway protocol, versions 3 and 4: frames, handshake, methods and events.
//!
//! What we send is the version-4 shape; version 3 ignores members it does not know inside a payload,
//! and [`v3`] holds the few places where the two differ. What we receive is read leniently: unknown
//! members are ignored, absent ones take defaults, unknown error codes are kept as text.

pub mod device_auth;
pub mod error;
pub mod event;
pub mod frame;
pub mod hello;
pub mod limits;
pub mod method;
pub mod methods;
pub mod scope;
mod surrogates;
pub mod unread;
pub mod v3;

use serde::{Deserialize, Serialize};

/// The version spoken on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum Protocol {
    /// As of the February 2026 releases (2026.2.17).
    V3,
    /// As of 2026.9.6.
    V4,
}

impl Protocol {
    /// The oldest version we speak.
    pub const MIN: u32 = 3;
    /// The newest version we speak.
    pub const MAX: u32 = 4;

    /// The number on the wire.
    pub fn number(self) -> u32 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }

    /// The highest version inside `min..=max` that we speak.
    pub fn pick(min: u32, max: u32) -> Option<Self> {
        [Self::V4, Self::V3]
            .into_iter()
            .find(|version| (min..=max).contains(&version.number()))
    }
}

impl TryFrom<u32> for Protocol {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        match number {
            3 => Ok(Self::V3),
            4 => Ok(Self::V4),
            other => Err(format!("protocol version {other} is not spoken here")),
        }
    }
}

impl From<Protocol> for u32 {
    fn from(version: Protocol) -> Self {
        version.number()
    }
}
