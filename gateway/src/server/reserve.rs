//! What is done when the process has no file descriptor left for another connection.
//!
//! A connection that cannot be accepted stays in the kernel's queue, and the listener stays ready: without
//! a rest that is a loop that never waits, and without a descriptor in reserve nobody is ever told. So one
//! descriptor is kept back; it is given up for a moment to take the waiting connection and close it.

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

/// Something that can always be opened.
const PLACEHOLDER: &str = "/dev/null";
/// How long accepting rests after a failure.
const REST: Duration = Duration::from_millis(100);
/// How long the connection that is to be turned away may take to be accepted; it waits already.
const TURN_AWAY_DEADLINE: Duration = Duration::from_millis(10);
/// Time between two lines in the log.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// One descriptor in reserve.
#[derive(Debug)]
pub(super) struct Reserve {
    placeholder: Option<File>,
    logged: Option<Instant>,
}

impl Reserve {
    pub(super) fn new() -> Self {
        Self {
            placeholder: File::open(PLACEHOLDER).ok(),
            logged: None,
        }
    }

    /// After an accept that failed with `error`: turns one connection away when descriptors ran out, and
    /// rests. Cancel safe but for the rest.
    pub(super) async fn recover(&mut self, listener: &TcpListener, error: &io::Error) {
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_PAUSE) {
            self.logged = Some(Instant::now());
            tracing::warn!(%error, "a connection could not be accepted");
        }
        if is_exhausted(error) {
            drop(self.placeholder.take());
            let turned_away = timeout(TURN_AWAY_DEADLINE, listener.accept()).await;
            drop(turned_away);
            self.placeholder = File::open(PLACEHOLDER).ok();
        }
        tokio::time::sleep(REST).await;
    }
}

/// Whether the failure is that no descriptor is left.
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    number == Some(Errno::EMFILE as i32) || number == Some(Errno::ENFILE as i32)
}
