//! The text behind a keyword, read as what the keyword takes.

use std::time::Duration;

use super::options::Proxy;
use super::tokens::split_words;
use crate::tunnel::spec::{
    AddKeysToAgent, AddressFamily, RekeyLimit, StrictHostKey, UpdateHostKeys,
};
use crate::tunnel::target::SshTarget;

/// The text behind a keyword.
pub(super) struct Value<'a> {
    pub(super) keyword: &'a str,
    pub(super) rest: &'a str,
}

impl Value<'_> {
    /// At least one word, none of them empty.
    pub(super) fn words(&self) -> Result<Vec<String>, String> {
        let words = split_words(self.rest)
            .map_err(|_| format!("a quote is not closed after {}", self.keyword))?;
        if words.is_empty() || words.iter().any(String::is_empty) {
            return Err(format!("{} needs a value", self.keyword));
        }
        Ok(words)
    }

    /// Exactly one word.
    pub(super) fn one(&self) -> Result<String, String> {
        match <[String; 1]>::try_from(self.words()?) {
            Ok([word]) => Ok(word),
            Err(_) => Err(format!("{} takes one value", self.keyword)),
        }
    }

    fn bad(&self, value: &str, wanted: &str) -> String {
        format!(
            "{} must be {wanted}, not \"{}\"",
            self.keyword,
            crate::layer::printable(value, 120)
        )
    }

    /// File names; `none` stands alone and means an empty list.
    pub(super) fn files(&self) -> Result<Vec<String>, String> {
        let words = self.words()?;
        match words.as_slice() {
            [word] if word.eq_ignore_ascii_case("none") => Ok(Vec::new()),
            words if words.iter().any(|word| word.eq_ignore_ascii_case("none")) => {
                Err(format!("\"none\" must stand alone after {}", self.keyword))
            }
            _ => Ok(words),
        }
    }

    pub(super) fn yes_no(&self) -> Result<bool, String> {
        let word = self.one()?;
        match word.to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(true),
            "no" | "false" => Ok(false),
            _ => Err(self.bad(&word, "yes or no")),
        }
    }

    pub(super) fn public_key(&self) -> Result<bool, String> {
        match self.one()?.to_ascii_lowercase().as_str() {
            "unbound" | "host-bound" => Ok(true),
            _ => self.yes_no(),
        }
    }

    pub(super) fn port(&self) -> Result<u16, String> {
        let word = self.one()?;
        match word.parse::<u16>() {
            Ok(port) if port > 0 && !word.starts_with('+') => Ok(port),
            _ if word == "ssh" => Ok(22),
            _ => Err(self.bad(&word, "a port from 1 to 65535")),
        }
    }

    pub(super) fn number(&self) -> Result<u32, String> {
        let word = self.one()?;
        word.parse()
            .map_err(|_| self.bad(&word, "a number that is not negative"))
    }

    pub(super) fn time(&self) -> Result<Duration, String> {
        let word = self.one()?;
        if word == "none" {
            return Ok(Duration::ZERO);
        }
        time(&word).ok_or_else(|| self.bad(&word, "a time such as 30, 90s or 1m30s"))
    }

    /// `ConnectionAttempts`: at least one.
    pub(super) fn attempts(&self) -> Result<u32, String> {
        let word = self.one()?;
        match word.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(self.bad(&word, "a number from 1")),
        }
    }

    /// Permissions in octal digits.
    pub(super) fn mask(&self) -> Result<u32, String> {
        let word = self.one()?;
        match u32::from_str_radix(&word, 8) {
            Ok(mask) if mask <= 0o777 => Ok(mask),
            _ => Err(self.bad(&word, "an octal number up to 0777")),
        }
    }

    /// A number of bytes and, behind it, a time.
    pub(super) fn rekey_limit(&self) -> Result<RekeyLimit, String> {
        let words = self.words()?;
        let (bytes, after) = match words.as_slice() {
            [bytes] => (bytes, None),
            [bytes, after] => (bytes, Some(after)),
            _ => return Err(format!("{} takes one or two values", self.keyword)),
        };
        let time = match after {
            None => None,
            Some(word) if word == "none" => None,
            Some(word) => {
                let wanted = "followed by a time such as 90s or 1h";
                Some(time(word).ok_or_else(|| self.bad(word, wanted))?)
            }
        };
        Ok(RekeyLimit {
            bytes: match bytes.as_str() {
                "default" | "none" => None,
                word => Some(
                    size(word)
                        .filter(|bytes| *bytes >= SMALLEST_REKEY_LIMIT)
                        .ok_or_else(|| self.bad(word, "a number of bytes such as 512M, from 16"))?,
                ),
            },
            time: time.filter(|time| !time.is_zero()),
        })
    }

    pub(super) fn update(&self) -> Result<UpdateHostKeys, String> {
        let word = self.one()?;
        match word.to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(UpdateHostKeys::Yes),
            "ask" => Ok(UpdateHostKeys::Ask),
            "no" | "false" => Ok(UpdateHostKeys::No),
            _ => Err(self.bad(&word, "yes, ask or no")),
        }
    }

    /// `yes`, `no`, `ask`, `confirm [TIME]` or a time.
    pub(super) fn add_keys(&self) -> Result<AddKeysToAgent, String> {
        let words = self.words()?;
        let (word, after) = match words.as_slice() {
            [word] => (word, None),
            [word, after] => (word, Some(after)),
            _ => return Err(format!("{} takes one or two values", self.keyword)),
        };
        let wanted = "yes, no, ask, confirm or a time such as 1h";
        // A time of nothing is no limit, as in ssh.
        let lifetime = |word: &str| match time(word) {
            Some(time) => Ok(Some(time).filter(|time| !time.is_zero())),
            None => Err(self.bad(word, wanted)),
        };
        match (word.to_ascii_lowercase().as_str(), after) {
            ("yes" | "true", None) => Ok(AddKeysToAgent::Yes { lifetime: None }),
            ("no" | "false", None) => Ok(AddKeysToAgent::No),
            ("ask", None) => Ok(AddKeysToAgent::Ask),
            ("confirm", after) => Ok(AddKeysToAgent::Confirm {
                lifetime: after.map_or(Ok(None), |word| lifetime(word))?,
            }),
            (_, None) => Ok(AddKeysToAgent::Yes {
                lifetime: lifetime(word)?,
            }),
            (_, Some(_)) => Err(self.bad(&words.join(" "), wanted)),
        }
    }

    pub(super) fn strict(&self) -> Result<StrictHostKey, String> {
        let word = self.one()?;
        match word.to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(StrictHostKey::Yes),
            "ask" => Ok(StrictHostKey::Ask),
            "accept-new" => Ok(StrictHostKey::AcceptNew),
            "no" | "false" | "off" => Ok(StrictHostKey::No),
            _ => Err(self.bad(&word, "yes, ask, accept-new or no")),
        }
    }

    pub(super) fn family(&self) -> Result<AddressFamily, String> {
        let word = self.one()?;
        match word.to_ascii_lowercase().as_str() {
            "any" => Ok(AddressFamily::Any),
            "inet" => Ok(AddressFamily::Inet),
            "inet6" => Ok(AddressFamily::Inet6),
            _ => Err(self.bad(&word, "any, inet or inet6")),
        }
    }

    pub(super) fn jump(&self) -> Result<Proxy, String> {
        let word = self.one()?;
        if word.eq_ignore_ascii_case("none") {
            return Ok(Proxy::NoJump);
        }
        let jumps: Vec<String> = word.split(',').map(|jump| jump.trim().to_owned()).collect();
        for jump in &jumps {
            // Tokens are looked at when they have their values.
            if !jump.contains('%')
                && let Err(error) = jump.parse::<SshTarget>()
            {
                return Err(format!(
                    "the jump host \"{}\" cannot be used: {error}",
                    crate::layer::printable(jump, 120)
                ));
            }
        }
        Ok(Proxy::Jump(jumps))
    }

    /// The rest of the line as it is; quotes and `#` belong to the shell that would read it.
    pub(super) fn command(&self) -> Result<Proxy, String> {
        let command = self.rest.trim();
        match command {
            "" => Err(format!("{} needs a value", self.keyword)),
            "none" => Ok(Proxy::NoCommand),
            _ => Ok(Proxy::Command(command.to_owned())),
        }
    }
}

/// The smallest `RekeyLimit`; ssh's.
const SMALLEST_REKEY_LIMIT: u64 = 16;

/// A number of bytes, with K, M, G or T behind it.
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (text.get(..at)?, 1 << 10),
        (at, 'm' | 'M') => (text.get(..at)?, 1 << 20),
        (at, 'g' | 'G') => (text.get(..at)?, 1 << 30),
        (at, 't' | 'T') => (text.get(..at)?, 1 << 40),
        _ => (text, 1),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// ssh's times: seconds, or numbers with s, m, h, d or w, added up.
fn time(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let number: u64 = digits.parse().ok()?;
        let mut chars = after.chars();
        let unit = match chars.next().map(|c| c.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some('w') => 7 * 24 * 60 * 60,
            Some(_) => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = chars.as_str();
    }
    // ssh keeps times in an int.
    i32::try_from(total).ok()?;
    Some(Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_ssh() {
        for (text, seconds) in [
            ("0", 0),
            ("15", 15),
            ("90s", 90),
            ("1m30s", 90),
            ("1m30", 90),
            ("1H", 3600),
            ("1w2d", 9 * 86400),
        ] {
            assert_eq!(time(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "-5", "s", "1x", "99999999999", "9999999w", "1 m"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
