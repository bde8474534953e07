//! The app in a terminal of its own: the terminal is given back as it was found, on every way out.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::Home;

const DEADLINE: Duration = Duration::from_secs(60);

/// The app on the first-run screen, in a terminal of 80 by 24.
struct Seat {
    child: Child,
    keys: File,
    terminal: File,
    before: Termios,
    output: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    _home: Home,
}

impl Seat {
    fn new() -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).unwrap();
        let before = tcgetattr(pty.slave.as_fd()).unwrap();
        let home = Home::new();
        let terminal = File::from(pty.slave);
        let child = Command::new(env!("CARGO_BIN_EXE_clawline"))
            .env_clear()
            .env("HOME", home.path())
            .env("TERM", "xterm-256color")
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap())
            .spawn()
            .unwrap();
        let keys = File::from(pty.master);
        let mut reader = keys.try_clone().unwrap();
        let (tx, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Ends with an error once nobody has the other side open.
            while let Ok(count) = reader.read(&mut buffer) {
                if count == 0 || tx.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            terminal,
            before,
            output,
            seen: Vec::new(),
            _home: home,
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads on until the output contains the text.
    fn until(&mut self, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.text().contains(text) {
            match self
                .output
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.seen.extend(bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} never came: {:?}", self.text())
                }
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
    }

    /// Waits until the process is stopped: woken before it sleeps, it would sleep for ever.
    fn is_asleep(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let flags = WaitPidFlag::WUNTRACED | WaitPidFlag::WNOHANG;
        let end = Instant::now() + DEADLINE;
        while !matches!(waitpid(pid, Some(flags)), Ok(WaitStatus::Stopped(..))) {
            assert!(Instant::now() < end, "it never slept");
            std::thread::yield_now();
        }
    }

    /// Waits for the exit, and checks that the terminal is as it was.
    fn ends_and_gives_back(mut self, way: &str) {
        self.until("\u{1b}[?1049l");
        let end = Instant::now() + DEADLINE;
        let code = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if Instant::now() > end => panic!("{way}: it never ended"),
                None => std::thread::yield_now(),
            }
        };
        assert!(
            code.is_some(),
            "{way}: it ended by itself, not by the signal"
        );
        let after = tcgetattr(self.terminal.as_fd()).unwrap();
        assert_eq!(after.local_flags, self.before.local_flags, "{way}");
        assert_eq!(after.input_flags, self.before.input_flags, "{way}");
        assert_eq!(after.output_flags, self.before.output_flags, "{way}");
        let text = self.text();
        for (what, on, off) in [
            ("alternate screen", "\u{1b}[?1049h", "\u{1b}[?1049l"),
            ("bracketed paste", "\u{1b}[?2004h", "\u{1b}[?2004l"),
            ("mouse", "\u{1b}[?1000h", "\u{1b}[?1000l"),
            ("cursor", "\u{1b}[?25l", "\u{1b}[?25h"),
            ("title", "\u{1b}[22;2t", "\u{1b}[23;2t"),
            ("keyboard", "\u{1b}[>1u", "\u{1b}[<1u"),
        ] {
            let last_off = text
                .rfind(off)
                .unwrap_or_else(|| panic!("{way}: {what} stays on: {text:?}"));
            assert!(
                text.rfind(on).is_none_or(|on| on < last_off),
                "{way}: {what} is on again"
            );
        }
    }
}

fn started() -> Seat {
    let mut seat = Seat::new();
    seat.until("What happens then");
    let now = tcgetattr(seat.terminal.as_fd()).unwrap();
    assert!(
        !now.local_flags.contains(LocalFlags::ECHO),
        "the terminal is raw while the app runs"
    );
    seat
}

#[test]
fn the_terminal_is_given_back_on_every_way_out() {
    for (way, keys) in [("Esc", "\u{1b}"), ("Ctrl+C", "\u{3}"), ("Ctrl+D", "\u{4}")] {
        let mut seat = started();
        seat.keys.write_all(keys.as_bytes()).unwrap();
        seat.ends_and_gives_back(way);
    }
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let seat = started();
        seat.signal(signal);
        seat.ends_and_gives_back(signal.as_str());
    }
}

#[test]
fn asleep_and_awake_again_the_app_is_on_the_screen() {
    let mut seat = started();
    seat.signal(Signal::SIGTSTP);
    seat.until("\u{1b}[?1049l");
    seat.is_asleep();
    seat.seen.clear();
    seat.signal(Signal::SIGCONT);
    seat.until("What happens then");
    seat.signal(Signal::SIGTERM);
    seat.ends_and_gives_back("after sleep");
}

#[test]
fn a_target_that_cannot_be_used_is_refused_on_the_first_run_screen() {
    let mut seat = started();
    seat.keys.write_all(b"-oProxyCommand=x\r").unwrap();
    seat.until("must not start with");
    seat.keys.write_all(b"\x04").unwrap();
    seat.ends_and_gives_back("after a refusal");
}
