//! TLS of the port: which certificate is shown, and how it is replaced while the daemon runs.
//!
//! Only TLS 1.3 is spoken, as by official gateways. Clients pin the certificate's SHA-256, so that one of
//! our own is never replaced without somebody asking for it (`clawline-gateway tls renew`).

mod certificate;
pub(crate) mod own;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use clawline::client::Fingerprint;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::settings::TlsSettings;

pub(crate) use certificate::Certificate;
pub(crate) use watch::{reload, watch};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No certificate in the file.
    #[error("{}: {why}; gateway.tls.certPath must name a certificate chain in PEM", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// No key in the file.
    #[error("{}: {why}; gateway.tls.keyPath must name a private key in PEM", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// Others can read the key.
    #[error("{path}: every user of this machine can read this private key; run chmod 600 {path}", path = path.display())]
    KeyOpenToOthers {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate do not belong together.
    #[error(
        "{} is not the key of the certificate in {}; correct gateway.tls.keyPath or gateway.tls.certPath",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate does not hold any more, or not yet.
    #[error("{}: the certificate {why}; {next}", path.display())]
    NotValidNow {
        /// The file.
        path: PathBuf,
        /// Until or from when it holds.
        why: String,
        /// What to do.
        next: &'static str,
    },
    /// Our own certificate without its key.
    #[error("{} is gone; put it back, or make a new certificate with clawline-gateway tls renew", path.display())]
    KeyGone {
        /// Where the key was.
        path: PathBuf,
    },
    /// No certificate could be made.
    #[error("a certificate cannot be made: {0}")]
    Make(String),
    /// The crypto library refuses.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// TLS of one port.
#[derive(Debug)]
pub(crate) struct Tls {
    source: Source,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
    changed: Notify,
    /// Held while the files are read.
    turn: Mutex<()>,
}

/// Where the certificate comes from.
#[derive(Debug, Clone)]
enum Source {
    Own { dir: PathBuf, names: Vec<String> },
    Files { certificate: PathBuf, key: PathBuf },
}

/// The certificate that is shown now.
#[derive(Debug)]
struct Shown(ArcSwap<Certificate>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certified.clone())
    }
}

impl Tls {
    /// What the settings ask for; `None` where they ask for none. `dir` is that of our own certificate.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn open(settings: &TlsSettings, dir: &Path) -> Result<Option<Self>, TlsError> {
        let source = match settings.clone() {
            TlsSettings::Off => return Ok(None),
            TlsSettings::Own { names } => Source::Own {
                dir: dir.to_owned(),
                names,
            },
            TlsSettings::Files { certificate, key } => Source::Files { certificate, key },
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificate = source.read(&provider, true)?;
        let shown = Arc::new(Shown(ArcSwap::from_pointee(certificate)));
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        Ok(Some(Self {
            source,
            shown,
            config: Arc::new(config),
            changed: Notify::new(),
            turn: Mutex::default(),
        }))
    }

    /// Whether [`Tls::open`] would find what it needs; nothing is made.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn check(settings: &TlsSettings, dir: &Path) -> Result<(), TlsError> {
        let provider = aws_lc_rs::default_provider();
        match settings {
            TlsSettings::Off => Ok(()),
            // A first start makes one.
            TlsSettings::Own { .. } if !own::files(dir)[0].exists() => Ok(()),
            TlsSettings::Own { .. } => own::read_or_make(dir, None, &provider).map(drop),
            TlsSettings::Files { certificate, key } => {
                Certificate::read(certificate, key, &provider).map(drop)
            }
        }
    }

    /// The certificate that is shown now.
    pub(crate) fn certificate(&self) -> Arc<Certificate> {
        self.shown.0.load_full()
    }

    /// Of the certificate that is shown now.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.certificate().fingerprint
    }

    /// Reads the files again, for connections that come from now on. Whether another certificate is shown.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate that was shown stays.
    pub(crate) fn reload(&self) -> Result<bool, TlsError> {
        // Whoever reads later shows what it read later.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = self.source.read(self.config.crypto_provider(), false)?;
        let is_other = fresh.fingerprint != self.fingerprint();
        self.shown.0.store(Arc::new(fresh));
        if is_other {
            self.changed.notify_one();
        }
        Ok(is_other)
    }

    /// The handshake; the caller sets the deadline.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config.clone()).accept(stream).await
    }
}

/// Ends once another certificate is shown; never without TLS. One waits at a time.
pub(crate) async fn changed(tls: Option<&Tls>) {
    match tls {
        Some(tls) => tls.changed.notified().await,
        None => std::future::pending().await,
    }
}

impl Source {
    /// `may_make`: a missing one of our own is made.
    fn read(&self, provider: &CryptoProvider, may_make: bool) -> Result<Certificate, TlsError> {
        match self {
            Self::Own { dir, names } => {
                own::read_or_make(dir, may_make.then_some(names.as_slice()), provider)
            }
            Self::Files { certificate, key } => Certificate::read(certificate, key, provider),
        }
    }

    /// The files, for noticing that they change.
    fn files(&self) -> [PathBuf; 2] {
        match self {
            Self::Own { dir, .. } => own::files(dir),
            Self::Files { certificate, key } => [certificate.clone(), key.clone()],
        }
    }
}
