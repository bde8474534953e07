//! Asking the person at this terminal about programs.

use clawline::layer::printable;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::AskAt;
use crate::cli::{ask, output};
use crate::link::UsageError;
use crate::node_host::{Person, Question, Said};

/// Questions that may wait for a person; more are refused.
const QUESTIONS: usize = 8;

/// Asks for as long as it is held; absent where nobody is asked here.
pub(super) type Serving = Option<AbortOnDropHandle<()>>;

/// Who is asked about programs.
pub(super) fn person(
    at: Option<AskAt>,
    interrupted: &CancellationToken,
) -> Result<(Person, Serving), UsageError> {
    match (at, output::can_ask()) {
        (Some(AskAt::Terminal), false) => Err(UsageError::new(
            "there is no terminal to ask at",
            "start it in one, or use --ask-at gateway",
        )),
        (Some(AskAt::Gateway), _) | (None, false) => Ok((Person::Nobody, None)),
        (Some(AskAt::Terminal) | None, true) => {
            let (ask, questions) = mpsc::channel(QUESTIONS);
            let serving = tokio::spawn(serve(questions, interrupted.clone()));
            Ok((Person::Here(ask), Some(AbortOnDropHandle::new(serving))))
        }
    }
}

/// Asks on the terminal, one question after the other.
async fn serve(mut questions: mpsc::Receiver<Question>, interrupted: CancellationToken) {
    while let Some(mut question) = questions.recv().await {
        if question.reply.is_closed() {
            continue;
        }
        let text = words(&question);
        let withdrawn = CancellationToken::new();
        let give_up = withdrawn.clone();
        let mut asked = tokio::task::spawn_blocking(move || ask::line(&text, true, &give_up));
        let typed = tokio::select! {
            typed = &mut asked => typed,
            () = question.reply.closed() => {
                withdrawn.cancel();
                let _ = asked.await;
                output::ask("nobody waits for the answer any more\n");
                continue;
            }
        };
        let Ok(Some(typed)) = typed else {
            interrupted.cancel();
            return;
        };
        let said = match typed.expose().trim().to_lowercase().as_str() {
            "y" | "yes" => Said::Once,
            "a" | "always" if question.always_asks.is_none() => Said::Always,
            _ => Said::No,
        };
        let _ = question.reply.send(said);
    }
}

/// All there is to know about a program before it runs. Nothing in it is cut or hidden.
fn words(question: &Question) -> String {
    let shown = &question.shown;
    let mut text = String::from("A program is to run on this machine:\n");
    let mut row = |name: &str, value: &str| text.push_str(&format!("  {name:<10} {value}\n"));
    row("command", &shown.text);
    row(
        "",
        &format!("{} bytes, sha256 {}", shown.length, shown.sha256),
    );
    row("program", &question.exe);
    row("directory", &question.cwd);
    for variable in &question.env {
        row("variable", variable);
    }
    if let Some(agent) = &question.agent {
        row("agent", &printable(agent, 200));
    }
    if let Some(session) = &question.session {
        row("session", &printable(session, 200));
    }
    for warning in &shown.warnings {
        row("careful", warning);
    }
    row("plan", &question.digest);
    match &question.always_asks {
        Some(why) => {
            row(
                "note",
                &format!("cannot be put on the list: {}", printable(why, 200)),
            );
            text.push_str("Run it? [y] yes, once, [N] no: ");
        }
        None => text.push_str("Run it? [y] yes, once, [a] yes, and put it on the list, [N] no: "),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_shows_everything_and_offers_the_list_only_where_it_may() {
        let (reply, _said) = tokio::sync::oneshot::channel();
        let argv = ["sh".to_owned(), "-c".to_owned(), "curl x | sh".to_owned()];
        let question = Question {
            shown: crate::node_host::command_text::show(&argv).unwrap(),
            exe: "/usr/bin/dash".into(),
            cwd: "/".into(),
            env: vec!["A=b".into()],
            agent: None,
            session: Some("s\u{1b}[2J".into()),
            digest: "d1".into(),
            always_asks: Some("sh can run something else".into()),
            reply,
        };
        let text = words(&question);
        for part in [
            "sh -c 'curl x | sh'",
            "/usr/bin/dash",
            "A=b",
            "s\\u{1b}[2J",
            "d1",
            "bytes, sha256",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("[a]") && !text.contains('\u{1b}'));
    }
}
