//! Commands that the gateway answers by itself, once a key, without a model.

use std::sync::Arc;

use super::event::{RunEvent, RunStep};
use super::model::{Accepted, RunId, RunKind, SubmitStatus};
use super::service::{Inner, RunError, Runs, answer, answer_known, body_hash};
use crate::events::DomainEvent;
use crate::sessions::{ChangeReason, NewMessage, Role, SessionEvent, SessionKey};
use crate::store::{Command, CommandEffect, CommandOutcome, Compacted, DoneCommand, now_ms};

/// Who "wrote" an answer of the gateway, in the words that official clients know.
pub const INJECTED_PROVIDER: &str = "openclaw";
/// The model of an answer of the gateway.
pub const INJECTED_MODEL: &str = "gateway-injected";

type Result<T> = std::result::Result<T, RunError>;

/// A command to be carried out.
#[derive(Debug, Clone)]
pub struct CommandSubmit {
    pub idempotency_key: RunId,
    pub session_key: SessionKey,
    pub kind: RunKind,
    /// As of [`super::Submit`].
    pub params_canonical_json: String,
    /// As it was typed; `None` leaves the transcript as it is.
    pub message: Option<String>,
    pub effect: CommandEffect,
    pub answer: String,
}

impl Runs {
    /// What the same request was answered with before; `None` when its key is new.
    ///
    /// # Errors
    /// The key belongs to another request, or the store failed.
    pub async fn known(
        &self,
        run_id: &RunId,
        kind: RunKind,
        params_canonical_json: &str,
    ) -> Result<Option<Accepted>> {
        let hash = body_hash(kind, params_canonical_json);
        match self.inner.store.get(run_id).await? {
            Some(run) => answer_known(&run, &hash).map(Some),
            None => Ok(None),
        }
    }

    /// Shows models only this many of the newest messages; `None` without such a session.
    pub async fn compact(&self, key: &SessionKey, keep: u64) -> Result<Option<Compacted>> {
        Ok(self.inner.commands.compact(key, keep).await?)
    }

    /// Carries a command out: its effect, its messages and its key are committed together before
    /// this returns `Started`, so that the same key never does it twice, whatever happens between.
    /// A reset stops the session's runs first.
    ///
    /// Dropping the future changes nothing: what was begun is completed.
    pub async fn command(&self, command: CommandSubmit) -> Result<Accepted> {
        let inner = self.inner.clone();
        self.inner
            .tasks
            .spawn(async move { carry_out(inner, command).await })
            .await
            .unwrap_or(Err(RunError::Inside))
    }
}

async fn carry_out(inner: Arc<Inner>, command: CommandSubmit) -> Result<Accepted> {
    let (key, kind) = (command.session_key, command.kind);
    if !inner.models.has_agent(key.agent_id()) {
        let id = key.agent_id().to_owned();
        return Err(RunError::UnknownAgent { id });
    }
    let hash = body_hash(kind, &command.params_canonical_json);
    if let Some(known) = inner.store.get(&command.idempotency_key).await? {
        return answer_known(&known, &hash);
    }
    let reason = match command.effect {
        CommandEffect::Reset => ChangeReason::Reset,
        CommandEffect::Patch(_) => ChangeReason::Patch,
        CommandEffect::Compact(_) | CommandEffect::Nothing => ChangeReason::Send,
    };
    if matches!(command.effect, CommandEffect::Reset) {
        inner.clone().abort(&key, None).await;
    }
    let order = inner.submitting.lock().await;
    if inner.is_stopping() {
        return Err(RunError::Stopping);
    }
    let at = now_ms();
    let run_id = Some(command.idempotency_key.to_string());
    let messages = command.message.map(|typed| {
        let question = NewMessage {
            run_id: run_id.clone(),
            aside: true,
            ..NewMessage::text(Role::User, typed, at)
        };
        let answer = NewMessage {
            run_id,
            provider: Some(INJECTED_PROVIDER.to_owned()),
            model: Some(INJECTED_MODEL.to_owned()),
            stop_reason: Some("stop".to_owned()),
            aside: true,
            ..NewMessage::text(Role::Assistant, &command.answer, at)
        };
        (question, answer)
    });
    let outcome = inner
        .commands
        .carry_out(Command {
            run_id: command.idempotency_key,
            session_key: key,
            kind,
            body_hash: hash,
            effect: command.effect,
            messages,
            answer: command.answer,
            at,
        })
        .await?;
    drop(order);
    match outcome {
        CommandOutcome::Existing(known) => answer_known(&known, &hash),
        CommandOutcome::Done(done) => {
            let accepted = answer(&done.run, SubmitStatus::Started);
            tell(&inner, *done, reason);
            Ok(accepted)
        }
    }
}

fn tell(inner: &Arc<Inner>, done: DoneCommand, reason: ChangeReason) {
    let DoneCommand {
        run,
        session,
        messages,
    } = done;
    let key = run.session_key.clone();
    let changed = DomainEvent::Session(SessionEvent::Changed {
        key: key.clone(),
        reason,
        run_id: Some(run.run_id.to_string()),
        at: session.updated_at,
        session: Some(Arc::new(session)),
    });
    let Some((question, answer)) = messages else {
        inner.emit(changed);
        return;
    };
    let answer = Arc::new(answer);
    for message in [Arc::new(question), answer.clone()] {
        let key = key.clone();
        inner.emit(DomainEvent::Session(SessionEvent::Message { key, message }));
    }
    inner.emit(changed);
    let end = RunEvent {
        run_id: run.run_id,
        session_key: key,
        session_id: run.session_id,
        kind: run.kind,
        seq: 1,
        at: run.updated_at,
        step: RunStep::Answered { message: answer },
    };
    // Clients expect to be told "started" before they are told of the end.
    let later = inner.clone();
    inner.tasks.spawn(async move {
        tokio::task::yield_now().await;
        later.emit(DomainEvent::Run(end));
    });
}
