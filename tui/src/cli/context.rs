//! What every subcommand works with: the configuration, the connector and the output.

use std::sync::Arc;

use clawline::config::{
    ColorChoice, Environment, LoadRequest, Loaded, Profile, Program, Source, UiConfig, Warning,
    load,
};
use clawline::secret::Secret;
use clawline::secret_text::{self, Kind, NoSecret};
use clawline::tunnel::ssh_config::{ConfigFile, Flags};

use super::args::{ConnectArgs, GeneralArgs};
use super::failure::Failure;
use super::output::Output;
use crate::link::{ConnectOptions, Connector, LinkRequest, UsageError};

/// Configuration, connector and output.
pub(crate) struct Context {
    pub out: Output,
    pub connector: Connector,
    /// `-H`, or the TARGET of the whole command.
    pub host: Option<String>,
}

impl Context {
    /// Reads the configuration.
    pub fn new(
        general: &GeneralArgs,
        connect: ConnectArgs,
        out: Output,
    ) -> Result<Self, (Failure, Output)> {
        let host = connect.host.clone();
        match connector(general, connect) {
            Ok(connector) => Ok(Self {
                out,
                connector,
                host,
            }),
            Err(failure) => Err((failure, out)),
        }
    }

    /// The configuration.
    pub fn loaded(&self) -> &Loaded {
        &self.connector.loaded
    }

    /// The request for a subcommand: its bare TARGET, `-H`, the configured default, or this machine.
    pub fn request(&self, bare: Option<&str>) -> Result<LinkRequest, UsageError> {
        let target = match (bare, self.host.as_deref()) {
            (Some(_), Some(_)) => {
                return Err(UsageError::new(
                    "TARGET and --host both say where the gateway is",
                    "leave one of them out",
                ));
            }
            (bare, host) => bare.or(host),
        };
        if target.is_some() || self.connector.options.url.is_some() {
            return self.connector.request(target);
        }
        let configured = self.connector.configured()?;
        match configured {
            Some(request) => Ok(request),
            None => self.connector.request(Some("local")),
        }
    }
}

/// `--plain` and `--no-color` over what is configured.
pub(super) fn fold_ui(ui: &mut UiConfig, general: &GeneralArgs) {
    if general.plain {
        ui.plain = true;
    }
    if general.no_color {
        ui.color = ColorChoice::Never;
    }
}

fn connector(general: &GeneralArgs, connect: ConnectArgs) -> Result<Connector, Failure> {
    let env = Environment::of_process().map_err(|error| Failure::Other(error.to_string()))?;
    let profile = match (&general.profile, general.dev) {
        (_, true) => Some(Profile::dev()),
        (Some(name), false) => Some(name.parse().map_err(
            |error: clawline::config::paths::BadProfile| UsageError::new(error.to_string(), ""),
        )?),
        (None, false) => None,
    };
    let mut loaded = load(
        &env,
        &LoadRequest {
            program: Program::Client,
            file: general.config.clone(),
            profile,
            flags: Vec::new(),
        },
    )?;
    let (token, password) = (connect.token, connect.password);
    let token = secret("--token", Kind::Token, token, &mut loaded.warnings)?;
    let password = secret("--password", Kind::Password, password, &mut loaded.warnings)?;
    Ok(Connector {
        env: Arc::new(env),
        loaded: Arc::new(loaded),
        options: ConnectOptions {
            ssh: Flags {
                config: connect
                    .ssh_config
                    .as_deref()
                    .map_or(ConfigFile::Standard, ConfigFile::from_flag),
                port: connect.ssh_port,
                identities: connect.identity,
                jump: connect.jump,
                options: connect.option,
                accept_new_host_key: connect.accept_new_host_key,
                ..Flags::default()
            },
            url: connect.url,
            token,
            password,
            tls_fingerprint: connect.tls_fingerprint,
            remote: connect.remote,
        },
    })
}

/// A secret of the command line. The warning is about what was left out of it.
fn secret(
    option: &'static str,
    kind: Kind,
    text: Option<String>,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Secret>, UsageError> {
    let Some(text) = text.map(Secret::new) else {
        return Ok(None);
    };
    match secret_text::read(text.expose(), kind) {
        Ok(handed) => {
            if handed.had_line_break {
                warnings.push(Warning::LineBreak {
                    source: Source::Flag(option),
                    key: option.to_owned(),
                });
            }
            Ok(Some(handed.secret))
        }
        Err(NoSecret::Empty) => Err(UsageError::new(
            format!("{option} is empty"),
            "leave it out to use what is configured",
        )),
        Err(why) => Err(UsageError::new(format!("{option} {why}"), "")),
    }
}
