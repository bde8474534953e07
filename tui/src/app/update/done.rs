//! What came of an effect.

use clawline::protocol::methods::chat::{ChatHistoryReply, ChatSendReply};

use super::gateway::settled;
use super::{approvals, link_changed, list_sessions, want_newest};
use crate::app::effect::Effect;
use crate::app::input;
use crate::app::model::{Focus, Model};
use crate::app::msg::{Done, Failure, Reading};
use crate::outbox::queue::Answer;
use crate::outbox::{Delivery, Message};
use crate::panes::chat::update::RunNews;
use crate::widgets::text::one_line;

/// How long the outbox waits after "not now" without a time.
const PATIENCE_MS: u64 = 2_000;

/// Takes what an effect brought.
pub(super) fn on_done(model: &mut Model, done: Done) -> Vec<Effect> {
    let now = model.now;
    match done {
        Done::History {
            session,
            reading,
            result,
        } => history(model, &session, reading, result.as_deref()),
        Done::Outbox(Ok(messages)) => {
            model.outbox.replace(messages);
            let session = model.chat.session.clone();
            for message in model.outbox.of_session(&session) {
                model.chat.show_message(message);
            }
            vec![]
        }
        Done::Outbox(Err(words)) | Done::DiskTrouble(words) => {
            model.remark(one_line(&words), true);
            vec![]
        }
        Done::Stored(message, Ok(())) => {
            model.outbox.push(message);
            vec![]
        }
        Done::Stored(message, Err(words)) => {
            not_kept(model, &message, &words);
            vec![]
        }
        Done::Sent { key, result } => sent(model, &key, result),
        Done::Awake => {
            model.outbox.wake();
            vec![]
        }
        Done::Aborted(result) => {
            match result {
                Ok(true) => {}
                Ok(false) => model.remark("nothing was running any more", false),
                Err(failure) => model.remark(format!("not stopped: {}", failure.words()), true),
            }
            vec![]
        }
        Done::RunStatus { run, result } => match model.chat.on_run_status(&run, &result, now) {
            RunNews::Nothing => vec![],
            RunNews::AskAgain => vec![Effect::AskRun { run }],
            RunNews::Over => {
                let session = model.chat.session.clone();
                model.sessions.run_ended(&session, &run, now.wall_ms);
                want_newest(model)
            }
        },
        Done::Sessions(result) => {
            match result {
                Ok(reply) => {
                    model.sessions.take(&reply);
                    let session = model.chat.session.clone();
                    model.sessions.unread.remove(&session);
                    if model.focus != Focus::Sessions {
                        model.sessions.select(&session);
                    }
                    input::refill_sessions(model);
                }
                Err(failure) => model.sessions.trouble = Some(failure.words()),
            }
            if model.listing.take() == Some(true) {
                list_sessions(model).into_iter().collect()
            } else {
                vec![]
            }
        }
        Done::Health(result, took) => {
            model.health.take(
                result
                    .map(|reply| *reply)
                    .map_err(|failure| failure.words()),
                took,
            );
            vec![]
        }
        Done::Models(result) => {
            input::models_came(model, result);
            vec![]
        }
        Done::Commands(result) => {
            model.commands = result.unwrap_or_default();
            vec![]
        }
        Done::Approvals(result) => {
            approvals::listed(model, result);
            vec![]
        }
        Done::Decided {
            id,
            decision,
            result,
        } => {
            approvals::decided(model, &id, decision, result);
            vec![]
        }
        Done::Changed { what, result } => {
            match result {
                Ok(()) => model.remark(what, false),
                Err(failure) => model.remark(failure.words(), true),
            }
            list_sessions(model).into_iter().collect()
        }
        Done::Reset { session, result } => match result {
            Ok(()) => {
                if session == model.chat.session {
                    model.chat.cursor = None;
                    model.chat.older = None;
                }
                model.remark("started over", false);
                want_newest(model)
            }
            Err(failure) => {
                model.remark(format!("not reset: {}", failure.words()), true);
                vec![]
            }
        },
        Done::Said(result) => {
            match result {
                Ok(text) => model.chat.note(text, false, now),
                Err(failure) => model.remark(failure.words(), true),
            }
            vec![]
        }
        Done::Opened(link) => {
            model.first_run = None;
            let session = model.chat.session.clone();
            let mut effects = link_changed(model, *link);
            effects.push(Effect::LoadDraft { session });
            effects
        }
        Done::NotOpened(words) => {
            if let Some(screen) = &mut model.first_run {
                screen.trouble = Some(words);
            }
            vec![]
        }
        Done::Draft { session, text } => {
            if session == model.chat.session && model.chat.composer.is_empty() && !text.is_empty() {
                model.chat.composer.set(&text);
                model.chat.composer.changed = false;
            }
            vec![]
        }
    }
}

/// A message that the disk would not take goes back to where it was typed.
fn not_kept(model: &mut Model, message: &Message, words: &str) {
    let id = model
        .chat
        .transcript
        .entries()
        .iter()
        .rev()
        .find_map(|entry| (entry.run() == Some(&message.key)).then_some(entry.id));
    if let Some(id) = id {
        model.chat.transcript.remove(id);
    }
    if model.chat.session == message.session && model.chat.composer.is_blank() {
        model.chat.composer.set(&message.text);
    }
    model.remark(
        format!(
            "not sent, as it cannot be kept on disk: {}",
            one_line(words)
        ),
        true,
    );
}

fn history(
    model: &mut Model,
    session: &str,
    reading: Reading,
    result: Result<&ChatHistoryReply, &Failure>,
) -> Vec<Effect> {
    let mut effects = Vec::new();
    match result {
        Ok(reply) if reading != Reading::Older => {
            for key in model.outbox.read(session, &reply.messages) {
                model.chat.set_delivery(&key, &Delivery::Accepted);
                effects.push(Effect::Note {
                    key,
                    delivery: Delivery::Accepted,
                });
            }
        }
        Ok(_) => {}
        // Somebody waits for it: asked again, but not at once.
        Err(_) if model.outbox.of_session(session).next().is_some() => effects.push(Effect::Wake {
            after_ms: PATIENCE_MS,
        }),
        Err(_) => {}
    }
    if session != model.chat.session {
        return effects;
    }
    let was_read = result.is_ok() && matches!(reading, Reading::Newest | Reading::After);
    if model.chat.on_history(reading, result) {
        effects.extend(want_newest(model));
    }
    if was_read {
        for run in model.chat.doubtful_runs() {
            effects.push(Effect::AskRun { run });
        }
    }
    effects
}

fn sent(model: &mut Model, key: &str, result: Result<Box<ChatSendReply>, Failure>) -> Vec<Effect> {
    let mut effects = Vec::new();
    let answer = match &result {
        Ok(_) => Answer::Taken {
            durable: model.is_durable(),
        },
        Err(Failure::Refused(error)) => {
            let later = error.retryable == Some(true)
                || error.code == clawline::protocol::error::ErrorCode::Unavailable;
            if later {
                effects.push(Effect::Wake {
                    after_ms: error.retry_after_ms.unwrap_or(PATIENCE_MS),
                });
                Answer::NotSent
            } else {
                Answer::Refused(one_line(&error.message))
            }
        }
        Err(Failure::NotSent(_)) => {
            effects.push(Effect::Wake {
                after_ms: PATIENCE_MS,
            });
            Answer::NotSent
        }
        Err(Failure::Unknown(_)) => {
            effects.push(Effect::Wake {
                after_ms: PATIENCE_MS,
            });
            Answer::Unknown
        }
    };
    let session = model
        .outbox
        .session_of(key)
        .unwrap_or_else(|| model.chat.session.clone());
    if let Some(delivery) = model.outbox.answered(key, answer) {
        model.chat.set_delivery(key, &delivery);
        effects.push(Effect::Note {
            key: key.to_owned(),
            delivery,
        });
    }
    let Ok(reply) = result else {
        return effects;
    };
    let now = model.now;
    let here = session == model.chat.session;
    match reply.status.as_str() {
        "started" | "in_flight" if here => model.chat.start_run(key, now),
        "started" | "in_flight" => {}
        // Finished before, or answered without a run: the gateway had it.
        _ => {
            effects.extend(settled(model, key));
            if here {
                effects.extend(want_newest(model));
            }
        }
    }
    effects
}
