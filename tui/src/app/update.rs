//! A message to a new state and effects. Pure: no clock, no I/O.

use std::sync::Arc;

use clawline::protocol::Protocol;
use clawline::protocol::event::{
    AgentEvent, ChatEvent, ChatState, PresenceEvent, SessionMessageEvent, SessionsChangedEvent,
    ShutdownEvent,
};
use clawline::protocol::frame::Event;
use clawline::protocol::hello::HelloOk;
use clawline::protocol::methods::chat::{ChatHistoryReply, ChatSendReply};
use clawline::protocol::methods::system::HealthReply;
use clawline::tunnel::status::TunnelStatus;
use serde::de::DeserializeOwned;

use super::effect::Effect;
use super::input;
use super::model::{Model, full_key};
use super::msg::{Done, Failure, Msg, Now, Reading, Signal};
use super::overlay::{Overlay, Page};
use super::prompt::{Asker, PromptId, Question};
use crate::outbox::queue::{Answer, Step};
use crate::outbox::{Delivery, Message};
use crate::panes::chat::state::{Chat, Load};
use crate::panes::chat::update::RunNews;
use crate::widgets::text::one_line;

/// How long the outbox waits after "not now" without a time.
const PATIENCE_MS: u64 = 2_000;

/// Takes one message.
pub(crate) fn update(model: &mut Model, now: Now, msg: Msg) -> Vec<Effect> {
    model.now = now;
    let mut effects = match msg {
        Msg::Key(key) => input::key(model, key),
        Msg::Paste(text) => input::paste(model, &text),
        Msg::Wheel(rows) => input::wheel(model, rows),
        Msg::Resize(columns, rows) => {
            model.size = (columns, rows);
            vec![]
        }
        Msg::Link(link) => link_changed(model, *link),
        Msg::Connected(hello) => connected(model, hello),
        Msg::Disconnected(words) => disconnected(model, &words),
        Msg::Gateway(event) => gateway(model, &event),
        Msg::Gap => {
            let mut effects: Vec<Effect> = want_newest(model);
            effects.extend(list_sessions(model));
            effects
        }
        Msg::Question(id, prompt) => {
            model.questions.push_back(Question::of_tunnel(id, prompt));
            vec![]
        }
        Msg::QuestionGone(id) => {
            question_gone(model, id);
            vec![]
        }
        Msg::Tick => tick(model),
        Msg::Signal(Signal::Leave) => input::quit(model),
        Msg::Signal(Signal::Sleep) => vec![Effect::Suspend],
        Msg::Signal(Signal::Wake) => vec![Effect::TakeTerminal],
        Msg::Done(done) => on_done(model, done),
    };
    effects.extend(pump(model));
    effects
}

/// Lets the outbox do what it can do now.
pub(super) fn pump(model: &mut Model) -> Vec<Effect> {
    let mut effects = Vec::new();
    for step in model.outbox.steps() {
        match step {
            Step::Read { session }
                if session == model.chat.session && model.chat.reading.is_some() => {}
            Step::Read { session }
                if session == model.chat.session && model.chat.load != Load::Read =>
            {
                effects.extend(want_newest(model));
            }
            Step::Read { session } => effects.push(Effect::ReadHistory {
                session,
                reading: Reading::Outbox,
                offset: None,
                cursor: None,
            }),
            Step::Send(message) => {
                model.chat.set_delivery(&message.key, &Delivery::Sent);
                effects.push(Effect::Send(message));
            }
        }
    }
    effects
}

/// Reads what is new in the session on screen.
pub(super) fn want_newest(model: &mut Model) -> Vec<Effect> {
    if !model.is_linked() {
        return vec![];
    }
    let by_cursor = model.is_ours();
    model.chat.want_newest(by_cursor).into_iter().collect()
}

pub(super) fn list_sessions(model: &mut Model) -> Option<Effect> {
    if !model.is_linked() {
        return None;
    }
    if let Some(again) = &mut model.listing {
        *again = true;
        return None;
    }
    model.listing = Some(false);
    Some(Effect::ListSessions)
}

/// Opens a session: keeps the draft of the old one, shows what waits for the new one.
pub(super) fn open_session(model: &mut Model, key: &str) -> Vec<Effect> {
    let key = full_key(key, model.default_agent());
    let mut effects = save_draft(model);
    if key == model.chat.session {
        return effects;
    }
    let mut chat = Chat::new(key.clone(), false);
    chat.columns = model.chat.columns;
    chat.rows = model.chat.rows;
    chat.expanded = model.chat.expanded;
    for message in model.outbox.of_session(&key) {
        chat.show_message(message);
    }
    model.chat = chat;
    model.sessions.unread.remove(&key);
    model.sessions.select(&key);
    effects.push(Effect::LoadDraft { session: key });
    effects.extend(want_newest(model));
    effects
}

/// Writes the draft, if it changed.
pub(super) fn save_draft(model: &mut Model) -> Vec<Effect> {
    model.draft_due = None;
    if !model.chat.composer.changed {
        return vec![];
    }
    model.chat.composer.changed = false;
    vec![Effect::SaveDraft {
        session: model.chat.session.clone(),
        text: model.chat.composer.text(),
    }]
}

fn link_changed(model: &mut Model, link: crate::panes::link::state::LinkState) -> Vec<Effect> {
    model.link = link;
    if model.link.wants_token() {
        let is_open = model
            .questions
            .iter()
            .any(|question| matches!(question.asker, Asker::Gateway { .. }));
        if !is_open && !model.token_dismissed {
            ask_token(model);
        }
    } else {
        model.token_dismissed = false;
        model
            .questions
            .retain(|question| !matches!(question.asker, Asker::Gateway { .. }));
    }
    show_trouble(model);
    vec![]
}

/// What a person has to mend before the first link opens its page by itself, once for each trouble.
fn show_trouble(model: &mut Model) {
    let is_stuck = matches!(
        model.link.status,
        TunnelStatus::Attention { .. } | TunnelStatus::Failed { .. }
    );
    let why = model
        .link
        .why()
        .filter(|_| is_stuck && !model.link.wants_token());
    let Some(why) = why.cloned() else { return };
    let is_new = model.shown_trouble.as_ref() != Some(&why);
    if is_new && model.overlay.is_none() && model.chat.load != Load::Read {
        model.overlay = Some(Overlay::Link(Page::default()));
    }
    model.shown_trouble = Some(why);
}

/// Opens the question for the gateway's token, or its password where the refusal speaks of one.
pub(super) fn ask_token(model: &mut Model) {
    let words = model
        .link
        .why()
        .map(|why| why.what.clone())
        .unwrap_or_default();
    let password = words.contains("password");
    model
        .questions
        .push_back(Question::of_gateway(words, password));
}

fn question_gone(model: &mut Model, id: PromptId) {
    model
        .questions
        .retain(|question| !matches!(&question.asker, Asker::Tunnel(other, _) if *other == id));
}

fn connected(model: &mut Model, hello: Arc<HelloOk>) -> Vec<Effect> {
    let ticks = model
        .lost
        .take()
        .map(|lost| model.now.at.saturating_duration_since(lost.at));
    model.hello = Some(hello);
    model.listing = None;
    model.outbox.connected();
    let mut effects = Vec::new();
    if model.shown_trouble.take().is_some() && matches!(model.overlay, Some(Overlay::Link(_))) {
        // It opened by itself, or showed what is mended now.
        model.overlay = None;
    }
    if model.chat.guessed {
        effects.extend(settle_session(model));
    }
    if let Some(missed) = ticks {
        let now = model.now;
        model.chat.reconnected(missed, now);
    }
    model.chat.reading = None;
    effects.extend(want_newest(model));
    let offers = |method: &str| {
        model
            .hello
            .as_ref()
            .is_some_and(|hello| hello.offers(method))
    };
    let lists_commands = offers("commands.list");
    if offers("sessions.subscribe") {
        effects.push(Effect::Subscribe);
    }
    effects.extend(list_sessions(model));
    if lists_commands {
        effects.push(Effect::ListCommands);
    }
    if model.shows_health() && model.health.is_due(model.now.at) {
        effects.push(Effect::Health);
    }
    if let Some(text) = model.first_message.take() {
        effects.extend(super::submit::message(model, text));
    }
    effects
}

/// The gateway told its main session: the one on screen was our guess.
fn settle_session(model: &mut Model) -> Vec<Effect> {
    let defaults = model
        .hello
        .as_ref()
        .and_then(|hello| hello.snapshot.session_defaults.clone());
    let (session, agent) = &model.wanted;
    let agent = agent.as_deref().unwrap_or_else(|| model.default_agent());
    let key = match (session, defaults) {
        (Some(session), _) => full_key(session, agent),
        (None, Some(defaults))
            if model.wanted.1.is_none() && !defaults.main_session_key.is_empty() =>
        {
            defaults.main_session_key
        }
        (None, Some(defaults)) if !defaults.main_key.is_empty() => {
            full_key(&defaults.main_key, agent)
        }
        (None, _) => full_key("main", agent),
    };
    model.chat.guessed = false;
    if key == model.chat.session {
        return vec![];
    }
    model.outbox.rename_session(&model.chat.session, &key);
    model.chat.session.clone_from(&key);
    if model.chat.composer.is_empty() {
        vec![Effect::LoadDraft { session: key }]
    } else {
        vec![]
    }
}

fn disconnected(model: &mut Model, words: &str) -> Vec<Effect> {
    if model.hello.take().is_none() {
        return vec![];
    }
    let now = model.now;
    model.lost = Some(now);
    model.listing = None;
    model.outbox.disconnected();
    model.health.disconnected();
    model.sessions.forget_runs();
    model.chat.disconnected(&one_line(words), now);
    vec![]
}

fn read<T: DeserializeOwned>(event: &Event) -> Option<T> {
    // What we cannot read is newer than we are, or not for us; history tells the rest.
    serde_json::from_value(event.payload.clone()).ok()
}

fn gateway(model: &mut Model, event: &Event) -> Vec<Effect> {
    match event.event.as_str() {
        "chat" => read(event).map_or(vec![], |event| chat(model, &event)),
        "agent" => read(event).map_or(vec![], |event| agent(model, &event)),
        "sessions.changed" => read::<SessionsChangedEvent>(event).map_or(vec![], |event| {
            if model.sessions.change(&event) {
                vec![]
            } else {
                list_sessions(model).into_iter().collect()
            }
        }),
        "session.message" => read(event).map_or(vec![], |event| session_message(model, &event)),
        "presence" => {
            if let Some(event) = read::<PresenceEvent>(event) {
                model.health.present = event.presence.len();
            }
            vec![]
        }
        "health" => {
            if let Some(reply) = read::<HealthReply>(event) {
                model.health.last = Some(reply);
            }
            vec![]
        }
        "shutdown" => {
            let reason = read::<ShutdownEvent>(event).map(|event| one_line(&event.reason));
            let reason = reason.filter(|reason| !reason.is_empty());
            let reason = reason.unwrap_or_else(|| "the gateway is stopping".to_owned());
            model.remark(reason, true);
            vec![]
        }
        _ => vec![],
    }
}

fn is_on_screen(model: &Model, session: &str) -> bool {
    session == model.chat.session || full_key(session, model.default_agent()) == model.chat.session
}

fn chat(model: &mut Model, event: &ChatEvent) -> Vec<Effect> {
    let now = model.now;
    let session = full_key(&event.session_key, model.default_agent());
    let is_end = matches!(
        event.state,
        ChatState::Final | ChatState::Aborted | ChatState::Error
    );
    if is_end {
        model
            .sessions
            .run_ended(&session, &event.run_id, now.wall_ms);
    } else if !model.chat.has_ended(&event.run_id) {
        model
            .sessions
            .run_started(&session, &event.run_id, now.wall_ms);
    }
    let mut effects = Vec::new();
    if is_end {
        effects.extend(settled(model, &event.run_id));
    }
    if is_on_screen(model, &event.session_key) {
        if model.chat.hear_chat(event, now) {
            effects.extend(want_newest(model));
        }
        // Version 3 does not say that a session changed.
        let is_silent = model
            .hello
            .as_ref()
            .is_some_and(|hello| hello.protocol == Protocol::V3);
        if is_end && is_silent {
            effects.extend(list_sessions(model));
        }
    } else if is_end {
        model.sessions.unread.insert(session);
    }
    effects
}

/// The gateway certainly has a message: it leaves the outbox.
fn settled(model: &mut Model, key: &str) -> Vec<Effect> {
    if !model.outbox.run_over(key) {
        return vec![];
    }
    model.chat.set_delivery(key, &Delivery::Accepted);
    vec![Effect::Note {
        key: key.to_owned(),
        delivery: Delivery::Accepted,
    }]
}

fn agent(model: &mut Model, event: &AgentEvent) -> Vec<Effect> {
    let here = match &event.session_key {
        Some(session) => is_on_screen(model, session),
        None => model.chat.is_running(&event.run_id),
    };
    if here {
        let now = model.now;
        model.chat.hear_agent(event, now);
    }
    vec![]
}

fn session_message(model: &mut Model, event: &SessionMessageEvent) -> Vec<Effect> {
    let mut effects = Vec::new();
    if let Some(key) = event.message.sent_key() {
        effects.extend(settled(model, &key));
    }
    if is_on_screen(model, &event.session_key) {
        if model.chat.hear_message(event) {
            effects.extend(want_newest(model));
        }
    } else {
        let session = full_key(&event.session_key, model.default_agent());
        let at = model.now.wall_ms;
        model.sessions.touch(&session, at);
        if event.message.role == "assistant" {
            model.sessions.unread.insert(session);
        }
    }
    effects
}

fn tick(model: &mut Model) -> Vec<Effect> {
    model.frame = model.frame.wrapping_add(1);
    let now = model.now.at;
    if model.remark.as_ref().is_some_and(|(_, end, _)| *end <= now) {
        model.remark = None;
    }
    let mut effects = Vec::new();
    if model.draft_due.is_some_and(|due| due <= now) {
        effects.extend(save_draft(model));
    }
    if model.is_linked() && model.shows_health() && model.health.is_due(now) {
        effects.push(Effect::Health);
    }
    effects
}

fn on_done(model: &mut Model, done: Done) -> Vec<Effect> {
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
                    if model.focus != super::model::Focus::Sessions {
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

/// Whether the link is on its way up or waits, for the words of the composer.
pub(crate) fn is_offline(model: &Model) -> bool {
    !matches!(model.link.status, TunnelStatus::Up { .. }) || !model.is_linked()
}
