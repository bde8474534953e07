//! What the server said on the way, kept for messages: russh tells it to its handler only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::layer::printable;

/// How much of a sign-in banner is kept.
const BANNER_BYTES: usize = 4096;
/// How many lines of all banners are shown, as many screens would be filled otherwise.
const BANNER_LINES: usize = 20;
/// How many banners are kept; the last ones say why an account is turned away.
const BANNERS: usize = 8;
/// How much of a server's goodbye is shown.
const PARTING_CHARS: usize = 200;
/// How many refusals of channels are kept for their askers.
const REFUSALS: usize = 64;
/// How long an asker waits for the text of its refusal; it comes in the same packet.
const REFUSAL_TEXT: Duration = Duration::from_millis(100);

/// The cell that handler and callers share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Diagnostics(Arc<Cell>);

#[derive(Debug, Default)]
struct Cell {
    inner: Mutex<Inner>,
    refused: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    banners: VecDeque<String>,
    banners_seen: usize,
    parting: Option<String>,
    negotiated: Option<String>,
    refusals: VecDeque<String>,
}

impl Diagnostics {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's sign-in banner.
    pub(crate) fn add_banner(&self, text: &str) {
        let mut inner = self.inner();
        if inner.banners.len() == BANNERS {
            inner.banners.pop_front();
        }
        let cut = text.floor_char_boundary(BANNER_BYTES.min(text.len()));
        inner.banners.push_back(text[..cut].to_owned());
        inner.banners_seen += 1;
    }

    /// What it said so far, not more than twenty lines.
    pub(crate) fn banner(&self) -> String {
        self.banner_after(0)
    }

    /// How many banners have come.
    pub(crate) fn banners(&self) -> usize {
        self.inner().banners_seen
    }

    /// What it said after the first `count` banners.
    pub(crate) fn banner_after(&self, count: usize) -> String {
        let inner = self.inner();
        let gone = inner.banners_seen - inner.banners.len();
        let late = inner.banners.iter().skip(count.saturating_sub(gone));
        let lines = late.flat_map(|banner| banner.trim().lines());
        let lines: Vec<&str> = lines.take(BANNER_LINES).collect();
        lines.join("\n")
    }

    /// Why the connection ended, in the server's or the transport's words; the first one counts.
    pub(crate) fn set_parting(&self, text: &str) {
        let text = printable(text, PARTING_CHARS);
        self.inner().parting.get_or_insert(text);
    }

    pub(crate) fn parting(&self) -> Option<String> {
        self.inner().parting.clone()
    }

    /// The negotiated algorithms, as the status row shows them.
    pub(crate) fn set_negotiated(&self, text: String) {
        self.inner().negotiated = Some(text);
    }

    pub(crate) fn negotiated(&self) -> String {
        self.inner().negotiated.clone().unwrap_or_default()
    }

    /// The server's words about a channel that it refused.
    pub(crate) fn add_refusal(&self, text: &str) {
        let mut inner = self.inner();
        if inner.refusals.len() == REFUSALS {
            inner.refusals.pop_front();
        }
        inner.refusals.push_back(text.to_owned());
        self.0.refused.notify_one();
    }

    /// The words for a refusal that a caller just got. With several refusals at once two callers may
    /// get each other's words; russh does not say which channel was meant.
    pub(crate) async fn take_refusal(&self) -> String {
        let text = async {
            loop {
                if let Some(text) = self.inner().refusals.pop_front() {
                    return text;
                }
                self.0.refused.notified().await;
            }
        };
        tokio::time::timeout(REFUSAL_TEXT, text)
            .await
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_late_can_be_told_from_the_greeting() {
        let said = Diagnostics::default();
        said.add_banner("Staff only.\n");
        assert_eq!((said.banners(), said.banner_after(1).as_str()), (1, ""));
        said.add_banner("Your account has expired.\n");
        assert_eq!(said.banner_after(1), "Your account has expired.");
        assert_eq!(said.banner(), "Staff only.\nYour account has expired.");
    }

    #[test]
    fn a_flood_of_banners_keeps_the_last_ones_and_is_shown_in_twenty_lines() {
        let said = Diagnostics::default();
        for number in 0..1000 {
            said.add_banner(&format!("{number}\n").repeat(10));
        }
        assert_eq!(said.banner().lines().count(), BANNER_LINES);
        assert!(said.banner_after(999).starts_with("999\n999"));
    }
}
