//! The SSH agent: which one, what it holds, and its signatures, each with a deadline.

use std::path::PathBuf;
use std::time::Duration;

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::{AgentClient, AgentStream};
use tokio::time::timeout;

use crate::tunnel::spec::AgentChoice;

/// How long an agent may take to accept us and to list its keys.
const LIST: Duration = Duration::from_secs(5);

/// An open agent and what it holds.
pub(super) struct Agent {
    pub(super) client: AgentClient<Box<dyn AgentStream + Send + Unpin>>,
    pub(super) identities: Vec<AgentIdentity>,
}

/// Opens the agent of a hop; `None` when there is none to ask.
///
/// # Errors
/// A note for the message when an agent is named but does not answer.
pub(super) async fn open(choice: &AgentChoice) -> Result<Option<Agent>, String> {
    let socket = match choice {
        AgentChoice::Off => return Ok(None),
        AgentChoice::Socket(path) => path.clone(),
        AgentChoice::Environment => match std::env::var_os("SSH_AUTH_SOCK") {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => return Ok(None),
        },
    };
    let shown = socket.display().to_string();
    let opening = async {
        let mut client = connect(&socket).await?;
        let identities = client.request_identities().await?;
        Ok::<_, russh::keys::Error>(Agent { client, identities })
    };
    match timeout(LIST, opening).await {
        Ok(Ok(agent)) => Ok(Some(agent)),
        Ok(Err(error)) => Err(format!("the agent at {shown} cannot be used ({error})")),
        Err(_) => Err(format!("the agent at {shown} does not answer")),
    }
}

#[cfg(unix)]
async fn connect(
    socket: &std::path::Path,
) -> Result<AgentClient<Box<dyn AgentStream + Send + Unpin>>, russh::keys::Error> {
    Ok(AgentClient::connect_uds(socket).await?.dynamic())
}

#[cfg(windows)]
async fn connect(
    socket: &std::path::Path,
) -> Result<AgentClient<Box<dyn AgentStream + Send + Unpin>>, russh::keys::Error> {
    Ok(AgentClient::connect_named_pipe(socket).await?.dynamic())
}
