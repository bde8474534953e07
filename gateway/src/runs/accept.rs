//! From a message to a run that waits for its turn: committed first, then told, once a key.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::model::{Accepted, Run, RunKind, Submit, SubmitStatus};
use super::service::{Inner, RunError};
use crate::events::DomainEvent;
use crate::sessions::{ChangeReason, NewMessage, Role, SessionEvent};
use crate::store::{Accept, AcceptOutcome, AcceptedRun, now_ms};

/// Longest message, in bytes: it is told to every reader more than once, and a reader who takes it as it
/// comes must not look like one who takes nothing.
pub(super) const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

type Result<T> = std::result::Result<T, RunError>;

impl Inner {
    /// Accepts a message, see [`super::Runs::submit`].
    pub(super) async fn submit(self: Arc<Self>, submit: Submit) -> Result<Accepted> {
        if submit.message.trim().is_empty() {
            return Err(RunError::EmptyMessage);
        }
        if submit.message.len() > MAX_MESSAGE_BYTES {
            return Err(RunError::LongMessage);
        }
        let key = submit.session_key.clone();
        if !self.models.has_agent(key.agent_id()) {
            return Err(RunError::UnknownAgent {
                id: key.agent_id().to_owned(),
            });
        }
        let hash = body_hash(submit.kind, &submit.params_canonical_json);
        if let Some(known) = self.store.get(&submit.idempotency_key).await? {
            return self.answer_known(&known, &hash);
        }
        let order = self.turn(&key).await;
        {
            let state = self.state();
            if state.stopping {
                return Err(RunError::Stopping);
            }
            if !state.queue.has_room(&key) {
                return Err(RunError::Busy);
            }
        }
        let at = now_ms();
        let message = NewMessage {
            run_id: Some(submit.idempotency_key.to_string()),
            ..NewMessage::text(Role::User, submit.message, at)
        };
        let accept = Accept {
            run_id: submit.idempotency_key,
            session_key: key,
            kind: submit.kind,
            body_hash: hash,
            options: submit.options,
            message,
            at,
        };
        let accepted = match self.store.accept(accept).await? {
            AcceptOutcome::Existing(known) => return self.answer_known(&known, &hash),
            AcceptOutcome::Accepted(accepted) => *accepted,
        };
        let answer = answer(&accepted.run, SubmitStatus::Started);
        self.tell_accepted(&accepted);
        self.enqueue(&accepted.run);
        drop(order);
        Self::pump(&self);
        Ok(answer)
    }

    fn tell_accepted(&self, accepted: &AcceptedRun) {
        let key = &accepted.run.session_key;
        let session = Arc::new(accepted.session.clone());
        let changed = |reason| {
            DomainEvent::Session(SessionEvent::Changed {
                key: key.clone(),
                reason,
                run_id: Some(accepted.run.run_id.to_string()),
                session: Some(session.clone()),
                at: accepted.run.created_at,
            })
        };
        if accepted.created_session {
            self.emit(changed(ChangeReason::Create));
        }
        self.emit(DomainEvent::Session(SessionEvent::Message {
            key: key.clone(),
            message: Arc::new(accepted.message.clone()),
        }));
        self.emit(changed(ChangeReason::Send));
    }
}

pub(super) fn answer(run: &Run, status: SubmitStatus) -> Accepted {
    Accepted {
        run_id: run.run_id.clone(),
        session_key: run.session_key.clone(),
        session_id: run.session_id.clone(),
        accepted_at: run.created_at,
        status,
    }
}

pub(super) fn body_hash(kind: RunKind, params_canonical_json: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(kind.as_str());
    hash.update([0]);
    hash.update(params_canonical_json);
    hash.finalize().into()
}
