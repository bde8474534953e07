//! Signing in with keys: certificates, the agent, key files.

use std::time::SystemTime;

use russh::MethodKind;
use russh::keys::agent::AgentIdentity;
use russh::keys::{Algorithm, HashAlg, PublicKey};

use crate::layer::LayerError;

use super::agent::{self, Agent};
use super::algorithm;
use super::candidates::{self, Candidate, Holder};
use super::signer::{KeySigner, NoSignature, Opener, Source};
use super::spent::Spent;
use super::{Answered, SignIn, Step, answer};

impl SignIn<'_> {
    /// Certificates, agent and key files.
    pub(super) async fn with_keys(&mut self) -> Result<Step, LayerError> {
        let binding = self.handle.agent_session_binding();
        let mut agent = match agent::open(&self.hop.agent, binding).await {
            Ok(agent) => agent,
            Err(note) => {
                self.note(note);
                None
            }
        };
        let hop = self.hop.clone();
        let files = tokio::task::spawn_blocking(move || candidates::read_files(&hop))
            .await
            .unwrap_or_default();
        let held: &[AgentIdentity] = agent.as_ref().map_or(&[], |agent| &agent.identities);
        let budget = candidates::budget(&self.allowed);
        let now = SystemTime::now();
        let (offers, notes) = candidates::order(self.hop, files, held, budget, now);
        for note in notes {
            self.note(note);
        }
        for offer in offers {
            // A server that wants two keys wants two different ones.
            let described = offer.described();
            if self.accepted.contains(&described) {
                continue;
            }
            match self.offer(&offer, agent.as_mut()).await? {
                Step::In(_) => return Ok(Step::In(format!("publickey, {}", offer.label))),
                Step::Partial => {
                    self.accepted.push(described);
                    return Ok(Step::Partial);
                }
                Step::Refused => {}
            }
            if !self.allowed.contains(&MethodKind::PublicKey) {
                break;
            }
        }
        Ok(Step::Refused)
    }

    fn opener(&self) -> Opener<'_> {
        Opener {
            person: self.person,
            memory: self.memory,
            prompts: self.hop.password_prompts,
        }
    }

    /// Offers one key: the server says whether it would do before anything is signed or decrypted.
    async fn offer(
        &mut self,
        offer: &Candidate,
        agent: Option<&mut Agent>,
    ) -> Result<Step, LayerError> {
        let public = match &offer.public {
            Some(public) => public.clone(),
            None => match self.hidden_public(offer).await? {
                Some(public) => public,
                None => return Ok(Step::Refused),
            },
        };
        let certified = offer.certificate.is_some();
        if let Err(note) = algorithm::check(self.hop, &public, certified, &offer.label) {
            self.note(note);
            return Ok(Step::Refused);
        }
        let hash = match public.algorithm() {
            Algorithm::Rsa { .. } => match self.rsa_hash(certified).await? {
                Some(hash) => hash,
                None => {
                    let note = format!("{} has no RSA signature in common with it", offer.label);
                    self.note(note);
                    return Ok(Step::Refused);
                }
            },
            _ => None,
        };
        let (person, memory, report) = (self.person, self.memory, self.report);
        let source = match (&offer.holder, agent) {
            (Holder::Agent(identity), Some(agent)) => Source::Agent {
                agent,
                identity,
                label: &offer.label,
                report,
            },
            (Holder::Agent(_), None) => return Ok(Step::Refused),
            (Holder::File(path), _) => Source::File(path.clone()),
        };
        let mut signer = KeySigner {
            source,
            opener: Opener {
                person,
                memory,
                prompts: self.hop.password_prompts,
            },
            wanted: false,
            opened: None,
        };
        let user = self.hop.user.clone();
        let banners = self.diagnostics.banners();
        let trying = async {
            match &offer.certificate {
                Some(certificate) => {
                    let certificate = certificate.clone();
                    self.handle
                        .authenticate_certificate_with(user, certificate, hash, &mut signer)
                        .await
                }
                None => {
                    self.handle
                        .authenticate_publickey_with(user, public, hash, &mut signer)
                        .await
                }
            }
        };
        // A key that cannot sign is an answer too, not a lost connection.
        let trying = async {
            match trying.await {
                Ok(result) => Ok(Ok(result)),
                Err(NoSignature::SessionOver) => Err(()),
                Err(why) => Ok(Err(why)),
            }
        };
        let result = answer(&person.asker, self.spent, trying).await;
        let KeySigner { wanted, opened, .. } = signer;
        let result = match result {
            Answered::Answer(Ok(result)) => Answered::Answer(result),
            Answered::Answer(Err(NoSignature::Skip(note))) => {
                self.note(note);
                return Ok(Step::Refused);
            }
            Answered::Answer(Err(_)) => return Err(self.hung_up()),
            Answered::Lost => Answered::Lost,
            Answered::Silent => Answered::Silent,
        };
        self.tried.push(offer.described());
        self.banners_before_decision = wanted.then_some(banners);
        let step = self.judge(result)?;
        match step {
            Step::Refused => self.spend(Spent::Keys),
            Step::In(_) | Step::Partial => {
                self.to_keep = opened.map(|key| (key, offer.label.clone()));
            }
        }
        Ok(step)
    }

    /// A file that hides its public half has to be decrypted before it can be offered.
    async fn hidden_public(&mut self, offer: &Candidate) -> Result<Option<PublicKey>, LayerError> {
        let Holder::File(path) = &offer.holder else {
            return Ok(None);
        };
        match self.opener().open(path, None).await {
            Ok(key) => Ok(Some(key.public_key().clone())),
            Err(NoSignature::Skip(note)) => {
                self.note(note);
                Ok(None)
            }
            Err(NoSignature::HungUp) => Err(self.hung_up()),
            Err(NoSignature::SessionOver) => Err(self.lost()),
        }
    }

    /// The hash for RSA signatures; `None` when there is none that both sides take.
    async fn rsa_hash(&mut self, certified: bool) -> Result<Option<Option<HashAlg>>, LayerError> {
        let ours = algorithm::rsa_hashes(self.hop, certified);
        if let Some(best) = self.rsa_hash {
            return Ok(algorithm::choose(&ours, best));
        }
        let asking = self.handle.best_supported_rsa_hash();
        let best = match answer(&self.person.asker, self.spent, asking).await {
            Answered::Answer(Some(best)) => best,
            // Servers that do not say it take SHA-2 since 2016.
            Answered::Answer(None) => Some(HashAlg::Sha512),
            Answered::Lost => return Err(self.lost()),
            Answered::Silent => return Err(self.silent()),
        };
        self.rsa_hash = Some(best);
        Ok(algorithm::choose(&ours, best))
    }
}
