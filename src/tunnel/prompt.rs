//! Questions the tunnel asks of a person, and their answers.
//!
//! No timer of ours runs while a question is open; dropping the reply counts as [`Answer::Cancel`].

use tokio::sync::{mpsc, oneshot};

use crate::secret::Secret;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// The server's key is not known yet. The only verdict that asks.
    UnknownHostKey {
        /// The name it will be stored under, e.g. `[desktop]:2222`.
        host: String,
        /// The address that answered.
        address: String,
        /// e.g. `ssh-ed25519`.
        algorithm: String,
        /// e.g. `SHA256:6ssET1Dm…`.
        fingerprint: String,
        /// OpenSSH's picture of the key, several lines.
        randomart: String,
        /// Something worth knowing, e.g. that the same key is known under another name; may be empty.
        note: String,
    },
    /// A private key is encrypted.
    Passphrase {
        /// The key file.
        path: String,
        /// 1 for the first try.
        attempt: u32,
    },
    /// The server wants a password.
    Password {
        /// `user@host`.
        login: String,
        /// 1 for the first try.
        attempt: u32,
    },
    /// The server's own questions.
    KeyboardInteractive {
        /// `user@host`.
        login: String,
        /// Title; may be empty.
        name: String,
        /// Instructions; may be empty.
        instructions: String,
        /// Each question, and whether what is typed may be shown.
        questions: Vec<(String, bool)>,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Trust this host key and store it.
    TrustAndRemember,
    /// Trust this host key for this run only.
    TrustOnce,
    /// A passphrase or password.
    Secret(Secret),
    /// One text a question.
    Texts(Vec<Secret>),
    /// No.
    Cancel,
}

/// A question on its way to the person.
#[derive(Debug)]
pub struct PromptRequest {
    /// What is asked.
    pub prompt: Prompt,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer>,
}

/// How to reach the person; `None` inside means that nobody can be asked.
#[derive(Debug, Clone, Default)]
pub struct Prompter(Option<mpsc::Sender<PromptRequest>>);

impl Prompter {
    /// Nobody is there: every question is answered with [`Answer::Cancel`] at once.
    pub fn nobody() -> Self {
        Self(None)
    }

    /// A prompter and the queue that the asking side reads. One question at a time is usual, so the
    /// queue is short.
    pub fn channel() -> (Self, mpsc::Receiver<PromptRequest>) {
        let (tx, rx) = mpsc::channel(4);
        (Self(Some(tx)), rx)
    }

    /// True when a person can be asked.
    pub fn is_interactive(&self) -> bool {
        self.0.as_ref().is_some_and(|tx| !tx.is_closed())
    }

    /// Asks and waits without a deadline. Cancel safe: a dropped call withdraws nothing that was
    /// already shown, and its late answer is discarded.
    pub async fn ask(&self, prompt: Prompt) -> Answer {
        let Some(tx) = &self.0 else {
            return Answer::Cancel;
        };
        let (reply, answer) = oneshot::channel();
        if tx.send(PromptRequest { prompt, reply }).await.is_err() {
            return Answer::Cancel;
        }
        answer.await.unwrap_or(Answer::Cancel)
    }
}
