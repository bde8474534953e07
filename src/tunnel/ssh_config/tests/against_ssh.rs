//! The same files given to `ssh -G`; the answers have to be equal.

use std::process::Command;

use super::*;

/// A configuration and the target; `DIR` stands for the test's directory.
const CASES: &[(&str, &str)] = &[
    ("", "desktop"),
    ("", "you@desktop"),
    ("User a\nUser b\nPort 44\n", "x"),
    ("Host desktop\n  User low\n", "DESKTOP"),
    ("Match host desktop\n  User low\n", "DESKTOP"),
    (
        "Host a*\n  User one\nHost *b !ab\n  Port 33\nHost ab\n  Port 44\n",
        "ab",
    ),
    ("Host * !x\n  Port 44\nHost !x\n  Port 33\n", "x"),
    (
        "Host desktop\n  HostName %h.example\nHost desktop.example\n  User final\nMatch final host desktop.example\n  ServerAliveInterval 1m30s\n",
        "desktop",
    ),
    (
        "Host a\n  HostName b.lan\nMatch host b.lan\n  Port 5\nMatch originalhost a\n  User orig\nMatch host a\n  Port 6\n",
        "a",
    ),
    (
        "User bob\nMatch user bob\n  Port 44\nMatch user root\n  Port 55\n",
        "x",
    ),
    (
        "Match !host y\n  Port 5\nMatch !all\n  Port 6\nMatch all\n  User z\n",
        "x",
    ),
    (
        "Match host=x,y\n  Port 5\nMatch host \"*,!x\"\n  User no\n",
        "x",
    ),
    (
        "Match final all\n  Port 7\nMatch !final all\n  Port 8\n",
        "x",
    ),
    ("User = bob\nPort=44\n\"IdentitiesOnly\" TRUE\n", "x"),
    (
        "User \"a b\" # comment\nIdentityFile \"~/.ssh/a b\"\nIdentityFile ~/.ssh/%h-%r\nIdentityFile ~/.ssh/%h-%r\n",
        "x",
    ),
    (
        "IdentityFile a\\ b\nIdentityFile 'c d'\nIdentityFile ~/e\\\"f\n",
        "x",
    ),
    ("Host x\nProxyJump a,you@b:2222\n", "x"),
    ("Host x\nProxyJump [::1]:22\n", "x"),
    ("Host x\nProxyJump a # comment\n", "x"),
    ("Host x\n  ProxyJump none\nHost *\n  ProxyJump never\n", "x"),
    ("Host x\nProxyCommand none\nProxyJump b\n", "x"),
    ("Host x\nProxyJump b\nProxyCommand nc %h %p\n", "x"),
    (
        "StrictHostKeyChecking accept-new\nStrictHostKeyChecking no\n",
        "x",
    ),
    ("StrictHostKeyChecking yes\n", "x"),
    ("StrictHostKeyChecking off\n", "x"),
    ("UserKnownHostsFile \"~/.ssh/a b\" ~/k2\n", "x"),
    (
        "HostName y.lan\nUserKnownHostsFile %d/%h/%n/%p/%r/%C\n",
        "you@x",
    ),
    (
        "HostKeyAlias home\nUserKnownHostsFile /k-%k-%L-%u-%i\n",
        "x",
    ),
    ("UserKnownHostsFile none\n", "x"),
    ("ServerAliveInterval 1w2d\n", "x"),
    ("ServerAliveInterval 0\nServerAliveInterval 9\n", "x"),
    (
        "Host a\n  Include DIR/one\nHost b\n  Include DIR/one DIR/two\n  User outer\n",
        "a",
    ),
    (
        "Host a\n  Include DIR/one\nHost b\n  Include DIR/one DIR/two\n  User outer\n",
        "b",
    ),
    ("Include DIR/t*\nInclude DIR/missing\nPort 9\n", "x"),
    (
        "IgnoreUnknown Foo*,Bar\nFooX 1\nBar 2\nUser u\r\n\r\nPort 9\r\n",
        "x",
    ),
    ("", "ssh://you@x:99"),
];

/// The keywords that are compared, as `ssh -G` prints them.
const KEYWORDS: [&str; 9] = [
    "hostname",
    "user",
    "port",
    "identityfile",
    "proxyjump",
    "stricthostkeychecking",
    "userknownhostsfile",
    "serveraliveinterval",
    "identitiesonly",
];

#[test]
fn the_same_files_mean_the_same_to_ssh() {
    if Command::new("ssh").arg("-V").output().is_err() {
        println!("skipped: no ssh on this machine");
        return;
    }
    // ssh takes the home from the password file; nothing in it is read.
    let account = nix::unistd::User::from_uid(nix::unistd::getuid())
        .unwrap()
        .unwrap();
    for (config, target) in CASES {
        let mut world = World::new("");
        world.write("one", "Port 1\nHost *\n  IdentitiesOnly yes\n");
        world.write(
            "two",
            "Match all\n  ServerAliveInterval 2\nHost other\n  User other\n",
        );
        let config = config.replace("DIR", &world.dir.path().display().to_string());
        let file = world.write("config", &config);
        world.env.home = account.dir.clone();
        world.env.local_user = account.name.clone();
        world.env.host_name = gethostname::gethostname().to_string_lossy().into_owned();
        let flags = Flags {
            config: ConfigFile::Only(file.clone()),
            ..Flags::default()
        };
        let ours = ours(&world.resolve_with(target, &flags).unwrap());
        let theirs = theirs(&file, target, &world.env);
        assert_eq!(ours, theirs, "{target} with\n{config}");
    }
}

/// What `ssh -G` says, in the order of [`KEYWORDS`].
fn theirs(file: &Path, target: &str, env: &Env) -> Vec<String> {
    let output = Command::new("ssh")
        .arg("-G")
        .arg("-F")
        .arg(file)
        .arg(target)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let value = |keyword: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(name, _)| *name == keyword)
            .map(|(_, value)| value.to_owned())
            .collect()
    };
    let (host, user) = (value("hostname").concat(), value("user").concat());
    let tokens = expand::Tokens {
        env,
        typed: target,
        host: &host,
        port: 22,
        user: &user,
        key_alias: target,
        jump: "",
    };
    KEYWORDS
        .iter()
        .map(|keyword| {
            let mut values = value(keyword);
            if *keyword == "identityfile" {
                // -G shows them before expansion, and kinds of key that nobody has any more.
                values.retain(|file| !file.ends_with("id_dsa") && !file.ends_with("id_xmss"));
                for value in &mut values {
                    *value = tokens.path(value).unwrap().display().to_string();
                }
            }
            let shown = match (*keyword, values.concat().as_str()) {
                ("stricthostkeychecking", "true") => "yes".to_owned(),
                ("stricthostkeychecking", "false") => "no".to_owned(),
                ("proxyjump", "") => "none".to_owned(),
                _ => values.join(" "),
            };
            format!("{keyword} {shown}")
        })
        .collect()
}

/// The same from ours.
fn ours(resolved: &Resolved) -> Vec<String> {
    let hop = resolved.spec.destination().unwrap();
    let names = |keyword: &str| -> Vec<String> {
        let shown = |s: &&Setting| s.hop == hop.alias && s.keyword.eq_ignore_ascii_case(keyword);
        resolved
            .explain
            .iter()
            .filter(shown)
            .map(|s| s.value.clone())
            .collect()
    };
    KEYWORDS
        .iter()
        .map(|keyword| {
            let values = names(keyword);
            let shown = match (*keyword, values.is_empty()) {
                ("proxyjump", true) => "none".to_owned(),
                ("serveraliveinterval", true) => "0".to_owned(),
                _ => values.join(" "),
            };
            format!("{keyword} {shown}")
        })
        .collect()
}
