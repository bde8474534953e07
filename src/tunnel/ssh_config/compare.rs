//! Our values beside those of `ssh -G`, option by option.

use super::Resolved;
use super::env::Env;
use super::expand::{self, Tokens};
use super::forwards;
use super::source::Source;
use super::tokens::split_words;
use crate::tunnel::algorithms::{
    self, Algorithms, CA_SIGNATURES, HOST_KEYS, KEX, MACS, PUBLIC_KEYS,
};

/// An option for which ssh has another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The keyword as the manual spells it.
    pub keyword: &'static str,
    /// Our value.
    pub ours: String,
    /// Where it came from.
    pub source: Source,
    /// ssh's value.
    pub theirs: String,
    /// Why it is so on purpose; `None` when it should not be.
    pub reason: Option<&'static str>,
}

/// Defaults that are ours on purpose.
const OWN_DEFAULTS: &[(&str, &str)] = &[
    ("CASignatureAlgorithms", SPOKEN),
    ("Ciphers", SPOKEN),
    (
        "ConnectTimeout",
        "a tunnel does not wait for ever for an address",
    ),
    (
        "ExitOnForwardFailure",
        "without its forward --tunnel-only is of no use",
    ),
    ("HostKeyAlgorithms", SPOKEN),
    ("KexAlgorithms", SPOKEN),
    ("MACs", SPOKEN),
    ("PubkeyAcceptedAlgorithms", SPOKEN),
    (
        "ServerAliveInterval",
        "a dead link is noticed without being told to look",
    ),
];

const SPOKEN: &str = "each program offers what it speaks";

/// Every option of the hop `alias` for which the output of `ssh -G` has another value than ours.
pub fn differences(resolved: &Resolved, alias: &str, output: &str, env: &Env) -> Vec<Difference> {
    let theirs = Theirs { output };
    let Some(hop) = resolved.spec.hops.iter().rfind(|hop| hop.alias == alias) else {
        return Vec::new();
    };
    let tokens = Tokens {
        env,
        typed: &hop.alias,
        host: &hop.host,
        port: hop.port,
        user: &hop.user,
        key_alias: hop.host_key_alias.as_ref().unwrap_or(&hop.alias),
        jump: "",
    };
    let mut keywords: Vec<&'static str> = Vec::new();
    for setting in resolved.explain.iter().filter(|s| s.hop == alias) {
        if !keywords.contains(&setting.keyword) {
            keywords.push(setting.keyword);
        }
    }
    let mut found = Vec::new();
    for keyword in keywords {
        let settings = || {
            let of_hop = resolved.explain.iter();
            of_hop.filter(|s| s.hop == alias && s.keyword == keyword)
        };
        let ours: Vec<String> = settings().map(|s| s.value.clone()).collect();
        let Some(source) = settings().next().map(|s| s.source.clone()) else {
            continue;
        };
        let Some(theirs) = theirs.value(keyword, &ours, &source, &tokens) else {
            continue;
        };
        if ours == theirs || are_equal_lists(keyword, &ours, &theirs) {
            continue;
        }
        let own = OWN_DEFAULTS.iter().find(|(name, _)| *name == keyword);
        let reason = own
            .filter(|_| source == Source::Default)
            .map(|(_, reason)| *reason);
        found.push(Difference {
            keyword,
            ours: ours.join(" "),
            source,
            theirs: theirs.join(" "),
            reason,
        });
    }
    found
}

/// What `ssh -G` printed.
struct Theirs<'a> {
    output: &'a str,
}

impl Theirs<'_> {
    fn raw(&self, keyword: &str) -> Vec<String> {
        self.output
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(name, _)| name.eq_ignore_ascii_case(keyword))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// ssh's values of a keyword in our words. `None` when this ssh does not print it.
    fn value(
        &self,
        keyword: &'static str,
        ours: &[String],
        source: &Source,
        tokens: &Tokens<'_>,
    ) -> Option<Vec<String>> {
        let raw = self.raw(keyword);
        let path = |text: &String| match tokens.path(text) {
            Ok(path) => path.display().to_string(),
            Err(_) => text.clone(),
        };
        if raw.is_empty() {
            // Not said: ssh prints nothing.
            return match keyword {
                "BindAddress" => Some(vec!["any".to_owned()]),
                "CertificateFile" | "HostKeyAlias" | "ProxyCommand" | "ProxyJump"
                | "RevokedHostKeys" => Some(vec!["none".to_owned()]),
                "IdentityAgent" => Some(vec!["SSH_AUTH_SOCK".to_owned()]),
                "LocalForward" => Some(Vec::new()),
                _ => None,
            };
        }
        Some(match keyword {
            "IdentityFile" => raw
                .iter()
                // Kinds of key that nobody has any more.
                .filter(|file| {
                    *source != Source::Default
                        || !(file.ends_with("id_dsa") || file.ends_with("id_xmss"))
                })
                .map(|file| match file.as_str() {
                    "none" => "none".to_owned(),
                    _ => path(file),
                })
                .collect(),
            "CertificateFile" => raw
                .iter()
                .map(|file| match file.as_str() {
                    "none" => "none".to_owned(),
                    _ => path(file),
                })
                .collect(),
            "RevokedHostKeys" => raw.iter().map(path).collect(),
            "GlobalKnownHostsFile" => vec![
                raw.concat()
                    .split(' ')
                    .map(|file| expand::tilde(file, tokens.env).unwrap_or_else(|_| file.to_owned()))
                    .collect::<Vec<_>>()
                    .join(" "),
            ],
            // Before OpenSSH 10 a user name had no tokens.
            "User" => vec![match ours {
                [ours] if raw.concat() != *ours => tokens
                    .expand_with_environment(&raw.concat(), expand::IN_USER)
                    .unwrap_or_else(|_| raw.concat()),
                _ => raw.concat(),
            }],
            "LocalForward" => raw
                .iter()
                .map(|line| match split_words(line) {
                    Ok(words) => match forwards::read(&words, tokens) {
                        Ok(forward) => forward.as_ssh_shows_it(),
                        Err(_) => line.clone(),
                    },
                    Err(_) => line.clone(),
                })
                .collect(),
            _ => vec![in_our_words(keyword, &raw.concat())],
        })
    }
}

fn in_our_words(keyword: &str, value: &str) -> String {
    match (keyword, value) {
        ("StrictHostKeyChecking" | "UpdateHostKeys" | "PubkeyAuthentication", "true") => "yes",
        ("StrictHostKeyChecking" | "UpdateHostKeys" | "PubkeyAuthentication", "false") => "no",
        ("StrictHostKeyChecking", "off") => "no",
        ("PubkeyAuthentication", "unbound" | "host-bound") => "yes",
        ("AddKeysToAgent", "true") => "yes",
        ("AddKeysToAgent", "false") => "no",
        ("AddKeysToAgent", time) if time.starts_with("true ") => {
            time.strip_prefix("true ").unwrap_or(time)
        }
        ("ConnectTimeout", "none") => "0",
        ("RekeyLimit", limit) => {
            let (bytes, time) = limit.split_once(' ').unwrap_or((limit, "0"));
            let bytes = if bytes == "0" { "default" } else { bytes };
            let time = if time == "0" { "none" } else { time };
            return format!("{bytes} {time}");
        }
        ("StreamLocalBindMask", mask) => {
            return format!("{:04o}", u32::from_str_radix(mask, 8).unwrap_or(u32::MAX));
        }
        (_, value) => value,
    }
    .to_owned()
}

/// Lists of algorithms are equal when neither has a name that the other program speaks and leaves out.
/// The order of names that nobody listed is each program's own.
fn are_equal_lists(keyword: &str, ours: &[String], theirs: &[String]) -> bool {
    let Some(kind) = kind_of(keyword) else {
        return false;
    };
    let (ours, theirs) = (ours.concat(), theirs.concat());
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        (ours.split(',').collect(), theirs.split(',').collect());
    let missing = theirs
        .iter()
        .any(|name| kind.default.contains(name) && !ours.contains(name));
    let added = ours
        .iter()
        .any(|name| !theirs.contains(name) && !kind.default.contains(name));
    !missing && !added
}

fn kind_of(keyword: &str) -> Option<Algorithms> {
    [
        algorithms::ciphers(),
        KEX,
        MACS,
        HOST_KEYS,
        PUBLIC_KEYS,
        CA_SIGNATURES,
    ]
    .into_iter()
    .find(|kind| kind.keyword == keyword)
}
