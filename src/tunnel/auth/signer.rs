//! Signatures for russh: from the agent, or from a key file that is decrypted only when the server
//! has accepted its public half.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey, PublicKey};

use crate::layer::Layer;
use crate::secret::Secret;
use crate::tunnel::asker::{HungUp, Person};
use crate::tunnel::connection::Report;
use crate::tunnel::memory::Memory;
use crate::tunnel::prompt::{Answer, Prompt};

use super::agent::Agent;
use super::candidates::is_security_key;
use super::key_file::{self, Decrypted};
use super::shown;

/// After this long without a signature the agent probably waits for a person.
const AGENT_WAITS: Duration = Duration::from_secs(1);

/// Why there is no signature: a note for the message.
#[derive(Debug)]
pub(super) enum NoSignature {
    /// The session is gone.
    SessionOver,
    /// The connection ended while a person was waited for.
    HungUp,
    /// The key cannot be used; the next one can be tried.
    Skip(String),
}

impl From<russh::SendError> for NoSignature {
    fn from(_: russh::SendError) -> Self {
        Self::SessionOver
    }
}

impl From<HungUp> for NoSignature {
    fn from(_: HungUp) -> Self {
        Self::HungUp
    }
}

/// Where signatures come from.
pub(super) enum Source<'a> {
    Agent {
        agent: &'a mut Agent,
        identity: &'a AgentIdentity,
        label: &'a str,
        report: &'a Report,
    },
    File(PathBuf),
}

/// What russh asks for signatures.
pub(super) struct KeySigner<'a> {
    pub(super) source: Source<'a>,
    pub(super) opener: Opener<'a>,
    /// Called for: the server has accepted the public half.
    pub(super) wanted: bool,
    /// The private key of the file that signed.
    pub(super) opened: Option<Arc<PrivateKey>>,
}

impl russh::Signer for KeySigner<'_> {
    type Error = NoSignature;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash_alg: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, NoSignature> {
        self.wanted = true;
        match &mut self.source {
            Source::Agent {
                agent,
                identity,
                label,
                report,
            } => {
                let note = if is_security_key(&identity.public_key()) {
                    format!("touch your security key: {label}")
                } else {
                    format!("the agent is asked to sign: {label}")
                };
                let patience = if is_security_key(&identity.public_key()) {
                    Duration::ZERO
                } else {
                    AGENT_WAITS
                };
                let telling = async {
                    tokio::time::sleep(patience).await;
                    report.busy(Layer::SignIn, &note);
                    std::future::pending().await
                };
                let signing = async {
                    tokio::select! {
                        signed = agent.sign(identity, hash_alg, to_sign) => signed,
                        never = telling => never,
                    }
                };
                // A slow agent has asked somebody.
                let _by_hand = self.opener.person.asker.stop_clock();
                let signed = self.opener.person.wait(signing).await?;
                signed.map_err(NoSignature::Skip)
            }
            Source::File(path) => {
                let public = key.public_key();
                let private = self.opener.open(path, Some(&public)).await?;
                let signed = sign(&private, hash_alg, to_sign)
                    .map_err(|error| NoSignature::Skip(format!("{}: {error}", shown(path))))?;
                self.opened = Some(private);
                Ok(signed)
            }
        }
    }
}

/// Appends the signature of `data` to it, as russh wants it.
fn sign(
    key: &PrivateKey,
    hash_alg: Option<HashAlg>,
    mut data: Vec<u8>,
) -> Result<Vec<u8>, russh::keys::Error> {
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(rsa) => (rsa, hash_alg).try_sign(&data),
        other => other.try_sign(&data),
    }
    .map_err(russh::keys::ssh_key::Error::from)?;
    let mut blob = Vec::new();
    signature.encode(&mut blob)?;
    blob.encode(&mut data)?;
    Ok(data)
}

/// Opens private keys, with a person's help where they are encrypted.
#[derive(Clone, Copy)]
pub(super) struct Opener<'a> {
    pub(super) person: &'a Person,
    pub(super) memory: &'a Memory,
    /// How often a passphrase is asked for.
    pub(super) prompts: u32,
}

impl Opener<'_> {
    /// The private key of a file, out of memory when it was decrypted before; asks for its passphrase
    /// when it must.
    pub(super) async fn open(
        &self,
        path: &Path,
        public: Option<&PublicKey>,
    ) -> Result<Arc<PrivateKey>, NoSignature> {
        // Held while asking: a second tunnel waits for the same answer instead of asking again.
        let slot = self.memory.key(path).lock_owned();
        let mut slot = self.person.wait(slot).await?;
        if let Some(key) = slot.as_ref()
            && public.is_none_or(|public| public.key_data() == key.public_key().key_data())
        {
            return Ok(key.clone());
        }
        let skip = |what: &str| NoSignature::Skip(format!("{} {what}", shown(path)));
        let mut passphrase: Option<Secret> = None;
        let mut attempt = 0;
        loop {
            let (file, given) = (path.to_owned(), passphrase.take());
            // It takes long on purpose. A connection that is given up meanwhile does not lose the answer.
            let decrypting = tokio::task::spawn_blocking(move || {
                let given = given.as_ref().map(|secret| secret.expose());
                let decrypted = key_file::decrypt(&file, given);
                if let Decrypted::Key(key) = &decrypted {
                    *slot = Some(key.clone());
                }
                (decrypted, slot)
            });
            slot = match decrypting.await {
                Ok((Decrypted::Key(key), _)) => return Ok(key),
                Ok((Decrypted::Broken(error), _)) => return Err(skip(&error.to_string())),
                Err(error) => return Err(skip(&error.to_string())),
                Ok((Decrypted::NeedsPassphrase | Decrypted::WrongPassphrase, slot)) => slot,
            };
            if !self.person.is_there() {
                return Err(skip("needs a passphrase and nobody can be asked"));
            }
            if attempt == self.prompts {
                let how_often = times(self.prompts);
                return Err(skip(&format!(
                    "was not opened: wrong passphrase {how_often}"
                )));
            }
            attempt += 1;
            let prompt = Prompt::Passphrase {
                path: shown(path),
                attempt,
            };
            match self.person.ask(prompt).await? {
                Answer::Secret(secret) => passphrase = Some(secret),
                _ => return Err(skip("needs a passphrase and none was given")),
            }
        }
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".into(),
        2 => "twice".into(),
        3 => "three times".into(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::LineEnding;

    use super::*;
    use crate::loopback_ssh::fresh_key;
    use crate::tunnel::asker::Asker;
    use crate::tunnel::hang_up::HangUp;
    use crate::tunnel::prompt::Prompter;
    use crate::tunnel::transport::Lifeline;

    #[tokio::test]
    async fn a_passphrase_that_was_given_is_not_lost_with_the_connection_that_asked_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        let mut rng = russh::keys::key::safe_rng();
        let locked = fresh_key().unwrap().encrypt(&mut rng, "open sesame");
        let locked = locked.unwrap();
        locked.write_openssh_file(&path, LineEnding::LF).unwrap();
        let memory = Memory::default();
        let asked_by = |prompter| Person {
            asker: Asker::new(prompter),
            life: Lifeline::default(),
            hang_up: HangUp::default(),
        };
        let (prompter, mut questions) = Prompter::channel();
        let opening = tokio::spawn({
            let (path, memory, person) = (path.clone(), memory.clone(), asked_by(prompter));
            async move {
                let opener = Opener {
                    person: &person,
                    memory: &memory,
                    prompts: 3,
                };
                opener.open(&path, None).await.is_ok()
            }
        });
        let question = questions.recv().await.unwrap();
        let answer = Answer::Secret(Secret::new("open sesame"));
        question.reply.send(answer).unwrap();
        // It takes the answer, and begins to decrypt.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        opening.abort();
        let nobody = asked_by(Prompter::nobody());
        let opener = Opener {
            person: &nobody,
            memory: &memory,
            prompts: 3,
        };
        assert!(opener.open(&path, None).await.is_ok());
    }
}
