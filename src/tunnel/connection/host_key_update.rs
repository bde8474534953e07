//! The other host keys of a server that is known: announced by it after sign-in, believed once it has
//! proved that it holds them.

use std::sync::Arc;
use std::time::Duration;

use russh::client::Handle;
use russh::keys::PublicKey;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::tunnel::asker::Asker;
use crate::tunnel::host_key::{self, HostName, Rotation, RotationPlan, SUPPORTED_HOST_KEYS};
use crate::tunnel::memory::Memory;
use crate::tunnel::prompt::{Answer, Prompt};
use crate::tunnel::spec::{HopSpec, UpdateHostKeys};

use super::handler::Hook;

/// How long a server may take to prove its keys.
const PROOF: Duration = Duration::from_secs(10);

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

/// Learns the keys of one server, once.
pub(super) struct Update {
    pub(super) announcement: Announcement,
    pub(super) handle: Arc<Handle<Hook>>,
    pub(super) hop: HopSpec,
    pub(super) asker: Asker,
    pub(super) memory: Memory,
}

impl Update {
    /// True when there could be something to do.
    pub(super) fn is_wanted(&self) -> bool {
        let may = match self.hop.update_host_keys {
            UpdateHostKeys::Yes => true,
            UpdateHostKeys::Ask => self.asker.is_interactive(),
            UpdateHostKeys::No => false,
        };
        may && !self.hop.known_hosts.user.is_empty() && self.announcement.0.borrow().is_open
    }

    /// Waits for the announcement, for as long as the connection lives, and does what follows from it.
    /// Whatever goes wrong leaves the files as they are. Cancel safe.
    pub(super) async fn run(self) {
        let mut news = self.announcement.0.subscribe();
        let announced = match news.wait_for(|state| state.keys.is_some()).await {
            Ok(state) => state.keys.clone().unwrap_or_default(),
            Err(_) => return,
        };
        let announced = self.acceptable(announced);
        // Two connections to one server hear the same; the second one finds it done.
        let _turn = self.memory.host_key_turn().await;
        let name = HostName::of_hop(&self.hop);
        let (files, of) = (self.hop.known_hosts.clone(), name.clone());
        let plan = tokio::task::spawn_blocking(move || RotationPlan::make(&files, &of, &announced));
        let rotation = match plan.await {
            Ok(Ok(RotationPlan::Change(rotation))) => rotation,
            Ok(Ok(RotationPlan::Nothing)) | Err(_) => return,
            Ok(Ok(RotationPlan::Leave(why))) => {
                debug!(host = %name, why, "the known host keys stay as they are");
                return;
            }
            Ok(Err(error)) => {
                warn!(host = %name, %error, "the known host keys stay as they are");
                return;
            }
        };
        let proof = self.handle.hostkeys_prove(rotation.new.clone());
        match tokio::time::timeout(PROOF, proof).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(host = %name, %error, "the server did not prove the host keys it announced");
                return;
            }
            Err(_) => {
                warn!(host = %name, "the server did not prove the host keys it announced in time");
                return;
            }
        }
        if self.hop.update_host_keys == UpdateHostKeys::Ask && !self.agreed(&name, &rotation).await
        {
            return;
        }
        let (files, of, hash) = (
            self.hop.known_hosts.user.clone(),
            name.clone(),
            self.hop.hash_known_hosts,
        );
        let (new, stale) = (rotation.new.len(), rotation.stale.len());
        match tokio::task::spawn_blocking(move || rotation.store(&files, &of, hash)).await {
            Ok(Ok(())) => {
                info!(host = %name, new, stale, "the known host keys follow the server's")
            }
            Ok(Err(error)) => {
                warn!(host = %name, %error, "the server's new host keys are not stored")
            }
            Err(error) => warn!(host = %name, %error, "the server's new host keys are not stored"),
        }
    }

    /// Those that `HostKeyAlgorithms` and `RequiredRSASize` allow.
    fn acceptable(&self, keys: Vec<PublicKey>) -> Vec<PublicKey> {
        let is_allowed = |name: &str| match &self.hop.host_key_algorithms {
            Some(allowed) => allowed.iter().any(|allowed| allowed == name),
            None => SUPPORTED_HOST_KEYS
                .iter()
                .any(|known| known.as_str() == name),
        };
        let mut keys = keys;
        keys.retain(|key| match key.key_data().rsa() {
            Some(rsa) => {
                rsa.key_size() >= self.hop.required_rsa_size
                    && (is_allowed("rsa-sha2-512") || is_allowed("rsa-sha2-256"))
            }
            None => is_allowed(key.algorithm().as_str()),
        });
        keys
    }

    /// `UpdateHostKeys ask`.
    async fn agreed(&self, name: &HostName, rotation: &Rotation) -> bool {
        let mut changes: Vec<String> = rotation
            .new
            .iter()
            .map(|key| {
                let word = host_key::algorithm_word(key);
                format!("new {word} {}", host_key::fingerprint(key))
            })
            .collect();
        changes.extend(
            rotation
                .stale
                .iter()
                .map(|key| format!("gone {} {}", key.algorithm, key.fingerprint)),
        );
        let prompt = Prompt::KeyboardInteractive {
            login: name.to_string(),
            name: "its host keys have changed, and it proved the new ones (UpdateHostKeys)".into(),
            instructions: changes.join("; "),
            questions: vec![("Store this in known_hosts? (yes/no)".into(), true)],
        };
        match self.asker.ask(prompt).await {
            Answer::Texts(texts) => texts
                .first()
                .is_some_and(|text| matches!(text.expose().trim(), "y" | "yes")),
            _ => false,
        }
    }
}
