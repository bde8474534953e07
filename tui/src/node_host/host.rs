//! Hears what the gateway asks, has the desk do it, and sends the results; says how this machine is.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clawline::client::{CallError, Client, ClientEvent, ClientView};
use clawline::layer::printable;
use clawline::protocol::Protocol;
use clawline::protocol::frame::Event;
use clawline::protocol::limits::MAX_MESSAGE;
use clawline::protocol::method::Method as _;
use clawline::protocol::methods::node_host::{
    HOST_STATS, INVOKE_CANCEL, INVOKE_REQUEST, InvokeCancel, InvokeRequest, NodeError, NodeEvent,
    NodeEventParams, NodeInvokeResult, NodeInvokeResultParams, NodeRunnerInventoryUpdate,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::desk::Task;
use super::{Desk, Refused, command_text, stats};

/// Commands at the same time; more are told to come again.
const MAX_TASKS: usize = 32;
/// Commands at the same time with those that are told so; more are not answered, and their callers give up
/// in time.
const MAX_ANSWERS: usize = 256;
/// How long a result may take to be taken, and how much longer for each piece of this many bytes: it
/// may have to go through a slow link.
const RESULT: Duration = Duration::from_secs(10);
const RESULT_PIECE: usize = 128 * 1024;
const RESULT_PIECE_TIME: Duration = Duration::from_secs(1);
/// What is around a result in its message, in bytes; less than this.
const RESULT_ENVELOPE: usize = 1024;
/// How often load, memory and disk are told.
const REPORT: Duration = Duration::from_secs(60);
/// How often is looked whether the commands are approved.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// How long what runs may take to end when the node does.
const LAST: Duration = Duration::from_secs(2);
/// How a gateway names, in `details.code`, that it takes nothing of a node before its approval.
const PAIRING_CHANGED: &str = "PAIRING_CHANGED";
/// A push of the gateway: somebody decided about a node.
const PAIR_RESOLVED: &str = "node.pair.resolved";

/// What is worth a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing can be asked of this node before somebody approves its commands.
    Unapproved {
        /// The request, where the gateway says it.
        request: Option<String>,
    },
    /// The gateway takes what this node says.
    Approved,
    /// A command was carried out, or not.
    Done {
        /// Which.
        command: String,
        /// The program, for `system.run`, as text that hides nothing.
        detail: String,
        /// Why not; empty when it was.
        refused: String,
        /// Why the gateway cannot be given its result; empty when it can.
        unsent: String,
        /// How long it took.
        took: Duration,
    },
}

/// What carries a command out.
type Answer = Arc<dyn Fn(Task) -> BoxFuture<'static, Result<Value, Refused>> + Send + Sync>;

/// A node at work.
pub(crate) struct Host {
    client: Client,
    /// The node's id.
    node: String,
    answer: Answer,
    /// How long a small result may take to be taken.
    patience: Duration,
    news: mpsc::Sender<News>,
    tasks: JoinSet<()>,
    /// By the id of the command: its task, and what ends it.
    active: HashMap<String, (task::Id, CancellationToken)>,
    /// Somebody decided about us: look now.
    decided: Arc<Notify>,
    _reporting: AbortOnDropHandle<()>,
}

impl Host {
    /// Starts to report. Must be called inside a tokio runtime.
    pub fn new(client: Client, desk: Desk, news: mpsc::Sender<News>) -> Self {
        let node = desk.node().to_owned();
        let answer = move |task| {
            let desk = desk.clone();
            async move { desk.answer(task).await }.boxed()
        };
        Self::answering(client, node, Arc::new(answer), news)
    }

    fn answering(client: Client, node: String, answer: Answer, news: mpsc::Sender<News>) -> Self {
        let decided = Arc::new(Notify::new());
        let reporting = report(client.clone(), news.clone(), Arc::clone(&decided));
        Self {
            _reporting: AbortOnDropHandle::new(tokio::spawn(reporting)),
            client,
            node,
            answer,
            patience: RESULT,
            news,
            tasks: JoinSet::new(),
            active: HashMap::new(),
            decided,
        }
    }

    /// Works until `stop`; nothing that it started runs afterwards.
    pub async fn run(
        mut self,
        mut events: broadcast::Receiver<ClientEvent>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.tasks.join_next_with_id() => {
                    // Also of one that broke.
                    let ended = ended.map_or_else(|error| error.id(), |(id, ())| id);
                    self.active.retain(|_, (id, _)| *id != ended);
                }
                event = events.recv() => match event {
                    Ok(event) => self.hear(event),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "commands may have been missed; their callers give up in time");
                    }
                    Err(broadcast::error::RecvError::Closed) => break,
                },
            }
        }
        self.end_all();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // What does not end in time is dropped, which kills it as well.
        let _ = tokio::time::timeout(LAST, ended).await;
    }

    fn hear(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Event(event) => self.hear_event(&event),
            // Nobody waits for what runs: a result under a new connection belongs to nothing.
            ClientEvent::Disconnected { .. } => self.end_all(),
            ClientEvent::Connected { .. } | ClientEvent::Gap { .. } => {}
        }
    }

    fn hear_event(&mut self, event: &Event) {
        match event.event.as_str() {
            INVOKE_REQUEST => match serde_json::from_value(event.payload.clone()) {
                Ok(request) => self.begin(request),
                Err(error) => tracing::warn!(%error, "a command cannot be read"),
            },
            INVOKE_CANCEL => {
                let cancel = serde_json::from_value::<InvokeCancel>(event.payload.clone());
                let running = cancel
                    .ok()
                    .and_then(|cancel| self.active.get(&cancel.invoke_id));
                if let Some((_, stop)) = running {
                    stop.cancel();
                }
            }
            PAIR_RESOLVED => self.decided.notify_one(),
            _ => {}
        }
    }

    fn begin(&mut self, request: InvokeRequest) {
        // Another node's, or one that runs already.
        if request.node_id != self.node || self.active.contains_key(&request.id) {
            return;
        }
        if self.tasks.len() >= MAX_ANSWERS {
            tracing::warn!("a command of too many at once is not answered");
            return;
        }
        let stop = CancellationToken::new();
        let is_busy = self.active.len() >= MAX_TASKS;
        let id = request.id.clone();
        let hello = self.client.hello();
        let is_guarded = hello.is_some_and(|hello| hello.protocol == Protocol::V4);
        let work = Work {
            client: self.client.clone(),
            answer: Arc::clone(&self.answer),
            patience: self.patience,
            news: self.news.clone(),
            request,
            is_guarded,
            is_busy,
            stop: stop.clone(),
        };
        let task = self.tasks.spawn(work.run());
        self.active.insert(id, (task.id(), stop));
    }

    fn end_all(&mut self) {
        self.active.drain().for_each(|(_, (_, stop))| stop.cancel());
    }
}

/// One command on its way.
struct Work {
    client: Client,
    answer: Answer,
    patience: Duration,
    news: mpsc::Sender<News>,
    request: InvokeRequest,
    is_guarded: bool,
    is_busy: bool,
    stop: CancellationToken,
}

impl Work {
    /// Carries it out and sends the result.
    async fn run(self) {
        let started = Instant::now();
        let params = self.params();
        let detail = detail(&self.request.command, params.as_ref().ok());
        let answer = match params {
            _ if self.is_busy => Err(Refused::unavailable("this node is busy; try again")),
            Err(refused) => Err(refused),
            Ok(params) => {
                let task = Task {
                    command: self.request.command.clone(),
                    params,
                    deadline: self.request.timeout_ms.map(Duration::from_millis),
                    is_guarded: self.is_guarded,
                    stop: self.stop.clone(),
                };
                let answer = AssertUnwindSafe((self.answer)(task)).catch_unwind();
                tokio::select! {
                    answer = answer => answer.unwrap_or_else(|_| {
                        Err(Refused::unavailable("the node failed inside; this is a fault of clawline"))
                    }),
                    () = self.stop.cancelled() => Err(Refused::unavailable("cancelled")),
                }
            }
        };
        let why = |refused: Option<&Refused>| {
            refused.map_or(String::new(), |refused| printable(&refused.message, 300))
        };
        let refused = why(answer.as_ref().err());
        // It was carried out all the same where only its result does not fit.
        let answer = answer.and_then(|payload| self.fitting(payload.to_string()));
        let news = News::Done {
            command: printable(&self.request.command, 80),
            detail,
            unsent: match refused.is_empty() {
                true => why(answer.as_ref().err()),
                false => String::new(),
            },
            refused,
            took: started.elapsed(),
        };
        // A full queue loses a line, never a result.
        let _ = self.news.try_send(news);
        if !self.stop.is_cancelled() {
            self.send(answer).await;
        }
    }

    fn params(&self) -> Result<Value, Refused> {
        match self.request.params_json.as_deref() {
            None | Some("") => Ok(Value::Object(Map::new())),
            Some(text) => serde_json::from_str(text)
                .map_err(|error| Refused::invalid(format!("paramsJSON cannot be read: {error}"))),
        }
    }

    /// The text, where the gateway takes a message with it.
    fn fitting(&self, text: String) -> Result<String, Refused> {
        let hello = self.client.hello();
        let told = hello.and_then(|hello| usize::try_from(hello.policy.max_payload).ok());
        let most = told.filter(|most| *most > 0).unwrap_or(MAX_MESSAGE);
        // As a text inside a text, where every quote takes one more.
        let escapes = text
            .bytes()
            .filter(|byte| matches!(byte, b'"' | b'\\'))
            .count();
        let size = text.len() + escapes + RESULT_ENVELOPE;
        if size <= most {
            return Ok(text);
        }
        Err(Refused::unavailable(format!(
            "RESULT_TOO_LARGE: the result needs {size} bytes, and the gateway takes {most} in one \
             message; ask for less, as with maxBytes of file.fetch"
        )))
    }

    async fn send(&self, answer: Result<String, Refused>) {
        let mut params = NodeInvokeResultParams {
            id: self.request.id.clone(),
            node_id: self.request.node_id.clone(),
            ok: answer.is_ok(),
            ..NodeInvokeResultParams::default()
        };
        match answer {
            Ok(text) => params.payload_json = Some(text),
            Err(refused) => {
                params.error = Some(NodeError {
                    code: Some(refused.code.to_owned()),
                    message: Some(refused.message),
                });
            }
        }
        let size = params.payload_json.as_ref().map_or(0, String::len);
        let pieces = u32::try_from(size / RESULT_PIECE).unwrap_or(u32::MAX);
        let deadline = self.patience + RESULT_PIECE_TIME.saturating_mul(pieces);
        let sent = self
            .client
            .call_within::<NodeInvokeResult>(params, deadline)
            .await;
        if let Err(error) = sent {
            tracing::warn!(%error, id = %self.request.id, "the result was not taken");
        }
    }
}

/// The program of a `system.run`, for people.
fn detail(command: &str, params: Option<&Value>) -> String {
    if !command.starts_with("system.run") {
        return String::new();
    }
    let argv = params.and_then(|params| serde_json::from_value(params["command"].clone()).ok());
    let shown = argv.and_then(|argv: Vec<String>| command_text::show(&argv));
    shown.map_or(String::new(), |shown| shown.text)
}

/// Says how this machine is for as long as it is connected; finds out so whether its commands are
/// approved, since no gateway says that by itself.
async fn report(client: Client, news: mpsc::Sender<News>, decided: Arc<Notify>) {
    let mut view = client.view();
    loop {
        let generation = match view.wait_for(|view| view.status.is_up()).await {
            Ok(up) => up.generation,
            Err(_) => return,
        };
        let is_gone = |view: &ClientView| view.generation != generation || !view.status.is_up();
        let gone = async { view.wait_for(is_gone).await.is_ok() };
        tokio::select! {
            () = report_while_up(&client, &news, &decided) => return,
            is_open = gone => if !is_open { return },
        }
    }
}

async fn report_while_up(client: &Client, news: &mpsc::Sender<News>, decided: &Notify) {
    let mut told = None;
    loop {
        let approved = match send_stats(client).await {
            Err(CallError::Refused { error, .. })
                if error.detail_code() == Some(PAIRING_CHANGED) =>
            {
                false
            }
            // What an older gateway does not know it does not refuse a node for.
            _ => true,
        };
        if told != Some(approved) {
            told = Some(approved);
            let what = match approved {
                true => News::Approved,
                false => News::Unapproved {
                    request: waiting_request(client).await,
                },
            };
            if news.send(what).await.is_err() {
                return;
            }
        }
        let pause = if approved { REPORT } else { LOOK_AGAIN };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = decided.notified() => {}
        }
    }
}

async fn send_stats(client: &Client) -> Result<(), CallError> {
    let stats = stats::read().unwrap_or_default();
    let params = NodeEventParams {
        event: HOST_STATS.to_owned(),
        payload: None,
        payload_json: serde_json::to_string(&stats).ok(),
    };
    client
        .call_within::<NodeEvent>(params, RESULT)
        .await
        .map(drop)
}

/// The request that waits: version 4 names it where it refuses an inventory.
async fn waiting_request(client: &Client) -> Option<String> {
    // Nothing runs work of the gateway's here; with an empty list no other member may be there.
    let params = json!({"protocolFeatures": []});
    let method = NodeRunnerInventoryUpdate::NAME;
    let refused = client.call_value(method, params, RESULT).await;
    match refused {
        Err(CallError::Refused { error, .. }) => request_id(&error.message),
        _ => None,
    }
}

/// The id in a text. It comes from the gateway: only what an id can be is put into a command to paste.
fn request_id(text: &str) -> Option<String> {
    let mut words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    words
        .find(|word| uuid::Uuid::try_parse(word).is_ok())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests;
