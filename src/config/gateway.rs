//! `gateway.*`: OpenClaw's names and meaning.

use super::layers::section;
use super::leaf::choice;
use crate::secret::Secret;

/// Where gateways listen when nothing was said.
pub const DEFAULT_PORT: u16 = 18789;

/// Where the gateway of `--dev` listens.
pub const DEV_PORT: u16 = 19001;

section! {
    /// `gateway.*`.
    pub struct GatewayConfig {
        /// Whether the gateway is this machine's own or a remote one.
        mode: Mode = "mode";
        /// The port of the local gateway, for HTTP and WebSocket.
        port: u16 = "port", default = DEFAULT_PORT, env = ["OPENCLAW_GATEWAY_PORT"];
        /// Which addresses the local gateway listens on.
        bind: Bind = "bind";
        /// The address of `bind: "custom"`.
        custom_bind_host: Option<String> = "customBindHost";
        /// How clients of the local gateway prove who they are.
        auth: AuthConfig = "auth";
        /// The gateway elsewhere that this machine's clients use.
        remote: RemoteConfig = "remote";
        /// TLS of the local gateway.
        tls: TlsConfig = "tls";
        /// Tailscale in front of the local gateway.
        tailscale: TailscaleConfig = "tailscale";
        /// Addresses or networks of proxies whose forwarding headers are believed.
        trusted_proxies: Vec<String> = "trustedProxies";
        /// `Host` headers that are accepted besides loopback names and addresses.
        allowed_hosts: Vec<String> = "allowedHosts";
        /// The browser interface.
        control_ui: ControlUiConfig = "controlUi";
        /// Nodes: other machines that run commands for the agent.
        nodes: NodesConfig = "nodes";
        /// What happens when this file changes while the gateway runs.
        reload: ReloadConfig = "reload";
    }
}

section! {
    /// `gateway.reload.*`.
    pub struct ReloadConfig {
        /// Whether a changed file takes effect by itself.
        mode: ReloadMode = "mode";
    }
}

choice! {
    /// `gateway.reload.mode`.
    pub enum ReloadMode {
        /// Only when it is asked for, by SIGHUP.
        Off = "off",
        /// At once, as far as that goes without a restart.
        #[default]
        Hybrid = "hybrid",
    }
}

choice! {
    /// `gateway.mode`.
    pub enum Mode {
        /// This machine's own gateway.
        #[default]
        Local = "local",
        /// A gateway elsewhere, `gateway.remote.*`.
        Remote = "remote",
    }
}

choice! {
    /// `gateway.bind`.
    pub enum Bind {
        /// 127.0.0.1 and ::1 only.
        #[default]
        Loopback = "loopback",
        /// Every address of this machine.
        Lan = "lan",
        /// The Tailscale address.
        Tailnet = "tailnet",
        /// `gateway.customBindHost`.
        Custom = "custom",
        /// Loopback where possible.
        Auto = "auto",
    }
}

section! {
    /// `gateway.auth.*`.
    pub struct AuthConfig {
        /// What is asked for; token when nothing was said, password when only that is set.
        mode: Option<AuthMode> = "mode";
        /// The shared token; generated into an owner-only file when nothing was said.
        token: Option<Secret> = "token", env = ["CLAWLINE_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_TOKEN"];
        /// The shared password.
        password: Option<Secret> = "password", env = ["CLAWLINE_GATEWAY_PASSWORD", "OPENCLAW_GATEWAY_PASSWORD"];
        /// Whether Tailscale's word for who someone is counts.
        allow_tailscale: Option<bool> = "allowTailscale";
        /// When wrong secrets lock an address out.
        rate_limit: RateLimitConfig = "rateLimit";
        /// What a device of the same user gets without a prompt.
        silent_scopes: SilentScopes = "silentScopes";
        /// The proxy that vouches for people in `mode: "trusted-proxy"`.
        trusted_proxy: TrustedProxyConfig = "trustedProxy";
    }
}

choice! {
    /// `gateway.auth.mode`.
    pub enum AuthMode {
        /// A shared token.
        #[default]
        Token = "token",
        /// A shared password.
        Password = "password",
        /// Nothing; possible on loopback alone.
        None = "none",
        /// A header that a proxy sets.
        TrustedProxy = "trusted-proxy",
    }
}

choice! {
    /// `gateway.auth.silentScopes`.
    pub enum SilentScopes {
        /// The scopes it asks for, admin included.
        #[default]
        Requested = "requested",
        /// Reading and writing; anything more waits for an approval.
        ReadWrite = "readWrite",
    }
}

section! {
    /// `gateway.auth.rateLimit.*`.
    pub struct RateLimitConfig {
        /// Wrong secrets from one address before it is locked out.
        max_attempts: u32 = "maxAttempts", default = 10;
        /// The time in which they are counted, in milliseconds.
        window_ms: u64 = "windowMs", default = 60_000;
        /// How long it stays locked out, in milliseconds.
        lockout_ms: u64 = "lockoutMs", default = 300_000;
        /// No effect: the gateway's own user is never locked out, and nobody else on this machine is spared.
        exempt_loopback: bool = "exemptLoopback", default = true;
    }
}

section! {
    /// `gateway.auth.trustedProxy.*`.
    pub struct TrustedProxyConfig {
        /// The header that names the user.
        user_header: Option<String> = "userHeader";
        /// Headers that must be there too.
        required_headers: Vec<String> = "requiredHeaders";
        /// Who is let in; empty for everybody the proxy names.
        allow_users: Vec<String> = "allowUsers";
        /// The proxy may run on this machine.
        allow_loopback: bool = "allowLoopback";
        /// The user, by name or number, that a proxy on this machine runs as.
        proxy_user: Option<String> = "proxyUser";
        /// A header that the proxy adds to every request, with the secret below in it.
        secret_header: Option<String> = "secretHeader";
        /// What the proxy writes into that header.
        secret: Option<Secret> = "secret";
    }
}

section! {
    /// `gateway.remote.*`: for calls to a remote gateway; never switches on anything of a local one.
    pub struct RemoteConfig {
        /// `ws://` or `wss://`.
        url: Option<String> = "url", env = ["CLAWLINE_GATEWAY_URL", "OPENCLAW_GATEWAY_URL"];
        /// Its token.
        token: Option<Secret> = "token", env = ["CLAWLINE_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_TOKEN"];
        /// Its password.
        password: Option<Secret> = "password", env = ["CLAWLINE_GATEWAY_PASSWORD", "OPENCLAW_GATEWAY_PASSWORD"];
        /// SHA-256 of its certificate, in hex; nothing else is then accepted.
        tls_fingerprint: Option<String> = "tlsFingerprint";
        /// Through SSH, or directly to `url`.
        transport: Option<Transport> = "transport";
        /// `[user@]host[:port]`.
        ssh_target: Option<String> = "sshTarget";
        /// A private key file.
        ssh_identity: Option<String> = "sshIdentity";
        /// The gateway's port on the SSH host.
        remote_port: Option<u16> = "remotePort";
    }
}

choice! {
    /// `gateway.remote.transport`.
    pub enum Transport {
        /// Through SSH.
        #[default]
        Ssh = "ssh",
        /// Directly to the URL.
        Direct = "direct",
    }
}

section! {
    /// `gateway.tls.*`.
    pub struct TlsConfig {
        /// Whether the port speaks TLS.
        enabled: bool = "enabled";
        /// A certificate of our own making when no file was named; without it, one has to be named.
        auto_generate: bool = "autoGenerate", default = true;
        /// The certificate chain, PEM.
        cert_path: Option<String> = "certPath";
        /// Its private key, PEM.
        key_path: Option<String> = "keyPath";
        /// No effect: no certificates of clients are asked for.
        ca_path: Option<String> = "caPath";
    }
}

section! {
    /// `gateway.tailscale.*`.
    pub struct TailscaleConfig {
        /// Whether Tailscale publishes the gateway.
        mode: TailscaleMode = "mode";
        /// No effect: what was published is always taken back at the end.
        reset_on_exit: bool = "resetOnExit";
    }
}

choice! {
    /// `gateway.tailscale.mode`.
    pub enum TailscaleMode {
        /// No.
        #[default]
        Off = "off",
        /// Inside the tailnet.
        Serve = "serve",
        /// To the internet.
        Funnel = "funnel",
    }
}

section! {
    /// `gateway.controlUi.*`.
    pub struct ControlUiConfig {
        /// Whether it is served.
        enabled: bool = "enabled", default = true;
        /// No effect: this gateway serves no browser interface.
        base_path: String = "basePath";
        /// No effect: this gateway serves no browser interface.
        root: Option<String> = "root";
        /// Browser origins that may connect besides our own.
        allowed_origins: Vec<String> = "allowedOrigins";
        /// No effect: this gateway serves no browser interface.
        allow_insecure_auth: bool = "allowInsecureAuth";
    }
}

section! {
    /// `gateway.nodes.*`.
    pub struct NodesConfig {
        /// Commands allowed besides the platform's list (older place of `commands.allow`).
        allow_commands: Vec<String> = "allowCommands";
        /// Commands refused (older place of `commands.deny`).
        deny_commands: Vec<String> = "denyCommands";
        /// Commands of nodes.
        commands: NodeCommandsConfig = "commands";
        /// How nodes are let in.
        pairing: NodePairingConfig = "pairing";
    }
}

section! {
    /// `gateway.nodes.commands.*`.
    pub struct NodeCommandsConfig {
        /// Allowed besides the platform's list.
        allow: Vec<String> = "allow";
        /// Refused.
        deny: Vec<String> = "deny";
    }
}

section! {
    /// `gateway.nodes.pairing.*`.
    pub struct NodePairingConfig {
        /// Let nodes of this machine's same user in without an approval.
        auto_approve_local: bool = "autoApproveLocal", default = true;
        /// Networks whose nodes need no approval.
        auto_approve_cidrs: Vec<String> = "autoApproveCidrs";
        /// Whether commands of version-3 nodes of this machine's same user may be used at once.
        v3_commands: V3Commands = "v3Commands";
    }
}

choice! {
    /// `gateway.nodes.pairing.v3Commands`.
    pub enum V3Commands {
        /// At once: version 3 has no approval of commands.
        #[default]
        Allow = "allow",
        /// After an approval, as those of version 4.
        Ask = "ask",
    }
}
