//! Signals that mean something to a command, beside Ctrl-C.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for SIGTERM.
pub(crate) async fn terminated() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal(SignalKind::terminate()) {
        terminate.recv().await;
        return;
    }
    std::future::pending::<()>().await;
}

/// What SIGHUP means to a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HangUp {
    /// The terminal that it was started in is gone.
    Ends,
    /// There is no terminal (a service), or SIGHUP was not to end it (`nohup`): connect anew.
    Reconnects,
}

/// The signals of a tunnel. While this listens, none of them ends the process on the spot.
pub(crate) struct TunnelSignals {
    /// What SIGHUP means here; decided at the start, since a terminal that hangs up is gone.
    pub hang_up: HangUp,
    #[cfg(unix)]
    streams: Vec<(Signal, TunnelSignal)>,
}

/// A signal of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TunnelSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGHUP.
    HangUp,
    /// SIGUSR1.
    Report,
}

impl TunnelSignals {
    /// Starts to listen. Must be called in a tokio runtime.
    pub fn listen() -> Self {
        // Before anything listens, which would change what is found.
        let hang_up = hang_up();
        Self {
            hang_up,
            #[cfg(unix)]
            streams: [
                (SignalKind::terminate(), TunnelSignal::Terminate),
                (SignalKind::interrupt(), TunnelSignal::Interrupt),
                (SignalKind::hangup(), TunnelSignal::HangUp),
                (SignalKind::user_defined1(), TunnelSignal::Report),
            ]
            .into_iter()
            // A signal that cannot be listened for keeps its usual meaning.
            .filter_map(|(kind, meaning)| Some((signal(kind).ok()?, meaning)))
            .collect(),
        }
    }

    /// Waits for the next one. Cancel safe.
    pub async fn next(&mut self) -> TunnelSignal {
        #[cfg(unix)]
        return std::future::poll_fn(|cx| {
            let came = |(stream, meaning): &mut (Signal, TunnelSignal)| {
                stream.poll_recv(cx).is_ready().then_some(*meaning)
            };
            match self.streams.iter_mut().find_map(came) {
                Some(meaning) => std::task::Poll::Ready(meaning),
                None => std::task::Poll::Pending,
            }
        })
        .await;
        #[cfg(not(unix))]
        std::future::pending().await
    }
}

fn hang_up() -> HangUp {
    let has_terminal = std::fs::File::open("/dev/tty").is_ok();
    if has_terminal && !is_hang_up_ignored() {
        HangUp::Ends
    } else {
        HangUp::Reconnects
    }
}

/// Whether whoever started us said that SIGHUP is to be ignored, as `nohup` does. Linux alone tells.
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores_hang_up(&status)
}

fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The lowest bit is signal 1.
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hang_up_is_seen_in_the_process_status() {
        assert!(ignores_hang_up("Name:\tx\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hang_up("Name:\tx\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hang_up(""));
    }
}
