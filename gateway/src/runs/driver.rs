//! Carries one run out: gives it to the model and streams what comes, to its end.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ending::{aborted, end, failed_before, patiently};
use super::event::{RunEvent, RunStep};
use super::machine::{Effect, Ending, Input, Machine};
use super::model::{Run, RunId, RunState};
use super::models::Chosen;
use super::provider::{ModelMessage, ModelRequest, ProviderError};
use super::service::Inner;
use crate::events::DomainEvent;
use crate::sessions::{ChangeReason, Message, Role, Session, SessionEvent};
use crate::store::{StoreError, now_ms};

/// Pieces between the provider and the run; a provider that is faster waits.
const PIECES: usize = 64;
/// The most messages of a conversation that a model is shown.
const CONTEXT_MESSAGES: usize = 400;
/// The most text of a conversation that a model is shown, in bytes.
const CONTEXT_BYTES: usize = 400 << 10;

/// As [`drive`]; when that breaks, the run ends in an error and its session can go on.
pub(super) async fn drive_safely(inner: &Inner, run_id: &RunId, abort: CancellationToken) {
    let driven = AssertUnwindSafe(drive(inner, run_id, abort)).catch_unwind();
    if driven.await.is_err() {
        tracing::error!(run = %run_id, "the run broke; this is a fault of the gateway");
        let _ = AssertUnwindSafe(broke(inner, run_id)).catch_unwind().await;
    }
}

/// Ends a run that broke, with what was kept of its answer.
async fn broke(inner: &Inner, run_id: &RunId) {
    let run = match patiently(inner, None, run_id, || inner.store.get(run_id)).await {
        Ok(Some(run)) if !run.state.is_final() => run,
        Ok(_) => return,
        Err(error) => {
            tracing::error!(run = %run_id, %error, "the broken run cannot be read");
            match inner.accepted(run_id) {
                Some(run) => run,
                None => return,
            }
        }
    };
    let mut seq = 1;
    inner.progress(run_id, |progress| seq = progress.seq + 1);
    let ending = Ending {
        seq,
        text: run.text.clone(),
        ..failed_before("the gateway failed inside; send the message again".to_owned())
    };
    end(inner, &run, ending).await;
}

/// Drives one run from "accepted" to its end. Never leaves it running, whatever fails: what passes is
/// waited for, and after anything else the run ends in an error.
async fn drive(inner: &Inner, run_id: &RunId, abort: CancellationToken) {
    let read = patiently(inner, Some(&abort), run_id, || inner.store.get(run_id)).await;
    let run = match read {
        Ok(Some(run)) if run.state == RunState::Accepted => run,
        Ok(_) => return,
        Err(error) => return unread(inner, run_id, &abort, error).await,
    };
    if abort.is_cancelled() {
        return end(inner, &run, aborted(1)).await;
    }
    match prepare(inner, &run, &abort).await {
        Ok(Some((run, chosen, request))) => stream(inner, run, chosen, request, abort).await,
        // Aborted in the meantime.
        Ok(None) => {}
        Err(_) if abort.is_cancelled() => end(inner, &run, aborted(1)).await,
        // It stays accepted, and runs at the next start.
        Err(_) if inner.shutdown.is_cancelled() => {}
        Err(text) => end(inner, &run, failed_before(text)).await,
    }
}

/// Ends a run whose row cannot be read.
async fn unread(inner: &Inner, run_id: &RunId, abort: &CancellationToken, error: StoreError) {
    let Some(run) = inner.accepted(run_id) else {
        return;
    };
    if abort.is_cancelled() {
        return end(inner, &run, aborted(1)).await;
    }
    // It stays accepted, and runs at the next start.
    if inner.shutdown.is_cancelled() {
        return;
    }
    tracing::error!(run = %run_id, %error, "the run cannot be read");
    let text = format!("the message could not be read again: {error}");
    end(inner, &run, failed_before(text)).await;
}

/// Chooses the model, marks the run as given, and gathers what the model is asked.
async fn prepare(
    inner: &Inner,
    run: &Run,
    abort: &CancellationToken,
) -> Result<Option<(Run, Chosen, ModelRequest)>, String> {
    let (abort, id) = (Some(abort), &run.run_id);
    let store_failed = |error: StoreError| error.to_string();
    let session = patiently(inner, abort, id, || inner.sessions.get(&run.session_key)).await;
    let settings = session
        .map_err(store_failed)?
        .map(|session| session.settings)
        .unwrap_or_default();
    let chosen = inner
        .models
        .choose(
            run.options.model.as_deref(),
            settings.model.as_deref(),
            run.session_key.agent_id(),
        )
        .map_err(|error| error.to_string())?;
    let read = || inner.store.context(run, CONTEXT_MESSAGES, CONTEXT_BYTES);
    let context = patiently(inner, abort, id, read).await;
    let messages = conversation(context.map_err(store_failed)?);
    let (provider, model) = (&chosen.provider_name, &chosen.model.id);
    let give = || inner.store.give(id, provider, model, now_ms());
    let given = patiently(inner, abort, id, give).await;
    let Some((given, session)) = given.map_err(store_failed)? else {
        return Ok(None);
    };
    changed(inner, &given, session, ChangeReason::RunStarted);
    let thinking = run.options.thinking.clone().or(settings.thinking_level);
    let request = ModelRequest {
        model: chosen.model.id.clone(),
        system: run.options.system_prompt.clone(),
        messages,
        thinking: thinking.filter(|level| level != "off"),
        max_tokens: chosen.model.max_tokens,
    };
    Ok(Some((given, chosen, request)))
}

async fn stream(
    inner: &Inner,
    run: Run,
    chosen: Chosen,
    request: ModelRequest,
    abort: CancellationToken,
) {
    let started_at = run.started_at.unwrap_or_else(now_ms);
    inner.progress(&run.run_id, |progress| {
        progress.seq = 1;
        progress.started_at = Some(started_at);
    });
    let started = RunStep::Started {
        started_at,
        provider: chosen.provider_name.clone(),
        model: chosen.model.id.clone(),
    };
    emit(inner, &run, 1, started);

    let mut deadlines = inner.deadlines;
    if let Some(timeout) = run.options.timeout.filter(|timeout| !timeout.is_zero()) {
        deadlines.whole = timeout;
    }
    let mut machine = Machine::new(Instant::now(), deadlines);
    let (tx, mut rx) = mpsc::channel(PIECES);
    let mut answer = pin!(
        AssertUnwindSafe(chosen.provider.stream(request, tx))
            .catch_unwind()
            .map(|ended| ended.unwrap_or_else(|_| Err(ProviderError::other(
                "the provider failed inside; this is a fault of the gateway"
            ))))
    );
    // The provider's word about its end counts only after its last piece was taken.
    let mut ended = None;
    let mut drained = false;
    loop {
        let input = tokio::select! {
            biased;
            () = abort.cancelled() => Input::Abort,
            () = inner.shutdown.cancelled() => Input::Shutdown,
            piece = rx.recv(), if !drained => match piece {
                Some(piece) => Input::Model(piece),
                None => {
                    drained = true;
                    match ended.take() {
                        Some(word) => Input::Ended(word),
                        None => continue,
                    }
                }
            },
            word = &mut answer, if ended.is_none() => {
                if drained {
                    Input::Ended(word)
                } else {
                    ended = Some(word);
                    continue;
                }
            }
            () = tokio::time::sleep_until(machine.wake_at()) => Input::Wake,
        };
        for effect in machine.on(input, Instant::now()) {
            match effect {
                Effect::Delta { seq, text, delta } => {
                    inner.progress(&run.run_id, |progress| {
                        progress.seq = seq;
                        progress.text = text.clone();
                    });
                    emit(inner, &run, seq, RunStep::Delta { text, delta });
                }
                Effect::Thinking { seq, text, delta } => {
                    inner.progress(&run.run_id, |progress| progress.seq = seq);
                    emit(inner, &run, seq, RunStep::Thinking { text, delta });
                }
                Effect::Save(text) => save(inner, &run, &text).await,
                Effect::End(ending) => return end(inner, &run, named(ending, &chosen)).await,
            }
        }
    }
}

/// Keeps the answer so far. A failure here costs at most the partial text after a crash.
async fn save(inner: &Inner, run: &Run, text: &str) {
    if let Err(error) = inner.store.save_partial(&run.run_id, text, now_ms()).await {
        tracing::warn!(run = %run.run_id, %error, "the answer so far was not stored");
    }
}

/// Puts provider and model before an error, so that a reader knows whose words they are, and a price
/// on the tokens where there is one.
fn named(mut ending: Ending, chosen: &Chosen) -> Ending {
    if let (Some(usage), Some(price)) = (&mut ending.usage, chosen.model.price) {
        usage.cost = Some(price.of(usage));
    }
    if let Some((_, text)) = &mut ending.error {
        *text = format!("{}/{}: {text}", chosen.provider_name, chosen.model.id);
    }
    ending
}

/// The newest whole part of the conversation that fits, beginning with the user's words.
fn conversation(messages: Vec<Message>) -> Vec<ModelMessage> {
    let mut kept = Vec::new();
    for message in messages.into_iter().rev() {
        let text = message.text();
        let from_user = match message.role {
            Role::User => true,
            Role::Assistant => false,
            Role::System | Role::ToolResult => continue,
        };
        if text.is_empty() {
            continue;
        }
        kept.push(ModelMessage { from_user, text });
    }
    while kept.last().is_some_and(|oldest| !oldest.from_user) {
        kept.pop();
    }
    kept.reverse();
    kept
}

pub(super) fn changed(inner: &Inner, run: &Run, session: Option<Session>, reason: ChangeReason) {
    if let Some(session) = session {
        inner.emit(DomainEvent::Session(SessionEvent::Changed {
            key: run.session_key.clone(),
            reason,
            run_id: Some(run.run_id.to_string()),
            at: session.updated_at,
            session: Some(Arc::new(session)),
        }));
    }
}

pub(super) fn emit(inner: &Inner, run: &Run, seq: u64, step: RunStep) {
    inner.emit(DomainEvent::Run(RunEvent {
        run_id: run.run_id.clone(),
        session_key: run.session_key.clone(),
        session_id: run.session_id.clone(),
        kind: run.kind,
        seq,
        at: now_ms(),
        step,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::Part;

    fn message(seq: i64, role: Role, text: &str) -> Message {
        Message {
            id: seq.to_string(),
            session_id: String::new(),
            seq,
            role,
            content: vec![Part::text(text)],
            timestamp: 0,
            run_id: None,
            provider: None,
            model: None,
            stop_reason: None,
            usage: None,
            aborted: false,
            interrupted: false,
            error: None,
            aside: false,
        }
    }

    #[test]
    fn a_model_sees_the_words_of_both_and_begins_with_the_user() {
        let messages = vec![
            message(2, Role::Assistant, "cut off from its question"),
            message(3, Role::System, "note"),
            message(4, Role::User, ""),
            message(5, Role::User, "a"),
            message(6, Role::Assistant, "b"),
            message(7, Role::User, "c"),
        ];
        let seen: Vec<_> = conversation(messages)
            .into_iter()
            .map(|message| (message.from_user, message.text))
            .collect();
        assert_eq!(
            seen,
            [
                (true, "a".to_owned()),
                (false, "b".to_owned()),
                (true, "c".to_owned())
            ]
        );
    }
}
