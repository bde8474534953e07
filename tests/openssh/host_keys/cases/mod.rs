//! The corpus: files, server, name and port, options, and what ssh 9.2 makes of them.
//!
//! Where ours differs on purpose the case says so, with the reason.

/// A row each: `what: server, user's file => what ssh makes of it`, and what else is special.
macro_rules! cases {
    ($($what:literal: $server:ident, $user:literal => $ssh:ident $(, $more:ident($($told:expr),*))*;)*) => {
        pub(super) const CASES: &[Case] = &[
            $(case($what, $server, $user, $ssh)$(.$more($($told),*))*,)*
        ];
    };
}

mod certificates;
mod plain;
mod revoked;

use super::Outcome;
use super::servers::Server;

/// One comparison. In the files `{ed}` and the like stand for keys.
pub struct Case {
    pub what: &'static str,
    pub server: Server,
    pub name: &'static str,
    pub port: u16,
    pub user: &'static str,
    pub global: &'static str,
    pub revoked: &'static str,
    pub hashed: bool,
    pub options: &'static str,
    pub ssh: Outcome,
    /// What ours makes of it, and why.
    pub differs: Option<(Outcome, &'static str)>,
}

pub(super) const fn case(
    what: &'static str,
    server: Server,
    user: &'static str,
    ssh: Outcome,
) -> Case {
    Case {
        what,
        server,
        name: "host",
        port: 22,
        user,
        global: "",
        revoked: "",
        hashed: false,
        options: "",
        ssh,
        differs: None,
    }
}

impl Case {
    pub(super) const fn to(self, name: &'static str, port: u16) -> Self {
        Self { name, port, ..self }
    }

    pub(super) const fn global(self, global: &'static str) -> Self {
        Self { global, ..self }
    }

    pub(super) const fn revoked(self, revoked: &'static str) -> Self {
        Self {
            revoked,
            options: "RevokedHostKeys DIR/revoked",
            ..self
        }
    }

    pub(super) const fn hashed(self) -> Self {
        Self {
            hashed: true,
            ..self
        }
    }

    pub(super) const fn with(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    pub(super) const fn ours(self, outcome: Outcome, reason: &'static str) -> Self {
        Self {
            differs: Some((outcome, reason)),
            ..self
        }
    }
}

pub(super) const NEW: &str = "StrictHostKeyChecking accept-new";
pub(super) const YES: &str = "StrictHostKeyChecking yes";
pub(super) const NO: &str = "StrictHostKeyChecking no";
pub(super) const DASH: &str =
    "a line that nobody can read could be about this key, so it is not taken for no line";
pub(super) const BRACKETS: &str = "[host]:22 is the same place as host (SECURITY.md K10)";
pub(super) const STRICT: &str =
    "StrictHostKeyChecking no never makes a changed or revoked key good";
pub(super) const PORTS: &str = "a key that is revoked for the host is revoked on each of its ports";
pub(super) const KINDS: &str = "a host known by a kind of key that is new to us is known, not new";

/// All of them.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    [plain::CASES, revoked::CASES, certificates::CASES]
        .into_iter()
        .flatten()
}
