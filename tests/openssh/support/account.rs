//! A user account for one test: sshd lets another user in, or turns them away for their account's sake.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The tools that change accounts refuse to run side by side.
static TURN: Mutex<()> = Mutex::new(());

/// A local user with a random name and a password, removed when dropped. Needs root.
pub struct Account {
    pub name: String,
    pub password: String,
}

#[allow(dead_code)]
impl Account {
    pub fn new() -> Self {
        let name = format!("clawline{:08x}", rand::random::<u32>());
        let account = Self {
            password: format!("pw-{:016x}", rand::random::<u64>()),
            name,
        };
        let made = run(Command::new("useradd").args([
            "--no-create-home",
            "--home-dir",
            "/",
            "--shell",
            "/bin/sh",
            &account.name,
        ]));
        assert!(made, "useradd needs root");
        let _turn = turn();
        let mut child = Command::new("chpasswd")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let line = format!("{}:{}\n", account.name, account.password);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(line.as_bytes()).unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success());
        account
    }

    /// Runs `chage` on the account: `-d 0` expires the password, `-E DATE` the account.
    pub fn chage(&self, option: &str, value: &str) {
        assert!(run(Command::new("chage").args([option, value, &self.name])));
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // A session of theirs may be about to end; the account goes all the same.
        run(Command::new("userdel").args(["--force", &self.name]));
    }
}

fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(command: &mut Command) -> bool {
    let _turn = turn();
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
