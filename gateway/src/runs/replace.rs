//! A conversation that starts over or is deleted, with everything that runs in it.
//!
//! The commit that does it also ends the runs that wait. Those that a model is answering are stopped
//! after it, and belong to the old transcript whatever happens between: a run is never stopped for
//! the sake of a reset that did not take place.

use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::ending::{self, aborted};
use super::hold::{Hold, hold};
use super::model::{RunId, RunState};
use super::service::{BY_REQUEST, Inner, RunError, Runs};
use crate::events::DomainEvent;
use crate::sessions::{ChangeReason, Deleted, Session, SessionEvent, SessionKey};
use crate::store::{EndedRun, RunEnd, now_ms};

type Result<T> = std::result::Result<T, RunError>;

impl Runs {
    /// Starts over under the same key; the old transcript is kept, with the answers that were under
    /// way. Settings and label stay. Everybody is told of it before anything that comes after it.
    ///
    /// Dropping the future changes nothing: what was begun is completed.
    pub async fn start_over(&self, key: &SessionKey) -> Result<Session> {
        let (inner, key) = (self.inner.clone(), key.clone());
        self.inner
            .tasks
            .spawn(async move { start_over(inner, key).await })
            .await
            .unwrap_or(Err(RunError::Inside))
    }

    /// Deletes a session with its runs, its transcript too where asked; the main session is refused,
    /// an unknown one is no error.
    ///
    /// Dropping the future changes nothing: what was begun is completed.
    pub async fn delete(&self, key: &SessionKey, with_transcript: bool) -> Result<Deleted> {
        if key.is_main() {
            return Err(RunError::MainSession { key: key.clone() });
        }
        let (inner, key) = (self.inner.clone(), key.clone());
        self.inner
            .tasks
            .spawn(async move { delete(inner, key, with_transcript).await })
            .await
            .unwrap_or(Err(RunError::Inside))
    }
}

async fn start_over(inner: Arc<Inner>, key: SessionKey) -> Result<Session> {
    let at = now_ms();
    let turn = inner.turn(&key).await;
    let chosen = inner.of_session(&key);
    let stops = stops_of(&chosen, at);
    let (session, ended) = inner.sessions.reset(&key, stops, at).await?;
    let _held = stop_held(&inner, &key, turn, &chosen, ended).await;
    let told = Some(Arc::new(session.clone()));
    tell(&inner, key, ChangeReason::Reset, told, at);
    Ok(session)
}

async fn delete(inner: Arc<Inner>, key: SessionKey, with_transcript: bool) -> Result<Deleted> {
    let at = now_ms();
    let turn = inner.turn(&key).await;
    let chosen = inner.of_session(&key);
    let stops = stops_of(&chosen, at);
    let deleted = inner.sessions.delete(&key, with_transcript, stops, at);
    let (deleted, ended) = deleted.await?;
    let _held = stop_held(&inner, &key, turn, &chosen, ended).await;
    if deleted.deleted {
        tell(&inner, key, ChangeReason::Delete, None, at);
    }
    Ok(deleted)
}

fn tell(
    inner: &Inner,
    key: SessionKey,
    reason: ChangeReason,
    session: Option<Arc<Session>>,
    at: i64,
) {
    inner.emit(DomainEvent::Session(SessionEvent::Changed {
        key,
        reason,
        run_id: None,
        session,
        at,
    }));
}

/// As [`stop`], after a commit that replaced the conversation: it takes a moment, in which the session
/// is held and others go on. It is held until everybody has been told.
pub(super) async fn stop_held(
    inner: &Arc<Inner>,
    key: &SessionKey,
    turn: MutexGuard<'_, ()>,
    chosen: &[RunId],
    ended: Vec<EndedRun>,
) -> Hold {
    let held = hold(inner, key, &turn);
    drop(turn);
    stop(inner, key, chosen, ended).await;
    held
}

/// How runs end that wait when they are stopped.
pub(super) fn stops_of(runs: &[RunId], at: i64) -> Vec<RunEnd> {
    runs.iter().map(|id| stop_of(id, at)).collect()
}

fn stop_of(run_id: &RunId, at: i64) -> RunEnd {
    RunEnd {
        run_id: run_id.clone(),
        state: RunState::Aborted,
        text: String::new(),
        message: None,
        usage: None,
        error: None,
        stop_reason: Some(BY_REQUEST.to_owned()),
        at,
    }
}

/// Tells of the runs that ended in the commit, and ends the other chosen ones. Returns the stopped
/// ones, in their order.
pub(super) async fn stop(
    inner: &Arc<Inner>,
    key: &SessionKey,
    chosen: &[RunId],
    ended: Vec<EndedRun>,
) -> Vec<RunId> {
    let mut stopped = Vec::new();
    for ended in ended {
        inner.unqueue(key, ended.run.outcome());
        stopped.push(ended.run.run_id.clone());
        ending::tell_end(inner, aborted(1), ended);
    }
    let waited = stopped.clone();
    let is_left = move |id: &RunId| chosen.contains(id) && !waited.contains(id);
    stopped.extend(inner.clone().abort(key, is_left).await);
    stopped.sort_by_key(|id| chosen.iter().position(|known| known == id));
    stopped
}
