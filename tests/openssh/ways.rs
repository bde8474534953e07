//! The ways of ssh_config to a real sshd: jump hosts and commands, each hop with its own settings.

use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::{RemoteEnd, TunnelSpec};
use clawline::tunnel::ssh_config::{self, ConfigFile, Env, Flags};
use clawline::tunnel::{Tunnel, TunnelOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::PATIENCE;
use crate::support::sshd::Sshd;

/// A server at the far end that says one word.
async fn far_end() -> RemoteEnd {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"word").await;
        }
    });
    RemoteEnd::loopback(port)
}

/// The block of a server: nothing in it is shared with another one.
fn block(alias: &str, sshd: &Sshd, user: &str, more: &str) -> String {
    format!(
        "Host {alias}\n  HostName 127.0.0.1\n  Port {}\n  User {user}\n  IdentityFile {}\n  \
         IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {}\n  {more}\n",
        sshd.port(),
        sshd.path("id").display(),
        sshd.path("known_hosts").display(),
    )
}

fn spec(sshd: &Sshd, target: &str, config: &str) -> TunnelSpec {
    let file = sshd.path("ssh_config");
    std::fs::write(&file, config).unwrap();
    let flags = Flags {
        config: ConfigFile::Only(file),
        ..Flags::default()
    };
    let env = Env::of_process().unwrap();
    ssh_config::resolve(&target.parse().unwrap(), &flags, &env)
        .unwrap()
        .spec
}

async fn word_through(spec: TunnelSpec) -> Tunnel {
    let remote = far_end().await;
    let tunnel = Tunnel::start(spec, Prompter::nobody(), TunnelOptions::default());
    let mut word = [0; 4];
    let read = async {
        let mut stream = tunnel.open(&remote).await.unwrap();
        stream.read_exact(&mut word).await.unwrap();
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    assert_eq!(&word, b"word");
    tunnel
}

/// Another account than ours, where we may use one.
fn another_user() -> String {
    let me = Env::of_process().unwrap().local_user;
    if me == "root" {
        "nobody".to_owned()
    } else {
        me
    }
}

/// sshd reads the keys of an account as that account.
fn readable_by_others(sshd: &Sshd) {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = sshd.path("authorized_keys").parent().unwrap().to_owned();
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn two_jumps_with_users_keys_and_known_hosts_of_their_own() {
    let (door, middle, inner) = (Sshd::start(""), Sshd::start(""), Sshd::start(""));
    let me = Env::of_process().unwrap().local_user;
    let other = another_user();
    readable_by_others(&middle);
    let config = [
        block("inner", &inner, &me, "ProxyJump middle"),
        block("middle", &middle, &other, "ProxyJump door"),
        block("door", &door, &me, "ProxyJump none"),
    ]
    .concat();
    let tunnel = word_through(spec(&inner, "inner", &config)).await;
    for (sshd, user) in [(&door, &me), (&middle, &other), (&inner, &me)] {
        let accepted = format!("Accepted publickey for {user}");
        assert_eq!(sshd.log().matches(&accepted).count(), 1, "{}", sshd.log());
    }
    // The same way, written as a list.
    let config = [
        block("inner", &inner, &me, "ProxyJump door,middle"),
        block("middle", &middle, &other, "ProxyJump never"),
        block("door", &door, &me, ""),
    ]
    .concat();
    let listed = word_through(spec(&inner, "inner", &config)).await;
    assert_eq!(door.log().matches("Accepted publickey").count(), 2);
    tunnel.stop().await;
    listed.stop().await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn a_proxy_command_of_ssh_itself() {
    let (door, inner) = (Sshd::start(""), Sshd::start(""));
    let me = Env::of_process().unwrap().local_user;
    let command = format!(
        "ProxyCommand ssh -F {} -W %h:%p door",
        inner.path("ssh_config").display()
    );
    let config = [
        block("inner", &inner, &me, &command),
        block("door", &door, &me, ""),
    ]
    .concat();
    let tunnel = word_through(spec(&inner, "inner", &config)).await;
    assert_eq!(door.log().matches("Accepted publickey").count(), 1);
    assert_eq!(inner.log().matches("Accepted publickey").count(), 1);
    let carriers = door.sessions();
    assert!(!carriers.is_empty());
    tunnel.stop().await;
    crate::support::eventually("the end of the carrying connection", || {
        door.sessions().is_empty()
    })
    .await;
}

#[tokio::test]
#[ignore = "needs OpenSSH"]
async fn algorithms_are_those_of_ssh_config() {
    let sshd = Sshd::start("");
    let me = Env::of_process().unwrap().local_user;
    for (more, shown) in [
        ("Ciphers aes256-ctr", "aes256-ctr"),
        ("Ciphers chacha20-poly1305@openssh.com", "chacha20-poly1305"),
        ("KexAlgorithms ecdh-sha2-nistp256", "ecdh-sha2-nistp256"),
        (
            "KexAlgorithms diffie-hellman-group14-sha256\n  Ciphers aes128-ctr\n  MACs hmac-sha2-256",
            "diffie-hellman-group14",
        ),
        ("RekeyLimit 1M 10s", "strict kex"),
        ("Compression yes", "strict kex"),
    ] {
        let config = block("h", &sshd, &me, more);
        let tunnel = word_through(spec(&sshd, "h", &config)).await;
        let rows = format!("{:?}", tunnel.view().borrow().rows);
        assert!(rows.contains(shown), "{more}: {rows}");
        tunnel.stop().await;
    }
}
