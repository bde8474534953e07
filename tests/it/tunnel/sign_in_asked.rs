//! Ways in that need a person: passphrases, the server's questions, passwords.

use std::time::Duration;

use clawline::layer::{Layer, Retry};
use clawline::loopback_ssh::{LoopbackOptions, QuestionRound, fresh_key};
use clawline::secret::Secret;
use clawline::tunnel::prompt::{Answer, Prompt, PromptRequest, Prompter};
use clawline::tunnel::status::TunnelStatus;
use clawline::tunnel::{Memory, Tunnel, TunnelOptions};

use crate::support::person::{encrypted, nobody_asked, outcome, person, secret};
use crate::support::{PATIENCE, SshWorld, spec_of, view_where, why};

#[tokio::test]
async fn an_encrypted_key_is_asked_for_once_in_a_process() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    encrypted(&world);
    let (prompter, asked) = person(|_| secret("open sesame"));
    let tunnel = Tunnel::start(world.spec(), prompter, TunnelOptions::default());
    tunnel.wait_up(PATIENCE).await.unwrap();
    world.server.kill_connections();
    let mut view = tunnel.view();
    view_where(&mut view, "up again", |view| view.generation > 1).await;
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
    view_where(&mut view, "up again", |view| view.generation > 1).await;
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
    view_where(&mut view, "up again", |view| view.generation > 1).await;
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
