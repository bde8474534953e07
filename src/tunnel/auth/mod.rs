//! Signing in: certificates, agent and key files, the server's questions, a password, and the reasons
//! when none worked.

mod agent;
mod algorithm;
mod candidates;
mod certificate;
pub mod checkup;
mod keep;
mod key_file;
mod keys;
mod offers;
mod password;
mod questions;
mod signer;
mod spent;
mod verdict;
mod watch;

pub(crate) use watch::SignInFiles;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Handle};
use russh::keys::{HashAlg, PrivateKey};
use russh::{MethodKind, MethodSet};

use crate::layer::{Layer, LayerError, printable};

use super::asker::{Asker, Person};
use super::connection::{Diagnostics, Hook, Report};
use super::memory::Memory;
use super::spec::{AuthMethod, HopSpec};

use spent::Spent;

/// Servers ask for one or two factors; more is a loop.
const MAX_FACTORS: usize = 4;
/// How much of a server's banner is shown in one row.
const BANNER_CHARS: usize = 300;

/// What one method came to.
enum Step {
    /// Signed in; how, for the status row.
    In(String),
    /// Accepted, but the server wants another factor.
    Partial,
    /// Not accepted.
    Refused,
}

/// How a sign-in went.
#[derive(Debug)]
pub(crate) struct SignedIn {
    /// For the status row.
    pub(crate) how: String,
    /// A person was needed and will be needed again: nothing that we remember would do.
    pub(crate) by_person: bool,
}

/// Signs in to one server. Questions go to `person`, and end with the connection.
pub(crate) async fn sign_in(
    handle: &mut Handle<Hook>,
    hop: &HopSpec,
    person: &Person,
    memory: &Memory,
    diagnostics: &Diagnostics,
    report: &Report,
) -> Result<SignedIn, LayerError> {
    let mut sign_in = SignIn {
        handle,
        hop,
        person,
        memory,
        diagnostics,
        report,
        allowed: MethodSet::empty(),
        tried: Vec::new(),
        notes: Vec::new(),
        accepted: Vec::new(),
        spent: Spent::Nothing,
        round_trip: Duration::ZERO,
        banners_before_decision: None,
        rsa_hash: None,
        to_keep: None,
        by_person: false,
    };
    let how = sign_in.run().await?;
    Ok(SignedIn {
        how,
        by_person: sign_in.by_person,
    })
}

/// One sign-in under way.
struct SignIn<'a> {
    handle: &'a mut Handle<Hook>,
    hop: &'a HopSpec,
    person: &'a Person,
    memory: &'a Memory,
    diagnostics: &'a Diagnostics,
    report: &'a Report,
    /// What the server would still accept.
    allowed: MethodSet,
    /// What was offered and refused, for the message.
    tried: Vec<String>,
    /// What kept something from being offered, for the message.
    notes: Vec<String>,
    /// Keys that were accepted as one factor of several.
    accepted: Vec<String>,
    /// What the server got to see.
    spent: Spent,
    /// How long the server's first answer took.
    round_trip: Duration,
    /// How many banners had come when the server was shown a proof that it may have accepted. What it
    /// says after that is about the account.
    banners_before_decision: Option<usize>,
    /// The server's best hash for RSA, once known.
    rsa_hash: Option<Option<HashAlg>>,
    /// The private key of the file that signed in, and its name.
    to_keep: Option<(Arc<PrivateKey>, String)>,
    /// A person answered something that cannot be answered again without them.
    by_person: bool,
}

impl SignIn<'_> {
    async fn run(&mut self) -> Result<String, LayerError> {
        // Asking with no method at all is how a client learns which methods there are; servers do not
        // count it as a failed try.
        let user = self.hop.user.clone();
        let started = tokio::time::Instant::now();
        let first = self.handle.authenticate_none(user);
        let first = answer(&self.person.asker, self.spent, first).await;
        self.round_trip = started.elapsed();
        match self.judge(first)? {
            Step::In(_) => return Ok("the server asks for nothing".into()),
            Step::Partial | Step::Refused => {}
        }
        let mut factors: Vec<String> = Vec::new();
        for _ in 0..MAX_FACTORS {
            match self.next_factor().await? {
                Some((Step::In(how), _)) => {
                    factors.push(how);
                    return Ok(self.welcomed(factors.join(" + ")).await);
                }
                Some((_, method)) => factors.push(word(method).to_owned()),
                None => return Err(self.refused()),
            }
        }
        Err(self.refused())
    }

    /// Signed in: what is left to do, and the text of the status row.
    async fn welcomed(&mut self, how: String) -> String {
        let mut text = how;
        if let Some((key, name)) = self.to_keep.take() {
            text.push_str(&keep::add(self.hop, &key, &name, self.person).await);
        }
        let banner = self.diagnostics.banner();
        if !banner.is_empty() {
            text.push_str(&format!(" · it says: {}", printable(&banner, BANNER_CHARS)));
        }
        text
    }

    /// Tries the methods that are left until one is accepted, at least in part.
    async fn next_factor(&mut self) -> Result<Option<(Step, AuthMethod)>, LayerError> {
        for method in self.hop.auth_methods.clone() {
            if !self.allowed.contains(&kind(method)) {
                continue;
            }
            self.report.busy(
                Layer::SignIn,
                &format!("{} as {}", word(method), self.hop.user),
            );
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
        if remaining.is_empty() && (self.handle.is_closed() || self.person.life.is_over()) {
            return Err(self.lost());
        }
        self.allowed = remaining;
        self.banners_before_decision = None;
        Ok(if partial {
            Step::Partial
        } else {
            Step::Refused
        })
    }

    /// Remembers what the server got to see.
    fn spend(&mut self, what: Spent) {
        self.spent = self.spent.max(what);
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn tried(&mut self, what: &str) {
        if !self.tried.iter().any(|tried| tried == what) {
            self.tried.push(what.to_owned());
        }
    }

    /// The server is about to see a proof that it may accept.
    fn expect_decision(&mut self) {
        self.banners_before_decision = Some(self.diagnostics.banners());
    }

    /// Shows what the server said before it asks, for it may be what the question is about.
    fn show_banner(&self) {
        let banner = self.diagnostics.banner();
        if !banner.is_empty() {
            let said = printable(&banner, BANNER_CHARS);
            let text = format!("{} says: {said}", self.hop.alias);
            self.report.busy(Layer::SignIn, &text);
        }
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
