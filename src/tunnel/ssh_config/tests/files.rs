//! Which files count, and for what: defaults, first values, includes.

use super::*;

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
