//! `clawline logs`: the end of the gateway's log, and what is added to it.

use std::time::Duration;

use clawline::client::CallError;
use clawline::layer::{Layer, LayerError, Retry};
use clawline::protocol::methods::system::{LogsTail, LogsTailParams, LogsTailReply};
use clawline::tunnel::status::TunnelStatus;

use super::connect::{Answer, Connected, with_gateway, with_kept_gateway};
use super::context::Context;
use super::failure::Failure;
use super::sessions::several_lines;
use serde_json::Value;

/// How often a followed log is asked for more.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// Most bytes of one answer.
const MAX_BYTES: u64 = 1_000_000;

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on with what is added, until interrupted
    #[arg(short = 'f', long)]
    follow: bool,
    /// How many lines to start with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=5000))]
    lines: u64,
}

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    if args.follow {
        return with_kept_gateway(context, None, async |gateway| {
            let first = tail(gateway, None, args.lines).await?;
            follow(context, gateway, first).await
        })
        .await;
    }
    with_gateway(context, None, async |gateway| {
        let first = tail(gateway, None, args.lines).await?;
        let answer = Answer {
            text: first.lines.iter().map(|line| readable(line)).collect(),
            ..Answer::default()
        };
        Ok(answer
            .with("file", first.file)
            .with("cursor", first.cursor)
            .with("lines", first.lines))
    })
    .await
}

async fn tail(
    gateway: &Connected,
    cursor: Option<u64>,
    limit: u64,
) -> Result<LogsTailReply, CallError> {
    let params = LogsTailParams {
        cursor,
        limit: Some(limit),
        max_bytes: Some(MAX_BYTES),
    };
    gateway.client.call::<LogsTail>(params).await
}

/// Goes on until nobody reads any more. A lost link is waited for as long as it may come back by itself.
async fn follow(
    context: &Context,
    gateway: &Connected,
    first: LogsTailReply,
) -> Result<Answer, Failure> {
    let mut cursor = first.cursor;
    let mut lost = false;
    print(context, &first);
    while !context.out.is_closed() {
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        match tail(gateway, Some(cursor), 5000).await {
            Ok(more) => {
                if std::mem::take(&mut lost) {
                    context.out.event("the link is back");
                }
                if more.reset {
                    context.out.note("note: the log was started over");
                }
                cursor = more.cursor;
                print(context, &more);
            }
            // It may be busy; a link that is dead is noticed by its own pings.
            Err(CallError::Timeout { .. }) => {}
            Err(error @ (CallError::NotConnected(_) | CallError::Disconnected { .. })) => {
                let view = gateway.link.view().borrow().clone();
                if let Some(why) = stays_down(&view.status) {
                    return Err(why.into());
                }
                if !std::mem::replace(&mut lost, true) {
                    let why = view
                        .trouble()
                        .map_or(error.to_string(), ToString::to_string);
                    context
                        .out
                        .event(&format!("the link is lost, waiting for it: {why}"));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Answer::default())
}

/// Why waiting for the link would not help.
fn stays_down(status: &TunnelStatus) -> Option<LayerError> {
    match status {
        TunnelStatus::Attention { why } | TunnelStatus::Failed { why } => Some(why.clone()),
        TunnelStatus::Stopped | TunnelStatus::Paused => {
            Some(LayerError::new(Layer::Ssh, "the link was closed").retry(Retry::Never))
        }
        TunnelStatus::Connecting { .. }
        | TunnelStatus::Up { .. }
        | TunnelStatus::Waiting { .. } => None,
    }
}

fn print(context: &Context, reply: &LogsTailReply) {
    for line in &reply.lines {
        if context.out.json {
            context.out.value(&serde_json::json!({ "line": line }));
        } else {
            context.out.line(&readable(line));
        }
    }
}

/// A line of a log for people: time, level and message where it is JSON that has them, else as it is.
fn readable(line: &str) -> String {
    let text = serde_json::from_str::<Value>(line)
        .ok()
        .and_then(|entry| in_words(&entry))
        .unwrap_or_else(|| line.to_owned());
    several_lines(&text)
}

fn in_words(entry: &Value) -> Option<String> {
    let text = |paths: &[&str]| {
        let found = paths.iter().find_map(|path| entry.pointer(path)?.as_str());
        found.map(str::to_owned)
    };
    let message = text(&["/message", "/fields/message", "/1", "/0"])?;
    let time = text(&["/time", "/timestamp"]).unwrap_or_default();
    let level = text(&["/level", "/_meta/logLevelName"]).unwrap_or_default();
    let mut line = format!("{time} {level:<5} {message}");
    // What our own gateway says beside the message.
    let fields = entry.get("fields").and_then(Value::as_object);
    for (name, value) in fields.into_iter().flatten() {
        if name != "message" {
            line.push_str(&format!(" {name}={value}"));
        }
    }
    Some(line.trim_start().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_link_is_waited_for_unless_somebody_has_to_do_something() {
        let why = LayerError::new(Layer::SignIn, "refused");
        let waits = TunnelStatus::Waiting {
            until: std::time::Instant::now(),
            why: why.clone(),
            attempt: 2,
        };
        assert_eq!(stays_down(&waits), None);
        for status in [
            TunnelStatus::Attention { why: why.clone() },
            TunnelStatus::Failed { why: why.clone() },
        ] {
            assert_eq!(stays_down(&status).as_ref(), Some(&why));
        }
    }

    #[test]
    fn json_lines_become_words_and_other_lines_stay() {
        for (line, shown) in [
            ("plain \u{1b}[2J", "plain \\u{1b}[2J"),
            (
                r#"{"time":"T","message":"m","_meta":{"logLevelName":"INFO"}}"#,
                "T INFO  m",
            ),
            (
                r#"{"timestamp":"T","level":"WARN","fields":{"message":"m","conn":3}}"#,
                "T WARN  m conn=3",
            ),
            (r#"{"0":"only"}"#, "only"),
            ("[1]", "[1]"),
        ] {
            assert_eq!(readable(line), shown);
        }
    }
}
