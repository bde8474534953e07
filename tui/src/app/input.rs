//! Keys, pastes and the wheel.

use std::time::Duration;

use clawline::protocol::methods::agents::ModelRow;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::effect::Effect;
use super::model::{Focus, Model};
use super::msg::Failure;
use super::overlay::{Choice, Overlay, Page, Picker, PickerKind};
use super::prompt::Outcome;
use super::submit;
use super::update::{list_sessions, open_session, save_draft, want_newest};
use crate::commands::{candidates, complete, find};
use crate::keys::{Action, Context, KEYS, action, name};
use crate::panes::chat::composer::Completion;
use crate::widgets::text::one_line;

/// A second Ctrl+C within this time leaves.
const QUIT_TIME: Duration = Duration::from_secs(2);
/// How long after the last letter a draft is written.
const DRAFT_DELAY: Duration = Duration::from_millis(500);
/// Most completions shown.
const MAX_COMPLETIONS: usize = 8;

/// A key was pressed.
pub(super) fn key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    if key.kind == KeyEventKind::Release {
        return vec![];
    }
    if !model.questions.is_empty() {
        return question_key(model, key);
    }
    if model.first_run.is_some() {
        return first_run_key(model, key);
    }
    let context = match (&model.overlay, model.focus) {
        (Some(Overlay::Picker(_)), _) => Context::Picker,
        (Some(_), _) => Context::Page,
        (None, Focus::Sessions) if model.is_wide() => Context::Sessions,
        (None, _) => Context::Composer,
    };
    let effects = match action(context, key) {
        Some(action) => act(model, context, action, key),
        None => other_key(model, context, key),
    };
    after_typing(model);
    effects
}

fn act(model: &mut Model, context: Context, action: Action, key: KeyEvent) -> Vec<Effect> {
    if action != Action::ClearOrQuit {
        model.quit_armed = None;
    }
    let theme = model.theme;
    let page = usize::from(model.chat.rows.saturating_sub(2).max(1));
    match action {
        Action::Send => {
            if let Some(effects) = take_completion(model, true) {
                return effects;
            }
            submit::submit(model)
        }
        Action::Newline => {
            model.chat.composer.newline();
            vec![]
        }
        Action::CompleteOrSwitch => {
            if take_completion(model, false).is_none()
                && model.chat.composer.is_blank()
                && model.is_wide()
            {
                model.focus = Focus::Sessions;
                let session = model.chat.session.clone();
                model.sessions.select(&session);
            }
            vec![]
        }
        Action::StopOrClose => stop_or_close(model),
        Action::ClearOrQuit => clear_or_quit(model),
        Action::QuitOnEmpty => {
            if model.chat.composer.is_empty() {
                quit(model)
            } else {
                other_key(model, context, key)
            }
        }
        Action::PickSession => pick_session(model),
        Action::Palette => {
            model.overlay = Some(Overlay::Picker(palette(model)));
            vec![]
        }
        Action::LinkPage => toggle(model, Overlay::Link(Page::default())),
        Action::HealthPage => {
            if matches!(model.overlay, Some(Overlay::Health(_))) {
                model.overlay = None;
                return vec![];
            }
            submit::open_health(model)
        }
        Action::Help => toggle(model, Overlay::Help(Page::default())),
        Action::Expand => {
            model.chat.expanded = !model.chat.expanded;
            vec![]
        }
        Action::ReconnectNow => {
            model.remark("trying the link now", false);
            let mut effects = vec![Effect::ReconnectNow];
            effects.extend(want_newest(model));
            effects
        }
        Action::Redraw => vec![Effect::Redraw],
        Action::Suspend => vec![Effect::Suspend],
        Action::PageUp if context == Context::Page => scroll_page(model, -10),
        Action::PageDown if context == Context::Page => scroll_page(model, 10),
        Action::PageUp => {
            let at_start = model.chat.scroll_up(page, theme);
            older(model, at_start)
        }
        Action::PageDown => {
            model.chat.scroll_down(page, theme);
            vec![]
        }
        Action::Start => {
            let at_start = model.chat.scroll_to_start();
            older(model, at_start)
        }
        Action::End => {
            model.chat.scroll_to_end();
            vec![]
        }
        Action::Up | Action::Down => step(model, context, action == Action::Down, key),
        Action::Choose => choose(model, context),
        Action::ClearOrClose => {
            if let Some(Overlay::Picker(picker)) = &mut model.overlay
                && !picker.clear()
            {
                model.overlay = None;
            }
            vec![]
        }
        Action::Close => {
            model.overlay = None;
            model.focus = Focus::Composer;
            vec![]
        }
        // Only questions have these rows.
        Action::Answer | Action::Refuse | Action::Next | Action::Previous => vec![],
    }
}

fn older(model: &mut Model, at_start: bool) -> Vec<Effect> {
    if at_start && model.is_linked() {
        model.chat.want_older().into_iter().collect()
    } else {
        vec![]
    }
}

fn toggle(model: &mut Model, overlay: Overlay) -> Vec<Effect> {
    let same = model
        .overlay
        .as_ref()
        .is_some_and(|open| std::mem::discriminant(open) == std::mem::discriminant(&overlay));
    model.overlay = (!same).then_some(overlay);
    vec![]
}

fn scroll_page(model: &mut Model, by: i16) -> Vec<Effect> {
    if let Some(Overlay::Link(page) | Overlay::Health(page) | Overlay::Help(page)) =
        &mut model.overlay
    {
        page.scroll = page.scroll.saturating_add_signed(by);
    }
    vec![]
}

fn step(model: &mut Model, context: Context, down: bool, key: KeyEvent) -> Vec<Effect> {
    match context {
        Context::Picker => {
            if let Some(Overlay::Picker(picker)) = &mut model.overlay {
                picker.step(down);
            }
        }
        Context::Page => return scroll_page(model, if down { 1 } else { -1 }),
        Context::Sessions => model.sessions.step(down),
        _ => {
            if let Some(completion) = &mut model.chat.composer.completion {
                let last = completion.candidates.len().saturating_sub(1);
                completion.selected = if down {
                    (completion.selected + 1).min(last)
                } else {
                    completion.selected.saturating_sub(1)
                };
            } else if !model.chat.composer.recall(!down) {
                model.chat.composer.key(key);
            }
        }
    }
    vec![]
}

fn choose(model: &mut Model, context: Context) -> Vec<Effect> {
    if context == Context::Sessions {
        let key = model
            .sessions
            .items
            .get(model.sessions.selected)
            .map(|item| item.key.clone());
        model.focus = Focus::Composer;
        return key.map_or(vec![], |key| open_session(model, &key));
    }
    let Some(Overlay::Picker(picker)) = &model.overlay else {
        return vec![];
    };
    let Some(value) = picker.chosen().map(|choice| choice.value.clone()) else {
        return vec![];
    };
    let kind = picker.kind;
    model.overlay = None;
    match kind {
        PickerKind::Sessions => open_session(model, &value),
        PickerKind::Models => vec![Effect::Patch {
            session: model.chat.session.clone(),
            name: "model",
            value,
        }],
        PickerKind::Palette => {
            let needs_more = crate::commands::COMMANDS.iter().any(|entry| {
                entry.names.first() == Some(&value.as_str())
                    && !entry.argument.is_empty()
                    && !entry.argument.starts_with('[')
            });
            match find(&value) {
                Some(command) if !needs_more => submit::run(model, command, ""),
                _ => {
                    model.chat.composer.set(&format!("/{value} "));
                    vec![]
                }
            }
        }
    }
}

/// A key that no table row is for.
fn other_key(model: &mut Model, context: Context, key: KeyEvent) -> Vec<Effect> {
    let is_letter = (key.modifiers - KeyModifiers::SHIFT).is_empty();
    match (context, key.code) {
        (Context::Picker, KeyCode::Char(c)) if is_letter => {
            if let Some(Overlay::Picker(picker)) = &mut model.overlay {
                picker.type_char(c);
            }
        }
        (Context::Picker, KeyCode::Backspace) => {
            if let Some(Overlay::Picker(picker)) = &mut model.overlay {
                picker.backspace();
            }
        }
        (Context::Picker | Context::Page, _) => {}
        (Context::Composer, KeyCode::Home) if model.chat.composer.is_empty() => {
            let at_start = model.chat.scroll_to_start();
            return older(model, at_start);
        }
        (Context::Composer, KeyCode::End) if model.chat.composer.is_empty() => {
            model.chat.scroll_to_end()
        }
        (Context::Sessions, KeyCode::Char(_)) | (Context::Composer, _) => {
            // Typing goes to the message, wherever the focus was.
            model.focus = Focus::Composer;
            model.quit_armed = None;
            model.chat.composer.key(key);
        }
        _ => {}
    }
    vec![]
}

/// Completion and draft follow what was typed.
fn after_typing(model: &mut Model) {
    if model.chat.composer.changed && model.draft_due.is_none() {
        model.draft_due = Some(model.now.at + DRAFT_DELAY);
    }
    let found = model
        .chat
        .composer
        .slash_word()
        .filter(|word| !model.chat.composer.is_closed_for(word))
        .map(|word| complete(&model.commands, word))
        .filter(|found| !found.is_empty());
    let old = model.chat.composer.completion.take();
    model.chat.composer.completion = found.map(|mut candidates| {
        let selected = match old {
            Some(old) if old.candidates.first() == candidates.first() => old.selected,
            _ => 0,
        };
        candidates.truncate(MAX_COMPLETIONS);
        Completion {
            selected: selected.min(candidates.len().saturating_sub(1)),
            candidates,
        }
    });
}

/// Puts the chosen completion into the input. With Enter a command that is typed in full, or needs
/// nothing more, is run at once.
fn take_completion(model: &mut Model, enter: bool) -> Option<Vec<Effect>> {
    let completion = model.chat.composer.completion.take()?;
    let typed = model.chat.composer.slash_word()?.to_owned();
    let chosen = completion.candidates.get(completion.selected)?;
    if enter && (chosen.name == typed || find(&typed).is_some()) {
        return None;
    }
    if enter && chosen.argument.is_empty() {
        model.chat.composer.set(&format!("/{}", chosen.name));
        return Some(submit::submit(model));
    }
    model.chat.composer.set(&format!("/{} ", chosen.name));
    Some(vec![])
}

fn stop_or_close(model: &mut Model) -> Vec<Effect> {
    if model.overlay.take().is_some() {
        return vec![];
    }
    if model.chat.composer.completion.is_some() {
        model.chat.composer.close_completion();
        return vec![];
    }
    if model.focus == Focus::Sessions {
        model.focus = Focus::Composer;
        return vec![];
    }
    if model.chat.runs.is_empty() {
        model.chat.scroll_to_end();
        return vec![];
    }
    stop_run(model)
}

/// Stops what runs in the session on screen.
pub(super) fn stop_run(model: &mut Model) -> Vec<Effect> {
    if !model.is_linked() {
        model.remark(
            "there is no link now; the answer goes on at the gateway",
            true,
        );
        return vec![];
    }
    model.remark("stopping", false);
    vec![Effect::Abort {
        session: model.chat.session.clone(),
        run: model.chat.runs.last().map(|run| run.id.clone()),
    }]
}

fn clear_or_quit(model: &mut Model) -> Vec<Effect> {
    let now = model.now.at;
    if model
        .quit_armed
        .is_some_and(|armed| now.saturating_duration_since(armed) <= QUIT_TIME)
    {
        return quit(model);
    }
    model.quit_armed = Some(now);
    model.overlay = None;
    if !model.chat.composer.is_empty() {
        model.chat.composer.take();
    }
    model.remark("Ctrl+C again to leave", false);
    vec![]
}

/// Leaves; the draft is written first.
pub(super) fn quit(model: &mut Model) -> Vec<Effect> {
    let mut effects = save_draft(model);
    effects.push(Effect::Quit);
    effects
}

/// Opens the picker of sessions and reads the list again.
pub(super) fn pick_session(model: &mut Model) -> Vec<Effect> {
    let choices = session_choices(model);
    model.overlay = Some(Overlay::Picker(Picker::new(
        PickerKind::Sessions,
        choices,
        false,
    )));
    list_sessions(model).into_iter().collect()
}

fn session_choices(model: &Model) -> Vec<Choice> {
    let now = model.now.wall_ms;
    model
        .sessions
        .items
        .iter()
        .map(|item| Choice {
            value: item.key.clone(),
            label: item.name.clone(),
            detail: crate::panes::sessions::view::age(now, item.at),
            is_current: item.key == model.chat.session,
            is_unread: model.sessions.unread.contains(&item.key),
        })
        .collect()
}

/// An open picker of sessions shows the new list.
pub(super) fn refill_sessions(model: &mut Model) {
    let choices = session_choices(model);
    if let Some(Overlay::Picker(picker)) = &mut model.overlay
        && picker.kind == PickerKind::Sessions
    {
        picker.refill(choices);
    }
}

/// Opens the picker of models; they are on their way.
pub(super) fn pick_model(model: &mut Model) {
    model.overlay = Some(Overlay::Picker(Picker::new(
        PickerKind::Models,
        Vec::new(),
        true,
    )));
}

/// The models came.
pub(super) fn models_came(model: &mut Model, result: Result<Vec<ModelRow>, Failure>) {
    let current = model
        .sessions
        .get(&model.chat.session)
        .map(|item| item.model.clone())
        .unwrap_or_default();
    let Some(Overlay::Picker(picker)) = &mut model.overlay else {
        return;
    };
    if picker.kind != PickerKind::Models {
        return;
    }
    match result {
        Ok(rows) => picker.refill(
            rows.iter()
                .map(|row| Choice {
                    value: format!("{}/{}", row.provider, row.id),
                    label: one_line(&format!("{}/{}", row.provider, row.id)),
                    detail: row
                        .context_window
                        .map(|tokens| format!("{}k", tokens / 1000))
                        .unwrap_or_default(),
                    is_current: one_line(&row.id) == current,
                    is_unread: false,
                })
                .collect(),
        ),
        Err(failure) => {
            model.overlay = None;
            model.remark(failure.words(), true);
        }
    }
}

fn palette(model: &Model) -> Picker {
    let choices = candidates(&model.commands)
        .into_iter()
        .map(|candidate| {
            let key = key_of(&candidate.name);
            Choice {
                label: format!("{}  {}", candidate.name, candidate.help),
                value: candidate.name,
                detail: key.unwrap_or(candidate.argument),
                is_current: false,
                is_unread: false,
            }
        })
        .collect();
    Picker::new(PickerKind::Palette, choices, false)
}

/// The key that does what a command does.
fn key_of(command: &str) -> Option<String> {
    let wanted = match command {
        "help" => Action::Help,
        "sessions" => Action::PickSession,
        "link" => Action::LinkPage,
        "health" => Action::HealthPage,
        "abort" => Action::StopOrClose,
        "reconnect" => Action::ReconnectNow,
        "expand" => Action::Expand,
        "quit" => Action::QuitOnEmpty,
        _ => return None,
    };
    KEYS.iter().find(|row| row.action == wanted).map(name)
}

fn question_key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    let Some(question) = model.questions.front_mut() else {
        return vec![];
    };
    let outcome = match action(Context::Question, key) {
        Some(Action::Answer) => question.answer(),
        Some(Action::Refuse) => question.refuse(),
        Some(Action::Next) => {
            question.step(true);
            Outcome::Open
        }
        Some(Action::Previous) => {
            question.step(false);
            Outcome::Open
        }
        Some(_) => Outcome::Open,
        None => question.key(key),
    };
    match outcome {
        Outcome::Open => vec![],
        Outcome::Answered(id, answer) => {
            model.questions.pop_front();
            vec![Effect::Answer(id, answer)]
        }
        Outcome::Token(token) => {
            model.questions.pop_front();
            // Asked again only when the gateway refuses this one too.
            model.remark("trying this token", false);
            vec![Effect::GiveToken(token)]
        }
        Outcome::Password(password) => {
            model.questions.pop_front();
            model.remark("trying this password", false);
            vec![Effect::GivePassword(password)]
        }
        Outcome::Dismissed => {
            model.questions.pop_front();
            model.token_dismissed = true;
            model.remark("/token asks again", false);
            vec![]
        }
    }
}

fn first_run_key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    let Some(screen) = &mut model.first_run else {
        return vec![];
    };
    let is_letter = (key.modifiers - KeyModifiers::SHIFT).is_empty();
    match (key.code, key.modifiers) {
        (KeyCode::Esc, _) | (KeyCode::Char('c' | 'd'), KeyModifiers::CONTROL) => vec![Effect::Quit],
        (KeyCode::Enter, _) if !screen.text.trim().is_empty() => {
            vec![Effect::OpenTarget(screen.text.trim().to_owned())]
        }
        (KeyCode::Backspace, _) => {
            screen.text.pop();
            screen.trouble = None;
            vec![]
        }
        (KeyCode::Char(c), _) if is_letter => {
            screen.text.push(c);
            screen.trouble = None;
            vec![]
        }
        _ => vec![],
    }
}

/// Text was pasted: it goes where letters go, and never sends.
pub(super) fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    if let Some(question) = model.questions.front_mut() {
        question.paste(text);
    } else if let Some(screen) = &mut model.first_run {
        screen.text.extend(text.chars().filter(|c| !c.is_control()));
    } else if let Some(Overlay::Picker(picker)) = &mut model.overlay {
        for c in text.chars().filter(|c| !c.is_control()) {
            picker.type_char(c);
        }
    } else if model.overlay.is_none() {
        model.focus = Focus::Composer;
        model.chat.composer.paste(text);
        after_typing(model);
    }
    vec![]
}

/// The wheel was turned.
pub(super) fn wheel(model: &mut Model, rows: i16) -> Vec<Effect> {
    let theme = model.theme;
    let count = usize::from(rows.unsigned_abs());
    match &mut model.overlay {
        Some(Overlay::Picker(picker)) => {
            picker.step(rows > 0);
            vec![]
        }
        Some(_) => scroll_page(model, rows),
        None if rows < 0 => {
            let at_start = model.chat.scroll_up(count, theme);
            older(model, at_start)
        }
        None => {
            model.chat.scroll_down(count, theme);
            vec![]
        }
    }
}
