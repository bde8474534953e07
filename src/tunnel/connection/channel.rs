//! Opening channels through the connection, so that nothing leaks whoever gives up waiting.

use std::sync::Arc;
use std::time::Duration;

use russh::client::Handle;

use crate::layer::{Layer, LayerError};
use crate::tunnel::spec::RemoteEnd;
use crate::tunnel::transport::Lifeline;

use super::closings::Closings;
use super::refusal;
use super::stream::ChannelStream;
use super::{Connection, Hook};

/// How long a server may take to open a channel; it dials the far end meanwhile.
const OPEN_ANSWER: Duration = Duration::from_secs(15);

impl Connection {
    /// Opens a stream to `remote`, as the server sees it. Cancel safe: a channel that nobody waits
    /// for any more is closed when it opens.
    ///
    /// # Errors
    /// [`Layer::Forward`] when the server does not allow it, [`Layer::Port`] when nothing listens
    /// there, [`Layer::Ssh`] when the connection is gone or the server does not answer.
    pub(crate) async fn open_channel(
        &self,
        remote: &RemoteEnd,
    ) -> Result<ChannelStream, LayerError> {
        if self.life.is_over() {
            return Err(self.why_over());
        }
        self.life.ask();
        let opening = open_in_background(
            self.handle.clone(),
            self.life.clone(),
            self.closings.clone(),
            remote.clone(),
        );
        let opened = tokio::time::timeout(OPEN_ANSWER, tokio::spawn(opening)).await;
        match opened {
            Ok(Ok(Ok(stream))) => Ok(stream),
            Ok(Ok(Err(russh::Error::ChannelOpenFailure(reason)))) => {
                let words = self.diagnostics.take_refusal().await;
                self.closings.refused();
                self.renew_if_worn();
                Err(refusal::explain(
                    &self.server,
                    remote,
                    &reason,
                    &words,
                    &self.diagnostics.banner(),
                ))
            }
            Ok(_) => Err(self.why_over()),
            Err(_) => Err(LayerError::new(
                Layer::Port,
                format!(
                    "{} did not open {remote} within {} s",
                    self.server,
                    OPEN_ANSWER.as_secs()
                ),
            )),
        }
    }
}

impl Connection {
    /// Ends a connection that has leaked its share while nobody uses it; the next one starts clean. Where
    /// signing in takes a person, more has to be at stake.
    fn renew_if_worn(&self) {
        let worn = match self.attended {
            false => self.closings.is_worn(),
            true => self.closings.is_worn_out(),
        };
        // One for forwards is replaced by its successor.
        if worn && self.closings.in_use() == 0 && !self.closings.is_for_forwards() {
            self.life.end(LayerError::new(
                Layer::Ssh,
                format!("the connection to {} is renewed", self.server),
            ));
        }
    }
}

/// Runs to its end whoever waits: russh leaks a channel whose opening is given up.
async fn open_in_background(
    handle: Arc<Handle<Hook>>,
    life: Lifeline,
    closings: Closings,
    remote: RemoteEnd,
) -> Result<ChannelStream, russh::Error> {
    let opening = async {
        match remote {
            RemoteEnd::Tcp { host, port } => {
                let port = u32::from(port);
                handle
                    .channel_open_direct_tcpip(host, port, "127.0.0.1", 0)
                    .await
            }
            RemoteEnd::Unix(path) => handle.channel_open_direct_streamlocal(path).await,
        }
    };
    tokio::select! {
        () = life.over() => Err(russh::Error::Disconnect),
        opened = opening => {
            opened.map(|channel| ChannelStream::new(channel, closings, life.clone()))
        }
    }
}
