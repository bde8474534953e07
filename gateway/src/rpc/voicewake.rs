//! `voicewake.*`: wake words for nodes with a microphone, kept in a file of the state directory.

use std::path::PathBuf;

use clawline::owner_file;
use clawline::protocol::Protocol;
use clawline::protocol::error::RpcError;
use clawline::protocol::methods::voicewake::{
    Triggers, VoicewakeGet, VoicewakeRoutingGet, VoicewakeSet,
};
use clawline::secret::Secret;
use serde_json::{Value, json};

use super::call::off_the_runtime;
use super::{Call, Failure, Table};
use crate::conn::{Conn, Push};
use crate::state::App;

/// The words of the official programs, while nobody chose others.
const DEFAULT: [&str; 3] = ["openclaw", "claude", "computer"];
/// Words that are kept, and the length of one in characters.
const MAX_WORDS: usize = 32;
const MAX_LENGTH: usize = 64;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<VoicewakeGet, _>(get)
        .on_in_order::<VoicewakeSet, _>(|_, _| Some("voicewake".to_owned()), set)
        .on::<VoicewakeRoutingGet, _>(routing)
}

fn file(app: &App) -> PathBuf {
    app.settings().state_dir.join("voicewake.json")
}

async fn load(app: &App) -> Triggers {
    let read = tokio::fs::read(file(app)).await.ok();
    read.and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_else(|| Triggers {
            triggers: DEFAULT.map(str::to_owned).to_vec(),
        })
}

async fn get(app: App, _: Call<VoicewakeGet>) -> Result<Triggers, Failure> {
    Ok(load(&app).await)
}

async fn set(app: App, call: Call<VoicewakeSet>) -> Result<Triggers, Failure> {
    let words = call.params.triggers.iter().map(|word| word.trim());
    let mut triggers: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(|word| clawline::layer::printable(word, MAX_LENGTH))
        .take(MAX_WORDS)
        .collect();
    if triggers.is_empty() {
        triggers = DEFAULT.map(str::to_owned).to_vec();
    }
    let chosen = Triggers { triggers };
    let text = Secret::new(serde_json::to_string(&chosen).unwrap_or_default());
    let path = file(&app);
    let written = off_the_runtime(move || owner_file::replace(&path, &text)).await?;
    written.map_err(|error| {
        tracing::error!(%error, "the wake words cannot be stored");
        RpcError::unavailable("the wake words cannot be stored")
    })?;
    let push = Push::latest("voicewake.changed", &chosen, None);
    app.registry.broadcast(&push);
    app.registry.to_nodes(&push);
    Ok(chosen)
}

async fn routing(_: App, _: Call<VoicewakeRoutingGet>) -> Result<Value, Failure> {
    Ok(current())
}

/// What is spoken goes to the current session.
fn current() -> Value {
    json!({"config": {
        "version": 1, "defaultTarget": {"mode": "current"}, "routes": [], "updatedAtMs": 0,
    }})
}

/// What a node is told right after its hello.
pub(super) async fn greet(app: &App, conn: &Conn) {
    let words = Push::plain("voicewake.changed", &load(app).await);
    conn.outbox.push(&words.direct());
    if conn.version == Protocol::V4 {
        let routing = Push::plain("voicewake.routing.changed", &current());
        conn.outbox.push(&routing.direct());
    }
}
