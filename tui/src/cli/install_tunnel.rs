//! `clawline install-tunnel`: a service of this user that holds a tunnel from every login on.

mod plan;

use std::path::PathBuf;

use clawline::layer::printable;
use clawline::service::{self, FileError, Manager, Reached, shell_word};
use serde_json::json;

use super::args::{GeneralArgs, TargetArg};
use super::connect::{fail_early, print_note};
use super::context::Context;
use super::failure::Failure;
use crate::link::UsageError;

use plan::Plan;

/// What every file that we write says, and nobody else's does.
const MARK: &str = "Written by clawline install-tunnel";

/// Arguments of `install-tunnel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The connection options (-p, -i, -J, -F, -o, --remote) and --config or --profile go into the service;
secrets do not, and a service never asks: the key needs no passphrase, or an agent has it.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) target: TargetArg,
    /// Local end: [NAME=][ADDRESS:]PORT[:HOST:PORT] or the path of a socket; may be repeated [default: as
    /// configured, else 127.0.0.1:18789]
    #[arg(short = 'L', long, value_name = "END")]
    listen: Vec<String>,
    /// Local end that is a socket; may be repeated
    #[arg(long, value_name = "PATH")]
    socket: Vec<String>,
    /// Local end where programs say by SOCKS where they want to go; may be repeated
    #[arg(short = 'D', long, value_name = "END")]
    dynamic: Vec<String>,
    /// Let programs of other users through the local ends
    #[arg(long)]
    allow_other_users: bool,
    /// Print the service, and do nothing
    #[arg(long, conflicts_with_all = ["now", "no_start", "uninstall"])]
    print: bool,
    /// Start it now, which is what happens anyway
    #[arg(long, conflicts_with = "no_start")]
    now: bool,
    /// Write it, and neither enable nor start it
    #[arg(long)]
    no_start: bool,
    /// End it and remove it
    #[arg(long, conflicts_with_all = ["now", "no_start"])]
    uninstall: bool,
}

pub(crate) async fn run(context: &Context, args: &Args, general: &GeneralArgs) -> u8 {
    let outcome = match Plan::new(context, args, general) {
        Err(error) => Err(error.into()),
        Ok(plan) if args.print => {
            let manager = Manager::of_this_system(&context.connector.env);
            let text = manager.text(&plan.service());
            if context.out.json {
                let path = manager.path(&plan.name);
                context.out.value(&json!({
                    "v": 1, "ok": true, "exit": 0, "target": plan.target, "service": plan.name,
                    "path": path, "text": text,
                }));
            } else {
                context.out.raw(text.as_bytes());
            }
            return 0;
        }
        Ok(plan) if args.uninstall => uninstall(context, &plan).await,
        Ok(plan) => install(context, &plan, args.no_start).await,
    };
    match outcome {
        Ok(done) => {
            tell(context, &done);
            0
        }
        Err(failure) => fail_early(context, args.target.target.as_deref(), failure),
    }
}

/// What was done, and what a person may do next.
struct Done {
    target: String,
    service: String,
    path: PathBuf,
    /// One line each, in the order in which it happened.
    did: Vec<String>,
    /// Commands, each with what it is for.
    next: Vec<(String, &'static str)>,
}

fn tell(context: &Context, done: &Done) {
    if context.out.json {
        let commands: Vec<&str> = done
            .next
            .iter()
            .map(|(command, _)| command.as_str())
            .collect();
        context.out.value(&json!({
            "v": 1, "ok": true, "exit": 0, "target": done.target, "service": done.service,
            "path": done.path, "did": done.did, "next": commands,
        }));
        return;
    }
    for line in &done.did {
        context.out.line(line);
    }
    let widest = done.next.iter().map(|(command, _)| command.len()).max();
    let width = widest.unwrap_or_default();
    for (command, what) in &done.next {
        context.out.line(&format!("  {command:<width$}  {what}"));
    }
}

async fn install(context: &Context, plan: &Plan, no_start: bool) -> Result<Done, Failure> {
    let manager = Manager::of_this_system(&context.connector.env);
    let path = manager.path(&plan.name);
    let text = manager.text(&plan.service());
    let shown = printable(&path.display().to_string(), 300);
    let mut did = Vec::new();
    let before = service::ours(&path, MARK)?;
    let is_new = before.as_deref() != Some(&text);
    if is_new {
        service::write(&path, &text)?;
        let verb = if before.is_some() { "changed" } else { "wrote" };
        did.push(format!("{verb} {shown}"));
    } else {
        did.push(format!("{shown} is as it should be"));
    }
    if no_start {
        did.push("it was not started".into());
    } else {
        match manager.start(&plan.name, is_new).await {
            Reached::Done(what) => did.push(what),
            Reached::Nobody(why) => did.push(format!("it was not started: {why}")),
            Reached::Refused { command, said } => {
                return Err(Failure::Tunnel {
                    what: format!("{shown} is there, but `{command}` failed: {said}"),
                    next: format!("see what it says, then run `{command}` again"),
                });
            }
        }
    }
    if plan.asks_an_agent {
        print_note(
            context,
            "the service signs in with keys that need no passphrase, or with an agent it can reach: \
             systemctl --user import-environment SSH_AUTH_SOCK",
        );
    }
    let mut next = manager.next_steps(&plan.name, no_start);
    next.push((
        format!("clawline tunnel status {}", shell_word(&plan.target)),
        "how the tunnel is",
    ));
    Ok(Done {
        target: plan.target.clone(),
        service: plan.name.clone(),
        path,
        did,
        next,
    })
}

async fn uninstall(context: &Context, plan: &Plan) -> Result<Done, Failure> {
    let manager = Manager::of_this_system(&context.connector.env);
    let path = manager.path(&plan.name);
    let shown = printable(&path.display().to_string(), 300);
    let mut did = Vec::new();
    if service::ours(&path, MARK)?.is_none() {
        did.push(format!("there is no {shown}"));
    } else {
        match manager.stop(&plan.name).await {
            Reached::Done(what) => did.push(what),
            Reached::Nobody(why) => did.push(format!("nothing was ended: {why}")),
            Reached::Refused { command, said } => {
                did.push(format!("`{command}` failed: {said}"));
            }
        }
        service::remove(&path)?;
        did.push(format!("removed {shown}"));
        manager.forget().await;
    }
    Ok(Done {
        target: plan.target.clone(),
        service: plan.name.clone(),
        path,
        did,
        next: Vec::new(),
    })
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match &error {
            FileError::Foreign { .. } => {
                let text = error.to_string();
                let (what, next) = text.split_once("; ").unwrap_or((&text, ""));
                UsageError::new(what, next).into()
            }
            FileError::Io { .. } => Self::Other(error.to_string()),
        }
    }
}
