//! Signing in: agent and key files, the server's questions, a password, and the reasons when none worked.

mod agent;
mod candidates;
mod interactive;
mod key_file;
mod signer;
mod spent;

use std::future::Future;
use std::path::Path;

use russh::client::{AuthResult, Handle};
use russh::{MethodKind, MethodSet};

use crate::layer::{Layer, LayerError, Retry, printable};

use super::asker::Asker;
use super::connection::{Diagnostics, Hook, Report};
use super::memory::Memory;
use super::spec::{AuthMethod, HopSpec};
use super::transport::Lifeline;

use spent::Spent;

/// Servers ask for one or two factors; more is a loop.
const MAX_FACTORS: usize = 4;

/// What one method came to.
enum Step {
    /// Signed in; how, for the status row.
    In(String),
    /// Accepted, but the server wants another factor.
    Partial,
    /// Not accepted.
    Refused,
}

/// Signs in to one server; how it went, for the status row.
pub(crate) async fn sign_in(
    handle: &mut Handle<Hook>,
    hop: &HopSpec,
    asker: &Asker,
    memory: &Memory,
    diagnostics: &Diagnostics,
    life: &Lifeline,
    report: &Report,
) -> Result<String, LayerError> {
    let mut sign_in = SignIn {
        handle,
        hop,
        asker,
        memory,
        diagnostics,
        life,
        report,
        allowed: MethodSet::empty(),
        tried: Vec::new(),
        notes: Vec::new(),
        spent: Spent::Nothing,
    };
    sign_in.run().await
}

/// One sign-in under way.
struct SignIn<'a> {
    handle: &'a mut Handle<Hook>,
    hop: &'a HopSpec,
    asker: &'a Asker,
    memory: &'a Memory,
    diagnostics: &'a Diagnostics,
    life: &'a Lifeline,
    report: &'a Report,
    /// What the server would still accept.
    allowed: MethodSet,
    /// What was offered and refused, for the message.
    tried: Vec<String>,
    /// What kept something from being offered, for the message.
    notes: Vec<String>,
    /// What the server got to see.
    spent: Spent,
}

impl SignIn<'_> {
    async fn run(&mut self) -> Result<String, LayerError> {
        // Asking with no method at all is how a client learns which methods there are; servers do not
        // count it as a failed try.
        let user = self.hop.user.clone();
        let first = self.handle.authenticate_none(user);
        let first = answer(self.asker, self.spent, first).await;
        match self.judge(first)? {
            Step::In(_) => return Ok("the server asks for nothing".into()),
            Step::Partial | Step::Refused => {}
        }
        let mut factors: Vec<String> = Vec::new();
        let mut used: Vec<AuthMethod> = Vec::new();
        for _ in 0..MAX_FACTORS {
            match self.next_factor(&mut used).await? {
                Some((Step::In(how), _)) => {
                    factors.push(how);
                    return Ok(factors.join(" + "));
                }
                Some((_, method)) => factors.push(word(method).to_owned()),
                None => return Err(self.refused()),
            }
        }
        Err(self.refused())
    }

    /// Tries the methods that are left until one is accepted, at least in part.
    async fn next_factor(
        &mut self,
        used: &mut Vec<AuthMethod>,
    ) -> Result<Option<(Step, AuthMethod)>, LayerError> {
        for method in self.hop.auth_methods.clone() {
            if used.contains(&method) || !self.allowed.contains(&kind(method)) {
                continue;
            }
            self.report.busy(
                Layer::SignIn,
                &format!("{} as {}", word(method), self.hop.user),
            );
            used.push(method);
            let step = match method {
                AuthMethod::PublicKey => self.with_keys().await?,
                AuthMethod::KeyboardInteractive => self.with_questions().await?,
                AuthMethod::Password => self.with_password().await?,
            };
            match step {
                Step::In(how) => return Ok(Some((Step::In(how), method))),
                Step::Partial => return Ok(Some((Step::Partial, method))),
                Step::Refused => {}
            }
        }
        Ok(None)
    }

    /// `user@host`, as questions name it.
    fn login(&self) -> String {
        let (user, host) = (&self.hop.user, &self.hop.alias);
        match self.hop.port {
            22 => format!("{user}@{host}"),
            port => format!("{user}@{host}:{port}"),
        }
    }

    /// Reads russh's result of one try. A refusal without methods on a closed connection is a lost
    /// connection.
    fn judge(&mut self, result: Answered<AuthResult>) -> Result<Step, LayerError> {
        match result {
            Answered::Answer(AuthResult::Success) => Ok(Step::In(String::new())),
            Answered::Answer(AuthResult::Failure {
                remaining_methods,
                partial_success,
            }) => self.judge_failure(remaining_methods, partial_success),
            Answered::Lost => Err(self.lost()),
            Answered::Silent => Err(self.silent()),
        }
    }

    fn judge_failure(&mut self, remaining: MethodSet, partial: bool) -> Result<Step, LayerError> {
        if remaining.is_empty() && (self.handle.is_closed() || self.life.is_over()) {
            return Err(self.lost());
        }
        self.allowed = remaining;
        Ok(if partial {
            Step::Partial
        } else {
            Step::Refused
        })
    }

    fn lost(&self) -> LayerError {
        let server = &self.hop.alias;
        match self.diagnostics.parting() {
            Some(words) if words.contains("Too many authentication") => self
                .error(format!(
                    "{server} ended the sign-in after too many tries{}",
                    self.what_was_tried()
                ))
                .peer(&words)
                .next("name the right key with -i, and IdentitiesOnly yes keeps the others back")
                .retry(Retry::Attention),
            parting => {
                let words = parting.unwrap_or_default();
                self.error(format!(
                    "the connection to {server} was lost while signing in"
                ))
                .peer(&words)
                .retry(self.spent.retry())
            }
        }
    }

    fn silent(&self) -> LayerError {
        self.error(format!(
            "{} did not answer the sign-in within {} s",
            self.hop.alias,
            self.spent.patience().as_secs()
        ))
        .retry(self.spent.retry())
    }

    /// Remembers what the server got to see.
    fn spend(&mut self, what: Spent) {
        self.spent = self.spent.max(what);
    }

    /// Nothing worked.
    fn refused(&self) -> LayerError {
        let what = format!(
            "{} refused to let {} in{}",
            self.hop.alias,
            self.hop.user,
            self.what_was_tried()
        );
        let allowed: Vec<&str> = self.allowed.iter().map(Into::into).collect();
        let next = if self.notes.iter().any(|note| note.contains("passphrase")) {
            "ssh-add the key, or run in a terminal where it can be asked for".to_owned()
        } else if allowed.is_empty() {
            "name a key with -i, or add yours to authorized_keys there".to_owned()
        } else {
            format!(
                "name a key with -i, or add yours to authorized_keys there; it takes {}",
                printable(&allowed.join(", "), 120)
            )
        };
        self.error(what)
            .peer(&self.diagnostics.banner())
            .next(next)
            .retry(Retry::Attention)
    }

    /// What was offered, and what kept other things from being offered.
    fn what_was_tried(&self) -> String {
        let mut text = if self.tried.is_empty() {
            " (nothing to offer)".to_owned()
        } else {
            format!(" (tried {})", self.tried.join(", "))
        };
        for note in &self.notes {
            text.push_str("; ");
            text.push_str(note);
        }
        text
    }

    fn cancelled(&self) -> LayerError {
        self.error(format!("the sign-in to {} was cancelled", self.hop.alias))
            .retry(Retry::Attention)
    }

    fn error(&self, what: String) -> LayerError {
        LayerError::new(Layer::SignIn, what)
    }
}

/// One answer of the server, or why there is none.
enum Answered<T> {
    Answer(T),
    Lost,
    Silent,
}

/// Waits for one answer; the clock stands still while a person is asked.
async fn answer<T, E>(
    asker: &Asker,
    spent: Spent,
    step: impl Future<Output = Result<T, E>>,
) -> Answered<T> {
    match asker.within(spent.patience(), step).await {
        Ok(Ok(answer)) => Answered::Answer(answer),
        Ok(Err(_)) => Answered::Lost,
        Err(_) => Answered::Silent,
    }
}

fn kind(method: AuthMethod) -> MethodKind {
    match method {
        AuthMethod::PublicKey => MethodKind::PublicKey,
        AuthMethod::KeyboardInteractive => MethodKind::KeyboardInteractive,
        AuthMethod::Password => MethodKind::Password,
    }
}

fn word(method: AuthMethod) -> &'static str {
    match method {
        AuthMethod::PublicKey => "publickey",
        AuthMethod::KeyboardInteractive => "keyboard-interactive",
        AuthMethod::Password => "password",
    }
}

/// A path as people write it, with `~` for the home directory.
fn shown(path: &Path) -> String {
    let home = directories::BaseDirs::new();
    let below = home
        .as_ref()
        .and_then(|dirs| path.strip_prefix(dirs.home_dir()).ok());
    match below {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}
