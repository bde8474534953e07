//! The table of keys: where, which, what, and the words of the help screen, which is made from it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Where a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Context {
    /// Everywhere but in a question.
    Everywhere,
    /// While typing a message.
    Composer,
    /// In the list of sessions beside the chat.
    Sessions,
    /// In a list that opens over the chat.
    Picker,
    /// On a page: link, health, help.
    Page,
    /// In a question.
    Question,
}

impl Context {
    /// Its heading in help.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Everywhere => "Everywhere",
            Self::Composer => "Typing",
            Self::Sessions => "Session list",
            Self::Picker => "Pickers",
            Self::Page => "Pages (link, health, help)",
            Self::Question => "Questions",
        }
    }

    /// Every context, in the order of help.
    pub(crate) const ALL: [Self; 6] = [
        Self::Everywhere,
        Self::Composer,
        Self::Sessions,
        Self::Picker,
        Self::Page,
        Self::Question,
    ];
}

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send the message.
    Send,
    /// A new line in the message.
    Newline,
    /// Complete a slash command, or go to the session list and back.
    CompleteOrSwitch,
    /// Close what is open, or stop the run.
    StopOrClose,
    /// Clear the input; twice: leave.
    ClearOrQuit,
    /// Leave, when the input is empty.
    QuitOnEmpty,
    /// Open the picker of sessions.
    PickSession,
    /// Open the palette of commands.
    Palette,
    /// Open the link page.
    LinkPage,
    /// Open the health page.
    HealthPage,
    /// Open help.
    Help,
    /// Show or hide results of tools.
    Expand,
    /// Try the link again now.
    ReconnectNow,
    /// Paint everything again.
    Redraw,
    /// Put the app to sleep, as a shell does.
    Suspend,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first message.
    Start,
    /// To the last message.
    End,
    /// One up.
    Up,
    /// One down.
    Down,
    /// Take the chosen row.
    Choose,
    /// Filter, then close.
    ClearOrClose,
    /// Close a page.
    Close,
    /// Answer a question.
    Answer,
    /// Refuse a question.
    Refuse,
    /// Next field or button.
    Next,
    /// Previous field or button.
    Previous,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyRow {
    /// Where.
    pub(crate) context: Context,
    /// Which.
    pub(crate) code: KeyCode,
    /// With what.
    pub(crate) modifiers: KeyModifiers,
    /// What.
    pub(crate) action: Action,
    /// Words for help; empty where another row says it.
    pub(crate) help: &'static str,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CTRL: KeyModifiers = KeyModifiers::CONTROL;
const ALT: KeyModifiers = KeyModifiers::ALT;
const SHIFT: KeyModifiers = KeyModifiers::SHIFT;

const fn row(
    context: Context,
    code: KeyCode,
    modifiers: KeyModifiers,
    action: Action,
    help: &'static str,
) -> KeyRow {
    KeyRow {
        context,
        code,
        modifiers,
        action,
        help,
    }
}

/// The table.
pub(crate) const KEYS: &[KeyRow] = &[
    row(
        Context::Everywhere,
        KeyCode::Esc,
        NONE,
        Action::StopOrClose,
        "close what is open, else stop the run",
    ),
    row(
        Context::Everywhere,
        KeyCode::Char('c'),
        CTRL,
        Action::ClearOrQuit,
        "clear the input; twice within 2 s: leave",
    ),
    row(
        Context::Everywhere,
        KeyCode::Char('d'),
        CTRL,
        Action::QuitOnEmpty,
        "leave, when the input is empty",
    ),
    row(
        Context::Everywhere,
        KeyCode::Char('p'),
        CTRL,
        Action::PickSession,
        "sessions",
    ),
    row(
        Context::Everywhere,
        KeyCode::Char('k'),
        CTRL,
        Action::Palette,
        "commands",
    ),
    row(
        Context::Everywhere,
        KeyCode::Char('t'),
        CTRL,
        Action::LinkPage,
        "the link, layer by layer",
    ),
    row(
        Context::Everywhere,
        KeyCode::F(2),
        NONE,
        Action::HealthPage,
        "health of the gateway",
    ),
    row(
        Context::Everywhere,
        KeyCode::F(1),
        NONE,
        Action::Help,
        "this help",
    ),
    row(
        Context::Everywhere,
        KeyCode::Char('o'),
        CTRL,
        Action::Expand,
        "show or hide what tools returned",
    ),
    row(
        Context::Everywhere,
        KeyCode::Char('r'),
        CTRL,
        Action::ReconnectNow,
        "try the link again now",
    ),
    row(
        Context::Everywhere,
        KeyCode::Char('l'),
        CTRL,
        Action::Redraw,
        "paint the screen again",
    ),
    row(
        Context::Everywhere,
        KeyCode::Char('z'),
        CTRL,
        Action::Suspend,
        "put the app to sleep (fg wakes it)",
    ),
    row(
        Context::Everywhere,
        KeyCode::PageUp,
        NONE,
        Action::PageUp,
        "a page up",
    ),
    row(
        Context::Everywhere,
        KeyCode::PageDown,
        NONE,
        Action::PageDown,
        "a page down",
    ),
    row(
        Context::Everywhere,
        KeyCode::Home,
        CTRL,
        Action::Start,
        "to the first message (Home too, when nothing is typed)",
    ),
    row(
        Context::Everywhere,
        KeyCode::End,
        CTRL,
        Action::End,
        "to the last message (End too, when nothing is typed)",
    ),
    row(
        Context::Composer,
        KeyCode::Enter,
        NONE,
        Action::Send,
        "send",
    ),
    row(
        Context::Composer,
        KeyCode::Char('j'),
        CTRL,
        Action::Newline,
        "new line, in every terminal",
    ),
    row(
        Context::Composer,
        KeyCode::Enter,
        SHIFT,
        Action::Newline,
        "new line, where the terminal tells",
    ),
    row(
        Context::Composer,
        KeyCode::Enter,
        ALT,
        Action::Newline,
        "new line, where the terminal tells",
    ),
    row(
        Context::Composer,
        KeyCode::Tab,
        NONE,
        Action::CompleteOrSwitch,
        "complete a command, or go to the session list",
    ),
    row(
        Context::Composer,
        KeyCode::Up,
        NONE,
        Action::Up,
        "what was sent before",
    ),
    row(Context::Composer, KeyCode::Down, NONE, Action::Down, ""),
    row(
        Context::Sessions,
        KeyCode::Up,
        NONE,
        Action::Up,
        "up (k too)",
    ),
    row(Context::Sessions, KeyCode::Char('k'), NONE, Action::Up, ""),
    row(
        Context::Sessions,
        KeyCode::Down,
        NONE,
        Action::Down,
        "down (j too)",
    ),
    row(
        Context::Sessions,
        KeyCode::Char('j'),
        NONE,
        Action::Down,
        "",
    ),
    row(
        Context::Sessions,
        KeyCode::Enter,
        NONE,
        Action::Choose,
        "open",
    ),
    row(
        Context::Sessions,
        KeyCode::Tab,
        NONE,
        Action::Close,
        "back to typing",
    ),
    row(
        Context::Sessions,
        KeyCode::Char('?'),
        NONE,
        Action::Help,
        "help",
    ),
    row(Context::Picker, KeyCode::Up, NONE, Action::Up, "up"),
    row(Context::Picker, KeyCode::Down, NONE, Action::Down, "down"),
    row(
        Context::Picker,
        KeyCode::Enter,
        NONE,
        Action::Choose,
        "take it",
    ),
    row(Context::Picker, KeyCode::Tab, NONE, Action::Down, ""),
    row(Context::Picker, KeyCode::BackTab, SHIFT, Action::Up, ""),
    row(
        Context::Picker,
        KeyCode::Esc,
        NONE,
        Action::ClearOrClose,
        "clear the filter, then close",
    ),
    row(
        Context::Page,
        KeyCode::Up,
        NONE,
        Action::Up,
        "scroll (k, j too)",
    ),
    row(Context::Page, KeyCode::Down, NONE, Action::Down, ""),
    row(Context::Page, KeyCode::Char('k'), NONE, Action::Up, ""),
    row(Context::Page, KeyCode::Char('j'), NONE, Action::Down, ""),
    row(
        Context::Page,
        KeyCode::Char('q'),
        NONE,
        Action::Close,
        "close (Esc too)",
    ),
    row(
        Context::Page,
        KeyCode::Char('r'),
        NONE,
        Action::ReconnectNow,
        "try the link again now",
    ),
    row(
        Context::Page,
        KeyCode::Char('?'),
        NONE,
        Action::Help,
        "help",
    ),
    row(
        Context::Question,
        KeyCode::Enter,
        NONE,
        Action::Answer,
        "answer",
    ),
    row(Context::Question, KeyCode::Esc, NONE, Action::Refuse, "no"),
    row(
        Context::Question,
        KeyCode::Char('c'),
        CTRL,
        Action::Refuse,
        "",
    ),
    row(
        Context::Question,
        KeyCode::Tab,
        NONE,
        Action::Next,
        "next answer or field",
    ),
    row(Context::Question, KeyCode::Down, NONE, Action::Next, ""),
    row(Context::Question, KeyCode::Right, NONE, Action::Next, ""),
    row(
        Context::Question,
        KeyCode::BackTab,
        SHIFT,
        Action::Previous,
        "the one before",
    ),
    row(Context::Question, KeyCode::Up, NONE, Action::Previous, ""),
    row(Context::Question, KeyCode::Left, NONE, Action::Previous, ""),
];

/// What a key does in a context; a question hides what counts everywhere.
pub(crate) fn action(context: Context, key: KeyEvent) -> Option<Action> {
    let found = |context: Context| {
        KEYS.iter()
            .find(|row| row.context == context && is_pressed(row, key))
            .map(|row| row.action)
    };
    found(context).or_else(|| match context {
        Context::Question => None,
        _ => found(Context::Everywhere),
    })
}

fn is_pressed(row: &KeyRow, key: KeyEvent) -> bool {
    // Shift is part of the character already, and of a back-tab.
    let ignored = match key.code {
        KeyCode::Char(_) | KeyCode::BackTab => SHIFT,
        _ => NONE,
    };
    row.code == key.code && row.modifiers - ignored == key.modifiers - ignored
}

/// The name of a key for people.
pub(crate) fn name(row: &KeyRow) -> String {
    let mut out = String::new();
    if row.modifiers.contains(CTRL) {
        out.push_str("Ctrl+");
    }
    if row.modifiers.contains(ALT) {
        out.push_str("Alt+");
    }
    if row.modifiers.contains(SHIFT) {
        out.push_str("Shift+");
    }
    match row.code {
        KeyCode::Char(c) if row.modifiers == NONE => out.push(c),
        KeyCode::Char(c) => out.extend(c.to_uppercase()),
        KeyCode::F(number) => out.push_str(&format!("F{number}")),
        KeyCode::BackTab => out.push_str("Tab"),
        KeyCode::PageUp => out.push_str("PgUp"),
        KeyCode::PageDown => out.push_str("PgDn"),
        other => out.push_str(&format!("{other:?}")),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for (i, a) in KEYS.iter().enumerate() {
            for b in &KEYS[i + 1..] {
                let same_key = a.code == b.code && a.modifiers == b.modifiers;
                assert!(
                    !(same_key && a.context == b.context),
                    "{} in {:?}",
                    name(a),
                    a.context
                );
            }
        }
    }

    #[test]
    fn a_context_hides_a_key_of_everywhere_only_where_it_means_to() {
        let hidden: Vec<String> = KEYS
            .iter()
            .filter(|row| !matches!(row.context, Context::Everywhere | Context::Question))
            .filter(|row| {
                KEYS.iter().any(|other| {
                    other.context == Context::Everywhere
                        && other.code == row.code
                        && other.modifiers == row.modifiers
                })
            })
            .map(|row| format!("{:?} {}", row.context, name(row)))
            .collect();
        assert_eq!(hidden, ["Picker Esc"]);
    }

    #[test]
    fn typing_is_never_taken_for_a_command() {
        for c in ('!'..='~').chain(['é', '日']) {
            let key = KeyEvent::new(KeyCode::Char(c), NONE);
            assert_eq!(action(Context::Composer, key), None, "{c}");
            assert_eq!(action(Context::Picker, key), None, "{c}");
            assert_eq!(action(Context::Question, key), None, "{c}");
        }
    }

    #[test]
    fn every_action_is_named_in_help() {
        for row in KEYS.iter().filter(|row| row.help.is_empty()) {
            assert!(
                KEYS.iter()
                    .any(|other| other.action == row.action && !other.help.is_empty()),
                "{:?}",
                row.action
            );
        }
    }
}
