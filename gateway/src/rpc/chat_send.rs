//! `chat.send`: a message is committed before it is answered, or it is a command and carried out.

use std::time::Duration;

use clawline::protocol::error::RpcError;
use clawline::protocol::methods::chat::{ChatSend, ChatSendReply};
use serde_json::{Map, Value, json};

use super::{Call, Failure, Table, slash};
use crate::conn::Conn;
use crate::runs::{Accepted, RunId, RunKind, RunOptions, Submit, SubmitStatus};
use crate::sessions::SessionKey;
use crate::shape;
use crate::state::App;

pub(crate) fn rows(table: Table) -> Table {
    table.on_in_order::<ChatSend, _>(
        |app, p| app.lane_of(&p.session_key, p.agent_id.as_deref()),
        send,
    )
}

async fn send(app: App, call: Call<ChatSend>) -> Result<ChatSendReply, Failure> {
    let params = &call.params;
    let key = app.session_key_of(&params.session_key, params.agent_id.as_deref())?;
    let run_id = RunId::parse(&params.idempotency_key)
        .map_err(|error| RpcError::invalid_params("chat.send", error))?;
    refuse_attachments(params.attachments.as_deref())?;
    let outgoing = Outgoing {
        key,
        message: params.message.clone(),
        run_id,
        thinking: params.thinking.clone(),
        timeout_ms: params.timeout_ms,
    };
    submit(&app, &call.conn, "chat.send", outgoing).await
}

/// Files cannot be given to the model yet; leaving them out silently would be a lie.
pub(super) fn refuse_attachments(attachments: Option<&[Value]>) -> Result<(), Failure> {
    match attachments {
        None | Some([]) => Ok(()),
        Some(_) => Err(RpcError::invalid(
            "attachments are not taken by this gateway yet; send the text alone",
        )
        .into()),
    }
}

/// Refuses text that no model and no terminal can take.
pub(super) fn refuse_nul(message: &str) -> Result<(), Failure> {
    if message.contains('\0') {
        return Err(RpcError::invalid("message must not contain null bytes").into());
    }
    Ok(())
}

/// A message on its way to a session.
pub(super) struct Outgoing {
    pub(super) key: SessionKey,
    pub(super) message: String,
    pub(super) run_id: RunId,
    pub(super) thinking: Option<String>,
    pub(super) timeout_ms: Option<u64>,
}

impl Outgoing {
    /// What must be the same when the same key comes again.
    pub(super) fn canonical(&self) -> String {
        json!({
            "message": self.message, "sessionKey": self.key.as_str(), "thinking": self.thinking,
            "timeoutMs": self.timeout_ms,
        })
        .to_string()
    }
}

/// Commits a message, or carries out the command that it is.
pub(super) async fn submit(
    app: &App,
    conn: &Conn,
    method: &'static str,
    outgoing: Outgoing,
) -> Result<ChatSendReply, Failure> {
    refuse_nul(&outgoing.message)?;
    if let Some(typed) = slash::typed(&outgoing.message) {
        return slash::carry_out(app, conn, method, &outgoing, typed).await;
    }
    let canonical = outgoing.canonical();
    let Outgoing {
        key,
        message,
        run_id,
        thinking,
        timeout_ms,
    } = outgoing;
    conn.takes_part(key.as_str());
    let accepted = app
        .runs
        .submit(Submit {
            idempotency_key: run_id,
            session_key: key,
            message,
            kind: RunKind::Chat,
            params_canonical_json: canonical,
            options: RunOptions {
                thinking,
                timeout: timeout_ms.filter(|ms| *ms > 0).map(Duration::from_millis),
                ..RunOptions::default()
            },
        })
        .await
        .map_err(|error| shape::run_error(method, error))?;
    Ok(reply(accepted))
}

/// What became of a key.
pub(super) fn reply(accepted: Accepted) -> ChatSendReply {
    let (status, summary) = match accepted.status {
        SubmitStatus::Started => ("started", None),
        SubmitStatus::InFlight => ("in_flight", None),
        SubmitStatus::Ok(_) => ("ok", None),
        SubmitStatus::Error(outcome) => (
            "error",
            outcome.error.or_else(|| Some("interrupted".to_owned())),
        ),
    };
    ChatSendReply {
        run_id: accepted.run_id.to_string(),
        status: status.to_owned(),
        summary,
        more: Map::new(),
    }
}
