//! Slash commands in `chat.send`: the gateway answers them itself, once a key, and no model sees them.
//!
//! A command never does more than the method of the same purpose would do for the same caller.

mod table;
mod words;

use clawline::protocol::error::RpcError;
use clawline::protocol::method::Method as _;
use clawline::protocol::methods::chat::ChatSendReply;
use clawline::protocol::methods::sessions::{SessionsPatch, SessionsPatchParams};
use clawline::protocol::scope::{Needs, Scope};
use serde_json::{Map, Value, json};

use super::Failure;
use super::chat_send::{self, Outgoing};
use super::sessions::read_patch;
use crate::conn::Conn;
use crate::runs::{CommandSubmit, RunId, RunKind, SubmitStatus, halted};
use crate::sessions::Session;
use crate::shape;
use crate::state::App;
use crate::store::CommandEffect;
pub(super) use table::{Command, Typed, listed, typed};

/// Messages that a model goes on seeing after `/compact` without a number.
pub(super) const COMPACT_KEEP: u64 = 20;

/// What a command does and says.
struct Plan {
    effect: CommandEffect,
    answer: String,
}

impl Plan {
    fn say(answer: impl Into<String>) -> Self {
        Self {
            effect: CommandEffect::Nothing,
            answer: answer.into(),
        }
    }
}

/// Carries out what was typed. The same key is answered from what was stored the first time.
pub(super) async fn carry_out(
    app: &App,
    conn: &Conn,
    method: &'static str,
    outgoing: &Outgoing,
    typed: Typed<'_>,
) -> Result<ChatSendReply, Failure> {
    let failed = |error| shape::run_error(method, error);
    let canonical = outgoing.canonical();
    let (run_id, key) = (&outgoing.run_id, &outgoing.key);
    app.known_agent(key.agent_id(), method)?;
    let known = app.runs.known(run_id, RunKind::Chat, &canonical).await;
    if let Some(known) = known.map_err(failed)? {
        if typed.command == Some(Command::Stop)
            && let SubmitStatus::Ok(outcome) = &known.status
        {
            return Ok(stopped(run_id, &halted(&outcome.text)));
        }
        return Ok(chat_send::reply(known));
    }
    conn.takes_part(key.as_str());
    let session = app.sessions.describe(key).await;
    let session = session.map_err(shape::session_error)?;
    if typed.command == Some(Command::Stop) {
        return stop(app, method, outgoing, session.is_some()).await;
    }
    let plan = plan(app, conn, outgoing, session.as_ref(), &typed)?;
    let done = app
        .runs
        .command(CommandSubmit {
            idempotency_key: outgoing.run_id.clone(),
            session_key: outgoing.key.clone(),
            kind: RunKind::Chat,
            params_canonical_json: canonical,
            message: Some(outgoing.message.clone()),
            effect: plan.effect,
            answer: plan.answer,
        })
        .await;
    Ok(chat_send::reply(done.map_err(failed)?))
}

/// `/stop` is answered directly: what was stopped, and no run of its own.
async fn stop(
    app: &App,
    method: &'static str,
    outgoing: &Outgoing,
    has_session: bool,
) -> Result<ChatSendReply, Failure> {
    if !has_session {
        return Ok(stopped(&outgoing.run_id, &[]));
    }
    let halt = CommandSubmit {
        idempotency_key: outgoing.run_id.clone(),
        params_canonical_json: outgoing.canonical(),
        session_key: outgoing.key.clone(),
        kind: RunKind::Chat,
        message: None,
        effect: CommandEffect::Stop,
        answer: String::new(),
    };
    let ids = app.runs.halt(halt).await;
    let ids = ids.map_err(|error| shape::run_error(method, error))?;
    Ok(stopped(&outgoing.run_id, &ids))
}

fn stopped(run_id: &RunId, run_ids: &[RunId]) -> ChatSendReply {
    let run_ids: Vec<&str> = run_ids.iter().map(RunId::as_str).collect();
    let mut more = Map::new();
    more.insert("ok".into(), json!(true));
    more.insert("aborted".into(), json!(!run_ids.is_empty()));
    more.insert("runIds".into(), json!(run_ids));
    ChatSendReply {
        run_id: run_id.to_string(),
        status: "ok".to_owned(),
        summary: None,
        more,
    }
}

fn plan(
    app: &App,
    conn: &Conn,
    outgoing: &Outgoing,
    session: Option<&Session>,
    typed: &Typed<'_>,
) -> Result<Plan, Failure> {
    let Some(command) = typed.command else {
        return Ok(Plan::say(words::unknown(typed.name)));
    };
    let settings = session.map(|session| session.settings.clone());
    let settings = settings.unwrap_or_default();
    let change = |name: &str| patch(app, conn, outgoing, name, typed.args);
    Ok(match command {
        Command::Help => Plan::say(words::help(false)),
        Command::Commands => Plan::say(words::help(true)),
        Command::Status => Plan::say(words::status(app, &outgoing.key, session)),
        Command::New | Command::Reset => {
            needs(app, conn, Scope::Admin)?;
            if typed.args.is_empty() {
                Plan {
                    effect: CommandEffect::Reset,
                    answer: words::NEW_SESSION.to_owned(),
                }
            } else {
                Plan::say(words::takes_nothing(typed.name))
            }
        }
        Command::Model if typed.args.is_empty() => {
            Plan::say(words::model(app, &outgoing.key, session))
        }
        Command::Think if typed.args.is_empty() => Plan::say(words::level(
            "Thinking",
            "think",
            settings.thinking_level.as_deref(),
            table::THINKING,
        )),
        Command::Verbose if typed.args.is_empty() => Plan::say(words::level(
            "Detail",
            "verbose",
            settings.verbose_level.as_deref(),
            table::VERBOSE,
        )),
        Command::Usage if typed.args.is_empty() => Plan::say(words::usage(session)),
        Command::Model => change("model")?,
        Command::Think => change("thinkingLevel")?,
        Command::Verbose => change("verboseLevel")?,
        Command::Usage => change("responseUsage")?,
        Command::Compact => {
            needs(app, conn, Scope::Admin)?;
            compact(typed.args)
        }
        // Taken care of before; it has no answer in the transcript.
        Command::Stop => Plan::say(String::new()),
    })
}

fn compact(args: &str) -> Plan {
    let keep = match args {
        "" => Some(COMPACT_KEEP),
        number => number.parse().ok().filter(|keep| *keep > 0),
    };
    match keep {
        Some(keep) => Plan {
            effect: CommandEffect::Compact(keep),
            answer: words::compacted(keep),
        },
        None => Plan::say("How many of the newest messages? Write /compact 20, for example."),
    }
}

/// What `sessions.patch` would do for this caller with this one member; `default` clears it.
fn patch(
    app: &App,
    conn: &Conn,
    outgoing: &Outgoing,
    name: &str,
    args: &str,
) -> Result<Plan, Failure> {
    let lower = args.to_lowercase();
    let value = match lower.as_str() {
        "default" | "inherit" => Value::Null,
        _ if name == "model" => json!(args),
        level => json!(level),
    };
    let mut settings = Map::new();
    settings.insert(name.to_owned(), value.clone());
    let params = SessionsPatchParams {
        key: outgoing.key.to_string(),
        settings,
    };
    if let Needs::Operator(scope) = SessionsPatch::needs(conn.version, &params) {
        needs(app, conn, scope)?;
    }
    let read = read_patch(app, &params.settings).map_err(|failure| failure.error.message);
    let checked = read.and_then(|patch| match app.sessions.check(&patch) {
        Ok(()) => Ok(patch),
        Err(error) => Err(error.to_string()),
    });
    Ok(match checked {
        Ok(patch) => Plan {
            answer: words::changed(app, &outgoing.key, name, &value),
            effect: CommandEffect::Patch(Box::new(patch)),
        },
        Err(why) => Plan::say(words::refused(&why)),
    })
}

fn needs(app: &App, conn: &Conn, scope: Scope) -> Result<(), Failure> {
    if conn.principal.scopes.grants(scope) || !app.policy.slash_scope {
        Ok(())
    } else {
        Err(RpcError::missing_scope(scope.as_str()).into())
    }
}

/// The text of a started-over session, for `agent`.
pub(super) fn new_session_text() -> &'static str {
    words::NEW_SESSION
}
