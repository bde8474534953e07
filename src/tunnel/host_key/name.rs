//! The name under which a server's key is looked up and stored.

use std::fmt;

use crate::look_alike;
use crate::tunnel::spec::HopSpec;

/// SSH's port; a name on it stands alone, on any other it is written `[name]:port`.
const DEFAULT_PORT: u16 = 22;

/// A server as known_hosts names it: `desktop`, `[desktop]:2222`, or a `HostKeyAlias`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// As it is stored.
    stored: String,
    /// Without brackets and port; `None` for an alias, which has no port.
    place: Option<(String, u16)>,
}

impl HostName {
    /// The name of `host` on `port`. Case does not count.
    pub fn new(host: &str, port: u16) -> Self {
        let host = host.to_ascii_lowercase();
        let stored = if port == DEFAULT_PORT {
            host.clone()
        } else {
            format!("[{host}]:{port}")
        };
        Self {
            stored,
            place: Some((host, port)),
        }
    }

    /// A `HostKeyAlias`: taken as it is, whatever the port.
    pub fn alias(alias: &str) -> Self {
        Self {
            stored: alias.to_ascii_lowercase(),
            place: None,
        }
    }

    /// The name that belongs to a hop: its alias, else the host and port that are dialled, without the dot
    /// that ends a whole name.
    pub fn of_hop(hop: &HopSpec) -> Self {
        match &hop.host_key_alias {
            Some(alias) => Self::alias(alias),
            None => Self::new(look_alike::without_dot(&hop.host), hop.port),
        }
    }

    /// What a person types to reach a hop: its alias, with the port where the alias alone would not say.
    pub fn target_of_hop(hop: &HopSpec) -> String {
        // What is shown can be compared with what is looked up.
        let is_host = look_alike::is_written(&hop.alias, &hop.host);
        let alias = if is_host { &hop.host } else { &hop.alias };
        match (alias, hop.port) {
            (alias, port) if port == DEFAULT_PORT || *alias != hop.host => alias.clone(),
            (alias, port) if alias.contains(':') => format!("[{alias}]:{port}"),
            (alias, port) => format!("{alias}:{port}"),
        }
    }

    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.stored
    }

    /// The name that a certificate has to list.
    pub(super) fn principal(&self) -> &str {
        self.place.as_ref().map_or(&self.stored, |(host, _)| host)
    }

    /// The spellings under which it may be recorded; `[host]:22` is the same as `host`.
    pub(super) fn spellings(&self) -> Vec<String> {
        let mut spellings = vec![self.stored.clone()];
        if let Some((host, DEFAULT_PORT)) = &self.place {
            spellings.push(format!("[{host}]:{DEFAULT_PORT}"));
        }
        spellings
    }

    /// The spellings with the dot that ends a whole name, under which ssh records a host that was typed so.
    /// They are looked up as they are, and never meant by a pattern.
    pub(super) fn dotted(&self) -> Vec<String> {
        let is_name =
            |host: &str| host.parse::<std::net::IpAddr>().is_err() && !host.ends_with('.');
        match &self.place {
            Some((host, port)) if is_name(host) => {
                Self::new(&format!("{host}."), *port).spellings()
            }
            _ => Vec::new(),
        }
    }

    /// What is worth saying of the name before its key is trusted.
    pub fn note(&self) -> Option<String> {
        look_alike::note(self.principal())
    }

    /// The same host on SSH's own port, when this one is on another. A key that is known there is
    /// accepted here too, as ssh does.
    pub(super) fn on_default_port(&self) -> Option<Self> {
        match &self.place {
            Some((host, port)) if *port != DEFAULT_PORT => Some(Self::new(host, DEFAULT_PORT)),
            _ => None,
        }
    }

    /// False for a name that would mean something else in a known_hosts line.
    pub(super) fn can_be_stored(&self) -> bool {
        let bare = self.place.as_ref().map_or(&self.stored, |(host, _)| host);
        !bare.is_empty()
            && !bare
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || "@?*#[]|'\"\\,!".contains(c))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_carries_its_port_only_when_it_is_not_22() {
        assert_eq!(HostName::new("Desktop", 22).as_str(), "desktop");
        assert_eq!(HostName::new("desktop", 2222).as_str(), "[desktop]:2222");
        assert_eq!(HostName::new("::1", 2222).as_str(), "[::1]:2222");
        let hop = HopSpec::bare("desktop", 2222, "me");
        assert_eq!(HostName::target_of_hop(&hop), "desktop:2222");
        let hop = HopSpec::bare("::1", 2222, "me");
        assert_eq!(HostName::target_of_hop(&hop), "[::1]:2222");
        let hop = HopSpec {
            alias: "home".into(),
            ..HopSpec::bare("desktop", 2222, "me")
        };
        assert_eq!(HostName::target_of_hop(&hop), "home");
        assert_eq!(HostName::alias("Home").as_str(), "home");
        let hop = HopSpec::bare("desktop.", 2222, "me");
        assert_eq!(HostName::of_hop(&hop).as_str(), "[desktop]:2222");
        assert_eq!(HostName::target_of_hop(&hop), "desktop.:2222");
    }

    #[test]
    fn a_name_with_pattern_characters_is_never_stored() {
        assert!(HostName::new("fe80::1%eth0", 22).can_be_stored());
        for bad in ["", "*", "a,b", "a b", "#x", "|1|x", "@revoked", "!a"] {
            assert!(!HostName::alias(bad).can_be_stored(), "{bad}");
        }
    }
}
