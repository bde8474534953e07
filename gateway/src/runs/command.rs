//! Commands that the gateway answers by itself, once a key, without a model.

use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::accept::{answer, body_hash};
use super::event::{RunEvent, RunStep};
use super::model::{Accepted, Run, RunId, RunKind, SubmitStatus};
use super::replace::{stop, stop_held, stops_of};
use super::service::{Inner, RunError, Runs};
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
    /// [`CommandEffect::Stop`] has one of its own: what was stopped.
    pub answer: String,
}

impl CommandSubmit {
    fn hash(&self) -> [u8; 32] {
        body_hash(self.kind, &self.params_canonical_json)
    }
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
            Some(run) => self.inner.answer_known(&run, &hash).map(Some),
            None => Ok(None),
        }
    }

    /// Shows models only this many of the newest messages; `None` without such a session.
    pub async fn compact(&self, key: &SessionKey, keep: u64) -> Result<Option<Compacted>> {
        Ok(self.inner.commands.compact(key, keep).await?)
    }

    /// Carries a command out: its effect, its messages and its key are committed together before
    /// this returns `Started`, so that the same key never does it twice, whatever happens between.
    /// A reset also stops the session's runs: those that wait in the same commit, those that a model
    /// is answering after it.
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

impl Runs {
    /// Stops everything in a session, once a key, and says what was stopped. The key is committed
    /// first, with the runs that it is about; those that wait end in that commit. A second copy of
    /// the request, after whatever, is answered from it and stops nothing that came later.
    ///
    /// Dropping the future changes nothing: what was begun is completed.
    pub async fn halt(&self, command: CommandSubmit) -> Result<Vec<RunId>> {
        let inner = self.inner.clone();
        self.inner
            .tasks
            .spawn(async move { halt(inner, command).await })
            .await
            .unwrap_or(Err(RunError::Inside))
    }
}

/// The runs that the answer of [`Runs::halt`] names, as it is stored.
pub(crate) fn halted(answer: &str) -> Vec<RunId> {
    let ids: Vec<String> = serde_json::from_str(answer).unwrap_or_default();
    ids.iter().filter_map(|id| RunId::parse(id).ok()).collect()
}

fn to_answer(runs: &[RunId]) -> String {
    let ids: Vec<&str> = runs.iter().map(RunId::as_str).collect();
    serde_json::to_string(&ids).unwrap_or_default()
}

async fn halt(inner: Arc<Inner>, command: CommandSubmit) -> Result<Vec<RunId>> {
    let hash = command.hash();
    let turn = inner.turn(&command.session_key).await;
    let committed = commit(&inner, command, &turn).await?;
    drop(turn);
    let (done, chosen) = match committed {
        Committed::New(done, chosen) => (done, chosen),
        Committed::Known(known) => {
            return inner
                .answer_known(&known, &hash)
                .map(|_| halted(&known.text));
        }
    };
    let stopped = stop(&inner, &done.run.session_key, &chosen, done.ended).await;
    if stopped != chosen {
        // Some ended by themselves at the last moment.
        let run_id = &done.run.run_id;
        let amended = inner.commands.amend(run_id, &to_answer(&stopped)).await;
        if let Err(error) = amended {
            tracing::warn!(%error, run = %run_id, "a repeated /stop will name runs that ended by themselves");
        }
    }
    Ok(stopped)
}

async fn carry_out(inner: Arc<Inner>, command: CommandSubmit) -> Result<Accepted> {
    let hash = command.hash();
    let reason = match command.effect {
        CommandEffect::Reset => ChangeReason::Reset,
        CommandEffect::Patch(_) => ChangeReason::Patch,
        CommandEffect::Compact(_) | CommandEffect::Stop | CommandEffect::Nothing => {
            ChangeReason::Send
        }
    };
    let key = command.session_key.clone();
    let turn = inner.turn(&key).await;
    match commit(&inner, command, &turn).await? {
        Committed::Known(known) => inner.answer_known(&known, &hash),
        Committed::New(mut done, chosen) => {
            let accepted = answer(&done.run, SubmitStatus::Started);
            if reason == ChangeReason::Reset {
                let ended = std::mem::take(&mut done.ended);
                let _held = stop_held(&inner, &key, turn, &chosen, ended).await;
                tell(&inner, *done, reason);
            } else {
                tell(&inner, *done, reason);
            }
            Ok(accepted)
        }
    }
}

/// What the store says to a command.
pub(super) enum Committed {
    /// The key was used before.
    Known(Box<Run>),
    /// It is committed; these runs of its session are to be stopped, where they have not ended in it.
    New(Box<DoneCommand>, Vec<RunId>),
}

/// Commits a command in its session's turn, and does nothing yet that the store cannot take back.
pub(super) async fn commit(
    inner: &Inner,
    command: CommandSubmit,
    _turn: &MutexGuard<'_, ()>,
) -> Result<Committed> {
    let (hash, key) = (command.hash(), command.session_key);
    if !inner.models.has_agent(key.agent_id()) {
        let id = key.agent_id().to_owned();
        return Err(RunError::UnknownAgent { id });
    }
    if let Some(known) = inner.store.get(&command.idempotency_key).await? {
        return Ok(Committed::Known(Box::new(known)));
    }
    if inner.is_stopping() {
        return Err(RunError::Stopping);
    }
    let at = now_ms();
    let chosen = match command.effect {
        CommandEffect::Reset | CommandEffect::Stop => inner.of_session(&key),
        _ => Vec::new(),
    };
    let text = match command.effect {
        CommandEffect::Stop => to_answer(&chosen),
        _ => command.answer,
    };
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
            ..NewMessage::text(Role::Assistant, &text, at)
        };
        (question, answer)
    });
    let outcome = inner
        .commands
        .carry_out(Command {
            run_id: command.idempotency_key,
            session_key: key,
            kind: command.kind,
            body_hash: hash,
            effect: command.effect,
            stops: stops_of(&chosen, at),
            messages,
            answer: text,
            at,
        })
        .await?;
    Ok(match outcome {
        CommandOutcome::Existing(known) => Committed::Known(known),
        CommandOutcome::Done(done) => Committed::New(done, chosen),
    })
}

fn tell(inner: &Arc<Inner>, done: DoneCommand, reason: ChangeReason) {
    let DoneCommand {
        run,
        session,
        messages,
        ended: _,
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
    // Of a new conversation nothing is told before it is told of itself.
    let (first, last) = match reason {
        ChangeReason::Reset => (Some(changed), None),
        _ => (None, Some(changed)),
    };
    first.into_iter().for_each(|event| inner.emit(event));
    let answer = Arc::new(answer);
    for message in [Arc::new(question), answer.clone()] {
        let key = key.clone();
        inner.emit(DomainEvent::Session(SessionEvent::Message { key, message }));
    }
    last.into_iter().for_each(|event| inner.emit(event));
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
