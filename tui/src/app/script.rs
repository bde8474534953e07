//! `demo --script`: the ordinary app on a screen in memory, typed at from a file.
//!
//! A line is typed and sent. `:wait TEXT` waits until TEXT is on the screen, `:key NAME` presses a key
//! (`ctrl+t`, `esc`, `pgup`), `:type TEXT` types without sending, `:settle` waits until nothing runs,
//! `:cut` cuts the SSH connection,
//! `:quit` leaves. Empty lines and lines that begin with `#` say nothing.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tokio::sync::{mpsc, watch};

use super::memory::{MemorySurface, Shown};
use super::msg::Msg;
use super::run::{App, AppError};
use crate::start::AppStart;
use crate::theme::Theme;

/// The screen of a script.
const COLUMNS: u16 = 110;
/// See `COLUMNS`.
const ROWS: u16 = 30;
/// How long a line of a script may wait for what it needs.
const STEP_DEADLINE: Duration = Duration::from_secs(30);
/// Keys on their way to the app.
const KEYS: usize = 64;

/// Why a script did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    /// A line cannot be read.
    #[error("line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// What a line waited for did not come.
    #[error("line {line}: {what} did not come within {} s; the screen then:\n{screen}", STEP_DEADLINE.as_secs())]
    Waited {
        /// Which, from 1; 0 is the start.
        line: usize,
        /// What was waited for.
        what: String,
        /// What was on the screen.
        screen: String,
    },
    /// The app failed.
    #[error(transparent)]
    App(#[from] AppError),
}

/// A line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Say(String),
    Type(String),
    Wait(String),
    Key(KeyEvent),
    Settle,
    Cut,
    Quit,
}

/// Runs the app with a script; returns the last screen as text. `cut` carries out `:cut`.
///
/// # Errors
/// [`ScriptError`]: a line that cannot be read, or that waited in vain.
pub(crate) async fn run_script(
    start: AppStart,
    script: &str,
    cut: impl Fn(),
) -> Result<String, ScriptError> {
    let steps = parse(script)?;
    let (keys, input) = mpsc::channel(KEYS);
    let (shown, screen) = watch::channel(Shown::default());
    let theme = Theme::new(false, start.ui.plain);
    let mut app = App::new(
        start,
        theme,
        MemorySurface::new(COLUMNS, ROWS, input, shown),
    )?;
    let typist = Typist {
        keys,
        typed: 0,
        screen,
    };
    tokio::select! {
        outcome = app.run() => {
            outcome?;
            Ok(app.text())
        }
        outcome = typist.play(&steps, cut) => outcome,
    }
}

struct Typist {
    keys: mpsc::Sender<Msg>,
    /// How many keys.
    typed: usize,
    screen: watch::Receiver<Shown>,
}

impl Typist {
    async fn play(
        mut self,
        steps: &[(usize, Step)],
        cut: impl Fn(),
    ) -> Result<String, ScriptError> {
        self.until(0, "a settled chat", |shown| shown.is_settled)
            .await?;
        for (line, step) in steps {
            match step {
                Step::Say(text) => {
                    self.type_text(text).await;
                    self.press(KeyCode::Enter, KeyModifiers::NONE).await;
                    self.caught_up(*line).await?;
                    self.unsettled().await;
                    self.until(*line, "the end of the answer", |shown| shown.is_settled)
                        .await?;
                }
                Step::Type(text) => self.type_text(text).await,
                Step::Wait(text) => {
                    let what = format!("{text:?}");
                    self.until(*line, &what, |shown| shown.text.contains(text.as_str()))
                        .await?;
                }
                Step::Key(key) => self.press(key.code, key.modifiers).await,
                Step::Settle => {
                    self.until(*line, "a settled chat", |shown| shown.is_settled)
                        .await?
                }
                Step::Cut => cut(),
                Step::Quit => break,
            }
        }
        self.caught_up(steps.last().map_or(0, |(line, _)| *line))
            .await?;
        // What the last key did is on the screen once the app has nothing else to do.
        tokio::time::sleep(SETTLE_FRAME).await;
        Ok(self.screen.borrow().text.clone())
    }

    async fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        let key = Msg::Key(KeyEvent::new(code, modifiers));
        if self.keys.send(key).await.is_ok() {
            self.typed += 1;
        }
    }

    async fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            self.press(KeyCode::Char(c), KeyModifiers::NONE).await;
        }
    }

    /// Waits until the app has painted what was typed.
    async fn caught_up(&mut self, line: usize) -> Result<(), ScriptError> {
        let typed = self.typed;
        let is_there = |shown: &Shown| shown.taken >= typed;
        self.until(line, "what was typed", is_there).await
    }

    /// Waits for what a command began; one that runs nothing begins nothing.
    async fn unsettled(&mut self) {
        let noticed = self.screen.wait_for(|shown| !shown.is_settled);
        let _ = tokio::time::timeout(NOTICE, noticed).await;
    }

    async fn until(
        &mut self,
        line: usize,
        what: &str,
        is_there: impl FnMut(&Shown) -> bool,
    ) -> Result<(), ScriptError> {
        let waited = tokio::time::timeout(STEP_DEADLINE, self.screen.wait_for(is_there)).await;
        match waited.map(|seen| seen.is_ok()) {
            Ok(true) => Ok(()),
            // The app is gone; its own outcome is the answer.
            Ok(false) => std::future::pending().await,
            Err(_) => Err(ScriptError::Waited {
                line,
                what: what.to_owned(),
                screen: self.screen.borrow().text.clone(),
            }),
        }
    }
}

/// Longer than a frame: what was typed is painted by then.
const SETTLE_FRAME: Duration = Duration::from_millis(150);
/// How long a line may take to start something.
const NOTICE: Duration = Duration::from_millis(500);

fn parse(script: &str) -> Result<Vec<(usize, Step)>, ScriptError> {
    let mut steps = Vec::new();
    for (number, line) in script.lines().enumerate() {
        let number = number + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let step = match line.strip_prefix(':') {
            None => Step::Say(line.to_owned()),
            Some(command) => {
                let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
                match name {
                    "wait" if !rest.is_empty() => Step::Wait(rest.to_owned()),
                    "type" => Step::Type(rest.to_owned()),
                    "settle" => Step::Settle,
                    "cut" => Step::Cut,
                    "quit" => Step::Quit,
                    "key" => Step::Key(key(rest).ok_or_else(|| ScriptError::Line {
                        line: number,
                        why: format!("no key is called {rest:?}"),
                    })?),
                    _ => {
                        return Err(ScriptError::Line {
                            line: number,
                            why: format!(
                                "no command :{name}; there are :wait :type :key :settle :cut :quit"
                            ),
                        });
                    }
                }
            }
        };
        steps.push((number, step));
    }
    Ok(steps)
}

/// `ctrl+t`, `esc`, `pgup`, `f1`, `x`.
fn key(name: &str) -> Option<KeyEvent> {
    let mut modifiers = KeyModifiers::NONE;
    let mut rest = name.trim();
    while let Some((modifier, key)) = rest.split_once('+') {
        modifiers |= match modifier.to_ascii_lowercase().as_str() {
            "ctrl" => KeyModifiers::CONTROL,
            "alt" => KeyModifiers::ALT,
            "shift" => KeyModifiers::SHIFT,
            _ => return None,
        };
        rest = key;
    }
    let lower = rest.to_ascii_lowercase();
    let code = match lower.as_str() {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" => KeyCode::Tab,
        "backspace" => KeyCode::Backspace,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "pgup" => KeyCode::PageUp,
        "pgdn" => KeyCode::PageDown,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "space" => KeyCode::Char(' '),
        other => match (
            other
                .strip_prefix('f')
                .and_then(|number| number.parse().ok()),
            rest.chars().next(),
        ) {
            (Some(number), _) => KeyCode::F(number),
            // A terminal reports Ctrl with the small letter.
            (None, Some(c))
                if rest.chars().count() == 1 && modifiers.contains(KeyModifiers::CONTROL) =>
            {
                KeyCode::Char(c.to_ascii_lowercase())
            }
            (None, Some(c)) if rest.chars().count() == 1 => KeyCode::Char(c),
            _ => return None,
        },
    };
    Some(KeyEvent::new(code, modifiers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_line_by_line() {
        let steps =
            parse("# a note\n\nhello there\n:wait You said\n:key ctrl+t\n:type half\n:quit")
                .expect("steps");
        let steps: Vec<Step> = steps.into_iter().map(|(_, step)| step).collect();
        assert_eq!(
            steps,
            [
                Step::Say("hello there".into()),
                Step::Wait("You said".into()),
                Step::Key(KeyEvent::new(KeyCode::Char('t'), KeyModifiers::CONTROL)),
                Step::Type("half".into()),
                Step::Quit,
            ]
        );
    }

    #[test]
    fn a_line_that_means_nothing_is_named() {
        for (script, words) in [
            ("x\n:nonsense", "line 2: no command :nonsense"),
            (":key hyper+q", "line 1: no key"),
        ] {
            let error = parse(script).expect_err("read").to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }

    #[test]
    fn keys_have_their_usual_names() {
        for (name, code, modifiers) in [
            ("esc", KeyCode::Esc, KeyModifiers::NONE),
            ("F1", KeyCode::F(1), KeyModifiers::NONE),
            ("ctrl+K", KeyCode::Char('k'), KeyModifiers::CONTROL),
            ("f", KeyCode::Char('f'), KeyModifiers::NONE),
        ] {
            assert_eq!(key(name), Some(KeyEvent::new(code, modifiers)), "{name}");
        }
        assert_eq!(key("nothing"), None);
    }
}
