//! From method name to handler.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use clawline::protocol::error::RpcError;
use clawline::protocol::frame::FrameError;
use clawline::protocol::method::Method;
use clawline::protocol::scope::{Needs, Role};
use clawline::protocol::unread::UnreadRequest;
use clawline::protocol::{Protocol, v3};
use futures_util::FutureExt as _;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::call::{Call, Failure, Replier};
use crate::conn::Conn;
use crate::state::App;

/// How long a call may take when its row says nothing else.
const DEADLINE: Duration = Duration::from_secs(30);

/// All methods.
#[derive(Default)]
pub(crate) struct Table {
    rows: BTreeMap<&'static str, Box<dyn Row>>,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answered, or being worked on.
    Taken,
    /// Answered with a refusal before it was begun.
    Refused,
    /// Refused because the method is the other role's.
    WrongRole,
}

impl Table {
    /// Adds a method with its handler.
    pub(crate) fn on<M, F>(self, handler: fn(App, Call<M>) -> F) -> Self
    where
        M: Method,
        F: Future<Output = Result<M::Reply, Failure>> + Send + 'static,
    {
        self.add(Typed::plain(handler))
    }

    /// Adds a method that writes the configuration: a caller may do that so often and no more.
    pub(crate) fn on_write<M, F>(self, handler: fn(App, Call<M>) -> F) -> Self
    where
        M: Method,
        F: Future<Output = Result<M::Reply, Failure>> + Send + 'static,
    {
        self.add(Typed {
            is_write: true,
            ..Typed::plain(handler)
        })
    }

    /// Adds a method whose calls about one thing follow one another: `lane` names the thing.
    pub(crate) fn on_in_order<M, F>(
        self,
        lane: fn(&App, &M::Params) -> Option<String>,
        handler: fn(App, Call<M>) -> F,
    ) -> Self
    where
        M: Method,
        F: Future<Output = Result<M::Reply, Failure>> + Send + 'static,
    {
        self.add(Typed {
            lane,
            ..Typed::plain(handler)
        })
    }

    /// As [`Table::on_in_order`], for a handler that minds the time itself and ends with the
    /// connection.
    pub(crate) fn on_long<M, F>(
        self,
        lane: fn(&App, &M::Params) -> Option<String>,
        handler: fn(App, Call<M>) -> F,
    ) -> Self
    where
        M: Method,
        F: Future<Output = Result<M::Reply, Failure>> + Send + 'static,
    {
        self.add(Typed {
            lane,
            deadline: None,
            ..Typed::plain(handler)
        })
    }

    fn add<M, F>(mut self, row: Typed<M, F>) -> Self
    where
        M: Method,
        F: Future<Output = Result<M::Reply, Failure>> + Send + 'static,
    {
        let before = self.rows.insert(M::NAME, Box::new(row));
        debug_assert!(before.is_none(), "{} stands in the table twice", M::NAME);
        self
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.rows.keys().copied().collect()
    }

    pub(crate) fn get(&self, method: &str) -> Option<&dyn Row> {
        self.rows.get(method).map(Box::as_ref)
    }
}

/// One method.
pub(crate) trait Row: Send + Sync {
    /// Checks the call and starts it.
    fn start(
        &self,
        app: &App,
        conn: &Arc<Conn>,
        request: UnreadRequest<'_>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Verdict;
}

struct Typed<M: Method, F> {
    handler: fn(App, Call<M>) -> F,
    lane: fn(&App, &M::Params) -> Option<String>,
    deadline: Option<Duration>,
    /// It comes out of the budget of writes.
    is_write: bool,
}

impl<M: Method, F> Typed<M, F> {
    /// Beside other calls, within the usual time.
    fn plain(handler: fn(App, Call<M>) -> F) -> Self {
        Self {
            handler,
            lane: |_, _| None,
            deadline: Some(DEADLINE),
            is_write: false,
        }
    }
}

impl<M, F> Row for Typed<M, F>
where
    M: Method,
    F: Future<Output = Result<M::Reply, Failure>> + Send + 'static,
{
    fn start(
        &self,
        app: &App,
        conn: &Arc<Conn>,
        mut request: UnreadRequest<'_>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Verdict {
        let least = M::least(conn.version);
        if app.policy.unread_params
            && let Some((error, verdict)) = refusal(app, conn, least)
        {
            conn.refuse(&request.id, error, Value::Null, permit);
            return verdict;
        }
        let params = request.params(app.policy.max_values());
        let id = request.id;
        let params = match params {
            Ok(Value::Null) => json!({}),
            Ok(params) => params,
            Err(FrameError::NotAFrame { why, .. } | FrameError::NotJson(why)) => {
                let error = RpcError::invalid(format!("invalid request frame: {why}"));
                conn.refuse(&id, error, Value::Null, permit);
                return Verdict::Refused;
            }
        };
        // More than the least can depend on the parameters.
        let parsed = match serde_json::from_value::<M::Params>(params) {
            Ok(parsed) => parsed,
            Err(error) => {
                let error = RpcError::invalid_params(M::NAME, error);
                conn.refuse(&id, error, Value::Null, permit);
                return Verdict::Refused;
            }
        };
        let needs = M::needs(conn.version, &parsed);
        if let Some((error, verdict)) = refusal(app, conn, needs) {
            conn.refuse(&id, error, Value::Null, permit);
            return verdict;
        }
        if self.is_write
            && app.policy.write_budget
            && let Some(error) = app.writes.refusal(M::NAME, conn)
        {
            conn.refuse(&id, error, Value::Null, permit);
            return Verdict::Refused;
        }
        let lane = (self.lane)(app, &parsed).map(|key| conn.lane(&key));
        let (handler, deadline) = (self.handler, self.deadline);
        let (app_, conn_, id_) = (app.clone(), conn.clone(), id.clone());
        let told = app.clone();
        let work = async move {
            let turn = match lane {
                Some(lane) => Some(lane.lock_owned().await),
                None => None,
            };
            let call = Call {
                params: parsed,
                conn: conn_.clone(),
                replier: Replier {
                    conn: conn_.clone(),
                    id: id.clone(),
                    method: M::NAME,
                },
                turn,
            };
            let work = handler(app_, call);
            let done = match deadline {
                Some(deadline) => timeout(deadline, work)
                    .await
                    .unwrap_or_else(|_| Err(Failure::too_slow(M::NAME, deadline))),
                None => tokio::select! {
                    biased;
                    done = work => done,
                    () = conn_.ending() => return,
                },
            };
            answer::<M>(&told, &conn_, &id, done, permit);
        };
        run(app, conn, M::NAME, &id_, Box::pin(work));
        Verdict::Taken
    }
}

/// Polls the work once where it stands, which is enough for most calls; what has to wait gets a
/// task of its own.
fn run(
    app: &App,
    conn: &Arc<Conn>,
    method: &'static str,
    id: &str,
    mut work: Pin<Box<dyn Future<Output = ()> + Send>>,
) {
    if (&mut work).now_or_never().is_none() {
        let span = tracing::debug_span!("call", method, conn = %conn.id);
        let in_flight = conn.in_flight(id);
        let work = async move {
            work.await;
            drop(in_flight);
        };
        app.calls.spawn(work.instrument(span));
    }
}

fn refusal(app: &App, conn: &Conn, needs: Needs) -> Option<(RpcError, Verdict)> {
    let principal = &conn.principal;
    if !app.policy.call_scope || principal.satisfies(needs) {
        return None;
    }
    Some(match (needs, principal.role) {
        (Needs::Operator(scope), Role::Operator) => {
            (RpcError::missing_scope(scope.as_str()), Verdict::Refused)
        }
        (_, role) => (
            RpcError::invalid(format!("unauthorized role: {role}")),
            Verdict::WrongRole,
        ),
    })
}

/// An answer whose payload is written straight into the text.
#[derive(Serialize)]
struct Good<'a, R> {
    r#type: &'static str,
    id: &'a str,
    ok: bool,
    payload: &'a R,
}

fn good(id: &str, payload: &impl Serialize) -> String {
    let answer = Good {
        r#type: "res",
        id,
        ok: true,
        payload,
    };
    serde_json::to_string(&answer).unwrap_or_default()
}

fn answer<M: Method>(
    app: &App,
    conn: &Conn,
    id: &str,
    done: Result<M::Reply, Failure>,
    permit: Option<OwnedSemaphorePermit>,
) {
    match done {
        Ok(reply) if conn.version == Protocol::V3 && v3::is_answer_changed(M::NAME) => {
            let mut payload = serde_json::to_value(&reply).unwrap_or_default();
            v3::answer(M::NAME, &mut payload);
            conn.outbox.answer(good(id, &payload), permit);
        }
        Ok(reply) => conn.outbox.answer(good(id, &reply), permit),
        Err(Failure { mut error, payload }) => {
            tracing::debug!(method = M::NAME, code = error.code.as_str(), why = %error.message, "call refused");
            error.message = app
                .whereabouts(&conn.principal)
                .foreign_text(&error.message);
            conn.refuse(id, *error, payload, permit);
        }
    }
}
