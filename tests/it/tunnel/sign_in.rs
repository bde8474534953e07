//! Every way in, and the words when there is none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clawline::layer::{Layer, LayerError, Retry};
use clawline::loopback_ssh::{LoopbackOptions, QuestionRound, fresh_key};
use clawline::secret::Secret;
use clawline::tunnel::prompt::{Answer, Prompt, PromptRequest, Prompter};
use clawline::tunnel::spec::{AddKeysToAgent, AgentChoice, AuthMethod, HopSpec, IdentityFile};
use clawline::tunnel::status::TunnelStatus;
use clawline::tunnel::{Memory, Tunnel, TunnelOptions};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::certificate;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::agent::TestAgent;
use crate::support::{PATIENCE, SshWorld, eventually, spec_of, view_where, why, write_key};

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
    withdrawn(&world, &tunnel, question).await;
}

/// The server goes while the question is open: the question goes with it, and nothing is asked again.
async fn withdrawn(world: &SshWorld, tunnel: &Tunnel, mut question: PromptRequest) {
    world.server.kill_connections();
    let gone = tokio::time::timeout(PATIENCE, question.reply.closed());
    assert!(gone.await.is_ok(), "the question stays open");
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert_eq!(error.layer, Layer::SignIn);
    assert!(
        error.what.contains("closed the connection while"),
        "{error}"
    );
    assert!(error.next.contains("LoginGraceTime"), "{error:?}");
    // It asked a person: coming back by itself would ask again and again.
    assert_eq!(error.retry, Retry::Attention);
    assert_eq!(world.server.accepted(), 1);
}

#[tokio::test]
async fn a_question_of_the_server_is_withdrawn_when_the_server_goes() {
    let world = SshWorld::new(LoopbackOptions {
        questions: rounds(),
        ..LoopbackOptions::default()
    })
    .await;
    let mut hop = world.hop();
    hop.identity_files.clear();
    let (prompter, mut questions) = Prompter::channel();
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    let question = questions.recv().await.unwrap();
    withdrawn(&world, &tunnel, question).await;
}

#[tokio::test]
async fn a_question_for_a_passphrase_is_withdrawn_when_the_server_goes() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    encrypted(&world);
    let (prompter, mut questions) = Prompter::channel();
    let tunnel = Tunnel::start(world.spec(), prompter, TunnelOptions::default());
    let question = questions.recv().await.unwrap();
    withdrawn(&world, &tunnel, question).await;
}

#[tokio::test]
async fn a_server_that_thinks_long_about_a_password_is_waited_for() {
    let world = SshWorld::new(LoopbackOptions {
        password: Some(Secret::new("right")),
        password_delay: Duration::from_secs(9),
        ..LoopbackOptions::default()
    })
    .await;
    let mut hop = world.hop();
    hop.identity_files.clear();
    let (result, asked) = outcome(hop, |_| secret("right")).await;
    assert_eq!((result.unwrap().as_str(), asked.len()), ("password", 1));
}

#[tokio::test]
async fn a_link_that_questions_let_in_asks_before_it_signs_in_again() {
    let world = SshWorld::new(LoopbackOptions {
        questions: rounds()[1..].to_vec(),
        ..LoopbackOptions::default()
    })
    .await;
    let mut hop = world.hop();
    hop.identity_files.clear();
    let (prompter, asked) = person(|_| Answer::Texts(vec![Secret::new("123456")]));
    let tunnel = Tunnel::start(spec_of(hop), prompter, TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    world.server.kill_connections();
    let mut view = tunnel.view();
    let lost = view_where(&mut view, "in need of a person", |view| {
        matches!(view.status, TunnelStatus::Attention { .. })
    })
    .await;
    let error = why(&lost).unwrap();
    assert!(error.what.contains("signing in again needs you"), "{error}");
    assert_eq!(world.server.accepted(), 1);
    // The person is ready.
    tunnel.reconnect_now();
    view_where(&mut view, "up again", |view| view.generation == 2).await;
    tunnel.stop().await;
    drop(tunnel);
    assert_eq!(asked.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_round_without_questions_is_answered_and_too_many_questions_are_not() {
    let mut rounds = rounds();
    rounds.insert(
        1,
        QuestionRound {
            instructions: "Look at your phone".into(),
            ..QuestionRound::default()
        },
    );
    let world = SshWorld::new(LoopbackOptions {
        questions: rounds,
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
    assert_eq!(
        (result.unwrap().as_str(), asked.len()),
        ("keyboard-interactive", 2)
    );

    let flood = QuestionRound {
        questions: vec![("?".into(), true, String::new()); 10_000],
        ..QuestionRound::default()
    };
    let world = SshWorld::new(LoopbackOptions {
        questions: vec![flood],
        ..LoopbackOptions::default()
    })
    .await;
    let mut hop = world.hop();
    hop.identity_files.clear();
    let (result, _) = outcome(hop, nobody_asked).await;
    let error = result.unwrap_err();
    assert!(error.what.contains("10000 questions at once"), "{error}");
    assert_eq!(error.retry, Retry::Attention);
}

/// A certificate for the world's key that ended `ago` before now, or ends an hour from now.
fn certificate(world: &SshWorld, ago: Option<Duration>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let end = match ago {
        Some(ago) => now - ago,
        None => now + Duration::from_secs(3600),
    };
    let key = world.key.public_key().key_data().clone();
    let mut builder = certificate::Builder::new(vec![7; 16], key, 0, end.as_secs()).unwrap();
    builder.all_principals_valid().unwrap();
    let certificate = builder.sign(&fresh_key().unwrap()).unwrap();
    certificate.to_openssh().unwrap()
}

#[tokio::test]
async fn an_expired_certificate_is_named_and_a_renewed_one_is_tried_without_a_word() {
    let world = SshWorld::new(LoopbackOptions {
        client_key: Some(fresh_key().unwrap().public_key().clone()),
        ..LoopbackOptions::default()
    })
    .await;
    let path = world.home.path().join("id-cert.pub");
    let three_hours = Duration::from_secs(3 * 3600 + 60);
    std::fs::write(&path, certificate(&world, Some(three_hours))).unwrap();
    let tunnel = Tunnel::start(world.spec(), Prompter::nobody(), TunnelOptions::default());
    let error = tunnel.wait_up(PATIENCE).await.unwrap_err();
    assert!(
        error.what.contains("id-cert.pub expired 3 h ago"),
        "{error}"
    );
    assert!(error.next.contains("renew the certificate"), "{error:?}");
    assert_eq!(error.retry, Retry::Attention);
    assert_eq!(world.server.accepted(), 1);
    std::fs::write(&path, certificate(&world, None)).unwrap();
    eventually("a second try", || world.server.accepted() == 2).await;
    let mut view = tunnel.view();
    view_where(&mut view, "refused with the renewed certificate", |view| {
        why(view).is_some_and(|why| why.what.contains("tried certificate"))
    })
    .await;
}

#[tokio::test]
async fn few_keys_of_a_full_agent_are_offered_and_their_fingerprints_listed() {
    let world = SshWorld::new(LoopbackOptions {
        client_key: Some(fresh_key().unwrap().public_key().clone()),
        ..LoopbackOptions::default()
    })
    .await;
    let keys: Vec<PrivateKey> = (0..8).map(|_| fresh_key().unwrap()).collect();
    let agent = TestAgent::start(&keys).await;
    let mut hop = world.hop();
    hop.agent = AgentChoice::Socket(agent.socket());
    let (result, _) = outcome(hop, nobody_asked).await;
    let error = result.unwrap_err();
    // The named file and three of the agent.
    assert_eq!(error.what.matches("agent key ").count(), 3, "{error}");
    assert!(
        error.what.contains("5 more keys were not offered"),
        "{error}"
    );
    assert_eq!(world.server.accepted(), 1);
}

#[tokio::test]
async fn an_opened_key_goes_to_the_agent_where_that_is_wanted() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    encrypted(&world);
    let agent = TestAgent::start(&[]).await;
    let mut hop = world.hop();
    hop.agent = AgentChoice::Socket(agent.socket());
    hop.add_keys_to_agent = AddKeysToAgent::Ask;
    let (result, asked) = outcome(hop.clone(), |prompt| match prompt {
        Prompt::Passphrase { .. } => secret("open sesame"),
        _ => Answer::Texts(vec![Secret::new("yes")]),
    })
    .await;
    assert!(result.unwrap().ends_with("(the agent keeps it now)"));
    assert_eq!(asked.len(), 2);
    // Another process has nothing to ask.
    let (result, _) = outcome(hop, nobody_asked).await;
    assert!(result.unwrap().starts_with("publickey, agent key "));
}

#[tokio::test]
async fn the_preferred_way_in_is_tried_first_and_one_that_is_off_never() {
    let world = SshWorld::new(LoopbackOptions {
        password: Some(Secret::new("right")),
        ..LoopbackOptions::default()
    })
    .await;
    let mut hop = world.hop();
    hop.auth_methods = vec![AuthMethod::Password, AuthMethod::PublicKey];
    let (result, asked) = outcome(hop.clone(), |_| secret("right")).await;
    assert_eq!((result.unwrap().as_str(), asked.len()), ("password", 1));
    hop.auth_methods = vec![AuthMethod::KeyboardInteractive];
    let (result, _) = outcome(hop, nobody_asked).await;
    let error = result.unwrap_err();
    assert!(error.what.contains("nothing to offer"), "{error}");
    assert!(error.next.contains("it takes"), "{error:?}");
}

#[tokio::test]
async fn a_kind_of_key_that_the_config_leaves_out_is_not_offered() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let mut hop = world.hop();
    hop.pubkey_algorithms = Some(vec!["rsa-sha2-512".into()]);
    let (result, _) = outcome(hop, nobody_asked).await;
    let error = result.unwrap_err();
    assert!(error.what.contains("PubkeyAcceptedAlgorithms"), "{error}");
    assert!(error.what.contains("nothing to offer"), "{error}");
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
