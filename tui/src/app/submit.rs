//! What was typed: a message for the outbox, or a command.

use clawline::protocol::methods::approvals::Decision;

use super::effect::Effect;
use super::model::{Model, full_key};
use super::overlay::{Overlay, Page};
use super::update::{ask_token, list_sessions, open_session};
use super::{input, msg};
use crate::commands::{Command, find, is_gateways};
use crate::outbox::{Delivery, Message};

/// Enter was pressed.
pub(super) fn submit(model: &mut Model) -> Vec<Effect> {
    if model.chat.composer.is_blank() {
        return vec![];
    }
    let text = model.chat.composer.text();
    if let Some(rest) = text.trim_start().strip_prefix('/')
        && !rest.starts_with('/')
        && !text.contains('\n')
    {
        let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if let Some(command) = find(name.trim()) {
            model.chat.composer.take();
            return run(model, command, argument.trim());
        }
        let may_know = !model.commands.is_empty();
        if may_know && !is_gateways(&model.commands, name.trim()) {
            let name = crate::widgets::text::one_line(name);
            model.remark(
                format!("no command /{name} here or at the gateway; // sends it as text"),
                true,
            );
            return vec![];
        }
    }
    let text = model.chat.composer.take();
    let text = match text.trim_start().strip_prefix("//") {
        Some(rest) => format!("/{rest}"),
        None => text,
    };
    message(model, text)
}

/// Shows a message as queued and puts it on disk; it goes out from there.
pub(super) fn message(model: &mut Model, text: String) -> Vec<Effect> {
    let message = Message {
        key: model.keys.new_key(),
        session: model.chat.session.clone(),
        text: text.trim_end().to_owned(),
        at: model.now.wall_ms,
        delivery: Delivery::Queued,
    };
    model.chat.show_message(&message);
    model.chat.scroll_to_end();
    let mut effects = vec![Effect::Store(message)];
    effects.extend(super::update::save_draft(model));
    effects
}

/// Does what a command of ours does.
pub(super) fn run(model: &mut Model, command: Command, argument: &str) -> Vec<Effect> {
    let session = model.chat.session.clone();
    match command {
        Command::Help => open(model, Overlay::Help(Page::default())),
        Command::Link => open(model, Overlay::Link(Page::default())),
        Command::Health => open_health(model),
        Command::Sessions => input::pick_session(model),
        Command::Session if argument.is_empty() => input::pick_session(model),
        Command::Session => open_named(model, argument),
        Command::New => {
            let name = if argument.is_empty() {
                let key = model.keys.new_key();
                format!("chat-{}", key.get(..8).unwrap_or(&key))
            } else {
                argument.to_owned()
            };
            open_named(model, &name)
        }
        Command::Reset => online(model, |_| vec![Effect::Reset { session }]),
        Command::Model if argument.is_empty() => online(model, |model| {
            input::pick_model(model);
            vec![Effect::ListModels]
        }),
        Command::Model => patch(model, "model", argument),
        Command::Think if argument.is_empty() => usage(model, "/think off, low, medium or high"),
        Command::Think => patch(model, "thinkingLevel", argument),
        Command::Verbose if argument.is_empty() => usage(model, "/verbose off, on or full"),
        Command::Verbose => patch(model, "verboseLevel", argument),
        Command::Abort => input::stop_run(model),
        Command::Approvals => show_approvals(model),
        Command::Allow => decide(model, argument, Decision::AllowOnce),
        Command::Deny => decide(model, argument, Decision::Deny),
        Command::Retry => {
            let keys = model.outbox.retry(&session);
            if keys.is_empty() {
                return usage(model, "nothing was refused in this session");
            }
            let mut effects = Vec::new();
            for key in keys {
                model.chat.set_delivery(&key, &Delivery::Queued);
                effects.push(Effect::Note {
                    key,
                    delivery: Delivery::Queued,
                });
            }
            effects
        }
        Command::Discard => {
            let gone = model.outbox.discard(&session);
            let mut effects = Vec::new();
            for message in &gone {
                let id = model
                    .chat
                    .transcript
                    .entries()
                    .iter()
                    .find(|entry| entry.run() == Some(&message.key))
                    .map(|entry| entry.id);
                if let Some(id) = id {
                    model.chat.transcript.remove(id);
                }
                effects.push(Effect::Note {
                    key: message.key.clone(),
                    delivery: Delivery::Accepted,
                });
            }
            model.remark(format!("{} thrown away", gone.len()), false);
            effects
        }
        Command::Status => online(model, |_| vec![Effect::Status]),
        Command::Token => {
            ask_token(model);
            vec![]
        }
        Command::Reconnect => vec![Effect::ReconnectNow],
        Command::Expand => {
            model.chat.expanded = !model.chat.expanded;
            vec![]
        }
        Command::Quit => input::quit(model),
    }
}

fn show_approvals(model: &mut Model) -> Vec<Effect> {
    let now = model.now;
    let waiting = model.approvals.waiting(now.wall_ms);
    let texts: Vec<String> = waiting.map(|waiting| waiting.text.clone()).collect();
    if texts.is_empty() {
        return usage(model, "no program waits for a yes or no");
    }
    for text in texts {
        model.chat.note(text, false, now);
    }
    vec![]
}

/// Decides about the command with this number, and about no other.
fn decide(model: &mut Model, number: &str, decision: Decision) -> Vec<Effect> {
    let Ok(number) = number.parse::<u32>() else {
        return usage(model, "write its number; /approvals shows what waits");
    };
    let Some(waiting) = model.approvals.find(number, model.now.wall_ms) else {
        return usage(model, "nothing with this number waits any more");
    };
    if let Some(why) = waiting.unclear.filter(|_| decision != Decision::Deny) {
        let words = format!("not allowed: {why}");
        model.remark(words, true);
        return vec![];
    }
    let id = waiting.id.clone();
    online(model, |_| vec![Effect::Decide { id, decision }])
}

fn open(model: &mut Model, overlay: Overlay) -> Vec<Effect> {
    model.overlay = Some(overlay);
    vec![]
}

/// Opens the health page and asks at once.
pub(super) fn open_health(model: &mut Model) -> Vec<Effect> {
    model.overlay = Some(Overlay::Health(Page::default()));
    if model.is_linked() && model.health.is_due(model.now.at) {
        vec![Effect::Health]
    } else {
        vec![]
    }
}

fn open_named(model: &mut Model, name: &str) -> Vec<Effect> {
    let key = full_key(name, model.default_agent());
    if key.len() > 512 || key.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return usage(
            model,
            "a session's name has no spaces and at most 512 bytes",
        );
    }
    let mut effects = open_session(model, &key);
    effects.extend(list_sessions(model));
    effects
}

fn usage(model: &mut Model, words: &str) -> Vec<Effect> {
    model.remark(words, false);
    vec![]
}

fn patch(model: &mut Model, name: &'static str, value: &str) -> Vec<Effect> {
    let session = model.chat.session.clone();
    let value = value.to_owned();
    online(model, |_| {
        vec![Effect::Patch {
            session,
            name,
            value,
        }]
    })
}

fn online(model: &mut Model, then: impl FnOnce(&mut Model) -> Vec<Effect>) -> Vec<Effect> {
    if model.is_linked() {
        then(model)
    } else {
        let words =
            msg::Failure::NotSent("there is no link now; this needs one".to_owned()).words();
        model.remark(words, true);
        vec![]
    }
}
