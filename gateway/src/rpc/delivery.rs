//! `send` and `wake`: messages that start somewhere else than in a chat.

use clawline::protocol::Protocol;
use clawline::protocol::error::RpcError;
use clawline::protocol::methods::delivery::{Send, Wake, WakeMode};
use serde_json::{Value, json};

use super::{Call, Failure, Table};
use crate::conn::Push;
use crate::runs::{RunId, RunKind, RunOptions, Submit};
use crate::sessions::MAIN_SESSION;
use crate::shape;
use crate::state::App;
use crate::store::now_ms;

/// Characters of a wake's text that its event shows.
const PREVIEW: usize = 200;

pub(crate) fn rows(table: Table) -> Table {
    table.on::<Send, _>(send).on::<Wake, _>(wake)
}

/// There is no channel; each version has its words for that.
async fn send(_: App, call: Call<Send>) -> Result<Value, Failure> {
    let named = call
        .params
        .channel
        .as_deref()
        .filter(|name| !name.is_empty());
    let text = match (call.conn.version, named) {
        (_, Some(name)) => {
            let name = clawline::layer::printable(name, 40);
            format!("unsupported channel: {name}")
        }
        // Their default, which is what is missing when nothing was named.
        (Protocol::V3, None) => "unsupported channel: whatsapp".to_owned(),
        (Protocol::V4, None) => {
            "Error: Channel is required (no configured channels detected); this gateway has no channels"
                .to_owned()
        }
    };
    Err(RpcError::invalid(text).into())
}

async fn wake(app: App, call: Call<Wake>) -> Result<Value, Failure> {
    let params = &call.params;
    if params.mode == WakeMode::NextHeartbeat {
        return Err(RpcError::invalid(
            "this gateway has no heartbeat that could take it along; use mode \"now\"",
        )
        .into());
    }
    let text = params.text.trim();
    if text.is_empty() {
        return Err(RpcError::invalid_params("wake", "/text must not be empty").into());
    }
    let key = app.session_key(params.session_key.as_deref().unwrap_or(MAIN_SESSION))?;
    let run_id = RunId::parse(&format!("wake-{}", uuid::Uuid::new_v4()))
        .map_err(|error| RpcError::invalid_params("wake", error))?;
    let submit = Submit {
        idempotency_key: run_id,
        params_canonical_json: json!({"text": text, "sessionKey": key.as_str()}).to_string(),
        session_key: key,
        message: text.to_owned(),
        kind: RunKind::Chat,
        options: RunOptions::default(),
    };
    let accepted = app.runs.submit(submit).await;
    accepted.map_err(|error| shape::run_error("wake", error))?;
    let preview = clawline::layer::printable(text, PREVIEW);
    let event = json!({"ts": now_ms(), "status": "sent", "reason": "wake", "preview": preview});
    app.last_heartbeat.send_replace(event.clone());
    app.registry
        .broadcast(&Push::latest("heartbeat", &event, None));
    Ok(json!({"ok": true}))
}
