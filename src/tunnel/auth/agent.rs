//! The SSH agent: which one, what it holds, and its signatures, each with a deadline.

use std::path::PathBuf;
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::keys::agent::client::{AgentClient, AgentStream};
use russh::keys::agent::{AgentIdentity, AgentSessionBinding, Constraint};
use tokio::time::timeout;

use crate::tunnel::spec::AgentChoice;

/// How long an agent may take to accept us and to list its keys.
const LIST: Duration = Duration::from_secs(5);
/// How long it may take to sign; a person may have to touch the key or confirm.
const SIGN: Duration = Duration::from_secs(120);

/// An open agent and what it holds.
pub(super) struct Agent {
    client: AgentClient<Box<dyn AgentStream + Send + Unpin>>,
    pub(super) identities: Vec<AgentIdentity>,
    /// An answer is still due that nobody waits for; the next one would be taken for it.
    out_of_step: bool,
}

/// Opens the agent of a hop; `None` when there is none to ask. An agent that knows how is told which
/// session it signs for, so that it shows keys that are bound to a destination.
///
/// # Errors
/// A note for the message when an agent is named but does not answer.
pub(super) async fn open(
    choice: &AgentChoice,
    binding: Option<&AgentSessionBinding>,
) -> Result<Option<Agent>, String> {
    let socket = match choice {
        AgentChoice::Off => return Ok(None),
        AgentChoice::Socket(path) => path.clone(),
        AgentChoice::Environment => match std::env::var_os("SSH_AUTH_SOCK") {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => return Ok(None),
        },
    };
    let shown = super::shown(&socket);
    let opening = async {
        let mut client = connect(&socket).await?;
        if let Some(binding) = binding {
            match client.bind_session(binding, false).await {
                // Most other agents do not know the word.
                Ok(()) | Err(russh::keys::Error::AgentFailure) => {}
                Err(_) => client = connect(&socket).await?,
            }
        }
        let identities = client.request_identities().await?;
        Ok::<_, russh::keys::Error>(Agent {
            client,
            identities,
            out_of_step: false,
        })
    };
    match timeout(LIST, opening).await {
        Ok(Ok(agent)) => Ok(Some(agent)),
        Ok(Err(error)) => Err(format!("the agent at {shown} cannot be used ({error})")),
        Err(_) => Err(format!("the agent at {shown} does not answer")),
    }
}

impl Agent {
    /// Appends the agent's signature of `data` to it. A call that is dropped half-way leaves the
    /// agent unusable, and it says so from then on.
    ///
    /// # Errors
    /// A note for the message.
    pub(super) async fn sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<russh::keys::HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        if self.out_of_step {
            return Err("the agent still waits for somebody to confirm an earlier use".into());
        }
        self.out_of_step = true;
        let signed = timeout(SIGN, self.client.sign_request(identity, hash, data)).await;
        self.out_of_step = signed.is_err();
        match signed {
            Ok(Ok(signed)) => Ok(signed),
            Ok(Err(error)) => Err(format!("the agent did not sign ({error})")),
            Err(_) => Err("the agent did not sign in time".into()),
        }
    }

    /// Gives the agent a key to keep.
    ///
    /// # Errors
    /// A note for the message.
    pub(super) async fn add(
        &mut self,
        key: &PrivateKey,
        constraints: &[Constraint],
    ) -> Result<(), String> {
        if self.out_of_step {
            return Err("the agent is busy".into());
        }
        self.out_of_step = true;
        let added = timeout(LIST, self.client.add_identity(key, constraints)).await;
        self.out_of_step = added.is_err();
        match added {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the agent did not take it ({error})")),
            Err(_) => Err("the agent did not answer".into()),
        }
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
