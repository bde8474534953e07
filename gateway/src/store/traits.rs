//! What services ask of the store. Each method is one transaction or one read.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use crate::runs::{Run, RunId, RunKind, RunOptions, RunState};
use crate::sessions::{
    AgentId, Deleted, Finds, ListQuery, Message, NewMessage, SearchQuery, Session, SessionKey,
    SessionPage, SessionPatch, Span, Usage,
};

type Result<T> = std::result::Result<T, StoreError>;

/// Conversations and their transcripts.
#[async_trait]
pub trait SessionStore: Send + Sync {
    async fn get(&self, key: &SessionKey) -> Result<Option<Session>>;
    /// By the current transcript's id.
    async fn by_session_id(&self, session_id: &str) -> Result<Option<Session>>;
    async fn by_label(&self, label: &str, agent: Option<&str>) -> Result<Option<Session>>;
    /// The row, made when absent; the flag says that it is new.
    async fn ensure(&self, key: &SessionKey, at: i64) -> Result<(Session, bool)>;
    async fn list(&self, query: &ListQuery) -> Result<SessionPage>;
    /// Messages of current transcripts that have all words, the newest first.
    async fn search(&self, query: &SearchQuery) -> Result<Finds>;
    /// How many sessions an agent has that are not archived; all agents when absent.
    async fn count(&self, agent: Option<&AgentId>) -> Result<u64>;
    /// Applies a checked patch, making the session when absent.
    async fn patch(
        &self,
        key: &SessionKey,
        patch: SessionPatch,
        at: i64,
    ) -> Result<(Session, bool)>;
    /// Gives a new, empty transcript and keeps the old one; makes the session when absent. Of
    /// `stops` it ends those that no model has been given, and returns them.
    async fn reset(
        &self,
        key: &SessionKey,
        stops: Vec<RunEnd>,
        at: i64,
    ) -> Result<(Session, Vec<EndedRun>)>;
    /// Forgets a session; `stops` as in [`Self::reset`].
    async fn delete(
        &self,
        key: &SessionKey,
        with_transcript: bool,
        stops: Vec<RunEnd>,
        at: i64,
    ) -> Result<(Deleted, Vec<EndedRun>)>;
    /// Appends to the current transcript, making the session when absent.
    async fn append(&self, key: &SessionKey, message: NewMessage) -> Result<(Session, Message)>;
    /// At most `limit` messages, the oldest first, and at most [`crate::sessions::MAX_HISTORY_BYTES`] of content unless
    /// it is one; the flag says that more lie beyond.
    async fn messages(
        &self,
        session_id: &str,
        span: Span,
        limit: usize,
    ) -> Result<(Vec<Message>, bool)>;
}

/// A run to be accepted, with the user's message.
#[derive(Debug, Clone)]
pub struct Accept {
    pub run_id: RunId,
    pub session_key: SessionKey,
    pub kind: RunKind,
    pub body_hash: [u8; 32],
    pub options: RunOptions,
    pub message: NewMessage,
    pub at: i64,
}

/// What became of an [`Accept`].
#[derive(Debug, Clone)]
pub enum AcceptOutcome {
    Accepted(Box<AcceptedRun>),
    /// The key was used before; nothing was written.
    Existing(Box<Run>),
}

/// A run that was just committed.
#[derive(Debug, Clone)]
pub struct AcceptedRun {
    pub run: Run,
    pub message: Message,
    pub session: Session,
    pub created_session: bool,
}

/// The last word about a run.
#[derive(Debug, Clone)]
pub struct RunEnd {
    pub run_id: RunId,
    /// A final state.
    pub state: RunState,
    /// The answer, or the part of it that had arrived.
    pub text: String,
    /// What to add to the transcript.
    pub message: Option<NewMessage>,
    pub usage: Option<Usage>,
    pub error: Option<String>,
    pub stop_reason: Option<String>,
    pub at: i64,
}

/// A run whose end was just committed.
#[derive(Debug, Clone)]
pub struct EndedRun {
    pub run: Run,
    pub message: Option<Message>,
    /// Absent when the session was deleted or reset meanwhile.
    pub session: Option<Session>,
}

/// Runs and their idempotency keys.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// User message, run and key in one transaction.
    async fn accept(&self, accept: Accept) -> Result<AcceptOutcome>;
    async fn get(&self, run_id: &RunId) -> Result<Option<Run>>;
    /// Marks it as given to the model; `None` when it was not waiting any more.
    async fn give(
        &self,
        run_id: &RunId,
        provider: &str,
        model: &str,
        at: i64,
    ) -> Result<Option<(Run, Option<Session>)>>;
    /// Keeps the answer so far.
    async fn save_partial(&self, run_id: &RunId, text: &str, at: i64) -> Result<()>;
    /// Ends it; `None` when it had ended before.
    async fn finish(&self, end: RunEnd) -> Result<Option<EndedRun>>;
    /// Accepted and given ones, in the order of their acceptance.
    async fn unfinished(&self) -> Result<Vec<Run>>;
    /// The messages before and including the run's own, as the model should see them: whole turns
    /// in order, without those that still wait. At most `limit`, the newest, and of those that are
    /// older than the run's own no more than fit into `bytes` of content.
    async fn context(&self, run: &Run, limit: usize, bytes: usize) -> Result<Vec<Message>>;
    /// Forgets at most `limit` ended runs that were last touched before `before`; says how many.
    async fn expire(&self, before: i64, limit: usize) -> Result<u64>;
}

/// A paired device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub device_id: String,
    /// base64url, as the device sent it.
    pub public_key: String,
    pub display_name: Option<String>,
    pub platform: Option<String>,
    pub device_family: Option<String>,
    pub client_id: Option<String>,
    pub client_mode: Option<String>,
    pub remote_ip: Option<String>,
    /// Approved without asking a person.
    pub silent: bool,
    pub roles: BTreeMap<String, DeviceRole>,
    pub created_at: i64,
    pub approved_at: i64,
    pub last_seen_at: Option<i64>,
}

/// What a device may do in one role, and the generation of its token there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceRole {
    pub scopes: Vec<String>,
    /// From 1; rotate and revoke raise it.
    pub token_generation: i64,
    /// The token is void until the role is approved again.
    pub revoked_at: Option<i64>,
    pub created_at: i64,
    pub rotated_at: Option<i64>,
    pub last_used_at: Option<i64>,
}

/// An approval: makes the device when absent, and adds the role or replaces its scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceGrant {
    pub device_id: String,
    pub public_key: String,
    pub display_name: Option<String>,
    pub platform: Option<String>,
    pub device_family: Option<String>,
    pub client_id: Option<String>,
    pub client_mode: Option<String>,
    pub remote_ip: Option<String>,
    pub silent: bool,
    pub role: String,
    pub scopes: Vec<String>,
}

/// Paired devices.
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// The newest approval first.
    async fn list(&self) -> Result<Vec<Device>>;
    async fn get(&self, device_id: &str) -> Result<Option<Device>>;
    /// A device id with another public key starts over: all its roles are forgotten first.
    async fn grant(&self, grant: DeviceGrant, at: i64) -> Result<Device>;
    /// Notes that it was seen in this role.
    async fn touch(&self, device_id: &str, role: &str, at: i64) -> Result<()>;
    async fn rename(&self, device_id: &str, name: &str) -> Result<bool>;
    async fn remove(&self, device_id: &str) -> Result<bool>;
    /// Voids the role's token and starts the next generation, with other scopes where given.
    async fn rotate(
        &self,
        device_id: &str,
        role: &str,
        scopes: Option<Vec<String>>,
        at: i64,
    ) -> Result<Option<DeviceRole>>;
    /// Voids the role's token until the next approval.
    async fn revoke(&self, device_id: &str, role: &str, at: i64) -> Result<Option<DeviceRole>>;
}

/// A device that waits for an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingRequest {
    pub request_id: String,
    pub grant: DeviceGrant,
    /// `not-paired`, `role-upgrade`, `scope-upgrade`, `metadata-upgrade`.
    pub reason: String,
    pub created_at: i64,
    pub expires_at: i64,
}

/// A request to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPairing {
    pub grant: DeviceGrant,
    pub reason: String,
    pub at: i64,
    pub expires_at: i64,
}

/// Pending pairing requests.
#[async_trait]
pub trait PairingStore: Send + Sync {
    /// Requests that are still valid at `now`, the oldest first.
    async fn pending(&self, now: i64) -> Result<Vec<PairingRequest>>;
    async fn get(&self, request_id: &str, now: i64) -> Result<Option<PairingRequest>>;
    /// Stores a request. The same device asking for the same keeps its request id (and its expiry);
    /// anything else supersedes, and the ids of what it replaced come back.
    async fn request(&self, new: NewPairing) -> Result<(PairingRequest, Vec<String>)>;
    /// Takes a request away (rejected, or superseded); `None` when it is gone or expired.
    async fn take(&self, request_id: &str, now: i64) -> Result<Option<PairingRequest>>;
    /// Takes a request away and grants it, in one transaction.
    async fn approve(&self, request_id: &str, now: i64)
    -> Result<Option<(PairingRequest, Device)>>;
    /// Forgets what expired; says which.
    async fn expire(&self, now: i64) -> Result<Vec<PairingRequest>>;
}
