//! One command for a node: looked at, sent, and waited for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clawline::protocol::methods::approvals::Decision;
use clawline::protocol::methods::node_host::{
    self, INVOKE_CANCEL, INVOKE_REQUEST, InvokeCancel, InvokeRequest, NodeInvokeResultParams,
};
use clawline::protocol::methods::nodes::{NodeInvokeParams, NodeInvokeReply};
use clawline::protocol::unread::holds_more;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::live::Session;
use super::once::{Entry, Outcome, Turn};
use super::policy::Refused;
use super::system_run::{BadRun, SystemRun};
use super::{Live, Nodes, policy};
use crate::approvals::{ApprovalError, Approvals, Using};
use crate::conn::{Conn, Push};
use crate::policy::Policy;
use crate::settings::NodesSettings;
use crate::store::StoreError;

/// How long a result is waited for when the caller does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a result is waited for at most.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// Largest parameters, in bytes.
const MAX_PARAMS: usize = 1024 * 1024;
/// Largest result, in bytes: with what is around it, it has to fit into one message.
pub(crate) const MAX_RESULT: usize = 24 * 1024 * 1024;
/// Largest result that the answer holds twice, as a value and as the node wrote it; a larger one is
/// there as a value alone.
const MAX_TWICE: usize = 8 * 1024 * 1024;
/// Longest idempotency key, in bytes.
const MAX_KEY: usize = 256;
/// How many characters of a node's words are passed on.
const MAX_WORDS: usize = 2000;

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InvokeError {
    NotConnected,
    /// It is not approved; the request that waits, where one does.
    NotApproved {
        request: Option<String>,
    },
    Refused {
        why: Refused,
        hint: String,
    },
    BadParams {
        code: &'static str,
        text: String,
    },
    /// The key was used for something else.
    KeyConflict,
    Busy,
    TimedOut,
    /// It disconnected before it answered.
    Gone,
    /// Who asked for it first went away.
    GivenUp,
    /// It was carried out; the result was too large to be kept, or others took its room.
    NotKept,
    TooLarge {
        size: usize,
    },
    /// Its JSON text holds more values than these.
    TooMany {
        max_values: usize,
    },
    /// The node's own words.
    Node {
        code: Option<String>,
        message: Option<String>,
    },
    Store(String),
}

impl From<StoreError> for InvokeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<BadRun> for InvokeError {
    fn from(bad: BadRun) -> Self {
        Self::BadParams {
            code: bad.code,
            text: bad.text,
        }
    }
}

/// On whose behalf a command is.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) device_id: Option<String>,
}

/// What is sent, once everything about it was looked at.
struct Ready {
    params_json: Option<String>,
    run_id: Option<String>,
    using: Option<Using>,
}

impl Nodes {
    /// Has a node carry out a command. Dropped, the node is told that nobody waits any more.
    pub(crate) async fn invoke(
        &self,
        approvals: &Approvals,
        caller: &Caller,
        params: NodeInvokeParams,
        settings: &NodesSettings,
    ) -> Result<NodeInvokeReply, InvokeError> {
        let asked_at = Instant::now();
        if params.idempotency_key.is_empty() || params.idempotency_key.len() > MAX_KEY {
            return Err(InvokeError::BadParams {
                code: "BAD_KEY",
                text: format!("idempotencyKey: 1 to {MAX_KEY} bytes are needed"),
            });
        }
        let timeout = match params.timeout_ms {
            None | Some(0) => DEFAULT_TIMEOUT,
            Some(ms) => Duration::from_millis(ms).min(MAX_TIMEOUT),
        };
        let until = asked_at + timeout;
        let hash = content_hash(caller, &params);
        let mut turn = match self
            .once
            .enter(&params.node_id, &params.idempotency_key, hash)
        {
            Entry::New(turn) => turn,
            Entry::Conflict => return Err(InvokeError::KeyConflict),
            Entry::Known(outcome) => return (*outcome).clone(),
            Entry::Running(mut outcome) => {
                let known = timeout_at(until, outcome.wait_for(Option::is_some)).await;
                return match known {
                    Ok(Ok(outcome)) => match outcome.as_deref() {
                        Some(outcome) => outcome.clone(),
                        None => Err(InvokeError::GivenUp),
                    },
                    Ok(Err(_)) => Err(InvokeError::GivenUp),
                    Err(_) => Err(InvokeError::TimedOut),
                };
            }
        };
        let asked = Asked {
            approvals,
            caller,
            params: &params,
            checks: &self.checks,
            tasks: &self.tasks,
        };
        let waiting = match self.dispatch(&asked, settings, until, &mut turn).await {
            Ok(waiting) => waiting,
            Err(error) => {
                turn.release(&error);
                return Err(error);
            }
        };
        let outcome: Outcome = Arc::new(waiting.result(&params, until).await);
        turn.end(&outcome);
        Arc::try_unwrap(outcome).unwrap_or_else(|shared| (*shared).clone())
    }

    /// Everything up to the moment at which the node is told.
    async fn dispatch(
        &self,
        asked: &Asked<'_>,
        settings: &NodesSettings,
        until: Instant,
        turn: &mut Turn<'_>,
    ) -> Result<Waiting<'_>, InvokeError> {
        let params = asked.params;
        let command = params.command.trim();
        // From here to the push nothing can be approved, rejected or removed.
        let gate = timeout_at(until, self.gate.lock()).await;
        let _gate = gate.map_err(|_| InvokeError::TimedOut)?;
        let session = self
            .live
            .session(&params.node_id)
            .ok_or(InvokeError::NotConnected)?;
        self.check(command, &session, settings).await?;
        let invoke_id = uuid::Uuid::new_v4().to_string();
        let waiting = self.expect(&session, &invoke_id)?;
        let ready = asked.ready(command, &invoke_id).await?;
        if let Some(run_id) = &ready.run_id {
            session.issue(run_id);
        }
        let left = until.saturating_duration_since(Instant::now());
        let request = InvokeRequest {
            id: invoke_id.clone(),
            node_id: params.node_id.clone(),
            command: command.to_owned(),
            params_json: ready.params_json,
            timeout_ms: Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            idempotency_key: Some(params.idempotency_key.clone()),
        };
        let push = Push::plain(INVOKE_REQUEST, &request).direct();
        session.conn.outbox.push(&push);
        ready.using.into_iter().for_each(Using::sent);
        turn.sent();
        tracing::info!(node = %params.node_id, command, invoke = %invoke_id, "command sent to a node");
        Ok(waiting.sent())
    }

    /// Makes room for a result: an approval is used only when there is some.
    fn expect(&self, session: &Session, invoke_id: &str) -> Result<Waiting<'_>, InvokeError> {
        Ok(Waiting {
            result: self.live.expect(invoke_id, session)?,
            live: &self.live,
            conn: session.conn.clone(),
            node_id: session.node_id.clone(),
            invoke_id: invoke_id.to_owned(),
            max_values: self.checks.max_values(),
            is_sent: false,
        })
    }

    /// Whether the command is allowed at this moment: by the configuration, by what the node declares,
    /// and by what was approved.
    async fn check(
        &self,
        command: &str,
        session: &Session,
        settings: &NodesSettings,
    ) -> Result<(), InvokeError> {
        let node = self.store.get(&session.node_id).await?.unwrap_or_default();
        let policy = policy(&node.facts, settings);
        let refused = |why| InvokeError::Refused {
            why,
            hint: policy.hint(command, node.facts.platform.as_deref(), why),
        };
        policy
            .check(command, &session.claims.commands)
            .map_err(refused)?;
        let approved = node.approved.as_ref();
        if !self.checks.node_approval {
            return Ok(());
        }
        if approved.is_some_and(|held| held.commands.iter().any(|name| name == command)) {
            return Ok(());
        }
        let waiting = self.store.requests().await?;
        let request = waiting.into_iter().find(|r| r.node_id == session.node_id);
        Err(InvokeError::NotApproved {
            request: request.map(|request| request.request_id),
        })
    }
}

/// A command before it was looked at.
struct Asked<'a> {
    approvals: &'a Approvals,
    caller: &'a Caller,
    params: &'a NodeInvokeParams,
    checks: &'a Policy,
    tasks: &'a TaskTracker,
}

impl Asked<'_> {
    /// The parameters as the node gets them. An approval that they refer to is used by this, once
    /// nothing else is wrong with them.
    async fn ready(&self, command: &str, invoke_id: &str) -> Result<Ready, InvokeError> {
        let params = self.params;
        let is_run = matches!(command, "system.run" | "system.run.prepare");
        if !is_run || !self.checks.run_params {
            return Ok(Ready {
                params_json: text_of(params.params.clone())?,
                run_id: None,
                using: None,
            });
        }
        let run = SystemRun::read(params.params.as_ref())?;
        // To be prepared it needs no approval, and uses none.
        let approval = run.approval.as_ref().filter(|_| command == "system.run");
        let using = match approval {
            Some(id) if self.checks.run_approval => {
                text_of(Some(run.params(invoke_id, Some(Decision::AllowAlways))))?;
                Some(self.consume(id, &run).await?)
            }
            _ => None,
        };
        let decision = match &using {
            Some(using) => Some(using.decision),
            // Only a gateway that leaves the check out comes here with one.
            None => approval.map(|_| Decision::AllowOnce),
        };
        Ok(Ready {
            params_json: text_of(Some(run.params(invoke_id, decision)))?,
            run_id: Some(invoke_id.to_owned()),
            using,
        })
    }

    async fn consume(&self, id: &str, run: &SystemRun) -> Result<Using, InvokeError> {
        let device_id = self.caller.device_id.as_deref();
        let (node_id, tasks) = (&self.params.node_id, self.tasks);
        let using = self.approvals.consume(id, run, node_id, device_id, tasks);
        using.await.map_err(|error| match error {
            ApprovalError::Store(error) => error.into(),
            other => InvokeError::BadParams {
                code: "APPROVAL_NOT_FOUND",
                text: other.to_string(),
            },
        })
    }
}

/// Parameters as they are sent, within their limit.
fn text_of(value: Option<Value>) -> Result<Option<String>, InvokeError> {
    let value = value.filter(|value| !value.is_null());
    let text = value.map(|value| value.to_string());
    if text.as_ref().is_some_and(|text| text.len() > MAX_PARAMS) {
        return Err(InvokeError::BadParams {
            code: "TOO_LARGE",
            text: format!("params: at most {MAX_PARAMS} bytes are taken"),
        });
    }
    Ok(text)
}

/// What makes two calls the same.
fn content_hash(caller: &Caller, params: &NodeInvokeParams) -> [u8; 32] {
    let mut hash = Sha256::new();
    let content = params.params.as_ref().map(Value::to_string);
    for part in [
        caller.device_id.as_deref().unwrap_or_default(),
        params.command.trim(),
        content.as_deref().unwrap_or_default(),
    ] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A command that is on its way. Dropped before its end, the node is told to give it up.
struct Waiting<'a> {
    live: &'a Live,
    conn: Arc<Conn>,
    node_id: String,
    invoke_id: String,
    /// How many values the JSON text of a result may hold.
    max_values: usize,
    /// The node was told.
    is_sent: bool,
    result: tokio::sync::oneshot::Receiver<NodeInvokeResultParams>,
}

impl Waiting<'_> {
    fn sent(mut self) -> Self {
        self.is_sent = true;
        self
    }

    async fn result(
        mut self,
        params: &NodeInvokeParams,
        until: Instant,
    ) -> Result<NodeInvokeReply, InvokeError> {
        let result = match timeout_at(until, &mut self.result).await {
            Err(_) => return Err(InvokeError::TimedOut),
            Ok(Err(_)) => return Err(InvokeError::Gone),
            Ok(Ok(result)) => result,
        };
        if let Some(excess) = excess(&result, self.max_values) {
            return Err(excess);
        }
        let size = result_size(&result);
        if !result.ok {
            let error = result.error.unwrap_or_default();
            let words = |text: Option<String>| {
                text.map(|text| clawline::layer::printable(&text, MAX_WORDS))
            };
            return Err(InvokeError::Node {
                code: words(error.code),
                message: words(error.message),
            });
        }
        let (payload, payload_json) = match result.payload_json {
            Some(text) => {
                let value: Value = serde_json::from_str(&text).unwrap_or_default();
                (value, Some(text).filter(|text| text.len() <= MAX_TWICE))
            }
            None => (result.payload.unwrap_or_default(), None),
        };
        // What was no JSON, or became longer by being written anew.
        let is_lost = payload.is_null() && payload_json.is_none() && size > MAX_TWICE;
        if is_lost || (size > MAX_TWICE && written_size(&payload) > MAX_RESULT) {
            return Err(InvokeError::TooLarge { size });
        }
        Ok(NodeInvokeReply {
            ok: true,
            node_id: params.node_id.clone(),
            command: params.command.clone(),
            payload,
            payload_json,
        })
    }
}

/// What a result has too much of to be passed on. Nothing was made of its text yet.
pub(crate) fn excess(result: &NodeInvokeResultParams, max_values: usize) -> Option<InvokeError> {
    let size = result_size(result);
    if size > MAX_RESULT {
        return Some(InvokeError::TooLarge { size });
    }
    let text = result.payload_json.as_deref()?;
    holds_more(text, max_values).then_some(InvokeError::TooMany { max_values })
}

/// How large a result is, in bytes.
fn result_size(result: &node_host::NodeInvokeResultParams) -> usize {
    match (&result.payload_json, &result.payload) {
        (Some(text), _) => text.len(),
        (None, Some(value)) => written_size(value),
        (None, None) => 0,
    }
}

/// The length of the JSON text of a value, without making that text.
fn written_size(value: &Value) -> usize {
    struct Size(usize);
    impl io::Write for Size {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0 += text.len();
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut size = Size(0);
    // Counting does not fail, and a value always serialises.
    let _ = serde_json::to_writer(&mut size, value);
    size.0
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.live.forget(&self.invoke_id) && self.is_sent {
            let cancel = InvokeCancel {
                invoke_id: self.invoke_id.clone(),
                node_id: self.node_id.clone(),
            };
            let push = Push::plain(INVOKE_CANCEL, &cancel).direct();
            self.conn.outbox.push(&push);
        }
    }
}
