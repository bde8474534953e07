//! `Match`: does the block that follows apply?

use crate::tunnel::wildcard::{ListMatch, matches_list};

/// What criteria are compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The host after `HostName`, as far as it is known.
    pub(super) host: &'a str,
    /// The host as it was typed.
    pub(super) original: &'a str,
    /// The login name there, as far as it is known.
    pub(super) user: &'a str,
    /// The login name here.
    pub(super) local_user: &'a str,
    /// True when the files are read for the second time.
    pub(super) is_final_pass: bool,
}

/// The outcome of a `Match` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The block applies.
    pub(super) applies: bool,
    /// The files have to be read once more when everything is known.
    pub(super) wants_final: bool,
}

/// Why a `Match` line cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MatchError {
    /// The line is wrong.
    Bad(String),
    /// ssh knows the criterion and we do not. Skipping it could reach another host or user, in
    /// either direction.
    Unsupported(String),
    /// `exec`, and our own configuration does not allow it.
    ExecForbidden,
}

/// Judges the words after `Match`, left to right as ssh does; what stands behind a criterion that
/// failed is not looked at, but for `final`.
///
/// `exec` answers whether a command succeeds; it is called only where every criterion before it fits.
pub(super) fn judge(
    words: &[String],
    facts: Facts<'_>,
    mut exec: impl FnMut(&str) -> Result<bool, MatchError>,
) -> Result<Outcome, MatchError> {
    let mut applies = true;
    let mut wants_final = false;
    let mut seen = 0;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (negated, name) = match word.strip_prefix('!') {
            Some(name) => (true, name.to_ascii_lowercase()),
            None => (false, word.to_ascii_lowercase()),
        };
        let fits = match name.as_str() {
            "all" => {
                // Behind one other criterion it is allowed, as in `Match final all`.
                if seen > 1 || words.next().is_some() {
                    return Err(MatchError::Bad(
                        "\"all\" stands alone in a Match line".into(),
                    ));
                }
                true
            }
            "final" => {
                wants_final = true;
                facts.is_final_pass
            }
            // Names are not made canonical, so that only the final pass comes after such a step.
            "canonical" => facts.is_final_pass,
            _ => {
                let argument = words.next();
                let list = |case: Case| -> Result<bool, MatchError> {
                    match argument {
                        Some(list) if !list.is_empty() => Ok(fits_list(facts, &name, list, case)),
                        _ => Err(MatchError::Bad(format!("Match {name} needs a value"))),
                    }
                };
                match name.as_str() {
                    "host" | "originalhost" => list(Case::Folded)?,
                    "user" | "localuser" => list(Case::Kept)?,
                    "exec" => match argument {
                        Some(command) if !command.is_empty() => applies && exec(command)?,
                        _ => return Err(MatchError::Bad("Match exec needs a command".into())),
                    },
                    _ if !applies => false,
                    _ => return Err(MatchError::Unsupported(name)),
                }
            }
        };
        seen += 1;
        applies &= fits != negated;
    }
    if seen == 0 {
        return Err(MatchError::Bad("Match needs a criterion".into()));
    }
    Ok(Outcome {
        applies,
        wants_final,
    })
}

/// Host names are compared without regard to case, user names with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Folded,
    Kept,
}

fn fits_list(facts: Facts<'_>, criterion: &str, list: &str, case: Case) -> bool {
    let subject = match criterion {
        "host" => facts.host,
        "originalhost" => facts.original,
        "user" => facts.user,
        _ => facts.local_user,
    };
    let outcome = match case {
        Case::Kept => matches_list(subject, list.split(',')),
        Case::Folded => matches_list(
            &subject.to_ascii_lowercase(),
            list.to_ascii_lowercase().split(','),
        ),
    };
    outcome == ListMatch::Matched
}

#[cfg(test)]
mod tests {
    use super::super::tokens::split_criteria;
    use super::*;

    fn outcome(text: &str, is_final_pass: bool) -> Result<Outcome, MatchError> {
        let facts = Facts {
            host: "desktop.lan",
            original: "Home",
            user: "you",
            local_user: "me",
            is_final_pass,
        };
        judge(&split_criteria(text).unwrap(), facts, |command| {
            Ok(command == "true")
        })
    }

    #[test]
    fn criteria_are_joined_by_and() {
        for (text, applies) in [
            ("all", true),
            ("!all", false),
            ("host desktop.lan", true),
            ("host DESKTOP.*", true),
            ("host other,*.lan", true),
            ("host *.lan,!desktop.lan", false),
            ("!host other", true),
            ("originalhost home", true),
            ("originalhost desktop.lan", false),
            ("user you localuser me", true),
            ("user YOU", false),
            ("user=you host=desktop.lan", true),
            ("user you host other", false),
            ("!user root", true),
        ] {
            assert_eq!(
                outcome(text, false).map(|o| o.applies),
                Ok(applies),
                "{text}"
            );
        }
    }

    #[test]
    fn final_asks_for_a_second_pass_and_holds_only_there() {
        for (text, first, second) in [
            ("final", false, true),
            ("!final", true, false),
            ("final host desktop.lan", false, true),
            ("final all", false, true),
            ("host other final", false, false),
        ] {
            let passes = [outcome(text, false).unwrap(), outcome(text, true).unwrap()];
            assert_eq!(passes.map(|o| o.applies), [first, second], "{text}");
            assert!(passes[0].wants_final, "{text}");
        }
    }

    #[test]
    fn what_we_cannot_judge_is_an_error_only_when_it_would_be_judged() {
        for name in ["tagged x", "localnetwork 10.0.0.0/8", "version 9.*"] {
            let word = name.split(' ').next().unwrap();
            assert_eq!(
                outcome(name, false),
                Err(MatchError::Unsupported(word.into()))
            );
            assert_eq!(
                outcome(&format!("host other {name}"), false).map(|o| o.applies),
                Ok(false)
            );
        }
    }

    #[test]
    fn a_command_is_run_only_where_everything_before_it_fits() {
        for (text, applies) in [
            ("exec true", true),
            ("exec \"false\"", false),
            ("!exec false", true),
            ("host desktop.lan exec \"true\" user you", true),
        ] {
            assert_eq!(
                outcome(text, false).map(|o| o.applies),
                Ok(applies),
                "{text}"
            );
        }
        let facts = Facts {
            host: "h",
            original: "h",
            user: "you",
            local_user: "me",
            is_final_pass: false,
        };
        let words = split_criteria("host other exec \"true\"").unwrap();
        let outcome = judge(&words, facts, |_| Err(MatchError::ExecForbidden));
        assert_eq!(outcome.map(|o| o.applies), Ok(false));
    }

    #[test]
    fn canonical_holds_in_the_final_pass_and_does_not_ask_for_it() {
        let passes = [false, true].map(|last| outcome("canonical", last).unwrap());
        assert_eq!(
            passes.map(|o| (o.applies, o.wants_final)),
            [(false, false), (true, false)]
        );
    }

    #[test]
    fn broken_lines_are_errors() {
        for text in [
            "",
            "host",
            "exec",
            "exec \"\"",
            "all host x",
            "host x user y all",
            "user \"\"",
        ] {
            assert!(
                matches!(outcome(text, false), Err(MatchError::Bad(_))),
                "{text}"
            );
        }
    }
}
