//! An SSH agent with given keys, on a socket of its own.

use std::path::PathBuf;

use futures_util::stream;
use russh::keys::PrivateKey;
use russh::keys::agent::client::AgentClient;
use russh::keys::agent::server::serve;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// A running agent.
pub struct TestAgent {
    directory: TempDir,
    task: JoinHandle<()>,
}

impl TestAgent {
    /// Starts an agent that holds `keys`.
    pub async fn start(keys: &[PrivateKey]) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("agent")).unwrap();
        let sockets = stream::unfold(listener, |listener| async {
            let accepted = listener.accept().await.map(|(socket, _)| socket);
            Some((accepted, listener))
        });
        let task = tokio::spawn(async move {
            let _ = serve(Box::pin(sockets), ()).await;
        });
        let agent = Self { directory, task };
        let mut client = AgentClient::connect_uds(agent.socket()).await.unwrap();
        for key in keys {
            client.add_identity(key, &[]).await.unwrap();
        }
        agent
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("agent")
    }
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}
