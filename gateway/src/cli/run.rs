//! `run`: serve until SIGTERM or SIGINT; a second signal does not wait any more.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clawline::config::{Environment, FlagValue};
use clawline::secret::Secret;
use clawline::service::notify;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::options::{Read, told};
use super::{Common, Exit, Failure, output};
use crate::gateway::{self, Gateway};
use crate::reload::Source;
use crate::settings::{AuthMode, GatewaySettings};
use crate::shutdown::Broken;
use crate::start_error::StartError;
use crate::tailscale::Exposure;
use crate::{auth, descriptors, logging, store};

/// Threads that serve connections; the store has its own.
const WORKERS: usize = 2;
/// Threads for what blocks (files, the kernel's socket tables). Each keeps memory of its own once it
/// has run, and no more of them work at a time on such a machine.
const BLOCKING_THREADS: usize = 16;
/// How long the end of the process waits for what still reads or writes files.
const LAST_WORK: Duration = Duration::from_secs(1);

/// How often systemd is asked for more time during a migration, and for how much; a migration that
/// takes longer than the last is taken for one that hangs.
const EXTEND_EVERY: Duration = Duration::from_secs(10);
const EXTEND_BY: Duration = Duration::from_secs(60);
const LONGEST_MIGRATION: Duration = Duration::from_secs(3600);

/// Options of `run`.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    /// Port to listen on; 0 takes a free one.
    #[arg(long)]
    port: Option<u16>,
    /// Addresses to listen on: loopback, lan, tailnet, custom (gateway.customBindHost) or auto.
    #[arg(long, value_name = "WHERE")]
    bind: Option<String>,
    /// Speak TLS, with a certificate of our own unless gateway.tls.certPath names another.
    #[arg(long)]
    tls: bool,
    /// What clients have to show: token, password or none.
    #[arg(long, value_name = "MODE")]
    auth: Option<String>,
    /// The shared token. Other users can see it in the process list: better use --token-file.
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    token: Option<String>,
    /// A file with the shared token, readable by its owner only.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The shared password. Other users can see it in the process list: better set CLAWLINE_GATEWAY_PASSWORD.
    #[arg(long, value_name = "PASSWORD", allow_hyphen_values = true)]
    password: Option<String>,
    /// Accepted without effect: with no config at all the gateway starts with the echo model.
    #[arg(long)]
    allow_unconfigured: bool,
    /// How long answers that are being written may take to end when it is stopped.
    #[arg(long, value_name = "SECONDS", hide = true)]
    grace: Option<u64>,
    /// In a session of its own, as `start` wants it.
    #[arg(long, hide = true)]
    detached: bool,
}

impl RunArgs {
    fn settings(&self, read: &Read) -> Result<GatewaySettings, Failure> {
        let mut settings = read.settings()?;
        settings.token_file_given.clone_from(&self.token_file);
        if self.port == Some(0) {
            settings.port = 0;
        }
        if let Some(seconds) = self.grace {
            settings.grace = Duration::from_secs(seconds);
        }
        Ok(settings)
    }

    fn flags(&self) -> Result<Vec<FlagValue>, Failure> {
        let from_file = self.token_file.as_deref().map(auth::read).transpose();
        let from_file = from_file.map_err(Failure::usage)?;
        let typed = |text: &Option<String>| text.clone().map(Secret::new);
        let port = self.port.filter(|port| *port != 0);
        let port = port.map(|port| Secret::new(port.to_string()));
        let tls = self.tls.then(|| Secret::new("true".to_owned()));
        let values = [
            ("gateway.port", "--port", port),
            ("gateway.bind", "--bind", typed(&self.bind)),
            ("gateway.tls.enabled", "--tls", tls),
            ("gateway.auth.mode", "--auth", typed(&self.auth)),
            ("gateway.auth.token", "--token", typed(&self.token)),
            ("gateway.auth.token", "--token-file", from_file),
            ("gateway.auth.password", "--password", typed(&self.password)),
        ];
        let flags = values.into_iter().filter_map(|(key, flag, text)| {
            Some(FlagValue {
                key,
                flag,
                text: text?,
            })
        });
        Ok(flags.collect())
    }
}

pub(super) fn run(common: &Common, args: &RunArgs) -> Result<Exit, Failure> {
    if args.detached {
        // Whoever leads a session already has one of its own.
        let _ = nix::unistd::setsid();
    }
    let read = common.load(args.flags()?)?;
    let settings = args.settings(&read)?;
    let log = read.paths().gateway_log();
    let log_control = logging::init(&log, &settings.log, read.env.var(logging::FILTER_VARIABLE))
        .map_err(|error| Failure::failed(format!("{}: {error}", log.display())))?;
    if args.token.is_some() || args.password.is_some() {
        output::note(
            "note: other users of this machine can see --token and --password in the process list",
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let source = source(common, args, &read, &settings)
        .on_change(move |settings| log_control.set_level(&settings.log.level));
    let ended = runtime.block_on(serve(&read, settings, source));
    // Dropping the runtime would wait for a read that hangs, as on a file system whose server is gone.
    runtime.shutdown_timeout(LAST_WORK);
    ended
}

/// Reads everything again as it was read at the start: the same files, flags and environment.
fn source(common: &Common, args: &RunArgs, read: &Read, settings: &GatewaySettings) -> Source {
    let files = vec![read.config_file(), settings.token_file()];
    let path = read.config_file();
    let (common, args) = (common.clone(), args.clone());
    let drafts = (common.clone(), args.clone());
    Source::new(files, move || {
        let read = || {
            let read = common.load_quietly(args.flags()?)?;
            args.settings(&read)
        };
        read().map_err(|failure: Failure| failure.text.lines().map(str::to_owned).collect())
    })
    .with_drafts(move |text| {
        let (common, args) = &drafts;
        let flags = args.flags().map_err(told)?;
        let read = common.load_draft(flags, &path, text)?;
        args.settings(&read).map_err(told)
    })
}

async fn serve(read: &Read, settings: GatewaySettings, source: Source) -> Result<Exit, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(Failure::failed)?;
    let words = greeting(read, &settings);
    descriptors::raise_limit();
    let gateway = bind(&read.env, settings).await?;
    for address in gateway.addresses() {
        let scheme = gateway.fingerprint().map_or("ws", |_| "wss");
        output::note(&format!("listening on {scheme}://{address}"));
    }
    match gateway.fingerprint() {
        Some(fingerprint) => output::note(&format!("TLS fingerprint sha256:{fingerprint}")),
        None if gateway.addresses().iter().any(|at| !at.ip().is_loopback()) => output::note(
            "note: without TLS others on the way read what is said and the token; --tls makes a certificate",
        ),
        None => {}
    }
    for line in words {
        output::note(&line);
    }
    output::note(&format!("model {}", gateway.model_words()));
    tracing::info!(address = %gateway.local_addr(), version = env!("CARGO_PKG_VERSION"), "started");
    let env = &read.env;
    notify::tell(
        env,
        &format!("READY=1\nSTATUS=listening on {}", gateway.local_addr()),
    );
    let mut exposure = gateway.exposure();
    let stop = CancellationToken::new();
    let again = source.again();
    let mut serving = Box::pin(gateway.with_reload(source).run(stop.clone()));
    loop {
        tokio::select! {
            ended = &mut serving => return finished(ended),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => again.notify_one(),
            Ok(()) = exposure.changed() => tell_exposure(&exposure.borrow_and_update()),
        }
    }
    tracing::info!("stopping");
    notify::tell(env, "STOPPING=1");
    stop.cancel();
    tokio::select! {
        ended = &mut serving => finished(ended),
        _ = terminate.recv() => Ok(hurried()),
        _ = interrupt.recv() => Ok(hurried()),
    }
}

/// The exit code of a gateway that ended: one that broke has failed, so that a service manager starts
/// it again.
fn finished(ended: Result<(), Broken>) -> Result<Exit, Failure> {
    ended.map(|()| Exit::Good).map_err(Failure::failed)
}

/// [`Gateway::bind`]. A store that an older release wrote may take longer than a service may take to
/// start: systemd is asked for more time until that is done.
async fn bind(env: &Environment, settings: GatewaySettings) -> Result<Gateway, StartError> {
    let database = gateway::database(&settings.state_dir);
    let is_long = env.var(notify::SOCKET).is_some() && store::is_behind(&database).await;
    let mut binding = Box::pin(Gateway::bind(settings));
    if !is_long {
        return binding.await;
    }
    tracing::info!("the store of an older release is brought up to date");
    let word = format!(
        "EXTEND_TIMEOUT_USEC={}\nSTATUS=bringing the store up to date",
        EXTEND_BY.as_micros()
    );
    let since = Instant::now();
    let mut every = interval(EXTEND_EVERY);
    loop {
        tokio::select! {
            biased;
            _ = every.tick(), if since.elapsed() < LONGEST_MIGRATION => notify::tell(env, &word),
            bound = &mut binding => return bound,
        }
    }
}

/// Whether others reach the gateway through Tailscale.
fn tell_exposure(exposure: &Exposure) {
    match exposure {
        Exposure::Off | Exposure::Starting => {}
        Exposure::Up { name } => output::note(&format!("published at https://{name}/")),
        Exposure::Down { why } => output::note(&format!("not published: {why}")),
    }
}

fn hurried() -> Exit {
    tracing::warn!("stopped without waiting: a second signal came");
    Exit::Interrupted
}

/// What a person wants to know at the start, without any secret.
fn greeting(read: &Read, settings: &GatewaySettings) -> Vec<String> {
    let is_in_file = settings.auth.token.is_none() || settings.token_file_given.is_some();
    let credential = match settings.auth.mode {
        AuthMode::Token if is_in_file => {
            format!("token in {}", settings.token_file().display())
        }
        AuthMode::Token => {
            format!("token from {}", read.loaded.source("gateway.auth.token"))
        }
        AuthMode::Password => {
            let source = read.loaded.source("gateway.auth.password");
            format!("password from {source}")
        }
        AuthMode::TrustedProxy => {
            "the proxy says who comes in (gateway.auth.mode \"trusted-proxy\")".to_owned()
        }
        AuthMode::None => {
            "no token is asked for: every user of this machine can come in (gateway.auth.mode \"none\")".to_owned()
        }
    };
    vec![
        credential,
        format!("state in {}", settings.state_dir.display()),
    ]
}
