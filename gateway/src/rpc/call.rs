//! One call in a handler's hands.

use std::sync::Arc;
use std::time::Duration;

use clawline::protocol::error::RpcError;
use clawline::protocol::frame::Response;
use clawline::protocol::method::Method;
use clawline::protocol::{Protocol, v3};
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use crate::conn::Conn;
use crate::state::App;
use crate::whereabouts::Whereabouts;

/// A call whose scope and parameters have been checked.
pub(crate) struct Call<M: Method> {
    /// Its parameters.
    pub(crate) params: M::Params,
    /// Who calls, and where first answers go.
    pub(crate) conn: Arc<Conn>,
    /// For methods that answer twice.
    pub(crate) replier: Replier,
    /// Held while later calls about the same thing have to wait.
    pub(crate) turn: Option<OwnedMutexGuard<()>>,
}

impl<M: Method> Call<M> {
    /// What its caller is told of this machine.
    pub(crate) fn whereabouts(&self, app: &App) -> Whereabouts {
        app.whereabouts(&self.conn.principal)
    }
}

/// Sends the first of two answers; what the handler returns is the second.
pub(crate) struct Replier {
    pub(crate) conn: Arc<Conn>,
    pub(crate) id: String,
    pub(crate) method: &'static str,
}

impl Replier {
    /// Sends a first answer under the call's id.
    pub(crate) fn accept(&self, reply: &impl serde::Serialize) {
        let mut payload = serde_json::to_value(reply).unwrap_or_default();
        if self.conn.version == Protocol::V3 {
            v3::answer(self.method, &mut payload);
        }
        self.conn.answer(&Response::ok(&self.id, payload), None);
    }
}

/// A refusal, and the payload that some methods send beside it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Box<RpcError>,
    pub(crate) payload: Value,
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        Self {
            error: Box::new(error),
            payload: Value::Null,
        }
    }
}

/// Does what may wait for a disk where that holds nobody else up.
///
/// # Errors
/// Only where the work panicked, or the program is ending.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| RpcError::unavailable(error.to_string()).into())
}

impl Failure {
    /// The answer to a call that took too long.
    pub(crate) fn too_slow(method: &str, deadline: Duration) -> Self {
        let text = format!("{method} took longer than {} s", deadline.as_secs());
        RpcError::unavailable(text).retry_after(1000).into()
    }
}
