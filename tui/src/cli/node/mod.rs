//! `clawline node`: this machine as a node of a gateway, and the list of what may run on it.

mod lines;
mod lock;
mod person;
mod run;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use clawline::layer::printable;
use serde_json::json;

use super::connect::fail_early;
use super::context::Context;
use super::failure::Failure;
use crate::link::UsageError;
use crate::node_host::policy::{Entry, Mode, PolicyFile};
use crate::node_host::{add, command_text, entry_for};

/// Arguments of `node`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Connect this machine to a gateway as a node, and stay connected
    Run(Run),
    /// Let exactly this command run without asking (with --exec allowlist)
    Allow {
        /// Where it may run; else where calls run that name no directory, your home
        #[arg(long, value_name = "DIR")]
        cwd: Option<PathBuf>,
        /// Wherever the caller says: only for a command that reads and writes no files by relative names
        #[arg(long, conflicts_with = "cwd")]
        any_dir: bool,
        /// The program and its arguments, behind --
        #[arg(value_name = "WORD", required = true, trailing_var_arg = true)]
        argv: Vec<String>,
    },
    /// What may run without asking
    Allowed,
    /// Take a command off the list
    Disallow {
        /// Of the entry, as `allowed` shows it
        id: String,
    },
}

const RUN_HELP: &str = "\
How it works:
  The node connects like every clawline command: over SSH with -H TARGET, or directly with --url. It opens
  no port. It has a device key of its own, comes back by itself for ever, and prints a line whenever
  something changes: which layer is down, which request waits for approval, what was asked of it.

  The first time, two things wait for somebody at the gateway, and the line says the command for each:
  the device (clawline devices approve ID), then what it can be asked (clawline nodes approve ID).

What can be asked:
  system.which, system.notify     where a program is; a note on this screen (needs notify-send)
  system.run                      a program. Nothing runs unless it was approved:
    --exec deny                   nothing runs at all
    --exec ask                    each one is asked about: at this terminal, or through the gateway
    --exec allowlist              what `clawline node allow` listed runs, the rest is asked about
  file.fetch, file.stat, dir.list, fs.listDir
                                  reading below --allow-root, and nowhere else

  What is approved is a plan: the words, the program's file and its content, the directory, the variables.
  What runs is that plan from the files that were opened when it was made; anything exchanged in between
  is refused as `plan changed`. A program gets a fixed PATH, HOME, LANG, LC_*, TERM, TZ, USER and the
  variables that were shown, no input, and no shell unless the command names one. It ends with everything
  it started when its time is up, when the caller gives up, when the connection is lost, or when the node
  ends in any way.

Examples:
  clawline node run -H me@desktop
  clawline node run -H me@desktop --display-name pi --allow-root ~/reports
  clawline node run --url wss://gate.example --token T --exec deny
  clawline node allow -- systemctl status nginx
  clawline node allow --cwd ~/site -- du -sh .

Files (below the state directory, of this user alone):
  identity/node.json              the node's device key
  node/exec-approvals.json        the list, and the mode when --exec is not given";

/// Arguments of `node run`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = RUN_HELP)]
pub(crate) struct Run {
    /// The node's name in lists [default: this machine's]
    #[arg(long, value_name = "NAME")]
    pub display_name: Option<String>,
    /// Let files below this directory be read; may be repeated
    #[arg(long, value_name = "DIR")]
    pub allow_root: Vec<PathBuf>,
    /// Offer only these commands, e.g. system.which; may be repeated [default: all that work here]
    #[arg(long, value_name = "COMMAND")]
    pub allow: Vec<String>,
    /// What happens when a program is to run [default: what the list's file says, else ask]
    #[arg(long, value_name = "MODE")]
    pub exec: Option<Mode>,
    /// Who is asked about programs [default: this terminal if there is one]
    #[arg(long, value_name = "WHERE")]
    pub ask_at: Option<AskAt>,
    /// Let the gateway's admins add to the list; without it they can only take away
    #[arg(long)]
    pub remote_policy: bool,
}

/// Who is asked about programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AskAt {
    /// Whoever sits here.
    Terminal,
    /// Whoever approves commands at the gateway, before the command is sent here.
    Gateway,
}

impl Args {
    /// Whether it goes on until it is stopped.
    pub fn goes_on(&self) -> bool {
        matches!(self.command, NodeCommand::Run(_))
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    let file = PolicyFile::below(&context.loaded().paths.node_dir());
    let done = match &args.command {
        NodeCommand::Run(args) => return run::run(context, args, file).await,
        NodeCommand::Allow { cwd, any_dir, argv } => {
            let entry = entry(argv, cwd.as_deref(), *any_dir);
            entry.and_then(|entry| allow(context, &file, entry))
        }
        NodeCommand::Allowed => allowed(context, &file),
        NodeCommand::Disallow { id } => disallow(context, &file, id),
    };
    match done {
        Ok(()) => 0,
        Err(failure) => fail_early(context, None, failure),
    }
}

/// The entry of a command, in a directory that may be named from here.
fn entry(argv: &[String], cwd: Option<&Path>, any_dir: bool) -> Result<Entry, Failure> {
    let absolute = |cwd: &Path| {
        let here = std::env::current_dir();
        here.map(|here| here.join(cwd))
            .map_err(|error| Failure::Other(error.to_string()))
    };
    let cwd = cwd.map(absolute).transpose()?;
    let entry = entry_for(argv, cwd.as_deref()).map_err(|refused| {
        UsageError::new(
            refused.message,
            "plain programs with fixed arguments can be listed",
        )
    })?;
    Ok(match any_dir {
        true => Entry {
            cwd: None,
            any_dir,
            ..entry
        },
        false => entry,
    })
}

fn allow(context: &Context, file: &PolicyFile, entry: Entry) -> Result<(), Failure> {
    let (text, mode) = (line(&entry), mode(file)?);
    add(file, entry.clone()).map_err(|refused| Failure::Other(refused.message))?;
    if context.out.json {
        context
            .out
            .value(&json!({"v": 1, "ok": true, "entry": entry, "mode": mode}));
        return Ok(());
    }
    context.out.line(&text);
    if mode != Mode::Allowlist {
        context
            .out
            .note("it is used by: clawline node run --exec allowlist");
    }
    Ok(())
}

fn allowed(context: &Context, file: &PolicyFile) -> Result<(), Failure> {
    let snapshot = file
        .read()
        .map_err(|error| Failure::Other(error.to_string()))?;
    let policy = snapshot.policy;
    if context.out.json {
        context.out.value(&json!({
            "v": 1,
            "ok": true,
            "path": file.path(),
            "mode": policy.mode,
            "allow": policy.allow,
        }));
        return Ok(());
    }
    for entry in &policy.allow {
        context.out.line(&line(entry));
    }
    if policy.allow.is_empty() {
        context.out.line("nothing may run without asking");
    }
    Ok(())
}

fn disallow(context: &Context, file: &PolicyFile, id: &str) -> Result<(), Failure> {
    let mut removed = false;
    let changed = file.change(None, |policy| {
        let before = policy.allow.len();
        policy.allow.retain(|entry| entry.id != id);
        removed = policy.allow.len() < before;
        Ok(())
    });
    changed.map_err(|error| Failure::Other(error.to_string()))?;
    if !removed {
        return Err(UsageError::new(
            format!("there is no entry {}", printable(id, 80)),
            "clawline node allowed shows which there are",
        )
        .into());
    }
    if context.out.json {
        context
            .out
            .value(&json!({"v": 1, "ok": true, "removed": id}));
    }
    Ok(())
}

fn mode(file: &PolicyFile) -> Result<Mode, Failure> {
    let snapshot = file
        .read()
        .map_err(|error| Failure::Other(error.to_string()))?;
    Ok(snapshot.policy.mode)
}

fn line(entry: &Entry) -> String {
    let exe = [entry.exe.to_string_lossy().into_owned()];
    let place = match (&entry.cwd, entry.any_dir) {
        (_, true) => "in any directory".to_owned(),
        (Some(cwd), _) => {
            let cwd = command_text::format(&[cwd.to_string_lossy().into_owned()]);
            format!("in {cwd}")
        }
        (None, _) => "nowhere: made before directories counted, allow it again".to_owned(),
    };
    format!(
        "{}  {}  ({})  {place}",
        printable(&entry.id, 40),
        command_text::format(&entry.argv),
        command_text::format(&exe),
    )
}
