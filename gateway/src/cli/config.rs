//! `config`: what is configured, where each value came from, and what is wrong with it.

use clap::Subcommand;
use clawline::config::Environment;
use serde_json::{Map, Value, json};

use super::{Common, Exit, Failure, output};
use crate::settings::GatewaySettings;
use crate::start_check;

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Every key with its value; secrets are masked
    Show {
        /// Where each value came from
        #[arg(long)]
        sources: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Where the config file is
    Path,
    /// Is the configuration good? All problems at once
    Check,
}

pub(super) fn run(common: &Common, command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Path => {
            let (_, paths) = common.place()?;
            let path = match (common.load_quietly(Vec::new()), &common.config) {
                (Ok(read), _) => read.config_file(),
                (Err(_), Some(path)) => path.clone(),
                (Err(_), None) => paths.config_file().to_owned(),
            };
            output::line(&path.display().to_string());
        }
        ConfigCommand::Check => {
            let read = common.load(Vec::new())?;
            let settings = read.settings()?;
            start_check::check_start(&settings)?;
            for note in unset_keys(&settings, &read.env) {
                output::note(&format!("note: {note}"));
            }
            let path = read.config_file();
            let words = match &read.loaded.file {
                Some(_) => "is good",
                None => "is not there; every value is the default",
            };
            output::line(&format!("{} {words}", path.display()));
        }
        ConfigCommand::Show { sources, json } => show(common, *sources, *json)?,
    }
    Ok(Exit::Good)
}

/// Providers whose key is in a variable that is not set here. The daemon may run with another
/// environment, so that this is no mistake of the file.
pub(super) fn unset_keys(settings: &GatewaySettings, env: &Environment) -> Vec<String> {
    let providers = settings.models.providers.iter();
    providers
        .filter_map(|(name, provider)| {
            let variable = provider.api_key_env.as_deref()?;
            env.var(variable).is_none().then(|| {
                format!("models.providers.{name}.apiKeyEnv: {variable} is not set here; the gateway needs it")
            })
        })
        .collect()
}

fn show(common: &Common, sources: bool, as_json: bool) -> Result<(), Failure> {
    let read = common.load(Vec::new())?;
    let values = &read.loaded.values;
    if as_json {
        let member = |shown: &clawline::config::ShownValue| {
            let member = json!({"value": shown.value, "source": shown.source.to_string()});
            (shown.key.clone(), member)
        };
        let keys: Map<String, Value> = values.iter().map(member).collect();
        output::line(&json!({"v": 1, "ok": true, "values": keys}).to_string());
        return Ok(());
    }
    for shown in values
        .iter()
        .filter(|shown| sources || !shown.value.is_null())
    {
        let line = format!("{} = {}", shown.key, shown.value);
        if sources {
            output::line(&format!("{line}  ({})", shown.source));
        } else {
            output::line(&line);
        }
    }
    Ok(())
}
