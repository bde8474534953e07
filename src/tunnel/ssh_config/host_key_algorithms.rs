//! `HostKeyAlgorithms` with its `+`, `-` and `^` lists, over what we speak.

use crate::tunnel::host_key::SUPPORTED_HOST_KEYS;
use crate::tunnel::wildcard;

/// What a list comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Names that we speak, in the order asked for; never empty.
    pub(super) names: Vec<String>,
    /// Names that we do not speak.
    pub(super) left_out: Vec<String>,
}

/// Applies a `HostKeyAlgorithms` value to what we speak. An error says that nothing is left.
pub(super) fn choose(value: &str) -> Result<Chosen, String> {
    let ours: Vec<String> = SUPPORTED_HOST_KEYS
        .iter()
        .map(|algorithm| algorithm.as_str().to_owned())
        .collect();
    let (operator, list) = match value.chars().next() {
        Some(c @ ('+' | '-' | '^')) => (Some(c), value.get(1..).unwrap_or_default()),
        _ => (None, value),
    };
    let patterns: Vec<&str> = list.split(',').filter(|name| !name.is_empty()).collect();
    let mut listed: Vec<String> = Vec::new();
    let mut left_out = Vec::new();
    for pattern in &patterns {
        let fitting: Vec<&String> = ours
            .iter()
            .filter(|name| wildcard::matches(name, pattern))
            .collect();
        if fitting.is_empty() && !is_certificate(pattern) {
            left_out.push((*pattern).to_owned());
        }
        for name in fitting {
            if !listed.contains(name) {
                listed.push(name.clone());
            }
        }
    }
    let others = ours.iter().filter(|name| !listed.contains(name)).cloned();
    let names: Vec<String> = match operator {
        // All that we speak is offered already.
        Some('+') => ours,
        Some('-') => others.collect(),
        Some(_) => {
            let others: Vec<String> = others.collect();
            listed.into_iter().chain(others).collect()
        }
        None => listed,
    };
    if operator == Some('-') {
        left_out.clear();
    }
    if names.is_empty() {
        return Err(format!(
            "HostKeyAlgorithms leaves nothing that we speak ({})",
            SUPPORTED_HOST_KEYS
                .iter()
                .map(|algorithm| algorithm.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    Ok(Chosen { names, left_out })
}

/// Certificates are no news: ssh lists them before the plain keys that we use.
fn is_certificate(pattern: &str) -> bool {
    pattern.ends_with("-cert-v01@openssh.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(value: &str) -> Vec<String> {
        choose(value).unwrap().names
    }

    #[test]
    fn lists_add_remove_and_reorder() {
        let all = names("*");
        assert_eq!(all.len(), SUPPORTED_HOST_KEYS.len());
        assert_eq!(
            names("rsa*,ssh-ed25519"),
            ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]
        );
        assert_eq!(names("^rsa-sha2-256").first().unwrap(), "rsa-sha2-256");
        assert_eq!(names("^rsa-sha2-256").len(), all.len());
        assert_eq!(names("-ecdsa*,rsa*"), ["ssh-ed25519"]);
        assert_eq!(names("+ssh-dss"), all);
        assert_eq!(
            choose("ssh-ed25519-cert-v01@openssh.com,ssh-ed25519,ssh-rsa")
                .unwrap()
                .left_out,
            ["ssh-rsa"]
        );
    }

    #[test]
    fn a_list_that_leaves_nothing_is_an_error() {
        for value in ["-*", "ssh-rsa", "foo", ""] {
            let error = choose(value).unwrap_err();
            assert!(error.contains("leaves nothing"), "{value}: {error}");
        }
    }
}
