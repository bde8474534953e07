//! A conversation that is being replaced: nothing new comes into it until everybody has been told.

use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::service::{Inner, Runs};
use crate::sessions::SessionKey;

/// While this lives, messages and commands for its session wait.
#[must_use = "a session is held for as long as this is kept"]
pub(crate) struct Hold {
    inner: Arc<Inner>,
    key: SessionKey,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.inner.set_held(&self.key, false);
    }
}

impl Runs {
    /// Holds a session: what is submitted to it waits until the guard is dropped, so that the change
    /// is told before anything that comes after it. Waits for another hold of the same session; what
    /// was accepted before goes on. Dropping the future changes nothing.
    pub(crate) async fn hold(&self, key: &SessionKey) -> Hold {
        let order = self.inner.turn(key).await;
        hold(&self.inner, key, &order)
    }
}

/// Holds a session in whose turn the caller is.
pub(super) fn hold(inner: &Arc<Inner>, key: &SessionKey, _turn: &MutexGuard<'_, ()>) -> Hold {
    inner.set_held(key, true);
    Hold {
        inner: inner.clone(),
        key: key.clone(),
    }
}

impl Inner {
    /// The turn to commit something to a session: one at a time, and not while it is held. Dropping
    /// the future changes nothing.
    pub(super) async fn turn(&self, key: &SessionKey) -> MutexGuard<'_, ()> {
        loop {
            let released = self.released.notified();
            let order = self.submitting.lock().await;
            if !self.state().held.contains(key) {
                return order;
            }
            drop(order);
            released.await;
        }
    }

    fn set_held(&self, key: &SessionKey, is_held: bool) {
        if is_held {
            self.state().held.insert(key.clone());
        } else {
            self.state().held.remove(key);
            self.released.notify_waiters();
        }
    }
}
