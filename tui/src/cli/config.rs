//! `clawline config`: what is configured, where each value came from, and what is wrong with it.

use clap::Subcommand;
use clawline::config::ShownValue;
use serde_json::{Map, Value, json};

use super::context::Context;

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Every key with its value; secrets are masked
    Show {
        /// Where each value came from
        #[arg(long)]
        sources: bool,
    },
    /// Where the config file is
    Path,
    /// Is the configuration good? All problems at once
    Check,
}

/// Runs on a configuration that was read without a problem; problems were told before.
pub(crate) fn run(context: &Context, args: &Args) -> u8 {
    match args.command {
        ConfigCommand::Show { sources } => show(context, sources),
        ConfigCommand::Path => path(context),
        ConfigCommand::Check => check(context),
    }
    0
}

fn show(context: &Context, sources: bool) {
    let values = &context.loaded().values;
    if context.out.json {
        let keys: Map<String, Value> = values.iter().map(member).collect();
        context
            .out
            .pretty(&json!({ "v": 1, "ok": true, "values": keys }));
        return;
    }
    for shown in values
        .iter()
        .filter(|shown| sources || !shown.value.is_null())
    {
        let line = format!("{} = {}", shown.key, shown.value);
        if sources {
            context.out.line(&format!("{line}  ({})", shown.source));
        } else {
            context.out.line(&line);
        }
    }
}

fn member(shown: &ShownValue) -> (String, Value) {
    let value = json!({ "value": shown.value, "source": shown.source.to_string() });
    (shown.key.clone(), value)
}

fn path(context: &Context) {
    let loaded = context.loaded();
    let path = loaded
        .file
        .as_ref()
        .map_or(loaded.paths.config_file(), |(path, _)| path.as_path());
    if context.out.json {
        let exists = loaded.file.is_some();
        context
            .out
            .value(&json!({ "v": 1, "ok": true, "path": path, "exists": exists }));
    } else {
        context.out.line(&path.display().to_string());
    }
}

fn check(context: &Context) {
    let loaded = context.loaded();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    let file = loaded.file.as_ref().map(|(path, _)| path);
    if context.out.json {
        context.out.value(&json!({
            "v": 1, "ok": true, "file": file, "problems": [], "warnings": warnings,
        }));
        return;
    }
    for warning in warnings {
        context.out.line(&format!("warning: {warning}"));
    }
    match file {
        Some(file) => context.out.line(&format!("{}: good", file.display())),
        None => context.out.line("no config file; defaults are in force"),
    }
}
