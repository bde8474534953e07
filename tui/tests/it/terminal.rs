//! The app in a terminal of its own: the terminal is given back as it was found, on every way out.

use std::os::fd::AsFd as _;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::screen::{DEADLINE, Screen};

/// The app on the first-run screen.
struct Seat(Screen);

impl Seat {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.child.id()).unwrap());
        kill(pid, signal).unwrap();
    }

    /// Waits until the process is stopped: woken before it sleeps, it would sleep for ever.
    fn is_asleep(&self) {
        let pid = Pid::from_raw(i32::try_from(self.0.child.id()).unwrap());
        let flags = WaitPidFlag::WUNTRACED | WaitPidFlag::WNOHANG;
        let end = Instant::now() + DEADLINE;
        while !matches!(waitpid(pid, Some(flags)), Ok(WaitStatus::Stopped(..))) {
            assert!(Instant::now() < end, "it never slept");
            std::thread::yield_now();
        }
    }

    /// Waits for the exit, and checks that the terminal is as it was.
    fn ends_and_gives_back(mut self, way: &str) {
        self.0.until("\u{1b}[?1049l");
        let end = Instant::now() + DEADLINE;
        let code = loop {
            match self.0.child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if Instant::now() > end => panic!("{way}: it never ended"),
                None => std::thread::yield_now(),
            }
        };
        assert!(
            code.is_some(),
            "{way}: it ended by itself, not by the signal"
        );
        let after = tcgetattr(self.0.terminal.as_fd()).unwrap();
        assert_eq!(after.local_flags, self.0.before.local_flags, "{way}");
        assert_eq!(after.input_flags, self.0.before.input_flags, "{way}");
        assert_eq!(after.output_flags, self.0.before.output_flags, "{way}");
        let text = self.0.text();
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
    let mut seat = Seat(Screen::run(&[]));
    seat.0.until("What happens then");
    let now = tcgetattr(seat.0.terminal.as_fd()).unwrap();
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
        seat.0.types(keys);
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
    seat.0.until("\u{1b}[?1049l");
    seat.is_asleep();
    seat.0.clear();
    seat.signal(Signal::SIGCONT);
    seat.0.until("What happens then");
    seat.signal(Signal::SIGTERM);
    seat.ends_and_gives_back("after sleep");
}

#[test]
fn a_target_that_cannot_be_used_is_refused_on_the_first_run_screen() {
    let mut seat = started();
    seat.0.types("-oProxyCommand=x\r");
    seat.0.until("must not start with");
    seat.0.types("\u{4}");
    seat.ends_and_gives_back("after a refusal");
}
