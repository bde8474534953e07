//! The other host keys of a server that is known: announced by it after sign-in, believed once it has
//! proved that it holds them.

use std::sync::Arc;

use russh::keys::PublicKey;
use tokio::sync::watch;

/// Most keys of one announcement; a server has one of each kind.
const MAX_KEYS: usize = 64;

/// What the server announced, and whether it may.
#[derive(Clone)]
pub(crate) struct Announcement(Arc<watch::Sender<State>>);

#[derive(Default)]
struct State {
    is_open: bool,
    keys: Option<Vec<PublicKey>>,
}

impl Default for Announcement {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }
}

impl Announcement {
    /// The key that was shown is trusted in a way that vouches for others.
    pub(super) fn open(&self) {
        self.0.send_modify(|state| state.is_open = true);
    }

    /// The server's keys, as it says. The first announcement counts.
    pub(super) fn announce(&self, keys: Vec<PublicKey>) {
        self.0.send_modify(|state| {
            if state.is_open && state.keys.is_none() && keys.len() <= MAX_KEYS {
                state.keys = Some(keys);
            }
        });
    }
}
