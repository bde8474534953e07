//! `clawline demo`: a gateway (echo model) and an SSH server inside this process, with throw-away keys
//! and directories; the way between app and gateway is the ordinary one, over real SSH.
//!
//! The one place where the terminal app uses the gateway package.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use clawline::config::{Environment, LoadRequest, Program, load};
use clawline::loopback_ssh::{ExecReply, LoopbackOptions, LoopbackSsh, fresh_key};
use clawline::owner_file;
use clawline::secret::Secret;
use clawline::tunnel::ssh_config::{ConfigFile, Flags};
use clawline_gateway::settings::GatewaySettings;
use clawline_gateway::{Broken, Gateway};
use futures_util::FutureExt as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::args::GeneralArgs;
use super::failure::{Failure, HUNG_UP, INTERRUPTED, TERMINATED};
use super::output::Output;
use crate::app;
#[cfg(test)]
use crate::link::LinkRequest;
use crate::link::discovery;
use crate::link::{ConnectOptions, Connector, UsageError};
use crate::start::AppStart;

/// Who signs in.
const LOGIN: &str = "me";

/// How long an answer that nobody waits for any more may hold the end of the demo.
const GRACE: Duration = Duration::from_millis(300);
/// Longest script that is read.
const MAX_SCRIPT: u64 = 1024 * 1024;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A script is typed line by line, each line sent and its answer waited for. Lines that begin with a
colon do something else: `:wait TEXT` waits until TEXT is on the screen, `:key NAME` presses a key
(ctrl+t, esc, pgup), `:type TEXT` types without sending, `:settle` waits until nothing runs, `:cut`
cuts the SSH connection, `:quit` leaves. The last screen is printed.

Without a script, kill -USR1 with the demo's process id cuts the SSH connection.")]
pub(crate) struct Args {
    /// Type from this file without a terminal, and print the last screen
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
}

/// Runs the demo; everything it made is gone afterwards, also when a signal ends it. Returns the exit
/// code.
pub(crate) async fn run(out: &Output, args: &Args, general: &GeneralArgs) -> Result<u8, Failure> {
    let script = args.script.as_deref().map(read_script).transpose()?;
    let mut signals = EndSignals::listen();
    let failed = |error: anyhow::Error| Failure::Other(format!("the demo cannot start: {error:#}"));
    let world = World::start().await.map_err(failed)?;
    let start = world.app_start(general).map_err(failed)?;
    let outcome = match script {
        // The app minds the signals itself; one that came before it is ours.
        None => match signals.next().now_or_never() {
            Some(code) => Ok(code),
            None => tokio::select! {
                outcome = app::run(start) => outcome.map(|()| 0).map_err(super::open::app_failure),
                never = cut_on_signal(&world) => never,
            },
        },
        Some(script) => tokio::select! {
            played = app::script::run_script(start, &script, || world.cut()) => match played {
                Ok(screen) => {
                    out.line(screen.trim_end());
                    Ok(0)
                }
                Err(error) => Err(Failure::Other(error.to_string())),
            },
            code = signals.next() => Ok(code),
        },
    };
    world.stop().await;
    outcome
}

/// The signals that end a process. While this listens, none of them ends it on the spot, which would
/// leave the demo's directory behind.
struct EndSignals {
    #[cfg(unix)]
    streams: Vec<(tokio::signal::unix::Signal, u8)>,
}

impl EndSignals {
    fn listen() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let kinds = [
                (SignalKind::hangup(), HUNG_UP),
                (SignalKind::interrupt(), INTERRUPTED),
                (SignalKind::terminate(), TERMINATED),
            ];
            // A signal that cannot be listened for keeps its usual meaning.
            let streams = kinds.into_iter();
            let streams = streams.filter_map(|(kind, code)| Some((signal(kind).ok()?, code)));
            Self {
                streams: streams.collect(),
            }
        }
        #[cfg(not(unix))]
        Self {}
    }

    /// Waits for one of them; returns the exit code that it stands for.
    async fn next(&mut self) -> u8 {
        #[cfg(unix)]
        return std::future::poll_fn(|cx| {
            let came = |(stream, code): &mut (tokio::signal::unix::Signal, u8)| {
                stream.poll_recv(cx).is_ready().then_some(*code)
            };
            match self.streams.iter_mut().find_map(came) {
                Some(code) => std::task::Poll::Ready(code),
                None => std::task::Poll::Pending,
            }
        })
        .await;
        #[cfg(not(unix))]
        std::future::pending().await
    }
}

/// Cuts the SSH connection at each SIGUSR1, to watch what the app does about it.
async fn cut_on_signal(world: &World) -> Result<u8, Failure> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut cuts) = signal(SignalKind::user_defined1()) {
            while cuts.recv().await.is_some() {
                world.cut();
            }
        }
    }
    std::future::pending().await
}

fn read_script(path: &Path) -> Result<String, Failure> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_SCRIPT).read_to_string(&mut text))
        .map_err(|error| UsageError::new(format!("--script {}: {error}", path.display()), ""))?;
    Ok(text)
}

/// A desktop and a laptop in one temporary directory. Dropping it ends both and removes everything.
pub(crate) struct World {
    /// The SSH server of the desktop.
    pub ssh: LoopbackSsh,
    stop: CancellationToken,
    gateway: Option<AbortOnDropHandle<Result<(), Broken>>>,
    /// Where everything is. Last, so that nobody writes there any more when it is removed.
    pub home: TempDir,
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
        let home = temp_dir()?;
        let desktop = home.path().join("desktop");
        let mut settings = GatewaySettings::new(desktop.join(".local/state/clawline-gateway"));
        settings.advert = Some(desktop.join(".clawline/gateway.json"));
        settings.grace = GRACE;
        let gateway = Gateway::bind(settings).await?;
        let stop = CancellationToken::new();
        let running = AbortOnDropHandle::new(tokio::spawn(gateway.run(stop.clone())));

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
            gateway: Some(running),
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
    #[cfg(test)]
    pub fn request(&self) -> anyhow::Result<LinkRequest> {
        Ok(self.connector()?.request(Some(&self.target()))?)
    }

    /// The app as `clawline TARGET` would start it.
    fn app_start(&self, general: &GeneralArgs) -> anyhow::Result<AppStart> {
        let connector = self.connector()?;
        let mut link = connector.request(Some(&self.target()))?;
        link.name = Some("demo".into());
        let mut ui = connector.loaded.config.ui.clone();
        super::context::fold_ui(&mut ui, general);
        Ok(AppStart {
            link: Some(link),
            connector,
            session: None,
            agent: None,
            message: None,
            ui,
            notes: Vec::new(),
        })
    }

    /// Ends the SSH connection without a word, as a killed server process does.
    pub fn cut(&self) {
        self.ssh.kill_connections();
    }

    /// What would be typed.
    pub fn target(&self) -> String {
        format!("{LOGIN}@{}", self.ssh.addr.ip())
    }

    /// Ends the gateway and the SSH server, and removes everything.
    pub async fn stop(self) {
        drop(self.stop_desktop().await);
    }

    /// Ends the gateway and the SSH server; the directory is there until it is dropped.
    pub async fn stop_desktop(mut self) -> TempDir {
        self.stop.cancel();
        if let Some(gateway) = self.gateway.take() {
            let _ = gateway.await;
        }
        self.ssh.stop().await;
        self.home
    }
}

/// A directory that nobody else can look into.
fn temp_dir() -> std::io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("clawline-demo-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o700));
    }
    builder.tempdir()
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

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn the_directory_is_the_owners_alone_and_gone_afterwards() {
        let world = World::start().await.unwrap();
        let path = world.home.path().to_owned();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        world.stop().await;
        assert!(!path.exists());
    }
}
