//! What a process remembers for its tunnels so that nobody is asked twice: host keys trusted for this
//! run, decrypted keys, passwords that worked. Nothing of it is ever written down.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::keys::{PrivateKey, PublicKey};
use tokio::sync::Mutex as AsyncMutex;

use crate::secret::Secret;

/// The memory of one process; clones share it.
#[derive(Clone, Default)]
pub struct Memory(Arc<Inner>);

/// A decrypted key, held while its passphrase is asked for.
pub(crate) type KeySlot = Arc<AsyncMutex<Option<Arc<PrivateKey>>>>;

#[derive(Default)]
struct Inner {
    trusted: Mutex<HashSet<(String, Vec<u8>)>>,
    passwords: Mutex<HashMap<String, Secret>>,
    password_turns: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
    keys: Mutex<HashMap<PathBuf, KeySlot>>,
    host_keys: AsyncMutex<()>,
    lacking_strict_kex: Mutex<HashSet<String>>,
    addresses: Mutex<HashMap<String, SocketAddr>>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// True when this host key was trusted for this run under `name`.
    pub(crate) fn is_trusted(&self, name: &str, key: &PublicKey) -> bool {
        key.to_bytes()
            .is_ok_and(|blob| locked(&self.0.trusted).contains(&(name.to_owned(), blob)))
    }

    /// Trusts a host key under `name` for this run.
    pub(crate) fn trust(&self, name: &str, key: &PublicKey) {
        if let Ok(blob) = key.to_bytes() {
            locked(&self.0.trusted).insert((name.to_owned(), blob));
        }
    }

    /// True when a server has shown that it does not know strict key exchange.
    pub(crate) fn lacks_strict_kex(&self, server: &str) -> bool {
        locked(&self.0.lacking_strict_kex).contains(server)
    }

    /// Remembers that a server does not know strict key exchange.
    pub(crate) fn note_lacking_strict_kex(&self, server: &str) {
        locked(&self.0.lacking_strict_kex).insert(server.to_owned());
    }

    /// Held while a host key is asked about, so that two tunnels do not ask the same at once.
    pub(crate) async fn host_key_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.host_keys.lock().await
    }

    /// The decrypted key of a file. Locked while its passphrase is asked for, so that two tunnels do
    /// not ask the same at once.
    pub(crate) fn key(&self, path: &Path) -> KeySlot {
        locked(&self.0.keys)
            .entry(path.to_owned())
            .or_default()
            .clone()
    }

    /// Locked while the password for `login` is asked for, for the same reason.
    pub(crate) fn password_turn(&self, login: &str) -> Arc<AsyncMutex<()>> {
        locked(&self.0.password_turns)
            .entry(login.to_owned())
            .or_default()
            .clone()
    }

    /// The address under which `host` answered last.
    pub(crate) fn last_address(&self, host: &str) -> Option<SocketAddr> {
        locked(&self.0.addresses).get(host).copied()
    }

    /// Remembers where `host` answered.
    pub(crate) fn set_last_address(&self, host: &str, address: SocketAddr) {
        locked(&self.0.addresses).insert(host.to_owned(), address);
    }

    /// The password that worked for `login` last time.
    pub(crate) fn password(&self, login: &str) -> Option<Secret> {
        locked(&self.0.passwords).get(login).cloned()
    }

    /// Remembers a password that worked, or forgets one that did not.
    pub(crate) fn set_password(&self, login: &str, password: Option<Secret>) {
        let mut passwords = locked(&self.0.passwords);
        match password {
            Some(password) => passwords.insert(login.to_owned(), password),
            None => passwords.remove(login),
        };
    }
}
