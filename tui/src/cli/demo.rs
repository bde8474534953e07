//! `clawline demo`: a gateway (echo model) and an SSH server inside this process, with throw-away keys
//! and directories; the way between app and gateway is the ordinary one, over real SSH.
//!
//! The one place where the terminal app uses the gateway package.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use clawline::config::{Environment, LoadRequest, Program, load};
use clawline::loopback_ssh::{ExecReply, LoopbackOptions, LoopbackSsh, fresh_key};
use clawline::owner_file;
use clawline::secret::Secret;
use clawline::tunnel::ssh_config::{ConfigFile, Flags};
use clawline_gateway::Gateway;
use clawline_gateway::settings::GatewaySettings;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::link::discovery;
use crate::link::{ConnectOptions, Connector, LinkRequest};

/// Who signs in.
const LOGIN: &str = "me";

/// A desktop and a laptop in one temporary directory. Dropping it ends both and removes everything.
pub(crate) struct World {
    /// The SSH server of the desktop.
    pub ssh: LoopbackSsh,
    /// Where everything is.
    pub home: TempDir,
    stop: CancellationToken,
    gateway: Option<AbortOnDropHandle<()>>,
}

impl World {
    /// Starts the desktop: gateway and SSH server.
    ///
    /// # Errors
    /// When the temporary directory, a port or a key cannot be had.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(LoopbackOptions::default()).await
    }

    /// As [`World::start`], with an SSH server that refuses some things. The client's key and the
    /// commands it may run are filled in where nothing was said.
    ///
    /// # Errors
    /// As [`World::start`].
    pub async fn start_with(mut options: LoopbackOptions) -> anyhow::Result<Self> {
        let home = TempDir::with_prefix("clawline-demo-")?;
        let desktop = home.path().join("desktop");
        let mut settings = GatewaySettings::new(desktop.join(".local/state/clawline-gateway"));
        settings.advert = Some(desktop.join(".clawline/gateway.json"));
        let gateway = Gateway::bind(settings).await?;
        let stop = CancellationToken::new();
        let running = tokio::spawn(gateway.run(stop.clone()));

        let key = fresh_key()?;
        let text = key.to_openssh(Default::default())?;
        let laptop = home.path().join("laptop");
        owner_file::create_new(
            &laptop.join(".ssh/id_ed25519"),
            &Secret::new(text.to_string()),
        )?;
        options.client_key = Some(key.public_key().clone());
        if options.exec.is_none() {
            options.exec = Some(Arc::new(move |command| run_there(&desktop, command)));
        }
        let ssh = LoopbackSsh::start(options).await?;
        let world = Self {
            ssh,
            home,
            stop,
            gateway: Some(AbortOnDropHandle::new(running)),
        };
        world.know_host()?;
        Ok(world)
    }

    /// The laptop's `known_hosts` names the server's key, so that nobody is asked about it.
    fn know_host(&self) -> anyhow::Result<()> {
        let line = format!(
            "[{}]:{} {}\n",
            self.ssh.addr.ip(),
            self.ssh.addr.port(),
            self.ssh.host_key.to_openssh()?
        );
        let path = self.home.path().join("laptop/.ssh/known_hosts");
        owner_file::replace(&path, &Secret::new(line))?;
        Ok(())
    }

    /// The laptop's connector, as the command line would make it.
    ///
    /// # Errors
    /// Never in practice: the laptop's configuration is empty.
    pub fn connector(&self) -> anyhow::Result<Connector> {
        let laptop = self.home.path().join("laptop");
        let env = Environment::below(&laptop);
        let loaded = load(
            &env,
            &LoadRequest {
                program: Program::Client,
                file: None,
                profile: None,
                flags: Vec::new(),
            },
        )?;
        let file = |name: &str| laptop.join(".ssh").join(name).display().to_string();
        Ok(Connector {
            env: Arc::new(env),
            loaded: Arc::new(loaded),
            options: ConnectOptions {
                ssh: Flags {
                    config: ConfigFile::None,
                    port: Some(self.ssh.addr.port()),
                    identities: vec![file("id_ed25519")],
                    options: vec![
                        "IdentitiesOnly=yes".into(),
                        "IdentityAgent=none".into(),
                        format!("UserKnownHostsFile={}", file("known_hosts")),
                        "GlobalKnownHostsFile=/dev/null".into(),
                    ],
                    ..Flags::default()
                },
                ..ConnectOptions::default()
            },
        })
    }

    /// The way from the laptop to the desktop.
    ///
    /// # Errors
    /// As [`World::connector`].
    pub fn request(&self) -> anyhow::Result<LinkRequest> {
        Ok(self.connector()?.request(Some(&self.target()))?)
    }

    /// What would be typed.
    pub fn target(&self) -> String {
        format!("{LOGIN}@{}", self.ssh.addr.ip())
    }

    /// Ends the gateway and the SSH server.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(gateway) = self.gateway.take() {
            let _ = gateway.await;
        }
        self.ssh.stop().await;
    }
}

/// Runs the one command that the laptop sends, with the demo's own home directory.
fn run_there(home: &Path, command: &str) -> ExecReply {
    if command != discovery::COMMAND {
        return ExecReply::Refused;
    }
    let ran = std::process::Command::new("sh")
        .args(["-c", command])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match ran {
        Ok(output) => ExecReply::Done {
            stdout: output.stdout,
            status: 0,
        },
        Err(_) => ExecReply::Refused,
    }
}
