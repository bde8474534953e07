//! `clawline help [COMMAND…]`, before anything else is read: the first word is otherwise a host.

use clap::CommandFactory as _;

use super::args::Cli;
use super::output::Output;
use super::wrong_usage;

/// Shows the help that was asked for; `None` when none was.
pub(crate) fn run_if_asked() -> Option<u8> {
    let words = std::env::args_os().skip(1);
    let mut words = words.map(|word| word.to_string_lossy().into_owned());
    (words.next().as_deref() == Some("help")).then(|| show(words))
}

fn show(words: impl Iterator<Item = String>) -> u8 {
    let mut command = Cli::command();
    command.build();
    for word in words.take_while(|word| !word.starts_with('-')) {
        let Some(found) = command.find_subcommand(&word).cloned() else {
            let kind = clap::error::ErrorKind::InvalidSubcommand;
            let shown = clawline::layer::printable(&word, 80);
            return wrong_usage(&command.error(kind, format!("there is no command {shown}")));
        };
        command = found;
    }
    let text = command.render_long_help().to_string();
    Output::new(false).line(text.trim_end());
    0
}
