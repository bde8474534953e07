//! An attempt under way: the future that connects, and what it has told so far.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::layer::{Layer, LayerError};
use crate::tunnel::auth::SignInFiles;
use crate::tunnel::connection::{Connection, Surroundings};
use crate::tunnel::spec::TunnelSpec;

use super::attempt::Attempt;

/// How long one of many quick attempts goes on before it is shown.
const QUIET_FOR: Duration = Duration::from_secs(1);

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, LayerError>> + Send>>;

/// Dropping it closes what it opened.
pub(super) struct Opening {
    pub(super) attempt: Arc<Attempt>,
    files: Arc<OnceLock<SignInFiles>>,
    connecting: Connecting,
}

impl Opening {
    /// An attempt that is shown once it takes long.
    pub(super) fn shown(spec: &TunnelSpec, around: &Surroundings, attempt: Arc<Attempt>) -> Self {
        let (spec, around) = (spec.clone(), around.clone());
        let (report, shown) = (attempt.report(), attempt.clone());
        let files = Arc::new(OnceLock::new());
        let seen = files.clone();
        let connecting = Box::pin(async move {
            let of = spec.clone();
            if let Ok(files) = tokio::task::spawn_blocking(move || SignInFiles::look(&of)).await {
                let _ = seen.set(files);
            }
            let mut opening = std::pin::pin!(Connection::open(&spec, &around, &report));
            match tokio::time::timeout(QUIET_FOR, &mut opening).await {
                Ok(result) => result,
                Err(_) => {
                    shown.show();
                    opening.await
                }
            }
        });
        Self {
            attempt,
            files,
            connecting,
        }
    }

    /// An attempt beside a connection that is up: nobody is asked anything.
    pub(super) fn beside(spec: &TunnelSpec, around: &Surroundings, attempt: Arc<Attempt>) -> Self {
        let spec = spec.clone();
        let around = Surroundings {
            asker: around.asker.silent(),
            ..around.clone()
        };
        let report = attempt.report();
        let connecting = Box::pin(async move { Connection::open(&spec, &around, &report).await });
        Self {
            attempt,
            files: Arc::default(),
            connecting,
        }
    }

    /// The keys and certificates as they were when it began.
    pub(super) fn files(&self) -> Option<SignInFiles> {
        self.files.get().cloned()
    }

    /// Waits for the end of the attempt. Cancel safe: the attempt goes on with the next call. Not to
    /// be called again once it has ended.
    pub(super) async fn finished(&mut self) -> Result<Connection, LayerError> {
        self.connecting.as_mut().await
    }

    /// Whether it still looks for a way to the server, which may be another one in another network.
    pub(super) fn is_dialling(&self) -> bool {
        self.attempt.layer() <= Layer::Tcp && self.attempt.connected().is_none()
    }
}
