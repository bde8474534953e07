//! Somebody who answers questions, and what a sign-in with their help comes to.

use clawline::layer::{Layer, LayerError};
use clawline::secret::Secret;
use clawline::tunnel::prompt::{Answer, Prompt, PromptRequest, Prompter};
use clawline::tunnel::spec::HopSpec;
use clawline::tunnel::{Tunnel, TunnelOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{PATIENCE, SshWorld, spec_of, write_key};

/// A person who answers every question by a function, and what was asked.
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

/// Starts, waits for the outcome, stops; the outcome and what the person was asked.
pub async fn outcome(
    hop: HopSpec,
    answer: impl FnMut(&Prompt) -> Answer + Send + 'static,
) -> (Result<String, LayerError>, Vec<Prompt>) {
    let (prompter, asked) = person(answer);
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    let result = tunnel.wait_up(PATIENCE).await;
    let rows = tunnel.view().borrow().rows.clone();
    let detail = rows.row(Layer::SignIn).unwrap().detail.clone();
    tunnel.stop().await;
    drop(tunnel);
    (result.map(|()| detail), asked.await.unwrap())
}

/// Nobody may be asked.
pub fn nobody_asked(prompt: &Prompt) -> Answer {
    panic!("asked: {prompt:?}");
}

/// Locks the world's key with the passphrase `open sesame`.
pub fn encrypted(world: &SshWorld) {
    let mut rng = russh::keys::key::safe_rng();
    let locked = world.key.encrypt(&mut rng, "open sesame").unwrap();
    let path = world.home.path().join("id");
    std::fs::remove_file(&path).unwrap();
    write_key(&path, &locked);
}
