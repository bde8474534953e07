//! The table of slash commands; the palette and the completion are made from it.

use clawline::protocol::methods::agents::CommandRow;
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

/// What a command of ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Show the keys.
    Help,
    /// What the gateway says of itself.
    Status,
    /// A new session.
    New,
    /// Start this session over.
    Reset,
    /// Open a session by name.
    Session,
    /// Pick a session.
    Sessions,
    /// Choose a model.
    Model,
    /// Level of thinking.
    Think,
    /// Level of detail.
    Verbose,
    /// Stop the run.
    Abort,
    /// Show the commands that wait for a yes or no.
    Approvals,
    /// Let one of them run.
    Allow,
    /// Turn one of them down.
    Deny,
    /// Send again what was refused.
    Retry,
    /// Throw away what was not sent.
    Discard,
    /// The link page.
    Link,
    /// The health page.
    Health,
    /// Enter the gateway's token.
    Token,
    /// Try the link again now.
    Reconnect,
    /// Show or hide results of tools.
    Expand,
    /// Leave.
    Quit,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandEntry {
    /// Without the slash; the first is shown.
    pub(crate) names: &'static [&'static str],
    /// What may follow.
    pub(crate) argument: &'static str,
    /// What it does, in words.
    pub(crate) help: &'static str,
    /// What it does.
    pub(crate) command: Command,
}

const fn entry(
    names: &'static [&'static str],
    argument: &'static str,
    help: &'static str,
    command: Command,
) -> CommandEntry {
    CommandEntry {
        names,
        argument,
        help,
        command,
    }
}

/// The table.
pub(crate) const COMMANDS: &[CommandEntry] = &[
    entry(&["help", "keys"], "", "keys and commands", Command::Help),
    entry(&["sessions"], "", "pick a session", Command::Sessions),
    entry(
        &["session", "open"],
        "NAME",
        "open a session, or a new one of that name",
        Command::Session,
    ),
    entry(&["new"], "[NAME]", "open a new session", Command::New),
    entry(
        &["reset"],
        "",
        "start this session over; its transcript is put away",
        Command::Reset,
    ),
    entry(
        &["model", "models"],
        "[NAME]",
        "choose the model of this session",
        Command::Model,
    ),
    entry(
        &["think"],
        "LEVEL",
        "how much the model thinks: off low medium high",
        Command::Think,
    ),
    entry(
        &["verbose"],
        "LEVEL",
        "how much tools tell: off on full",
        Command::Verbose,
    ),
    entry(&["abort", "stop"], "", "stop the run", Command::Abort),
    entry(
        &["approvals"],
        "",
        "programs that wait for your yes or no",
        Command::Approvals,
    ),
    entry(
        &["allow"],
        "NUMBER",
        "let a program run that waits, once",
        Command::Allow,
    ),
    entry(
        &["deny"],
        "NUMBER",
        "turn a program down that waits",
        Command::Deny,
    ),
    entry(
        &["retry"],
        "",
        "send again what the gateway refused",
        Command::Retry,
    ),
    entry(
        &["discard"],
        "",
        "throw away what was not sent yet",
        Command::Discard,
    ),
    entry(&["link"], "", "the link, layer by layer", Command::Link),
    entry(&["health"], "", "health of the gateway", Command::Health),
    entry(
        &["status"],
        "",
        "what the gateway says of itself",
        Command::Status,
    ),
    entry(&["token"], "", "enter the gateway's token", Command::Token),
    entry(
        &["reconnect"],
        "",
        "try the link again now",
        Command::Reconnect,
    ),
    entry(
        &["expand"],
        "",
        "show or hide what tools returned",
        Command::Expand,
    ),
    entry(&["quit", "exit"], "", "leave", Command::Quit),
];

/// The command of ours with this name.
pub(crate) fn find(name: &str) -> Option<Command> {
    COMMANDS
        .iter()
        .find(|entry| entry.names.contains(&name))
        .map(|entry| entry.command)
}

/// Whether the gateway announced a command of this name.
pub(crate) fn is_gateways(rows: &[CommandRow], name: &str) -> bool {
    rows.iter().any(|row| {
        row.name == name
            || row
                .text_aliases
                .iter()
                .any(|alias| alias.trim_start_matches('/') == name)
    })
}

/// Something to complete or to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The name, without the slash.
    pub(crate) name: String,
    /// What may follow.
    pub(crate) argument: String,
    /// What it does.
    pub(crate) help: String,
}

/// Ours and the gateway's, ours first; ours win where names are the same.
pub(crate) fn candidates(rows: &[CommandRow]) -> Vec<Candidate> {
    let ours = COMMANDS.iter().map(|entry| Candidate {
        name: entry.names.first().copied().unwrap_or_default().to_owned(),
        argument: entry.argument.to_owned(),
        help: entry.help.to_owned(),
    });
    let theirs = rows
        .iter()
        .filter(|row| find(&row.name).is_none() && !row.name.is_empty())
        .map(|row| Candidate {
            name: crate::widgets::text::one_line(&row.name),
            argument: if row.accepts_args {
                "…".to_owned()
            } else {
                String::new()
            },
            help: crate::widgets::text::one_line(&row.description),
        });
    ours.chain(theirs).collect()
}

/// Those that begin with what was typed.
pub(crate) fn complete(rows: &[CommandRow], typed: &str) -> Vec<Candidate> {
    let mut found = candidates(rows);
    found.retain(|candidate| candidate.name.starts_with(typed));
    found
}

/// Filters and sorts by how well `filter` matches; without a filter the order stays. Returns places.
pub(crate) fn rank<'a>(filter: &str, texts: impl Iterator<Item = &'a str>) -> Vec<usize> {
    if filter.trim().is_empty() {
        return (0..texts.count()).collect();
    }
    let pattern = Pattern::parse(filter, CaseMatching::Ignore, Normalization::Smart);
    let mut matcher = Matcher::new(Config::DEFAULT);
    let mut buffer = Vec::new();
    let mut found: Vec<(usize, u32)> = texts
        .enumerate()
        .filter_map(|(place, text)| {
            let score = pattern.score(Utf32Str::new(text, &mut buffer), &mut matcher)?;
            Some((place, score))
        })
        .collect();
    found.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    found.into_iter().map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_for_two_commands() {
        let mut names: Vec<&str> = COMMANDS
            .iter()
            .flat_map(|entry| entry.names)
            .copied()
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn commands_of_the_gateway_stand_behind_ours_and_never_replace_them() {
        let row = |name: &str| CommandRow {
            name: name.into(),
            text_aliases: vec![format!("/{name}")],
            ..CommandRow::default()
        };
        let rows = [row("compact"), row("model")];
        let found = complete(&rows, "");
        assert_eq!(found.iter().filter(|c| c.name == "model").count(), 1);
        assert_eq!(found.last().map(|c| c.name.as_str()), Some("compact"));
        assert!(is_gateways(&rows, "compact") && !is_gateways(&rows, "nope"));
    }

    #[test]
    fn a_filter_finds_letters_in_order_and_the_best_first() {
        let texts = ["research", "main", "telegram ana"];
        assert_eq!(rank("ana", texts.into_iter()), [2]);
        assert_eq!(rank("", texts.into_iter()), [0, 1, 2]);
        assert_eq!(rank("zzz", texts.into_iter()), Vec::<usize>::new());
    }
}
