//! Notices that this machine's addresses changed: another network, a cable, a VPN.

use std::time::Duration;

use futures_util::StreamExt;
use if_watch::tokio::IfWatcher;
use tokio::time::Instant;

/// Addresses come and go in bursts; a change counts once nothing has happened for this long.
const SETTLED: Duration = Duration::from_millis(250);
/// However long the burst, a change counts after this long.
const LONGEST_BURST: Duration = Duration::from_secs(1);
/// Pause before a watcher that broke is set up anew.
const SET_UP_AGAIN: Duration = Duration::from_secs(30);

/// Tells when the addresses changed. Without a watcher (a container that forbids it) it never does, and
/// the other signs have to do.
#[derive(Debug, Default)]
pub(crate) struct NetworkWatch {
    watcher: Option<IfWatcher>,
    /// When to set one up, if there is none.
    set_up_at: Option<Instant>,
    burst: Option<Burst>,
}

/// Changes that belong together.
#[derive(Debug)]
struct Burst {
    first: Instant,
    last: Instant,
    /// What is there at the start is reported like a change; it is none.
    is_start: bool,
}

impl Burst {
    fn begin(is_start: bool) -> Self {
        let now = Instant::now();
        Self {
            first: now,
            last: now,
            is_start,
        }
    }

    fn end(&self) -> Instant {
        (self.last + SETTLED).min(self.first + LONGEST_BURST)
    }
}

impl NetworkWatch {
    /// Returns after the addresses changed and have settled. Cancel safe: the next call goes on where
    /// a dropped one was.
    pub(crate) async fn changed(&mut self) {
        loop {
            let Some(watcher) = &mut self.watcher else {
                self.set_up().await;
                continue;
            };
            let end = self.burst.as_ref().map(Burst::end);
            let settled = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = watcher.next() => match event {
                    Some(Ok(event)) => {
                        tracing::debug!(?event, "network");
                        let burst = self.burst.get_or_insert_with(|| Burst::begin(false));
                        burst.last = Instant::now();
                    }
                    Some(Err(_)) | None => self.watcher = None,
                },
                () = settled => {
                    if self.burst.take().is_some_and(|burst| !burst.is_start) {
                        return;
                    }
                }
            }
        }
    }

    async fn set_up(&mut self) {
        if let Some(at) = self.set_up_at {
            tokio::time::sleep_until(at).await;
        }
        self.set_up_at = Some(Instant::now() + SET_UP_AGAIN);
        match IfWatcher::new() {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.burst = Some(Burst::begin(true));
            }
            Err(error) => tracing::debug!(%error, "cannot watch the network"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_network_that_stays_as_it_is_is_no_change() {
        let mut watch = NetworkWatch::default();
        let changed = tokio::time::timeout(Duration::from_millis(800), watch.changed());
        assert!(changed.await.is_err());
    }
}
