//! The shared secret in an HTTP header, for the few routes that ask for it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Authority, Source};
use crate::settings::AuthMode;

/// Why a request may not have what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerRefusal {
    /// No secret, or a wrong one.
    Unauthorized,
    /// Too many wrong ones.
    Locked(Duration),
}

impl Authority {
    /// Checks `Authorization: Bearer SECRET`. Wrong ones count as failed sign-ins do, and the owner's
    /// own right one is never locked out. In mode `none` everybody who reaches the gateway passes.
    ///
    /// # Errors
    /// [`BearerRefusal`].
    pub fn bearer(
        &self,
        header: Option<&str>,
        peer: IpAddr,
        uid: Option<u32>,
    ) -> Result<(), BearerRefusal> {
        if self.mode == AuthMode::None {
            return Ok(());
        }
        let shown = header.and_then(bearer_text);
        let (source, now) = (uid.map_or(Source::Ip(peer), Source::Uid), Instant::now());
        let is_right = shown.is_some_and(|text| self.secret.matches(text));
        let locked = self.throttle.locked_for(source, now);
        match (is_right, shown, locked) {
            (true, _, Some(_)) if self.is_own(uid) => Ok(()),
            (_, _, Some(remaining)) => Err(BearerRefusal::Locked(remaining)),
            (true, _, None) => Ok(()),
            (false, Some(_), None) => {
                self.throttle.failed(source, now);
                Err(BearerRefusal::Unauthorized)
            }
            (false, None, None) => Err(BearerRefusal::Unauthorized),
        }
    }
}

/// What stands after `Bearer`, whose case does not matter.
fn bearer_text(header: &str) -> Option<&str> {
    let (scheme, text) = header.split_once(' ')?;
    let text = text.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_header_holds_a_secret() {
        assert_eq!(bearer_text("Bearer abc"), Some("abc"));
        assert_eq!(bearer_text("bearer  abc "), Some("abc"));
        for no in ["abc", "Basic abc", "Bearer", "Bearer ", ""] {
            assert_eq!(bearer_text(no), None, "{no}");
        }
    }
}
