//! Carries effects out: calls of the gateway, each in a task of its own, and jobs for the disk.

use std::time::{Duration, Instant};

use clawline::client::{CallError, Client};
use clawline::protocol::Protocol;
use clawline::protocol::method::Method;
use clawline::protocol::methods::NoParams;
use clawline::protocol::methods::agent::{AgentWait, AgentWaitParams};
use clawline::protocol::methods::agents::{CommandsList, ModelsList, ModelsListParams};
use clawline::protocol::methods::approvals::{
    ExecApprovalList, ExecApprovalResolve, ExecApprovalResolveParams,
};
use clawline::protocol::methods::chat::{
    ChatAbort, ChatAbortParams, ChatHistory, ChatHistoryParams, ChatSend, ChatSendParams,
};
use clawline::protocol::methods::sessions::{
    SessionsList, SessionsListParams, SessionsPatch, SessionsPatchParams, SessionsReset,
    SessionsResetParams, SessionsSubscribe,
};
use clawline::protocol::methods::system::{Health, HealthParams, Status, StatusParams};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::disk::Job;
use super::effect::Effect;
use super::msg::{Done, Failure, Msg, Reading};
use crate::outbox::Message;
use crate::widgets::text::one_line;

/// Messages of a page for the screen (as OpenClaw's own app).
const PAGE: u64 = 200;
/// Messages of a page that is read only for the outbox.
const OUTBOX_PAGE: u64 = 1000;
/// Longest text of a message that is read whole, the most that version 4 allows.
const MAX_CHARS: u64 = 500_000;
/// Sessions that are listed.
const SESSIONS: u64 = 200;
/// How long one `agent.wait` may take at the gateway, and here.
const RUN_WAIT: Duration = Duration::from_secs(25);
/// See `RUN_WAIT`.
const RUN_WAIT_HERE: Duration = Duration::from_secs(30);
/// Most lines that `/status` shows.
const STATUS_LINES: usize = 40;

/// What calls need.
#[derive(Debug)]
pub(super) struct Caller {
    /// The client, once there is a link.
    pub(super) client: Option<Client>,
    /// Where results go.
    pub(super) results: mpsc::Sender<Msg>,
    /// The disk.
    pub(super) disk: mpsc::Sender<Job>,
    /// Calls under way; they end with this.
    pub(super) tasks: JoinSet<()>,
}

fn failure(error: CallError) -> Failure {
    match error {
        CallError::Refused { error, .. } => Failure::Refused(error),
        CallError::NotConnected(_) => Failure::NotSent("there is no link".to_owned()),
        CallError::Disconnected { .. }
        | CallError::Timeout { .. }
        | CallError::Unreadable { .. }
        | CallError::Stopped => Failure::Unknown(error.to_string()),
    }
}

async fn call<M: Method>(client: Option<Client>, params: M::Params) -> Result<M::Reply, Failure> {
    let client = client.ok_or_else(|| Failure::NotSent("there is no link".to_owned()))?;
    client.call::<M>(params).await.map_err(failure)
}

impl Caller {
    /// Runs a call and hands its result to the loop.
    fn spawn<F>(&mut self, work: F)
    where
        F: Future<Output = Option<Done>> + Send + 'static,
    {
        let results = self.results.clone();
        self.tasks.spawn(async move {
            if let Some(done) = work.await {
                let _ = results.send(Msg::Done(done)).await;
            }
        });
        // Those that are done leave the set.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Carries out an effect that calls the gateway; the others belong to the loop.
    pub(super) fn perform(&mut self, effect: Effect) {
        let client = self.client.clone();
        match effect {
            Effect::ReadHistory {
                session,
                reading,
                offset,
                cursor,
            } => {
                // Version 3 refuses the member.
                let is_v4 = client
                    .as_ref()
                    .and_then(Client::hello)
                    .is_some_and(|hello| hello.protocol == Protocol::V4);
                let limit = if reading == Reading::Outbox {
                    OUTBOX_PAGE
                } else {
                    PAGE
                };
                let params = ChatHistoryParams {
                    session_key: session.clone(),
                    limit: Some(limit),
                    offset,
                    cursor,
                    max_chars: is_v4.then_some(MAX_CHARS),
                    ..ChatHistoryParams::default()
                };
                self.spawn(async move {
                    let result = call::<ChatHistory>(client, params).await.map(Box::new);
                    Some(Done::History {
                        session,
                        reading,
                        result,
                    })
                });
            }
            Effect::Send(message) => {
                let disk = self.disk.clone();
                self.spawn(async move {
                    let key = message.key.clone();
                    let result = send(client, disk, message).await;
                    Some(Done::Sent { key, result })
                });
            }
            Effect::Wake { after_ms } => self.spawn(async move {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                Some(Done::Awake)
            }),
            Effect::Abort { session, run } => self.spawn(async move {
                let params = ChatAbortParams {
                    session_key: session,
                    run_id: run,
                };
                let reply = call::<ChatAbort>(client, params).await;
                Some(Done::Aborted(reply.map(|reply| reply.aborted)))
            }),
            Effect::AskRun { run } => self.spawn(async move {
                let result = ask_run(client, &run).await;
                Some(Done::RunStatus { run, result })
            }),
            Effect::ListSessions => self.spawn(async move {
                let params = SessionsListParams {
                    limit: Some(SESSIONS),
                    include_derived_titles: Some(true),
                    ..SessionsListParams::default()
                };
                let reply = call::<SessionsList>(client, params).await;
                Some(Done::Sessions(reply.map(Box::new)))
            }),
            Effect::Subscribe => self.spawn(async move {
                // Without it the list is read again after each change that we notice ourselves.
                if let Err(failure) = call::<SessionsSubscribe>(client, json!({})).await {
                    tracing::info!(words = failure.words(), "no news of sessions");
                }
                None
            }),
            Effect::Health => self.spawn(async move {
                let asked = Instant::now();
                let reply = call::<Health>(client, HealthParams::default()).await;
                Some(Done::Health(reply.map(Box::new), asked.elapsed()))
            }),
            Effect::ListModels => self.spawn(async move {
                let reply = call::<ModelsList>(client, ModelsListParams::default()).await;
                Some(Done::Models(reply.map(|reply| reply.models)))
            }),
            Effect::ListCommands => self.spawn(async move {
                let reply = call::<CommandsList>(client, json!({"scope": "text"})).await;
                Some(Done::Commands(reply.map(|reply| reply.commands)))
            }),
            Effect::ListApprovals => self.spawn(async move {
                let reply = call::<ExecApprovalList>(client, NoParams {}).await;
                Some(Done::Approvals(reply))
            }),
            Effect::Decide { id, decision } => self.spawn(async move {
                let params = ExecApprovalResolveParams {
                    id: id.clone(),
                    decision: decision.as_str().to_owned(),
                };
                let reply = call::<ExecApprovalResolve>(client, params).await;
                let result = reply.map(|_| ());
                Some(Done::Decided {
                    id,
                    decision,
                    result,
                })
            }),
            Effect::Status => self.spawn(async move {
                let reply = call::<Status>(client, StatusParams::default()).await;
                Some(Done::Said(reply.map(|value| status_text(&value))))
            }),
            Effect::Patch {
                session,
                name,
                value,
            } => self.spawn(async move {
                let what = format!("{name} is now {}", one_line(&value));
                let mut settings = Map::new();
                settings.insert(name.to_owned(), Value::String(value));
                let params = SessionsPatchParams {
                    key: session,
                    settings,
                };
                let result = call::<SessionsPatch>(client, params).await.map(|_| ());
                Some(Done::Changed { what, result })
            }),
            Effect::Reset { session } => self.spawn(async move {
                let params = SessionsResetParams {
                    key: session.clone(),
                    reason: Some("reset".to_owned()),
                };
                let result = call::<SessionsReset>(client, params).await.map(|_| ());
                Some(Done::Reset { session, result })
            }),
            Effect::Store(_)
            | Effect::Note { .. }
            | Effect::LoadDraft { .. }
            | Effect::SaveDraft { .. }
            | Effect::ReconnectNow
            | Effect::GiveToken(_)
            | Effect::GivePassword(_)
            | Effect::Answer(..)
            | Effect::OpenTarget(_)
            | Effect::Redraw
            | Effect::Suspend
            | Effect::TakeTerminal
            | Effect::Quit => {}
        }
    }
}

async fn send(
    client: Option<Client>,
    disk: mpsc::Sender<Job>,
    message: Message,
) -> Result<Box<clawline::protocol::methods::chat::ChatSendReply>, Failure> {
    let (reply, marked) = oneshot::channel();
    let gone = || Failure::NotSent("the outbox is closed".to_owned());
    disk.send(Job::MarkSent(message.key.clone(), reply))
        .await
        .map_err(|_| gone())?;
    // What cannot be noted on disk is not sent: after a crash nobody would know of it.
    marked
        .await
        .map_err(|_| gone())?
        .map_err(Failure::NotSent)?;
    let params = ChatSendParams {
        session_key: message.session,
        message: message.text,
        idempotency_key: message.key,
        deliver: Some(false),
        ..ChatSendParams::default()
    };
    call::<ChatSend>(client, params).await.map(Box::new)
}

async fn ask_run(client: Option<Client>, run: &str) -> Result<(String, Option<String>), Failure> {
    let client = client.ok_or_else(|| Failure::NotSent("there is no link".to_owned()))?;
    let params = AgentWaitParams {
        run_id: run.to_owned(),
        timeout_ms: u64::try_from(RUN_WAIT.as_millis()).ok(),
    };
    let reply = client
        .call_within::<AgentWait>(params, RUN_WAIT_HERE)
        .await
        .map_err(failure)?;
    Ok((reply.status, reply.error))
}

/// The top of a status report, a member a line.
fn status_text(value: &Value) -> String {
    let Some(map) = value.as_object() else {
        return one_line(&value.to_string());
    };
    let line = |(name, value): (&String, &Value)| {
        let shown = match value {
            Value::Null => return None,
            Value::String(text) => one_line(text),
            Value::Array(items) => format!("{} entries", items.len()),
            Value::Object(map) => map
                .iter()
                .filter(|(_, value)| value.is_string() || value.is_number() || value.is_boolean())
                .map(|(name, value)| {
                    format!(
                        "{name} {}",
                        value.as_str().map_or_else(|| value.to_string(), one_line)
                    )
                })
                .collect::<Vec<_>>()
                .join(", "),
            other => other.to_string(),
        };
        (!shown.is_empty()).then(|| format!("{}: {shown}", one_line(name)))
    };
    let lines: Vec<String> = map.iter().filter_map(line).take(STATUS_LINES).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_report_is_a_line_a_member() {
        let value = json!({"version":"1.0","none":null,"sessions":{"count":3,"recent":[]},"channels":[1,2]});
        assert_eq!(
            status_text(&value),
            "version: 1.0\nsessions: count 3\nchannels: 2 entries"
        );
    }
}
