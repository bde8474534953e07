//! Why a TLS handshake came to nothing, in words for a person, with the next step.

use std::io;
use std::time::Duration;

use rustls::{CertificateError, Error, InvalidMessage};

use super::tls::Fingerprint;
use crate::layer::{Layer, LayerError, Retry, printable};

const SECONDS_OF_A_DAY: u64 = 86_400;
/// Names of a certificate that are shown.
const NAMES_SHOWN: usize = 4;

/// What was known at the handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempted<'a> {
    /// Whom we meant to reach.
    pub(super) host: &'a str,
    /// The only certificate that counts, where one was named.
    pub(super) pin: Option<&'a Fingerprint>,
    /// The certificate that was shown, when it came to that.
    pub(super) shown: Option<Fingerprint>,
}

impl Attempted<'_> {
    /// The port answers, and it is no WebSocket over TLS that we can use.
    fn fault(&self, what: impl Into<String>) -> LayerError {
        LayerError::new(Layer::Websocket, what).retry(Retry::Attention)
    }

    /// The handshake failed.
    pub(super) fn failed(&self, error: &io::Error) -> LayerError {
        let of_tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        let host = self.host;
        if let (Some(pin), Some(shown)) = (self.pin, self.shown)
            && *pin != shown
        {
            return self.fault(format!(
                "{host} shows another certificate than the pinned one: it shows sha256:{shown}, pinned is sha256:{pin}"
            ))
            .next("if clawline-gateway tls show there prints the new one, pin that (--tls-fingerprint, or tlsFingerprint in the config); if not, somebody may be in between: do not go on");
        }
        match of_tls {
            // Its first bytes were no TLS at all.
            Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => self
                .fault(format!("{host} does not speak TLS on this port"))
                .next("use ws:// instead of wss://, or set gateway.tls.enabled there"),
            Some(Error::InvalidCertificate(why)) => self.bad_certificate(why),
            Some(Error::AlertReceived(alert)) => self
                .fault(format!("{host} refused the TLS handshake"))
                .peer(&format!("{alert:?}"))
                .next("look into its log, or use SSH: clawline user@host"),
            Some(other) => self
                .fault(format!("{host} and this program find no TLS in common"))
                .peer(&other.to_string())
                .next("it needs TLS 1.2 or 1.3; or use SSH: clawline user@host"),
            // A lost connection is not for a person.
            None if error.kind() == io::ErrorKind::UnexpectedEof => self
                .fault(format!("{host} closed the connection in the TLS handshake"))
                .next("if it does not speak TLS, use ws:// instead of wss://")
                .retry(Retry::Backoff),
            None => self
                .fault(format!(
                    "the connection to {host} broke in the TLS handshake: {error}"
                ))
                .retry(Retry::Backoff),
        }
    }

    /// Nothing came in time.
    pub(super) fn silent(&self, deadline: Duration) -> LayerError {
        let host = self.host;
        let seconds = deadline.as_secs();
        self.fault(format!(
            "{host} did not answer the TLS handshake within {seconds} s"
        ))
        .next("if it does not speak TLS, use ws:// instead of wss://")
        .retry(Retry::Backoff)
    }

    /// The name cannot stand in a certificate.
    pub(super) fn no_name(&self) -> LayerError {
        let host = printable(self.host, 100);
        self.fault(format!("{host} is no name that a certificate can hold"))
            .next("use another name of it, or its address")
            .retry(Retry::Never)
    }

    /// There is no TLS on this machine.
    pub(super) fn no_tls(&self, error: &Error) -> LayerError {
        self.fault(format!("TLS cannot be set up here: {error}"))
            .retry(Retry::Never)
    }

    fn bad_certificate(&self, why: &CertificateError) -> LayerError {
        let host = self.host;
        match why {
            CertificateError::ExpiredContext { time, not_after } => {
                let ago = time.as_secs().saturating_sub(not_after.as_secs());
                self.fault(format!("the certificate of {host} expired {} ago", days(ago)))
                    .next("renew it there (clawline-gateway tls renew, if the gateway made it), and look at this machine's clock")
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                let left = not_before.as_secs().saturating_sub(time.as_secs());
                self.fault(format!(
                    "the certificate of {host} is not valid before {} have passed",
                    days(left)
                ))
                .next("look at the clocks of this machine and of that one")
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<String> = presented.iter().map(|name| plain(name)).collect();
                let names = match &names[..] {
                    [] => "no name at all".to_owned(),
                    names => printable(&names[..names.len().min(NAMES_SHOWN)].join(", "), 300),
                };
                self.fault(format!("the certificate is for {names}, not for {host}"))
                    .next(format!("connect by a name that it is for, or {}", self.pin_it()))
            }
            CertificateError::UnknownIssuer => self
                .fault(format!(
                    "nobody this program trusts has signed the certificate of {host}; a gateway that makes its own is known by its fingerprint"
                ))
                .next(self.pin_it()),
            CertificateError::Revoked => self
                .fault(format!("the certificate of {host} was revoked"))
                .next("it needs another certificate"),
            other => self
                .fault(format!("the certificate of {host} cannot be used"))
                .peer(&other.to_string())
                .next(self.pin_it()),
        }
    }

    /// How a certificate is trusted that no authority speaks for.
    fn pin_it(&self) -> String {
        match self.shown {
            Some(shown) => format!(
                "if clawline-gateway tls show there prints sha256:{shown}, pin it: --tls-fingerprint {shown}, or tlsFingerprint in the config"
            ),
            None => "pin what clawline-gateway tls show there prints: --tls-fingerprint".to_owned(),
        }
    }
}

/// A name as people write it: rustls shows the names of a certificate as its own types.
fn plain(presented: &str) -> String {
    let inner = presented
        .split_once("(\"")
        .and_then(|(_, rest)| rest.split_once("\")"))
        .map(|(name, _)| name);
    inner.unwrap_or(presented).to_owned()
}

fn days(seconds: u64) -> String {
    match seconds / SECONDS_OF_A_DAY {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
    };
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::{RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio_rustls::TlsAcceptor;

    use super::super::tls;
    use super::*;

    struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        fn new(name: &str) -> Self {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        fn roots(&self) -> RootCertStore {
            let mut roots = RootCertStore::empty();
            roots.add(self.0.der().clone()).unwrap();
            roots
        }

        fn server(&self, name: &str, years: (i32, i32)) -> (CertificateDer<'static>, ServerConfig) {
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.not_before = date_time_ymd(years.0, 1, 1);
            params.not_after = date_time_ymd(years.1, 1, 1);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &self.0).unwrap().der().clone();
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let provider = Arc::new(aws_lc_rs::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.clone()], key)
                .unwrap();
            (certificate, config)
        }
    }

    /// Both ends at once, in memory.
    async fn meet(
        server: ServerConfig,
        roots: RootCertStore,
        pin: Option<Fingerprint>,
    ) -> Result<(), LayerError> {
        let (ours, theirs) = duplex(64 * 1024);
        let accepting = TlsAcceptor::from(Arc::new(server)).accept(theirs);
        let connecting = tls::connect_with(roots, ours, "gate.example", pin.as_ref());
        tokio::join!(accepting, connecting).1.map(drop)
    }

    #[tokio::test]
    async fn each_fault_of_a_certificate_has_its_own_words_and_next_step() {
        let authority = Authority::new("one");
        let ours = || authority.roots();
        for (name, years, roots, what, next) in [
            ("gate.example", (2000, 2001), ours(), "expired ", "clock"),
            (
                "gate.example",
                (4000, 4001),
                ours(),
                "not valid before",
                "clock",
            ),
            (
                "other.example",
                (2000, 4000),
                ours(),
                "is for other.example, not for gate.example",
                "--tls-fingerprint",
            ),
            (
                "gate.example",
                (2000, 4000),
                Authority::new("another").roots(),
                "nobody this program trusts",
                "clawline-gateway tls show",
            ),
        ] {
            let (certificate, server) = authority.server(name, years);
            let error = meet(server, roots, None).await.unwrap_err();
            assert_eq!(
                (error.layer, error.retry),
                (Layer::Websocket, Retry::Attention),
                "{error}"
            );
            assert!(error.what.contains(what), "{what}: {error}");
            assert!(error.next.contains(next), "{next}: {}", error.next);
            if next.contains("tls") {
                let shown = Fingerprint::of(&certificate).to_string();
                assert!(error.next.contains(&shown), "{}", error.next);
            }
        }
        let (certificate, server) = authority.server("gate.example", (2000, 4000));
        meet(server.clone(), ours(), None).await.unwrap();

        // A pin is all that counts, and nothing else stands for it.
        let pin = Fingerprint::of(&certificate);
        meet(server.clone(), RootCertStore::empty(), Some(pin))
            .await
            .unwrap();
        let other = Fingerprint::of(b"another");
        let error = meet(server, ours(), Some(other)).await.unwrap_err();
        assert!(
            error
                .what
                .contains(&format!("shows sha256:{pin}, pinned is sha256:{other}")),
            "{error}"
        );
        assert!(error.next.contains("do not go on"), "{}", error.next);
    }

    #[tokio::test]
    async fn a_port_without_tls_and_one_that_hangs_up_are_told_apart() {
        for (answer, what, retry) in [
            (
                &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
                "does not speak TLS",
                Retry::Attention,
            ),
            (
                &b""[..],
                "closed the connection in the TLS handshake",
                Retry::Backoff,
            ),
        ] {
            let (ours, mut theirs) = duplex(64 * 1024);
            let roots = Authority::new("another").roots();
            let connecting = tls::connect_with(roots, ours, "gate.example", None);
            let answering = async {
                let mut hello = [0; 5];
                theirs.read_exact(&mut hello).await.unwrap();
                theirs.write_all(answer).await.unwrap();
                theirs.shutdown().await.unwrap();
                theirs
            };
            let (done, _theirs) = tokio::join!(connecting, answering);
            let error = done.map(drop).unwrap_err();
            assert_eq!(
                (error.layer, error.retry),
                (Layer::Websocket, retry),
                "{error}"
            );
            assert!(error.what.contains(what), "{error}");
            assert!(error.next.contains("ws://"), "{}", error.next);
        }
    }
}
