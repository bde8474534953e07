//! `gateway.nodes.*`: which commands of nodes may be used, and who is let in without being asked.

use super::IpRange;

/// `gateway.nodes.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodesSettings {
    /// Commands allowed besides the platform's list.
    pub allow: Vec<String>,
    /// Commands refused, whatever else says so.
    pub deny: Vec<String>,
    /// Whether a node of the gateway's own user is paired silently, as other devices are.
    pub auto_approve_local: bool,
    /// Networks whose nodes are paired silently; their commands still need an approval.
    pub auto_approve_cidrs: Vec<IpRange>,
    /// Whether the commands of a version-3 node need an approval.
    pub v3_commands: V3Commands,
}

impl Default for NodesSettings {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            auto_approve_local: true,
            auto_approve_cidrs: Vec::new(),
            v3_commands: V3Commands::default(),
        }
    }
}

/// `gateway.nodes.pairing.v3Commands`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum V3Commands {
    /// A node of the gateway's own user on this machine may be used at once: version 3 has no
    /// approval of commands, and its node host and command line know nothing of one.
    #[default]
    Allow,
    /// They wait for an approval as those of version 4 do.
    Ask,
}
