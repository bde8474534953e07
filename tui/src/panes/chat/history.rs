//! Messages of `chat.history` to entries.

use clawline::protocol::methods::chat::ChatMessage;
use serde_json::Value;

use super::entry::{End, Entry, EntryId, Kind, Source, Tool, ToolEnd};
use super::tools;

/// The entries of a page, oldest first; their ids are given when they are merged.
pub(super) fn entries(messages: &[ChatMessage]) -> Vec<Entry> {
    let mut out: Vec<Entry> = Vec::new();
    for message in messages {
        match message.role.as_str() {
            "user" => {
                let kind = Kind::User {
                    text: message.text(),
                    key: message.sent_key(),
                    delivery: None,
                };
                out.push(entry(message, kind));
            }
            "assistant" => assistant(message, &mut out),
            "toolResult" | "tool" => tool_result(message, &mut out),
            _ => {
                let text = message.text();
                if !text.trim().is_empty() {
                    out.push(entry(message, Kind::System(text)));
                }
            }
        }
    }
    out
}

fn entry(message: &ChatMessage, kind: Kind) -> Entry {
    let at = message.timestamp.filter(|at| *at > 0);
    let mut entry = Entry::new(EntryId(0), kind, Source::Gateway, at);
    entry.seq = message.seq();
    entry.message_id = message.origin.as_ref().and_then(|origin| origin.id.clone());
    entry
}

fn run_of(message: &ChatMessage) -> Option<String> {
    let named = message
        .origin
        .as_ref()
        .and_then(|origin| origin.run_id.clone());
    named.or_else(|| Some(message.more.get("runId")?.as_str()?.to_owned()))
}

fn assistant(message: &ChatMessage, out: &mut Vec<Entry>) {
    let run = run_of(message);
    let text = message.text();
    let error = message
        .more
        .get("errorMessage")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let end = match message.stop_reason.as_deref() {
        Some("aborted" | "rpc") => End::Stopped,
        Some("interrupted") => {
            End::Failed("interrupted: the gateway stopped while it was answering".into())
        }
        Some("error") => End::Failed(if error.is_empty() {
            "no words were given".into()
        } else {
            error.to_owned()
        }),
        _ => End::Done,
    };
    if !text.trim().is_empty() || end != End::Done {
        let kind = Kind::Assistant {
            text,
            run: run.clone(),
            end,
        };
        out.push(entry(message, kind));
    }
    let parts = message
        .content
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for part in parts {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
        if !matches!(kind, "toolCall" | "tool_use" | "toolUse") {
            continue;
        }
        let text = |name: &str| {
            part.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let tool = Tool {
            call: text("id"),
            name: text("name"),
            arguments: tools::arguments(
                part.get("arguments")
                    .or(part.get("input"))
                    .unwrap_or(&Value::Null),
            ),
            result: None,
            end: ToolEnd::Unknown,
            run: run.clone(),
        };
        let mut entry = entry(message, Kind::Tool(tool));
        // Several entries of one message share its number; the call's id tells them apart.
        entry.seq = None;
        entry.message_id = None;
        out.push(entry);
    }
}

fn tool_result(message: &ChatMessage, out: &mut Vec<Entry>) {
    let text = |name: &str| {
        message
            .more
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let call = text("toolCallId");
    let is_error = message.more.get("isError").and_then(Value::as_bool) == Some(true);
    let end = if is_error {
        ToolEnd::Bad(None)
    } else {
        ToolEnd::Good(None)
    };
    let result = tools::result(&message.content);
    let known = out
        .iter_mut()
        .rev()
        .find_map(|entry| match &mut entry.kind {
            Kind::Tool(tool) if !call.is_empty() && tool.call == call => Some(tool),
            _ => None,
        });
    if let Some(tool) = known {
        tool.result = Some(result);
        tool.end = end;
        return;
    }
    let tool = Tool {
        call: call.to_owned(),
        name: text("toolName").to_owned(),
        arguments: String::new(),
        result: Some(result),
        end,
        run: run_of(message),
    };
    out.push(entry(message, Kind::Tool(tool)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_and_its_result_become_one_entry() {
        let messages: Vec<ChatMessage> = serde_json::from_value(json!([
            {"role":"user","content":"disk?","idempotencyKey":"k:user"},
            {"role":"assistant","content":[{"type":"text","text":"let me check"},
                {"type":"toolCall","id":"c1","name":"exec","arguments":{"command":"du"}}]},
            {"role":"toolResult","toolCallId":"c1","toolName":"exec","content":[{"type":"text","text":"81G"}],"isError":false,"timestamp":0},
            {"role":"assistant","content":[{"type":"text","text":"full"}]},
        ]))
        .expect("messages");
        let entries = entries(&messages);
        assert_eq!(entries.len(), 4);
        let Kind::Tool(tool) = &entries[2].kind else {
            panic!("{:?}", entries[2])
        };
        assert_eq!(
            (
                tool.name.as_str(),
                tool.arguments.as_str(),
                tool.result.as_deref()
            ),
            ("exec", "du", Some("81G"))
        );
        assert_eq!(tool.end, ToolEnd::Good(None));
    }
}
