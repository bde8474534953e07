//! A clock that only a test moves.

use std::sync::mpsc;
use std::time::Duration;

/// A test that waits for ever meets its deadlines after so much time.
const LONGEST: Duration = Duration::from_secs(300);

/// The runtime's clock, which stands until [`Stopped::advance`]. A paused clock alone would not do: it runs ahead
/// whenever every task waits, be it for bytes that are on their way or for another thread.
pub struct Stopped {
    _release: mpsc::Sender<()>,
}

impl Stopped {
    /// Stops the clock of a runtime of one thread.
    pub fn now() -> Self {
        tokio::time::pause();
        let (release, held) = mpsc::channel::<()>();
        // While blocking work is under way, the clock does not run ahead.
        tokio::task::spawn_blocking(move || held.recv_timeout(LONGEST));
        Self { _release: release }
    }

    /// Moves it.
    pub async fn advance(&self, by: Duration) {
        tokio::time::advance(by).await;
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        tokio::time::resume();
    }
}
