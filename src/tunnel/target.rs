//! What a person types to say where the gateway is: an SSH target, a URL, or this machine.
//!
//! Nothing here is ever handed to a shell or to `ssh`; the strict rules keep it so for every caller.

use std::fmt;
use std::net::Ipv6Addr;

use url::Url;

use crate::layer::{is_unsafe_to_show, printable};
use crate::look_alike;

/// Longest target that is looked at; DNS names end at 253 characters.
const MAX_TARGET_BYTES: usize = 1024;

/// Characters that mean something to a shell or to ssh's patterns; none belongs in a name.
const REFUSED_IN_NAMES: &str = "'`\"$;&<>|(){}[]*?!#^~,";

/// Where the gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The reserved word `local`: this machine's own gateway, no SSH.
    Local,
    /// Through SSH.
    Ssh(SshTarget),
    /// A direct connection, `ws://` or `wss://`.
    Url(Url),
}

/// `[user@]host[:port]`; what was not typed is `None`, so that ssh_config may say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshTarget {
    /// Login name.
    pub user: Option<String>,
    /// Host name, address, or an alias of ssh_config, as typed and without brackets.
    pub host: String,
    /// TCP port.
    pub port: Option<u16>,
}

impl fmt::Display for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl SshTarget {
    /// For messages: as typed, but for a host outside ASCII, which is shown as it is looked up. Where
    /// `looked_up` is another name, an alias was typed, and only that finds its lines in ssh_config again.
    pub fn shown(&self, looked_up: &str) -> String {
        let text = match look_alike::is_written(&self.host, looked_up) {
            false => self.to_string(),
            true => Self {
                host: looked_up.to_owned(),
                ..self.clone()
            }
            .to_string(),
        };
        printable(&text, MAX_TARGET_BYTES)
    }
}

/// Why a target was refused. Wrong usage, exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing was given.
    #[error("the target is empty")]
    Empty,
    /// It looks like an option of ssh.
    #[error("an SSH target must not start with '-' (got \"{0}\")")]
    LeadingDash(String),
    /// The part after `@` looks like an option of ssh.
    #[error("the host of an SSH target must not start with '-' (got \"{0}\")")]
    HostLeadingDash(String),
    /// `@host`.
    #[error("the user before '@' is empty in \"{0}\"")]
    EmptyUser(String),
    /// `user@`, or only a port.
    #[error("the host is missing in \"{0}\"")]
    EmptyHost(String),
    /// `user:password@host`.
    #[error("passwords are not accepted in an SSH target")]
    Password,
    /// The port is not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535 (got \"{0}\")")]
    BadPort(String),
    /// `[::1` or `[name]`.
    #[error("an address in brackets must be IPv6 and end with ']' (got \"{0}\")")]
    BadBrackets(String),
    /// A character that has no place in a user or host name.
    #[error("{part} must not contain {character} (got \"{text}\")")]
    BadCharacter {
        /// "the user" or "the host".
        part: &'static str,
        /// The character, made visible.
        character: String,
        /// The whole target, made visible.
        text: String,
    },
    /// Longer than any name can be.
    #[error("the target is longer than {MAX_TARGET_BYTES} bytes")]
    TooLong,
    /// A URL with another scheme, or broken.
    #[error("cannot use the URL \"{url}\": {why}")]
    BadUrl {
        /// As typed, without a password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

impl TargetError {
    /// What to do about it.
    pub fn next(&self) -> &'static str {
        match self {
            Self::BadUrl { .. } => "write ws://HOST:PORT, wss://HOST[:PORT], or an SSH target",
            Self::LeadingDash(_) | Self::HostLeadingDash(_) => {
                "write the host first; ssh options go behind -o, for example -o BindAddress=ADDRESS"
            }
            Self::Password => "leave the password out; it is asked for, without being shown",
            Self::BadPort(_) => "write HOST:PORT, or give the port with -p",
            Self::BadBrackets(_) => "write an IPv6 address as [::1] or [::1]:22",
            Self::Empty
            | Self::EmptyUser(_)
            | Self::EmptyHost(_)
            | Self::BadCharacter { .. }
            | Self::TooLong => "write [USER@]HOST[:PORT], or an alias of your ssh_config",
        }
    }
}

impl std::str::FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.len() > MAX_TARGET_BYTES {
            return Err(TargetError::TooLong);
        }
        // A whole pasted command is a common slip in the first-run screen.
        let text = text.strip_prefix("ssh ").map_or(text, str::trim);
        if text == "local" {
            return Ok(Self::Local);
        }
        if let Some(rest) = strip_scheme(text, "ssh") {
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            if rest.contains('/') {
                return Err(bad_url(text, "an ssh:// URL has no path"));
            }
            return parse_ssh(rest, text).map(Self::Ssh);
        }
        if text.contains("://") {
            return parse_url(text).map(Self::Url);
        }
        parse_ssh(text, text).map(Self::Ssh)
    }
}

impl std::str::FromStr for SshTarget {
    type Err = TargetError;

    /// Reads an SSH target and nothing else; a jump host is one.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.len() > MAX_TARGET_BYTES {
            return Err(TargetError::TooLong);
        }
        match strip_scheme(text, "ssh") {
            Some(rest) => parse_ssh(rest.strip_suffix('/').unwrap_or(rest), text),
            None => parse_ssh(text, text),
        }
    }
}

/// The rest of `text` after `scheme://`, in any case.
fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (head, rest) = text.split_once("://")?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn parse_url(text: &str) -> Result<Url, TargetError> {
    if text
        .chars()
        .any(|c| c.is_whitespace() || is_unsafe_to_show(c))
    {
        return Err(bad_url(
            text,
            "it contains white space or control characters",
        ));
    }
    let url = Url::parse(text).map_err(|error| bad_url(text, &error.to_string()))?;
    if !matches!(url.scheme(), "ws" | "wss") {
        return Err(bad_url(text, "only ws:// and wss:// are spoken"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad_url(text, "it names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad_url(text, "it must not carry a user or a password"));
    }
    if url.port() == Some(0) {
        return Err(bad_url(text, "its port is 0"));
    }
    Ok(url)
}

fn bad_url(text: &str, why: &str) -> TargetError {
    let shown = match text.split_once("://") {
        // What stands before an '@' may be a password.
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://…@{host}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    };
    TargetError::BadUrl {
        url: printable(&shown, 120),
        why: why.to_owned(),
    }
}

/// Reads `[user@]host[:port]`; `shown` is what messages quote.
fn parse_ssh(text: &str, shown: &str) -> Result<SshTarget, TargetError> {
    let quoted = || printable(shown, 120);
    if text.is_empty() {
        return Err(TargetError::Empty);
    }
    if text.starts_with('-') {
        return Err(TargetError::LeadingDash(quoted()));
    }
    // As in ssh, the last '@' counts: a user name may contain one.
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, text),
    };
    if let Some(user) = user {
        if user.is_empty() {
            return Err(TargetError::EmptyUser(quoted()));
        }
        if user.contains(':') {
            return Err(TargetError::Password);
        }
        check_name("the user", user, shown)?;
    }
    let (host, port) = split_port(place, shown)?;
    if host.is_empty() {
        return Err(TargetError::EmptyHost(quoted()));
    }
    if host.starts_with('-') {
        return Err(TargetError::HostLeadingDash(quoted()));
    }
    check_name("the host", host, shown)?;
    Ok(SshTarget {
        user: user.map(str::to_owned),
        host: host.to_owned(),
        port: port.map(parse_port).transpose()?,
    })
}

/// Splits `host`, `host:port`, `[v6]`, `[v6]:port` and a bare IPv6 address.
fn split_port<'a>(place: &'a str, shown: &str) -> Result<(&'a str, Option<&'a str>), TargetError> {
    if let Some(rest) = place.strip_prefix('[') {
        let bad = || TargetError::BadBrackets(printable(shown, 120));
        let (address, after) = rest.split_once(']').ok_or_else(bad)?;
        if !is_ipv6(address) {
            return Err(bad());
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((address, Some(port))),
            None if after.is_empty() => Ok((address, None)),
            None => Err(bad()),
        };
    }
    if is_ipv6(place) {
        return Ok((place, None));
    }
    match place.split_once(':') {
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

/// True for an IPv6 address, with or without a zone (`fe80::1%eth0`).
fn is_ipv6(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

fn parse_port(text: &str) -> Result<u16, TargetError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(TargetError::BadPort(printable(text, 40))),
    }
}

fn check_name(part: &'static str, name: &str, shown: &str) -> Result<(), TargetError> {
    let refused = |c: char| {
        c.is_whitespace()
            || is_unsafe_to_show(c)
            || REFUSED_IN_NAMES.contains(c)
            // `DOMAIN\user` is a login name; a host never has a backslash.
            || (c == '\\' && part != "the user")
    };
    let trailing = name.ends_with('\\').then_some('\\');
    match name.chars().find(|c| refused(*c)).or(trailing) {
        None => Ok(()),
        Some(c) => Err(TargetError::BadCharacter {
            part,
            character: match c {
                ' ' => "a space".to_owned(),
                '\n' | '\t' | '\r' | '\0' => format!("{c:?}"),
                c => format!("'{}'", printable(&c.to_string(), 1)),
            },
            text: printable(shown, 120),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ssh(user: Option<&str>, host: &str, port: Option<u16>) -> Target {
        Target::Ssh(SshTarget {
            user: user.map(Into::into),
            host: host.into(),
            port,
        })
    }

    #[test]
    fn targets_are_read_as_typed() {
        for (text, expected) in [
            ("desktop", ssh(None, "desktop", None)),
            ("me@desktop", ssh(Some("me"), "desktop", None)),
            ("me@desktop:2222", ssh(Some("me"), "desktop", Some(2222))),
            ("a@b@desktop", ssh(Some("a@b"), "desktop", None)),
            ("DOM\\me@desktop", ssh(Some("DOM\\me"), "desktop", None)),
            ("::1", ssh(None, "::1", None)),
            ("[::1]:22", ssh(None, "::1", Some(22))),
            ("me@[fe80::1%eth0]", ssh(Some("me"), "fe80::1%eth0", None)),
            ("192.0.2.1:65535", ssh(None, "192.0.2.1", Some(65535))),
            (
                "ssh://me@desktop:2222",
                ssh(Some("me"), "desktop", Some(2222)),
            ),
            ("SSH://status/", ssh(None, "status", None)),
            ("ssh me@desktop", ssh(Some("me"), "desktop", None)),
            ("my_host.lan", ssh(None, "my_host.lan", None)),
            ("büro", ssh(None, "büro", None)),
            ("local", Target::Local),
        ] {
            assert_eq!(text.parse::<Target>(), Ok(expected), "{text}");
        }
        let url = "wss://gate.example:444/x".parse::<Target>().unwrap();
        assert_eq!(
            url,
            Target::Url(Url::parse("wss://gate.example:444/x").unwrap())
        );
    }

    #[test]
    fn what_could_be_an_option_or_a_command_is_refused() {
        for (text, words) in [
            ("", "the target is empty"),
            ("-oProxyCommand=x", "an SSH target must not start with '-'"),
            ("-J x", "an SSH target must not start with '-'"),
            ("-me@desktop", "an SSH target must not start with '-'"),
            ("ssh -oX", "an SSH target must not start with '-'"),
            ("ssh://-oX", "an SSH target must not start with '-'"),
            (
                "user@-oX",
                "the host of an SSH target must not start with '-'",
            ),
            ("user@", "the host is missing"),
            (":22", "the host is missing"),
            ("ssh://", "the target is empty"),
            ("@host", "the user before '@' is empty"),
            ("user:pw@host", "passwords are not accepted"),
            (
                "host:99999",
                "the port must be a number from 1 to 65535 (got \"99999\")",
            ),
            ("host:0", "the port must be"),
            ("host:", "the port must be"),
            ("host:+22", "the port must be"),
            ("user@host:22:33", "the port must be"),
            ("user@[::1", "an address in brackets"),
            ("[desktop]:22", "an address in brackets"),
            ("[::1]22", "an address in brackets"),
            ("a b", "the host must not contain a space"),
            ("a b@host", "the user must not contain a space"),
            ("a;id", "the host must not contain ';'"),
            ("$(id)", "the host must not contain '$'"),
            ("a`id`@host", "the user must not contain '`'"),
            ("a\nb", "the host must not contain '\\n'"),
            ("a\0b", "the host must not contain '\\0'"),
            ("a\u{1b}b", "the host must not contain '\\u{1b}'"),
            ("a\u{202e}b", "the host must not contain '\\u{202e}'"),
            ("a\\b", "the host must not contain '\\'"),
            ("ssh://host/path", "an ssh:// URL has no path"),
            ("http://host", "only ws:// and wss:// are spoken"),
            ("ws://", "cannot use the URL"),
            ("ws://u:secret@host", "must not carry a user"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.to_string().contains(words), "{text:?}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(!error.next().is_empty());
        }
        let long = "x".repeat(10_000).parse::<Target>();
        assert_eq!(long, Err(TargetError::TooLong));
    }

    proptest! {
        #[test]
        fn any_text_is_a_target_or_an_error(text in any::<String>()) {
            if let Ok(Target::Ssh(target)) = text.parse::<Target>() {
                prop_assert!(!target.host.starts_with('-'));
                prop_assert!(!target.host.is_empty());
            }
        }

        #[test]
        fn what_is_shown_reads_back_as_the_same_target(
            user in proptest::option::of("[a-z][a-z0-9@._-]{0,8}"),
            host in "[a-z][a-z0-9._-]{0,12}|::1|fe80::1%eth0",
            port in proptest::option::of(1u16..),
        ) {
            let target = SshTarget { user, host, port };
            prop_assert_eq!(target.to_string().parse::<SshTarget>(), Ok(target));
        }
    }
}
