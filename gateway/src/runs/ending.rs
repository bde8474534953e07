//! How a run ends: it is committed, and then told. Where the store takes no writes, everybody is told
//! that instead: the run has ended, in an error. While the reason may pass, the ending waits in memory
//! with its driver, so that there are never more of them than runs that are answered at the same time;
//! it is stored as it was told, with the whole answer, as soon as the store takes it.

use std::sync::Arc;
use std::time::Duration;

use clawline::backoff::Backoff;
use clawline::layer::printable;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::driver::{changed, emit};
use super::event::{RunErrorKind, RunStep};
use super::machine::Ending;
use super::model::{Run, RunId, RunOutcome, RunState};
use super::service::{BY_REQUEST, Inner};
use crate::events::DomainEvent;
use crate::sessions::{ChangeReason, Message, NewMessage, Part, Role, SessionEvent};
use crate::store::{EndedRun, RunEnd, StoreError, now_ms};

/// The first pause before the store is asked again, and the longest one.
const RETRY_FLOOR: Duration = Duration::from_millis(250);
const RETRY_CAP: Duration = Duration::from_secs(5);
/// How long a store that is busy is asked again before that is told.
const BUSY_PATIENCE: Duration = Duration::from_secs(60);
/// Most of a provider's words that the log keeps, in characters.
const MAX_LOGGED: usize = 300;

type Result<T> = std::result::Result<T, StoreError>;

/// Asks the store until it answers or fails for good. When the gateway stops, or `abort` is cancelled,
/// one more failure is the answer.
pub(super) async fn patiently<T, F, Fut>(
    inner: &Inner,
    abort: Option<&CancellationToken>,
    run_id: &RunId,
    ask: F,
) -> Result<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut pause = Backoff::new(RETRY_FLOOR, RETRY_CAP);
    let mut has_failed = false;
    loop {
        // Looked at first: what is cancelled while the store is asked gets one try more.
        let is_last = inner.shutdown.is_cancelled() || abort.is_some_and(|a| a.is_cancelled());
        let answer = ask().await;
        match &answer {
            Err(error) if error.is_passing() && !is_last => {
                if !has_failed {
                    tracing::warn!(run = %run_id, %error, "the run waits for the store");
                }
                has_failed = true;
            }
            _ => {
                if has_failed && answer.is_ok() {
                    tracing::info!(run = %run_id, "the store serves the run again");
                }
                return answer;
            }
        }
        let aborted = async {
            match abort {
                Some(abort) => abort.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = inner.shutdown.cancelled() => {}
            () = aborted => {}
            () = tokio::time::sleep(pause.next_delay()) => {}
        }
    }
}

/// Commits the end and tells everybody. Where the store does not take it, that is told instead, and
/// it is committed later as it was told, if that is possible.
pub(super) async fn end(inner: &Inner, run: &Run, ending: Ending) {
    let at = now_ms();
    let error = match promptly(inner, || inner.store.finish(run_end(run, &ending, at))).await {
        Ok(ended) => return settle(inner, run, ending, ended),
        Err(error) => error,
    };
    let told = lose(inner, run, ending, at, &error).await;
    if !error.is_passing() {
        return;
    }
    let finish = || inner.store.finish(run_end(run, &told, at));
    match patiently(inner, None, &run.run_id, finish).await {
        Ok(ended) => {
            inner.lost.forget(&run.run_id);
            if let Some(ended) = ended {
                tell_kept(inner, ended);
            }
        }
        Err(error) => {
            tracing::error!(run = %run.run_id, %error, "the end of the run was never stored");
        }
    }
}

/// Asks the store, and once more while it is only busy, as long as nobody need be told.
async fn promptly<T, F, Fut>(inner: &Inner, ask: F) -> Result<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let begun = Instant::now();
    let mut pause = Backoff::new(RETRY_FLOOR, RETRY_CAP);
    loop {
        let is_last = inner.shutdown.is_cancelled();
        let answer = ask().await;
        match &answer {
            Err(error) if !is_last && !is_worth_telling(error, begun.elapsed()) => {}
            _ => return answer,
        }
        tokio::select! {
            () = inner.shutdown.cancelled() => {}
            () = tokio::time::sleep(pause.next_delay()) => {}
        }
    }
}

/// Whether a run's end that the store has not taken for so long is told as such.
fn is_worth_telling(error: &StoreError, since: Duration) -> bool {
    !matches!(error, StoreError::Busy) || since >= BUSY_PATIENCE
}

/// As [`end`], with one try, for somebody who waits: true when this is how the run ended. After an
/// error the run is as it was.
pub(super) async fn try_end(inner: &Inner, run: &Run, ending: Ending) -> Result<bool> {
    let ended = inner.store.finish(run_end(run, &ending, now_ms())).await?;
    let is_ended = ended.is_some();
    settle(inner, run, ending, ended);
    Ok(is_ended)
}

fn settle(inner: &Inner, run: &Run, ending: Ending, ended: Option<EndedRun>) {
    match ended {
        Some(ended) => {
            if let Some((_, error)) = &ending.error {
                let (session, error) = (run.session_key.as_str(), printable(error, MAX_LOGGED));
                tracing::warn!(run = %run.run_id, session, error, "the run failed");
            }
            inner.close(&run.run_id, Some(ended.run.outcome()));
            tell_end(inner, ending, ended);
        }
        // Somebody else ended it first, and told.
        None => inner.close(&run.run_id, None),
    }
}

/// Tells everybody that the end could not be stored, and returns it as it was told. The store has the
/// run as unfinished until it takes this, or the next start; until then this process knows better.
async fn lose(inner: &Inner, run: &Run, ending: Ending, at: i64, error: &StoreError) -> Ending {
    tracing::error!(run = %run.run_id, %error, "the end of the run was not stored");
    let (kind, text) = match (&ending.error, ending.state) {
        (Some((kind, words)), _) => (
            *kind,
            format!("{words} (this could not be stored: {error})"),
        ),
        (None, RunState::Aborted) => (
            RunErrorKind::Unknown,
            format!("it was stopped, but that could not be stored: {error}"),
        ),
        (None, _) => (
            RunErrorKind::Unknown,
            format!("the answer could not be stored: {error}"),
        ),
    };
    let told = Ending {
        state: RunState::Error,
        stop_reason: "error".to_owned(),
        error: Some((kind, text.clone())),
        ..ending
    };
    let outcome = RunOutcome {
        state: told.state,
        text: String::new(),
        error: Some(text.clone()),
        stop_reason: Some(told.stop_reason.clone()),
        ended_at: Some(at),
        ..run.outcome()
    };
    inner.lose(outcome);
    if let Ok(Some(mut session)) = inner.sessions.get(&run.session_key).await {
        let last = session.last_run.as_mut();
        if let Some(last) = last.filter(|last| last.run_id == run.run_id.as_str()) {
            last.state = RunState::Error.as_str().to_owned();
            last.ended_at = Some(at);
        }
        changed(inner, run, Some(session), ChangeReason::RunFailed);
    }
    let step = RunStep::Error {
        kind,
        text,
        partial: None,
        started_at: run.started_at,
    };
    emit(inner, run, told.seq, step);
    told
}

/// Tells everybody what was kept of a run whose end has been told.
fn tell_kept(inner: &Inner, ended: EndedRun) {
    let EndedRun {
        run,
        message,
        session,
    } = ended;
    tell_message(inner, &run, message.map(Arc::new).as_ref());
    changed(inner, &run, session, ChangeReason::RunFailed);
}

fn tell_message(inner: &Inner, run: &Run, message: Option<&Arc<Message>>) {
    if let Some(message) = message {
        inner.emit(DomainEvent::Session(SessionEvent::Message {
            key: run.session_key.clone(),
            message: message.clone(),
        }));
    }
}

/// What the store is to write about an ending.
pub(super) fn run_end(run: &Run, ending: &Ending, at: i64) -> RunEnd {
    let error = ending.error.as_ref().map(|(_, text)| text.clone());
    let mut content = Vec::new();
    if !ending.thinking.is_empty() {
        content.push(Part::Thinking {
            thinking: ending.thinking.clone(),
        });
    }
    if !ending.text.is_empty() {
        content.push(Part::text(&ending.text));
    }
    // An abort before the first word leaves nothing worth a message; a failure is worth one.
    let is_worth_it = !content.is_empty() || ending.state != RunState::Aborted;
    let message = NewMessage {
        content,
        run_id: Some(run.run_id.to_string()),
        provider: run.provider.clone(),
        model: run.model.clone(),
        stop_reason: Some(ending.stop_reason.clone()),
        usage: ending.usage,
        aborted: ending.state == RunState::Aborted,
        interrupted: ending.state == RunState::Interrupted,
        error: error.clone(),
        ..NewMessage::text(Role::Assistant, "", at)
    };
    RunEnd {
        run_id: run.run_id.clone(),
        state: ending.state,
        text: ending.text.clone(),
        message: is_worth_it.then_some(message),
        usage: ending.usage,
        error,
        stop_reason: Some(ending.stop_reason.clone()),
        at,
    }
}

/// Tells everybody how a run ended.
pub(super) fn tell_end(inner: &Inner, ending: Ending, ended: EndedRun) {
    let EndedRun {
        run,
        message,
        session,
    } = ended;
    let message = message.map(Arc::new);
    tell_message(inner, &run, message.as_ref());
    let reason = match run.state {
        RunState::Error => ChangeReason::RunFailed,
        _ => ChangeReason::RunEnded,
    };
    changed(inner, &run, session, reason);
    let started_at = run.started_at;
    let step = match (ending.error, ending.state, message) {
        (Some((kind, text)), _, partial) => RunStep::Error {
            kind,
            text,
            partial,
            started_at,
        },
        (None, RunState::Done, Some(message)) => RunStep::Final {
            message,
            usage: ending.usage,
            stop_reason: Some(ending.stop_reason),
            started_at,
        },
        (None, RunState::Done, None) => RunStep::Error {
            kind: RunErrorKind::Unknown,
            text: "the conversation was deleted while the answer was written".to_owned(),
            partial: None,
            started_at,
        },
        (None, _, partial) => RunStep::Aborted {
            partial,
            stop_reason: ending.stop_reason,
            started_at,
        },
    };
    emit(inner, &run, ending.seq, step);
}

/// The ending of a run that was stopped on request before its first word.
pub(super) fn aborted(seq: u64) -> Ending {
    plain_ending(seq, RunState::Aborted, BY_REQUEST)
}

/// The ending of a run that never reached a model.
pub(super) fn failed_before(text: String) -> Ending {
    Ending {
        error: Some((RunErrorKind::Unknown, text)),
        ..plain_ending(1, RunState::Error, "error")
    }
}

/// An ending without any answer.
pub(super) fn plain_ending(seq: u64, state: RunState, stop_reason: &str) -> Ending {
    Ending {
        seq,
        state,
        text: String::new(),
        thinking: String::new(),
        usage: None,
        stop_reason: stop_reason.to_owned(),
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_only_busy_gets_its_time_and_a_full_disk_is_told_at_once() {
        let soon = Duration::from_secs(1);
        assert!(!is_worth_telling(&StoreError::Busy, soon));
        assert!(is_worth_telling(&StoreError::Busy, BUSY_PATIENCE));
        assert!(is_worth_telling(&StoreError::Full, Duration::ZERO));
    }
}
