//! The shared secret in an HTTP header, for the few routes that ask for it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Authority, Source, is_same};
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
    /// own right one is never locked out; everybody else's guesses come out of the same budget, which is
    /// asked before the compare. In mode `none` everybody who reaches the gateway passes.
    ///
    /// # Errors
    /// [`BearerRefusal`].
    pub fn bearer(
        &self,
        header: Option<&str>,
        client: IpAddr,
        uid: Option<u32>,
    ) -> Result<(), BearerRefusal> {
        if self.mode == AuthMode::None {
            return Ok(());
        }
        let (source, now) = (Source::of(uid, client), Instant::now());
        let locked = self.throttle.locked_for(source, now);
        let locked = locked.filter(|_| self.policy.lockout);
        let Some(shown) = header.and_then(bearer_text) else {
            return Err(locked.map_or(BearerRefusal::Unauthorized, BearerRefusal::Locked));
        };
        if self.is_own(uid) {
            if is_same(&self.policy, &self.secret, shown) {
                return Ok(());
            }
        } else {
            if let Some(remaining) = locked {
                return Err(BearerRefusal::Locked(remaining));
            }
            match self.throttle.take_guess(now) {
                Err(remaining) if self.policy.guess_budget => {
                    return Err(BearerRefusal::Locked(remaining));
                }
                _ => {}
            }
            if is_same(&self.policy, &self.secret, shown) {
                self.throttle.give_back();
                return Ok(());
            }
        }
        self.throttle.failed(source, now);
        Err(locked.map_or(BearerRefusal::Unauthorized, BearerRefusal::Locked))
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
