//! Everything the product can be told, by command line, environment and file (DESIGN §5).
//!
//! [`load`] folds the layers into one [`Config`] and says where each value came from. Wrong values are
//! reported all at once, with their file and key.

pub mod check;
mod file;
pub mod gateway;
mod layers;
mod leaf;
pub mod models;
pub mod paths;
mod scan;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

pub use check::{ConfigErrors, Problem, Warning};
pub use file::read as read_text;
pub use gateway::{DEFAULT_PORT, DEV_PORT, GatewayConfig};
pub use layers::{Dialect, FlagValue, ShownValue, Source, variable_name};
pub use models::{AgentConfig, AgentsConfig, ModelConfig, ModelsConfig, ProviderConfig};
pub use paths::{Environment, NoHome, Paths, Profile};

use layers::{FileLayer, Node, Place, Reader, section};
use leaf::choice;

use crate::secret::Secret;

section! {
    /// The whole configuration.
    pub struct Config {
        /// The gateway: this machine's own, and the one its clients use.
        gateway: GatewayConfig = "gateway";
        /// Models for the gateway's agents.
        models: ModelsConfig = "models";
        /// The gateway's agents.
        agents: AgentsConfig = "agents";
        /// Hosts by the name that is typed as TARGET.
        hosts: BTreeMap<String, HostConfig> = "hosts";
        /// The screen.
        ui: UiConfig = "ui";
        /// The SSH connection.
        tunnel: TunnelConfig = "tunnel";
        /// The gateway's log.
        logging: LoggingConfig = "logging";
        /// Concessions to older peers.
        compat: CompatConfig = "compat";
    }
}

section! {
    /// `hosts.NAME.*`: a place to connect to.
    pub struct HostConfig {
        /// `[user@]host[:port]` or an alias of ssh_config; the name itself when nothing was said.
        ssh: Option<String> = "ssh";
        /// Private key files.
        identity: Vec<String> = "identity";
        /// Jump hosts, first to be dialled first.
        jump: Vec<String> = "jump";
        /// The gateway's address on the far side: `host:port` or the path of a socket.
        remote: Option<String> = "remote";
        /// Local ends that `--tunnel-only` opens: `[name=][address:]port[:host:port]`, either end may be the
        /// path of a socket; `[name=]socks:[address:]port` for SOCKS.
        listen: Vec<String> = "listen";
        /// The gateway's token; looked up on the far side when nothing was said.
        token: Option<Secret> = "token";
        /// The session to open.
        session: Option<String> = "session";
        /// Which gateway to use where both are configured on the far side.
        gateway: Option<GatewayKind> = "gateway";
    }
}

choice! {
    /// `hosts.NAME.gateway`.
    pub enum GatewayKind {
        /// `clawline-gateway`.
        #[default]
        Clawline = "clawline",
        /// OpenClaw's own.
        Openclaw = "openclaw",
    }
}

section! {
    /// `ui.*`.
    pub struct UiConfig {
        /// Colours.
        color: ColorChoice = "color";
        /// No drawing characters, for screen readers and simple terminals.
        plain: bool = "plain";
        /// The mouse scrolls and selects in the app; off leaves it to the terminal.
        mouse: bool = "mouse", default = true;
    }
}

choice! {
    /// `ui.color`.
    pub enum ColorChoice {
        /// When the terminal has them and `NO_COLOR` is not set.
        #[default]
        Auto = "auto",
        /// Always.
        Always = "always",
        /// Never.
        Never = "never",
    }
}

section! {
    /// `tunnel.*`.
    pub struct TunnelConfig {
        /// Seconds between keepalives where ssh_config says nothing.
        keepalive_seconds: Option<u32> = "keepaliveSeconds";
        /// Unanswered keepalives before the connection counts as dead.
        keepalive_max: Option<u32> = "keepaliveMax";
        /// Let programs of other users through the local ends.
        allow_other_users: bool = "allowOtherUsers";
        /// Run the commands of `Match exec` in ssh_config.
        allow_match_exec: bool = "allowMatchExec";
    }
}

section! {
    /// `logging.*`.
    pub struct LoggingConfig {
        /// The least severe level that is written down; the variable CLAWLINE_LOG wins over it.
        level: LogLevel = "level";
        /// A log file of this many bytes is put aside.
        max_file_bytes: u32 = "maxFileBytes", default = 8 * 1024 * 1024;
        /// So many log files are kept.
        max_files: u32 = "maxFiles", default = 5;
    }
}

choice! {
    /// `logging.level`.
    pub enum LogLevel {
        /// What failed.
        Error = "error",
        /// And what looks wrong.
        Warn = "warn",
        /// And what happens.
        #[default]
        Info = "info",
        /// And how.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

section! {
    /// `compat.*`.
    pub struct CompatConfig {
        /// The gateway accepts device signatures without a nonce, as releases before 2026 sent them.
        payload_v1: bool = "payloadV1";
        /// Clients send a token over plain `ws://` to an address that is neither loopback nor private.
        insecure_ws: bool = "insecureWs";
    }
}

/// Who loads a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The app and its subcommands: fall back to OpenClaw's file where ours is absent.
    Client,
    /// The daemon: reads OpenClaw's file only when it is named.
    Gateway,
}

/// What to load.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    /// Who asks.
    pub program: Program,
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--profile`, or `dev` for `--dev`; `CLAWLINE_PROFILE` when nothing was said.
    pub profile: Option<Profile>,
    /// Options that set keys.
    pub flags: Vec<FlagValue>,
}

/// A configuration that was read and checked.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where everything else lives.
    pub paths: Paths,
    /// The profile in force.
    pub profile: Option<Profile>,
    /// The file that was read; `None` when there is none.
    pub file: Option<(PathBuf, Dialect)>,
    /// Every key with its value and source, in the order of the documentation.
    pub values: Vec<ShownValue>,
    /// Worth saying, stops nothing.
    pub warnings: Vec<Warning>,
}

impl Loaded {
    /// Where a key's value came from.
    pub fn source(&self, key: &str) -> &Source {
        self.values
            .iter()
            .find(|shown| shown.key == key)
            .map_or(&Source::Default, |shown| &shown.source)
    }

    /// True when somebody set this key.
    pub fn is_set(&self, key: &str) -> bool {
        *self.source(key) != Source::Default
    }
}

/// Reads the configuration.
///
/// # Errors
/// Every problem of the file, the environment and the flags, at once.
pub fn load(env: &Environment, request: &LoadRequest) -> Result<Loaded, ConfigErrors> {
    load_from(env, request, None)
}

/// As [`load`], if the file at `path` held this text.
///
/// # Errors
/// Every problem of the text, the environment and the flags, at once.
pub fn load_text(
    env: &Environment,
    request: &LoadRequest,
    path: &Path,
    text: &str,
) -> Result<Loaded, ConfigErrors> {
    let text = (path.to_owned(), dialect_of(path), text.to_owned());
    load_from(env, request, Some(text))
}

fn load_from(
    env: &Environment,
    request: &LoadRequest,
    given: Option<(PathBuf, Dialect, String)>,
) -> Result<Loaded, ConfigErrors> {
    let one = |problem| ConfigErrors(vec![problem]);
    let profile = match (&request.profile, env.var("CLAWLINE_PROFILE")) {
        (Some(profile), _) => Some(profile.clone()),
        (None, Some(name)) => Some(name.parse::<Profile>().map_err(|error| {
            one(Problem::new(format!(
                "environment CLAWLINE_PROFILE: {error}"
            )))
        })?),
        (None, None) => None,
    };
    let paths = Paths::new(env, profile.as_ref());
    let named = request
        .file
        .clone()
        .or_else(|| env.var("CLAWLINE_CONFIG").map(|path| env.expand(path)));
    let candidates: Vec<(PathBuf, Dialect)> = match (&named, request.program) {
        _ if given.is_some() => Vec::new(),
        (Some(path), _) => vec![(path.clone(), dialect_of(path))],
        (None, Program::Gateway) => vec![(paths.config_file().to_owned(), Dialect::Ours)],
        (None, Program::Client) => vec![
            (paths.config_file().to_owned(), Dialect::Ours),
            (paths.openclaw_config().to_owned(), Dialect::OpenClaw),
        ],
    };
    let mut found = given;
    for (path, dialect) in candidates {
        match file::read(&path) {
            Ok(text) => {
                found = Some((path, dialect, text));
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {}
            Err(error) => {
                let what = match error.kind() {
                    io::ErrorKind::InvalidData => error.to_string(),
                    _ => format!("cannot be read: {error}"),
                };
                let mut problem = Problem::new(what);
                problem.file = Some(path);
                return Err(one(problem));
            }
        }
    }
    let file = found.as_ref().map(|(path, dialect, text)| FileText {
        path,
        dialect: *dialect,
        text,
    });
    let mut loaded = fold(env, request.program, &request.flags, file)?;
    if profile == Some(Profile::dev()) && !loaded.is_set("gateway.port") {
        loaded.config.gateway.port = DEV_PORT;
        for shown in loaded.values.iter_mut().filter(|s| s.key == "gateway.port") {
            shown.value = DEV_PORT.into();
        }
    }
    Ok(Loaded {
        config: loaded.config,
        file: found.map(|(path, dialect, _)| (path, dialect)),
        values: loaded.values,
        warnings: loaded.warnings,
        paths,
        profile,
    })
}

/// Checks a text that is to become the daemon's config file, under this environment.
///
/// # Errors
/// Every problem at once.
pub fn check_text(env: &Environment, text: &str, path: &Path) -> Result<(), ConfigErrors> {
    let file = FileText {
        path,
        dialect: dialect_of(path),
        text,
    };
    let folded = fold(env, Program::Gateway, &[], Some(file))?;
    let problems = check::check_serving(&folded.config, &folded.values);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigErrors(problems))
    }
}

/// Reads a text of ours or OpenClaw's as a tree, without looking at its keys.
///
/// # Errors
/// When it is no JSON5 object, too long, or nested too deeply.
pub fn parse_text(text: &str, path: &Path) -> Result<serde_json::Value, ConfigErrors> {
    file::parse(text, path).map_err(|problem| ConfigErrors(vec![problem]))
}

/// Every key outside lists and maps, with its default.
pub fn defaults() -> Vec<ShownValue> {
    fold(&Environment::default(), Program::Gateway, &[], None)
        .map(|folded| folded.values)
        .unwrap_or_default()
}

/// True when a file of this name is OpenClaw's own, which is read and never written.
pub fn is_openclaws(path: &Path) -> bool {
    dialect_of(path) == Dialect::OpenClaw
}

/// What OpenClaw's config file says of its gateway.
#[derive(Debug, Clone)]
pub struct OpenClawFile {
    /// `gateway.*`, as far as it is written out there.
    pub gateway: GatewayConfig,
    /// Keys that were set.
    pub set: Vec<String>,
    /// Keys that only OpenClaw itself can resolve.
    pub warnings: Vec<Warning>,
    /// Part of it is in another file, by `$include`.
    pub has_include: bool,
}

/// Reads the text of an OpenClaw config file, wherever it came from.
///
/// # Errors
/// When it is no JSON5 object.
pub fn parse_openclaw(text: &str, path: &Path) -> Result<OpenClawFile, ConfigErrors> {
    let tree = file::parse(text, path).map_err(|problem| ConfigErrors(vec![problem]))?;
    let sections = [
        Some(&tree),
        tree.get("gateway"),
        tree.pointer("/gateway/auth"),
    ];
    let has_include = sections
        .into_iter()
        .flatten()
        .any(|section| section.get("$include").is_some());
    let file = FileText {
        path,
        dialect: Dialect::OpenClaw,
        text,
    };
    let folded = fold(&Environment::default(), Program::Client, &[], Some(file))?;
    Ok(OpenClawFile {
        gateway: folded.config.gateway,
        set: folded
            .values
            .into_iter()
            .filter(|shown| shown.source != Source::Default)
            .map(|shown| shown.key)
            .collect(),
        warnings: folded.warnings,
        has_include,
    })
}

/// Tells where in the file each problem stands: an unknown key by its name, the others by their value.
fn place(problems: &mut [Problem], seen: &scan::Scan) {
    for problem in problems {
        let (Some(_), None, Some(key)) = (&problem.file, problem.position, &problem.key) else {
            continue;
        };
        problem.position = match problem.what == layers::UNKNOWN {
            true => seen.key(key),
            false => seen.value(key).or_else(|| seen.key(key)),
        };
    }
}

/// OpenClaw's file has a name of its own; every other file is ours.
fn dialect_of(path: &Path) -> Dialect {
    match path.file_name() {
        Some(name) if name == "openclaw.json" => Dialect::OpenClaw,
        _ => Dialect::Ours,
    }
}

struct FileText<'a> {
    path: &'a Path,
    dialect: Dialect,
    text: &'a str,
}

struct Folded {
    config: Config,
    values: Vec<ShownValue>,
    warnings: Vec<Warning>,
}

impl Folded {
    fn is_set(&self, key: &str) -> bool {
        self.values
            .iter()
            .any(|shown| shown.key == key && shown.source != Source::Default)
    }
}

fn fold(
    env: &Environment,
    program: Program,
    flags: &[FlagValue],
    file: Option<FileText<'_>>,
) -> Result<Folded, ConfigErrors> {
    let mut tree = match &file {
        Some(file) => file::parse(file.text, file.path).map_err(|p| ConfigErrors(vec![p]))?,
        None => serde_json::Value::Null,
    };
    if let (Some(Dialect::OpenClaw), Some(members)) =
        (file.as_ref().map(|file| file.dialect), tree.as_object_mut())
    {
        // Its other sections share names with ours, not meanings.
        members.retain(|key, _| match program {
            Program::Client => key == "gateway",
            Program::Gateway => matches!(key.as_str(), "gateway" | "models" | "agents"),
        });
    }
    let mut reader = Reader {
        vars: &env.vars,
        flags,
        file: file.as_ref().map(|file| FileLayer {
            path: file.path,
            tree: &tree,
            dialect: file.dialect,
        }),
        problems: Vec::new(),
        warnings: Vec::new(),
        shown: Vec::new(),
        secret_in_file: None,
    };
    let root = Place::root(reader.file.map(|file| file.tree));
    let config = Config::read(&mut reader, &root, Config::default());
    let Reader {
        mut problems,
        mut warnings,
        shown,
        secret_in_file,
        ..
    } = reader;
    problems.extend(check::check(&config, &shown));
    warnings.extend(check::without_effect(&shown));
    if let Some(file) = &file {
        let seen = scan::scan(file.text);
        place(&mut problems, &seen);
        if file.dialect == Dialect::Ours {
            problems.extend(file::unheard(&seen, file.path));
        }
        warnings.extend(check::open_file(file.path, secret_in_file.as_ref()));
    }
    if problems.is_empty() {
        Ok(Folded {
            config,
            values: shown,
            warnings,
        })
    } else {
        Err(ConfigErrors(problems))
    }
}

#[cfg(test)]
mod bad_inputs;
#[cfg(test)]
mod tests;
