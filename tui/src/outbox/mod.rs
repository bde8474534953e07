//! Messages on their way: kept on the laptop's disk until the gateway's transcript holds them.

pub(crate) mod drafts;
pub(crate) mod queue;
pub(crate) mod store;

pub(crate) use queue::{Queue, is_same_message};

/// How far a message has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// On the laptop's disk.
    Queued,
    /// Given to the gateway, which has not shown that it keeps it.
    Sent,
    /// In the gateway's transcript.
    Accepted,
    /// Refused, in the gateway's words; kept until it is sent again or thrown away.
    Failed(String),
}

/// A message that the gateway may not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Idempotency key; the gateway makes it the run id. The same on every try.
    pub(crate) key: String,
    /// Session key.
    pub(crate) session: String,
    /// The text.
    pub(crate) text: String,
    /// When it was typed, ms since the epoch.
    pub(crate) at: i64,
    /// How far it has come.
    pub(crate) delivery: Delivery,
}
