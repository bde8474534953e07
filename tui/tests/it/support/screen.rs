//! The binary in a terminal of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

use super::Home;

/// Longest wait for anything.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A terminal of 80 by 24, and the program in it; the program ends with it.
pub struct Screen {
    pub child: Child,
    pub terminal: File,
    /// How the terminal was before the program had it.
    pub before: Termios,
    keys: File,
    output: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    _home: Home,
}

impl Screen {
    pub fn run(args: &[&str]) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).unwrap();
        let before = tcgetattr(pty.slave.as_fd()).unwrap();
        let (home, terminal) = (Home::new(), File::from(pty.slave));
        let end = || terminal.try_clone().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_clawline"))
            .args(args)
            .env_clear()
            .env("HOME", home.path())
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = File::from(pty.master);
        let mut reader = keys.try_clone().unwrap();
        let (tx, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Ends with an error once nobody has the other side open.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if tx.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            terminal,
            before,
            keys,
            output,
            seen: Vec::new(),
            _home: home,
        }
    }

    /// What was read and not taken yet.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads on until the output contains the text; where it ends.
    pub fn until(&mut self, text: &str) -> usize {
        let end = Instant::now() + DEADLINE;
        loop {
            let mut places = self.seen.windows(text.len());
            if let Some(at) = places.position(|place| place == text.as_bytes()) {
                return at + text.len();
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} never came: {:?}", self.text())
                }
            }
        }
    }

    /// As [`Screen::until`]; what came until then is not looked at again.
    pub fn take_until(&mut self, text: &str) -> String {
        let end = self.until(text);
        let rest = self.seen.split_off(end);
        String::from_utf8_lossy(&std::mem::replace(&mut self.seen, rest)).into_owned()
    }

    /// Forgets what was read.
    pub fn clear(&mut self) {
        self.seen.clear();
    }

    pub fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
