//! The methods, one file an area.

pub mod agent;
pub mod agents;
pub mod approvals;
pub mod chat;
pub mod config;
pub mod delivery;
pub mod devices;
pub mod host;
pub mod lists;
pub mod node_host;
pub mod node_pairing;
pub mod nodes;
pub mod sessions;
pub mod system;
pub mod usage;
pub mod voicewake;

use serde::{Deserialize, Serialize};

/// No parameters. Unknown members are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NoParams {}

/// Every declared method name.
pub fn names() -> Vec<&'static str> {
    [
        system::NAMES,
        sessions::NAMES,
        chat::NAMES,
        agent::NAMES,
        agents::NAMES,
        approvals::NAMES,
        config::NAMES,
        devices::NAMES,
        nodes::NAMES,
        node_host::NAMES,
        node_pairing::NAMES,
        lists::NAMES,
        usage::NAMES,
        host::NAMES,
        voicewake::NAMES,
        delivery::NAMES,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_method_is_declared_twice() {
        let mut names = names();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
