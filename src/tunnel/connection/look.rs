//! Looking at a server's host key without signing in there.

use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::PublicKey;

use crate::layer::{Layer, LayerError, Retry};
use crate::tunnel::asker::Asker;
use crate::tunnel::host_key::{HostName, Verdict};
use crate::tunnel::memory::Memory;
use crate::tunnel::prompt::Prompter;
use crate::tunnel::spec::{KnownHostsFiles, TunnelSpec};

use super::{Connection, Report, Surroundings};

/// A window that no data passes through.
const NO_DATA: u32 = 64 * 1024;

/// The key that a server showed, and what is known of it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The name under which it is looked up and stored.
    pub name: HostName,
    /// What a person types to reach the server.
    pub target: String,
    /// The address that answered.
    pub address: String,
    /// The key; the server proved that it holds it.
    pub key: PublicKey,
    /// What the files say of it.
    pub verdict: Verdict,
    /// The files.
    pub files: KnownHostsFiles,
    /// Names in new lines are hidden (`HashKnownHosts`).
    pub hash: bool,
}

/// Where a look puts what it saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look(Arc<Mutex<Option<Shown>>>);

impl Look {
    /// Keeps what was seen; the error ends the connection.
    pub(super) fn seen(&self, shown: Shown) -> LayerError {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        LayerError::new(Layer::HostKey, "the host key was looked at").retry(Retry::Never)
    }

    fn take(&self) -> Option<Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Connects as far as the host key of the last server, through its jump hosts, where it does sign in.
///
/// # Errors
/// With the layer that did not come up. Cancel safe: a dropped call closes what it opened.
pub async fn host_key_of(spec: &TunnelSpec, prompter: Prompter) -> Result<Shown, LayerError> {
    let look = Look::default();
    let around = Surroundings {
        asker: Asker::new(prompter),
        memory: Memory::default(),
        window: NO_DATA,
        look: Some(look.clone()),
    };
    let opened = Connection::open(spec, &around, &Report::new(|_| {})).await;
    match (look.take(), opened) {
        (Some(shown), _) => Ok(shown),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(LayerError::new(Layer::HostKey, "no host key was shown")),
    }
}
