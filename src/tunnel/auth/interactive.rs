//! Keys, questions and passwords: the three ways in, one method each.

use russh::MethodKind;
use russh::client::{AuthResult, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::{Algorithm, HashAlg, PublicKey};

use crate::layer::{LayerError, printable};
use crate::secret::Secret;
use crate::tunnel::prompt::{Answer, Prompt};

use super::agent::{self, Agent};
use super::candidates::{self, Candidate, Holder};
use super::signer::{self, KeySigner, NoSignature};
use super::spent::Spent;
use super::{Answered, SignIn, Step, answer};

/// A server that asks more rounds than this asks for ever.
const MAX_ROUNDS: usize = 20;
/// How much of a server's question is shown.
const QUESTION_CHARS: usize = 400;

impl SignIn<'_> {
    /// Agent and key files.
    pub(super) async fn with_keys(&mut self) -> Result<Step, LayerError> {
        let mut agent = match agent::open(&self.hop.agent).await {
            Ok(agent) => agent,
            Err(note) => {
                self.notes.push(note);
                None
            }
        };
        let hop = self.hop.clone();
        let files = tokio::task::spawn_blocking(move || candidates::read_files(&hop))
            .await
            .unwrap_or_default();
        let held: &[AgentIdentity] = agent.as_ref().map_or(&[], |agent| &agent.identities);
        let (offers, notes) = candidates::order(self.hop, files, held);
        self.notes.extend(notes);
        for offer in offers {
            match self.offer(&offer, agent.as_mut()).await? {
                Step::In(_) => return Ok(Step::In(format!("publickey, {}", offer.label))),
                Step::Partial => return Ok(Step::Partial),
                Step::Refused => {}
            }
            if !self.allowed.contains(&MethodKind::PublicKey) {
                break;
            }
        }
        Ok(Step::Refused)
    }

    /// Offers one key: the server says whether it would do before anything is signed or decrypted.
    async fn offer(
        &mut self,
        offer: &Candidate,
        agent: Option<&mut Agent>,
    ) -> Result<Step, LayerError> {
        let (asker, memory) = (self.asker, self.memory);
        let public = match &offer.public {
            Some(public) => public.clone(),
            None => match self.hidden_public(offer).await? {
                Some(public) => public,
                None => return Ok(Step::Refused),
            },
        };
        let hash = match public.algorithm() {
            Algorithm::Rsa { .. } => match self.rsa_hash().await? {
                Some(hash) => Some(hash),
                None => {
                    let note = format!("{} is RSA and the server knows only SHA-1", offer.label);
                    self.notes.push(note);
                    return Ok(Step::Refused);
                }
            },
            _ => None,
        };
        let mut signer = match (&offer.holder, agent) {
            (Holder::Agent, Some(agent)) => KeySigner::Agent {
                client: &mut agent.client,
                asker,
            },
            (Holder::Agent, None) => return Ok(Step::Refused),
            (Holder::File(path), _) => KeySigner::File {
                path: path.clone(),
                asker,
                memory,
            },
        };
        let user = self.hop.user.clone();
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
                Err(NoSignature::Skip(note)) => Ok(Err(note)),
                Err(NoSignature::SessionOver) => Err(()),
            }
        };
        let result = match answer(asker, self.spent, trying).await {
            Answered::Answer(Ok(result)) => Answered::Answer(result),
            Answered::Answer(Err(note)) => {
                self.notes.push(note);
                return Ok(Step::Refused);
            }
            Answered::Lost => Answered::Lost,
            Answered::Silent => Answered::Silent,
        };
        self.tried.push(offer.described());
        let step = self.judge(result)?;
        if matches!(step, Step::Refused) {
            self.spend(Spent::Keys);
        }
        Ok(step)
    }

    /// A file that hides its public half has to be decrypted before it can be offered.
    async fn hidden_public(&mut self, offer: &Candidate) -> Result<Option<PublicKey>, LayerError> {
        let Holder::File(path) = &offer.holder else {
            return Ok(None);
        };
        match signer::private_key(path, None, self.asker, self.memory).await {
            Ok(key) => Ok(Some(key.public_key().clone())),
            Err(NoSignature::Skip(note)) => {
                self.notes.push(note);
                Ok(None)
            }
            Err(NoSignature::SessionOver) => Err(self.lost()),
        }
    }

    /// The hash for RSA signatures; `None` when the server takes SHA-1 only.
    async fn rsa_hash(&mut self) -> Result<Option<HashAlg>, LayerError> {
        match answer(
            self.asker,
            self.spent,
            self.handle.best_supported_rsa_hash(),
        )
        .await
        {
            Answered::Answer(Some(best)) => Ok(best),
            // Servers that do not say it take SHA-2 since 2016.
            Answered::Answer(None) => Ok(Some(HashAlg::Sha512)),
            Answered::Lost => Err(self.lost()),
            Answered::Silent => Err(self.silent()),
        }
    }

    /// The server's own questions, in as many rounds as it likes.
    pub(super) async fn with_questions(&mut self) -> Result<Step, LayerError> {
        if !self.asker.is_interactive() {
            // Once begun, russh leaves this method only by an answer or the end of the connection.
            self.notes
                .push("the server has questions and nobody can be asked".into());
            return Ok(Step::Refused);
        }
        for _ in 0..self.hop.password_prompts {
            let user = self.hop.user.clone();
            // Some servers ask nothing and call the person's phone.
            self.spend(Spent::Answers);
            let start = self
                .handle
                .authenticate_keyboard_interactive_start(user, None::<String>);
            let first = answer(self.asker, self.spent, start).await;
            let (step, asked) = self.answer_rounds(first).await?;
            match step {
                Step::Refused
                    if asked && self.allowed.contains(&MethodKind::KeyboardInteractive) => {}
                Step::In(_) => return Ok(Step::In("keyboard-interactive".into())),
                other => return Ok(other),
            }
        }
        Ok(Step::Refused)
    }

    /// Answers rounds until the server decides; also whether it asked anything.
    async fn answer_rounds(
        &mut self,
        mut reply: Answered<KeyboardInteractiveAuthResponse>,
    ) -> Result<(Step, bool), LayerError> {
        let mut asked = false;
        for _ in 0..MAX_ROUNDS {
            let (name, instructions, prompts) = match reply {
                Answered::Answer(KeyboardInteractiveAuthResponse::InfoRequest {
                    name,
                    instructions,
                    prompts,
                }) => (name, instructions, prompts),
                Answered::Answer(KeyboardInteractiveAuthResponse::Success) => {
                    return Ok((Step::In(String::new()), asked));
                }
                Answered::Answer(KeyboardInteractiveAuthResponse::Failure {
                    remaining_methods,
                    partial_success,
                }) => {
                    if asked {
                        self.tried.push("keyboard-interactive".into());
                    }
                    let step = self.judge_failure(remaining_methods, partial_success)?;
                    return Ok((step, asked));
                }
                Answered::Lost => return Err(self.lost()),
                Answered::Silent => return Err(self.silent()),
            };
            let mut answers = Vec::new();
            if !prompts.is_empty() {
                asked = true;
                let prompt = Prompt::KeyboardInteractive {
                    login: self.login(),
                    name: printable(&name, QUESTION_CHARS),
                    instructions: printable(&instructions, QUESTION_CHARS),
                    questions: prompts
                        .iter()
                        .map(|prompt| (printable(&prompt.prompt, QUESTION_CHARS), prompt.echo))
                        .collect(),
                };
                match self.asker.ask(prompt).await {
                    Answer::Texts(texts) if texts.len() == prompts.len() => answers = texts,
                    Answer::Secret(text) if prompts.len() == 1 => answers.push(text),
                    _ => return Err(self.cancelled()),
                }
            }
            let answers = answers
                .iter()
                .map(|text| text.expose().to_owned())
                .collect();
            let respond = self
                .handle
                .authenticate_keyboard_interactive_respond(answers);
            reply = answer(self.asker, self.spent, respond).await;
        }
        Err(self.silent())
    }

    /// The account's password: the one that worked last time, else a question.
    pub(super) async fn with_password(&mut self) -> Result<Step, LayerError> {
        let login = self.login();
        if let Some(password) = self.memory.password(&login) {
            let step = self.try_password(&login, password).await?;
            if !matches!(step, Step::Refused) {
                return Ok(step);
            }
        }
        if !self.asker.is_interactive() {
            self.notes
                .push("the server takes a password and nobody can be asked".into());
            return Ok(Step::Refused);
        }
        for attempt in 1..=self.hop.password_prompts {
            if !self.allowed.contains(&MethodKind::Password) {
                break;
            }
            let prompt = Prompt::Password {
                login: login.clone(),
                attempt,
            };
            self.spend(Spent::Answers);
            let Answer::Secret(password) = self.asker.ask(prompt).await else {
                return Err(self.cancelled());
            };
            let step = self.try_password(&login, password).await?;
            if !matches!(step, Step::Refused) {
                return Ok(step);
            }
        }
        Ok(Step::Refused)
    }

    async fn try_password(&mut self, login: &str, password: Secret) -> Result<Step, LayerError> {
        let user = self.hop.user.clone();
        let text = password.expose().to_owned();
        self.spend(Spent::Answers);
        let trying = self.handle.authenticate_password(user, text);
        let result: Answered<AuthResult> = answer(self.asker, self.spent, trying).await;
        let step = match self.judge(result)? {
            Step::In(_) => Step::In("password".into()),
            other => other,
        };
        match step {
            Step::Refused => {
                if !self.tried.iter().any(|tried| tried == "password") {
                    self.tried.push("password".into());
                }
                self.memory.set_password(login, None);
            }
            Step::In(_) | Step::Partial => self.memory.set_password(login, Some(password)),
        }
        Ok(step)
    }
}
