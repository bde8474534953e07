//! Who answers: one trait, the built-in echo, and the model providers behind `genai`.

mod echo;
#[cfg(test)]
mod fake;
mod genai;
#[cfg(test)]
mod genai_tests;

use async_trait::async_trait;
use tokio::sync::mpsc;

pub use echo::Echo;
pub(super) use genai::{Genai, Target};

use super::event::RunErrorKind;
use crate::sessions::Usage;

/// What a model is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelRequest {
    /// The id that the provider knows.
    pub model: String,
    pub system: Option<String>,
    /// The conversation, the question last.
    pub messages: Vec<ModelMessage>,
    /// `minimal`, `low`, `medium`, `high`; absent means as the model likes.
    pub thinking: Option<String>,
    pub max_tokens: Option<u32>,
}

/// One message of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelMessage {
    pub from_user: bool,
    pub text: String,
}

/// What a model sends back, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelEvent {
    Text(String),
    Thinking(String),
    Usage(Usage),
    /// Why it stopped.
    Stop(String),
}

/// A failure in words for a person; never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ProviderError {
    pub kind: RunErrorKind,
    pub text: String,
}

impl ProviderError {
    /// A failure of no particular kind.
    pub fn other(text: impl Into<String>) -> Self {
        Self {
            kind: RunErrorKind::Unknown,
            text: text.into(),
        }
    }
}

/// Answers requests as streams.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Sends the answer into `tx` and returns when it is complete. Dropping the future ends the
    /// request. A closed `tx` is no error.
    async fn stream(
        &self,
        request: ModelRequest,
        tx: mpsc::Sender<ModelEvent>,
    ) -> Result<(), ProviderError>;
}
