//! One keyword and its words into [`Options`].

use super::options::{Options, Proxy, add, first};
use super::source::{Source, Sourced};
use super::value::Value;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tunnel::spec::{AddKeysToAgent, RekeyLimit};

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
