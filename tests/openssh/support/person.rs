//! Somebody who answers questions, and remembers what was asked.

use clawline::secret::Secret;
use clawline::tunnel::prompt::{Answer, Prompt, PromptRequest, Prompter};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A person who answers every question by a function, and what was asked once the prompter is gone.
pub fn person(
    mut answer: impl FnMut(&Prompt) -> Answer + Send + 'static,
) -> (Prompter, JoinHandle<Vec<Prompt>>) {
    let (prompter, mut questions): (_, mpsc::Receiver<PromptRequest>) = Prompter::channel();
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        while let Some(request) = questions.recv().await {
            let _ = request.reply.send(answer(&request.prompt));
            asked.push(request.prompt);
        }
        asked
    });
    (prompter, asked)
}

/// A password or passphrase.
pub fn secret(text: &str) -> Answer {
    Answer::Secret(Secret::new(text))
}
