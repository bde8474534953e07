//! `config`: what is configured, where each value came from, and what is wrong with it.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{Common, Exit, Failure, output};

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
            read.settings()?;
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
