//! Credentials that a person typed: for the gateway that refused, and for no other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dial::Credentials;

/// What was typed, and for which gateway. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Typed(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The gateway that was dialled last.
    dialled: Option<String>,
    typed: Option<Entry>,
}

#[derive(Debug)]
struct Entry {
    credentials: Credentials,
    /// `None` until the first gateway is dialled.
    gateway: Option<String>,
}

impl Typed {
    /// A person typed these for the gateway that was dialled last, else for the one that is dialled next.
    pub(super) fn set(&self, credentials: Credentials) {
        let mut state = self.lock();
        let gateway = state.dialled.clone();
        state.typed = Some(Entry {
            credentials,
            gateway,
        });
    }

    /// `gateway` was dialled: what was typed for it.
    pub(super) fn at(&self, gateway: &str) -> Option<Credentials> {
        let mut state = self.lock();
        state.dialled = Some(gateway.to_owned());
        let entry = state.typed.as_mut()?;
        let meant = entry.gateway.get_or_insert_with(|| gateway.to_owned());
        (meant == gateway).then(|| entry.credentials.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
