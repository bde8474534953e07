//! A message to a new state and effects. Pure: no clock, no I/O.

mod approvals;
mod done;
mod gateway;

use std::sync::Arc;

use clawline::protocol::hello::HelloOk;
use clawline::tunnel::status::TunnelStatus;

use self::done::on_done;
use self::gateway::gateway;
use crate::app::effect::Effect;
use crate::app::model::{Model, full_key};
use crate::app::msg::{Msg, Now, Reading, Signal};
use crate::app::overlay::{Overlay, Page};
use crate::app::prompt::{Asker, PromptId, Question};
use crate::app::{input, submit};
use crate::outbox::Delivery;
use crate::outbox::queue::Step;
use crate::panes::chat::state::{Chat, Load};
use crate::widgets::text::one_line;

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
    let lists_approvals = offers("exec.approval.list");
    if offers("sessions.subscribe") {
        effects.push(Effect::Subscribe);
    }
    effects.extend(approvals::connected(model, lists_approvals));
    effects.extend(list_sessions(model));
    if lists_commands {
        effects.push(Effect::ListCommands);
    }
    if model.shows_health() && model.health.is_due(model.now.at) {
        effects.push(Effect::Health);
    }
    if let Some(text) = model.first_message.take() {
        effects.extend(submit::message(model, text));
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

/// Whether the link is on its way up or waits, for the words of the composer.
pub(crate) fn is_offline(model: &Model) -> bool {
    !matches!(model.link.status, TunnelStatus::Up { .. }) || !model.is_linked()
}
