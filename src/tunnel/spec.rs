//! What a tunnel is to be: checked descriptions that nothing later checks again.
//!
//! `ssh_config` produces them, `connection` reads them. "Not said" is a value of its own, so that
//! defaults are applied in one place only.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One SSH connection, possibly through others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelSpec {
    /// What the user typed or named; the identity of this tunnel in messages.
    pub target: String,
    /// The servers on the way, first to be dialled first; the last one is where the gateway lives.
    pub hops: Vec<HopSpec>,
    /// What `LocalForward` lines propose for the destination. Nothing of it is bound by itself.
    pub local_forwards: Vec<SuggestedForward>,
}

impl TunnelSpec {
    /// The last hop: the machine that runs the gateway. `None` only for an empty list.
    pub fn destination(&self) -> Option<&HopSpec> {
        self.hops.last()
    }
}

/// One SSH server and how to get into it, after ssh_config, flags and our own config were folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopSpec {
    /// The name before any rewriting (an alias of ssh_config, or the host itself).
    pub alias: String,
    /// Name or address that is dialled (`HostName`, tokens expanded).
    pub host: String,
    /// TCP port; 22 when nothing was said.
    pub port: u16,
    /// Login name; the local user when nothing was said.
    pub user: String,
    /// `AddressFamily`.
    pub address_family: AddressFamily,
    /// `BindAddress`: the local address to dial from.
    pub bind_address: Option<String>,
    /// `ConnectTimeout`; ours (10 s an address) when not said.
    pub connect_timeout: Option<Duration>,
    /// `TCPKeepAlive`, on unless switched off.
    pub tcp_keepalive: bool,
    /// Private keys to try, in order; defaults filled in when none was named.
    pub identity_files: Vec<IdentityFile>,
    /// `CertificateFile`, in order.
    pub certificate_files: Vec<PathBuf>,
    /// Offer only keys that `identity_files` name, also out of the agent.
    pub identities_only: bool,
    /// Which agent to ask.
    pub agent: AgentChoice,
    /// Files of known host keys; user files first, and the first one learns new keys.
    pub known_hosts: KnownHostsFiles,
    /// `HostKeyAlias`: the name under which the key is looked up and stored.
    pub host_key_alias: Option<String>,
    /// `StrictHostKeyChecking`.
    pub strict_host_key: StrictHostKey,
    /// `HashKnownHosts`.
    pub hash_known_hosts: bool,
    /// `CheckHostIP`: the key is looked up under the address, too.
    pub check_host_ip: bool,
    /// `UpdateHostKeys`: learn the other keys of a server that is known.
    pub update_host_keys: UpdateHostKeys,
    /// `HostKeyAlgorithms` as an explicit list; `None` leaves the order to known_hosts.
    pub host_key_algorithms: Option<Vec<String>>,
    /// `CASignatureAlgorithms` as an explicit list; `None` means [`algorithms::CA_SIGNATURES`].
    ///
    /// [`algorithms::CA_SIGNATURES`]: super::algorithms::CA_SIGNATURES
    pub ca_signature_algorithms: Option<Vec<String>>,
    /// `RequiredRSASize`: the smallest RSA key that is accepted, in bits, of servers and of users.
    pub required_rsa_size: u32,
    /// `KexAlgorithms` as an explicit list of names that we speak; `None` means our own order.
    pub kex: Option<Vec<String>>,
    /// `Ciphers`, likewise.
    pub ciphers: Option<Vec<String>>,
    /// `MACs`, likewise.
    pub macs: Option<Vec<String>>,
    /// `RekeyLimit`.
    pub rekey_limit: RekeyLimit,
    /// `Compression`.
    pub compression: bool,
    /// `ConnectionAttempts`: how often one attempt dials before it counts as failed.
    pub connection_attempts: u32,
    /// `ProxyCommand` with its tokens unexpanded; only the first hop can have one.
    pub proxy_command: Option<String>,
    /// `ServerAliveInterval`; `None` means our own 5 s, zero means off as in ssh.
    pub alive_interval: Option<Duration>,
    /// `ServerAliveCountMax`; `None` means 3.
    pub alive_count_max: Option<u32>,
    /// Which ways of signing in may be used, in order of preference.
    pub auth_methods: Vec<AuthMethod>,
    /// `PubkeyAcceptedAlgorithms` as an explicit list; `None` means [`algorithms::PUBLIC_KEYS`].
    ///
    /// [`algorithms::PUBLIC_KEYS`]: super::algorithms::PUBLIC_KEYS
    pub pubkey_algorithms: Option<Vec<String>>,
    /// `AddKeysToAgent`.
    pub add_keys_to_agent: AddKeysToAgent,
    /// `NumberOfPasswordPrompts`; 3 when not said.
    pub password_prompts: u32,
    /// `BatchMode`: never ask.
    pub batch_mode: bool,
    /// `ExitOnForwardFailure`; `None` leaves it to the command.
    pub exit_on_forward_failure: Option<bool>,
    /// `StreamLocalBindUnlink`: take away a socket file that is in the way of ours.
    pub stream_local_bind_unlink: bool,
    /// `StreamLocalBindMask`: permissions that our socket files do not get.
    pub stream_local_bind_mask: u32,
}

impl HopSpec {
    /// A server of which nothing is said but where it is and who signs in: no keys, no agent, no
    /// known hosts, every other value as when ssh_config is silent.
    pub fn bare(host: &str, port: u16, user: &str) -> Self {
        Self {
            alias: host.into(),
            host: host.into(),
            port,
            user: user.into(),
            address_family: AddressFamily::Any,
            bind_address: None,
            connect_timeout: None,
            tcp_keepalive: true,
            identity_files: Vec::new(),
            certificate_files: Vec::new(),
            identities_only: false,
            agent: AgentChoice::Off,
            known_hosts: KnownHostsFiles::default(),
            host_key_alias: None,
            strict_host_key: StrictHostKey::Ask,
            hash_known_hosts: false,
            check_host_ip: false,
            update_host_keys: UpdateHostKeys::No,
            host_key_algorithms: None,
            ca_signature_algorithms: None,
            required_rsa_size: REQUIRED_RSA_SIZE,
            kex: None,
            ciphers: None,
            macs: None,
            rekey_limit: RekeyLimit::default(),
            compression: false,
            connection_attempts: 1,
            proxy_command: None,
            alive_interval: None,
            alive_count_max: None,
            auth_methods: vec![
                AuthMethod::PublicKey,
                AuthMethod::KeyboardInteractive,
                AuthMethod::Password,
            ],
            pubkey_algorithms: None,
            add_keys_to_agent: AddKeysToAgent::No,
            password_prompts: 3,
            batch_mode: false,
            exit_on_forward_failure: None,
            stream_local_bind_unlink: false,
            stream_local_bind_mask: STREAM_LOCAL_BIND_MASK,
        }
    }
}

/// `RequiredRSASize` when nothing was said; ssh's.
pub const REQUIRED_RSA_SIZE: u32 = 1024;

/// `StreamLocalBindMask` when nothing was said: a socket is for its owner alone.
pub const STREAM_LOCAL_BIND_MASK: u32 = 0o177;

/// `UpdateHostKeys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateHostKeys {
    /// Learn them without a question.
    Yes,
    /// Ask first.
    Ask,
    /// Leave known_hosts as it is.
    No,
}

/// `AddKeysToAgent`: what happens to a key that was unlocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddKeysToAgent {
    /// Nothing.
    #[default]
    No,
    /// The agent gets it, for a while or for good.
    Yes {
        /// How long the agent keeps it.
        lifetime: Option<Duration>,
    },
    /// The user is asked first.
    Ask,
    /// The agent gets it and has each use confirmed.
    Confirm {
        /// How long the agent keeps it.
        lifetime: Option<Duration>,
    },
}

/// `RekeyLimit`: when session keys are renewed; `None` leaves it to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RekeyLimit {
    /// After this many bytes.
    pub bytes: Option<u64>,
    /// After this long.
    pub time: Option<Duration>,
}

/// A `LocalForward` line: something the user may take over, never bound by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuggestedForward {
    /// The local end as `--listen` takes it, with the far end behind it.
    pub listen: String,
    /// Where the line stands.
    pub at: String,
}

/// `AddressFamily`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressFamily {
    /// IPv4 and IPv6, raced.
    #[default]
    Any,
    /// IPv4 only.
    Inet,
    /// IPv6 only.
    Inet6,
}

/// A private key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFile {
    /// Where it is.
    pub path: PathBuf,
    /// True when the user named it; a missing default file is no news, a missing named one is.
    pub named: bool,
}

/// Which agent to ask for keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AgentChoice {
    /// The socket that `SSH_AUTH_SOCK` names, when set.
    #[default]
    Environment,
    /// `IdentityAgent none`.
    Off,
    /// `IdentityAgent PATH`.
    Socket(PathBuf),
}

/// Where host keys are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownHostsFiles {
    /// The user's files; the first one learns.
    pub user: Vec<PathBuf>,
    /// The machine's files.
    pub global: Vec<PathBuf>,
    /// `RevokedHostKeys` files.
    pub revoked: Vec<PathBuf>,
}

/// `StrictHostKeyChecking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StrictHostKey {
    /// An unknown host is refused without a question.
    Yes,
    /// An unknown host is asked about; refused when nobody can be asked.
    #[default]
    Ask,
    /// An unknown host is trusted and remembered; a changed or revoked key is refused.
    AcceptNew,
    /// As `AcceptNew`, without a word; shown as a warning.
    No,
}

/// A way of signing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// Agent and key files.
    PublicKey,
    /// The server's own questions.
    KeyboardInteractive,
    /// A password.
    Password,
}

/// The far end of a forward, as the SSH server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteEnd {
    /// Host and port.
    Tcp {
        /// Name or address; sent as written.
        host: String,
        /// Port.
        port: u16,
    },
    /// A unix socket on the far side.
    Unix(String),
}

impl RemoteEnd {
    /// Loopback on the far side, where gateways listen.
    pub fn loopback(port: u16) -> Self {
        Self::Tcp {
            host: "127.0.0.1".into(),
            port,
        }
    }
}

impl std::fmt::Display for RemoteEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// The local end of a forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalEnd {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A unix socket, created 0600.
    Unix(PathBuf),
}

impl std::fmt::Display for LocalEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
