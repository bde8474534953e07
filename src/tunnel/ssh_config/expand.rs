//! `%h`, `${NAME}` and `~`, replaced at the point of use.

use std::path::PathBuf;

use sha1::{Digest, Sha1};

use super::env::{self, Env};
use crate::tunnel::spec::HopSpec;

/// The values that tokens stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tokens<'a> {
    pub(super) env: &'a Env,
    /// `%n`: the host as it was typed.
    pub(super) typed: &'a str,
    /// `%h`: the host that is dialled.
    pub(super) host: &'a str,
    /// `%p`.
    pub(super) port: u16,
    /// `%r`.
    pub(super) user: &'a str,
    /// `%k`: `HostKeyAlias`, else the host as it was typed.
    pub(super) key_alias: &'a str,
    /// `%j`: the jump host next to this one, or nothing.
    pub(super) jump: &'a str,
}

/// Tokens that `ProxyJump` knows.
pub(super) const IN_JUMPS: &str = "hnpr";

/// Tokens that file names, `Match exec` and `Include` know.
pub(super) const IN_PATHS: &str = "CdhijkLlnpru";

/// Tokens that `ProxyCommand` knows.
pub(super) const IN_COMMANDS: &str = "hnpr";

/// Tokens that `User` knows: all that do not depend on it.
pub(super) const IN_USER: &str = "dhijkLlnpu";

impl Tokens<'_> {
    /// Replaces those tokens that `allowed` names; `%%` is a percent sign.
    pub(super) fn expand(&self, text: &str, allowed: &str) -> Result<String, String> {
        replace(text, |token| {
            if !allowed.contains(token) {
                return None;
            }
            let short = || self.env.host_name.split('.').next().unwrap_or_default();
            Some(match token {
                'C' => self.hash(),
                'd' => self.env.home.display().to_string(),
                'h' => self.host.to_owned(),
                'i' => self.env.uid.to_string(),
                'j' => self.jump.to_owned(),
                'k' => self.key_alias.to_owned(),
                'L' => short().to_owned(),
                'l' => self.env.host_name.clone(),
                'n' => self.typed.to_owned(),
                'p' => self.port.to_string(),
                'r' => self.user.to_owned(),
                'u' => self.env.local_user.clone(),
                _ => return None,
            })
        })
    }

    /// A file name: `~` first, then environment and tokens in one go, so that what they bring is not
    /// looked at again.
    pub(super) fn path(&self, text: &str) -> Result<PathBuf, String> {
        let text = tilde(text, self.env)?;
        Ok(self.expand_with_environment(&text, IN_PATHS)?.into())
    }

    /// Environment and tokens in one go; what they bring is not looked at again.
    pub(super) fn expand_with_environment(
        &self,
        text: &str,
        allowed: &str,
    ) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            let (value, after) = variable(from, self.env)?;
            out.push_str(&self.expand(before, allowed)?);
            out.push_str(value);
            rest = after;
        }
        out.push_str(&self.expand(rest, allowed)?);
        Ok(out)
    }

    /// `%C`: SHA-1 of `%l%h%p%r%j`.
    fn hash(&self) -> String {
        let mut sha1 = Sha1::new();
        for part in [
            &*self.env.host_name,
            self.host,
            &self.port.to_string(),
            self.user,
            self.jump,
        ] {
            sha1.update(part);
        }
        sha1.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// `HostName`, which knows `%h` (the host as it was typed) and `%%`.
pub(super) fn host_name(text: &str, typed: &str) -> Result<String, String> {
    replace(text, |token| (token == 'h').then(|| typed.to_owned()))
}

/// `~` and `~/…` with the home directory, `~user/…` with that user's.
pub(super) fn tilde(text: &str, env: &Env) -> Result<String, String> {
    match text.strip_prefix('~') {
        None => Ok(text.to_owned()),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            Ok(format!("{}{rest}", env.home.display()))
        }
        Some(rest) => {
            let (user, path) = rest.split_once('/').unwrap_or((rest, ""));
            if user == env.local_user {
                return Ok(env.home.join(path).display().to_string());
            }
            match env::home_of(user) {
                Some(home) => Ok(home.join(path).display().to_string()),
                None => Err(format!(
                    "there is no user \"{}\" whose home ~ could mean",
                    crate::layer::printable(user, 64)
                )),
            }
        }
    }
}

/// Reads `${NAME}…` into the variable's value and what follows.
fn variable<'a, 'e>(text: &'a str, env: &'e Env) -> Result<(&'e str, &'a str), String> {
    let (name, after) = text
        .strip_prefix("${")
        .and_then(|rest| rest.split_once('}'))
        .ok_or("\"${\" without \"}\"")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("\"${{{name}}}\" is not a variable name"));
    }
    match env.vars.get(name) {
        Some(value) => Ok((value, after)),
        None => Err(format!("the environment variable {name} is not set")),
    }
}

/// A `ProxyCommand` with its tokens: `%h`, `%n`, `%p`, `%r` and `%%`.
#[cfg_attr(not(unix), expect(dead_code, reason = "commands run on unix only"))]
pub(crate) fn proxy_command(text: &str, hop: &HopSpec) -> Result<String, String> {
    replace(text, |token| match token {
        'h' => Some(hop.host.clone()),
        'n' => Some(hop.alias.clone()),
        'p' => Some(hop.port.to_string()),
        'r' => Some(hop.user.clone()),
        _ => None,
    })
}

fn replace(text: &str, value: impl Fn(char) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some(token) => match value(token) {
                Some(value) => out.push_str(&value),
                None => return Err(format!("\"%{token}\" means nothing here")),
            },
            None => return Err("a lone \"%\" at the end; write \"%%\"".into()),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env {
            home: "/home/me".into(),
            local_user: "me".into(),
            uid: 1000,
            host_name: "laptop.lan".into(),
            user_config: "/home/me/.ssh/config".into(),
            system_config: "/etc/ssh/ssh_config".into(),
            vars: [("KEYS".to_owned(), "/k%h".to_owned())].into(),
        }
    }

    #[test]
    fn every_token_has_its_value() {
        let env = env();
        let tokens = Tokens {
            env: &env,
            typed: "home",
            host: "home.lan",
            port: 2222,
            user: "you",
            key_alias: "alias",
            jump: "door",
        };
        for (text, expected) in [
            ("%d/%u/%i/%l/%L", "/home/me/me/1000/laptop.lan/laptop"),
            (
                "%n/%h/%p/%r/%k/%j/%%",
                "home/home.lan/2222/you/alias/door/%",
            ),
            ("~/x", "/home/me/x"),
            ("~", "/home/me"),
            ("~me/x", "/home/me/x"),
            ("${KEYS}/%n", "/k%h/home"),
            // printf laptop.lanhome.lan2222youdoor | sha1sum
            ("%C", "bcffd2d073f7b1b598dcb263974016e4bdf10b94"),
        ] {
            assert_eq!(tokens.path(text), Ok(expected.into()), "{text}");
        }
        for (text, why) in [
            ("%z", "means nothing here"),
            ("x%", "lone"),
            ("${NOPE}", "NOPE is not set"),
            ("${KEYS", "without"),
            ("${}", "not a variable name"),
            ("~no.such.user/x", "there is no user"),
        ] {
            let error = tokens.path(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(tokens.expand("%d", IN_JUMPS).is_err());
    }

    #[test]
    fn host_names_know_only_the_typed_host() {
        assert_eq!(host_name("%h.lan", "home"), Ok("home.lan".into()));
        assert!(host_name("%n.lan", "home").is_err());
    }
}
