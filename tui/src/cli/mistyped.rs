//! A first word that is nearly a subcommand: was a command meant, or a host of that name?

use clap::CommandFactory as _;
use clawline::tunnel::host_key::{HostName, KnownHosts};

use super::args::Cli;
use crate::link::{Connector, UsageError};

/// Shorter words are too near to everything.
const SHORTEST: usize = 3;
/// From this length on two slips are one word still.
const LONG: usize = 6;

/// The subcommand that a word was probably meant to be. Commands are letters and hyphens; whatever has a
/// dot, a digit, `@` or `:` is a place.
pub(super) fn command_like(word: &str) -> Option<String> {
    let is_plain = word.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    if !is_plain || word.len() < SHORTEST || word.eq_ignore_ascii_case("local") {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let slips = if word.len() < LONG { 1 } else { 2 };
    let commands = Cli::command();
    let near = commands.get_subcommands().map(|command| {
        let name = command.get_name().to_owned();
        (strsim::osa_distance(&word, &name), name)
    });
    let nearest = near.filter(|(distance, _)| *distance <= slips).min();
    nearest.map(|(_, name)| name)
}

/// Says so where the target is nearly a subcommand and no host is known by that name: none of our config,
/// no alias of ssh_config and none of known_hosts.
pub(super) fn check(connector: &Connector, target: &str) -> Result<(), UsageError> {
    let Some(command) = command_like(target) else {
        return Ok(());
    };
    if is_known(connector, target) {
        return Ok(());
    }
    Err(UsageError::new(
        format!("there is no command {target}, and no host of that name is known"),
        format!("did you mean clawline {command}? if {target} is a host: clawline -H {target}"),
    ))
}

fn is_known(connector: &Connector, target: &str) -> bool {
    if connector.loaded.config.hosts.contains_key(target) {
        return true;
    }
    let resolved = connector
        .ssh_target(target)
        .and_then(|(parsed, host)| connector.resolve(&parsed, &host));
    // What cannot be resolved is told by whoever dials.
    let Ok(resolved) = resolved else { return true };
    let Some(hop) = resolved.spec.destination() else {
        return true;
    };
    let is_recorded = || {
        let known = KnownHosts::load(&hop.known_hosts);
        known.is_ok_and(|known| !known.about(&HostName::of_hop(hop)).is_empty())
    };
    resolved.is_named || !hop.host.eq_ignore_ascii_case(target) || is_recorded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_nearly_commands_are_told_from_places() {
        for (word, command) in [
            ("statuss", "status"),
            ("stauts", "status"),
            ("Helth", "health"),
            ("log", "logs"),
            ("sesions", "sessions"),
            ("instal-tunel", "install-tunnel"),
        ] {
            assert_eq!(command_like(word).as_deref(), Some(command), "{word}");
        }
        for place in [
            "desktop",
            "home",
            "me@statuss",
            "statuss.lan",
            "node1",
            "local",
            "pi",
            "statuss:22",
            "ssh://statuss",
            "[::1]",
            "",
        ] {
            assert_eq!(command_like(place), None, "{place}");
        }
    }
}
