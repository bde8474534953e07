//! How a client gets a byte stream to its gateway, and what it may show there.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::layer::{Layer, LayerError};
use crate::secret::Secret;

/// Any byte stream: TCP, TLS, an SSH channel, an in-memory pipe.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A byte stream whose kind does not matter any more.
pub type BoxedStream = Box<dyn ByteStream>;

/// What we may show a gateway to be let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The gateway's shared token.
    pub token: Option<Secret>,
    /// The gateway's shared password.
    pub password: Option<Secret>,
}

impl Credentials {
    /// Only a token.
    pub fn token(token: Secret) -> Self {
        Self {
            token: Some(token),
            password: None,
        }
    }

    /// True when there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.token.is_none() && self.password.is_none()
    }
}

/// A stream to a gateway.
pub struct Dialed {
    /// The id of the gateway that this leads to: secrets that were typed for another one stay away.
    pub gateway: String,
    /// The stream; the WebSocket upgrade comes next.
    pub stream: BoxedStream,
    /// `Host` of the upgrade, e.g. `127.0.0.1:18789`.
    pub host: String,
    /// What may be shown there.
    pub credentials: Credentials,
    /// The layers that came up on the way.
    pub layers: Vec<CameUp>,
}

/// A layer that came up: which, how long it took, what it is.
pub type CameUp = (Layer, Duration, String);

/// Why no stream was opened, and how far it came.
#[derive(Debug)]
pub struct DialError {
    /// Where it stopped.
    pub error: LayerError,
    /// The layers that came up before that.
    pub layers: Vec<CameUp>,
}

impl From<LayerError> for DialError {
    fn from(error: LayerError) -> Self {
        Self {
            error,
            layers: Vec::new(),
        }
    }
}

impl fmt::Debug for Dialed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialed")
            .field("gateway", &self.gateway)
            .field("host", &self.host)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// The future of [`Dialer::dial`].
pub type Dialing<'a> = Pin<Box<dyn Future<Output = Result<Dialed, DialError>> + Send + 'a>>;

/// Opens streams to one gateway, again and again.
///
/// What a dialer returns must always be the gateway at which the client's token store points, since the
/// client shows its tokens there.
pub trait Dialer: Send + Sync {
    /// Opens one. May wait without a deadline of its own for a link that is coming up; the client drops
    /// the future when it is told to stop, so it must be cancel safe.
    fn dial(&self) -> Dialing<'_>;
}

impl<F> Dialer for F
where
    F: Fn() -> Dialing<'static> + Send + Sync,
{
    fn dial(&self) -> Dialing<'_> {
        self()
    }
}
