//! Ways in that need nobody: key files, agents, and their order.

use clawline::loopback_ssh::{LoopbackOptions, fresh_key};
use clawline::secret::Secret;
use clawline::tunnel::prompt::{Answer, Prompt};
use clawline::tunnel::spec::{AddKeysToAgent, AgentChoice, AuthMethod};
use russh::keys::PrivateKey;

use crate::support::agent::TestAgent;
use crate::support::person::{encrypted, nobody_asked, outcome, secret};
use crate::support::{SshWorld, write_key};

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
