//! Connected nodes, and the commands they have been asked for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clawline::protocol::methods::node_host::NodeInvokeResultParams;
use serde_json::Value;
use tokio::sync::oneshot;

use super::InvokeError;
use super::surface::Claims;
use crate::conn::{Conn, ConnId};

/// Commands that one node may be busy with.
const MAX_IN_FLIGHT: usize = 64;
/// Runs of one connection whose events are still taken.
const MAX_ISSUED: usize = 256;

/// One connection of a node.
pub(crate) struct Session {
    pub(crate) node_id: String,
    pub(crate) conn: Arc<Conn>,
    pub(crate) claims: Claims,
    said: Mutex<Said>,
}

/// What a node has said since it connected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) host_stats: Option<Value>,
    pub(crate) skills: Vec<Value>,
    pub(crate) plugin_tools: Vec<Value>,
    /// Runs that this connection was asked for.
    issued: VecDeque<String>,
}

impl Session {
    pub(super) fn new(node_id: String, conn: Arc<Conn>, claims: Claims) -> Self {
        Self {
            node_id,
            conn,
            claims,
            said: Mutex::default(),
        }
    }

    /// Reads or changes what it has said.
    pub(crate) fn said<T>(&self, act: impl FnOnce(&mut Said) -> T) -> T {
        act(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes a run that it is asked for.
    pub(super) fn issue(&self, run_id: &str) {
        self.said(|said| {
            if said.issued.len() >= MAX_ISSUED {
                said.issued.pop_front();
            }
            said.issued.push_back(run_id.to_owned());
        });
    }

    /// Whether this connection was asked for the run.
    pub(crate) fn was_issued(&self, run_id: &str) -> bool {
        self.said(|said| said.issued.iter().any(|issued| issued == run_id))
    }
}

/// Who is connected and what is waited for.
#[derive(Default)]
pub(crate) struct Live(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The newest connection of a node last; that one is asked.
    sessions: HashMap<String, Vec<Arc<Session>>>,
    pending: HashMap<String, Pending>,
}

struct Pending {
    conn: ConnId,
    answer: oneshot::Sender<NodeInvokeResultParams>,
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(&self, session: Arc<Session>) {
        let mut inner = self.lock();
        let of_node = inner.sessions.entry(session.node_id.clone()).or_default();
        of_node.push(session);
    }

    /// Takes a connection out: whoever waits for it learns that it is gone.
    pub(super) fn leave(&self, session: &Session) {
        let mut inner = self.lock();
        let id = session.conn.id;
        if let Some(of_node) = inner.sessions.get_mut(&session.node_id) {
            of_node.retain(|other| other.conn.id != id);
            if of_node.is_empty() {
                inner.sessions.remove(&session.node_id);
            }
        }
        inner.pending.retain(|_, pending| pending.conn != id);
    }

    /// The connection of a node that is asked: the newest that is not about to end.
    pub(crate) fn session(&self, node_id: &str) -> Option<Arc<Session>> {
        let inner = self.lock();
        let mut of_node = inner.sessions.get(node_id)?.iter().rev();
        of_node.find(|session| !session.conn.is_leaving()).cloned()
    }

    /// The session of this very connection.
    pub(crate) fn session_of(&self, conn: &Conn) -> Option<Arc<Session>> {
        let node_id = conn.principal.device_id.as_deref()?;
        let inner = self.lock();
        let of_node = inner.sessions.get(node_id)?;
        of_node.iter().find(|s| s.conn.id == conn.id).cloned()
    }

    /// How many nodes are connected.
    pub(crate) fn count(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Starts waiting for the result of a command: [`InvokeError::Gone`] when the connection has left
    /// by now, [`InvokeError::Busy`] when it is busy with too many.
    pub(super) fn expect(
        &self,
        invoke_id: &str,
        session: &Session,
    ) -> Result<oneshot::Receiver<NodeInvokeResultParams>, InvokeError> {
        let mut inner = self.lock();
        let conn = session.conn.id;
        let of_node = inner.sessions.get(&session.node_id);
        let is_here = of_node.is_some_and(|all| all.iter().any(|s| s.conn.id == conn));
        if !is_here || session.conn.is_leaving() {
            return Err(InvokeError::Gone);
        }
        let busy = inner.pending.values().filter(|p| p.conn == conn).count();
        if busy >= MAX_IN_FLIGHT {
            return Err(InvokeError::Busy);
        }
        let (answer, result) = oneshot::channel();
        inner
            .pending
            .insert(invoke_id.to_owned(), Pending { conn, answer });
        Ok(result)
    }

    /// Ends waiting; false when it had ended.
    pub(super) fn forget(&self, invoke_id: &str) -> bool {
        self.lock().pending.remove(invoke_id).is_some()
    }

    /// Takes a result, from the connection that was asked and from no other; false when nobody
    /// waits for it.
    pub(crate) fn resolve(&self, from: ConnId, result: NodeInvokeResultParams) -> bool {
        let mut inner = self.lock();
        let is_expected = inner
            .pending
            .get(&result.id)
            .is_some_and(|pending| pending.conn == from);
        if !is_expected {
            return false;
        }
        let pending = inner.pending.remove(&result.id);
        drop(inner);
        pending.is_some_and(|pending| pending.answer.send(result).is_ok())
    }

    /// Whether this connection is busy with the command.
    pub(crate) fn is_expected(&self, from: ConnId, invoke_id: &str) -> bool {
        let inner = self.lock();
        inner.pending.get(invoke_id).is_some_and(|p| p.conn == from)
    }
}
