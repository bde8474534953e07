//! One keyword and its words into [`Options`].

use std::time::Duration;

use super::options::{Options, Proxy, add, first};
use super::source::{Source, Sourced};
use super::tokens::split_words;
use crate::tunnel::spec::{
    AddKeysToAgent, AddressFamily, RekeyLimit, StrictHostKey, UpdateHostKeys,
};
use crate::tunnel::target::SshTarget;
use crate::tunnel::wildcard;

/// Most key files that one host may have; ssh's limit.
const MAX_FILES: usize = 100;

/// Keywords that users would notice and that are not applied, unless they say `no` or `none`.
const NOT_APPLIED: &[(&str, &str)] = &[
    ("bindinterface", "is not applied; use BindAddress"),
    (
        "canonicalizehostname",
        "is not applied: the name is used as it is",
    ),
    (
        "gssapiauthentication",
        "is not applied: there is no GSSAPI sign-in",
    ),
    (
        "hostbasedauthentication",
        "is not applied: there is no host-based sign-in",
    ),
    ("knownhostscommand", "is not applied: only files are read"),
    (
        "nohostauthenticationforlocalhost",
        "is not applied: host keys are always compared",
    ),
    (
        "pkcs11provider",
        "is not applied: put the card into an agent",
    ),
    (
        "securitykeyprovider",
        "is not applied: security keys work through an agent",
    ),
    (
        "smartcarddevice",
        "is not applied: put the card into an agent",
    ),
    ("usekeychain", "is not applied: the passphrase is asked for"),
    (
        "verifyhostkeydns",
        "is not applied: DNS is not asked about host keys",
    ),
];

/// Keywords of ssh that have no effect on a forward.
const NO_EFFECT: &[&str] = &[
    "canonicaldomains",
    "canonicalizefallbacklocal",
    "canonicalizemaxdots",
    "canonicalizepermittedcnames",
    "channeltimeout",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "dynamicforward",
    "enableescapecommandline",
    "enablesshkeysign",
    "escapechar",
    "fingerprinthash",
    "forkafterauthentication",
    "forwardagent",
    "forwardx11",
    "forwardx11timeout",
    "forwardx11trusted",
    "gatewayports",
    "gssapiclientidentity",
    "gssapidelegatecredentials",
    "gssapikexalgorithms",
    "gssapikeyexchange",
    "gssapirenewalforcesrekey",
    "gssapiserveridentity",
    "gssapitrustdns",
    "hostbasedacceptedalgorithms",
    "hostbasedkeytypes",
    "ipqos",
    "kbdinteractivedevices",
    "localcommand",
    "loglevel",
    "logverbose",
    "obscurekeystroketiming",
    "permitlocalcommand",
    "permitremoteopen",
    "refuseconnection",
    "remotecommand",
    "remoteforward",
    "requesttty",
    "sendenv",
    "sessiontype",
    "setenv",
    "stdinnull",
    "syslogfacility",
    "tag",
    "tunnel",
    "tunneldevice",
    "useprivilegedport",
    "versionaddendum",
    "visualhostkey",
    "warnweakcrypto",
    "xauthlocation",
];

/// What came of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is a keyword of ssh.
    Yes,
    /// Nobody knows the keyword.
    Unknown,
}

/// Applies one line to `options`. An error is a sentence about the value; the caller adds the place.
pub(super) fn apply(
    options: &mut Options,
    keyword: &str,
    rest: &str,
    source: &Source,
) -> Result<Applied, String> {
    let lower = keyword.to_ascii_lowercase();
    let value = Value { keyword, rest };
    match lower.as_str() {
        "hostname" => first(&mut options.host_name, value.one()?, source),
        "user" => first(&mut options.user, value.one()?, source),
        "port" => first(&mut options.port, value.port()?, source),
        "identityfile" => add(&mut options.identity_files, value.one()?, source),
        "identitiesonly" => first(&mut options.identities_only, value.yes_no()?, source),
        "identityagent" => first(&mut options.identity_agent, value.one()?, source),
        "certificatefile" => add(&mut options.certificate_files, value.one()?, source),
        "userknownhostsfile" => first(&mut options.user_known_hosts, value.files()?, source),
        "globalknownhostsfile" => first(&mut options.global_known_hosts, value.files()?, source),
        "revokedhostkeys" => first(&mut options.revoked_host_keys, value.files()?, source),
        // Host names are compared in lower case.
        "hostkeyalias" => first(
            &mut options.host_key_alias,
            value.one()?.to_ascii_lowercase(),
            source,
        ),
        "stricthostkeychecking" => {
            first(&mut options.strict_host_key, value.strict()?, source);
        }
        "hashknownhosts" => first(&mut options.hash_known_hosts, value.yes_no()?, source),
        "checkhostip" => first(&mut options.check_host_ip, value.yes_no()?, source),
        "updatehostkeys" => first(&mut options.update_host_keys, value.update()?, source),
        "hostkeyalgorithms" => first(&mut options.host_key_algorithms, value.one()?, source),
        "casignaturealgorithms" => {
            first(&mut options.ca_signature_algorithms, value.one()?, source);
        }
        "requiredrsasize" => first(&mut options.required_rsa_size, value.number()?, source),
        "kexalgorithms" => first(&mut options.kex, value.one()?, source),
        "ciphers" => first(&mut options.ciphers, value.one()?, source),
        "macs" => first(&mut options.macs, value.one()?, source),
        "rekeylimit" => first(&mut options.rekey_limit, value.rekey_limit()?, source),
        "compression" => first(&mut options.compression, value.yes_no()?, source),
        "connectionattempts" => {
            first(&mut options.connection_attempts, value.attempts()?, source);
        }
        "proxyusefdpass" => first(&mut options.proxy_use_fdpass, value.yes_no()?, source),
        "proxyjump" => first(&mut options.proxy, value.jump()?, source),
        "proxycommand" => {
            let command = value.command()?;
            let is_open = |said: &Sourced<Proxy>| said.value == Proxy::NoJump;
            if options.proxy.as_ref().is_none_or(is_open) {
                options.proxy = Some(Sourced {
                    value: command,
                    source: source.clone(),
                });
            }
        }
        "serveraliveinterval" => first(&mut options.alive_interval, value.time()?, source),
        "serveralivecountmax" => first(&mut options.alive_count_max, value.number()?, source),
        "connecttimeout" => first(&mut options.connect_timeout, value.time()?, source),
        "tcpkeepalive" | "keepalive" => first(&mut options.tcp_keepalive, value.yes_no()?, source),
        "addressfamily" => first(&mut options.address_family, value.family()?, source),
        "bindaddress" => first(&mut options.bind_address, value.one()?, source),
        "preferredauthentications" => {
            first(&mut options.preferred_authentications, value.one()?, source);
        }
        "pubkeyauthentication" | "dsaauthentication" => {
            first(&mut options.public_key, value.public_key()?, source);
        }
        "kbdinteractiveauthentication"
        | "challengeresponseauthentication"
        | "skeyauthentication"
        | "tisauthentication" => {
            first(&mut options.keyboard_interactive, value.yes_no()?, source);
        }
        "passwordauthentication" => first(&mut options.password, value.yes_no()?, source),
        "pubkeyacceptedalgorithms" | "pubkeyacceptedkeytypes" => {
            first(&mut options.pubkey_algorithms, value.one()?, source);
        }
        "addkeystoagent" => first(&mut options.add_keys_to_agent, value.add_keys()?, source),
        "numberofpasswordprompts" => first(&mut options.password_prompts, value.number()?, source),
        "batchmode" => first(&mut options.batch_mode, value.yes_no()?, source),
        "exitonforwardfailure" => {
            first(
                &mut options.exit_on_forward_failure,
                value.yes_no()?,
                source,
            );
        }
        "streamlocalbindunlink" => {
            first(
                &mut options.stream_local_bind_unlink,
                value.yes_no()?,
                source,
            );
        }
        "streamlocalbindmask" => {
            first(&mut options.stream_local_bind_mask, value.mask()?, source);
        }
        "localforward" => add(&mut options.local_forwards, value.words()?, source),
        "clearallforwardings" => {
            first(&mut options.clear_all_forwardings, value.yes_no()?, source);
        }
        "ignoreunknown" => {
            let patterns = value
                .one()?
                .split(',')
                .map(str::to_ascii_lowercase)
                .collect();
            first(&mut options.ignore_unknown, patterns, source);
        }
        _ => return Ok(not_honoured(options, keyword, &lower, rest, source)),
    }
    if options
        .identity_files
        .len()
        .max(options.certificate_files.len())
        > MAX_FILES
    {
        return Err(format!("more than {MAX_FILES} values of {keyword}"));
    }
    Ok(Applied::Yes)
}

fn not_honoured(
    options: &mut Options,
    keyword: &str,
    lower: &str,
    rest: &str,
    source: &Source,
) -> Applied {
    if let Some((_, text)) = NOT_APPLIED.iter().find(|(name, _)| *name == lower) {
        let off = ["no", "none", "false"]
            .iter()
            .any(|off| rest.trim().eq_ignore_ascii_case(off));
        if lower == "verifyhostkeydns" {
            first(&mut options.verify_host_key_dns, !off, source);
        }
        if !off {
            options.notice(keyword, text, source);
        }
        return Applied::Yes;
    }
    let ignored = options.ignore_unknown.as_ref().is_some_and(|said| {
        said.value
            .iter()
            .any(|pattern| wildcard::matches(lower, pattern))
    });
    if ignored || NO_EFFECT.contains(&lower) {
        return Applied::Yes;
    }
    Applied::Unknown
}

/// The text behind a keyword.
struct Value<'a> {
    keyword: &'a str,
    rest: &'a str,
}

impl Value<'_> {
    /// At least one word, none of them empty.
    fn words(&self) -> Result<Vec<String>, String> {
        let words = split_words(self.rest)
            .map_err(|_| format!("a quote is not closed after {}", self.keyword))?;
        if words.is_empty() || words.iter().any(String::is_empty) {
            return Err(format!("{} needs a value", self.keyword));
        }
        Ok(words)
    }

    /// Exactly one word.
    fn one(&self) -> Result<String, String> {
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
    fn files(&self) -> Result<Vec<String>, String> {
        let words = self.words()?;
        match words.as_slice() {
            [word] if word.eq_ignore_ascii_case("none") => Ok(Vec::new()),
            words if words.iter().any(|word| word.eq_ignore_ascii_case("none")) => {
                Err(format!("\"none\" must stand alone after {}", self.keyword))
            }
            _ => Ok(words),
        }
    }

    fn yes_no(&self) -> Result<bool, String> {
        let word = self.one()?;
        match word.to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(true),
            "no" | "false" => Ok(false),
            _ => Err(self.bad(&word, "yes or no")),
        }
    }

    fn public_key(&self) -> Result<bool, String> {
        match self.one()?.to_ascii_lowercase().as_str() {
            "unbound" | "host-bound" => Ok(true),
            _ => self.yes_no(),
        }
    }

    fn port(&self) -> Result<u16, String> {
        let word = self.one()?;
        match word.parse::<u16>() {
            Ok(port) if port > 0 && !word.starts_with('+') => Ok(port),
            _ if word == "ssh" => Ok(22),
            _ => Err(self.bad(&word, "a port from 1 to 65535")),
        }
    }

    fn number(&self) -> Result<u32, String> {
        let word = self.one()?;
        word.parse()
            .map_err(|_| self.bad(&word, "a number that is not negative"))
    }

    fn time(&self) -> Result<Duration, String> {
        let word = self.one()?;
        if word == "none" {
            return Ok(Duration::ZERO);
        }
        time(&word).ok_or_else(|| self.bad(&word, "a time such as 30, 90s or 1m30s"))
    }

    /// `ConnectionAttempts`: at least one.
    fn attempts(&self) -> Result<u32, String> {
        let word = self.one()?;
        match word.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(self.bad(&word, "a number from 1")),
        }
    }

    /// Permissions in octal digits.
    fn mask(&self) -> Result<u32, String> {
        let word = self.one()?;
        match u32::from_str_radix(&word, 8) {
            Ok(mask) if mask <= 0o777 => Ok(mask),
            _ => Err(self.bad(&word, "an octal number up to 0777")),
        }
    }

    /// A number of bytes and, behind it, a time.
    fn rekey_limit(&self) -> Result<RekeyLimit, String> {
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

    fn update(&self) -> Result<UpdateHostKeys, String> {
        let word = self.one()?;
        match word.to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(UpdateHostKeys::Yes),
            "ask" => Ok(UpdateHostKeys::Ask),
            "no" | "false" => Ok(UpdateHostKeys::No),
            _ => Err(self.bad(&word, "yes, ask or no")),
        }
    }

    /// `yes`, `no`, `ask`, `confirm [TIME]` or a time.
    fn add_keys(&self) -> Result<AddKeysToAgent, String> {
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

    fn strict(&self) -> Result<StrictHostKey, String> {
        let word = self.one()?;
        match word.to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(StrictHostKey::Yes),
            "ask" => Ok(StrictHostKey::Ask),
            "accept-new" => Ok(StrictHostKey::AcceptNew),
            "no" | "false" | "off" => Ok(StrictHostKey::No),
            _ => Err(self.bad(&word, "yes, ask, accept-new or no")),
        }
    }

    fn family(&self) -> Result<AddressFamily, String> {
        let word = self.one()?;
        match word.to_ascii_lowercase().as_str() {
            "any" => Ok(AddressFamily::Any),
            "inet" => Ok(AddressFamily::Inet),
            "inet6" => Ok(AddressFamily::Inet6),
            _ => Err(self.bad(&word, "any, inet or inet6")),
        }
    }

    fn jump(&self) -> Result<Proxy, String> {
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
    fn command(&self) -> Result<Proxy, String> {
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

    #[test]
    fn values_with_two_parts_are_those_of_ssh() {
        let minute = Some(Duration::from_secs(60));
        for (rest, bytes, time) in [
            ("default none", None, None),
            ("1G 1m", Some(1 << 30), minute),
            ("512k", Some(512 << 10), None),
            ("none 60", None, minute),
            ("16 0", Some(16), None),
        ] {
            let mut options = Options::default();
            apply(&mut options, "RekeyLimit", rest, &Source::Flag).unwrap();
            let limit = options.rekey_limit.unwrap().value;
            assert_eq!(limit, RekeyLimit { bytes, time }, "{rest}");
        }
        for (rest, expected) in [
            ("yes", AddKeysToAgent::Yes { lifetime: None }),
            ("no", AddKeysToAgent::No),
            ("ask", AddKeysToAgent::Ask),
            ("1m", AddKeysToAgent::Yes { lifetime: minute }),
            ("0", AddKeysToAgent::Yes { lifetime: None }),
            ("confirm", AddKeysToAgent::Confirm { lifetime: None }),
            ("confirm 60s", AddKeysToAgent::Confirm { lifetime: minute }),
        ] {
            let mut options = Options::default();
            apply(&mut options, "AddKeysToAgent", rest, &Source::Flag).unwrap();
            assert_eq!(options.add_keys_to_agent.unwrap().value, expected, "{rest}");
        }
    }

    #[test]
    fn bad_values_say_what_is_wanted() {
        for (keyword, rest, why) in [
            ("Port", "0", "must be a port from 1 to 65535, not \"0\""),
            ("Port", "22#x", "must be a port"),
            ("Port", "22 23", "Port takes one value"),
            ("Port", "", "Port needs a value"),
            ("User", "\"\"", "User needs a value"),
            ("User", "\"a", "a quote is not closed after User"),
            ("IdentitiesOnly", "maybe", "must be yes or no"),
            ("StrictHostKeyChecking", "perhaps", "accept-new or no"),
            ("ServerAliveInterval", "soon", "must be a time"),
            ("ServerAliveCountMax", "-1", "not negative"),
            ("AddressFamily", "ipv5", "any, inet or inet6"),
            ("UserKnownHostsFile", "none /a", "must stand alone"),
            ("ProxyJump", "a,-oX", "must not start with '-'"),
            ("ProxyCommand", "", "needs a value"),
            ("RekeyLimit", "15", "from 16"),
            ("RekeyLimit", "1X", "a number of bytes"),
            ("RekeyLimit", "1G soon", "followed by a time"),
            ("RekeyLimit", "1G 1h 1h", "one or two values"),
            ("AddKeysToAgent", "yes 5m", "yes, no, ask, confirm"),
            ("AddKeysToAgent", "confirm soon", "yes, no, ask, confirm"),
            ("UpdateHostKeys", "always", "yes, ask or no"),
            ("ConnectionAttempts", "0", "a number from 1"),
            ("StreamLocalBindMask", "0999", "an octal number"),
            ("StreamLocalBindMask", "1000", "an octal number"),
        ] {
            let error = apply(&mut Options::default(), keyword, rest, &Source::Flag).unwrap_err();
            assert!(error.contains(why), "{keyword} {rest}: {error}");
        }
    }

    #[test]
    fn the_tables_are_sorted_and_disjoint() {
        assert!(NO_EFFECT.is_sorted());
        assert!(NOT_APPLIED.is_sorted());
        assert!(!NOT_APPLIED.iter().any(|(name, _)| NO_EFFECT.contains(name)));
    }
}
