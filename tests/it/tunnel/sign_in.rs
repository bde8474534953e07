//! Every way in, and the words when there is none.

use clawline::layer::{Layer, LayerError, Retry};
use clawline::loopback_ssh::{LoopbackOptions, QuestionRound, fresh_key};
use clawline::secret::Secret;
use clawline::tunnel::prompt::{Answer, Prompt, PromptRequest, Prompter};
use clawline::tunnel::spec::{AgentChoice, AuthMethod, HopSpec, IdentityFile};
use clawline::tunnel::{Memory, Tunnel, TunnelOptions};
use russh::keys::PrivateKey;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::agent::TestAgent;
use crate::support::{PATIENCE, SshWorld, spec_of, view_where, write_key};

/// A person who answers every question by a function, and what was asked.
fn person(
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

fn secret(text: &str) -> Answer {
    Answer::Secret(Secret::new(text))
}

/// Starts, waits for the outcome, stops; the outcome and what the person was asked.
async fn outcome(
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

fn nobody_asked(prompt: &Prompt) -> Answer {
    panic!("asked: {prompt:?}");
}

fn encrypted(world: &SshWorld) {
    let mut rng = russh::keys::key::safe_rng();
    let locked = world.key.encrypt(&mut rng, "open sesame").unwrap();
    let path = world.home.path().join("id");
    std::fs::remove_file(&path).unwrap();
    write_key(&path, &locked);
}

#[tokio::test]
async fn an_encrypted_key_is_asked_for_once_in_a_process() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    encrypted(&world);
    let (prompter, asked) = person(|_| secret("open sesame"));
    let tunnel = Tunnel::start(world.spec(), prompter, TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    world.server.kill_connections();
    let mut view = tunnel.view();
    view_where(&mut view, "up again", |view| view.generation == 2).await;
    tunnel.stop().await;
    drop(tunnel);
    assert!(matches!(
        asked.await.unwrap().as_slice(),
        [Prompt::Passphrase { attempt: 1, .. }]
    ));
}

#[tokio::test]
async fn two_tunnels_with_one_memory_ask_once() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    encrypted(&world);
    std::fs::write(world.known_hosts(), "").unwrap();
    let (prompter, asked) = person(|prompt| match prompt {
        Prompt::UnknownHostKey { .. } => Answer::TrustAndRemember,
        _ => secret("open sesame"),
    });
    let options = TunnelOptions {
        memory: Memory::default(),
        ..TunnelOptions::default()
    };
    let control = Tunnel::start(world.spec(), prompter.clone(), options.clone());
    let bulk = Tunnel::start(world.spec(), prompter, options);
    control.wait_up(PATIENCE).await.unwrap();
    bulk.wait_up(PATIENCE).await.unwrap();
    drop((control, bulk));
    assert_eq!(asked.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_wrong_passphrase_is_asked_for_three_times() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    encrypted(&world);
    let (result, asked) = outcome(world.hop(), |_| secret("open cereal")).await;
    let error = result.unwrap_err();
    assert_eq!(
        (error.layer, error.retry),
        (Layer::SignIn, Retry::Attention)
    );
    assert!(
        error.what.contains("wrong passphrase three times"),
        "{error}"
    );
    assert_eq!(asked.len(), 3);
}

#[tokio::test]
async fn a_key_that_the_server_does_not_want_is_never_asked_for() {
    let world = SshWorld::new(LoopbackOptions {
        client_key: Some(fresh_key().unwrap().public_key().clone()),
        ..LoopbackOptions::default()
    })
    .await;
    encrypted(&world);
    let (result, _) = outcome(world.hop(), nobody_asked).await;
    let error = result.unwrap_err();
    assert!(error.what.contains("tried key "), "{error}");
    assert!(error.what.contains("SHA256:"), "{error}");
    assert!(error.next.contains("publickey"), "{error:?}");
}

#[tokio::test]
async fn without_a_person_the_key_that_needs_a_passphrase_is_named() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    encrypted(&world);
    let tunnel = Tunnel::start(world.spec(), Prompter::nobody(), TunnelOptions::default());
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert!(
        error
            .what
            .contains("id needs a passphrase and nobody can be asked"),
        "{error}"
    );
    assert!(error.next.contains("ssh-add"), "{error:?}");
}

fn rounds() -> Vec<QuestionRound> {
    vec![
        QuestionRound {
            name: "Sign in".into(),
            instructions: String::new(),
            questions: vec![("Password: ".into(), false, "sesame".into())],
        },
        QuestionRound {
            name: String::new(),
            instructions: "Second factor\u{1b}[2J".into(),
            questions: vec![("Code: ".into(), true, "123456".into())],
        },
    ]
}

#[tokio::test]
async fn two_rounds_of_questions_are_both_asked() {
    let world = SshWorld::new(LoopbackOptions {
        questions: rounds(),
        ..LoopbackOptions::default()
    })
    .await;
    let mut hop = world.hop();
    hop.identity_files.clear();
    let (result, asked) = outcome(hop, |prompt| match prompt {
        Prompt::KeyboardInteractive { questions, .. } if questions[0].1 => {
            Answer::Texts(vec![Secret::new("123456")])
        }
        _ => Answer::Texts(vec![Secret::new("sesame")]),
    })
    .await;
    assert_eq!(result.unwrap(), "keyboard-interactive");
    let [_, Prompt::KeyboardInteractive { instructions, .. }] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_eq!(instructions, "Second factor\\u{1b}[2J");
}

#[tokio::test]
async fn a_key_and_then_questions_are_two_factors_of_one_sign_in() {
    let world = SshWorld::new(LoopbackOptions {
        questions: rounds()[1..].to_vec(),
        key_and_questions: true,
        ..LoopbackOptions::default()
    })
    .await;
    let answer = |_: &Prompt| Answer::Texts(vec![Secret::new("123456")]);
    let (result, _) = outcome(world.hop(), answer).await;
    assert_eq!(result.unwrap(), "publickey + keyboard-interactive");
}

#[tokio::test]
async fn a_password_is_asked_for_until_it_is_right_and_kept_for_the_next_connection() {
    let world = SshWorld::new(LoopbackOptions {
        password: Some(Secret::new("right")),
        ..LoopbackOptions::default()
    })
    .await;
    let mut hop = world.hop();
    hop.identity_files.clear();
    let (prompter, asked) = person(|prompt| match prompt {
        Prompt::Password { attempt: 1, .. } => secret("wrong"),
        _ => secret("right"),
    });
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    world.server.kill_connections();
    let mut view = tunnel.view();
    view_where(&mut view, "up again", |view| view.generation == 2).await;
    tunnel.stop().await;
    drop(tunnel);
    assert_eq!(asked.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_cancelled_question_stops_and_does_not_come_back() {
    let world = SshWorld::new(LoopbackOptions {
        password: Some(Secret::new("right")),
        ..LoopbackOptions::default()
    })
    .await;
    let mut hop = world.hop();
    hop.identity_files.clear();
    let (result, asked) = outcome(hop, |_| Answer::Cancel).await;
    assert_eq!(result.unwrap_err().retry, Retry::Attention);
    assert_eq!(asked.len(), 1);
    assert_eq!(world.server.accepted(), 1);
}

#[tokio::test]
async fn the_banner_of_a_server_that_refuses_is_shown() {
    let world = SshWorld::new(LoopbackOptions {
        client_key: Some(fresh_key().unwrap().public_key().clone()),
        banner: Some("Staff only.\u{7}".into()),
        ..LoopbackOptions::default()
    })
    .await;
    let (result, _) = outcome(world.hop(), nobody_asked).await;
    assert_eq!(result.unwrap_err().peer_text, "Staff only.\\u{7}");
}

#[tokio::test]
async fn too_many_tries_are_named_as_such() {
    let world = SshWorld::new(LoopbackOptions {
        max_auth_tries: Some(2),
        client_key: Some(fresh_key().unwrap().public_key().clone()),
        ..LoopbackOptions::default()
    })
    .await;
    let keys: Vec<PrivateKey> = (0..5).map(|_| fresh_key().unwrap()).collect();
    let mut hop = world.hop();
    hop.identity_files = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let path = world.home.path().join(format!("key{index}"));
        write_key(&path, key);
        hop.identity_files.push(IdentityFile { path, named: true });
    }
    let (result, _) = outcome(hop, nobody_asked).await;
    let error = result.unwrap_err();
    assert_eq!(error.layer, Layer::SignIn);
    assert_eq!(error.retry, Retry::Attention, "{error:?}");
}

#[tokio::test]
async fn a_connection_that_is_cut_while_signing_in_is_lost_and_not_refused() {
    let world = SshWorld::new(LoopbackOptions {
        password: Some(Secret::new("right")),
        ..LoopbackOptions::default()
    })
    .await;
    let mut hop = world.hop();
    hop.identity_files.clear();
    let (prompter, mut questions) = Prompter::channel();
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    let question = questions.recv().await.unwrap();
    world.server.kill_connections();
    question.reply.send(secret("right")).unwrap();
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert!(error.what.contains("was lost while signing in"), "{error}");
    // It asked a person: coming back by itself would ask again and again.
    assert_eq!(error.retry, Retry::Attention);
}

#[tokio::test]
async fn a_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let path = world.home.path().join("id");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (result, _) = outcome(world.hop(), nobody_asked).await;
    assert!(result.unwrap_err().what.contains("chmod 600"));
}

#[tokio::test]
async fn a_key_of_the_agent_signs_in() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let agent = TestAgent::start(&[fresh_key().unwrap(), world.key.clone()]).await;
    let mut hop = world.hop();
    hop.identity_files.clear();
    hop.agent = AgentChoice::Socket(agent.socket());
    let (result, _) = outcome(hop, nobody_asked).await;
    let how = result.unwrap();
    assert!(how.starts_with("publickey, agent key "), "{how}");
}

#[tokio::test]
async fn a_full_agent_with_identities_only_offers_the_named_key_alone() {
    let world = SshWorld::new(LoopbackOptions {
        max_auth_tries: Some(2),
        ..LoopbackOptions::default()
    })
    .await;
    let mut keys: Vec<PrivateKey> = (0..20).map(|_| fresh_key().unwrap()).collect();
    keys.push(world.key.clone());
    let agent = TestAgent::start(&keys).await;
    let mut hop = world.hop();
    // The private half is in the agent alone.
    let public = world.key.public_key().to_openssh().unwrap();
    std::fs::remove_file(world.home.path().join("id")).unwrap();
    std::fs::write(world.home.path().join("id.pub"), public).unwrap();
    hop.agent = AgentChoice::Socket(agent.socket());
    hop.identities_only = true;
    let (result, _) = outcome(hop, nobody_asked).await;
    assert!(result.unwrap().starts_with("publickey, agent key "));
}

#[tokio::test]
async fn an_agent_that_does_not_answer_is_noted_and_the_file_still_works() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let mut hop = world.hop();
    hop.agent = AgentChoice::Socket(world.home.path().join("no-agent"));
    let (result, _) = outcome(hop, nobody_asked).await;
    assert!(result.unwrap().starts_with("publickey, key "));
}

#[tokio::test]
async fn an_rsa_key_signs_with_sha2() {
    let pem = include_str!("../../data/ssh/rsa");
    let key = PrivateKey::from_openssh(pem).unwrap();
    let world = SshWorld::new(LoopbackOptions {
        client_key: Some(key.public_key().clone()),
        ..LoopbackOptions::default()
    })
    .await;
    std::fs::remove_file(world.home.path().join("id")).unwrap();
    write_key(&world.home.path().join("id"), &key);
    let mut hop = world.hop();
    hop.auth_methods = vec![AuthMethod::PublicKey];
    let (result, _) = outcome(hop, nobody_asked).await;
    assert!(result.unwrap().starts_with("publickey, key "));
}
