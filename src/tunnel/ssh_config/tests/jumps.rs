//! Jump hosts, each with its own block.

use super::*;

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
