//! Values on their way from a file to the description.

use super::*;
use crate::tunnel::host_key::HostName;

#[test]
fn our_own_configuration_stands_between_the_command_line_and_ssh_config() {
    let world = World::new("ServerAliveInterval 9\nIdentityFile ~/users\n");
    let own = |keyword, value: &str, at: &str| OwnSetting {
        keyword,
        value: value.into(),
        at: at.into(),
    };
    let flags = Flags {
        identities: vec!["/typed".into()],
        own: vec![own("IdentityFile", "/own \"key\" \\ 1", "hosts.x.identity")],
        fallback: vec![
            own("ServerAliveInterval", "7", "tunnel.keepaliveSeconds"),
            own("ServerAliveCountMax", "4", "tunnel.keepaliveMax"),
        ],
        ..Flags::default()
    };
    let resolved = world.resolve_with("x", &flags).unwrap();
    let hop = resolved.spec.destination().unwrap();
    let keys: Vec<_> = hop.identity_files.iter().map(|f| f.path.clone()).collect();
    let users = world.env.home.join("users");
    assert_eq!(
        keys,
        [Path::new("/typed"), Path::new("/own \"key\" \\ 1"), &users]
    );
    assert_eq!(hop.alive_interval, Some(Duration::from_secs(9)));
    assert_eq!(hop.alive_count_max, Some(4));
    let source = &setting(&resolved, "ServerAliveCountMax").source;
    assert_eq!(source.to_string(), "tunnel.keepaliveMax");
}

#[test]
fn a_user_may_carry_tokens_and_a_typed_one_is_taken_as_it_is() {
    let world = World::new("User %u-%n-${SSH_KEYS}%%\nIdentityFile /%r\n");
    let hop = world.hop("x");
    assert_eq!(hop.user, "me-x-/keys%");
    assert_eq!(hop.identity_files[0].path, Path::new("/me-x-/keys%"));
    assert_eq!(world.hop("a%b@x").user, "a%b");
}

#[test]
fn a_proxy_command_is_kept_as_written_for_the_first_hop() {
    let world = World::new(
        "Host a\n  ProxyCommand nc \"%h\" %p # not a comment\nHost b\n  ProxyJump a\n  ProxyCommand never\n\
         Host c\n  ProxyCommand=wins\n  ProxyJump never\n",
    );
    let hop = world.hop("a");
    assert_eq!(
        hop.proxy_command.as_deref(),
        Some("nc \"%h\" %p # not a comment")
    );
    let spec = world.resolve("b").unwrap().spec;
    assert!(spec.hops[0].proxy_command.is_some() && spec.hops[1].proxy_command.is_none());
    let spec = world.resolve("c").unwrap().spec;
    assert_eq!(spec.hops.len(), 1);
    assert_eq!(spec.hops[0].proxy_command.as_deref(), Some("wins"));
}

#[test]
fn forwards_are_suggestions_in_the_words_of_listen() {
    let world = World::new(
        "LocalForward 8080 db:5432\nLocalForward [::1]:81 [::2]:82\nLocalForward *:83 h:84\n\
         LocalForward 85:h:86\nLocalForward /tmp/%n.sock /far.sock\n",
    );
    let resolved = world.resolve("x").unwrap();
    let listen: Vec<_> = resolved
        .spec
        .local_forwards
        .iter()
        .map(|forward| forward.listen.as_str())
        .collect();
    assert_eq!(
        listen,
        [
            "8080:db:5432",
            "[::1]:81:[::2]:82",
            "0.0.0.0:83:h:84",
            "85:h:86",
            "/tmp/x.sock:/far.sock"
        ]
    );
    assert!(resolved.spec.local_forwards[1].at.ends_with("config:2"));
    let world = World::new("ClearAllForwardings yes\nLocalForward 8080 db:5432\n");
    assert!(world.resolve("x").unwrap().spec.local_forwards.is_empty());
}

#[test]
fn unknown_keywords_are_told_once_and_never_stop() {
    let world = World::new(
        "IgnoreUnknown Use*,Other\nUseFancy yes\nNonsense 1\nHost a\n  nonsense 2\n  Ciphers aes128-ctr,foo\n  GSSAPIAuthentication no\n\
         \x20 VerifyHostKeyDNS ask\n  ForwardAgent yes\n  KnownHostsCommand /x\nHost b\n  Silly \"\n",
    );
    let resolved = world.resolve("a").unwrap();
    let told: Vec<_> = resolved
        .notices
        .iter()
        .map(|n| (n.keyword.as_str(), n.source.clone()))
        .collect();
    let line = |n| Source::line(&world.env.user_config, n);
    assert_eq!(
        told,
        [
            ("Ciphers", line(6)),
            ("Nonsense", line(3)),
            ("VerifyHostKeyDNS", line(8)),
            ("KnownHostsCommand", line(10))
        ]
    );
}

#[test]
fn a_bad_value_stops_with_its_line_where_it_would_count() {
    let world = World::new("Host a\n  Port 99999\nHost b\n  User b\n");
    assert_eq!(
        world.error("a"),
        "CONFIG:2: Port must be a port from 1 to 65535, not \"99999\""
    );
    assert_eq!(world.hop("b").user, "b");
    for (config, why) in [
        ("IdentityFile ~/%z", "CONFIG:1: \"%z\" means nothing here"),
        (
            "IdentityFile ${NOPE}/x",
            "CONFIG:1: the environment variable NOPE is not set",
        ),
        (
            "HostName -oX",
            "CONFIG:1: an SSH target must not start with '-'",
        ),
        ("HostName a b", "CONFIG:1: HostName takes one value"),
        ("HostName u@h", "CONFIG:1: \"u@h\" is no host name"),
        ("HostName h:22", "CONFIG:1: an address in brackets"),
        ("HostName %n", "CONFIG:1: \"%n\" means nothing here"),
        (
            "HostKeyAlgorithms ssh-rsa",
            "CONFIG:1: HostKeyAlgorithms leaves nothing",
        ),
        (
            "ProxyJump a,-oX",
            "CONFIG:1: the jump host \"-oX\" cannot be used",
        ),
        ("ProxyJump %%", "CONFIG:1: "),
        ("ProxyCommand nc %u", "CONFIG:1: \"%u\" means nothing here"),
        ("ProxyCommand -", "CONFIG:1: ProxyCommand - (standard input"),
        (
            "ProxyCommand nc %h %p\nProxyUseFdpass yes",
            "CONFIG:2: ProxyUseFdpass is not supported",
        ),
        ("User %r", "CONFIG:1: \"%r\" means nothing here"),
        ("LocalForward 80", "CONFIG:1: LocalForward must be"),
        ("LocalForward 80 x:0", "CONFIG:1: LocalForward must be"),
        ("Host", "CONFIG:1: Host needs a pattern"),
        ("Match", "CONFIG:1: Match needs a criterion"),
        ("Host \"a", "CONFIG:1: a quote is not closed after Host"),
    ] {
        let world = World::new(config);
        let error = match world.resolve("a") {
            Err(error) => error.to_string(),
            Ok(resolved) => panic!("{config}: {:?}", resolved.spec),
        };
        let error = error.replace(&world.env.user_config.display().to_string(), "CONFIG");
        assert!(error.starts_with(why), "{config}: {error}");
    }
}

#[test]
fn values_arrive_in_the_description_as_they_were_meant() {
    let world = World::new(
        "Host h\n  HostName %h.lan\n  User u\n  IdentityFile \"${SSH_KEYS}/%h %r\"\n  IdentityFile none\n\
         \x20 CertificateFile %d/c-%n\n  IdentityAgent ~/agent.sock\n  UserKnownHostsFile ~/k1 \"~/k 2\"\n\
         \x20 GlobalKnownHostsFile none\n  RevokedHostKeys /etc/revoked\n  HostKeyAlias Alias\n\
         \x20 StrictHostKeyChecking off\n  HostKeyAlgorithms -ecdsa*\n  ServerAliveInterval 1m30s\n\
         \x20 ServerAliveCountMax 5\n  ConnectTimeout 7\n  TCPKeepAlive no\n  AddressFamily inet6\n\
         \x20 BindAddress 192.0.2.1\n  PreferredAuthentications password,gssapi-with-mic,publickey\n\
         \x20 NumberOfPasswordPrompts 1\n  LocalForward 8080 127.0.0.1:80\n",
    );
    let resolved = world.resolve("h").unwrap();
    let hop = resolved.spec.destination().unwrap();
    let home = &world.env.home;
    assert_eq!(hop.identity_files.len(), 1);
    assert_eq!(hop.identity_files[0].path, Path::new("/keys/h.lan u"));
    assert_eq!(hop.certificate_files, [home.join("c-h")]);
    assert_eq!(hop.agent, AgentChoice::Socket(home.join("agent.sock")));
    assert_eq!(hop.known_hosts.user, [home.join("k1"), home.join("k 2")]);
    assert!(hop.known_hosts.global.is_empty());
    assert_eq!(hop.known_hosts.revoked, [Path::new("/etc/revoked")]);
    assert_eq!(hop.host_key_alias.as_deref(), Some("alias"));
    assert_eq!(hop.strict_host_key, StrictHostKey::No);
    assert_eq!(
        hop.host_key_algorithms.as_deref(),
        Some(
            &[
                "ssh-ed25519-cert-v01@openssh.com",
                "rsa-sha2-512-cert-v01@openssh.com",
                "rsa-sha2-256-cert-v01@openssh.com",
                "ssh-ed25519",
                "rsa-sha2-512",
                "rsa-sha2-256"
            ]
            .map(String::from)[..]
        )
    );
    assert_eq!(hop.update_host_keys, UpdateHostKeys::No, "another file");
    assert_eq!(hop.alive_interval, Some(Duration::from_secs(90)));
    assert_eq!(hop.alive_count_max, Some(5));
    assert_eq!(hop.connect_timeout, Some(Duration::from_secs(7)));
    assert!(!hop.tcp_keepalive);
    assert_eq!(hop.address_family, AddressFamily::Inet6);
    assert_eq!(hop.bind_address.as_deref(), Some("192.0.2.1"));
    assert_eq!(
        hop.auth_methods,
        [AuthMethod::Password, AuthMethod::PublicKey]
    );
    assert_eq!(hop.password_prompts, 1);
    let suggested = &resolved.spec.local_forwards[0];
    assert_eq!(suggested.listen, "8080:127.0.0.1:80");
    assert_eq!(world.hop("büro").host, "xn--bro-hoa");
}

/// B17.
#[test]
fn a_host_has_one_name_however_it_is_written_and_is_shown_by_it() {
    let world = World::new(
        "Host by-config\n  HostName ХОСТ.example.\nHost odd\n  HostName ａ。。\n\
         Host büro\n  HostName 10.0.0.5\nHost whole\n  HostName DB.\n",
    );
    for (typed, host, shown) in [
        ("хост.example", "xn--n1agdj.example", "xn--n1agdj.example"),
        ("me@host。com:2222", "host.com", "me@host.com:2222"),
        // The dot keeps search domains away.
        ("HOST.", "host.", "HOST."),
        ("whole", "db.", "whole"),
        ("хост.", "xn--n1agdj.", "xn--n1agdj."),
        ("by-config", "xn--n1agdj.example.", "by-config"),
        // Only the alias finds its lines again.
        ("me@büro", "10.0.0.5", "me@büro"),
        (
            "XN--N1AGDJ.example",
            "xn--n1agdj.example",
            "XN--N1AGDJ.example",
        ),
    ] {
        let resolved = world.resolve(typed).unwrap();
        let hop = resolved.spec.destination().unwrap();
        assert_eq!(hop.host, host, "{typed}");
        assert_eq!(resolved.spec.target, shown, "{typed}");
        let recorded = HostName::new(host.trim_end_matches('.'), hop.port);
        assert_eq!(HostName::of_hop(hop), recorded, "{typed}");
    }
    for (typed, words) in [
        ("odd", "CONFIG:4: \"ａ。。\" is no host name"),
        ("host..", "\"host..\" is no host name"),
        (".", "\".\" is no host name"),
    ] {
        assert!(world.error(typed).contains(words), "{}", world.error(typed));
    }
}

#[test]
fn the_agent_is_chosen_as_ssh_chooses_it() {
    for (value, choice) in [
        ("none", AgentChoice::Off),
        ("SSH_AUTH_SOCK", AgentChoice::Environment),
        ("$SSH_KEYS", AgentChoice::Socket("/keys".into())),
        ("$NOPE", AgentChoice::Off),
        ("${SSH_KEYS}/s", AgentChoice::Socket("/keys/s".into())),
    ] {
        let world = World::new(&format!("IdentityAgent {value}\n"));
        assert_eq!(world.hop("x").agent, choice, "{value}");
    }
}

#[test]
fn line_ends_and_foreign_bytes_do_no_harm() {
    let world = World::new("");
    let path = &world.env.user_config;
    std::fs::write(
        path,
        b"\xef\xbb\xbf# BOM\r\nHost x\r\n  User you \r\n# \xff\xfe\r\n",
    )
    .unwrap();
    assert_eq!(world.hop("x").user, "you");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_file_gives_a_description_or_an_error(
        text in "((Host|Match|Port|User|ProxyJump|IdentityFile|HostName|[a-zA-Z]{1,8})[ =]?[ -~äß\"]{0,20}\n){0,8}",
    ) {
        let world = World::new(&text);
        let _ = world.resolve("x");
    }
}
