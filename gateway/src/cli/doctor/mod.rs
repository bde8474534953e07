//! `doctor`: looks at everything that the gateway needs, says what is wrong, and which command helps.

mod checks;

use clap::Args;
use serde_json::{Value, json};

use super::{Common, Exit, Failure, output};

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Close files and directories that others can see into
    #[arg(long)]
    fix: bool,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Good,
    /// Worth knowing.
    Odd,
    /// To be seen to.
    Bad,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Odd => "note",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Row {
    id: &'static str,
    level: Level,
    what: String,
    /// A command, or a sentence, that helps.
    fix: Option<String>,
}

impl Row {
    fn good(id: &'static str, what: impl Into<String>) -> Self {
        Self {
            id,
            level: Level::Good,
            what: what.into(),
            fix: None,
        }
    }

    fn odd(id: &'static str, what: impl Into<String>) -> Self {
        Self {
            level: Level::Odd,
            ..Self::good(id, what)
        }
    }

    fn bad(id: &'static str, what: impl Into<String>) -> Self {
        Self {
            level: Level::Bad,
            ..Self::good(id, what)
        }
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

pub(super) fn run(common: &Common, args: &DoctorArgs) -> Result<Exit, Failure> {
    let rows = checks::all(common, args.fix)?;
    let is_bad = rows.iter().any(|row| row.level == Level::Bad);
    if args.json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({"id": row.id, "level": row.level.word(), "what": row.what, "fix": row.fix})
            })
            .collect();
        output::line(&json!({"v": 1, "ok": !is_bad, "rows": rows}).to_string());
    } else {
        for row in &rows {
            let mut lines = row.what.lines();
            let first = lines.next().unwrap_or_default();
            output::line(&format!("{:<4}  {:<8}  {first}", row.level.word(), row.id));
            for line in lines {
                output::line(&format!("{:16}{line}", ""));
            }
            if let Some(fix) = &row.fix {
                output::line(&format!("{:16}→ {fix}", ""));
            }
        }
    }
    Ok(if is_bad { Exit::Failed } else { Exit::Good })
}
