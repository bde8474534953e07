//! The commands there are, and how one is read from a message.

use clawline::protocol::methods::agents::{CommandArg, CommandChoice, CommandRow};

/// A name that is longer is text.
const MAX_NAME_CHARS: usize = 32;

pub(super) const THINKING: &[&str] = &["off", "minimal", "low", "medium", "high"];
pub(super) const VERBOSE: &[&str] = &["off", "on", "full"];
const USAGE: &[&str] = &["off", "tokens", "full"];

/// What the gateway can do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc) enum Command {
    Help,
    Commands,
    Status,
    New,
    Reset,
    Stop,
    Model,
    Think,
    Verbose,
    Usage,
    Compact,
}

/// One command: names (the first is shown), what it does, its group, and what may follow it.
pub(super) struct Row {
    pub(super) command: Command,
    pub(super) names: &'static [&'static str],
    pub(super) description: &'static str,
    category: &'static str,
    pub(super) arg: Option<(&'static str, &'static [&'static str])>,
}

const fn row(
    command: Command,
    names: &'static [&'static str],
    description: &'static str,
    category: &'static str,
    arg: Option<(&'static str, &'static [&'static str])>,
) -> Row {
    Row {
        command,
        names,
        description,
        category,
        arg,
    }
}

pub(super) const ROWS: [Row; 11] = [
    row(
        Command::Help,
        &["help"],
        "Show the commands.",
        "status",
        None,
    ),
    row(
        Command::Commands,
        &["commands"],
        "Show the commands with what may follow them.",
        "status",
        None,
    ),
    row(
        Command::Status,
        &["status"],
        "Show model, tokens and settings of this session.",
        "status",
        None,
    ),
    row(
        Command::Usage,
        &["usage"],
        "Show the tokens of this session, or say what clients show below an answer.",
        "options",
        Some(("mode", USAGE)),
    ),
    row(
        Command::New,
        &["new"],
        "Start a new conversation here; the old one is kept.",
        "session",
        None,
    ),
    row(
        Command::Reset,
        &["reset"],
        "Start this conversation over; the old one is kept.",
        "session",
        None,
    ),
    row(
        Command::Stop,
        &["stop"],
        "Stop the answer that is being written, and those that wait.",
        "session",
        None,
    ),
    row(
        Command::Compact,
        &["compact"],
        "Show the model only the newest messages.",
        "session",
        Some(("messages", &[])),
    ),
    row(
        Command::Model,
        &["model", "models"],
        "Show or set the model of this session.",
        "options",
        Some(("model", &[])),
    ),
    row(
        Command::Think,
        &["think", "thinking", "t"],
        "Show or set how much the model thinks.",
        "options",
        Some(("level", THINKING)),
    ),
    row(
        Command::Verbose,
        &["verbose", "v"],
        "Show or set how much detail is shown.",
        "options",
        Some(("level", VERBOSE)),
    ),
];

/// A message that is a command; of none of ours when `command` is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc) struct Typed<'a> {
    pub(in crate::rpc) command: Option<Command>,
    pub(super) name: &'a str,
    pub(super) args: &'a str,
}

/// Reads `/name args`. A path, a fraction or a name that cannot be one is text for the model; so is
/// an unknown name behind a space.
pub(in crate::rpc) fn typed(message: &str) -> Option<Typed<'_>> {
    let rest = message.trim().strip_prefix('/')?;
    let (name, args) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let mut chars = name.chars();
    let is_name = name.len() <= MAX_NAME_CHARS
        && chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if !is_name {
        return None;
    }
    let found = ROWS.iter().find(|row| {
        let mut names = row.names.iter();
        names.any(|known| known.eq_ignore_ascii_case(name))
    });
    if found.is_none() && !message.starts_with('/') {
        return None;
    }
    Some(Typed {
        command: found.map(|row| row.command),
        name,
        args: args.trim(),
    })
}

/// The rows of `commands.list`.
pub(in crate::rpc) fn listed(with_args: bool) -> Vec<CommandRow> {
    let rows = ROWS.iter().map(|row| {
        let name = row.names[0];
        let args = row.arg.filter(|_| with_args).map(|(name, choices)| {
            vec![CommandArg {
                name: name.to_owned(),
                description: row.description.to_owned(),
                r#type: "string".to_owned(),
                choices: (!choices.is_empty()).then(|| {
                    let choices = choices.iter().map(|choice| CommandChoice {
                        value: (*choice).to_owned(),
                        label: (*choice).to_owned(),
                    });
                    choices.collect()
                }),
            }]
        });
        CommandRow {
            name: name.to_owned(),
            native_name: name.to_owned(),
            text_aliases: row.names.iter().map(|name| format!("/{name}")).collect(),
            description: row.description.to_owned(),
            category: row.category.to_owned(),
            source: "native".to_owned(),
            scope: "both".to_owned(),
            accepts_args: row.arg.is_some(),
            args,
        }
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_are_told_from_text() {
        for (text, command) in [
            ("/new", Some(Some(Command::New))),
            (" /STATUS \n", Some(Some(Command::Status))),
            ("/model home/x", Some(Some(Command::Model))),
            ("/t low", Some(Some(Command::Think))),
            ("/config set gateway.auth.mode none", Some(None)),
            ("/elevated on", Some(None)),
            (" /tmp is full", None),
            ("/etc/passwd, what is it?", None),
            ("1/2", None),
            ("/", None),
            ("// note", None),
            ("say /new", None),
        ] {
            assert_eq!(typed(text).map(|typed| typed.command), command, "{text}");
        }
        assert_eq!(typed("/model  a/b ").map(|typed| typed.args), Some("a/b"));
    }

    #[test]
    fn no_name_is_used_twice() {
        let mut names: Vec<&str> = ROWS.iter().flat_map(|row| row.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    proptest! {
        #[test]
        fn any_text_is_a_command_or_none(text in "\\PC{0,80}") {
            if let Some(typed) = typed(&text) {
                prop_assert!(text.trim_start().starts_with('/'));
                prop_assert!(text.contains(typed.args));
            }
        }
    }
}
