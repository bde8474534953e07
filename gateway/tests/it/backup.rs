//! Backups that are made while the gateway serves, and come back whole or not at all.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::program::{Daemon, program, said};
use crate::support::{Client, Connect, Device};

fn state(home: &Path) -> PathBuf {
    home.join(".local/state/clawline-gateway")
}

/// A daemon with a conversation and a paired device; gives the device's token.
async fn lived_in(home: &Path) -> (Daemon, Client, String) {
    let daemon = Daemon::start(home).await;
    let connect = Connect::cli(4, &daemon.token(), &["operator.admin"]).with_device(Device::new(1));
    let (mut client, hello) = Client::connect(daemon.address(), &connect).await;
    let token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    say(&mut client, "before the backup").await;
    (daemon, client, token)
}

async fn say(client: &mut Client, text: &str) {
    let send =
        json!({"sessionKey": "main", "message": text, "idempotencyKey": text.replace(' ', "-")});
    client.ok("chat.send", send).await;
    client
        .until(|frame| frame["payload"]["state"] == "final")
        .await;
}

async fn texts(client: &mut Client) -> Vec<String> {
    let history = client
        .ok("chat.history", json!({"sessionKey": "main"}))
        .await;
    let messages = history["messages"].as_array().unwrap().clone();
    let users = messages.iter().filter(|message| message["role"] == "user");
    users
        .map(|message| match &message["content"] {
            Value::String(text) => text.clone(),
            parts => parts[0]["text"].as_str().unwrap().to_owned(),
        })
        .collect()
}

/// What the program says to a command that it carries out.
async fn did(home: &Path, words: &[&str]) -> String {
    let (code, text) = said(program(home, words)).await;
    assert_eq!(code, 0, "{text}");
    text
}

async fn stopped(mut daemon: Daemon) {
    daemon.signal(Signal::SIGTERM);
    daemon.child.wait().await.unwrap();
}

fn every_file(below: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            every_file(&path, out);
        }
        out.push(path);
    }
}

#[tokio::test]
async fn what_was_saved_comes_back_with_its_devices_and_the_state_before_is_kept() {
    let home = tempfile::tempdir().unwrap();
    Daemon::configure(
        home.path(),
        "{agents: {list: [{id: 'main', name: 'Saved'}]}}",
    );
    let (daemon, mut client, device_token) = lived_in(home.path()).await;
    let saved = home.path().join("saved");
    let target = saved.to_str().unwrap();
    did(home.path(), &["backup", target]).await;
    let mut files = Vec::new();
    every_file(&saved, &mut files);
    for file in &files {
        let mode = std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        let wanted = if file.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{}", file.display());
    }
    let (code, text) = said(program(home.path(), &["backup", target])).await;
    assert_eq!(code, 2, "{text}");

    say(&mut client, "after the backup").await;
    let (code, text) = said(program(home.path(), &["restore", target])).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("runs here already"), "{text}");
    assert_eq!(texts(&mut client).await.len(), 2);
    drop(client);
    stopped(daemon).await;
    std::fs::remove_file(home.path().join(".config/clawline/clawline.json5")).unwrap();
    did(home.path(), &["restore", target]).await;
    assert!(home.path().join(".config/clawline/clawline.json5").exists());

    let daemon = Daemon::start(home.path()).await;
    let connect = Connect::cli(4, &device_token, &["operator.admin"]).with_device(Device::new(1));
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    assert_eq!(texts(&mut client).await, ["before the backup"]);
    let beside = std::fs::read_dir(state(home.path()).parent().unwrap()).unwrap();
    let names: Vec<String> = beside
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let aside = names.iter().find(|name| name.contains(".before-")).unwrap();
    let aside = state(home.path()).with_file_name(aside);
    assert!(aside.join("gateway.db").exists());
    assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");
}

#[tokio::test]
async fn a_backup_that_has_changed_or_is_none_is_refused_and_nothing_happens() {
    let home = tempfile::tempdir().unwrap();
    let (daemon, client, _) = lived_in(home.path()).await;
    let saved = home.path().join("saved");
    let target = saved.to_str().unwrap();
    did(home.path(), &["backup", target]).await;
    drop(client);
    stopped(daemon).await;
    let before = std::fs::read(state(home.path()).join("gateway.db")).unwrap();
    let refused = async |what: &str| {
        let (code, text) = said(program(home.path(), &["restore", target])).await;
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(what), "{what}: {text}");
        assert_eq!(
            std::fs::read(state(home.path()).join("gateway.db")).unwrap(),
            before
        );
    };
    let manifest = std::fs::read_to_string(saved.join("manifest.json")).unwrap();
    let database = std::fs::read(saved.join("gateway.db")).unwrap();
    let mut torn = database.clone();
    let middle = torn.len() / 2;
    torn[middle] ^= 0xff;
    std::fs::write(saved.join("gateway.db"), &torn).unwrap();
    refused("has changed").await;
    std::fs::write(saved.join("gateway.db"), &database).unwrap();
    // What was put beside it, a link to elsewhere, a pipe that nobody writes.
    let more = saved.join("state/more");
    std::fs::create_dir_all(more.parent().unwrap()).unwrap();
    std::fs::write(&more, "").unwrap();
    refused("state/more was not in it").await;
    std::fs::remove_file(&more).unwrap();
    std::os::unix::fs::symlink(home.path(), &more).unwrap();
    refused("state/more is no regular file").await;
    std::fs::remove_file(&more).unwrap();
    nix::unistd::mkfifo(&more, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused("state/more is no regular file").await;
    std::fs::remove_file(&more).unwrap();
    let outside = manifest.replace("\"gateway.db\"", "\"../../outside\"");
    std::fs::write(saved.join("manifest.json"), outside).unwrap();
    refused("elsewhere").await;
    std::fs::write(saved.join("manifest.json"), "{}").unwrap();
    refused("is no backup").await;
    std::fs::remove_file(saved.join("manifest.json")).unwrap();
    refused("is no backup").await;
}

#[tokio::test]
async fn a_backup_is_never_put_into_what_it_saves() {
    let home = tempfile::tempdir().unwrap();
    let (daemon, _client, _) = lived_in(home.path()).await;
    let inside = state(home.path()).join("logs/backup");
    let args = ["backup", inside.to_str().unwrap()];
    let (code, words) = said(program(home.path(), &args)).await;
    assert_eq!(code, 2, "{words}");
    assert!(words.contains("is inside the state directory"), "{words}");
    assert!(!inside.exists());
    stopped(daemon).await;
}

#[tokio::test]
async fn a_restore_that_is_killed_leaves_the_old_state_or_the_new_one() {
    let home = tempfile::tempdir().unwrap();
    let (daemon, mut client, _) = lived_in(home.path()).await;
    let saved = home.path().join("saved");
    let target = saved.to_str().unwrap();
    did(home.path(), &["backup", target]).await;
    say(&mut client, "after the backup").await;
    drop(client);
    stopped(daemon).await;
    for round in 0..12u64 {
        let mut child = program(home.path(), &["restore", target]).spawn().unwrap();
        // Somewhere in the middle; where exactly does not matter, that is the point.
        let _ =
            tokio::time::timeout(std::time::Duration::from_millis(round * 4), child.wait()).await;
        let _ = child.kill().await;
        let daemon = Daemon::start(home.path()).await;
        let connect = Connect::cli(4, &daemon.token(), &["operator.admin"]);
        let (mut client, _) = Client::connect(daemon.address(), &connect).await;
        let said = texts(&mut client).await;
        let whole = [
            vec!["before the backup"],
            vec!["before the backup", "after the backup"],
        ];
        assert!(whole.iter().any(|whole| *whole == said), "{said:?}");
        drop(client);
        stopped(daemon).await;
    }
}

/// Pairs a device and gives its token.
async fn paired(daemon: &Daemon, seed: u8) -> String {
    let connect =
        Connect::cli(4, &daemon.token(), &["operator.admin"]).with_device(Device::new(seed));
    let (_, hello) = Client::connect(daemon.address(), &connect).await;
    hello["auth"]["deviceToken"].as_str().unwrap().to_owned()
}

/// Whether the token lets the device in.
async fn comes_in(daemon: &Daemon, seed: u8, token: &str) -> bool {
    let connect = Connect::cli(4, token, &["operator.admin"]).with_device(Device::new(seed));
    let mut client = Client::open(daemon.address()).await;
    let hello = client.greet(&connect).await;
    hello["ok"].as_bool().unwrap()
}

async fn devices(home: &Path, words: &[&str]) -> String {
    did(home, &[&["devices"], words].concat()).await
}

#[tokio::test]
async fn a_restore_brings_no_device_back_that_was_removed_revoked_or_given_another_token() {
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("saved");
    let target = saved.to_str().unwrap();
    let daemon = Daemon::start(home.path()).await;
    let mut tokens = Vec::new();
    for seed in 1..=4 {
        tokens.push(paired(&daemon, seed).await);
    }
    did(home.path(), &["backup", target]).await;
    let ids: Vec<String> = (1..=4)
        .map(|seed| Device::new(seed).identity.device_id().to_owned())
        .collect();
    devices(home.path(), &["revoke", &ids[0], "--role", "operator"]).await;
    devices(home.path(), &["remove", &ids[1]]).await;
    devices(home.path(), &["rotate", &ids[2], "--role", "operator"]).await;
    // One that comes after the backup starts over after the restore.
    let late = paired(&daemon, 5).await;
    stopped(daemon).await;

    let words = did(home.path(), &["restore", target]).await;
    assert!(words.contains("still removed: 1"), "{words}");
    assert!(words.contains("still void: 2"), "{words}");
    let daemon = Daemon::start(home.path()).await;
    let mut let_in = Vec::new();
    for (seed, token) in (1..).zip(tokens.iter().chain([&late])) {
        let_in.push(comes_in(&daemon, seed, token).await);
    }
    assert_eq!(let_in, [false, false, false, true, false]);
    // Paired anew it gets another token: the old one stays void.
    assert_ne!(paired(&daemon, 2).await, tokens[1]);
    assert!(!comes_in(&daemon, 2, &tokens[1]).await);
    stopped(daemon).await;
}

#[tokio::test]
async fn without_a_state_before_a_restore_says_what_it_cannot_know_and_can_forget_all_devices() {
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("saved");
    let target = saved.to_str().unwrap();
    let daemon = Daemon::start(home.path()).await;
    let token = paired(&daemon, 1).await;
    did(home.path(), &["backup", target]).await;
    stopped(daemon).await;

    std::fs::remove_dir_all(state(home.path())).unwrap();
    let words = did(home.path(), &["restore", target]).await;
    assert!(words.contains("CAN COME IN AGAIN"), "{words}");
    assert!(words.contains("there was no state before"), "{words}");
    let daemon = Daemon::start(home.path()).await;
    assert!(comes_in(&daemon, 1, &token).await);
    stopped(daemon).await;

    let words = did(home.path(), &["restore", "--forget-devices", target]).await;
    assert!(words.contains("all are forgotten"), "{words}");
    let daemon = Daemon::start(home.path()).await;
    assert!(!comes_in(&daemon, 1, &token).await);
    assert_ne!(paired(&daemon, 1).await, token);
    assert!(!comes_in(&daemon, 1, &token).await);
    stopped(daemon).await;
}

/// Replaces the policy of commands by one that allows these programs.
async fn allow(daemon: &Daemon, programs: &[&str]) {
    let connect = Connect::cli(4, &daemon.token(), &["operator.admin"]).with_device(Device::new(9));
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    let before = client.ok("exec.approvals.get", json!({})).await;
    let list: Vec<Value> = programs
        .iter()
        .map(|program| json!({"pattern": program}))
        .collect();
    let file = json!({"version": 1, "agents": {"main": {"allowlist": list}}});
    let set = json!({"file": file, "baseHash": before["hash"]});
    client.ok("exec.approvals.set", set).await;
}

/// The policy on the disk, and its mode.
fn policy(home: &Path) -> Option<(String, u32)> {
    let path = state(home).join("exec-approvals.json");
    let text = std::fs::read_to_string(&path).ok()?;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    Some((text, mode))
}

#[tokio::test]
async fn a_restore_allows_no_command_again_that_was_taken_back_since() {
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("saved");
    let target = saved.to_str().unwrap();
    let daemon = Daemon::start(home.path()).await;
    allow(&daemon, &["/bin/ls", "/bin/rm"]).await;
    did(home.path(), &["backup", target]).await;
    allow(&daemon, &["/bin/ls"]).await;
    stopped(daemon).await;
    for words in [
        &["restore", target][..],
        &["restore", "--forget-devices", target],
    ] {
        let said = did(home.path(), words).await;
        assert!(
            said.contains("policy of commands: that of the state before"),
            "{said}"
        );
        let (text, mode) = policy(home.path()).unwrap();
        assert!(
            text.contains("/bin/ls") && !text.contains("/bin/rm"),
            "{text}"
        );
        assert_eq!(mode, 0o600);
    }
}

#[tokio::test]
async fn a_policy_of_commands_that_is_gone_stays_so_and_with_all_else_gone_it_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("saved");
    let target = saved.to_str().unwrap();
    let daemon = Daemon::start(home.path()).await;
    allow(&daemon, &["/bin/ls"]).await;
    did(home.path(), &["backup", target]).await;
    stopped(daemon).await;
    let written = policy(home.path()).unwrap();

    std::fs::remove_file(state(home.path()).join("exec-approvals.json")).unwrap();
    let words = did(home.path(), &["restore", target]).await;
    assert!(words.contains("policy of commands: none"), "{words}");
    assert_eq!(policy(home.path()), None);

    std::fs::remove_dir_all(state(home.path())).unwrap();
    let words = did(home.path(), &["restore", target]).await;
    assert!(
        words.contains("policy of commands: that of the backup"),
        "{words}"
    );
    assert_eq!(policy(home.path()), Some(written));
}

#[tokio::test]
async fn beside_a_damaged_database_the_policy_of_commands_is_still_the_newer_one() {
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("saved");
    let target = saved.to_str().unwrap();
    let daemon = Daemon::start(home.path()).await;
    allow(&daemon, &["/bin/ls", "/bin/rm"]).await;
    did(home.path(), &["backup", target]).await;
    allow(&daemon, &["/bin/ls"]).await;
    stopped(daemon).await;
    std::fs::write(state(home.path()).join("gateway.db"), "no database").unwrap();
    let words = did(home.path(), &["restore", target]).await;
    assert!(words.contains("CAN COME IN AGAIN"), "{words}");
    assert!(!policy(home.path()).unwrap().0.contains("/bin/rm"));
}
