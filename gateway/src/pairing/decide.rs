//! Whether a device may come in as it asks, or has to be approved first: pure, over what the store
//! knows (PROTOCOL.md §3.5).

use clawline::protocol::scope::{Role, Scope, Scopes};

use crate::policy::Policy;
use crate::settings::SilentScopes;
use crate::store::Device;

/// What a device asks for, with its proof and credential checked already.
#[derive(Debug, Clone)]
pub struct Ask {
    pub device_id: String,
    pub public_key: String,
    pub display_name: Option<String>,
    pub platform: String,
    pub device_family: Option<String>,
    pub client_id: String,
    pub client_mode: String,
    pub remote_ip: String,
    pub role: Role,
    pub scopes: Scopes,
    /// Of the device token that was shown, where one was.
    pub generation: Option<i64>,
    /// The same user as the gateway's, with the shared secret, without `Origin` and proxy.
    pub may_be_silent: bool,
}

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has all it asks for.
    Approved,
    /// It gets what it asks for without anybody being asked.
    Silent,
    /// Somebody has to approve it, for this reason.
    Pending(&'static str),
}

/// Decides about `ask`, given what is known of the device.
pub fn decide(known: Option<&Device>, ask: &Ask, silent: SilentScopes, policy: &Policy) -> Verdict {
    let changed = policy.metadata_pin && known.is_some_and(|device| is_changed(device, ask));
    let Some(reason) = missing(known, ask, changed) else {
        return Verdict::Approved;
    };
    // In whatever role: who was sent away does not come back by another door.
    let was_revoked = policy.revoked_stays
        && known.is_some_and(|device| device.roles.values().any(|role| role.revoked_at.is_some()));
    let is_small_enough = silent.limit(&ask.scopes).covers(&ask.scopes);
    if ask.may_be_silent && is_small_enough && !was_revoked && !changed {
        Verdict::Silent
    } else {
        Verdict::Pending(reason)
    }
}

/// The first scope of `asked` that is not in `held`: nobody gives what it has not.
pub(super) fn beyond(held: &Scopes, asked: &Scopes) -> Option<Scope> {
    asked.iter().find(|scope| !held.grants(*scope))
}

fn missing(known: Option<&Device>, ask: &Ask, changed: bool) -> Option<&'static str> {
    let Some(device) = known else {
        return Some("not-paired");
    };
    let Some(role) = device.roles.get(ask.role.as_str()) else {
        return Some("role-upgrade");
    };
    if role.revoked_at.is_some() {
        return Some("role-upgrade");
    }
    if !Scopes::from_wire(&role.scopes).covers(&ask.scopes) {
        return Some("scope-upgrade");
    }
    changed.then_some("metadata-upgrade")
}

/// Platform and family are pinned at the approval; what was never said is not pinned.
fn is_changed(device: &Device, ask: &Ask) -> bool {
    let differs = |pinned: &Option<String>, said: Option<&str>| match (pinned, said) {
        (Some(pinned), Some(said)) if !pinned.is_empty() && !said.is_empty() => {
            !pinned.trim().eq_ignore_ascii_case(said.trim())
        }
        _ => false,
    };
    differs(&device.platform, Some(&ask.platform))
        || differs(&device.device_family, ask.device_family.as_deref())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn decide(known: Option<&Device>, ask: &Ask, silent: SilentScopes) -> Verdict {
        super::decide(known, ask, silent, &Policy::default())
    }

    use crate::store::DeviceRole;

    fn scopes(texts: &[&str]) -> Scopes {
        Scopes::from_wire(texts)
    }

    fn ask(scope: &str, may_be_silent: bool) -> Ask {
        Ask {
            device_id: "d".into(),
            public_key: "k".into(),
            display_name: None,
            platform: "linux".into(),
            device_family: Some("Linux".into()),
            client_id: "cli".into(),
            client_mode: "cli".into(),
            remote_ip: "127.0.0.1".into(),
            role: Role::Operator,
            scopes: scopes(&[scope]),
            generation: None,
            may_be_silent,
        }
    }

    fn device(scope: &str, revoked_at: Option<i64>) -> Device {
        let role = DeviceRole {
            scopes: vec![scope.to_owned()],
            token_generation: 1,
            revoked_at,
            ..DeviceRole::default()
        };
        Device {
            device_id: "d".into(),
            public_key: "k".into(),
            display_name: None,
            platform: Some("linux".into()),
            device_family: None,
            client_id: None,
            client_mode: None,
            remote_ip: None,
            silent: true,
            roles: BTreeMap::from([("operator".to_owned(), role)]),
            created_at: 1,
            approved_at: 1,
            last_seen_at: None,
        }
    }

    #[test]
    fn s27_for_every_pair_of_scope_sets_what_is_given_is_within_what_the_giver_has() {
        let all = Scope::ALL;
        let subset = |bits: usize| -> Scopes {
            let chosen = (0..all.len()).filter(|at| bits >> at & 1 == 1);
            chosen.map(|at| all[at]).collect()
        };
        let sets: Vec<Scopes> = (0..1 << all.len()).map(subset).collect();
        // What a set lets its holder do, found the long way round: scope by scope.
        let can: Vec<u16> = sets
            .iter()
            .map(|set| (0..all.len()).fold(0, |can, at| can | u16::from(set.grants(all[at])) << at))
            .collect();
        for (held, can_do) in sets.iter().zip(&can) {
            for (asked, would) in sets.iter().zip(&can) {
                let is_given = beyond(held, asked).is_none();
                assert_eq!(is_given, would & !can_do == 0, "{held:?} gives {asked:?}");
            }
        }
    }

    #[test]
    fn reasons_are_told_apart() {
        let read = device("operator.read", None);
        let cases = [
            (None, ask("operator.read", false), "not-paired"),
            (Some(&read), ask("operator.write", false), "scope-upgrade"),
            (
                Some(&read),
                Ask {
                    role: Role::Node,
                    ..ask("operator.read", false)
                },
                "role-upgrade",
            ),
            (
                Some(&read),
                Ask {
                    platform: "darwin".into(),
                    ..ask("operator.read", false)
                },
                "metadata-upgrade",
            ),
        ];
        for (known, ask, reason) in cases {
            let verdict = decide(known, &ask, SilentScopes::Asked);
            assert_eq!(verdict, Verdict::Pending(reason));
        }
        let same = ask("operator.read", false);
        assert_eq!(
            decide(Some(&read), &same, SilentScopes::Asked),
            Verdict::Approved
        );
        let implied = decide(
            Some(&device("operator.admin", None)),
            &ask("operator.pairing", false),
            SilentScopes::Asked,
        );
        assert_eq!(implied, Verdict::Approved, "admin covers every scope");
    }

    #[test]
    fn the_same_user_is_not_asked_unless_the_strict_switch_says_so() {
        let admin = ask("operator.admin", true);
        assert_eq!(decide(None, &admin, SilentScopes::Asked), Verdict::Silent);
        assert_eq!(
            decide(None, &admin, SilentScopes::ReadWrite),
            Verdict::Pending("not-paired")
        );
        let write = ask("operator.write", true);
        assert_eq!(
            decide(None, &write, SilentScopes::ReadWrite),
            Verdict::Silent
        );
    }

    #[test]
    fn a_revoked_role_and_changed_metadata_are_never_silent() {
        let revoked = device("operator.admin", Some(5));
        let back = ask("operator.read", true);
        assert_eq!(
            decide(Some(&revoked), &back, SilentScopes::Asked),
            Verdict::Pending("role-upgrade")
        );
        let mut as_node = ask("operator.read", true);
        as_node.role = Role::Node;
        as_node.scopes = Scopes::default();
        assert_eq!(
            decide(Some(&revoked), &as_node, SilentScopes::Asked),
            Verdict::Pending("role-upgrade")
        );
        let mut moved = ask("operator.read", true);
        moved.platform = "darwin".into();
        assert_eq!(
            decide(
                Some(&device("operator.read", None)),
                &moved,
                SilentScopes::Asked
            ),
            Verdict::Pending("metadata-upgrade")
        );
        // Asking for more at the same time does not let the change slip in.
        moved.scopes = scopes(&["operator.admin"]);
        assert_eq!(
            decide(
                Some(&device("operator.read", None)),
                &moved,
                SilentScopes::Asked
            ),
            Verdict::Pending("scope-upgrade")
        );
    }
}
