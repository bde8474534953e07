//! What a person would notice, told by whole files; the last part compares with the real ssh.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::tunnel::spec::{
    AddressFamily, AgentChoice, AuthMethod, HopSpec, IdentityFile, StrictHostKey, UpdateHostKeys,
};

/// A home of its own, with a user file and a system file.
struct World {
    dir: tempfile::TempDir,
    env: Env,
}

impl World {
    fn new(user_config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let env = Env {
            user_config: home.join(".ssh/config"),
            system_config: dir.path().join("etc/ssh_config"),
            home,
            local_user: "me".into(),
            uid: nix::unistd::getuid().as_raw(),
            host_name: "laptop.lan".into(),
            vars: [("SSH_KEYS".to_owned(), "/keys".to_owned())].into(),
        };
        let world = Self { dir, env };
        world.write("home/.ssh/config", user_config);
        world
    }

    /// Writes a file below the temporary directory, owner-only.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn resolve(&self, target: &str) -> Result<Resolved, SshConfigError> {
        self.resolve_with(target, &Flags::default())
    }

    fn resolve_with(&self, target: &str, flags: &Flags) -> Result<Resolved, SshConfigError> {
        resolve(&target.parse().unwrap(), flags, &self.env)
    }

    /// The destination.
    fn hop(&self, target: &str) -> HopSpec {
        let resolved = self.resolve(target).unwrap();
        resolved.spec.destination().unwrap().clone()
    }

    /// The error, with the user file as `CONFIG`.
    fn error(&self, target: &str) -> String {
        let error = self.resolve(target).unwrap_err();
        assert!(!error.next().is_empty());
        error
            .to_string()
            .replace(&self.env.user_config.display().to_string(), "CONFIG")
    }
}

fn setting<'a>(resolved: &'a Resolved, keyword: &str) -> &'a Setting {
    let found = resolved.explain.iter().rfind(|s| s.keyword == keyword);
    found.unwrap_or_else(|| panic!("no {keyword}"))
}

#[test]
fn without_any_file_the_defaults_of_ssh_hold() {
    let world = World::new("");
    std::fs::remove_dir_all(world.dir.path().join("home")).ok();
    let hop = world.hop("Desktop");
    let ssh = |name: &str| world.env.home.join(".ssh").join(name);
    assert_eq!(
        (&*hop.alias, &*hop.host, hop.port),
        ("Desktop", "desktop", 22)
    );
    assert_eq!(hop.user, "me");
    assert_eq!(
        hop.identity_files[3],
        IdentityFile {
            path: ssh("id_ed25519"),
            named: false
        }
    );
    assert_eq!(hop.identity_files.len(), 5);
    assert_eq!(
        hop.known_hosts.user,
        [ssh("known_hosts"), ssh("known_hosts2")]
    );
    assert_eq!(
        hop.known_hosts.global,
        ["ssh_known_hosts", "ssh_known_hosts2"].map(|n| world.dir.path().join("etc").join(n))
    );
    assert_eq!(hop.strict_host_key, StrictHostKey::Ask);
    assert_eq!((hop.alive_interval, hop.alive_count_max), (None, None));
    assert_eq!((hop.connect_timeout, hop.tcp_keepalive), (None, true));
    assert_eq!(
        hop.auth_methods,
        [
            AuthMethod::PublicKey,
            AuthMethod::KeyboardInteractive,
            AuthMethod::Password
        ]
    );
    assert_eq!((hop.password_prompts, hop.batch_mode), (3, false));
    assert_eq!(hop.agent, AgentChoice::Environment);
    assert_eq!(hop.host_key_algorithms, None);
    assert_eq!(hop.update_host_keys, UpdateHostKeys::Yes);
}

#[test]
fn the_first_value_stays_lists_grow_and_each_knows_its_line() {
    let world = World::new(
        "# before any Host\nUser all\nHost desktop\n  User later\n  Port 2222\n  IdentityFile ~/a\n\
         Host desk*\n  Port 3333\n  IdentityFile ~/b\n  IdentityFile ~/a\nHost other\n  BatchMode yes\n",
    );
    world.write(
        "etc/ssh_config",
        "Host *\n  Port 4444\n  HashKnownHosts yes\n",
    );
    let resolved = world.resolve("desktop").unwrap();
    let hop = resolved.spec.destination().unwrap();
    assert_eq!((&*hop.user, hop.port), ("all", 2222));
    assert!(hop.hash_known_hosts && !hop.batch_mode);
    let keys: Vec<_> = hop.identity_files.iter().map(|f| f.path.clone()).collect();
    assert_eq!(keys, [world.env.home.join("a"), world.env.home.join("b")]);
    assert_eq!(
        setting(&resolved, "Port").source,
        Source::line(&world.env.user_config, 5)
    );
    assert_eq!(
        setting(&resolved, "HashKnownHosts").source,
        Source::line(&world.env.system_config, 3)
    );
    assert_eq!(
        setting(&resolved, "StrictHostKeyChecking").source,
        Source::Default
    );
    assert!(resolved.notices.is_empty());
}

#[test]
fn only_what_was_typed_overrides() {
    let world = World::new("Host desktop\n  User you\n  Port 2222\n  HostName desktop.lan\n");
    let flags = Flags {
        port: Some(99),
        identities: vec!["/k".into()],
        options: vec![
            "ServerAliveInterval=7".into(),
            "User x".into(),
            "user=y".into(),
        ],
        ..Flags::default()
    };
    let resolved = world.resolve_with("desktop", &flags).unwrap();
    let hop = resolved.spec.destination().unwrap();
    assert_eq!((&*hop.user, &*hop.host, hop.port), ("x", "desktop.lan", 99));
    assert_eq!(hop.alive_interval, Some(Duration::from_secs(7)));
    assert_eq!(setting(&resolved, "Port").source, Source::Flag);
    let hop = world.hop("a@desktop:33");
    assert_eq!((&*hop.user, &*hop.host, hop.port), ("a", "desktop.lan", 33));
    assert_eq!(world.hop("desktop").port, 2222);
    for (option, why) in [
        ("Nonsense=1", "is no option of ssh"),
        ("Port=0", "must be a port"),
        ("Host=x", "cannot stand behind -o"),
        ("Include=x", "cannot stand behind -o"),
        ("", "needs KEY=VALUE"),
        ("ProxyCommand=nc %d", "\"%d\" means nothing here"),
    ] {
        let flags = Flags {
            options: vec![option.into()],
            ..Flags::default()
        };
        let error = world
            .resolve_with("desktop", &flags)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("command line: ") && error.contains(why),
            "{error}"
        );
    }
}

#[test]
fn another_file_replaces_both_and_none_reads_nothing() {
    let world = World::new("User users\n");
    world.write("etc/ssh_config", "Port 4444\n");
    let file = world.write("other", "BatchMode yes\n");
    let with = |config| {
        let flags = Flags {
            config,
            ..Flags::default()
        };
        world.resolve_with("x", &flags)
    };
    let hop = with(ConfigFile::Only(file)).unwrap().spec.hops.remove(0);
    assert_eq!((&*hop.user, hop.port, hop.batch_mode), ("me", 22, true));
    let hop = with(ConfigFile::from_flag("NONE"))
        .unwrap()
        .spec
        .hops
        .remove(0);
    assert_eq!((&*hop.user, hop.port, hop.batch_mode), ("me", 22, false));
    let error = with(ConfigFile::Only("/nonexistent/config".into())).unwrap_err();
    assert!(matches!(error, SshConfigError::Read { .. }), "{error}");
}

#[test]
fn includes_are_guarded_by_the_block_around_them() {
    let world = World::new(
        "Host a\n  Include conf.d/*.conf\n  User outer\nHost b\n  Include conf.d/../extra\nInclude missing\n",
    );
    world.write(
        "home/.ssh/conf.d/1.conf",
        "Port 1\nHost *\n  BatchMode yes\n",
    );
    world.write("home/.ssh/conf.d/2.conf", "Port 2\nIdentitiesOnly yes\n");
    world.write("home/.ssh/conf.d/ignored", "HashKnownHosts yes\n");
    world.write("home/.ssh/extra", "Host *\n  User extra\n");
    let a = world.hop("a");
    assert_eq!((a.port, &*a.user, a.batch_mode), (1, "outer", true));
    assert!(a.identities_only && !a.hash_known_hosts);
    let b = world.hop("b");
    assert_eq!((b.port, &*b.user, b.batch_mode), (22, "extra", false));
    assert_eq!(world.hop("c").user, "me");
}

#[test]
fn includes_that_go_round_or_could_be_written_by_others_stop() {
    let world = World::new("Include config\n");
    assert!(world.error("x").contains("more than 16 files"));
    let world = World::new("Include open\n");
    let path = world.write("home/.ssh/open", "User mallory\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(world.error("x").contains("can be changed by other users"));
    let world = World::new("");
    world.write("etc/ssh_config", "Include ~/x\n");
    assert!(world.error("x").contains("cannot include from"));
    let world = World::new("Include \"\"\n");
    assert_eq!(world.error("x"), "CONFIG:1: Include needs a file");
}

#[test]
fn a_final_match_reads_everything_again_under_the_real_name() {
    let world = World::new(
        "Host home\n  HostName desktop.lan\nHost desktop.lan\n  Port 5\nMatch final host *.lan\n  User late\n\
         Match final originalhost home user me\n  BatchMode yes\n",
    );
    let hop = world.hop("home");
    assert_eq!(
        (&*hop.host, hop.port, &*hop.user),
        ("desktop.lan", 5, "late")
    );
    assert!(!hop.batch_mode, "the user was known by then");
}

#[test]
fn a_criterion_that_cannot_be_judged_stops_with_its_line() {
    let world = World::new("Host a\n  Port 5\nMatch tagged home\n  User x\n");
    let error = world.error("a");
    assert!(
        error.starts_with("CONFIG:3: \"Match tagged\" is not supported"),
        "{error}"
    );
    // It would not be looked at where an earlier criterion failed.
    let world = World::new("Match host b tagged x\n  User x\nMatch all\n  Port 9\n");
    assert_eq!(world.hop("a").port, 9);
    assert!(world.error("b").starts_with("CONFIG:1:"));
}

#[test]
fn the_commands_of_match_run_only_when_they_are_allowed() {
    let config = "Match host b exec \"test %h = b -a %n = b -a %p = 22 -a %r = $ME\"\n  Port 7\n\
                  Match exec \"exit 3\"\n  User no\n";
    let world = World::new(config);
    let error = world.error("b");
    assert!(
        error.starts_with("CONFIG:1: \"Match exec\" would run a command"),
        "{error}"
    );
    assert!(world.error("a").starts_with("CONFIG:3:"));
    let world = World::new(&config.replace("$ME", "me"));
    let flags = Flags {
        allow_match_exec: true,
        ..Flags::default()
    };
    let hop = |target: &str| {
        let resolved = world.resolve_with(target, &flags).unwrap();
        resolved.spec.destination().unwrap().clone()
    };
    assert_eq!((hop("b").port, &*hop("b").user), (7, "me"));
    assert_eq!(hop("a").port, 22);
    let world = World::new("Match exec \"test %z\"\n");
    let error = world.resolve_with("a", &flags).unwrap_err();
    assert!(error.to_string().contains("means nothing here"), "{error}");
}

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
fn each_jump_host_has_its_own_block_and_its_own_way() {
    let world = World::new(
        "Host desktop\n  ProxyJump you@door:2200,inner\n  User home\n  IdentityFile ~/home_key\n\
         Host door\n  HostName door.example\n  User ignored\n  ProxyJump outer\n  UserKnownHostsFile ~/door_hosts\n\
         Host inner\n  ProxyJump never\n  IdentityFile ~/inner_key\nHost outer\n  Port 2300\n",
    );
    let flags = Flags {
        identities: vec!["/typed".into()],
        accept_new_host_key: true,
        ..Flags::default()
    };
    let resolved = world.resolve_with("desktop", &flags).unwrap();
    let way: Vec<_> = resolved
        .spec
        .hops
        .iter()
        .map(|hop| (&*hop.alias, &*hop.host, hop.port, &*hop.user))
        .collect();
    // `inner` is reached as the list says, `door` as its own block says.
    assert_eq!(
        way,
        [
            ("outer", "outer", 2300, "me"),
            ("door", "door.example", 2200, "you"),
            ("inner", "inner", 22, "me"),
            ("desktop", "desktop", 22, "home"),
        ]
    );
    let [_, door, inner, desktop] = &resolved.spec.hops[..] else {
        panic!("four hops");
    };
    assert_eq!(door.known_hosts.user, [world.env.home.join("door_hosts")]);
    assert_eq!(inner.identity_files.len(), 1);
    assert_eq!(desktop.identity_files[0].path, Path::new("/typed"));
    assert_eq!(desktop.identity_files.len(), 2);
    assert!(
        resolved
            .spec
            .hops
            .iter()
            .all(|hop| hop.strict_host_key == StrictHostKey::AcceptNew)
    );
    assert_eq!(setting(&resolved, "ProxyJump").value, "you@door:2200,inner");
    assert!(
        resolved
            .explain
            .iter()
            .any(|s| s.hop == "door" && s.keyword == "Port")
    );
}

#[test]
fn jumps_can_be_switched_off_and_carry_tokens() {
    let world = World::new(
        "Host direct\n  ProxyJump none\nHost quiet\n  ProxyCommand none\nHost first\n  ProxyJump a\n\
         Host a\n  ProxyJump none\nHost *\n  ProxyJump %r@gate-%h:%p\n  ProxyCommand nc %h %p\n",
    );
    let hops = |target: &str| -> Vec<String> {
        let resolved = world.resolve(target).unwrap();
        resolved
            .spec
            .hops
            .iter()
            .map(|h| format!("{}@{}:{}", h.user, h.host, h.port))
            .collect()
    };
    assert_eq!(hops("direct"), ["me@direct:22"]);
    assert_eq!(hops("quiet"), ["me@quiet:22"]);
    assert_eq!(hops("first"), ["me@a:22", "me@first:22"]);
    let world = World::new("Host gate-*\n  ProxyJump none\nHost *\n  ProxyJump %r@gate-%h:%p\n");
    let resolved = world.resolve("you@x:99").unwrap();
    assert_eq!(resolved.spec.hops[0].host, "gate-x");
    assert_eq!(
        (&*resolved.spec.hops[0].user, resolved.spec.hops[0].port),
        ("you", 99)
    );
    let flags = Flags {
        jump: Some("typed".into()),
        ..Flags::default()
    };
    let world = World::new("Host x\n  ProxyJump file\n");
    let resolved = world.resolve_with("x", &flags).unwrap();
    assert_eq!(resolved.spec.hops[0].alias, "typed");
}

#[test]
fn a_host_that_is_reached_through_itself_is_refused() {
    let world = World::new("Host *\n  ProxyJump bastion\n");
    assert_eq!(
        world.error("x"),
        "CONFIG:2: bastion would be reached through itself"
    );
    let world = World::new("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n");
    assert_eq!(
        world.error("a"),
        "CONFIG:4: a would be reached through itself"
    );
    let world = World::new("Host a\n  ProxyJump b,c,d,e,f,g,h,i\n");
    assert!(
        world
            .error("a")
            .contains("more than 8 servers on the way to a")
    );
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
