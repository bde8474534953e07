//! What a service runs: the program, its arguments and a name, made from what was typed.

use std::path::{Path, PathBuf};

use clawline::layer::{is_unsafe_to_show, printable};
use clawline::service::Service;
use clawline::tunnel::ends::{EndError, ListenSpec, parse_remote_end, parse_socks_end};
use clawline::tunnel::ssh_config::{ConfigFile, Flags};

use super::{Args, MARK};
use crate::cli::args::GeneralArgs;
use crate::cli::context::Context;
use crate::link::{ConnectOptions, UsageError};

/// What does not pass by itself: wrong usage, a refused host key, a refused sign-in, a forbidden forward.
const NEEDS_A_PERSON: &[u8] = &[2, 4, 5, 6];
/// Seconds between two signs of life.
const WATCHDOG_SECONDS: u32 = 60;
/// Seconds that its end may take.
const STOP_SECONDS: u32 = 10;
/// Longest part of a name that comes from the target.
const MAX_NAME: usize = 60;

/// What a service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// As it was typed.
    pub target: String,
    /// `clawline-tunnel-…`, without an ending.
    pub name: String,
    /// This program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// No key file was named, so an agent may have to help.
    pub asks_an_agent: bool,
}

impl Plan {
    /// Checks everything that the service will read, while somebody is there to be told.
    pub fn new(context: &Context, args: &Args, general: &GeneralArgs) -> Result<Self, UsageError> {
        let target = match (&args.target.target, &context.host) {
            (Some(target), None) | (None, Some(target)) => target,
            (Some(_), Some(_)) | (None, None) => {
                return Err(UsageError::new(
                    "install-tunnel takes one TARGET",
                    "clawline install-tunnel me@desktop",
                ));
            }
        };
        let connector = &context.connector;
        let (parsed, host) = connector.ssh_target(target)?;
        connector.resolve(&parsed, &host)?;
        let here = std::env::current_dir().unwrap_or_default();
        let mut arguments = vec!["--tunnel-only".to_owned()];
        arguments.extend(general_arguments(general, &here)?);
        arguments.extend(connect_arguments(&connector.options, &here)?);
        arguments.extend(end_arguments(args, &here)?);
        arguments.push("--".to_owned());
        arguments.push(target.clone());
        if let Some(odd) = arguments
            .iter()
            .find(|text| text.contains(is_unsafe_to_show))
        {
            let odd = printable(odd, 120);
            return Err(UsageError::new(
                format!("\"{odd}\" cannot stand in a service"),
                "",
            ));
        }
        let program = std::env::current_exe().map_err(|error| {
            UsageError::new(
                format!("where this program is cannot be found out: {error}"),
                "",
            )
        })?;
        Ok(Self {
            target: target.clone(),
            name: name_of(target, general),
            program,
            arguments,
            asks_an_agent: connector.options.ssh.identities.is_empty(),
        })
    }
}

impl Plan {
    /// The service that runs it.
    pub fn service(&self) -> Service {
        Service {
            name: self.name.clone(),
            description: format!("clawline tunnel to {}", self.target),
            program: self.program.clone(),
            arguments: self.arguments.clone(),
            environment: Vec::new(),
            mark: MARK,
            needs_a_person: NEEDS_A_PERSON,
            watchdog_seconds: Some(WATCHDOG_SECONDS),
            stop_seconds: STOP_SECONDS,
        }
    }
}

/// `clawline-tunnel-desktop`; what a file name should not hold is replaced, and a number keeps apart what
/// would be the same then.
fn name_of(target: &str, general: &GeneralArgs) -> String {
    let profile = match (&general.profile, general.dev) {
        (_, true) => "dev@",
        (Some(name), false) => &format!("{name}@"),
        (None, false) => "",
    };
    let whole = format!("{profile}{target}");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let mut plain: String = whole
        .chars()
        .map(|c| if is_plain(c) { c } else { '-' })
        .take(MAX_NAME)
        .collect();
    if plain != whole {
        let number = whole.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        plain = format!("{plain}-{number:08x}");
    }
    format!("clawline-tunnel-{plain}")
}

fn general_arguments(general: &GeneralArgs, here: &Path) -> Result<Vec<String>, UsageError> {
    let mut arguments = Vec::new();
    if let Some(file) = &general.config {
        arguments.extend(["--config".to_owned(), unicode(&here.join(file))?]);
    }
    if let Some(file) = &general.log_file {
        arguments.extend(["--log-file".to_owned(), unicode(&here.join(file))?]);
    }
    if let Some(profile) = &general.profile {
        arguments.extend(["--profile".to_owned(), profile.clone()]);
    }
    if general.dev {
        arguments.push("--dev".to_owned());
    }
    arguments.extend((0..general.verbose).map(|_| "-v".to_owned()));
    Ok(arguments)
}

fn connect_arguments(options: &ConnectOptions, here: &Path) -> Result<Vec<String>, UsageError> {
    let secrets = options.token.is_some() || options.password.is_some();
    if secrets || options.url.is_some() || options.tls_fingerprint.is_some() {
        return Err(UsageError::new(
            "--url, --token, --password and --tls-fingerprint are not for a tunnel",
            "leave them out: whoever goes through the tunnel shows its own",
        ));
    }
    let Flags {
        config,
        port,
        identities,
        jump,
        options: pairs,
        accept_new_host_key,
        // The service reads the same configuration.
        own: _,
        fallback: _,
        allow_match_exec: _,
    } = &options.ssh;
    let mut arguments = Vec::new();
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    match config {
        ConfigFile::Standard => {}
        ConfigFile::None => add("-F", "none".into()),
        ConfigFile::Only(path) => add("-F", unicode(&here.join(path))?),
    }
    if let Some(port) = port {
        add("-p", port.to_string());
    }
    for file in identities {
        add("-i", absolute(file, here)?);
    }
    if let Some(jump) = jump {
        add("-J", jump.clone());
    }
    for pair in pairs {
        add("-o", pair.clone());
    }
    if let Some(remote) = &options.remote {
        parse_remote_end(remote)
            .map_err(|error| UsageError::new(format!("--remote: {error}"), error.next()))?;
        add("--remote", remote.clone());
    }
    if *accept_new_host_key {
        arguments.push("--accept-new-host-key".to_owned());
    }
    Ok(arguments)
}

fn end_arguments(args: &Args, here: &Path) -> Result<Vec<String>, UsageError> {
    let refused = |option: &str, error: &EndError| {
        UsageError::new(format!("{option}: {error}"), error.next())
    };
    let mut arguments = Vec::new();
    for text in &args.listen {
        text.parse::<ListenSpec>()
            .map_err(|error| refused("--listen", &error))?;
        arguments.extend(["--listen".to_owned(), text.clone()]);
    }
    for path in &args.socket {
        let path = absolute(path, here)?;
        path.parse::<ListenSpec>()
            .map_err(|error| refused("--socket", &error))?;
        arguments.extend(["--listen".to_owned(), path]);
    }
    for text in &args.dynamic {
        parse_socks_end(text).map_err(|error| refused("--dynamic", &error))?;
        arguments.extend(["--dynamic".to_owned(), text.clone()]);
    }
    if args.allow_other_users {
        arguments.push("--allow-other-users".to_owned());
    }
    Ok(arguments)
}

/// A service starts in another directory. What `~` and `%` mean is seen to later.
fn absolute(path: &str, here: &Path) -> Result<String, UsageError> {
    if path.starts_with(['~', '%', '$']) {
        return Ok(path.to_owned());
    }
    unicode(&here.join(path))
}

fn unicode(path: &Path) -> Result<String, UsageError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let shown = printable(&path.display().to_string(), 200);
        UsageError::new(format!("{shown} cannot stand in a service"), "")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::Cli;

    fn general(args: &[&str]) -> GeneralArgs {
        let all = ["clawline"].iter().chain(args);
        Cli::try_parse_from(all).unwrap().general
    }

    #[test]
    fn names_are_plain_and_those_that_were_changed_stay_apart() {
        let none = general(&[]);
        assert_eq!(name_of("desktop", &none), "clawline-tunnel-desktop");
        assert_eq!(name_of("a.b-c_d", &none), "clawline-tunnel-a.b-c_d");
        let (one, two) = (name_of("me@desktop", &none), name_of("me:desktop", &none));
        assert!(one.starts_with("clawline-tunnel-me-desktop-"), "{one}");
        assert_ne!(one, two);
        let dev = name_of("desktop", &general(&["--dev"]));
        assert!(dev.starts_with("clawline-tunnel-dev-desktop-"), "{dev}");
        assert!(name_of(&"x".repeat(300), &none).len() < 100);
        assert!(!name_of("../../x %n", &none).contains(['/', ' ', '%']));
    }

    #[test]
    fn paths_do_not_depend_on_where_it_was_typed() {
        let here = Path::new("/home/me");
        for (typed, written) in [
            ("key", "/home/me/key"),
            ("/k", "/k"),
            ("~/.ssh/k", "~/.ssh/k"),
            ("%d/k", "%d/k"),
        ] {
            assert_eq!(absolute(typed, here).unwrap(), written);
        }
    }
}
