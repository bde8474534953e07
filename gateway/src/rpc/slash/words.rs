//! What commands say.

use clawline::layer::printable;
use serde_json::Value;

use super::table::ROWS;
use crate::sessions::{Session, SessionKey};
use crate::shape;
use crate::state::App;

pub(super) const NEW_SESSION: &str = "New session started.";
/// Models that `/model` shows.
const MAX_MODELS: usize = 40;
const MAX_NAME_CHARS: usize = 64;

pub(super) fn unknown(name: &str) -> String {
    let name = printable(name, MAX_NAME_CHARS);
    format!(
        "There is no command /{name} here, and nothing was changed. /help shows what there is; \
         a message that begins with a space is sent as it is."
    )
}

pub(super) fn takes_nothing(name: &str) -> String {
    let name = printable(name, MAX_NAME_CHARS).to_lowercase();
    format!("Nothing was changed: /{name} stands alone. Send the rest as a message after it.")
}

pub(super) fn refused(why: &str) -> String {
    format!("Nothing was changed: {why}.")
}

pub(super) fn help(with_args: bool) -> String {
    let mut lines = vec!["Commands of the gateway:".to_owned()];
    lines.extend(ROWS.iter().map(|row| {
        let arg = match row.arg {
            Some((_, choices)) if with_args && !choices.is_empty() => {
                format!(" [{}]", choices.join("|"))
            }
            Some((name, _)) if with_args => format!(" [{name}]"),
            _ => String::new(),
        };
        format!("/{}{arg} - {}", row.names[0], row.description)
    }));
    lines.join("\n")
}

pub(super) fn compacted(keep: u64) -> String {
    format!(
        "From now on the model sees at most the newest {keep} of the messages before this one. \
         All of them stay readable in the history."
    )
}

pub(super) fn level(title: &str, name: &str, now: Option<&str>, choices: &[&str]) -> String {
    let now = now.map_or_else(|| "as the agent says".to_owned(), str::to_owned);
    format!(
        "{title}: {now}. Change it with /{name} {}.",
        choices.join("|")
    )
}

pub(super) fn changed(app: &App, key: &SessionKey, name: &str, value: &Value) -> String {
    let what = match name {
        "model" => "The model",
        "thinkingLevel" => "Thinking",
        "verboseLevel" => "Detail",
        _ => "Usage below answers",
    };
    match (name, value.as_str()) {
        ("model", chosen) => {
            let (provider, model) = app.runs.models().resolve(chosen, key.agent_id());
            format!("{what} of this session is {provider}/{model}.")
        }
        ("responseUsage", Some(mode)) => {
            format!("{what} is {mode}, in clients that show it.")
        }
        (_, Some(level)) => format!("{what} is {}.", printable(level, MAX_NAME_CHARS)),
        (_, None) => format!("{what} is as the agent says."),
    }
}

pub(super) fn model(app: &App, key: &SessionKey, session: Option<&Session>) -> String {
    let models = app.runs.models();
    let chosen = session.and_then(|session| session.settings.model.as_deref());
    let (provider, model) = models.resolve(chosen, key.agent_id());
    let whose = if chosen.is_some() {
        "chosen for this session"
    } else {
        "as configured"
    };
    let mut lines = vec![
        format!("Model: {provider}/{model} ({whose})."),
        String::new(),
    ];
    let known = models.list();
    let rest = known.len().saturating_sub(MAX_MODELS);
    lines.extend(
        known
            .into_iter()
            .take(MAX_MODELS)
            .map(|known| format!("/model {}/{}", known.provider, known.id)),
    );
    if rest > 0 {
        lines.push(format!("and {rest} more"));
    }
    lines.push("/model default".to_owned());
    lines.join("\n")
}

pub(super) fn usage(session: Option<&Session>) -> String {
    match session {
        Some(session) if session.tokens.total > 0 => {
            let tokens = session.tokens;
            format!(
                "Tokens of this session, as the provider counts them: {} in, {} out, {} together. {}",
                tokens.input,
                tokens.output,
                tokens.total,
                match session.cost_nanos {
                    Some(nanos) => format!("Cost: ${:.4}.", shape::dollars(nanos)),
                    None => "The cost is not known: a model has no price in the configuration, \
                             or its provider told no tokens."
                        .to_owned(),
                }
            )
        }
        _ => "No model has answered in this session yet.".to_owned(),
    }
}

pub(super) fn status(app: &App, key: &SessionKey, session: Option<&Session>) -> String {
    let models = app.runs.models();
    let settings = session.map(|session| session.settings.clone());
    let settings = settings.unwrap_or_default();
    let (provider, model) = models.resolve(settings.model.as_deref(), key.agent_id());
    let active = app.runs.active(key);
    let context = match (session, models.context_window(&provider, &model)) {
        (Some(session), Some(window)) => format!("{} of {window}", session.context_tokens),
        (Some(session), None) => session.context_tokens.to_string(),
        (None, _) => "0".to_owned(),
    };
    let default = || "as the agent says".to_owned();
    [
        format!(
            "clawline-gateway {}, up {}",
            env!("CARGO_PKG_VERSION"),
            duration(app.uptime_ms())
        ),
        format!("Session: {key}"),
        format!("Model: {provider}/{model}"),
        usage(session),
        format!("Context: {context} tokens"),
        format!(
            "Thinking: {}. Detail: {}.",
            settings.thinking_level.unwrap_or_else(default),
            settings.verbose_level.unwrap_or_else(default)
        ),
        match active.len() {
            0 => "Nothing is being answered.".to_owned(),
            1 => "One message is being answered.".to_owned(),
            n => format!("One message is being answered, {} wait.", n - 1),
        },
    ]
    .join("\n")
}

/// A time in its two largest units.
fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_its_two_largest_units() {
        for (ms, text) in [
            (999, "0 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn an_unknown_command_is_named_harmlessly() {
        assert!(unknown("config").contains("/config here"));
    }
}
