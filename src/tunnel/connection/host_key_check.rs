//! What is done with a server's key: known goes on, unknown asks, everything else stops.

use std::path::Path;

use russh::keys::{PublicKey, PublicKeyOrCertificate};
use tokio::time::Instant;

use crate::layer::{Layer, LayerError, Retry, printable};
use crate::tunnel::asker::Asker;
use crate::tunnel::host_key::{self, CertificateRules, HostName, KnownHosts, Verdict};
use crate::tunnel::memory::Memory;
use crate::tunnel::prompt::{Answer, Prompt};
use crate::tunnel::spec::{HopSpec, KnownHostsFiles, StrictHostKey};

use super::host_key_update::Announcement;
use super::look::{Look, Shown};
use super::peer_address::PeerAddress;
use super::report::Report;

/// Judges the key of one server.
pub(crate) struct HostKeyCheck {
    pub(crate) name: HostName,
    /// What a person types to reach the server.
    target: String,
    rules: CertificateRules,
    required_rsa_size: u32,
    /// The address under which the key has to be known, too (`CheckHostIP`).
    also_at: Option<HostName>,
    /// Opened when the server may tell its other keys.
    announcement: Announcement,
    /// Only look; see [`look`](super::look).
    pub(super) look: Option<Look>,
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
        announcement: Announcement,
    ) -> Self {
        Self {
            name: HostName::of_hop(hop),
            target: HostName::target_of_hop(hop),
            rules: CertificateRules::of_hop(hop),
            required_rsa_size: hop.required_rsa_size,
            also_at: also_at(hop, &address),
            announcement,
            look: None,
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
    pub(crate) async fn judge(&mut self, shown: &PublicKeyOrCertificate) -> Result<(), LayerError> {
        let started = Instant::now();
        let (key, certified) = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => (key.clone(), None),
            PublicKeyOrCertificate::Certificate(certificate) => {
                let key = PublicKey::from(certificate.public_key().clone());
                let verdict = self
                    .known
                    .check_certificate(&self.name, certificate, &self.rules);
                (key, Some(verdict))
            }
        };
        let label = format!(
            "{} {}",
            host_key::algorithm_word(&key).to_lowercase(),
            host_key::fingerprint(&key)
        );
        self.report.busy(Layer::HostKey, &label);
        if let Some(look) = &self.look {
            let verdict = match &certified {
                Some(Ok(verdict)) => verdict.clone(),
                _ => self.known.check(&self.name, self.address.ip(), &key),
            };
            return Err(look.seen(Shown {
                name: self.name.clone(),
                target: self.target.clone(),
                address: self.address.to_string(),
                key,
                verdict,
                files: self.files.clone(),
                hash: self.hash,
            }));
        }
        self.check_size(&key)?;
        let how = match certified {
            None => self.verdict(&key, None).await?,
            Some(Ok(Verdict::Certified { file, line, id })) => {
                let id = printable(&id, 60);
                format!("certificate \"{id}\", authority in {}", place(&file, line))
            }
            Some(Ok(refused)) => {
                return Err(host_key::refusal(&refused, &self.name, &self.target, &key));
            }
            Some(Err(why)) => self.verdict(&key, Some(why.to_string())).await?,
        };
        self.report.ok(
            Layer::HostKey,
            Some(started.elapsed()),
            &format!("{label} {how}"),
        );
        Ok(())
    }

    /// `RequiredRSASize`.
    fn check_size(&self, key: &PublicKey) -> Result<(), LayerError> {
        let Some(bits) = key.key_data().rsa().map(|rsa| rsa.key_size()) else {
            return Ok(());
        };
        if bits >= self.required_rsa_size {
            return Ok(());
        }
        let what = format!(
            "the host key of {} is an RSA key of {bits} bits, and RequiredRSASize is {}",
            self.name, self.required_rsa_size
        );
        let next = "have the server show a longer key, or set a smaller RequiredRSASize";
        Err(LayerError::new(Layer::HostKey, what)
            .next(next)
            .retry(Retry::Never))
    }

    /// Why the key is trusted, in the words of the status row. `unfit` says why a certificate with it
    /// did not count.
    async fn verdict(
        &mut self,
        key: &PublicKey,
        unfit: Option<String>,
    ) -> Result<String, LayerError> {
        match self.known.check(&self.name, self.address.ip(), key) {
            Verdict::Known { file, line } => {
                self.check_address(key)?;
                if self.is_for_this_name(key) {
                    self.announcement.open();
                }
                Ok(place(&file, line))
            }
            Verdict::Unknown { .. } => self.unknown(key, unfit).await,
            refused => Err(host_key::refusal(&refused, &self.name, &self.target, key)),
        }
    }

    /// True when the user's own files know the key by this very name: the condition for learning the
    /// server's other keys.
    fn is_for_this_name(&self, key: &PublicKey) -> bool {
        self.known
            .is_known_exactly(&self.name, key, &self.files.user)
    }

    fn check_address(&self, key: &PublicKey) -> Result<(), LayerError> {
        let differs = self
            .also_at
            .as_ref()
            .and_then(|address| Some((address, self.known.keys_at_address(address, key)?)));
        let Some((address, known)) = differs else {
            return Ok(());
        };
        let verdict = Verdict::AddressDiffers {
            address: address.to_string(),
            known,
        };
        Err(host_key::refusal(&verdict, &self.name, &self.target, key))
    }

    async fn unknown(
        &mut self,
        key: &PublicKey,
        unfit: Option<String>,
    ) -> Result<String, LayerError> {
        let memory = self.memory.clone();
        let _turn = memory.host_key_turn().await;
        if memory.is_trusted(self.name.as_str(), key) {
            return Ok("trusted for this run".into());
        }
        // Another tunnel may have learned the key while this one waited for its turn.
        self.known = load(&self.files).await?;
        let mut verdict = self.known.check(&self.name, self.address.ip(), key);
        let note = match &mut verdict {
            Verdict::Known { file, line } => return Ok(place(file, *line)),
            Verdict::Unknown { note } => {
                if let Some(why) = unfit {
                    let why = format!("its certificate does not count: {why}");
                    *note = Some(match note.take() {
                        Some(more) => format!("{why}; {more}"),
                        None => why,
                    });
                }
                note.clone().unwrap_or_default()
            }
            refused => {
                return Err(host_key::refusal(refused, &self.name, &self.target, key));
            }
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
                    Answer::TrustAndRemember => {
                        self.announcement.open();
                        self.remember(key).await
                    }
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
                Err(host_key::refusal(&verdict, &self.name, &self.target, key))
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

/// Where `CheckHostIP` looks, too. As for ssh, an address of this machine and a host that was named by
/// its address need no second look.
fn also_at(hop: &HopSpec, address: &PeerAddress) -> Option<HostName> {
    let ip = address.ip().filter(|ip| !ip.is_loopback())?;
    let text = ip.to_string();
    (hop.check_host_ip && text != hop.host).then(|| HostName::new(&text, hop.port))
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
