//! `clawline sessions`: the conversations of a gateway.

use clap::Subcommand;
use clawline::layer::{is_unsafe_to_show, printable};
use clawline::protocol::methods::chat::{ChatHistory, ChatHistoryParams};
use clawline::protocol::methods::sessions::{
    SessionRow, SessionsDelete, SessionsDeleteParams, SessionsList, SessionsListParams,
    SessionsReset, SessionsResetParams,
};

use super::connect::{Answer, Connected, with_gateway};
use super::context::Context;
use super::failure::Failure;
use super::status::duration;

/// Arguments of `sessions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<SessionsCommand>,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// The latest sessions (this is what `sessions` alone does)
    List(List),
    /// The end of a conversation
    Show {
        /// Its key; a bare name is one of the default agent's
        key: String,
        /// How many messages
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
    },
    /// Start over under the same key; the old conversation is kept as a file of the gateway
    Reset {
        /// Its key
        key: String,
    },
    /// Delete a session
    Delete {
        /// Its key
        key: String,
        /// Keep the conversation's text
        #[arg(long)]
        keep_transcript: bool,
    },
}

#[derive(Debug, clap::Args, Default)]
struct List {
    /// How many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: Option<u64>,
    /// Only those with this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

/// Sessions in a list when nothing was said.
const DEFAULT_LIMIT: u64 = 50;

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    let default = SessionsCommand::List(List::default());
    let command = args.command.as_ref().unwrap_or(&default);
    with_gateway(context, None, async |gateway| match command {
        SessionsCommand::List(args) => list(gateway, args).await,
        SessionsCommand::Show { key, limit } => show(gateway, key, *limit).await,
        SessionsCommand::Reset { key } => reset(gateway, key).await,
        SessionsCommand::Delete {
            key,
            keep_transcript,
        } => delete(gateway, key, !keep_transcript).await,
    })
    .await
}

async fn list(gateway: &Connected, args: &List) -> Result<Answer, Failure> {
    let params = SessionsListParams {
        limit: Some(args.limit.unwrap_or(DEFAULT_LIMIT)),
        search: args.search.clone(),
        include_derived_titles: Some(true),
        ..SessionsListParams::default()
    };
    let reply = gateway.client.call::<SessionsList>(params).await?;
    let now = jiff::Timestamp::now().as_millisecond();
    let mut answer = Answer::default();
    for row in &reply.sessions {
        answer.say(line(row, now));
    }
    if reply.sessions.is_empty() {
        answer.say("no sessions");
    }
    Ok(answer.with(
        "sessions",
        serde_json::to_value(&reply.sessions).unwrap_or_default(),
    ))
}

fn line(row: &SessionRow, now: i64) -> String {
    let age = row.updated_at.map_or(String::from("never"), |at| {
        let seconds = u64::try_from((now - at).max(0) / 1000).unwrap_or_default();
        format!("{} ago", duration(seconds))
    });
    format!(
        "{:<40} {:>14}  {}",
        printable(&row.key, 120),
        age,
        printable(row.name(), 80)
    )
}

async fn show(gateway: &Connected, key: &str, limit: u64) -> Result<Answer, Failure> {
    let params = ChatHistoryParams {
        session_key: full_key(gateway, key),
        limit: Some(limit),
        ..ChatHistoryParams::default()
    };
    let reply = gateway.client.call::<ChatHistory>(params).await?;
    let mut answer = Answer::default();
    for message in &reply.messages {
        let text = message.text();
        if text.trim().is_empty() {
            continue;
        }
        answer.say(format!("{}:", printable(&message.role, 40)));
        answer.say(several_lines(&text));
        answer.say("");
    }
    if answer.text.is_empty() {
        answer.say("no messages");
    }
    Ok(answer.with("history", serde_json::to_value(&reply).unwrap_or_default()))
}

async fn reset(gateway: &Connected, key: &str) -> Result<Answer, Failure> {
    let params = SessionsResetParams {
        key: full_key(gateway, key),
        reason: None,
    };
    let reply = gateway.client.call::<SessionsReset>(params).await?;
    let mut answer = Answer::default();
    answer.say(format!("{} starts over", printable(&reply.key, 200)));
    Ok(answer.with("key", reply.key))
}

async fn delete(
    gateway: &Connected,
    key: &str,
    delete_transcript: bool,
) -> Result<Answer, Failure> {
    let params = SessionsDeleteParams {
        key: full_key(gateway, key),
        delete_transcript: Some(delete_transcript),
        ..SessionsDeleteParams::default()
    };
    let reply = gateway.client.call::<SessionsDelete>(params).await?;
    let mut answer = Answer {
        exit: u8::from(!reply.deleted),
        ..Answer::default()
    };
    let key = printable(&reply.key, 200);
    answer.say(if reply.deleted {
        format!("{key} is deleted")
    } else {
        format!("there is no session {key}")
    });
    Ok(answer.with("key", reply.key).with("deleted", reply.deleted))
}

/// A bare name is a session of the default agent.
pub(super) fn full_key(gateway: &Connected, key: &str) -> String {
    if key.contains(':') || key == "global" {
        return key.to_owned();
    }
    let defaults = gateway.hello.snapshot.session_defaults.as_ref();
    let agent = defaults
        .map(|defaults| defaults.default_agent_id.as_str())
        .filter(|agent| !agent.is_empty())
        .unwrap_or("main");
    format!("agent:{agent}:{key}")
}

/// Foreign text over several lines, with nothing in it that a terminal would obey.
pub(super) fn several_lines(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '\n' | '\t' => vec![c],
            '\r' => vec![],
            c if is_unsafe_to_show(c) => c.escape_unicode().collect(),
            c => vec![c],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chat_text_cannot_steer_the_terminal() {
        assert_eq!(several_lines("a\u{1b}[2J\nb\r\n"), "a\\u{1b}[2J\nb\n");
    }
}
