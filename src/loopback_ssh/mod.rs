//! A small SSH server on loopback for `clawline demo` and for tests.
//!
//! It has a throw-away host key, lets one client key (or a password, or answers to questions) in,
//! forwards to loopback only, and answers `exec` through a function instead of a shell. It is no server
//! for a network: it never binds anything but 127.0.0.1.

mod session;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::MethodKind;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::secret::Secret;
use crate::tunnel::transport::{Lifeline, Transport, WRITE_STALL};

/// What a server of this kind lets in and refuses. The default lets nobody in.
#[derive(Clone, Default)]
pub struct LoopbackOptions {
    /// The key that may sign in.
    pub client_key: Option<PublicKey>,
    /// The password that may sign in.
    pub password: Option<Secret>,
    /// How long it thinks about a password.
    pub password_delay: Duration,
    /// Rounds of questions that sign in when all are answered; empty for none.
    pub questions: Vec<QuestionRound>,
    /// Asks for the questions after the key was accepted, as servers with a second factor do.
    pub key_and_questions: bool,
    /// Refuses every forward, as `AllowTcpForwarding no` does.
    pub refuse_forwarding: bool,
    /// What it says before sign-in.
    pub banner: Option<String>,
    /// Waits this long before it says anything at all.
    pub delay: Duration,
    /// How many failed tries end the connection; 6 when not said, as in OpenSSH.
    pub max_auth_tries: Option<usize>,
    /// Its host key; a fresh ed25519 one when not said.
    pub host_key: Option<PrivateKey>,
    /// Its algorithms; russh's when not said.
    pub preferred: Option<russh::Preferred>,
    /// Its port; any free one when not said.
    pub port: u16,
    /// Answers `exec`; without one every command is refused.
    pub exec: Option<ExecHandler>,
}

/// Answers one `exec` command.
pub type ExecHandler = Arc<dyn Fn(&str) -> ExecReply + Send + Sync>;

/// The answer to an `exec` command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecReply {
    /// The command ran.
    Done {
        /// Its output.
        stdout: Vec<u8>,
        /// Its exit status.
        status: u32,
    },
    /// The command never ends.
    Hangs,
    /// The server runs no commands.
    Refused,
}

/// One round of keyboard-interactive questions.
#[derive(Debug, Clone, Default)]
pub struct QuestionRound {
    /// Title.
    pub name: String,
    /// Instructions.
    pub instructions: String,
    /// Each question, whether its answer may be shown, and the answer.
    pub questions: Vec<(String, bool, String)>,
}

/// A running server. Dropping it stops it and ends its connections.
pub struct LoopbackSsh {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The public half of its host key.
    pub host_key: PublicKey,
    shared: Arc<Shared>,
    stop: CancellationToken,
    accept: Option<tokio::task::JoinHandle<()>>,
    _stop_on_drop: DropGuard,
}

struct Shared {
    options: LoopbackOptions,
    accepted: AtomicUsize,
    opened_channels: AtomicUsize,
    lives: Mutex<HashMap<usize, Lifeline>>,
}

impl LoopbackSsh {
    /// Starts a server on 127.0.0.1.
    ///
    /// # Errors
    /// When the port cannot be bound or no key can be made.
    pub async fn start(options: LoopbackOptions) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let addr = listener.local_addr()?;
        let host_key = match &options.host_key {
            Some(key) => key.clone(),
            None => fresh_key()?,
        };
        let public = host_key.public_key().clone();
        let config = Arc::new(server_config(&options, host_key));
        let shared = Arc::new(Shared {
            options,
            accepted: AtomicUsize::new(0),
            opened_channels: AtomicUsize::new(0),
            lives: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let accept = tokio::spawn(accept_loop(listener, config, shared.clone(), stop.clone()));
        Ok(Self {
            addr,
            host_key: public,
            shared,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
            accept: Some(accept),
        })
    }

    /// Ends every connection without a word, as a killed server process does.
    pub fn kill_connections(&self) {
        for life in self.shared.lives().values() {
            life.cut();
        }
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How many connections are open now.
    pub fn connections(&self) -> usize {
        self.shared.lives().len()
    }

    /// How many forwarded channels were opened so far.
    pub fn opened_channels(&self) -> usize {
        self.shared.opened_channels.load(Ordering::Relaxed)
    }

    /// Stops listening and ends every connection; the port is free again when this returns.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.kill_connections();
        if let Some(accept) = self.accept.take() {
            let _ = accept.await;
        }
    }
}

impl Shared {
    fn lives(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Lifeline>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fresh ed25519 key, for a throw-away server or client.
///
/// # Errors
/// When the key cannot be made.
pub fn fresh_key() -> io::Result<PrivateKey> {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
        .map_err(io::Error::other)
}

fn server_config(options: &LoopbackOptions, host_key: PrivateKey) -> russh::server::Config {
    let mut methods = Vec::new();
    if options.client_key.is_some() {
        methods.push(MethodKind::PublicKey);
    }
    if !options.questions.is_empty() && !options.key_and_questions {
        methods.push(MethodKind::KeyboardInteractive);
    }
    if options.password.is_some() {
        methods.push(MethodKind::Password);
    }
    if methods.is_empty() {
        methods.push(MethodKind::PublicKey);
    }
    russh::server::Config {
        server_id: russh::SshId::Standard("SSH-2.0-clawline-loopback".into()),
        methods: methods.as_slice().into(),
        // Guessing is no concern on a throw-away server; a test that is refused should not wait.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: options.max_auth_tries.unwrap_or(6),
        keys: vec![host_key],
        inactivity_timeout: None,
        nodelay: true,
        preferred: options.preferred.clone().unwrap_or_default(),
        ..russh::server::Config::default()
    }
}

async fn accept_loop(
    listener: TcpListener,
    config: Arc<russh::server::Config>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let id = shared.accepted.fetch_add(1, Ordering::Relaxed);
                let life = Lifeline::default();
                shared.lives().insert(id, life.clone());
                connections.spawn(serve(socket, id, life, config.clone(), shared.clone()));
            }
        }
    }
    for life in shared.lives().values() {
        life.cut();
    }
    // A program that another thread starts in this moment has the socket, too, until it runs.
    let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Removes a connection from the books when it ends, however it ends.
struct Registered(Arc<Shared>, usize);

impl Drop for Registered {
    fn drop(&mut self) {
        self.0.lives().remove(&self.1);
    }
}

async fn serve(
    socket: TcpStream,
    id: usize,
    life: Lifeline,
    config: Arc<russh::server::Config>,
    shared: Arc<Shared>,
) {
    let _registered = Registered(shared.clone(), id);
    let _ = socket.set_nodelay(true);
    tokio::select! {
        () = life.over() => return,
        () = tokio::time::sleep(shared.options.delay) => {}
    }
    let handler = session::Session::new(shared, life.clone());
    let transport = Transport::new(socket, life.clone(), WRITE_STALL);
    if let Ok(running) = russh::server::run_stream(config, transport, handler).await {
        let _ = running.await;
    }
    // Pumps of this connection end with it.
    life.cut();
}

#[cfg(test)]
mod tests {
    use russh::client::{Handle, Handler};
    use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct TrustAll;

    impl Handler for TrustAll {
        type Error = russh::Error;

        async fn check_server_key(
            &mut self,
            _key: &PublicKeyOrCertificate,
        ) -> Result<bool, Self::Error> {
            Ok(true)
        }
    }

    async fn signed_in(server: &LoopbackSsh, key: &PrivateKey) -> (Handle<TrustAll>, bool) {
        let config = Arc::new(russh::client::Config::default());
        let mut client = russh::client::connect(config, server.addr, TrustAll)
            .await
            .unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), None);
        let signed_in = client.authenticate_publickey("me", key).await.unwrap();
        (client, signed_in.success())
    }

    fn options(key: &PrivateKey) -> LoopbackOptions {
        LoopbackOptions {
            client_key: Some(key.public_key().clone()),
            ..LoopbackOptions::default()
        }
    }

    #[tokio::test]
    async fn the_client_key_gets_in_and_forwards_to_loopback() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = u32::from(listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(b"hello").await.unwrap();
        });
        let key = fresh_key().unwrap();
        let server = LoopbackSsh::start(options(&key)).await.unwrap();
        let (client, signed_in) = signed_in(&server, &key).await;
        assert!(signed_in);
        let channel = client
            .channel_open_direct_tcpip("127.0.0.1", port, "127.0.0.1", 1)
            .await
            .unwrap();
        let mut text = String::new();
        let mut stream = channel.into_stream();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        assert_eq!((server.accepted(), server.opened_channels()), (1, 1));
        let elsewhere = client.channel_open_direct_tcpip("192.0.2.1", 80, "127.0.0.1", 1);
        assert!(elsewhere.await.is_err());
    }

    #[tokio::test]
    async fn another_key_stays_outside() {
        let server = LoopbackSsh::start(options(&fresh_key().unwrap()))
            .await
            .unwrap();
        let (_client, signed_in) = signed_in(&server, &fresh_key().unwrap()).await;
        assert!(!signed_in);
    }

    #[tokio::test]
    async fn a_killed_connection_is_over_on_both_sides_and_the_port_is_free_after_stop() {
        let key = fresh_key().unwrap();
        let server = LoopbackSsh::start(options(&key)).await.unwrap();
        let (client, _) = signed_in(&server, &key).await;
        assert_eq!(server.connections(), 1);
        server.kill_connections();
        let ended = tokio::time::timeout(Duration::from_secs(60), client).await;
        assert!(ended.is_ok());
        server.stop().await;
    }

    #[tokio::test]
    async fn the_port_is_free_after_stop_also_while_a_program_starts_that_has_the_socket_still() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _inherited = SockRef::from(&listener).try_clone().unwrap();
        let options = LoopbackOptions::default();
        let config = Arc::new(server_config(&options, fresh_key().unwrap()));
        let shared = Arc::new(Shared {
            options,
            accepted: AtomicUsize::new(0),
            opened_channels: AtomicUsize::new(0),
            lives: Mutex::default(),
        });
        let stop = CancellationToken::new();
        stop.cancel();
        accept_loop(listener, config, shared, stop).await;
        TcpListener::bind(address).await.unwrap();
    }
}
