//! What tests share: an SSH server of their own, temporary homes, and waiting with a deadline.

pub mod agent;
pub mod person;
#[path = "../../openssh/support/relay.rs"]
pub mod relay;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use clawline::loopback_ssh::{LoopbackOptions, LoopbackSsh, fresh_key};
use clawline::tunnel::spec::{
    HopSpec, IdentityFile, KnownHostsFiles, RemoteEnd, StrictHostKey, TunnelSpec,
};
use clawline::tunnel::status::{TunnelStatus, TunnelView};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longer than anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a machine that is busy with other things may add to a time that is promised. Where nobody keeps
/// the promise it takes longer than both.
pub const BUSY: Duration = Duration::from_secs(10);

/// A port that nobody listens on and that no other test is given. It is below the kernel's range for
/// outgoing connections and for listeners that take any, so it stays free until it is used.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::random()));
    loop {
        let port = 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 20_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A port that refuses as long as the socket, which does not listen, keeps it from others.
pub fn closed_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A home directory with one key, and an SSH server that knows the key.
pub struct SshWorld {
    pub home: TempDir,
    pub key: PrivateKey,
    pub server: LoopbackSsh,
}

impl SshWorld {
    /// A server with these options, into which the world's key gets in too unless they name another.
    pub async fn new(mut options: LoopbackOptions) -> Self {
        let home = TempDir::new().unwrap();
        let key = fresh_key().unwrap();
        write_key(&home.path().join("id"), &key);
        options.client_key.get_or_insert(key.public_key().clone());
        let server = LoopbackSsh::start(options).await.unwrap();
        let world = Self { home, key, server };
        world.learn_host_key();
        world
    }

    pub fn known_hosts(&self) -> PathBuf {
        self.home.path().join("known_hosts")
    }

    /// Makes the server known.
    pub fn learn_host_key(&self) {
        let key = self.server.host_key.to_openssh().unwrap();
        let line = format!("[127.0.0.1]:{} {key}\n", self.server.addr.port());
        std::fs::write(self.known_hosts(), line).unwrap();
    }

    /// The way into the server with the world's key.
    pub fn hop(&self) -> HopSpec {
        HopSpec {
            identity_files: vec![IdentityFile {
                path: self.home.path().join("id"),
                named: true,
            }],
            known_hosts: KnownHostsFiles {
                user: vec![self.known_hosts()],
                ..KnownHostsFiles::default()
            },
            strict_host_key: StrictHostKey::Ask,
            ..HopSpec::bare("127.0.0.1", self.server.addr.port(), "me")
        }
    }

    pub fn spec(&self) -> TunnelSpec {
        spec_of(self.hop())
    }
}

/// A tunnel of one hop.
pub fn spec_of(hop: HopSpec) -> TunnelSpec {
    TunnelSpec {
        target: hop.alias.clone(),
        hops: vec![hop],
        local_forwards: Vec::new(),
    }
}

/// Writes a private key as ssh-keygen does.
pub fn write_key(path: &std::path::Path, key: &PrivateKey) {
    key.write_openssh_file(path, LineEnding::LF).unwrap();
}

/// A TCP server that sends back what it gets.
pub struct Echo {
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Echo {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = socket.into_split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        Self { addr, task }
    }

    pub fn remote(&self) -> RemoteEnd {
        RemoteEnd::loopback(self.addr.port())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends a text and reads it back.
pub async fn echo_works(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> bool {
    let talk = async {
        stream.write_all(b"hello there").await?;
        stream.flush().await?;
        let mut back = [0; 11];
        stream.read_exact(&mut back).await?;
        Ok::<_, std::io::Error>(&back == b"hello there")
    };
    matches!(tokio::time::timeout(PATIENCE, talk).await, Ok(Ok(true)))
}

/// Waits for a view; fails the test when it does not come.
pub async fn view_where(
    view: &mut watch::Receiver<TunnelView>,
    what: &str,
    is_it: impl FnMut(&TunnelView) -> bool,
) -> TunnelView {
    let mut waiting = view.clone();
    let found = tokio::time::timeout(PATIENCE, waiting.wait_for(is_it)).await;
    if let Ok(Ok(view)) = found {
        return view.clone();
    }
    panic!("never {what}: {:?}", *view.borrow());
}

/// Waits until the tunnel is up.
pub async fn until_up(view: &mut watch::Receiver<TunnelView>) -> TunnelView {
    view_where(view, "up", |view| view.status.is_up()).await
}

/// The reason of a tunnel that stands still.
pub fn why(view: &TunnelView) -> Option<&clawline::layer::LayerError> {
    match &view.status {
        TunnelStatus::Attention { why }
        | TunnelStatus::Failed { why }
        | TunnelStatus::Waiting { why, .. } => Some(why),
        _ => None,
    }
}

/// Lets a time pass that is itself what a test is about: how long a fault lasts, or how long nothing may
/// happen. What another task or process brings about is waited for with [`eventually`].
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Waits until something holds; fails the test when it does not.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        looks.tick().await;
    }
}
