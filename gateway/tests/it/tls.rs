//! TLS on the port: which certificate is shown, who is refused and in which words.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clawline::client::{Fingerprint, pinned};
use clawline_gateway::settings::{GatewaySettings, TlsSettings};
use clawline_gateway::{Gateway, StartError};
use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Connect, TestGateway};

const DEADLINE: Duration = Duration::from_secs(60);

async fn with_tls() -> (TestGateway, Fingerprint) {
    let own = TlsSettings::Own {
        names: vec!["box.example".into(), "192.0.2.5".into()],
    };
    let gateway = TestGateway::start_with(|settings| settings.tls = own).await;
    let pin = pin_of(&gateway.settings.tls_dir().join("cert.pem"));
    (gateway, pin)
}

fn pin_of(certificate: &Path) -> Fingerprint {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    Fingerprint::of(&CertificateDer::from_pem_file(certificate).unwrap())
}

async fn session(address: SocketAddr, pin: Fingerprint) -> io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(pinned(&pin).unwrap()));
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    timeout(DEADLINE, connector.connect(name, stream))
        .await
        .unwrap()
}

/// Connects inside TLS and signs in; hello, or the refusal.
async fn hello(address: SocketAddr, pin: Fingerprint, connect: &Connect) -> Value {
    let stream = session(address, pin).await.unwrap();
    let url = format!("wss://{address}/");
    let (mut ws, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let mut next = async || match timeout(DEADLINE, ws.next()).await.unwrap() {
        Some(Ok(Message::Text(text))) => serde_json::from_str::<Value>(&text).unwrap(),
        other => panic!("a text was expected, not {other:?}"),
    };
    let challenge = next().await;
    let nonce = challenge["payload"]["nonce"].as_str().unwrap().to_owned();
    let params = connect.signed(&nonce, challenge["payload"]["ts"].as_i64().unwrap());
    let frame = json!({"type": "req", "id": "c1", "method": "connect", "params": params});
    ws.send(Message::text(frame.to_string())).await.unwrap();
    loop {
        match timeout(DEADLINE, ws.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// What comes back for these bytes until the peer hangs up.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    read.unwrap().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_client_with_the_right_pin_signs_in_and_one_with_another_does_not() {
    let (gateway, pin) = with_tls().await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    let response = hello(gateway.address, pin, &connect).await;
    assert_eq!(response["ok"], true, "{response}");
    let other = Fingerprint::parse(&"ab".repeat(32)).unwrap();
    let error = session(gateway.address, other).await.unwrap_err();
    assert!(error.to_string().contains(&pin.to_string()), "{error}");
}

#[tokio::test]
async fn our_certificate_is_made_once_owner_only_with_its_names_and_outlives_a_restart() {
    let (gateway, pin) = with_tls().await;
    let dir = gateway.settings.tls_dir();
    assert_eq!(mode(&dir), 0o700);
    for file in ["cert.pem", "key.pem"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
    let pem = std::fs::read(dir.join("cert.pem")).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let names = format!("{:?}", names.value.general_names);
    for name in ["localhost", "box.example"] {
        assert!(names.contains(name), "{names}");
    }
    assert_eq!(names.matches("IPAddress").count(), 3, "{names}");
    let validity = certificate.validity();
    let years = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 31_536_000;
    assert!((9..=11).contains(&years), "{years}");
    let gateway = gateway.restart().await;
    assert_eq!(pin_of(&dir.join("cert.pem")), pin);
    session(gateway.address, pin).await.unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn who_speaks_the_other_one_is_told_so() {
    let (gateway, _) = with_tls().await;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address);
    let text = answer(gateway.address, request.as_bytes()).await;
    assert!(
        text.starts_with("HTTP/1.1 400") && text.contains("wss://"),
        "{text}"
    );
    let Err((status, body)) = Client::try_open(gateway.address, &[]).await else {
        panic!("a plain WebSocket was let in");
    };
    assert!(
        status == 400 && body.contains("This port speaks TLS"),
        "{status} {body}"
    );
    let plain = TestGateway::start().await;
    let hello = [&[0x16, 3, 1, 0, 5][..], b"hello"].concat();
    let text = answer(plain.address, &hello).await;
    assert!(
        text.starts_with("HTTP/1.1 400") && text.contains("ws://"),
        "{text}"
    );
    let any = Fingerprint::parse(&"ab".repeat(32)).unwrap();
    session(plain.address, any).await.unwrap_err();
}

#[tokio::test]
async fn tls_1_2_and_garbage_are_refused_and_the_port_lives_on() {
    let (gateway, pin) = with_tls().await;
    let mut old = pinned(&pin).unwrap();
    let provider = old.crypto_provider().clone();
    let verifier = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap();
    old = verifier
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::new(old)).connect(name, stream);
    let error = timeout(DEADLINE, connecting).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    let garbage = [&[0x16][..], &[0xff; 4096]].concat();
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let _ = stream.write_all(&garbage).await;
    let ended = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "it hung");
    session(gateway.address, pin).await.unwrap();
}

/// Slowloris: the deadline counts from the accept, through TLS too.
#[tokio::test]
async fn a_handshake_that_never_ends_and_a_session_that_says_nothing_are_cut() {
    let (gateway, pin) = with_tls().await;
    let mut silent = TcpStream::connect(gateway.address).await.unwrap();
    let mut half = TcpStream::connect(gateway.address).await.unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    let mut idle = session(gateway.address, pin).await.unwrap();
    let mut slow = session(gateway.address, pin).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x").await.unwrap();
    // Nothing but the clock is waited for from here on.
    tokio::time::pause();
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest).await;
    let _ = half.read_to_end(&mut rest).await;
    let _ = idle.read_to_end(&mut rest).await;
    let _ = slow.read_to_end(&mut rest).await;
}

/// A certificate of somebody, in files.
struct Files {
    home: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            home: tempfile::tempdir().unwrap(),
        };
        files.write(|_| {});
        files
    }

    fn certificate(&self) -> PathBuf {
        self.home.path().join("site.pem")
    }

    fn key(&self) -> PathBuf {
        self.home.path().join("site.key")
    }

    fn write(&self, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(vec!["site.example".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.put(&self.key(), &key.serialize_pem());
        self.put(&self.certificate(), &certificate.pem());
    }

    fn put(&self, path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings::Files {
            certificate: self.certificate(),
            key: self.key(),
        }
    }

    /// Why no gateway starts with them.
    async fn refused(&self) -> String {
        let mut settings = GatewaySettings::new(self.home.path().join("state"));
        settings.tls = self.settings();
        match Gateway::bind(settings).await {
            Err(error @ StartError::Tls(_)) => error.to_string(),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("a gateway starts with them"),
        }
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_at_the_start() {
    let files = Files::new();
    std::fs::set_permissions(files.key(), PermissionsExt::from_mode(0o644)).unwrap();
    let words = files.refused().await;
    assert!(
        words.contains("site.key") && words.contains("chmod 600"),
        "{words}"
    );

    let other = KeyPair::generate().unwrap().serialize_pem();
    files.put(&files.key(), &other);
    let words = files.refused().await;
    assert!(
        words.contains("is not the key of the certificate"),
        "{words}"
    );

    files.write(|params| params.not_after = rcgen::date_time_ymd(2020, 5, 6));
    let words = files.refused().await;
    assert!(
        words.contains("expired on 2020-05-06") && words.contains("renew"),
        "{words}"
    );

    files.write(|params| params.not_before = rcgen::date_time_ymd(2990, 1, 2));
    let words = files.refused().await;
    assert!(
        words.contains("2990-01-02") && words.contains("clock"),
        "{words}"
    );

    for text in [
        "",
        "no PEM",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    ] {
        files.put(&files.certificate(), text);
        let words = files.refused().await;
        assert!(words.contains("gateway.tls.certPath"), "{text}: {words}");
    }
    std::fs::remove_file(files.certificate()).unwrap();
    let words = files.refused().await;
    assert!(words.contains("site.pem"), "{words}");

    files.write(|_| {});
    files.put(&files.key(), "no key");
    let words = files.refused().await;
    assert!(words.contains("gateway.tls.keyPath"), "{words}");
}

#[tokio::test]
async fn new_files_are_shown_without_a_restart_and_bad_ones_never() {
    let files = Files::new();
    let tls = files.settings();
    let gateway = TestGateway::start_with(|settings| settings.tls = tls).await;
    let first = pin_of(&files.certificate());
    session(gateway.address, first).await.unwrap();
    let connect = Connect::cli(4, &gateway.secret, &[]);
    assert_eq!(hello(gateway.address, first, &connect).await["ok"], true);
    files.put(&files.certificate(), "broken");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    session(gateway.address, first).await.unwrap();
    files.write(|_| {});
    let second = pin_of(&files.certificate());
    let mut is_shown = false;
    for _ in 0..500 {
        is_shown = session(gateway.address, second).await.is_ok();
        if is_shown {
            break;
        }
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::time::resume();
    }
    assert!(is_shown, "the old certificate stays");
    session(gateway.address, first).await.unwrap_err();
}
