//! Signatures for russh: from the agent, or from a key file that is decrypted only when the server
//! has accepted its public half.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::{AgentClient, AgentStream};
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use tokio::time::timeout;

use crate::tunnel::asker::Asker;
use crate::tunnel::memory::Memory;
use crate::tunnel::prompt::{Answer, Prompt};

use super::key_file::{self, Decrypted};
use super::shown;

/// How often a passphrase is asked for, as in ssh.
const PASSPHRASE_TRIES: u32 = 3;
/// How long an agent may take to sign; a person may have to touch the key or confirm.
const AGENT_SIGN: Duration = Duration::from_secs(120);

/// Why there is no signature: a note for the message.
#[derive(Debug)]
pub(super) enum NoSignature {
    /// The session is gone.
    SessionOver,
    /// The key cannot be used; the next one can be tried.
    Skip(String),
}

impl From<russh::SendError> for NoSignature {
    fn from(_: russh::SendError) -> Self {
        Self::SessionOver
    }
}

/// Where signatures come from.
pub(super) enum KeySigner<'a> {
    Agent {
        client: &'a mut AgentClient<Box<dyn AgentStream + Send + Unpin>>,
        asker: &'a Asker,
    },
    File {
        path: PathBuf,
        asker: &'a Asker,
        memory: &'a Memory,
    },
}

impl russh::Signer for KeySigner<'_> {
    type Error = NoSignature;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash_alg: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, NoSignature> {
        match self {
            Self::Agent { client, asker } => {
                let _stopped = asker.stop_clock();
                match timeout(AGENT_SIGN, client.sign_request(key, hash_alg, to_sign)).await {
                    Ok(Ok(signed)) => Ok(signed),
                    Ok(Err(error)) => Err(NoSignature::Skip(format!(
                        "the agent did not sign ({error})"
                    ))),
                    Err(_) => Err(NoSignature::Skip("the agent did not sign in time".into())),
                }
            }
            Self::File {
                path,
                asker,
                memory,
            } => {
                let public = key.public_key();
                let private = private_key(path, Some(&public), asker, memory).await?;
                sign(&private, hash_alg, to_sign)
                    .map_err(|error| NoSignature::Skip(format!("{}: {error}", shown(path))))
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

/// The private key of a file, out of memory when it was decrypted before; asks for its passphrase
/// when it must.
pub(super) async fn private_key(
    path: &Path,
    public: Option<&PublicKey>,
    asker: &Asker,
    memory: &Memory,
) -> Result<Arc<PrivateKey>, NoSignature> {
    // Held while asking: a second tunnel waits for the same answer instead of asking again.
    let mut keys = memory.keys().await;
    if let Some(key) = keys.get(path)
        && public.is_none_or(|public| public.key_data() == key.public_key().key_data())
    {
        return Ok(key.clone());
    }
    let skip = |what: &str| NoSignature::Skip(format!("{} {what}", shown(path)));
    let mut passphrase = None;
    for attempt in 1.. {
        let (file, given) = (path.to_owned(), passphrase.take());
        let decrypting = tokio::task::spawn_blocking(move || {
            let given: Option<crate::secret::Secret> = given;
            key_file::decrypt(&file, given.as_ref().map(|secret| secret.expose()))
        });
        match decrypting.await {
            Ok(Decrypted::Key(key)) => {
                let key = Arc::new(*key);
                keys.insert(path.to_owned(), key.clone());
                return Ok(key);
            }
            Ok(Decrypted::Broken(error)) => return Err(skip(&error.to_string())),
            Err(error) => return Err(skip(&error.to_string())),
            Ok(Decrypted::NeedsPassphrase | Decrypted::WrongPassphrase) => {}
        }
        if !asker.is_interactive() {
            return Err(skip("needs a passphrase and nobody can be asked"));
        }
        if attempt > PASSPHRASE_TRIES {
            return Err(skip("was not opened: wrong passphrase three times"));
        }
        let prompt = Prompt::Passphrase {
            path: shown(path),
            attempt,
        };
        match asker.ask(prompt).await {
            Answer::Secret(secret) => passphrase = Some(secret),
            _ => return Err(skip("needs a passphrase and none was given")),
        }
    }
    Err(skip("was not opened"))
}
