//! What is done with a server's key: known goes on, unknown asks, everything else stops.

use std::path::Path;

use russh::keys::PublicKey;
use tokio::time::Instant;

use crate::layer::{Layer, LayerError, Retry};
use crate::tunnel::asker::Asker;
use crate::tunnel::host_key::{self, HostName, KnownHosts, Verdict};
use crate::tunnel::memory::Memory;
use crate::tunnel::prompt::{Answer, Prompt};
use crate::tunnel::spec::{HopSpec, KnownHostsFiles, StrictHostKey};

use super::peer_address::PeerAddress;
use super::report::Report;

/// Judges the key of one server.
pub(crate) struct HostKeyCheck {
    pub(crate) name: HostName,
    pub(crate) known: KnownHosts,
    pub(crate) files: KnownHostsFiles,
    pub(crate) strict: StrictHostKey,
    pub(crate) hash: bool,
    pub(crate) address: PeerAddress,
    pub(crate) asker: Asker,
    pub(crate) memory: Memory,
    pub(crate) report: Report,
}

/// Reads the files of known keys off the async threads.
pub(crate) async fn load(files: &KnownHostsFiles) -> Result<KnownHosts, LayerError> {
    let files = files.clone();
    tokio::task::spawn_blocking(move || KnownHosts::load(&files))
        .await
        .map_err(|error| LayerError::new(Layer::HostKey, error.to_string()))?
        .map_err(|error| error.refusal())
}

impl HostKeyCheck {
    /// The check of `hop`'s key.
    pub(crate) fn new(
        hop: &HopSpec,
        known: KnownHosts,
        address: PeerAddress,
        asker: Asker,
        memory: Memory,
        report: Report,
    ) -> Self {
        Self {
            name: HostName::of_hop(hop),
            known,
            files: hop.known_hosts.clone(),
            strict: hop.strict_host_key,
            hash: hop.hash_known_hosts,
            address,
            asker,
            memory,
            report,
        }
    }

    /// What it means when the server closes the connection while its key is being judged.
    pub(crate) fn hung_up(&self) -> LayerError {
        let what = format!(
            "{} closed the connection while it waited for a word about its host key",
            self.address
        );
        LayerError::new(Layer::HostKey, what)
            .next("its LoginGraceTime may be short; connect again and answer sooner")
            .retry(Retry::Attention)
    }

    /// Returns when the key is to be trusted.
    pub(crate) async fn judge(&mut self, key: &PublicKey) -> Result<(), LayerError> {
        let started = Instant::now();
        let label = format!(
            "{} {}",
            host_key::algorithm_word(key).to_lowercase(),
            host_key::fingerprint(key)
        );
        self.report.busy(Layer::HostKey, &label);
        let how = self.verdict(key).await?;
        self.report.ok(
            Layer::HostKey,
            Some(started.elapsed()),
            &format!("{label} {how}"),
        );
        Ok(())
    }

    /// Why the key is trusted, in the words of the status row.
    async fn verdict(&mut self, key: &PublicKey) -> Result<String, LayerError> {
        match self.known.check(&self.name, self.address.ip(), key) {
            Verdict::Known { file, line } => Ok(place(&file, line)),
            Verdict::Unknown { .. } => self.unknown(key).await,
            refused => Err(host_key::refusal(&refused, &self.name, key)),
        }
    }

    async fn unknown(&mut self, key: &PublicKey) -> Result<String, LayerError> {
        let memory = self.memory.clone();
        let _turn = memory.host_key_turn().await;
        if memory.is_trusted(self.name.as_str(), key) {
            return Ok("trusted for this run".into());
        }
        // Another tunnel may have learned the key while this one waited for its turn.
        self.known = load(&self.files).await?;
        let verdict = self.known.check(&self.name, self.address.ip(), key);
        let note = match &verdict {
            Verdict::Known { file, line } => return Ok(place(file, *line)),
            Verdict::Unknown { note } => note.clone().unwrap_or_default(),
            refused => return Err(host_key::refusal(refused, &self.name, key)),
        };
        match self.strict {
            StrictHostKey::AcceptNew | StrictHostKey::No => self.remember(key).await,
            StrictHostKey::Ask if self.asker.is_interactive() => {
                let prompt = Prompt::UnknownHostKey {
                    host: self.name.as_str().to_owned(),
                    address: self.address.to_string(),
                    algorithm: key.algorithm().as_str().to_owned(),
                    fingerprint: host_key::fingerprint(key),
                    randomart: host_key::randomart(key),
                    note,
                };
                match self.asker.ask(prompt).await {
                    Answer::TrustAndRemember => self.remember(key).await,
                    Answer::TrustOnce => {
                        memory.trust(self.name.as_str(), key);
                        Ok("trusted for this run".into())
                    }
                    Answer::Secret(_) | Answer::Texts(_) | Answer::Cancel => {
                        let what = format!("the host key of {} was not trusted", self.name);
                        Err(LayerError::new(Layer::HostKey, what).retry(Retry::Attention))
                    }
                }
            }
            StrictHostKey::Yes | StrictHostKey::Ask => {
                Err(host_key::refusal(&verdict, &self.name, key))
            }
        }
    }

    /// Stores the key; a file that cannot be written makes it trusted for this run only.
    async fn remember(&self, key: &PublicKey) -> Result<String, LayerError> {
        self.memory.trust(self.name.as_str(), key);
        let Some(file) = self.files.user.first().cloned() else {
            return Ok("new, not stored: no known_hosts file".into());
        };
        let (name, hash, stored) = (self.name.clone(), self.hash, key.clone());
        let store = {
            let file = file.clone();
            move || host_key::learn(&file, &name, &stored, hash)
        };
        match tokio::task::spawn_blocking(store).await {
            Ok(Ok(())) => Ok(format!("new, stored in {}", shown(&file))),
            Ok(Err(error)) => Ok(format!("new, {error}")),
            Err(error) => Ok(format!("new, not stored: {error}")),
        }
    }
}

fn place(file: &Path, line: usize) -> String {
    format!("{} line {line}", shown(file))
}

/// The file's own name: the row has no room for the way to it.
fn shown(file: &Path) -> String {
    file.file_name().map_or_else(
        || file.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
