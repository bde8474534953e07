//! Questions of the tunnel, asked on the terminal of a subcommand. What is secret is not shown.

use std::time::Duration;

use clawline::layer::printable;
use clawline::secret::Secret;
use clawline::tunnel::prompt::{Answer, Prompt, PromptRequest, Prompter};
use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::output;

/// How often a waiting question looks whether it is still wanted.
const GLANCE: Duration = Duration::from_millis(100);

/// The longest line that is read.
const MAX_LINE: usize = 4096;

/// Asks on the terminal for as long as it lives; without a terminal every question is declined.
pub(crate) struct Asking {
    prompter: Prompter,
    interrupted: CancellationToken,
    over: CancellationToken,
    task: Option<AbortOnDropHandle<()>>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl Asking {
    /// Starts to listen for questions. Must be called inside a tokio runtime.
    pub fn start() -> Self {
        let interrupted = CancellationToken::new();
        let over = CancellationToken::new();
        if !output::can_ask() {
            return Self {
                prompter: Prompter::nobody(),
                interrupted,
                over,
                task: None,
            };
        }
        let (prompter, questions) = Prompter::channel();
        let task = tokio::spawn(serve(questions, interrupted.clone(), over.clone()));
        Self {
            prompter,
            interrupted,
            over,
            task: Some(AbortOnDropHandle::new(task)),
        }
    }

    /// For the tunnel.
    pub fn prompter(&self) -> Prompter {
        self.prompter.clone()
    }

    /// Asks for the gateway's token or password. `None` when nobody can be asked or nothing was typed.
    pub async fn gateway_secret(&self, question: String) -> Option<Secret> {
        self.task.as_ref()?;
        let over = self.over.clone();
        let asked = tokio::task::spawn_blocking(move || line(&question, false, &over)).await;
        match asked {
            Ok(Some(typed)) => Some(typed).filter(|typed| !typed.is_blank()),
            Ok(None) | Err(_) => {
                self.interrupted.cancel();
                // Whoever waits for the interruption drops this call.
                std::future::pending().await
            }
        }
    }

    /// Waits for Ctrl-C, typed at a question or pressed at any other time.
    pub async fn interrupted(&self) {
        tokio::select! {
            () = self.interrupted.cancelled() => {}
            Ok(()) = tokio::signal::ctrl_c() => {}
        }
    }
}

/// Gives the terminal back when a question is still open at the end of the process; the thread that
/// reads the answer may notice too late.
pub(crate) fn give_terminal_back() {
    let _ = crossterm::terminal::disable_raw_mode();
}

async fn serve(
    mut questions: mpsc::Receiver<PromptRequest>,
    interrupted: CancellationToken,
    over: CancellationToken,
) {
    while let Some(PromptRequest { prompt, mut reply }) = questions.recv().await {
        // The question ends with the connection that asked it, or with the command.
        let withdrawn = over.child_token();
        let give_up = withdrawn.clone();
        let mut asked = tokio::task::spawn_blocking(move || answer(&prompt, &give_up));
        let asked = tokio::select! {
            asked = &mut asked => asked,
            () = reply.closed() => {
                withdrawn.cancel();
                asked.await
            }
        };
        match asked {
            Ok(Some(answer)) => {
                let _ = reply.send(answer);
            }
            Ok(None) if withdrawn.is_cancelled() && !over.is_cancelled() => {
                output::ask("nobody waits for the answer any more\n");
            }
            Ok(None) | Err(_) => {
                interrupted.cancel();
                return;
            }
        }
    }
}

/// The answer to one question; `None` for Ctrl-C.
fn answer(prompt: &Prompt, over: &CancellationToken) -> Option<Answer> {
    match prompt {
        Prompt::UnknownHostKey {
            host,
            address,
            algorithm,
            fingerprint,
            randomart,
            note,
        } => {
            output::ask(&format!(
                "The host {} ({}) is not known yet.\n{} key {}\n{}\n",
                printable(host, 200),
                printable(address, 80),
                printable(algorithm, 40),
                printable(fingerprint, 120),
                randomart
                    .lines()
                    .map(|line| printable(line, 80))
                    .collect::<Vec<_>>()
                    .join("\n"),
            ));
            if !note.is_empty() {
                output::ask(&format!("{}\n", printable(note, 400)));
            }
            let typed = line(
                "Trust it? [y] yes and remember, [o] once, [N] no: ",
                true,
                over,
            )?;
            Some(match typed.expose().trim().to_lowercase().as_str() {
                "y" | "yes" => Answer::TrustAndRemember,
                "o" | "once" => Answer::TrustOnce,
                _ => Answer::Cancel,
            })
        }
        Prompt::Passphrase { path, attempt } => {
            let again = if *attempt > 1 {
                "That was not it. "
            } else {
                ""
            };
            let question = format!("{again}Passphrase of {}: ", printable(path, 200));
            Some(secret(line(&question, false, over)?))
        }
        Prompt::Password { login, attempt } => {
            let again = if *attempt > 1 {
                "That was not it. "
            } else {
                ""
            };
            let question = format!("{again}Password of {}: ", printable(login, 200));
            Some(secret(line(&question, false, over)?))
        }
        Prompt::KeyboardInteractive {
            login,
            name,
            instructions,
            questions,
        } => {
            for text in [name, instructions]
                .into_iter()
                .filter(|text| !text.is_empty())
            {
                output::ask(&format!(
                    "{}: {}\n",
                    printable(login, 200),
                    printable(text, 400)
                ));
            }
            let texts: Option<Vec<Secret>> = questions
                .iter()
                .map(|(question, echo)| {
                    line(
                        &format!("{} ", printable(question, 200).trim()),
                        *echo,
                        over,
                    )
                })
                .collect();
            Some(Answer::Texts(texts?))
        }
    }
}

fn secret(typed: Secret) -> Answer {
    if typed.expose().is_empty() {
        Answer::Cancel
    } else {
        Answer::Secret(typed)
    }
}

/// The terminal without its own line editing; given back on drop.
struct Raw;

impl Raw {
    fn take() -> Option<Self> {
        crossterm::terminal::enable_raw_mode().ok().map(|()| Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// Reads a line. `None` when it was broken off: Ctrl-C, Ctrl-D on nothing, or nobody waits any more.
pub(super) fn line(question: &str, echo: bool, over: &CancellationToken) -> Option<Secret> {
    let _raw = Raw::take()?;
    output::ask(question);
    let mut typed = zeroizing();
    let done = loop {
        if over.is_cancelled() {
            break None;
        }
        if !crossterm::event::poll(GLANCE).ok()? {
            continue;
        }
        let Event::Key(key) = crossterm::event::read().ok()? else {
            continue;
        };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => break Some(Secret::new(typed.iter().collect::<String>())),
            KeyCode::Char('c') if control => break None,
            KeyCode::Char('d') if control && typed.is_empty() => break None,
            KeyCode::Char('u') if control => typed.clear(),
            KeyCode::Char(c) if !control && typed.len() < MAX_LINE => {
                typed.push(c);
                if echo {
                    output::ask(&printable(&c.to_string(), 1));
                }
            }
            KeyCode::Backspace if typed.pop().is_some() && echo => {
                output::ask("\u{8} \u{8}");
            }
            _ => {}
        }
    };
    output::ask("\n");
    typed.fill('\0');
    done
}

/// Room for a whole line, so that no copy of a secret is left behind by growing.
fn zeroizing() -> Vec<char> {
    Vec::with_capacity(MAX_LINE)
}
