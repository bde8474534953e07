//! `AddKeysToAgent`: a key that was opened here goes to the agent, so that nobody is asked again.

use std::time::Duration;

use russh::keys::PrivateKey;
use russh::keys::agent::Constraint;

use crate::tunnel::asker::Person;
use crate::tunnel::prompt::{Answer, Prompt};
use crate::tunnel::spec::{AddKeysToAgent, HopSpec};

use super::agent;

/// Gives the agent a key that signed in, as the hop wants it; what came of it, for the status row.
pub(super) async fn add(hop: &HopSpec, key: &PrivateKey, name: &str, person: &Person) -> String {
    let constraints = match hop.add_keys_to_agent {
        AddKeysToAgent::No => return String::new(),
        AddKeysToAgent::Ask if !wanted(name, person).await => return String::new(),
        AddKeysToAgent::Ask => Vec::new(),
        AddKeysToAgent::Yes { lifetime } => lasting(lifetime),
        AddKeysToAgent::Confirm { lifetime } => {
            let mut constraints = lasting(lifetime);
            constraints.push(Constraint::Confirm);
            constraints
        }
    };
    let agent = match agent::open(&hop.agent, None).await {
        Ok(Some(agent)) => agent,
        Ok(None) => return " (there is no agent to keep it)".into(),
        Err(note) => return format!(" ({note})"),
    };
    let mut agent = agent;
    match agent.add(key, &constraints).await {
        Ok(()) => " (the agent keeps it now)".into(),
        Err(note) => format!(" ({note})"),
    }
}

fn lasting(lifetime: Option<Duration>) -> Vec<Constraint> {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let lifetime = lifetime.map(|time| Constraint::KeyLifetime {
        seconds: seconds(time),
    });
    lifetime.into_iter().collect()
}

async fn wanted(name: &str, person: &Person) -> bool {
    if !person.is_there() {
        return false;
    }
    let prompt = Prompt::KeyboardInteractive {
        login: "ssh-agent".into(),
        name: "AddKeysToAgent".into(),
        instructions: String::new(),
        questions: vec![(format!("Add {name} to the agent? (yes/no)"), true)],
    };
    let typed = match person.ask(prompt).await {
        Ok(Answer::Texts(texts)) => texts.into_iter().next(),
        Ok(Answer::Secret(text)) => Some(text),
        _ => None,
    };
    typed.is_some_and(|typed| {
        let typed = typed.expose().trim().to_lowercase();
        typed == "y" || typed == "yes"
    })
}
