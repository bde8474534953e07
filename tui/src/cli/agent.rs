//! `clawline agent`: one message, and the answer when it is complete.

use std::io::Read;
use std::time::Duration;

use clawline::protocol::methods::agent::AgentParams;

use super::connect::{Answer, Connected, fail_early, with_gateway};
use super::context::Context;
use super::failure::Failure;
use super::sessions::{full_key, several_lines};
use crate::link::UsageError;

/// How long an answer may take when nothing was said.
const DEFAULT_TIMEOUT_SECONDS: u64 = 600;

/// Longest message that is read from standard input.
const MAX_MESSAGE: u64 = 8 * 1024 * 1024;

/// Arguments of `agent`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The message; `-` reads it from standard input
    #[arg(long, value_name = "TEXT")]
    message: String,
    /// The session; the agent's main one when left out
    #[arg(long, value_name = "KEY")]
    session: Option<String>,
    /// The agent
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// How hard to think, as the model knows it
    #[arg(long, value_name = "LEVEL")]
    thinking: Option<String>,
    /// How long the answer may take, in seconds
    #[arg(long, value_name = "SECS", default_value_t = DEFAULT_TIMEOUT_SECONDS, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// The same key never runs twice: give one to repeat a call safely
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    let message = match message(&args.message).await {
        Ok(message) => message,
        Err(error) => return fail_early(context, None, error.into()),
    };
    with_gateway(context, None, async |gateway| {
        ask(gateway, args, message).await
    })
    .await
}

async fn message(given: &str) -> Result<String, UsageError> {
    let message = if given == "-" {
        // A thread of its own: nobody may ever type an end, and Ctrl-C must do something meanwhile.
        let reading = tokio::task::spawn_blocking(|| read_message(std::io::stdin().lock()));
        match reading.await {
            Ok(message) => message?,
            Err(error) => return Err(unreadable(&error)),
        }
    } else {
        given.to_owned()
    };
    if message.trim().is_empty() {
        return Err(UsageError::new("the message is empty", "--message TEXT"));
    }
    Ok(message)
}

/// Reads a message to its end. A longer one is refused: half of it might say something else.
fn read_message(from: impl Read) -> Result<String, UsageError> {
    let mut bytes = Vec::new();
    let mut limited = from.take(MAX_MESSAGE + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_MESSAGE {
        let what = format!("the message is longer than {} MiB", MAX_MESSAGE >> 20);
        return Err(UsageError::new(what, "send less of it"));
    }
    String::from_utf8(bytes).map_err(|error| unreadable(&error))
}

fn unreadable(error: &dyn std::error::Error) -> UsageError {
    UsageError::new(format!("cannot read standard input: {error}"), "")
}

/// The session: the one that was named, else the main one of the agent. Without a session one gateway
/// refuses, and another starts a new one for each message.
fn session_key(gateway: &Connected, args: &Args) -> String {
    match (&args.session, &args.agent) {
        (Some(key), Some(agent)) if !key.contains(':') => format!("agent:{agent}:{key}"),
        (Some(key), _) => full_key(gateway, key),
        (None, Some(agent)) => format!("agent:{agent}:main"),
        (None, None) => full_key(gateway, "main"),
    }
}

async fn ask(gateway: &Connected, args: &Args, message: String) -> Result<Answer, Failure> {
    let key = args
        .idempotency_key
        .clone()
        .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let params = AgentParams {
        message,
        idempotency_key: key,
        agent_id: args.agent.clone(),
        session_key: Some(session_key(gateway, args)),
        thinking: args.thinking.clone(),
        timeout: Some(args.timeout),
        ..AgentParams::default()
    };
    let reply = gateway
        .client
        .agent(params, Duration::from_secs(args.timeout))
        .await?;
    let good = reply.status == "ok";
    let mut answer = Answer {
        exit: u8::from(!good),
        ..Answer::default()
    };
    let text = reply.text();
    if !text.is_empty() {
        answer.say(several_lines(&text));
    } else if !good {
        let summary = reply.summary.clone().unwrap_or_default();
        answer.say(format!(
            "the run ended with \"{}\": {}",
            reply.status,
            several_lines(&summary)
        ));
    }
    Ok(answer
        .with("text", text)
        .with("run", serde_json::to_value(&reply).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_whole_or_refused() {
        let whole = std::io::repeat(b'a').take(MAX_MESSAGE);
        assert_eq!(read_message(whole).unwrap().len() as u64, MAX_MESSAGE);
        let error = read_message(std::io::repeat(b'a')).unwrap_err();
        assert!(error.to_string().contains("longer than 8 MiB"), "{error}");
        let error = read_message(&b"\xff"[..]).unwrap_err();
        assert!(error.to_string().contains("utf-8"), "{error}");
    }
}
