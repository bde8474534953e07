//! Roles and scopes: who may call what (PROTOCOL.md §5).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A person's client: the control plane.
    Operator,
    /// A host that offers capabilities.
    Node,
}

impl Role {
    /// The text on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
        }
    }

    /// Reads the text on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "operator" => Some(Self::Operator),
            "node" => Some(Self::Node),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One operator scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything.
    Admin,
    /// Look.
    Read,
    /// Chat and change; implies looking.
    Write,
    /// Decide about commands that wait for approval.
    Approvals,
    /// Pair devices and nodes.
    Pairing,
    /// Answer the agent's questions.
    Questions,
    /// Look at sessions only.
    SessionsRead,
    /// Change sessions only.
    SessionsWrite,
    /// Voice.
    Talk,
    /// Voice credentials.
    TalkSecrets,
}

impl Scope {
    /// Every scope that exists.
    pub const ALL: [Self; 10] = [
        Self::Admin,
        Self::Read,
        Self::Write,
        Self::Approvals,
        Self::Pairing,
        Self::Questions,
        Self::SessionsRead,
        Self::SessionsWrite,
        Self::Talk,
        Self::TalkSecrets,
    ];

    /// What the app and its subcommands ask for, always the same and in this order (DESIGN §9):
    /// asking for more later would need a new approval.
    pub const OURS: [Self; 5] = [
        Self::Admin,
        Self::Read,
        Self::Write,
        Self::Approvals,
        Self::Pairing,
    ];

    /// The text on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "operator.admin",
            Self::Read => "operator.read",
            Self::Write => "operator.write",
            Self::Approvals => "operator.approvals",
            Self::Pairing => "operator.pairing",
            Self::Questions => "operator.questions",
            Self::SessionsRead => "operator.sessions.read",
            Self::SessionsWrite => "operator.sessions.write",
            Self::Talk => "operator.talk",
            Self::TalkSecrets => "operator.talk.secrets",
        }
    }

    /// Reads the text on the wire; unknown scopes are `None` and are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// Whether holding `self` grants `other` (version 4's rule, which we apply to both).
    pub fn implies(self, other: Self) -> bool {
        self == other
            || match self {
                Self::Admin => true,
                Self::Write => matches!(
                    other,
                    Self::Read | Self::SessionsRead | Self::SessionsWrite | Self::Talk
                ),
                Self::Read | Self::SessionsWrite => matches!(other, Self::SessionsRead),
                _ => false,
            }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// From the texts of the wire; unknown ones are dropped.
    pub fn from_wire<T: AsRef<str>>(texts: &[T]) -> Self {
        Self(
            texts
                .iter()
                .filter_map(|text| Scope::parse(text.as_ref()))
                .collect(),
        )
    }

    /// The texts for the wire.
    pub fn to_wire(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|scope| scope.as_str().to_owned())
            .collect()
    }

    /// Whether the set grants `scope`, by itself or by implication.
    pub fn grants(&self, scope: Scope) -> bool {
        self.0.iter().any(|held| held.implies(scope))
    }

    /// Whether the set grants everything that `other` holds.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|scope| self.grants(*scope))
    }

    /// Both sets together.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).copied().collect())
    }

    /// The members.
    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Any connection that got a hello.
    Anyone,
    /// An operator with this scope.
    Operator(Scope),
    /// The node role.
    Node,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_scopes_are_dropped() {
        let scopes = Scopes::from_wire(&["operator.read", "operator.root"]);
        assert_eq!(scopes.to_wire(), ["operator.read"]);
    }

    #[test]
    fn admin_grants_all_and_read_grants_no_write() {
        let admin: Scopes = [Scope::Admin].into_iter().collect();
        assert!(Scope::ALL.into_iter().all(|scope| admin.grants(scope)));
        let read: Scopes = [Scope::Read].into_iter().collect();
        assert!(!read.grants(Scope::Write) && !read.grants(Scope::Pairing));
        assert!(!read.covers(&admin) && admin.covers(&read));
    }
}
