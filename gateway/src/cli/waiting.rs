//! What `devices` and `nodes` have in common: requests that wait, and those that were approved.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use clap::Args;
use clawline::layer::printable;
use serde_json::Value;

use super::{Failure, daemon, output};
use crate::control::Request;

/// Fewest characters that stand for an id that begins with them. None, as an empty variable of a script
/// gives, begin every id.
const MIN_BEGINNING: usize = 4;

/// Options of `list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Which request is meant.
#[derive(Debug, Args)]
pub(super) struct RequestArgs {
    /// The request, or the beginning of its id; may be left out when only one waits.
    request: Option<String>,
}

/// What waits and what is approved, as the gateway of this host tells.
pub(super) struct Known<'a> {
    state_dir: &'a Path,
    /// The subcommand, for hints.
    subcommand: &'static str,
    /// `{pending, paired}`
    lists: Value,
}

impl<'a> Known<'a> {
    /// Asks for both lists.
    pub(super) fn ask(
        state_dir: &'a Path,
        subcommand: &'static str,
        request: Request,
    ) -> Result<Self, Failure> {
        Ok(Self {
            state_dir,
            subcommand,
            lists: daemon::ask(state_dir, request)?,
        })
    }

    /// Has something done.
    pub(super) fn carry_out(&self, request: Request) -> Result<(), Failure> {
        daemon::ask(self.state_dir, request).map(|_| ())
    }

    /// The id of the request that is meant.
    pub(super) fn pending(&self, args: &RequestArgs) -> Result<String, Failure> {
        let given = args.request.as_deref();
        pick(self.subcommand, &self.lists["pending"], "requestId", given)
    }

    /// The request that is to be approved. Where none was named, whoever asks sees the one that waits
    /// first: it may not be the one that waited when the list was looked at.
    pub(super) fn to_approve(
        &self,
        args: &RequestArgs,
        line: fn(&Value) -> String,
    ) -> Result<Approving, Failure> {
        let request_id = self.pending(args)?;
        let rows = self.lists["pending"].as_array().into_iter().flatten();
        let row = rows.into_iter().find(|row| row["requestId"] == *request_id);
        let line = row.map(line).unwrap_or_default();
        if args.request.is_none() {
            output::line(&line);
            if !io::stdin().is_terminal() {
                return Err(Failure::usage(format!(
                    "nobody is there to be asked; if this is the one, run clawline-gateway {} approve {request_id}",
                    self.subcommand
                )));
            }
            if !output::confirmed("approve it?") {
                return Err(Failure::failed("nothing was approved"));
            }
        }
        Ok(Approving { request_id, line })
    }

    /// The id, in this member, of the approved one that is meant.
    pub(super) fn paired(&self, member: &str, given: &str) -> Result<String, Failure> {
        pick(self.subcommand, &self.lists["paired"], member, Some(given))
    }

    /// Prints both lists, a line a row, or what was told as it is.
    pub(super) fn show(
        &self,
        args: &ListArgs,
        pending: fn(&Value) -> String,
        paired: fn(&Value) -> String,
    ) {
        if args.json {
            output::line(&self.lists.to_string());
            return;
        }
        let rows = |name: &str| self.lists[name].as_array().map_or(&[][..], Vec::as_slice);
        if rows("pending").is_empty() {
            output::line("nothing waits for an approval");
        }
        let pending = rows("pending").iter().map(pending);
        for line in pending.chain(rows("paired").iter().map(paired)) {
            output::line(&line);
        }
    }
}

/// A request that is about to be approved.
pub(super) struct Approving {
    pub(super) request_id: String,
    /// As lists show it.
    pub(super) line: String,
}

/// A member of a row, safe to show.
pub(super) fn text(row: &Value, member: &str) -> String {
    printable(row[member].as_str().unwrap_or("-"), 40)
}

/// The beginning of an id, which is enough to name it.
pub(super) fn short(row: &Value, member: &str) -> String {
    text(row, member).chars().take(12).collect()
}

/// Its name, and which program it is on what.
pub(super) fn who(row: &Value) -> String {
    let (name, client) = (text(row, "displayName"), text(row, "clientId"));
    format!("{name} ({client}, {})", text(row, "platform"))
}

/// The texts in a member of a row.
pub(super) fn texts<'a>(row: &'a Value, member: &str) -> impl Iterator<Item = &'a str> {
    let texts = row[member].as_array().into_iter().flatten();
    texts.filter_map(Value::as_str)
}

/// The one row that is meant, by the beginning of its id.
fn pick(
    subcommand: &str,
    rows: &Value,
    member: &str,
    given: Option<&str>,
) -> Result<String, Failure> {
    let ids: Vec<&str> = rows
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row[member].as_str())
        .filter(|id| given.is_none_or(|given| id.starts_with(given)))
        .collect();
    let is_whole = given.is_none_or(|given| ids.contains(&given));
    if let Some(given) = given
        && given.chars().count() < MIN_BEGINNING
        && !is_whole
    {
        return Err(Failure::usage(format!(
            "\"{}\" is too little of a {member}; write at least {MIN_BEGINNING} characters of it",
            printable(given, 80)
        )));
    }
    match (ids.as_slice(), given) {
        ([one], _) => Ok((*one).to_owned()),
        ([], None) => Err(Failure::failed("nothing waits for an approval")),
        ([], Some(given)) => Err(Failure::failed(format!(
            "there is no such {member}: {}",
            printable(given, 80)
        ))),
        (several, None) => Err(Failure::usage(format!(
            "{} requests wait; say which one (clawline-gateway {subcommand} list)",
            several.len()
        ))),
        (several, Some(given)) => Err(Failure::usage(format!(
            "{} begins {} ids; write more of it",
            printable(given, 80),
            several.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Exit;
    use super::*;

    #[test]
    fn a_row_is_named_by_the_beginning_of_its_id_or_by_being_the_only_one() {
        let one = json!([{"requestId": "abcdef"}]);
        let two = json!([{"requestId": "abcdef"}, {"requestId": "abcdeg"}]);
        let pick = |rows: &Value, given| pick("devices", rows, "requestId", given);
        assert_eq!(pick(&one, None).unwrap(), "abcdef");
        assert_eq!(pick(&one, Some("abcd")).unwrap(), "abcdef");
        assert_eq!(pick(&two, Some("abcdeg")).unwrap(), "abcdeg");
        assert_eq!(pick(&two, None).unwrap_err().exit, Exit::Usage);
        assert_eq!(pick(&two, Some("abcd")).unwrap_err().exit, Exit::Usage);
        assert_eq!(pick(&two, Some("xyzw")).unwrap_err().exit, Exit::Failed);
        assert_eq!(pick(&json!([]), None).unwrap_err().exit, Exit::Failed);
    }

    #[test]
    fn next_to_nothing_of_an_id_names_none_and_a_whole_short_one_does() {
        let one = json!([{"requestId": "abcdef"}]);
        let pick = |rows: &Value, given| pick("devices", rows, "requestId", Some(given));
        for little in ["", "a", "abc"] {
            let failure = pick(&one, little).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.text.contains("at least 4"), "{}", failure.text);
        }
        let short = json!([{"requestId": "pi"}, {"requestId": "pi-2"}]);
        assert!(pick(&short, "p").is_err());
        assert_eq!(pick(&json!([{"requestId": "pi"}]), "pi").unwrap(), "pi");
    }
}
