//! What was told last of a connection. Trying again for the same reason is no news, so that an outage of
//! a night is a line and not a thousand.

use std::time::Instant;

use clawline::tunnel::status::TunnelStatus;

use super::lines::{millis, say, trouble};
use crate::cli::context::Context;

/// What was told last.
#[derive(Default)]
pub(in crate::cli) struct Told(Option<(&'static str, String)>);

impl Told {
    /// Whether this is to be told; it is what was told last then.
    pub(in crate::cli) fn is_news(&mut self, state: &'static str, why: &str) -> bool {
        let is_news = match &self.0 {
            None => true,
            Some(("up", told)) => state != "up" || told != why,
            Some((_, told)) => state == "up" || state != "connecting" && told != why,
        };
        if is_news {
            self.0 = Some((state, why.to_owned()));
        }
        is_news
    }

    /// Tells about an attempt, or about the wait for the next one.
    pub(in crate::cli) fn trying(&mut self, context: &Context, label: &str, status: &TunnelStatus) {
        match status {
            TunnelStatus::Connecting { layer, attempt } if self.is_news("connecting", "") => {
                let members = [("layer", layer.id().into()), ("attempt", (*attempt).into())];
                say(context, label, "connecting", &members);
            }
            TunnelStatus::Waiting {
                until,
                why,
                attempt,
            } if self.is_news("waiting", &why.what) => {
                let retry = until.saturating_duration_since(Instant::now());
                let mut members = trouble(why);
                members.push(("retry_ms", millis(retry)));
                members.push(("attempt", (*attempt).into()));
                say(context, label, "waiting", &members);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trying_again_for_the_same_reason_is_no_news() {
        let mut told = Told::default();
        let mut news = |state, why| told.is_news(state, why);
        assert!(news("connecting", ""));
        assert!(news("waiting", "refused"));
        assert!(!news("connecting", ""));
        assert!(!news("waiting", "refused"));
        assert!(news("waiting", "no route"));
        assert!(news("attention", "the certificate expired 3 h ago"));
        assert!(!news("connecting", ""));
        assert!(!news("attention", "the certificate expired 3 h ago"));
    }

    #[test]
    fn an_outage_is_one_line_and_each_return_another() {
        let mut told = Told::default();
        let mut news = |state, why| told.is_news(state, why);
        assert!(news("connecting", ""));
        assert!(news("up", "1"));
        assert!(!news("up", "1"));
        assert!(news("connecting", ""));
        assert!(news("waiting", "refused"));
        assert!(!news("connecting", ""));
        assert!(!news("waiting", "refused"));
        assert!(news("up", "2"));
    }
}
