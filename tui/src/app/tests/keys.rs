//! Keys, commands, questions and leaving.

use std::time::Duration;

use clawline::layer::{Layer, LayerError, Retry};
use clawline::protocol::methods::agents::CommandRow;
use clawline::secret::Secret;
use clawline::tunnel::prompt::{Answer, Prompt};
use clawline::tunnel::status::TunnelStatus;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use super::world::{SESSION, World};
use crate::app::effect::Effect;
use crate::app::msg::{Done, Msg};
use crate::app::overlay::Overlay;
use crate::app::prompt::PromptId;
use crate::panes::link::state::LinkState;

#[test]
fn ctrl_c_clears_first_and_leaves_only_when_pressed_again_soon() {
    let mut world = World::linked();
    world.type_text("text");
    assert!(world.ctrl('c').is_empty());
    assert!(world.model.chat.composer.is_empty());
    world.pass(Duration::from_secs(3));
    assert!(world.ctrl('c').is_empty(), "too late for a second press");
    assert_eq!(world.ctrl('c').last(), Some(&Effect::Quit));
}

#[test]
fn another_key_between_disarms_ctrl_c() {
    let mut world = World::linked();
    world.ctrl('c');
    world.type_text("x");
    assert!(!world.ctrl('c').contains(&Effect::Quit));
}

#[test]
fn ctrl_d_leaves_only_an_empty_input() {
    let mut world = World::linked();
    world.type_text("x");
    assert!(!world.ctrl('d').contains(&Effect::Quit));
    world.press(KeyCode::Backspace, KeyModifiers::NONE);
    assert!(world.ctrl('d').contains(&Effect::Quit));
}

#[test]
fn leaving_keeps_the_draft() {
    let mut world = World::linked();
    world.type_text("half a thought");
    let effects = world.say("/quit");
    assert!(
        !effects.contains(&Effect::Quit),
        "the text is not a command: {effects:?}"
    );
    let mut world = World::linked();
    world.type_text("half a thought");
    world.pass(Duration::from_secs(1));
    let kept = Effect::SaveDraft {
        session: SESSION.into(),
        text: "half a thought".into(),
    };
    assert_eq!(world.send(Msg::Tick), [kept]);
    assert!(world.send(Msg::Tick).is_empty(), "written once");
}

#[test]
fn a_newline_comes_with_ctrl_j_and_a_paste_never_sends() {
    let mut world = World::linked();
    world.type_text("a");
    world.ctrl('j');
    assert!(world.send(Msg::Paste("b\nc\n".into())).is_empty());
    assert_eq!(world.model.chat.composer.text(), "a\nb\nc\n");
    let stored = world.enter();
    assert!(matches!(stored.first(), Some(Effect::Store(message)) if message.text == "a\nb\nc"));
}

#[test]
fn esc_closes_what_is_open_before_it_stops_a_run() {
    let mut world = World::linked();
    world.delta("r", 1, "x");
    world.ctrl('t');
    assert!(matches!(world.model.overlay, Some(Overlay::Link(_))));
    assert!(world.press(KeyCode::Esc, KeyModifiers::NONE).is_empty());
    assert!(world.model.overlay.is_none());
    let effects = world.press(KeyCode::Esc, KeyModifiers::NONE);
    assert!(matches!(effects.as_slice(), [Effect::Abort { .. }]));
}

#[test]
fn the_first_esc_clears_a_filter_and_the_second_closes_the_picker() {
    let mut world = World::linked();
    world.ctrl('p');
    world.type_text("zz");
    world.press(KeyCode::Esc, KeyModifiers::NONE);
    assert!(
        matches!(&world.model.overlay, Some(Overlay::Picker(picker)) if picker.filter.is_empty())
    );
    world.press(KeyCode::Esc, KeyModifiers::NONE);
    assert!(world.model.overlay.is_none());
}

#[test]
fn a_session_is_opened_by_name_and_its_draft_and_history_are_read() {
    let mut world = World::linked();
    let effects = world.say("/session work");
    assert_eq!(effects, []);
    assert_eq!(world.model.chat.session, "agent:main:work");
    let mut world = World::linked();
    world.type_text("/session work");
    let effects = world.enter();
    let load = Effect::LoadDraft {
        session: "agent:main:work".into(),
    };
    assert!(effects.contains(&load), "{effects:?}");
    assert!(super::world::reads(&effects));
}

#[test]
fn an_unknown_command_stays_in_the_input_and_the_gateway_s_own_go_out_as_text() {
    let mut world = World::linked();
    let row = CommandRow {
        name: "compact".into(),
        ..CommandRow::default()
    };
    world.done(Done::Commands(Ok(vec![row])));
    world.type_text("/nonsense now");
    assert!(world.enter().is_empty());
    assert_eq!(world.model.chat.composer.text(), "/nonsense now");
    world.model.chat.composer.set("");
    world.type_text("/compact now");
    let effects = world.enter();
    assert!(
        matches!(effects.first(), Some(Effect::Store(message)) if message.text == "/compact now")
    );
}

#[test]
fn a_completion_is_taken_with_tab_and_run_with_enter() {
    let mut world = World::linked();
    world.type_text("/hea");
    assert!(world.model.chat.composer.completion.is_some());
    world.press(KeyCode::Tab, KeyModifiers::NONE);
    assert_eq!(world.model.chat.composer.text(), "/health ");
    world.model.chat.composer.set("");
    world.type_text("/hea");
    world.enter();
    assert!(matches!(world.model.overlay, Some(Overlay::Health(_))));
}

#[test]
fn a_question_takes_the_keys_and_goes_away_when_it_is_withdrawn() {
    let mut world = World::offline();
    let prompt = Prompt::Passphrase {
        path: "~/.ssh/id_ed25519".into(),
        attempt: 1,
    };
    world.send(Msg::Question(PromptId(5), prompt.clone()));
    world.type_text("pass");
    assert!(
        world.model.chat.composer.is_empty(),
        "nothing leaks into the input"
    );
    assert_eq!(
        world.enter(),
        [Effect::Answer(
            PromptId(5),
            Answer::Secret(Secret::new("pass"))
        )]
    );
    world.send(Msg::Question(PromptId(6), prompt));
    world.send(Msg::QuestionGone(PromptId(6)));
    assert!(world.model.questions.is_empty());
}

#[test]
fn the_token_is_asked_for_when_the_link_stops_there_and_not_again_after_no() {
    let mut world = World::offline();
    let wants = || {
        let why =
            LayerError::new(Layer::Token, "the gateway wants a token").retry(Retry::Attention);
        Msg::Link(Box::new(LinkState {
            status: TunnelStatus::Attention { why },
            ..LinkState::new("home".into(), "me@desktop".into())
        }))
    };
    world.send(wants());
    world.send(wants());
    assert_eq!(world.model.questions.len(), 1);
    world.type_text("t0ken");
    assert_eq!(world.enter(), [Effect::GiveToken(Secret::new("t0ken"))]);
    world.send(wants());
    assert_eq!(world.model.questions.len(), 1, "refused: asked again");
    world.press(KeyCode::Esc, KeyModifiers::NONE);
    world.send(wants());
    assert!(world.model.questions.is_empty());
    world.say("/token");
    assert_eq!(world.model.questions.len(), 1);
}

#[test]
fn what_a_person_has_to_mend_opens_the_link_page_once_and_a_link_closes_it() {
    let mut world = World::offline();
    let stuck = || {
        let why =
            LayerError::new(Layer::HostKey, "the host key of desktop changed").retry(Retry::Never);
        Msg::Link(Box::new(LinkState {
            status: TunnelStatus::Failed { why },
            ..LinkState::new("home".into(), "me@desktop".into())
        }))
    };
    world.send(stuck());
    assert!(matches!(world.model.overlay, Some(Overlay::Link(_))));
    world.press(KeyCode::Esc, KeyModifiers::NONE);
    world.send(stuck());
    assert!(world.model.overlay.is_none(), "closed means closed");
    world.ctrl('t');
    world.link_up();
    world.connect(true);
    assert!(world.model.overlay.is_none(), "mended");
}

#[test]
fn nothing_moves_by_itself_when_nothing_happens() {
    let mut world = World::linked();
    world.send(Msg::Resize(80, 24));
    world.model.remark = None;
    assert_eq!(world.model.next_tick(), None);
    world.delta("r", 1, "x");
    assert_eq!(
        world.model.next_tick(),
        Some(crate::app::model::SPINNER_STEP)
    );
}
