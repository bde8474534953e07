//! The lists of algorithms with their `+`, `-` and `^`, over what we speak.

use crate::tunnel::algorithms::Algorithms;
use crate::tunnel::wildcard::{self, ListMatch};

/// What a list comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Names that we speak, in the order asked for; never empty.
    pub(super) names: Vec<String>,
    /// Names that we do not speak.
    pub(super) left_out: Vec<String>,
}

/// Applies a value to what we speak, as ssh does: `+` adds behind the defaults, `-` takes out of them,
/// `^` puts before them, anything else replaces them. An error says that nothing is left.
pub(super) fn choose(kind: &Algorithms, value: &str) -> Result<Chosen, String> {
    let (operator, list) = match value.chars().next() {
        Some(c @ ('+' | '-' | '^')) => (Some(c), value.get(1..).unwrap_or_default()),
        _ => (None, value),
    };
    let patterns: Vec<&str> = list.split(',').filter(|name| !name.is_empty()).collect();
    let mut left_out = Vec::new();
    let names = if operator == Some('-') {
        let stays = |name: &&str| {
            wildcard::matches_list(name, patterns.iter().copied()) != ListMatch::Matched
        };
        owned(kind.default.iter().copied().filter(stays))
    } else {
        let mut listed: Vec<&str> = Vec::new();
        for pattern in &patterns {
            let mut fitting = kind
                .all()
                .filter(|name| wildcard::matches(name, pattern))
                .peekable();
            if fitting.peek().is_none() {
                left_out.push((*pattern).to_owned());
            }
            listed.extend(fitting);
        }
        let default = kind.default.iter().copied();
        match operator {
            Some('+') => owned(default.chain(listed)),
            Some(_) => owned(listed.into_iter().chain(default)),
            None => owned(listed),
        }
    };
    if names.is_empty() {
        return Err(format!(
            "{} leaves nothing that we speak ({})",
            kind.keyword,
            kind.all().collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(Chosen { names, left_out })
}

/// Without doubles; the first one counts.
fn owned<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for name in names {
        if !list.iter().any(|had| had == name) {
            list.push(name.to_owned());
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::algorithms::{HOST_KEYS, MACS, PUBLIC_KEYS};

    fn names(kind: &Algorithms, value: &str) -> Vec<String> {
        choose(kind, value).unwrap().names
    }

    #[test]
    fn lists_add_remove_and_reorder() {
        let defaults: Vec<&str> = MACS.default.to_vec();
        assert_eq!(
            names(&MACS, "hmac-sha2-512,hmac-sha1"),
            ["hmac-sha2-512", "hmac-sha1"]
        );
        assert_eq!(names(&MACS, "+hmac-sha1").len(), defaults.len() + 1);
        assert_eq!(names(&MACS, "+hmac-sha1").last().unwrap(), "hmac-sha1");
        assert_eq!(names(&MACS, "+hmac-sha2-256"), defaults);
        assert_eq!(names(&MACS, "^hmac-sha2-512")[0], "hmac-sha2-512");
        assert_eq!(names(&MACS, "^hmac-sha2-512").len(), defaults.len());
        assert_eq!(names(&MACS, "-*-etm*"), ["hmac-sha2-256", "hmac-sha2-512"]);
        assert_eq!(names(&MACS, "-foo"), defaults);
        assert_eq!(names(&PUBLIC_KEYS, "+ssh-rsa").last().unwrap(), "ssh-rsa");
        assert_eq!(
            names(&HOST_KEYS, "rsa-sha2-256*"),
            ["rsa-sha2-256-cert-v01@openssh.com", "rsa-sha2-256"]
        );
    }

    #[test]
    fn names_that_we_do_not_speak_are_told() {
        let chosen = choose(&MACS, "umac-64@openssh.com,hmac-sha2-256").unwrap();
        assert_eq!(chosen.names, ["hmac-sha2-256"]);
        assert_eq!(chosen.left_out, ["umac-64@openssh.com"]);
        assert!(choose(&MACS, "-umac*").unwrap().left_out.is_empty());
    }

    #[test]
    fn a_list_that_leaves_nothing_is_an_error() {
        for value in ["-*", "ssh-rsa", "foo", "", ","] {
            let error = choose(&HOST_KEYS, value).unwrap_err();
            assert!(
                error.contains("HostKeyAlgorithms leaves nothing"),
                "{value}: {error}"
            );
        }
    }
}
